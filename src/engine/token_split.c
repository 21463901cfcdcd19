/*
 * token_split.c - the patterns that pre-tokenisers search for, as hand-written matchers.
 *
 * Besides literals and single characters of a class there are four regular
 * expressions. Each matcher takes the first alternative that matches, greedy
 * with backtracking, as the regex engine of `tokenizers` does:
 *
 *	words	\w+ | [^\w\s]+
 *	gpt2	's 't 're 've 'm 'll 'd | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
 *	llama3	(?i:'s 't 're 've 'm 'll 'd) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} |
 *			 ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *	qwen2	as llama3 with single \p{N}
 *
 * Every matcher looks at each character a bounded number of times: a run of
 * white space is scanned once per match and at most its last character is
 * left for the next.
 */
#include "token_impl.h"

/* A character of s [n] at i: its class and length; class 0 and length 0 at the end. */
typedef struct glyph
{
	uint32_t	c,
				class;
	int			len;
} glyph;

static glyph
glyph_at(const char *s, size_t n, size_t i)
{
	glyph		g = {0, 0, 0};

	if (i < n)
	{
		g.c = dl_utf8_get(s + i, &g.len);
		g.class = dl_unicode_class(g.c);
	}
	return g;
}

/* Skip characters whose class has a bit of `want` and none of `avoid`; want 0 = any. At most `limit` of them. */
static size_t
skip(const char *s, size_t n, size_t i, uint32_t want, uint32_t avoid, size_t limit)
{
	while (i < n && limit-- > 0)
	{
		glyph		g = glyph_at(s, n, i);

		if ((want != 0 && !(g.class & want)) || (g.class & avoid))
			break;
		i += (size_t) g.len;
	}
	return i;
}

/* Length of an English contraction at s [n], which starts with an apostrophe; 0 if none. */
static size_t
contraction(const char *s, size_t n, bool ignore_case)
{
	char		a,
				b;

	if (n < 2)
		return 0;
	/* the long s folds to s, as full case folding wants */
	if (ignore_case && n >= 3 && memcmp(s + 1, "\xc5\xbf", 2) == 0)
		return 3;
	a = s[1];
	b = n > 2 ? s[2] : '\0';
	if (ignore_case)
	{
		if (a >= 'A' && a <= 'Z')
			a += 32;
		if (b >= 'A' && b <= 'Z')
			b += 32;
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return 2;
	if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
		return 3;
	return 0;
}

/* \s+(?!\S) | \s+ where s[i] is white space: all of the run at the end of the text, else all but its last character. */
static size_t
white_run(const char *s, size_t n, size_t i)
{
	size_t		end = i,
				last = i;

	while (end < n)
	{
		glyph		g = glyph_at(s, n, end);

		if (!(g.class & DL_U_SPACE))
			break;
		last = end;
		end += (size_t) g.len;
	}
	return end == n || last == i ? end : last;
}

static size_t
match_gpt2(const char *s, size_t n, size_t i)
{
	const uint32_t other = DL_U_SPACE | DL_U_LETTER | DL_U_NUMBER;
	glyph		g = glyph_at(s, n, i);
	size_t		j = i;

	if (g.c == '\'')
	{
		size_t		len = contraction(s + i, n - i, false);

		if (len > 0)
			return i + len;
	}
	if (g.c == ' ')
	{
		j = i + 1;
		g = glyph_at(s, n, j);
	}
	if (g.class & DL_U_LETTER)
		return skip(s, n, j, DL_U_LETTER, 0, SIZE_MAX);
	if (g.class & DL_U_NUMBER)
		return skip(s, n, j, DL_U_NUMBER, 0, SIZE_MAX);
	if (g.len > 0 && !(g.class & other))
		return skip(s, n, j, 0, other, SIZE_MAX);
	return white_run(s, n, i);
}

/* \s*[\r\n]+ at i: up to behind the last line break of the white space; i if it holds none. */
static size_t
line_breaks(const char *s, size_t n, size_t i)
{
	size_t		end = i,
				best = i;

	while (end < n)
	{
		glyph		g = glyph_at(s, n, end);

		if (!(g.class & DL_U_SPACE))
			break;
		end += (size_t) g.len;
		if (g.c == '\r' || g.c == '\n')
			best = end;
	}
	return best;
}

static size_t
match_llama3(const char *s, size_t n, size_t i, size_t digits)
{
	const uint32_t other = DL_U_SPACE | DL_U_LETTER | DL_U_NUMBER;
	glyph		g = glyph_at(s, n, i);
	glyph		next = glyph_at(s, n, i + (size_t) g.len);
	size_t		j;

	if (g.c == '\'')
	{
		size_t		len = contraction(s + i, n - i, true);

		if (len > 0)
			return i + len;
	}
	if (g.class & DL_U_LETTER)
		return skip(s, n, i, DL_U_LETTER, 0, SIZE_MAX);
	if (g.c != '\r' && g.c != '\n' && !(g.class & DL_U_NUMBER) && (next.class & DL_U_LETTER))
		return skip(s, n, i + (size_t) g.len, DL_U_LETTER, 0, SIZE_MAX);
	if (g.class & DL_U_NUMBER)
		return skip(s, n, i, DL_U_NUMBER, 0, digits);
	j = g.c == ' ' ? i + 1 : i;
	if (j > i)
		g = next;
	if (g.len > 0 && !(g.class & other))
	{
		j = skip(s, n, j, 0, other, SIZE_MAX);
		while (j < n && (s[j] == '\r' || s[j] == '\n'))
			j++;
		return j;
	}
	j = line_breaks(s, n, i);
	return j > i ? j : white_run(s, n, i);
}

static size_t
match_words(const char *s, size_t n, size_t i)
{
	glyph		g = glyph_at(s, n, i);

	if (g.class & DL_U_WORD)
		return skip(s, n, i, DL_U_WORD, 0, SIZE_MAX);
	return skip(s, n, i, 0, DL_U_WORD | DL_U_WHITESPACE, SIZE_MAX);
}

static size_t
match_class(const char *s, size_t n, size_t i, uint32_t class)
{
	return skip(s, n, i, class, 0, 1);
}

bool
dl_pattern_find(uint32_t pattern, const char *literal, size_t literal_len, const char *s, size_t n, size_t from,
				size_t *start, size_t *end)
{
	size_t		i = from;

	while (i < n)
	{
		size_t		j = i;

		switch (pattern)
		{
			case TB_M_LITERAL:
				{
					const char *hit = memmem(s + i, n - i, literal, literal_len);

					if (hit == NULL)
						return false;
					*start = (size_t) (hit - s);
					*end = *start + literal_len;
					return true;
				}
			case TB_M_WHITESPACE:
				j = match_class(s, n, i, DL_U_WHITESPACE);
				break;
			case TB_M_NUMERIC:
				j = match_class(s, n, i, DL_U_NUMERIC);
				break;
			case TB_M_PUNCTUATION:
				j = match_class(s, n, i, DL_U_PUNCTUATION);
				break;
			case TB_M_WORDS:
				j = match_words(s, n, i);
				break;
			case TB_M_GPT2:
				j = match_gpt2(s, n, i);
				break;
			case TB_M_LLAMA3:
				j = match_llama3(s, n, i, 3);
				break;
			case TB_M_QWEN2:
				j = match_llama3(s, n, i, 1);
				break;
			default:
				return false;
		}
		if (j > i)
		{
			*start = i;
			*end = j;
			return true;
		}
		i += (size_t) glyph_at(s, n, i).len;
	}
	return false;
}
