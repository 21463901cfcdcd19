/*
 * batch_state.h - the batch node while it runs.
 */
#ifndef DLM_PG_BATCH_STATE_H
#define DLM_PG_BATCH_STATE_H

#include "access/htup_details.h"
#include "nodes/execnodes.h"

#include "batch.h"
#include "batch_memo.h"

/* What a node did, for EXPLAIN. All of one process, then summed over workers. */
typedef struct DlmBatchCounters
{
	int64		batches;
	int64		rows;			/* rows handed out */
	int64		requests;		/* calls that went through a model: distinct, and with an input */
	int64		cache_hits;		/* calls that the cache answered */
	int64		alone;			/* rows whose calls were evaluated one by one: they failed in their batch */
	int64		tokens;
	int64		steps;
	double		ms;
	int64		threads;		/* most at a time */
	int64		memory;			/* of node and engine, at its peak, in bytes */
} DlmBatchCounters;

typedef struct DlmBatchArg
{
	ExprState  *state;
	int16		typlen;
	bool		typbyval;
	bool		fixed;			/* the same for all rows of a batch, and not to be copied */
	bool		in_row;			/* a column of the child: its value lies in the buffered row */
	bool		loose;			/* the value just evaluated lies in per-tuple memory */
} DlmBatchArg;

/* One call that the node collects. */
typedef struct DlmBatchCall
{
	const DlmFunction *function;
	Oid			funcid;
	int			level;
	ExprState  *guard;			/* NULL = for every row */
	Bitmapset  *guard_params,	/* PARAM_EXEC that the guard, and that the arguments read */
			   *arg_params;
	ExprState  *alone;			/* the call as PostgreSQL evaluates it */
	DlmBatchArg *args;			/* [n_args] */
	int			n_args;
	bool		fixed;			/* all arguments but the input */
	TupleDesc	desc;			/* of a composite answer */
	int			most;			/* rows that the engine's memory has room for; 0 = all */
	uint32		pattern;		/* the memo's number of what is fixed; 0 = not asked yet */
	/* of the present batch, in its memory */
	NullableDatum *values;		/* [rows, n_args] */
	DlmAnswer **answers;		/* [rows], NULL where the answer is NULL without asking */
} DlmBatchCall;

typedef struct DlmBatchState
{
	CustomScanState css;		/* first; child in lefttree, scan tuple in ss_ScanTupleSlot */
	int			n_columns;		/* of the child */
	DlmBatchCall *calls;		/* [n_calls], by level */
	int			n_calls;
	bool		guarded;		/* arguments are evaluated under a subtransaction: they may fail */
	DlmMemo    *memo;
	ExprState  *limit_count,
			   *limit_offset;

	/* rows that were read: [next, ready) are evaluated, [ready, n_rows) wait for the next batch */
	MemoryContext read,			/* rows */
				batch;			/* arguments and answers of the present batch */
	DlmAnswers *answers;		/* those that it shares, or NULL */
	TupleTableSlot *row_slot;	/* to take a row apart */
	MinimalTuple *rows;
	int			n_rows,
				ready,
				next;
	bool	   *alone;			/* [rows] evaluate when emitted: something failed */
	bool		finished;		/* the child has no more rows */
	int			ahead;			/* rows to read next */
	int64		bound;			/* rows that are wanted of us, -1 = all */
	int64		handed;			/* rows handed out since the last rescan */
	bool		started;		/* since the last rescan */
	bool		shown;			/* in dlm_activity */
	DlmBatchCounters counters;
	void	   *shared;			/* sum over all workers, or NULL */
	DlmBatchCounters workers;	/* the leader's copy of it */
} DlmBatchState;

/* -- batch_rows.c -- */

/* Evaluate the next batch, of rows that wait or of new ones; false when there are no more rows. */
extern bool dlm_batch_fill(DlmBatchState *b);

/* No more rows come from us for now. */
extern void dlm_batch_stop(DlmBatchState *b);

/* Put a row and its answers into the scan tuple. */
extern void dlm_batch_load(DlmBatchState *b, int row);

/* Forget what was read; the child begins anew. */
extern void dlm_batch_restart(DlmBatchState *b);

/* Bytes that the rows read may take, and as many the arguments and answers of a batch. */
extern Size dlm_batch_room(void);

/* The largest blocks of a context that may take `room` bytes, so small that the last goes little beyond it. */
extern Size dlm_batch_block(Size room);

/* -- batch_eval.c -- */

/* Compute the calls of rows [0, n_rows), or of as many as memory allows: sets b->ready, at least 1. */
extern void dlm_batch_evaluate(DlmBatchState *b);

/* Compute the calls of the loaded row one by one, as PostgreSQL would, and raise its errors. */
extern void dlm_batch_evaluate_alone(DlmBatchState *b);

/* -- batch_attempt.c -- */

/*
 * Run work(arg). False: it failed, and its error waits for the row that it
 * belongs to. A cancel, and everything in a parallel plan, is raised.
 */
extern bool dlm_attempt(void (*work) (void *arg), void *arg);

/* -- batch_explain.c -- */

extern void dlm_batch_explain(CustomScanState *node, List *ancestors, ExplainState *es);
extern Size dlm_batch_estimate_dsm(CustomScanState *node, ParallelContext *pcxt);
extern void dlm_batch_init_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
extern void dlm_batch_reinit_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
extern void dlm_batch_init_worker(CustomScanState *node, shm_toc *toc, void *coordinate);
extern void dlm_batch_shutdown(CustomScanState *node);

#endif							/* DLM_PG_BATCH_STATE_H */
