/*
 * dropout.h - dropout whose mask is a function of a counter (Srivastava et al.
 * 2014; Philox of rng.h), so that it is never stored: the backward pass, and a
 * layer that is computed again, ask for the same one.
 */
#ifndef DL_DROPOUT_H
#define DL_DROPOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "real.h"

typedef struct dl_drop
{
	uint64_t	seed;
	uint32_t	step;			/* of the run: another mask in each */
	uint32_t	first;			/* tokens of the step before this batch: parts of a step have masks of their own */
	double		hidden;			/* rate after the embedding and after each block, before the residual; in [0, 1) */
	double		attention;		/* rate of attention's probabilities */
	double		lora;			/* rate of what LoRA's A reads, but in the output projection */
} dl_drop;

static inline bool
dl_drop_is_valid(const dl_drop *d)
{
	return d->hidden >= 0 && d->hidden < 1 && d->attention >= 0 && d->attention < 1 && d->lora >= 0 && d->lora < 1;
}

/*
 * x[i] = 0 with probability rate, else x[i] / (1 - rate), for i < n. The mask
 * depends on seed, step, site (place in the network), line and i alone; its
 * derivative is the same call on the gradient.
 */
void		dl_dropout(const dl_drop *d, double rate, uint32_t site, uint32_t line, dl_real *x, int n);

#endif							/* DL_DROPOUT_H */
