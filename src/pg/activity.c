/*
 * activity.c - dlm_activity: what every backend is doing now.
 *
 * One slot a backend, written by its owner alone. Writers make `changes` odd
 * before and even after (as PostgreSQL's own backend status does), readers
 * copy until they saw no change: nobody waits for anybody.
 */
#include "dlm_pg.h"

#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/backendid.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "shmem.h"
#include "stats.h"

PG_FUNCTION_INFO_V1(dlm_sql_activity);

/* The activity that runs in this backend: its slot, and the context that ends it. */
static DlmActivitySlot *mine = NULL;
static int	depth = 0;
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

static void
clear_slot(void)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->pid = 0;
	write_end(mine);
	mine = NULL;
	depth = 0;
}

static void
exit_callback(int code, Datum arg)
{
	clear_slot();
}

/* Ends the activity that registered it, not a later one. */
typedef struct EndCallback
{
	MemoryContextCallback callback;
	uint64		number;
} EndCallback;

static uint64 number = 0;

static void
context_callback(void *arg)
{
	if (((EndCallback *) arg)->number == number)
		clear_slot();
}

static void
begin(const char *model, int task, int rows, int threads)
{
	DlmShared  *s = dlm_shmem();
	int			i = s != NULL ? dlm_shmem_my_slot(s) : -1;
	EndCallback *end;

	if (i < 0 || depth > 0)
	{
		depth += depth > 0 ? 1 : 0;
		return;
	}
	if (!exit_registered)
	{
		before_shmem_exit(exit_callback, (Datum) 0);
		exit_registered = true;
	}
	end = palloc0(sizeof(EndCallback));
	end->callback.func = context_callback;
	end->callback.arg = end;
	end->number = ++number;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &end->callback);

	mine = &s->activity[i];
	depth = 1;
	write_begin(mine);
	mine->pid = MyProcPid;
	mine->dbid = MyDatabaseId;
	mine->userid = GetUserId();
	mine->task = task;
	strlcpy(mine->model, model, sizeof(mine->model));
	mine->started = GetCurrentTimestamp();
	mine->rows = rows;
	mine->rows_done = 0;
	mine->step = mine->steps = 0;
	mine->threads = threads;
	mine->tokens = 0;
	write_end(mine);
}

void
dlm_activity_begin(const DlmModelRef *model, dlm_task task, int rows, int threads)
{
	begin(model->name, (int) task, rows, threads);
}

void
dlm_activity_begin_load(const char *name)
{
	begin(name, DLM_ACTIVITY_LOAD, 0, 1);
}

void
dlm_activity_update(const dlm_progress *progress)
{
	if (mine == NULL || depth != 1)
		return;
	write_begin(mine);
	mine->rows_done = progress->requests_done;
	mine->step = progress->step;
	mine->steps = progress->steps;
	mine->tokens = progress->tokens;
	write_end(mine);
}

/* Called by the converter, so only plain stores. */
void
dlm_activity_update_load(double share)
{
	if (mine == NULL)
		return;
	write_begin(mine);
	mine->step = (int) (share * 100);
	mine->steps = 100;
	write_end(mine);
}

void
dlm_activity_end(void)
{
	if (depth > 1)
		depth--;
	else
		clear_slot();
}

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

/*
 * table(pid int, dbid oid, userid oid, task text, model text, started timestamptz,
 * rows int, rows_done int, step int, steps int, tokens bigint, threads int).
 * Of other users only pid, database and user are shown, as in pg_stat_activity.
 */
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
		Datum		values[12];
		bool		nulls[12] = {false};

		read_slot(&s->activity[i], &a);
		if (a.pid == 0)
			continue;
		values[0] = Int32GetDatum(a.pid);
		values[1] = ObjectIdGetDatum(a.dbid);
		values[2] = ObjectIdGetDatum(a.userid);
		values[3] = CStringGetTextDatum(dlm_task_name(a.task));
		values[4] = CStringGetTextDatum(a.model);
		values[5] = TimestampTzGetDatum(a.started);
		values[6] = Int32GetDatum(a.rows);
		values[7] = Int32GetDatum(a.rows_done);
		values[8] = Int32GetDatum(a.step);
		values[9] = Int32GetDatum(a.steps);
		values[10] = Int64GetDatum((int64) a.tokens);
		values[11] = Int32GetDatum(a.threads);
		if (!all && !has_privs_of_role(GetUserId(), a.userid))
			memset(nulls + 3, true, 9);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
