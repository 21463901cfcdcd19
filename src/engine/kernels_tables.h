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
#elif defined(__aarch64__)
extern const dl_kernels dl_kernels_neon;
extern const dl_kernels dl_kernels_neon_dotprod;
#endif

#endif							/* DL_KERNELS_TABLES_H */
