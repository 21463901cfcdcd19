/*
 * finetune_run.c - a training run, in slices: the only caller of the trainer.
 *
 * As in run.c: between two slices no frame of the trainer is on the stack, so
 * CHECK_FOR_INTERRUPTS may longjmp; what is taken is given back by a callback
 * of the job's memory context, registered before it is taken. A run lasts
 * hours, so it holds no snapshot and no transaction id; the job's row is
 * written with each checkpoint, in a transaction of its own.
 */
#include "dlm_pg.h"

#include <math.h>
#include <sys/stat.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "activity.h"
#include "budget.h"
#include "errors.h"
#include "finetune.h"
#include "interrupts.h"
#include "job_files.h"
#include "model_files.h"
#include "registry.h"
#include "sigbus.h"

/* A checkpoint takes no more than a tenth of the time. */
#define CHECKPOINT_SHARE	10

typedef struct Run
{
	MemoryContextCallback callback;
	DlmJob	   *job;
	const DlmFinetune *f;
	DlmModelRef *base;
	dlm_train_options *options;
	dlm_train  *run;
	char	   *checkpoint;		/* path */
	int			threads;		/* granted slots; 0 = none held */
	bool		entered;		/* counted among the sessions that compute */
	TimestampTz saved;			/* when the last checkpoint was whole */
	int64		saved_step;
	int64		save_us;		/* what it took */
} Run;

/* The run of this process, so that an error can give everything back before it is told. */
static Run *current = NULL;

static void
end_run(void *arg)
{
	Run		   *run = arg;

	if (run == current)
		current = NULL;
	if (run->run != NULL)
		dlm_train_close(run->run);
	run->run = NULL;
	free(run->options);
	run->options = NULL;
	dlm_budget_release(run->threads);
	run->threads = 0;
	if (run->entered)
		dlm_budget_leave();
	run->entered = false;
}

void
dlm_finetune_close(DlmJob *job)
{
	if (current != NULL && current->job == job)
		end_run(current);
}

/* ----------------------------------------------------------- calls of the trainer */

/* Nothing between the two may raise an error. */
#define GUARDED(r, status, call) \
	do { \
		dlm_sigbus_enter((r)->base); \
		(status) = (call); \
		if (dlm_sigbus_leave((r)->base)) \
			dlm_sigbus_raise((r)->base); \
	} while (0)

static void
look_for_interrupts(void)
{
	dlm_check_client();
	CHECK_FOR_INTERRUPTS();
}

pg_noreturn static void
raise_trainer(dlm_error *err)
{
	dlm_hide_directory(err);
	dlm_raise(err);
}

/* Again for as long as an interrupt that ended nothing stops it. */
#define UNTIL_DONE(r, call) \
	do { \
		dlm_error	err = {0}; \
		dlm_status	status; \
		do { \
			look_for_interrupts(); \
			GUARDED(r, status, call); \
		} while (status == DLM_EINTR); \
		if (status != DLM_OK) \
			raise_trainer(&err); \
	} while (0)

/* ------------------------------------------------------------------- begin */

typedef struct Lookup
{
	const DlmJob *job;
	MemoryContext context;
	DlmModelRef *ref;
} Lookup;

/* The base, as the owner of the job may use it. Pinned to the context. */
static void
resolve_base(void *arg)
{
	Lookup	   *lookup = arg;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(lookup->job->owner, security | SECURITY_LOCAL_USERID_CHANGE);
	MemoryContextSwitchTo(lookup->context);
	lookup->ref = dlm_registry_resolve(lookup->job->base);
	SetUserIdAndSecContext(user, security);
}

static DlmModelRef *
find_base(const DlmJob *job, const DlmFinetune *f, MemoryContext context)
{
	Lookup		lookup = {job, context, NULL};

	dlm_job_guard(resolve_base, &lookup);
	if (strcmp(lookup.ref->digest_hex, f->base_digest) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" is no longer the one that job %lld began with", job->base, (long long) job->id),
				 errdetail("Its digest was %s.", f->base_digest),
				 errhint("Give that name to a model of this digest, or begin anew.")));
	return lookup.ref;
}

/* Open the trainer, with the threads of this session's share, or with one for a look. */
static Run *
open_run(DlmJob *job, const DlmFinetune *f, MemoryContext context, bool compute)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Run		   *run = palloc0(sizeof(Run));
	dlm_env		env = {0};

	run->job = job;
	run->f = f;
	run->base = find_base(job, f, context);
	/* after the pin of the base, so that it runs before that one's */
	run->callback.func = end_run;
	run->callback.arg = run;
	MemoryContextRegisterResetCallback(context, &run->callback);
	run->options = dlm_finetune_train_options(f);
	run->checkpoint = dlm_job_path(job->id, DLM_JOB_CHECKPOINT);
	if (compute)
	{
		dlm_budget_enter();
		run->entered = true;
		run->threads = dlm_budget_acquire();
		current = run;
	}
	env.stop = dlm_stop_wanted;
	/* memory for as many threads as the share may ever be, and the same whatever it is now */
	env.threads = compute ? dlm_max_threads() : 1;
	env.memory_limit = (size_t) f->memory_limit * 1024;
	UNTIL_DONE(run, dlm_train_open(run->base->model, run->options, &env, &run->run, &err));
	dlm_train_threads(run->run, run->threads);
	MemoryContextSwitchTo(old);
	return run;
}

void
dlm_finetune_check(const DlmJob *job, const DlmFinetune *f)
{
	MemoryContext look = AllocSetContextCreate(CurrentMemoryContext, "dlm look at a training", ALLOCSET_SMALL_SIZES);

	open_run(unconstify(DlmJob *, job), f, look, false);
	MemoryContextDelete(look);
}

/* The trainer calls a row by its number; of which query is ours to say. */
static void
add_row(Run *run, const DlmSpoolRow *row)
{
	dlm_train_row trained = {
		.instruction = row->instruction,
		.input = row->input,
		.target = row->target,
		.text = row->text,
		.labels = row->labels,
		.n_labels = row->labels != NULL ? row->n_labels : 0,
		.key = row->key,
	};
	dlm_error	err = {0};
	dlm_error	named;
	dlm_status	status;

	do
	{
		look_for_interrupts();
		GUARDED(run, status, dlm_train_add(run->run, row->source, &trained, &err));
	} while (status == DLM_EINTR);
	if (status == DLM_OK)
		return;
	named = err;
	if (row->source == DLM_TRAIN_VALIDATION)
		snprintf(named.message, sizeof(named.message), "validation_query: %s", err.message);
	raise_trainer(&named);
}

/* All rows of the job's file. */
static void
add_rows(Run *run)
{
	DlmSpool	spool;
	DlmSpoolRow row;
	MemoryContext context = AllocSetContextCreate(run->job->context, "dlm rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	dlm_spool_open(&spool, run->job->id);
	while (dlm_spool_get(&spool, &row))
	{
		add_row(run, &row);
		dlm_activity_scope_rows(spool.rows);
		if (row.labels != NULL)
			pfree(row.labels);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
begin(Run *run)
{
	struct stat st;

	add_rows(run);
	UNTIL_DONE(run, dlm_train_start(run->run, &err));
	if (stat(run->checkpoint, &st) == 0)
		UNTIL_DONE(run, dlm_train_resume(run->run, run->checkpoint, &err));
}

/* --------------------------------------------------------------------- steps */

static void
tell(Run *run)
{
	dlm_train_progress p = {0};
	DlmJobFigures *f = &run->job->figures;

	dlm_train_progress_get(run->run, &p);
	f->step = p.step;
	f->steps = p.steps;
	f->best_step = p.best_step;
	f->tokens = p.tokens;
	f->seconds = p.seconds;
	f->tokens_per_second = p.tokens_per_second > 0 ? p.tokens_per_second : NAN;
	f->loss = p.loss;
	f->accuracy = p.accuracy;
	f->validation_loss = p.validation_loss;
	f->validation_accuracy = p.validation_accuracy;
	dlm_activity_train_progress(f);
}

/* Sessions come and go while a run lasts: its share of the threads anew. */
static void
share_threads(Run *run)
{
	dlm_budget_release(run->threads);
	run->threads = 0;
	run->threads = dlm_budget_acquire();
	dlm_train_threads(run->run, run->threads);
	dlm_activity_train_threads(run->threads);
}

/* A checkpoint, then the job's row; an error leaves the one before. */
static void
save(Run *run)
{
	TimestampTz start = GetCurrentTimestamp();

	UNTIL_DONE(run, dlm_train_save(run->run, run->checkpoint, &err));
	run->saved = GetCurrentTimestamp();
	run->save_us = run->saved - start;
	run->saved_step = run->job->figures.step;
	dlm_job_store(run->job);
}

static bool
checkpoint_due(const Run *run)
{
	int64		every = Max((int64) (run->f->checkpoint_every * USECS_PER_SEC), CHECKPOINT_SHARE * run->save_us);

	if (run->job->figures.step == run->saved_step)
		return false;
	return run->f->checkpoint_every == 0 || GetCurrentTimestamp() - run->saved >= every;
}

static bool
out_of_time(const Run *run)
{
	if (run->f->time_limit == 0 || run->job->figures.seconds < run->f->time_limit)
		return false;
	if (run->job->figures.step == 0)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the time limit of the training is over before its first step"),
				 errhint("Raise the option time_limit.")));
	return true;
}

/* Slice after slice, until the run is over or its time is. */
static void
steps(Run *run)
{
	run->saved = GetCurrentTimestamp();
	run->saved_step = run->job->figures.step;
	for (;;)
	{
		dlm_error	err = {0};
		dlm_status	status;

		/* also before the first: who goes on only to end it gets no step more, which may be the one that fails */
		if (out_of_time(run))
			return;
		look_for_interrupts();
		/* a look at a catalog would leave a snapshot behind */
		InvalidateCatalogSnapshotConditionally();
		GUARDED(run, status, dlm_train_step(run->run, &err));
		tell(run);
		if (status == DLM_OK)
			return;
		if (status != DLM_MORE && status != DLM_EINTR)
			raise_trainer(&err);
		if (status == DLM_MORE && checkpoint_due(run))
		{
			save(run);
			share_threads(run);
		}
	}
}

void
dlm_finetune_train(DlmJob *job, DlmFinetune *f)
{
	char	   *folder = dlm_model_directory_path();
	uint8		digest[32];
	Run		   *run;

	job->state = DLM_JOB_RUNNING;
	job->pid = MyProcPid;
	job->message = NULL;
	job->finished = 0;
	run = open_run(job, f, job->context, true);
	dlm_job_store(job);
	dlm_activity_train(job->id, job->base, run->threads);
	dlm_activity_train_progress(&job->figures);
	begin(run);
	tell(run);
	steps(run);
	if (job->figures.step > run->saved_step)
		save(run);
	if (run->f->time_limit > 0 && job->figures.step < job->figures.steps && job->figures.seconds >= f->time_limit)
		job->message = psprintf("The time limit was reached at step %lld of %lld.", (long long) job->figures.step,
								(long long) job->figures.steps);
	UNTIL_DONE(run, dlm_train_write(run->run, folder, digest, &err));
	end_run(run);
	job->digest = dlm_hex(digest);
	dlm_job_store(job);
}
