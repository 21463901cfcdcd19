/*
 * length_layer.c - the length head's transformer layer, forward and back.
 * What is to be done with each token between two products is one stage.
 */
#include "length_impl.h"

#include <string.h>

#define NORM_EPS		1e-5	/* PyTorch's TransformerEncoderLayer */

/* Places of dropout. */
typedef enum site { SITE_ATTENTION, SITE_O, SITE_ACT, SITE_DOWN } site;

/* ------------------------------------------------------------------ stages */

typedef struct stage
{
	dl_length_net *net;
	void		(*fn) (dl_length_net *net, int token, int item);
} stage;

static void
stage_item(void *arg, int item, int thread)
{
	const stage *s = arg;
	int			end = (item + 1) * DL_LENGTH_TOKENS < s->net->n_tokens ? (item + 1) * DL_LENGTH_TOKENS : s->net->n_tokens;

	for (int i = item * DL_LENGTH_TOKENS; i < end; i++)
		s->fn(s->net, i, item);
}

static void
for_tokens(dl_length_net *net, void (*fn) (dl_length_net *net, int token, int item))
{
	stage		s = {net, fn};

	if (!dl_exec_stop(&net->exec))
		dl_parallel(net->exec.team, dl_divide_up(net->n_tokens, DL_LENGTH_TOKENS), stage_item, &s);
}

static void
drop_row(const dl_length_net *net, site at, int token, dl_real *x, uint32_t n)
{
	dl_dropout(&net->drop, net->drop.hidden, at, net->drop.first + (uint32_t) token, x, (int) n);
}

/* --------------------------------------------------------------- attention */

static dl_attention_row
attention_row(const dl_length_net *net, int row)
{
	int			heads = (int) net->p->config.heads;

	return (dl_attention_row) {
		.n = net->rows[row].n, .n_queries = net->rows[row].n, .heads = heads, .kv_heads = heads, .dim = net->dim,
		.drop = net->drop.attention > 0 ? &net->drop : NULL, .site = SITE_ATTENTION, .first = net->drop.first + (uint32_t) net->first[row]
	};
}

static dl_real *
attention_scratch(const dl_length_net *net, int thread)
{
	return net->attention + (size_t) thread * dl_attention_scratch(net->limits.longest, net->dim);
}

static void
attend_item(void *arg, int item, int thread)
{
	const dl_length_net *net = arg;
	int			heads = (int) net->p->config.heads;
	int			at = net->first[item / heads];
	dl_attention_row r = attention_row(net, item / heads);

	dl_attend_head(&net->exec, &r, item % heads, dl_rows_from(net->q, at), dl_rows_from(net->k, at),
				   dl_rows_from(net->v, at), attention_scratch(net, thread), dl_rows_from(net->mix, at));
}

static void
attend_back_item(void *arg, int item, int thread)
{
	const dl_length_net *net = arg;
	int			heads = (int) net->p->config.heads;
	int			at = net->first[item / heads];
	dl_attention_row r = attention_row(net, item / heads);

	dl_attend_head_back(&net->exec, &r, item % heads, dl_rows_from(net->q, at), dl_rows_from(net->k, at),
						dl_rows_from(net->v, at), dl_rows_from(net->dmix, at), attention_scratch(net, thread),
						dl_rows_from(net->dq, at), dl_rows_from(net->dk, at), dl_rows_from(net->dv, at));
}

static void
for_heads(dl_length_net *net, void (*item) (void *, int, int))
{
	if (!dl_exec_stop(&net->exec))
		dl_parallel(net->exec.team, net->n_rows * (int) net->p->config.heads, item, net);
}

/* ----------------------------------------------------------------- forward */

static void
scale_row(const dl_length_net *net, dl_real *x)
{
	dl_real		scale = 1 / dl_real_sqrt((dl_real) net->dim);

	for (uint32_t i = 0; i < net->p->config.hidden; i++)
		x[i] *= scale;
}

static void
scale_query(dl_length_net *net, int token, int item)
{
	scale_row(net, dl_row(net->q, token));
}

static void
end_attention(dl_length_net *net, int token, int item)
{
	uint32_t	hidden = net->p->config.hidden;
	dl_real    *mid = dl_row(net->mid, token);

	drop_row(net, SITE_O, token, mid, hidden);
	dl_add_scaled(mid, dl_row(net->x, token), 1, hidden);
	dl_norm_forward(DL_NORM_LAYER, &net->p->length.norm1, NORM_EPS, mid, (int) hidden, dl_row(net->f, token));
}

static void
activate(dl_length_net *net, int token, int item)
{
	uint32_t	ffn = net->p->config.length_ffn;

	dl_act_forward(&net->exec, DL_ACT_RELU, dl_row(net->up, token), (int) ffn, dl_row(net->act, token));
	drop_row(net, SITE_ACT, token, dl_row(net->act, token), ffn);
}

/* out = f + drop(out); t = norm2(out) */
static void
end_layer(dl_length_net *net, int token, int item)
{
	uint32_t	hidden = net->p->config.hidden;
	dl_real    *out = dl_row(net->out, token);

	drop_row(net, SITE_DOWN, token, out, hidden);
	dl_add_scaled(out, dl_row(net->f, token), 1, hidden);
	dl_norm_forward(DL_NORM_LAYER, &net->p->length.norm2, NORM_EPS, out, (int) hidden, dl_row(net->t, token));
}

void
dl_length_layer_run(dl_length_net *net)
{
	const dl_length_params *l = &net->p->length;
	int			n = net->n_tokens;

	dl_length_dense(net, &l->q, net->x, n, net->q);
	dl_length_dense(net, &l->k, net->x, n, net->k);
	dl_length_dense(net, &l->v, net->x, n, net->v);
	for_tokens(net, scale_query);
	for_heads(net, attend_item);
	dl_length_dense(net, &l->o, net->mix, n, net->mid);
	for_tokens(net, end_attention);
	dl_length_dense(net, &l->up, net->f, n, net->up);
	for_tokens(net, activate);
	dl_length_dense(net, &l->down, net->act, n, net->out);
	for_tokens(net, end_layer);
}

/* -------------------------------------------------------------------- back */

/* g through a norm; then t = g through dropout */
static void
norm_back(dl_length_net *net, int token, int item, const dl_norm_params *norm, dl_rows x, site at)
{
	uint32_t	hidden = net->p->config.hidden;
	dl_real    *g = dl_row(net->g, token);
	dl_real    *sums = net->norm_sums + (size_t) item * 2 * hidden;

	dl_norm_backward(DL_NORM_LAYER, norm, NORM_EPS, dl_row(x, token), g, (int) hidden, false, g, sums, sums + hidden);
	memcpy(dl_row(net->t, token), g, hidden * sizeof(dl_real));
	drop_row(net, at, token, dl_row(net->t, token), hidden);
}

static void
norm2_back(dl_length_net *net, int token, int item)
{
	norm_back(net, token, item, &net->p->length.norm2, net->out, SITE_DOWN);
}

/* t holds the gradient of f by way of the feed-forward block */
static void
norm1_back(dl_length_net *net, int token, int item)
{
	dl_add_scaled(dl_row(net->g, token), dl_row(net->t, token), 1, net->p->config.hidden);
	norm_back(net, token, item, &net->p->length.norm1, net->mid, SITE_O);
}

/* A stage that goes through a norm; its weights' gradients are added up item by item. */
static void
norm_stage(dl_length_net *net, const dl_norm_params *norm, void (*fn) (dl_length_net *, int, int))
{
	int			hidden = (int) net->p->config.hidden;
	int			items = dl_divide_up(net->n_tokens, DL_LENGTH_TOKENS);

	memset(net->norm_sums, 0, (size_t) items * 2 * (size_t) hidden * sizeof(dl_real));
	for_tokens(net, fn);
	dl_add_norm_sums(&net->exec, net->norm_sums, items, hidden, norm);
}

static void
activate_back(dl_length_net *net, int token, int item)
{
	uint32_t	ffn = net->p->config.length_ffn;
	dl_real    *dup = dl_row(net->dup, token);

	drop_row(net, SITE_ACT, token, dup, ffn);
	dl_act_backward(&net->exec, DL_ACT_RELU, dl_row(net->up, token), dup, (int) ffn, dup);
}

static void
clear_keys_and_values(dl_length_net *net, int token, int item)
{
	size_t		bytes = net->p->config.hidden * sizeof(dl_real);

	memset(dl_row(net->dk, token), 0, bytes);
	memset(dl_row(net->dv, token), 0, bytes);
}

static void
scale_query_back(dl_length_net *net, int token, int item)
{
	scale_row(net, dl_row(net->dq, token));
}

void
dl_length_layer_back(dl_length_net *net)
{
	const dl_length_params *l = &net->p->length;
	dl_rows		none = {NULL, 0};	/* the states' gradient: nobody asks for it */
	int			n = net->n_tokens;

	norm_stage(net, &l->norm2, norm2_back);
	dl_length_dense_back(net, &l->down, net->act, net->t, n, net->dup);
	for_tokens(net, activate_back);
	dl_length_dense_back(net, &l->up, net->f, net->dup, n, net->t);
	norm_stage(net, &l->norm1, norm1_back);
	dl_length_dense_back(net, &l->o, net->mix, net->t, n, net->dmix);
	for_tokens(net, clear_keys_and_values);
	for_heads(net, attend_back_item);
	for_tokens(net, scale_query_back);
	dl_length_dense_back(net, &l->q, net->x, net->dq, n, none);
	dl_length_dense_back(net, &l->k, net->x, net->dk, n, none);
	dl_length_dense_back(net, &l->v, net->x, net->dv, n, none);
}
