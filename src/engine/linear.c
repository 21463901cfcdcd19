/*
 * linear.c - a product, split over the team.
 *
 * The work is cut in tiles of a panel group times a block of rows. A block's
 * activations are kept to a share of the second level cache, since the kernel
 * walks all rows of the block for each panel of the group. Tiles are also made
 * small enough that every thread gets several, down to a floor below which
 * starting a tile would cost more than it does. How it is cut changes no bit:
 * an output element is one chain over k.
 */
#include "linear.h"

#define INPUT_SHARE		((size_t) 256 * 1024)	/* bytes of activations of a tile, a stretch of k */
#define OUTPUT_SHARE	((size_t) 32 * 1024)	/* bytes of its outputs, which wait from stretch to stretch */
#define ROW_STEP		12		/* row blocks are multiples of it: kernels take 4 or 6 rows at a time */
#define TILES_A_THREAD	4
#define SMALLEST_TILE	((size_t) 1 << 16)	/* multiply-adds */
#define SMALLEST_SHARE	((size_t) 1 << 18)	/* multiply-adds of a thread */
#define QUANTIZE_ROWS	8		/* of one work item */

typedef struct work
{
	const dl_kernels *kernels;
	const dl_product *p;
	int			first,			/* panels of this call */
				panels;
	int			group;			/* panels of a tile */
	int			block;			/* rows of a tile */
	int			blocks;
	int			k,
				k4;
	dl_s8_rows	ready;			/* int8 activations */
} work;

/* A tile of one matrix. */
typedef struct part
{
	const dl_output *out;
	int			row,
				rows,
				panel,
				panels,
				columns;
} part;

static size_t
round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static int
divide_up(int a, int b)
{
	return (a + b - 1) / b;
}

size_t
dl_linear_scratch(int rows, int k)
{
	int			k4 = divide_up(k, 4);

	return round_up((size_t) rows * (size_t) dl_groups(k4) * sizeof(float), 64) + (size_t) rows * 4 * (size_t) k4;
}

/* ------------------------------------------------------------- int8 rows */

dl_s8_rows
dl_s8_rows_in(void *scratch, int rows, int k)
{
	size_t		scales = (size_t) rows * (size_t) dl_groups(divide_up(k, 4)) * sizeof(float);

	return (dl_s8_rows) {scratch, (int8_t *) scratch + round_up(scales, 64)};
}

dl_s8_rows
dl_s8_rows_from(dl_s8_rows all, int k, int row)
{
	int			k4 = divide_up(k, 4);

	if (all.byte == NULL)
		return all;
	return (dl_s8_rows) {all.scale + (size_t) row * (size_t) dl_groups(k4), all.byte + (size_t) row * 4 * (size_t) k4};
}

typedef struct quantizing
{
	const dl_kernels *kernels;
	const float *x;
	size_t		ldx;
	int			rows,
				k;
	dl_s8_rows	to;
} quantizing;

static void
quantize_rows(void *arg, int item, int thread)
{
	const quantizing *q = arg;
	int			end = (item + 1) * QUANTIZE_ROWS < q->rows ? (item + 1) * QUANTIZE_ROWS : q->rows;

	for (int i = item * QUANTIZE_ROWS; i < end; i++)
	{
		dl_s8_rows	to = dl_s8_rows_from(q->to, q->k, i);

		q->kernels->quantize_s8(q->x + (size_t) i * q->ldx, q->k, divide_up(q->k, 4), to.byte, to.scale);
	}
}

dl_s8_rows
dl_quantize(const dl_kernels *kernels, dl_team *team, const float *x, size_t ldx, int rows, int k, void *scratch)
{
	quantizing	q = {kernels, x, ldx, rows, k, dl_s8_rows_in(scratch, rows, k)};

	dl_parallel(team, divide_up(rows, QUANTIZE_ROWS), quantize_rows, &q);
	return q.to;
}

/* -------------------------------------------------------------- products */

/* Six rows of a stretch of k begin at least an eighth of a 4 kB page apart, modulo the page. */
static bool
spreads(size_t stride)
{
	enum { PAGE = 4096, ROWS = 6, LEAST = PAGE / 8 };

	for (size_t i = 1; i < ROWS; i++)
	{
		size_t		at = i * stride * sizeof(float) % PAGE;

		if (at < LEAST || at > PAGE - LEAST)
			return false;
	}
	return true;
}

size_t
dl_row_stride(int k)
{
	size_t		stride = round_up((size_t) k, DL_PANEL);

	if (k < DL_K_STRETCH / 2)	/* six short rows fit side by side */
		return (size_t) k;
	while (!spreads(stride))
		stride += DL_PANEL;
	return stride;
}

static int
panels_of(const dl_matrix *w)
{
	return divide_up(w->n, DL_PANEL);
}

static size_t
panel_bytes(const dl_matrix *w)
{
	size_t		elements = (size_t) w->k * DL_PANEL;

	return w->dtype == DL_F32 ? 4 * elements : w->dtype == DL_BF16 ? 2 * elements : dl_s8_panel_bytes(divide_up(w->k, 4));
}

int
dl_product_panels(const dl_product *p)
{
	int			panels = panels_of(p->out[0].w);

	for (int i = 1; i < p->n_outputs && !p->abreast; i++)
		panels += panels_of(p->out[i].w);
	return panels;
}

int64_t
dl_product_panel_cost(const dl_product *p)
{
	const dl_matrix *w = p->out[0].w;
	int64_t		one = (int64_t) p->rows * w->k * DL_PANEL / (w->dtype == DL_I8 ? 2 : 1);

	return p->abreast ? one * p->n_outputs : one;
}

/* y += bias for a tile whose chains are complete */
static void
add_bias(const work *s, const part *t)
{
	const dl_output *out = t->out;
	int			column = t->panel * DL_PANEL;

	if (out->w->bias == NULL)
		return;
	for (int i = 0; i < t->rows; i++)
		s->kernels->add_bias(out->y + (size_t) (t->row + i) * out->ldy + column, out->w->bias + column, t->columns);
}

static void
multiply_part(const work *s, const part *t)
{
	const dl_matrix *w = t->out->w;
	const void *panels = (const char *) w->data + (size_t) t->panel * panel_bytes(w);
	const float *x = s->p->x + (size_t) t->row * s->p->ldx;
	float	   *y = t->out->y + (size_t) t->row * t->out->ldy + t->panel * DL_PANEL;
	dl_s8_rows	ready;

	switch (w->dtype)
	{
		case DL_F32:
			s->kernels->gemm_f32(x, s->p->ldx, t->rows, w->k, panels,
								 (size_t) w->k * DL_PANEL, DL_PANEL, t->panels, t->columns, y, t->out->ldy, s->p->add);
			add_bias(s, t);
			break;
		case DL_BF16:
			s->kernels->gemm_bf16(x, s->p->ldx, t->rows, w->k, panels, t->panels,
								  t->columns, y, t->out->ldy);
			add_bias(s, t);
			break;
		case DL_I8:
			ready = dl_s8_rows_from(s->ready, s->k, t->row);
			s->kernels->gemm_s8(ready.byte, 4 * (size_t) s->k4, ready.scale, t->rows, s->k4,
								panels,
								w->bias ? w->bias + t->panel * DL_PANEL : NULL, t->panels, t->columns, y, t->out->ldy);
			break;
	}
}

/* Panels [panel, panel + panels) of output i, or as many as it has; returns how many. */
static int
multiply_output(const work *s, int i, int row, int rows, int panel, int panels)
{
	const dl_output *out = &s->p->out[i];
	part		t = {.out = out, .row = row, .rows = rows, .panel = panel, .panels = panels};

	if (panel + panels > panels_of(out->w))
		t.panels = panels_of(out->w) - panel;
	t.columns = out->w->n - panel * DL_PANEL;
	if (t.columns > t.panels * DL_PANEL)
		t.columns = t.panels * DL_PANEL;
	multiply_part(s, &t);
	return t.panels;
}

static void
multiply_tile(void *arg, int item, int thread)
{
	const work *s = arg;
	const dl_product *p = s->p;
	int			row = item % s->blocks * s->block;
	int			rows = p->rows - row < s->block ? p->rows - row : s->block;
	int			at = item / s->blocks * s->group;
	int			panels = s->panels - at < s->group ? s->panels - at : s->group;
	int			panel = s->first + at;
	int			columns;

	if (!p->abreast)
		for (int i = 0, left = panels; left > 0; i++)
		{
			int			there = panels_of(p->out[i].w);

			if (panel < there)
			{
				int			done = multiply_output(s, i, row, rows, panel, left);

				left -= done;
				panel += done;
			}
			panel -= there;
		}
	else
		for (int i = 0; i < p->n_outputs; i++)
			multiply_output(s, i, row, rows, panel, panels);
	if (p->finish == NULL)
		return;
	panel = s->first + at;
	columns = p->out[0].w->n - panel * DL_PANEL;
	p->finish(p->ctx, row, rows, panel * DL_PANEL, columns < panels * DL_PANEL ? columns : panels * DL_PANEL);
}

/* Choose block and group; see the head of this file. */
static void
cut(work *s, int threads)
{
	size_t		k = (size_t) s->k;
	size_t		x_row = s->p->out[0].w->dtype == DL_I8 ? k : 4 * (k < DL_K_STRETCH ? k : DL_K_STRETCH);
	size_t		most_rows = INPUT_SHARE / x_row / ROW_STEP * ROW_STEP;
	size_t		most_group;
	int			rows = s->p->rows;
	int			want = threads > 1 ? threads * TILES_A_THREAD : 1;

	if (most_rows < 2 * ROW_STEP)
		most_rows = 2 * ROW_STEP;
	s->blocks = divide_up(rows, most_rows > (size_t) rows ? rows : (int) most_rows);
	s->block = (int) round_up((size_t) divide_up(rows, s->blocks), ROW_STEP);
	most_group = OUTPUT_SHARE / ((size_t) (s->block < rows ? s->block : rows) * DL_PANEL * sizeof(float));
	s->group = most_group < 4 ? 4 : most_group > (size_t) s->panels ? s->panels : (int) most_group & ~3;
	if (s->group > s->panels)
		s->group = s->panels;
	while (divide_up(s->panels, s->group) * divide_up(rows, s->block) < want)
	{
		size_t		tile = (size_t) s->group * (size_t) (s->block < rows ? s->block : rows) * k * DL_PANEL;

		if (tile < 2 * SMALLEST_TILE)
			break;
		if (s->group > 4 || (s->group > 1 && s->block <= ROW_STEP))
			s->group = divide_up(s->group, 2);
		else if (s->block > ROW_STEP)
			s->block = (int) round_up((size_t) divide_up(s->block, 2), ROW_STEP);
		else
			break;
	}
	s->blocks = divide_up(rows, s->block);
}

/* The part of a team that such a product is worth: less than a few microseconds of work each is a loss. */
static int
worthwhile(const dl_team *team, size_t multiply_adds)
{
	size_t		most = multiply_adds / SMALLEST_SHARE;

	return most >= (size_t) dl_team_size(team) ? dl_team_size(team) : most > 0 ? (int) most : 1;
}

static void
multiply_all(work *s, dl_team *team, int threads)
{
	cut(s, threads);
	dl_parallel(team, divide_up(s->panels, s->group) * s->blocks, multiply_tile, s);
}

static bool
any_int8(const dl_product *p)
{
	for (int i = 0; i < p->n_outputs; i++)
		if (p->out[i].w->dtype == DL_I8)
			return true;
	return false;
}

void
dl_multiply(const dl_kernels *kernels, dl_team *team, const dl_product *p, int first, int n, void *scratch)
{
	int			k = p->out[0].w->k;
	work		s = {.kernels = kernels, .p = p, .first = first, .panels = n, .k = k, .k4 = divide_up(k, 4)};
	int			threads;

	if (p->rows <= 0 || n <= 0)
		return;
	threads = worthwhile(team, (size_t) p->rows * (size_t) n * DL_PANEL * (size_t) k);
	if (threads == 1)
		team = NULL;
	if (any_int8(p))
		s.ready = first == 0 ? dl_quantize(kernels, team, p->x, p->ldx, p->rows, k, scratch) :
			dl_s8_rows_in(scratch, p->rows, k);
	multiply_all(&s, team, threads);
}

void
dl_linear(const dl_kernels *kernels, dl_team *team, const dl_matrix *w, const float *x, size_t ldx,
		  int rows, float *y, size_t ldy, void *scratch)
{
	dl_product	p = {.x = x, .ldx = ldx, .rows = rows, .n_outputs = 1, .out = {{w, y, ldy}}};

	dl_multiply(kernels, team, &p, 0, dl_product_panels(&p), scratch);
}

void
dl_linear_columns(const dl_kernels *kernels, const dl_matrix *w, int first, int columns, const float *x,
				  size_t ldx, dl_s8_rows ready, int rows, float *y, size_t ldy)
{
	dl_matrix	part = *w;
	size_t		panel = (size_t) first / DL_PANEL;
	dl_product	p = {.x = x, .ldx = ldx, .rows = rows, .n_outputs = 1, .out = {{&part, y, ldy}}};
	work		s = {.kernels = kernels, .p = &p, .k = w->k, .k4 = divide_up(w->k, 4), .ready = ready};

	part.data = (const char *) w->data + panel * panel_bytes(w);
	part.n = columns;
	if (w->bias != NULL)
		part.bias = w->bias + first;
	s.panels = dl_product_panels(&p);
	multiply_all(&s, NULL, 1);
}
