/*
 * kernels_avx2_int8.c - s8 x s8 products with AVX2, exact.
 *
 * maddubs wants one unsigned operand: |w| is it, and x takes w's sign. A pair
 * sum is at most 2 * 128 * 127 = 32512, below the 16-bit limit, so nothing
 * saturates; madd with ones widens to int32. |w| is shared by the rows.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>
#include <string.h>

#include "kernels_target.h"
TARGET_AVX2

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

/* One row's 16 int32 sums to floats */
INLINE void
finish(const product *t, int row, __m256i low, __m256i high)
{
	__m256		scale = _mm256_set1_ps(t->sx[row]);
	__m256		a = _mm256_mul_ps(scale, _mm256_loadu_ps(t->sw));
	__m256		b = _mm256_mul_ps(scale, _mm256_loadu_ps(t->sw + 8));
	__m256		bias_a = t->bias ? _mm256_loadu_ps(t->bias) : _mm256_setzero_ps();
	__m256		bias_b = t->bias ? _mm256_loadu_ps(t->bias + 8) : _mm256_setzero_ps();
	float	   *y = t->y + (size_t) row * t->ldy;
	float		out[DL_PANEL];

	a = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low), a, bias_a);
	b = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), b, bias_b);
	if (t->columns == DL_PANEL)
	{
		_mm256_storeu_ps(y, a);
		_mm256_storeu_ps(y + 8, b);
		return;
	}
	_mm256_storeu_ps(out, a);
	_mm256_storeu_ps(out + 8, b);
	memcpy(y, out, (size_t) t->columns * sizeof(float));
}

/* sum + the four products of x and w in each of eight columns */
INLINE __m256i
add_products(__m256i sum, __m256i x, __m256i w, __m256i abs_w)
{
	__m256i		pairs = _mm256_maddubs_epi16(abs_w, _mm256_sign_epi8(x, w));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE void
tile(const product *t, const int rows)
{
	__m256i		low[MOST_ROWS],
				high[MOST_ROWS];

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
		low[r] = high[r] = _mm256_setzero_si256();
	for (int i = 0; i < t->k4; i++)
	{
		__m256i		w_low = _mm256_loadu_si256((const __m256i *) (t->w + (size_t) i * 64));
		__m256i		w_high = _mm256_loadu_si256((const __m256i *) (t->w + (size_t) i * 64 + 32));
		__m256i		abs_low = _mm256_abs_epi8(w_low);
		__m256i		abs_high = _mm256_abs_epi8(w_high);

#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			int32_t		four;
			__m256i		x;

			memcpy(&four, t->x + (size_t) r * t->ldx + (size_t) i * 4, sizeof four);
			x = _mm256_set1_epi32(four);
			low[r] = add_products(low[r], x, w_low, abs_low);
			high[r] = add_products(high[r], x, w_high, abs_high);
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
		finish(t, r, low[r], high[r]);
}

void
dl_gemm_s8_avx2(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
				const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy)
{
	for (int p = 0; p < panels; p++)
		for (int row = 0; row < m; row += MOST_ROWS)
		{
			int			left = columns - p * DL_PANEL;
			product		t = {
				x + (size_t) row * ldx, ldx, sx + row, k4, w + (size_t) p * k4 * 64, sw + p * DL_PANEL,
				bias ? bias + p * DL_PANEL : NULL, y + (size_t) row * ldy + p * DL_PANEL, ldy,
				left < DL_PANEL ? left : DL_PANEL
			};

			switch (m - row)
			{
				case 1: tile(&t, 1); break;
				case 2: tile(&t, 2); break;
				case 3: tile(&t, 3); break;
				default: tile(&t, 4); break;
			}
		}
}

TARGET_END

#endif							/* __x86_64__ */
