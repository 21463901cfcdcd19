/*
 * ops_row.c - norms, activations and rotary positions; see ops.h.
 */
#include "ops.h"

#include <string.h>

#define PIECE			256		/* numbers that an activation takes at a time */
#define SQRT_HALF		0.70710678118654752440
#define INV_SQRT_2PI	0.39894228040143267794
#define GELU_SCALE		0.79788456080286535588	/* sqrt(2 / pi) */
#define GELU_CUBE		0.044715

typedef struct moments
{
	dl_real		mean;			/* 0 for RMS */
	dl_real		inverse;		/* 1 / sqrt(mean of squares around it + eps) */
} moments;

/* Sum of (x - mean)^2 in lanes, and of x for a mean. */
static dl_real
sum_around(const dl_real *x, dl_real mean, int n, bool squared)
{
	dl_real		lane[DL_DOT_LANES] = {0};
	dl_real		sum = 0;
	int			i = 0;

	for (; i + DL_DOT_LANES <= n; i += DL_DOT_LANES)
		for (int l = 0; l < DL_DOT_LANES; l++)
			lane[l] += squared ? (x[i + l] - mean) * (x[i + l] - mean) : x[i + l];
	for (; i < n; i++)
		sum += squared ? (x[i] - mean) * (x[i] - mean) : x[i];
	for (int l = 0; l < DL_DOT_LANES; l++)
		sum += lane[l];
	return sum;
}

static moments
moments_of(uint32_t kind, double eps, const dl_real *x, int n)
{
	dl_real		mean = kind == DL_NORM_LAYER ? sum_around(x, 0, n, false) / (dl_real) n : 0;
	dl_real		squares = sum_around(x, mean, n, true);

	return (moments) {mean, (dl_real) (1 / sqrt((double) squares / n + eps))};
}

void
dl_norm_forward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, int n, dl_real *y)
{
	moments		s = moments_of(kind, eps, x, n);

	for (int i = 0; i < n; i++)
		y[i] = (x[i] - s.mean) * s.inverse * p->w->value[i];
	if (p->b != NULL)
		dl_add_scaled(y, p->b->value, 1, (size_t) n);
}

static inline void
add_slope(dl_real e, dl_real h, dl_real *sum, dl_real *along)
{
	*sum += e;
	*along += e * h;
}

void
dl_norm_backward(uint32_t kind, const dl_norm_params *p, double eps, const dl_real *x, const dl_real *dy, int n,
				 bool add, dl_real *dx, dl_real *dw, dl_real *db)
{
	moments		s = moments_of(kind, eps, x, n);
	const dl_real *w = p->w->value;
	dl_real		lane[2][DL_DOT_LANES] = {{0}};
	dl_real		sum = 0;
	dl_real		along = 0;
	int			i = 0;

	for (; i + DL_DOT_LANES <= n; i += DL_DOT_LANES)
		for (int l = 0; l < DL_DOT_LANES; l++)
			add_slope(dy[i + l] * w[i + l], (x[i + l] - s.mean) * s.inverse, &lane[0][l], &lane[1][l]);
	for (int l = 0; i + l < n; l++)
		add_slope(dy[i + l] * w[i + l], (x[i + l] - s.mean) * s.inverse, &lane[0][l], &lane[1][l]);
	for (int l = 0; l < DL_DOT_LANES; l++)
	{
		sum += lane[0][l];
		along += lane[1][l];
	}
	sum = kind == DL_NORM_LAYER ? sum / (dl_real) n : 0;
	along /= (dl_real) n;
	for (i = 0; dw != NULL && i < n; i++)
		dw[i] += dy[i] * ((x[i] - s.mean) * s.inverse);
	for (i = 0; db != NULL && i < n; i++)
		db[i] += dy[i];
	for (i = 0; i < n; i++)
	{
		dl_real		d = s.inverse * (dy[i] * w[i] - sum - (x[i] - s.mean) * s.inverse * along);

		dx[i] = add ? dx[i] + d : d;
	}
}

/* ------------------------------------------------------------- activations */

#ifdef DL_TRAIN_DOUBLE

dl_real
dl_exp_row(const dl_exec *e, const dl_real *x, dl_real shift, int n, dl_real *y)
{
	dl_real		sum = 0;

	for (int i = 0; i < n; i++)
		sum += y[i] = exp(x[i] - shift);
	return sum;
}

dl_real
dl_most(const dl_exec *e, const dl_real *x, int n)
{
	dl_real		most = x[0];

	for (int i = 1; i < n; i++)
		most = x[i] > most ? x[i] : most;
	return most;
}

void
dl_add_row(const dl_exec *e, dl_real *y, const dl_real *x, int n)
{
	dl_add_scaled(y, x, 1, (size_t) n);
}

static void
tanh_row(const dl_exec *e, dl_real *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = tanh(x[i]);
}

/* Phi(x): the share of a normal variable below x */
static void
normal_share(const dl_exec *e, const dl_real *x, int n, dl_real *y)
{
	for (int i = 0; i < n; i++)
		y[i] = (1 + erf(x[i] * SQRT_HALF)) / 2;
}

#else

dl_real
dl_exp_row(const dl_exec *e, const dl_real *x, dl_real shift, int n, dl_real *y)
{
	return e->kernels->exp_sum(x, shift, n, y);
}

dl_real
dl_most(const dl_exec *e, const dl_real *x, int n)
{
	return e->kernels->max(x, n);
}

void
dl_add_row(const dl_exec *e, dl_real *y, const dl_real *x, int n)
{
	e->kernels->add(y, x, n);
}

static void
tanh_row(const dl_exec *e, dl_real *x, int n)
{
	e->kernels->tanh(x, n);
}

/* The kernel gives x Phi(x); near zero, where that says little of Phi, its tangent does. */
static void
normal_share(const dl_exec *e, const dl_real *x, int n, dl_real *y)
{
	memcpy(y, x, (size_t) n * sizeof(dl_real));
	e->kernels->gelu_erf(y, n);
	for (int i = 0; i < n; i++)
		y[i] = fabsf(x[i]) > 1e-4f ? y[i] / x[i] : 0.5f + (float) INV_SQRT_2PI * x[i];
}

#endif

/* y[n] = 1 / (1 + exp(-x)); beyond -80 it no longer matters */
static void
sigmoid(const dl_exec *e, const dl_real *x, int n, dl_real *y)
{
	for (int i = 0; i < n; i++)
		y[i] = x[i] > -80 ? -x[i] : 80;
	(void) dl_exp_row(e, y, 0, n, y);
	for (int i = 0; i < n; i++)
		y[i] = 1 / (1 + y[i]);
}

/* y[n] = tanh(sqrt(2 / pi) (x + c x^3)) */
static void
gelu_tanh(const dl_exec *e, const dl_real *x, int n, dl_real *y)
{
	for (int i = 0; i < n; i++)
		y[i] = (dl_real) GELU_SCALE * (x[i] + (dl_real) GELU_CUBE * x[i] * x[i] * x[i]);
	tanh_row(e, y, n);
}

static void
act_piece(const dl_exec *e, uint32_t act, const dl_real *x, int n, dl_real *y)
{
	dl_real		s[PIECE];

	switch (act)
	{
		case DL_ACT_GELU_ERF:
			normal_share(e, x, n, s);
			break;
		case DL_ACT_GELU_TANH:
			gelu_tanh(e, x, n, s);
			for (int i = 0; i < n; i++)
				s[i] = (1 + s[i]) / 2;
			break;
		case DL_ACT_SILU:
			sigmoid(e, x, n, s);
			break;
		default:
			for (int i = 0; i < n; i++)
				s[i] = x[i] > 0;
	}
	for (int i = 0; i < n; i++)
		y[i] = x[i] * s[i];
}

void
dl_act_forward(const dl_exec *e, uint32_t act, const dl_real *x, int n, dl_real *y)
{
	for (int i = 0; i < n; i += PIECE)
		act_piece(e, act, x + i, n - i < PIECE ? n - i : PIECE, y + i);
}

/* slope[n] = act'(x) */
static void
slope_piece(const dl_exec *e, uint32_t act, const dl_real *x, int n, dl_real *slope)
{
	dl_real		s[PIECE];

	switch (act)
	{
		case DL_ACT_GELU_ERF:
			normal_share(e, x, n, s);
			for (int i = 0; i < n; i++)
				slope[i] = -x[i] * x[i] / 2;
			(void) dl_exp_row(e, slope, 0, n, slope);
			for (int i = 0; i < n; i++)
				slope[i] = s[i] + x[i] * (dl_real) INV_SQRT_2PI * slope[i];
			break;
		case DL_ACT_GELU_TANH:
			gelu_tanh(e, x, n, s);
			for (int i = 0; i < n; i++)
				slope[i] = (1 + s[i]) / 2 + x[i] / 2 * (1 - s[i] * s[i]) * (dl_real) GELU_SCALE *
					(1 + 3 * (dl_real) GELU_CUBE * x[i] * x[i]);
			break;
		case DL_ACT_SILU:
			sigmoid(e, x, n, s);
			for (int i = 0; i < n; i++)
				slope[i] = s[i] * (1 + x[i] * (1 - s[i]));
			break;
		default:
			for (int i = 0; i < n; i++)
				slope[i] = x[i] > 0;
	}
}

void
dl_act_backward(const dl_exec *e, uint32_t act, const dl_real *x, const dl_real *dy, int n, dl_real *dx)
{
	dl_real		slope[PIECE];

	for (int i = 0; i < n; i += PIECE)
	{
		int			m = n - i < PIECE ? n - i : PIECE;

		slope_piece(e, act, x + i, m, slope);
		for (int j = 0; j < m; j++)
			dx[i + j] = dy[i + j] * slope[j];
	}
}

/* --------------------------------------------------------------- positions */

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
