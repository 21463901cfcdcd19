/*
 * kernels_avxvnni_int8.c - int8 products with AVX-VNNI, the 256-bit dot
 * product of CPUs without AVX-512, exact.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>
#include <string.h>

#include "kernels_target.h"
TARGET_AVXVNNI

#define MOST_ROWS			6
#define MOST_PANELS			1
#define gemm_s8_function	dl_gemm_s8_avxvnni
#define DOT(sum, x, w)		_mm256_dpbusd_avx_epi32(sum, x, w)

#include "kernels_ymm_int8.h"
#include "kernels_s8_body.h"

TARGET_END

#endif							/* __x86_64__ */
