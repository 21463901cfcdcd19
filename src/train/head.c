/*
 * head.c - from the last states of asked positions to the loss, and back.
 *
 * The output projection is walked in blocks of DL_VOCAB_BLOCK ids, each for
 * DL_LOSS_ASKS asks at a time. The first walk keeps four numbers per ask; the
 * second, on the way back, computes the logits again and turns them into their
 * gradient in place: one product more than a stored matrix would take, and
 * DL_LOSS_ASKS * DL_VOCAB_BLOCK numbers instead of asks * vocab.
 */
#include "net_impl.h"

#include <string.h>

#include "fmath.h"
#include "logprob.h"
#include "status.h"

static size_t
row_bytes(const dl_net *net)
{
	return net->p->config.hidden * sizeof(dl_real);
}

/* What is normed, transformed and projected. Asks are few: one thread does what is not a product. */
void
dl_head_run(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	dl_head_state *h = &net->head;
	int			hidden = (int) c->hidden;
	int			n = net->n_asks;

	for (int i = 0; i < n; i++)
	{
		memcpy(dl_row(h->state, i), dl_row(net->x[c->layers], h->row[i]), row_bytes(net));
		if (c->final_norm)
			dl_norm_forward(c->norm, &p->final_norm, c->norm_eps, dl_row(h->state, i), hidden, dl_row(h->normed, i));
	}
	if (!c->head_transform)
		return;
	dl_dense_forward(&net->exec, &p->head_dense, p->scale, h->normed, n, &net->work.dense, h->dense);
	for (int i = 0; i < n; i++)
	{
		dl_act_forward(&net->exec, DL_ACT_GELU_ERF, dl_row(h->dense, i), hidden, dl_row(h->act, i));
		dl_norm_forward(DL_NORM_LAYER, &p->head_norm, c->norm_eps, dl_row(h->act, i), hidden, dl_row(h->x, i));
	}
}

/* The output projection without its bias, whose part is added by whoever takes a part of the rows. */
static dl_dense
part_of(const dl_dense *d)
{
	dl_dense	part = *d;

	part.b = NULL;
	return part;
}

/* logits [asks, ids] of asks from `ask` on and ids from `id` on */
static void
project(dl_net *net, int ask, int asks, int id, int ids, dl_rows logits)
{
	const dl_params *p = net->p;
	dl_exec    *e = &net->exec;
	dl_dense	d = part_of(&p->head);
	const dl_dense_scratch *s = &net->work.dense;

	if (!dl_multiply_columns(e, &d, id, ids, dl_rows_from(net->head.x, ask), asks, logits))
	{
		dl_panels_forward(e, &d, p->scale, id, ids, s->side, s->panels);
		dl_multiply_panels(e, dl_rows_from(net->head.x, ask), asks, (int) p->config.hidden, s->panels, ids, logits, false);
	}
	for (int i = 0; p->head.b != NULL && i < asks; i++)
		dl_add_scaled(dl_row(logits, i), p->head.b->value + id, 1, (size_t) ids);
}

void
dl_net_logits(dl_net *net, int i, dl_real *logits)
{
	int			vocab = (int) net->p->config.vocab;

	for (int id = 0; id < vocab; id += DL_VOCAB_BLOCK)
	{
		int			ids = vocab - id < DL_VOCAB_BLOCK ? vocab - id : DL_VOCAB_BLOCK;

		project(net, i, 1, id, ids, (dl_rows) {logits + id, (size_t) ids});
	}
}

/* Fold logits [n] of ids from `id` on into ask i: running maximum, sum around it, target, sum of all. z is lost. */
static void
fold(dl_net *net, int i, int id, int n, dl_real *z)
{
	dl_head_state *h = &net->head;
	double		most = h->most[i];
	double		sum = 0;

	for (int j = 0; j < n; j++)
		if (z[j] > most)
		{
			most = z[j];
			h->best[i] = id + j;
		}
	for (int j = 0; j < n; j++)
		h->z_sum[i] += z[j];
	if (h->target[i] >= id && h->target[i] < id + n)
		h->z_target[i] = z[h->target[i] - id];
	sum = dl_exp_row(&net->exec, z, (dl_real) most, n, z);
	h->sum[i] = h->sum[i] * dl_exp(h->most[i] - most) + sum;
	h->most[i] = most;
}

static void
walk_vocabulary(dl_net *net, void (*visit) (dl_net *, int ask, int asks, int id, int ids))
{
	int			vocab = (int) net->p->config.vocab;

	for (int id = 0; id < vocab; id += DL_VOCAB_BLOCK)
		for (int ask = 0; ask < net->n_asks; ask += DL_LOSS_ASKS)
		{
			int			ids = vocab - id < DL_VOCAB_BLOCK ? vocab - id : DL_VOCAB_BLOCK;
			int			asks = net->n_asks - ask < DL_LOSS_ASKS ? net->n_asks - ask : DL_LOSS_ASKS;

			project(net, ask, asks, id, ids, net->head.logits);
			visit(net, ask, asks, id, ids);
		}
}

/* A block of logits, row by row on all threads. */
typedef struct block_job
{
	dl_net	   *net;
	int			ask,
				id,
				ids;
} block_job;

static void
fold_item(void *arg, int item, int thread)
{
	const block_job *j = arg;

	fold(j->net, j->ask + item, j->id, j->ids, dl_row(j->net->head.logits, item));
}

static void
for_rows(dl_net *net, int ask, int asks, int id, int ids, void (*item) (void *, int, int))
{
	block_job	j = {net, ask, id, ids};

	if (!dl_exec_stop(&net->exec))
		dl_parallel(net->exec.team, asks, item, &j);
}

static void
fold_block(dl_net *net, int ask, int asks, int id, int ids)
{
	for_rows(net, ask, asks, id, ids, fold_item);
}

dlm_status
dl_net_loss(dl_net *net, double smoothing, dl_loss *out, dlm_error *err)
{
	dl_head_state *h = &net->head;
	double		vocab = net->p->config.vocab;

	if (!(smoothing >= 0 && smoothing < 1))
		return dl_fail(err, DLM_EINVAL, "", "label smoothing must be at least 0 and less than 1");
	net->smoothing = smoothing;
	*out = (dl_loss) {.asks = net->n_asks, .bad = -1};
	for (int i = 0; i < net->n_asks; i++)
	{
		h->most[i] = -INFINITY;
		h->sum[i] = h->z_sum[i] = h->z_target[i] = 0;
		h->best[i] = -1;
	}
	walk_vocabulary(net, fold_block);
	for (int i = 0; i < net->n_asks; i++)
	{
		h->sum[i] = h->most[i] + dl_log(h->sum[i]);
		out->loss += (double) h->weight[i] *
			(h->sum[i] - (1 - smoothing) * h->z_target[i] - smoothing / vocab * h->z_sum[i]);
		out->weight += (double) h->weight[i];
		out->nats += h->sum[i] - h->z_target[i];
		out->correct += h->best[i] == h->target[i];
		if (out->bad < 0 && !isfinite(h->sum[i] - h->z_target[i]))
			out->bad = i;
	}
	if (net->exec.stopped)
		return dl_fail(err, DLM_EINTR, "", "training was stopped");
	if (out->bad >= 0 || !isfinite(out->loss))
		return dl_fail(err, DLM_EDAMAGED, "Lower the learning rate, or look for damage in the model.",
					   "loss is not a finite number");
	return DLM_OK;
}

double
dl_net_logprob(dl_net *net, int i, int32_t token)
{
	int			block = token / DL_PANEL * DL_PANEL;
	int			vocab = (int) net->p->config.vocab;
	dl_real		z[DL_PANEL] = {0};

	project(net, i, 1, block, vocab - block < DL_PANEL ? vocab - block : DL_PANEL, (dl_rows) {z, DL_PANEL});
	return net->exec.stopped ? NAN : (double) z[token - block] - net->head.sum[i];
}

/* dz = weight (softmax - (1 - smoothing) [target] - smoothing / vocab) of one ask */
static void
slope_item(void *arg, int item, int thread)
{
	const block_job *j = arg;
	const dl_net *net = j->net;
	const dl_head_state *h = &net->head;
	dl_real    *z = dl_row(h->logits, item);
	dl_real		even = (dl_real) (net->smoothing / net->p->config.vocab);
	dl_real		weight = (dl_real) h->weight[j->ask + item];
	int			target = h->target[j->ask + item] - j->id;

	(void) dl_exp_row(&net->exec, z, (dl_real) h->sum[j->ask + item], j->ids, z);
	for (int i = 0; i < j->ids; i++)
		z[i] = weight * (z[i] - even);
	if (target >= 0 && target < j->ids)
		z[target] -= weight * (dl_real) (1 - net->smoothing);
}

/* Gradients of the factors' and the matrix' rows of a block, from dz. */
static void
weights_back(dl_net *net, int ask, int asks, int id, int ids)
{
	const dl_params *p = net->p;
	const dl_head_state *h = &net->head;
	const dl_dense_scratch *s = &net->work.dense;
	size_t		hidden = p->config.hidden;
	dl_dense	d = part_of(&p->head);
	dl_param	w,
				b;

	if (p->head.b != NULL && p->head.b->grad != NULL)
		dl_add_column_sums(&net->exec, h->logits, asks, ids, p->head.b->grad + id);
	if (p->head.w->grad != NULL)
		dl_multiply_turned(&net->exec, h->logits, 1, asks, ids, dl_rows_from(h->x, ask), (int) hidden, s,
						   (dl_rows) {p->head.w->grad + (size_t) id * hidden, hidden});
	if (p->head.lora_b == NULL)
		return;
	w = *p->head.w;
	b = *p->head.lora_b;
	w.rows = b.rows = ids;
	b.value += (size_t) id * (size_t) p->rank;
	b.grad += (size_t) id * (size_t) p->rank;
	d.w = &w;
	d.lora_b = &b;
	dl_factors_backward(&net->exec, &d, p->scale, dl_rows_from(h->x, ask), h->logits, asks, s);
}

static void
block_back(dl_net *net, int ask, int asks, int id, int ids)
{
	const dl_params *p = net->p;
	const dl_head_state *h = &net->head;
	const dl_dense_scratch *s = &net->work.dense;
	dl_dense	d = part_of(&p->head);

	for_rows(net, ask, asks, id, ids, slope_item);
	weights_back(net, ask, asks, id, ids);
	dl_panels_back(&net->exec, &d, p->scale, id, ids, s->side, s->panels);
	dl_multiply_panels(&net->exec, h->logits, asks, ids, s->panels, (int) p->config.hidden, dl_rows_from(h->dx, ask), true);
}

/* The gradient of what the transform reads, h->dnormed, from h->dx. */
static void
transform_back(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	dl_head_state *h = &net->head;
	int			hidden = (int) c->hidden;

	for (int i = 0; i < net->n_asks; i++)
	{
		dl_real    *d = dl_row(h->dx, i);

		dl_norm_backward(DL_NORM_LAYER, &p->head_norm, c->norm_eps, dl_row(h->act, i), d, hidden, false, d,
						 p->head_norm.w->grad, p->head_norm.b != NULL ? p->head_norm.b->grad : NULL);
		dl_act_backward(&net->exec, DL_ACT_GELU_ERF, dl_row(h->dense, i), d, hidden, d);
	}
	dl_dense_backward(&net->exec, &p->head_dense, p->scale, h->normed, h->dx, net->n_asks, &net->work.dense, h->dnormed,
					  false);
}

void
dl_head_back(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	dl_head_state *h = &net->head;
	int			hidden = (int) c->hidden;
	dl_rows		d = c->head_transform ? h->dnormed : h->dx;

	for (int i = 0; i < net->n_asks; i++)
		memset(dl_row(h->dx, i), 0, row_bytes(net));
	for (int i = 0; i < net->n_wanted; i++)
		memset(dl_row(net->work.g, i), 0, row_bytes(net));
	walk_vocabulary(net, block_back);
	if (c->head_transform)
		transform_back(net);
	for (int i = 0; i < net->n_asks && !net->exec.stopped; i++)
	{
		dl_real    *at = dl_row(d, i);

		if (c->final_norm)
			dl_norm_backward(c->norm, &p->final_norm, c->norm_eps, dl_row(h->state, i), at, hidden, false, at,
							 p->final_norm.w->grad, p->final_norm.b != NULL ? p->final_norm.b->grad : NULL);
		dl_add_scaled(dl_row(net->work.g, h->row[i]), at, 1, (size_t) hidden);
	}
}
