/*
 * threads.h - a team of helper threads and a parallel-for.
 *
 * A team belongs to one session (or one conversion): no process-wide state,
 * no thread outlives the call, nothing to do with whatever else uses threads
 * in the process. Why not OpenMP: an OpenMP region starts and ends with a
 * barrier that every thread must reach, so on a busy machine each of the few
 * hundred regions of a forward waits for a time slice of each helper (9 ms of
 * work took 1,250 ms with two threads on two loaded cores). Here the caller
 * takes work items itself and waits only for items that a helper has begun.
 *
 * Work items must be independent: each writes its own output, so the result
 * does not depend on the team's size or on who takes which item.
 */
#ifndef DL_THREADS_H
#define DL_THREADS_H

#include "dlm.h"

#define DL_MAX_THREADS	64

typedef struct dl_team dl_team;

/*
 * A team of `threads` threads, the caller among them. Helpers start with all
 * signals blocked but those that a faulting instruction raises. NULL where
 * threads <= 1 or no helper could be started: every function takes that as a
 * team of the caller alone.
 */
dl_team    *dl_team_create(int threads);
void		dl_team_free(dl_team *team);
int			dl_team_size(const dl_team *team);	/* threads, the caller included; 1 for NULL */

/*
 * Call fn(arg, item, thread) for item = 0 .. items-1 (thread in 0 ..
 * size-1, the caller is 0). Every thread computes with round-to-nearest,
 * subnormals on; the caller's control word is restored. fn must not call back
 * into the caller's world (no stop, no allocation) and needs less than 256 kB
 * of stack. Not re-entrant: one parallel-for of a team at a time.
 */
void		dl_parallel(dl_team *team, int items, void (*fn) (void *arg, int item, int thread), void *arg);

/* Floating-point control words of this thread (MXCSR, FPCR): save and set ours, restore. */
uint64_t	dl_fp_enter(void);
void		dl_fp_leave(uint64_t saved);

#endif							/* DL_THREADS_H */
