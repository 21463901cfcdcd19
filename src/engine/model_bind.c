/*
 * model_bind.c - bind the directory's tensors to the typed model.
 *
 * One table says for every role which shape the configuration demands,
 * whether it must, may or may not be there, and which field of the model it
 * fills. A tensor of a role that the configuration has no use for is damage:
 * what is in the file is in the digest, and nothing may hide there.
 */
#include "model_check.h"
#include "status.h"

#include <stddef.h>
#include <string.h>

typedef enum presence { ABSENT, OPTIONAL, REQUIRED } presence;

/* What a role must look like, and where it goes: one of the three targets. */
typedef struct expected
{
	presence	there;
	bool		matrix;			/* panels of any weight type; else f32 rows */
	uint64_t	rows,
				cols;
	dl_matrix  *weights;		/* fills the matrix */
	const float **rows_at;		/* fills rows, a vector, or a matrix' bias */
} expected;

static presence
needed(bool yes)
{
	return yes ? REQUIRED : ABSENT;
}

static expected
matrix(presence there, uint64_t rows, uint64_t cols, dl_matrix *target)
{
	return (expected) {there, true, rows, cols, target, NULL};
}

static expected
vectors(presence there, uint64_t rows, uint64_t cols, const float **target)
{
	return (expected) {there, false, rows, cols, NULL, target};
}

static expected
expect_model(dlm_model *m, uint32_t role)
{
	const dl_config *c = &m->config;
	presence	dense = needed(c->head_transform);
	presence	rope = needed(c->position == DL_POS_ROPE);

	switch (role)
	{
		case DL_T_EMBED: return matrix(REQUIRED, c->vocab, c->hidden, &m->embed);
		case DL_T_REPLACED: return vectors(needed(c->n_replaced > 0), c->n_replaced, c->hidden, &m->replaced);
		case DL_T_POSITION: return vectors(needed(c->position == DL_POS_LEARNED),
										   (uint64_t) c->context + c->position_offset, c->hidden, &m->position);
		case DL_T_TYPE: return vectors(OPTIONAL, 1, c->hidden, &m->type);
		case DL_T_EMBED_NORM_W: return vectors(needed(c->embed_norm), 1, c->hidden, &m->embed_norm.w);
		case DL_T_EMBED_NORM_B: return vectors(c->embed_norm ? OPTIONAL : ABSENT, 1, c->hidden, &m->embed_norm.b);
		case DL_T_FINAL_NORM_W: return vectors(needed(c->final_norm), 1, c->hidden, &m->final_norm.w);
		case DL_T_FINAL_NORM_B: return vectors(c->final_norm ? OPTIONAL : ABSENT, 1, c->hidden, &m->final_norm.b);
		case DL_T_HEAD_DENSE_W: return matrix(dense, c->hidden, c->hidden, &m->head_dense);
		case DL_T_HEAD_DENSE_B: return vectors(dense ? OPTIONAL : ABSENT, 1, c->hidden, &m->head_dense.bias);
		case DL_T_HEAD_NORM_W: return vectors(dense, 1, c->hidden, &m->head_norm.w);
		case DL_T_HEAD_NORM_B: return vectors(dense ? OPTIONAL : ABSENT, 1, c->hidden, &m->head_norm.b);
		case DL_T_HEAD_W: return matrix(needed(!c->tied), c->vocab, c->hidden, &m->head);
		case DL_T_HEAD_B: return vectors(OPTIONAL, 1, c->vocab, &m->head.bias);
		case DL_T_ROPE_COS: return vectors(rope, c->context, c->head_dim / 2, &m->rope_cos);
		case DL_T_ROPE_SIN: return vectors(rope, c->context, c->head_dim / 2, &m->rope_sin);
		default: return matrix(ABSENT, 0, 0, NULL);
	}
}

static expected
expect_layer(dlm_model *m, uint32_t role, uint32_t layer)
{
	const dl_config *c = &m->config;
	dl_layer   *l = &m->layers[layer];
	uint64_t	q = (uint64_t) c->heads * c->head_dim;
	uint64_t	kv = (uint64_t) c->kv_heads * c->head_dim;
	presence	norm_b = c->norm == DL_NORM_LAYER ? OPTIONAL : ABSENT;

	switch (role)
	{
		case DL_T_ATTN_NORM_W: return vectors(REQUIRED, 1, c->hidden, &l->attn_norm.w);
		case DL_T_ATTN_NORM_B: return vectors(norm_b, 1, c->hidden, &l->attn_norm.b);
		case DL_T_Q_W: return matrix(REQUIRED, q, c->hidden, &l->q);
		case DL_T_Q_B: return vectors(OPTIONAL, 1, q, &l->q.bias);
		case DL_T_K_W: return matrix(REQUIRED, kv, c->hidden, &l->k);
		case DL_T_K_B: return vectors(OPTIONAL, 1, kv, &l->k.bias);
		case DL_T_V_W: return matrix(REQUIRED, kv, c->hidden, &l->v);
		case DL_T_V_B: return vectors(OPTIONAL, 1, kv, &l->v.bias);
		case DL_T_O_W: return matrix(REQUIRED, c->hidden, q, &l->o);
		case DL_T_O_B: return vectors(OPTIONAL, 1, c->hidden, &l->o.bias);
		case DL_T_Q_NORM: return vectors(needed(c->qk_norm), 1, c->head_dim, &l->q_norm);
		case DL_T_K_NORM: return vectors(needed(c->qk_norm), 1, c->head_dim, &l->k_norm);
		case DL_T_FFN_NORM_W: return vectors(REQUIRED, 1, c->hidden, &l->ffn_norm.w);
		case DL_T_FFN_NORM_B: return vectors(norm_b, 1, c->hidden, &l->ffn_norm.b);
		case DL_T_GATE_W: return matrix(needed(c->gated), c->ffn, c->hidden, &l->gate);
		case DL_T_GATE_B: return vectors(c->gated ? OPTIONAL : ABSENT, 1, c->ffn, &l->gate.bias);
		case DL_T_UP_W: return matrix(REQUIRED, c->ffn, c->hidden, &l->up);
		case DL_T_UP_B: return vectors(OPTIONAL, 1, c->ffn, &l->up.bias);
		case DL_T_DOWN_W: return matrix(REQUIRED, c->hidden, c->ffn, &l->down);
		case DL_T_DOWN_B: return vectors(OPTIONAL, 1, c->hidden, &l->down.bias);
		default: return matrix(ABSENT, 0, 0, NULL);
	}
}

static expected
expect_length_head(dlm_model *m, uint32_t role)
{
	const dl_config *c = &m->config;
	dl_length_head *l = &m->length;
	presence	there = needed(c->length_classes > 0);
	uint64_t	h = c->hidden;

	switch (role)
	{
		case DL_T_LEN_Q_W: return matrix(there, h, h, &l->q);
		case DL_T_LEN_Q_B: return vectors(there, 1, h, &l->q.bias);
		case DL_T_LEN_K_W: return matrix(there, h, h, &l->k);
		case DL_T_LEN_K_B: return vectors(there, 1, h, &l->k.bias);
		case DL_T_LEN_V_W: return matrix(there, h, h, &l->v);
		case DL_T_LEN_V_B: return vectors(there, 1, h, &l->v.bias);
		case DL_T_LEN_O_W: return matrix(there, h, h, &l->o);
		case DL_T_LEN_O_B: return vectors(there, 1, h, &l->o.bias);
		case DL_T_LEN_NORM1_W: return vectors(there, 1, h, &l->norm1.w);
		case DL_T_LEN_NORM1_B: return vectors(there, 1, h, &l->norm1.b);
		case DL_T_LEN_UP_W: return matrix(there, c->length_ffn, h, &l->up);
		case DL_T_LEN_UP_B: return vectors(there, 1, c->length_ffn, &l->up.bias);
		case DL_T_LEN_DOWN_W: return matrix(there, h, c->length_ffn, &l->down);
		case DL_T_LEN_DOWN_B: return vectors(there, 1, h, &l->down.bias);
		case DL_T_LEN_NORM2_W: return vectors(there, 1, h, &l->norm2.w);
		case DL_T_LEN_NORM2_B: return vectors(there, 1, h, &l->norm2.b);
		case DL_T_LEN_HIDDEN_W: return matrix(there, c->length_hidden, h, &l->hidden);
		case DL_T_LEN_HIDDEN_B: return vectors(there, 1, c->length_hidden, &l->hidden.bias);
		case DL_T_LEN_OUT_W: return matrix(there, c->length_classes, c->length_hidden, &l->out);
		case DL_T_LEN_OUT_B: return vectors(there, 1, c->length_classes, &l->out.bias);
		default: return matrix(ABSENT, 0, 0, NULL);
	}
}

static bool
is_layer_role(uint32_t role)
{
	return role >= DL_T_ATTN_NORM_W && role <= DL_T_DOWN_B;
}

static expected
expect(dlm_model *m, uint32_t role, uint32_t layer)
{
	if (is_layer_role(role) ? layer >= m->config.layers : layer != 0)
		return matrix(ABSENT, 0, 0, NULL);
	if (is_layer_role(role))
		return expect_layer(m, role, layer);
	return role >= DL_T_LEN_Q_W ? expect_length_head(m, role) : expect_model(m, role);
}

static void
bind_matrix(dl_matrix *w, const dl_entry *e, const uint8_t *data)
{
	w->dtype = (dl_dtype) e->dtype;
	w->n = (int) e->rows;
	w->k = (int) e->cols;
	w->data = data;
}

/* *end: where the tensor before this one ends. */
static dlm_status
bind_entry(dlm_model *m, const dl_entry *e, uint64_t *end, dlm_error *err)
{
	const dl_section *all = &m->header->tensors;
	expected	want = expect(m, e->role, e->layer);
	uint64_t	bytes = dl_entry_bytes(e->dtype, e->layout, e->rows, e->cols);

	if (want.there == ABSENT)
		return dl_fail_damaged(err, "a tensor that its configuration has no place for");
	if (bytes == 0 || e->bytes != bytes || e->rows != want.rows || e->cols != want.cols ||
		e->layout != (want.matrix ? DL_PANELS : DL_ROWS))
		return dl_fail_damaged(err, "a tensor has the wrong shape or type");
	if (e->offset % DL_ALIGN != 0 || e->offset < *end || e->offset > all->offset + all->size ||
		bytes > all->offset + all->size - e->offset)
		return dl_fail_damaged(err, "tensors overlap or lie outside the file");
	if (want.matrix ? want.weights->data != NULL : *want.rows_at != NULL)
		return dl_fail_damaged(err, "a tensor is there twice");
	*end = e->offset + bytes;
	if (want.matrix)
		bind_matrix(want.weights, e, m->base + e->offset);
	else
		*want.rows_at = (const float *) (m->base + e->offset);
	return DLM_OK;
}

static bool
all_there(dlm_model *m)
{
	for (uint32_t role = DL_T_EMBED; role <= DL_T_LEN_OUT_B; role++)
		for (uint32_t layer = 0; layer < (is_layer_role(role) ? m->config.layers : 1); layer++)
		{
			expected	want = expect(m, role, layer);

			if (want.there == REQUIRED && (want.matrix ? want.weights->data == NULL : *want.rows_at == NULL))
				return false;
		}
	return true;
}

dlm_status
dl_model_bind(dlm_model *m, dlm_error *err)
{
	const dl_entry *e = (const dl_entry *) (m->base + m->header->directory.offset);
	uint64_t	n = m->header->directory.size / sizeof(dl_entry);
	uint64_t	end = m->header->tensors.offset;
	const float *bias;

	for (uint64_t i = 0; i < n; i++)
	{
		dlm_status	st = bind_entry(m, &e[i], &end, err);

		if (st != DLM_OK)
			return st;
	}
	if (!all_there(m))
		return dl_fail_damaged(err, "a tensor is missing");
	if (m->config.tied)			/* the head is the embedding's matrix with a bias of its own */
	{
		bias = m->head.bias;
		m->head = m->embed;
		m->head.bias = bias;
	}
	return DLM_OK;
}
