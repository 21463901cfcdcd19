/*
 * model.h - a validated model: pointers into the mapping, typed by role.
 */
#ifndef DL_MODEL_H
#define DL_MODEL_H

#include "kernels.h"
#include "model_file.h"
#include "token.h"

/* A matrix W [n, k] in panels, y = x W^T (+ bias). data NULL = absent. */
typedef struct dl_matrix
{
	dl_dtype	dtype;
	int			n,				/* outputs */
				k;				/* inputs */
	const void *data;
	const float *bias;			/* [n] or NULL */
} dl_matrix;

typedef struct dl_vectors		/* weight and bias of a norm; b may be NULL */
{
	const float *w;
	const float *b;
} dl_vectors;

typedef struct dl_layer
{
	dl_vectors	attn_norm,
				ffn_norm;
	dl_matrix	q,
				k,
				v,
				o,
				gate,
				up,
				down;
	const float *q_norm,
			   *k_norm;			/* [head_dim] or NULL */
} dl_layer;

typedef struct dl_length_head
{
	dl_matrix	q, k, v, o, up, down, hidden, out;
	dl_vectors	norm1, norm2;
} dl_length_head;

/* Special ids and texts, from the settings section. Arrays point into the mapping. */
typedef struct dl_settings
{
	const int32_t *begin, *end, *stop, *never_generate, *never_score;
	int			n_begin, n_end, n_stop, n_never_generate, n_never_score;
	/*
	 * Templates, never empty, all to be filled as the model's own. Where the
	 * file has none, open writes the paper's row: the texts of begin, the
	 * holes, the canvas, the texts of end. A missing classify_multi is classify.
	 */
	dlm_text	generate, classify, classify_multi, infill;
	dlm_text	classify_instruction, content_free;
	dlm_sampler sampler;
	dlm_scoring scoring;
	dlm_normalize normalize;
	dlm_calibrate calibrate;
	int			steps;			/* 0 = by canvas */
	double		length_bias[5];	/* a, b, c, d, e of dl_length_curve_at; missing = the constant 1 */
} dl_settings;

struct dlm_model
{
	const uint8_t *base;
	size_t		size;
	const dl_header *header;
	dl_config	config;
	dl_settings settings;
	dl_matrix	embed,			/* [vocab, hidden] */
				head,			/* [vocab, hidden]: embed when tied */
				head_dense;
	const float *replaced,		/* [n_replaced, hidden] */
			   *position,
			   *type,
			   *rope_cos,
			   *rope_sin;
	dl_vectors	embed_norm,
				final_norm,
				head_norm;
	dl_layer   *layers;			/* [config.layers], malloc'd */
	dl_length_head length;
	dl_tok	   *tok;			/* malloc'd view of the tokenizer blob */
	char	   *texts;			/* malloc'd: the templates that open wrote */
	char	   *about[2];		/* malloc'd: license, source */
};

/* B(n) = a e^(-bn) + c e^(-dn) + e: how sure a model is of a gap by its tokens alone (arXiv 2602.00476). */
double		dl_length_curve_at(const double curve[5], int tokens);

/* x[k] = row (output) `row` of a matrix, widened exactly; int8: the byte times its group's scale, rounded once, then rotated back. */
void		dl_matrix_row(const dl_matrix *w, int row, float *x);

/* x[hidden] = the input embedding of a token, replaced rows considered, dequantised exactly. id < vocab is the caller's duty. */
void		dl_model_embed(const dlm_model *model, int32_t id, float *x);

#endif							/* DL_MODEL_H */
