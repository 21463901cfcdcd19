/*
 * linear.c - one product, split over the team.
 *
 * The output is cut in tiles of a panel group times a block of rows. A group's
 * weights and a block's activations are each kept to a share of the second
 * level cache, since the kernel walks all rows of the block for each panel of
 * the group. Tiles are also made small enough that every thread gets several,
 * down to a floor below which starting a tile would cost more than it does.
 * How it is cut changes no bit: an output element is one chain over k.
 */
#include "linear.h"

#include "threads.h"

#define CACHE_SHARE		((size_t) 256 * 1024)	/* bytes of weights, and of activations, of a tile */
#define ROW_STEP		12		/* row blocks are multiples of it: kernels take 4 or 6 rows at a time */
#define TILES_A_THREAD	4
#define SMALLEST_TILE	((size_t) 1 << 16)	/* multiply-adds */
#define SMALLEST_SHARE	((size_t) 1 << 18)	/* multiply-adds of a thread */
#define QUANTIZE_ROWS	8		/* of one work item */

typedef struct work
{
	const dl_kernels *kernels;
	const dl_matrix *w;
	const float *x;
	size_t		ldx;
	int			rows;
	float	   *y;
	size_t		ldy;
	int			panels;			/* of the whole matrix */
	int			group;			/* panels of a tile */
	int			block;			/* rows of a tile */
	int			blocks;
	int			k4;
	float	   *scales;			/* int8 activations: [rows] */
	int8_t	   *quantized;		/* [rows, 4 * k4] */
} work;

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
	return round_up((size_t) rows * sizeof(float), 64) + (size_t) rows * round_up((size_t) k, 4);
}

static void
quantize_rows(void *arg, int item, int thread)
{
	const work *s = arg;
	int			end = (item + 1) * QUANTIZE_ROWS < s->rows ? (item + 1) * QUANTIZE_ROWS : s->rows;

	for (int i = item * QUANTIZE_ROWS; i < end; i++)
		s->kernels->quantize_s8(s->x + (size_t) i * s->ldx, s->w->k, s->k4,
								s->quantized + (size_t) i * 4 * s->k4, &s->scales[i]);
}

/* y += bias for a tile whose chains are complete */
static void
add_bias(const work *s, int first_row, int rows, int first_column, int columns)
{
	if (s->w->bias == NULL)
		return;
	for (int i = 0; i < rows; i++)
		s->kernels->add_bias(s->y + (size_t) (first_row + i) * s->ldy + first_column,
							 s->w->bias + first_column, columns);
}

/*
 * int8 bias goes into the kernel's last operation, which reads whole panels;
 * the model's bias has n elements, so a last panel that is not full gets a
 * padded copy.
 */
static void
multiply_s8(const work *s, int row, int rows, int panel, int panels, int columns)
{
	const dl_matrix *w = s->w;
	size_t		panel_bytes = (size_t) s->k4 * 4 * DL_PANEL;
	const int8_t *weights = (const int8_t *) w->data + (size_t) panel * panel_bytes;
	const int8_t *x = s->quantized + (size_t) row * 4 * s->k4;
	int			column = panel * DL_PANEL;
	float	   *y = s->y + (size_t) row * s->ldy + column;
	int			full = w->bias ? columns / DL_PANEL : panels;
	float		bias[DL_PANEL] = {0};

	if (full > 0)
		s->kernels->gemm_s8(x, 4 * (size_t) s->k4, s->scales + row, rows, s->k4, weights, w->scale + column,
							w->sums + column, w->bias ? w->bias + column : NULL, full,
							columns < full * DL_PANEL ? columns : full * DL_PANEL, y, s->ldy);
	if (full == panels)
		return;
	for (int j = full * DL_PANEL; j < columns; j++)
		bias[j - full * DL_PANEL] = w->bias[column + j];
	column += full * DL_PANEL;
	s->kernels->gemm_s8(x, 4 * (size_t) s->k4, s->scales + row, rows, s->k4, weights + (size_t) full * panel_bytes,
						w->scale + column, w->sums + column, bias, 1, columns - full * DL_PANEL,
						y + full * DL_PANEL, s->ldy);
}

static void
multiply_tile(void *arg, int item, int thread)
{
	const work *s = arg;
	const dl_matrix *w = s->w;
	int			row = item % s->blocks * s->block;
	int			rows = s->rows - row < s->block ? s->rows - row : s->block;
	int			panel = item / s->blocks * s->group;
	int			panels = s->panels - panel < s->group ? s->panels - panel : s->group;
	int			column = panel * DL_PANEL;
	int			columns = w->n - column < panels * DL_PANEL ? w->n - column : panels * DL_PANEL;
	size_t		panel_size = (size_t) w->k * DL_PANEL;
	const float *x = s->x + (size_t) row * s->ldx;
	float	   *y = s->y + (size_t) row * s->ldy + column;

	switch (w->dtype)
	{
		case DL_F32:
			s->kernels->gemm_f32(x, s->ldx, rows, w->k, (const float *) w->data + panel * panel_size, panel_size,
								 DL_PANEL, panels, columns, y, s->ldy, false);
			add_bias(s, row, rows, column, columns);
			break;
		case DL_BF16:
			s->kernels->gemm_bf16(x, s->ldx, rows, w->k, (const uint16_t *) w->data + panel * panel_size,
								  panels, columns, y, s->ldy);
			add_bias(s, row, rows, column, columns);
			break;
		case DL_I8:
			multiply_s8(s, row, rows, panel, panels, columns);
			break;
	}
}

/* Choose block and group; see the head of this file. */
static void
cut(work *s, int threads)
{
	static const int weight_bytes[] = {[DL_F32] = 4, [DL_BF16] = 2, [DL_I8] = 1};
	size_t		k = (size_t) s->w->k;
	size_t		x_row = k * (s->w->dtype == DL_I8 ? 1 : 4);
	size_t		panel_bytes = k * DL_PANEL * (size_t) weight_bytes[s->w->dtype];
	size_t		most_rows = CACHE_SHARE / x_row / ROW_STEP * ROW_STEP;
	size_t		most_group = CACHE_SHARE / panel_bytes;
	int			want = threads > 1 ? threads * TILES_A_THREAD : 1;

	if (most_rows < 2 * ROW_STEP)
		most_rows = 2 * ROW_STEP;
	s->blocks = divide_up(s->rows, most_rows > (size_t) s->rows ? s->rows : (int) most_rows);
	s->block = (int) round_up((size_t) divide_up(s->rows, s->blocks), ROW_STEP);
	s->group = most_group < 4 ? 4 : most_group > (size_t) s->panels ? s->panels : (int) most_group & ~3;
	if (s->group > s->panels)
		s->group = s->panels;
	while (divide_up(s->panels, s->group) * divide_up(s->rows, s->block) < want)
	{
		size_t		tile = (size_t) s->group * (size_t) (s->block < s->rows ? s->block : s->rows) * k * DL_PANEL;

		if (tile < 2 * SMALLEST_TILE)
			break;
		if (s->group > 4 || (s->group > 1 && s->block <= ROW_STEP))
			s->group = divide_up(s->group, 2);
		else if (s->block > ROW_STEP)
			s->block = (int) round_up((size_t) divide_up(s->block, 2), ROW_STEP);
		else
			break;
	}
	s->blocks = divide_up(s->rows, s->block);
}

/* The part of a team that such a product is worth: less than a few microseconds of work each is a loss. */
static int
worthwhile(const dl_team *team, size_t multiply_adds)
{
	size_t		most = multiply_adds / SMALLEST_SHARE;

	return most >= (size_t) dl_team_size(team) ? dl_team_size(team) : most > 0 ? (int) most : 1;
}

void
dl_linear(const dl_kernels *kernels, dl_team *team, const dl_matrix *w, const float *x, size_t ldx,
		  int rows, float *y, size_t ldy, void *scratch)
{
	work		s = {
		.kernels = kernels, .w = w, .x = x, .ldx = ldx, .rows = rows, .y = y, .ldy = ldy,
		.panels = divide_up(w->n, DL_PANEL), .k4 = divide_up(w->k, 4)
	};
	int			threads;

	if (rows <= 0)
		return;
	threads = worthwhile(team, (size_t) rows * (size_t) w->n * (size_t) w->k);
	if (threads == 1)
		team = NULL;
	if (w->dtype == DL_I8)
	{
		s.scales = scratch;
		s.quantized = (int8_t *) scratch + round_up((size_t) rows * sizeof(float), 64);
		dl_parallel(team, divide_up(rows, QUANTIZE_ROWS), quantize_rows, &s);
	}
	cut(&s, threads);
	dl_parallel(team, divide_up(s.panels, s.group) * s.blocks, multiply_tile, &s);
}
