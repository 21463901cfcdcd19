/*
 * t_training.c - the parts together, in float: training lowers the loss, in
 * the same bits each time; gradients of parts of a batch add up to those of
 * the whole; dropout is a function of its counter.
 */
#include <math.h>

#include "tiny.h"
#include "optimizer.h"
#include "rng.h"

#define STEPS	30

typedef struct run
{
	dl_arena   *a;
	dl_params  *p;
	dl_net	   *net;
	dl_adamw   *o;
	double		first,			/* loss per weight */
				last;
} run;

/* STEPS steps on one batch. */
static bool
train(const dlm_model *m, const dl_train_options *options, bool recompute, double rate, run *r)
{
	dl_rate		schedule = {.form = DL_RATE_COSINE, .peak = rate, .warmup = 3, .steps = STEPS + 5};
	batch		b;
	dlm_error	err = {0};
	dlm_status	st;

	memset(r, 0, sizeof(*r));
	r->a = dl_arena_create(0);
	batch_make(&m->config, 3, &b);
	b.limits.recompute = recompute;
	b.limits.lora_dropout = options->mode == DL_TRAIN_LORA;
	st = dl_params_create(m, options, r->a, &r->p, &err);
	if (st == DLM_OK)
		st = dl_net_create(r->p, &b.limits, NULL, &r->net, &err);
	if (st == DLM_OK)
		st = dl_adamw_create(r->p, &DL_ADAMW_PAPER, &r->o, &err);
	for (int i = 1; i <= STEPS && st == DLM_OK; i++)
	{
		dl_drop		drop = {.seed = 17, .step = (uint32_t) i, .hidden = 0.02, .attention = 0.02,
			.lora = b.limits.lora_dropout ? 0.02 : 0};
		dl_loss		loss = {0};

		dl_params_clear(r->p);
		st = dl_net_forward(r->net, b.rows, BATCH_ROWS, &drop, &err);
		if (st == DLM_OK)
			st = dl_net_loss(r->net, 0, &loss, &err);
		if (st != DLM_OK)
			break;
		CHECK(dl_net_backward(r->net, &err) == DLM_OK, "%s", err.message);
		dl_clip_gradients(r->p, 1 / loss.weight, 1);
		dl_adamw_step(r->o, dl_rate_at(&schedule, i));
		r->last = loss.loss / loss.weight;
		if (i == 1)
			r->first = r->last;
	}
	CHECK(st == DLM_OK, "%s", err.message);
	CHECK(st != DLM_OK || dl_arena_peak(r->a) == dl_train_bytes(m, options, &b.limits, 1), "peak %zu", dl_arena_peak(r->a));
	return st == DLM_OK;
}

static bool
same_values(const dl_params *a, const dl_params *b)
{
	for (int i = 0; i < a->n; i++)
		if (a->list[i].value != NULL && memcmp(a->list[i].value, b->list[i].value, a->list[i].n * sizeof(dl_real)) != 0)
			return false;
	return true;
}

static void
training_lowers_the_loss(const char *name, dlm_weights weights, const dl_train_options *options, double rate)
{
	fixture		f;
	run			once,
				again;

	if (!fixture_open(name, weights, &f))
		return;
	if (train(f.model, options, false, rate, &once) && train(f.model, options, true, rate, &again))
	{
		printf("%s, mode %d: loss %.3f to %.3f\n", name, (int) options->mode, once.first, once.last);
		CHECK(once.last < 0.6 * once.first, "%s, mode %d: loss %g to %g", name, (int) options->mode, once.first,
			  once.last);
		CHECK(same_values(once.p, again.p), "%s: recomputed layers train to other weights", name);
	}
	dl_arena_destroy(once.a);
	dl_arena_destroy(again.a);
	fixture_close(&f);
}

/* Rows see nothing of one another: two halves give the gradient of the whole, up to rounding. */
static void
parts_add_up(const char *name)
{
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dlm_error	err = {0};
	fixture		f;
	batch		b;
	float	   *whole[256] = {NULL};
	double		worst = 0;

	if (!fixture_open(name, DLM_WEIGHTS_F32, &f))
		return;
	batch_make(&f.model->config, 3, &b);
	CHECK(dl_params_create(f.model, &(dl_train_options) {.mode = DL_TRAIN_ALL}, a, &p, &err) == DLM_OK &&
		  dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s", err.message);
	for (int part = 0; part < 3; part++)	/* all rows; then, added, the first and the other three */
	{
		const dl_example *rows = part == 2 ? b.rows + 1 : b.rows;
		dl_loss		loss;

		if (part < 2)
			dl_params_clear(p);
		CHECK(dl_net_forward(net, rows, part == 0 ? BATCH_ROWS : part == 1 ? 1 : BATCH_ROWS - 1, NULL, &err) == DLM_OK &&
			  dl_net_loss(net, 0.1, &loss, &err) == DLM_OK, "%s", err.message);
		CHECK(dl_net_backward(net, &err) == DLM_OK, "%s", err.message);
		for (int i = 0; part == 0 && i < p->n; i++)
			whole[i] = dl_arena_copy(a, p->list[i].grad, p->list[i].n * sizeof(float));
	}
	for (int i = 0; i < p->n; i++)
	{
		double		most = 0,
					error = 0;

		for (size_t j = 0; j < p->list[i].n; j++)
		{
			most = fmax(most, fabs((double) whole[i][j]));
			error = fmax(error, fabs((double) whole[i][j] - (double) p->list[i].grad[j]));
		}
		if (p->list[i].role != DL_T_K_B)
			worst = fmax(worst, error / most);
	}
	CHECK(worst < 1e-5, "%s: %g", name, worst);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Element i is dropped if word i mod 4 of block i / 4 is under the rate; the share of zeros is the rate; the mean stays. */
static void
dropout_is_a_function(void)
{
	enum { N = 40000 };
	static float x[N],
				y[N];
	dl_drop		d = {.seed = 0x123456789abcdef0u, .step = 3};
	uint32_t	word[4] = {2, 70, 4, 3};	/* elements 8 to 11, line 70, site 4, step 3 */
	int			zeros = 0;
	bool		scaled = true;
	int			differ[4] = {0};

	for (int i = 0; i < N; i++)
		x[i] = 1;
	dl_dropout(&d, 0.25, 4, 70, x, N);
	for (int i = 0; i < N; i++)
	{
		scaled = scaled && (x[i] == 0 || x[i] == (float) (1 / 0.75));
		zeros += x[i] == 0;
	}
	CHECK(scaled, "an element is neither 0 nor scaled");
	CHECK(abs(zeros - N / 4) < 4 * 87, "%d zeros", zeros);	/* deviation sqrt(N * 0.25 * 0.75) = 87 */
	dl_philox(word, 0x9abcdef0u, 0x12345678u);
	for (int i = 0; i < 4; i++)
		CHECK((x[8 + i] == 0) == (word[i] < 0x40000000u), "element %d", 8 + i);
	for (int c = 0; c < 4; c++)
	{
		dl_drop		other = {.seed = d.seed + (c == 0), .step = d.step + (c == 1)};

		for (int i = 0; i < N; i++)
			y[i] = 1;
		dl_dropout(&other, 0.25, 4 + (c == 2), 70 + (c == 3), y, N);
		for (int i = 0; i < N; i++)
			differ[c] += x[i] != y[i];
		CHECK(abs(differ[c] - 3 * N / 8) < 500, "change %d: %d differ", c, differ[c]);	/* 2 * 0.25 * 0.75 */
	}
	dl_dropout(&d, 0, 4, 70, y, N);
	for (int i = 0; i < N; i++)
		x[i] = y[i];
	dl_dropout(&d, 0, 4, 70, x, N);
	CHECK(memcmp(x, y, sizeof(x)) == 0, "rate 0");
}

int
main(void)
{
	const dl_train_options all = {.mode = DL_TRAIN_ALL};
	const dl_train_options bias = {.mode = DL_TRAIN_BIAS};
	const dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = 255, .rank = 4, .alpha = 8, .seed = 2};

	training_lowers_the_loss("paper", DLM_WEIGHTS_F32, &all, 0.01);
	training_lowers_the_loss("context", DLM_WEIGHTS_F32, &all, 0.01);
	training_lowers_the_loss("context", DLM_WEIGHTS_F32, &lora, 0.02);
	training_lowers_the_loss("qwen3", DLM_WEIGHTS_INT8, &lora, 0.02);
	training_lowers_the_loss("roberta", DLM_WEIGHTS_BF16, &lora, 0.02);
	training_lowers_the_loss("bert", DLM_WEIGHTS_F32, &bias, 0.05);
	parts_add_up("roberta");
	parts_add_up("context");
	dropout_is_a_function();
	return harness_end("t_training");
}
