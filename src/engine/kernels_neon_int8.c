/*
 * kernels_neon_int8.c - int8 products on AArch64 without the dot product,
 * exact: products are widened to 16 bits and added in pairs, which leaves two
 * sums a column until the end of a group.
 */
#if defined(__aarch64__)

#include "kernels_tables.h"

#include <arm_neon.h>
#include <string.h>

#define MOST_ROWS			2
#define MOST_PANELS			1
#define gemm_s8_function	dl_gemm_s8_neon

#include "kernels_neon_int8.h"

static inline __attribute__((always_inline)) void
add_group(const dl_s8_group *g, const int8_t *x, size_t ldx, const float *sx, size_t lds, size_t panel_bytes,
		  const int rows, const int panels, float *chain)
{
	int32x4_t	sum[MOST_ROWS][8];

	(void) panel_bytes;
	(void) panels;
#pragma GCC unroll 2
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
		for (int c = 0; c < 8; c++)
			sum[r][c] = vdupq_n_s32(0);
	for (size_t i = 0; i < (size_t) g->steps; i++)
#pragma GCC unroll 2
		for (int r = 0; r < rows; r++)
		{
			int8x16_t	v = load_four(x + (size_t) r * ldx + i * 4);

#pragma GCC unroll 4
			for (int c = 0; c < 4; c++)
			{
				int8x16_t	w = vld1q_s8(g->w + i * 64 + c * 16);

				sum[r][2 * c] = vpadalq_s16(sum[r][2 * c], vmull_s8(vget_low_s8(w), vget_low_s8(v)));
				sum[r][2 * c + 1] = vpadalq_s16(sum[r][2 * c + 1], vmull_high_s8(w, v));
			}
		}
#pragma GCC unroll 2
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < 4; c++)
			add_sums(chain + r * DL_PANEL + 4 * c, vpaddq_s32(sum[r][2 * c], sum[r][2 * c + 1]), sx[(size_t) r * lds],
					 g->scale + 4 * c);
}

#include "kernels_s8_body.h"

#endif							/* __aarch64__ */
