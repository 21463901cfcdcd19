/*
 * ops.h - the operations of a layer, each with its derivative.
 *
 * Rows are contiguous: a matrix [m, n] has row stride n. A function named
 * *_backward takes dy, the loss' gradient with respect to its result, and adds
 * to gradients of parameters (where there are any); what it does to dx is said
 * at each.
 */
#ifndef DL_OPS_H
#define DL_OPS_H

#include "dropout.h"
#include "params.h"

#define DL_DOT_LANES	16

/*
 * Sum of x[i] y[i]: sixteen partial sums, which a compiler may keep in vectors
 * without reordering anything.
 */
static inline dl_real
dl_dot(const dl_real *x, const dl_real *y, int n)
{
	dl_real		lane[DL_DOT_LANES] = {0};
	dl_real		sum = 0;
	int			i = 0;

	for (; i + DL_DOT_LANES <= n; i += DL_DOT_LANES)
		for (int l = 0; l < DL_DOT_LANES; l++)
			lane[l] += x[i + l] * y[i + l];
	for (; i < n; i++)
		sum += x[i] * y[i];
	for (int l = 0; l < DL_DOT_LANES; l++)
		sum += lane[l];
	return sum;
}

/* y[n] += scale x */
static inline void
dl_add_scaled(dl_real *restrict y, const dl_real *restrict x, dl_real scale, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += scale * x[i];
}

/* y[m, n] = x[m, k] w[n, k]^T; add: y += */
void		dl_product_nt(const dl_real *x, const dl_real *w, int m, int n, int k, bool add, dl_real *y);
/* y[m, k] += scale x[m, n] w[n, k] */
void		dl_product_nn(const dl_real *x, const dl_real *w, int m, int n, int k, dl_real scale, dl_real *y);
/* y[n, k] += scale a[m, n]^T x[m, k] */
void		dl_product_tn(const dl_real *a, const dl_real *x, int m, int n, int k, dl_real scale, dl_real *y);

/* y[m, n] = x[m, k] W^T + b + s (x A^T) B^T; u: scratch [2, m, rank], may be NULL without LoRA */
void		dl_dense_forward(const dl_dense *d, dl_real s, const dl_real *x, int m, dl_real *u, dl_real *y);
/*
 * dW += dy^T x, db += sum of dy, dB += s dy^T u, dA += s (dy B)^T x, where
 * u = x A^T; dx [m, k] += dy W + s (dy B) A unless dx is NULL.
 */
void		dl_dense_backward(const dl_dense *d, dl_real s, const dl_real *x, const dl_real *dy, int m, dl_real *u,
							  dl_real *dx);

/* y[m, n] = norm of the rows of x; y may be x. kind: dl_norm */
void		dl_norm_forward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, int m, int n, dl_real *y);
/*
 * With c = x - mean (RMS: c = x), r = 1 / sqrt(mean of c^2 + eps), h = c r,
 * e = dy w: dx = r (e - mean(e) - h mean(e h)), without mean(e) for RMS (Ba et
 * al. 2016; Zhang and Sennrich 2019). add: dx += that; else dx may be dy.
 */
void		dl_norm_backward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, const dl_real *dy,
							 int m, int n, bool add, dl_real *dx);

/* y[n] = act(x), act a dl_act; y may be x */
void		dl_act_forward(uint32_t act, const dl_real *x, size_t n, dl_real *y);
/* dx[n] = dy act'(x); dx may be dy */
void		dl_act_backward(uint32_t act, const dl_real *x, const dl_real *dy, size_t n, dl_real *dx);

/* Half-split rotation of one head [2 half] in place, and its inverse, which is its transpose. */
void		dl_rope_turn(dl_real *x, const float *cosine, const float *sine, int half);
void		dl_rope_back(dl_real *x, const float *cosine, const float *sine, int half);

/* One row of a batch as attention sees it. live NULL: all positions see the whole row. */
typedef struct dl_attention_row
{
	int			n;				/* tokens */
	const uint8_t *live;		/* [n]: a live position sees all, a fixed one the fixed ones at or before it */
	int			heads,
				kv_heads,
				dim;
	const dl_drop *drop;		/* of probabilities; NULL: none */
	uint32_t	site;
	uint32_t	first;			/* the row's first token in the batch */
} dl_attention_row;

/*
 * out[n, heads dim] = softmax(q K^T) V per head; q [n, heads dim] scaled
 * already, k and v [n, kv_heads dim]; scores: scratch [n].
 */
void		dl_attend_row(const dl_attention_row *r, const dl_real *q, const dl_real *k, const dl_real *v,
						  dl_real *scores, dl_real *out);
/*
 * With P the probabilities, computed again: dV += P^T dy, dP = dy V^T,
 * dS = P (dP - sum of P dP), dq += dS K, dk += dS^T q. scores: scratch [3, n].
 */
void		dl_attend_row_back(const dl_attention_row *r, const dl_real *q, const dl_real *k, const dl_real *v,
							   const dl_real *dy, dl_real *scores, dl_real *dq, dl_real *dk, dl_real *dv);

#endif							/* DL_OPS_H */
