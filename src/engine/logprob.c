/*
 * logprob.c - log-probabilities from the logits of one position; see logprob.h.
 */
#include "logprob.h"
#include "fmath.h"

#include <math.h>

void
dl_logits_exclude(float *logits, int n, const int32_t *ids, int n_ids)
{
	for (int i = 0; i < n_ids; i++)
		if (ids[i] >= 0 && ids[i] < n)
			logits[ids[i]] = -INFINITY;
}

dl_normalizer
dl_logits_normalizer(const dl_kernels *kernels, const float *logits, int n, float *scratch)
{
	dl_normalizer norm;

	norm.max = kernels->max(logits, n);
	norm.log_sum = dl_logf(kernels->exp_sum(logits, norm.max, n, scratch));
	return norm;
}

void
dl_log_softmax_at(const dl_kernels *kernels, float *logits, int n, const int32_t *ids, int n_ids, float *out)
{
	dl_normalizer norm;

	for (int i = 0; i < n_ids; i++)
		out[i] = logits[ids[i]];
	norm = dl_logits_normalizer(kernels, logits, n, logits);
	for (int i = 0; i < n_ids; i++)
		out[i] = dl_logprob(out[i], norm);
}
