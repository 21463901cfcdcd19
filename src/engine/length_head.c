/*
 * length_head.c - how long will the answer be? (Ye et al. 2023; the paper's
 * code, and diffusion-algorithms 1.5)
 *
 * On a row's last states: one transformer encoder layer in PyTorch's default
 * form (attention with as many heads as the backbone, residual, norm,
 * feed-forward with ReLU, residual, norm; LayerNorm eps 1e-5), the mean over
 * positions, Linear, Tanh, Linear, log-softmax. Class c means c + 1 tokens.
 *
 * It runs in the slices of the forward pass: f->at is the row, f->op the
 * operation, f->inner the first token of the chunk or the attention item.
 */
#include "fmath.h"
#include "forward_impl.h"

#include <math.h>
#include <string.h>

#define NORM_EPS	1e-5f		/* PyTorch's TransformerEncoderLayer */
#define QUERIES		16			/* of one attention item */
#define COST_ROW	16			/* multiply-adds an element of residual, norm and mean, roughly */

/* Operations, in their order. The first four, and those from LH_O to LH_SECOND_NORM, go chunk by chunk. */
enum
{
	LH_K, LH_V, LH_Q, LH_STORE, LH_ATTEND, LH_O, LH_FIRST_NORM, LH_UP, LH_RELU, LH_DOWN, LH_SECOND_NORM,
	LH_HIDDEN, LH_TANH, LH_OUT, LH_SOFTMAX
};

/* What of the workspace it needs for rows of at most n tokens; at base NULL only counts. */
size_t
dl_length_carve(dl_length_work *w, const dlm_model *m, int n, void *base, size_t at)
{
	const dl_config *c = &m->config;
	size_t		hidden = c->hidden;
	size_t		chunk = n < DL_CHUNK ? (size_t) n : DL_CHUNK;

	if (n == 0)
		return at;
	w->heads = dl_heads_of((int) c->heads, (int) c->heads, (int) (c->hidden / c->heads));
	w->capacity = (n + DL_PANEL - 1) / DL_PANEL * DL_PANEL;
	w->scores_ld = dl_scores_width(n);
	w->q = dl_carve(base, &at, (size_t) n * hidden, sizeof(float));
	w->keys = dl_carve(base, &at, dl_keys_floats(&w->heads, w->capacity), sizeof(float));
	w->k = dl_carve(base, &at, chunk * hidden, sizeof(float));
	w->v = dl_carve(base, &at, chunk * hidden, sizeof(float));
	w->ffn = dl_carve(base, &at, chunk * c->length_ffn, sizeof(float));
	w->mean = dl_carve(base, &at, hidden, sizeof(float));
	w->inner = dl_carve(base, &at, c->length_hidden, sizeof(float));
	w->logits = dl_carve(base, &at, c->length_classes, sizeof(float));
	return at;
}

/* Floats of a thread's attention scratch. */
size_t
dl_length_scratch(const dlm_model *m, int n)
{
	dl_heads	h = dl_heads_of((int) m->config.heads, (int) m->config.heads,
								(int) (m->config.hidden / m->config.heads));

	return QUERIES * (((size_t) n + 2 * DL_PANEL) + (size_t) (h.dim + h.value_dim));
}

static void
attend_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dl_length_work *w = &f->length;
	const dl_heads *h = &w->heads;
	int			row_n = f->plans[f->at].n_fixed + f->plans[f->at].n_live;
	size_t		hidden = f->model->config.hidden;
	size_t		dim = (size_t) h->dim;
	int			head = (f->inner + item) % h->kv_heads;
	int			first = (f->inner + item) / h->kv_heads * QUERIES;
	int			n = row_n - first < QUERIES ? row_n - first : QUERIES;
	dl_keys		none = {NULL, NULL, 0};
	dl_keys		keys = dl_keys_at(h, w->keys, w->capacity, head, row_n);
	float	   *q = f->scratch + (size_t) thread * f->scratch_floats;
	float	   *out = q + QUERIES * dim;
	float	   *at = w->q + (size_t) first * hidden + (size_t) head * dim;

	for (int i = 0; i < n; i++)
		memcpy(q + (size_t) i * dim, at + (size_t) i * hidden, dim * sizeof(float));
	dl_attend(f->kernels, h, &none, &keys, q, n, NULL, out + QUERIES * (size_t) h->value_dim, w->scores_ld, out);
	for (int i = 0; i < n; i++)
		memcpy(at + (size_t) i * hidden, out + (size_t) i * (size_t) h->value_dim, dim * sizeof(float));
}

/* Some attention items; true when all are done. */
static bool
attend(dl_forward *f, int n)
{
	const dl_heads *h = &f->length.heads;
	int			items = (n + QUERIES - 1) / QUERIES * h->kv_heads;
	int64_t		cost = (int64_t) QUERIES * n * (2 * h->dim + 12);
	int			some = items - f->inner;

	if (some * cost > f->left)
		some = f->left < cost ? 1 : (int) (f->left / cost);
	dl_parallel(f->team, some, attend_item, f);
	f->left -= some * cost;
	f->inner += some;
	return f->inner == items;
}

/* Scale the queries of a chunk, store its keys and values. */
static void
store(dl_forward *f, int n)
{
	dl_length_work *w = &f->length;
	size_t		hidden = f->model->config.hidden;
	float	   *q = w->q + (size_t) f->inner * hidden;
	float		scale = 1.0f / sqrtf((float) w->heads.dim);

	for (size_t i = 0; i < (size_t) n * hidden; i++)
		q[i] *= scale;
	dl_keys_store(&w->heads, w->keys, w->capacity, f->inner, n, w->k, w->v, hidden);
	f->left -= (int64_t) n * (int64_t) hidden * 4;
}

/* x = norm(x + t), over a chunk; the second time also the sum of states, in the order of tokens */
static void
residual(dl_forward *f, float *x, int n, const dl_vectors *norm, bool sum)
{
	int			hidden = (int) f->model->config.hidden;

	for (int i = 0; i < n; i++, x += f->hidden_ld)
	{
		f->kernels->add(x, f->t + (size_t) i * (size_t) hidden, hidden);
		f->kernels->layer_norm(x, norm->w, norm->b, NORM_EPS, hidden, x);
		if (sum)
			f->kernels->add(f->length.mean, x, hidden);
	}
	f->left -= (int64_t) n * hidden * COST_ROW;
}

static void
softmax(dl_forward *f, float *logprobs)
{
	const float *logits = f->length.logits;
	int			n = (int) f->model->config.length_classes;
	float		most = f->kernels->max(logits, n);
	double		log_z = dl_log((double) f->kernels->exp_sum(logits, most, n, logprobs));

	for (int i = 0; i < n; i++)
	{
		if (!isfinite(logits[i]))
			f->bad[0] = true;
		logprobs[i] = (float) ((double) logits[i] - (double) most - log_z);
	}
}

/* One operation of the encoder layer over the chunk of n tokens at x; true when it is complete. */
static bool
layer_unit(dl_forward *f, float *x, int n)
{
	const dl_length_head *l = &f->model->length;
	dl_length_work *w = &f->length;
	size_t		hidden = f->model->config.hidden;
	size_t		ffn = f->model->config.length_ffn;
	float	   *q = w->q + (size_t) f->inner * hidden;

	switch (f->op)
	{
		case LH_K:
			return dl_product_unit(f, &l->k, x, f->hidden_ld, n, w->k, hidden);
		case LH_V:
			return dl_product_unit(f, &l->v, x, f->hidden_ld, n, w->v, hidden);
		case LH_Q:
			return dl_product_unit(f, &l->q, x, f->hidden_ld, n, q, hidden);
		case LH_STORE:
			store(f, n);
			return true;
		case LH_O:
			return dl_product_unit(f, &l->o, q, hidden, n, f->t, hidden);
		case LH_FIRST_NORM:
			residual(f, x, n, &l->norm1, false);
			return true;
		case LH_UP:
			return dl_product_unit(f, &l->up, x, f->hidden_ld, n, w->ffn, ffn);
		case LH_RELU:
			for (int i = 0; i < n; i++)
				f->kernels->relu(w->ffn + (size_t) i * ffn, (int) ffn);
			return true;
		case LH_DOWN:
			return dl_product_unit(f, &l->down, w->ffn, ffn, n, f->t, hidden);
		default:
			residual(f, x, n, &l->norm2, true);
			return true;
	}
}

/* The pooled state through the small network; true when the row's scores are written. */
static bool
predict_unit(dl_forward *f, int n, float *logprobs)
{
	const dl_length_head *l = &f->model->length;
	dl_length_work *w = &f->length;
	size_t		hidden = f->model->config.hidden;
	bool		done = true;

	switch (f->op)
	{
		case LH_HIDDEN:
			if (f->panel == 0)
				for (size_t i = 0; i < hidden; i++)
					w->mean[i] /= (float) n;
			done = dl_product_unit(f, &l->hidden, w->mean, hidden, 1, w->inner, (size_t) l->hidden.n);
			break;
		case LH_TANH:
			f->kernels->tanh(w->inner, l->hidden.n);
			break;
		case LH_OUT:
			done = dl_product_unit(f, &l->out, w->inner, (size_t) l->out.k, 1, w->logits, (size_t) l->out.n);
			break;
		default:
			softmax(f, logprobs);
			return true;
	}
	f->op += done;
	return false;
}

bool
dl_length_unit(dl_forward *f)
{
	const dl_row *r = &f->rows[f->at];
	const dl_row_plan *p = &f->plans[f->at];
	size_t		hidden = f->model->config.hidden;
	float	   *x = f->x + (size_t) p->first_needed * f->hidden_ld;
	int			n;

	if (r->lengths == NULL)
		return true;
	if (f->op == LH_K && f->inner == 0 && f->panel == 0)
		memset(f->length.mean, 0, hidden * sizeof(float));
	if (f->op == LH_ATTEND)
	{
		if (attend(f, r->n))
		{
			f->op++;
			f->inner = 0;
		}
		return false;
	}
	if (f->op >= LH_HIDDEN)
		return predict_unit(f, r->n, r->lengths);
	n = dl_chunk_size(r->n, f->inner);
	if (!layer_unit(f, x + (size_t) f->inner * f->hidden_ld, n))
		return false;
	if (f->op != LH_STORE && f->op != LH_SECOND_NORM)
	{
		f->op++;
		return false;
	}
	f->inner += n;				/* the same operations on the next chunk, or the next ones */
	if (f->inner < r->n)
		f->op = f->op == LH_STORE ? LH_K : LH_O;
	else
	{
		f->op++;
		f->inner = 0;
	}
	return false;
}
