/*
 * job_views.c - behind the view dlm_jobs, and dlm_job_delete().
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "job_files.h"
#include "jobs.h"
#include "json_object.h"

PG_FUNCTION_INFO_V1(dlm_sql_job_rows);
PG_FUNCTION_INFO_V1(dlm_sql_job_delete);

/* Columns of dlm_job_rows(), in their order. */
enum
{
	COL_JOB_ID, COL_KIND, COL_NAME, COL_BASE, COL_OWNER, COL_STATE, COL_STEP, COL_STEPS, COL_TOKENS,
	COL_TOKENS_PER_SECOND, COL_LOSS, COL_ACCURACY, COL_VALIDATION_LOSS, COL_VALIDATION_ACCURACY, COL_BEST_STEP,
	COL_STARTED, COL_FINISHED, COL_ETA, COL_MESSAGE, COL_PID, COL_COUNTS, N_COLS
};

static void
put_text(Datum *values, bool *nulls, int col, const char *value)
{
	nulls[col] = value == NULL;
	if (value != NULL)
		values[col] = CStringGetTextDatum(value);
}

static void
put_float(Datum *values, bool *nulls, int col, double value)
{
	nulls[col] = isnan(value);
	values[col] = Float8GetDatum(value);
}

static void
put_figures(Datum *values, bool *nulls, const DlmJobFigures *f, bool running)
{
	double		rest = running ? dlm_figures_rest(f) : NAN;

	values[COL_STEP] = Int64GetDatum(f->step);
	values[COL_STEPS] = Int64GetDatum(f->steps);
	nulls[COL_STEPS] = f->steps == 0;
	values[COL_TOKENS] = Int64GetDatum((int64) f->tokens);
	put_float(values, nulls, COL_TOKENS_PER_SECOND, f->tokens_per_second);
	put_float(values, nulls, COL_LOSS, f->loss);
	put_float(values, nulls, COL_ACCURACY, f->accuracy);
	put_float(values, nulls, COL_VALIDATION_LOSS, f->validation_loss);
	put_float(values, nulls, COL_VALIDATION_ACCURACY, f->validation_accuracy);
	values[COL_BEST_STEP] = Int64GetDatum(f->best_step);
	nulls[COL_BEST_STEP] = f->best_step == 0;
	nulls[COL_ETA] = isnan(rest);
	if (!isnan(rest))
		values[COL_ETA] = IntervalPGetDatum(dlm_time_left(rest));
}

/* Of a fill: what became of the rows that it has seen. */
static void
put_counts(Datum *values, bool *nulls, const DlmJob *job)
{
	static const char *const counts[] = {"rows", "written", "unsure", "skipped", "failed", "cells"};
	StringInfoData json;

	nulls[COL_COUNTS] = strcmp(job->kind, DLM_JOB_FILL) != 0;
	if (nulls[COL_COUNTS])
		return;
	initStringInfo(&json);
	for (int i = 0; i < lengthof(counts); i++)
		dlm_json_add_int(&json, counts[i], (int64) dlm_json_number(job->arguments, counts[i]));
	values[COL_COUNTS] = JsonbPGetDatum(dlm_json_end(&json));
}

static void
put_job(Datum *values, bool *nulls, const DlmJob *job)
{
	DlmJobFigures figures = job->figures;
	const char *state = job->state;
	bool		unfinished = job->finished == 0;
	/* locks are not seen on a standby */
	bool		working = unfinished && (RecoveryInProgress() || dlm_job_locked(job->id));

	memset(nulls, false, N_COLS * sizeof(bool));
	if (unfinished && !working)
		state = DLM_JOB_INTERRUPTED;
	else if (working)
		(void) dlm_activity_job(job->id, &figures);
	values[COL_JOB_ID] = Int64GetDatum(job->id);
	put_text(values, nulls, COL_KIND, job->kind);
	put_text(values, nulls, COL_NAME, job->name);
	put_text(values, nulls, COL_BASE, job->base);
	values[COL_OWNER] = ObjectIdGetDatum(job->owner);
	put_text(values, nulls, COL_STATE, state);
	put_figures(values, nulls, &figures, working);
	values[COL_STARTED] = TimestampTzGetDatum(job->started);
	values[COL_FINISHED] = TimestampTzGetDatum(job->finished);
	nulls[COL_FINISHED] = unfinished;
	put_text(values, nulls, COL_MESSAGE, job->message);
	values[COL_PID] = Int32GetDatum(job->pid);
	nulls[COL_PID] = !working || job->pid == 0;
	put_counts(values, nulls, job);
}

/* dlm_job_rows(): the jobs of the current user's roles; all of them for those who may read all statistics. */
Datum
dlm_sql_job_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, dlm_job_read_all(CurrentMemoryContext))
	{
		const DlmJob *job = lfirst(cell);
		Datum		values[N_COLS] = {0};
		bool		nulls[N_COLS];

		CHECK_FOR_INTERRUPTS();
		if (!all && !has_privs_of_role(GetUserId(), job->owner))
			continue;
		put_job(values, nulls, job);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* dlm_job_delete(job_id bigint) returns void: the job's row, rows and checkpoint; a model that it made stays. */
Datum
dlm_sql_job_delete(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	DlmJob	   *job;

	PreventCommandIfReadOnly("dlm_job_delete");
	job = dlm_job_read(CurrentMemoryContext, id);
	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no job %lld", (long long) id)));
	dlm_job_check_owner(job);
	if (!dlm_job_lock_transaction(id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("job %lld is running", (long long) id),
				 errhint("Cancel it first: SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = %lld.",
						 (long long) id)));
	dlm_job_remove(id);
	dlm_job_folder_remove_at_commit(id);
	PG_RETURN_VOID();
}
