/*
 * logprob.c - log-probabilities over the vocabulary; see logprob.h.
 */
#include "logprob.h"

#include <math.h>

void
dl_logits_exclude(float *logits, int first, int n, const int32_t *ids, int n_ids)
{
	for (int i = 0; i < n_ids; i++)
		if (ids[i] >= first && ids[i] - first < n)
			logits[ids[i] - first] = -INFINITY;
}

dl_block_sum
dl_block_sum_of(const dl_kernels *kernels, const float *logits, int n, float *exps)
{
	dl_block_sum b = {kernels->max(logits, n), 0};

	if (b.max > -INFINITY)
		b.sum = kernels->exp_sum(logits, b.max, n, exps);
	return b;
}

dl_normalizer
dl_blocks_normalizer(const dl_block_sum *blocks, int n)
{
	dl_normalizer norm = {-INFINITY, 0};
	double		total = 0;

	for (int i = 0; i < n; i++)
		if (blocks[i].max > norm.max)
			norm.max = blocks[i].max;
	for (int i = 0; i < n; i++)
		total += dl_block_weight(blocks[i], norm.max);
	norm.log_sum = (float) dl_log(total);
	return norm;
}
