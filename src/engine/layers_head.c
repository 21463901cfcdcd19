/*
 * layers_head.c - after the last layer: final norm, hidden states, logits.
 *
 * Logits of a few asked positions at a time are computed, checked and handed
 * to their sinks; a matrix [asks, vocab] never exists.
 */
#include "forward_impl.h"

#include <string.h>

#define TOKENS_PER_ITEM	8
#define COST_SINK		8		/* multiply-adds an element, roughly */

static void
final_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dlm_model *m = f->model;
	size_t		n = m->config.hidden;
	int			first = f->at + item * TOKENS_PER_ITEM;
	int			end = f->at + dl_chunk_size(f->n_needed, f->at);

	for (int i = first; i < end && i < first + TOKENS_PER_ITEM; i++)
	{
		const dl_token *t = &f->tokens[f->needed[i]];
		float	   *hidden = f->rows[t->row].hidden;
		float	   *x = f->x + (size_t) i * f->hidden_ld;

		if (m->config.final_norm && m->config.norm == DL_NORM_RMS)
			f->kernels->rms_norm(x, m->final_norm.w, m->config.norm_eps, (int) n, x);
		else if (m->config.final_norm)
			f->kernels->layer_norm(x, m->final_norm.w, m->final_norm.b, m->config.norm_eps, (int) n, x);
		if (hidden != NULL)
			memcpy(hidden + (size_t) t->position * n, x, n * sizeof(float));
	}
}

bool
dl_final_chunk(dl_forward *f)
{
	int			n = dl_chunk_size(f->n_needed, f->at);

	dl_parallel(f->team, (n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, final_item, f);
	f->left -= (int64_t) n * f->model->config.hidden * 4;
	return true;
}

/* Dense, GELU and LayerNorm of the asked rows, in f->h. */
static void
transform_rows(dl_forward *f, int n)
{
	const dlm_model *m = f->model;
	size_t		hidden = m->config.hidden;

	for (int i = 0; i < n; i++)
	{
		float	   *t = f->t + (size_t) i * hidden;

		f->kernels->gelu_erf(t, (int) hidden);
		f->kernels->layer_norm(t, m->head_norm.w, m->head_norm.b, m->config.norm_eps, (int) hidden,
							   f->h + (size_t) i * hidden);
	}
	f->left -= (int64_t) n * (int64_t) hidden * 16;
}

static bool
all_finite(const float *x, int n)
{
	uint32_t	bad = 0;

	for (int i = 0; i < n; i++)
	{
		uint32_t	bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bad |= (bits & 0x7f800000u) == 0x7f800000u;
	}
	return bad == 0;
}

/* The sinks of asks f->panel .. of the chunk. */
static void
sink_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dl_ask *a = &f->asks[f->at + f->panel + item];
	const dl_row *r = &f->rows[a->row];
	int			vocab = (int) f->model->config.vocab;
	float	   *logits = f->logits + (size_t) (f->panel + item) * (size_t) vocab;

	if (all_finite(logits, vocab))
		r->sink(r->ctx, a->index, logits);
	else
		f->bad[thread] = true;
}

static bool
sink_some(dl_forward *f, int n)
{
	int64_t		cost = (int64_t) f->model->config.vocab * COST_SINK;
	int			some = n - f->panel;

	if (some * cost > f->left)
		some = f->left < cost ? 1 : (int) (f->left / cost);
	dl_parallel(f->team, some, sink_item, f);
	f->left -= some * cost;
	f->panel += some;
	return f->panel == n;
}

bool
dl_head_chunk(dl_forward *f)
{
	const dlm_model *m = f->model;
	size_t		hidden = m->config.hidden;
	int			n = f->n_asks - f->at < f->head_chunk ? f->n_asks - f->at : f->head_chunk;
	bool		done = true;

	switch (f->op)
	{
		case 0:
			for (int i = 0; i < n; i++)
				memcpy(f->h + (size_t) i * hidden, f->x + (size_t) f->asks[f->at + i].needed * f->hidden_ld,
					   hidden * sizeof(float));
			break;
		case 1:
			if (m->config.head_transform)
				done = dl_product_unit(f, &m->head_dense, f->h, hidden, n, f->t, hidden);
			break;
		case 2:
			if (m->config.head_transform)
				transform_rows(f, n);
			break;
		case 3:
			done = dl_product_unit(f, &m->head, f->h, hidden, n, f->logits, m->config.vocab);
			break;
		default:
			done = sink_some(f, n);
			if (done)
				f->panel = 0;
			return done;
	}
	f->op += done;
	return false;
}
