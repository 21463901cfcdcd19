/*
 * forward.h - the network over a packed batch of rows.
 *
 * Rows of different length lie end to end, no padding, attention per row.
 * One code path for every family, driven by dl_config. Work is cut in slices:
 * begin, then step until it no longer says DLM_MORE.
 *
 * A row has *live* and *fixed* positions. Under `full` attention everything
 * is live. Under `context` a live position sees the whole row; a fixed one
 * sees the fixed positions at or before it. Attention walks the keys of a row
 * with the fixed ones first, each kind in the order of positions; that order
 * is the definition of its sums. Keys and values of fixed positions depend on
 * the fixed (id, position) list alone and may be kept in a dl_kv; rows of one
 * batch that begin with the same fixed tokens compute them once.
 */
#ifndef DL_FORWARD_H
#define DL_FORWARD_H

#include "arena.h"
#include "logprob.h"
#include "model.h"

/*
 * Keys and values of fixed tokens, all layers, with the list of (id,
 * position) they belong to. A forward uses the longest common prefix of that
 * list and the row's own, drops the rest and appends what is new, so any row
 * may be given any kv: a wrong guess costs time, never bits.
 */
typedef struct dl_kv dl_kv;

dl_kv	   *dl_kv_create(const dlm_model *model, dl_arena *a);	/* NULL: out of memory */
void		dl_kv_free(dl_kv *kv);

/* Bytes that a cache takes while it grows to n fixed tokens: the old and the new buffers. */
size_t		dl_kv_bytes(const dlm_model *model, int n);

/*
 * What becomes of the logits of one asked position. They are never stored as
 * a row: the output projection computes them in blocks of DL_VOCAB_BLOCK ids
 * (logprob.h), and each block is reduced to a partial result at once, while it
 * lies in the cache. Each (row, ask, block) is reduced once, on any thread and
 * in any order; then each (row, ask) is folded once, on any thread. Both touch
 * nothing but their own (row, ask)'s memory, and reduce nothing that another
 * block's reduce touches. Ids that the tokenizer does not know are included.
 */
typedef struct dl_reducer
{
	size_t		partial;		/* bytes of a partial result, a multiple of 8 */
	/* logits [n] of ids first .. first + n - 1 (shift already applied) are lost afterwards; partial is not cleared */
	void		(*reduce) (void *ctx, int ask, int first, int n, float *logits, void *partial);
	/* partials of all blocks, ascending, one right behind the other. NULL: reduce has done all */
	void		(*fold) (void *ctx, int ask, void *partials, int n_blocks);
} dl_reducer;

typedef struct dl_row
{
	int			n;				/* tokens, 1 .. config.context */
	const int32_t *ids;			/* [n] */
	const uint8_t *live;		/* [n], 1 = live; NULL = all live. Ignored under full attention */
	int			n_ask;
	const int32_t *ask;			/* [n_ask] positions to predict, >= logit_shift; ascending, distinct */
	const dl_reducer *reducer;	/* NULL if nothing is asked */
	void	   *ctx;
	float	   *hidden;			/* NULL, or [n, hidden] gets the last hidden states (after the final norm) */
	float	   *lengths;		/* NULL, or [length_classes] gets the length head's log-probabilities on the row's states */
	dl_kv	   *kv;				/* NULL, or a cache. Rows of one batch may share one only if their fixed lists are equal */
} dl_row;

typedef struct dl_forward dl_forward;

/* One per session; workspaces come from the arena and grow as needed. */
dl_forward *dl_forward_create(const dlm_model *model, dl_arena *a, int threads, uint32_t cpu_mask);
void		dl_forward_free(dl_forward *f);

/*
 * Bytes of workspace for a batch of so many tokens and asked positions, whose
 * largest partial result is `partial`: lets the scheduler size its batches.
 */
size_t		dl_forward_workspace(const dlm_model *model, int tokens, int asks, size_t partial);

/* rows are borrowed until the batch is done. DLM_ENOMEM, DLM_EINVAL. */
dlm_status	dl_forward_begin(dl_forward *f, const dl_row *rows, int n_rows, dlm_error *err);

/*
 * One small piece of work (a few ms). DLM_MORE, DLM_OK: all asks folded;
 * DLM_EDAMAGED: non-finite logits. Abandoning a batch between steps and
 * beginning another is fine: the caches stay valid.
 */
dlm_status	dl_forward_step(dl_forward *f, dlm_error *err);

#endif							/* DL_FORWARD_H */
