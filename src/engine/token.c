/*
 * token.c - the front door of the tokenizers: encode, and what is known of single tokens.
 *
 * Encoding follows `tokenizers`: added tokens that are not special are cut out
 * of the raw text, the rest is normalised piece by piece, added tokens that
 * ask for it are cut out of the normalised text, what is left is split into
 * pre-tokens, and the model turns each into ids. Special tokens shadow others
 * in those searches (the longest match wins) but stay text.
 */
#include <stdlib.h>

#include "token_impl.h"

/* ---------------------------------------------------------------- scratch */

dlm_status
dl_vec_reserve(dl_work *w, dl_vec *v, size_t size, size_t keep)
{
	void	   *p;
	size_t		want = v->capacity ? v->capacity * 2 : 1024;

	if (size <= v->capacity)
		return DLM_OK;
	if (want < size)
		want = size;
	p = dl_arena_block(w->arena, want);
	if (p == NULL && want > size)
		p = dl_arena_block(w->arena, want = size);
	if (p == NULL)
		return dl_fail_memory(w->err);
	if (keep > 0)
		memcpy(p, v->data, keep);
	dl_arena_block_free(w->arena, v->data);
	v->data = p;
	v->capacity = want;
	return DLM_OK;
}

dlm_status
dl_buf_put(dl_work *w, dl_buf *b, const char *s, size_t n)
{
	if (n > b->mem.capacity - b->len)
	{
		if (n > DL_TOK_MAX_TEXT || b->len > DL_TOK_MAX_TEXT)
			return dl_fail_memory(w->err);
		TRY(dl_vec_reserve(w, &b->mem, b->len + n, b->len));
	}
	if (n > 0)
		memcpy(BUF(b) + b->len, s, n);
	b->len += n;
	return DLM_OK;
}

dlm_status
dl_spans_put(dl_work *w, dl_spans *s, size_t start, size_t end)
{
	dl_span		span = {(uint32_t) start, (uint32_t) end};

	if (start == end)
		return DLM_OK;
	TRY(dl_vec_reserve(w, &s->mem, (s->n + 1) * sizeof(span), s->n * sizeof(span)));
	SPANS(s)[s->n++] = span;
	return dl_work_poll(w);
}

dlm_status
dl_work_stopped(dl_work *w)
{
	if (w->env != NULL && w->env->stop != NULL && w->env->stop(w->env->arg))
		return dl_fail(w->err, DLM_EINTR, "", "canceled");
	return DLM_OK;
}

dlm_status
dl_work_id(dl_work *w, int32_t id)
{
	TRY(dl_ids_append(w->ids, w->arena, &id, 1, w->err));
	return dl_work_poll(w);
}

static void
work_free(dl_work *w)
{
	for (int i = 0; i < 2; i++)
	{
		dl_arena_block_free(w->arena, w->text[i].mem.data);
		dl_arena_block_free(w->arena, w->spans[i].mem.data);
	}
	dl_arena_block_free(w->arena, w->symbols.data);
	dl_arena_block_free(w->arena, w->heap.data);
	dl_arena_block_free(w->arena, w->marks.data);
}

dlm_status
dl_ids_append(dl_ids *ids, dl_arena *a, const int32_t *id, int n, dlm_error *err)
{
	if (n > ids->capacity - ids->n)
	{
		int32_t    *grown;
		int64_t		want = ids->capacity > 0 ? (int64_t) ids->capacity * 2 : 64;

		if (want < (int64_t) ids->n + n)
			want = (int64_t) ids->n + n;
		if (want > INT32_MAX / 2)
			return dl_fail_memory(err);
		grown = dl_arena_alloc(a, (size_t) want * sizeof(int32_t));
		if (grown == NULL)
			return dl_fail_memory(err);
		if (ids->n > 0)
			memcpy(grown, ids->id, (size_t) ids->n * sizeof(int32_t));
		ids->id = grown;
		ids->capacity = (int) want;
	}
	if (n > 0)
		memcpy(ids->id + ids->n, id, (size_t) n * sizeof(int32_t));
	ids->n += n;
	return DLM_OK;
}

/* ---------------------------------------------------------------- encode */

int32_t
dl_trie_longest(const dl_trie *t, const char *s, size_t n, size_t *len)
{
	uint32_t	node = 0;
	int32_t		best = -1;

	if (t->child == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
	{
		node = dl_trie_step(t, node, (uint8_t) s[i]);
		if (node == 0)
			break;
		if (t->value[node] >= 0)
		{
			best = t->value[node];
			*len = i + 1;
		}
	}
	return best;
}

/* The ids of bytes [start, end) of the normalised text, which hold no added token. */
static dlm_status
encode_plain(dl_work *w, size_t start, size_t end)
{
	const dl_tok *tok = w->tok;

	if (start == end)
		return DLM_OK;
	TRY(dl_tok_split(w, start, end));
	for (size_t i = 0; i < w->spans[w->now].n; i++)
	{
		dl_span		span = SPANS(&w->spans[w->now])[i];
		const char *s = BUF(&w->text[w->now]) + span.start;
		size_t		n = span.end - span.start;

		TRY(dl_work_poll(w));
		switch (tok->header->kind)
		{
			case TB_BPE:
				TRY(dl_tok_bpe(w, s, n));
				break;
			case TB_WORDPIECE:
				TRY(dl_tok_wordpiece(w, s, n));
				break;
			default:
				TRY(dl_tok_unigram(w, s, n));
		}
	}
	return DLM_OK;
}

static bool
is_word(const char *s)
{
	int			len;

	return (dl_unicode_class(dl_utf8_get(s, &len)) & DL_U_WORD) != 0;
}

/* Does a word character end at s + at? */
static bool
word_before(const char *s, size_t at)
{
	if (at == 0)
		return false;
	do
		at--;
	while (((unsigned char) s[at] & 0xc0) == 0x80);
	return is_word(s + at);
}

static size_t
spaces_before(const char *s, size_t floor, size_t at)
{
	while (at > floor)
	{
		size_t		i = at;
		int			len;

		do
			i--;
		while (((unsigned char) s[i] & 0xc0) == 0x80);
		if (!(dl_unicode_class(dl_utf8_get(s + i, &len)) & DL_U_WHITESPACE))
			break;
		at = i;
	}
	return at;
}

static size_t
spaces_after(const char *s, size_t n, size_t at)
{
	while (at < n)
	{
		int			len;

		if (!(dl_unicode_class(dl_utf8_get(s + at, &len)) & DL_U_WHITESPACE))
			break;
		at += (size_t) len;
	}
	return at;
}

/*
 * The next added token of `trie` in s [n], looked for from *from and taking
 * bytes [*start, *end) with the white space it swallows; floor is where the
 * last one ended. Returns its index, -1 if there is none. A token that is
 * white space itself can lie in what the last one swallowed: it is given all
 * the same, as `tokenizers` does.
 */
static int32_t
next_added(const dl_tok *tok, const dl_trie *trie, const char *s, size_t n, size_t floor, size_t *from,
		   size_t *start, size_t *end)
{
	while (*from < n)
	{
		size_t		len = 0;
		int32_t		i = dl_trie_longest(trie, s + *from, n - *from, &len);
		uint32_t	flags;

		*start = *from;
		if (i < 0)
		{
			++*from;
			continue;
		}
		*end = *start + len;
		*from = *end;
		flags = tok->added[i].flags;
		if (flags & TB_A_SPECIAL)
			continue;
		if ((flags & TB_A_SINGLE_WORD) && (word_before(s, *start) || (*end < n && is_word(s + *end))))
			continue;
		if (flags & TB_A_LSTRIP)
			*start = spaces_before(s, floor, *start);
		if (flags & TB_A_RSTRIP)
			*end = spaces_after(s, n, *end);
		return i;
	}
	return -1;
}

/* Normalise a piece of the caller's text, then cut out the added tokens that stand in normalised text. */
static dlm_status
encode_piece(dl_work *w, const char *text, size_t len, bool at_start)
{
	const dl_tok *tok = w->tok;
	size_t		done = 0,
				from = 0,
				start,
				end,
				n;
	int32_t		i;
	dl_buf		whole;
	size_t		zero_len;

	w->zero_len = at_start ? 1 : 0;
	TRY(dl_tok_normalize(w, text, len));
	n = w->text[w->now].len;
	if (tok->cooked.child == NULL)
		return encode_plain(w, 0, n);
	/* splitting overwrites both buffers: keep the normalised text aside while its parts are worked on */
	whole = w->text[w->now];
	zero_len = w->zero_len;
	memset(&w->text[w->now], 0, sizeof(whole));
	while ((i = next_added(tok, &tok->cooked, BUF(&whole), n, done, &from, &start, &end)) >= -1)
	{
		dlm_status	st;
		size_t		stop = i < 0 ? n : start,
					size = stop > done ? stop - done : 0;

		w->text[w->now].len = 0;
		w->zero_len = zero_len > done ? zero_len - done : 0;
		st = dl_buf_put(w, &w->text[w->now], BUF(&whole) + done, size);
		if (st == DLM_OK)
			st = encode_plain(w, 0, size);
		if (st == DLM_OK && i >= 0)
			st = dl_work_id(w, tok->added[i].id);
		if (st != DLM_OK || i < 0)
		{
			dl_arena_block_free(w->arena, whole.mem.data);
			return st;
		}
		done = end;
	}
	return DLM_OK;
}

static dlm_status
encode_all(dl_work *w, const char *s, size_t n)
{
	const dl_tok *tok = w->tok;
	size_t		done = 0,
				from = 0,
				start,
				end;
	int32_t		i = -1;

	do
	{
		if (tok->raw.child != NULL)
			i = next_added(tok, &tok->raw, s, n, done, &from, &start, &end);
		if (i < 0)
			start = end = n;
		if (start > done)
			TRY(encode_piece(w, s + done, start - done, done == 0));
		if (i >= 0)
			TRY(dl_work_id(w, tok->added[i].id));
		done = end;
	} while (i >= 0);
	return DLM_OK;
}

dlm_status
dl_tok_encode(const dl_tok *tok, dlm_text text, dl_tok_mode mode, dl_arena *a, const dlm_env *env, dl_ids *ids,
			  dlm_error *err)
{
	dl_work		w = {.tok = tok, .arena = a, .env = env, .err = err, .ids = ids, .mode = mode};
	int			before = ids->n;
	dlm_status	st;

	if (text.len > DL_TOK_MAX_TEXT)
		return dl_fail(err, DLM_ETOOLONG, "", "text of %zu bytes is too long to tokenize", text.len);
	if (!dl_utf8_wellformed(text.data, text.len))
		return dl_fail(err, DLM_EENCODING, "", "text is not valid UTF-8");
	st = text.len > 0 ? encode_all(&w, text.data, text.len) : DLM_OK;
	work_free(&w);
	if (st != DLM_OK)
		ids->n = before;
	return st;
}

/* ---------------------------------------------------------------- single tokens */

int
dl_tok_count(const dl_tok *tok)
{
	return tok->header->n_tokens;
}

static const tb_token *
token_of(const dl_tok *tok, int32_t id)
{
	if (id < 0 || id >= tok->header->n_tokens)
		return NULL;
	return &tok->tokens[id];
}

int32_t
dl_tok_special_at(const dl_tok *tok, dlm_text text, size_t *len)
{
	size_t		found = 0;
	int32_t		id = dl_trie_longest(&tok->special, text.data, text.len, &found);

	if (len != NULL)
		*len = found;
	return id;
}

int32_t
dl_tok_special(const dl_tok *tok, dlm_text text)
{
	return tok->special.child != NULL ? dl_trie_exact(&tok->special, text.data, text.len) : -1;
}

bool
dl_tok_is_special(const dl_tok *tok, int32_t id)
{
	const tb_token *t = token_of(tok, id);

	return t != NULL && (t->flags & TB_T_SPECIAL);
}

bool
dl_tok_starts_with_space(const dl_tok *tok, int32_t id)
{
	const tb_token *t = token_of(tok, id);

	return t != NULL && (t->flags & TB_T_SPACED);
}

bool
dl_tok_never_spaced(const dl_tok *tok, int32_t id)
{
	const tb_token *t = token_of(tok, id);

	return t != NULL && (t->flags & TB_T_NEVER_SPACED);
}

int
dl_tok_space_ids(const dl_tok *tok, int32_t ids[4])
{
	memcpy(ids, tok->header->space_ids, sizeof(tok->header->space_ids));
	return tok->header->n_space_ids;
}

dlm_text
dl_tok_piece(const dl_tok *tok, int32_t id)
{
	const tb_token *t = token_of(tok, id);
	dlm_text	piece = {"", 0};

	if (t != NULL)
	{
		piece.data = tok->pool + t->piece.offset;
		piece.len = t->piece.size;
	}
	return piece;
}
