/*
 * activity.c - dlm_activity: what every backend is doing now.
 *
 * One slot a backend, written by its owner alone. Writers make `changes` odd
 * before and even after (as PostgreSQL's own backend status does), readers
 * copy until they saw no change: nobody waits for anybody.
 */
#include "dlm_pg.h"

#include "access/parallel.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "activity.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(dlm_sql_activity);

/* An open scope; lies in the context that ends it at the latest. */
typedef struct Scope
{
	MemoryContextCallback callback;
	struct Scope *outer;
	DlmPhase	phase;			/* of the outer one, to go back to */
} Scope;

static Scope *innermost = NULL;
static DlmActivitySlot *mine = NULL;	/* set while a scope is open */
static int64 rows_told;			/* by the owner of the scope */
static uint64 tokens_before;	/* of the batches that are over */
static bool in_batch = false;
static DlmPhase phase_before;	/* the batch */
static bool exit_registered = false;

static void
write_begin(DlmActivitySlot *slot)
{
	pg_atomic_write_u32(&slot->changes, pg_atomic_read_u32(&slot->changes) + 1);
	pg_write_barrier();
}

static void
write_end(DlmActivitySlot *slot)
{
	pg_write_barrier();
	pg_atomic_write_u32(&slot->changes, pg_atomic_read_u32(&slot->changes) + 1);
}

/* -------------------------------------------------------------------- scopes */

static void
clear_slot(void)
{
	innermost = NULL;
	in_batch = false;
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->pid = 0;
	write_end(mine);
	mine = NULL;
}

static void
exit_callback(int code, Datum arg)
{
	clear_slot();
}

static void
set_phase(DlmPhase phase)
{
	if (mine == NULL || mine->phase == phase)
		return;
	write_begin(mine);
	mine->phase = phase;
	write_end(mine);
}

/* Take a scope out of the list; one that is no longer there has ended before. */
static void
close_scope(void *arg)
{
	Scope	   *scope = arg;
	Scope	  **link = &innermost;

	while (*link != NULL && *link != scope)
		link = &(*link)->outer;
	if (*link == NULL)
		return;
	*link = scope->outer;
	if (innermost == NULL)
		clear_slot();
	else if (innermost == scope->outer)
		set_phase(scope->phase);
}

static int
leader_pid(void)
{
	PGPROC	   *leader = IsParallelWorker() ? MyProc->lockGroupLeader : NULL;

	return leader != NULL && leader != MyProc ? leader->pid : 0;
}

static void
start_slot(DlmActivitySlot *slot, int64 rows)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		query_id = pgstat_get_my_query_id();
	int			leader = leader_pid();

	mine = slot;
	rows_told = 0;
	tokens_before = 0;
	write_begin(slot);
	slot->pid = MyProcPid;
	slot->leader_pid = leader;
	slot->dbid = MyDatabaseId;
	slot->userid = GetSessionUserId();	/* who is logged in, as in pg_stat_activity */
	slot->query_id = query_id;
	slot->phase = DLM_PHASE_READ;
	slot->task = DLM_ACTIVITY_UNKNOWN;
	slot->model[0] = '\0';
	slot->started = slot->rows_at = now;
	slot->rows = rows;
	slot->rows_done = 0;
	slot->step = slot->steps = 0;
	slot->threads = 0;
	slot->tokens = 0;
	slot->job_id = 0;
	write_end(slot);
}

void
dlm_activity_scope_begin(MemoryContext context, int64 rows)
{
	DlmShared  *s = dlm_shmem();
	int			i = s != NULL ? dlm_shmem_my_slot(s) : -1;
	Scope	   *scope;

	if (i < 0)
		return;
	if (!exit_registered)
	{
		before_shmem_exit(exit_callback, (Datum) 0);
		exit_registered = true;
	}
	scope = MemoryContextAllocZero(context, sizeof(Scope));
	scope->callback.func = close_scope;
	scope->callback.arg = scope;
	MemoryContextRegisterResetCallback(context, &scope->callback);
	scope->outer = innermost;
	innermost = scope;
	if (scope->outer == NULL)
	{
		start_slot(&s->activity[i], rows);
		return;
	}
	scope->phase = mine->phase;
	if (mine->rows >= 0 && rows > mine->rows)
	{
		write_begin(mine);
		mine->rows = rows;
		write_end(mine);
	}
}

void
dlm_activity_scope_end(void)
{
	if (innermost != NULL)
		close_scope(innermost);
}

bool
dlm_activity_in_scope(void)
{
	return innermost != NULL;
}

/* Inside write_begin and write_end. */
static void
put_rows_done(int64 rows_done)
{
	if (rows_done <= mine->rows_done)
		return;
	mine->rows_done = rows_done;
	mine->rows_at = GetCurrentTimestamp();
}

void
dlm_activity_scope_rows(int64 rows_done)
{
	if (mine == NULL)
		return;
	rows_told = rows_done;
	write_begin(mine);
	put_rows_done(rows_done);
	write_end(mine);
}

void
dlm_activity_phase(DlmPhase phase)
{
	set_phase(phase);
}

/* ------------------------------------------------------------------- batches */

static void
put_work(int task, const char *model)
{
	mine->task = task;
	strlcpy(mine->model, model, sizeof(mine->model));
	mine->step = mine->steps = 0;
}

void
dlm_activity_batch_begin(const DlmModelRef *model, dlm_task task, int threads)
{
	if (mine == NULL)
		return;
	in_batch = true;
	phase_before = mine->phase;
	write_begin(mine);
	put_work((int) task, model->name);
	mine->phase = DLM_PHASE_COMPUTE;
	mine->threads = threads;
	write_end(mine);
}

void
dlm_activity_batch_progress(const dlm_progress *progress, int before)
{
	if (mine == NULL || !in_batch)
		return;
	write_begin(mine);
	put_rows_done(rows_told + before + progress->requests_done);
	mine->step = progress->step;
	mine->steps = progress->steps;
	mine->tokens = tokens_before + progress->tokens;
	write_end(mine);
}

void
dlm_activity_batch_end(void)
{
	if (mine == NULL || !in_batch)
		return;
	in_batch = false;
	tokens_before = mine->tokens;
	write_begin(mine);
	mine->phase = phase_before;
	mine->step = mine->steps = 0;
	mine->threads = 0;
	write_end(mine);
}

/* --------------------------------------------------------------------- loads */

void
dlm_activity_load(const char *name)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	put_work(DLM_ACTIVITY_LOAD, name);
	mine->phase = DLM_PHASE_LOAD;
	mine->threads = 1;
	write_end(mine);
}

/* Called by the converter, so only plain stores. */
void
dlm_activity_load_progress(double share)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->step = (int) (share * 100);
	mine->steps = 100;
	write_end(mine);
}

/* ------------------------------------------------------------- training runs */

void
dlm_activity_train(int64 job_id, const char *model, int threads)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	put_work(DLM_ACTIVITY_TRAIN, model);
	mine->phase = DLM_PHASE_TRAIN;
	mine->threads = threads;
	mine->job_id = job_id;
	mine->job = (DlmJobFigures) DLM_NO_FIGURES;
	write_end(mine);
}

void
dlm_activity_train_threads(int threads)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->threads = threads;
	write_end(mine);
}

void
dlm_activity_train_progress(const DlmJobFigures *figures)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->step = (int) Min(figures->step, PG_INT32_MAX);
	mine->steps = (int) Min(figures->steps, PG_INT32_MAX);
	mine->tokens = figures->tokens;
	mine->job = *figures;
	write_end(mine);
}

Interval *
dlm_time_left(double seconds)
{
	Interval   *left = palloc0(sizeof(Interval));

	left->time = seconds > 0 ? (int64) (seconds * 10) * (USECS_PER_SEC / 10) : 0;
	return left;
}

double
dlm_figures_rest(const DlmJobFigures *f)
{
	if (f->step <= 0 || f->steps < f->step)
		return NAN;
	if (f->tokens == 0 && f->seconds > 0)	/* steps are rows */
		return f->seconds / f->step * (f->steps - f->step);
	if (!(f->tokens_per_second > 0))
		return NAN;
	return (double) f->tokens / f->step * (f->steps - f->step) / f->tokens_per_second;
}

/* ------------------------------------------------------------------- reading */

/* A consistent copy of a slot. */
static void
read_slot(DlmActivitySlot *slot, DlmActivitySlot *copy)
{
	for (;;)
	{
		uint32		before = pg_atomic_read_u32(&slot->changes);

		pg_read_barrier();
		memcpy(copy, slot, sizeof(*copy));
		pg_read_barrier();
		if (before % 2 == 0 && pg_atomic_read_u32(&slot->changes) == before)
			return;
		CHECK_FOR_INTERRUPTS();
	}
}

bool
dlm_activity_job(int64 job_id, DlmJobFigures *out)
{
	DlmShared  *s = dlm_shmem();

	for (int i = 0; s != NULL && i < s->n_activity; i++)
	{
		DlmActivitySlot a;

		if (s->activity[i].pid == 0)
			continue;
		read_slot(&s->activity[i], &a);
		if (a.pid != 0 && a.job_id == job_id && a.dbid == MyDatabaseId)
		{
			*out = a.job;
			return true;
		}
	}
	return false;
}

/*
 * The time that the rest takes at the pace so far, counted down since the last
 * row was done, in steps of 0.1 s. NULL: no row is done yet, the number of rows
 * is not known, or it was estimated too low.
 */
static Interval *
eta(const DlmActivitySlot *a, TimestampTz now)
{
	double		rest;

	if (a->phase == DLM_PHASE_TRAIN)
		rest = dlm_figures_rest(&a->job);
	else if (a->rows_done > 0 && a->rows_done <= a->rows)
		rest = ((double) (a->rows_at - a->started) / a->rows_done * (a->rows - a->rows_done) - (now - a->rows_at)) /
			USECS_PER_SEC;
	else
		return NULL;
	if (isnan(rest))
		return NULL;
	return dlm_time_left(rest);
}

/* Columns of dlm_activity_rows(), in their order. */
enum
{
	COL_PID, COL_DBID, COL_USERID, COL_LEADER_PID, COL_QUERY_ID, COL_PHASE, COL_TASK, COL_MODEL, COL_STARTED,
	COL_ROWS, COL_ROWS_DONE, COL_STEP, COL_STEPS, COL_TOKENS, COL_TOKENS_PER_S, COL_ETA, COL_THREADS, N_COLS
};

static void
put_details(Datum *values, bool *nulls, const DlmActivitySlot *a)
{
	static const char *const phases[] = {
		[DLM_PHASE_READ] = "read",
		[DLM_PHASE_LOAD] = "load",
		[DLM_PHASE_COMPUTE] = "compute",
		[DLM_PHASE_EMIT] = "emit",
		[DLM_PHASE_TRAIN] = "train",
	};
	TimestampTz now = GetCurrentTimestamp();
	Interval   *left = eta(a, now);
	double		pace = NAN;

	if (a->phase == DLM_PHASE_TRAIN)
		pace = a->job.tokens_per_second;	/* lately: tokens count those of earlier parts of the run */
	else if (now > a->started)
		pace = (double) a->tokens * USECS_PER_SEC / (now - a->started);
	memset(nulls, false, N_COLS * sizeof(bool));
	nulls[COL_LEADER_PID] = a->leader_pid == 0;
	nulls[COL_QUERY_ID] = a->query_id == 0;
	nulls[COL_TASK] = a->task == DLM_ACTIVITY_UNKNOWN;
	nulls[COL_MODEL] = a->model[0] == '\0';
	nulls[COL_ROWS] = a->rows < 0;
	nulls[COL_STEP] = nulls[COL_STEPS] = a->steps == 0;
	nulls[COL_TOKENS_PER_S] = isnan(pace);
	nulls[COL_ETA] = left == NULL;

	values[COL_LEADER_PID] = Int32GetDatum(a->leader_pid);
	values[COL_QUERY_ID] = Int64GetDatum((int64) a->query_id);
	values[COL_PHASE] = CStringGetTextDatum(phases[a->phase]);
	if (!nulls[COL_TASK])
		values[COL_TASK] = CStringGetTextDatum(dlm_task_name(a->task));
	values[COL_MODEL] = CStringGetTextDatum(a->model);
	values[COL_STARTED] = TimestampTzGetDatum(a->started);
	values[COL_ROWS] = Int64GetDatum(a->rows);
	values[COL_ROWS_DONE] = Int64GetDatum(a->rows_done);
	values[COL_STEP] = Int32GetDatum(a->step);
	values[COL_STEPS] = Int32GetDatum(a->steps);
	values[COL_TOKENS] = Int64GetDatum((int64) a->tokens);
	values[COL_TOKENS_PER_S] = Float8GetDatum(pace);
	values[COL_ETA] = IntervalPGetDatum(left);
	values[COL_THREADS] = Int32GetDatum(a->threads);
}

/* dlm_activity_rows(): of other users only pid, database and user are shown, as in pg_stat_activity. */
Datum
dlm_sql_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DlmShared  *s = dlm_shmem();
	bool		all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; s != NULL && i < s->n_activity; i++)
	{
		DlmActivitySlot a;
		Datum		values[N_COLS] = {0};
		bool		nulls[N_COLS];

		read_slot(&s->activity[i], &a);
		if (a.pid == 0)
			continue;
		memset(nulls, true, sizeof(nulls));
		values[COL_PID] = Int32GetDatum(a.pid);
		values[COL_DBID] = ObjectIdGetDatum(a.dbid);
		values[COL_USERID] = ObjectIdGetDatum(a.userid);
		nulls[COL_PID] = nulls[COL_DBID] = nulls[COL_USERID] = false;
		if (all || has_privs_of_role(GetUserId(), a.userid))
			put_details(values, nulls, &a);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
