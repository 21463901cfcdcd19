/*
 * weights.c - see weights.h. A work item is one panel of 16 outputs.
 */
#include "weights.h"

#include <string.h>

#include "ops.h"

#define FUSED	4				/* panels that a work item of a fused product makes */
#define FUSED_ROWS	384		/* more rows than this are worth panels that all of them find */
#define TURN	64				/* columns of a work item of dl_transpose */

typedef struct job
{
	const dl_exec *e;
	const dl_dense *d;
	dl_real		s;
	int			first,
				n,
				k,
				widest,			/* of n and k */
				rank;			/* 0: no factors */
	dl_real    *side;			/* of the first thread */
	dl_real    *turned;			/* [k, rank] A^T */
	dl_real    *panels;
	dl_rows		x,				/* of a fused product */
				y;
	int			m;
	bool		add;
} job;

size_t
dl_panels_size(int n, int k)
{
	size_t		forward = (size_t) dl_panels_width(n) * (size_t) k;
	size_t		back = (size_t) dl_panels_width(k) * (size_t) n;

	return forward > back ? forward : back;
}

/* Of a thread: FUSED panels, [k] a row, [rank][16] of a factor, [16][16] a block. */
static size_t
thread_side(int widest, int rank)
{
	return (size_t) widest * (FUSED * DL_PANEL + 1) + (size_t) rank * DL_PANEL + DL_PANEL * DL_PANEL;
}

size_t
dl_panels_side(int threads, int n, int k, int rank)
{
	return (size_t) threads * thread_side(n > k ? n : k, rank) + (size_t) k * (size_t) rank;
}

/* ---------------------------------------------------------- one panel [k][16] */

/* Elements at .. at + n - 1 of an f32 or bf16 matrix, as they lie */
static void
widen(const dl_matrix *w, size_t at, size_t n, dl_real *out)
{
	const uint16_t *bf16 = (const uint16_t *) w->data + at;

	if (w->dtype == DL_F32)
	{
		for (size_t i = 0; i < n; i++)
			out[i] = (dl_real) ((const float *) w->data)[at + i];
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	bits = (uint32_t) bf16[i] << 16;
		float		x;

		memcpy(&x, &bits, sizeof(x));
		out[i] = (dl_real) x;
	}
}

/* 16 lanes of rows w [rows, k] */
static void
lanes_of_rows(const dl_real *w, int rows, int k, dl_real *out)
{
	if (rows < DL_PANEL)
		memset(out, 0, (size_t) k * DL_PANEL * sizeof(dl_real));
	dl_turn(w, (size_t) k, rows, k, 1, out, DL_PANEL);
}

static void
stored_panel(const dl_matrix *w, int panel, int rows, dl_real *row, dl_real *out)
{
	size_t		n = (size_t) w->k * DL_PANEL;

	if (w->dtype != DL_I8)
		widen(w, (size_t) panel * n, n, out);
	else
		for (int lane = 0; lane < DL_PANEL; lane++)
		{
			if (lane < rows)
				dl_weight_row(w, panel * DL_PANEL + lane, row);
			for (int i = 0; i < w->k; i++)
				out[i * DL_PANEL + lane] = lane < rows ? row[i] : 0;
		}
}

/* out += A^T (s B^T) */
static void
add_factors(const job *j, int row, int rows, dl_real *b, dl_real *out)
{
	for (int r = 0; r < j->rank; r++)
		for (int lane = 0; lane < DL_PANEL; lane++)
			b[r * DL_PANEL + lane] = lane < rows ?
				j->s * j->d->lora_b->value[(size_t) (row + lane) * (size_t) j->rank + (size_t) r] : 0;
	dl_gemm(j->e, j->turned, (size_t) j->rank, j->k, j->rank, b, 0, DL_PANEL, DL_PANEL, out, DL_PANEL, true);
}

/* A thread's part of the side: its panels; what stands behind them. */
static dl_real *
side_of(const job *j, int thread)
{
	return j->side + (size_t) thread * thread_side(j->widest, j->rank);
}

static dl_real *
behind_panels(const job *j, dl_real *side)
{
	return side + (size_t) j->widest * FUSED * DL_PANEL;
}

/* The panel of rows `row` .. of the merged weights; what stands behind the panels of the side is lost. */
static void
merged_panel(const job *j, int row, dl_real *side, dl_real *out)
{
	int			rows = j->d->w->rows - row < DL_PANEL ? j->d->w->rows - row : DL_PANEL;
	dl_real    *scratch = behind_panels(j, side);

	if (j->d->w->value != NULL)
		lanes_of_rows(j->d->w->value + (size_t) row * (size_t) j->k, rows, j->k, out);
	else
		stored_panel(&j->d->stored, row / DL_PANEL, rows, scratch, out);
	if (j->rank > 0)
		add_factors(j, row, rows, scratch + j->widest, out);
}

static void
forward_item(void *arg, int item, int thread)
{
	const job  *j = arg;

	merged_panel(j, j->first + item * DL_PANEL, side_of(j, thread), j->panels + (size_t) item * (size_t) j->k * DL_PANEL);
}

/* Steps 16 item .. of all panels of the transpose. */
static void
back_item(void *arg, int item, int thread)
{
	const job  *j = arg;
	dl_real    *panel = side_of(j, thread);
	int			rows = j->n - item * DL_PANEL < DL_PANEL ? j->n - item * DL_PANEL : DL_PANEL;

	merged_panel(j, j->first + item * DL_PANEL, panel, panel);
	for (int q = 0; q < j->k; q += DL_PANEL)
	{
		int			columns = j->k - q < DL_PANEL ? j->k - q : DL_PANEL;
		dl_real    *out = j->panels + (size_t) q * (size_t) j->n + (size_t) item * DL_PANEL * DL_PANEL;

		if (columns < DL_PANEL)
			memset(out, 0, (size_t) rows * DL_PANEL * sizeof(dl_real));
		dl_turn(panel + (size_t) q * DL_PANEL, DL_PANEL, columns, rows, 1, out, DL_PANEL);
	}
}

/* A^T for all panels of the merged weights. */
static void
turn_factor(dl_exec *e, const job *j)
{
	if (j->rank > 0)
		dl_transpose(e, j->d->lora_a->value, (size_t) j->k, j->rank, j->k, 1, j->turned, (size_t) j->rank);
}

static job
job_of(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side)
{
	job			j = {.e = e, .d = d, .s = s, .first = first, .n = n, .k = d->w->cols};

	j.widest = n > j.k ? n : j.k;
	j.rank = d->lora_a != NULL ? d->lora_a->rows : 0;
	j.turned = side;
	j.side = side + (size_t) j.k * (size_t) j.rank;
	return j;
}

static void
run(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels,
	void (*item) (void *, int, int))
{
	job			j = job_of(e, d, s, first, n, side);

	j.panels = panels;
	if (dl_exec_stop(e))
		return;
	turn_factor(e, &j);
	dl_parallel(e->team, dl_divide_up(n, DL_PANEL), item, &j);
}

void
dl_panels_forward(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels)
{
	run(e, d, s, first, n, side, panels, forward_item);
}

void
dl_panels_back(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels)
{
	run(e, d, s, first, n, side, panels, back_item);
}

/* ------------------------------------------------------------ fused products */

/* Columns `column` .. of 16 rows `row` .. of W, transposed: out [rows][16]. */
static void
turned_block(const job *j, int row, int rows, int column, int columns, dl_real *block, dl_real *out)
{
	const dl_matrix *w = &j->d->stored;
	size_t		at = ((size_t) (row / DL_PANEL) * (size_t) j->k + (size_t) column) * DL_PANEL;
	const dl_real *value = j->d->w->value;

	if (columns < DL_PANEL)
		memset(out, 0, (size_t) rows * DL_PANEL * sizeof(dl_real));
	if (value != NULL)
	{
		for (int i = 0; i < rows; i++)
			memcpy(out + i * DL_PANEL, value + (size_t) (row + i) * (size_t) j->k + (size_t) column,
				   (size_t) columns * sizeof(dl_real));
		return;
	}
	widen(w, at, (size_t) columns * DL_PANEL, block);
	dl_turn(block, DL_PANEL, columns, rows, 1, out, DL_PANEL);
}

/* The panel [n][16] of columns `column` .. of W + B (s A). */
static void
turned_panel(const job *j, int column, dl_real *side, dl_real *out)
{
	int			columns = j->k - column < DL_PANEL ? j->k - column : DL_PANEL;
	dl_real    *a = behind_panels(j, side);
	dl_real    *block = a + (size_t) j->rank * DL_PANEL;

	for (int row = 0; row < j->n; row += DL_PANEL)
		turned_block(j, row, j->n - row < DL_PANEL ? j->n - row : DL_PANEL, column, columns, block,
					 out + (size_t) row * DL_PANEL);
	for (int r = 0; r < j->rank; r++)
		for (int l = 0; l < DL_PANEL; l++)
			a[r * DL_PANEL + l] = l < columns ?
				j->s * j->d->lora_a->value[(size_t) r * (size_t) j->k + (size_t) (column + l)] : 0;
	if (j->rank > 0)
		dl_gemm(j->e, j->d->lora_b->value, (size_t) j->rank, j->n, j->rank, a, 0, DL_PANEL, DL_PANEL, out, DL_PANEL, true);
}

static void
fused_item(const job *j, int item, int thread, int steps, int outputs, void (*panel) (const job *, int, dl_real *, dl_real *))
{
	dl_real    *side = side_of(j, thread);
	int			first = item * FUSED * DL_PANEL;
	int			columns = outputs - first < FUSED * DL_PANEL ? outputs - first : FUSED * DL_PANEL;

	for (int c = 0; c < columns; c += DL_PANEL)
		panel(j, first + c, side, side + (size_t) c * (size_t) steps);
	dl_gemm(j->e, j->x.at, j->x.ld, j->m, steps, side, (size_t) steps * DL_PANEL, DL_PANEL, columns, j->y.at + first,
			j->y.ld, j->add);
}

static void
fused_forward_item(void *arg, int item, int thread)
{
	const job  *j = arg;

	fused_item(j, item, thread, j->k, j->n, merged_panel);
}

static void
fused_back_item(void *arg, int item, int thread)
{
	const job  *j = arg;

	fused_item(j, item, thread, j->n, j->k, turned_panel);
}

bool
dl_can_fuse(const dl_dense *d, int m)
{
	return m <= FUSED_ROWS && (d->w->value != NULL || d->stored.dtype != DL_I8);
}

void
dl_fused_forward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, int m, dl_real *side, dl_rows y)
{
	job			j = job_of(e, d, s, 0, d->w->rows, side);

	j.x = x;
	j.y = y;
	j.m = m;
	if (dl_exec_stop(e))
		return;
	turn_factor(e, &j);
	dl_parallel(e->team, dl_divide_up(j.n, FUSED * DL_PANEL), fused_forward_item, &j);
}

void
dl_fused_back(dl_exec *e, const dl_dense *d, dl_real s, dl_rows dy, int m, dl_real *side, dl_rows dx, bool add)
{
	job			j = job_of(e, d, s, 0, d->w->rows, side);

	j.x = dy;
	j.y = dx;
	j.m = m;
	j.add = add;
	if (!dl_exec_stop(e))
		dl_parallel(e->team, dl_divide_up(j.k, FUSED * DL_PANEL), fused_back_item, &j);
}

void
dl_weight_row(const dl_matrix *w, int row, dl_real *x)
{
	float	   *f = (float *) x;

	dl_matrix_row(w, row, f);
	for (int i = w->k - 1; sizeof(dl_real) != sizeof(float) && i >= 0; i--)
		x[i] = (dl_real) f[i];		/* widened in place, the last first */
}

void
dl_panels_of_rows(const dl_real *w, int n, int k, dl_real *panels)
{
	for (int row = 0; row < n; row += DL_PANEL)
		lanes_of_rows(w + (size_t) row * (size_t) k, n - row < DL_PANEL ? n - row : DL_PANEL, k,
					  panels + (size_t) row * (size_t) k);
}

/* ------------------------------------------------------------- transposition */

typedef struct turning
{
	const dl_real *in;
	size_t		ld_in;
	int			rows,
				cols;
	dl_real		scale;
	dl_real    *out;
	size_t		ld_out;
} turning;

#define QUAD	4

/* Four floats, or doubles, of the baseline's vectors. */
typedef dl_real quad __attribute__((vector_size(QUAD * sizeof(dl_real))));

/* Elements a, b, c, d of x and y side by side. Clang has one builtin for it, GCC before 12 the other. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(x, y, a, b, c, d)	__builtin_shufflevector(x, y, a, b, c, d)
#else
#ifdef DL_TRAIN_DOUBLE
typedef long long quad_order __attribute__((vector_size(QUAD * sizeof(long long))));
#else
typedef int quad_order __attribute__((vector_size(QUAD * sizeof(int))));
#endif
#define SHUFFLE(x, y, a, b, c, d)	__builtin_shuffle(x, y, (quad_order) {a, b, c, d})
#endif

/* out[c][i] = scale in[i][c], 4 x 4 */
static inline void
turn_quads(const dl_real *in, size_t ld_in, dl_real scale, dl_real *out, size_t ld_out)
{
	quad		r[QUAD],
				a,
				b,
				c,
				d;

	for (int i = 0; i < QUAD; i++)
	{
		memcpy(&r[i], in + (size_t) i * ld_in, sizeof(quad));
		r[i] *= scale;
	}
	a = SHUFFLE(r[0], r[1], 0, 4, 1, 5);
	b = SHUFFLE(r[2], r[3], 0, 4, 1, 5);
	c = SHUFFLE(r[0], r[1], 2, 6, 3, 7);
	d = SHUFFLE(r[2], r[3], 2, 6, 3, 7);
	r[0] = SHUFFLE(a, b, 0, 1, 4, 5);
	r[1] = SHUFFLE(a, b, 2, 3, 6, 7);
	r[2] = SHUFFLE(c, d, 0, 1, 4, 5);
	r[3] = SHUFFLE(c, d, 2, 3, 6, 7);
	for (int i = 0; i < QUAD; i++)
		memcpy(out + (size_t) i * ld_out, &r[i], sizeof(quad));
}

void
dl_turn(const dl_real *in, size_t ld_in, int rows, int cols, dl_real scale, dl_real *out, size_t ld_out)
{
	int			full_rows = rows / QUAD * QUAD;
	int			full_cols = cols / QUAD * QUAD;

	for (int i = 0; i < full_rows; i += QUAD)
		for (int c = 0; c < full_cols; c += QUAD)
			turn_quads(in + (size_t) i * ld_in + c, ld_in, scale, out + (size_t) c * ld_out + i, ld_out);
	for (int i = 0; i < rows; i++)
		for (int c = i < full_rows ? full_cols : 0; c < cols; c++)
			out[(size_t) c * ld_out + (size_t) i] = scale * in[(size_t) i * ld_in + (size_t) c];
}

/* TURN columns of the input: as many rows of the output, a cache line of them at a time. */
static void
turn_item(void *arg, int item, int thread)
{
	const turning *t = arg;
	int			first = item * TURN;
	int			columns = t->cols - first < TURN ? t->cols - first : TURN;

	for (int i = 0; i < t->rows; i += DL_PANEL)
		dl_turn(t->in + (size_t) i * t->ld_in + first, t->ld_in, t->rows - i < DL_PANEL ? t->rows - i : DL_PANEL, columns,
				t->scale, t->out + (size_t) first * t->ld_out + i, t->ld_out);
}

void
dl_transpose(dl_exec *e, const dl_real *in, size_t ld_in, int rows, int cols, dl_real scale, dl_real *out, size_t ld_out)
{
	turning		t = {in, ld_in, rows, cols, scale, out, ld_out};

	if (!dl_exec_stop(e))
		dl_parallel(e->team, dl_divide_up(cols, TURN), turn_item, &t);
}
