/*
 * t_pattern.c - patterns of gaps: matches, errors, and the same answers as
 * POSIX regular expressions on random ones.
 */
#include <regex.h>
#include <stdlib.h>

#include "harness.h"
#include "pattern.h"

static dlm_text
text(const char *s)
{
	return (dlm_text) {s, strlen(s)};
}

typedef struct expectation
{
	const char *pattern;
	const char *yes[6],
			   *no[6];
} expectation;

static const expectation expectations[] = {
	{"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
	{"-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,2})?", {"0", "-1", "12.5", "999999999"}, {"007", "1.234", "1000000000", "-", "."}},
	{"\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])", {"2024-02-30", "1999-12-31"}, {"2024-13-01", "2024-1-01"}},
	{"a{2,3}|b*|(?:c|de)+", {"aa", "aaa", "", "bbb", "cdec"}, {"a", "aaaa", "x", "d"}},
	{"[^a-c]x", {"dx", "\xC3\xBCx", "\xF0\x9F\x98\x80x"}, {"ax", "\nx", "x", "\xC3x"}},
	{".+", {"a b", "\xE6\x97\xA5"}, {"", "a\nb", "\xFF"}},
	{"\xC3\xBC?x\xE6\x97\xA5", {"\xC3\xBCx\xE6\x97\xA5", "x\xE6\x97\xA5"}, {"\xBCx\xE6\x97\xA5"}},
	{"^a\\$$", {"a$"}, {"a"}},
	{"^ab$", {"ab"}, {"^ab$"}},
	{"[]]?", {NULL}, {NULL}},
	{"[a\\]\\-z]+", {"]a-z"}, {"b"}},
	{"[\\d_]{2,}", {"1_", "___"}, {"1"}},
	{"(a*)*b", {"b", "aab"}, {"a"}},
	{"\\w+\\s\\w+", {"ab c_9"}, {"ab", "a  b"}},
	{"(a|b)(a|b)(a|b)", {"aba"}, {"ab"}},
	{"x{0}y", {"y"}, {"xy"}},
	{"(|a)b", {"b", "ab"}, {"aab"}},
};

static void
texts_match(void)
{
	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
	{
		const expectation *e = &expectations[i];
		dl_arena   *a = dl_arena_create(16 << 20);
		dl_pattern *p = NULL;
		dlm_error	err = {0};
		dlm_status	st = dl_pattern_compile(text(e->pattern), a, &p, &err);

		if (e->yes[0] == NULL)
			CHECK(st == DLM_EINVAL, "%s is a pattern", e->pattern);
		else
			CHECK(st == DLM_OK, "%s: %s", e->pattern, err.message);
		for (int k = 0; p != NULL && k < 6 && e->yes[k] != NULL; k++)
			CHECK(dl_pattern_matches(p, text(e->yes[k])), "%s does not match \"%s\"", e->pattern, e->yes[k]);
		for (int k = 0; p != NULL && k < 6 && e->no[k] != NULL; k++)
			CHECK(!dl_pattern_matches(p, text(e->no[k])), "%s matches \"%s\"", e->pattern, e->no[k]);
		dl_arena_block_free(a, p);
		dl_arena_destroy(a);
	}
}

#define DEEP	"(((((((((((((((((((("
#define PEED	"))))))))))))))))))))"

static void
errors_are_told(void)
{
	static const struct
	{
		const char *pattern;
		dlm_status	status;
		const char *message;
	}			bad[] = {
		{"", DLM_EINVAL, "empty"}, {"a)", DLM_EINVAL, "parenthesis"}, {"(a", DLM_EINVAL, "parenthesis"},
		{"[a", DLM_EINVAL, "class"}, {"a{3,2}", DLM_EINVAL, "repetition"}, {"a{", DLM_EINVAL, "repetition"},
		{"a{1001}", DLM_EINVAL, "repetition"}, {"*", DLM_EINVAL, "special"}, {"a**", DLM_EINVAL, "special"},
		{"a\\", DLM_EINVAL, "backslash"}, {"\\q", DLM_EINVAL, "escape"}, {"[z-a]", DLM_EINVAL, "backwards"},
		{"[\xC3\xBC]", DLM_EINVAL, "ASCII"}, {"[^\\d\\D]", DLM_OK, ""}, {".{0,999}", DLM_ETOOLONG, "long"},
		{"(((){1000}){1000}){1000}", DLM_ETOOLONG, "long"}, {"(a|b)*a(a|b){9}", DLM_ETOOLONG, "states"},
		{DEEP DEEP DEEP "a" PEED PEED PEED, DLM_EINVAL, "groups"},
		{DEEP DEEP "a" PEED PEED, DLM_OK, ""},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dl_arena   *a = dl_arena_create(16 << 20);
		size_t		used = dl_arena_used(a);
		dl_pattern *p = NULL;
		dlm_error	err = {0};
		dlm_status	st = dl_pattern_compile(text(bad[i].pattern), a, &p, &err);

		CHECK(st == bad[i].status && strstr(err.message, bad[i].message) != NULL, "\"%s\": status %d, %s", bad[i].pattern,
			  (int) st, err.message);
		CHECK((p == NULL) == (st != DLM_OK), "\"%s\"", bad[i].pattern);
		dl_arena_block_free(a, p);
		CHECK(dl_arena_used(a) == used, "\"%s\": memory is kept", bad[i].pattern);
		dl_arena_destroy(a);
	}
}

/* ----------------------------------------------------------- random ones */

static unsigned
draw(uint64_t *state, unsigned n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned) (*state >> 33) % n;
}

/* A random expression over a and b, in the syntax that both sides share. */
static void
random_pattern(uint64_t *state, int depth, char *out)
{
	static const char *const repeats[] = {"", "", "", "*", "+", "?", "{2}", "{1,2}", "{2,}"};
	int			pieces = 1 + (int) draw(state, 3);

	for (int i = 0; i < pieces; i++)
	{
		unsigned	kind = draw(state, depth > 0 ? 5 : 3);

		if (kind == 0)
			strcat(out, "a");
		else if (kind == 1)
			strcat(out, "b");
		else if (kind == 2)
			strcat(out, "[ab]");
		else
		{
			strcat(out, "(");
			random_pattern(state, depth - 1, out);
			if (kind == 4)
			{
				strcat(out, "|");
				random_pattern(state, depth - 1, out);
			}
			strcat(out, ")");
		}
		strcat(out, repeats[draw(state, sizeof(repeats) / sizeof(repeats[0]))]);
	}
}

static void
random_patterns_agree(void)
{
	uint64_t	state = 1;
	int			compared = 0,
				matches = 0;

	for (int i = 0; i < 300; i++)
	{
		char		source[2000] = "",
					anchored[2100];
		dl_arena   *a = dl_arena_create(16 << 20);
		dl_pattern *p = NULL;
		regex_t		re;

		random_pattern(&state, 2, source);
		snprintf(anchored, sizeof(anchored), "^(%s)$", source);
		if (dl_pattern_compile(text(source), a, &p, NULL) == DLM_OK && regcomp(&re, anchored, REG_EXTENDED | REG_NOSUB) == 0)
		{
			for (int k = 0; k < 60; k++)
			{
				char		s[12] = "";
				unsigned	n = draw(&state, 10);
				bool		theirs;

				for (unsigned j = 0; j < n; j++)
					s[j] = draw(&state, 12) == 0 ? 'c' : (char) ('a' + draw(&state, 2));
				s[n] = '\0';
				theirs = regexec(&re, s, 0, NULL, 0) == 0;
				CHECK(dl_pattern_matches(p, text(s)) == theirs, "%s on \"%s\"", source, s);
				compared++;
				matches += theirs;
			}
			regfree(&re);
		}
		dl_arena_block_free(a, p);
		dl_arena_destroy(a);
	}
	CHECK(compared > 10000 && matches > 1000, "only %d compared, %d match", compared, matches);
}

int
main(void)
{
	texts_match();
	errors_are_told();
	random_patterns_agree();
	return harness_end("t_pattern");
}
