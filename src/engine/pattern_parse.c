/*
 * pattern_parse.c - a regular expression to Thompson's automaton.
 *
 * It is built from its end: each piece is compiled knowing the state that
 * follows it, so a repeated piece is simply compiled again.
 */
#include "pattern_impl.h"
#include "status.h"

#include <string.h>

#define MAX_DEPTH	48			/* groups within groups: a range of numbers of 18 digits has nearly as many */
#define MAX_REPEAT	1000
#define MAX_WORK	20000		/* pieces compiled: what is empty may be repeated without a node */

typedef struct piece
{
	size_t		at,				/* its text without the quantifier */
				end;
	int			least,
				most;			/* -1: any number */
} piece;

typedef struct compiler
{
	dlm_text	source;
	dl_arena   *arena;
	dlm_error  *err;
	dlm_status	status;
	int			work;
	dl_nodes   *nodes;
} compiler;

/* Bits of 128 ASCII characters, and whether all others belong to it. */
typedef struct char_set
{
	uint64_t	ascii[2];
	bool		beyond;
} char_set;

static int	compile_choice(compiler *c, size_t at, size_t end, int next, int depth);

static int
fail_at(compiler *c, size_t at, const char *what)
{
	if (c->status == DLM_OK)
		c->status = dl_fail(c->err, DLM_EINVAL, "Write \\ before a character that stands for itself.",
							"pattern is not valid: %s at character %zu", what, at + 1);
	return DL_FINAL;
}

static int
too_long(compiler *c)
{
	if (c->status == DLM_OK)
		c->status = dl_fail(c->err, DLM_ETOOLONG, "Repeat fewer times.", "pattern is too long");
	return DL_FINAL;
}

/* ---------------------------------------------------------------- nodes */

static int
add_node(compiler *c, uint8_t low, uint8_t high, int next, int other)
{
	if (c->status != DLM_OK)
		return DL_FINAL;
	if (c->nodes->n == DL_MAX_NODES)
		return too_long(c);
	c->nodes->node[c->nodes->n] = (dl_node) {low, high, (int16_t) next, (int16_t) other};
	return c->nodes->n++;
}

static int
split(compiler *c, int next, int other)
{
	return add_node(c, 1, 0, next, other);
}

/* Any character beyond ASCII, as UTF-8 has it; surrogates and what follows U+10FFFF are not among them. */
static int
beyond_ascii(compiler *c, int next)
{
	static const uint8_t forms[][5] = {
		/* first byte, second byte, further bytes */
		{0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
		{0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2}, {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}
	};
	int			tail[3] = {next, -1, -1};
	int			all = -1;

	for (int i = 1; i < 3; i++)
		tail[i] = add_node(c, 0x80, 0xBF, tail[i - 1], -1);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		int			one = add_node(c, forms[i][0], forms[i][1], add_node(c, forms[i][2], forms[i][3], tail[forms[i][4]], -1), -1);

		all = all < 0 ? one : split(c, one, all);
	}
	return all;
}

static int
compile_set(compiler *c, const char_set *set, size_t at, int next)
{
	int			all = set->beyond ? beyond_ascii(c, next) : -1;

	for (int i = 0; i < 128; i++)
	{
		int			first = i,
					one;

		if (!(set->ascii[i / 64] >> (i % 64) & 1))
			continue;
		while (i + 1 < 128 && (set->ascii[(i + 1) / 64] >> ((i + 1) % 64) & 1))
			i++;
		one = add_node(c, (uint8_t) first, (uint8_t) i, next, -1);
		all = all < 0 ? one : split(c, one, all);
	}
	return all < 0 ? fail_at(c, at, "an empty class") : all;
}

/* ----------------------------------------------------------------- sets */

static void
add_range(char_set *set, int low, int high)
{
	for (int i = low; i <= high; i++)
		set->ascii[i / 64] |= UINT64_C(1) << (i % 64);
}

static bool
add_named(char_set *set, char name)
{
	if (name == 'd' || name == 'w')
		add_range(set, '0', '9');
	if (name == 'w')
	{
		add_range(set, 'a', 'z');
		add_range(set, 'A', 'Z');
		add_range(set, '_', '_');
	}
	if (name == 's')
		add_range(set, ' ', ' ');
	return name == 'd' || name == 'w' || name == 's';
}

/* All but these characters, line breaks, NUL and DEL. */
static void
negate(char_set *set)
{
	set->ascii[0] = ~set->ascii[0] & ~(UINT64_C(0x3C01));	/* NUL, LF to CR */
	set->ascii[1] = ~set->ascii[1] & ~(UINT64_C(1) << 63);
	set->beyond = true;
}

/* The class that begins behind '[' at *at; afterwards *at is behind its ']'. */
static void
read_class(compiler *c, size_t *at, size_t end, char_set *set)
{
	const char *s = c->source.data;
	size_t		from = *at;
	bool		others = *at < end && s[*at] == '^';

	memset(set, 0, sizeof(*set));
	*at += others;
	while (*at < end && s[*at] != ']')
	{
		unsigned char low = (unsigned char) s[(*at)++];
		unsigned char high;

		if (low == '\\' && *at < end)
		{
			if (add_named(set, s[*at]))
			{
				++*at;
				continue;
			}
			low = (unsigned char) s[(*at)++];
		}
		high = low;
		if (*at + 1 < end && s[*at] == '-' && s[*at + 1] != ']')
		{
			*at += 1 + (s[*at + 1] == '\\' && *at + 2 < end);
			high = (unsigned char) s[(*at)++];
		}
		if (low >= 0x80 || high >= 0x80 || low > high)
		{
			fail_at(c, from, low > high ? "a range that runs backwards" : "a character beyond ASCII in a class");
			return;
		}
		add_range(set, low, high);
	}
	if (*at >= end)
		fail_at(c, from, "a class without \"]\"");
	++*at;
	if (others)
		negate(set);
}

/* --------------------------------------------------------------- pieces */

/* Bytes of the character at `at`: an escape is one. */
static size_t
char_length(const compiler *c, size_t at, size_t end)
{
	unsigned char b = (unsigned char) c->source.data[at];
	size_t		n = b == '\\' ? 2 : b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : b >= 0xC0 ? 2 : 1;

	return n <= end - at ? n : end - at;
}

/* The end of the atom at `at`, without its quantifier. */
static size_t
atom_end(compiler *c, size_t at, size_t end)
{
	const char *s = c->source.data;
	size_t		i = at;
	int			open = 0;

	do
	{
		char_set	unused;

		if (s[i] == '[')
		{
			i++;
			read_class(c, &i, end, &unused);
		}
		else
		{
			open += s[i] == '(' ? 1 : s[i] == ')' ? -1 : 0;
			i += char_length(c, i, end);
		}
	} while (i < end && open > 0 && c->status == DLM_OK);
	if (open != 0)
		fail_at(c, at, "a parenthesis without its other half");
	return i < end ? i : end;
}

static int
read_number(const compiler *c, size_t *at, size_t end)
{
	const char *s = c->source.data;
	int			n = -1;

	for (; *at < end && s[*at] >= '0' && s[*at] <= '9'; ++*at)
		n = n > MAX_REPEAT ? n : (n < 0 ? 0 : n) * 10 + (s[*at] - '0');
	return n;
}

/* The quantifier at *at, if there is one. */
static void
read_quantifier(compiler *c, size_t *at, size_t end, piece *p)
{
	const char *s = c->source.data;
	size_t		from = *at;

	p->least = p->most = 1;
	if (*at == end || strchr("*+?{", s[*at]) == NULL || s[*at] == '\0')
		return;
	switch (s[(*at)++])
	{
		case '*':
			p->least = 0;
			p->most = -1;
			return;
		case '+':
			p->most = -1;
			return;
		case '?':
			p->least = 0;
			return;
	}
	p->least = p->most = read_number(c, at, end);
	if (*at < end && s[*at] == ',')
	{
		++*at;
		p->most = read_number(c, at, end);
	}
	if (*at == end || s[*at] != '}' || p->least < 0 || p->least > MAX_REPEAT || p->most > MAX_REPEAT ||
		(p->most >= 0 && p->most < p->least))
		fail_at(c, from, "a repetition that is not {n}, {n,} or {n,m} with n <= m <= 1000");
	++*at;
}

static int
compile_atom(compiler *c, size_t at, size_t end, int next, int depth)
{
	const char *s = c->source.data;
	char_set	set = {0};

	if (c->work++ == MAX_WORK)
		return too_long(c);
	switch (s[at])
	{
		case '(':
			at += end - at > 2 && s[at + 1] == '?' && s[at + 2] == ':' ? 3 : 1;
			if (depth == MAX_DEPTH)
				return fail_at(c, at, "too many groups within groups");
			return compile_choice(c, at, end - 1, next, depth + 1);
		case '[':
			at++;
			read_class(c, &at, end, &set);
			return compile_set(c, &set, at, next);
		case '.':
			negate(&set);
			return compile_set(c, &set, at, next);
		case '\\':
			if (end - at < 2)
				return fail_at(c, at, "nothing behind a backslash");
			if (add_named(&set, s[at + 1]))
				return compile_set(c, &set, at, next);
			if (strchr(".[](){}*+?|\\^$-/", s[at + 1]) == NULL)
				return fail_at(c, at, "an unknown escape");
			return add_node(c, (uint8_t) s[at + 1], (uint8_t) s[at + 1], next, -1);
	}
	if (strchr("*+?{)]}", s[at]) != NULL)
		return fail_at(c, at, "a special character that must be escaped");
	for (size_t i = end; i > at; i--)
		next = add_node(c, (uint8_t) s[i - 1], (uint8_t) s[i - 1], next, -1);
	return next;
}

/* The piece least to most times, then next. */
static int
compile_piece(compiler *c, const piece *p, int next, int depth)
{
	int			optional = p->most < 0 ? 0 : p->most - p->least;
	int			state = next;

	if (p->most < 0)
	{
		state = split(c, DL_FINAL, next);
		if (c->status == DLM_OK)
		{
			int			body = compile_atom(c, p->at, p->end, state, depth);

			c->nodes->node[state].next = (int16_t) body;
		}
	}
	for (int i = 0; i < optional && c->status == DLM_OK; i++)
		state = split(c, compile_atom(c, p->at, p->end, state, depth), next);
	for (int i = 0; i < p->least && c->status == DLM_OK; i++)
		state = compile_atom(c, p->at, p->end, state, depth);
	return state;
}

/* Pieces one behind the other. */
static int
compile_sequence(compiler *c, size_t at, size_t end, int next, int depth)
{
	dl_mark		mark = dl_arena_mark(c->arena);
	piece	   *pieces = dl_arena_calloc(c->arena, end - at + 1, sizeof(piece));
	int			n = 0;

	if (pieces == NULL)
	{
		c->status = dl_fail_memory(c->err);
		return DL_FINAL;
	}
	while (at < end && c->status == DLM_OK)
	{
		pieces[n].at = at;
		pieces[n].end = at = atom_end(c, at, end);
		read_quantifier(c, &at, end, &pieces[n++]);
	}
	while (n > 0 && c->status == DLM_OK)
		next = compile_piece(c, &pieces[--n], next, depth);
	dl_arena_rewind(c->arena, mark);
	return next;
}

/* Alternatives between bars. */
static int
compile_choice(compiler *c, size_t at, size_t end, int next, int depth)
{
	int			all = -1;

	for (size_t from = at;; from = ++at)
	{
		int			one;

		while (at < end && c->source.data[at] != '|' && c->status == DLM_OK)
			at = atom_end(c, at, end);
		one = compile_sequence(c, from, at, next, depth);
		all = all < 0 ? one : split(c, all, one);
		if (at >= end || c->status != DLM_OK)
			return all;
	}
}

/* ----------------------------------------------------------------- public */

dlm_status
dl_pattern_parse(dlm_text source, dl_arena *a, dl_nodes *out, int *start, dlm_error *err)
{
	compiler	c = {.source = source, .arena = a, .err = err, .nodes = out};
	size_t		at = source.data[0] == '^';
	size_t		end = source.len;
	size_t		slashes = 0;

	while (end > at + 1 + slashes && source.data[end - 2 - slashes] == '\\')
		slashes++;
	if (end > at && source.data[end - 1] == '$' && slashes % 2 == 0)
		end--;
	out->n = 1;					/* DL_FINAL */
	*start = compile_choice(&c, at, end, DL_FINAL, 0);
	return c.status;
}
