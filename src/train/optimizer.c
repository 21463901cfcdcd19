/*
 * optimizer.c - see optimizer.h.
 */
#include "optimizer.h"

#include <string.h>

#include "fmath.h"
#include "ops.h"
#include "status.h"

#define PI	3.14159265358979323846

/* base NULL only counts. */
static size_t
layout(dl_adamw *o, void *base)
{
	size_t		at = (sizeof(*o) + 63) & ~(size_t) 63;

	o->m = dl_carve_reals(base, &at, o->n);
	o->v = dl_carve_reals(base, &at, o->n);
	return at;
}

size_t
dl_adamw_bytes(size_t trained)
{
	dl_adamw	count = {.n = trained};

	return dl_block_bytes(layout(&count, NULL));
}

size_t
dl_train_bytes(const dlm_model *model, const dl_train_options *options, const dl_net_limits *limits, int threads)
{
	size_t		trained;
	size_t		params = dl_params_bytes(model, options, &trained);

	return params + dl_net_bytes(model, options, limits, threads) + dl_adamw_bytes(trained);
}

static bool
within(double x, double least, double below)
{
	return x >= least && x < below;
}

dlm_status
dl_adamw_create(dl_params *p, const dl_adamw_options *options, dl_adamw **out, dlm_error *err)
{
	dl_adamw	count = {.n = p->trained};
	size_t		bytes = layout(&count, NULL);
	dl_adamw   *o;

	if (!within(options->beta1, 0, 1) || !within(options->beta2, 0, 1))
		return dl_fail(err, DLM_EINVAL, "", "AdamW's betas must be at least 0 and less than 1");
	if (!(options->eps > 0) || !isfinite(options->eps))
		return dl_fail(err, DLM_EINVAL, "", "AdamW's epsilon must be a positive number");
	if (!within(options->decay, 0, INFINITY))
		return dl_fail(err, DLM_EINVAL, "", "weight decay must be at least 0");
	o = dl_arena_block(p->arena, bytes);
	if (o == NULL)
		return dl_fail_memory(err);
	memset(o, 0, bytes);
	*o = (dl_adamw) {.p = p, .options = *options, .power1 = 1, .power2 = 1, .n = count.n};
	layout(o, o);
	*out = o;
	return DLM_OK;
}

void
dl_adamw_free(dl_adamw *o)
{
	if (o != NULL)
		dl_arena_block_free(o->p->arena, o);
}

/* One tensor [n]; m and v are its part of the state. */
static void
step_tensor(const dl_adamw *o, const dl_param *e, double rate, dl_real *restrict m, dl_real *restrict v)
{
	dl_real		b1 = (dl_real) o->options.beta1;
	dl_real		b2 = (dl_real) o->options.beta2;
	dl_real		eps = (dl_real) o->options.eps;
	dl_real		keep = (dl_real) (1 - (e->matrix ? rate * o->options.decay : 0));
	dl_real		unbias1 = (dl_real) (rate / (1 - o->power1));
	dl_real		unbias2 = (dl_real) (1 / (1 - o->power2));
	const dl_real *restrict grad = e->grad;
	dl_real    *restrict value = e->value;

	for (size_t i = 0; i < e->n; i++)
	{
		dl_real		g = grad[i];

		m[i] = b1 * m[i] + (1 - b1) * g;
		v[i] = b2 * v[i] + (1 - b2) * g * g;
		value[i] = keep * value[i] - unbias1 * m[i] / (dl_real_sqrt(unbias2 * v[i]) + eps);
	}
}

void
dl_adamw_step(dl_adamw *o, double rate)
{
	size_t		at = 0;

	o->steps++;
	o->power1 *= o->options.beta1;
	o->power2 *= o->options.beta2;
	for (int i = 0; i < o->p->n; i++)
	{
		dl_param   *e = &o->p->list[i];

		if (e->grad == NULL)
			continue;
		step_tensor(o, e, rate, o->m + at, o->v + at);
		at += e->n;
	}
}

/* In lanes, which a compiler may keep in vectors without reordering anything. */
static double
sum_of_squares(const dl_real *x, size_t n)
{
	double		lane[DL_DOT_LANES] = {0};
	double		sum = 0;
	size_t		i = 0;

	for (; i + DL_DOT_LANES <= n; i += DL_DOT_LANES)
		for (int l = 0; l < DL_DOT_LANES; l++)
			lane[l] += (double) x[i + (size_t) l] * (double) x[i + (size_t) l];
	for (; i < n; i++)
		sum += (double) x[i] * (double) x[i];
	for (int l = 0; l < DL_DOT_LANES; l++)
		sum += lane[l];
	return sum;
}

double
dl_clip_gradients(dl_params *p, double scale, double most)
{
	double		squares = 0;
	double		norm;

	for (int i = 0; i < p->n; i++)
		squares += p->list[i].grad != NULL ? sum_of_squares(p->list[i].grad, p->list[i].n) : 0;
	norm = sqrt(squares) * fabs(scale);
	if (most > 0 && norm > most)
		scale *= most / norm;
	for (int i = 0; i < p->n && scale != 1; i++)
		for (size_t j = 0; p->list[i].grad != NULL && j < p->list[i].n; j++)
			p->list[i].grad[j] *= (dl_real) scale;
	return norm;
}

double
dl_rate_at(const dl_rate *r, int64_t step)
{
	double		s = (double) step;
	double		warmup = (double) r->warmup;

	if (step < r->warmup)
		return r->peak * s / warmup;
	switch (r->form)
	{
		case DL_RATE_COSINE:
			if (step >= r->steps)
				return r->last;
			return r->last + (r->peak - r->last) * (1 + dl_cos(PI * (s - warmup) / ((double) r->steps - warmup))) / 2;
		case DL_RATE_INVERSE_SQRT:
			return r->peak * sqrt((warmup > 1 ? warmup : 1) / s);
		default:
			return r->peak;
	}
}
