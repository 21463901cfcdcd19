/*
 * threads.h - one parallel-for, the only place that starts threads.
 *
 * A team is an OpenMP region with an explicit team size; the process-wide
 * OpenMP settings belong to whoever else is in the process and are never
 * changed. Work items must be independent: each writes its own output, so the
 * result does not depend on the team size or the order of items.
 */
#ifndef DL_THREADS_H
#define DL_THREADS_H

#include "dlm.h"

#define DL_MAX_THREADS	64

/*
 * Call fn(arg, item, thread) for item = 0 .. items-1 on up to `threads`
 * threads (thread is in 0 .. threads-1). Every thread saves the
 * floating-point control word, sets round-to-nearest with subnormals on, and
 * restores it. fn must not call back into the caller's world (no stop, no
 * allocation) and needs less than 256 kB of stack.
 */
void		dl_parallel(int threads, int items, void (*fn) (void *arg, int item, int thread), void *arg);

/* Floating-point control words of this thread (MXCSR, FPCR): save and set ours, restore. */
uint64_t	dl_fp_enter(void);
void		dl_fp_leave(uint64_t saved);

#endif							/* DL_THREADS_H */
