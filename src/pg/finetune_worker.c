/*
 * finetune_worker.c - trainings in the background.
 *
 * The session that calls dlm_finetune takes the job's lock, starts a worker,
 * which waits for that lock, reads the rows, and lets the lock go: from then on
 * the job is the worker's. If the session ends before, the worker finds a job
 * that has not read its rows, and ends.
 *
 * The worker connects as the session's user, who can therefore cancel and end
 * it, and does what needs rights as the owner of the job. It runs no SQL of
 * the user's.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/postmaster.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "finetune.h"

PGDLLEXPORT void dlm_worker_finetune(Datum arg);

/* What a worker is told; in bgw_extra. */
typedef struct WorkerArgs
{
	Oid			database;
	Oid			user;
	int64		job;
} WorkerArgs;

StaticAssertDecl(sizeof(WorkerArgs) <= BGW_EXTRALEN, "too much to tell a worker");

/* ---------------------------------------------------------- in the session */

pg_noreturn static void
raise_no_worker(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("no background worker is free for the training"),
			 errhint("Raise max_worker_processes, or train without the option background.")));
}

/* Until the worker stands in the queue of the job's lock. */
static void
wait_until_ready(DlmJob *job, BackgroundWorkerHandle *handle)
{
	static uint32 event = 0;
	pid_t		pid;

	while (!dlm_job_awaited(job))
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);

		if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("the background worker for the training could not begin"),
					 errhint("The server's log says why.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 dlm_wait_event("DlmWorkerStart", event));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

struct BackgroundWorkerHandle *
dlm_finetune_start_worker(DlmJob *job)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	WorkerArgs	args = {.database = MyDatabaseId, .user = GetSessionUserId(), .job = job->id};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "dlm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "dlm_worker_finetune", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "dlm finetune, job %lld", (long long) job->id);
	strlcpy(worker.bgw_type, "dlm finetune", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, &args, sizeof(args));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		raise_no_worker();
	PG_TRY();
	{
		wait_until_ready(job, handle);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return (struct BackgroundWorkerHandle *) handle;
}

/* ----------------------------------------------------------- in the worker */

/* Settings of the role or the database that are meant for sessions. */
static void
settle(void)
{
	SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("statement_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
}

typedef struct Found
{
	MemoryContext context;
	int64		id;
	DlmJob	   *job;
} Found;

static void
read_job(void *arg)
{
	Found	   *found = arg;

	found->job = dlm_job_read(found->context, found->id);
}

/* The job, once the session has let it go; NULL if it has not come so far. */
static DlmJob *
receive_job(MemoryContext context, int64 id)
{
	DlmJob		awaited = {.context = context, .id = id, .background = true};
	Found		found = {context, id, NULL};

	(void) dlm_job_lock(&awaited, true);
	dlm_job_guard(read_job, &found);
	if (found.job == NULL || strcmp(found.job->state, DLM_JOB_WAITING) != 0)
		return NULL;
	found.job->background = true;
	found.job->locked = true;
	return found.job;
}

static void
train(DlmJob *job)
{
	PG_TRY();
	{
		dlm_finetune_work(job, dlm_finetune_from_arguments(job->arguments));
	}
	PG_CATCH();
	{
		dlm_finetune_fail(job);
	}
	PG_END_TRY();
}

void
dlm_worker_finetune(Datum arg)
{
	WorkerArgs	args;
	MemoryContext context;
	DlmJob	   *job;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(args.database, args.user, 0);
	settle();
	context = AllocSetContextCreate(TopMemoryContext, "dlm job", ALLOCSET_DEFAULT_SIZES);
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	job = receive_job(context, args.job);
	if (job != NULL)
	{
		pgstat_report_activity(STATE_RUNNING, psprintf("dlm_finetune, job %lld", (long long) job->id));
		dlm_activity_scope_begin(context, -1);
		train(job);
	}
	CommitTransactionCommand();
	MemoryContextDelete(context);
	proc_exit(0);
}
