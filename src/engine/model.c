/*
 * model.c - open, describe and close a model; the input embedding.
 *
 * Open checks, in this order: header, configuration, tensors, tokenizer,
 * settings. It reads no tensor data, so it costs microseconds however large
 * the file; non-finite weights are found by dlm_model_verify, or when they
 * reach the logits.
 */
#include "hadamard.h"
#include "model_check.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

/*
 * Copy a text of the meta section, which the checksum does not cover: "" if
 * it is missing or holds control characters.
 */
static char *
copy_meta(const dlm_model *m, uint32_t key)
{
	uint32_t	size;
	const char *s = dl_setting_find(m->base + m->header->meta.offset, m->header->meta.size, key, &size);
	char	   *copy = calloc((size_t) size + 1, 1);

	if (copy == NULL)
		return NULL;
	if (size > 0)
		memcpy(copy, s, size);
	for (uint32_t i = 0; i < size; i++)
		if ((unsigned char) copy[i] < ' ' || copy[i] == 127)
			copy[0] = 0;
	return copy;
}

static dlm_status
open_parts(dlm_model *m, dlm_error *err)
{
	const dl_header *h = m->header;
	dlm_status	st;

	memcpy(&m->config, m->base + h->config.offset, sizeof(m->config));
	st = dl_config_check(&m->config, err);
	if (st != DLM_OK)
		return st;
	m->layers = calloc(m->config.layers, sizeof(*m->layers));
	if (m->layers == NULL)
		return dl_fail_memory(err);
	st = dl_model_bind(m, err);
	if (st != DLM_OK)
		return st;
	st = dl_tok_open(m->base + h->tokenizer.offset, h->tokenizer.size, &m->tok, err);
	if (st != DLM_OK)
		return st;
	if (dl_tok_count(m->tok) < 0 || (uint32_t) dl_tok_count(m->tok) > m->config.tokens)
		return dl_fail_damaged(err, "its tokenizer knows more tokens than its configuration");
	st = dl_model_settings(m, err);
	if (st != DLM_OK)
		return st;
	m->about[0] = copy_meta(m, DL_S_LICENSE);
	m->about[1] = copy_meta(m, DL_S_SOURCE);
	return m->about[0] != NULL && m->about[1] != NULL ? DLM_OK : dl_fail_memory(err);
}

dlm_status
dlm_model_open(const void *data, size_t size, dlm_model **out, dlm_error *err)
{
	dlm_status	st = dl_header_check(data, size, err);
	dlm_model  *m;

	*out = NULL;
	if (st != DLM_OK)
		return st;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return dl_fail_memory(err);
	m->base = data;
	m->size = size;
	m->header = data;
	st = open_parts(m, err);
	if (st != DLM_OK)
	{
		dlm_model_close(m);
		return st;
	}
	*out = m;
	return DLM_OK;
}

void
dlm_model_close(dlm_model *m)
{
	if (m == NULL)
		return;
	if (m->tok != NULL)
		dl_tok_close(m->tok);
	free(m->texts);
	free(m->about[0]);
	free(m->about[1]);
	free(m->layers);
	free(m);
}

static const char *
weights_name(uint32_t dtype)
{
	return dtype == DL_F32 ? "f32" : dtype == DL_BF16 ? "bf16" : "int8";
}

/* Learned and stored numbers, each once, without padding. Tables (RoPE) are not parameters. */
static uint64_t
count_parameters(const dlm_model *m)
{
	const dl_entry *e = (const dl_entry *) (m->base + m->header->directory.offset);
	uint64_t	n = m->header->directory.size / sizeof(dl_entry);
	uint64_t	count = 0;

	for (uint64_t i = 0; i < n; i++)
		if (e[i].role != DL_T_ROPE_COS && e[i].role != DL_T_ROPE_SIN)
			count += e[i].rows * e[i].cols;
	return count;
}

void
dlm_model_describe(const dlm_model *m, dlm_model_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->digest, m->header->digest, sizeof(info->digest));
	info->architecture = m->config.family;
	info->weights = weights_name(m->config.weights);
	info->attention = m->config.attention == DL_ATT_CONTEXT ? "context" : "full";
	info->license = m->about[0];
	info->source = m->about[1];
	info->parameters = count_parameters(m);
	info->bytes = m->size;
	info->head_bytes = m->header->tensors.offset;
	info->context = (int) m->config.context;
	info->hidden = (int) m->config.hidden;
	info->layers = (int) m->config.layers;
	info->vocab = dl_tok_count(m->tok);
	info->mask_id = (int) m->config.mask_id;
	info->length_head = m->config.length_classes > 0;
}

void
dl_matrix_row(const dl_matrix *w, int row, float *x)
{
	size_t		panel = (size_t) row / DL_PANEL;
	size_t		lane = (size_t) row % DL_PANEL;
	size_t		k = (size_t) w->k;

	if (w->dtype == DL_F32)
	{
		const float *p = (const float *) w->data + panel * k * DL_PANEL + lane;

		for (size_t i = 0; i < k; i++)
			x[i] = p[i * DL_PANEL];
	}
	else if (w->dtype == DL_BF16)
	{
		const uint16_t *p = (const uint16_t *) w->data + panel * k * DL_PANEL + lane;

		for (size_t i = 0; i < k; i++)
		{
			uint32_t	bits = (uint32_t) p[i * DL_PANEL] << 16;

			memcpy(&x[i], &bits, sizeof(bits));
		}
	}
	else
	{
		int			k4 = (w->k + 3) / 4;
		const int8_t *p = (const int8_t *) w->data + panel * dl_s8_panel_bytes(k4);

		for (size_t i = 0; i < k; i++)
		{
			dl_s8_group g = dl_s8_group_at(p, k4, (int) (i / DL_GROUP));

			x[i] = (float) g.w[(i % DL_GROUP / 4 * DL_PANEL + lane) * 4 + i % 4] * g.scale[lane];
		}
		for (size_t i = 0; i + DL_GROUP <= k; i += DL_GROUP)
			dl_rotate_group(x + i);
	}
}

void
dl_model_embed(const dlm_model *m, int32_t id, float *x)
{
	for (uint32_t i = 0; i < m->config.n_replaced; i++)
		if (m->config.replaced[i] == (uint32_t) id)
		{
			memcpy(x, m->replaced + (size_t) i * m->config.hidden, m->config.hidden * sizeof(float));
			return;
		}
	dl_matrix_row(&m->embed, id, x);
}
