/*
 * kernels_neon_int8.c - s8 x s8 products on AArch64, exact.
 *
 * With the dot product, one instruction adds four products to each of four
 * columns. Without, products are widened to 16 bits and added in pairs, which
 * leaves two sums a column until the end.
 */
#if defined(__aarch64__)

#include "kernels_tables.h"

#include <arm_neon.h>
#include <string.h>

#include "kernels_target.h"

#define INLINE static inline __attribute__((always_inline))
#define MOST_ROWS	4

typedef struct product
{
	const int8_t *x;			/* [rows, 4 * k4] */
	size_t		ldx;
	const float *sx;
	int			k4;
	const int8_t *w;			/* one panel */
	const float *sw;
	const float *bias;			/* NULL = 0 */
	float	   *y;
	size_t		ldy;
	int			columns;		/* 1 .. 16 */
} product;

/* Four columns, from `first` on, of one row */
INLINE void
finish(const product *t, int row, int first, int32x4_t sum)
{
	float32x4_t scale = vmulq_f32(vdupq_n_f32(t->sx[row]), vld1q_f32(t->sw + first));
	float32x4_t bias = t->bias ? vld1q_f32(t->bias + first) : vdupq_n_f32(0.0f);
	float32x4_t y = vfmaq_f32(bias, vcvtq_f32_s32(sum), scale);
	int			left = t->columns - first;
	float		out[4];

	vst1q_f32(out, y);
	if (left > 0)
		memcpy(t->y + (size_t) row * t->ldy + first, out, (size_t) (left < 4 ? left : 4) * sizeof(float));
}

/* Four bytes of x, four times */
INLINE int8x16_t
load_four(const int8_t *x)
{
	int32_t		four;

	memcpy(&four, x, sizeof four);
	return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

INLINE void
tile_pairs(const product *t, const int rows)
{
	int32x4_t	sum[2][8];

#pragma GCC unroll 2
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
		for (int c = 0; c < 8; c++)
			sum[r][c] = vdupq_n_s32(0);
	for (size_t i = 0; i < (size_t) t->k4; i++)
#pragma GCC unroll 2
		for (int r = 0; r < rows; r++)
		{
			int8x16_t	x = load_four(t->x + (size_t) r * t->ldx + i * 4);

#pragma GCC unroll 4
			for (int c = 0; c < 4; c++)
			{
				int8x16_t	w = vld1q_s8(t->w + i * 64 + c * 16);

				sum[r][2 * c] = vpadalq_s16(sum[r][2 * c], vmull_s8(vget_low_s8(w), vget_low_s8(x)));
				sum[r][2 * c + 1] = vpadalq_s16(sum[r][2 * c + 1], vmull_high_s8(w, x));
			}
		}
#pragma GCC unroll 2
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			finish(t, r, 4 * c, vpaddq_s32(sum[r][2 * c], sum[r][2 * c + 1]));
}

typedef void (*tile_function) (const product *t, int rows);

static void
tile_pairs_any(const product *t, int rows)
{
	if (rows == 1)
		tile_pairs(t, 1);
	else
		tile_pairs(t, 2);
}

/* Panels outside, rows inside: a panel stays in the cache while the rows pass */
INLINE void
multiply(product t, int m, int panels, int columns, int most_rows, tile_function tile)
{
	const product whole = t;

	for (int p = 0; p < panels; p++)
	{
		int			left = columns - p * DL_PANEL;

		t.w = whole.w + (size_t) p * t.k4 * 64;
		t.sw = whole.sw + p * DL_PANEL;
		t.bias = whole.bias ? whole.bias + p * DL_PANEL : NULL;
		t.columns = left < DL_PANEL ? left : DL_PANEL;
		for (int row = 0; row < m; row += most_rows)
		{
			t.x = whole.x + (size_t) row * t.ldx;
			t.sx = whole.sx + row;
			t.y = whole.y + (size_t) row * t.ldy + p * DL_PANEL;
			tile(&t, m - row < most_rows ? m - row : most_rows);
		}
	}
}

void
dl_gemm_s8_neon(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
				const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy)
{
	product		t = {x, ldx, sx, k4, w, sw, bias, y, ldy, 0};

	multiply(t, m, panels, columns, 2, tile_pairs_any);
}

/* arm_neon.h of clang before 16 has the dot product only where the whole file is compiled for it */
#if defined(__clang__) && __clang_major__ < 16 && !defined(__ARM_FEATURE_DOTPROD)

void
dl_gemm_s8_dotprod(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
				   const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy)
{
	dl_gemm_s8_neon(x, ldx, sx, m, k4, w, sw, wsum, bias, panels, columns, y, ldy);
}

#else

TARGET_DOTPROD

INLINE void
tile_dot(const product *t, const int rows)
{
	int32x4_t	sum[MOST_ROWS][4];

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			sum[r][c] = vdupq_n_s32(0);
	for (size_t i = 0; i < (size_t) t->k4; i++)
	{
		int8x16_t	w[4];

#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			w[c] = vld1q_s8(t->w + i * 64 + c * 16);
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			int8x16_t	x = load_four(t->x + (size_t) r * t->ldx + i * 4);

#pragma GCC unroll 4
			for (int c = 0; c < 4; c++)
				sum[r][c] = vdotq_s32(sum[r][c], w[c], x);
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			finish(t, r, 4 * c, sum[r][c]);
}

static void
tile_dot_any(const product *t, int rows)
{
	switch (rows)
	{
		case 1: tile_dot(t, 1); break;
		case 2: tile_dot(t, 2); break;
		case 3: tile_dot(t, 3); break;
		default: tile_dot(t, 4); break;
	}
}

TARGET_END

void
dl_gemm_s8_dotprod(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
				   const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy)
{
	product		t = {x, ldx, sx, k4, w, sw, bias, y, ldy, 0};

	multiply(t, m, panels, columns, MOST_ROWS, tile_dot_any);
}

#endif

#endif							/* __aarch64__ */
