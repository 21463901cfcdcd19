/*
 * budget.h - compute slots: how many threads all sessions together may use.
 */
#ifndef DLM_PG_BUDGET_H
#define DLM_PG_BUDGET_H

/* dlm.max_threads, with 0 resolved to the number of CPUs this process may use. */
extern int	dlm_max_threads(void);

/*
 * This session computes from here on, until it leaves: others' shares become
 * smaller. A leave without an enter does nothing.
 */
extern void dlm_budget_enter(void);
extern void dlm_budget_leave(void);

/*
 * Between the two: take slots for a team; returns its size, at least 1 and at
 * most the session's fair share. The first thread is free of charge, so nobody
 * ever waits. Give back with dlm_budget_release of the same number. A backend
 * that exits gives back what it holds, and leaves.
 */
extern int	dlm_budget_acquire(void);
extern void dlm_budget_release(int threads);

/* Sessions that compute now, beside this one; parallel workers count, too. */
extern int	dlm_budget_others(void);

#endif							/* DLM_PG_BUDGET_H */
