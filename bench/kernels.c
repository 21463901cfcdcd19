/*
 * kernels.c - GFLOP/s of the matrix kernels: per table, weight type, shape
 * and number of rows; and of dl_linear on one and two threads.
 *
 *		build/bench/kernels [SECONDS_PER_CASE]
 *		build/bench/kernels --sweep SECONDS_PER_CASE THREADS N K ROWS...
 *
 * The second form prints a line "table threads type n k rows gflops" for each
 * weight type and number of rows, with the best table of this CPU: bench/blas.py
 * and bench/plot.py read it.
 *
 * A multiply-add counts as two operations, int8 likewise. Rows have the engine's
 * strides (dl_row_stride). Inputs are small
 * numbers; weights of a case are larger than the second-level cache where the
 * shape makes them so, as in a model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "linear.h"

/* One thread is measured in processor time, which holds on a busy machine too; several in elapsed time. */
static double
now(int threads)
{
	struct timespec t;

	clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

typedef struct data
{
	dl_matrix	w;
	float	   *x,
			   *y;
	void	   *scratch;
} data;

static const int rows_of[] = {1, 2, 4, 8, 16, 64, 128, 256, 512};

#define ROW_CASES	((int) (sizeof rows_of / sizeof *rows_of))
#define MOST_ROWS	512

static void *
aligned(size_t size)
{
	void	   *p = aligned_alloc(64, (size + 63) / 64 * 64);

	if (p == NULL)
		exit(1);
	memset(p, 0, size);
	return p;
}

/* Small weights; int8 ones with the scales of a matrix in use */
static void
fill(dl_dtype dtype, void *w, int panels, int k)
{
	size_t		count = (size_t) panels * 16 * (size_t) k;
	int			k4 = (k + 3) / 4;

	for (size_t i = 0; dtype != DL_I8 && i < count; i++)
	{
		if (dtype == DL_F32)
			((float *) w)[i] = (float) (i % 17) * 0.01f - 0.08f;
		else
			((uint16_t *) w)[i] = (uint16_t) (0x3c00 + i % 64);
	}
	for (int i = 0; dtype == DL_I8 && i < panels * dl_groups(k4); i++)
	{
		int8_t	   *panel = (int8_t *) w + (size_t) (i / dl_groups(k4)) * dl_s8_panel_bytes(k4);
		dl_s8_group g = dl_s8_group_at(panel, k4, i % dl_groups(k4));
		int8_t	   *at = panel + (g.w - panel);

		for (int j = 0; j < g.steps * 64; j++)
			at[j] = (int8_t) (j % 127 - 63);
		for (int j = 0; j < DL_PANEL; j++)
			((float *) (at + g.steps * 64))[j] = 0.01f;
	}
}

static data
make(dl_dtype dtype, int n, int k)
{
	int			panels = (n + 15) / 16;
	size_t		panel_bytes = dtype == DL_I8 ? dl_s8_panel_bytes((k + 3) / 4) : (size_t) k * 16 * (dtype == DL_F32 ? 4 : 2);
	void	   *w = aligned((size_t) panels * panel_bytes);
	data		d = {.w = {.dtype = dtype, .n = n, .k = k, .data = w}};

	fill(dtype, w, panels, k);
	d.x = aligned((size_t) MOST_ROWS * dl_row_stride(k) * 4);
	d.y = aligned((size_t) MOST_ROWS * dl_row_stride(n) * 4);
	d.scratch = aligned(dl_linear_scratch(MOST_ROWS, k));
	for (size_t i = 0; i < (size_t) MOST_ROWS * dl_row_stride(k); i++)
		d.x[i] = (float) (i % 13) * 0.1f - 0.6f;
	return d;
}

static void
release(data *d)
{
	free((void *) d->w.data);
	free(d->x);
	free(d->y);
	free(d->scratch);
}

/* The best of the runs that fit into `seconds`: other work on the machine only ever slows a run */
static double
gflops(const dl_kernels *kernels, dl_team *team, int threads, const data *d, int rows, double seconds)
{
	double		best = 1e9,
				start = now(threads);
	double		work = 2.0 * rows * d->w.n * d->w.k;

	do
	{
		int			repeat = work < 2e7 ? (int) (2e7 / work) : 1;
		double		t0 = now(threads),
					t;

		for (int i = 0; i < repeat; i++)
			dl_linear(kernels, team, &d->w, d->x, dl_row_stride(d->w.k), rows, d->y, dl_row_stride(d->w.n), d->scratch);
		t = (now(threads) - t0) / repeat;
		best = t < best ? t : best;
	} while (now(threads) - start < seconds);
	return work / best * 1e-9;
}

static void
table(const dl_kernels *kernels, int threads, int n, int k, double seconds)
{
	static const char *const names[] = {"f32", "bf16", "int8"};
	dl_team    *team = dl_team_create(threads);

	for (int dtype = DL_F32; dtype <= DL_I8; dtype++)
	{
		data		d = make((dl_dtype) dtype, n, k);

		printf("%-12s %d thr %-5s %5d x %-5d", kernels->name, threads, names[dtype], n, k);
		for (int i = 0; i < ROW_CASES; i++)
			printf(" %7.1f", gflops(kernels, team, threads, &d, rows_of[i], seconds));
		printf("\n");
		fflush(stdout);
		release(&d);
	}
	dl_team_free(team);
}

/* argv: seconds, threads, n, k, then numbers of rows */
static int
sweep(int argc, char **argv)
{
	static const char *const names[] = {"f32", "bf16", "int8"};
	const dl_kernels *kernels = dl_kernels_get(0);
	double		seconds = argc > 4 ? atof(argv[0]) : 0;
	int			threads = argc > 4 ? atoi(argv[1]) : 0,
				n = argc > 4 ? atoi(argv[2]) : 0,
				k = argc > 4 ? atoi(argv[3]) : 0;
	dl_team    *team;

	if (threads < 1 || n < 1 || k < 1)
	{
		fprintf(stderr, "usage: kernels --sweep SECONDS_PER_CASE THREADS N K ROWS...\n");
		return 2;
	}
	team = dl_team_create(threads);
	for (int dtype = DL_F32; dtype <= DL_I8; dtype++)
	{
		data		d = make((dl_dtype) dtype, n, k);

		for (int i = 4; i < argc; i++)
		{
			int			rows = atoi(argv[i]);

			if (rows < 1 || rows > MOST_ROWS)
				continue;
			printf("%s %d %s %d %d %d %.1f\n", kernels->name, threads, names[dtype], n, k, rows,
				   gflops(kernels, team, threads, &d, rows, seconds));
			fflush(stdout);
		}
		release(&d);
	}
	dl_team_free(team);
	return 0;
}

int
main(int argc, char **argv)
{
	static const int shapes[][2] = {{576, 576}, {1536, 576}, {576, 1536}, {3072, 768}, {768, 3072}};
	static const uint32_t masks[] = {DLM_CPU_AVX512 | DLM_CPU_DOTPROD, DLM_CPU_VNNI, 0};
	double		seconds = argc > 1 ? atof(argv[1]) : 0.1;
	const dl_kernels *last = &dl_kernels_ref;

	if (argc > 1 && strcmp(argv[1], "--sweep") == 0)
		return sweep(argc - 2, argv + 2);
	printf("%-12s %-5s %-5s %13s", "table", "", "type", "n x k, rows:");
	for (int i = 0; i < ROW_CASES; i++)
		printf(" %7d", rows_of[i]);
	printf("   GFLOP/s\n");
	for (size_t m = 0; m < sizeof masks / sizeof *masks; m++)
	{
		const dl_kernels *kernels = dl_kernels_get(masks[m]);

		if (kernels == last || kernels == &dl_kernels_ref)
			continue;
		last = kernels;
		for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
			table(kernels, 1, shapes[s][0], shapes[s][1], seconds);
		table(kernels, 2, shapes[1][0], shapes[1][1], seconds);
	}
	return 0;
}
