/*
 * tokenizer_build.c - what the readers of tokenizers fill: strings, vocabulary, merges.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer_build.h"

/* ---------------------------------------------------------------- bytes */

void
dl_bytes_put(dl_bytes *b, const void *data, size_t n)
{
	if (b->failed || n == 0)
		return;
	if (n > b->cap - b->len)
	{
		size_t		want = b->cap > 0 ? b->cap * 2 : 4096;
		char	   *grown;

		if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
			want = 0;
		else if (want < b->len + n)
			want = b->len + n;
		grown = want > 0 ? realloc(b->data, want) : NULL;
		if (grown == NULL)
		{
			b->failed = true;
			return;
		}
		b->data = grown;
		b->cap = want;
	}
	memcpy(b->data + b->len, data, n);
	b->len += n;
}

void
dl_bytes_free(dl_bytes *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

tb_span
dl_build_string(dl_builder *b, const char *s, size_t n)
{
	tb_span		span = {(uint32_t) b->pool.len, (uint32_t) n};

	if (n > UINT32_MAX / 2 || b->pool.len > UINT32_MAX / 2)
		b->pool.failed = true;
	dl_bytes_put(&b->pool, s, n);
	return span;
}

void
dl_build_op(dl_bytes *ops, uint32_t code, uint32_t a, uint32_t b, uint32_t c, tb_span s, tb_span t)
{
	tb_op		op = {code, a, b, c, s, t};

	dl_bytes_put(ops, &op, sizeof(op));
}

dlm_status
dl_build_poll(const dlm_convert_options *options, dlm_error *err)
{
	if (options != NULL && options->stop != NULL && options->stop(options->arg))
		return dl_fail(err, DLM_EINTR, "", "canceled");
	return DLM_OK;
}

/* ---------------------------------------------------------------- vocabulary */

static uint32_t
hash_text(const char *s, size_t n)
{
	uint64_t	h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char) s[i]) * 0x100000001b3u;
	return (uint32_t) (h ^ h >> 32);
}

dlm_status
dl_vocab_create(dl_vocab *v, int32_t n, dlm_error *err)
{
	uint32_t	slots = 16;

	while (slots < 2 * (uint32_t) n)
		slots *= 2;
	v->piece = calloc((size_t) n + 1, sizeof(*v->piece));
	v->slot = malloc(slots * sizeof(*v->slot));
	if (v->piece == NULL || v->slot == NULL)
		return dl_fail_memory(err);
	memset(v->slot, -1, slots * sizeof(*v->slot));
	v->n = n;
	v->n_slots = slots;
	return DLM_OK;
}

void
dl_vocab_free(dl_vocab *v)
{
	free(v->piece);
	free(v->slot);
}

/* The slot of a text: where it is, or where it would go. */
static uint32_t
find_slot(const dl_vocab *v, const char *s, size_t n)
{
	uint32_t	i = hash_text(s, n) & (v->n_slots - 1);

	while (v->slot[i] >= 0)
	{
		dlm_text	p = v->piece[v->slot[i]];

		if (p.len == n && memcmp(p.data, s, n) == 0)
			break;
		i = (i + 1) & (v->n_slots - 1);
	}
	return i;
}

int32_t
dl_vocab_find(const dl_vocab *v, const char *s, size_t n)
{
	return v->slot[find_slot(v, s, n)];
}

dlm_status
dl_vocab_add(dl_vocab *v, int32_t id, dlm_text piece, dlm_error *err)
{
	uint32_t	i;

	if (id < 0 || id >= v->n)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: token id %d is out of range", id);
	if (v->piece[id].len > 0)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: two tokens have the id %d", id);
	if (piece.len == 0)
		return DLM_OK;
	i = find_slot(v, piece.data, piece.len);
	if (v->slot[i] >= 0)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: tokens %d and %d are the same text", v->slot[i], id);
	v->slot[i] = id;
	v->piece[id] = piece;
	return DLM_OK;
}

/* ---------------------------------------------------------------- merges */

static int
compare_merges(const void *a, const void *b)
{
	const tb_merge *x = a,
			   *y = b;

	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	if (x->right != y->right)
		return x->right < y->right ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

void
dl_build_drop_earlier(dl_builder *b)
{
	size_t		kept = 0;

	qsort(b->merges, b->n_merges, sizeof(*b->merges), compare_merges);
	for (size_t i = 0; i < b->n_merges; i++)
	{
		if (kept > 0 && b->merges[kept - 1].left == b->merges[i].left && b->merges[kept - 1].right == b->merges[i].right)
			kept--;
		b->merges[kept++] = b->merges[i];
	}
	b->n_merges = kept;
}

void
dl_build_free(dl_builder *b)
{
	dl_vocab_free(&b->vocab);
	free(b->scores);
	free(b->merges);
	free(b->added);
	dl_bytes_free(&b->normalize);
	dl_bytes_free(&b->split);
	dl_bytes_free(&b->pool);
	dl_bytes_free(&b->charsmap);
}
