/*
 * net.c - memory of a net, a batch's lists, and the walk through the layers.
 */
#include "net_impl.h"

#include <string.h>

#include "logprob.h"
#include "status.h"

/* ------------------------------------------------------------------ memory */

static void
carve_layer(dl_net *net, void *base, size_t *at, dl_saved *s)
{
	const dl_config *c = &net->p->config;
	size_t		t = (size_t) net->limits.tokens;
	size_t		stream = t * c->hidden;
	size_t		q = t * (size_t) net->query_dim;
	size_t		k = t * (size_t) net->key_dim;
	size_t		ffn = t * c->ffn;

	*s = (dl_saved) {
		.q = dl_carve_reals(base, at, q), .k = dl_carve_reals(base, at, k), .v = dl_carve_reals(base, at, k),
		.mix = dl_carve_reals(base, at, q), .mid = dl_carve_reals(base, at, stream),
		.f = dl_carve_reals(base, at, stream), .up = dl_carve_reals(base, at, ffn),
		.act = dl_carve_reals(base, at, ffn)
	};
	s->gate = c->gated ? dl_carve_reals(base, at, ffn) : NULL;
	s->q_raw = c->qk_norm ? dl_carve_reals(base, at, q) : s->q;
	s->k_raw = c->qk_norm ? dl_carve_reals(base, at, k) : s->k;
	if (c->pre_norm)
		s->h = dl_carve_reals(base, at, stream);
	else
		s->out = dl_carve_reals(base, at, stream);
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

static void
carve_work(dl_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	size_t		t = (size_t) net->limits.tokens;
	size_t		most = net->limits.tokens > net->limits.asks ? t : (size_t) net->limits.asks;
	size_t		q = t * (size_t) net->query_dim;
	size_t		k = t * (size_t) net->key_dim;

	net->work = (dl_work) {
		.g = dl_carve_reals(base, at, t * c->hidden), .t = dl_carve_reals(base, at, t * c->hidden),
		.d = dl_carve_reals(base, at, t * c->hidden), .dq = dl_carve_reals(base, at, q),
		.dmix = dl_carve_reals(base, at, q), .dk = dl_carve_reals(base, at, k), .dv = dl_carve_reals(base, at, k),
		.dup = dl_carve_reals(base, at, t * c->ffn), .scores = dl_carve_reals(base, at, 3 * t),
		.u = dl_carve_reals(base, at, 2 * most * (size_t) net->p->rank)
	};
	net->work.dgate = c->gated ? dl_carve_reals(base, at, t * c->ffn) : NULL;
}

static void
carve_head(dl_net *net, void *base, size_t *at)
{
	const dl_config *c = &net->p->config;
	dl_head_state *h = &net->head;
	size_t		n = (size_t) net->limits.asks;
	size_t		size = n * c->hidden;
	size_t		side = n < DL_LOSS_ASKS ? n : DL_LOSS_ASKS;
	size_t		block = c->vocab < DL_VOCAB_BLOCK ? c->vocab : DL_VOCAB_BLOCK;

	h->token = dl_carve_bytes(base, at, n * sizeof(int));
	h->target = dl_carve_bytes(base, at, n * sizeof(int32_t));
	h->weight = dl_carve_bytes(base, at, n * sizeof(float));
	h->best = dl_carve_bytes(base, at, n * sizeof(int32_t));
	h->most = dl_carve_bytes(base, at, n * sizeof(double));
	h->sum = dl_carve_bytes(base, at, n * sizeof(double));
	h->z_target = dl_carve_bytes(base, at, n * sizeof(double));
	h->z_sum = dl_carve_bytes(base, at, n * sizeof(double));
	h->logits = dl_carve_reals(base, at, side * block);
	h->u = dl_carve_reals(base, at, n * (size_t) net->p->rank);
	h->du = dl_carve_reals(base, at, n * (size_t) net->p->rank);
	h->dx = dl_carve_reals(base, at, size);
	h->state = dl_carve_reals(base, at, size);
	h->normed = c->final_norm ? dl_carve_reals(base, at, size) : h->state;
	h->x = h->normed;
	if (c->head_transform)
	{
		h->dense = dl_carve_reals(base, at, size);
		h->act = dl_carve_reals(base, at, size);
		h->x = dl_carve_reals(base, at, size);
		h->dnormed = dl_carve_reals(base, at, size);
	}
}

/* All of it, the net first; base NULL only counts, and spoils net's pointers. */
static size_t
layout(dl_net *net, void *base)
{
	const dl_config *c = &net->p->config;
	size_t		at = (sizeof(*net) + 63) & ~(size_t) 63;
	size_t		t = (size_t) net->limits.tokens;

	net->first = dl_carve_bytes(base, &at, (size_t) net->limits.rows * sizeof(int));
	net->id = dl_carve_bytes(base, &at, t * sizeof(int32_t));
	net->position = dl_carve_bytes(base, &at, t * sizeof(int));
	net->x = dl_carve_bytes(base, &at, (c->layers + 1) * sizeof(dl_real *));
	net->saved = dl_carve_bytes(base, &at, c->layers * sizeof(dl_saved));
	for (int i = 0; i <= (int) c->layers; i++)
	{
		dl_real    *x = dl_carve_reals(base, &at, t * c->hidden);

		if (base != NULL)
			net->x[i] = x;
	}
	net->sum = c->embed_norm ? dl_carve_reals(base, &at, t * c->hidden) : base != NULL ? net->x[0] : NULL;
	carve_layers(net, base, &at);
	carve_work(net, base, &at);
	carve_head(net, base, &at);
	return at;
}

static dl_net
empty_net(dl_params *p, const dl_net_limits *limits)
{
	return (dl_net) {
		.p = p, .limits = *limits, .query_dim = (int) (p->config.heads * p->config.head_dim),
		.key_dim = (int) (p->config.kv_heads * p->config.head_dim)
	};
}

size_t
dl_net_bytes(const dl_config *config, int rank, const dl_net_limits *limits)
{
	dl_params	p = {.config = *config, .rank = rank};
	dl_net		net = empty_net(&p, limits);

	return dl_block_bytes(layout(&net, NULL));
}

dlm_status
dl_net_create(dl_params *p, const dl_net_limits *limits, dl_net **out, dlm_error *err)
{
	dl_net		count = empty_net(p, limits);
	dl_net	   *net;

	if (limits->tokens < 1 || limits->rows < 1 || limits->asks < 1)
		return dl_fail(err, DLM_EINVAL, "", "a batch needs at least one token, one row and one asked position");
	net = dl_arena_block(p->arena, layout(&count, NULL));
	if (net == NULL)
		return dl_fail_memory(err);
	*net = empty_net(p, limits);
	layout(net, net);
	*out = net;
	return DLM_OK;
}

void
dl_net_free(dl_net *net)
{
	if (net != NULL)
		dl_arena_block_free(net->p->arena, net);
}

/* ------------------------------------------------------------------- batch */

static dlm_status
check_example(const dl_config *c, const dl_example *e, dlm_error *err)
{
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
	return DLM_OK;
}

static void
add_example(dl_net *net, int row, const dl_example *e)
{
	int			shift = (int) net->p->config.logit_shift;

	net->first[row] = net->n_tokens;
	for (int i = 0; i < e->n_ask; i++)
	{
		net->head.token[net->n_asks] = net->n_tokens + e->ask[i] - shift;
		net->head.target[net->n_asks] = e->target[i];
		net->head.weight[net->n_asks++] = e->weight[i];
	}
	for (int i = 0; i < e->n; i++)
	{
		net->id[net->n_tokens] = e->ids[i];
		net->position[net->n_tokens++] = i;
	}
}

dlm_status
dl_net_forward(dl_net *net, const dl_example *rows, int n_rows, const dl_drop *drop, dlm_error *err)
{
	if (drop != NULL && !(drop->hidden >= 0 && drop->hidden < 1 && drop->attention >= 0 && drop->attention < 1))
		return dl_fail(err, DLM_EINVAL, "", "dropout must be at least 0 and less than 1");
	net->rows = rows;
	net->n_rows = net->n_tokens = net->n_asks = 0;
	net->drop = drop != NULL ? *drop : (dl_drop) {0};
	for (int i = 0; i < n_rows; i++)
	{
		dlm_status	st = check_example(&net->p->config, &rows[i], err);

		if (st != DLM_OK)
			return st;
		if (i >= net->limits.rows || rows[i].n > net->limits.tokens - net->n_tokens ||
			rows[i].n_ask > net->limits.asks - net->n_asks)
			return dl_fail(err, DLM_ETOOLONG, "", "batch is larger than the trainer's buffers");
		add_example(net, i, &rows[i]);
		net->n_rows++;
	}
	dl_embed_run(net);
	for (int i = 0; i < (int) net->p->config.layers; i++)
		dl_layer_run(net, i);
	dl_head_run(net);
	return DLM_OK;
}

void
dl_net_backward(dl_net *net)
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
}
