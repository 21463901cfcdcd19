/*
 * constraint.c - readers of a vocabulary, and the sets of a gap's slots.
 */
#include "constraint.h"
#include "status.h"

#include <string.h>

#define TOKEN_BYTES	512			/* longer tokens are never written (bans.c) */
#define MAX_TABLE	(16 << 20)	/* bytes of a reader's steps */

/* --------------------------------------------------------------- patterns */

/* A session's patterns, one entry per expression. */
typedef struct kept_pattern
{
	struct kept_pattern *older;
	dl_pattern *pattern;
	size_t		len;
	char		source[];
} kept_pattern;

static dlm_status
get_pattern(dlm_session *s, dlm_text source, const dl_pattern **out, dlm_error *err)
{
	kept_pattern *kept;
	dlm_status	st;

	for (kept = s->patterns; kept; kept = kept->older)
		if (kept->len == source.len && memcmp(kept->source, source.data, source.len) == 0)
		{
			*out = kept->pattern;
			return DLM_OK;
		}
	/* blocks, because a task's open may be rewound and the pattern outlives it */
	kept = dl_arena_block(s->arena, sizeof(*kept) + source.len);
	if (kept == NULL)
		return dl_fail_memory(err);
	st = dl_pattern_compile(source, s->arena, &kept->pattern, err);
	if (st != DLM_OK)
	{
		dl_arena_block_free(s->arena, kept);
		return st;
	}
	kept->len = source.len;
	memcpy(kept->source, source.data, source.len);
	kept->older = s->patterns;
	s->patterns = kept;
	*out = kept->pattern;
	return DLM_OK;
}

/* ---------------------------------------------------------------- readers */

static bool
rule_allows(const dl_vocab *v, int32_t id, unsigned rule)
{
	if ((rule & DL_RULE_SPACED) && !dl_in_set(v->spaced_word, id))
		return false;
	if ((rule & DL_RULE_UNSPACED) && dl_in_set(v->spaced, id))
		return false;
	if ((rule & DL_RULE_NEVER_SPACED) && !dl_in_set(v->never_spaced, id))
		return false;
	return !(rule & DL_RULE_WORD_START) || dl_in_set(v->spaced_word, id) || dl_in_set(v->never_spaced, id);
}

/* Where a token leads from every state: step [pattern->n]; false: nowhere. */
static bool
read_token(const dl_task *task, const dl_reader *r, int32_t id, uint8_t *step)
{
	char		buf[TOKEN_BYTES];
	size_t		n;
	size_t		from;
	bool		any = false;

	if (dl_in_set(r->bans->never, id) || !rule_allows(r->bans->vocab, id, r->rule))
		return false;
	n = dlm_token_bytes(task->session->model, id, buf, sizeof(buf));
	from = r->strip && n > 0 && buf[0] == ' ';
	if (n == from || n > sizeof(buf))
		return false;
	for (int state = 0; state < r->pattern->n; state++)
	{
		step[state] = (uint8_t) dl_pattern_run(r->pattern, state, buf + from, n - from);
		any |= step[state] != DL_PATTERN_DEAD;
	}
	return any;
}

static void
put_state(dl_states *s, int state)
{
	if (state != DL_PATTERN_DEAD)
		s->word[state / 64] |= UINT64_C(1) << (state % 64);
}

/* One walk over the vocabulary into tables of n tokens; counts them all. */
static dlm_status
walk_vocab(const dl_task *task, dl_reader *r, int n, int *count, dlm_error *err)
{
	const dlm_env *env = &task->session->env;
	uint8_t		step[DL_PATTERN_STATES];

	*count = 0;
	for (int32_t id = 0; id < r->bans->vocab->rows; id++)
	{
		if (id % 4096 == 0 && env->stop && env->stop(env->arg))
			return dl_fail(err, DLM_EINTR, "", "canceled by the caller");
		if (!read_token(task, r, id, step))
			continue;
		if (*count < n)
		{
			r->id[*count] = id;
			memcpy(r->step + (size_t) *count * (size_t) r->pattern->n, step, (size_t) r->pattern->n);
			for (int state = 0; state < r->pattern->n; state++)
				put_state(&r->any[state], step[state]);
		}
		++*count;
	}
	return DLM_OK;
}

/* Tables for n tokens in one block; NULL: no memory. */
static dl_reader *
make_reader(const dl_reader *kind, int n, dl_arena *a)
{
	size_t		states = (size_t) kind->pattern->n;
	size_t		any_at = (sizeof(dl_reader) + 7) & ~(size_t) 7;
	size_t		id_at = any_at + states * sizeof(dl_states);
	size_t		step_at = id_at + (size_t) n * sizeof(int32_t);
	char	   *p = dl_arena_block(a, step_at + (size_t) n * states);
	dl_reader  *r = (dl_reader *) p;

	if (p == NULL)
		return NULL;
	*r = *kind;
	r->n = n;
	r->any = (dl_states *) (p + any_at);
	r->id = (int32_t *) (p + id_at);
	r->step = (uint8_t *) (p + step_at);
	memset(r->any, 0, states * sizeof(dl_states));
	return r;
}

static dlm_status
get_reader(dl_task *task, const dl_reader *kind, const dl_reader **out, dlm_error *err)
{
	dlm_session *s = task->session;
	dl_reader	counting = *kind;
	dl_reader  *r;
	dlm_status	st;
	int			n = 0;

	for (r = s->readers; r; r = r->older)
		if (r->pattern == kind->pattern && r->bans == kind->bans && r->rule == kind->rule && r->strip == kind->strip)
		{
			*out = r;
			return DLM_OK;
		}
	st = walk_vocab(task, &counting, 0, &n, err);
	if (st != DLM_OK)
		return st;
	if ((size_t) n * (size_t) kind->pattern->n > MAX_TABLE)
		return dl_fail(err, DLM_ETOOLONG, "Make the pattern shorter.", "pattern is too large for the %d tokens that it takes", n);
	r = make_reader(kind, n, s->arena);
	if (r == NULL)
		return dl_fail_memory(err);
	st = walk_vocab(task, r, n, &n, err);
	if (st != DLM_OK)
	{
		dl_arena_block_free(s->arena, r);
		return st;
	}
	r->older = s->readers;
	s->readers = r;
	*out = r;
	return DLM_OK;
}

dlm_status
dl_constraint_get(dl_task *task, const dl_bans *bans, dlm_text pattern, unsigned first_rule, bool strip,
				  dl_constraint **out, dlm_error *err)
{
	dl_constraint *c = dl_arena_calloc(task->session->arena, 1, sizeof(*c));
	dl_reader	kind = {.bans = bans};
	dlm_status	st;

	if (c == NULL)
		return dl_fail_memory(err);
	st = get_pattern(task->session, pattern, &c->pattern, err);
	kind.pattern = c->pattern;
	if (st == DLM_OK)
		st = get_reader(task, &kind, &c->rest, err);
	kind.strip = strip;
	kind.rule = first_rule;
	if (st == DLM_OK)
		st = get_reader(task, &kind, &c->first[0], err);
	kind.rule = DL_RULE_NEVER_SPACED;
	if (st == DLM_OK && (first_rule & DL_RULE_SPACED))
		st = get_reader(task, &kind, &c->first[1], err);
	*out = c;
	return st;
}

/* ------------------------------------------------------------------ states */

static dl_states
start_states(void)
{
	return (dl_states) {{1, 0, 0, 0}};
}

static bool
any_common(const dl_states *a, const dl_states *b)
{
	return ((a->word[0] & b->word[0]) | (a->word[1] & b->word[1]) | (a->word[2] & b->word[2]) |
			(a->word[3] & b->word[3])) != 0;
}

static bool
has_state(const dl_states *s, int state)
{
	return s->word[state / 64] >> (state % 64) & 1;
}

static dl_states
accepting(const dl_pattern *p)
{
	dl_states	s = {{0}};

	for (int i = 0; i < p->n; i++)
		if (p->accept[i])
			put_state(&s, i);
	return s;
}

/* A token's steps; NULL: the reader does not take it. */
static const uint8_t *
steps_of(const dl_reader *r, int32_t id)
{
	int			low = 0,
				high = r->n;

	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (r->id[mid] < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->n && r->id[low] == id ? r->step + (size_t) low * (size_t) r->pattern->n : NULL;
}

static dl_states
after_token(const dl_reader *r, const dl_states *from, int32_t id)
{
	const uint8_t *step = steps_of(r, id);
	dl_states	to = {{0}};

	for (int i = 0; step != NULL && i < r->pattern->n; i++)
		if (has_state(from, i))
			put_state(&to, step[i]);
	return to;
}

static dl_states
after_any(const dl_reader *r, const dl_states *from)
{
	dl_states	to = {{0}};

	for (int i = 0; i < r->pattern->n; i++)
		for (int w = 0; has_state(from, i) && w < 4; w++)
			to.word[w] |= r->any[i].word[w];
	return to;
}

static dl_states
after_slot(const dl_reader *r, const dl_states *from, const dl_slot *slot)
{
	return slot->masked ? after_any(r, from) : after_token(r, from, slot->id);
}

/* The states from which a slot can lead into `to`. */
static dl_states
before_slot(const dl_reader *r, const dl_states *to, const dl_slot *slot)
{
	const uint8_t *step = slot->masked ? NULL : steps_of(r, slot->id);
	dl_states	from = {{0}};

	for (int i = 0; i < r->pattern->n; i++)
		if (slot->masked ? any_common(&r->any[i], to) :
			step != NULL && step[i] != DL_PATTERN_DEAD && has_state(to, step[i]))
			put_state(&from, i);
	return from;
}

static const dl_reader *
reader_at(const dl_constraint *c, bool second, int slot)
{
	return slot == 0 ? c->first[second] : c->rest;
}

/* ------------------------------------------------------------------ public */

void
dl_constraint_lengths(const dl_constraint *c, bool second, int n, bool *fits)
{
	dl_states	end = accepting(c->pattern);
	dl_states	at = start_states();

	for (int i = 0; i < n; i++)
	{
		const dl_reader *r = reader_at(c, second, i);

		fits[i] = false;
		if (r == NULL)
			continue;
		at = after_any(r, &at);
		fits[i] = any_common(&at, &end);
	}
}

void
dl_constraint_sets(const dl_constraint *c, bool second, const dl_slot *slots, int n, dl_states *reach,
				   uint8_t *sets, size_t bytes)
{
	dl_states	left = start_states();

	reach[n] = accepting(c->pattern);
	for (int i = n - 1; i > 0; i--)
		reach[i] = before_slot(c->rest, &reach[i + 1], &slots[i]);
	memset(sets, 0, (size_t) n * bytes);
	for (int i = 0; i < n; i++)
	{
		const dl_reader *r = reader_at(c, second, i);

		for (int t = 0; t < r->n; t++)
		{
			const uint8_t *step = r->step + (size_t) t * (size_t) r->pattern->n;

			for (int state = 0; state < r->pattern->n; state++)
				if (step[state] != DL_PATTERN_DEAD && has_state(&left, state) && has_state(&reach[i + 1], step[state]))
				{
					dl_put_in_set(sets + (size_t) i * bytes, r->id[t]);
					break;
				}
		}
		left = after_slot(r, &left, &slots[i]);
	}
}

bool
dl_constraint_allows(const dl_constraint *c, bool second, const dl_slot *slots, int n, int at, int32_t id)
{
	dl_states	end = accepting(c->pattern);
	dl_states	states = start_states();

	for (int i = 0; i < n; i++)
	{
		const dl_reader *r = reader_at(c, second, i);

		states = i == at ? after_token(r, &states, id) : after_slot(r, &states, &slots[i]);
	}
	return any_common(&states, &end);
}
