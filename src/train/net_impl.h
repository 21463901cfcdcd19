/*
 * net_impl.h - between net.c (memory, batch), layer.c, embed.c, head.c and teacher.c.
 *
 * Activations are rows: [T, hidden] and so on, with a stride a little wider
 * than the row where that spares the caches (linear.h, dl_row_stride).
 */
#ifndef DL_NET_IMPL_H
#define DL_NET_IMPL_H

#include "net.h"
#include "ops.h"

/* Places of dropout. */
enum { DL_SITE_EMBED = 0, DL_SITE_LAYER = 1, DL_SITES_A_LAYER = 3 };
typedef enum dl_site { DL_SITE_ATTENTION = 0, DL_SITE_O, DL_SITE_DOWN } dl_site;

#define DL_STAGE_TOKENS	16		/* of one work item of a stage */
#define DL_LOSS_ASKS	256		/* asks whose logits of a block lie side by side */

/* What a layer keeps for its derivative. T tokens (but for h, k and v of the last layer: those wanted), Q = heads * head_dim, K = kv_heads * head_dim, F = ffn. */
typedef struct dl_saved
{
	dl_rows		h,				/* [T, hidden] what q, k, v read: the normed stream (pre-norm), else the layer's input */
				q_raw,			/* [T, Q] before the query norm; q itself without one */
				k_raw,			/* [T, K] */
				q,				/* [T, Q] normed, rotated, scaled */
				k,				/* [T, K] normed, rotated */
				v,				/* [T, K] */
				mix,			/* [T, Q] attention's output */
				mid,			/* [T, hidden] the stream after attention's residual, before post-norm */
				f,				/* [T, hidden] what the feed-forward block reads */
				gate,			/* [T, F] before the activation, or NULL */
				up,				/* [T, F] */
				act,			/* [T, F] what down reads */
				out;			/* [T, hidden] the stream after the second residual; the layer's output if pre-norm */
} dl_saved;

/* Gradients on the way back, and scratch. */
typedef struct dl_work
{
	dl_rows		g,				/* [T, hidden] of the stream */
				t,				/* [T, hidden] of a block's output */
				d,				/* [T, hidden] of a block's input */
				dq,				/* [T, Q] */
				dmix,			/* [T, Q] */
				dk,				/* [T, K] */
				dv,				/* [T, K] */
				dup,			/* [T, F] */
				dgate;			/* [T, F] or NULL */
	dl_real    *attention;		/* [threads, dl_attention_scratch] */
	dl_real    *norm_sums;		/* [ceil(T / DL_STAGE_TOKENS), 2 width]: gradients of a norm's weights and biases by stage item */
	dl_dense_scratch dense;
} dl_work;

/* A asked positions: the head's activations. Arrays that are equal in a model without a part are one array. */
typedef struct dl_head_state
{
	int		   *row;			/* [A] of the last layer's output: the state that predicts it */
	int32_t    *target;			/* [A] */
	float	   *weight;			/* [A] */
	float	   *taught;			/* [A] the teacher's share of the target */
	int		   *taught_before;	/* [A + 1] asks before this one that have a teacher: the rows of `teacher` */
	dl_rows		state,			/* [A, hidden] last states */
				normed,			/* [A, hidden] after the final norm */
				dense,			/* [A, hidden] after the head's dense */
				act,			/* [A, hidden] after its activation */
				x,				/* [A, hidden] what the output projection reads */
				dx,				/* [A, hidden] its gradient, and those before it */
				dnormed;		/* [A, hidden] */
	dl_rows		logits;			/* [min(A, DL_LOSS_ASKS), DL_VOCAB_BLOCK] */
	dl_rows		teacher;		/* [A, hidden] what the output projection reads of the teacher */
	dl_rows		teacher_logits;	/* as logits, of the asks that have a teacher */
	double	   *most;			/* [A] largest logit */
	double	   *sum;			/* [A] of exp(logit - most); then the log-sum-exp */
	double	   *z_target;		/* [A] the target's logit */
	double	   *z_sum;			/* [A] sum of logits */
	double	   *teacher_most;	/* [A] the teacher's largest logit */
	double	   *teacher_sum;	/* [A] of exp(its logit - most); then its log-sum-exp */
	double	   *z_teacher;		/* [A] of the logits times that; then the logit that the teacher expects */
	int32_t    *best;			/* [A] id of the largest logit */
} dl_head_state;

struct dl_net
{
	dl_params  *p;
	dl_net_limits limits;
	dl_exec		exec;
	int			threads;
	int			query_dim,
				key_dim;

	/* the batch */
	const dl_example *rows;
	int			n_rows,
				n_tokens,
				n_asks;
	bool		teaching;		/* the batch is the teacher's: no factors, causal attention */
	dl_drop		drop;			/* rates 0: none */
	double		smoothing;
	int		   *first;			/* [rows + 1] first token of a row */
	int32_t    *id;				/* [T] */
	int		   *position;		/* [T] */

	/*
	 * The last layer's output is wanted where a state predicts an ask: but for keys and values it has a row
	 * for each of these tokens alone.
	 */
	int			n_wanted;
	int		   *wanted;			/* [n_wanted] tokens, ascending */
	int		   *wanted_position;	/* [n_wanted] theirs */
	int		   *wanted_first;	/* [rows + 1] the first of a row of the batch */

	dl_rows		sum;			/* [T, hidden] of embeddings, before their norm; x[0] without one */
	dl_rows    *x;				/* [layers + 1] of [T, hidden]: input of each layer, output of the last */
	dl_saved   *saved;			/* [layers]; with recompute, all the same */
	dl_work		work;
	dl_head_state head;
};

/* Rows that a layer's queries, feed-forward block and output have, and the token of one. */
static inline int
dl_layer_rows(const dl_net *net, int layer)
{
	return layer + 1 == (int) net->p->config.layers ? net->n_wanted : net->n_tokens;
}

static inline int
dl_token_of(const dl_net *net, int layer, int row)
{
	return layer + 1 == (int) net->p->config.layers ? net->wanted[row] : row;
}

/* The longest row that a batch can hold. */
static inline int
dl_longest_row(const dl_net *net)
{
	uint32_t	context = net->p->config.context;

	return (uint32_t) net->limits.tokens < context ? net->limits.tokens : (int) context;
}

/* A linear layer of this pass: the teacher's has no factors. */
static inline dl_dense
dl_dense_now(const dl_net *net, const dl_dense *d)
{
	return net->teaching ? dl_without_factors(d) : *d;
}

/* Rows first .. end - 1 of a stage; item: how many stages' items come before. */
typedef struct dl_span
{
	int			layer;
	int			first,
				end;
	int			item;
} dl_span;

/* net.c: a batch is begun, gets rows of n tokens, gets states that predict position `ask` of the last row, ends; then it is run. */
void		dl_batch_begin(dl_net *net);
void		dl_batch_row(dl_net *net, const int32_t *ids, int n);
void		dl_batch_ask(dl_net *net, int ask);
void		dl_batch_end(dl_net *net);
void		dl_batch_run(dl_net *net);

/* teacher.c: head.teacher of the rows' asks that have a teacher, by a batch of its own */
void		dl_teacher_run(dl_net *net, const dl_example *rows, int n_rows);

/* net.c: a function for rows 0 .. n - 1, some at a time, on all threads */
void		dl_stage(dl_net *net, int layer, int n, void (*fn) (dl_net *net, const dl_span *span));

/* net.c: where stage item `item` adds up the gradients of a norm of this width; NULL: they are not trained */
dl_real    *dl_norm_sums_w(dl_net *net, const dl_norm_params *p, int width, int item);
dl_real    *dl_norm_sums_b(dl_net *net, const dl_norm_params *p, int width, int item);
/* before and after the stage */
void		dl_norm_sums_clear(dl_net *net, const dl_norm_params *p, int width);
void		dl_norm_sums_add(dl_net *net, const dl_norm_params *p, int width);

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
