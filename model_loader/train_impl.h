/*
 * train_impl.h - a training run's parts (private to model_loader).
 *
 *		train.c				open, rows, start: what is needed, and is there memory for it?
 *		train_step.c		the optimiser's steps
 *		train_validate.c	held-out rows: loss, labels; the best weights are kept
 *		train_length.c		what is different where the length head is trained
 *		train_state.c		checkpoints; the model and the adapter that come of it
 *		train_examples.c	the steps' rows as a file, for a trainer on other hardware
 */
#ifndef DLM_TRAIN_IMPL_H
#define DLM_TRAIN_IMPL_H

#include "batches.h"
#include "length.h"
#include "recipe.h"
#include "train.h"

/* What is not finite: the same run comes to the same step again. */
#define DL_NOT_FINITE_HINT \
	"Begin anew with a lower \"learning_rate\"; for the model of the last checkpoint go on from it with a short \"time_limit\"."

/* Numbers of a run that a checkpoint keeps; no padding, no pointers. */
typedef struct dl_train_state
{
	int64_t		step;			/* complete */
	int64_t		averaged;		/* steps in the running mean of the weights */
	int64_t		validated;		/* the step of the last validation, -1: none */
	int64_t		best_step;		/* -1: none */
	int64_t		worse;			/* validations since the best */
	uint64_t	tokens;
	double		seconds;
	double		loss,			/* running means over the last steps */
				accuracy;
	double		rate,
				gradient;
	double		validation_loss,
				validation_accuracy,
				validation_near;
	double		best_loss,
				best_accuracy;
} dl_train_state;

/* Where a validation stands. */
typedef struct dl_validation
{
	bool		running;
	int			row;			/* the next of the validation rows, of whose loss */
	int			question;		/* and of whose labels */
	double		nats;
	int64_t		asks;
	int64_t		right;
	int64_t		near;			/* lengths at most 1 away */
	int64_t		asked;
} dl_validation;

struct dlm_train
{
	const dlm_model *base;
	const struct dlm_train_options *options;
	dlm_env		env;
	dl_recipe	recipe;
	dl_arena   *arena;
	dl_dataset *ds;
	dl_masker	masker;
	dl_batches_options batching;
	dl_net_limits limits;
	dl_rate		schedule;
	int64_t		steps;			/* of the whole run */
	int64_t		validate_every;
	size_t		memory;			/* predicted */
	int			threads;		/* as many as there is memory for; env.threads: now */

	dl_params  *p;
	dl_net	   *net;			/* NULL where the length head is trained */
	dl_length_net *length;		/* NULL elsewhere */
	int		   *numbers;		/* [limits.rows] of a part's rows in the dataset, where the length head is trained */
	bool		keep_states;	/* all rows' fit into memory */
	dl_adamw   *adamw;
	dl_batches *batches;
	dl_real    *average;		/* [trained] or NULL */
	dl_real    *best;			/* [trained] or NULL: there are no validation rows */
	bool		stands_in;		/* averaged weights stand in the parameters, and the weights in `average` */
	void	   *space_block;	/* of a validation's questions */
	dl_mask_space space;
	dl_example *questions;		/* [limits.rows] */

	struct dl_piece *pieces;	/* [dl_train_pieces] what goes into a checkpoint */

	dl_train_state state;
	dl_validation validation;
	bool		in_step;		/* parts of a batch are under way */
	bool		written;		/* as examples: there is nothing to go on with */
	dl_batches_state before;	/* that batch: a checkpoint in the middle of a step is one of its beginning */
	dl_loss		sum;			/* of the parts so far */
	int			step_tokens;
	uint32_t	part_first;		/* of them before the part that comes */
	double		recent_tokens,	/* running sums for the rate of tokens */
				recent_seconds;
};

/* train_state.c: DLM_EINVAL before start */
dlm_status	dl_train_check_begun(const dlm_train *run, dlm_error *err);

/* The most pieces that a checkpoint of the run has. */
size_t		dl_train_pieces(const dlm_train *run);

/* Trained values one after another, in the list's order: out of the parameters, into them, and each for the other. */
void		dl_train_take(const dl_params *p, dl_real *out);
void		dl_train_put(dl_params *p, const dl_real *in);
void		dl_train_exchange(dl_params *p, dl_real *with);

/* Averaged weights, where a run has them, take the weights' place while they are judged, or give it back. */
void		dl_train_stand_in(dlm_train *run, bool averaged);

/* The row of an ask that is counted through all rows. */
static inline int
dl_row_of_ask(const dl_example *rows, int ask)
{
	int			i = 0;

	while (ask >= rows[i].n_ask)
		ask -= rows[i++].n_ask;
	return i;
}

/* Has start taken what it needs? */
static inline bool
dl_train_begun(const dlm_train *run)
{
	return run->net != NULL || run->length != NULL;
}

/* Is it the length head that is trained? */
static inline bool
dl_train_lengths(const dlm_train *run)
{
	return run->recipe.objective == DL_LENGTH_ROWS;
}

/* train_length.c: rows that are examples of the length head; memory; a part's loss and gradients; validation rows' loss. */
void		dl_train_length_open(dlm_train *run);
size_t		dl_train_length_bytes(const dlm_train *run);
dlm_status	dl_train_length_create(dlm_train *run, const dlm_env *env, dlm_error *err);
dlm_status	dl_train_length_part(dlm_train *run, const dl_example *rows, int n, const dl_drop *drop, dl_loss *loss,
								 dlm_error *err);
dlm_status	dl_train_length_validate(dlm_train *run, const dl_example *rows, int n, dl_loss *loss, dlm_error *err);

/* train_validate.c. A slice: DLM_MORE until the validation is over, then DLM_OK with the state's figures new. */
bool		dl_train_validation_due(const dlm_train *run);
dlm_status	dl_train_validate(dlm_train *run, dlm_error *err);

#endif							/* DLM_TRAIN_IMPL_H */
