/*
 * kernels_tables.h - the vector tables, each defined in the file of its name.
 */
#ifndef DL_KERNELS_TABLES_H
#define DL_KERNELS_TABLES_H

#include "kernels.h"

/* An int8 product; see dl_kernels. Exact sums: any of them may stand in any table whose CPU can run it and whose s8_flip it expects. */
#define DL_GEMM_S8(name) \
	void		name(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *bias, \
					 int panels, int columns, float *y, size_t ldy)

#if defined(__x86_64__)
extern const dl_kernels dl_kernels_avx2;
extern const dl_kernels dl_kernels_avx_vnni;
extern const dl_kernels dl_kernels_avx512;
extern const dl_kernels dl_kernels_avx512_vnni;

DL_GEMM_S8(dl_gemm_s8_avx2);
DL_GEMM_S8(dl_gemm_s8_avxvnni);
DL_GEMM_S8(dl_gemm_s8_vnni);
#elif defined(__aarch64__)
extern const dl_kernels dl_kernels_neon;
extern const dl_kernels dl_kernels_neon_dotprod;

DL_GEMM_S8(dl_gemm_s8_neon);
DL_GEMM_S8(dl_gemm_s8_dotprod);
#endif

#endif							/* DL_KERNELS_TABLES_H */
