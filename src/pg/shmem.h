/*
 * shmem.h - the shared state of all backends: compute slots, statistics,
 * activity, mappings, where the cache lies. Works with and without shared_preload_libraries.
 */
#ifndef DLM_PG_SHMEM_H
#define DLM_PG_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

#include "activity.h"
#include "cache.h"
#include "statement_models.h"
#include "stats.h"

#define DLM_SHARED_MODELS	256		/* digests whose mappings are counted */
#define DLM_SHARED_STATS	1024	/* rows of dlm_stats */

/* Statistics are kept by these. Compared byte by byte: zero it first. */
typedef struct DlmStatsKey
{
	uint8		digest[32];
	Oid			userid;
	Oid			dbid;
	int32		task;			/* dlm_task */
} DlmStatsKey;

typedef struct DlmStatsEntry
{
	DlmStatsKey key;
	bool		used;
	slock_t		mutex;			/* covers what follows */
	char		model[NAMEDATALEN]; /* name under which it was last used */
	DlmStatsDelta counts;
} DlmStatsEntry;

typedef struct DlmActivitySlot
{
	pg_atomic_uint32 changes;	/* odd while the owner writes */
	int			pid;			/* 0 = idle */
	int			leader_pid;		/* of a parallel worker; 0 = none */
	Oid			dbid;
	Oid			userid;
	uint64		query_id;		/* 0 = not computed */
	DlmPhase	phase;
	int			task;			/* dlm_task, or one of those below */
	char		model[NAMEDATALEN];
	TimestampTz started;
	int64		rows;			/* < 0 = unknown */
	int64		rows_done;
	TimestampTz rows_at;		/* when rows_done last grew */
	int			step;
	int			steps;
	int			threads;		/* that compute now */
	uint64		tokens;
	int64		job_id;			/* 0: no job */
	DlmJobFigures job;
	DlmStatementModels models;	/* of the statement that this backend leads; under its own lock */
} DlmActivitySlot;

#define DLM_ACTIVITY_LOAD		(-1)
#define DLM_ACTIVITY_UNKNOWN	(-2)
#define DLM_ACTIVITY_TRAIN		(-3)

typedef struct DlmShared
{
	LWLock		lock;			/* exclusive: entries come and go, shared: counts */
	int			tranche;
	pg_atomic_uint32 slots;		/* extra compute threads in use; budget.c */
	pg_atomic_uint32 computing; /* sessions that compute now; budget.c */
	pg_atomic_uint64 preloaded; /* entries of dlm.preload_models that were found: bit i = entry i */
	struct
	{
		uint8		digest[32];
		int			backends;	/* 0 = free */
	}			mapped[DLM_SHARED_MODELS];
	DlmCacheControl cache;
	TimestampTz stats_reset;
	int64		stats_lost;		/* calls that found the table full */
	DlmStatsEntry stats[DLM_SHARED_STATS];
	int			n_activity;
	DlmActivitySlot activity[FLEXIBLE_ARRAY_MEMBER];	/* [n_activity], one a backend */
} DlmShared;

/* _PG_init calls this once: requests shared memory when preloaded. */
extern void dlm_shmem_init(void);

/*
 * The shared state, attached on first use; NULL when it cannot be had (said
 * once, as a WARNING).
 */
extern DlmShared *dlm_shmem(void);

/* The same without attaching: NULL if this process has not got it. */
extern DlmShared *dlm_shmem_existing(void);

/* Does it lie in the main segment, so that statistics outlive a restart? */
extern bool dlm_shmem_preloaded(void);

/* This backend's slot of activity, -1 if it has none. */
extern int	dlm_shmem_my_slot(const DlmShared *shared);

/*
 * This backend maps a model's file (+1) or lets go (-1). False if it was not
 * counted. What is left is taken back when the backend exits.
 */
extern bool dlm_shmem_count_mapping(const uint8 digest[32], int change);

/* How many backends map the file; -1 when unknown. */
extern int	dlm_shmem_mapped_by(const uint8 digest[32]);

#endif							/* DLM_PG_SHMEM_H */
