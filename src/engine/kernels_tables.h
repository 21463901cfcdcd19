/*
 * kernels_tables.h - the vector tables, each defined in the file of its name.
 */
#ifndef DL_KERNELS_TABLES_H
#define DL_KERNELS_TABLES_H

#include "kernels.h"

#if defined(__x86_64__)
extern const dl_kernels dl_kernels_avx2;
extern const dl_kernels dl_kernels_avx512;
extern const dl_kernels dl_kernels_avx512_vnni;

/* For AVX-512 without VNNI too: exact sums do not care how wide the registers are */
void		dl_gemm_s8_avx2(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
							const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy);
void		dl_gemm_s8_vnni(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
							const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy);
#elif defined(__aarch64__)
extern const dl_kernels dl_kernels_neon;
extern const dl_kernels dl_kernels_neon_dotprod;

void		dl_gemm_s8_neon(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *sw,
							const int32_t *wsum, const float *bias, int panels, int columns, float *y, size_t ldy);
void		dl_gemm_s8_dotprod(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w,
							   const float *sw, const int32_t *wsum, const float *bias, int panels, int columns,
							   float *y, size_t ldy);
#endif

#endif							/* DL_KERNELS_TABLES_H */
