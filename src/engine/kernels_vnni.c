/*
 * kernels_vnni.c - int8 products with AVX-512 VNNI, exact.
 *
 * dpbusd multiplies unsigned by signed bytes. q + 128 is unsigned, and
 * sum (q + 128) w = sum q w + 128 sum w, so a group's sums begin at -128 times
 * that of its weights. dpbusd does not saturate.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>
#include <string.h>

#include "kernels_target.h"
TARGET_VNNI

#define MOST_ROWS			4	/* with six, compilers spill and half the speed is gone */
#define MOST_PANELS			4
#define gemm_s8_function	dl_gemm_s8_vnni

static inline __attribute__((always_inline)) void
add_group(const dl_s8_group *g, const int8_t *x, size_t ldx, const float *sx, size_t lds, size_t panel_bytes,
		  const int rows, const int panels, float *chain)
{
	__m512i		sum[MOST_ROWS][MOST_PANELS];
	const char *scale = (const char *) g->scale;

#pragma GCC unroll 4
	for (int p = 0; p < panels; p++)
	{
		__m512i		offset = _mm512_slli_epi32(_mm512_loadu_si512((const char *) g->sum + (size_t) p * panel_bytes), 7);

#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
			sum[r][p] = _mm512_sub_epi32(_mm512_setzero_si512(), offset);
	}
	for (size_t i = 0; i < (size_t) g->steps; i++)
	{
		__m512i		w[MOST_PANELS];

#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
			w[p] = _mm512_loadu_si512(g->w + (size_t) p * panel_bytes + i * 64);
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			int32_t		four;
			__m512i		v;

			memcpy(&four, x + (size_t) r * ldx + i * 4, sizeof four);
			v = _mm512_set1_epi32(four);
#pragma GCC unroll 4
			for (int p = 0; p < panels; p++)
				sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], v, w[p]);
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int p = 0; p < panels; p++)
		{
			float	   *to = chain + (r * panels + p) * DL_PANEL;
			__m512		factor = _mm512_mul_ps(_mm512_set1_ps(sx[(size_t) r * lds]),
											   _mm512_loadu_ps(scale + (size_t) p * panel_bytes));

			_mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][p]), factor, _mm512_load_ps(to)));
		}
}

#include "kernels_s8_body.h"

TARGET_END

#endif							/* __x86_64__ */
