/*
 * t_fmath.c - errors of our elementary functions in units of the last place,
 * against long double, over a dense sample of all inputs; and the edges.
 */
#include "harness.h"

#include <math.h>
#include <stdint.h>

#include "fmath.h"

#define FLOAT_STRIDE	997u	/* prime: every low bit pattern is met */
#define DOUBLE_SAMPLES	200000

static uint64_t state = 0x9e3779b97f4a7c15u;

static double
uniform(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double) (state >> 11) * 0x1p-53;
}

/* |got - exact| in units of the exact value's last place, in a format of `digits` bits and least exponent `lowest` */
static double
ulps(long double got, long double exact, int digits, int lowest)
{
	int			e;

	if (isinf(got) && fabsl(exact) >= ldexpl(1.0L, digits == 24 ? 127 : 1023) * (2.0L - ldexpl(1.0L, -digits)))
		return 0.0;				/* rounds to infinity */
	if (exact == 0.0L)
		return got == 0.0L ? 0.0 : 1e9;
	e = ilogbl(exact) - (digits - 1);
	return (double) (fabsl(got - exact) / ldexpl(1.0L, e > lowest ? e : lowest));
}

typedef float (*float_function) (float x);
typedef double (*double_function) (double x);
typedef long double (*exact_function) (long double x);

static double
worst_float(float_function f, exact_function exact, float *where)
{
	double		worst = 0.0;

	for (uint64_t u = 0; u <= 0xffffffffu; u += FLOAT_STRIDE)
	{
		uint32_t	bits = (uint32_t) u;
		float		x;
		double		error;

		memcpy(&x, &bits, sizeof x);
		if (!isfinite(x))
			continue;
		error = ulps(f(x), exact(x), 24, -149);
		if (!(error <= worst))
		{
			worst = error;
			*where = x;
		}
	}
	return worst;
}

static long double
log_or_nothing(long double x)
{
	return x > 0 ? logl(x) : 0.0L;
}

static float
logf_or_nothing(float x)
{
	return x > 0 ? dl_logf(x) : 0.0f;
}

static void
float_errors_are_bounded(void)
{
	static const struct
	{
		const char *name;
		float_function f;
		exact_function exact;
		double		bound;
	}			cases[] = {
		{"expf", dl_expf, expl, 1.5}, {"tanhf", dl_tanhf, tanhl, 1.5},
		{"erff", dl_erff, erfl, 1.5}, {"logf", logf_or_nothing, log_or_nothing, 0.51}
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
	{
		float		where = 0;
		double		worst = worst_float(cases[i].f, cases[i].exact, &where);

		printf("%-6s %.4f ulp at %a\n", cases[i].name, worst, where);
		CHECK(worst <= cases[i].bound, "%s: %g ulp at %a", cases[i].name, worst, where);
	}
}

static double
worst_double(double_function f, exact_function exact, double low, double high, double *where)
{
	double		worst = 0.0;

	for (int i = 0; i < DOUBLE_SAMPLES; i++)
	{
		double		x = low + (high - low) * uniform();
		double		error = ulps(f(x), exact(x), 53, -1074);

		if (!(error <= worst))
		{
			worst = error;
			*where = x;
		}
	}
	return worst;
}

static void
double_errors_are_bounded(void)
{
	static const struct
	{
		const char *name;
		double_function f;
		exact_function exact;
		double		low,
					high;
	}			cases[] = {
		{"exp", dl_exp, expl, -746, 710}, {"exp", dl_exp, expl, -1, 1}, {"exp", dl_exp, expl, -1e-9, 1e-9},
		{"log", dl_log, logl, 0, 1}, {"log", dl_log, logl, 0.5, 2}, {"log", dl_log, logl, 0, 1e300},
		{"log", dl_log, logl, 0, 1e-308}, {"log", dl_log, logl, 0.999, 1.001},
		{"sin", dl_sin, sinl, -4, 4}, {"sin", dl_sin, sinl, 0, 1048576}, {"sin", dl_sin, sinl, -1e-5, 1e-5},
		{"cos", dl_cos, cosl, -4, 4}, {"cos", dl_cos, cosl, 0, 1048576}
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
	{
		double		where = 0;
		double		worst = worst_double(cases[i].f, cases[i].exact, cases[i].low, cases[i].high, &where);

		printf("%-4s on [%g, %g] %.4f ulp at %a\n", cases[i].name, cases[i].low, cases[i].high, worst, where);
		CHECK(worst <= 1.0, "%s: %g ulp at %a", cases[i].name, worst, where);
	}
}

/* Multiples of pi/2 rounded to double: the worst cancellation of the reduction */
static void
sine_near_its_zeros(void)
{
	double		worst = 0.0;

	for (int n = 1; n < 600000; n += 7)
	{
		double		x = (double) (n * 1.57079632679489661923132169163975144L);
		double		a = ulps(dl_sin(x), sinl(x), 53, -1074);
		double		b = ulps(dl_cos(x), cosl(x), 53, -1074);

		worst = fmax(worst, fmax(a, b));
	}
	printf("sin, cos near multiples of pi/2 %.4f ulp\n", worst);
	CHECK(worst <= 1.0, "%g ulp", worst);
}

static void
powers_are_accurate(void)
{
	double		worst = 0.0,
				at_x = 0,
				at_y = 0;

	for (int i = 0; i < DOUBLE_SAMPLES; i++)
	{
		double		x = i % 2 ? exp2(40 * uniform() - 20) : 1e4 + 1e6 * uniform();
		double		y = i % 4 < 2 ? uniform() : 60 * uniform() - 30;
		double		error = ulps(dl_pow(x, y), powl(x, y), 53, -1074);

		if (!(error <= worst))
		{
			worst = error;
			at_x = x;
			at_y = y;
		}
	}
	printf("pow  %.4f ulp at %a, %a\n", worst, at_x, at_y);
	CHECK(worst <= 1.5, "%g ulp at %a, %a", worst, at_x, at_y);
	CHECK(dl_pow(10000.0, 0.0) == 1.0 && dl_pow(1.0, 5.0) == 1.0 && dl_pow(2.0, 10.0) == 1024.0, "exact powers");
	CHECK(dl_pow(2.0, 2000.0) == INFINITY && dl_pow(2.0, -2000.0) == 0.0, "overflow and underflow");
	CHECK(dl_pow(0.0, 2.0) == 0.0 && dl_pow(0.0, -2.0) == INFINITY, "powers of zero");
}

/* Results never step back by more than one last place as the argument grows */
static void
functions_rise(void)
{
	static const float_function f[] = {dl_expf, dl_tanhf, dl_erff};
	int			back = 0;

	for (int i = 0; i < 3; i++)
		for (float x = -8.0f; x < 8.0f; x += 0x1p-14f)
		{
			float		a = f[i](x),
						b = f[i](x + 0x1p-14f);

			back += b < a && a - b > 1.2e-7f * fabsf(a);
		}
	CHECK(back == 0, "%d steps back", back);
}

static void
edges_of_float(void)
{
	CHECK(dl_expf(0.0f) == 1.0f && dl_expf(-0.0f) == 1.0f, "exp(0)");
	CHECK(dl_expf(INFINITY) == INFINITY && dl_expf(-INFINITY) == 0.0f && !signbit(dl_expf(-INFINITY)), "exp(inf)");
	CHECK(dl_expf(0x1.62e42ep6f) > 3.4e38f && isfinite(dl_expf(0x1.62e42ep6f)), "largest finite exp");
	CHECK(dl_expf(88.7229f) == INFINITY && dl_expf(1e30f) == INFINITY, "exp overflow");
	CHECK(dl_expf(-103.9f) == 0x1p-149f && dl_expf(-104.5f) == 0.0f && dl_expf(-1e30f) == 0.0f, "exp underflow");
	CHECK(isnan(dl_expf(NAN)) && isnan(dl_tanhf(NAN)) && isnan(dl_erff(NAN)) && isnan(dl_logf(NAN)), "NaN stays");
	CHECK(dl_tanhf(INFINITY) == 1.0f && dl_tanhf(-INFINITY) == -1.0f && dl_tanhf(40.0f) == 1.0f, "tanh(inf)");
	CHECK(dl_erff(INFINITY) == 1.0f && dl_erff(-INFINITY) == -1.0f && dl_erff(4.5f) == 1.0f, "erf(inf)");
	CHECK(signbit(dl_tanhf(-0.0f)) && signbit(dl_erff(-0.0f)), "odd functions keep the sign of zero");
	CHECK(dl_tanhf(0x1p-149f) == 0x1p-149f, "tanh of the smallest");
	CHECK(dl_logf(0.0f) == -INFINITY && isnan(dl_logf(-1.0f)) && dl_logf(INFINITY) == INFINITY, "log edges");
	CHECK(dl_logf(1.0f) == 0.0f, "log(1)");
}

static void
edges_of_double(void)
{
	CHECK(dl_exp(0.0) == 1.0 && dl_exp(710.0) == INFINITY && dl_exp(-746.0) == 0.0, "exp");
	CHECK(dl_exp(-745.0) == 0x1p-1074 && isfinite(dl_exp(709.78)), "exp near its ends");
	CHECK(dl_exp(INFINITY) == INFINITY && dl_exp(-INFINITY) == 0.0 && isnan(dl_exp(NAN)), "exp(inf)");
	CHECK(dl_log(1.0) == 0.0 && dl_log(0.0) == -INFINITY && isnan(dl_log(-1.0)), "log");
	CHECK(dl_log(INFINITY) == INFINITY && isnan(dl_log(NAN)), "log(inf)");
	CHECK(ulps(dl_log(0x1p-1074), logl(0x1p-1074L), 53, -1074) <= 1.0, "log of the smallest");
	CHECK(dl_sin(0.0) == 0.0 && dl_cos(0.0) == 1.0 && isnan(dl_sin(INFINITY)) && isnan(dl_cos(NAN)), "sin, cos");
	CHECK(isnan(dl_sin(1e300)), "beyond the reduction: no wrong answer");
}

int
main(void)
{
	float_errors_are_bounded();
	double_errors_are_bounded();
	sine_near_its_zeros();
	powers_are_accurate();
	functions_rise();
	edges_of_float();
	edges_of_double();
	return harness_end("t_fmath");
}
