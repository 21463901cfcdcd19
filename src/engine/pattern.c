/*
 * pattern.c - a pattern's deterministic automaton over bytes.
 *
 * The subset construction over Thompson's automaton (pattern_parse.c), for
 * classes of bytes that no edge tells apart; then what cannot reach a match is
 * cut off.
 */
#include "pattern_impl.h"
#include "status.h"

#include <string.h>

#define SET_WORDS	((DL_MAX_NODES + 63) / 64)

/* ---------------------------------------------------- subset construction */

typedef struct node_set
{
	uint64_t	word[SET_WORDS];
} node_set;

typedef struct subsets
{
	const dl_nodes *nodes;
	node_set	set[DL_PATTERN_STATES];
	int			n;
	int16_t		stack[DL_MAX_NODES + 2];	/* each node, once it is in the set, leaves at most one more behind than it takes */
	uint8_t		class_of[256];	/* bytes of a class are never told apart */
	uint8_t		byte_of[256];	/* one of a class */
	int			classes;
} subsets;

static bool
has(const node_set *s, int i)
{
	return s->word[i / 64] >> (i % 64) & 1;
}

/* Put a node in, and all that it reaches without reading. */
static void
close_over(subsets *d, node_set *s, int from)
{
	const dl_node *nodes = d->nodes->node;
	int			n = 0;

	d->stack[n++] = (int16_t) from;
	while (n > 0)
	{
		int			i = d->stack[--n];

		if (has(s, i))
			continue;
		s->word[i / 64] |= UINT64_C(1) << (i % 64);
		if (i == DL_FINAL || nodes[i].low <= nodes[i].high)
			continue;
		d->stack[n++] = nodes[i].next;
		if (nodes[i].other >= 0)
			d->stack[n++] = nodes[i].other;
	}
}

static void
find_classes(subsets *d)
{
	bool		edge[257] = {true};

	for (int i = 1; i < d->nodes->n; i++)
		if (d->nodes->node[i].low <= d->nodes->node[i].high)
			edge[d->nodes->node[i].low] = edge[d->nodes->node[i].high + 1] = true;
	for (int b = 0; b < 256; b++)
	{
		if (edge[b])
			d->byte_of[d->classes++] = (uint8_t) b;
		d->class_of[b] = (uint8_t) (d->classes - 1);
	}
}

/* The state of a set, new or old; -1: too many. */
static int
state_of(subsets *d, const node_set *s)
{
	for (int i = 0; i < d->n; i++)
		if (memcmp(&d->set[i], s, sizeof(*s)) == 0)
			return i;
	if (d->n == DL_PATTERN_STATES)
		return -1;
	d->set[d->n] = *s;
	return d->n++;
}

static bool
move(subsets *d, int state, int byte, node_set *out)
{
	const dl_node *nodes = d->nodes->node;
	bool		any = false;

	memset(out, 0, sizeof(*out));
	for (int i = 1; i < d->nodes->n; i++)
		if (nodes[i].low <= byte && byte <= nodes[i].high && has(&d->set[state], i))
		{
			close_over(d, out, nodes[i].next);
			any = true;
		}
	return any;
}

static dlm_status
determine(subsets *d, int start, dl_pattern *p, dlm_error *err)
{
	node_set	s = {0};

	find_classes(d);
	close_over(d, &s, start);
	state_of(d, &s);
	memset(p->next, DL_PATTERN_DEAD, sizeof(p->next));
	for (int i = 0; i < d->n; i++)
	{
		int			to[256];

		p->accept[i] = has(&d->set[i], DL_FINAL);
		for (int k = 0; k < d->classes; k++)
		{
			to[k] = DL_PATTERN_DEAD;
			if (move(d, i, d->byte_of[k], &s))
				to[k] = state_of(d, &s);
			if (to[k] < 0)
				return dl_fail(err, DLM_ETOOLONG, "Repeat fewer times.",
							   "pattern needs more than %d states", DL_PATTERN_STATES);
		}
		for (int b = 0; b < 256; b++)
			p->next[i][b] = (uint8_t) to[d->class_of[b]];
	}
	p->n = d->n;
	return DLM_OK;
}

/* Edges to states from which no match can be reached go. */
static void
cut_dead_ends(dl_pattern *p)
{
	bool		live[DL_PATTERN_DEAD + 1] = {false};
	bool		moved = true;

	for (int i = 0; i < p->n; i++)
		live[i] = p->accept[i];
	while (moved)
	{
		moved = false;
		for (int i = p->n - 1; i >= 0; i--)
			for (int b = 0; b < 256 && !live[i]; b++)
				moved |= live[i] = live[p->next[i][b]];
	}
	for (int i = 0; i < p->n; i++)
		for (int b = 0; b < 256; b++)
			if (!live[p->next[i][b]])
				p->next[i][b] = DL_PATTERN_DEAD;
}

/* ----------------------------------------------------------------- public */

static dlm_status
compile(dlm_text source, dl_arena *a, dl_pattern *p, dlm_error *err)
{
	dl_nodes   *nodes = dl_arena_calloc(a, 1, sizeof(*nodes));
	subsets    *d = dl_arena_calloc(a, 1, sizeof(*d));
	int			start;
	dlm_status	st;

	if (nodes == NULL || d == NULL)
		return dl_fail_memory(err);
	st = dl_pattern_parse(source, a, nodes, &start, err);
	d->nodes = nodes;
	if (st == DLM_OK)
		st = determine(d, start, p, err);
	if (st == DLM_OK)
		cut_dead_ends(p);
	return st;
}

dlm_status
dl_pattern_compile(dlm_text source, dl_arena *a, dl_pattern **out, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(a);
	dlm_status	st;

	*out = NULL;
	if (source.len == 0)
		return dl_fail(err, DLM_EINVAL, "", "pattern is empty");
	if (source.len > DL_PATTERN_LONGEST)
		return dl_fail(err, DLM_ETOOLONG, "", "pattern has %zu bytes, at most %d are allowed", source.len,
					   DL_PATTERN_LONGEST);
	*out = dl_arena_block(a, sizeof(**out));
	if (*out == NULL)
		return dl_fail_memory(err);
	memset(*out, 0, sizeof(**out));
	st = compile(source, a, *out, err);
	dl_arena_rewind(a, mark);
	if (st == DLM_OK)
		return DLM_OK;
	dl_arena_block_free(a, *out);
	*out = NULL;
	return st;
}

dlm_status
dlm_pattern_check(dlm_text pattern, dlm_error *err)
{
	dl_arena   *a = dl_arena_create(0);
	dl_pattern *p = NULL;
	dlm_status	st = a ? dl_pattern_compile(pattern, a, &p, err) : dl_fail_memory(err);

	if (a != NULL)
	{
		dl_arena_block_free(a, p);
		dl_arena_destroy(a);
	}
	return st;
}

int
dl_pattern_run(const dl_pattern *p, int state, const char *s, size_t n)
{
	for (size_t i = 0; i < n && state != DL_PATTERN_DEAD; i++)
		state = p->next[state][(unsigned char) s[i]];
	return state;
}

bool
dl_pattern_matches(const dl_pattern *p, dlm_text text)
{
	int			state = dl_pattern_run(p, 0, text.data, text.len);

	return state != DL_PATTERN_DEAD && p->accept[state];
}
