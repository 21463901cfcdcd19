/*
 * ops_turned.c - the gradient of weights, dW += dy^T x; see ops.h.
 *
 * Tokens are the long side, and walking down a column of dy or x touches a page a
 * token. So both are written anew, STEPS tokens at a time: dy^T as rows [a][stride],
 * x in panels of 16 columns [panels][STEPS][16]. Both then lie in the last cache, and
 * memory is read once. A work item is a part of the rows of dW and GROUP panels: ROWS
 * rows of dy^T wait in the second level cache while the panels pass. Where dW has
 * few rows (LoRA), each item copies the panels it needs, NARROW_STEPS tokens at a time,
 * since x is then read once anyway.
 */
#include "ops.h"

#include <string.h>

#define STEPS			DL_K_STRETCH
#define ROWS			96
#define PART			384
#define LEAST_PART		48
#define GROUP			6
#define COLUMNS			64		/* of a work item that turns, tokens of one that copies */
#define NARROW			96		/* rows of a dW that is not worth copying x for */
#define NARROW_GROUP	18
#define NARROW_STEPS	64
#define ITEMS			4		/* that each thread finds at least */

typedef struct job
{
	const dl_exec *e;
	dl_rows		dy,
				x,
				y;
	int			a,
				b;
	dl_real		scale;
	dl_real    *turned;
	int			stride;			/* of a row of turned */
	dl_real    *copied;
	int			first,			/* token of the block, and its tokens */
				n;
	int			part;			/* rows of a work item */
	int			parts;
} job;

/* A little more than the tokens of a block: rows that begin in different sets of a cache. */
static int
stride_of(int t)
{
	return (t < STEPS ? dl_panels_width(t) : STEPS) + DL_PANEL;
}

size_t
dl_turned_size(int t, int a)
{
	return (size_t) a * (size_t) stride_of(t);
}

size_t
dl_copied_size(int t, int b)
{
	return (size_t) (t < STEPS ? t : STEPS) * (size_t) dl_panels_width(b);
}

static dl_real *
turned_row(const job *j, int row)
{
	return j->turned + (size_t) row * (size_t) j->stride;
}

/* COLUMNS columns of the block of dy become rows. */
static void
turn_item(void *arg, int item, int thread)
{
	const job  *j = arg;
	int			column = item * COLUMNS;
	int			columns = j->a - column < COLUMNS ? j->a - column : COLUMNS;

	for (int i = 0; i < j->n; i += DL_PANEL)
		dl_turn(dl_row(j->dy, j->first + i) + column, j->dy.ld, j->n - i < DL_PANEL ? j->n - i : DL_PANEL, columns, j->scale,
				turned_row(j, column) + i, (size_t) j->stride);
}

/* panels [ceil(columns / 16)][ld][16] from step `at` on = columns of rows t .. t + n - 1 */
static void
copy_panels(dl_rows x, int t, int n, int column, int columns, int ld, dl_real *panels)
{
	for (int i = 0; i < n; i++)
	{
		const dl_real *from = dl_row(x, t + i) + column;
		dl_real    *to = panels + (size_t) i * DL_PANEL;
		int			c = 0;

		for (; c + DL_PANEL <= columns; c += DL_PANEL, to += (size_t) ld * DL_PANEL)
			memcpy(to, from + c, DL_PANEL * sizeof(dl_real));
		for (int l = 0; c < columns && l < DL_PANEL; l++)
			to[l] = c + l < columns ? from[c + l] : 0;
	}
}

/* COLUMNS tokens of the block of x. */
static void
copy_item(void *arg, int item, int thread)
{
	const job  *j = arg;
	int			i = item * COLUMNS;

	copy_panels(j->x, j->first + i, j->n - i < COLUMNS ? j->n - i : COLUMNS, 0, j->b, j->n, j->copied + (size_t) i * DL_PANEL);
}

static void
wide_item(void *arg, int item, int thread)
{
	const job  *j = arg;
	int			first = item % j->parts * j->part;
	int			end = first + j->part < j->a ? first + j->part : j->a;
	int			column = item / j->parts * GROUP * DL_PANEL;
	int			columns = j->b - column < GROUP * DL_PANEL ? j->b - column : GROUP * DL_PANEL;

	for (int row = first; row < end; row += ROWS)
		dl_gemm(j->e, turned_row(j, row), (size_t) j->stride, end - row < ROWS ? end - row : ROWS, j->n,
				j->copied + (size_t) column * (size_t) j->n, (size_t) j->n * DL_PANEL, DL_PANEL, columns,
				dl_row(j->y, row) + column, j->y.ld, true);
}

static void
narrow_item(void *arg, int item, int thread)
{
	const job  *j = arg;
	int			column = item * NARROW_GROUP * DL_PANEL;
	int			columns = j->b - column < NARROW_GROUP * DL_PANEL ? j->b - column : NARROW_GROUP * DL_PANEL;
	dl_real		panels[NARROW_GROUP * NARROW_STEPS * DL_PANEL];

	for (int i = 0; i < j->n; i += NARROW_STEPS)
	{
		int			n = j->n - i < NARROW_STEPS ? j->n - i : NARROW_STEPS;

		copy_panels(j->x, j->first + i, n, column, columns, n, panels);
		dl_gemm(j->e, j->turned + i, (size_t) j->stride, j->a, n, panels, (size_t) n * DL_PANEL, DL_PANEL, columns,
				j->y.at + column, j->y.ld, true);
	}
}

/* Parts are smaller where there are few panels, so that all threads find work. */
static void
multiply_wide(dl_exec *e, job *j)
{
	int			groups = dl_divide_up(j->b, GROUP * DL_PANEL);

	j->part = PART;
	while (j->part > LEAST_PART && dl_divide_up(j->a, j->part) * groups < ITEMS * dl_team_size(e->team))
		j->part /= 2;
	j->parts = dl_divide_up(j->a, j->part);
	dl_parallel(e->team, dl_divide_up(j->n, COLUMNS), copy_item, j);
	dl_parallel(e->team, groups * j->parts, wide_item, j);
}

void
dl_multiply_turned(dl_exec *e, dl_rows dy, dl_real scale, int t, int a, dl_rows x, int b,
				   const dl_dense_scratch *scratch, dl_rows y)
{
	job			j = {.e = e, .dy = dy, .x = x, .y = y, .a = a, .b = b, .scale = scale};

	j.turned = scratch->turned;
	j.stride = stride_of(t);
	j.copied = scratch->copied;
	for (j.first = 0; j.first < t && !dl_exec_stop(e); j.first += STEPS)
	{
		j.n = t - j.first < STEPS ? t - j.first : STEPS;
		dl_parallel(e->team, dl_divide_up(a, COLUMNS), turn_item, &j);
		if (j.copied != NULL && a > NARROW)
			multiply_wide(e, &j);
		else
			dl_parallel(e->team, dl_divide_up(b, NARROW_GROUP * DL_PANEL), narrow_item, &j);
	}
}
