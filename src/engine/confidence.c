/*
 * confidence.c - how sure a position is of its candidate: the order of revealing.
 *
 * All measures come from the distribution after bans and before top_k, top_p
 * and temperature (DESIGN 3, Chance). Larger is surer.
 */
#include "denoise.h"

#include <math.h>

static const dl_choice *
choice_of(const dl_denoise *d, const dl_ranked *r)
{
	return &d->canvas.slot[r->slot].choice;
}

/* Log-probability of the candidate. */
double
dl_confidence_token(const dl_denoise *d, const dl_ranked *r, double rate)
{
	(void) rate;
	return choice_of(d, r)->pick[r->pick].logprob;
}

/* The paper's stochastic rule: q + x rate Gumbel(0, 1). */
double
dl_confidence_noisy(const dl_denoise *d, const dl_ranked *r, double rate)
{
	double		q = choice_of(d, r)->pick[r->pick].logprob;
	double		g = dl_rng_gumbel(&d->policy->chooser.key, d->candidate, (uint32_t) d->step + 1, (uint32_t) r->slot,
								  DL_DRAW_RANK);

	return fma(d->policy->noise * rate, g, q);
}

/* p1 - p2. */
double
dl_confidence_margin(const dl_denoise *d, const dl_ranked *r, double rate)
{
	(void) rate;
	return choice_of(d, r)->margin;
}

/* The lowest entropy is the surest. */
double
dl_confidence_entropy(const dl_denoise *d, const dl_ranked *r, double rate)
{
	(void) rate;
	return -choice_of(d, r)->entropy;
}

double
dl_confidence_random(const dl_denoise *d, const dl_ranked *r, double rate)
{
	(void) rate;
	return dl_rng_uniform(&d->policy->chooser.key, d->candidate, (uint32_t) d->step + 1, (uint32_t) r->slot,
						  DL_DRAW_ORDER);
}

double
dl_confidence_left(const dl_denoise *d, const dl_ranked *r, double rate)
{
	(void) d;
	(void) rate;
	return -r->slot;
}
