/*
 * params.h - the parameters of a model, with their gradients.
 *
 * Every tensor of an opened model but RoPE's tables and the length head
 * becomes a dl_param; LoRA adds two to each linear layer it is asked for. What
 * a mode trains is unpacked, row-major, and has a gradient; frozen matrices
 * stay where they are in the mapping, whatever their type (weights.h). One
 * block of the arena holds all of it; dl_params_bytes says how much beforehand.
 *
 * Where the length head is trained, it alone is in the list: the rest of the
 * model is the engine's (length.h). A model without one gets one.
 */
#ifndef DL_PARAMS_H
#define DL_PARAMS_H

#include "arena.h"
#include "model.h"
#include "real.h"

typedef enum dl_train_mode
{
	DL_TRAIN_ALL = 0,			/* every parameter; needs an f32 or bf16 model */
	DL_TRAIN_BIAS,				/* biases of linear layers, norms and head: BitFit (Ben Zaken et al. 2022) */
	DL_TRAIN_LORA,				/* W + alpha / rank B A (Hu et al. 2021); W frozen */
	DL_TRAIN_LENGTH				/* the length head (Ye et al. 2023), the rest frozen */
} dl_train_mode;

/* Linear layers, as bits of dl_train_options.lora. */
typedef enum dl_dense_bit
{
	DL_DENSE_Q = 1, DL_DENSE_K = 2, DL_DENSE_V = 4, DL_DENSE_O = 8,
	DL_DENSE_GATE = 16, DL_DENSE_UP = 32, DL_DENSE_DOWN = 64,
	DL_DENSE_HEAD = 128,		/* the head's transform, where there is one */
	DL_DENSE_OUTPUT = 256		/* the output projection; where it is tied, the embedding stays as it is */
} dl_dense_bit;

typedef struct dl_train_options
{
	dl_train_mode mode;
	uint32_t	lora;			/* dl_dense_bit of the layers that get factors */
	int			rank;			/* >= 1 */
	double		alpha;			/* > 0 */
	bool		replaced;		/* LoRA, biases: the replaced rows of the input embedding too, the mask's among them */
	int64_t		seed;			/* of the factors A, B begins at zero; of a new length head */
	int			length_classes;	/* of a new length head, 0: DL_LENGTH_CLASSES or the context if that is less */
} dl_train_options;

#define DL_LENGTH_CLASSES	512

typedef enum dl_param_part { DL_PART_TENSOR = 0, DL_PART_LORA_A, DL_PART_LORA_B } dl_param_part;

typedef struct dl_param
{
	dl_role		role;			/* of LoRA: the matrix it belongs to (DL_T_EMBED: the tied output projection) */
	int			layer;
	dl_param_part part;
	bool		matrix;			/* of a product or an embedding: what weight decay is for */
	int			rows,
				cols;
	size_t		n;				/* rows * cols */
	const dl_entry *entry;		/* of the file's directory; NULL: LoRA, a new length head */
	dl_real    *value;			/* [rows, cols]; NULL: a frozen matrix, which stays in the file */
	dl_real    *grad;			/* [rows, cols], NULL: frozen */
} dl_param;

/* y = x W^T + b + scale (x A^T) B^T */
typedef struct dl_dense
{
	dl_param   *w;				/* [n, k]; NULL: the model has no such layer */
	dl_matrix	stored;			/* W as the file holds it, without bias */
	dl_param   *b;				/* [1, n] or NULL */
	dl_param   *lora_a;			/* [rank, k] or NULL */
	dl_param   *lora_b;			/* [n, rank] or NULL */
} dl_dense;

/* The layer without its factors. */
static inline dl_dense
dl_without_factors(const dl_dense *d)
{
	dl_dense	plain = *d;

	plain.lora_a = plain.lora_b = NULL;
	return plain;
}

typedef struct dl_norm_params
{
	dl_param   *w;				/* [1, n]; NULL: none */
	dl_param   *b;				/* or NULL */
} dl_norm_params;

typedef struct dl_layer_params
{
	dl_norm_params attn_norm,
				ffn_norm;
	dl_param   *q_norm,			/* [1, head_dim] or NULL */
			   *k_norm;
	dl_dense	q, k, v, o, gate, up, down;
} dl_layer_params;

/* The length head: a post-norm transformer layer with ReLU, mean, Linear, Tanh, Linear. */
typedef struct dl_length_params
{
	dl_dense	q, k, v, o, up, down, hidden, out;
	dl_norm_params norm1,
				norm2;
} dl_length_params;

typedef struct dl_params
{
	dl_arena   *arena;
	dl_config	config;			/* a copy of the model's, with a new length head's sizes */
	const dlm_model *model;		/* borrowed: RoPE's tables */
	int			rank;			/* of LoRA, 0: none */
	dl_real		scale;			/* alpha / rank */
	size_t		trained;		/* numbers that have a gradient */
	bool		whole;			/* norms, biases or matrices of the model train, not LoRA's factors alone */
	int			n;
	dl_param   *list;			/* [n], in the file's order, LoRA factors last */
	dl_layer_params *layers;	/* [config.layers] */
	dl_param   *embed,			/* [vocab, hidden] */
			   *replaced,		/* [n_replaced, hidden] or NULL */
			   *position,		/* [context + position_offset, hidden] or NULL */
			   *type;			/* [1, hidden] or NULL */
	dl_norm_params embed_norm,
				final_norm,
				head_norm;
	dl_dense	head_dense;
	dl_dense	head;			/* w is embed where tied */
	dl_length_params length;	/* DL_TRAIN_LENGTH only */
} dl_params;

/* A new length head's sizes, where one is to be made: its layer is as wide as the model's own. */
void		dl_length_sizes(dl_config *c, const dl_train_options *options);

/* Bytes that dl_params_create takes from the arena; *trained (may be NULL) gets how many numbers have a gradient. */
size_t		dl_params_bytes(const dlm_model *model, const dl_train_options *options, size_t *trained);

/*
 * The model is borrowed and must outlive the parameters. Gradients begin at
 * zero. DLM_ENOMEM; DLM_EINVAL: rank or alpha out of range, no bias or layer
 * to train, another number of classes than the length head has;
 * DLM_EUNSUPPORTED: all weights of an int8 model, a length head for a hidden
 * size that is no multiple of the heads.
 */
dlm_status	dl_params_create(const dlm_model *model, const dl_train_options *options, dl_arena *a, dl_params **out,
							 dlm_error *err);
void		dl_params_free(dl_params *p);

/* NULL if there is none. */
dl_param   *dl_params_find(const dl_params *p, dl_role role, int layer, dl_param_part part);

/* All gradients to zero. */
void		dl_params_clear(dl_params *p);

/* unpack.c: a tensor of the file as reals [rows, cols]; int8 dequantised (scale, then rotated back: model.c's rule). */
void		dl_unpack(const dl_entry *e, const void *data, dl_real *out);
/* The same for rows [first, first + n) alone: out [n, cols]. */
void		dl_unpack_rows(const dl_entry *e, const void *data, size_t first, size_t n, dl_real *out);

#endif							/* DL_PARAMS_H */
