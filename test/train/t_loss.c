/*
 * t_loss.c - the loss by hand and by definition, with a vocabulary of several
 * blocks and more asked positions than go side by side, and its derivatives
 * there. In the double build.
 */
#define DL_TRAIN_DOUBLE

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
	int			asks;
	uint64_t	random;
} wide;

/* Replace a tensor's numbers by n random ones. */
static void
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

/* RoBERTa (tied, with a bias) with WIDE ids; every position but one in seven asked for. */
static bool
wide_open(wide *w, const dl_train_options *options)
{
	dl_net_limits limits = {.tokens = LONG * LONG_ROWS, .rows = LONG_ROWS};
	dlm_error	err = {0};

	memset(w, 0, sizeof(*w));
	w->random = 5;
	w->a = dl_arena_create(0);
	if (!fixture_open("roberta", DLM_WEIGHTS_F32, &w->f) ||
		dl_params_create(w->f.model, options, w->a, &w->p, &err) != DLM_OK)
		return false;
	w->p->config.vocab = WIDE;
	widen(w, w->p->embed, WIDE, (int) w->p->config.hidden);
	widen(w, w->p->head.b, 1, WIDE);
	if (w->p->head.lora_b != NULL)
		widen(w, w->p->head.lora_b, WIDE, w->p->rank);
	for (int r = 0; r < LONG_ROWS; r++)
	{
		w->rows[r] = (dl_example) {LONG, w->ids[r], NULL, 0, w->ask[r], w->target[r], w->weight[r]};
		for (int i = 0; i < LONG; i++)
		{
			w->ids[r][i] = (int32_t) (batch_uniform(&w->random) * WIDE);
			if (i % 7 == 3)
				continue;
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

static void
wide_close(wide *w)
{
	dl_arena_destroy(w->a);
	fixture_close(&w->f);
}

static double
loss_of(wide *w, double smoothing, dl_loss *loss)
{
	dlm_error	err = {0};

	CHECK(dl_net_forward(w->net, w->rows, LONG_ROWS, NULL, &err) == DLM_OK &&
		  dl_net_loss(w->net, smoothing, loss, &err) == DLM_OK, "%s", err.message);
	return loss->loss;
}

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
	loss_of(w, smoothing, &loss);
	for (int r = 0; r < LONG_ROWS; r++)
		for (int i = 0; i < w->rows[r].n_ask; i++)
		{
			dl_net_logits(w->net, at++, z);
			if (i % 10 == 0)	/* some that are right */
				for (int j = 0; j < WIDE; j++)
					if (z[j] > z[w->target[r][i]])
						w->target[r][i] = j;
		}
	loss_of(w, smoothing, &loss);
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

/* Along a random direction of a tensor; the difference is of second order, of a loss of some thousands. */
static void
derivative(wide *w, dl_param *e, const char *name)
{
	const double h = 1e-5;
	dl_loss		loss;
	double	   *direction = malloc(e->n * sizeof(double));
	double		found = 0,
				difference;

	dl_params_clear(w->p);
	loss_of(w, 0.1, &loss);
	CHECK(dl_net_backward(w->net, &(dlm_error) {0}) == DLM_OK, "backward");
	for (size_t i = 0; i < e->n; i++)
	{
		direction[i] = batch_uniform(&w->random) - 0.5;
		found += direction[i] * e->grad[i];
		e->value[i] += h * direction[i];
	}
	difference = loss_of(w, 0.1, &loss);
	for (size_t i = 0; i < e->n; i++)
		e->value[i] -= 2 * h * direction[i];
	difference = (difference - loss_of(w, 0.1, &loss)) / (2 * h);
	for (size_t i = 0; i < e->n; i++)
		e->value[i] += h * direction[i];
	CHECK(fabs(found - difference) <= 1e-6 * fabs(difference), "%s: %.12g, difference %.12g", name, found, difference);
	free(direction);
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
	loss_of(w, 0.3, &loss);
	CHECK(fabs(loss.loss - 0.5 * w->asks * log(WIDE)) < 1e-9 && loss.correct == 0, "equal logits: %.12g", loss.loss);
	w->p->head.b->value[2 * DL_VOCAB_BLOCK + 7] = b;
	loss_of(w, 0, &loss);
	CHECK(fabs(loss.loss - 0.5 * w->asks * log(2)) < 1e-9 && loss.correct == w->asks, "one half: %.12g", loss.loss);
	loss_of(w, 0.2, &loss);
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

	if (wide_open(&w, &all))
	{
		blocks_give_the_whole(&w, 0);
		blocks_give_the_whole(&w, 0.1);
		derivative(&w, w.p->embed, "embedding");
		derivative(&w, w.p->head.b, "bias");
		derivative(&w, w.p->layers[0].q.w, "query");
		by_hand(&w);
		what_is_not_finite_is_an_error(&w);
		wide_close(&w);
	}
	if (wide_open(&w, &lora))
	{
		blocks_give_the_whole(&w, 0.1);
		derivative(&w, w.p->head.lora_a, "projection's A");
		derivative(&w, w.p->head.lora_b, "projection's B");
		derivative(&w, w.p->layers[0].q.lora_b, "query's B");
		CHECK(w.p->embed->grad == NULL && w.p->head.b->grad == NULL, "frozen weights have gradients");
		wide_close(&w);
	}
	return harness_end("t_loss");
}
