/*
 * t_length.c - the length head: gradients of every tensor against central
 * finite differences in the double build, with and without dropout; states
 * that are kept give the bits of states that are not; how a new head begins.
 */
#define DL_TRAIN_DOUBLE

#include "directions.h"
#include "length.h"

#define STEP		1e-5		/* small, since ReLU has a corner */
#define TOLERANCE	1e-6		/* of a derivative, or of the tensor's root mean square if that is larger */
#define NOISE		1e-9		/* what rounding of the loss makes of any difference: 1e-16 * loss / STEP, some times */
#define SMOOTHING	0.1
#define CLASSES		9

typedef struct trial
{
	const char *name;
	dl_params  *p;
	dl_length_net *net;
	batch		b;
	int32_t		class[BATCH_ROWS];
	const dl_drop *drop;
	uint64_t	random;
	double		worst;
} trial;

static double
loss_of(void *arg)
{
	trial	   *t = arg;
	dlm_error	err = {0};
	dl_loss		loss = {.loss = NAN};

	if (dl_length_forward(t->net, t->b.rows, NULL, BATCH_ROWS, t->drop, &err) != DLM_OK ||
		dl_length_loss(t->net, SMOOTHING, &loss, NULL, &err) != DLM_OK)
		CHECK(false, "%s: %s", t->name, err.message);
	return loss.loss;
}

static void
check_direction(trial *t, dl_param *e)
{
	direction	d = direction_make(e, -1, &t->random, loss_of, t);
	double		rms = direction_rms(e);
	double		expected = direction_rise(&d, STEP) / (2 * STEP);
	double		size = direction_size(d.slope, expected, rms);

	/* a key's bias adds the same to all scores of a query */
	CHECK(rms > 1e-12 || e->role == DL_T_LEN_K_B, "%s role %d: no gradient", t->name, (int) e->role);
	CHECK(fabs(d.slope - expected) <= TOLERANCE * size + NOISE, "%s role %d: %.12g, difference %.12g", t->name, (int) e->role,
		  d.slope, expected);
	if (rms > 1e-4)
		t->worst = fmax(t->worst, fabs(d.slope - expected) / size);
	direction_free(&d);
}

static void
make_rows(trial *t, const dl_config *c)
{
	static const int32_t at = 0;

	batch_make(c, 3, &t->b);
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		dl_example *e = &t->b.rows[r];

		memset(t->b.live[r], 0, sizeof(t->b.live[r]));
		t->class[r] = r * 2;
		e->n_ask = 1;
		e->ask = &at;
		e->target = &t->class[r];
		t->b.weight[r][0] = 0.5f + 0.25f * (float) r;
	}
}

static bool
begin(trial *t, dlm_model *m, dl_arena *a, int classes, int kept)
{
	dl_train_options options = {.mode = DL_TRAIN_LENGTH, .length_classes = classes, .seed = 4};
	dlm_error	err = {0};
	dl_length_limits limits = {.longest = BATCH_LONGEST};
	size_t		before;
	dlm_status	st = dl_params_create(m, &options, a, &t->p, &err);

	make_rows(t, &m->config);
	limits.states = (dl_states_limits) {t->b.limits.tokens, t->b.limits.rows, kept, kept * t->b.limits.tokens / 4};
	before = dl_arena_used(a);
	if (st == DLM_OK)
		st = dl_length_create(t->p, &limits, NULL, &t->net, &err);
	CHECK(st == DLM_OK, "%s: %s", t->name, err.message);
	CHECK(st != DLM_OK || dl_arena_used(a) - before <= dl_length_bytes(m, &options, &limits, 1), "%s: bytes", t->name);
	return st == DLM_OK;
}

static void
gradients_are_differences(dlm_model *m, const char *name, const dl_drop *drop)
{
	dl_arena   *a = dl_arena_create(0);
	trial		t = {.name = name, .drop = drop, .random = 12};
	dlm_error	err = {0};

	if (begin(&t, m, a, m->config.length_classes > 0 ? 0 : CLASSES, 0))
	{
		CHECK(t.p->n == 20 && t.p->list[0].role == DL_T_LEN_Q_W, "%s: %d tensors", name, t.p->n);
		/* what is 0 or 1 in a new head is so by chance only */
		for (int i = 0; i < t.p->n; i++)
			for (size_t j = 0; t.p->list[i].rows == 1 && j < t.p->list[i].n; j++)
				t.p->list[i].value[j] += (batch_uniform(&t.random) - 0.5) / 5;
		dl_params_clear(t.p);
		(void) loss_of(&t);
		CHECK(dl_length_backward(t.net, &err) == DLM_OK, "%s: %s", name, err.message);
		for (int i = 0; i < t.p->n; i++)
			check_direction(&t, &t.p->list[i]);
		printf("%s%s: largest relative error %.1e\n", name, drop != NULL ? ", dropout" : "", t.worst);
	}
	dl_length_free(t.net);
	dl_arena_destroy(a);
}

/* Rows in another order, a row twice, only some of them kept: the bits are those of states computed afresh. */
static void
kept_states_are_the_same(dlm_model *m, const char *name)
{
	dl_arena   *a = dl_arena_create(0);
	trial		t = {.name = name};
	const int	order[][BATCH_ROWS] = {{0, 1, 2, 3}, {0, 1, 2, 3}, {3, 1, 1, 0}, {2, 2, 2, 0}};
	dlm_error	err = {0};

	for (int kept = 3; kept <= 4 && begin(&t, m, a, m->config.length_classes > 0 ? 0 : CLASSES, kept); kept++)
	{
		for (int round = 0; round < 4; round++)
		{
			dl_example	rows[BATCH_ROWS];
			dl_loss		fresh,
						again;

			for (int i = 0; i < BATCH_ROWS; i++)
				rows[i] = t.b.rows[order[round][i]];
			/* numbers above those that may be kept are not asked for */
			for (int i = 0; i < BATCH_ROWS && kept == 3; i++)
				rows[i] = t.b.rows[order[round][i] % 3];
			CHECK(dl_length_forward(t.net, rows, NULL, BATCH_ROWS, NULL, &err) == DLM_OK &&
				  dl_length_loss(t.net, 0, &fresh, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
			CHECK(dl_length_forward(t.net, rows, kept == 3 ? (int[]) {order[round][0] % 3, order[round][1] % 3,
									order[round][2] % 3, order[round][3] % 3} : order[round], BATCH_ROWS, NULL, &err) == DLM_OK &&
				  dl_length_loss(t.net, 0, &again, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
			CHECK(fresh.loss == again.loss && isfinite(fresh.loss), "%s, round %d: %.17g and %.17g", name, round, fresh.loss,
				  again.loss);
		}
		dl_length_free(t.net);
		dl_params_free(t.p);
		t.net = NULL;
	}
	dl_arena_destroy(a);
}

/* Mean and bound of each tensor as PyTorch draws them; a function of the seed. */
static void
a_new_head_begins_as_pytorch(dlm_model *m)
{
	dl_arena   *a = dl_arena_create(0);
	trial		t = {.name = "begin"};
	double		hidden = m->config.hidden;

	if (begin(&t, m, a, 0, 0))
	{
		const dl_length_params *l = &t.p->length;
		const struct
		{
			const dl_param *e;
			double		bound;
		}			drawn[] = {
			{l->q.w, sqrt(6 / (4 * hidden))}, {l->v.w, sqrt(6 / (4 * hidden))}, {l->o.w, 1 / sqrt(hidden)},
			{l->up.w, 1 / sqrt(hidden)}, {l->up.b, 1 / sqrt(hidden)}, {l->down.w, 1 / sqrt(m->config.ffn)},
			{l->down.b, 1 / sqrt(m->config.ffn)}, {l->out.b, 1 / sqrt(m->config.ffn)}
		};

		CHECK(t.p->config.length_classes == (m->config.context < 512 ? m->config.context : 512) &&
			  t.p->config.length_ffn == m->config.ffn && t.p->config.length_hidden == m->config.ffn, "sizes");
		CHECK(l->q.b->value[1] == 0 && l->o.b->value[1] == 0 && l->norm1.w->value[1] == 1 && l->norm2.b->value[1] == 0, "constants");
		for (size_t i = 0; i < sizeof(drawn) / sizeof(drawn[0]); i++)
		{
			double		most = 0;

			for (size_t j = 0; j < drawn[i].e->n; j++)
				most = fmax(most, fabs(drawn[i].e->value[j]));
			CHECK(most <= drawn[i].bound && most > 0.9 * drawn[i].bound, "tensor %zu: %g of %g", i, most, drawn[i].bound);
		}
		CHECK(l->q.w->value[0] != l->k.w->value[0], "two tensors are equal");
	}
	dl_length_free(t.net);
	dl_arena_destroy(a);
}

static void
refusals(dlm_model *with, dlm_model *without)
{
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p;
	dlm_error	err = {0};
	dl_train_options o = {.mode = DL_TRAIN_LENGTH, .length_classes = 7};
	uint32_t	heads = without->config.heads;

	CHECK(dl_params_create(with, &o, a, &p, &err) == DLM_EINVAL && strstr(err.message, "130 classes, not 7") != NULL, "%s",
		  err.message);
	without->config.heads = without->config.hidden - 1;
	CHECK(dl_params_create(without, &o, a, &p, &err) == DLM_EUNSUPPORTED, "%s", err.message);
	without->config.heads = heads;
	CHECK(dl_arena_used(a) == 0, "memory is left");
	dl_arena_destroy(a);
}

int
main(void)
{
	const dl_drop drop = {.seed = 5, .step = 9, .hidden = 0.2, .attention = 0.3};
	fixture		paper,
				llama;

	for (int i = 0; i < N_TINY_MODELS; i++)
	{
		fixture		f;

		if (!tiny_open(tiny_models[i], strcmp(tiny_models[i], "bf16") == 0 ? DLM_WEIGHTS_BF16 : DLM_WEIGHTS_F32, &f))
			continue;
		if (f.model->config.hidden % f.model->config.heads == 0)
		{
			gradients_are_differences(f.model, tiny_models[i], NULL);
			gradients_are_differences(f.model, tiny_models[i], &drop);
			kept_states_are_the_same(f.model, tiny_models[i]);
		}
		fixture_close(&f);
	}
	if (tiny_open("paper", DLM_WEIGHTS_F32, &paper) && tiny_open("llama", DLM_WEIGHTS_F32, &llama))
	{
		a_new_head_begins_as_pytorch(llama.model);
		refusals(paper.model, llama.model);
		fixture_close(&llama);
		fixture_close(&paper);
	}
	return harness_end("t_length");
}
