/*
 * cache.c - answers of all sessions in shared memory.
 *
 * The store (cache_store.c) is a pinned DSM segment of dlm.cache_mem, so it
 * needs no preload and comes, goes and changes its size while the server runs.
 * There is one setting for all sessions, from the configuration file, but each
 * session reads that file when it gets to it, and one in a long statement may
 * be hours late. So whoever read it last decides: a session that starts a run
 * compares the time at which it read the configuration with that of the
 * decision that stands, and makes a new one if it knows better. The others
 * follow at their next run; until then they hold a store that has been closed.
 * Parallel workers have the leader's setting and no time of it: they follow.
 *
 * Locks: the control's while a store is made or dropped, tried and never
 * waited for (those who come by do without a cache), and that of a part around
 * a look-up or an insertion, which take microseconds.
 */
#include "dlm_pg.h"

#include <sys/mman.h>

#include "access/htup_details.h"
#include "access/parallel.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "cache.h"
#include "guc.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(dlm_sql_cache_info);
PG_FUNCTION_INFO_V1(dlm_sql_cache_reset);

#define SHORT_ANSWER	1024	/* bytes: copied at the first attempt */

/* What this process has mapped. */
static dsm_segment *segment = NULL;
static DlmStore *store = NULL;
static uint32 generation = 0;

/* -------------------------------------------------------------- the segment */

static void
let_go(void)
{
	if (segment)
		dsm_detach(segment);
	segment = NULL;
	store = NULL;
}

static void
map(dsm_segment *found)
{
	segment = found;
	store = found ? dsm_segment_address(found) : NULL;
}

/*
 * Make a segment of `size` bytes, or attach to the one with a handle. NULL
 * when it cannot be had, for whatever reason; *why is the error's message. It
 * is the session's, so no resource owner is to take it back.
 */
static dsm_segment *
obtain(Size size, dsm_handle handle, char **why)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	uint32		holdoff = InterruptHoldoffCount;
	dsm_segment *volatile found = NULL;

	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		found = handle == DSM_HANDLE_INVALID ? dsm_create(size, 0) : dsm_attach(handle);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*why = CopyErrorData()->message;
		FlushErrorState();
		InterruptHoldoffCount = holdoff;	/* the caller holds a lock, whose release counts it down */
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	return found;
}

/*
 * Nobody finds anything in the present store any more, and its memory goes
 * back at once: sessions that idle would keep it mapped until their next call.
 * The control's lock is held.
 */
static void
drop_store(DlmCacheControl *c)
{
	char	   *why;

	if (c->handle == DSM_HANDLE_INVALID)
		return;
	if (generation != pg_atomic_read_u32(&c->generation) || store == NULL)
	{
		let_go();
		map(obtain(0, c->handle, &why));
	}
	if (store)
	{
		for (int i = 0; i < DLM_CACHE_PARTS; i++)
		{
			LWLockAcquire(&c->part[i].lock, LW_EXCLUSIVE);
			dlm_store_close(store, i);
			LWLockRelease(&c->part[i].lock);
		}
#ifdef MADV_REMOVE
		(void) madvise((char *) store + DLM_STORE_HEAD, dsm_segment_map_length(segment) - DLM_STORE_HEAD, MADV_REMOVE);
#endif
	}
	dsm_unpin_segment(c->handle);
	c->handle = DSM_HANDLE_INVALID;
}

/* Another store of `kb`, 0 = none, in the place of the present one. The control's lock is held. False: no memory. */
static bool
replace_store(DlmCacheControl *c, int kb, char **why)
{
	drop_store(c);
	let_go();
	if (kb > 0)
	{
		Size		size = (Size) kb * 1024;

		map(obtain(size, DSM_HANDLE_INVALID, why));
		if (segment)
		{
			dsm_pin_segment(segment);
			dlm_store_init(store, size);
			c->handle = dsm_segment_handle(segment);
		}
	}
	c->size = kb;
	generation = pg_atomic_add_fetch_u32(&c->generation, 1);
	return kb == 0 || segment;
}

static void
warn_no_memory(const char *why)
{
	ereport(WARNING,
			(errmsg("dlm has no shared memory for answers: none are kept"),
			 errdetail_internal("%s", why),
			 errhint("Lower dlm.cache_mem, or make room and call dlm_cache_reset().")));
}

/* ------------------------------------------------------------- who decides */

/* Does this process know the setting better than the one who decided? */
static bool
knows_better(DlmCacheControl *c)
{
	uint64		decided = pg_atomic_read_u64(&c->decided);

	return IsParallelWorker() ? decided == 0 : (uint64) PgReloadTime > decided;
}

static void
decide(DlmCacheControl *c)
{
	char	   *why = NULL;
	bool		done = true;

	if (!LWLockConditionalAcquire(&c->lock, LW_EXCLUSIVE))
		return;
	if (knows_better(c))
	{
		if (dlm_guc_cache_mem != c->size)
			done = replace_store(c, dlm_guc_cache_mem, &why);
		if (!done && (QueryCancelPending || ProcDiePending))
		{
			done = true;		/* not for want of memory: the next one tries again */
			c->size = 0;
		}
		else
			pg_atomic_write_u64(&c->decided, IsParallelWorker() ? 1 : (uint64) PgReloadTime);
	}
	LWLockRelease(&c->lock);
	if (!done)
		warn_no_memory(why);
}

/* Map the store that there is now. */
static void
follow(DlmCacheControl *c)
{
	dsm_handle	handle;
	char	   *why;

	if (!LWLockConditionalAcquire(&c->lock, LW_SHARED))
		return;
	handle = c->handle;
	generation = pg_atomic_read_u32(&c->generation);
	LWLockRelease(&c->lock);
	let_go();
	if (handle != DSM_HANDLE_INVALID)
		map(obtain(0, handle, &why));
}

bool
dlm_cache_begin(void)
{
	DlmShared  *s = dlm_shmem();

	if (s == NULL)
		return false;
	if (knows_better(&s->cache))
		decide(&s->cache);
	if (generation != pg_atomic_read_u32(&s->cache.generation))
		follow(&s->cache);
	return store != NULL;
}

void
dlm_cache_init(DlmCacheControl *c)
{
	c->tranche = LWLockNewTrancheId();
	LWLockInitialize(&c->lock, c->tranche);
	for (int i = 0; i < DLM_CACHE_PARTS; i++)
		LWLockInitialize(&c->part[i].lock, c->tranche);
	pg_atomic_init_u32(&c->generation, 0);
	pg_atomic_init_u64(&c->decided, 0);
	c->handle = DSM_HANDLE_INVALID;
	c->reset = GetCurrentTimestamp();
}

void
dlm_cache_register(const DlmCacheControl *c)
{
	LWLockRegisterTranche(c->tranche, "dlm_cache");
}

/* ------------------------------------------------------------------ answers */

static DlmCachePart *
part_of(const uint8 key[DLM_CACHE_KEY])
{
	return &dlm_shmem_existing()->cache.part[dlm_store_part(key)];
}

/* Bytes of the answer, 0 = none; copied to `room` [size] if it fits. */
static Size
look_up(const uint8 key[DLM_CACHE_KEY], char *room, Size size)
{
	DlmCachePart *part = part_of(key);
	Size		found;

	LWLockAcquire(&part->lock, LW_EXCLUSIVE);
	found = dlm_store_get(store, key, room, size);
	if (found == 0)
		part->misses++;
	else if (found <= size)
		part->hits++;
	LWLockRelease(&part->lock);
	return found;
}

char *
dlm_cache_get(const uint8 key[DLM_CACHE_KEY], Size *size)
{
	char		shortest[SHORT_ANSWER];
	char	   *answer;
	Size		room = sizeof(shortest);

	if (store == NULL)			/* a run within the run has found the cache gone */
		return NULL;
	*size = look_up(key, shortest, room);
	if (*size == 0)
		return NULL;
	answer = palloc(*size);
	if (*size <= room)
		return memcpy(answer, shortest, *size);
	room = *size;
	*size = look_up(key, answer, room);
	if (*size == room)
		return answer;
	pfree(answer);				/* it went while memory was taken */
	return NULL;
}

void
dlm_cache_put(const uint8 key[DLM_CACHE_KEY], const char *answer, Size size)
{
	DlmCachePart *part = part_of(key);
	int			evicted;

	if (store == NULL)
		return;
	LWLockAcquire(&part->lock, LW_EXCLUSIVE);
	switch (dlm_store_put(store, key, answer, size, &evicted))
	{
		case DLM_STORED:
			part->stored++;
			part->evicted += evicted;
			break;
		case DLM_STORED_BEFORE:
			break;
		case DLM_STORED_NOT:
			part->not_stored++;
			break;
	}
	LWLockRelease(&part->lock);
}

/* ---------------------------------------------------------------- functions */

/*
 * (bytes bigint, used_bytes bigint, answers bigint, hits bigint, misses bigint, stored bigint, evicted bigint,
 * not_stored bigint, reset timestamptz)
 */
Datum
dlm_sql_cache_info(PG_FUNCTION_ARGS)
{
	bool		usable = dlm_cache_begin();
	DlmShared  *s = dlm_shmem_existing();
	int64		sum[8] = {0};
	Datum		values[9];
	bool		nulls[9] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	sum[0] = usable ? (int64) dsm_segment_map_length(segment) : 0;
	for (int i = 0; s != NULL && i < DLM_CACHE_PARTS; i++)
	{
		DlmCachePart *part = &s->cache.part[i];
		DlmStoreUse use = {0};

		LWLockAcquire(&part->lock, LW_SHARED);
		if (usable)
			use = dlm_store_use(store, i);
		sum[1] += use.bytes;
		sum[2] += use.answers;
		sum[3] += part->hits;
		sum[4] += part->misses;
		sum[5] += part->stored;
		sum[6] += part->evicted;
		sum[7] += part->not_stored;
		LWLockRelease(&part->lock);
	}
	for (int i = 0; i < 8; i++)
		values[i] = Int64GetDatum(sum[i]);
	nulls[8] = s == NULL;
	values[8] = s ? TimestampTzGetDatum(s->cache.reset) : (Datum) 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
dlm_sql_cache_reset(PG_FUNCTION_ARGS)
{
	DlmShared  *s = dlm_shmem();
	DlmCacheControl *c = s ? &s->cache : NULL;
	char	   *why = NULL;
	bool		done;

	if (c == NULL)
		PG_RETURN_VOID();
	LWLockAcquire(&c->lock, LW_EXCLUSIVE);
	/* the setting as this session has it, even should the clock have been set back since somebody decided */
	done = replace_store(c, dlm_guc_cache_mem, &why);
	pg_atomic_write_u64(&c->decided, (uint64) PgReloadTime);
	for (int i = 0; i < DLM_CACHE_PARTS; i++)
	{
		DlmCachePart *part = &c->part[i];

		LWLockAcquire(&part->lock, LW_EXCLUSIVE);
		part->hits = part->misses = part->stored = part->evicted = part->not_stored = 0;
		LWLockRelease(&part->lock);
	}
	c->reset = GetCurrentTimestamp();
	LWLockRelease(&c->lock);
	if (!done)
		warn_no_memory(why);
	PG_RETURN_VOID();
}
