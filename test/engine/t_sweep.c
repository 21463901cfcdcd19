/*
 * t_sweep.c - errors of the float functions over all floats, and every table
 * against the reference on each of them.
 *
 *	t_sweep [NAME ...]						every 251st float (a prime: every pattern of low bits is met)
 *	DLM_TEST_EXHAUSTIVE=1 t_sweep			all 2^32, about half an hour; done when a function changes, and
 *											its numbers go to the head of fmath.c
 *
 * The exact value is glibc's function in double, whose documented errors are
 * at most 5 units of double's last place: 1e-8 of a float's. Products around it
 * add as little, so what is measured is right to 1e-6 ulp, and bounds are kept
 * farther than that from the worst that was found.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "fmath.h"
#include "tables.h"

#define BLOCK		4096
#define STRIDE		251u
#define QUICK		4099u

static const test_tables *tables;

/* ---------------------------------------------------------------- the functions */

static void
run_exp(const dl_kernels *k, const float *x, float *y, int n)
{
	k->exp_sum(x, 0.0f, n, y);
}

#define IN_PLACE(name) \
	static void \
	run_##name(const dl_kernels *k, const float *x, float *y, int n) \
	{ \
		memcpy(y, x, (size_t) n * sizeof(float)); \
		k->name(y, n); \
	}

IN_PLACE(tanh)
IN_PLACE(gelu_erf)
IN_PLACE(gelu_tanh)
IN_PLACE(silu)

/* No table has these by themselves */
static void
run_erf(const dl_kernels *k, const float *x, float *y, int n)
{
	(void) k;
	for (int i = 0; i < n; i++)
		y[i] = dl_erff(x[i]);
}

static void
run_log(const dl_kernels *k, const float *x, float *y, int n)
{
	(void) k;
	for (int i = 0; i < n; i++)
		y[i] = x[i] > 0.0f ? dl_logf(x[i]) : 0.0f;
}

static double
exact_log(double x)
{
	return x > 0.0 ? log(x) : 0.0;
}

static double
exact_gelu_erf(double x)
{
	return 0.5 * x * erfc(-x * 0x1.6a09e667f3bcdp-1);
}

/* 1 + tanh(u) = 2 / (1 + exp(-2 u)), which cancels nothing */
static double
exact_gelu_tanh(double x)
{
	return x / (1.0 + exp(-2.0 * 0x1.9884533d43651p-1 * (x + 0.044715 * x * x * x)));
}

static double
exact_silu(double x)
{
	return x / (1.0 + exp(-x));
}

typedef struct function
{
	const char *name;
	void		(*run) (const dl_kernels *k, const float *x, float *y, int n);
	double		(*exact) (double x);
	double		from;			/* least argument for which `bound` is promised */
	double		bound;			/* ulp of the exact result */
	double		argument_bound;	/* ulp of the argument, over all floats; 0 = none */
} function;

static const function functions[] = {
	{"exp", run_exp, exp, -INFINITY, 1.5, 0},
	{"tanh", run_tanh, tanh, -INFINITY, 1.5, 0},
	{"erf", run_erf, erf, -INFINITY, 1.5, 0},
	{"log", run_log, exact_log, -INFINITY, 0.51, 0},
	/* 1 + erf(x) and 1 + tanh(u) cancel below 0, and silu ends where exp(-x) overflows: there the error is one of x */
	{"gelu_erf", run_gelu_erf, exact_gelu_erf, 0, 2.5, 2},
	{"gelu_tanh", run_gelu_tanh, exact_gelu_tanh, 0, 2.5, 2},
	{"silu", run_silu, exact_silu, -88, 3, 2},
};

/* ---------------------------------------------------------------- the sweep */

/* 1 / (the last place of a float of x's size) */
static double
places(double x)
{
	uint64_t	u;
	int			e;

	memcpy(&u, &x, sizeof u);
	e = (int) (u >> 52 & 0x7ff) - 1023 - 23;
	e = e < -149 ? -149 : e > 104 ? 104 : e;
	u = (uint64_t) (1023 - e) << 52;
	memcpy(&x, &u, sizeof x);
	return x;
}

/* Largest finite float and half of its last place: what is not smaller rounds to infinity */
static bool
overflows(double exact)
{
	return fabs(exact) >= 0x1.ffffffp+127;
}

typedef struct worst
{
	double		error;
	float		at;
} worst;

static void
note(worst *w, double error, float at)
{
	if (!(error <= w->error))
	{
		w->error = error;
		w->at = at;
	}
}

/* Block of floats whose bits are first, first + stride, ...; infinities and NaN become 0. Returns their number. */
static int
fill(float *x, uint64_t first, uint32_t stride)
{
	int			n = 0;

	for (uint64_t u = first; n < BLOCK && u <= 0xffffffffu; u += stride)
	{
		uint32_t	bits = (uint32_t) u;

		if ((bits & 0x7f800000u) == 0x7f800000u)
			bits = 0;
		memcpy(&x[n++], &bits, sizeof bits);
	}
	return n;
}

static void
errors_of_block(const function *f, const float *x, const float *y, int n, worst *result, worst *argument)
{
	for (int i = 0; i < n; i++)
	{
		double		exact = f->exact((double) x[i]);
		double		error = fabs((double) y[i] - exact);

		if (isinf(y[i]) && overflows(exact) && (y[i] > 0) == (exact > 0))
			continue;
		if (x[i] >= f->from)
			note(result, error * places(exact), x[i]);
		if (f->argument_bound > 0)
			note(argument, error * places((double) x[i]), x[i]);
	}
}

static void
sweep(const function *f, uint32_t stride)
{
	static float x[BLOCK],
				y[BLOCK],
				other[BLOCK];
	worst		result = {0, 0},
				argument = {0, 0};
	uint64_t	differ = 0;
	int			n;

	for (uint64_t first = 0; (n = fill(x, first, stride)) > 0; first += (uint64_t) n * stride)
	{
		f->run(&dl_kernels_ref, x, y, n);
		errors_of_block(f, x, y, n, &result, &argument);
		for (int t = 1; t < tables->n; t++)
		{
			f->run(tables->table[t], x, other, n);
			differ += memcmp(y, other, (size_t) n * sizeof(float)) != 0;
		}
	}
	printf("%-9s %.4f ulp at %a", f->name, result.error, result.at);
	if (f->argument_bound > 0)
		printf("; %.4f ulp of the argument at %a", argument.error, argument.at);
	printf("\n");
	fflush(stdout);
	CHECK(result.error <= f->bound, "%s: %g ulp at %a", f->name, result.error, result.at);
	CHECK(argument.error <= f->argument_bound, "%s: %g ulp of the argument at %a", f->name, argument.error, argument.at);
	CHECK(differ == 0, "%s: %llu blocks differ from the reference", f->name, (unsigned long long) differ);
}

static bool
wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc == 1;
}

int
main(int argc, char **argv)
{
	test_tables all = tables_of_machine();
	uint32_t	stride = getenv("DLM_TEST_EXHAUSTIVE") ? 1 : getenv("DLM_TEST_QUICK") ? QUICK : STRIDE;

	tables = &all;
	for (int t = 0; t < all.n; t++)
		printf("table %s\n", all.table[t]->name);
	printf("every %u. float\n", (unsigned) stride);
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (wanted(functions[i].name, argc, argv))
			sweep(&functions[i], stride);
	return harness_end("t_sweep");
}
