/*
 * train.h - a training run from rows to a model file: the interface for
 * dlm-model train and dlm_finetune. C11 + cJSON, no PostgreSQL.
 *
 *		dlm_train_options_parse(json, size, &options, &err);
 *		dlm_train_open(base, &options, &env, &run, &err);
 *		for each row:	dlm_train_add(run, source, &row, &err);
 *		dlm_train_start(run, &err);							memory is checked here, before any of it is taken
 *		dlm_train_resume(run, "job.ckpt", &err);			where a run goes on
 *		while ((st = dlm_train_step(run, &err)) == DLM_MORE || st == DLM_EINTR)
 *			check_for_interrupts(), dlm_train_save(run, "job.ckpt", &err) every now and then;
 *		dlm_train_write(run, folder, digest, &err);			the best weights, as a .dlm file
 *		dlm_train_close(run);
 *
 * One thread calls; env.threads compute. No process-wide state, no signals.
 * Same bits for the same base, options, rows in the same order and seed, on
 * any machine and thread count; a resumed run gives the bits of one that never
 * stopped. Where memory asks for smaller parts of a batch ("part_tokens" 0 and
 * a tight limit), sums are rounded in another order.
 *
 * Calls that take long ask env.stop. Where they return DLM_EINTR nothing has
 * happened, or what has is part of the whole, and the same call may be made
 * again: add (the row is not taken), start, step, resume, save (the old
 * checkpoint stays) and write (no file is left). Calls out of order are DLM_EINVAL.
 */
#ifndef DLM_TRAIN_H
#define DLM_TRAIN_H

#include "loader.h"

typedef enum dlm_objective { DLM_OBJECTIVE_INSTRUCTION = 0, DLM_OBJECTIVE_TEXT, DLM_OBJECTIVE_LENGTH } dlm_objective;

typedef struct dlm_train_options dlm_train_options;	/* train_options.h */

/*
 * Options from a JSON object, {} or size 0 for all defaults. Unknown keys and
 * values out of range are DLM_EINVAL, naming key and range. *out is malloc'd,
 * freed with free(). objective is an argument, not a key.
 */
dlm_status	dlm_train_options_parse(const char *json, size_t size, dlm_objective objective, dlm_train_options **out,
									dlm_error *err);

/* One row. data NULL = the row has none. */
typedef struct dlm_train_row
{
	dlm_text	instruction,	/* of instruction rows: instruction, input or both, and target */
				input,
				target,
				text;			/* of text rows: this alone */
	const dlm_text *labels;		/* [n_labels] or NULL: what validation scores; holds the target */
	int			n_labels;
	int64_t		key;			/* what messages call the row: its number from 1 */
} dlm_train_row;

#define DLM_TRAIN_VALIDATION	(-1)	/* the source of rows that are never trained on */

typedef struct dlm_train dlm_train;

/* base and options are borrowed until close; env is copied, its memory_limit bounds the whole run. */
dlm_status	dlm_train_open(const dlm_model *base, const dlm_train_options *options, const dlm_env *env, dlm_train **out,
						   dlm_error *err);
void		dlm_train_close(dlm_train *run);	/* NULL is fine */

/*
 * Sources of rows are mixed by weight; source 0 is there from the start, others
 * are added in order. DLM_EINVAL.
 */
dlm_status	dlm_train_source(dlm_train *run, const char *name, double weight, int *source, dlm_error *err);

/* Take the last source back, unless it has rows or is the first. */
void		dlm_train_source_drop(dlm_train *run);

/* Mix a source by another weight: before start. */
dlm_status	dlm_train_weigh(dlm_train *run, int source, double weight, dlm_error *err);

/*
 * Tokenise and keep a row. DLM_EINVAL (no target, empty target, neither text
 * nor target, target none of its labels), DLM_ETOOLONG (target longer than
 * the context leaves room for; a long input is cut only if the options say
 * so), DLM_EENCODING, DLM_ENOMEM, DLM_EINTR: the row's key is in the message.
 */
dlm_status	dlm_train_add(dlm_train *run, int source, const dlm_train_row *row, dlm_error *err);

/*
 * All rows are in: choose what is held out, predict the peak of memory
 * (DLM_ENOMEM with both numbers, nothing taken), take it. DLM_EINVAL: no rows,
 * one label only.
 */
dlm_status	dlm_train_start(dlm_train *run, dlm_error *err);

/*
 * From here on compute with so many threads, 1 to env.threads of open: memory
 * is for as many, more are not taken. Between two calls; no bit depends on it.
 */
void		dlm_train_threads(dlm_train *run, int threads);

/* Bytes of the whole run, all rows included, as the last start predicted them: its peak. 0 before. */
size_t		dlm_train_memory(const dlm_train *run);

/*
 * Go on. DLM_MORE: a step, or a slice of a validation, is done; DLM_EINTR:
 * env.stop said so within 20 ms, the step that was under way will be done
 * anew; DLM_OK: the run is over; DLM_EDAMAGED: the loss is not finite, with the
 * step and the key of a row in the message, or the gradient, with the step.
 * After an error the state is that of the last complete step.
 */
dlm_status	dlm_train_step(dlm_train *run, dlm_error *err);

typedef struct dlm_train_progress
{
	int64_t		step,			/* complete */
				steps;			/* of the whole run */
	int64_t		rows,			/* for training */
				rows_held_out;
	uint64_t	tokens;			/* trained on so far, all rows' */
	double		seconds;		/* of this and earlier parts of the run */
	double		tokens_per_second;	/* lately */
	double		loss,			/* per masked token, averaged over the last steps; NaN before the first */
				accuracy;		/* at masked positions, likewise */
	double		rate,			/* learning rate of the last step */
				gradient;		/* norm of its gradient before clipping */
	double		validation_loss,	/* of the last validation; NaN: none yet */
				validation_accuracy,	/* share of held-out rows whose target scores best of their labels; NaN: rows have no labels;
										 * of a length head: of lengths predicted exactly */
				validation_near,	/* of a length head: of those at most 1 away; else NaN */
				best_loss,		/* of the best validation */
				best_accuracy;
	int64_t		best_step;
	int64_t		validated;		/* step of the last validation, -1: none */
	size_t		memory_peak;
} dlm_train_progress;

void		dlm_train_progress_get(const dlm_train *run, dlm_train_progress *out);

/*
 * Everything that a run needs to go on, written beside `path`, synced and
 * renamed over it: the old checkpoint stays whole until the new one is. At any
 * time from start on; in the middle of a step it is that step's beginning.
 * DLM_EIO, DLM_ENOSPC, DLM_EINTR; DLM_EDAMAGED: a weight is not finite, and the
 * old checkpoint stays.
 */
dlm_status	dlm_train_save(dlm_train *run, const char *path, dlm_error *err);

/*
 * Begin from a LoRA adapter (a folder) with the same layers, rank and alpha
 * instead of from factors that change nothing. Between start and the first
 * step; a resumed run needs it no more.
 */
dlm_status	dlm_train_init(dlm_train *run, const char *folder, dlm_error *err);

/*
 * DLM_EINVAL: of another base, other options or other rows; DLM_EDAMAGED, after
 * which the run can only be closed; DLM_ENOENT; DLM_EINTR. Between start and the
 * first step.
 */
dlm_status	dlm_train_resume(dlm_train *run, const char *path, dlm_error *err);

/*
 * The model with the best weights of the run (by validation; else averaged
 * weights if the options keep them; else the last) as folder/<digest>.dlm,
 * written like any conversion. Weights' type: that of the base. Allowed from
 * start on, also before the run is over, and the run can go on. DLM_EDAMAGED:
 * values that are not finite; DLM_EIO, DLM_ENOSPC, DLM_ENOMEM, DLM_EINTR.
 */
dlm_status	dlm_train_write(dlm_train *run, const char *folder, uint8_t digest[32], dlm_error *err);

/*
 * Write what the run's steps would compute, from the first to the last, as a file (train_examples.c) instead of training:
 * rows as they are drawn, packed and masked. Between start and the first step; after it the run can only be closed.
 * DLM_EINVAL: a length head's, or with a teacher, smoothing or dropout; DLM_ENOENT, DLM_EIO, DLM_ENOSPC, DLM_ENOMEM, DLM_EINTR.
 */
dlm_status	dlm_train_examples(dlm_train *run, const char *path, dlm_error *err);

/* LoRA runs: the factors as a PEFT adapter, folder/adapter_model.safetensors and adapter_config.json, in f32 or rounded to bf16. */
dlm_status	dlm_train_write_adapter(dlm_train *run, const char *folder, bool bf16, dlm_error *err);

#endif							/* DLM_TRAIN_H */
