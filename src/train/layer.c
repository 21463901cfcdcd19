/*
 * layer.c - one transformer layer, forward and back.
 *
 *		pre-norm:	mid = x + o(attend(norm(x)))	out = mid + ffn(norm(mid))
 *		post-norm:	mid = x + o(attend(x))			f = norm(mid)		out = norm(f + ffn(f))
 *
 * Both are one code: what a block reads is the normed stream or the stream
 * itself, and the gradient of what it reads goes back the same way. Between
 * two products, what is to be done with each token is one *stage*.
 */
#include "net_impl.h"

#include <string.h>

static const dl_layer_params *
layer_of(const dl_net *net, const dl_span *s)
{
	return &net->p->layers[s->layer];
}

static void
drop_row(const dl_net *net, int layer, dl_site site, int token, dl_real *x)
{
	uint32_t	at = DL_SITE_LAYER + (uint32_t) layer * DL_SITES_A_LAYER + site;

	dl_dropout(&net->drop, net->drop.hidden, at, net->drop.first + (uint32_t) token, x, (int) net->p->config.hidden);
}

static void
norm(const dl_net *net, const dl_norm_params *p, const dl_real *x, dl_real *y)
{
	const dl_config *c = &net->p->config;

	dl_norm_forward(c->norm, p, c->norm_eps, x, (int) c->hidden, y);
}

/* The gradient of a norm's input, for the tokens of a span. */
static void
norm_back(dl_net *net, const dl_span *s, const dl_norm_params *p, dl_rows x, dl_rows dy, bool add, dl_rows dx)
{
	const dl_config *c = &net->p->config;
	int			hidden = (int) c->hidden;

	for (int i = s->first; i < s->end; i++)
		dl_norm_backward(c->norm, p, c->norm_eps, dl_row(x, i), dl_row(dy, i), hidden, add, dl_row(dx, i),
						 dl_norm_sums_w(net, p, hidden, s->item), dl_norm_sums_b(net, p, hidden, s->item));
}

static void
dense(dl_net *net, const dl_dense *d, int n, dl_rows x, dl_rows y)
{
	dl_dense	now = dl_dense_now(net, d);

	dl_dense_forward(&net->exec, &now, net->p->scale, x, n, &net->work.dense, y);
}

static void
dense_back(dl_net *net, const dl_dense *d, int n, dl_rows x, dl_rows dy, dl_rows dx, bool add)
{
	dl_dense_backward(&net->exec, d, net->p->scale, x, dy, n, &net->work.dense, dx, add);
}

/* ------------------------------------------------------- queries and keys */

static dl_real
query_scale(const dl_net *net)
{
	return 1 / dl_real_sqrt((dl_real) net->p->config.head_dim);
}

/* Rotate all heads of a token, forward or back. */
static void
rotate(const dl_net *net, int token, dl_real *x, int heads, void (*turn) (dl_real *, const float *, const float *, int))
{
	const dlm_model *m = net->p->model;
	size_t		dim = net->p->config.head_dim;
	size_t		at = (size_t) net->position[token] * (dim / 2);

	for (int head = 0; net->p->config.position == DL_POS_ROPE && head < heads; head++, x += dim)
		turn(x, m->rope_cos + at, m->rope_sin + at, (int) dim / 2);
}

/* x [heads * head_dim] of a token from raw, which may be x; times scale */
static void
turn_heads(const dl_net *net, dl_param *norm_w, int token, const dl_real *raw, int heads, dl_real scale, dl_real *x)
{
	const dl_config *c = &net->p->config;
	int			dim = (int) c->head_dim;
	dl_norm_params p = {norm_w, NULL};

	for (int head = 0; norm_w != NULL && head < heads; head++)
		dl_norm_forward(DL_NORM_RMS, &p, c->norm_eps, raw + head * dim, dim, x + head * dim);
	rotate(net, token, x, heads, dl_rope_turn);
	for (int i = 0; scale != 1 && i < heads * dim; i++)
		x[i] *= scale;
}

/* The gradient of x becomes that of raw. */
static void
turn_heads_back(dl_net *net, dl_param *norm_w, int token, const dl_real *raw, int heads, dl_real scale, dl_real *dx, int item)
{
	const dl_config *c = &net->p->config;
	int			dim = (int) c->head_dim;
	dl_norm_params p = {norm_w, NULL};

	for (int i = 0; scale != 1 && i < heads * dim; i++)
		dx[i] *= scale;
	rotate(net, token, dx, heads, dl_rope_back);
	for (int head = 0; norm_w != NULL && head < heads; head++)
		dl_norm_backward(DL_NORM_RMS, &p, c->norm_eps, raw + head * dim, dx + head * dim, dim, false, dx + head * dim,
						 dl_norm_sums_w(net, &p, dim, item), NULL);
}

/* --------------------------------------------------------------- attention */

/* A work item of attention: one key head of one row of the batch. */
typedef struct attention_job
{
	dl_net	   *net;
	int			layer;
} attention_job;

static dl_attention_row
attention_row(const dl_net *net, int row, int layer)
{
	const dl_config *c = &net->p->config;
	bool		last = layer + 1 == (int) c->layers;
	int			n = net->first[row + 1] - net->first[row];

	return (dl_attention_row) {
		.n_queries = last ? net->wanted_first[row + 1] - net->wanted_first[row] : n,
		.query = last ? net->wanted_position + net->wanted_first[row] : net->position + net->first[row],
		.n = n, .live = c->attention == DL_ATT_CONTEXT && !net->teaching ? net->rows[row].live : NULL,
		.causal = net->teaching, .heads = (int) c->heads, .kv_heads = (int) c->kv_heads, .dim = (int) c->head_dim,
		.drop = net->drop.attention > 0 ? &net->drop : NULL,
		.site = DL_SITE_LAYER + (uint32_t) layer * DL_SITES_A_LAYER + DL_SITE_ATTENTION,
		.first = net->drop.first + (uint32_t) net->first[row]
	};
}

/* The first of a batch row's queries among those of a layer. */
static int
first_query(const dl_net *net, int row, int layer)
{
	return layer + 1 == (int) net->p->config.layers ? net->wanted_first[row] : net->first[row];
}

static dl_real *
attention_scratch(const dl_net *net, int thread)
{
	return net->work.attention + (size_t) thread * dl_attention_scratch(dl_longest_row(net), (int) net->p->config.head_dim);
}

static void
attend_item(void *arg, int item, int thread)
{
	const attention_job *j = arg;
	const dl_net *net = j->net;
	const dl_saved *s = &net->saved[j->layer];
	int			kv_heads = (int) net->p->config.kv_heads;
	int			row = item / kv_heads;
	int			at = net->first[row];
	int			query = first_query(net, row, j->layer);
	dl_attention_row r = attention_row(net, row, j->layer);

	dl_attend_head(&net->exec, &r, item % kv_heads, dl_rows_from(s->q, query), dl_rows_from(s->k, at), dl_rows_from(s->v, at),
			  attention_scratch(net, thread), dl_rows_from(s->mix, query));
}

static void
attend_back_item(void *arg, int item, int thread)
{
	const attention_job *j = arg;
	const dl_net *net = j->net;
	const dl_saved *s = &net->saved[j->layer];
	const dl_work *w = &net->work;
	int			kv_heads = (int) net->p->config.kv_heads;
	int			row = item / kv_heads;
	int			at = net->first[row];
	int			query = first_query(net, row, j->layer);
	dl_attention_row r = attention_row(net, row, j->layer);

	dl_attend_head_back(&net->exec, &r, item % kv_heads, dl_rows_from(s->q, query), dl_rows_from(s->k, at),
				   dl_rows_from(s->v, at), dl_rows_from(w->dmix, query), attention_scratch(net, thread),
				   dl_rows_from(w->dq, query), dl_rows_from(w->dk, at), dl_rows_from(w->dv, at));
}

static void
for_all_heads(dl_net *net, int layer, void (*item) (void *, int, int))
{
	attention_job j = {net, layer};

	if (!dl_exec_stop(&net->exec))
		dl_parallel(net->exec.team, net->n_rows * (int) net->p->config.kv_heads, item, &j);
}

/* ----------------------------------------------------------------- forward */

static void
norm_input(dl_net *net, const dl_span *s)
{
	for (int i = s->first; i < s->end; i++)
		norm(net, &layer_of(net, s)->attn_norm, dl_row(net->x[s->layer], i), dl_row(net->saved[s->layer].h, i));
}

/* work.t = what the queries read, where only some are wanted */
static void
gather_wanted(dl_net *net, const dl_span *s)
{
	for (int i = s->first; i < s->end; i++)
		memcpy(dl_row(net->work.t, i), dl_row(net->saved[s->layer].h, net->wanted[i]), net->p->config.hidden * sizeof(dl_real));
}

static dl_rows
query_input(dl_net *net, int layer)
{
	if (layer + 1 < (int) net->p->config.layers)
		return net->saved[layer].h;
	dl_stage(net, layer, net->n_wanted, gather_wanted);
	return net->work.t;
}

static void
turn_queries(dl_net *net, const dl_span *s)
{
	const dl_saved *v = &net->saved[s->layer];

	for (int i = s->first; i < s->end; i++)
		turn_heads(net, layer_of(net, s)->q_norm, dl_token_of(net, s->layer, i), dl_row(v->q_raw, i),
				   (int) net->p->config.heads, query_scale(net), dl_row(v->q, i));
}

static void
turn_keys(dl_net *net, const dl_span *s)
{
	const dl_saved *v = &net->saved[s->layer];

	for (int i = s->first; i < s->end; i++)
		turn_heads(net, layer_of(net, s)->k_norm, i, dl_row(v->k_raw, i), (int) net->p->config.kv_heads, 1, dl_row(v->k, i));
}

/* mid = x + drop(mid), f = norm(mid) */
static void
end_attention(dl_net *net, const dl_span *s)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = layer_of(net, s);
	const dl_saved *v = &net->saved[s->layer];

	for (int i = s->first; i < s->end; i++)
	{
		dl_real    *mid = dl_row(v->mid, i);

		int			token = dl_token_of(net, s->layer, i);

		drop_row(net, s->layer, DL_SITE_O, token, mid);
		dl_add_scaled(mid, dl_row(net->x[s->layer], token), 1, c->hidden);
		norm(net, c->pre_norm ? &p->ffn_norm : &p->attn_norm, mid, dl_row(v->f, i));
	}
}

/* act = a(gate) up, or a(up) */
static void
activate(dl_net *net, const dl_span *s)
{
	const dl_config *c = &net->p->config;
	const dl_saved *v = &net->saved[s->layer];

	for (int i = s->first; i < s->end; i++)
	{
		dl_real    *act = dl_row(v->act, i);
		const dl_real *up = dl_row(v->up, i);

		dl_act_forward(&net->exec, c->act, c->gated ? dl_row(v->gate, i) : up, (int) c->ffn, act);
		for (uint32_t j = 0; c->gated && j < c->ffn; j++)
			act[j] *= up[j];
	}
}

/* out = stream + drop(out); post-norm: the layer's output is its norm */
static void
end_layer(dl_net *net, const dl_span *s)
{
	const dl_config *c = &net->p->config;
	const dl_saved *v = &net->saved[s->layer];

	for (int i = s->first; i < s->end; i++)
	{
		dl_real    *out = dl_row(v->out, i);

		drop_row(net, s->layer, DL_SITE_DOWN, dl_token_of(net, s->layer, i), out);
		dl_add_scaled(out, dl_row(c->pre_norm ? v->mid : v->f, i), 1, c->hidden);
		if (!c->pre_norm)
			norm(net, &layer_of(net, s)->ffn_norm, out, dl_row(net->x[s->layer + 1], i));
	}
}

void
dl_layer_run(dl_net *net, int layer)
{
	const dl_config *c = &net->p->config;
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	int			all = net->n_tokens;
	int			n = dl_layer_rows(net, layer);

	if (c->pre_norm)
		dl_stage(net, layer, all, norm_input);
	dense(net, &p->q, n, query_input(net, layer), s->q_raw);
	dense(net, &p->k, all, s->h, s->k_raw);
	dense(net, &p->v, all, s->h, s->v);
	dl_stage(net, layer, n, turn_queries);
	dl_stage(net, layer, all, turn_keys);
	for_all_heads(net, layer, attend_item);
	dense(net, &p->o, n, s->mix, s->mid);
	dl_stage(net, layer, n, end_attention);
	dense(net, &p->up, n, s->f, s->up);
	if (c->gated)
		dense(net, &p->gate, n, s->f, s->gate);
	dl_stage(net, layer, n, activate);
	dense(net, &p->down, n, s->act, s->out);
	dl_stage(net, layer, n, end_layer);
}

/* -------------------------------------------------------------------- back */

/* work.t = the gradient of a block's output before dropout, from that of the stream */
static void
enter_block(dl_net *net, const dl_span *s, dl_site site)
{
	for (int i = s->first; i < s->end; i++)
	{
		memcpy(dl_row(net->work.t, i), dl_row(net->work.g, i), net->p->config.hidden * sizeof(dl_real));
		drop_row(net, s->layer, site, dl_token_of(net, s->layer, i), dl_row(net->work.t, i));
	}
}

/* Post-norm: work.g of the layer's output becomes that of its second residual. */
static void
norm_output_back(dl_net *net, const dl_span *s)
{
	norm_back(net, s, &layer_of(net, s)->ffn_norm, net->saved[s->layer].out, net->work.g, false, net->work.g);
}

static void
enter_ffn(dl_net *net, const dl_span *s)
{
	enter_block(net, s, DL_SITE_DOWN);
}

/* work.dup of what down reads becomes that of up; work.dgate. Saved up is lost: nothing asks for it any more. */
static void
activate_back(dl_net *net, const dl_span *s)
{
	const dl_config *c = &net->p->config;
	const dl_saved *v = &net->saved[s->layer];
	int			ffn = (int) c->ffn;

	for (int i = s->first; i < s->end; i++)
	{
		dl_real    *dup = dl_row(net->work.dup, i);
		const dl_real *up = dl_row(v->up, i);
		const dl_real *gate;
		dl_real    *dgate;

		if (!c->gated)
		{
			dl_act_backward(&net->exec, c->act, up, dup, ffn, dup);
			continue;
		}
		gate = dl_row(v->gate, i);
		dgate = dl_row(net->work.dgate, i);
		for (int j = 0; j < ffn; j++)
			dgate[j] = dup[j] * up[j];
		dl_act_backward(&net->exec, c->act, gate, dgate, ffn, dgate);
		dl_act_forward(&net->exec, c->act, gate, ffn, dl_row(v->up, i));
		for (int j = 0; j < ffn; j++)
			dup[j] *= up[j];
	}
}

/* work.g of mid, from work.d of f and work.g of the second residual; then work.t of attention's output */
static void
leave_ffn(dl_net *net, const dl_span *s)
{
	const dl_layer_params *p = layer_of(net, s);
	const dl_saved *v = &net->saved[s->layer];
	dl_rows		g = net->work.g;

	if (net->p->config.pre_norm)
		norm_back(net, s, &p->ffn_norm, v->mid, net->work.d, true, g);
	else
	{
		for (int i = s->first; i < s->end; i++)
			dl_add_scaled(dl_row(g, i), dl_row(net->work.d, i), 1, net->p->config.hidden);
		norm_back(net, s, &p->attn_norm, v->mid, g, false, g);
	}
	enter_block(net, s, DL_SITE_O);
}

static void
clear_keys_and_values(dl_net *net, const dl_span *s)
{
	for (int i = s->first; i < s->end; i++)
	{
		memset(dl_row(net->work.dk, i), 0, (size_t) net->key_dim * sizeof(dl_real));
		memset(dl_row(net->work.dv, i), 0, (size_t) net->key_dim * sizeof(dl_real));
	}
}

static void
turn_queries_back(dl_net *net, const dl_span *s)
{
	for (int i = s->first; i < s->end; i++)
		turn_heads_back(net, layer_of(net, s)->q_norm, dl_token_of(net, s->layer, i), dl_row(net->saved[s->layer].q_raw, i),
						(int) net->p->config.heads, query_scale(net), dl_row(net->work.dq, i), s->item);
}

static void
turn_keys_back(dl_net *net, const dl_span *s)
{
	for (int i = s->first; i < s->end; i++)
		turn_heads_back(net, layer_of(net, s)->k_norm, i, dl_row(net->saved[s->layer].k_raw, i),
						(int) net->p->config.kv_heads, 1, dl_row(net->work.dk, i), s->item);
}

/* work.g of the layer's input */
static void
leave_attention(dl_net *net, const dl_span *s)
{
	if (net->p->config.pre_norm)
		norm_back(net, s, &layer_of(net, s)->attn_norm, net->x[s->layer], net->work.d, true, net->work.g);
	else
		for (int i = s->first; i < s->end; i++)
			dl_add_scaled(dl_row(net->work.g, i), dl_row(net->work.d, i), 1, net->p->config.hidden);
}

/* A stage that sends gradients through a norm: what its weights get is added up item by item. */
static void
norm_stage(dl_net *net, int layer, int n, const dl_norm_params *p, int width, void (*fn) (dl_net *, const dl_span *))
{
	dl_norm_sums_clear(net, p, width);
	dl_stage(net, layer, n, fn);
	dl_norm_sums_add(net, p, width);
}

static void
head_norm_stage(dl_net *net, int layer, int n, dl_param *w, void (*fn) (dl_net *, const dl_span *))
{
	dl_norm_params p = {w, NULL};

	if (w == NULL)
		dl_stage(net, layer, n, fn);
	else
		norm_stage(net, layer, n, &p, (int) net->p->config.head_dim, fn);
}

/* work.d of f, from work.t */
static void
ffn_back(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	bool		gated = net->p->config.gated;
	int			n = dl_layer_rows(net, layer);

	dense_back(net, &p->down, n, s->act, w->t, w->dup, false);
	dl_stage(net, layer, n, activate_back);
	if (gated)
		dense_back(net, &p->gate, n, s->f, w->dgate, w->d, false);
	dense_back(net, &p->up, n, s->f, w->dup, w->d, gated);
}

/* Rows of wanted tokens become rows of all tokens: work.g with zeros between them, work.d by adding `more` [n_wanted]. */
static void
spread_wanted(dl_net *net, dl_rows more)
{
	size_t		hidden = net->p->config.hidden;
	int			i = net->n_wanted;

	for (int t = net->n_tokens - 1; t >= 0 && !net->exec.stopped; t--)
		if (i > 0 && net->wanted[i - 1] == t)
		{
			i--;
			memmove(dl_row(net->work.g, t), dl_row(net->work.g, i), hidden * sizeof(dl_real));
			dl_add_scaled(dl_row(net->work.d, t), dl_row(more, i), 1, hidden);
		}
		else
			memset(dl_row(net->work.g, t), 0, hidden * sizeof(dl_real));
}

/* work.d of h, from those of queries, keys and values. In the last layer saved f is lost, and work.g gets all tokens' rows. */
static void
inputs_back(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	bool		last = layer + 1 == (int) net->p->config.layers;
	dl_rows		h = query_input(net, layer);

	dense_back(net, &p->q, dl_layer_rows(net, layer), h, w->dq, last ? s->f : w->d, false);
	dense_back(net, &p->k, net->n_tokens, s->h, w->dk, w->d, !last);
	dense_back(net, &p->v, net->n_tokens, s->h, w->dv, w->d, true);
	if (last)
		spread_wanted(net, s->f);
}

/* work.d of h, from work.t */
static void
attention_back(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	const dl_saved *s = &net->saved[layer];
	dl_work    *w = &net->work;
	int			n = dl_layer_rows(net, layer);

	dense_back(net, &p->o, n, s->mix, w->t, w->dmix, false);
	dl_stage(net, layer, net->n_tokens, clear_keys_and_values);
	for_all_heads(net, layer, attend_back_item);
	head_norm_stage(net, layer, n, p->q_norm, turn_queries_back);
	head_norm_stage(net, layer, net->n_tokens, p->k_norm, turn_keys_back);
	inputs_back(net, layer);
}

void
dl_layer_back(dl_net *net, int layer)
{
	const dl_layer_params *p = &net->p->layers[layer];
	int			hidden = (int) net->p->config.hidden;
	bool		pre = net->p->config.pre_norm;
	int			n = dl_layer_rows(net, layer);

	if (!pre)
		norm_stage(net, layer, n, &p->ffn_norm, hidden, norm_output_back);
	dl_stage(net, layer, n, enter_ffn);
	ffn_back(net, layer);
	norm_stage(net, layer, n, pre ? &p->ffn_norm : &p->attn_norm, hidden, leave_ffn);
	attention_back(net, layer);
	if (pre)
		norm_stage(net, layer, net->n_tokens, &p->attn_norm, hidden, leave_attention);
	else
		dl_stage(net, layer, net->n_tokens, leave_attention);
}
