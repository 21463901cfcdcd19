/*
 * table_fill.c - CALL dlm_infill_table.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/regproc.h"

#include "registry.h"
#include "table_fill.h"

PG_FUNCTION_INFO_V1(dlm_sql_infill_table);

typedef struct Call
{
	MemoryContext context;
	FunctionCallInfo fcinfo;
	DlmFill    *f;
	DlmJob	   *job;
	List	   *rows;			/* of the present batch */
	MemoryContext batch;
	char	  **key;			/* of the row being visited again */
	bool		stored;			/* the job's row is committed */
} Call;

/* ---------------------------------------------------------- what is refused */

static bool
is_atomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic || IsSubTransaction();
}

/* Is the caller's own transaction to be used? */
static bool
keeps_transaction(FunctionCallInfo fcinfo)
{
	JsonbValue	value;
	Jsonb	   *options = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);

	return options && JB_ROOT_IS_OBJECT(options) && dlm_json_find(options, "commit", &value) &&
		!dlm_json_bool_option(options, "commit");
}

static void
check_place(FunctionCallInfo fcinfo)
{
	if (is_atomic(fcinfo) && !keeps_transaction(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("dlm_infill_table cannot commit its batches inside a transaction block or a function"),
				 errhint("Call it as a statement of its own, or give options => '{\"commit\": false}' to do all in this transaction.")));
	PreventCommandIfReadOnly("dlm_infill_table");
	PreventCommandDuringRecovery("dlm_infill_table");
}

/* ------------------------------------------------------------------- begin */

static void
create_provenance(DlmFill *f)
{
	RangeVar   *name;

	if (f->provenance == NULL)
		return;
	name = makeRangeVarFromNameList(dlm_qualified_name_list(f->provenance));
	f->provenance_oid = RangeVarGetRelid(name, NoLock, true);
	if (OidIsValid(f->provenance_oid))
	{
		dlm_fill_check_provenance(f->provenance_oid);
		return;
	}
	SPI_connect();
	if (SPI_execute(psprintf("CREATE TABLE IF NOT EXISTS %s (\"table\" pg_catalog.regclass NOT NULL, key pg_catalog.jsonb NOT NULL, "
							 "\"column\" pg_catalog.name NOT NULL, value pg_catalog.text, confidence pg_catalog.float8, "
							 "written pg_catalog.bool NOT NULL, digest pg_catalog.text, job_id pg_catalog.int8, "
							 "at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now())", f->provenance), false, 0) < 0)
		elog(ERROR, "could not create the table of provenance");
	SPI_finish();
	f->provenance_oid = RangeVarGetRelid(name, NoLock, false);
}

static void
begin_new(Call *call)
{
	FunctionCallInfo fcinfo = call->fcinfo;
	DlmFill    *f;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the table to fill must not be null"),
				 errhint("Only where job_id names a job to go on with.")));
	f = dlm_fill_arguments(PG_GETARG_OID(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P_COPY(1),
						   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
						   PG_ARGISNULL(3) ? 500 : PG_GETARG_INT32(3), PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P_COPY(4),
						   PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5)));
	create_provenance(f);
	call->f = f;
	call->job = dlm_job_create(call->context, DLM_JOB_FILL, f->table, f->model ? f->model : pstrdup(dlm_registry_resolve(NULL)->name),
							   dlm_fill_to_job(f), false);
	call->job->figures.steps = dlm_fill_count(f);
}

static void
begin_again(Call *call, int64 id)
{
	dlm_job_take(call->context, id, DLM_JOB_FILL, "fill", &call->job);
	if (strcmp(call->job->state, DLM_JOB_DONE) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job %lld is done", (long long) id)));
	call->f = dlm_fill_from_job(call->job);
	create_provenance(call->f);
	if (!call->fcinfo->args[0].isnull && call->fcinfo->args[0].value != ObjectIdGetDatum(call->f->target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job %lld fills another table", (long long) id),
				 errhint("Leave the other arguments out: NULL means what the job has.")));
	call->f->commit = !keeps_transaction(call->fcinfo);
	call->job->finished = 0;
	call->job->message = NULL;
	call->job->pid = MyProcPid;
	call->job->figures.steps = call->f->counts.rows + dlm_fill_count(call->f);
}

/* --------------------------------------------------------------------- work */

/* Write the job's row, and commit it where batches are committed. */
static void
store_job(Call *call)
{
	if (call->f->commit)
		dlm_job_store(call->job);
	else
		dlm_job_write(call->job);
	call->stored = call->f->commit;
}

/*
 * The position and the counts become true together with what was written: where
 * that is rolled back, by a cancel before the commit say, the job keeps those of
 * the batch before, and a later call goes on behind that one.
 */
static void
store(Call *call)
{
	DlmJob	   *job = call->job;
	Jsonb	   *arguments = job->arguments;
	DlmJobFigures figures = job->figures;
	MemoryContext before = MemoryContextSwitchTo(job->context);

	job->arguments = dlm_fill_to_job(call->f);
	job->figures.step = call->f->counts.rows;
	job->figures.seconds = (double) (GetCurrentTimestamp() - job->started) / USECS_PER_SEC;
	MemoryContextSwitchTo(before);
	PG_TRY();
	{
		store_job(call);
	}
	PG_CATCH();
	{
		job->arguments = arguments;
		job->figures = figures;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
read_batch(void *arg)
{
	Call	   *call = arg;
	MemoryContext before = MemoryContextSwitchTo(call->batch);

	/* the model may have been replaced since the last transaction */
	call->f->digest = pstrdup(dlm_registry_resolve(call->f->model)->digest_hex);
	call->rows = call->key ? dlm_fill_read_key(call->f, call->key) : dlm_fill_read(call->f);
	MemoryContextSwitchTo(before);
}

static void
write_batch(void *arg)
{
	Call	   *call = arg;
	MemoryContext before = MemoryContextSwitchTo(call->batch);
	ListCell   *cell;

	foreach(cell, call->rows)
	{
		CHECK_FOR_INTERRUPTS();
		dlm_fill_write(call->f, call->job, lfirst(cell), call->key != NULL);
	}
	MemoryContextSwitchTo(before);
}

/* Read, compute and write, in one transaction; where batches are committed, the position too. */
static void
do_batch(Call *call)
{
	DlmFill    *f = call->f;

	MemoryContextSwitchTo(call->context);
	dlm_fill_hold_table(f);
	dlm_job_guard(read_batch, call);
	dlm_job_guard(write_batch, call);
	if (call->rows != NIL && call->key == NULL)
	{
		DlmFillRow *last = llast(call->rows);
		MemoryContext before = MemoryContextSwitchTo(call->context);

		f->position = palloc(f->n_key * sizeof(char *));
		for (int i = 0; i < f->n_key; i++)
			f->position[i] = pstrdup(last->key[i]);
		MemoryContextSwitchTo(before);
	}
}

/* A batch, committed; false: it was the last one. */
static bool
do_and_store(Call *call)
{
	bool		more;

	do_batch(call);
	more = list_length(call->rows) == call->f->batch;
	call->f->retrying = call->f->retrying || !more;
	store(call);
	call->rows = NIL;
	MemoryContextReset(call->batch);
	return more;
}

static void
walk(Call *call)
{
	while (!call->f->retrying)
		(void) do_and_store(call);
}

/* Once more over all rows that still have gaps: a job that was stopped has forgotten which of them were skipped. */
static void
walk_again(Call *call)
{
	call->f->position = NULL;
	call->f->late = true;
	while (do_and_store(call));
}

/* Once more over the rows that were locked, had changed, or came too late for a unique value; they have been counted as skipped. */
static void
visit_again(Call *call)
{
	DlmFill    *f = call->f;
	List	   *keys = f->again;
	ListCell   *cell;

	f->again = NIL;
	foreach(cell, keys)
	{
		call->key = lfirst(cell);
		f->counts.skipped -= !f->late;
		do_batch(call);
		if (call->rows == NIL && !f->late)	/* it has no gap any more, or is gone */
			f->counts.skipped++;
		store(call);
		call->rows = NIL;
		MemoryContextReset(call->batch);
	}
	call->key = NULL;
}

static void
work(Call *call)
{
	DlmFill    *f = call->f;
	DlmJob	   *job = call->job;

	call->batch = AllocSetContextCreate(call->context, "dlm fill batch", ALLOCSET_DEFAULT_SIZES);
	job->state = DLM_JOB_RUNNING;
	store(call);
	walk(call);
	if (f->forgotten)
		walk_again(call);
	visit_again(call);
	job->state = DLM_JOB_DONE;
	job->finished = GetCurrentTimestamp();
	if (f->last_error)
		job->message = psprintf("The last row that failed: %s.", f->last_error);
	store(call);
	dlm_job_unlock(job);
	ereport(NOTICE,
			(errmsg("%lld rows seen: %lld written (%lld cells), %lld unsure, %lld skipped, %lld failed",
					(long long) f->counts.rows, (long long) f->counts.written, (long long) f->counts.cells,
					(long long) f->counts.unsure, (long long) f->counts.skipped, (long long) f->counts.failed),
			 f->last_error ? errdetail("The last row that failed: %s.", f->last_error) : 0));
}

static void
give_up(Call *call)
{
	if (call->job == NULL)
		return;
	if (!call->stored)
	{
		dlm_job_unlock(call->job);
		return;
	}
	dlm_job_fail(call->job, psprintf("CALL dlm_infill_table(NULL, job_id => %lld) goes on behind the last batch that was written.",
									 (long long) call->job->id));
}

/*
 * dlm_infill_table(target regclass, columns name[], filter text, batch int, options jsonb, model text,
 * INOUT job_id bigint)
 */
Datum
dlm_sql_infill_table(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	Call	   *call;
	int64		id;

	check_place(fcinfo);
	if (SPI_connect_ext(is_atomic(fcinfo) ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	context = AllocSetContextCreate(PortalContext, "dlm fill", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	call = palloc0(sizeof(Call));
	call->context = context;
	call->fcinfo = fcinfo;
	PG_TRY();
	{
		if (PG_ARGISNULL(6))
			begin_new(call);
		else
			begin_again(call, PG_GETARG_INT64(6));
		work(call);
	}
	PG_CATCH();
	{
		give_up(call);
		PG_RE_THROW();
	}
	PG_END_TRY();
	id = call->job->id;
	SPI_finish();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return dlm_job_result(fcinfo, id);
}
