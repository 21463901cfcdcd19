/*
 * logits.h - a batch's logits by the engine and by the trainer.
 */
#ifndef LOGITS_H
#define LOGITS_H

#include <math.h>

#include "tiny.h"
#include "rows.h"

/* The engine's logits of the batch. */
static inline bool
engine_logits(const dlm_model *m, const batch *b, outcome *o)
{
	run_options opt = {.threads = 1};
	dlm_error	err = {0};
	dlm_status	st;

	for (int r = 0; r < BATCH_ROWS; r++)
	{
		const dl_example *e = &b->rows[r];
		outcome		row = {
			.n = e->n, .ids = (int32_t *) e->ids, .live = (uint8_t *) e->live, .n_ask = e->n_ask, .ask = (int32_t *) e->ask
		};

		o[r] = outcome_copy(&row);
	}
	st = outcome_run(m, o, BATCH_ROWS, &opt, NULL, &err);
	CHECK(st == DLM_OK, "%s", err.message);
	return st == DLM_OK;
}

/* The largest difference of an ask's logits, relative to the largest logit. */
static inline double
distance(const float *engine, const dl_real *train, int n)
{
	double		worst = 0;
	double		most = 0;

	for (int i = 0; i < n; i++)
	{
		most = fmax(most, fabs((double) engine[i]));
		worst = fmax(worst, fabs((double) engine[i] - (double) train[i]));
	}
	return worst / most;
}

static inline double
batch_distance(dl_net *net, const outcome *o, int vocab)
{
	dl_real    *logits = malloc((size_t) vocab * sizeof(*logits));
	double		worst = 0;
	int			at = 0;

	for (int r = 0; r < BATCH_ROWS; r++)
		for (int i = 0; i < o[r].n_ask; i++)
		{
			dl_net_logits(net, at++, logits);
			worst = fmax(worst, distance(o[r].logits + (size_t) i * (size_t) vocab, logits, vocab));
		}
	free(logits);
	return worst;
}

#endif							/* LOGITS_H */
