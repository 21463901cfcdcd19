/*
 * token_open.c - validate a tokenizer blob once, completely, so that nobody need check again.
 *
 * The blob is untrusted. After this, every offset lies in its section, every
 * id is a token, every trie is a tree of bounded depth, every look-up ends.
 */
#include <stdlib.h>

#include "token_impl.h"

static dlm_status
damaged(dlm_error *err, const char *what)
{
	return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: %s", what);
}

static const void *
section(const dl_tok *tok, int i)
{
	return tok->base + tok->header->section[i].offset;
}

/* The records of a section; false if it does not divide. */
static bool
records(const dl_tok *tok, int i, size_t size, const void **data, uint32_t *n)
{
	uint32_t	bytes = tok->header->section[i].size;

	if (bytes % size != 0)
		return false;
	*n = (uint32_t) (bytes / size);
	*data = *n > 0 ? section(tok, i) : NULL;
	return true;
}

static bool
span_ok(const dl_tok *tok, tb_span s)
{
	uint32_t	pool = tok->header->section[TB_S_POOL].size;

	return s.offset <= pool && s.size <= pool - s.offset;
}

/* Texts that go into the normalised text must be UTF-8: nothing behind them checks again. */
static bool
text_ok(const dl_tok *tok, tb_span s)
{
	return span_ok(tok, s) && dl_utf8_wellformed(tok->pool + s.offset, s.size);
}

/* A tree in level order, each level's children ascending, no deeper than TB_MAX_DEPTH; values in [-1, limit). */
static bool
open_trie(dl_tok *tok, int first, int32_t limit, dl_trie *t)
{
	const void *child,
			   *label,
			   *value;
	uint32_t	n_child,
				n_label,
				n_value,
				level = 0,
				level_end = 1,
				depth = 0;

	if (!records(tok, first, 4, &child, &n_child) || !records(tok, first + 1, 1, &label, &n_label) ||
		!records(tok, first + 2, 4, &value, &n_value))
		return false;
	if (n_child == 0)
		return n_label == 0 && n_value == 0;
	if (n_label != n_child - 1 || n_value != n_label || n_label == 0)
		return false;
	t->child = child;
	t->label = label;
	t->value = value;
	t->n = n_label;
	if (t->child[0] != 1 || t->child[t->n] != t->n || t->value[0] != -1)
		return false;
	for (uint32_t i = 0; i < t->n; i++)
	{
		if (t->child[i] <= i || t->child[i + 1] < t->child[i] || t->child[i + 1] > t->n)
			return false;
		if (t->value[i] < -1 || t->value[i] >= limit)
			return false;
		for (uint32_t j = t->child[i] + 1; j < t->child[i + 1]; j++)
			if (t->label[j] <= t->label[j - 1])
				return false;
	}
	while (level < level_end)
	{
		uint32_t	next_end = t->child[level_end];

		if (++depth > TB_MAX_DEPTH + 1)
			return false;
		level = level_end;
		level_end = next_end;
	}
	return true;
}

static bool
open_tokens(dl_tok *tok)
{
	const void *data;
	uint32_t	n;
	int32_t		limit = tok->header->n_tokens;

	if (limit < 1 || limit > TB_MAX_TOKENS || !records(tok, TB_S_TOKENS, sizeof(tb_token), &data, &n) ||
		n != (uint32_t) limit)
		return false;
	tok->tokens = data;
	for (uint32_t i = 0; i < n; i++)
		if (!span_ok(tok, tok->tokens[i].piece) || !span_ok(tok, tok->tokens[i].text) ||
			!span_ok(tok, tok->tokens[i].first))
			return false;
	if (tok->header->unk_id < -1 || tok->header->unk_id >= limit ||
		tok->header->n_space_ids < 0 || tok->header->n_space_ids > 4)
		return false;
	for (int32_t i = 0; i < tok->header->n_space_ids; i++)
		if (tok->header->space_ids[i] < 0 || tok->header->space_ids[i] >= limit)
			return false;
	return span_ok(tok, tok->header->prefix) && tok->header->prefix.size <= TB_MAX_AFFIX &&
		span_ok(tok, tok->header->suffix) && tok->header->suffix.size <= TB_MAX_AFFIX;
}

static bool
ids_ok(const int32_t *id, uint32_t n, int32_t limit)
{
	for (uint32_t i = 0; i < n; i++)
		if (id[i] < -1 || id[i] >= limit)
			return false;
	return true;
}

static bool
open_model(dl_tok *tok)
{
	const void *merges,
			   *scores,
			   *bytes,
			   *fallback;
	uint32_t	n_scores,
				n_bytes,
				n_fallback;
	int32_t		limit = tok->header->n_tokens;

	if (!records(tok, TB_S_MERGES, sizeof(tb_merge), &merges, &tok->n_merges) ||
		!records(tok, TB_S_SCORES, sizeof(double), &scores, &n_scores) ||
		!records(tok, TB_S_BYTES, 4, &bytes, &n_bytes) || !records(tok, TB_S_FALLBACK, 4, &fallback, &n_fallback))
		return false;
	tok->merges = merges;
	tok->scores = scores;
	tok->bytes = bytes;
	tok->fallback = fallback;
	if (tok->n_merges & (tok->n_merges - 1))
		return false;
	for (uint32_t i = 0; i < tok->n_merges; i++)
	{
		const tb_merge *m = &tok->merges[i];

		if (m->left != -1 && (m->left < 0 || m->left >= limit || m->right < 0 || m->right >= limit ||
							  m->id < 0 || m->id >= limit))
			return false;
	}
	if (n_bytes != 0 && (n_bytes != 4 * 256 || !ids_ok(bytes, n_bytes, limit)))
		return false;
	if (n_fallback != 0 && (n_fallback != 256 || !ids_ok(fallback, n_fallback, limit)))
		return false;
	switch (tok->header->kind)
	{
		case TB_BPE:
			return !(tok->header->flags & TB_BYTES) || n_bytes > 0;
		case TB_WORDPIECE:
			return tok->header->unk_id >= 0 && tok->pieces.child != NULL;
		case TB_UNIGRAM:
			if (n_scores != (uint32_t) limit || tok->pieces.child == NULL || tok->header->unk_id < 0)
				return false;
			for (uint32_t i = 0; i < n_scores; i++)
				if (!(tok->scores[i] > -1e30 && tok->scores[i] < 1e30))
					return false;
			return tok->header->unk_score > -1e30 && tok->header->unk_score < 1e30;
	}
	return false;
}

static bool
open_ops(dl_tok *tok)
{
	const void *normalize,
			   *split;

	if (!records(tok, TB_S_NORMALIZE, sizeof(tb_op), &normalize, &tok->n_normalize) ||
		!records(tok, TB_S_SPLIT, sizeof(tb_op), &split, &tok->n_split) ||
		tok->n_normalize > TB_MAX_OPS || tok->n_split > TB_MAX_OPS)
		return false;
	tok->normalize = normalize;
	tok->split = split;
	for (uint32_t i = 0; i < tok->n_normalize; i++)
	{
		const tb_op *op = &tok->normalize[i];

		if (op->code < 1 || op->code >= TB_N_END || !text_ok(tok, op->s) || !text_ok(tok, op->t))
			return false;
		if ((op->code == TB_N_REPLACE && op->s.size == 0) || (op->code == TB_N_CHARSMAP && tok->charsmap == NULL))
			return false;
	}
	for (uint32_t i = 0; i < tok->n_split; i++)
	{
		const tb_op *op = &tok->split[i];

		if (op->code < 1 || op->code >= TB_P_END || !text_ok(tok, op->s) || !text_ok(tok, op->t))
			return false;
		if (op->code == TB_P_SPLIT && (op->a < 1 || op->a >= TB_M_END || op->b >= TB_B_END ||
									   (op->a == TB_M_LITERAL && op->s.size == 0)))
			return false;
		if (op->code == TB_P_METASPACE && (op->a >= TB_SCHEME_END || op->s.size == 0))
			return false;
	}
	return true;
}

/* Precompiled: each value the double array can give is checked when it is used, since only use tells values from bases. */
static bool
open_charsmap(dl_tok *tok)
{
	tb_section	s = tok->header->section[TB_S_CHARSMAP];
	const char *p = section(tok, TB_S_CHARSMAP);
	uint32_t	size;

	if (s.size == 0)
		return true;
	if (s.size < 8)
		return false;
	memcpy(&size, p, 4);
	if (size % 4 != 0 || size == 0 || size > s.size - 5)
		return false;
	tok->charsmap = (const uint32_t *) (p + 4);
	tok->n_charsmap = size / 4;
	tok->charsmap_text = p + 4 + size;
	tok->charsmap_text_size = s.size - 4 - size;
	return tok->charsmap_text[tok->charsmap_text_size - 1] == '\0' &&
		dl_utf8_wellformed(tok->charsmap_text, tok->charsmap_text_size);
}

static bool
open_added(dl_tok *tok)
{
	const void *data;

	if (!records(tok, TB_S_ADDED, sizeof(tb_added), &data, &tok->n_added))
		return false;
	tok->added = data;
	for (uint32_t i = 0; i < tok->n_added; i++)
		if (tok->added[i].id < 0 || tok->added[i].id >= tok->header->n_tokens)
			return false;
	return open_trie(tok, TB_S_RAW_CHILD, (int32_t) tok->n_added, &tok->raw) &&
		open_trie(tok, TB_S_COOKED_CHILD, (int32_t) tok->n_added, &tok->cooked) &&
		open_trie(tok, TB_S_SPECIAL_CHILD, tok->header->n_tokens, &tok->special);
}

static dlm_status
open_blob(dl_tok *tok, size_t size, dlm_error *err)
{
	const tb_header *h = tok->header;

	if (size < sizeof(*h) || size > UINT32_MAX || memcmp(h->magic, TB_MAGIC, 8) != 0)
		return damaged(err, "it has no header");
	if (h->version != TB_VERSION)
		return dl_fail(err, DLM_EUNSUPPORTED, "Convert the model again with this version.",
					   "tokenizer has format version %u, expected %u", h->version, TB_VERSION);
	for (int i = 0; i < TB_N_SECTIONS; i++)
		if (h->section[i].offset % 8 != 0 || h->section[i].offset > size ||
			h->section[i].size > size - h->section[i].offset)
			return damaged(err, "a section lies outside of it");
	tok->pool = section(tok, TB_S_POOL);
	if (!open_tokens(tok))
		return damaged(err, "bad token table");
	if (!open_trie(tok, TB_S_PIECE_CHILD, h->n_tokens, &tok->pieces))
		return damaged(err, "bad vocabulary tree");
	if (!open_model(tok))
		return damaged(err, "bad model tables");
	if (!open_charsmap(tok))
		return damaged(err, "bad character map");
	if (!open_ops(tok))
		return damaged(err, "bad operations");
	if (!open_added(tok))
		return damaged(err, "bad added tokens");
	return DLM_OK;
}

dlm_status
dl_tok_open(const void *blob, size_t size, dl_tok **out, dlm_error *err)
{
	dl_tok	   *tok = calloc(1, sizeof(*tok));
	dlm_status	st;

	*out = NULL;
	if (tok == NULL)
		return dl_fail_memory(err);
	tok->base = blob;
	tok->header = blob;
	if (blob == NULL || (uintptr_t) blob % 8 != 0)
		st = damaged(err, "it is not aligned");
	else
		st = open_blob(tok, size, err);
	if (st != DLM_OK)
	{
		free(tok);
		return st;
	}
	tok->prefix_node = UINT32_MAX;
	if (tok->pieces.child != NULL)
	{
		tb_span		p = tok->header->prefix;
		uint32_t	node = dl_trie_walk(&tok->pieces, 0, tok->pool + p.offset, p.size);

		if (node != 0 || p.size == 0)
			tok->prefix_node = node;
	}
	*out = tok;
	return DLM_OK;
}

void
dl_tok_close(dl_tok *tok)
{
	free(tok);
}
