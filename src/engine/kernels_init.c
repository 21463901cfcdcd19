/*
 * kernels_init.c - which table runs under a mask. No state: the answer is a
 * pure function of the CPU and the mask.
 */
#include "kernels_tables.h"

const dl_kernels *
dl_kernels_get(uint32_t cpu_mask)
{
	uint32_t	flags = dl_cpu_flags(cpu_mask);

#if defined(__x86_64__)
	if (flags & DLM_CPU_VNNI)
		return &dl_kernels_avx512_vnni;
	if (flags & DLM_CPU_AVX512)
		return &dl_kernels_avx512;
	if (flags & DLM_CPU_AVXVNNI)
		return &dl_kernels_avx_vnni;
	if (flags & DLM_CPU_AVX2)
		return &dl_kernels_avx2;
#elif defined(__aarch64__)
	if (flags & DLM_CPU_DOTPROD)
		return &dl_kernels_neon_dotprod;
	if (flags & DLM_CPU_NEON)
		return &dl_kernels_neon;
#else
	(void) flags;
#endif
	return &dl_kernels_ref;
}
