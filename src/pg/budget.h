/*
 * budget.h - compute slots: how many threads all sessions together may use.
 */
#ifndef DLM_PG_BUDGET_H
#define DLM_PG_BUDGET_H

/* dlm.max_threads, with 0 resolved to the number of CPUs this process may use. */
extern int	dlm_max_threads(void);

/*
 * Take slots for a team; returns its size, at least 1 and at most the fair
 * share of a session. The first thread is free of charge, so nobody ever
 * waits. Until dlm_budget_release of the same number the session counts as one
 * that computes. A backend that exits gives back what it holds.
 */
extern int	dlm_budget_acquire(void);
extern void dlm_budget_release(int threads);

#endif							/* DLM_PG_BUDGET_H */
