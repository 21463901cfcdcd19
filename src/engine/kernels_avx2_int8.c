/*
 * kernels_avx2_int8.c - int8 products with AVX2, exact.
 *
 * maddubs multiplies unsigned by signed bytes and adds pairs in 16 bits:
 * (q + 128) w is at most 255 * 63 in magnitude, a pair 32130, so nothing
 * saturates; madd with ones widens to int32. 128 times the sum of the weights
 * is taken off before the first product: the sums begin there.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>
#include <string.h>

#include "kernels_target.h"
TARGET_AVX2

#define MOST_ROWS			4
#define MOST_PANELS			1
#define gemm_s8_function	dl_gemm_s8_avx2
#define DOT(sum, x, w)		_mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)))

#include "kernels_ymm_int8.h"
#include "kernels_s8_body.h"

TARGET_END

#endif							/* __x86_64__ */
