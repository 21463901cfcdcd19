/*
 * threads.c - the team behind dl_parallel.
 *
 * The caller (src/pg/run.c) blocks all signals around the first region of a
 * process, since OpenMP's helpers inherit the mask of the thread that starts
 * them and must never run a PostgreSQL signal handler.
 */
#include "threads.h"

#include <omp.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

uint64_t
dl_fp_enter(void)
{
#if defined(__x86_64__)
	unsigned int saved = _mm_getcsr();

	_mm_setcsr(0x1f80);			/* all exceptions masked, nearest, no FTZ, no DAZ */
	return saved;
#elif defined(__aarch64__)
	uint64_t	saved,
				ours = 0;

	__asm__ volatile ("mrs %0, fpcr" : "=r" (saved));
	__asm__ volatile ("msr fpcr, %0" : : "r" (ours));
	return saved;
#else
	return 0;
#endif
}

void
dl_fp_leave(uint64_t saved)
{
#if defined(__x86_64__)
	_mm_setcsr((unsigned int) saved);
#elif defined(__aarch64__)
	__asm__ volatile ("msr fpcr, %0" : : "r" (saved));
#else
	(void) saved;
#endif
}

void
dl_parallel(int threads, int items, void (*fn) (void *arg, int item, int thread), void *arg)
{
	if (threads > items)
		threads = items;
	if (threads > DL_MAX_THREADS)
		threads = DL_MAX_THREADS;
	if (threads <= 1)
	{
		uint64_t	saved = dl_fp_enter();

		for (int i = 0; i < items; i++)
			fn(arg, i, 0);
		dl_fp_leave(saved);
		return;
	}
#pragma omp parallel num_threads(threads)
	{
		uint64_t	saved = dl_fp_enter();
		int			me = omp_get_thread_num();

#pragma omp for schedule(dynamic, 1)
		for (int i = 0; i < items; i++)
			fn(arg, i, me);
		dl_fp_leave(saved);
	}
}
