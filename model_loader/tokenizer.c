/*
 * tokenizer.c - read a tokenizer.json: model, vocabulary, merges, added tokens.
 *
 * Truncation, padding and post-processors are ignored: no begin or end token
 * is ever added here. Ids come out as `tokenizers` gives them out: an added
 * token that the vocabulary holds has the vocabulary's id, others are numbered
 * behind it; a file that claims otherwise is damaged.
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "../src/engine/token.h"
#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

static dlm_status
damaged(dlm_error *err, const char *what)
{
	return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: %s", what);
}

/* A JSON string as a text; false if it is none or not UTF-8. */
static bool
text_of(const cJSON *json, dlm_text *out)
{
	out->data = cJSON_GetStringValue(json);
	if (out->data == NULL)
		return false;
	out->len = strlen(out->data);
	return dl_utf8_wellformed(out->data, out->len);
}

/* A number that is an id; -1 if it is none. */
static int32_t
id_of(const cJSON *json)
{
	double		d = cJSON_IsNumber(json) ? json->valuedouble : -1;

	return d >= 0 && d < TB_MAX_TOKENS && d == (int32_t) d ? (int32_t) d : -1;
}

/* ---------------------------------------------------------------- vocabulary */

/* The ids that a {piece: id} vocabulary and the added tokens need. */
static dlm_status
count_ids(const cJSON *vocab, const cJSON *added, int32_t *n, dlm_error *err)
{
	const cJSON *item;
	int32_t		largest = -1;

	cJSON_ArrayForEach(item, vocab)
	{
		int32_t		id = id_of(item);

		if (id < 0)
			return damaged(err, "a token's id is not a number in range");
		if (id > largest)
			largest = id;
	}
	cJSON_ArrayForEach(item, added)
	{
		int32_t		id = id_of(cJSON_GetObjectItemCaseSensitive(item, "id"));

		if (id < 0)
			return damaged(err, "an added token's id is not a number in range");
		if (id > largest)
			largest = id;
	}
	if (largest < 0)
		return damaged(err, "it has no vocabulary");
	*n = largest + 1;
	return DLM_OK;
}

static dlm_status
read_vocab_object(dl_builder *b, const cJSON *vocab, const cJSON *added, int32_t *n_model, dlm_error *err)
{
	const cJSON *item;
	int32_t		n;
	dlm_status	st;

	if (!cJSON_IsObject(vocab))
		return damaged(err, "it has no vocabulary");
	st = count_ids(vocab, added, &n, err);
	if (st == DLM_OK)
		st = dl_vocab_create(&b->vocab, n, err);
	*n_model = 0;
	cJSON_ArrayForEach(item, vocab)
	{
		dlm_text	piece = {item->string, strlen(item->string)};

		if (st != DLM_OK)
			break;
		if (!dl_utf8_wellformed(piece.data, piece.len))
			return damaged(err, "a token is not valid UTF-8");
		st = dl_vocab_add(&b->vocab, id_of(item), piece, err);
		++*n_model;
	}
	return st;
}

/* Unigram: [[piece, score], ...]; ids are positions. */
static dlm_status
read_vocab_list(dl_builder *b, const cJSON *vocab, const cJSON *added, int32_t *n_model, dlm_error *err)
{
	const cJSON *item;
	int			size = cJSON_IsArray(vocab) ? cJSON_GetArraySize(vocab) : 0;
	int32_t		n,
				id = 0;
	dlm_status	st;

	if (size < 1 || size > TB_MAX_TOKENS)
		return damaged(err, "it has no vocabulary");
	st = count_ids(NULL, added, &n, NULL);
	if (st == DLM_EDAMAGED && cJSON_GetArraySize(added) > 0)
		return damaged(err, "an added token's id is not a number in range");
	if (st != DLM_OK || n < size)
		n = size;
	st = dl_vocab_create(&b->vocab, n, err);
	b->scores = calloc((size_t) n, sizeof(double));
	if (st != DLM_OK || b->scores == NULL)
		return dl_fail_memory(err);
	cJSON_ArrayForEach(item, vocab)
	{
		const cJSON *score = cJSON_GetArrayItem(item, 1);
		dlm_text	piece;

		if (!text_of(cJSON_GetArrayItem(item, 0), &piece) || !cJSON_IsNumber(score) ||
			!(score->valuedouble > -1e30 && score->valuedouble < 1e30))
			return damaged(err, "a token lacks its text or its score");
		b->scores[id] = score->valuedouble;
		st = dl_vocab_add(&b->vocab, id++, piece, err);
		if (st != DLM_OK)
			return st;
	}
	*n_model = id;
	return DLM_OK;
}

/* ---------------------------------------------------------------- merges */

/* Both halves of a merge: ["a", "b"] or "a b". */
static bool
merge_halves(const cJSON *item, dlm_text half[2])
{
	const char *s = cJSON_GetStringValue(item),
			   *space;

	if (s == NULL)
		return cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && text_of(cJSON_GetArrayItem(item, 0), &half[0]) &&
			text_of(cJSON_GetArrayItem(item, 1), &half[1]);
	space = strchr(s, ' ');
	if (space == NULL || strchr(space + 1, ' ') != NULL)
		return false;
	half[0] = (dlm_text) {s, (size_t) (space - s)};
	half[1] = (dlm_text) {space + 1, strlen(space + 1)};
	return true;
}

/* left and right make left + right without right's continuing prefix. */
static int32_t
merged_id(const dl_builder *b, const dlm_text half[2], dl_bytes *scratch)
{
	size_t		skip = b->prefix.len;

	if (half[1].len < skip)
		return -1;
	scratch->len = 0;
	dl_bytes_put(scratch, half[0].data, half[0].len);
	dl_bytes_put(scratch, half[1].data + skip, half[1].len - skip);
	return scratch->failed || scratch->len == 0 ? -1 : dl_vocab_find(&b->vocab, scratch->data, scratch->len);
}

static dlm_status
read_merges(dl_builder *b, const cJSON *merges, const dlm_convert_options *options, dlm_error *err)
{
	const cJSON *item;
	int			n = cJSON_IsArray(merges) ? cJSON_GetArraySize(merges) : -1;
	dl_bytes	scratch = {0};
	dlm_status	st = DLM_OK;

	if (n < 0)
		return damaged(err, "it has no merges");
	b->merges = malloc(((size_t) n + 1) * sizeof(*b->merges));
	if (b->merges == NULL)
		return dl_fail_memory(err);
	cJSON_ArrayForEach(item, merges)
	{
		dlm_text	half[2];
		tb_merge	m;

		if (b->n_merges == 0 && cJSON_IsString(item) && strncmp(item->valuestring, "#version", 8) == 0)
			continue;
		if (!merge_halves(item, half))
			st = damaged(err, "a merge is not a pair of tokens");
		else
		{
			m.left = dl_vocab_find(&b->vocab, half[0].data, half[0].len);
			m.right = dl_vocab_find(&b->vocab, half[1].data, half[1].len);
			m.id = merged_id(b, half, &scratch);
			m.rank = (uint32_t) b->n_merges;
			if (m.left < 0 || m.right < 0 || m.id < 0)
				st = damaged(err, "a merge names a token that the vocabulary lacks");
			b->merges[b->n_merges++] = m;
		}
		if (st == DLM_OK && b->n_merges % 4096 == 0)
			st = dl_build_poll(options, err);
		if (st != DLM_OK)
			break;
	}
	dl_bytes_free(&scratch);
	if (st == DLM_OK)
		dl_build_drop_earlier(b);
	return st;
}

/* ---------------------------------------------------------------- models */

static dlm_text
optional_text(const cJSON *json, const char *key)
{
	dlm_text	t = {"", 0};

	if (dl_json_string(json, key) != NULL)
		(void) text_of(cJSON_GetObjectItemCaseSensitive(json, key), &t);
	return t;
}

static dlm_status
read_bpe(dl_builder *b, const cJSON *model, const dlm_convert_options *options, dlm_error *err)
{
	const cJSON *dropout = cJSON_GetObjectItemCaseSensitive(model, "dropout");
	const char *unk = dl_json_string(model, "unk_token");

	if (cJSON_IsNumber(dropout) && dropout->valuedouble != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's BPE dropout is not supported");
	b->prefix = optional_text(model, "continuing_subword_prefix");
	b->suffix = optional_text(model, "end_of_word_suffix");
	b->flags |= (dl_json_bool(model, "fuse_unk", false) ? TB_FUSE_UNK : 0) |
		(dl_json_bool(model, "byte_fallback", false) ? TB_BYTE_FALLBACK : 0) |
		(dl_json_bool(model, "ignore_merges", false) ? TB_IGNORE_MERGES : 0);
	if (unk != NULL)
		b->unk_id = dl_vocab_find(&b->vocab, unk, strlen(unk));
	if (unk != NULL && unk[0] != '\0' && b->unk_id < 0)
		return damaged(err, "the vocabulary lacks the unknown token");
	return read_merges(b, cJSON_GetObjectItemCaseSensitive(model, "merges"), options, err);
}

static dlm_status
read_wordpiece(dl_builder *b, const cJSON *model, dlm_error *err)
{
	const char *unk = dl_json_string(model, "unk_token");
	const char *prefix = dl_json_string(model, "continuing_subword_prefix");
	const cJSON *max_chars = cJSON_GetObjectItemCaseSensitive(model, "max_input_chars_per_word");

	b->prefix = prefix != NULL ? optional_text(model, "continuing_subword_prefix") : (dlm_text) {"##", 2};
	if (unk == NULL)
		unk = "[UNK]";
	b->unk_id = dl_vocab_find(&b->vocab, unk, strlen(unk));
	if (b->unk_id < 0)
		return damaged(err, "the vocabulary lacks the unknown token");
	b->max_chars = 100;
	if (cJSON_IsNumber(max_chars))
	{
		if (!(max_chars->valuedouble >= 0 && max_chars->valuedouble <= 1e6))
			return damaged(err, "max_input_chars_per_word is out of range");
		b->max_chars = (uint32_t) max_chars->valuedouble;
	}
	return DLM_OK;
}

static dlm_status
read_unigram(dl_builder *b, const cJSON *model, int32_t n_model, dlm_error *err)
{
	const cJSON *unk = cJSON_GetObjectItemCaseSensitive(model, "unk_id");
	double		lowest = b->scores[0];

	b->unk_id = id_of(unk);
	if (b->unk_id < 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "Unigram tokenizer without an unknown token is not supported");
	if (b->unk_id >= n_model)
		return damaged(err, "the unknown token is not in the vocabulary");
	for (int32_t i = 1; i < n_model; i++)
		if (b->scores[i] < lowest)
			lowest = b->scores[i];
	b->unk_score = lowest - 10.0;
	if (dl_json_bool(model, "byte_fallback", false))
		b->flags |= TB_BYTE_FALLBACK;
	return DLM_OK;
}

/* The model's type; older files leave it out and are told apart by their members. */
static const char *
model_type(const cJSON *model)
{
	const char *type = dl_json_string(model, "type");

	if (type != NULL)
		return type;
	if (cJSON_GetObjectItemCaseSensitive(model, "merges") != NULL)
		return "BPE";
	if (cJSON_GetObjectItemCaseSensitive(model, "max_input_chars_per_word") != NULL)
		return "WordPiece";
	return cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(model, "vocab")) ? "Unigram" : "";
}

static dlm_status
read_model(dl_builder *b, const cJSON *root, int32_t *n_model, const dlm_convert_options *options, dlm_error *err)
{
	const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
	const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
	const cJSON *added = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
	const char *type = model_type(model);
	dlm_status	st;

	b->unk_id = -1;
	if (strcmp(type, "Unigram") == 0)
	{
		b->kind = TB_UNIGRAM;
		st = read_vocab_list(b, vocab, added, n_model, err);
		return st == DLM_OK ? read_unigram(b, model, *n_model, err) : st;
	}
	b->kind = strcmp(type, "BPE") == 0 ? TB_BPE : TB_WORDPIECE;
	if (b->kind == TB_WORDPIECE && strcmp(type, "WordPiece") != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "Known models are BPE, WordPiece and Unigram.",
					   "tokenizer's model is not supported");
	st = read_vocab_object(b, vocab, added, n_model, err);
	if (st != DLM_OK)
		return st;
	return b->kind == TB_BPE ? read_bpe(b, model, options, err) : read_wordpiece(b, model, err);
}

/* ---------------------------------------------------------------- added tokens */

/* An id is added once. */
static dlm_status
check_added(const dl_builder *b, dlm_error *err)
{
	uint8_t    *seen = calloc((size_t) b->vocab.n, 1);
	int32_t		twice = -1;

	if (seen == NULL)
		return dl_fail_memory(err);
	for (int32_t i = 0; i < b->n_added; i++)
	{
		if (seen[b->added[i].id])
			twice = b->added[i].id;
		seen[b->added[i].id] = 1;
	}
	free(seen);
	if (twice >= 0)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: two added tokens have the id %d", twice);
	return DLM_OK;
}

static dlm_status
read_added(dl_builder *b, const cJSON *list, int32_t n_model, dlm_error *err)
{
	const cJSON *item;
	int			n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
	int32_t		largest = -1;

	if (n > TB_MAX_TOKENS)
		return damaged(err, "too many added tokens");
	b->added = calloc((size_t) n + 1, sizeof(*b->added));
	if (b->added == NULL)
		return dl_fail_memory(err);
	cJSON_ArrayForEach(item, list)
	{
		dl_added   *a = &b->added[b->n_added];
		int32_t		id = id_of(cJSON_GetObjectItemCaseSensitive(item, "id"));
		bool		special = dl_json_bool(item, "special", false);

		if (!text_of(cJSON_GetObjectItemCaseSensitive(item, "content"), &a->content) || id < 0)
			return damaged(err, "an added token lacks its text or its id");
		if (a->content.len == 0)
			continue;
		a->id = dl_vocab_find(&b->vocab, a->content.data, a->content.len);
		if (a->id < 0)
		{
			int32_t		next = largest >= n_model ? largest + 1 : n_model;
			dlm_status	st;

			if (id != next)
				return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: added token has the id %d, its place is %d",
							   id, next);
			st = dl_vocab_add(&b->vocab, id, a->content, err);
			if (st != DLM_OK)
				return st;
			a->id = id;
			a->outside = true;
		}
		if (a->id != id)
			return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: added token has the id %d, the vocabulary says %d",
						   id, a->id);
		if (a->id > largest)
			largest = a->id;
		a->normalized = dl_json_bool(item, "normalized", !special);
		a->flags = (special ? TB_A_SPECIAL : 0) | (dl_json_bool(item, "single_word", false) ? TB_A_SINGLE_WORD : 0) |
			(dl_json_bool(item, "lstrip", false) ? TB_A_LSTRIP : 0) |
			(dl_json_bool(item, "rstrip", false) ? TB_A_RSTRIP : 0);
		b->n_added++;
	}
	return check_added(b, err);
}

static dlm_status
read_root(dl_builder *b, const cJSON *root, const dlm_convert_options *options, dlm_error *err)
{
	const char *version = dl_json_string(root, "version");
	int32_t		n_model = 0;
	dlm_status	st;

	if (!cJSON_IsObject(root) || !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "model")))
		return damaged(err, "it has no model");
	if (version != NULL && strcmp(version, "1.0") != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer has an unknown version");
	st = read_model(b, root, &n_model, options, err);
	if (st == DLM_OK)
		st = dl_read_normalizer(b, cJSON_GetObjectItemCaseSensitive(root, "normalizer"), err);
	if (st == DLM_OK)
		st = dl_read_pre_tokenizer(b, cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"), err);
	if (st == DLM_OK)
		st = dl_read_decoder(b, cJSON_GetObjectItemCaseSensitive(root, "decoder"), err);
	if (st == DLM_OK)
		st = read_added(b, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"), n_model, err);
	if (st == DLM_OK && (b->flags & TB_BYTES) && b->kind != TB_BPE)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's ByteLevel with a model other than BPE is not supported");
	return st;
}

dlm_status
dlm_tokenizer_from_json(const char *json, size_t size, const dlm_convert_options *options, void **blob,
						size_t *blob_size, dlm_error *err)
{
	dl_builder *b = calloc(1, sizeof(*b));
	cJSON	   *root = NULL;
	dlm_status	st;

	*blob = NULL;
	*blob_size = 0;
	if (b == NULL)
		return dl_fail_memory(err);
	st = dl_json_parse(json, size, "tokenizer.json", &root, err);
	if (st == DLM_OK)
		st = read_root(b, root, options, err);
	if (st == DLM_OK)
		st = dl_build_finish(b, options, blob, blob_size, err);
	cJSON_Delete(root);
	dl_build_free(b);
	free(b);
	return st;
}
