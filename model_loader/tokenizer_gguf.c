/*
 * tokenizer_gguf.c - the tokenizer inside a GGUF file.
 *
 * Two of its models are known exactly: `gpt2` (byte-level BPE; `pre` names the
 * splitting) and `llama` (SentencePiece's BPE: the pair whose concatenation
 * has the highest score merges first, ties to the left; a character without a
 * piece becomes bytes). Anything else is refused by name. Control tokens are
 * special; user-defined ones are matched in text as added tokens are.
 */
#include <stdlib.h>
#include <string.h>

#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

#define SPACE_MARK	"\xe2\x96\x81"

enum						/* tokenizer.ggml.token_type */
{
	TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED, TYPE_UNUSED, TYPE_BYTE
};

static const tb_span none = {0, 0};

static dlm_status
damaged(dlm_error *err, const char *what)
{
	return dl_fail(err, DLM_EDAMAGED, "", "GGUF tokenizer is damaged: %s", what);
}

/* Refuse a value by name: at most 60 characters, printable ASCII only. */
static dlm_status
refuse(dlm_error *err, const char *what, dlm_text name)
{
	char		shown[61];
	size_t		n = 0;

	for (; n < name.len && n < sizeof(shown) - 1; n++)
		shown[n] = name.data[n] >= ' ' && name.data[n] <= '~' ? name.data[n] : '?';
	shown[n] = '\0';
	return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
				   "GGUF tokenizer's %s \"%s\" is not supported", what, shown);
}

static bool
is(dlm_text t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.data, s, t.len) == 0;
}

/* What the file says of its tokens. */
typedef struct source
{
	const dl_gguf *gguf;
	dlm_text   *piece;			/* [n] */
	int32_t    *type;			/* [n] */
	float	   *score;			/* [n] or NULL */
	int32_t		n;
} source;

static void
source_free(source *s)
{
	free(s->piece);
	free(s->type);
	free(s->score);
}

static dlm_status
read_source(source *s, dlm_error *err)
{
	dl_gguf_type type;
	uint64_t	n,
				m;

	if (!dl_gguf_get_array(s->gguf, "tokenizer.ggml.tokens", &type, &n) || type != DL_GGUF_STRING || n < 1 ||
		n > TB_MAX_TOKENS)
		return damaged(err, "it has no tokens");
	s->n = (int32_t) n;
	s->piece = calloc((size_t) n, sizeof(*s->piece));
	s->type = calloc((size_t) n, sizeof(*s->type));
	if (s->piece == NULL || s->type == NULL)
		return dl_fail_memory(err);
	if (!dl_gguf_array_strings(s->gguf, "tokenizer.ggml.tokens", s->piece, n))
		return damaged(err, "its tokens cannot be read");
	if (!dl_gguf_get_array(s->gguf, "tokenizer.ggml.token_type", &type, &m) || m != n ||
		!dl_gguf_array_ints(s->gguf, "tokenizer.ggml.token_type", s->type, n))
		return damaged(err, "its token types are missing");
	if (dl_gguf_get_array(s->gguf, "tokenizer.ggml.scores", &type, &m))
	{
		if (m != n)
			return damaged(err, "it has more or fewer scores than tokens");
		s->score = calloc((size_t) n, sizeof(*s->score));
		if (s->score == NULL)
			return dl_fail_memory(err);
		if (!dl_gguf_array_floats(s->gguf, "tokenizer.ggml.scores", s->score, n))
			return damaged(err, "its scores cannot be read");
	}
	return DLM_OK;
}

static dlm_status
read_vocab(dl_builder *b, const source *s, dlm_error *err)
{
	dlm_status	st = dl_vocab_create(&b->vocab, s->n, err);

	b->added = calloc((size_t) s->n, sizeof(*b->added));
	if (b->added == NULL)
		return dl_fail_memory(err);
	for (int32_t i = 0; i < s->n && st == DLM_OK; i++)
	{
		bool		special = s->type[i] == TYPE_CONTROL || s->type[i] == TYPE_UNKNOWN;

		if (!dl_utf8_wellformed(s->piece[i].data, s->piece[i].len))
			return damaged(err, "a token is not valid UTF-8");
		st = dl_vocab_add(&b->vocab, i, s->piece[i], err);
		if (st == DLM_OK && s->piece[i].len > 0 && (special || s->type[i] == TYPE_USER_DEFINED))
		{
			dl_added   *a = &b->added[b->n_added++];

			a->content = s->piece[i];
			a->id = i;
			a->flags = special ? TB_A_SPECIAL : 0;
		}
	}
	return st;
}

/* ---------------------------------------------------------------- gpt2 */

static dlm_status
read_pre(dl_builder *b, const source *s, dlm_error *err)
{
	dlm_text	pre = {"", 0};
	tb_pattern	pattern = TB_M_GPT2;

	if (!dl_gguf_get_string(s->gguf, "tokenizer.ggml.pre", &pre))
		return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
					   "GGUF tokenizer does not name its pre-tokenizer");
	if (is(pre, "smollm"))
		dl_build_op(&b->split, TB_P_SPLIT, TB_M_NUMERIC, TB_B_ISOLATED, 0, none, none);
	else if (is(pre, "llama-bpe") || is(pre, "llama3") || is(pre, "llama-v3"))
	{
		pattern = TB_M_LLAMA3;
		b->flags |= TB_IGNORE_MERGES;
	}
	else if (is(pre, "qwen2"))
	{
		pattern = TB_M_QWEN2;
		dl_build_op(&b->normalize, TB_N_NFC, 0, 0, 0, none, none);
	}
	else if (!is(pre, "gpt-2"))
		return refuse(err, "pre-tokenizer", pre);
	dl_build_op(&b->split, TB_P_SPLIT, pattern, TB_B_ISOLATED, 0, none, none);
	b->flags |= TB_BYTES;
	b->decoder[b->n_decoders++].code = DL_DEC_BYTE_LEVEL;
	return DLM_OK;
}

/* "left right" into a merge of this rank. */
static dlm_status
read_merge(dl_builder *b, dlm_text line, uint32_t rank, dl_bytes *scratch, dlm_error *err)
{
	const char *space = memchr(line.data, ' ', line.len);
	size_t		left = space ? (size_t) (space - line.data) : line.len;
	tb_merge   *m = &b->merges[b->n_merges];

	if (space == NULL)
		return damaged(err, "a merge is not a pair of tokens");
	scratch->len = 0;
	dl_bytes_put(scratch, line.data, left);
	dl_bytes_put(scratch, space + 1, line.len - left - 1);
	if (scratch->failed)
		return dl_fail_memory(err);
	m->left = dl_vocab_find(&b->vocab, line.data, left);
	m->right = dl_vocab_find(&b->vocab, space + 1, line.len - left - 1);
	m->id = scratch->len > 0 ? dl_vocab_find(&b->vocab, scratch->data, scratch->len) : -1;
	m->rank = rank;
	if (m->left < 0 || m->right < 0 || m->id < 0)
		return damaged(err, "a merge names a token that the vocabulary lacks");
	b->n_merges++;
	return DLM_OK;
}

static dlm_status
read_gpt2(dl_builder *b, const source *s, const dlm_convert_options *options, dlm_error *err)
{
	dl_gguf_type type;
	uint64_t	n;
	dlm_text   *lines;
	dl_bytes	scratch = {0};
	dlm_status	st = read_pre(b, s, err);

	if (st != DLM_OK)
		return st;
	if (!dl_gguf_get_array(s->gguf, "tokenizer.ggml.merges", &type, &n) || type != DL_GGUF_STRING || n > 8 * TB_MAX_TOKENS)
		return damaged(err, "it has no merges");
	lines = calloc((size_t) n + 1, sizeof(*lines));
	b->merges = calloc((size_t) n + 1, sizeof(*b->merges));
	if (lines == NULL || b->merges == NULL)
		st = dl_fail_memory(err);
	else if (!dl_gguf_array_strings(s->gguf, "tokenizer.ggml.merges", lines, n))
		st = damaged(err, "its merges cannot be read");
	for (uint64_t i = 0; i < n && st == DLM_OK; i++)
	{
		st = read_merge(b, lines[i], (uint32_t) i, &scratch, err);
		if (st == DLM_OK && i % 4096 == 0)
			st = dl_build_poll(options, err);
	}
	free(lines);
	dl_bytes_free(&scratch);
	if (st == DLM_OK)
		dl_build_drop_earlier(b);
	return st;
}

/* ---------------------------------------------------------------- llama */

/* A score and the piece that has it. */
typedef struct scored
{
	float		score;
	int32_t		id;
} scored;

static int
compare_scores(const void *a, const void *b)
{
	const scored *x = a,
			   *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* rank[id] of the pieces: the place of their score from the highest; equal scores, equal ranks. */
static dlm_status
rank_pieces(const source *s, uint32_t *rank, dlm_error *err)
{
	scored	   *list = malloc((size_t) s->n * sizeof(*list));

	if (list == NULL)
		return dl_fail_memory(err);
	for (int32_t i = 0; i < s->n; i++)
	{
		list[i].score = s->score[i];
		list[i].id = i;
		if (!(s->score[i] > -1e30f && s->score[i] < 1e30f))
		{
			free(list);
			return damaged(err, "a score is not a finite number");
		}
	}
	qsort(list, (size_t) s->n, sizeof(*list), compare_scores);
	for (int32_t i = 0; i < s->n; i++)
		rank[list[i].id] = i > 0 && list[i].score == list[i - 1].score ? rank[list[i - 1].id] : (uint32_t) i;
	free(list);
	return DLM_OK;
}

/* All ways to make piece `id` from two pieces; each of its characters must be a piece. */
static dlm_status
add_splits(dl_builder *b, const source *s, int32_t id, uint32_t rank, dl_bytes *merges, dlm_error *err)
{
	dlm_text	p = s->piece[id];

	for (size_t at = 0; at < p.len;)
	{
		int			len;
		int32_t		c,
					left,
					right;

		(void) dl_utf8_get(p.data + at, &len);
		c = dl_vocab_find(&b->vocab, p.data + at, (size_t) len);
		if (c < 0 || s->type[c] != TYPE_NORMAL)
			return dl_fail(err, DLM_EUNSUPPORTED, "", "GGUF tokenizer with a character that is no token is not supported");
		left = at > 0 ? dl_vocab_find(&b->vocab, p.data, at) : -1;
		right = at > 0 ? dl_vocab_find(&b->vocab, p.data + at, p.len - at) : -1;
		if (left >= 0 && right >= 0 && s->type[left] == TYPE_NORMAL && s->type[right] == TYPE_NORMAL)
		{
			tb_merge	m = {left, right, rank, id};

			dl_bytes_put(merges, &m, sizeof(m));
		}
		at += (size_t) len;
	}
	return DLM_OK;
}

static dlm_status
check_llama(const source *s, bool *prefix, dlm_error *err)
{
	int64_t		add_prefix,
				extra;
	dl_gguf_type type;
	uint64_t	n;

	if (s->score == NULL)
		return damaged(err, "it has no scores");
	for (int32_t i = 0; i < s->n; i++)
		if (s->type[i] == TYPE_USER_DEFINED || s->type[i] == TYPE_UNUSED)
			return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
						   "GGUF tokenizer with user-defined or unused pieces is not supported");
	if (dl_gguf_get_array(s->gguf, "tokenizer.ggml.precompiled_charsmap", &type, &n) && n > 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
					   "GGUF tokenizer with a character map is not supported");
	if (dl_gguf_get_int(s->gguf, "tokenizer.ggml.remove_extra_whitespaces", &extra) && extra != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
					   "GGUF tokenizer that removes white space is not supported");
	*prefix = !dl_gguf_get_int(s->gguf, "tokenizer.ggml.add_space_prefix", &add_prefix) || add_prefix != 0;
	return DLM_OK;
}

static void
llama_operations(dl_builder *b, bool prefix)
{
	static const dl_decoder chain[] = {
		{DL_DEC_REPLACE, SPACE_MARK, " ", 0, 0, false}, {DL_DEC_BYTE_FALLBACK, "", NULL, 0, 0, false},
		{DL_DEC_FUSE, "", NULL, 0, 0, false}, {DL_DEC_STRIP, " ", NULL, 1, 0, false}
	};
	tb_span		mark = dl_build_string(b, SPACE_MARK, 3);

	if (prefix)
		dl_build_op(&b->normalize, TB_N_PREPEND, 0, 0, 0, mark, none);
	dl_build_op(&b->normalize, TB_N_REPLACE, 0, 0, 0, dl_build_string(b, " ", 1), mark);
	b->n_decoders = prefix ? 4 : 3;
	memcpy(b->decoder, chain, (size_t) b->n_decoders * sizeof(chain[0]));
	b->flags |= TB_BYTE_FALLBACK | TB_FUSE_UNK;
}

static dlm_status
read_llama(dl_builder *b, const source *s, const dlm_convert_options *options, dlm_error *err)
{
	uint32_t   *rank;
	dl_bytes	merges = {0};
	bool		prefix = true;
	dlm_status	st = check_llama(s, &prefix, err);

	if (st != DLM_OK)
		return st;
	rank = malloc((size_t) s->n * sizeof(*rank));
	st = rank != NULL ? rank_pieces(s, rank, err) : dl_fail_memory(err);
	for (int32_t i = 0; i < s->n && st == DLM_OK; i++)
	{
		if (s->type[i] == TYPE_UNKNOWN)
			b->unk_id = i;
		if (s->type[i] == TYPE_NORMAL && s->piece[i].len <= TB_MAX_DEPTH)
			st = add_splits(b, s, i, rank[i], &merges, err);
		if (st == DLM_OK && i % 1024 == 0)
			st = dl_build_poll(options, err);
	}
	free(rank);
	if (st == DLM_OK && merges.failed)
		st = dl_fail_memory(err);
	b->merges = (tb_merge *) merges.data;
	b->n_merges = merges.len / sizeof(tb_merge);
	if (st == DLM_OK)
		llama_operations(b, prefix);
	return st;
}

static dlm_status
read_gguf(dl_builder *b, source *s, const dlm_convert_options *options, dlm_error *err)
{
	dlm_text	model = {"", 0};
	dlm_status	st;

	if (!dl_gguf_get_string(s->gguf, "tokenizer.ggml.model", &model))
		return dl_fail(err, DLM_EUNSUPPORTED, "Put the model's tokenizer.json beside the file.",
					   "GGUF file has no tokenizer");
	if (!is(model, "gpt2") && !is(model, "llama"))
		return refuse(err, "model", model);
	st = read_source(s, err);
	if (st == DLM_OK)
		st = read_vocab(b, s, err);
	if (st != DLM_OK)
		return st;
	b->kind = TB_BPE;
	b->unk_id = -1;
	return is(model, "gpt2") ? read_gpt2(b, s, options, err) : read_llama(b, s, options, err);
}

dlm_status
dlm_tokenizer_from_gguf(const dl_gguf *gguf, const dlm_convert_options *options, void **blob, size_t *blob_size,
						dlm_error *err)
{
	dl_builder *b = calloc(1, sizeof(*b));
	source		s = {.gguf = gguf};
	dlm_status	st;

	*blob = NULL;
	*blob_size = 0;
	if (b == NULL)
		return dl_fail_memory(err);
	st = read_gguf(b, &s, options, err);
	if (st == DLM_OK)
		st = dl_build_finish(b, options, blob, blob_size, err);
	source_free(&s);
	dl_build_free(b);
	free(b);
	return st;
}
