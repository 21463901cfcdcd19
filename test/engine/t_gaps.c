/*
 * t_gaps.c - the syntax of infill templates, and that quoted data stays data.
 */
#include <stdlib.h>

#include "gaps.h"
#include "harness.h"

#define CAP	4096

typedef struct parsed
{
	dlm_status	status;
	dlm_error	err;
	dl_gaps		gaps;
	char		text[CAP];		/* pieces, each gap shown as U+0001 */
	size_t		len;
} parsed;

static dlm_text
text_of(const char *s)
{
	return (dlm_text) {s, strlen(s)};
}

static parsed
parse(dlm_text t, dl_arena *a)
{
	parsed		p;

	memset(&p, 0, sizeof(p));
	p.status = dl_gaps_parse(t, a, &p.gaps, &p.err);
	if (p.status != DLM_OK)
		return p;
	for (int g = 0; g <= p.gaps.n; g++)
	{
		memcpy(p.text + p.len, p.gaps.piece[g].data, p.gaps.piece[g].len);
		p.len += p.gaps.piece[g].len;
		if (g < p.gaps.n)
			p.text[p.len++] = '\1';
	}
	return p;
}

static void
gaps_are_read(dl_arena *a)
{
	static const struct
	{
		const char *tmpl;
		const char *text;
		const char *name;		/* of the first gap */
		int			min,
					max;
	} cases[] = {
		{"[MASK]", "\1", "", 1, 1},
		{"a [MASK:5] b", "a \1 b", "", 5, 5},
		{"[MASK:1-8]", "\1", "", 1, 8},
		{"[MASK:city] x [MASK:q_2:3]", "\1 x \1", "city", 1, 1},
		{"[MASK:q_2:3-4]", "\1", "q_2", 3, 4},
		{"[[MASK]] [MASK]", "[MASK] \1", "", 1, 1},
		{"[[MASK:]][MASK]", "\1", "", 1, 1},
		{"[[MASK:5]]", "[\1]", "", 5, 5},
		{"[[MASK] [MASK]]", "[\1 \1]", "", 1, 1},
		{"[[[MASK]]] [MASK]", "[[MASK]] \1", "", 1, 1},
		{"[mask] [MASK [MASK][", "[mask] [MASK \1[", "", 1, 1},
		{"{\"a\": [[1, 2], [3]], \"b\": [MASK:2]}", "{\"a\": [[1, 2], [3]], \"b\": \1}", "", 2, 2},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		parsed		p = parse(text_of(cases[i].tmpl), a);

		CHECK(p.status == DLM_OK, "%s: %s", cases[i].tmpl, p.err.message);
		if (p.status != DLM_OK)
			continue;
		CHECK(p.len == strlen(cases[i].text) && memcmp(p.text, cases[i].text, p.len) == 0, "%s reads \"%.*s\"",
			  cases[i].tmpl, (int) p.len, p.text);
		CHECK(p.gaps.gap[0].min == cases[i].min && p.gaps.gap[0].max == cases[i].max, "%s: lengths", cases[i].tmpl);
		CHECK(p.gaps.gap[0].name.len == strlen(cases[i].name) &&
			  memcmp(p.gaps.gap[0].name.data ? p.gaps.gap[0].name.data : "", cases[i].name, strlen(cases[i].name)) == 0,
			  "%s: name", cases[i].tmpl);
	}
}

static void
faults_are_named(dl_arena *a)
{
	static const struct
	{
		const char *tmpl;
		const char *says;
	} cases[] = {
		{"", "no gap"}, {"plain text", "no gap"}, {"[[MASK]]", "no gap"}, {"[MASK", "no gap"},
		{"a [MASK:5 b", "unclosed"}, {"[MASK:", "unclosed"}, {"[MASK:]", "invalid gap"}, {"[MASK:0]", "no tokens"},
		{"[MASK:8-1]", "reversed"}, {"[MASK:0-3]", "no tokens"}, {"[MASK:1-]", "invalid gap"}, {"[MASK:-1]", "invalid gap"},
		{"[MASK:a:]", "invalid gap"}, {"[MASK:a b]", "invalid gap"}, {"[MASK:1a]", "invalid gap"}, {"[MASK:_a]", "invalid gap"},
		{"[MASK:a] [MASK:b] [MASK:a]", "more than once"}, {"[MASK:99999999999999999999]", "longer than"},
		{"[MASK:1-99999999999999999999]", "longer than"}, {"[MASK: 5]", "invalid gap"}, {"[MASK:a:1-2-3]", "invalid gap"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		parsed		p = parse(text_of(cases[i].tmpl), a);

		CHECK(p.status == DLM_EINVAL || p.status == DLM_ETOOLONG, "%s is taken", cases[i].tmpl);
		CHECK(strstr(p.err.message, cases[i].says) != NULL, "%s: %s", cases[i].tmpl, p.err.message);
	}
}

static void
too_many_gaps(dl_arena *a)
{
	char	   *s = malloc(6 * 5000);
	dl_gaps		gaps;
	dlm_error	err = {0};

	for (int i = 0; i < 5000; i++)
		memcpy(s + 6 * i, "[MASK]", 6);
	CHECK(dl_gaps_parse((dlm_text) {s, 6 * 5000}, a, &gaps, &err) == DLM_ETOOLONG && strstr(err.message, "1000"), "%s",
		  err.message);
	CHECK(dl_gaps_parse((dlm_text) {s, 6 * DLM_MAX_GAPS}, a, &gaps, &err) == DLM_OK && gaps.n == DLM_MAX_GAPS, "1000 gaps");
	free(s);
}

/* ----------------------------------------------------------------- quote */

/* Random text from fragments that quoting must survive. */
static size_t
random_text(unsigned *seed, char *out, int pieces)
{
	static const char *const part[] = {"[", "]", "[[", "]]", "M", "MA", "MAS", "MASK", "ASK", "SK", "K", ":", ":5", "-8",
		"[MASK]", "[MASK:", "[[MASK]]", "[[MASK:]]", "[M", "K]", "[MASK:500]", "MASK]", " ", "x", "\xC3\xA9", "city", "[MASK:a:1-8]"};
	size_t		n = 0;

	for (int i = 0; i < pieces; i++)
	{
		const char *s;

		*seed = *seed * 1103515245u + 12345u;
		s = part[(*seed >> 16) % (sizeof(part) / sizeof(part[0]))];
		memcpy(out + n, s, strlen(s));
		n += strlen(s);
	}
	return n;
}

static size_t
quoted(const char *s, size_t n, char *out)
{
	char	   *q = NULL;
	size_t		len = 0;
	dlm_error	err;

	CHECK(dlm_quote_template((dlm_text) {s, n}, &q, &len, &err) == DLM_OK && q[len] == '\0', "quote");
	memcpy(out, q, len);
	free(q);
	return len;
}

/* quote(x) reads as x, alone, next to other quoted texts, and next to what a template's author may have written. */
static void
quoted_text_stays_text(dl_arena *a)
{
	static const char *const left[] = {"", "[", "[M", "[MASK", "[[", "[[MASK]", "a [MASK] b", "[MAS", "[MASK]", "[[MASK", "[ ", "[MASK:2]["};
	static const char *const right[] = {"", "]", "MASK]", "ASK:5]", "K]", "]]", ":3]", "[MASK]", "SK]]", "K:n]"};
	unsigned	seed = 1;

	for (int round = 0; round < 20000; round++)
	{
		const char *l = left[round % 12],
				   *r = right[round / 12 % 10];
		char		x[512],
					y[512],
					tmpl[CAP],
					want[CAP];
		size_t		nx = random_text(&seed, x, 1 + round % 5);
		size_t		ny = random_text(&seed, y, round % 3);
		size_t		n = 0,
					m = 0;
		parsed		alone,
					p;
		dl_mark		mark = dl_arena_mark(a);

		/* what the author wrote, read with a letter in the data's place; a last gap so that there is one */
		n = (size_t) snprintf(tmpl, CAP, "%s\2%s [MASK]", l, r);
		alone = parse((dlm_text) {tmpl, n}, a);
		n = strlen(l);
		memcpy(tmpl, l, n);
		n += quoted(x, nx, tmpl + n);
		n += quoted(y, ny, tmpl + n);
		n += (size_t) snprintf(tmpl + n, CAP - n, "%s [MASK]", r);
		p = parse((dlm_text) {tmpl, n}, a);
		for (size_t i = 0; i < alone.len; i++)
		{
			if (alone.text[i] != '\2')
			{
				want[m++] = alone.text[i];
				continue;
			}
			memcpy(want + m, x, nx);
			memcpy(want + m + nx, y, ny);
			m += nx + ny;
		}
		CHECK(p.status == DLM_OK && p.len == m && memcmp(p.text, want, m) == 0, "\"%s\" + quote(\"%.*s\") + quote(\"%.*s\") + "
			  "\"%s\" = \"%.*s\" reads \"%.*s\"", l, (int) nx, x, (int) ny, y, r, (int) n, tmpl, (int) p.len, p.text);
		dl_arena_rewind(a, mark);
	}
}

static void
quoting_is_readable(void)
{
	static const char *const same[] = {"", "John", "a [b] c", "[1, 2]", "Maria", "it's 5 o'clock", "[x", "MASKS"};
	char		out[256];

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
	{
		size_t		n = quoted(same[i], strlen(same[i]), out);

		CHECK(n == strlen(same[i]) && memcmp(out, same[i], n) == 0, "quote(\"%s\") = \"%.*s\"", same[i], (int) n, out);
	}
	CHECK(quoted("[MASK]", 6, out) == 8 && memcmp(out, "[[MASK]]", 8) == 0, "[MASK] becomes [[MASK]]");
}

int
main(void)
{
	dl_arena   *a = dl_arena_create(0);

	gaps_are_read(a);
	faults_are_named(a);
	too_many_gaps(a);
	quoted_text_stays_text(a);
	quoting_is_readable();
	dl_arena_destroy(a);
	return harness_end("t_gaps");
}
