/*
 * kernels_products_body.h - the float products of one instruction set, over
 * the `vec` of kernels_body.h, which includes it.
 */

/*
 * A tile of constant size: rows x panels chains in registers, walked over k.
 * BF16 weights are widened at the load. The loops over rows and panels are
 * unrolled away, so `chain` never lies in memory. The first tile that uses a
 * panel fetches its weights some steps ahead, over the end of a page and into the
 * next panel: caches that only follow a stream stop at both.
 */
#define MOST_ROWS	6
#define MOST_PANELS	4
#define AHEAD		64			/* steps of k that weights are fetched before they are used: 4 kB of f32 */

typedef struct product
{
	const float *x;
	size_t		ldx;
	int			k;
	const void *w;				/* first panel of the tile */
	size_t		panel_stride,	/* in elements */
				k_stride;
	float	   *y;
	size_t		ldy;
	int			columns;		/* of the tile */
	bool		accumulate;
	const void *next;			/* weights after those of the tile; NULL: they are in the cache */
} product;

INLINE vec
load_weights(const void *w, size_t at, bool bf16)
{
	return bf16 ? v_load_bf16((const uint16_t *) w + at) : v_load((const float *) w + at);
}

/* Chains of a tile over steps [from, to) of k; ahead: weights to fetch meanwhile */
INLINE void
tile_steps(const product *t, const int rows, const int panels, const bool bf16, vec chain[MOST_ROWS][MOST_PANELS],
		   size_t from, size_t to, const char *ahead, const bool fetch)
{
	const size_t step = DL_PANEL * (bf16 ? sizeof(uint16_t) : sizeof(float));
	const float *x = t->x;

	for (size_t i = from; i < to; i++)
	{
		vec			w[MOST_PANELS];

		if (fetch)
			__builtin_prefetch(ahead + (i - from) * step);
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			w[p] = load_weights(t->w, (size_t) p * t->panel_stride + i * t->k_stride, bf16);
#pragma GCC unroll 6
		for (int r = 0; r < rows; r++)
		{
			vec			a = v_set(x[(size_t) r * t->ldx + i]);

#pragma GCC unroll 4
			for (int p = 0; p < panels; p++)
				chain[r][p] = v_fma(a, w[p], chain[r][p]);
		}
	}
}

INLINE void
tile(const product *t, const int rows, const int panels, const bool bf16)
{
	const size_t step = DL_PANEL * (bf16 ? sizeof(uint16_t) : sizeof(float));
	vec			chain[MOST_ROWS][MOST_PANELS];
	size_t		k = (size_t) t->k;

#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			chain[r][p] = !t->accumulate ? v_set(0.0f) :
				load_upto(t->y + (size_t) r * t->ldy + p * DL_PANEL, t->columns - p * DL_PANEL);
	if (t->next == NULL || panels > 1)
		tile_steps(t, rows, panels, bf16, chain, 0, k, NULL, false);
	else
	{
		size_t		turn = k > AHEAD ? k - AHEAD : 0;

		tile_steps(t, rows, panels, bf16, chain, 0, turn, (const char *) t->w + AHEAD * step, true);
		tile_steps(t, rows, panels, bf16, chain, turn, k, t->next, true);
	}
#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			store_upto(t->y + (size_t) r * t->ldy + p * DL_PANEL, chain[r][p], t->columns - p * DL_PANEL);
}

INLINE void
tile_rows(const product *t, int rows, const int panels, const bool bf16)
{
	switch (rows)
	{
		case 1: tile(t, 1, panels, bf16); break;
		case 2: tile(t, 2, panels, bf16); break;
		case 3: tile(t, 3, panels, bf16); break;
		case 4: tile(t, 4, panels, bf16); break;
		case 5: tile(t, 5, panels, bf16); break;
		default: tile(t, 6, panels, bf16); break;
	}
}

/* rows 1 .. 6; panels 1, 2 or 4, as TILE_PANELS allows for so many rows */
INLINE void
tile_any(const product *t, int rows, int panels, const bool bf16)
{
	switch (panels)
	{
		case 1: tile_rows(t, rows, 1, bf16); break;
		case 2: TILE_TWO(t, rows, bf16); break;
		default: TILE_FOUR(t, rows, bf16); break;
	}
}

/* One stretch of k: a group of panels stays in the first level cache while the rows pass, shared out evenly. */
INLINE void
multiply_stretch(const product *whole, int m, int panels, const bool bf16)
{
	const size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
	int			blocks = (m + MOST_ROWS - 1) / MOST_ROWS;
	int			wide = TILE_PANELS((m + blocks - 1) / (blocks > 0 ? blocks : 1));

	for (int p = 0, group; p < panels; p += group)
	{
		product		t = *whole;

		for (group = wide; group > panels - p; group /= 2)
			;
		t.w = (const char *) whole->w + (size_t) p * whole->panel_stride * size;
		t.columns = whole->columns - p * DL_PANEL;
		for (int b = 0, row = 0; b < blocks; b++)
		{
			int			rows = (m - row + blocks - b - 1) / (blocks - b);

			t.x = whole->x + (size_t) row * whole->ldx;
			t.y = whole->y + (size_t) row * whole->ldy + p * DL_PANEL;
			t.next = b == 0 && whole->k_stride == DL_PANEL && p + group < panels ?
				(const char *) t.w + (size_t) group * whole->panel_stride * size : NULL;
			tile_any(&t, rows, group, bf16);
			row += rows;
		}
	}
}

/*
 * All of a product. Where tiles share weights, k is walked in stretches whose
 * panel (24 kB of f32) stays in the first level cache; a chain goes on from
 * the y of the stretch before, which is exact.
 */
INLINE void
multiply(const product *whole, int m, int panels, const bool bf16)
{
	const size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
	int			stretches = m > MOST_ROWS && whole->k > DL_K_STRETCH ? (whole->k + DL_K_STRETCH - 1) / DL_K_STRETCH : 1;
	product		t = *whole;

	for (int s = 0, k = 0; s < stretches; s++)
	{
		t.k = (whole->k - k) / (stretches - s);
		t.x = whole->x + k;
		t.w = (const char *) whole->w + (size_t) k * whole->k_stride * size;
		multiply_stretch(&t, m, panels, bf16);
		t.accumulate = true;
		k += t.k;
	}
}

static void
gemm_f32(const float *x, size_t ldx, int m, int k, const float *w, size_t panel_stride, size_t k_stride,
		 int panels, int columns, float *y, size_t ldy, bool accumulate)
{
	product		t = {x, ldx, k, w, panel_stride, k_stride, y, ldy, columns, accumulate, NULL};

	multiply(&t, m, panels, false);
}

static void
gemm_bf16(const float *x, size_t ldx, int m, int k, const uint16_t *w, int panels, int columns, float *y, size_t ldy)
{
	product		t = {x, ldx, k, w, (size_t) k * DL_PANEL, DL_PANEL, y, ldy, columns, false, NULL};

	multiply(&t, m, panels, true);
}
