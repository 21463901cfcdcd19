/*
 * token_wordpiece.c - greedy longest match of one word.
 *
 * The longest vocabulary entry that begins the rest of the word is taken
 * again and again, behind the continuing prefix after the first; a word in
 * which that fails once, or which has too many characters, is one unknown
 * token. A walk down the trie finds the longest entry, so the cost is at most
 * the word's length times the longest entry's.
 */
#include "token_impl.h"

static bool
too_long(const char *s, size_t n, uint32_t max_chars)
{
	size_t		chars = 0;

	if (n <= max_chars)
		return false;
	for (size_t i = 0; i < n; i++)
		if (((unsigned char) s[i] & 0xc0) != 0x80 && ++chars > max_chars)
			return true;
	return false;
}

dlm_status
dl_tok_wordpiece(dl_work *w, const char *s, size_t n)
{
	const dl_tok *tok = w->tok;
	const dl_trie *t = &tok->pieces;
	int			before = w->ids->n;
	size_t		at = 0;

	if (too_long(s, n, tok->header->max_chars))
		return dl_work_id(w, tok->header->unk_id);
	while (at < n)
	{
		uint32_t	node = at > 0 ? tok->prefix_node : 0;
		int32_t		best = -1;
		size_t		end = at;

		for (size_t i = at; i < n && node != UINT32_MAX; i++)
		{
			node = dl_trie_step(t, node, (uint8_t) s[i]);
			if (node == 0)
				break;
			if (t->value[node] >= 0)
			{
				best = t->value[node];
				end = i + 1;
			}
		}
		if (best < 0)
		{
			w->ids->n = before;
			return dl_work_id(w, tok->header->unk_id);
		}
		TRY(dl_work_id(w, best));
		at = end;
	}
	return DLM_OK;
}
