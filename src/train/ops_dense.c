/*
 * ops_dense.c - products and linear layers; see ops.h.
 */
#include "ops.h"

#include <string.h>

#include "linear.h"

#define CHUNK_ROWS		384		/* of dl_multiply_panels: more do not stay in the caches from panel to panel */
#define NARROW_ROWS		192		/* of one work item of dl_multiply_rows */
#define SUM_COLUMNS		64		/* of one work item of dl_add_column_sums */

/* ---------------------------------------------------------------- products */

#ifdef DL_TRAIN_DOUBLE

typedef struct rows_job
{
	const dl_exec *e;
	dl_rows		x;
	int			k,
				n;
	const dl_real *panels;
	dl_rows		y;
	bool		add;
} rows_job;

static void
row_item(void *arg, int item, int thread)
{
	const rows_job *j = arg;

	dl_gemm(j->e, dl_row(j->x, item), j->x.ld, 1, j->k, j->panels, (size_t) j->k * DL_PANEL, DL_PANEL, j->n,
			dl_row(j->y, item), j->y.ld, j->add);
}

static void
multiply_all(dl_exec *e, dl_rows x, int m, int k, const dl_real *panels, int n, dl_rows y, bool add)
{
	rows_job	j = {e, x, k, n, panels, y, add};

	dl_parallel(e->team, m, row_item, &j);
}

#else

static void
multiply_all(dl_exec *e, dl_rows x, int m, int k, const dl_real *panels, int n, dl_rows y, bool add)
{
	dl_matrix	w = {.dtype = DL_F32, .n = n, .k = k, .data = panels};
	dl_product	p = {.x = x.at, .ldx = x.ld, .rows = m, .n_outputs = 1, .add = add, .out = {{&w, y.at, y.ld}}};

	dl_multiply(e->kernels, e->team, &p, 0, dl_product_panels(&p), NULL);
}

#endif

void
dl_multiply_panels(dl_exec *e, dl_rows x, int m, int k, const dl_real *panels, int n, dl_rows y, bool add)
{
	for (int i = 0; i < m && !dl_exec_stop(e); i += CHUNK_ROWS)
		multiply_all(e, dl_rows_from(x, i), m - i < CHUNK_ROWS ? m - i : CHUNK_ROWS, k, panels, n, dl_rows_from(y, i), add);
}

typedef struct sums_job
{
	dl_rows		x;
	int			m,
				n;
	dl_real    *sum;
} sums_job;

static void
sums_item(void *arg, int item, int thread)
{
	const sums_job *j = arg;
	int			first = item * SUM_COLUMNS;
	int			end = first + SUM_COLUMNS < j->n ? first + SUM_COLUMNS : j->n;

	for (int i = 0; i < j->m; i++)
	{
		const dl_real *x = dl_row(j->x, i);

		for (int c = first; c < end; c++)
			j->sum[c] += x[c];
	}
}

void
dl_add_column_sums(dl_exec *e, dl_rows x, int m, int n, dl_real *sum)
{
	sums_job	j = {x, m, n, sum};

	if (!dl_exec_stop(e))
		dl_parallel(e->team, dl_divide_up(n, SUM_COLUMNS), sums_item, &j);
}

void
dl_add_norm_sums(dl_exec *e, dl_real *sums, int m, int n, const dl_norm_params *p)
{
	size_t		ld = 2 * (size_t) n;

	if (p->w->grad != NULL)
		dl_add_column_sums(e, (dl_rows) {sums, ld}, m, n, p->w->grad);
	if (p->b != NULL && p->b->grad != NULL)
		dl_add_column_sums(e, (dl_rows) {sums + n, ld}, m, n, p->b->grad);
}

/* ----------------------------------------------------------------- scratch */

void
dl_dense_scratch_carve(dl_dense_scratch *s, void *base, size_t *at, const dl_dense_sizes *sizes)
{
	size_t		t = (size_t) sizes->rows;
	size_t		widest = (size_t) (sizes->most_n > sizes->most_k ? sizes->most_n : sizes->most_k);
	size_t		rank = (size_t) sizes->rank;
	size_t		turned = sizes->weights ? widest : rank;

	s->panels = dl_carve_reals(base, at, sizes->most_panels);
	s->side = dl_carve_reals(base, at, dl_panels_side(sizes->threads, sizes->most_n, sizes->most_k, sizes->rank));
	s->turned = dl_carve_reals(base, at, dl_turned_size(sizes->rows, (int) turned));
	s->copied = sizes->weights ? dl_carve_reals(base, at, dl_copied_size(sizes->rows, sizes->most_k)) : NULL;
	s->a_panels = dl_carve_reals(base, at, (size_t) dl_panels_width(sizes->rank) * (size_t) sizes->most_k);
	s->u = dl_carve_reals(base, at, t * rank);
	s->db = dl_carve_reals(base, at, rank * (size_t) sizes->most_n);
	s->dropped.ld = dl_row_stride(sizes->most_k);
	s->dropped.at = dl_carve_reals(base, at, sizes->dropped ? t * s->dropped.ld : 0);
}

/* ------------------------------------------------------------ linear layers */

/* Is there a type of weights that the engine's kernels read where it lies? */
static bool
reads_file(const dl_dense *d)
{
#ifdef DL_TRAIN_DOUBLE
	return false;
#else
	return d->w->value == NULL && d->lora_a == NULL && d->stored.dtype != DL_I8;
#endif
}

static void
multiply_stored(dl_exec *e, const dl_dense *d, dl_rows x, int m, dl_rows y)
{
#ifndef DL_TRAIN_DOUBLE
	for (int i = 0; i < m && !dl_exec_stop(e); i += CHUNK_ROWS)
		dl_linear(e->kernels, e->team, &d->stored, dl_row(x, i), x.ld, m - i < CHUNK_ROWS ? m - i : CHUNK_ROWS, dl_row(y, i),
				  y.ld, NULL);
#endif
}

bool
dl_multiply_columns(dl_exec *e, const dl_dense *d, int first, int n, dl_rows x, int m, dl_rows y)
{
	dl_dense	part = *d;
	size_t		bytes = d->stored.dtype == DL_F32 ? 4 : 2;

	if (!reads_file(d))
		return false;
	part.stored.n = n;
	part.stored.data = (const char *) d->stored.data + (size_t) first * (size_t) d->stored.k * bytes;
	multiply_stored(e, &part, x, m, y);
	return true;
}

/* ---------------------------------------------------- dropout before LoRA's A */

static bool
drops(const dl_dense *d, const dl_dense_scratch *scratch)
{
	return scratch->drop != NULL && d->lora_a != NULL;
}

typedef struct drop_job
{
	const dl_dense *d;
	const dl_dense_scratch *scratch;
	dl_rows		x;
	dl_real		s;
} drop_job;

/* A layer's place in the network, apart from those of net_impl.h. */
static void
drop_row(const drop_job *j, int row)
{
	const dl_drop *drop = j->scratch->drop;
	uint32_t	site = 1u << 24 | (uint32_t) j->d->lora_a->role << 16 | (uint32_t) j->d->lora_a->layer;

	dl_dropout(drop, drop->lora, site, drop->first + (uint32_t) row, dl_row(j->scratch->dropped, row), j->d->w->cols);
}

/* scratch->dropped = drop(x) */
static void
drop_item(void *arg, int item, int thread)
{
	const drop_job *j = arg;

	memcpy(dl_row(j->scratch->dropped, item), dl_row(j->x, item), (size_t) j->d->w->cols * sizeof(dl_real));
	drop_row(j, item);
}

/* x += s drop(scratch->dropped) */
static void
drop_back_item(void *arg, int item, int thread)
{
	const drop_job *j = arg;

	drop_row(j, item);
	dl_add_scaled(dl_row(j->x, item), dl_row(j->scratch->dropped, item), j->s, (size_t) j->d->w->cols);
}

static void
for_lines(dl_exec *e, const dl_dense *d, const dl_dense_scratch *scratch, dl_rows x, dl_real s, int m,
		  void (*item) (void *, int, int))
{
	drop_job	j = {d, scratch, x, s};

	if (!dl_exec_stop(e))
		dl_parallel(e->team, m, item, &j);
}

/* y += s drop(x) A^T B^T, with B in the panels of the weights, which have been used */
static void
add_dropped_factors(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, int m, const dl_dense_scratch *scratch, dl_rows y)
{
	int			rank = d->lora_a->rows;
	dl_rows		u = {scratch->u, (size_t) rank};

	for_lines(e, d, scratch, x, s, m, drop_item);
	dl_panels_of_rows(d->lora_a->value, rank, d->w->cols, scratch->a_panels);
	dl_multiply_panels(e, scratch->dropped, m, d->w->cols, scratch->a_panels, rank, u, false);
	for (size_t i = 0; i < (size_t) m * (size_t) rank; i++)
		u.at[i] *= s;
	dl_panels_of_rows(d->lora_b->value, d->w->rows, rank, scratch->panels);
	dl_multiply_panels(e, u, m, rank, scratch->panels, d->w->rows, y, true);
}

void
dl_dense_forward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, int m, const dl_dense_scratch *scratch, dl_rows y)
{
	int			n = d->w->rows;
	int			k = d->w->cols;

	if (drops(d, scratch))
	{
		dl_dense	plain = dl_without_factors(d);

		dl_dense_forward(e, &plain, s, x, m, scratch, y);
		add_dropped_factors(e, d, s, x, m, scratch, y);
		return;
	}
	if (reads_file(d))
		multiply_stored(e, d, x, m, y);
	else if (dl_can_fuse(d, m))
		dl_fused_forward(e, d, s, x, m, scratch->side, y);
	else
	{
		dl_panels_forward(e, d, s, 0, n, scratch->side, scratch->panels);
		dl_multiply_panels(e, x, m, k, scratch->panels, n, y, false);
	}
	for (int i = 0; d->b != NULL && i < m && !e->stopped; i++)
		dl_add_scaled(dl_row(y, i), d->b->value, 1, (size_t) n);
}

/* dB^T = s u^T dy and dA = s (dy B)^T x, with u = x A^T: the narrow matrices are the ones that are turned. */
void
dl_factors_backward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, dl_rows dy, int m, const dl_dense_scratch *scratch)
{
	int			n = d->w->rows;
	int			k = d->w->cols;
	int			rank = d->lora_a->rows;
	dl_rows		u = {scratch->u, (size_t) rank};
	dl_rows		db = {scratch->db, (size_t) n};

	dl_panels_of_rows(d->lora_a->value, rank, k, scratch->a_panels);
	dl_multiply_panels(e, x, m, k, scratch->a_panels, rank, u, false);
	memset(db.at, 0, (size_t) rank * (size_t) n * sizeof(dl_real));
	dl_multiply_turned(e, u, s, m, rank, dy, n, scratch, db);
	for (int i = 0; i < n; i++)
		for (int r = 0; r < rank; r++)
			d->lora_b->grad[(size_t) i * (size_t) rank + (size_t) r] += db.at[(size_t) r * (size_t) n + (size_t) i];
	dl_multiply_rows(e, dy, m, n, (dl_rows) {d->lora_b->value, (size_t) rank}, rank, u);
	dl_multiply_turned(e, u, s, m, rank, x, k, scratch, (dl_rows) {d->lora_a->grad, (size_t) k});
}

void
dl_dense_backward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, dl_rows dy, int m, const dl_dense_scratch *scratch,
				  dl_rows dx, bool add)
{
	int			n = d->w->rows;
	int			k = d->w->cols;

	if (drops(d, scratch))
	{
		dl_dense	plain = dl_without_factors(d);
		dl_rows		u = {scratch->u, (size_t) d->lora_a->rows};

		for_lines(e, d, scratch, x, s, m, drop_item);
		dl_factors_backward(e, d, s, scratch->dropped, dy, m, scratch);	/* leaves dy B in u */
		dl_multiply_rows(e, u, m, d->lora_a->rows, (dl_rows) {d->lora_a->value, (size_t) k}, k, scratch->dropped);
		dl_dense_backward(e, &plain, s, x, dy, m, scratch, dx, add);
		if (dx.at != NULL)
			for_lines(e, d, scratch, dx, s, m, drop_back_item);
		return;
	}
	if (d->w->grad != NULL)
		dl_multiply_turned(e, dy, 1, m, n, x, k, scratch, (dl_rows) {d->w->grad, (size_t) k});
	if (d->b != NULL && d->b->grad != NULL)
		dl_add_column_sums(e, dy, m, n, d->b->grad);
	if (d->lora_a != NULL)
		dl_factors_backward(e, d, s, x, dy, m, scratch);
	if (dx.at == NULL)
		return;
	if (dl_can_fuse(d, m))
		dl_fused_back(e, d, s, dy, m, scratch->side, dx, add);
	else
	{
		dl_panels_back(e, d, s, 0, n, scratch->side, scratch->panels);
		dl_multiply_panels(e, dy, m, n, scratch->panels, k, dx, add);
	}
}

/* ------------------------------------------------------- a few columns wide */

typedef struct narrow_job
{
	const dl_exec *e;
	dl_rows		x,
				w,
				y;
	int			m,
				k,
				n;
} narrow_job;

static void
narrow_item(void *arg, int item, int thread)
{
	const narrow_job *j = arg;
	int			row = item * NARROW_ROWS;
	int			rows = j->m - row < NARROW_ROWS ? j->m - row : NARROW_ROWS;

	dl_gemm(j->e, dl_row(j->x, row), j->x.ld, rows, j->k, j->w.at, DL_PANEL, j->w.ld, j->n, dl_row(j->y, row), j->y.ld,
			false);
}

void
dl_multiply_rows(dl_exec *e, dl_rows x, int m, int k, dl_rows w, int n, dl_rows y)
{
	narrow_job	j = {e, x, w, y, m, k, n};

	if (!dl_exec_stop(e))
		dl_parallel(e->team, dl_divide_up(m, NARROW_ROWS), narrow_item, &j);
}
