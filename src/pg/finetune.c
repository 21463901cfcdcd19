/*
 * finetune.c - CALL dlm_finetune: from the rows of a query to a model.
 *
 * The procedure ends its caller's transaction before the work and works in
 * short ones of its own, so it refuses to run where it may not do that. What
 * can be refused is refused before any row is read: rights, names, options,
 * columns. From then on there is a job, whose row, rows and checkpoint let a
 * later call go on where this one was stopped.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "finetune.h"
#include "job_files.h"
#include "load.h"
#include "model_files.h"
#include "registry.h"

PG_FUNCTION_INFO_V1(dlm_sql_finetune);

/* A call, and how far it is. Everything lies in the job's context. */
typedef struct Call
{
	MemoryContext context;
	char	   *name,
			   *base,
			   *query,
			   *objective,
			   *validation_query;
	Jsonb	   *options;
	DlmJob	   *job;
	DlmFinetune *f;
	struct BackgroundWorkerHandle *worker;
	bool		stored;			/* the job's row is committed */
} Call;

/* ---------------------------------------------------------- what is refused */

static void
check_place(FunctionCallInfo fcinfo)
{
	bool		atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;

	if (atomic || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("dlm_finetune cannot run inside a transaction block or a function"),
				 errdetail("A training lasts long, and holds no transaction while it computes."),
				 errhint("Call it as a statement of its own, outside of BEGIN and of exception blocks, in autocommit mode.")));
	PreventCommandIfReadOnly("dlm_finetune");
	PreventCommandDuringRecovery("dlm_finetune");
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
unpack(FunctionCallInfo fcinfo, Call *call)
{
	call->name = text_argument(fcinfo, 0);
	call->base = text_argument(fcinfo, 1);
	call->query = text_argument(fcinfo, 2);
	call->objective = text_argument(fcinfo, 3);
	call->validation_query = text_argument(fcinfo, 4);
	call->options = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P_COPY(5);
}

static void
check_given(const char *value, const char *what)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the %s of a training must not be null", what),
				 errhint("Only where job_id names a job to go on with.")));
}

/* ------------------------------------------------------------------- new jobs */

static void
begin_new(Call *call)
{
	DlmFinetune *f = palloc0(sizeof(DlmFinetune));
	DlmJob		asked = {.context = call->context, .name = call->name, .base = call->base, .owner = GetUserId()};

	check_given(call->name, "name");
	check_given(call->base, "base");
	check_given(call->query, "query");
	f->objective = call->objective != NULL ? call->objective : "instruction";
	(void) dlm_finetune_objective(f->objective);
	f->query = call->query;
	f->validation_query = call->validation_query;
	f->base_digest = pstrdup(dlm_registry_resolve(call->base)->digest_hex);
	dlm_finetune_options(f, call->options);
	dlm_load_check_name(call->name, f->replace);
	free(dlm_finetune_train_options(f));
	dlm_finetune_check_queries(f);
	dlm_finetune_check(&asked, f);
	call->f = f;
	call->job = dlm_job_create(call->context, DLM_JOB_FINETUNE, call->name, call->base, dlm_finetune_to_arguments(f), false);
}

/* ------------------------------------------------------------- jobs to go on with */

static void
check_same(const DlmJob *job, const char *given, const char *before, const char *what)
{
	if (given != NULL && (before == NULL || strcmp(given, before) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job %lld was begun with another %s", (long long) job->id, what),
				 errhint("Leave it out: NULL means what the job has.")));
}

/* Only a job that was stopped, and whose rows or model are there, can go on. Its lock is ours. */
static void
check_resumable(const DlmJob *job, const DlmFinetune *f)
{
	if (strcmp(job->state, DLM_JOB_DONE) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job %lld is done", (long long) job->id)));
	if (f->rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("job %lld was stopped before it had read its rows", (long long) job->id),
				 errhint("Begin anew, without job_id.")));
}

/* The arguments that may be given again, and those that may be changed. */
static void
merge_arguments(Call *call)
{
	DlmJob	   *job = call->job;
	DlmFinetune *f = call->f;
	DlmFinetune given = {0};

	check_same(job, call->base, job->base, "base");
	check_same(job, call->query, f->query, "query");
	check_same(job, call->validation_query, f->validation_query, "validation_query");
	/* the default cannot be told from a word that was said */
	if (call->objective != NULL && strcmp(call->objective, "instruction") != 0)
		check_same(job, call->objective, f->objective, "objective");
	if (job->digest == NULL)
		check_same(job, call->name, job->name, "name");
	else if (call->name != NULL)
		job->name = call->name;
	dlm_finetune_options(&given, call->options);
	if (JB_ROOT_COUNT(given.options) > 0 &&
		!DatumGetBool(DirectFunctionCall2(jsonb_eq, JsonbPGetDatum(given.options), JsonbPGetDatum(f->options))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job %lld was begun with other options of training", (long long) job->id),
				 errhint("Only background, replace, memory_limit, time_limit and checkpoint_every can change.")));
	f->background = given.background;
	f->memory_limit = given.memory_limit;
	if (call->options != NULL)
	{
		f->replace = given.replace;
		f->time_limit = given.time_limit;
		f->checkpoint_every = given.checkpoint_every;
	}
}

static void
begin_again(Call *call, int64 id)
{
	DlmJob	   *job;
	Oid			user;
	int			security;

	dlm_job_take(call->context, id, DLM_JOB_FINETUNE, "training", &call->job);
	job = call->job;
	call->f = dlm_finetune_from_arguments(job->arguments);
	check_resumable(job, call->f);
	merge_arguments(call);
	/* a superuser may go on with another's job, but the model is its owner's */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(job->owner, security | SECURITY_LOCAL_USERID_CHANGE);
	dlm_load_check_name(job->name, call->f->replace);
	SetUserIdAndSecContext(user, security);
	if (job->digest == NULL)
		dlm_finetune_check(job, call->f);
	job->arguments = dlm_finetune_to_arguments(call->f);
	job->state = DLM_JOB_WAITING;
	job->message = NULL;
	job->finished = 0;
	job->pid = MyProcPid;
	dlm_job_write(job);
}

/* -------------------------------------------------------------------- the work */

static void
read_rows(void *arg)
{
	Call	   *call = arg;

	dlm_finetune_read_rows(call->job, call->f);
}

static void
register_model(void *arg)
{
	Call	   *call = arg;
	DlmJob	   *job = call->job;
	uint8		digest[32];
	Oid			user;
	int			security;

	if (!dlm_parse_hex(job->digest, digest))
		elog(ERROR, "job %lld has no digest", (long long) job->id);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(job->owner, security | SECURITY_LOCAL_USERID_CHANGE);
	dlm_load_register(job->name, digest, dlm_finetune_card(job, call->f), call->f->replace);
	SetUserIdAndSecContext(user, security);
}

void
dlm_finetune_work(DlmJob *job, DlmFinetune *f)
{
	Call		call = {.job = job, .f = f};
	char	   *note;

	if (job->digest == NULL)
		dlm_finetune_train(job, f);
	note = job->message;
	job->message = psprintf("The trained model is kept: CALL dlm_finetune('NAME', NULL, NULL, job_id => %lld) registers it.",
							(long long) job->id);
	dlm_job_guard(register_model, &call);
	job->state = DLM_JOB_DONE;
	job->finished = GetCurrentTimestamp();
	job->message = note;
	dlm_job_store(job);
	dlm_job_folder_remove(job->id);
	dlm_job_unlock(job);
}

/* Everything after the checks, for new jobs and old ones. */
static void
work(Call *call)
{
	DlmJob	   *job = call->job;
	DlmFinetune *f = call->f;

	if (f->background)
		call->worker = dlm_finetune_start_worker(job);
	dlm_job_commit(job);
	call->stored = true;
	dlm_activity_scope_begin(job->context, -1);
	if (f->rows == 0)
	{
		dlm_job_folder_create(job->id);
		dlm_job_guard(read_rows, call);
		job->arguments = dlm_finetune_to_arguments(f);
		job->state = DLM_JOB_WAITING;
		dlm_job_store(job);
	}
	if (f->background)
		dlm_job_unlock(job);	/* the worker waits for it */
	else
		dlm_finetune_work(job, f);
	dlm_activity_scope_end();
}

void
dlm_finetune_fail(DlmJob *job)
{
	dlm_finetune_close(job);
	dlm_job_fail(job, psprintf("CALL dlm_finetune(NULL, NULL, NULL, job_id => %lld) %s.", (long long) job->id,
							   job->digest != NULL ? "tries again" : "goes on from the last checkpoint"));
}

/* In a PG_CATCH: what this call has begun and cannot go on with. */
static void
give_up(Call *call)
{
	DlmJob	   *job = call->job;

	if (call->worker != NULL)
		TerminateBackgroundWorker((BackgroundWorkerHandle *) call->worker);
	if (job == NULL)
		return;
	if (!call->stored)
	{
		dlm_job_unlock(job);
		return;
	}
	if (call->f->rows > 0)
		dlm_finetune_fail(job);
	dlm_job_folder_remove(job->id);
	dlm_job_fail(job, NULL);
}

/*
 * dlm_finetune(name text, base text, query text, objective text, validation_query text, options jsonb,
 * INOUT job_id bigint)
 */
Datum
dlm_sql_finetune(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	Call	   *call;
	int64		id;

	check_place(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	context = AllocSetContextCreate(PortalContext, "dlm job", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	call = palloc0(sizeof(Call));
	call->context = context;
	PG_TRY();
	{
		unpack(fcinfo, call);
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
