/*
 * ops.h - the operations of a layer, each with its derivative.
 *
 * A function named *_back takes dy, the loss' gradient with respect to its
 * result; what it does to dx is said at each. Sums over tokens run in an order
 * that does not depend on the number of threads, so neither do the bits.
 */
#ifndef DL_OPS_H
#define DL_OPS_H

#include "dropout.h"
#include "exec.h"
#include "params.h"
#include "weights.h"

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

/* ---------------------------------------------------------------- products */

/* y[m, n] = x[m, k] W, or +=; panels [ceil(n / 16)][k][16] */
void		dl_multiply_panels(dl_exec *e, dl_rows x, int m, int k, const dl_real *panels, int n, dl_rows y, bool add);
/* y[m, n] = x[m, k] w[k, n] for narrow n; w is read 16 numbers wide */
void		dl_multiply_rows(dl_exec *e, dl_rows x, int m, int k, dl_rows w, int n, dl_rows y);
/* sum[n] += the rows of x[m, n], ascending */
void		dl_add_column_sums(dl_exec *e, dl_rows x, int m, int n, dl_real *sum);
/* Gradients of a norm's weights and biases, where they are trained, += the rows of sums [m, 2 n]: first those of the weights */
void		dl_add_norm_sums(dl_exec *e, dl_real *sums, int m, int n, const dl_norm_params *p);

/* Scratch of linear layers. */
typedef struct dl_dense_sizes
{
	int			rows;			/* most of x */
	int			most_n,
				most_k;			/* outputs and inputs of the widest layers */
	size_t		most_panels;	/* dl_panels_size of the largest */
	int			rank;
	int			threads;
	bool		weights;		/* some are trained whole */
	bool		dropped;		/* dropout before LoRA's A */
} dl_dense_sizes;

typedef struct dl_dense_scratch
{
	dl_real    *panels;			/* of weights */
	dl_real    *side;			/* weights.h */
	dl_real    *turned;			/* dl_turned_size: dy^T, or that of a narrow matrix */
	dl_real    *copied;			/* dl_copied_size: x; NULL without trained weights */
	dl_real    *a_panels;		/* of A */
	dl_real    *u;				/* [rows, rank] */
	dl_real    *db;				/* [rank, n] */
	dl_rows		dropped;		/* [rows, k] what A reads */
	const dl_drop *drop;		/* of it, set by the caller; NULL: none */
} dl_dense_scratch;

void		dl_dense_scratch_carve(dl_dense_scratch *s, void *base, size_t *at, const dl_dense_sizes *sizes);

/* Numbers of scratch for dy [t, a] and x [t, b]. */
size_t		dl_turned_size(int t, int a);
size_t		dl_copied_size(int t, int b);
/* y[a, b] += scale dy[t, a]^T x[t, b]: the gradient of weights */
void		dl_multiply_turned(dl_exec *e, dl_rows dy, dl_real scale, int t, int a, dl_rows x, int b,
							   const dl_dense_scratch *scratch, dl_rows y);

/* y[m, n] = x[m, k] (W + s B A)^T + b; with dropout x W^T + s drop(x) A^T B^T + b, row i of x being line drop->first + i of the mask */
void		dl_dense_forward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, int m, const dl_dense_scratch *scratch,
							 dl_rows y);
/* y[m, n] = x[m, k] W^T of rows first .. first + n - 1 of W (first: a multiple of 16) if the file's own can be read; else false */
bool		dl_multiply_columns(dl_exec *e, const dl_dense *d, int first, int n, dl_rows x, int m, dl_rows y);
/* dx[m, k] = dy (W + s B A), or +=, unless dx.at is NULL; adds dW = dy^T x, db = sum of dy, dB = s dy^T (x A^T), dA = s (dy B)^T x */
void		dl_dense_backward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, dl_rows dy, int m,
							  const dl_dense_scratch *scratch, dl_rows dx, bool add);

/* The factors' part of it: dA and dB. */
void		dl_factors_backward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, dl_rows dy, int m,
								const dl_dense_scratch *scratch);

/* ---------------------------------------------------------------- one row */

/* y[n] = norm of x; y may be x. kind: dl_norm */
void		dl_norm_forward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, int n, dl_real *y);
/*
 * With c = x - mean (RMS: c = x), r = 1 / sqrt(mean of c^2 + eps), h = c r,
 * e = dy w: dx = r (e - mean(e) - h mean(e h)), without mean(e) for RMS (Ba et
 * al. 2016; Zhang and Sennrich 2019). add: dx += that; else dx may be dy.
 * dw[n] += dy h, db[n] += dy, unless NULL.
 */
void		dl_norm_backward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, const dl_real *dy,
							 int n, bool add, dl_real *dx, dl_real *dw, dl_real *db);

/* y[n] = act(x), act a dl_act; y may be x */
void		dl_act_forward(const dl_exec *e, uint32_t act, const dl_real *x, int n, dl_real *y);
/* dx[n] = dy act'(x); dx may be dy */
void		dl_act_backward(const dl_exec *e, uint32_t act, const dl_real *x, const dl_real *dy, int n, dl_real *dx);

/* y[n] = exp(x - shift), y may be x; returns their sum */
dl_real		dl_exp_row(const dl_exec *e, const dl_real *x, dl_real shift, int n, dl_real *y);

/* The largest of x[n], n >= 1; y[n] += x */
dl_real		dl_most(const dl_exec *e, const dl_real *x, int n);
void		dl_add_row(const dl_exec *e, dl_real *y, const dl_real *x, int n);

/* Half-split rotation of one head [2 half] in place, and its inverse, which is its transpose. */
void		dl_rope_turn(dl_real *x, const float *cosine, const float *sine, int half);
void		dl_rope_back(dl_real *x, const float *cosine, const float *sine, int half);

/* --------------------------------------------------------------- attention */

/* One row of a batch as attention sees it. live NULL: all positions see the whole row, unless it is causal. */
typedef struct dl_attention_row
{
	int			n;				/* tokens */
	int			n_queries;
	const int  *query;			/* [n_queries] their positions; NULL: 0, 1, ... */
	const uint8_t *live;		/* [n]: a live position sees all, a fixed one the fixed ones at or before it */
	bool		causal;			/* all positions see those at or before them; live is NULL */
	int			heads,
				kv_heads,
				dim;
	const dl_drop *drop;		/* of probabilities; NULL: none */
	uint32_t	site;
	uint32_t	first;			/* the row's first token in the batch */
} dl_attention_row;

/* Numbers of scratch for one thread and rows of at most n tokens. */
size_t		dl_attention_scratch(int n, int dim);

/*
 * The heads of one key head: out[n_queries, heads dim] = softmax(q K^T) V; q [n_queries, heads dim] scaled
 * already, k and v [n, kv_heads dim].
 */
void		dl_attend_head(const dl_exec *e, const dl_attention_row *r, int kv_head, dl_rows q, dl_rows k, dl_rows v,
					  dl_real *scratch, dl_rows out);
/*
 * With P the probabilities, computed again: dV += P^T dy, dP = dy V^T,
 * dS = P (dP - sum of P dP), dq = dS K, dk += dS^T q.
 */
void		dl_attend_head_back(const dl_exec *e, const dl_attention_row *r, int kv_head, dl_rows q, dl_rows k, dl_rows v,
						   dl_rows dy, dl_real *scratch, dl_rows dq, dl_rows dk, dl_rows dv);

#endif							/* DL_OPS_H */
