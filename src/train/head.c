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

#include "logprob.h"
#include "status.h"

/* What LoRA's B reads. */
static void
project_down(dl_net *net)
{
	const dl_params *p = net->p;
	dl_head_state *h = &net->head;
	size_t		size = (size_t) net->n_asks * (size_t) p->rank;

	if (p->head.lora_a == NULL)
		return;
	dl_product_nt(h->x, p->head.lora_a->value, net->n_asks, p->rank, (int) p->config.hidden, false, h->u);
	for (size_t i = 0; i < size; i++)
		h->u[i] *= p->scale;
}

/* What is normed, transformed and projected. */
void
dl_head_run(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	dl_head_state *h = &net->head;
	int			hidden = (int) c->hidden;
	int			n = net->n_asks;
	size_t		size = (size_t) n * (size_t) hidden;

	for (int i = 0; i < n; i++)
		memcpy(h->state + (size_t) i * (size_t) hidden, net->x[c->layers] + (size_t) h->token[i] * (size_t) hidden,
			   (size_t) hidden * sizeof(dl_real));
	if (c->final_norm)
		dl_norm_forward(c->norm, &p->final_norm, c->norm_eps, h->state, n, hidden, h->normed);
	if (c->head_transform)
	{
		dl_dense_forward(&p->head_dense, p->scale, h->normed, n, net->work.u, h->dense);
		dl_act_forward(DL_ACT_GELU_ERF, h->dense, size, h->act);
		dl_norm_forward(DL_NORM_LAYER, &p->head_norm, c->norm_eps, h->act, n, hidden, h->x);
	}
	project_down(net);
}

/* logits [asks, ids] of asks from `ask` on and ids from `id` on */
static void
project(const dl_net *net, int ask, int asks, int id, int ids, dl_real *logits)
{
	const dl_params *p = net->p;
	size_t		hidden = p->config.hidden;
	size_t		rank = (size_t) p->rank;

	dl_product_nt(net->head.x + (size_t) ask * hidden, p->head.w->value + (size_t) id * hidden, asks, ids, (int) hidden,
				  false, logits);
	if (p->head.lora_b != NULL)
		dl_product_nt(net->head.u + (size_t) ask * rank, p->head.lora_b->value + (size_t) id * rank, asks, ids, p->rank,
					  true, logits);
	for (int i = 0; p->head.b != NULL && i < asks; i++)
		for (int j = 0; j < ids; j++)
			logits[(size_t) i * (size_t) ids + (size_t) j] += p->head.b->value[id + j];
}

void
dl_net_logits(const dl_net *net, int i, dl_real *logits)
{
	project(net, i, 1, 0, (int) net->p->config.vocab, logits);
}

/* Fold logits [n] of ids from `id` on into ask i: running maximum, sum around it, target, sum of all. */
static void
fold(dl_head_state *h, int i, int id, int n, const dl_real *z)
{
	double		most = h->most[i];
	double		sum = 0;

	for (int j = 0; j < n; j++)
		if (z[j] > most)
		{
			most = z[j];
			h->best[i] = id + j;
		}
	for (int j = 0; j < n; j++)
	{
		sum += dl_real_exp(z[j] - (dl_real) most);
		h->z_sum[i] += z[j];
	}
	h->sum[i] = h->sum[i] * exp(h->most[i] - most) + sum;
	h->most[i] = most;
	if (h->target[i] >= id && h->target[i] < id + n)
		h->z_target[i] = z[h->target[i] - id];
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

static void
fold_block(dl_net *net, int ask, int asks, int id, int ids)
{
	for (int i = 0; i < asks; i++)
		fold(&net->head, ask + i, id, ids, net->head.logits + (size_t) i * (size_t) ids);
}

dlm_status
dl_net_loss(dl_net *net, double smoothing, dl_loss *out, dlm_error *err)
{
	dl_head_state *h = &net->head;
	double		vocab = net->p->config.vocab;

	if (!(smoothing >= 0 && smoothing < 1))
		return dl_fail(err, DLM_EINVAL, "", "label smoothing must be at least 0 and less than 1");
	net->smoothing = smoothing;
	*out = (dl_loss) {.asks = net->n_asks};
	for (int i = 0; i < net->n_asks; i++)
	{
		h->most[i] = -INFINITY;
		h->sum[i] = h->z_sum[i] = h->z_target[i] = 0;
		h->best[i] = -1;
	}
	walk_vocabulary(net, fold_block);
	for (int i = 0; i < net->n_asks; i++)
	{
		h->sum[i] = h->most[i] + log(h->sum[i]);
		out->loss += (double) h->weight[i] *
			(h->sum[i] - (1 - smoothing) * h->z_target[i] - smoothing / vocab * h->z_sum[i]);
		out->weight += (double) h->weight[i];
		out->correct += h->best[i] == h->target[i];
	}
	if (!isfinite(out->loss))
		return dl_fail(err, DLM_EDAMAGED, "Lower the learning rate, or look for damage in the model.",
					   "loss is not a finite number");
	return DLM_OK;
}

/* dz = weight (softmax - (1 - smoothing) [target] - smoothing / vocab), and where it goes. */
static void
block_back(dl_net *net, int ask, int asks, int id, int ids)
{
	const dl_params *p = net->p;
	dl_head_state *h = &net->head;
	size_t		hidden = p->config.hidden;
	dl_real		even = (dl_real) (net->smoothing / p->config.vocab);

	for (int i = 0; i < asks; i++)
	{
		dl_real    *z = h->logits + (size_t) i * (size_t) ids;
		dl_real		weight = (dl_real) h->weight[ask + i];
		int			target = h->target[ask + i] - id;

		for (int j = 0; j < ids; j++)
			z[j] = weight * (dl_real_exp(z[j] - (dl_real) h->sum[ask + i]) - even);
		if (target >= 0 && target < ids)
			z[target] -= weight * (dl_real) (1 - net->smoothing);
		for (int j = 0; p->head.b != NULL && p->head.b->grad != NULL && j < ids; j++)
			p->head.b->grad[id + j] += z[j];
	}
	dl_product_nn(h->logits, p->head.w->value + (size_t) id * hidden, asks, ids, (int) hidden, 1,
				  h->dx + (size_t) ask * hidden);
	if (p->head.w->grad != NULL)
		dl_product_tn(h->logits, h->x + (size_t) ask * hidden, asks, ids, (int) hidden, 1,
					  p->head.w->grad + (size_t) id * hidden);
	if (p->head.lora_b != NULL)
	{
		size_t		rank = (size_t) p->rank;

		dl_product_tn(h->logits, h->u + (size_t) ask * rank, asks, ids, p->rank, 1,
					  p->head.lora_b->grad + (size_t) id * rank);
		dl_product_nn(h->logits, p->head.lora_b->value + (size_t) id * rank, asks, ids, p->rank, 1,
					  h->du + (size_t) ask * rank);
	}
}

/* dA, and its share of dx, once du is complete. */
static void
project_down_back(dl_net *net)
{
	const dl_params *p = net->p;
	dl_head_state *h = &net->head;
	int			hidden = (int) p->config.hidden;

	if (p->head.lora_a == NULL)
		return;
	dl_product_tn(h->du, h->x, net->n_asks, p->rank, hidden, p->scale, p->head.lora_a->grad);
	dl_product_nn(h->du, p->head.lora_a->value, net->n_asks, p->rank, hidden, p->scale, h->dx);
}

void
dl_head_back(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	dl_head_state *h = &net->head;
	int			hidden = (int) c->hidden;
	int			n = net->n_asks;
	size_t		size = (size_t) n * (size_t) hidden;
	dl_real    *d = h->dx;

	memset(h->dx, 0, size * sizeof(dl_real));
	memset(net->work.g, 0, (size_t) net->n_tokens * (size_t) hidden * sizeof(dl_real));
	memset(h->du, 0, (size_t) n * (size_t) p->rank * sizeof(dl_real));
	walk_vocabulary(net, block_back);
	project_down_back(net);
	if (c->head_transform)
	{
		dl_norm_backward(DL_NORM_LAYER, &p->head_norm, c->norm_eps, h->act, d, n, hidden, false, d);
		dl_act_backward(DL_ACT_GELU_ERF, h->dense, d, size, d);
		memset(h->dnormed, 0, size * sizeof(dl_real));
		dl_dense_backward(&p->head_dense, p->scale, h->normed, d, n, net->work.u, h->dnormed);
		d = h->dnormed;
	}
	if (c->final_norm)
		dl_norm_backward(c->norm, &p->final_norm, c->norm_eps, h->state, d, n, hidden, false, d);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < hidden; j++)
			net->work.g[(size_t) h->token[i] * (size_t) hidden + (size_t) j] += d[(size_t) i * (size_t) hidden + (size_t) j];
}
