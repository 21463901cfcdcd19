/*
 * net.h - forward pass with saved activations, loss, backward pass.
 *
 * A batch is a list of rows of different length, end to end, without padding:
 * T tokens, of which A positions are asked for. dl_net_forward keeps what the
 * derivative needs; dl_net_loss gives the loss; dl_net_backward adds to the
 * gradients of the parameters. Calling them for several batches before the
 * optimiser steps accumulates gradients. The arithmetic is that of
 * src/engine/layers.c, driven by the same dl_config.
 *
 * An ask may have a teacher (Hinton et al. 2015): the base itself as the
 * left-to-right model that it was made from. The teacher has the file's
 * weights and no LoRA factors, reads the row with the targets in their places,
 * and each of its positions sees those at or before it. A share of the ask's
 * target is then the teacher's distribution of the token there.
 */
#ifndef DL_NET_H
#define DL_NET_H

#include "dropout.h"
#include "params.h"

typedef struct dl_example
{
	int			n;				/* tokens, 1 .. config.context */
	const int32_t *ids;			/* [n] */
	const uint8_t *live;		/* [n], 1 = live; NULL = all. Ignored under full attention */
	int			n_ask;
	const int32_t *ask;			/* [n_ask] positions to predict, >= logit_shift */
	const int32_t *target;		/* [n_ask] the tokens that should stand there */
	const float *weight;		/* [n_ask] */
	const float *taught;		/* [n_ask] share of the target that is the teacher's, 0 .. 1; NULL: none has a teacher */
} dl_example;

/* The largest batch: what the memory is for. */
typedef struct dl_net_limits
{
	int			tokens;			/* of all rows, >= 1 */
	int			rows;
	int			asks;
	bool		recompute;		/* keep each layer's input only, and compute the layer again when going back */
	bool		lora_dropout;	/* dropout before LoRA's A will be asked for */
	bool		teacher;		/* asks will have a teacher */
} dl_net_limits;

typedef struct dl_loss
{
	double		loss;			/* sum over asks of weight * cross-entropy to the target, the teacher's share included; in nats */
	double		weight;			/* sum of weights */
	double		nats;			/* the same without weights and smoothing */
	int			bad;			/* the first ask whose loss is not finite, counted through all rows; -1: none */
	int			correct;		/* asks whose target has the highest logit (ties: the lower id) */
	int			asks;
} dl_loss;

typedef struct dl_net dl_net;

/* Bytes that dl_net_create takes from the arena; nothing is taken later. */
size_t		dl_net_bytes(const dlm_model *model, const dl_train_options *options, const dl_net_limits *limits, int threads);

/*
 * The parameters are borrowed; env is copied (NULL: one thread): threads,
 * cpu_mask, and stop, which is asked every few milliseconds. No bit depends on
 * threads or cpu_mask. DLM_ENOMEM, DLM_EINVAL.
 */
dlm_status	dl_net_create(dl_params *p, const dl_net_limits *limits, const dlm_env *env, dl_net **out, dlm_error *err);
void		dl_net_free(dl_net *net);

/* Another team, between two passes: 1 to as many threads as the net was created for, whose memory it is. */
void		dl_net_threads(dl_net *net, int threads);

/*
 * rows are read here and in dl_net_loss and dl_net_backward: borrowed until
 * the last of them. drop: NULL = none; never the teacher's. DLM_EINVAL: a row is not
 * one of the model's, a rate or share out of range, or a teacher where there can be none: without the limits' memory,
 * where the model's own weights train, or where states do not predict the next token; DLM_ETOOLONG: beyond the limits;
 * DLM_EINTR, here and in the other two: env.stop said so, begin the batch anew.
 */
dlm_status	dl_net_forward(dl_net *net, const dl_example *rows, int n_rows, const dl_drop *drop, dlm_error *err);

/* logits [vocab] of ask i of the batch, counted through all rows. */
void		dl_net_logits(dl_net *net, int i, dl_real *logits);

/*
 * Cross-entropy with label smoothing (Szegedy et al. 2016), of logits z at one ask:
 *		log sum exp z - (1 - smoothing) ((1 - d) z[target] + d sum p z) - smoothing / vocab sum z
 * where d is the ask's teacher's share and p its distribution, over the same ids as the student's.
 * The vocabulary is walked in blocks for all asks: no [asks, vocab] matrix.
 * DLM_EDAMAGED: the loss is not finite.
 */
dlm_status	dl_net_loss(dl_net *net, double smoothing, dl_loss *out, dlm_error *err);

/*
 * log-probability of a token at ask i of the batch, counted through all rows.
 * After dl_net_loss, before dl_net_backward. NaN: env.stop said so.
 */
double		dl_net_logprob(dl_net *net, int i, int32_t token);
bool		dl_net_stopped(const dl_net *net);	/* since the last dl_net_forward */

/* Gradients of that loss' sum, added (DLM_EINTR: a part of them). After dl_net_loss on the same batch, once. */
dlm_status	dl_net_backward(dl_net *net, dlm_error *err);

#endif							/* DL_NET_H */
