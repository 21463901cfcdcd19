/*
 * exec.h - what a pass computes with: kernels, threads, and the caller's wish
 * to stop.
 *
 * The float build multiplies with the engine's kernels, whose bits do not
 * depend on the CPU; the double build with plain loops.
 */
#ifndef DL_EXEC_H
#define DL_EXEC_H

#include "linear.h"
#include "real.h"
#include "threads.h"

typedef struct dl_exec
{
	const dl_kernels *kernels;
	dl_team    *team;
	dlm_env		env;
	bool		stopped;		/* env.stop said so: what is computed from here on is of no use */
} dl_exec;

/* Rows of numbers, `ld` apart. */
typedef struct dl_rows
{
	dl_real    *at;
	size_t		ld;
} dl_rows;

static inline dl_real *
dl_row(dl_rows x, int i)
{
	return x.at + (size_t) i * x.ld;
}

static inline dl_rows
dl_rows_from(dl_rows x, int i)
{
	return (dl_rows) {dl_row(x, i), x.ld};
}

/* Rows of `width` numbers at a stride that suits the caches (real.h, dl_carve_reals). */
static inline dl_rows
dl_carve_rows(void *base, size_t *at, size_t rows, uint32_t width)
{
	size_t		ld = dl_row_stride((int) width);

	return (dl_rows) {dl_carve_reals(base, at, rows * ld), ld};
}

/* env may be NULL. */
static inline void
dl_exec_begin(dl_exec *e, const dlm_env *env, int threads)
{
	dlm_env		none = {0};

	e->env = env != NULL ? *env : none;
	e->kernels = dl_kernels_get(e->env.cpu_mask);
	e->team = dl_team_create(threads);
}

/* Another number of threads, 1 to most; false: it is that already. */
static inline bool
dl_exec_threads(dl_exec *e, int threads, int most)
{
	threads = threads < 1 ? 1 : threads > most ? most : threads;
	if (threads == dl_team_size(e->team))
		return false;
	dl_team_free(e->team);
	e->team = dl_team_create(threads);
	return true;
}

/* Ask the caller; called between two operations of a pass, a few milliseconds of work each. */
static inline bool
dl_exec_stop(dl_exec *e)
{
	if (!e->stopped && e->env.stop != NULL)
		e->stopped = e->env.stop(e->env.arg);
	return e->stopped;
}

static inline int
dl_larger(int a, int b)
{
	return a > b ? a : b;
}

static inline int
dl_divide_up(int a, int b)
{
	return (a + b - 1) / b;
}

static inline int
dl_panels_width(int columns)
{
	return dl_divide_up(columns, DL_PANEL) * DL_PANEL;
}

/*
 * y[m, columns] = x[m, k] W, or += if add: step i of the panel of 16 columns p
 * stands at w + p * panel_stride + i * k_stride. w is read 16 numbers wide
 * throughout. One chain over k for each element, on the calling thread.
 */
static inline void
dl_gemm(const dl_exec *e, const dl_real *x, size_t ldx, int m, int k, const dl_real *w, size_t panel_stride,
		size_t k_stride, int columns, dl_real *y, size_t ldy, bool add)
{
#ifdef DL_TRAIN_DOUBLE
	for (int i = 0; i < m; i++)
		for (int j = 0; j < columns; j++)
		{
			const dl_real *at = w + (size_t) (j / DL_PANEL) * panel_stride + (size_t) (j % DL_PANEL);
			dl_real    *out = y + (size_t) i * ldy + j;
			dl_real		sum = add ? *out : 0;

			for (int l = 0; l < k; l++)
				sum += x[(size_t) i * ldx + (size_t) l] * at[(size_t) l * k_stride];
			*out = sum;
		}
#else
	e->kernels->gemm_f32(x, ldx, m, k, w, panel_stride, k_stride, dl_divide_up(columns, DL_PANEL), columns, y, ldy, add);
#endif
}

#endif							/* DL_EXEC_H */
