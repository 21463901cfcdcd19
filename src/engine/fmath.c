/*
 * fmath.c - elementary functions from IEEE operations only.
 *
 * Float forms, the definition of the vector kernels. Bounds, and the worst of
 * all 2^32 arguments (t_sweep with DLM_TEST_EXHAUSTIVE=1; AVX2 gave the
 * reference's bits on every one):
 *
 *		dl_expf		1.5 ulp		1.0086 at -0x1.b610fp+4
 *		dl_tanhf	1.5 ulp		1.3320 at 0x1.43183ap-1
 *		dl_erff		1.5 ulp		1.1394 at 0x1.f88e94p-1
 *		dl_logf		0.51 ulp	0.5000 at 0x1.22d57p-65
 *
 * and of the activations made of them (kernels.h), for the arguments where an
 * error in units of the result is bounded at all; in units of the argument everywhere:
 *
 *		gelu_erf	2.5 ulp, x >= 0		1.7424 at 0x1.22c3ep+0		2 ulp of x	1.5182 at 0x1.fd0f2ep-1
 *		gelu_tanh	2.5 ulp, x >= 0		1.8260 at 0x1.50fffap-1		2 ulp of x	1.5692 at 0x1.fa70b8p-1
 *		silu		3 ulp, x >= -88		2.4435 at -0x1.0ad862p+4	2 ulp of x	1.4926 at 0x1.ffda94p+2
 *
 * They have no branches: every lane of a vector does the same operations,
 * selections come last.
 *
 * Double forms: dl_exp, dl_log, dl_sin, dl_cos below 1 ulp (sine and cosine
 * for |x| <= 2^20; NaN beyond 2^30, where the reduction has no bits left),
 * dl_pow below 1.5 ulp. Coefficients are those of the Taylor series, enough
 * terms of it for the reduced range.
 */
#include "fmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels_math.h"

static inline uint32_t
float_bits(float x)
{
	uint32_t	u;

	memcpy(&u, &x, sizeof u);
	return u;
}

static inline float
bits_float(uint32_t u)
{
	float		x;

	memcpy(&x, &u, sizeof x);
	return x;
}

static inline uint64_t
double_bits(double x)
{
	uint64_t	u;

	memcpy(&u, &x, sizeof u);
	return u;
}

static inline double
bits_double(uint64_t u)
{
	double		x;

	memcpy(&x, &u, sizeof x);
	return x;
}

/* ---------------------------------------------------------------- float */

float
dl_expf(float x)
{
	float		t,
				n,
				r,
				q,
				p;
	int32_t		e,
				half;

	x = x < EXP_LOW ? EXP_LOW : x;	/* NaN stays NaN */
	x = x > EXP_HIGH ? EXP_HIGH : x;
	t = fmaf(x, EXP_LOG2E, EXP_MAGIC);
	n = t - EXP_MAGIC;
	r = fmaf(n, -EXP_LN2_HI, x);
	r = fmaf(n, -EXP_LN2_LO, r);
	q = fmaf(EXP_Q4, r, EXP_Q3);
	q = fmaf(q, r, EXP_Q2);
	q = fmaf(q, r, EXP_Q1);
	q = fmaf(q, r, EXP_Q0);
	p = fmaf(r * r, q, r) + 1.0f;

	/* 2^n in two factors, so that results below the normal range are rounded once */
	e = (int32_t) (float_bits(t) - EXP_MAGIC_BITS);
	half = e >> 1;
	return p * bits_float(((uint32_t) half + 127u) << 23) * bits_float(((uint32_t) (e - half) + 127u) << 23);
}

float
dl_tanhf(float x)
{
	float		a = fabsf(x);
	float		z = x * x;
	float		t,
				small,
				large;

	t = fmaf(TANH_T4, z, TANH_T3);
	t = fmaf(t, z, TANH_T2);
	t = fmaf(t, z, TANH_T1);
	t = fmaf(t, z, TANH_T0);
	small = fmaf(x * z, t, x);
	large = 1.0f - 2.0f / (dl_expf(a + a) + 1.0f);
	return copysignf(a < TANH_SMALL ? small : large, x);
}

float
dl_erff(float x)
{
	float		a = fabsf(x);
	float		c = a > ERF_LARGE ? ERF_LARGE : a;
	float		z = x * x;
	float		t,
				small,
				large;

	t = fmaf(ERF_E5, z, ERF_E4);
	t = fmaf(t, z, ERF_E3);
	t = fmaf(t, z, ERF_E2);
	t = fmaf(t, z, ERF_E1);
	t = fmaf(t, z, ERF_E0);
	t = fmaf(t, z, ERF_E);
	small = fmaf(x, t, x);
	t = fmaf(ERF_C6, c, ERF_C5);
	t = fmaf(t, c, ERF_C4);
	t = fmaf(t, c, ERF_C3);
	t = fmaf(t, c, ERF_C2);
	t = fmaf(t, c, ERF_C1);
	t = fmaf(t, c, ERF_C0);
	large = 1.0f - dl_expf(t);
	return copysignf(a < ERF_SMALL ? small : large, x);
}

float
dl_logf(float x)
{
	return (float) dl_log((double) x);
}

/* ---------------------------------------------------------------- double */

#define LN2_HI	0x1.62e42fee00000p-1	/* 32 bits: k * LN2_HI is exact */
#define LN2_LO	0x1.a39ef35793c76p-33

/* x * 2^n for a normal x and |n| <= 1100, rounded once */
static double
scale(double x, int n)
{
	int			half = n / 2;

	return x * bits_double((uint64_t) (half + 1023) << 52) * bits_double((uint64_t) (n - half + 1023) << 52);
}

/* e^(x + low) for |low| much smaller than an ulp of 1 */
static double
exp_with_low(double x, double low)
{
	double		n,
				hi,
				lo,
				r,
				p;

	if (x != x)
		return x;
	if (x > 710.0)
		return INFINITY;
	if (x < -746.0)
		return 0.0;
	n = rint(x * 0x1.71547652b82fep+0);
	hi = x - n * LN2_HI;
	lo = low - n * LN2_LO;
	r = hi + lo;
	lo += hi - r;				/* what r lost */
	p = 1.0 / 6227020800.0;
	p = p * r + 1.0 / 479001600.0;
	p = p * r + 1.0 / 39916800.0;
	p = p * r + 1.0 / 3628800.0;
	p = p * r + 1.0 / 362880.0;
	p = p * r + 1.0 / 40320.0;
	p = p * r + 1.0 / 5040.0;
	p = p * r + 1.0 / 720.0;
	p = p * r + 1.0 / 120.0;
	p = p * r + 1.0 / 24.0;
	p = p * r + 1.0 / 6.0;
	p = p * r + 0.5;
	return scale(1.0 + (r + (r * r * p + lo)), (int) n);
}

double
dl_exp(double x)
{
	return exp_with_low(x, 0.0);
}

/*
 * x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt 2; s = f / (2 + f) and
 * log(1 + f) = 2 s + s r(s^2), r(z) = 2/3 z + 2/5 z^2 + ...; |s| < 0.1716.
 */
static double
log_split(double x, int *k, double *f)
{
	uint64_t	u;
	int			e = 0;

	if (x < 0x1p-1022)
	{
		x *= 0x1p54;
		e = -54;
	}
	u = double_bits(x);
	e += (int) (u >> 52) - 1023;
	u = (u & 0xfffffffffffffu) | (uint64_t) 1023 << 52;
	if (bits_double(u) >= 0x1.6a09e667f3bcdp+0)
	{
		u -= (uint64_t) 1 << 52;
		e++;
	}
	*k = e;
	*f = bits_double(u) - 1.0;
	return *f / (2.0 + *f);
}

static double
log_tail(double z)
{
	double		r = 2.0 / 23.0;

	r = r * z + 2.0 / 21.0;
	r = r * z + 2.0 / 19.0;
	r = r * z + 2.0 / 17.0;
	r = r * z + 2.0 / 15.0;
	r = r * z + 2.0 / 13.0;
	r = r * z + 2.0 / 11.0;
	r = r * z + 2.0 / 9.0;
	r = r * z + 2.0 / 7.0;
	r = r * z + 2.0 / 5.0;
	r = r * z + 2.0 / 3.0;
	return r * z;
}

double
dl_log(double x)
{
	double		f,
				s,
				r,
				half_square;
	int			k;

	if (x != x || x == INFINITY)
		return x;
	if (x < 0.0)
		return NAN;
	if (x == 0.0)
		return -INFINITY;
	s = log_split(x, &k, &f);
	r = log_tail(s * s);

	/* 2 s = f - s f, and s f = f^2/2 - s f^2/2: the largest term f stays unrounded */
	half_square = 0.5 * f * f;
	return k * LN2_HI - ((half_square - (s * (half_square + r) + k * LN2_LO)) - f);
}

double
dl_pow(double x, double y)
{
	double		f,
				s,
				s_low,
				sum,
				low,
				product,
				error;
	int			k;

	if (y == 0.0 || x == 1.0)
		return 1.0;
	if (!(x > 0.0) || x == INFINITY || y != y || y - y != 0.0)
		return dl_exp(y * dl_log(x));

	/* log x = k ln 2 + 2 s + s r, the first two as sums of two doubles */
	s = log_split(x, &k, &f);
	s_low = fma(-s, f, fma(-s, 2.0, f)) / (2.0 + f);
	low = s * log_tail(s * s) + 2.0 * s_low + k * LN2_LO;
	product = k * LN2_HI;
	sum = product + 2.0 * s;
	error = product == 0.0 ? 0.0 : 2.0 * s - (sum - product);	/* |k ln 2| > |2 s| unless k = 0 */
	low += error;
	f = sum + low;
	low += sum - f;
	product = y * f;
	if (!(fabs(product) < 750.0))
		return dl_exp(product);
	return exp_with_low(product, fma(y, f, -product) + y * low);
}

/*
 * Reduced argument x - n pi/2 = *r + *low, |*r| <= pi/4; n mod 4 is returned.
 * pi/2 in three parts: 32 bits, 32 bits and the rest, so n times the first two is exact.
 */
static int
reduce(double x, double *r, double *low)
{
	double		n = rint(x * 0x1.45f306dc9c883p-1);
	double		a = x - n * 0x1.921fb54400000p+0;
	double		b = n * 0x1.0b4611a600000p-34;
	double		c = n * 0x1.3198a2e037073p-69;
	double		d = a - b;
	double		error = (a - d) - b;	/* exact: a is 0 or larger than b by far, or d is exact */

	*r = d + (error - c);
	*low = (d - *r) + (error - c);
	return (int) ((int64_t) n & 3);
}

/* sin(r + low), |r| <= pi/4 */
static double
sin_kernel(double r, double low)
{
	double		z = r * r;
	double		p = 1.0 / 355687428096000.0;

	p = p * z - 1.0 / 1307674368000.0;
	p = p * z + 1.0 / 6227020800.0;
	p = p * z - 1.0 / 39916800.0;
	p = p * z + 1.0 / 362880.0;
	p = p * z - 1.0 / 5040.0;
	p = p * z + 1.0 / 120.0;
	p = p * z - 1.0 / 6.0;
	return r + (r * z * p + low * (1.0 - 0.5 * z));
}

/* cos(r + low), |r| <= pi/4 */
static double
cos_kernel(double r, double low)
{
	double		z = r * r;
	double		half = 0.5 * z;
	double		w = 1.0 - half;
	double		p = 1.0 / 20922789888000.0;

	p = p * z - 1.0 / 87178291200.0;
	p = p * z + 1.0 / 479001600.0;
	p = p * z - 1.0 / 3628800.0;
	p = p * z + 1.0 / 40320.0;
	p = p * z - 1.0 / 720.0;
	p = p * z + 1.0 / 24.0;
	return w + (((1.0 - w) - half) + (z * z * p - r * low));
}

/* sin(x + quarter turns * pi/2) */
static double
sin_turned(double x, int quarters)
{
	double		r,
				low,
				value;
	int			n;

	if (!(fabs(x) <= 0x1p30))
		return NAN;
	n = (reduce(x, &r, &low) + quarters) & 3;
	value = n & 1 ? cos_kernel(r, low) : sin_kernel(r, low);
	return n & 2 ? -value : value;
}

double
dl_sin(double x)
{
	return sin_turned(x, 0);
}

double
dl_cos(double x)
{
	return sin_turned(x, 1);
}
