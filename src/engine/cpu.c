/*
 * cpu.c - what this CPU and operating system can run.
 */
#include "kernels.h"

#if defined(DLM_TEST_CPU)
#elif defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(DLM_TEST_CPU)		/* test/engine/check_model.sh: tables whose intrinsics are modelled run everywhere */

static uint32_t
detect(void)
{
	return DLM_TEST_CPU;
}

#elif defined(__x86_64__)

/* State components that the operating system saves (XCR0) */
#define XCR0_AVX	0x06u		/* xmm, ymm */
#define XCR0_AVX512	0xe6u		/* and opmask, upper zmm, zmm16-31 */

#define LEAF1_ECX_FMA		(1u << 12)
#define LEAF1_ECX_OSXSAVE	(1u << 27)
#define LEAF1_ECX_AVX		(1u << 28)
#define LEAF7_EBX_AVX2		(1u << 5)
#define LEAF7_EBX_AVX512	(1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)	/* F, DQ, BW, VL */
#define LEAF7_ECX_VNNI		(1u << 11)
#define LEAF7_1_EAX_AVXVNNI	(1u << 4)	/* of subleaf 1 */

static uint32_t
detect(void)
{
	unsigned int a,
				b,
				c,
				d,
				xcr0,
				high;
	uint32_t	flags = 0;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return 0;
	if (!(c & LEAF1_ECX_OSXSAVE) || !(c & LEAF1_ECX_AVX) || !(c & LEAF1_ECX_FMA))
		return 0;
	__asm__ volatile ("xgetbv" : "=a" (xcr0), "=d" (high) : "c" (0));
	if ((xcr0 & XCR0_AVX) != XCR0_AVX || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return 0;
	if (b & LEAF7_EBX_AVX2)
		flags |= DLM_CPU_AVX2;
	if (flags && (xcr0 & XCR0_AVX512) == XCR0_AVX512 && (b & LEAF7_EBX_AVX512) == LEAF7_EBX_AVX512)
	{
		flags |= DLM_CPU_AVX512;
		if (c & LEAF7_ECX_VNNI)
			flags |= DLM_CPU_VNNI;
	}
	if (flags && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & LEAF7_1_EAX_AVXVNNI))
		flags |= DLM_CPU_AVXVNNI;
	return flags;
}

#elif defined(__aarch64__)

#define HWCAP_BIT_ASIMDDP	(1ul << 20)

static uint32_t
detect(void)
{
	uint32_t	flags = DLM_CPU_NEON;	/* part of the base architecture */

#if defined(__linux__)
	if (getauxval(AT_HWCAP) & HWCAP_BIT_ASIMDDP)
		flags |= DLM_CPU_DOTPROD;
#endif
	return flags;
}

#else

static uint32_t
detect(void)
{
	return 0;
}

#endif

/* A wider set is no use without what it builds on: masking AVX2 masks AVX-512 and both VNNI too. */
uint32_t
dl_cpu_flags(uint32_t cpu_mask)
{
	uint32_t	flags = detect() & ~cpu_mask;

	if (!(flags & DLM_CPU_AVX2))
		flags &= ~(DLM_CPU_AVX512 | DLM_CPU_VNNI | DLM_CPU_AVXVNNI);
	if (!(flags & DLM_CPU_AVX512))
		flags &= ~DLM_CPU_VNNI;
	if (!(flags & DLM_CPU_NEON))
		flags &= ~DLM_CPU_DOTPROD;
	return flags;
}

const char *
dlm_cpu_name(uint32_t cpu_mask)
{
	return dl_kernels_get(cpu_mask)->name;
}
