/*
 * token_public.c - the public calls on tokens: tokenise and detokenise with a model's tokenizer.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "status.h"

/* Results leave the arena by malloc: the caller frees them. */
static dlm_status
copy_out(const void *data, size_t size, void **out, dlm_error *err)
{
	*out = malloc(size > 0 ? size : 1);
	if (*out == NULL)
		return dl_fail_memory(err);
	if (size > 0)
		memcpy(*out, data, size);
	return DLM_OK;
}

dlm_status
dlm_tokenize(const dlm_model *model, dlm_text text, const dlm_env *env, int32_t **ids, size_t *n, dlm_error *err)
{
	dl_arena   *arena = dl_arena_create(env != NULL ? env->memory_limit : 0);
	dl_ids		list = {0};
	void	   *copy = NULL;
	dlm_status	st;

	*ids = NULL;
	*n = 0;
	if (arena == NULL)
		return dl_fail_memory(err);
	st = dl_tok_encode(model->tok, text, DL_TOK_START, arena, env, &list, err);
	if (st == DLM_OK && list.n > 0)
		st = copy_out(list.id, (size_t) list.n * sizeof(int32_t), &copy, err);
	dl_arena_destroy(arena);
	if (st != DLM_OK)
		return st;
	*ids = copy;
	*n = (size_t) list.n;
	return DLM_OK;
}

dlm_status
dlm_detokenize(const dlm_model *model, const int32_t *ids, size_t n, char **text, size_t *len, dlm_error *err)
{
	int			count = dl_tok_count(model->tok);
	dl_arena   *arena;
	dlm_text	decoded = {0};
	void	   *copy = NULL;
	dlm_status	st;

	*text = NULL;
	*len = 0;
	if (n > INT32_MAX)
		return dl_fail(err, DLM_ETOOLONG, "", "too many tokens");
	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || ids[i] >= count || dl_tok_piece(model->tok, ids[i]).len == 0)
			return dl_fail(err, DLM_EINVAL, "", "token id %d does not exist in the model's vocabulary", ids[i]);
	arena = dl_arena_create(0);
	if (arena == NULL)
		return dl_fail_memory(err);
	st = dl_tok_decode(model->tok, ids, (int) n, arena, &decoded, err);
	if (st == DLM_OK)
		st = copy_out(decoded.data, decoded.len, &copy, err);
	dl_arena_destroy(arena);
	if (st != DLM_OK)
		return st;
	*text = copy;
	*len = decoded.len;
	return DLM_OK;
}

dlm_text
dlm_token_piece(const dlm_model *model, int32_t id)
{
	return dl_tok_piece(model->tok, id);
}

size_t
dlm_token_bytes(const dlm_model *model, int32_t id, char *buf, size_t cap)
{
	/* "the middle of a line": behind itself, since any token that is text will do as the neighbour */
	return dl_tok_bytes(model->tok, id, id, buf, cap);
}
