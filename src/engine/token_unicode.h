/*
 * token_unicode.h - the Unicode properties that tokenizers are defined by.
 *
 * The tables (token_unicode_data.c) hold what `tokenizers` 0.23 itself answers
 * for every code point: its regular expressions, its standard library and its
 * normalisation come from different Unicode versions, so one version of the
 * standard would not do. test/vectors/make_unicode.py makes them.
 */
#ifndef DL_TOKEN_UNICODE_H
#define DL_TOKEN_UNICODE_H

#include "dlm.h"

/* Bits of dl_unicode_class. */
#define DL_U_LETTER			(1u << 0)	/* \p{L} */
#define DL_U_NUMBER			(1u << 1)	/* \p{N} */
#define DL_U_SPACE			(1u << 2)	/* \s of the splitting regexes */
#define DL_U_WHITESPACE		(1u << 3)	/* White_Space of the standard library */
#define DL_U_NUMERIC		(1u << 4)	/* Nd, Nl, No of the standard library */
#define DL_U_PUNCTUATION	(1u << 5)	/* ASCII punctuation and P* */
#define DL_U_WORD			(1u << 6)	/* \w */
#define DL_U_DROP			(1u << 7)	/* removed by BERT's clean_text */
#define DL_U_NONSPACING		(1u << 8)	/* Mn: removed by BERT's strip_accents after NFD */
#define DL_U_MARK			(1u << 9)	/* M: removed by StripAccents */
#define DL_U_GRAPHEME(c)	(((c) >> 16) & 15u)	/* dl_grapheme */
#define DL_U_PICTOGRAPH		(1u << 20)
#define DL_U_CONSONANT		(1u << 21)	/* Indic_Conjunct_Break */
#define DL_U_LINKER			(1u << 22)
#define DL_U_CONJUNCT_EXTEND (1u << 23)

typedef enum dl_grapheme
{
	DL_G_OTHER = 0, DL_G_CR, DL_G_LF, DL_G_CONTROL, DL_G_EXTEND, DL_G_ZWJ, DL_G_REGIONAL, DL_G_PREPEND,
	DL_G_SPACING, DL_G_L, DL_G_V, DL_G_T, DL_G_LV, DL_G_LVT
} dl_grapheme;

uint32_t	dl_unicode_class(uint32_t c);

/* The lower case of c in out[2]; returns how many (only U+0130 has two). */
int			dl_unicode_lowercase(uint32_t c, uint32_t out[2]);

/* The full decomposition of c; returns its length, 0 if c stands for itself. *out points into a table or to hangul[3]. */
int			dl_unicode_decompose(uint32_t c, bool compatible, uint32_t hangul[3], const uint32_t **out);

/* A number that orders as the canonical combining class does; 0 for a starter. */
int			dl_unicode_combining(uint32_t c);

/* The primary composite of a and b, or 0. */
uint32_t	dl_unicode_composite(uint32_t a, uint32_t b);

/* Decode one code point of valid UTF-8 at p, *len bytes long. */
static inline uint32_t
dl_utf8_get(const char *p, int *len)
{
	const unsigned char *s = (const unsigned char *) p;

	if (s[0] < 0x80)
	{
		*len = 1;
		return s[0];
	}
	if (s[0] < 0xe0)
	{
		*len = 2;
		return (uint32_t) (s[0] & 31) << 6 | (s[1] & 63);
	}
	if (s[0] < 0xf0)
	{
		*len = 3;
		return (uint32_t) (s[0] & 15) << 12 | (uint32_t) (s[1] & 63) << 6 | (s[2] & 63);
	}
	*len = 4;
	return (uint32_t) (s[0] & 7) << 18 | (uint32_t) (s[1] & 63) << 12 | (uint32_t) (s[2] & 63) << 6 | (s[3] & 63);
}

/* Write c to out[4]; returns the number of bytes. */
int			dl_utf8_put(uint32_t c, char out[4]);

/*
 * The length of the longest prefix of s [n] that is a well-formed sequence
 * (1 .. 4), or 0; then *bad is the length of the maximal ill-formed part
 * (>= 1), which a decoder replaces by one U+FFFD.
 */
int			dl_utf8_check(const char *s, size_t n, int *bad);

/* Length of the well-formed UTF-8 at the front of s [n]; is it all of it? */
size_t		dl_utf8_valid(const char *s, size_t n);
bool		dl_utf8_wellformed(const char *s, size_t n);

/* The tables. */
extern const uint32_t dl_unicode_palette[];	/* class values */
extern const uint32_t dl_unicode_span[];	/* first << 8 | palette index, ascending */
extern const uint16_t dl_unicode_block[];	/* the span of each block of 256 code points' first */
extern const uint32_t dl_unicode_ascii[];	/* class values */
extern const uint32_t dl_unicode_ccc[];		/* first << 8 | combining, ascending */
extern const uint32_t dl_unicode_canonical_key[];
extern const uint16_t dl_unicode_canonical_offset[];
extern const uint32_t dl_unicode_canonical_pool[];
extern const uint32_t dl_unicode_compatible_key[];	/* where it differs from the canonical one */
extern const uint16_t dl_unicode_compatible_offset[];
extern const uint32_t dl_unicode_compatible_pool[];
extern const uint32_t dl_unicode_compose[];	/* a, b, composite; ascending by a, b */
extern const uint32_t dl_unicode_lower[];	/* upper, lower */
extern const int dl_unicode_n_span, dl_unicode_n_ccc, dl_unicode_n_canonical, dl_unicode_n_compatible,
			dl_unicode_n_compose, dl_unicode_n_lower;

#endif							/* DL_TOKEN_UNICODE_H */
