/*
 * budget.c - compute slots, shared out fairly.
 *
 * Two atomic counters in shared memory hold, for the whole cluster, the
 * sessions that compute now and the extra threads in use. A team gets at most
 * its fair share of dlm.max_threads, and no more than is free, and never
 * waits: one thread, the backend itself, is always granted. Slots are held
 * only while run.c computes and taken anew for each batch, so the shares
 * follow the sessions that come and go; what does not divide goes around. A
 * session counts for a whole run: if it did not between two of its batches,
 * another one that begins a batch just then would take everything. All
 * threads together are at most dlm.max_threads, or one for each session where
 * there are more; beyond that only what a running batch took before others came.
 *
 * A parallel query worker is a session like any other and asks for
 * dlm.threads_per_worker threads, so the kinds of parallelism share the budget.
 */
#include "dlm_pg.h"

#include <sched.h>
#include <unistd.h>

#include "access/parallel.h"
#include "storage/ipc.h"

#include "budget.h"
#include "guc.h"
#include "shmem.h"

/* This backend's part of the two counters. */
static int	held = 0;
static int	computing = 0;

/* Had the last team one of the threads that are left when the shares are equal? Then others have a chance first. */
static bool had_more = false;

int
dlm_max_threads(void)
{
	cpu_set_t	cpus;

	if (dlm_guc_max_threads > 0)
		return dlm_guc_max_threads;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		return Max(1, Min(CPU_COUNT(&cpus), 64));
	return Max(1, Min((int) sysconf(_SC_NPROCESSORS_ONLN), 64));
}

/* A backend that dies in the middle of a call does not run its memory contexts' callbacks in time. */
static void
release_all(int code, Datum arg)
{
	dlm_budget_release(held + 1);
	while (computing > 0)
		dlm_budget_leave();
}

/* Take up to `wanted` extra threads while all in use are at most `limit`. */
static int
take_extra(DlmShared *s, int wanted, int limit)
{
	uint32		now = pg_atomic_read_u32(&s->slots);

	for (;;)
	{
		int			granted = Min(wanted, limit - (int) now);

		if (granted <= 0)
			return 0;
		if (pg_atomic_compare_exchange_u32(&s->slots, &now, now + granted))
			return granted;
	}
}

void
dlm_budget_enter(void)
{
	static bool registered = false;
	DlmShared  *s = dlm_shmem();

	if (s == NULL)
		return;
	if (!registered)
	{
		before_shmem_exit(release_all, (Datum) 0);
		registered = true;
	}
	pg_atomic_fetch_add_u32(&s->computing, 1);
	computing++;
}

void
dlm_budget_leave(void)
{
	if (computing == 0)			/* also what release_all gave back already */
		return;
	pg_atomic_fetch_sub_u32(&dlm_shmem_existing()->computing, 1);
	computing--;
}

int
dlm_budget_acquire(void)
{
	DlmShared  *s = dlm_shmem_existing();
	int			all = dlm_max_threads();
	int			sessions,
				share,
				wanted,
				granted;

	if (computing == 0)
		return 1;
	sessions = (int) pg_atomic_read_u32(&s->computing);
	share = Max(1, all / sessions);
	wanted = share + (all % sessions != 0 && !had_more ? 1 : 0);
	if (IsParallelWorker())
		wanted = Min(wanted, dlm_guc_threads_per_worker);
	granted = take_extra(s, wanted - 1, all - sessions);
	held += granted;
	had_more = 1 + granted > share;
	return 1 + granted;
}

void
dlm_budget_release(int threads)
{
	int			slots = Min(threads - 1, held);

	if (slots <= 0)				/* also what release_all gave back already */
		return;
	pg_atomic_fetch_sub_u32(&dlm_shmem_existing()->slots, slots);
	held -= slots;
}

int
dlm_budget_others(void)
{
	DlmShared  *s = dlm_shmem();

	return s ? Max(0, (int) pg_atomic_read_u32(&s->computing) - computing) : 0;
}
