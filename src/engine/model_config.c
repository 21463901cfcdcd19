/*
 * model_config.c - is a configuration one that the forward pass can run?
 */
#include "model_check.h"

#include <math.h>
#include <string.h>

static bool
between(uint32_t x, uint32_t low, uint32_t high)
{
	return x >= low && x <= high;
}

static bool
family_valid(const char family[32])
{
	size_t		n = strnlen(family, 32);

	if (n == 0 || n == 32)
		return false;
	for (size_t i = 0; i < n; i++)
		if (family[i] <= ' ' || family[i] > '~')
			return false;
	for (size_t i = n; i < 32; i++)
		if (family[i] != 0)
			return false;
	return true;
}

static bool
sizes_valid(const dl_config *c)
{
	return between(c->hidden, 1, DL_MAX_HIDDEN) && between(c->layers, 1, DL_MAX_LAYERS) &&
		between(c->head_dim, 2, DL_MAX_HEAD_DIM) && c->head_dim % 2 == 0 &&
		between(c->kv_heads, 1, DL_MAX_HIDDEN) && between(c->heads, 1, DL_MAX_HIDDEN) &&
		c->heads % c->kv_heads == 0 && (uint64_t) c->heads * c->head_dim <= DL_MAX_HIDDEN &&
		between(c->ffn, 1, DL_MAX_FFN) && between(c->vocab, 1, DL_MAX_VOCAB) &&
		between(c->tokens, 1, c->vocab) && between(c->context, 1, DL_MAX_CONTEXT);
}

static bool
choices_valid(const dl_config *c)
{
	return c->weights <= DL_I8 && c->norm <= DL_NORM_RMS && c->pre_norm <= 1 && c->act <= DL_ACT_RELU &&
		c->gated <= 1 && c->position <= DL_POS_ROPE && c->embed_norm <= 1 && c->final_norm <= 1 &&
		c->qk_norm <= 1 && c->tied <= 1 && c->head_transform <= 1 && c->logit_shift <= 1 &&
		c->attention <= DL_ATT_CONTEXT && isfinite(c->norm_eps) && c->norm_eps >= 0 && c->norm_eps < 1 &&
		c->position_offset <= (c->position == DL_POS_LEARNED ? 65536u : 0u);
}

static bool
length_head_valid(const dl_config *c)
{
	if (c->length_classes == 0)
		return c->length_ffn == 0 && c->length_hidden == 0;
	return between(c->length_classes, 1, DL_MAX_CONTEXT) && between(c->length_ffn, 1, DL_MAX_FFN) &&
		between(c->length_hidden, 1, DL_MAX_FFN) && c->hidden % c->heads == 0;
}

static bool
replaced_valid(const dl_config *c)
{
	if (c->n_replaced > DL_MAX_REPLACED)
		return false;
	for (uint32_t i = 0; i < c->n_replaced; i++)
	{
		if (c->replaced[i] >= c->vocab)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (c->replaced[j] == c->replaced[i])
				return false;
	}
	return true;
}

dlm_status
dl_config_check(const dl_config *c, dlm_error *err)
{
	if (!family_valid(c->family))
		return dl_fail_damaged(err, "the name of its family");
	if (!sizes_valid(c))
		return dl_fail_damaged(err, "sizes of its configuration");
	if (!choices_valid(c))
		return dl_fail_damaged(err, "choices of its configuration");
	if (c->mask_id >= c->tokens)
		return dl_fail_damaged(err, "the mask token is not in the vocabulary");
	if (!length_head_valid(c))
		return dl_fail_damaged(err, "sizes of its length head");
	if (!replaced_valid(c))
		return dl_fail_damaged(err, "replaced rows of its embedding");
	return DLM_OK;
}
