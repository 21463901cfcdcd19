/*
 * attention.h - softmax attention of a block of queries over stored keys.
 *
 * Keys and values of one key/value head lie in a *key space* of `capacity`
 * slots, a multiple of 16:
 *		K	panels [capacity / 16][dim][16], so that scores are one gemm
 *		V	rows [capacity][value_dim], value_dim = dim rounded up to 16, so that P V is one gemm
 */
#ifndef DL_ATTENTION_H
#define DL_ATTENTION_H

#include "kernels.h"

/* Heads of one attention: heads = kv_heads * group, queries head * group + i share key head `head`. */
typedef struct dl_heads
{
	int			kv_heads,
				group,
				dim,
				value_dim;
} dl_heads;

typedef struct dl_keys
{
	const float *k;
	const float *v;
	int			n;				/* slots in use */
} dl_keys;

dl_heads	dl_heads_of(int heads, int kv_heads, int dim);

/* Floats of a key space of all heads; where head h begins in it. */
size_t		dl_keys_floats(const dl_heads *h, int capacity);
static inline size_t
dl_keys_head(const dl_heads *h, int capacity, int head)
{
	return (size_t) head * (size_t) capacity * (size_t) (h->dim + h->value_dim);
}

/* The keys of one head in a space. */
dl_keys		dl_keys_at(const dl_heads *h, const float *space, int capacity, int head, int n);

/* Write keys and values of n tokens, rows [kv_heads * dim] of stride ld, into slots slot .. slot + n - 1 of a space. */
void		dl_keys_store(const dl_heads *h, float *space, int capacity, int slot, int n, const float *k, const float *v,
						  size_t ld);

/* Copy slots first .. end - 1 of all heads from one space to another. */
void		dl_keys_copy(const dl_heads *h, const float *from, int from_capacity, float *to, int to_capacity,
						 int first, int end);

/*
 * out[m, value_dim] = softmax(q K^T) V for m = n_queries * group rows of
 * queries [m, dim], scaled already. The keys are those of `fixed`, then those
 * of `live`, in slot order: that order defines all sums. limit NULL: each
 * query sees all keys; else query i (rows i * group ..) sees the first
 * limit[i] >= 1 fixed keys and no live one; limits ascend.
 *
 * Definition, for one row: s_j = chain over dim; m = max s_j; e_j = exp(s_j - m);
 * z = 16-lane sum of e_j; o = (one chain over j of e_j v_j) / z.
 *
 * scores: scratch [m, ld], ld >= dl_scores_width(keys of the row). Columns dim .. value_dim - 1 of out are not written.
 * Rows of more than DL_LONG_KEYS keys go through dl_attend_long.
 */
void		dl_attend(const dl_kernels *kernels, const dl_heads *h, const dl_keys *fixed, const dl_keys *live,
					  const float *q, int n_queries, const int *limit, float *scores, size_t ld, float *out);

/*
 * The same bits without a row's scores ever standing in memory whole
 * (attention_long.c): the keys are walked twice, a tile of them at a time, once
 * for the maximum and once for the sums.
 */
#define DL_LONG_KEYS	6144
#define DL_LONG_TILE	1024

void		dl_attend_long(const dl_kernels *kernels, const dl_heads *h, const dl_keys *fixed, const dl_keys *live,
						   const float *q, int n_queries, const int *limit, float *scores, size_t ld, float *out);

/*
 * Row stride of the scores of a row of n keys: one more than them, rounded up;
 * of a long row a tile of them, its offset, and what is kept between tiles.
 */
static inline size_t
dl_scores_width(int n)
{
	return n > DL_LONG_KEYS ? DL_LONG_TILE + 3 * DL_PANEL : ((size_t) n + DL_PANEL) & ~(size_t) (DL_PANEL - 1);
}

/* attention.c, for attention_long.c: scores of keys first .. first + n - 1 (first a multiple of 16), and out (+)= weights V */
void		dl_score_keys(const dl_kernels *kernels, const dl_heads *h, const float *q, int m, const dl_keys *keys,
						  int first, int n, float *scores, size_t ld);
void		dl_weigh_values(const dl_kernels *kernels, const dl_heads *h, const float *weights, size_t ld, int m,
							const dl_keys *keys, int first, int n, float *out, bool accumulate);
void		dl_divide_row(float *x, float by, int n);

#endif							/* DL_ATTENTION_H */
