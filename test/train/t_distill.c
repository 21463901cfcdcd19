/*
 * t_distill.c - the teacher: its distribution is that of the base as the engine
 * runs it from left to right, whatever the factors have come to be; the loss is
 * the cross-entropy to the mixed target; a student that sees what the teacher
 * sees and is the base has nothing to learn. In the double build.
 */
#define DL_TRAIN_DOUBLE

#include "logits.h"
#include "wide.h"

#define TOLERANCE	1e-5		/* of a loss, relative: the engine's logits are floats */
#define TOLERANCE_INT8	3e-3	/* and its int8 products round activations too */
#define SMOOTHING	0.1

/* One ask's cross-entropy from the student's logits z and the teacher's u, NULL: none. */
static double
defined(const double *z, const double *u, int n, int target, double share, double smoothing)
{
	double		most = z[0],
				most_u = u != NULL ? u[0] : 0,
				sum = 0,
				sum_u = 0,
				all = 0,
				expected = 0;

	for (int i = 0; i < n; i++)
	{
		most = fmax(most, z[i]);
		most_u = u != NULL ? fmax(most_u, u[i]) : 0;
	}
	for (int i = 0; i < n; i++)
	{
		double		p = u != NULL ? exp(u[i] - most_u) : 0;

		sum += exp(z[i] - most);
		all += z[i];
		sum_u += p;
		expected += p * z[i];
	}
	expected = u != NULL ? (1 - share) * z[target] + share * expected / sum_u : z[target];
	return most + log(sum) - (1 - smoothing) * expected - smoothing * all / n;
}

/* ------------------------------------------------------------ tiny models */

/* A trained student: no factor and no replaced row is what it began as. */
static void
train_a_little(dl_params *p, uint64_t seed)
{
	for (int i = 0; i < p->n; i++)
		for (size_t j = 0; p->list[i].grad != NULL && j < p->list[i].n; j++)
			p->list[i].value[j] += (batch_uniform(&seed) - 0.5) / 5;
}

/* The engine's logits of the rows with their targets in place, every position fixed: the rule of context attention is then causal. */
static bool
base_logits(dlm_model *m, const batch *b, outcome *o)
{
	batch		clean = *b;
	uint32_t	own = m->config.attention;
	bool		ok;

	memset(clean.live, 0, sizeof(clean.live));
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		clean.rows[r].ids = clean.ids[r];
		clean.rows[r].live = clean.live[r];
		for (int i = 0; i < b->rows[r].n_ask; i++)
			clean.ids[r][b->ask[r][i]] = b->target[r][i];
	}
	m->config.attention = DL_ATT_CONTEXT;
	ok = engine_logits(m, &clean, o);
	m->config.attention = own;
	return ok;
}

/* The definition, with the net's own logits of the student and the engine's of the base. */
static double
batch_defined(dl_net *net, const batch *b, const outcome *o, int vocab, double smoothing)
{
	double	   *z = malloc((size_t) vocab * sizeof(double));
	double	   *u = malloc((size_t) vocab * sizeof(double));
	double		loss = 0;
	int			at = 0;

	for (int r = 0; r < BATCH_ROWS; r++)
		for (int i = 0; i < b->rows[r].n_ask; i++)
		{
			double		share = b->rows[r].taught != NULL ? (double) b->taught[r][i] : 0;

			dl_net_logits(net, at++, z);
			for (int j = 0; j < vocab; j++)
				u[j] = (double) o[r].logits[(size_t) i * (size_t) vocab + (size_t) j];
			loss += (double) b->weight[r][i] * defined(z, share > 0 ? u : NULL, vocab, b->target[r][i], share, smoothing);
		}
	free(z);
	free(u);
	return loss;
}

static void
the_teacher_is_the_base(dlm_model *m, const char *name)
{
	double		tolerance = m->config.weights == DL_I8 ? TOLERANCE_INT8 : TOLERANCE;
	const dl_train_options options = {.mode = DL_TRAIN_LORA, .lora = 511, .rank = 3, .alpha = 5, .seed = 1, .replaced = true};
	dl_arena   *a = dl_arena_create(0);
	outcome		o[BATCH_ROWS] = {0};
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dl_loss		loss = {.loss = NAN},
				hard = {.loss = NAN};
	batch		b;
	dlm_error	err = {0};

	batch_make(&m->config, 7, &b);
	batch_teach(5, &b);
	CHECK(dl_params_create(m, &options, a, &p, &err) == DLM_OK && dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s: %s",
		  name, err.message);
	CHECK(dl_arena_used(a) == dl_params_bytes(m, &options, NULL) + dl_net_bytes(m, &options, &b.limits, 1), "%s: %zu bytes", name,
		  dl_arena_used(a));
	train_a_little(p, 3);
	if (base_logits(m, &b, o))
	{
		double		want;

		/* the second time, the student's dropout of the first is still about */
		for (int i = 0; i < 2; i++)
			CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, &(dl_drop) {.seed = 1, .hidden = 0.3, .attention = 0.3}, &err) == DLM_OK,
				  "%s: %s", name, err.message);
		CHECK(dl_net_loss(net, SMOOTHING, &loss, &err) == DLM_OK, "%s: %s", name, err.message);
		want = batch_defined(net, &b, o, (int) m->config.vocab, SMOOTHING);
		CHECK(fabs(loss.loss - want) <= tolerance * want, "%s: loss %.9g, by definition %.9g", name, loss.loss, want);
		CHECK(dl_net_loss(net, 0, &loss, &err) == DLM_OK, "%s: %s", name, err.message);
		for (int r = 0; r < BATCH_ROWS; r++)
			for (int i = 0; i < b.rows[r].n_ask; i++)
				b.weight[r][i] = 1;
		want = batch_defined(net, &b, o, (int) m->config.vocab, 0);
		CHECK(fabs(loss.nats - want) <= tolerance * want, "%s: %.9g nats, by definition %.9g", name, loss.nats, want);
		for (int r = 0; r < BATCH_ROWS; r++)
			b.rows[r].taught = NULL;
		CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_OK && dl_net_loss(net, 0, &hard, &err) == DLM_OK, "%s: %s",
			  name, err.message);
		CHECK(fabs(hard.nats - want) > 10 * tolerance * want, "%s: the teacher changes nothing", name);
	}
	for (int r = 0; r < BATCH_ROWS; r++)
		outcome_free(&o[r]);
	dl_arena_destroy(a);
}

/* Of all that trains, the largest gradient. */
static double
largest_gradient(const dl_params *p)
{
	double		most = 0;

	for (int i = 0; i < p->n; i++)
		for (size_t j = 0; p->list[i].grad != NULL && j < p->list[i].n; j++)
			most = fmax(most, fabs(p->list[i].grad[j]));
	return most;
}

/* All of the target is the teacher's; rows are not masked and not live, so that the student is causal too. */
static void
the_base_has_nothing_to_learn(dlm_model *m, const char *name)
{
	const dl_train_options options = {.mode = DL_TRAIN_LORA, .lora = 511, .rank = 3, .alpha = 5, .seed = 1, .replaced = true};
	uint32_t	own = m->config.attention;
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	double		gradient[2];
	batch		b;
	dlm_error	err = {0};

	m->config.attention = DL_ATT_CONTEXT;
	batch_make(&m->config, 7, &b);
	memset(b.live, 0, sizeof(b.live));
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		b.rows[r].taught = b.taught[r];
		for (int i = 0; i < b.rows[r].n_ask; i++)
		{
			b.target[r][i] = b.ids[r][b.ask[r][i]];
			b.taught[r][i] = 1;
		}
	}
	b.limits.teacher = true;
	CHECK(dl_params_create(m, &options, a, &p, &err) == DLM_OK && dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s: %s",
		  name, err.message);
	for (int trained = 0; trained < 2; trained++)
	{
		dl_loss		loss;

		if (trained)
			train_a_little(p, 3);
		dl_params_clear(p);
		CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_OK && dl_net_loss(net, 0, &loss, &err) == DLM_OK &&
			  dl_net_backward(net, &err) == DLM_OK, "%s: %s", name, err.message);
		gradient[trained] = largest_gradient(p);
	}
	CHECK(gradient[0] < 1e-12, "%s: the base differs from itself by a gradient of %g", name, gradient[0]);
	CHECK(gradient[1] > 1e-3, "%s: trained factors differ from the base by a gradient of %g", name, gradient[1]);
	dl_arena_destroy(a);
	m->config.attention = own;
}

static void
every_model(const char *name, dlm_weights weights)
{
	fixture		f;
	uint32_t	own;

	if (!tiny_open(name, weights, &f))
		return;
	own = f.model->config.attention;
	f.model->config.logit_shift = 1;
	the_teacher_is_the_base(f.model, name);
	the_base_has_nothing_to_learn(f.model, name);
	f.model->config.attention = own == DL_ATT_FULL ? DL_ATT_CONTEXT : DL_ATT_FULL;
	the_teacher_is_the_base(f.model, name);
	f.model->config.attention = own;
	fixture_close(&f);
}

/* ------------------------------------------------------- a wide vocabulary */

/* The teacher's logits: those of a causal student without factors. [asks, WIDE] */
static double *
wide_teacher(wide *w)
{
	static const uint8_t fixed[LONG];
	dl_net_limits limits = {.tokens = LONG * LONG_ROWS, .rows = LONG_ROWS, .asks = w->asks};
	dl_param   *b[] = {w->p->head.lora_b, w->p->layers[0].q.lora_b, w->p->layers[1].q.lora_b};
	double	   *kept[3];
	double	   *u = malloc((size_t) w->asks * WIDE * sizeof(double));
	static int32_t ids[LONG_ROWS][LONG];
	dl_example	rows[LONG_ROWS];
	dl_net	   *net = NULL;
	dlm_error	err = {0};

	memcpy(ids, w->ids, sizeof(ids));
	for (int r = 0; r < LONG_ROWS; r++)
	{
		rows[r] = w->rows[r];
		rows[r].ids = ids[r];
		rows[r].live = fixed;
		rows[r].taught = NULL;
		for (int i = 0; i < rows[r].n_ask; i++)
			ids[r][w->ask[r][i]] = w->target[r][i];
	}
	for (int i = 0; i < 3; i++)
	{
		kept[i] = b[i]->value;
		b[i]->value = dl_arena_calloc(w->a, b[i]->n, sizeof(double));
	}
	w->p->config.attention = DL_ATT_CONTEXT;
	CHECK(dl_net_create(w->p, &limits, NULL, &net, &err) == DLM_OK && dl_net_forward(net, rows, LONG_ROWS, NULL, &err) == DLM_OK,
		  "%s", err.message);
	for (int i = 0; i < w->asks; i++)
		dl_net_logits(net, i, u + (size_t) i * WIDE);
	w->p->config.attention = DL_ATT_FULL;
	for (int i = 0; i < 3; i++)
		b[i]->value = kept[i];
	return u;
}

static void
blocks_give_the_whole(void)
{
	const dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_OUTPUT | DL_DENSE_Q, .rank = 3, .alpha = 2};
	double	   *z = malloc(WIDE * sizeof(double));
	double	   *u;
	double		want = 0;
	int			at = 0,
				taught = 0;
	dl_loss		loss;
	wide		w;

	if (!wide_open(&w, &lora, true))
		return;
	for (int l = 0; l < 2; l++)
		for (size_t i = 0; i < w.p->layers[l].q.lora_b->n; i++)
			w.p->layers[l].q.lora_b->value[i] = batch_uniform(&w.random) - 0.5;
	u = wide_teacher(&w);
	wide_loss(&w, SMOOTHING, &loss);
	for (int r = 0; r < LONG_ROWS; r++)
		for (int i = 0; i < w.rows[r].n_ask; i++, at++)
		{
			double		share = (double) w.taught[r][i];

			dl_net_logits(w.net, at, z);
			want += (double) w.weight[r][i] * defined(z, share > 0 ? u + (size_t) at * WIDE : NULL, WIDE, w.target[r][i], share,
													  SMOOTHING);
			taught += share > 0;
		}
	CHECK(taught > w.asks / 3 && taught < w.asks, "%d of %d asks have a teacher", taught, w.asks);
	CHECK(fabs(loss.loss - want) <= 1e-12 * want, "%.15g, by definition %.15g", loss.loss, want);
	wide_derivative(&w, w.p->head.lora_a, "projection's A");
	wide_derivative(&w, w.p->head.lora_b, "projection's B");
	wide_derivative(&w, w.p->layers[0].q.lora_b, "query's B");
	wide_close(&w);
	free(z);
	free(u);
}

/* --------------------------------------------------------------- refusals */

/* A forward pass of the batch by a net of these options. */
static dlm_status
forward_of(dlm_model *m, dl_train_mode mode, const batch *b, bool teacher)
{
	const dl_train_options options = {.mode = mode, .lora = 127, .rank = 2, .alpha = 1};
	dl_net_limits limits = b->limits;
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dlm_error	err = {0};
	dlm_status	st;

	limits.teacher = teacher;
	CHECK(dl_params_create(m, &options, a, &p, &err) == DLM_OK && dl_net_create(p, &limits, NULL, &net, &err) == DLM_OK, "%s",
		  err.message);
	st = dl_net_forward(net, b->rows, BATCH_ROWS, NULL, &err);
	dl_arena_destroy(a);
	return st;
}

static void
refusals(void)
{
	fixture		f;
	batch		b;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	batch_make(&f.model->config, 7, &b);
	batch_teach(5, &b);
	CHECK(f.model->config.logit_shift == 1 && forward_of(f.model, DL_TRAIN_LORA, &b, true) == DLM_OK, "a teacher");
	CHECK(forward_of(f.model, DL_TRAIN_ALL, &b, true) == DLM_EINVAL, "weights that train have no teacher");
	CHECK(forward_of(f.model, DL_TRAIN_LORA, &b, false) == DLM_EINVAL, "no memory for a teacher");
	f.model->config.logit_shift = 0;
	CHECK(forward_of(f.model, DL_TRAIN_LORA, &b, true) == DLM_EINVAL, "states that do not predict the next token");
	memset(b.taught, 0, sizeof(b.taught));
	CHECK(forward_of(f.model, DL_TRAIN_ALL, &b, false) == DLM_OK, "no shares");
	f.model->config.logit_shift = 1;
	b.taught[3][0] = 1.5f;
	CHECK(forward_of(f.model, DL_TRAIN_LORA, &b, true) == DLM_EINVAL, "more than all of a target");
	b.taught[3][0] = NAN;
	CHECK(forward_of(f.model, DL_TRAIN_LORA, &b, true) == DLM_EINVAL, "not a number");
	fixture_close(&f);
}

int
main(void)
{
	for (int i = 0; i < N_TINY_MODELS; i++)
		every_model(tiny_models[i], DLM_WEIGHTS_F32);
	every_model("bf16", DLM_WEIGHTS_BF16);
	every_model("context", DLM_WEIGHTS_BF16);
	every_model("llama", DLM_WEIGHTS_INT8);
	blocks_give_the_whole();
	refusals();
	return harness_end("t_distill");
}
