/*
 * budget.c - compute slots.
 *
 * One atomic counter in shared memory holds the extra threads in use in the
 * whole cluster. A team gets what is free and never waits: one thread, the
 * backend itself, is always granted. So threads of all sessions together are
 * at most dlm.max_threads - 1 plus one for each session that computes. Slots
 * are held only while run.c computes.
 *
 * A parallel query worker asks for dlm.threads_per_worker threads, so that
 * the two kinds of parallelism share the budget.
 */
#include "dlm_pg.h"

#include <sched.h>
#include <unistd.h>

#include "access/parallel.h"
#include "storage/ipc.h"

#include "budget.h"
#include "guc.h"
#include "shmem.h"

static int	held = 0;			/* extra threads that this backend counts in shared memory */

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

/* A backend that dies in the middle of a call does not run its memory contexts' callbacks. */
static void
release_all(int code, Datum arg)
{
	dlm_budget_release(held + 1);
}

int
dlm_budget_acquire(void)
{
	static bool registered = false;
	pg_atomic_uint32 *used = dlm_shmem_slots();
	int			limit = dlm_max_threads() - 1;
	int			wanted = (IsParallelWorker() ? Min(dlm_guc_threads_per_worker, limit + 1) : limit + 1) - 1;
	uint32		now;

	if (!used || wanted <= 0)
		return 1;
	if (!registered)
	{
		before_shmem_exit(release_all, (Datum) 0);
		registered = true;
	}
	now = pg_atomic_read_u32(used);
	for (;;)
	{
		int			granted = Min(wanted, limit - (int) now);

		if (granted <= 0)
			return 1;
		if (pg_atomic_compare_exchange_u32(used, &now, now + granted))
		{
			held += granted;
			return 1 + granted;
		}
	}
}

void
dlm_budget_release(int threads)
{
	pg_atomic_uint32 *used;
	int			slots = Min(threads - 1, held);

	if (slots <= 0)				/* also what release_all gave back already */
		return;
	used = dlm_shmem_slots();
	if (used)
		pg_atomic_fetch_sub_u32(used, slots);
	held -= slots;
}
