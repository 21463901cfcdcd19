/*
 * shmem.c - where the shared state lies.
 *
 * Preloaded: in the main segment, requested at start. Otherwise the first
 * backend that needs it creates a pinned DSM segment, and its handle is kept
 * where others find it (segment.c). Nothing of it is ever freed;
 * a crash restart begins with a new one.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "segment.h"
#include "shmem.h"

#define TRANCHE_NAME	"dlm"

static DlmShared *shared = NULL;
static bool unavailable = false;
static bool preloaded = false;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* This process's part of shared->mapped[].backends, given back at exit. */
static int	my_mapped[DLM_SHARED_MODELS];
static bool exit_registered = false;

static Size
shared_size(void)
{
	return add_size(offsetof(DlmShared, activity), mul_size(dlm_max_backends(), sizeof(DlmActivitySlot)));
}

static void
init_shared(void *ptr)
{
	DlmShared  *s = ptr;

	memset(s, 0, shared_size());
	s->tranche = LWLockNewTrancheId();
	LWLockInitialize(&s->lock, s->tranche);
	pg_atomic_init_u32(&s->slots, 0);
	pg_atomic_init_u32(&s->computing, 0);
	pg_atomic_init_u64(&s->preloaded, 0);
	dlm_cache_init(&s->cache);
	for (int i = 0; i < DLM_SHARED_STATS; i++)
		SpinLockInit(&s->stats[i].mutex);
	s->stats_reset = GetCurrentTimestamp();
	s->n_activity = dlm_max_backends();
	for (int i = 0; i < s->n_activity; i++)
	{
		pg_atomic_init_u32(&s->activity[i].changes, 0);
		SpinLockInit(&s->activity[i].models.mutex);
	}
}

/* In each process: the names of the locks. */
static void
register_tranches(const DlmShared *s)
{
	LWLockRegisterTranche(s->tranche, TRANCHE_NAME);
	dlm_cache_register(&s->cache);
}

static void
request_shared(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
}

static void
startup_shared(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("dlm", shared_size(), &found);
	if (!found)
		init_shared(shared);
	LWLockRelease(AddinShmemInitLock);
	register_tranches(shared);
	preloaded = true;
}

void
dlm_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	dlm_on_shmem_request(request_shared, previous_request_hook);
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared;
}

bool
dlm_shmem_preloaded(void)
{
	return preloaded;
}

/*
 * Attach without preload. Failures of memory (a small /dev/shm, no slop left)
 * leave us without shared state; anything else is an ERROR as usual.
 */
static DlmShared *
attach_shared(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	DlmShared  *volatile result = NULL;

	/* The segment is the session's: a transaction that goes on without it has nothing to give back. */
	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		result = dlm_named_segment(shared_size(), init_shared);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INSUFFICIENT_RESOURCES)
			PG_RE_THROW();
		FlushErrorState();
		if (LWLockHeldByMe(AddinShmemInitLock))
		{
			HOLD_INTERRUPTS();	/* the error path reset the count that the release takes back */
			LWLockRelease(AddinShmemInitLock);
		}
		unavailable = true;
		ereport(WARNING,
				(errmsg("dlm has no shared memory: statistics are off and compute threads are not shared out"),
				 errdetail_internal("%s", error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	return result;
}

DlmShared *
dlm_shmem(void)
{
	if (shared == NULL && !unavailable && IsUnderPostmaster)
	{
		shared = attach_shared();
		if (shared != NULL)
			register_tranches(shared);
	}
	return shared;
}

DlmShared *
dlm_shmem_existing(void)
{
	return shared;
}

int
dlm_shmem_my_slot(const DlmShared *s)
{
	int			slot = dlm_my_backend();

	return slot >= 0 && slot < s->n_activity ? slot : -1;
}

/* ---------------------------------------------------------------- mappings */

static void
forget_mappings(int code, Datum arg)
{
	if (shared == NULL)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < DLM_SHARED_MODELS; i++)
		shared->mapped[i].backends -= my_mapped[i] > 0 ? 1 : 0;
	LWLockRelease(&shared->lock);
	memset(my_mapped, 0, sizeof(my_mapped));
}

/* Index of a digest's counter, a free one if create; -1 = none. Lock held. */
static int
find_mapped(const DlmShared *s, const uint8 digest[32], bool create)
{
	int			empty = -1;

	for (int i = 0; i < DLM_SHARED_MODELS; i++)
	{
		if (s->mapped[i].backends > 0 && memcmp(s->mapped[i].digest, digest, 32) == 0)
			return i;
		if (s->mapped[i].backends == 0 && empty < 0)
			empty = i;
	}
	return create ? empty : -1;
}

bool
dlm_shmem_count_mapping(const uint8 digest[32], int change)
{
	DlmShared  *s = dlm_shmem();
	int			i;

	if (s == NULL)
		return false;
	if (!exit_registered)
	{
		before_shmem_exit(forget_mappings, (Datum) 0);
		exit_registered = true;
	}
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	i = find_mapped(s, digest, change > 0);
	if (i >= 0)
	{
		/* A backend counts once, however often it maps the file. */
		memcpy(s->mapped[i].digest, digest, 32);
		if (change > 0 && my_mapped[i]++ == 0)
			s->mapped[i].backends++;
		else if (change < 0 && my_mapped[i] > 0 && --my_mapped[i] == 0)
			s->mapped[i].backends--;
	}
	LWLockRelease(&s->lock);
	return i >= 0;
}

int
dlm_shmem_mapped_by(const uint8 digest[32])
{
	DlmShared  *s = dlm_shmem();
	int			i;
	int			backends = 0;

	if (s == NULL)
		return -1;
	LWLockAcquire(&s->lock, LW_SHARED);
	i = find_mapped(s, digest, false);
	if (i >= 0)
		backends = s->mapped[i].backends;
	LWLockRelease(&s->lock);
	return backends;
}
