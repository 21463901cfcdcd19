/*
 * length.c - see length.h: memory and batch; the predictor and the loss.
 */
#include "length_impl.h"

#include <string.h>

#include "fmath.h"
#include "linear.h"
#include "status.h"

/* ------------------------------------------------------------------ memory */

static dl_dense_sizes
dense_sizes(const dl_length_net *net)
{
	const dl_config *c = &net->p->config;
	int			h = (int) c->hidden;
	int			f = (int) c->length_ffn;
	int			d = (int) c->length_hidden;
	int			classes = (int) c->length_classes;
	dl_dense_sizes s = {
		.rows = dl_larger(net->limits.states.tokens, net->limits.states.rows), .most_n = dl_larger(dl_larger(h, f), dl_larger(d, classes)),
		.most_k = dl_larger(dl_larger(h, f), d), .threads = net->threads, .weights = true
	};
	const int	shapes[][2] = {{h, h}, {f, h}, {h, f}, {d, h}, {classes, d}};

	for (int i = 0; i < 5; i++)
		if (dl_panels_size(shapes[i][0], shapes[i][1]) > s.most_panels)
			s.most_panels = dl_panels_size(shapes[i][0], shapes[i][1]);
	return s;
}

static void
carve_layer(dl_length_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	size_t		tokens = (size_t) net->limits.states.tokens;
	dl_rows    *const wide[] = {
		&net->x, &net->q, &net->k, &net->v, &net->mix, &net->mid, &net->f, &net->out, &net->g, &net->t, &net->dq, &net->dk,
		&net->dv, &net->dmix
	};

	for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
		*wide[i] = dl_carve_rows(base, at, tokens, c->hidden);
	net->up = dl_carve_rows(base, at, tokens, c->length_ffn);
	net->act = dl_carve_rows(base, at, tokens, c->length_ffn);
	net->dup = dl_carve_rows(base, at, tokens, c->length_ffn);
}

/* All of it, the net first; base NULL only counts, and spoils net's pointers. */
static size_t
layout(dl_length_net *net, void *base)
{
	const dl_config *c = &net->p->config;
	size_t		at = (sizeof(*net) + 63) & ~(size_t) 63;
	size_t		rows = (size_t) net->limits.states.rows;
	size_t		items = (size_t) dl_divide_up(net->limits.states.tokens, DL_LENGTH_TOKENS);
	dl_dense_sizes sizes = dense_sizes(net);

	net->first = dl_carve_bytes(base, &at, rows * sizeof(int));
	net->log_z = dl_carve_bytes(base, &at, rows * sizeof(double));
	net->source = dl_carve_bytes(base, &at, rows * sizeof(float *));
	carve_layer(net, base, &at);
	net->mean = dl_carve_rows(base, &at, rows, c->hidden);
	net->dmean = dl_carve_rows(base, &at, rows, c->hidden);
	net->inner = dl_carve_rows(base, &at, rows, c->length_hidden);
	net->dinner = dl_carve_rows(base, &at, rows, c->length_hidden);
	net->logits = dl_carve_rows(base, &at, rows, c->length_classes);
	net->attention = dl_carve_reals(base, &at, (size_t) net->threads * dl_attention_scratch(net->limits.longest, net->dim));
	net->norm_sums = dl_carve_reals(base, &at, items * 2 * c->hidden);
	dl_dense_scratch_carve(&net->dense, base, &at, &sizes);
	dl_carve_bytes(base, &at, DL_PANEL * sizeof(dl_real));	/* products read 16 numbers at a time */
	return at;
}

static dl_length_net
empty_net(dl_params *p, const dl_length_limits *limits, int threads)
{
	return (dl_length_net) {
		.p = p, .limits = *limits, .threads = threads > 1 ? threads : 1, .dim = (int) (p->config.hidden / p->config.heads)
	};
}

size_t
dl_length_bytes(const dlm_model *model, const dl_train_options *options, const dl_length_limits *limits, int threads)
{
	dl_params	p = {.config = model->config};
	dl_length_net net;

	dl_length_sizes(&p.config, options);
	net = empty_net(&p, limits, threads);
	return dl_block_bytes(layout(&net, NULL)) + dl_states_bytes(model, &limits->states);
}

dlm_status
dl_length_create(dl_params *p, const dl_length_limits *limits, const dlm_env *env, dl_length_net **out, dlm_error *err)
{
	dl_length_net count = empty_net(p, limits, env != NULL ? env->threads : 1);
	dl_length_net *net;
	size_t		bytes;

	if (limits->states.tokens < 1 || limits->states.rows < 1 || limits->longest < 1)
		return dl_fail(err, DLM_EINVAL, "", "a batch needs at least one token and one row");
	bytes = layout(&count, NULL);
	net = dl_arena_block(p->arena, bytes);
	if (net == NULL)
		return dl_fail_memory(err);
	memset(net, 0, bytes);
	*net = empty_net(p, limits, env != NULL ? env->threads : 1);
	layout(net, net);
	net->states = dl_states_create(p->model, &limits->states, env, p->arena);
	if (net->states == NULL)
	{
		dl_arena_block_free(p->arena, net);
		return dl_fail_memory(err);
	}
	dl_exec_begin(&net->exec, env, net->threads);
	*out = net;
	return DLM_OK;
}

void
dl_length_free(dl_length_net *net)
{
	if (net == NULL)
		return;
	dl_states_free(net->states);
	dl_team_free(net->exec.team);
	dl_arena_block_free(net->p->arena, net);
}

void
dl_length_threads(dl_length_net *net, int threads)
{
	if (dl_exec_threads(&net->exec, threads, net->threads))
		dl_states_threads(net->states, dl_team_size(net->exec.team));
}

/* ------------------------------------------------------------------ states */

static dlm_status
find_states(dl_length_net *net, const int *number, dlm_error *err)
{
	uint32_t	hidden = net->p->config.hidden;
	dlm_status	st = dl_states_find(net->states, net->rows, number, net->n_rows, net->source, err);

	for (int r = 0; r < net->n_rows && st == DLM_OK; r++)
		for (int i = 0; i < net->rows[r].n; i++)
			for (uint32_t j = 0; j < hidden; j++)
				dl_row(net->x, net->first[r] + i)[j] = (dl_real) net->source[r][(size_t) i * hidden + j];
	return st;
}

/* --------------------------------------------------------------- predictor */

/* The mean of t over a row's tokens, ascending. */
static void
pool(dl_length_net *net)
{
	size_t		hidden = net->p->config.hidden;

	for (int r = 0; r < net->n_rows; r++)
	{
		dl_real    *mean = dl_row(net->mean, r);

		memset(mean, 0, hidden * sizeof(dl_real));
		for (int i = 0; i < net->rows[r].n; i++)
			dl_add_scaled(mean, dl_row(net->t, net->first[r] + i), 1, hidden);
		for (size_t i = 0; i < hidden; i++)
			mean[i] /= (dl_real) net->rows[r].n;
	}
}

/* The engine's tanh, whose bits are those of every machine. */
static void
tanh_row(const dl_length_net *net, dl_real *x)
{
#ifdef DL_TRAIN_DOUBLE
	for (uint32_t i = 0; i < net->p->config.length_hidden; i++)
		x[i] = dl_real_tanh(x[i]);
#else
	net->exec.kernels->tanh(x, (int) net->p->config.length_hidden);
#endif
}

/* The predictor, on the mean of what the layer gives. */
static void
run_predictor(dl_length_net *net)
{
	const dl_length_params *l = &net->p->length;

	pool(net);
	dl_length_dense(net, &l->hidden, net->mean, net->n_rows, net->inner);
	for (int r = 0; r < net->n_rows; r++)
		tanh_row(net, dl_row(net->inner, r));
	dl_length_dense(net, &l->out, net->inner, net->n_rows, net->logits);
}

/* ------------------------------------------------------------------- batch */

static dlm_status
check_example(const dl_length_net *net, const dl_example *e, dlm_error *err)
{
	const dl_config *c = &net->p->config;

	if (e->n < 1 || (uint32_t) e->n > c->context || e->n > net->limits.longest)
		return dl_fail(err, DLM_EINVAL, "", "row has %d tokens, but the model's context is %u", e->n, c->context);
	for (int i = 0; i < e->n; i++)
		if (e->ids[i] < 0 || (uint32_t) e->ids[i] >= c->vocab)
			return dl_fail(err, DLM_EINVAL, "", "token %d is not in the model's vocabulary", e->ids[i]);
	if (e->n_ask != 1 || e->target[0] < 0 || (uint32_t) e->target[0] >= c->length_classes)
		return dl_fail(err, DLM_EINVAL, "", "a row needs one class of the length head's %u", c->length_classes);
	return DLM_OK;
}

dlm_status
dl_length_forward(dl_length_net *net, const dl_example *rows, const int *number, int n_rows, const dl_drop *drop,
				  dlm_error *err)
{
	dlm_status	st = DLM_OK;

	if (drop != NULL && !dl_drop_is_valid(drop))
		return dl_fail(err, DLM_EINVAL, "", "dropout must be at least 0 and less than 1");
	net->rows = rows;
	net->n_rows = net->n_tokens = 0;
	net->drop = drop != NULL ? *drop : (dl_drop) {0};
	for (int i = 0; i < n_rows && st == DLM_OK; i++)
	{
		st = check_example(net, &rows[i], err);
		if (st == DLM_OK && (i >= net->limits.states.rows || rows[i].n > net->limits.states.tokens - net->n_tokens))
			st = dl_fail(err, DLM_ETOOLONG, "", "batch is larger than the trainer's buffers");
		if (st != DLM_OK)
			return st;
		net->first[i] = net->n_tokens;
		net->n_tokens += rows[i].n;
		net->n_rows++;
	}
	net->exec.stopped = false;
	st = find_states(net, number, err);
	if (st != DLM_OK)
		return st;
	dl_length_layer_run(net);
	if (!net->exec.stopped)
		run_predictor(net);
	return net->exec.stopped ? dl_fail(err, DLM_EINTR, "", "training was stopped") : DLM_OK;
}

/* -------------------------------------------------------------------- loss */

static double
log_sum_exp(const dl_real *z, int n)
{
	double		most = (double) z[0];
	double		sum = 0;

	for (int i = 1; i < n; i++)
		most = (double) z[i] > most ? (double) z[i] : most;
	for (int i = 0; i < n; i++)
		sum += dl_exp((double) z[i] - most);
	return most + dl_log(sum);
}

void
dl_length_logprobs(const dl_length_net *net, int row, double *logprobs)
{
	const dl_real *z = dl_row(net->logits, row);
	int			n = (int) net->p->config.length_classes;
	double		log_z = log_sum_exp(z, n);

	for (int i = 0; i < n; i++)
		logprobs[i] = (double) z[i] - log_z;
}

static int
best_class(const dl_real *z, int n)
{
	int			best = 0;

	for (int i = 1; i < n; i++)
		if (z[i] > z[best])
			best = i;
	return best;
}

dlm_status
dl_length_loss(dl_length_net *net, double smoothing, dl_loss *out, int *near, dlm_error *err)
{
	int			n = (int) net->p->config.length_classes;
	int			close = 0;

	if (!(smoothing >= 0 && smoothing < 1))
		return dl_fail(err, DLM_EINVAL, "", "label smoothing must be at least 0 and less than 1");
	net->smoothing = smoothing;
	*out = (dl_loss) {.asks = net->n_rows, .bad = -1};
	for (int r = 0; r < net->n_rows; r++)
	{
		const dl_real *z = dl_row(net->logits, r);
		int			class = net->rows[r].target[0];
		double		weight = (double) net->rows[r].weight[0];
		int			away = best_class(z, n) - class;
		double		sum = 0;

		for (int i = 0; i < n; i++)
			sum += (double) z[i];
		net->log_z[r] = log_sum_exp(z, n);
		out->loss += weight * (net->log_z[r] - (1 - smoothing) * (double) z[class] - smoothing / n * sum);
		out->weight += weight;
		out->nats += net->log_z[r] - (double) z[class];
		out->correct += away == 0;
		close += away >= -1 && away <= 1;
		if (out->bad < 0 && !isfinite(net->log_z[r] - (double) z[class]))
			out->bad = r;
	}
	if (near != NULL)
		*near = close;
	if (out->bad >= 0 || !isfinite(out->loss))
		return dl_fail(err, DLM_EDAMAGED, "Lower the learning rate, or look for damage in the model.",
					   "loss is not a finite number");
	return DLM_OK;
}

/* -------------------------------------------------------------------- back */

/* dz = weight (softmax - (1 - smoothing) [class] - smoothing / classes), in place */
static void
slope(dl_length_net *net, int row)
{
	int			n = (int) net->p->config.length_classes;
	dl_real    *z = dl_row(net->logits, row);
	double		weight = (double) net->rows[row].weight[0];

	for (int i = 0; i < n; i++)
		z[i] = (dl_real) (weight * (dl_exp((double) z[i] - net->log_z[row]) - net->smoothing / n));
	z[net->rows[row].target[0]] -= (dl_real) (weight * (1 - net->smoothing));
}

/* g, the gradient of what norm2 gives, from that of the logits */
static void
predictor_back(dl_length_net *net)
{
	const dl_config *c = &net->p->config;
	const dl_length_params *l = &net->p->length;

	for (int r = 0; r < net->n_rows; r++)
		slope(net, r);
	dl_length_dense_back(net, &l->out, net->inner, net->logits, net->n_rows, net->dinner);
	for (int r = 0; r < net->n_rows; r++)
	{
		const dl_real *y = dl_row(net->inner, r);
		dl_real    *dy = dl_row(net->dinner, r);

		for (uint32_t i = 0; i < c->length_hidden; i++)
			dy[i] *= 1 - y[i] * y[i];
	}
	dl_length_dense_back(net, &l->hidden, net->mean, net->dinner, net->n_rows, net->dmean);
	for (int r = 0; r < net->n_rows; r++)
		for (int i = 0; i < net->rows[r].n; i++)
		{
			dl_real    *g = dl_row(net->g, net->first[r] + i);

			memset(g, 0, c->hidden * sizeof(dl_real));
			dl_add_scaled(g, dl_row(net->dmean, r), 1 / (dl_real) net->rows[r].n, c->hidden);
		}
}

dlm_status
dl_length_backward(dl_length_net *net, dlm_error *err)
{
	predictor_back(net);
	dl_length_layer_back(net);
	return net->exec.stopped ? dl_fail(err, DLM_EINTR, "", "training was stopped") : DLM_OK;
}
