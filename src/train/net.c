/*
 * net.c - memory of a net, a batch's lists, and the walk through the layers.
 */
#include "net_impl.h"

#include <string.h>

#include "linear.h"
#include "logprob.h"
#include "status.h"

/* ------------------------------------------------------------------ memory */

static void
carve_layer(dl_net *net, void *base, size_t *at, dl_saved *s)
{
	const dl_config *c = &net->p->config;
	size_t		t = (size_t) net->limits.tokens;
	uint32_t	query = (uint32_t) net->query_dim;
	uint32_t	key = (uint32_t) net->key_dim;

	*s = (dl_saved) {
		.q = dl_carve_rows(base, at, t, query), .k = dl_carve_rows(base, at, t, key), .v = dl_carve_rows(base, at, t, key),
		.mix = dl_carve_rows(base, at, t, query), .mid = dl_carve_rows(base, at, t, c->hidden),
		.f = dl_carve_rows(base, at, t, c->hidden), .up = dl_carve_rows(base, at, t, c->ffn),
		.act = dl_carve_rows(base, at, t, c->ffn)
	};
	if (c->gated)
		s->gate = dl_carve_rows(base, at, t, c->ffn);
	s->q_raw = c->qk_norm ? dl_carve_rows(base, at, t, query) : s->q;
	s->k_raw = c->qk_norm ? dl_carve_rows(base, at, t, key) : s->k;
	if (c->pre_norm)
		s->h = dl_carve_rows(base, at, t, c->hidden);
	else
		s->out = dl_carve_rows(base, at, t, c->hidden);
}

/* Saved activations of all layers; what is the stream itself points to it. */
static void
carve_layers(dl_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	dl_saved	s = {0};

	for (int i = 0; i < (int) c->layers; i++)
	{
		if (i == 0 || !net->limits.recompute)
			carve_layer(net, base, at, &s);
		if (base == NULL)
			continue;
		if (c->pre_norm)
			s.out = net->x[i + 1];
		else
			s.h = net->x[i];
		net->saved[i] = s;
	}
}

/* The widest of a model's linear layers, and of a block of its output projection. */
static dl_dense_sizes
dense_sizes(const dl_net *net)
{
	const dl_config *c = &net->p->config;
	int			hidden = (int) c->hidden;
	int			ffn = (int) c->ffn;
	int			block = c->vocab < DL_VOCAB_BLOCK ? (int) c->vocab : DL_VOCAB_BLOCK;
	int			wide = dl_larger(ffn, net->query_dim);
	dl_dense_sizes s = {
		.rows = dl_larger(net->limits.tokens, net->limits.asks), .most_n = dl_larger(dl_larger(wide, hidden), block),
		.most_k = dl_larger(wide, hidden), .rank = net->p->rank, .threads = net->threads, .weights = net->p->whole, .dropped = net->limits.lora_dropout
	};

	s.most_panels = dl_panels_size(dl_larger(wide, block), hidden);
	if (dl_panels_size(hidden, wide) > s.most_panels)
		s.most_panels = dl_panels_size(hidden, wide);
	return s;
}

static void
carve_work(dl_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	size_t		t = (size_t) net->limits.tokens;
	size_t		items = (size_t) dl_divide_up(net->limits.tokens, DL_STAGE_TOKENS);
	uint32_t	query = (uint32_t) net->query_dim;
	uint32_t	key = (uint32_t) net->key_dim;
	dl_dense_sizes sizes = dense_sizes(net);

	net->work = (dl_work) {
		.g = dl_carve_rows(base, at, t, c->hidden), .t = dl_carve_rows(base, at, t, c->hidden),
		.d = dl_carve_rows(base, at, t, c->hidden), .dq = dl_carve_rows(base, at, t, query),
		.dmix = dl_carve_rows(base, at, t, query), .dk = dl_carve_rows(base, at, t, key), .dv = dl_carve_rows(base, at, t, key),
		.dup = dl_carve_rows(base, at, t, c->ffn),
		.attention = dl_carve_reals(base, at, (size_t) net->threads *
									dl_attention_scratch(dl_longest_row(net), (int) c->head_dim)),
		.norm_sums = dl_carve_reals(base, at, net->p->whole ? items * 2 * (size_t) dl_larger((int) c->hidden, (int) c->head_dim) : 0)
	};
	if (c->gated)
		net->work.dgate = dl_carve_rows(base, at, t, c->ffn);
	dl_dense_scratch_carve(&net->work.dense, base, at, &sizes);
}

static void
carve_head(dl_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	dl_head_state *h = &net->head;
	size_t		n = (size_t) net->limits.asks;
	size_t		side = n < DL_LOSS_ASKS ? n : DL_LOSS_ASKS;
	uint32_t	block = c->vocab < DL_VOCAB_BLOCK ? c->vocab : DL_VOCAB_BLOCK;

	h->row = dl_carve_bytes(base, at, n * sizeof(int));
	h->target = dl_carve_bytes(base, at, n * sizeof(int32_t));
	h->weight = dl_carve_bytes(base, at, n * sizeof(float));
	h->taught = dl_carve_bytes(base, at, n * sizeof(float));
	h->taught_before = dl_carve_bytes(base, at, (n + 1) * sizeof(int));
	h->best = dl_carve_bytes(base, at, n * sizeof(int32_t));
	h->most = dl_carve_bytes(base, at, n * sizeof(double));
	h->sum = dl_carve_bytes(base, at, n * sizeof(double));
	h->z_target = dl_carve_bytes(base, at, n * sizeof(double));
	h->z_sum = dl_carve_bytes(base, at, n * sizeof(double));
	h->logits = dl_carve_rows(base, at, side, block);
	h->dx = dl_carve_rows(base, at, n, c->hidden);
	h->state = dl_carve_rows(base, at, n, c->hidden);
	h->normed = c->final_norm ? dl_carve_rows(base, at, n, c->hidden) : h->state;
	h->x = h->normed;
	if (c->head_transform)
	{
		h->dense = dl_carve_rows(base, at, n, c->hidden);
		h->act = dl_carve_rows(base, at, n, c->hidden);
		h->x = dl_carve_rows(base, at, n, c->hidden);
		h->dnormed = dl_carve_rows(base, at, n, c->hidden);
	}
	if (net->limits.teacher)
	{
		h->teacher = dl_carve_rows(base, at, n, c->hidden);
		h->teacher_logits = dl_carve_rows(base, at, side, block);
		h->teacher_most = dl_carve_bytes(base, at, n * sizeof(double));
		h->teacher_sum = dl_carve_bytes(base, at, n * sizeof(double));
		h->z_teacher = dl_carve_bytes(base, at, n * sizeof(double));
	}
}

/* All of it, the net first; base NULL only counts, and spoils net's pointers. */
static size_t
layout(dl_net *net, void *base)
{
	const dl_config *c = &net->p->config;
	size_t		at = (sizeof(*net) + 63) & ~(size_t) 63;
	size_t		t = (size_t) net->limits.tokens;

	net->first = dl_carve_bytes(base, &at, ((size_t) net->limits.rows + 1) * sizeof(int));
	net->id = dl_carve_bytes(base, &at, t * sizeof(int32_t));
	net->position = dl_carve_bytes(base, &at, t * sizeof(int));
	net->wanted = dl_carve_bytes(base, &at, t * sizeof(int));
	net->wanted_position = dl_carve_bytes(base, &at, t * sizeof(int));
	net->wanted_first = dl_carve_bytes(base, &at, ((size_t) net->limits.rows + 1) * sizeof(int));
	net->x = dl_carve_bytes(base, &at, (c->layers + 1) * sizeof(dl_rows));
	net->saved = dl_carve_bytes(base, &at, c->layers * sizeof(dl_saved));
	for (int i = 0; i <= (int) c->layers; i++)
	{
		dl_rows		x = dl_carve_rows(base, &at, t, c->hidden);

		if (base != NULL)
			net->x[i] = x;
	}
	if (c->embed_norm)
		net->sum = dl_carve_rows(base, &at, t, c->hidden);
	else if (base != NULL)
		net->sum = net->x[0];
	carve_layers(net, base, &at);
	carve_work(net, base, &at);
	carve_head(net, base, &at);
	dl_carve_bytes(base, &at, DL_PANEL * sizeof(dl_real));	/* products read 16 numbers at a time */
	return at;
}

static dl_net
empty_net(dl_params *p, const dl_net_limits *limits, int threads)
{
	return (dl_net) {
		.p = p, .limits = *limits, .threads = threads > 1 ? threads : 1,
		.query_dim = (int) (p->config.heads * p->config.head_dim),
		.key_dim = (int) (p->config.kv_heads * p->config.head_dim)
	};
}

size_t
dl_net_bytes(const dlm_model *model, const dl_train_options *options, const dl_net_limits *limits, int threads)
{
	dl_params	p = {.config = model->config};
	dl_net		net;

	p.rank = options->mode == DL_TRAIN_LORA ? options->rank : 0;
	p.whole = options->mode != DL_TRAIN_LORA;
	net = empty_net(&p, limits, threads);
	return dl_block_bytes(layout(&net, NULL));
}

dlm_status
dl_net_create(dl_params *p, const dl_net_limits *limits, const dlm_env *env, dl_net **out, dlm_error *err)
{
	dl_net		count = empty_net(p, limits, env != NULL ? env->threads : 1);
	dl_net	   *net;
	size_t		bytes;

	if (limits->tokens < 1 || limits->rows < 1 || limits->asks < 1)
		return dl_fail(err, DLM_EINVAL, "", "a batch needs at least one token, one row and one asked position");
	bytes = layout(&count, NULL);
	net = dl_arena_block(p->arena, bytes);
	if (net == NULL)
		return dl_fail_memory(err);
	memset(net, 0, bytes);
	*net = empty_net(p, limits, env != NULL ? env->threads : 1);
	layout(net, net);
	dl_exec_begin(&net->exec, env, net->threads);
	*out = net;
	return DLM_OK;
}

void
dl_net_free(dl_net *net)
{
	if (net == NULL)
		return;
	dl_team_free(net->exec.team);
	dl_arena_block_free(net->p->arena, net);
}

bool
dl_net_stopped(const dl_net *net)
{
	return net->exec.stopped;
}

void
dl_net_threads(dl_net *net, int threads)
{
	(void) dl_exec_threads(&net->exec, threads, net->threads);
}

/* ------------------------------------------------------------------ stages */

typedef struct stage
{
	dl_net	   *net;
	int			layer;
	int			n;
	void		(*fn) (dl_net *net, const dl_span *span);
} stage;

static void
stage_item(void *arg, int item, int thread)
{
	const stage *s = arg;
	dl_span		span = {.layer = s->layer, .first = item * DL_STAGE_TOKENS, .item = item};

	span.end = span.first + DL_STAGE_TOKENS < s->n ? span.first + DL_STAGE_TOKENS : s->n;
	s->fn(s->net, &span);
}

void
dl_stage(dl_net *net, int layer, int n, void (*fn) (dl_net *net, const dl_span *span))
{
	stage		s = {net, layer, n, fn};

	if (!dl_exec_stop(&net->exec))
		dl_parallel(net->exec.team, dl_divide_up(n, DL_STAGE_TOKENS), stage_item, &s);
}

static dl_real *
norm_sums(dl_net *net, int width, int item)
{
	return net->work.norm_sums + (size_t) item * 2 * (size_t) width;
}

dl_real *
dl_norm_sums_w(dl_net *net, const dl_norm_params *p, int width, int item)
{
	return p->w->grad != NULL ? norm_sums(net, width, item) : NULL;
}

dl_real *
dl_norm_sums_b(dl_net *net, const dl_norm_params *p, int width, int item)
{
	return p->b != NULL && p->b->grad != NULL ? norm_sums(net, width, item) + width : NULL;
}

static bool
trains(const dl_norm_params *p)
{
	return p->w->grad != NULL || (p->b != NULL && p->b->grad != NULL);
}

void
dl_norm_sums_clear(dl_net *net, const dl_norm_params *p, int width)
{
	int			items = dl_divide_up(net->n_tokens, DL_STAGE_TOKENS);

	if (trains(p))
		memset(net->work.norm_sums, 0, (size_t) items * 2 * (size_t) width * sizeof(dl_real));
}

void
dl_norm_sums_add(dl_net *net, const dl_norm_params *p, int width)
{
	dl_add_norm_sums(&net->exec, net->work.norm_sums, dl_divide_up(net->n_tokens, DL_STAGE_TOKENS), width, p);
}

/* ------------------------------------------------------------------- batch */

/* May a share of the row's targets be the teacher's? */
static dlm_status
check_taught(const dl_net *net, const dl_example *e, dlm_error *err)
{
	for (int i = 0; e->taught != NULL && i < e->n_ask; i++)
	{
		if (!(e->taught[i] >= 0 && e->taught[i] <= 1))
			return dl_fail(err, DLM_EINVAL, "", "a teacher's share must be in [0, 1]");
		if (e->taught[i] > 0 && (!net->limits.teacher || net->p->whole || net->p->config.logit_shift == 0))
			return dl_fail(err, DLM_EINVAL, "", "these weights, or this model, have no teacher");
	}
	return DLM_OK;
}

static dlm_status
check_example(const dl_net *net, const dl_example *e, dlm_error *err)
{
	const dl_config *c = &net->p->config;

	if (e->n < 1 || (uint32_t) e->n > c->context)
		return dl_fail(err, DLM_EINVAL, "", "row has %d tokens, but the model's context is %u", e->n, c->context);
	for (int i = 0; i < e->n; i++)
		if (e->ids[i] < 0 || (uint32_t) e->ids[i] >= c->vocab)
			return dl_fail(err, DLM_EINVAL, "", "token %d is not in the model's vocabulary", e->ids[i]);
	for (int i = 0; i < e->n_ask; i++)
	{
		if (e->ask[i] < (int) c->logit_shift || e->ask[i] >= e->n)
			return dl_fail(err, DLM_EINVAL, "", "asked position %d is not in the row", e->ask[i]);
		if (e->target[i] < 0 || (uint32_t) e->target[i] >= c->vocab)
			return dl_fail(err, DLM_EINVAL, "", "target %d is not in the model's vocabulary", e->target[i]);
	}
	return check_taught(net, e, err);
}

/* All rows are of the model and fit. */
static dlm_status
check_rows(const dl_net *net, const dl_example *rows, int n_rows, dlm_error *err)
{
	int			tokens = net->limits.tokens;
	int			asks = net->limits.asks;

	for (int i = 0; i < n_rows; i++)
	{
		dlm_status	st = check_example(net, &rows[i], err);

		if (st != DLM_OK)
			return st;
		if (i >= net->limits.rows || rows[i].n > tokens || rows[i].n_ask > asks)
			return dl_fail(err, DLM_ETOOLONG, "", "batch is larger than the trainer's buffers");
		tokens -= rows[i].n;
		asks -= rows[i].n_ask;
	}
	return DLM_OK;
}

void
dl_batch_begin(dl_net *net)
{
	net->n_rows = net->n_tokens = net->n_asks = 0;
	net->first[0] = 0;
}

void
dl_batch_row(dl_net *net, const int32_t *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		net->id[net->n_tokens] = ids[i];
		net->position[net->n_tokens++] = i;
	}
	net->first[++net->n_rows] = net->n_tokens;
}

void
dl_batch_ask(dl_net *net, int ask)
{
	net->head.row[net->n_asks++] = net->first[net->n_rows - 1] + ask - (int) net->p->config.logit_shift;
}

/* A row of the student's, with what is to be learnt of it. */
static void
add_example(dl_net *net, const dl_example *e)
{
	dl_head_state *h = &net->head;

	dl_batch_row(net, e->ids, e->n);
	for (int i = 0; i < e->n_ask; i++)
	{
		int			ask = net->n_asks;

		h->target[ask] = e->target[i];
		h->weight[ask] = e->weight[i];
		h->taught[ask] = e->taught != NULL ? e->taught[i] : 0;
		h->taught_before[ask + 1] = h->taught_before[ask] + (h->taught[ask] > 0);
		dl_batch_ask(net, e->ask[i]);
	}
}

/* Tokens whose states predict asks; head.row of tokens becomes that of the last layer's output. */
void
dl_batch_end(dl_net *net)
{
	int		   *row_of = net->wanted_position;	/* of a token, for the moment: there are no fewer tokens than rows */
	int			row = 0;

	for (int t = 0; t < net->n_tokens; t++)
		row_of[t] = 0;
	for (int i = 0; i < net->n_asks; i++)
		row_of[net->head.row[i]] = 1;
	net->n_wanted = 0;
	for (int t = 0; t < net->n_tokens; t++)
	{
		for (; row < net->n_rows && net->first[row] == t; row++)
			net->wanted_first[row] = net->n_wanted;
		if (row_of[t])
		{
			net->wanted[net->n_wanted] = t;
			row_of[t] = net->n_wanted++;
		}
	}
	net->wanted_first[row] = net->n_wanted;
	for (int i = 0; i < net->n_asks; i++)
		net->head.row[i] = row_of[net->head.row[i]];
	for (int i = 0; i < net->n_wanted; i++)
		net->wanted_position[i] = net->position[net->wanted[i]];
}

void
dl_batch_run(dl_net *net)
{
	dl_embed_run(net);
	for (int i = 0; i < (int) net->p->config.layers; i++)
		dl_layer_run(net, i);
	dl_head_run(net);
}

dlm_status
dl_net_forward(dl_net *net, const dl_example *rows, int n_rows, const dl_drop *drop, dlm_error *err)
{
	dlm_status	st = check_rows(net, rows, n_rows, err);

	if (st != DLM_OK)
		return st;
	if (drop != NULL && !(dl_drop_is_valid(drop) && (drop->lora == 0 || net->limits.lora_dropout)))
		return dl_fail(err, DLM_EINVAL, "", "dropout must be at least 0 and less than 1");
	net->exec.stopped = false;
	dl_teacher_run(net, rows, n_rows);
	net->rows = rows;
	net->drop = drop != NULL ? *drop : (dl_drop) {0};
	net->work.dense.drop = net->drop.lora > 0 ? &net->drop : NULL;
	dl_batch_begin(net);
	net->head.taught_before[0] = 0;
	for (int i = 0; i < n_rows; i++)
		add_example(net, &rows[i]);
	dl_batch_end(net);
	dl_batch_run(net);
	return net->exec.stopped ? dl_fail(err, DLM_EINTR, "", "training was stopped") : DLM_OK;
}

dlm_status
dl_net_backward(dl_net *net, dlm_error *err)
{
	int			layers = (int) net->p->config.layers;

	dl_head_back(net);
	for (int i = layers - 1; i >= 0; i--)
	{
		if (net->limits.recompute && i < layers - 1)
			dl_layer_run(net, i);
		dl_layer_back(net, i);
	}
	dl_embed_back(net);
	return net->exec.stopped ? dl_fail(err, DLM_EINTR, "", "training was stopped") : DLM_OK;
}
