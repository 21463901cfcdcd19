/*
 * finetune.h - dlm_finetune: from the rows of a query to a model.
 *
 * finetune.c (rights, the job, its end) -> finetune_args.c (options) ->
 * finetune_rows.c (the query, once, into the job's file of rows) ->
 * finetune_run.c (the training run, in slices) -> load.c (the model's server).
 * With "background" the last two run in a worker: finetune_worker.c.
 */
#ifndef DLM_PG_FINETUNE_H
#define DLM_PG_FINETUNE_H

#include "utils/jsonb.h"

#include "jobs.h"
#include "loader.h"
#include "train.h"

/* What a run needs beside the columns of its job; kept as the job's `arguments`. All palloc'd. */
typedef struct DlmFinetune
{
	char	   *objective;
	char	   *query;
	char	   *validation_query;	/* or NULL */
	Jsonb	   *options;		/* the trainer's, an object */
	char	   *base_digest;	/* hex */
	int64		rows,			/* in the job's file, once it is whole; else 0 */
				validation_rows;
	/* of the procedure itself */
	bool		background;
	bool		replace;		/* a model of that name */
	int			memory_limit;	/* kB */
	double		time_limit;		/* seconds of training, 0: none */
	double		checkpoint_every;	/* seconds, 0: after each slice */
} DlmFinetune;

/* -- finetune_args.c -- */

extern dlm_objective dlm_finetune_objective(const char *name);	/* 22023 */

/* Defaults, then the procedure's own keys out of the options; what is left is f->options. NULL: no options. */
extern void dlm_finetune_options(DlmFinetune *f, Jsonb *options);

extern Jsonb *dlm_finetune_to_arguments(const DlmFinetune *f);
extern DlmFinetune *dlm_finetune_from_arguments(Jsonb *arguments);

/* The trainer's structure of f->options, malloc'd; 22023. */
extern dlm_train_options *dlm_finetune_train_options(const DlmFinetune *f);

/* What dlm_model_info shows of the training, as the server's option `training`. */
extern char *dlm_finetune_card(const DlmJob *job, const DlmFinetune *f);

/* -- finetune_rows.c -- */

/* The queries give the columns of the objective; else 42703, 22023, or what they raise themselves. They are not run. */
extern void dlm_finetune_check_queries(const DlmFinetune *f);

/* Run them in the present snapshot, read-only, and write the job's file; fills rows and validation_rows. */
extern void dlm_finetune_read_rows(DlmJob *job, DlmFinetune *f);

/* -- finetune_run.c -- */

/*
 * Try out whether base and options go together, before any row is read.
 * ERRORs are the trainer's.
 */
extern void dlm_finetune_check(const DlmJob *job, const DlmFinetune *f);

/*
 * The training run of a job whose rows are there, from its checkpoint on if
 * there is one, in transactions of its own; the model's file at the end, and
 * its digest in the job. Everything taken is given back when job->context goes,
 * or by dlm_finetune_close.
 */
extern void dlm_finetune_train(DlmJob *job, DlmFinetune *f);
extern void dlm_finetune_close(DlmJob *job);

/* -- finetune.c -- */

/* From the rows, or the digest, to the model; the job is stored as done and its lock is let go. */
extern void dlm_finetune_work(DlmJob *job, DlmFinetune *f);

/* In a PG_CATCH of its caller: what was taken is given back, and the end of the job is stored. */
pg_noreturn extern void dlm_finetune_fail(DlmJob *job);

/* -- finetune_worker.c -- */

/*
 * Start a worker for a job whose lock this process holds, and wait until it
 * waits for that lock; from then on letting it go hands the job over. 53000:
 * no worker is free.
 */
struct BackgroundWorkerHandle;
extern struct BackgroundWorkerHandle *dlm_finetune_start_worker(DlmJob *job);

#endif							/* DLM_PG_FINETUNE_H */
