/*
 * ops_row.c - norms, activations and rotary positions; see ops.h.
 */
#include "ops.h"

#define SQRT_HALF		0.70710678118654752440
#define INV_SQRT_2PI	0.39894228040143267794
#define GELU_SCALE		0.79788456080286535588	/* sqrt(2 / pi) */
#define GELU_CUBE		0.044715

typedef struct moments
{
	dl_real		mean;			/* 0 for RMS */
	dl_real		inverse;		/* 1 / sqrt(mean of squares around it + eps) */
} moments;

static moments
moments_of(uint32_t kind, double eps, const dl_real *x, int n)
{
	double		sum = 0;
	double		squares = 0;
	double		mean = 0;

	for (int i = 0; kind == DL_NORM_LAYER && i < n; i++)
		sum += x[i];
	mean = sum / n;
	for (int i = 0; i < n; i++)
		squares += ((double) x[i] - mean) * ((double) x[i] - mean);
	return (moments) {(dl_real) mean, (dl_real) (1 / sqrt(squares / n + eps))};
}

void
dl_norm_forward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, int m, int n, dl_real *y)
{
	for (int row = 0; row < m; row++, x += n, y += n)
	{
		moments		s = moments_of(kind, eps, x, n);

		for (int i = 0; i < n; i++)
			y[i] = (x[i] - s.mean) * s.inverse * p->w->value[i] + (p->b != NULL ? p->b->value[i] : 0);
	}
}

void
dl_norm_backward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, const dl_real *dy, int m, int n,
				 bool add, dl_real *dx)
{
	for (int row = 0; row < m; row++, x += n, dy += n, dx += n)
	{
		moments		s = moments_of(kind, eps, x, n);
		double		sum = 0;
		double		along = 0;

		for (int i = 0; i < n; i++)
		{
			dl_real		h = (x[i] - s.mean) * s.inverse;
			dl_real		e = dy[i] * p->w->value[i];

			sum += e;
			along += e * h;
			if (p->w->grad != NULL)
				p->w->grad[i] += dy[i] * h;
			if (p->b != NULL && p->b->grad != NULL)
				p->b->grad[i] += dy[i];
		}
		sum = kind == DL_NORM_LAYER ? sum / n : 0;
		along /= n;
		for (int i = 0; i < n; i++)
		{
			dl_real		h = (x[i] - s.mean) * s.inverse;
			dl_real		d = s.inverse * (dy[i] * p->w->value[i] - (dl_real) sum - h * (dl_real) along);

			dx[i] = add ? dx[i] + d : d;
		}
	}
}

/* 1 / (1 + exp(-x)) */
static dl_real
sigmoid(dl_real x)
{
	return 1 / (1 + dl_real_exp(-x));
}

void
dl_act_forward(uint32_t act, const dl_real *x, size_t n, dl_real *y)
{
	for (size_t i = 0; i < n; i++)
	{
		dl_real		t = x[i];

		if (act == DL_ACT_GELU_ERF)
			y[i] = t / 2 * (1 + dl_real_erf(t * (dl_real) SQRT_HALF));
		else if (act == DL_ACT_GELU_TANH)
			y[i] = t / 2 * (1 + dl_real_tanh((dl_real) GELU_SCALE * (t + (dl_real) GELU_CUBE * t * t * t)));
		else if (act == DL_ACT_SILU)
			y[i] = t * sigmoid(t);
		else
			y[i] = t > 0 ? t : 0;
	}
}

static dl_real
act_slope(uint32_t act, dl_real t)
{
	dl_real		s;

	switch (act)
	{
		case DL_ACT_GELU_ERF:
			return (1 + dl_real_erf(t * (dl_real) SQRT_HALF)) / 2 +
				t * (dl_real) INV_SQRT_2PI * dl_real_exp(-t * t / 2);
		case DL_ACT_GELU_TANH:
			s = dl_real_tanh((dl_real) GELU_SCALE * (t + (dl_real) GELU_CUBE * t * t * t));
			return (1 + s) / 2 +
				t / 2 * (1 - s * s) * (dl_real) GELU_SCALE * (1 + 3 * (dl_real) GELU_CUBE * t * t);
		case DL_ACT_SILU:
			s = sigmoid(t);
			return s * (1 + t * (1 - s));
		default:
			return t > 0 ? 1 : 0;
	}
}

void
dl_act_backward(uint32_t act, const dl_real *x, const dl_real *dy, size_t n, dl_real *dx)
{
	for (size_t i = 0; i < n; i++)
		dx[i] = dy[i] * act_slope(act, x[i]);
}

void
dl_rope_turn(dl_real *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i++)
	{
		dl_real		a = x[i],
					b = x[half + i];

		x[i] = a * (dl_real) cosine[i] - b * (dl_real) sine[i];
		x[half + i] = b * (dl_real) cosine[i] + a * (dl_real) sine[i];
	}
}

void
dl_rope_back(dl_real *x, const float *cosine, const float *sine, int half)
{
	for (int i = 0; i < half; i++)
	{
		dl_real		a = x[i],
					b = x[half + i];

		x[i] = a * (dl_real) cosine[i] + b * (dl_real) sine[i];
		x[half + i] = b * (dl_real) cosine[i] - a * (dl_real) sine[i];
	}
}
