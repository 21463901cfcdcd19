/*
 * jobs.c - the table dlm_job, the locks of jobs, and their transactions.
 *
 * The table belongs to the extension's owner and nobody else has a right on
 * it; what is written here is written as that owner. Statements name every
 * object with its schema and give every argument its type, so the caller's
 * search path decides nothing.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "errors.h"
#include "jobs.h"
#include "registry.h"

#define LOCK_CLASS	0xd1a0		/* the fourth field of the lock's tag; PostgreSQL's own advisory locks have 1 and 2 there */

/* ------------------------------------------------------------------ the table */

/* Columns after job_id, in the order of the table. */
enum
{
	COL_KIND, COL_NAME, COL_BASE, COL_OWNER, COL_STATE, COL_ARGUMENTS, COL_STEP, COL_STEPS, COL_TOKENS, COL_SECONDS,
	COL_TOKENS_PER_SECOND, COL_LOSS, COL_ACCURACY, COL_VALIDATION_LOSS, COL_VALIDATION_ACCURACY, COL_BEST_STEP,
	COL_STARTED, COL_FINISHED, COL_MESSAGE, COL_DIGEST, COL_PID, N_COLS
};

static const struct
{
	const char *name;
	Oid			type;
}			columns[N_COLS] = {
	[COL_KIND] = {"kind", TEXTOID},
	[COL_NAME] = {"name", TEXTOID},
	[COL_BASE] = {"base", TEXTOID},
	[COL_OWNER] = {"owner", OIDOID},
	[COL_STATE] = {"state", TEXTOID},
	[COL_ARGUMENTS] = {"arguments", JSONBOID},
	[COL_STEP] = {"step", INT8OID},
	[COL_STEPS] = {"steps", INT8OID},
	[COL_TOKENS] = {"tokens", INT8OID},
	[COL_SECONDS] = {"seconds", FLOAT8OID},
	[COL_TOKENS_PER_SECOND] = {"tokens_per_second", FLOAT8OID},
	[COL_LOSS] = {"loss", FLOAT8OID},
	[COL_ACCURACY] = {"accuracy", FLOAT8OID},
	[COL_VALIDATION_LOSS] = {"validation_loss", FLOAT8OID},
	[COL_VALIDATION_ACCURACY] = {"validation_accuracy", FLOAT8OID},
	[COL_BEST_STEP] = {"best_step", INT8OID},
	[COL_STARTED] = {"started", TIMESTAMPTZOID},
	[COL_FINISHED] = {"finished", TIMESTAMPTZOID},
	[COL_MESSAGE] = {"message", TEXTOID},
	[COL_DIGEST] = {"digest", TEXTOID},
	[COL_PID] = {"pid", INT4OID},
};

/* The table's name with its schema, and its owner: found among the extension's members. */
static char *
table_of_jobs(Oid *owner)
{
	return dlm_extension_table("dlm_job", owner);
}

/*
 * Execute a statement on the table as its owner, inside an SPI connection. A
 * %s of the format is the table. If it fails, the end of the transaction puts
 * the user back.
 */
static void
execute(const char *format, int nargs, Oid *types, Datum *values, const char *nulls, int expected)
{
	Oid			table_owner;
	char	   *table = table_of_jobs(&table_owner);
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(table_owner, security | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args(psprintf(format, table), nargs, types, values, nulls, expected == SPI_OK_SELECT, 0) != expected)
		elog(ERROR, "could not use the table of jobs");
	SetUserIdAndSecContext(user, security);
}

static void
put_text(Datum *values, char *nulls, int col, const char *value)
{
	nulls[col] = value == NULL ? 'n' : ' ';
	values[col] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

static void
put_float(Datum *values, char *nulls, int col, double value)
{
	nulls[col] = isnan(value) ? 'n' : ' ';
	values[col] = Float8GetDatum(value);
}

static void
put_time(Datum *values, char *nulls, int col, TimestampTz value)
{
	nulls[col] = value == 0 ? 'n' : ' ';
	values[col] = TimestampTzGetDatum(value);
}

static void
put_columns(const DlmJob *job, Datum *values, char *nulls)
{
	const DlmJobFigures *f = &job->figures;

	memset(nulls, ' ', N_COLS);
	put_text(values, nulls, COL_KIND, job->kind);
	put_text(values, nulls, COL_NAME, job->name);
	put_text(values, nulls, COL_BASE, job->base);
	values[COL_OWNER] = ObjectIdGetDatum(job->owner);
	put_text(values, nulls, COL_STATE, job->state);
	values[COL_ARGUMENTS] = JsonbPGetDatum(job->arguments);
	values[COL_STEP] = Int64GetDatum(f->step);
	values[COL_STEPS] = Int64GetDatum(f->steps);
	nulls[COL_STEPS] = f->steps == 0 ? 'n' : ' ';
	values[COL_TOKENS] = Int64GetDatum((int64) f->tokens);
	put_float(values, nulls, COL_SECONDS, f->seconds);
	put_float(values, nulls, COL_TOKENS_PER_SECOND, f->tokens_per_second);
	put_float(values, nulls, COL_LOSS, f->loss);
	put_float(values, nulls, COL_ACCURACY, f->accuracy);
	put_float(values, nulls, COL_VALIDATION_LOSS, f->validation_loss);
	put_float(values, nulls, COL_VALIDATION_ACCURACY, f->validation_accuracy);
	values[COL_BEST_STEP] = Int64GetDatum(f->best_step);
	nulls[COL_BEST_STEP] = f->best_step == 0 ? 'n' : ' ';
	put_time(values, nulls, COL_STARTED, job->started);
	put_time(values, nulls, COL_FINISHED, job->finished);
	put_text(values, nulls, COL_MESSAGE, job->message);
	put_text(values, nulls, COL_DIGEST, job->digest);
	values[COL_PID] = Int32GetDatum(job->pid);
	nulls[COL_PID] = job->pid == 0 ? 'n' : ' ';
}

static Datum
column(HeapTuple tuple, int col, bool *isnull)
{
	return SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2 + col, isnull);
}

static char *
get_text(HeapTuple tuple, int col)
{
	bool		isnull;
	Datum		value = column(tuple, col, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int64
get_int(HeapTuple tuple, int col)
{
	bool		isnull;
	Datum		value = column(tuple, col, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static double
get_float(HeapTuple tuple, int col)
{
	bool		isnull;
	Datum		value = column(tuple, col, &isnull);

	return isnull ? NAN : DatumGetFloat8(value);
}

/* The job of a row of "SELECT * FROM dlm_job", in the current context. */
static DlmJob *
get_job(HeapTuple tuple, MemoryContext context)
{
	DlmJob	   *job = palloc0(sizeof(DlmJob));
	bool		isnull;

	job->context = context;
	job->id = DatumGetInt64(column(tuple, -1, &isnull));
	job->kind = get_text(tuple, COL_KIND);
	job->name = get_text(tuple, COL_NAME);
	job->base = get_text(tuple, COL_BASE);
	job->owner = DatumGetObjectId(column(tuple, COL_OWNER, &isnull));
	job->state = get_text(tuple, COL_STATE);
	job->arguments = DatumGetJsonbPCopy(column(tuple, COL_ARGUMENTS, &isnull));
	job->figures.step = get_int(tuple, COL_STEP);
	job->figures.steps = get_int(tuple, COL_STEPS);
	job->figures.tokens = (uint64) get_int(tuple, COL_TOKENS);
	job->figures.seconds = get_float(tuple, COL_SECONDS);
	job->figures.tokens_per_second = get_float(tuple, COL_TOKENS_PER_SECOND);
	job->figures.loss = get_float(tuple, COL_LOSS);
	job->figures.accuracy = get_float(tuple, COL_ACCURACY);
	job->figures.validation_loss = get_float(tuple, COL_VALIDATION_LOSS);
	job->figures.validation_accuracy = get_float(tuple, COL_VALIDATION_ACCURACY);
	job->figures.best_step = get_int(tuple, COL_BEST_STEP);
	job->started = get_int(tuple, COL_STARTED);
	job->finished = get_int(tuple, COL_FINISHED);
	job->message = get_text(tuple, COL_MESSAGE);
	job->digest = get_text(tuple, COL_DIGEST);
	job->pid = DatumGetInt32(column(tuple, COL_PID, &isnull));
	return job;
}

static void
connect_spi(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

DlmJob *
dlm_job_create(MemoryContext context, const char *kind, const char *name, const char *base, Jsonb *arguments,
			   bool background)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	DlmJob	   *job = palloc0(sizeof(DlmJob));
	StringInfoData command;
	Oid			types[N_COLS];
	Datum		values[N_COLS];
	char		nulls[N_COLS];
	bool		isnull;

	job->context = context;
	job->background = background;
	job->kind = pstrdup(kind);
	job->name = pstrdup(name);
	job->base = base != NULL ? pstrdup(base) : NULL;
	job->owner = GetUserId();
	job->state = DLM_JOB_READING;
	job->arguments = arguments;
	job->figures = (DlmJobFigures) DLM_NO_FIGURES;
	job->started = GetCurrentTimestamp();
	job->pid = MyProcPid;

	initStringInfo(&command);
	appendStringInfoString(&command, "INSERT INTO %s (");
	for (int i = 0; i < N_COLS; i++)
		appendStringInfo(&command, "%s%s", i > 0 ? ", " : "", columns[i].name);
	appendStringInfoString(&command, ") VALUES (");
	for (int i = 0; i < N_COLS; i++)
	{
		appendStringInfo(&command, "%s$%d", i > 0 ? ", " : "", i + 1);
		types[i] = columns[i].type;
	}
	appendStringInfoString(&command, ") RETURNING job_id");
	put_columns(job, values, nulls);
	connect_spi();
	execute(command.data, N_COLS, types, values, nulls, SPI_OK_INSERT_RETURNING);
	job->id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	(void) dlm_job_lock(job, true);
	MemoryContextSwitchTo(old);
	return job;
}

DlmJob *
dlm_job_read(MemoryContext context, int64 id)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);
	DlmJob	   *job = NULL;

	connect_spi();
	execute("SELECT * FROM %s WHERE job_id OPERATOR(pg_catalog.=) $1", 1, &type, &value, NULL, SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		job = get_job(SPI_tuptable->vals[0], context);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return job;
}

List *
dlm_job_read_all(MemoryContext context)
{
	List	   *jobs = NIL;
	MemoryContext old;

	connect_spi();
	execute("SELECT * FROM %s ORDER BY job_id", 0, NULL, NULL, NULL, SPI_OK_SELECT);
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		jobs = lappend(jobs, get_job(SPI_tuptable->vals[i], context));
	MemoryContextSwitchTo(old);
	SPI_finish();
	return jobs;
}

void
dlm_job_write(DlmJob *job)
{
	StringInfoData command;
	Oid			types[N_COLS + 1];
	Datum		values[N_COLS + 1];
	char		nulls[N_COLS + 1];

	connect_spi();
	initStringInfo(&command);
	appendStringInfoString(&command, "UPDATE %s SET ");
	for (int i = 0; i < N_COLS; i++)
	{
		appendStringInfo(&command, "%s%s = $%d", i > 0 ? ", " : "", columns[i].name, i + 1);
		types[i] = columns[i].type;
	}
	appendStringInfo(&command, " WHERE job_id OPERATOR(pg_catalog.=) $%d", N_COLS + 1);
	put_columns(job, values, nulls);
	types[N_COLS] = INT8OID;
	values[N_COLS] = Int64GetDatum(job->id);
	nulls[N_COLS] = ' ';
	execute(command.data, N_COLS + 1, types, values, nulls, SPI_OK_UPDATE);
	SPI_finish();
}

void
dlm_job_remove(int64 id)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);

	connect_spi();
	execute("DELETE FROM %s WHERE job_id OPERATOR(pg_catalog.=) $1", 1, &type, &value, NULL, SPI_OK_DELETE);
	SPI_finish();
}

void
dlm_job_check_owner(const DlmJob *job)
{
	if (!has_privs_of_role(GetUserId(), job->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of job %lld", (long long) job->id)));
}

/* ------------------------------------------------------------------- the locks */

static void
lock_tag(LOCKTAG *tag, int64 id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) ((uint64) id >> 32), (uint32) id, LOCK_CLASS);
}

/* Take it; others may look at the same moment, for microseconds, so without waiting it is tried a few times. */
static bool
lock(int64 id, bool session, bool wait)
{
	LOCKTAG		tag;

	lock_tag(&tag, id);
	for (int try = 0; try < 10; try++)
	{
		if (LockAcquire(&tag, AccessExclusiveLock, session, !wait) != LOCKACQUIRE_NOT_AVAIL)
			return true;
		pg_usleep(1000);
	}
	return false;
}

bool
dlm_job_lock(DlmJob *job, bool wait)
{
	if (!job->locked)
		job->locked = lock(job->id, true, wait);
	return job->locked;
}

void
dlm_job_unlock(DlmJob *job)
{
	LOCKTAG		tag;

	if (!job->locked)
		return;
	job->locked = false;
	lock_tag(&tag, job->id);
	(void) LockRelease(&tag, AccessExclusiveLock, true);
}

/* The job, of the right kind. */
static DlmJob *
read_known(MemoryContext context, int64 id, const char *kind, const char *noun)
{
	DlmJob	   *job = dlm_job_read(context, id);

	if (job == NULL || strcmp(job->kind, kind) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no %s with job_id %lld", noun, (long long) id),
				 errhint("SELECT * FROM dlm_jobs lists the jobs.")));
	return job;
}

void
dlm_job_take(MemoryContext context, int64 id, const char *kind, const char *noun, DlmJob **job)
{
	DlmJob	   *found = read_known(context, id, kind, noun);

	dlm_job_check_owner(found);
	if (!dlm_job_lock(found, false))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("job %lld is running", (long long) id)));
	*job = found;
	/* once more: it may have gone on, or have been deleted, until the lock was ours */
	found = read_known(context, id, kind, noun);
	found->locked = true;
	*job = found;
}

bool
dlm_job_lock_transaction(int64 id)
{
	return lock(id, false, false);
}

bool
dlm_job_locked(int64 id)
{
	LOCKTAG		tag;

	lock_tag(&tag, id);
	if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, AccessShareLock, false);
	return false;
}

bool
dlm_job_awaited(const DlmJob *job)
{
	LOCKTAG		tag;

	lock_tag(&tag, job->id);
	return LockHasWaiters(&tag, AccessExclusiveLock, true);
}

/* --------------------------------------------------------------- transactions */

/* A job's own writes touch its row only: they need no more than READ COMMITTED, and would fail for no reason otherwise. */
static void
begun(const DlmJob *job)
{
	XactIsoLevel = XACT_READ_COMMITTED;
	MemoryContextSwitchTo(job->context);
}

void
dlm_job_commit(const DlmJob *job)
{
	if (job->background)
	{
		CommitTransactionCommand();
		StartTransactionCommand();
	}
	else
	{
		SPI_commit();
		SPI_start_transaction();	/* done already, but before 13.7 and 14.3 */
	}
	begun(job);
}

void
dlm_job_rollback(const DlmJob *job)
{
	if (job->background)
	{
		AbortCurrentTransaction();
		StartTransactionCommand();
	}
	else
	{
		SPI_rollback();
		SPI_start_transaction();
	}
	begun(job);
}

typedef struct Guarded
{
	void		(*work) (void *arg);
	void	   *arg;
} Guarded;

static void
with_snapshot(void *arg)
{
	Guarded    *guarded = arg;

	PushActiveSnapshot(GetTransactionSnapshot());
	guarded->work(guarded->arg);
	PopActiveSnapshot();
}

void
dlm_job_guard(void (*work) (void *arg), void *arg)
{
	Guarded		guarded = {work, arg};
	ErrorData  *error = dlm_subtransaction(with_snapshot, &guarded);

	if (error)
		ReThrowError(error);
}

static void
write_job(void *arg)
{
	dlm_job_write(arg);
}

void
dlm_job_store(DlmJob *job)
{
	dlm_job_guard(write_job, job);
	dlm_job_commit(job);
}

static void
remove_job(void *arg)
{
	dlm_job_remove(((DlmJob *) arg)->id);
}

void
dlm_job_fail(DlmJob *job, const char *hint)
{
	ErrorData  *error;

	/* the hint may lie where the error does, which goes with it */
	MemoryContextSwitchTo(job->context);
	hint = hint != NULL ? pstrdup(hint) : NULL;
	error = CopyErrorData();
	FlushErrorState();
	dlm_job_rollback(job);
	job->state = error->sqlerrcode == ERRCODE_QUERY_CANCELED ? DLM_JOB_CANCELLED : DLM_JOB_FAILED;
	if (job->message != NULL && error->detail == NULL)
		error->detail = pstrdup(job->message);
	job->message = job->message != NULL ? psprintf("%s. %s", error->message, job->message) : error->message;
	job->finished = GetCurrentTimestamp();
	if (error->hint == NULL && hint != NULL)
		error->hint = unconstify(char *, hint);
	PG_TRY();
	{
		dlm_job_guard(hint != NULL ? write_job : remove_job, job);
		dlm_job_commit(job);
	}
	PG_CATCH();
	{
		/* the first error is the one to tell; the job shows as interrupted */
		MemoryContextSwitchTo(job->context);
		FlushErrorState();
		dlm_job_rollback(job);
	}
	PG_END_TRY();
	dlm_job_unlock(job);
	ReThrowError(error);
}

Datum
dlm_job_result(FunctionCallInfo fcinfo, int64 id)
{
	TupleDesc	desc;
	Datum		value = Int64GetDatum(id);
	bool		isnull = false;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), &value, &isnull));
}
