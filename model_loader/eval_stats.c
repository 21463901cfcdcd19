/*
 * eval_stats.c - scores of rows and their intervals; see eval.h.
 */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fmath.h"
#include "rng.h"

#define KEY_BOOTSTRAP	0x626f6f74u
#define KEY_ROWS		0x726f7773u

double
dl_eval_mean(const double *sum, int rows)
{
	return sum[0] / rows;
}

double
dl_eval_perplexity(const double *sum, int rows)
{
	return dl_exp(sum[0] / sum[1]);
}

double
dl_eval_chrf(const double *sum, int rows)
{
	double		precision = 0,
				recall = 0;
	int			orders = 0;

	for (int i = 0; i < DL_CHRF_ORDER; i++)
	{
		const double *count = sum + 3 * i;

		if (count[0] <= 0 || count[1] <= 0)
			continue;
		precision += count[2] / count[0];
		recall += count[2] / count[1];
		orders++;
	}
	if (precision + recall <= 0)
		return 0;
	precision /= orders;
	recall /= orders;
	return 100 * (5 * precision * recall) / (4 * precision + recall);
}

/* ---------------------------------------------------------------- bootstrap */

static void
add_row(double *sum, const double *value, int width)
{
	for (int i = 0; i < width; i++)
		sum[i] += value[i];
}

/* Score of one task over rows drawn for a resample, or over all its rows as they are when resample < 0. */
static double
score_task(const dl_eval_sample *s, int task, dl_eval_score score, int width, uint32_t seed, int resample)
{
	double		plus[DL_EVAL_MAX_WIDTH] = {0},
				minus[DL_EVAL_MAX_WIDTH] = {0};
	uint32_t	words[4] = {0};

	for (int k = 0; k < s->rows; k++)
	{
		size_t		row = (size_t) k;

		if (resample >= 0)
		{
			if (k % 4 == 0)
			{
				words[0] = (uint32_t) resample;
				words[1] = (uint32_t) task;
				words[2] = (uint32_t) k / 4;
				words[3] = 0;
				dl_philox(words, seed, KEY_BOOTSTRAP);
			}
			row = (size_t) (((uint64_t) words[k % 4] * (uint64_t) s->rows) >> 32);
		}
		add_row(plus, s->value + row * (size_t) s->stride, width);
		if (s->minus != NULL)
			add_row(minus, s->minus + row * (size_t) s->stride, width);
	}
	return score(plus, s->rows) - (s->minus != NULL ? score(minus, s->rows) : 0);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Linear between the two nearest of the sorted values. */
static double
percentile(const double *sorted, int n, double share)
{
	double		at = share * (n - 1);
	int			i = (int) at;

	return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

void
dl_eval_bootstrap(const dl_eval_sample *tasks, int n_tasks, dl_eval_score score, int width, uint32_t seed,
				  dl_eval_interval *out)
{
	double		mean[DL_EVAL_RESAMPLES];

	for (int r = -1; r < DL_EVAL_RESAMPLES; r++)
	{
		double		sum = 0;

		for (int t = 0; t < n_tasks; t++)
			sum += score_task(&tasks[t], t, score, width, seed, r);
		*(r < 0 ? &out->value : &mean[r]) = sum / n_tasks;
	}
	qsort(mean, DL_EVAL_RESAMPLES, sizeof(double), compare_doubles);
	out->low = percentile(mean, DL_EVAL_RESAMPLES, 0.025);
	out->high = percentile(mean, DL_EVAL_RESAMPLES, 0.975);
}

/* ---------------------------------------------------------------- calibration, order */

double
dl_eval_ece(const double *probability, const double *right, int stride, int n)
{
	double		lead[DL_EVAL_BINS] = {0};	/* sum of probability less sum of right */
	double		sum = 0;
	int			rows = 0;

	for (int i = 0; i < n; i++)
	{
		int			bin = (int) ceil(probability[i] * DL_EVAL_BINS) - 1;

		if (probability[i] < 0)
			continue;
		bin = bin < 0 ? 0 : bin >= DL_EVAL_BINS ? DL_EVAL_BINS - 1 : bin;
		lead[bin] += probability[i] - right[(size_t) i * (size_t) stride];
		rows++;
	}
	for (int b = 0; b < DL_EVAL_BINS; b++)
		sum += fabs(lead[b]);
	return rows > 0 ? sum / rows : 0;
}

uint64_t
dl_eval_order(uint32_t line, uint32_t seed)
{
	uint32_t	words[4] = {line, 0, 0, 0};

	dl_philox(words, seed, KEY_ROWS);
	return (uint64_t) words[0] << 32 | words[1];
}
