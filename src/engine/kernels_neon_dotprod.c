/*
 * kernels_neon_dotprod.c - int8 products on AArch64 with the dot product: one
 * instruction adds four products to each of four columns.
 */
#if defined(__aarch64__)

#include "kernels_tables.h"

#include <arm_neon.h>
#include <string.h>

#include "kernels_target.h"

/* arm_neon.h of clang before 16 has the dot product only where the whole file is compiled for it */
#if defined(__clang__) && __clang_major__ < 16 && !defined(__ARM_FEATURE_DOTPROD)

void
dl_gemm_s8_dotprod(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *bias,
				   int panels, int columns, float *y, size_t ldy)
{
	dl_gemm_s8_neon(x, ldx, sx, m, k4, w, bias, panels, columns, y, ldy);
}

#else

TARGET_DOTPROD

#define MOST_ROWS			4
#define MOST_PANELS			1
#define gemm_s8_function	dl_gemm_s8_dotprod

#include "kernels_neon_int8.h"

static inline __attribute__((always_inline)) void
add_group(const dl_s8_group *g, const int8_t *x, size_t ldx, const float *sx, size_t lds, size_t panel_bytes,
		  const int rows, const int panels, float *chain)
{
	int32x4_t	sum[MOST_ROWS][4];

	(void) panel_bytes;
	(void) panels;
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			sum[r][c] = vdupq_n_s32(0);
	for (size_t i = 0; i < (size_t) g->steps; i++)
	{
		int8x16_t	w[4];

#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			w[c] = vld1q_s8(g->w + i * 64 + c * 16);
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			int8x16_t	v = load_four(x + (size_t) r * ldx + i * 4);

#pragma GCC unroll 4
			for (int c = 0; c < 4; c++)
				sum[r][c] = vdotq_s32(sum[r][c], w[c], v);
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			add_sums(chain + r * DL_PANEL + 4 * c, sum[r][c], sx[(size_t) r * lds], g->scale + 4 * c);
}

#include "kernels_s8_body.h"

TARGET_END

#endif

#endif							/* __aarch64__ */
