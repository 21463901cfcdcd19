/*
 * length_impl.h - the parts of the length head's training: length.c has
 * memory, batch, predictor and loss, length_layer.c the transformer layer.
 */
#ifndef DL_LENGTH_IMPL_H
#define DL_LENGTH_IMPL_H

#include "length.h"
#include "ops.h"

#define DL_LENGTH_TOKENS	16		/* of one work item of a stage */

/* T tokens, R rows, F length_ffn, D length_hidden, C length_classes. */
struct dl_length_net
{
	dl_params  *p;
	dl_length_limits limits;
	dl_exec		exec;
	int			threads;
	int			dim;			/* of a head */

	dl_states  *states;
	const float **source;		/* [R] where a row's states are */

	/* the batch */
	const dl_example *rows;
	int			n_rows,
				n_tokens;
	dl_drop		drop;
	double		smoothing;
	int		   *first;			/* [R] first token of a row */

	dl_rows		x,				/* [T, hidden] states */
				q,				/* [T, hidden], scaled */
				k,
				v,
				mix,			/* attention's output */
				mid,			/* before norm1 */
				f,				/* after it */
				up,				/* [T, F] before ReLU */
				act,			/* [T, F] what down reads */
				out,			/* [T, hidden] before norm2 */
				mean,			/* [R, hidden] of what comes out of norm2 */
				inner,			/* [R, D] after Tanh */
				logits;			/* [R, C]; on the way back their gradient */
	double	   *log_z;			/* [R] log-sum-exp */

	dl_rows		g,				/* [T, hidden] gradient of the stream */
				t,				/* [T, hidden] */
				dq,
				dk,
				dv,
				dmix,
				dup,			/* [T, F] */
				dinner,			/* [R, D] */
				dmean;			/* [R, hidden] */
	dl_real    *attention;		/* [threads, dl_attention_scratch] */
	dl_real    *norm_sums;		/* [stage items, 2 hidden] */
	dl_dense_scratch dense;
};

static inline void
dl_length_dense(dl_length_net *net, const dl_dense *d, dl_rows x, int m, dl_rows y)
{
	dl_dense_forward(&net->exec, d, 0, x, m, &net->dense, y);
}

static inline void
dl_length_dense_back(dl_length_net *net, const dl_dense *d, dl_rows x, dl_rows dy, int m, dl_rows dx)
{
	dl_dense_backward(&net->exec, d, 0, x, dy, m, &net->dense, dx, false);
}

/* length_layer.c: t, what norm2 gives, from x; and the gradients of the layer from that of t, in g */
void		dl_length_layer_run(dl_length_net *net);
void		dl_length_layer_back(dl_length_net *net);

#endif							/* DL_LENGTH_IMPL_H */
