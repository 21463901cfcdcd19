/*
 * layer.c - one transformer layer, forward and back.
 *
 *		pre-norm:	mid = x + o(attend(norm(x)))	out = mid + ffn(norm(mid))
 *		post-norm:	mid = x + o(attend(x))			f = norm(mid)		out = norm(f + ffn(f))
 *
 * Both are one code: what a block reads is the normed stream or the stream
 * itself, and the gradient of what it reads goes back the same way.
 */
#include "net_impl.h"

#include <string.h>

static size_t
elements(const dl_net *net, size_t width)
{
	return (size_t) net->n_tokens * width;
}

static void
drop_rows(const dl_net *net, int layer, dl_site site, dl_real *x)
{
	size_t		hidden = net->p->config.hidden;
	uint32_t	at = DL_SITE_LAYER + (uint32_t) layer * DL_SITES_A_LAYER + site;

	for (int i = 0; i < net->n_tokens; i++)
		dl_dropout(&net->drop, net->drop.hidden, at, (uint32_t) i, x + (size_t) i * hidden, (int) hidden);
}

static void
norm(const dl_net *net, const dl_norm_params *p, const dl_real *x, dl_real *y)
{
	const dl_config *c = &net->p->config;

	dl_norm_forward(c->norm, p, c->norm_eps, x, net->n_tokens, (int) c->hidden, y);
}

static void
norm_back(const dl_net *net, const dl_norm_params *p, const dl_real *x, const dl_real *dy, bool add_to, dl_real *dx)
{
	const dl_config *c = &net->p->config;

	dl_norm_backward(c->norm, p, c->norm_eps, x, dy, net->n_tokens, (int) c->hidden, add_to, dx);
}

static void
dense(dl_net *net, const dl_dense *d, const dl_real *x, dl_real *y)
{
	dl_dense_forward(d, net->p->scale, x, net->n_tokens, net->work.u, y);
}

static void
dense_back(dl_net *net, const dl_dense *d, const dl_real *x, const dl_real *dy, dl_real *dx)
{
	dl_dense_backward(d, net->p->scale, x, dy, net->n_tokens, net->work.u, dx);
}

/* ------------------------------------------------------- queries and keys */

static dl_real
query_scale(const dl_net *net)
{
	return 1 / dl_real_sqrt((dl_real) net->p->config.head_dim);
}

/* Rotate all heads of [T, heads * head_dim], forward or back. */
static void
rotate(const dl_net *net, dl_real *x, int heads, void (*turn) (dl_real *, const float *, const float *, int))
{
	const dlm_model *m = net->p->model;
	size_t		dim = net->p->config.head_dim;
	size_t		half = dim / 2;

	if (net->p->config.position != DL_POS_ROPE)
		return;
	for (int i = 0; i < net->n_tokens; i++)
		for (int head = 0; head < heads; head++, x += dim)
			turn(x, m->rope_cos + (size_t) net->position[i] * half, m->rope_sin + (size_t) net->position[i] * half,
				 (int) half);
}

/* x [T, heads * head_dim] from raw, which may be x */
static void
turn_heads(const dl_net *net, dl_param *norm_w, const dl_real *raw, int heads, dl_real *x)
{
	const dl_config *c = &net->p->config;
	dl_norm_params p = {norm_w, NULL};

	if (norm_w != NULL)
		dl_norm_forward(DL_NORM_RMS, &p, c->norm_eps, raw, net->n_tokens * heads, (int) c->head_dim, x);
	rotate(net, x, heads, dl_rope_turn);
}

/* The gradient of x becomes that of raw. */
static void
turn_heads_back(const dl_net *net, dl_param *norm_w, const dl_real *raw, int heads, dl_real *dx)
{
	const dl_config *c = &net->p->config;
	dl_norm_params p = {norm_w, NULL};

	rotate(net, dx, heads, dl_rope_back);
	if (norm_w != NULL)
		dl_norm_backward(DL_NORM_RMS, &p, c->norm_eps, raw, dx, net->n_tokens * heads, (int) c->head_dim, false, dx);
}

static dl_attention_row
attention_row(const dl_net *net, int row, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_example *e = &net->rows[row];

	return (dl_attention_row) {
		.n = e->n, .live = c->attention == DL_ATT_CONTEXT ? e->live : NULL, .heads = (int) c->heads,
		.kv_heads = (int) c->kv_heads, .dim = (int) c->head_dim,
		.drop = net->drop.attention > 0 ? &net->drop : NULL,
		.site = DL_SITE_LAYER + (uint32_t) layer * DL_SITES_A_LAYER + DL_SITE_ATTENTION,
		.first = (uint32_t) net->first[row]
	};
}

/* ----------------------------------------------------------------- forward */

/* mid = x + drop(o(attend(h))) */
static void
attention_run(dl_net *net, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = &net->p->layers[layer];
	dl_saved   *s = &net->saved[layer];
	dl_real		scale = query_scale(net);
	size_t		query_size = elements(net, (size_t) net->query_dim);

	dense(net, &p->q, s->h, s->q_raw);
	dense(net, &p->k, s->h, s->k_raw);
	dense(net, &p->v, s->h, s->v);
	turn_heads(net, p->q_norm, s->q_raw, (int) c->heads, s->q);
	turn_heads(net, p->k_norm, s->k_raw, (int) c->kv_heads, s->k);
	for (size_t i = 0; i < query_size; i++)
		s->q[i] *= scale;
	for (int row = 0; row < net->n_rows; row++)
	{
		dl_attention_row r = attention_row(net, row, layer);
		size_t		at = (size_t) net->first[row];
		size_t		q = at * (size_t) net->query_dim;
		size_t		k = at * (size_t) net->key_dim;

		dl_attend_row(&r, s->q + q, s->k + k, s->v + k, net->work.scores, s->mix + q);
	}
	dense(net, &p->o, s->mix, s->mid);
	drop_rows(net, layer, DL_SITE_O, s->mid);
	dl_add_scaled(s->mid, net->x[layer], 1, elements(net, c->hidden));
}

/* out = stream + drop(down(act)) */
static void
ffn_run(dl_net *net, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = &net->p->layers[layer];
	dl_saved   *s = &net->saved[layer];
	size_t		size = elements(net, c->ffn);

	dense(net, &p->up, s->f, s->up);
	if (c->gated)
		dense(net, &p->gate, s->f, s->gate);
	dl_act_forward(c->act, c->gated ? s->gate : s->up, size, s->act);
	for (size_t i = 0; c->gated && i < size; i++)
		s->act[i] *= s->up[i];
	dense(net, &p->down, s->act, s->out);
	drop_rows(net, layer, DL_SITE_DOWN, s->out);
	dl_add_scaled(s->out, c->pre_norm ? s->mid : s->f, 1, elements(net, c->hidden));
}

void
dl_layer_run(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	dl_saved   *s = &net->saved[layer];
	bool		pre = net->p->config.pre_norm;

	if (pre)
		norm(net, &p->attn_norm, net->x[layer], s->h);
	attention_run(net, layer);
	norm(net, pre ? &p->ffn_norm : &p->attn_norm, s->mid, s->f);
	ffn_run(net, layer);
	if (!pre)
		norm(net, &p->ffn_norm, s->out, net->x[layer + 1]);
}

/* -------------------------------------------------------------------- back */

/* work.t = the gradient of a block's output before dropout, from that of the stream. */
static void
enter_block(dl_net *net, int layer, dl_site site)
{
	memcpy(net->work.t, net->work.g, elements(net, net->p->config.hidden) * sizeof(dl_real));
	drop_rows(net, layer, site, net->work.t);
	memset(net->work.d, 0, elements(net, net->p->config.hidden) * sizeof(dl_real));
}

/* work.d = the gradient of f, from work.g of out */
static void
ffn_back(dl_net *net, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	size_t		size = elements(net, c->ffn);

	enter_block(net, layer, DL_SITE_DOWN);
	memset(w->dup, 0, size * sizeof(dl_real));
	dense_back(net, &p->down, s->act, w->t, w->dup);
	if (c->gated)
	{
		/* act = a(gate) up */
		for (size_t i = 0; i < size; i++)
			w->dgate[i] = w->dup[i] * s->up[i];
		dl_act_backward(c->act, s->gate, w->dgate, size, w->dgate);
		dense_back(net, &p->gate, s->f, w->dgate, w->d);
		dl_act_forward(c->act, s->gate, size, w->dgate);
		for (size_t i = 0; i < size; i++)
			w->dup[i] *= w->dgate[i];
	}
	else
		dl_act_backward(c->act, s->up, w->dup, size, w->dup);
	dense_back(net, &p->up, s->f, w->dup, w->d);
}

/* work.d = the gradient of h, from work.g of mid */
static void
attention_back(dl_net *net, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	dl_real		scale = query_scale(net);
	size_t		query_size = elements(net, (size_t) net->query_dim);
	size_t		key_size = elements(net, (size_t) net->key_dim);

	enter_block(net, layer, DL_SITE_O);
	memset(w->dmix, 0, query_size * sizeof(dl_real));
	memset(w->dq, 0, query_size * sizeof(dl_real));
	memset(w->dk, 0, key_size * sizeof(dl_real));
	memset(w->dv, 0, key_size * sizeof(dl_real));
	dense_back(net, &p->o, s->mix, w->t, w->dmix);
	for (int row = 0; row < net->n_rows; row++)
	{
		dl_attention_row r = attention_row(net, row, layer);
		size_t		at = (size_t) net->first[row];
		size_t		q = at * (size_t) net->query_dim;
		size_t		k = at * (size_t) net->key_dim;

		dl_attend_row_back(&r, s->q + q, s->k + k, s->v + k, w->dmix + q, w->scores, w->dq + q, w->dk + k, w->dv + k);
	}
	for (size_t i = 0; i < query_size; i++)
		w->dq[i] *= scale;
	turn_heads_back(net, p->q_norm, s->q_raw, (int) c->heads, w->dq);
	turn_heads_back(net, p->k_norm, s->k_raw, (int) c->kv_heads, w->dk);
	dense_back(net, &p->q, s->h, w->dq, w->d);
	dense_back(net, &p->k, s->h, w->dk, w->d);
	dense_back(net, &p->v, s->h, w->dv, w->d);
}

void
dl_layer_back(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	size_t		size = elements(net, net->p->config.hidden);

	if (net->p->config.pre_norm)
	{
		ffn_back(net, layer);
		norm_back(net, &p->ffn_norm, s->mid, w->d, true, w->g);
		attention_back(net, layer);
		norm_back(net, &p->attn_norm, net->x[layer], w->d, true, w->g);
	}
	else
	{
		norm_back(net, &p->ffn_norm, s->out, w->g, false, w->g);
		ffn_back(net, layer);
		dl_add_scaled(w->g, w->d, 1, size);
		norm_back(net, &p->attn_norm, s->mid, w->g, false, w->g);
		attention_back(net, layer);
		dl_add_scaled(w->g, w->d, 1, size);
	}
}
