/*
 * wide.h - a model with a vocabulary of several blocks, and more asked
 * positions than go side by side; its loss and derivatives. For the double
 * build.
 */
#ifndef WIDE_H
#define WIDE_H

#include <math.h>

#include "tiny.h"
#include "logprob.h"

#define WIDE		(2 * DL_VOCAB_BLOCK + 300)	/* ids: three blocks, the last one short */
#define LONG		100			/* tokens of a row */
#define LONG_ROWS	4

typedef struct wide
{
	fixture		f;
	dl_arena   *a;
	dl_params  *p;
	dl_net	   *net;
	dl_example	rows[LONG_ROWS];
	int32_t		ids[LONG_ROWS][LONG];
	int32_t		ask[LONG_ROWS][LONG];
	int32_t		target[LONG_ROWS][LONG];
	float		weight[LONG_ROWS][LONG];
	float		taught[LONG_ROWS][LONG];
	int			asks;
	uint64_t	random;
} wide;

/* Replace a tensor's numbers by n random ones. */
static inline void
widen(wide *w, dl_param *e, int rows, int cols)
{
	e->rows = rows;
	e->cols = cols;
	e->n = (size_t) rows * (size_t) cols;
	e->value = dl_arena_calloc(w->a, e->n, sizeof(double));
	if (e->grad != NULL)
		e->grad = dl_arena_calloc(w->a, e->n, sizeof(double));
	for (size_t i = 0; i < e->n; i++)
		e->value[i] = batch_uniform(&w->random) - 0.5;
}

/*
 * RoBERTa (tied, with a bias) with WIDE ids; every position but one in seven asked for. taught: its states predict the
 * next token, and two of three asks have a teacher.
 */
static inline bool
wide_open(wide *w, const dl_train_options *options, bool taught)
{
	dl_net_limits limits = {.tokens = LONG * LONG_ROWS, .rows = LONG_ROWS, .teacher = taught};
	dlm_error	err = {0};

	memset(w, 0, sizeof(*w));
	w->random = 5;
	w->a = dl_arena_create(0);
	if (!fixture_open("roberta", DLM_WEIGHTS_F32, &w->f))
		return false;
	w->f.model->config.logit_shift = taught;
	if (dl_params_create(w->f.model, options, w->a, &w->p, &err) != DLM_OK)
		return false;
	w->p->config.vocab = WIDE;
	widen(w, w->p->embed, WIDE, (int) w->p->config.hidden);
	widen(w, w->p->head.b, 1, WIDE);
	if (w->p->head.lora_b != NULL)
		widen(w, w->p->head.lora_b, WIDE, w->p->rank);
	for (int r = 0; r < LONG_ROWS; r++)
	{
		w->rows[r] = (dl_example) {LONG, w->ids[r], NULL, 0, w->ask[r], w->target[r], w->weight[r],
			taught ? w->taught[r] : NULL};
		for (int i = 0; i < LONG; i++)
		{
			w->ids[r][i] = (int32_t) (batch_uniform(&w->random) * WIDE);
			if (i % 7 == 3 || i < (int) taught)
				continue;
			w->taught[r][w->rows[r].n_ask] = i % 3 == 0 ? 0 : (float) (i % 5) / 4;
			w->ask[r][w->rows[r].n_ask] = i;
			w->target[r][w->rows[r].n_ask] = (int32_t) (batch_uniform(&w->random) * WIDE);
			w->weight[r][w->rows[r].n_ask++] = (float) batch_uniform(&w->random);
		}
		limits.asks += w->rows[r].n_ask;
	}
	w->asks = limits.asks;
	CHECK(dl_net_create(w->p, &limits, NULL, &w->net, &err) == DLM_OK && limits.asks > 256, "%s", err.message);
	return w->net != NULL;
}

static inline void
wide_close(wide *w)
{
	dl_arena_destroy(w->a);
	fixture_close(&w->f);
}

static inline double
wide_loss(wide *w, double smoothing, dl_loss *loss)
{
	dlm_error	err = {0};

	CHECK(dl_net_forward(w->net, w->rows, LONG_ROWS, NULL, &err) == DLM_OK &&
		  dl_net_loss(w->net, smoothing, loss, &err) == DLM_OK, "%s", err.message);
	return loss->loss;
}

/* Along a random direction of a tensor; the difference is of second order, of a loss of some thousands. */
static inline void
wide_derivative(wide *w, dl_param *e, const char *name)
{
	const double h = 1e-5;
	dl_loss		loss;
	double	   *direction = malloc(e->n * sizeof(double));
	double		found = 0,
				difference;

	dl_params_clear(w->p);
	wide_loss(w, 0.1, &loss);
	CHECK(dl_net_backward(w->net, &(dlm_error) {0}) == DLM_OK, "backward");
	for (size_t i = 0; i < e->n; i++)
	{
		direction[i] = batch_uniform(&w->random) - 0.5;
		found += direction[i] * e->grad[i];
		e->value[i] += h * direction[i];
	}
	difference = wide_loss(w, 0.1, &loss);
	for (size_t i = 0; i < e->n; i++)
		e->value[i] -= 2 * h * direction[i];
	difference = (difference - wide_loss(w, 0.1, &loss)) / (2 * h);
	for (size_t i = 0; i < e->n; i++)
		e->value[i] += h * direction[i];
	CHECK(fabs(found - difference) <= 1e-6 * fabs(difference), "%s: %.12g, difference %.12g", name, found, difference);
	free(direction);
}

#endif							/* WIDE_H */
