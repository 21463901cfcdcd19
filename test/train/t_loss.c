/*
 * t_loss.c - the loss by hand and by definition, with a vocabulary of several
 * blocks and more asked positions than go side by side, and its derivatives
 * there. In the double build.
 */
#define DL_TRAIN_DOUBLE

#include "wide.h"

/* The definition, with all logits of an ask at once. */
static double
defined(const double *z, int target, double smoothing, bool *correct)
{
	double		most = -INFINITY,
				sum = 0,
				all = 0;
	int			best = 0;

	for (int i = 0; i < WIDE; i++)
		if (z[i] > most)
			most = z[best = i];
	for (int i = 0; i < WIDE; i++)
	{
		sum += exp(z[i] - most);
		all += z[i];
	}
	*correct = best == target;
	return most + log(sum) - (1 - smoothing) * z[target] - smoothing * all / WIDE;
}

static void
blocks_give_the_whole(wide *w, double smoothing)
{
	double	   *z = malloc(WIDE * sizeof(double));
	double		expected = 0,
				weight = 0;
	int			correct = 0,
				at = 0;
	dl_loss		loss;

	w->target[0][0] = 0;
	wide_loss(w, smoothing, &loss);
	for (int r = 0; r < LONG_ROWS; r++)
		for (int i = 0; i < w->rows[r].n_ask; i++)
		{
			dl_net_logits(w->net, at++, z);
			if (i % 10 == 0)	/* some that are right */
				for (int j = 0; j < WIDE; j++)
					if (z[j] > z[w->target[r][i]])
						w->target[r][i] = j;
		}
	wide_loss(w, smoothing, &loss);
	at = 0;
	for (int r = 0; r < LONG_ROWS; r++)
		for (int i = 0; i < w->rows[r].n_ask; i++)
		{
			bool		right;

			dl_net_logits(w->net, at++, z);
			expected += (double) w->weight[r][i] * defined(z, w->target[r][i], smoothing, &right);
			weight += (double) w->weight[r][i];
			correct += right;
		}
	CHECK(fabs(loss.loss - expected) <= 1e-12 * expected, "%.15g, by definition %.15g", loss.loss, expected);
	CHECK(loss.weight == weight && loss.asks == w->asks, "weight %.15g of %.15g", loss.weight, weight);
	CHECK(loss.correct == correct && correct >= 36, "%d correct, by definition %d", loss.correct, correct);
	free(z);
}

/*
 * No embeddings, so logits are the bias: ln(WIDE - 1) for one id, 0 for the
 * others. That id has probability 1/2, each other one 1 / (2 (WIDE - 1)).
 */
static void
by_hand(wide *w)
{
	double		b = log(WIDE - 1.0);
	dl_loss		loss;

	memset(w->p->embed->value, 0, w->p->embed->n * sizeof(double));
	memset(w->p->head.b->value, 0, w->p->head.b->n * sizeof(double));
	for (int r = 0; r < LONG_ROWS; r++)
		for (int i = 0; i < w->rows[r].n_ask; i++)
		{
			w->target[r][i] = 2 * DL_VOCAB_BLOCK + 7;
			w->weight[r][i] = 0.5f;
		}
	wide_loss(w, 0.3, &loss);
	CHECK(fabs(loss.loss - 0.5 * w->asks * log(WIDE)) < 1e-9 && loss.correct == 0, "equal logits: %.12g", loss.loss);
	w->p->head.b->value[2 * DL_VOCAB_BLOCK + 7] = b;
	wide_loss(w, 0, &loss);
	CHECK(fabs(loss.loss - 0.5 * w->asks * log(2)) < 1e-9 && loss.correct == w->asks, "one half: %.12g", loss.loss);
	wide_loss(w, 0.2, &loss);
	CHECK(fabs(loss.loss - 0.5 * w->asks * (log(2) + b - 0.8 * b - 0.2 * b / WIDE)) < 1e-9, "smoothed: %.12g", loss.loss);
	dl_params_clear(w->p);
	CHECK(dl_net_backward(w->net, &(dlm_error) {0}) == DLM_OK, "backward");
	/* weight (1/2 - 0.8 - 0.2 / vocab) of each ask */
	CHECK(fabs(w->p->head.b->grad[2 * DL_VOCAB_BLOCK + 7] - 0.5 * w->asks * (-0.3 - 0.2 / WIDE)) < 1e-9, "%.12g",
		  w->p->head.b->grad[2 * DL_VOCAB_BLOCK + 7]);
	CHECK(fabs(w->p->head.b->grad[5] - 0.5 * w->asks * (0.5 / (WIDE - 1) - 0.2 / WIDE)) < 1e-9, "%.12g",
		  w->p->head.b->grad[5]);
}

static void
what_is_not_finite_is_an_error(wide *w)
{
	dlm_error	err = {0};
	dl_loss		loss;

	CHECK(dl_net_loss(w->net, 1, &loss, &err) == DLM_EINVAL, "smoothing 1");
	w->p->layers[0].up.w->value[0] = NAN;
	CHECK(dl_net_forward(w->net, w->rows, LONG_ROWS, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_net_loss(w->net, 0, &loss, &err) == DLM_EDAMAGED, "NaN weight, loss %g", loss.loss);
}

int
main(void)
{
	const dl_train_options all = {.mode = DL_TRAIN_ALL};
	const dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_OUTPUT | DL_DENSE_Q, .rank = 3, .alpha = 2};
	wide		w;

	if (wide_open(&w, &all, false))
	{
		blocks_give_the_whole(&w, 0);
		blocks_give_the_whole(&w, 0.1);
		wide_derivative(&w, w.p->embed, "embedding");
		wide_derivative(&w, w.p->head.b, "bias");
		wide_derivative(&w, w.p->layers[0].q.w, "query");
		by_hand(&w);
		what_is_not_finite_is_an_error(&w);
		wide_close(&w);
	}
	if (wide_open(&w, &lora, false))
	{
		blocks_give_the_whole(&w, 0.1);
		wide_derivative(&w, w.p->head.lora_a, "projection's A");
		wide_derivative(&w, w.p->head.lora_b, "projection's B");
		wide_derivative(&w, w.p->layers[0].q.lora_b, "query's B");
		CHECK(w.p->embed->grad == NULL && w.p->head.b->grad == NULL, "frozen weights have gradients");
		wide_close(&w);
	}
	return harness_end("t_loss");
}
