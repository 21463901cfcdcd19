/*
 * length_head.c - how long will the answer be? (Ye et al. 2023; the paper's
 * code, and diffusion-algorithms 1.5)
 *
 * On the backbone's last states: one transformer encoder layer in PyTorch's
 * default form (attention with as many heads as the backbone, residual, norm,
 * feed-forward with ReLU, residual, norm; LayerNorm eps 1e-5), the mean over
 * positions, Linear, Tanh, Linear, log-softmax. Class c means c + 1 tokens.
 */
#include "attention.h"
#include "fmath.h"
#include "forward.h"
#include "linear.h"
#include "status.h"
#include "threads.h"

#include <math.h>
#include <string.h>

#define NORM_EPS	1e-5f		/* PyTorch's TransformerEncoderLayer */
#define QUERIES		16			/* of one attention item */

typedef struct length_run
{
	const dlm_model *model;
	const dl_kernels *kernels;
	dl_team    *team;
	int			n;				/* positions */
	size_t		hidden;
	dl_heads	heads;
	int			capacity;		/* of the key space */
	size_t		scores_ld;
	size_t		scratch_floats;
	float	   *x,				/* [n, hidden] */
			   *q,				/* [n, hidden]: queries, then attention's output */
			   *t,				/* [n, hidden] */
			   *k,				/* [n, hidden] */
			   *v,				/* [n, hidden] */
			   *keys,			/* key space */
			   *ffn,			/* [n, length_ffn] */
			   *scratch,		/* [team] */
			   *mean,			/* [hidden] */
			   *inner,			/* [length_hidden] */
			   *logits;			/* [length_classes] */
	void	   *quantized;
} length_run;

static float *
floats(dl_arena *a, size_t count)
{
	return dl_arena_calloc(a, count, sizeof(float));
}

static bool
allocate(length_run *r, dl_arena *a)
{
	const dl_config *c = &r->model->config;
	size_t		n = (size_t) r->n;
	size_t		widest = r->hidden > c->length_ffn ? r->hidden : c->length_ffn;
	size_t		m = (size_t) QUERIES;

	if (c->length_hidden > widest)
		widest = c->length_hidden;
	r->capacity = (r->n + DL_PANEL - 1) / DL_PANEL * DL_PANEL;
	r->scores_ld = (n + DL_PANEL) & ~(size_t) (DL_PANEL - 1);
	r->scratch_floats = m * (r->scores_ld + (size_t) (r->heads.dim + r->heads.value_dim));
	r->x = floats(a, n * r->hidden);
	r->q = floats(a, n * r->hidden);
	r->t = floats(a, n * r->hidden);
	r->k = floats(a, n * r->hidden);
	r->v = floats(a, n * r->hidden);
	r->keys = floats(a, dl_keys_floats(&r->heads, r->capacity));
	r->ffn = floats(a, n * c->length_ffn);
	r->scratch = floats(a, (size_t) dl_team_size(r->team) * r->scratch_floats);
	r->mean = floats(a, r->hidden);
	r->inner = floats(a, c->length_hidden);
	r->logits = floats(a, c->length_classes);
	r->quantized = dl_arena_alloc(a, dl_linear_scratch(r->n, (int) widest));
	return r->x && r->q && r->t && r->k && r->v && r->keys && r->ffn && r->scratch && r->mean && r->inner &&
		r->logits && r->quantized;
}

static void
linear(length_run *r, const dl_matrix *w, const float *x, int rows, float *y)
{
	dl_linear(r->kernels, r->team, w, x, (size_t) w->k, rows, y, (size_t) w->n, r->quantized);
}

/* x = norm(x + t) */
static void
residual(length_run *r, const dl_vectors *norm)
{
	for (int i = 0; i < r->n; i++)
	{
		float	   *x = r->x + (size_t) i * r->hidden;

		r->kernels->add(x, r->t + (size_t) i * r->hidden, (int) r->hidden);
		r->kernels->layer_norm(x, norm->w, norm->b, NORM_EPS, (int) r->hidden, x);
	}
}

static void
attend_item(void *arg, int item, int thread)
{
	length_run *r = arg;
	const dl_heads *h = &r->heads;
	size_t		dim = (size_t) h->dim;
	int			head = item % h->kv_heads;
	int			first = item / h->kv_heads * QUERIES;
	int			n = r->n - first < QUERIES ? r->n - first : QUERIES;
	dl_keys		none = {NULL, NULL, 0};
	dl_keys		keys = dl_keys_at(h, r->keys, r->capacity, head, r->n);
	float	   *q = r->scratch + (size_t) thread * r->scratch_floats;
	float	   *out = q + QUERIES * dim;
	float	   *at = r->q + (size_t) first * r->hidden + (size_t) head * dim;

	for (int i = 0; i < n; i++)
		memcpy(q + (size_t) i * dim, at + (size_t) i * r->hidden, dim * sizeof(float));
	dl_attend(r->kernels, h, &none, &keys, q, n, NULL, out + QUERIES * (size_t) h->value_dim, r->scores_ld, out);
	for (int i = 0; i < n; i++)
		memcpy(at + (size_t) i * r->hidden, out + (size_t) i * (size_t) h->value_dim, dim * sizeof(float));
}

static void
encoder_layer(length_run *r)
{
	const dl_length_head *l = &r->model->length;
	float		scale = 1.0f / sqrtf((float) r->heads.dim);
	size_t		all = (size_t) r->n * r->hidden;

	linear(r, &l->q, r->x, r->n, r->q);
	linear(r, &l->k, r->x, r->n, r->k);
	linear(r, &l->v, r->x, r->n, r->v);
	for (size_t i = 0; i < all; i++)
		r->q[i] *= scale;
	for (int i = 0; i < r->n; i++)
		dl_keys_store(&r->heads, r->keys, r->capacity, i, r->k + (size_t) i * r->hidden,
					  r->v + (size_t) i * r->hidden);
	dl_parallel(r->team, (r->n + QUERIES - 1) / QUERIES * r->heads.kv_heads, attend_item, r);
	linear(r, &l->o, r->q, r->n, r->t);
	residual(r, &l->norm1);
	linear(r, &l->up, r->x, r->n, r->ffn);
	for (int i = 0; i < r->n; i++)
		r->kernels->relu(r->ffn + (size_t) i * (size_t) l->up.n, l->up.n);
	linear(r, &l->down, r->ffn, r->n, r->t);
	residual(r, &l->norm2);
}

/* The mean over positions, in their order; Linear, Tanh, Linear. */
static void
predict(length_run *r)
{
	const dl_length_head *l = &r->model->length;

	for (int i = 0; i < r->n; i++)
		r->kernels->add(r->mean, r->x + (size_t) i * r->hidden, (int) r->hidden);
	for (size_t i = 0; i < r->hidden; i++)
		r->mean[i] /= (float) r->n;
	linear(r, &l->hidden, r->mean, 1, r->inner);
	r->kernels->tanh(r->inner, l->hidden.n);
	linear(r, &l->out, r->inner, 1, r->logits);
}

static dlm_status
log_softmax(const length_run *r, int n, float *logprobs, dlm_error *err)
{
	float		most = r->kernels->max(r->logits, n);
	float		z = r->kernels->exp_sum(r->logits, most, n, logprobs);
	double		log_z = dl_log((double) z);

	for (int i = 0; i < n; i++)
	{
		if (!isfinite(r->logits[i]))
			return dl_fail(err, DLM_EDAMAGED, "Run dlm-model verify on the model's file.",
						   "length head gave logits that are not finite");
		logprobs[i] = (float) ((double) r->logits[i] - (double) most - log_z);
	}
	return DLM_OK;
}

dlm_status
dl_length_head_run(const dlm_model *model, const float *states, int n, dl_team *team, uint32_t cpu_mask,
				   dl_arena *a, float *logprobs, dlm_error *err)
{
	const dl_config *c = &model->config;
	length_run	r = {.model = model, .kernels = dl_kernels_get(cpu_mask), .team = team, .n = n,
		.hidden = c->hidden};
	dl_mark		mark = dl_arena_mark(a);
	uint64_t	saved;
	dlm_status	st;

	if (c->length_classes == 0)
		return dl_fail(err, DLM_EINVAL, "", "model has no length head");
	if (n < 1 || (uint32_t) n > c->context)
		return dl_fail(err, DLM_EINVAL, "", "length head needs 1 to %u states, not %d", c->context, n);
	r.heads = dl_heads_of((int) c->heads, (int) c->heads, (int) (c->hidden / c->heads));
	if (!allocate(&r, a))
	{
		dl_arena_rewind(a, mark);
		return dl_fail_memory(err);
	}
	saved = dl_fp_enter();
	memcpy(r.x, states, (size_t) n * r.hidden * sizeof(float));
	encoder_layer(&r);
	predict(&r);
	st = log_softmax(&r, (int) c->length_classes, logprobs, err);
	dl_fp_leave(saved);
	dl_arena_rewind(a, mark);
	return st;
}
