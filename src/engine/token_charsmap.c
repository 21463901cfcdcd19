/*
 * token_charsmap.c - SentencePiece's precompiled character map.
 *
 * The map is a double-array trie from byte strings to replacement texts.
 * `tokenizers` asks it for each grapheme cluster of fewer than six bytes, else
 * for each character, and takes the shortest entry that begins the part, for
 * the whole part. The grapheme rules are those of Unicode Annex 29 (GB3 to
 * GB13), kept as a small state machine over one cluster.
 */
#include "token_impl.h"

/* One unit of a double array (the Darts-clone layout). */
static uint32_t
unit_offset(uint32_t unit)
{
	return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The replacement of the shortest entry that begins s [n]; false if there is none. */
static bool
lookup(const dl_tok *tok, const char *s, size_t n, dlm_text *out)
{
	uint32_t	at = unit_offset(tok->charsmap[0]);

	for (size_t i = 0; i < n; i++)
	{
		uint8_t		c = (uint8_t) s[i];
		uint32_t	unit;

		at ^= c;
		if (c == 0 || at >= tok->n_charsmap)
			return false;
		unit = tok->charsmap[at];
		if ((unit & (0x80000000u | 0xff)) != c)
			return false;
		at ^= unit_offset(unit);
		if (at >= tok->n_charsmap)
			return false;
		if (unit & 0x100)
		{
			uint32_t	value = tok->charsmap[at] & 0x7fffffff;

			if (value >= tok->charsmap_text_size || ((unsigned char) tok->charsmap_text[value] & 0xc0) == 0x80)
				return false;
			out->data = tok->charsmap_text + value;
			out->len = strlen(out->data);
			return true;
		}
	}
	return false;
}

/* What is known of the cluster so far. */
typedef struct cluster
{
	dl_grapheme last;
	int			regionals;
	bool		pictograph;		/* Extended_Pictographic Extend* */
	bool		joined;			/* ... ZWJ */
	bool		consonant;		/* Consonant (Extend | Linker)* */
	bool		linker;			/* ... with a Linker in it */
} cluster;

static void
cluster_add(cluster *k, uint32_t class)
{
	dl_grapheme g = (dl_grapheme) DL_U_GRAPHEME(class);

	k->regionals = g == DL_G_REGIONAL ? k->regionals + 1 : 0;
	k->joined = g == DL_G_ZWJ && k->pictograph;
	k->pictograph = (class & DL_U_PICTOGRAPH) || (g == DL_G_EXTEND && k->pictograph);
	if (class & DL_U_CONSONANT)
	{
		k->consonant = true;
		k->linker = false;
	}
	else if (class & DL_U_LINKER)
		k->linker = k->consonant;
	else if (!(class & DL_U_CONJUNCT_EXTEND))
		k->consonant = k->linker = false;
	k->last = g;
}

/* Is there no boundary between the cluster and a character of this class? */
static bool
cluster_joins(const cluster *k, uint32_t class)
{
	dl_grapheme g = (dl_grapheme) DL_U_GRAPHEME(class);
	dl_grapheme p = k->last;

	if (p == DL_G_CR && g == DL_G_LF)
		return true;			/* GB3 */
	if (p == DL_G_CR || p == DL_G_LF || p == DL_G_CONTROL || g == DL_G_CR || g == DL_G_LF || g == DL_G_CONTROL)
		return false;			/* GB4, GB5 */
	if (p == DL_G_L && (g == DL_G_L || g == DL_G_V || g == DL_G_LV || g == DL_G_LVT))
		return true;			/* GB6 */
	if ((p == DL_G_LV || p == DL_G_V) && (g == DL_G_V || g == DL_G_T))
		return true;			/* GB7 */
	if ((p == DL_G_LVT || p == DL_G_T) && g == DL_G_T)
		return true;			/* GB8 */
	if (g == DL_G_EXTEND || g == DL_G_ZWJ || g == DL_G_SPACING || p == DL_G_PREPEND)
		return true;			/* GB9, GB9a, GB9b */
	if (k->linker && (class & DL_U_CONSONANT))
		return true;			/* GB9c */
	if (k->joined && (class & DL_U_PICTOGRAPH))
		return true;			/* GB11 */
	return g == DL_G_REGIONAL && k->regionals % 2 == 1;	/* GB12, GB13 */
}

size_t
dl_grapheme_next(const char *s, size_t n)
{
	cluster		k = {0};
	int			len;
	size_t		at;

	cluster_add(&k, dl_unicode_class(dl_utf8_get(s, &len)));
	for (at = (size_t) len; at < n; at += (size_t) len)
	{
		uint32_t	class = dl_unicode_class(dl_utf8_get(s + at, &len));

		if (!cluster_joins(&k, class))
			break;
		cluster_add(&k, class);
	}
	return at;
}

dlm_status
dl_tok_charsmap(dl_work *w, const char *s, size_t n, dl_buf *out)
{
	for (size_t i = 0; i < n;)
	{
		size_t		size = dl_grapheme_next(s + i, n - i),
					end = i + size;
		dlm_text	by;

		if (size < 6 && lookup(w->tok, s + i, size, &by))
		{
			TRY(dl_buf_put(w, out, by.data, by.len));
			i = end;
		}
		while (i < end)
		{
			int			len;

			(void) dl_utf8_get(s + i, &len);
			if (lookup(w->tok, s + i, (size_t) len, &by))
				TRY(dl_buf_put(w, out, by.data, by.len));
			else
				TRY(dl_buf_put(w, out, s + i, (size_t) len));
			i += (size_t) len;
			TRY(dl_work_poll(w));
		}
	}
	return DLM_OK;
}
