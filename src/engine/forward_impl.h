/*
 * forward_impl.h - between forward_plan.c (what a batch consists of), layers.c
 * (the arithmetic of a chunk of tokens) and forward.c (the walk in slices).
 *
 * A batch is a packed list of T *tokens*, row after row, the live ones of a
 * row first. Fixed tokens whose keys and values are cached, or are those of an
 * earlier row with the same beginning (an instruction, say), are not in it.
 * Queries are the *needed* tokens: all of them, but in the last layer only
 * those whose output somebody asked for. From the last layer's queries on,
 * row i of x is needed token i.
 */
#ifndef DL_FORWARD_IMPL_H
#define DL_FORWARD_IMPL_H

#include "kv.h"
#include "linear.h"
#include "threads.h"

#define DL_CHUNK		192		/* most tokens that go through the matrices together */

typedef struct dl_token
{
	int32_t		id;
	int32_t		position;
	int32_t		row;
	int32_t		slot;			/* in its row's live or fixed key space */
	bool		live;
	bool		store;			/* writes its key and value */
	bool		needed;			/* as a query of the last layer */
} dl_token;

/* Where a row's tokens and keys lie. */
typedef struct dl_row_plan
{
	int			n_fixed,
				n_live;
	int			fixed_from;		/* fixed tokens from this one on are in the batch */
	int			first_token;
	int			first_needed;	/* of the row's needed tokens */
	dl_kv	   *kv;				/* NULL: fixed keys in the workspace, for one layer at a time */
	size_t		fixed_at;		/* in f->keys, if kv is NULL */
	size_t		live_at;		/* in f->keys */
	int			fixed_capacity,
				live_capacity;
	int			source;			/* an earlier row that begins with the same fixed tokens ... */
	int			copy_from,		/* ... whose slots [copy_from, copy_to) are copied in every layer */
				copy_to;
} dl_row_plan;

/* Queries [first, first + n) of one row, all live or all fixed. */
typedef struct dl_block
{
	int			row;
	int			first;			/* needed token */
	int			n;
	bool		live;
} dl_block;

typedef struct dl_ask
{
	int			row;
	int			index;			/* in the row's ask[] */
	int			needed;			/* needed token whose output predicts it */
	size_t		partials;		/* where its partial results lie in f->partials */
} dl_ask;

typedef enum dl_phase
{
	DL_PH_EMBED,
	DL_PH_KEYS,					/* norm, k, v, and q unless the last layer */
	DL_PH_COPY,					/* keys and values that rows have in common */
	DL_PH_QUERIES,				/* last layer: drop what is not needed; norm, q */
	DL_PH_ATTEND,
	DL_PH_MIX,					/* o, residual, FFN, residual */
	DL_PH_FINAL,				/* final norm, hidden states out */
	DL_PH_HEAD,
	DL_PH_LENGTHS,
	DL_PH_DONE
} dl_phase;

/* Workspace of the length head, one row at a time. */
typedef struct dl_length_work
{
	dl_heads	heads;
	int			capacity;		/* of the key space */
	size_t		scores_ld;
	float	   *q,				/* [n, hidden] queries, then attention's output */
			   *keys,			/* key space */
			   *k,				/* [chunk, hidden] */
			   *v,
			   *ffn,			/* [chunk, length_ffn] */
			   *mean,			/* [hidden] */
			   *inner,			/* [length_hidden] */
			   *logits;			/* [length_classes] */
} dl_length_work;

struct dl_forward
{
	const dlm_model *model;
	const dl_kernels *kernels;
	dl_arena   *arena;
	dl_team    *team;
	int			threads;		/* of the team */
	dl_heads	heads;
	int			query_dim,		/* heads * head_dim */
				key_dim;		/* kv_heads * head_dim */
	float		scale;			/* 1 / sqrt(head_dim) */
	size_t		hidden_ld,		/* row strides of x, h and t; of q; of gate and up */
				query_ld,
				ffn_ld;

	/* the batch */
	const dl_row *rows;
	int			n_rows;
	void	   *plan_block;		/* holds the lists below */
	dl_row_plan *plans;			/* [n_rows] */
	dl_token   *tokens;			/* [n_tokens] */
	int			n_tokens;
	int		   *needed;			/* [n_needed] tokens that are queries in the last layer, ascending */
	int			n_needed;
	int		   *limits;			/* [n_tokens] scratch of fixed queries' limits, by needed token */
	dl_block   *blocks,			/* of attention, in all layers but the last */
			   *last_blocks;
	int			n_blocks,
				n_last_blocks;
	dl_ask	   *asks;
	int			n_asks;

	/* workspace, one block */
	void	   *work;
	size_t		work_size;
	float	   *x;				/* [n_tokens, hidden_ld] residual stream */
	float	   *q;				/* [n_tokens, query_ld] queries, overwritten by attention's output */
	float	   *keys;			/* key spaces of live tokens, and of fixed ones without a kv */
	size_t		n_keys;			/* floats */
	float	   *h,				/* [chunk, hidden_ld] normed input of a block */
			   *t,				/* [chunk, hidden_ld] output of a block */
			   *k,				/* [chunk, key_dim] */
			   *v,
			   *gate,			/* [chunk, ffn_ld] */
			   *up;
	float	   *head_x;			/* [head_rows, hidden_ld] what the output projection reads */
	void	   *head_scratch;	/* an int8 one: the same, quantised ... */
	dl_s8_rows	head_ready;		/* ... and where, for the rows of this pass */
	int			head_rows;		/* asks of the largest pass */
	char	   *partials;		/* of the asks of a pass */
	size_t		partials_size;
	float	   *scratch;		/* [threads] of attention: queries, scores, outputs; of the head: a tile of logits */
	size_t		scratch_floats;
	void	   *quantized;		/* of dl_linear */
	dl_length_work length;
	int			longest_lengths;	/* tokens of the longest row that wants the length head; 0 = none */

	/* where we are */
	dl_phase	phase;
	int			layer;
	int			at;				/* first token, block item or ask of the current chunk */
	int			op;				/* inside the chunk */
	int			inner;			/* of the length head: token or item inside the row; of the head: asks that are ready */
	int			panel;			/* inside a matrix product; of the head: tile, or ask to be folded */
	int			head_end;		/* the asks of the current pass end here */
	int64_t		left;			/* multiply-adds left in this slice */
	bool		bad[DL_MAX_THREADS];	/* a thread saw non-finite logits */
};

/* forward_plan.c: carve an array out of a block, 64-byte aligned; base NULL only counts */
void	   *dl_carve(void *base, size_t *at, size_t count, size_t size);
dlm_status	dl_forward_plan(dl_forward *f, dlm_error *err);
void		dl_forward_commit(dl_forward *f);	/* the batch is done: caches keep what it appended */

/* layers.c: tokens of a chunk of n, at most DL_CHUNK; of the one that begins at `at` */
int			dl_chunk_step(int n);
int			dl_chunk_size(int n, int at);
bool		dl_multiply_unit(dl_forward *f, const dl_product *p);
/* ... of one matrix */
bool		dl_product_unit(dl_forward *f, const dl_matrix *w, const float *x, size_t ldx, int rows, float *y, size_t ldy);

/* layers.c, layers_head.c: one unit of work of the current chunk; true when the chunk is complete */
bool		dl_embed_chunk(dl_forward *f);
bool		dl_keys_chunk(dl_forward *f);
bool		dl_copy_row(dl_forward *f);
bool		dl_queries_chunk(dl_forward *f);
bool		dl_attend_items(dl_forward *f);
bool		dl_mix_chunk(dl_forward *f);
bool		dl_final_chunk(dl_forward *f);

/* layers_head.c: logits in passes over the output matrix, of some asks each */
bool		dl_head_chunk(dl_forward *f);	/* one unit of the pass that begins at f->at; true when it is complete */
void		dl_head_plan(dl_forward *f);	/* sets asks[].partials, head_rows, partials_size; raises scratch_floats */
size_t		dl_head_bytes(const dl_config *c, int asks, size_t partial);	/* of head_x and partials, for equal reducers */

/* length_head.c */
size_t		dl_length_carve(dl_length_work *w, const dlm_model *m, int n, void *base, size_t at);
size_t		dl_length_scratch(const dlm_model *m, int n);
bool		dl_length_unit(dl_forward *f);	/* true when the row f->at is done */

/* Tokens that are queries in the current layer. */
static inline int
dl_queries(const dl_forward *f)
{
	return f->layer + 1 < (int) f->model->config.layers ? f->n_tokens : f->n_needed;
}

/* Query i of the current layer. */
static inline const dl_token *
dl_query(const dl_forward *f, int i)
{
	return &f->tokens[f->layer + 1 < (int) f->model->config.layers ? i : f->needed[i]];
}

/* Row stride of a row's attention scores. */
static inline size_t
dl_scores_ld(const dl_row_plan *p)
{
	return dl_scores_width(p->n_fixed + p->n_live);
}

/* The key spaces of a row in the current layer. */
float	   *dl_fixed_space(const dl_forward *f, const dl_row_plan *p);
float	   *dl_live_space(const dl_forward *f, const dl_row_plan *p);

#endif							/* DL_FORWARD_IMPL_H */
