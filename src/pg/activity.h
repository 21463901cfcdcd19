/*
 * activity.h - what this backend does now, for dlm_activity.
 *
 * A *scope* is the work of one statement; it outlives the batches (runs of
 * dlm_run) that are made in it. Its owner tells how many rows there are and
 * how far it is; run.c adds tokens, steps, threads, and the rows done inside
 * the running batch. A run outside of any scope is a scope of its own.
 *
 * Every call is cheap and, but for memory in the begin, raises no ERROR.
 * Without shared memory nothing is shown.
 */
#ifndef DLM_PG_ACTIVITY_H
#define DLM_PG_ACTIVITY_H

#include <math.h>

#include "registry.h"

typedef enum DlmPhase
{
	DLM_PHASE_READ = 0,			/* collecting rows; how a scope begins */
	DLM_PHASE_LOAD,				/* converting or mapping a model */
	DLM_PHASE_COMPUTE,			/* in the network */
	DLM_PHASE_EMIT,				/* handing out rows */
	DLM_PHASE_TRAIN				/* a training run */
} DlmPhase;

/* How far a job is, as dlm_jobs shows it. NaN and steps, best_step 0: not known. */
typedef struct DlmJobFigures
{
	int64		step,
				steps,
				best_step;
	uint64		tokens;
	double		seconds,
				tokens_per_second,
				loss,
				accuracy,
				validation_loss,
				validation_accuracy;
} DlmJobFigures;

#define DLM_NO_FIGURES \
	{ .seconds = NAN, .tokens_per_second = NAN, .loss = NAN, .accuracy = NAN, .validation_loss = NAN, \
	  .validation_accuracy = NAN }

/* A time left as dlm_activity and dlm_jobs show it: in tenths of a second, never negative. */
extern Interval *dlm_time_left(double seconds);

/* Seconds that the rest of a job takes at its pace; NaN where that is not known. */
extern double dlm_figures_rest(const DlmJobFigures *figures);

/*
 * A statement's work begins: rows < 0 = unknown. Ends with
 * dlm_activity_scope_end, or when `context` is reset, or when the backend
 * exits; begin and end may be repeated (a rescan), at some bytes of `context`
 * for each pair.
 *
 * A scope inside a scope counts with the outer one: `started` is the
 * outermost's, tokens add up, and of several known numbers of rows the largest
 * is shown. Its end puts the phase back to what it was at its begin.
 */
extern void dlm_activity_scope_begin(MemoryContext context, int64 rows);

/*
 * Rows handed out or computed so far, by the scope's owner; what is shown
 * never goes down. Rows done in a batch that runs are added to the last number
 * told, so tell it before dlm_run, or after it, or both.
 */
extern void dlm_activity_scope_rows(int64 rows_done);

/* What the owner does now. During a batch the phase is compute, afterwards what it was before. */
extern void dlm_activity_phase(DlmPhase phase);

/* The end of the innermost scope; nothing where there is none. */
extern void dlm_activity_scope_end(void);

/* -- for run.c: a batch inside a scope -- */

extern void dlm_activity_batch_begin(const DlmModelRef *model, dlm_task task, int threads);

/* `before`: rows of earlier batches of the same run. */
extern void dlm_activity_batch_progress(const dlm_progress *progress, int before);

/* Idempotent, safe in callbacks. */
extern void dlm_activity_batch_end(void);

/* Is a scope open? Then a run's rows are its owner's to tell. */
extern bool dlm_activity_in_scope(void);

/* -- for load.c: dlm_load_model converts; share is 0 .. 1 -- */

extern void dlm_activity_load(const char *name);
extern void dlm_activity_load_progress(double share);

/* -- for a training run, in a scope of its own; its slot also feeds dlm_jobs -- */

extern void dlm_activity_train(int64 job_id, const char *model, int threads);
extern void dlm_activity_train_threads(int threads);
extern void dlm_activity_train_progress(const DlmJobFigures *figures);

/* The figures of a job of this database that some process tells now; false if none does. */
extern bool dlm_activity_job(int64 job_id, DlmJobFigures *out);

#endif							/* DLM_PG_ACTIVITY_H */
