/*
 * batch_rows.c - read rows ahead and keep them until they are emitted.
 *
 * Reading begins with one row and doubles up to dlm.batch_size, so that a
 * LIMIT or a FETCH wastes at most as much as it used; where the LIMIT is known
 * it is not passed. Rows that the cache answers come on top, so that those
 * which are left make a whole batch. Rows are kept as minimal tuples, as a sort keeps them:
 * what lies out of line stays there until an argument needs it.
 *
 * dlm.batch_mem is for the memo (a quarter), the rows, and the arguments and
 * answers (half of the rest each). Rows whose arguments find no room wait where
 * they are and become batches of their own.
 */
#include "dlm_pg.h"

#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "activity.h"
#include "batch_state.h"
#include "guc.h"

#define LARGEST_BLOCK	((Size) 256 * 1024)

Size
dlm_batch_room(void)
{
	return (Size) dlm_guc_batch_mem * 1024 / 8 * 3;
}

Size
dlm_batch_block(Size room)
{
	return Min(MAXALIGN(room / 16), LARGEST_BLOCK);
}

/* Rows that may be read for the next batch. */
static int
rows_wanted(const DlmBatchState *b)
{
	int64		left = b->bound - b->handed;

	if (b->bound >= 0 && left <= 0)
		return 1;				/* WITH TIES, or rows that a lock dropped: more than was said */
	return b->bound >= 0 ? (int) Min(left, b->ahead) : b->ahead;
}

static void
read_rows(DlmBatchState *b)
{
	PlanState  *child = outerPlanState(&b->css.ss.ps);
	int			wanted = rows_wanted(b);

	MemoryContextReset(b->read);
	b->rows = MemoryContextAlloc(b->read, wanted * sizeof(MinimalTuple));
	b->n_rows = 0;
	while (b->n_rows < wanted && !b->finished)
	{
		TupleTableSlot *slot;
		MemoryContext before;

		if (b->n_rows > 0 && MemoryContextMemAllocated(b->read, false) >= dlm_batch_room())
			break;
		slot = ExecProcNode(child);
		if (TupIsNull(slot))
		{
			b->finished = true;
			break;
		}
		before = MemoryContextSwitchTo(b->read);
		b->rows[b->n_rows++] = ExecCopySlotMinimalTuple(slot);
		MemoryContextSwitchTo(before);
	}
}

/* The rows that wait are the next, or, where there are none, those that the child has. */
static void
next_rows(DlmBatchState *b)
{
	MemoryContextReset(b->batch);
	dlm_memo_unpin(b->memo, b->answers);
	b->answers = NULL;
	if (b->ready < b->n_rows)
	{
		b->rows += b->ready;
		b->n_rows -= b->ready;
	}
	else
		read_rows(b);
	b->ready = b->next = 0;
}

static int64
limit_value(DlmBatchState *b, ExprState *state, int64 otherwise)
{
	bool		isnull;
	Datum		value;

	if (state == NULL)
		return otherwise;
	value = ExecEvalExprSwitchContext(state, b->css.ss.ps.ps_ExprContext, &isnull);
	return isnull ? otherwise : DatumGetInt64(value);
}

/* What LIMIT and OFFSET above us ask for; they raise their own errors. */
static int64
find_bound(DlmBatchState *b)
{
	int64		count = limit_value(b, b->limit_count, -1);
	int64		offset = limit_value(b, b->limit_offset, 0);

	if (count < 0 || offset < 0 || offset > PG_INT64_MAX - count)
		return -1;
	return count + offset;
}

/* Before the first row: how many are wanted, and that we are at work. */
static void
start(DlmBatchState *b)
{
	if (b->started)
		return;
	b->started = true;
	b->bound = find_bound(b);
	if (!b->shown)
		dlm_activity_scope_begin(b->css.ss.ps.state->es_query_cxt, (int64) outerPlan(b->css.ss.ps.plan)->plan_rows);
	b->shown = true;
}

void
dlm_batch_stop(DlmBatchState *b)
{
	if (b->shown)
		dlm_activity_scope_end();
	b->shown = false;
}

/* How many rows to read after a batch, in which the cache has answered so many calls. */
static int
next_ahead(const DlmBatchState *b, int64 cache_hits)
{
	int64		most = dlm_guc_batch_size + cache_hits / b->n_calls;

	return (int) Min(b->ahead * 2, Min(most, DLM_MOST_BATCH_SIZE));
}

bool
dlm_batch_fill(DlmBatchState *b)
{
	int64		hits = b->counters.cache_hits;

	start(b);
	dlm_activity_scope_rows(b->counters.rows);
	dlm_activity_phase(DLM_PHASE_READ);
	next_rows(b);
	if (b->n_rows == 0)
	{
		dlm_batch_stop(b);
		return false;
	}
	dlm_batch_evaluate(b);
	dlm_activity_phase(DLM_PHASE_EMIT);
	b->ahead = next_ahead(b, b->counters.cache_hits - hits);
	b->counters.batches++;
	return true;
}

void
dlm_batch_load(DlmBatchState *b, int row)
{
	TupleTableSlot *slot = b->css.ss.ss_ScanTupleSlot;

	ExecClearTuple(slot);
	ExecStoreMinimalTuple(b->rows[row], b->row_slot, false);
	slot_getallattrs(b->row_slot);
	memcpy(slot->tts_values, b->row_slot->tts_values, b->n_columns * sizeof(Datum));
	memcpy(slot->tts_isnull, b->row_slot->tts_isnull, b->n_columns * sizeof(bool));
	for (int c = 0; c < b->n_calls; c++)
	{
		DlmBatchCall *call = &b->calls[c];
		const DlmAnswer *answer = call->answers && call->answers[row] && call->answers[row]->state == DLM_ANSWER_DONE
			? call->answers[row] : NULL;

		slot->tts_values[b->n_columns + c] = answer ? answer->value.value : (Datum) 0;
		slot->tts_isnull[b->n_columns + c] = answer ? answer->value.isnull : true;
	}
	ExecStoreVirtualTuple(slot);
}

void
dlm_batch_restart(DlmBatchState *b)
{
	ExecClearTuple(b->css.ss.ss_ScanTupleSlot);
	ExecClearTuple(b->row_slot);
	MemoryContextReset(b->batch);
	MemoryContextReset(b->read);
	dlm_memo_unpin(b->memo, b->answers);
	b->answers = NULL;
	b->rows = NULL;
	b->n_rows = b->ready = b->next = 0;
	b->finished = b->started = false;
	b->ahead = 1;
	b->handed = 0;
	for (int c = 0; c < b->n_calls; c++)
	{
		b->calls[c].values = NULL;
		b->calls[c].answers = NULL;
		b->calls[c].pattern = 0;	/* parameters may have other values now */
	}
}
