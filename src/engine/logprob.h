/*
 * logprob.h - log-probabilities over the vocabulary, from blocks of logits.
 *
 * The vocabulary is walked in blocks of DL_VOCAB_BLOCK ids, so that logits
 * never leave the cache. This is the definition of the normaliser of every
 * log-probability (classify, score, denoising, heal):
 *
 *		m_b = exact maximum of block b
 *		s_b = sum of exp(logit - m_b) over it, in float, in the 16-lane order of kernels.h
 *		m   = the largest m_b
 *		Z   = sum of s_b exp(m_b - m) in double, b ascending
 *		log p(x) = (logit(x) - m) - (float) log Z
 *
 * exp and log are our own (DESIGN 5). Every term depends on one block alone,
 * so the blocks may be computed anywhere and in any order. Ids that must not
 * count (never_score, bans) are set to -inf beforehand; rows of the model
 * beyond its tokenizer count.
 */
#ifndef DL_LOGPROB_H
#define DL_LOGPROB_H

#include "fmath.h"
#include "kernels.h"

#define DL_VOCAB_BLOCK	1024	/* ids; a multiple of 64. Decides how sums are rounded: changing it changes results */

/* Blocks of a vocabulary. */
static inline int
dl_vocab_blocks(int vocab)
{
	return (vocab + DL_VOCAB_BLOCK - 1) / DL_VOCAB_BLOCK;
}

/* One block's share of the normaliser; max -inf and sum 0 where all of it is excluded. */
typedef struct dl_block_sum
{
	float		max;
	float		sum;			/* of exp(logit - max) */
} dl_block_sum;

/* What turns a logit of one position into a log-probability. */
typedef struct dl_normalizer
{
	float		max;
	float		log_sum;
} dl_normalizer;

/* logits [n] of the ids from `first` on: those of ids [n_ids] become -inf; ids elsewhere are ignored. */
void		dl_logits_exclude(float *logits, int first, int n, const int32_t *ids, int n_ids);

/* Of one block's logits [n], 1 <= n <= DL_VOCAB_BLOCK. exps [n] gets exp(logit - max), unless max is -inf; it may be logits. */
dl_block_sum dl_block_sum_of(const dl_kernels *kernels, const float *logits, int n, float *exps);

/* A block's term of Z. max: the largest maximum of all blocks. */
static inline double
dl_block_weight(dl_block_sum b, float max)
{
	return b.sum > 0 ? (double) b.sum * dl_exp((double) b.max - (double) max) : 0;
}

/* Of all blocks, ascending; max is -inf, and log_sum not to be used, where every id is excluded. */
dl_normalizer dl_blocks_normalizer(const dl_block_sum *blocks, int n);

static inline float
dl_logprob(float logit, dl_normalizer norm)
{
	return (logit - norm.max) - norm.log_sum;
}

#endif							/* DL_LOGPROB_H */
