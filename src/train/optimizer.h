/*
 * optimizer.h - what becomes of gradients: scaling and clipping, AdamW, and
 * the learning rate's schedule.
 */
#ifndef DL_OPTIMIZER_H
#define DL_OPTIMIZER_H

#include "net.h"

typedef struct dl_adamw_options
{
	double		beta1,			/* 0.9 in the paper's recipe; both in [0, 1) */
				beta2;			/* 0.98 */
	double		eps;			/* > 0 */
	double		decay;			/* decoupled weight decay, of matrices and embeddings only; >= 0 */
} dl_adamw_options;

#define DL_ADAMW_PAPER	((dl_adamw_options) {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .decay = 0.01})

/* One block of the arena. The fields are a checkpoint's: with them and the values a run goes on to the same bits. */
typedef struct dl_adamw
{
	dl_params  *p;				/* borrowed */
	dl_adamw_options options;
	int64_t		steps;			/* done */
	double		power1,			/* beta1 ^ steps */
				power2;
	size_t		n;				/* trained numbers, in the order of p->list */
	dl_real    *m;				/* [n] running mean of the gradient */
	dl_real    *v;				/* [n] and of its square */
} dl_adamw;

/* Bytes that dl_adamw_create takes from the arena; trained: as in dl_params. */
size_t		dl_adamw_bytes(size_t trained);

/* The peak of a run, before anything is taken: parameters, gradients, activations, optimiser. */
size_t		dl_train_bytes(const dlm_model *model, const dl_train_options *options, const dl_net_limits *limits,
						   int threads);

/* DLM_ENOMEM; DLM_EINVAL: an option out of its range. */
dlm_status	dl_adamw_create(dl_params *p, const dl_adamw_options *options, dl_adamw **out, dlm_error *err);
void		dl_adamw_free(dl_adamw *o);

/*
 * One step with the gradients that stand in p (they are left): with g the gradient, after t steps,
 *		m = beta1 m + (1 - beta1) g		v = beta2 v + (1 - beta2) g^2
 *		x = (1 - rate decay) x - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
 * (Loshchilov and Hutter 2019, algorithm 2).
 */
void		dl_adamw_step(dl_adamw *o, double rate);

/*
 * Multiply all gradients by `scale` (1 / the weight of what was accumulated),
 * and by what brings their common norm down to `most` if it is above; most 0:
 * never. Returns the norm after `scale`; where it is not finite, the gradients are
 * of no use and the step must be left out.
 */
double		dl_clip_gradients(dl_params *p, double scale, double most);

typedef enum dl_rate_form { DL_RATE_CONSTANT = 0, DL_RATE_COSINE, DL_RATE_INVERSE_SQRT } dl_rate_form;

typedef struct dl_rate
{
	dl_rate_form form;
	double		peak;
	double		last;			/* cosine: the rate at the end */
	int64_t		warmup;			/* steps of linear growth up to peak */
	int64_t		steps;			/* cosine: of the whole run */
} dl_rate;

/*
 * The rate of step s = 1, 2, ...: peak s / warmup up to warmup, then
 *		constant		peak
 *		cosine			last + (peak - last) (1 + cos(pi (s - warmup) / (steps - warmup))) / 2, and last after steps
 *						(Loshchilov and Hutter 2017)
 *		inverse sqrt	peak sqrt(max(warmup, 1) / s) (Vaswani et al. 2017)
 */
double		dl_rate_at(const dl_rate *r, int64_t step);

#endif							/* DL_OPTIMIZER_H */
