/*
 * t_gradients.c - gradients against central finite differences, in the double
 * build: every trained tensor of every tiny family, both attention rules, all
 * weights, LoRA and biases, with and without dropout, with and without a
 * teacher; and the same bits when layers are computed again.
 *
 * The difference is Richardson's: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h,
 * whose error is of order h^4.
 */
#define DL_TRAIN_DOUBLE

#include "directions.h"

#define STEP		2e-4
#define TOLERANCE	1e-6		/* of a derivative, or of the tensor's root mean square if that is larger */
#define NOISE		5e-10		/* what rounding of the loss makes of any difference: 1e-16 * loss / STEP, some times */
#define SMOOTHING	0.1

typedef struct trial
{
	const char *name;			/* of the checkpoint, for messages */
	dl_params  *p;
	const dl_train_options *options;
	dl_net	   *net;
	batch		b;
	const dl_drop *drop;
	uint64_t	random;
	double		worst;
	int			zero;			/* tensors without any gradient */
} trial;

static double
loss_of(void *arg)
{
	trial	   *t = arg;
	dlm_error	err = {0};
	dl_loss		loss = {.loss = NAN};

	if (dl_net_forward(t->net, t->b.rows, BATCH_ROWS, t->drop, &err) != DLM_OK ||
		dl_net_loss(t->net, SMOOTHING, &loss, &err) != DLM_OK)
		CHECK(false, "%s: %s", t->name, err.message);
	return loss.loss;
}

static bool
agrees(double found, double expected, double rms)
{
	return fabs(found - expected) <= TOLERANCE * direction_size(found, expected, rms) + NOISE;
}

/* Along one coordinate, or (coordinate < 0) at random. */
static void
check_direction(trial *t, dl_param *e, double rms, long coordinate)
{
	direction	d = direction_make(e, coordinate, &t->random, loss_of, t);
	double		expected = (8 * direction_rise(&d, STEP) - direction_rise(&d, 2 * STEP)) / (12 * STEP);

	if (rms > NOISE / TOLERANCE)
		t->worst = fmax(t->worst, fabs(d.slope - expected) / direction_size(d.slope, expected, rms));
	CHECK(agrees(d.slope, expected, rms), "%s role %d layer %d part %d at %ld: %.12g, difference %.12g", t->name, (int) e->role,
		  e->layer, (int) e->part, coordinate, d.slope, expected);
	/* the check is sharp: a gradient wrong by a few millionths fails it, wherever it is large enough to be seen */
	if (fabs(expected) > NOISE / TOLERANCE && fabs(expected) > rms)
		CHECK(!agrees(d.slope * (1 + 5e-6), expected, rms), "%s role %d: a wrong gradient passes", t->name,
			  (int) e->role);
	direction_free(&d);
}

static void
check_tensor(trial *t, dl_param *e)
{
	int			coordinates = getenv("DLM_TEST_QUICK") != NULL ? 0 : 2;
	double		rms = direction_rms(e);
	size_t		largest = 0;

	for (size_t i = 0; i < e->n; i++)
		if (fabs(e->grad[i]) > fabs(e->grad[largest]))
			largest = i;
	if (rms < NOISE)
		t->zero++;
	/* a key's bias adds the same to all scores of a query: the softmax does not see it, unless positions or a norm do */
	CHECK(rms > NOISE || e->role == DL_T_K_B, "%s role %d layer %d: no gradient", t->name, (int) e->role, e->layer);
	check_direction(t, e, rms, -1);
	for (int i = 0; i < coordinates; i++)
		check_direction(t, e, rms, i == 0 ? (long) largest : (long) (batch_uniform(&t->random) * (double) e->n));
}

/* LoRA's B begins at zero, where A has no gradient. */
static void
shake_factors(trial *t)
{
	for (int i = 0; i < t->p->n; i++)
		for (size_t j = 0; t->p->list[i].part == DL_PART_LORA_B && j < t->p->list[i].n; j++)
			t->p->list[i].value[j] = (batch_uniform(&t->random) - 0.5) / 5;
}

static void
add_gradients(trial *t)
{
	dl_params_clear(t->p);
	(void) loss_of(t);
	CHECK(dl_net_backward(t->net, &(dlm_error) {0}) == DLM_OK, "%s: backward", t->name);
}

/* The same gradients, bit for bit, from a net that keeps only the layers' inputs. */
static void
recompute_gives_the_same_bits(trial *t)
{
	dl_net_limits limits = t->b.limits;
	dl_net	   *whole = t->net;
	size_t		n = 0;
	double	   *kept;
	bool		same = true;
	dlm_error	err = {0};

	for (int i = 0; i < t->p->n; i++)
		n += t->p->list[i].grad != NULL ? t->p->list[i].n : 0;
	kept = malloc(n * sizeof(double));
	n = 0;
	for (int i = 0; i < t->p->n; i++)
		if (t->p->list[i].grad != NULL)
		{
			memcpy(kept + n, t->p->list[i].grad, t->p->list[i].n * sizeof(double));
			n += t->p->list[i].n;
		}
	limits.recompute = true;
	CHECK(dl_net_bytes(t->p->model, t->options, &limits, 1) <
		  dl_net_bytes(t->p->model, t->options, &t->b.limits, 1), "%s: no memory is saved", t->name);
	CHECK(dl_net_create(t->p, &limits, NULL, &t->net, &err) == DLM_OK, "%s: %s", t->name, err.message);
	add_gradients(t);
	n = 0;
	for (int i = 0; i < t->p->n; i++)
		if (t->p->list[i].grad != NULL)
		{
			same = same && memcmp(kept + n, t->p->list[i].grad, t->p->list[i].n * sizeof(double)) == 0;
			n += t->p->list[i].n;
		}
	CHECK(same, "%s: recompute gives other gradients", t->name);
	free(kept);
	dl_net_free(t->net);
	t->net = whole;
}

static void
gradients_are_differences(dlm_model *m, const char *name, const dl_train_options *options, const dl_drop *drop, bool taught)
{
	static const char *const modes[] = {"all", "bias", "LoRA"};
	dl_arena   *a = dl_arena_create(0);
	trial		t = {.name = name, .options = options, .random = 11, .drop = drop};
	dlm_error	err = {0};
	int			tensors = 0;

	batch_make(&m->config, 3, &t.b);
	if (taught)
		batch_teach(9, &t.b);
	t.b.limits.lora_dropout = drop != NULL && drop->lora > 0;
	CHECK(dl_params_create(m, options, a, &t.p, &err) == DLM_OK, "%s: %s", name, err.message);
	if (t.p != NULL && dl_net_create(t.p, &t.b.limits, NULL, &t.net, &err) == DLM_OK)
	{
		shake_factors(&t);
		add_gradients(&t);
		for (int i = 0; i < t.p->n; i++)
			if (t.p->list[i].grad != NULL)
			{
				check_tensor(&t, &t.p->list[i]);
				tensors++;
			}
		recompute_gives_the_same_bits(&t);
		printf("%s, %s attention, %s%s%s: %d tensors (%d without gradient), largest relative error %.1e\n", name,
			   m->config.attention == DL_ATT_CONTEXT ? "context" : "full", modes[options->mode],
			   drop == NULL ? "" : drop->lora > 0 ? ", dropout before A" : ", dropout", taught ? ", taught" : "", tensors, t.zero, t.worst);
	}
	dl_arena_destroy(a);
}

int
main(void)
{
	const dl_train_options all = {.mode = DL_TRAIN_ALL};
	const dl_train_options bias = {.mode = DL_TRAIN_BIAS};
	const dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = 511, .rank = 3, .alpha = 5, .seed = 1};
	const dl_train_options inside = {.mode = DL_TRAIN_LORA, .lora = 255, .rank = 3, .alpha = 5, .seed = 1};
	const dl_train_options replaced = {.mode = DL_TRAIN_LORA, .lora = 511, .rank = 3, .alpha = 5, .seed = 1, .replaced = true};
	const dl_drop drop = {.seed = 5, .step = 9, .hidden = 0.2, .attention = 0.3};
	const dl_drop before_a = {.seed = 5, .step = 9, .hidden = 0.1, .lora = 0.3};

	for (int i = 0; i < N_TINY_MODELS; i++)
	{
		const char *name = tiny_models[i];
		fixture		f;
		uint32_t	own;

		if (!tiny_open(name, strcmp(name, "bf16") == 0 ? DLM_WEIGHTS_BF16 : DLM_WEIGHTS_F32, &f))
			continue;
		own = f.model->config.attention;
		gradients_are_differences(f.model, name, &all, NULL, false);
		gradients_are_differences(f.model, name, &lora, i % 2 == 0 ? NULL : &drop, false);
		gradients_are_differences(f.model, name, &inside, &before_a, false);
		f.model->config.attention = own == DL_ATT_FULL ? DL_ATT_CONTEXT : DL_ATT_FULL;
		gradients_are_differences(f.model, name, &all, &drop, false);
		gradients_are_differences(f.model, name, &lora, i % 2 == 0 ? &drop : NULL, false);
		if (f.model->layers[0].q.bias != NULL)
			gradients_are_differences(f.model, name, &bias, NULL, false);
		f.model->config.logit_shift = 1;
		gradients_are_differences(f.model, name, &replaced, NULL, true);
		f.model->config.attention = own;
		gradients_are_differences(f.model, name, &inside, &before_a, true);
		fixture_close(&f);
	}
	return harness_end("t_gradients");
}
