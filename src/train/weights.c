/*
 * weights.c - see weights.h. A work item is one panel of 16 outputs.
 */
#include "weights.h"

#include <string.h>

#include "ops.h"

#define TURN	64				/* columns of a work item of dl_transpose */

typedef struct job
{
	const dl_exec *e;
	const dl_dense *d;
	dl_real		s;
	int			first,
				n,
				k,
				rank;			/* 0: no factors */
	dl_real    *side;			/* of the first thread */
	dl_real    *turned;			/* [k, rank] A^T */
	dl_real    *panels;
} job;

size_t
dl_panels_size(int n, int k)
{
	size_t		forward = (size_t) dl_panels_width(n) * (size_t) k;
	size_t		back = (size_t) dl_panels_width(k) * (size_t) n;

	return forward > back ? forward : back;
}

/* Of a thread: [k][16] a panel, [k] a row, [rank][16] of B. */
static size_t
thread_side(int k, int rank)
{
	return (size_t) k * DL_PANEL + (size_t) k + (size_t) rank * DL_PANEL;
}

size_t
dl_panels_side(int threads, int k, int rank)
{
	return (size_t) threads * thread_side(k, rank) + (size_t) k * (size_t) rank;
}

/* ---------------------------------------------------------- one panel [k][16] */

static void
widen_panel(const uint16_t *bf16, size_t n, dl_real *out)
{
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
	size_t		at = (size_t) panel * (size_t) w->k * DL_PANEL;
	size_t		n = (size_t) w->k * DL_PANEL;

	if (w->dtype == DL_F32)
		for (size_t i = 0; i < n; i++)
			out[i] = (dl_real) ((const float *) w->data)[at + i];
	else if (w->dtype == DL_BF16)
		widen_panel((const uint16_t *) w->data + at, n, out);
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

static dl_real *
side_of(const job *j, int thread)
{
	return j->side + (size_t) thread * thread_side(j->k, j->rank);
}

/* The panel of rows `row` .. of the merged weights; row and b of the thread's side are lost. */
static void
merged_panel(const job *j, int row, dl_real *side, dl_real *out)
{
	int			rows = j->d->w->rows - row < DL_PANEL ? j->d->w->rows - row : DL_PANEL;
	dl_real    *scratch = side + (size_t) j->k * DL_PANEL;

	if (j->d->w->value != NULL)
		lanes_of_rows(j->d->w->value + (size_t) row * (size_t) j->k, rows, j->k, out);
	else
		stored_panel(&j->d->stored, row / DL_PANEL, rows, scratch, out);
	if (j->rank > 0)
		add_factors(j, row, rows, scratch + j->k, out);
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

static void
run(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels,
	void (*item) (void *, int, int))
{
	job			j = {.e = e, .d = d, .s = s, .first = first, .n = n, .k = d->w->cols, .panels = panels};

	j.rank = d->lora_a != NULL ? d->lora_a->rows : 0;
	j.turned = side;
	j.side = side + (size_t) j.k * (size_t) j.rank;
	if (dl_exec_stop(e))
		return;
	if (j.rank > 0)
		dl_transpose(e, d->lora_a->value, (size_t) j.k, j.rank, j.k, 1, j.turned, (size_t) j.rank);
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

#ifdef DL_TRAIN_DOUBLE
typedef long long quad_order __attribute__((vector_size(QUAD * sizeof(long long))));
#else
typedef int quad_order __attribute__((vector_size(QUAD * sizeof(int))));
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
	a = __builtin_shuffle(r[0], r[1], (quad_order) {0, 4, 1, 5});
	b = __builtin_shuffle(r[2], r[3], (quad_order) {0, 4, 1, 5});
	c = __builtin_shuffle(r[0], r[1], (quad_order) {2, 6, 3, 7});
	d = __builtin_shuffle(r[2], r[3], (quad_order) {2, 6, 3, 7});
	r[0] = __builtin_shuffle(a, b, (quad_order) {0, 1, 4, 5});
	r[1] = __builtin_shuffle(a, b, (quad_order) {2, 3, 6, 7});
	r[2] = __builtin_shuffle(c, d, (quad_order) {0, 1, 4, 5});
	r[3] = __builtin_shuffle(c, d, (quad_order) {2, 3, 6, 7});
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
