/*
 * cache.h - answers of all sessions in shared memory (dlm.cache_mem).
 *
 * An answer is found by whoever asks the same of the same model in the same
 * database as the same role; see queue.c for the key. Rights are not looked
 * at here: whoever has a call to look up has been let through to its model.
 *
 * A cache that cannot be had, is being made, or is full is no error of
 * anybody's statement: answers are computed then. Nothing here holds a lock
 * when it returns or raises, and a cancel finds answers whole or not there.
 */
#ifndef DLM_PG_CACHE_H
#define DLM_PG_CACHE_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"

#include "cache_store.h"

/* Of a part of the store: its lock, and what was asked of it. */
typedef struct DlmCachePart
{
	LWLock		lock;
	int64		hits,
				misses,
				stored,
				evicted,
				not_stored;		/* too large, or the store was just closed */
} DlmCachePart;

/* In shmem.h's shared state: where the store lies, for it comes and goes with the setting. */
typedef struct DlmCacheControl
{
	int			tranche;
	LWLock		lock;			/* of what follows but the generation, which is read without */
	pg_atomic_uint32 generation;	/* changes with the segment */
	pg_atomic_uint64 decided;	/* TimestampTz: the setting is that of a configuration read then; 0 = nobody asked yet */
	int			size;			/* kB, of that setting */
	dsm_handle	handle;			/* DSM_HANDLE_INVALID: no store, for size is 0 or there was no memory */
	TimestampTz reset;			/* since when the parts count */
	DlmCachePart part[DLM_CACHE_PARTS];
} DlmCacheControl;

/* Where the shared state is made, and where a process finds it. */
extern void dlm_cache_init(DlmCacheControl *control);
extern void dlm_cache_register(const DlmCacheControl *control);

/* Follow the setting. False: there is no cache, now. Call it before the first get or put of a run. */
extern bool dlm_cache_begin(void);

/* A copy of an answer in CurrentMemoryContext; NULL = not there. */
extern char *dlm_cache_get(const uint8 key[DLM_CACHE_KEY], Size *size);
extern void dlm_cache_put(const uint8 key[DLM_CACHE_KEY], const char *answer, Size size);

#endif							/* DLM_PG_CACHE_H */
