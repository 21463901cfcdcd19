/*
 * logprob.h - log-probabilities from the logits of one position.
 *
 * log p(x) = (logit(x) - max) - log(sum of exp(logit - max)), in float: the
 * exact maximum first, then exp and sum in the 16-lane order of kernels.h,
 * then our own log (DESIGN 5). Ids that must not count (never_score, bans)
 * are set to -inf beforehand; rows of the model beyond its tokenizer count.
 */
#ifndef DL_LOGPROB_H
#define DL_LOGPROB_H

#include "kernels.h"

/* What turns a logit of one position into a log-probability. */
typedef struct dl_normalizer
{
	float		max;
	float		log_sum;
} dl_normalizer;

/* logits[id] = -inf for each of ids [n_ids]; ids outside 0 .. n-1 are ignored. */
void		dl_logits_exclude(float *logits, int n, const int32_t *ids, int n_ids);

/* Over logits [n], n >= 1. scratch [n] is overwritten; it may be logits itself, which are lost then. */
dl_normalizer dl_logits_normalizer(const dl_kernels *kernels, const float *logits, int n, float *scratch);

static inline float
dl_logprob(float logit, dl_normalizer norm)
{
	return (logit - norm.max) - norm.log_sum;
}

/* out[i] = log-probability of ids[i] (each in 0 .. n-1). logits [n] are overwritten. */
void		dl_log_softmax_at(const dl_kernels *kernels, float *logits, int n, const int32_t *ids, int n_ids,
							  float *out);

#endif							/* DL_LOGPROB_H */
