/*
 * token_unicode.c - look-ups in the Unicode tables, and UTF-8.
 *
 * All tables are sorted and searched by bisection, classes within a block of
 * 256 code points, ASCII at once.
 */
#include "token_unicode.h"

/* Hangul syllables are computed (Unicode 3.12). */
#define HANGUL_S	0xac00u
#define HANGUL_L	0x1100u
#define HANGUL_V	0x1161u
#define HANGUL_T	0x11a7u
#define HANGUL_VN	21u
#define HANGUL_TN	28u
#define HANGUL_SN	11172u

/* Index in [lo, hi) of the last span whose first code point is <= c; that of lo is. */
static int
find_span(const uint32_t *span, int lo, int hi, uint32_t c)
{
	while (hi - lo > 1)
	{
		int			mid = (lo + hi) / 2;

		if (span[mid] >> 8 <= c)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Index of key c in records of `stride` words, -1 if absent. */
static int
find_key(const uint32_t *key, int n, int stride, uint32_t c)
{
	int			lo = 0,
				hi = n;

	while (lo < hi)
	{
		int			mid = (lo + hi) / 2;
		uint32_t	k = key[mid * stride];

		if (k == c)
			return mid;
		if (k < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -1;
}

uint32_t
dl_unicode_class(uint32_t c)
{
	const uint16_t *block = dl_unicode_block + (c >> 8);

	if (c < 128)
		return dl_unicode_ascii[c];
	return dl_unicode_palette[dl_unicode_span[find_span(dl_unicode_span, block[0], block[1] + 1, c)] & 255];
}

int
dl_unicode_combining(uint32_t c)
{
	if (c < 0x300 || (c >= 0x3400 && c < 0xa000))
		return 0;
	return (int) (dl_unicode_ccc[find_span(dl_unicode_ccc, 0, dl_unicode_n_ccc, c)] & 255);
}

int
dl_unicode_lowercase(uint32_t c, uint32_t out[2])
{
	int			i;

	out[0] = c;
	if (c < 0x80)
	{
		if (c >= 'A' && c <= 'Z')
			out[0] = c + 32;
		return 1;
	}
	i = find_key(dl_unicode_lower, dl_unicode_n_lower, 2, c);
	if (i >= 0)
		out[0] = dl_unicode_lower[2 * i + 1];
	if (c != 0x130)
		return 1;
	out[1] = 0x307;
	return 2;
}

int
dl_unicode_decompose(uint32_t c, bool compatible, uint32_t hangul[3], const uint32_t **out)
{
	int			i;

	if (c < 0xa0)
		return 0;
	if (c - HANGUL_S < HANGUL_SN)
	{
		uint32_t	s = c - HANGUL_S;

		hangul[0] = HANGUL_L + s / (HANGUL_VN * HANGUL_TN);
		hangul[1] = HANGUL_V + s % (HANGUL_VN * HANGUL_TN) / HANGUL_TN;
		hangul[2] = HANGUL_T + s % HANGUL_TN;
		*out = hangul;
		return s % HANGUL_TN ? 3 : 2;
	}
	if (compatible)
	{
		i = find_key(dl_unicode_compatible_key, dl_unicode_n_compatible, 1, c);
		if (i >= 0)
		{
			*out = dl_unicode_compatible_pool + dl_unicode_compatible_offset[i];
			return dl_unicode_compatible_offset[i + 1] - dl_unicode_compatible_offset[i];
		}
	}
	i = find_key(dl_unicode_canonical_key, dl_unicode_n_canonical, 1, c);
	if (i < 0)
		return 0;
	*out = dl_unicode_canonical_pool + dl_unicode_canonical_offset[i];
	return dl_unicode_canonical_offset[i + 1] - dl_unicode_canonical_offset[i];
}

uint32_t
dl_unicode_composite(uint32_t a, uint32_t b)
{
	int			lo = 0,
				hi = dl_unicode_n_compose;

	if (a - HANGUL_L < 19 && b - HANGUL_V < HANGUL_VN)
		return HANGUL_S + ((a - HANGUL_L) * HANGUL_VN + (b - HANGUL_V)) * HANGUL_TN;
	if (a - HANGUL_S < HANGUL_SN && (a - HANGUL_S) % HANGUL_TN == 0 && b > HANGUL_T && b < HANGUL_T + HANGUL_TN)
		return a + (b - HANGUL_T);
	while (lo < hi)
	{
		int			mid = (lo + hi) / 2;
		const uint32_t *t = dl_unicode_compose + 3 * mid;

		if (t[0] == a && t[1] == b)
			return t[2];
		if (t[0] < a || (t[0] == a && t[1] < b))
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

int
dl_utf8_put(uint32_t c, char out[4])
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xc0 | c >> 6);
		out[1] = (char) (0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xe0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 63));
		out[2] = (char) (0x80 | (c & 63));
		return 3;
	}
	out[0] = (char) (0xf0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 63));
	out[2] = (char) (0x80 | (c >> 6 & 63));
	out[3] = (char) (0x80 | (c & 63));
	return 4;
}

int
dl_utf8_check(const char *text, size_t n, int *bad)
{
	const unsigned char *s = (const unsigned char *) text;
	unsigned char lo = 0x80,
				hi = 0xbf;
	int			len;

	*bad = 1;
	if (n == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		lo = 0xa0;				/* overlong */
	else if (s[0] == 0xed)
		hi = 0x9f;				/* surrogates */
	else if (s[0] == 0xf0)
		lo = 0x90;				/* overlong */
	else if (s[0] == 0xf4)
		hi = 0x8f;				/* past U+10FFFF */
	for (int i = 1; i < len; i++)
	{
		if ((size_t) i >= n || s[i] < lo || s[i] > hi)
		{
			*bad = i;
			return 0;
		}
		lo = 0x80;
		hi = 0xbf;
	}
	return len;
}

size_t
dl_utf8_valid(const char *s, size_t n)
{
	size_t		i = 0;
	int			len = 1,
				bad;

	while (i < n && (len = dl_utf8_check(s + i, n - i, &bad)) > 0)
		i += (size_t) len;
	return i;
}

bool
dl_utf8_wellformed(const char *s, size_t n)
{
	return dl_utf8_valid(s, n) == n;
}
