/*
 * batches.h - the order in which a run sees its rows, without end.
 *
 * Each draw is numbered. Its source is chosen by weight; inside a source each
 * epoch is a permutation of all rows. A pool of draws is sorted by length and
 * cut into batches of about the same number of tokens, which come in shuffled
 * order. A batch is handed out in parts that fit the net. All of it is a
 * function of the seed and of dl_batches_state.
 */
#ifndef DL_BATCHES_H
#define DL_BATCHES_H

#include "mask.h"

#define DL_POOL_BATCHES	16		/* about so many batches are sorted together */

/* What a checkpoint keeps; no padding, no pointers. */
typedef struct dl_batches_state
{
	uint64_t	draws;			/* before this pool */
	uint64_t	batch;			/* batches of this pool that were handed out */
	uint64_t	taken[DL_MAX_SOURCES];	/* of each source's rows before this pool, all epochs together */
} dl_batches_state;

typedef struct dl_batches_options
{
	int			batch_tokens;	/* of a batch, all views counted, about; >= 1 */
	int			part_tokens;	/* most tokens of a part, unless a single row has more; 0: a part is the whole batch */
} dl_batches_options;

typedef struct dl_batches dl_batches;

/* The largest part there can be, of training or validation; recompute is left false. */
dl_net_limits dl_batches_limits(const dl_masker *m, const dl_batches_options *options);

/* Optimiser steps in which source 0 is seen once, on average: its share of the draws considered. */
double		dl_batches_epoch_steps(const dl_masker *m, const dl_batches_options *options);

/* Bytes that dl_batches_create takes from the dataset's arena; nothing is taken later. */
size_t		dl_batches_bytes(const dl_masker *m, const dl_batches_options *options);

/* The masker is copied, what it points to borrowed. DLM_ENOMEM; DLM_EINVAL: no rows, an option out of range. */
dlm_status	dl_batches_create(const dl_masker *m, const dl_batches_options *options, dl_batches **out, dlm_error *err);
void		dl_batches_free(dl_batches *b);

/* The next batch begins: its examples, all views counted; *tokens of them (may be NULL). */
int			dl_batches_next(dl_batches *b, int *tokens);

/*
 * The next part of the batch: *n examples, valid until the next part. false:
 * the batch is used up. dl_batches_again goes back to its first part.
 */
bool		dl_batches_part(dl_batches *b, const dl_example **examples, int *n);
void		dl_batches_again(dl_batches *b);

/* The row that example i of the current part was made of. */
const dl_data_row *dl_batches_row(const dl_batches *b, int i);

/*
 * Validation rows from number `from` on, as many as a part holds: *n examples
 * in place of the current part, none at the end. Batches are not touched.
 */
void		dl_batches_validation(dl_batches *b, int from, const dl_example **examples, int *n);

/* The state behind the current batch; a run that goes on from it gets the batches that would have come. */
void		dl_batches_save(const dl_batches *b, dl_batches_state *out);

/* DLM_EDAMAGED: no state of such a run. */
dlm_status	dl_batches_restore(dl_batches *b, const dl_batches_state *state, dlm_error *err);

#endif							/* DL_BATCHES_H */
