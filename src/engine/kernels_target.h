/*
 * kernels_target.h - compile the functions of a file for an instruction set
 * that the rest of the library may not assume.
 */
#ifndef DL_KERNELS_TARGET_H
#define DL_KERNELS_TARGET_H

#define PRAGMA(text)	_Pragma(#text)

#if defined(DLM_TEST_NO_TARGET)	/* test/engine/check_model.sh: intrinsics modelled in plain C, for any CPU */
#define TARGET(set)
#define TARGET_END
#elif defined(__clang__)
#define TARGET(set)	PRAGMA(clang attribute push (__attribute__((target(set))), apply_to = function))
#define TARGET_END	PRAGMA(clang attribute pop)
#else
#define TARGET(set)	PRAGMA(GCC push_options) PRAGMA(GCC target(set))
#define TARGET_END	PRAGMA(GCC pop_options)
#endif

#define TARGET_AVX2		TARGET("avx2,fma")
#define TARGET_AVXVNNI	TARGET("avx2,fma,avxvnni")
#define TARGET_AVX512	TARGET("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#define TARGET_VNNI		TARGET("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#if defined(__clang__)
#define TARGET_DOTPROD	TARGET("dotprod")
#else
#define TARGET_DOTPROD	TARGET("arch=armv8.2-a+dotprod")
#endif

#endif							/* DL_KERNELS_TARGET_H */
