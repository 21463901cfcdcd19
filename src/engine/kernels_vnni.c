/*
 * kernels_vnni.c - s8 x s8 products with AVX-512 VNNI, exact.
 *
 * dpbusd multiplies unsigned by signed bytes. x + 128 is unsigned, and
 * sum (x + 128) w = sum x w + 128 sum w, so 128 times the column's weight sum
 * is taken off. All of it is modulo 2^32 and the true sum fits, so an
 * intermediate overflow does not matter; dpbusd itself does not saturate.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>
#include <string.h>

#include "kernels_target.h"
TARGET_VNNI

#define INLINE static inline __attribute__((always_inline))
#define MOST_ROWS	4		/* with six, compilers spill and half the speed is gone */
#define MOST_PANELS	4

typedef struct product
{
	const int8_t *x;			/* [rows, 4 * k4] */
	size_t		ldx;
	const float *sx;
	int			k4;
	const int8_t *w;			/* first panel of the tile */
	const float *sw;
	const int32_t *wsum;
	const float *bias;			/* NULL = 0 */
	float	   *y;
	size_t		ldy;
	int			columns;		/* of the tile */
} product;

INLINE void
finish(const product *t, int row, int panel, __m512i sum)
{
	int			column = panel * DL_PANEL;
	__m512i		offset = _mm512_slli_epi32(_mm512_loadu_si512(t->wsum + column), 7);
	__m512		scale = _mm512_mul_ps(_mm512_set1_ps(t->sx[row]), _mm512_loadu_ps(t->sw + column));
	__m512		bias = t->bias ? _mm512_loadu_ps(t->bias + column) : _mm512_setzero_ps();
	__m512		y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset)), scale, bias);
	int			left = t->columns - column;

	_mm512_mask_storeu_ps(t->y + (size_t) row * t->ldy + column,
						  left >= DL_PANEL ? (__mmask16) 0xffff : (__mmask16) ((1u << left) - 1), y);
}

INLINE void
tile(const product *t, const int rows, const int panels)
{
	const __m512i flip = _mm512_set1_epi8((char) 0x80);
	size_t		panel_bytes = (size_t) t->k4 * 64;
	__m512i		sum[MOST_ROWS][MOST_PANELS];

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			sum[r][p] = _mm512_setzero_si512();
	for (size_t i = 0; i < (size_t) t->k4; i++)
	{
		__m512i		w[MOST_PANELS];

#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			w[p] = _mm512_loadu_si512(t->w + (size_t) p * panel_bytes + i * 64);
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			int32_t		four;
			__m512i		x;

			memcpy(&four, t->x + (size_t) r * t->ldx + i * 4, sizeof four);
			x = _mm512_xor_si512(_mm512_set1_epi32(four), flip);
#pragma GCC unroll 4
			for (int p = 0; p < panels; p++)
				sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], x, w[p]);
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			finish(t, r, p, sum[r][p]);
}

INLINE void
tile_rows(const product *t, int rows, const int panels)
{
	switch (rows)
	{
		case 1: tile(t, 1, panels); break;
		case 2: tile(t, 2, panels); break;
		case 3: tile(t, 3, panels); break;
		default: tile(t, 4, panels); break;
	}
}

void
dl_gemm_s8_vnni(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
				const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy)
{
	int			blocks = (m + MOST_ROWS - 1) / MOST_ROWS;

	for (int p = 0, group; p < panels; p += group)
	{
		int			column = p * DL_PANEL;

		group = panels - p >= 4 ? 4 : panels - p >= 2 ? 2 : 1;
		for (int b = 0, row = 0; b < blocks; b++)
		{
			int			rows = (m - row + blocks - b - 1) / (blocks - b);
			product		t = {
				x + (size_t) row * ldx, ldx, sx + row, k4, w + (size_t) p * k4 * 64, sw + column, wsum + column,
				bias ? bias + column : NULL, y + (size_t) row * ldy + column, ldy, columns - column
			};

			switch (group)
			{
				case 1: tile_rows(&t, rows, 1); break;
				case 2: tile_rows(&t, rows, 2); break;
				default: tile_rows(&t, rows, 4); break;
			}
			row += rows;
		}
	}
}

TARGET_END

#endif							/* __x86_64__ */
