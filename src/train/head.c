/*
 * head.c - from the last states of asked positions to the loss, and back.
 *
 * The output projection is walked in blocks of DL_VOCAB_BLOCK ids, each for
 * DL_LOSS_ASKS asks at a time, and for the teacher's states of those of them
 * that have one. The first walk keeps a few numbers per ask; the second, on
 * the way back, computes the logits again and turns them into their gradient
 * in place: one product more than a stored matrix would take, and
 * DL_LOSS_ASKS * DL_VOCAB_BLOCK numbers, the teacher's as many, instead of
 * asks * vocab.
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
	dl_dense	dense;

	for (int i = 0; i < n; i++)
	{
		memcpy(dl_row(h->state, i), dl_row(net->x[c->layers], h->row[i]), row_bytes(net));
		if (c->final_norm)
			dl_norm_forward(c->norm, &p->final_norm, c->norm_eps, dl_row(h->state, i), hidden, dl_row(h->normed, i));
	}
	if (!c->head_transform)
		return;
	dense = dl_dense_now(net, &p->head_dense);
	dl_dense_forward(&net->exec, &dense, p->scale, h->normed, n, &net->work.dense, h->dense);
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

/* logits [n, ids] of states x [n, hidden] and ids from `id` on, by a projection with or without its factors */
static void
project(dl_net *net, const dl_dense *head, dl_rows x, int n, int id, int ids, dl_rows logits)
{
	const dl_params *p = net->p;
	dl_exec    *e = &net->exec;
	dl_dense	d = part_of(head);
	const dl_dense_scratch *s = &net->work.dense;

	if (!dl_multiply_columns(e, &d, id, ids, x, n, logits))
	{
		dl_panels_forward(e, &d, p->scale, id, ids, s->side, s->panels);
		dl_multiply_panels(e, x, n, (int) p->config.hidden, s->panels, ids, logits, false);
	}
	for (int i = 0; head->b != NULL && i < n; i++)
		dl_add_scaled(dl_row(logits, i), head->b->value + id, 1, (size_t) ids);
}

/* logits of asks from `ask` on */
static void
project_asks(dl_net *net, int ask, int asks, int id, int ids, dl_rows logits)
{
	project(net, &net->p->head, dl_rows_from(net->head.x, ask), asks, id, ids, logits);
}

/* The teacher's logits of those of them that have one. */
static void
project_teacher(dl_net *net, int ask, int asks, int id, int ids)
{
	const dl_head_state *h = &net->head;
	int			first = h->taught_before[ask];
	int			n = h->taught_before[ask + asks] - first;
	dl_dense	base = dl_without_factors(&net->p->head);

	if (n > 0)
		project(net, &base, dl_rows_from(h->teacher, first), n, id, ids, h->teacher_logits);
}

void
dl_net_logits(dl_net *net, int i, dl_real *logits)
{
	int			vocab = (int) net->p->config.vocab;

	for (int id = 0; id < vocab; id += DL_VOCAB_BLOCK)
	{
		int			ids = vocab - id < DL_VOCAB_BLOCK ? vocab - id : DL_VOCAB_BLOCK;

		project_asks(net, i, 1, id, ids, (dl_rows) {logits + id, (size_t) ids});
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

/* The same of the teacher's logits u of these ids, and of z weighted by exp(u). u is lost. */
static void
fold_teacher(dl_net *net, int i, int n, const dl_real *z, dl_real *u)
{
	dl_head_state *h = &net->head;
	double		most = dl_most(&net->exec, u, n);
	double		shrink;

	if (most < h->teacher_most[i])
		most = h->teacher_most[i];
	shrink = dl_exp(h->teacher_most[i] - most);
	h->teacher_sum[i] = h->teacher_sum[i] * shrink + dl_exp_row(&net->exec, u, (dl_real) most, n, u);
	h->z_teacher[i] = h->z_teacher[i] * shrink + dl_dot(u, z, n);
	h->teacher_most[i] = most;
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

			project_asks(net, ask, asks, id, ids, net->head.logits);
			project_teacher(net, ask, asks, id, ids);
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

/* The teacher's logits of an ask of the block, NULL: it has no teacher. */
static dl_real *
teacher_row(const block_job *j, int item)
{
	const dl_head_state *h = &j->net->head;

	return h->taught[j->ask + item] == 0 ? NULL :
		dl_row(h->teacher_logits, h->taught_before[j->ask + item] - h->taught_before[j->ask]);
}

static void
fold_item(void *arg, int item, int thread)
{
	const block_job *j = arg;
	dl_real    *z = dl_row(j->net->head.logits, item);
	dl_real    *u = teacher_row(j, item);

	if (u != NULL)
		fold_teacher(j->net, j->ask + item, j->ids, z, u);
	fold(j->net, j->ask + item, j->id, j->ids, z);
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

static void
begin_folding(dl_net *net)
{
	dl_head_state *h = &net->head;

	for (int i = 0; i < net->n_asks; i++)
	{
		h->most[i] = -INFINITY;
		h->sum[i] = h->z_sum[i] = h->z_target[i] = 0;
		h->best[i] = -1;
		if (h->taught[i] == 0)
			continue;
		h->teacher_most[i] = -INFINITY;
		h->teacher_sum[i] = h->z_teacher[i] = 0;
	}
}

/* What has been folded becomes log-sum-exps; the logit that ask i's target, the teacher's share included, expects. */
static double
end_folding(dl_net *net, int i)
{
	dl_head_state *h = &net->head;
	double		share = h->taught[i];

	h->sum[i] = h->most[i] + dl_log(h->sum[i]);
	if (share == 0)
		return h->z_target[i];
	h->z_teacher[i] /= h->teacher_sum[i];
	h->teacher_sum[i] = h->teacher_most[i] + dl_log(h->teacher_sum[i]);
	return (1 - share) * h->z_target[i] + share * h->z_teacher[i];
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
	begin_folding(net);
	walk_vocabulary(net, fold_block);
	for (int i = 0; i < net->n_asks; i++)
	{
		double		expected = end_folding(net, i);

		out->loss += (double) h->weight[i] *
			(h->sum[i] - (1 - smoothing) * expected - smoothing / vocab * h->z_sum[i]);
		out->weight += (double) h->weight[i];
		out->nats += h->sum[i] - expected;
		out->correct += h->best[i] == h->target[i];
		if (out->bad < 0 && !isfinite(h->sum[i] - expected))
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

	project_asks(net, i, 1, block, vocab - block < DL_PANEL ? vocab - block : DL_PANEL, (dl_rows) {z, DL_PANEL});
	return net->exec.stopped ? NAN : (double) z[token - block] - net->head.sum[i];
}

/* dz = weight (softmax - (1 - smoothing) ((1 - d) [target] + d teacher's softmax) - smoothing / vocab) of one ask */
static void
slope_item(void *arg, int item, int thread)
{
	const block_job *j = arg;
	const dl_net *net = j->net;
	const dl_head_state *h = &net->head;
	dl_real    *z = dl_row(h->logits, item);
	dl_real		even = (dl_real) (net->smoothing / net->p->config.vocab);
	dl_real		weight = (dl_real) h->weight[j->ask + item];
	double		share = h->taught[j->ask + item];
	double		sure = 1 - net->smoothing;
	dl_real    *u = teacher_row(j, item);
	int			target = h->target[j->ask + item] - j->id;

	(void) dl_exp_row(&net->exec, z, (dl_real) h->sum[j->ask + item], j->ids, z);
	for (int i = 0; i < j->ids; i++)
		z[i] = weight * (z[i] - even);
	if (u != NULL)
	{
		(void) dl_exp_row(&net->exec, u, (dl_real) h->teacher_sum[j->ask + item], j->ids, u);
		dl_add_scaled(z, u, -weight * (dl_real) (sure * share), (size_t) j->ids);
	}
	if (target >= 0 && target < j->ids)
		z[target] -= weight * (dl_real) (sure * (1 - share));
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
