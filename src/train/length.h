/*
 * length.h - training of the length head: how long will the answer be?
 * (Ye et al. 2023; the paper's code, and length_head.c)
 *
 * The backbone is frozen: the engine computes its last states, once for each
 * batch or, where there is room for them (states.h), once for each row of a
 * run. On the states x of a row [n, hidden]
 *
 *		f = norm1(x + drop(o(attend(q, k, v))))
 *		y = norm2(f + drop(down(drop(relu(up(f))))))
 *		z = out(tanh(hidden(mean of y)))
 *
 * with PyTorch's norms (eps 1e-5) and as many heads as the backbone, all
 * positions seeing the row. Class c means a canvas of c + 1 tokens.
 */
#ifndef DL_LENGTH_H
#define DL_LENGTH_H

#include "states.h"

/* The largest batch. */
typedef struct dl_length_limits
{
	dl_states_limits states;	/* and what is kept of the states */
	int			longest;		/* tokens of a row */
} dl_length_limits;

typedef struct dl_length_net dl_length_net;

/* Bytes that dl_length_create takes from the arena, and the engine for a batch. */
size_t		dl_length_bytes(const dlm_model *model, const dl_train_options *options, const dl_length_limits *limits,
							int threads);

/* The parameters, of mode DL_TRAIN_LENGTH, are borrowed; env is copied (NULL: one thread). DLM_ENOMEM, DLM_EINVAL. */
dlm_status	dl_length_create(dl_params *p, const dl_length_limits *limits, const dlm_env *env, dl_length_net **out,
							 dlm_error *err);
void		dl_length_free(dl_length_net *net);

/* Another team, as dl_net_threads. */
void		dl_length_threads(dl_length_net *net, int threads);

/*
 * rows: what the head reads in ids and live, one target each, its class, with
 * a weight; borrowed until dl_length_backward. number [n_rows] of each in the
 * run, as in states.h, or NULL. drop->hidden is that of the blocks and inside
 * the feed-forward block; drop NULL: none. DLM_EINVAL, DLM_ETOOLONG, DLM_EINTR
 * as in net.h.
 */
dlm_status	dl_length_forward(dl_length_net *net, const dl_example *rows, const int *number, int n_rows, const dl_drop *drop,
							  dlm_error *err);

/* log-probabilities [classes] of a row of the batch. */
void		dl_length_logprobs(const dl_length_net *net, int row, double *logprobs);

/*
 * Cross-entropy with label smoothing over the classes, as dl_net_loss; one ask
 * a row. *near (may be NULL): rows whose most probable class (ties: the lower)
 * is at most 1 away from theirs. DLM_EDAMAGED: the loss is not finite.
 */
dlm_status	dl_length_loss(dl_length_net *net, double smoothing, dl_loss *out, int *near, dlm_error *err);

/* Gradients of that loss' sum, added. After dl_length_loss on the same batch, once. DLM_EINTR. */
dlm_status	dl_length_backward(dl_length_net *net, dlm_error *err);

#endif							/* DL_LENGTH_H */
