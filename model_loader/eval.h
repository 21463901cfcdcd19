/*
 * eval.h - the figures of dlm-model eval: of rows' statistics, and of texts.
 *
 * A row gives a few numbers; a *score* is a function of their sums over rows,
 * so that one bootstrap serves accuracy, chrF and perplexity alike.
 */
#ifndef DLM_EVAL_H
#define DLM_EVAL_H

#include "loader.h"

#define DL_EVAL_RESAMPLES	1000
#define DL_EVAL_BINS		15
#define DL_CHRF_ORDER		6
#define DL_CHRF_STATS		(3 * DL_CHRF_ORDER)
#define DL_EVAL_MAX_WIDTH	DL_CHRF_STATS

/* A score of the sums of `rows` rows. */
typedef double (*dl_eval_score) (const double *sum, int rows);

double		dl_eval_mean(const double *sum, int rows);	/* sum[0] / rows */
double		dl_eval_chrf(const double *sum, int rows);	/* sums of dl_eval_chrf_count; 0 to 100 */
double		dl_eval_perplexity(const double *sum, int rows);	/* exp(nats / tokens) */

/* Rows of one task: value [rows, stride], of which a score reads the first `width` of each row. */
typedef struct dl_eval_sample
{
	const double *value;
	const double *minus;		/* the same rows by another model, whose score is subtracted; or NULL */
	int			rows;
	int			stride;
} dl_eval_sample;

typedef struct dl_eval_interval
{
	double		value,			/* of the rows as they are */
				low,			/* 2.5 and 97.5 percent of the resamples */
				high;
} dl_eval_interval;

/*
 * The mean over tasks of a score (less the other model's), and its 95 %
 * interval by the percentile bootstrap (Efron 1979): DL_EVAL_RESAMPLES times
 * as many rows of each task, drawn with replacement, the tasks themselves
 * fixed. Draw k of a task is a word of Philox at (resample, task, k / 4), so
 * that one seed gives one interval and both models of a pair the same rows.
 * Every task has rows; width at most DL_EVAL_MAX_WIDTH.
 */
void		dl_eval_bootstrap(const dl_eval_sample *tasks, int n_tasks, dl_eval_score score, int width, uint32_t seed,
							  dl_eval_interval *out);

/*
 * Expected calibration error (Guo et al. 2017): DL_EVAL_BINS equal bins
 * (low, high] of the winner's probability [n]; the mean distance of a bin's
 * share of right answers (right [n * stride], 0 or 1) from its mean
 * probability, weighted by rows. A negative probability leaves its row out.
 */
double		dl_eval_ece(const double *probability, const double *right, int stride, int n);

/* The place of a line in the random order of a seed: smaller comes first. */
uint64_t	dl_eval_order(uint32_t line, uint32_t seed);

/* Equal but for white space (ASCII) at the ends. */
bool		dl_eval_equal(dlm_text a, dlm_text b);

/*
 * chrF2 (Popovic 2015) as sacrebleu 2 computes it: characters without white
 * space, orders 1 to 6, beta 2, orders that either text is too short for left
 * out. Counts of an order: in the answer, in the reference, in both. DLM_ENOMEM.
 */
dlm_status	dl_eval_chrf_count(dlm_text answer, dlm_text reference, double stats[DL_CHRF_STATS], dlm_error *err);

/* F1 of ROUGE-L (Lin 2004) as rouge-score computes it without a stemmer: runs of a-z and 0-9, lower case. DLM_ENOMEM. */
dlm_status	dl_eval_rouge_l(dlm_text answer, dlm_text reference, double *f1, dlm_error *err);

#endif							/* DLM_EVAL_H */
