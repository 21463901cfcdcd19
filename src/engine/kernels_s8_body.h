/*
 * kernels_s8_body.h - the int8 product of one instruction set.
 *
 * Included once by each kernels_ISA_int8.c, after it has defined
 *
 *		MOST_ROWS, MOST_PANELS		the largest tile
 *		add_group(group, x, ldx, sx, lds, panel_bytes, rows, panels, chain)
 *									chain[r * panels * 16 + column] = fmaf(sum, sx[r] * scale, chain) for
 *									one group of the panels beginning at group->w, `panel_bytes` apart; rows and panels
 *									are constants
 *
 * and `gemm_s8_function`, the name of what it defines.
 */
#define INLINE static inline __attribute__((always_inline))

/* Groups that many rows take at a time: the 27 kB of a panel stay in the first level cache. */
#define STRETCH		24

typedef struct product
{
	const int8_t *x;			/* [rows, 4 * k4] */
	size_t		ldx;
	const float *sx;			/* [rows, lds] */
	size_t		lds;
	int			k4;				/* of the whole product */
	int			first,			/* groups of this stretch */
				end;
	const int8_t *w;			/* first panel of the tile */
	size_t		panel_bytes;
	const float *bias;			/* NULL = 0 */
	float	   *y;
	size_t		ldy;
	int			columns;		/* of the tile */
} product;

/* Where a row's chains begin: at the bias, or at what the stretch before left in y */
INLINE void
begin_chains(const product *t, float *chain, int rows, int width)
{
	int			columns = t->columns < width ? t->columns : width;

	for (int r = 0; r < rows; r++, chain += width)
	{
		const float *from = t->first > 0 ? t->y + (size_t) r * t->ldy : t->bias;

		if (from == NULL || columns < width)
			memset(chain, 0, (size_t) width * sizeof(float));
		if (from != NULL && columns == width)
			memcpy(chain, from, (size_t) width * sizeof(float));
		else if (from != NULL)
			memcpy(chain, from, (size_t) columns * sizeof(float));
	}
}

INLINE void
store_chains(const product *t, const float *chain, int rows, int width)
{
	for (int r = 0; r < rows; r++, chain += width)
	{
		if (t->columns >= width)
			memcpy(t->y + (size_t) r * t->ldy, chain, (size_t) width * sizeof(float));
		else
			memcpy(t->y + (size_t) r * t->ldy, chain, (size_t) t->columns * sizeof(float));
	}
}

INLINE void
tile(const product *t, const int rows, const int panels)
{
	float		chain[MOST_ROWS * MOST_PANELS * DL_PANEL] __attribute__((aligned(64)));

	begin_chains(t, chain, rows, panels * DL_PANEL);
	for (int g = t->first; g < t->end; g++)
	{
		dl_s8_group group = dl_s8_group_at(t->w, t->k4, g);

		add_group(&group, t->x + (size_t) g * DL_GROUP, t->ldx, t->sx + g, t->lds, t->panel_bytes, rows, panels, chain);
	}
	store_chains(t, chain, rows, panels * DL_PANEL);
}

INLINE void
tile_rows(const product *t, int rows, const int panels)
{
	switch (rows)
	{
		case 1: tile(t, 1, panels); break;
#if MOST_ROWS > 2
		case 2: tile(t, 2, panels); break;
#endif
#if MOST_ROWS > 3
		case 3: tile(t, 3, panels); break;
#endif
#if MOST_ROWS > 4
		case 4: tile(t, 4, panels); break;
		case 5: tile(t, 5, panels); break;
#endif
		default: tile(t, MOST_ROWS, panels); break;
	}
}

/* Panels outside, rows inside, shared out evenly: a stretch of a panel stays in the cache while the rows pass. */
INLINE void
multiply_stretch(const product *whole, int m, int panels)
{
	int			blocks = (m + MOST_ROWS - 1) / MOST_ROWS;

	for (int p = 0, group; p < panels; p += group)
	{
		product		t = *whole;

		for (group = MOST_PANELS; group > panels - p; group /= 2)
			;
		t.w = whole->w + (size_t) p * whole->panel_bytes;
		t.bias = whole->bias ? whole->bias + p * DL_PANEL : NULL;
		t.columns = whole->columns - p * DL_PANEL;
		for (int b = 0, row = 0; b < blocks; b++)
		{
			int			rows = (m - row + blocks - b - 1) / (blocks - b);

			t.x = whole->x + (size_t) row * t.ldx;
			t.sx = whole->sx + (size_t) row * t.lds;
			t.y = whole->y + (size_t) row * t.ldy + p * DL_PANEL;
			if (group == 1)
				tile_rows(&t, rows, 1);
#if MOST_PANELS == 4
			else if (group == 2)
				tile_rows(&t, rows, 2);
			else
				tile_rows(&t, rows, 4);
#endif
			row += rows;
		}
	}
}

void
gemm_s8_function(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *bias,
				 int panels, int columns, float *y, size_t ldy)
{
	int			groups = dl_groups(k4);
	product		t = {
		.x = x, .ldx = ldx, .sx = sx, .lds = (size_t) groups, .k4 = k4, .w = w, .panel_bytes = dl_s8_panel_bytes(k4),
		.bias = bias, .y = y, .ldy = ldy, .columns = columns
	};

	for (; t.first < groups; t.first = t.end)
	{
		t.end = m > MOST_ROWS && groups - t.first > STRETCH ? t.first + STRETCH : groups;
		multiply_stretch(&t, m, panels);
	}
}
