/*
 * token_unigram.c - the most probable segmentation of one pre-token.
 *
 * Viterbi over byte positions: best[e] is the best way to reach e, ties to
 * the one found first, sums in double from left to right, as `tokenizers`
 * computes them. A character that no single piece covers can be unknown, at
 * the lowest score minus 10. Neighbouring unknowns are one token, or the
 * bytes of their text where the model has byte tokens. The trie holds no
 * special and no unknown piece: text can never spell one (DESIGN 5).
 */
#include "token_impl.h"

typedef struct node
{
	double		score;
	uint32_t	start;			/* where the last piece begins */
	uint32_t	next;			/* on the best path: where the next piece ends */
	int32_t		id;				/* of the last piece, later of the next; -1: not reached */
} node;

/* Offer a piece from `start` with this total score as the way to reach *to. */
static void
relax(node *to, double score, uint32_t start, int32_t id)
{
	if (to->id < 0 || score > to->score)
	{
		to->score = score;
		to->start = start;
		to->id = id;
	}
}

static dlm_status
search(dl_work *w, const char *s, uint32_t n, node *best)
{
	const dl_tok *tok = w->tok;
	const dl_trie *t = &tok->pieces;

	for (uint32_t i = 0; i <= n; i++)
		best[i].id = -1;
	best[0].score = 0;
	for (uint32_t at = 0; at < n;)
	{
		double		here = best[at].score;
		bool		single = false;
		uint32_t	trie_node = 0;
		int			len;

		(void) dl_utf8_get(s + at, &len);
		for (uint32_t i = at; i < n; i++)
		{
			trie_node = dl_trie_step(t, trie_node, (uint8_t) s[i]);
			if (trie_node == 0)
				break;
			if (t->value[trie_node] >= 0)
			{
				int32_t		id = t->value[trie_node];

				relax(&best[i + 1], tok->scores[id] + here, at, id);
				single = single || i + 1 - at == (uint32_t) len;
			}
		}
		if (!single)
			relax(&best[at + (uint32_t) len], tok->header->unk_score + here, at, tok->header->unk_id);
		at += (uint32_t) len;
		TRY(dl_work_poll(w));
	}
	return DLM_OK;
}

/* A stretch of unknown characters. */
static dlm_status
put_unknown(dl_work *w, const char *s, uint32_t n)
{
	const dl_tok *tok = w->tok;
	int32_t		id = dl_trie_exact(&tok->pieces, s, n);
	bool		bytes = (tok->header->flags & TB_BYTE_FALLBACK) && tok->fallback != NULL;

	if (id >= 0)
		return dl_work_id(w, id);
	for (uint32_t i = 0; bytes && i < n; i++)
		bytes = tok->fallback[(unsigned char) s[i]] >= 0;
	if (!bytes)
		return dl_work_id(w, tok->header->unk_id);
	for (uint32_t i = 0; i < n; i++)
		TRY(dl_work_id(w, tok->fallback[(unsigned char) s[i]]));
	return DLM_OK;
}

dlm_status
dl_tok_unigram(dl_work *w, const char *s, size_t n)
{
	int32_t		unk = w->tok->header->unk_id;
	uint32_t	end = (uint32_t) n;
	node	   *best;

	TRY(dl_vec_reserve(w, &w->symbols, (n + 1) * sizeof(node), 0));
	best = w->symbols.data;
	TRY(search(w, s, (uint32_t) n, best));
	/* turn the chain round: best[i].id and .next now say which piece goes on from i, and to where */
	for (int32_t id = best[end].id; end > 0;)
	{
		uint32_t	start = best[end].start;
		int32_t		id_before = best[start].id;

		best[start].id = id;
		best[start].next = end;
		end = start;
		id = id_before;
	}
	for (uint32_t at = 0; at < n;)
	{
		uint32_t	to = best[at].next,
					from = at;

		if (best[at].id != unk)
			TRY(dl_work_id(w, best[at].id));
		else
		{
			while (to < n && best[to].id == unk)
				to = best[to].next;
			TRY(put_unknown(w, s + from, to - from));
		}
		at = to;
	}
	return DLM_OK;
}
