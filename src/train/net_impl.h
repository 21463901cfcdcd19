/*
 * net_impl.h - between net.c (memory, batch), layer.c, embed.c and head.c.
 */
#ifndef DL_NET_IMPL_H
#define DL_NET_IMPL_H

#include "net.h"
#include "ops.h"

/* Places of dropout. */
enum { DL_SITE_EMBED = 0, DL_SITE_LAYER = 1, DL_SITES_A_LAYER = 3 };
typedef enum dl_site { DL_SITE_ATTENTION = 0, DL_SITE_O, DL_SITE_DOWN } dl_site;

/* What a layer keeps for its derivative. T tokens, Q = heads * head_dim, K = kv_heads * head_dim, F = ffn. */
typedef struct dl_saved
{
	dl_real    *h;				/* [T, hidden] what q, k, v read: the normed stream (pre-norm), else the layer's input */
	dl_real    *q_raw;			/* [T, Q] before the query norm; q itself without one */
	dl_real    *k_raw;			/* [T, K] */
	dl_real    *q;				/* [T, Q] normed, rotated, scaled */
	dl_real    *k;				/* [T, K] normed, rotated */
	dl_real    *v;				/* [T, K] */
	dl_real    *mix;			/* [T, Q] attention's output */
	dl_real    *mid;			/* [T, hidden] the stream after attention's residual, before post-norm */
	dl_real    *f;				/* [T, hidden] what the feed-forward block reads */
	dl_real    *gate;			/* [T, F] before the activation, or NULL */
	dl_real    *up;				/* [T, F] */
	dl_real    *act;			/* [T, F] what down reads */
	dl_real    *out;			/* [T, hidden] the stream after the second residual; the layer's output if pre-norm */
} dl_saved;

/* Gradients on the way back, and scratch. */
typedef struct dl_work
{
	dl_real    *g;				/* [T, hidden] of the stream */
	dl_real    *t;				/* [T, hidden] of a block's output; on the way forward, the output itself */
	dl_real    *d;				/* [T, hidden] of a block's input */
	dl_real    *dq;				/* [T, Q] */
	dl_real    *dmix;			/* [T, Q] */
	dl_real    *dk;				/* [T, K] */
	dl_real    *dv;				/* [T, K] */
	dl_real    *dup;			/* [T, F] */
	dl_real    *dgate;			/* [T, F] or NULL */
	dl_real    *scores;			/* [3, T] */
	dl_real    *u;				/* [2, max(T, A), rank] */
} dl_work;

/* A asked positions: the head's activations. Arrays that are equal in a model without a part are one array. */
typedef struct dl_head_state
{
	int		   *token;			/* [A] token whose state predicts it */
	int32_t    *target;			/* [A] */
	float	   *weight;			/* [A] */
	dl_real    *state;			/* [A, hidden] last states */
	dl_real    *normed;			/* [A, hidden] after the final norm */
	dl_real    *dense;			/* [A, hidden] after the head's dense */
	dl_real    *act;			/* [A, hidden] after its activation */
	dl_real    *x;				/* [A, hidden] what the output projection reads */
	dl_real    *dx;				/* [A, hidden] its gradient, and those before it */
	dl_real    *dnormed;		/* [A, hidden] */
	dl_real    *u;				/* [A, rank] scale x A^T of the output projection's LoRA, or NULL */
	dl_real    *du;				/* [A, rank] gradient of x A^T, without scale */
	dl_real    *logits;			/* [min(A, DL_LOSS_ASKS), DL_VOCAB_BLOCK] */
	double	   *most;			/* [A] largest logit */
	double	   *sum;			/* [A] of exp(logit - most); then the log-sum-exp */
	double	   *z_target;		/* [A] the target's logit */
	double	   *z_sum;			/* [A] sum of logits */
	int32_t    *best;			/* [A] id of the largest logit */
} dl_head_state;

#define DL_LOSS_ASKS	256		/* asks whose logits of a block lie side by side */

struct dl_net
{
	dl_params  *p;
	dl_net_limits limits;
	int			query_dim,
				key_dim;

	/* the batch */
	const dl_example *rows;
	int			n_rows,
				n_tokens,
				n_asks;
	dl_drop		drop;			/* rates 0: none */
	double		smoothing;
	int		   *first;			/* [rows] first token of a row */
	int32_t    *id;				/* [T] */
	int		   *position;		/* [T] */

	dl_real    *sum;			/* [T, hidden] of embeddings, before their norm; x[0] without one */
	dl_real   **x;				/* [layers + 1] of [T, hidden]: input of each layer, output of the last */
	dl_saved   *saved;			/* [layers]; with recompute, all the same */
	dl_work		work;
	dl_head_state head;
};

/* layer.c: x[layer + 1] from x[layer]; work.g from the gradient of x[layer + 1] to that of x[layer] */
void		dl_layer_run(dl_net *net, int layer);
void		dl_layer_back(dl_net *net, int layer);

/* embed.c: x[0]; gradients of embeddings from work.g, which is lost */
void		dl_embed_run(dl_net *net);
void		dl_embed_back(dl_net *net);

/* head.c: head.x from the last layer's output; work.g of it */
void		dl_head_run(dl_net *net);
void		dl_head_back(dl_net *net);

#endif							/* DL_NET_IMPL_H */
