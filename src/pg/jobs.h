/*
 * jobs.h - work that outlives transactions: rows of the table dlm_job, behind
 * the view dlm_jobs.
 *
 * The process that works on a job holds the job's lock, a session-level lock
 * that PostgreSQL takes back when the process ends, however it ends. A row
 * that says `running` without a holder of its lock is an interrupted job. Only
 * this code writes the table, as its owner; between two writes a running job's
 * figures are told through dlm_activity's shared memory.
 *
 * A job works in transactions of its own, which dlm_job_commit ends and
 * begins: those of a procedure in a session, plain ones in a background
 * worker. Nothing is locked and no snapshot is held while it computes.
 */
#ifndef DLM_PG_JOBS_H
#define DLM_PG_JOBS_H

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "activity.h"

#define DLM_JOB_READING		"reading"	/* its rows */
#define DLM_JOB_WAITING		"waiting"	/* for its background worker */
#define DLM_JOB_RUNNING		"running"
#define DLM_JOB_DONE		"done"
#define DLM_JOB_FAILED		"failed"
#define DLM_JOB_CANCELLED	"cancelled"
#define DLM_JOB_INTERRUPTED	"interrupted"	/* shown only: began, and nobody works on it */

#define DLM_JOB_FINETUNE	"finetune"	/* kinds */
#define DLM_JOB_FILL		"fill"

/* All pointers lie in `context`. */
typedef struct DlmJob
{
	MemoryContext context;
	bool		background;		/* no procedure's SPI connection: transactions are our own */
	bool		locked;			/* by this process */
	int64		id;
	char	   *kind;			/* DLM_JOB_FINETUNE, DLM_JOB_FILL */
	char	   *name;			/* of what is made */
	char	   *base;			/* model, or NULL */
	Oid			owner;
	const char *state;			/* as written */
	Jsonb	   *arguments;		/* what the kind needs to go on */
	DlmJobFigures figures;
	TimestampTz started;
	TimestampTz finished;		/* 0: not */
	char	   *message;		/* or NULL; in full sentences while it works: an error is put before it */
	char	   *digest;			/* of the model that was made, in hex, or NULL */
	int			pid;			/* of the last process; 0: none */
} DlmJob;

/* Insert a job of the current user in the state `reading`, with its lock taken. It is there for others once this commits. */
extern DlmJob *dlm_job_create(MemoryContext context, const char *kind, const char *name, const char *base,
							  Jsonb *arguments, bool background);

/* The job of a number, in `context`; NULL if there is none. Neither rights nor lock are looked at. */
extern DlmJob *dlm_job_read(MemoryContext context, int64 id);

/* All jobs, as DlmJob pointers. */
extern List *dlm_job_read_all(MemoryContext context);

/* Write all but the number of a job. In the present transaction; inside dlm_job_guard. */
extern void dlm_job_write(DlmJob *job);

/* Delete its row. */
extern void dlm_job_remove(int64 id);

/* May the current user go on with the job, or delete it? 42501 if not. */
extern void dlm_job_check_owner(const DlmJob *job);

/* Take the lock of a job. Without wait: false if another process works on it. */
extern bool dlm_job_lock(DlmJob *job, bool wait);
extern void dlm_job_unlock(DlmJob *job);

/*
 * Take up a job of a kind that stopped: *job, locked, as it is now. `noun` is
 * what messages call it. Errors: 42704 (there is none), 42501, 55006 (it is
 * running). *job is set as soon as it is locked, for the caller's PG_CATCH.
 */
extern void dlm_job_take(MemoryContext context, int64 id, const char *kind, const char *noun, DlmJob **job);

/* ... until the end of this transaction; false if a process works on it. */
extern bool dlm_job_lock_transaction(int64 id);

/* Does a process, maybe this one, work on the job? Does one wait for the lock that this process has? */
extern bool dlm_job_locked(int64 id);
extern bool dlm_job_awaited(const DlmJob *job);

/* End the present transaction and begin the next one. No active snapshot may be left. */
extern void dlm_job_commit(const DlmJob *job);
extern void dlm_job_rollback(const DlmJob *job);

/*
 * Run work(arg) in a subtransaction under a snapshot. Its errors are raised
 * again after that is rolled back, so that the transaction around it, and the
 * SPI connection of the procedure, can still be used.
 */
extern void dlm_job_guard(void (*work) (void *arg), void *arg);

/* Write and commit, guarded. */
extern void dlm_job_store(DlmJob *job);

/*
 * In a PG_CATCH, with everything given back: roll back, store the error as the
 * end of the job (`cancelled` or `failed`, with the message), let the lock go,
 * and raise the error again. The hint says how to go on, unless the error has
 * one. NULL: the job cannot go on, and its row is deleted.
 */
pg_noreturn extern void dlm_job_fail(DlmJob *job, const char *hint);

/* What a procedure with the one INOUT argument job_id returns. */
extern Datum dlm_job_result(FunctionCallInfo fcinfo, int64 id);

#endif							/* DLM_PG_JOBS_H */
