/*
 * batch_explain.c - what EXPLAIN shows of a batch node.
 *
 * Counters that a run repeats exactly are shown with ANALYZE; times, threads
 * and memory only where TIMING is on. In a parallel plan each process counts
 * for itself and adds its sum to shared memory when it is done.
 */
#include "dlm_pg.h"

#include "access/parallel.h"
#include "commands/explain.h"
#include "storage/shm_toc.h"
#include "storage/spin.h"
#include "utils/lsyscache.h"

#include "batch_state.h"
#include "guc.h"

typedef struct SharedCounters
{
	slock_t		mutex;
	DlmBatchCounters sum;
} SharedCounters;

static void
add_counters(DlmBatchCounters *to, const DlmBatchCounters *from)
{
	to->batches += from->batches;
	to->rows += from->rows;
	to->requests += from->requests;
	to->cache_hits += from->cache_hits;
	to->alone += from->alone;
	to->tokens += from->tokens;
	to->steps += from->steps;
	to->ms += from->ms;
	to->threads = Max(to->threads, from->threads);
	to->memory = Max(to->memory, from->memory);
}

/* The calls' functions, each once, in the order of the node's columns. */
static List *
function_names(const DlmBatchState *b)
{
	List	   *names = NIL;

	for (int i = 0; i < b->n_calls; i++)
	{
		const char *name = get_func_name(b->calls[i].funcid);

		names = lappend(names, pstrdup(name ? name : "?"));
	}
	return names;
}

void
dlm_batch_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	DlmBatchState *b = (DlmBatchState *) node;
	DlmBatchCounters sum = b->counters;

	ExplainPropertyList("Calls", function_names(b), es);
	if (es->verbose)
		ExplainPropertyInteger("Batch Size", NULL, dlm_guc_batch_size, es);
	if (!es->analyze)
		return;
	add_counters(&sum, &b->workers);
	ExplainPropertyInteger("Batches", NULL, sum.batches, es);
	ExplainPropertyInteger("Batch Rows", NULL, sum.rows, es);
	ExplainPropertyInteger("Requests", NULL, sum.requests, es);
	if (sum.cache_hits > 0 || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyInteger("Cache Hits", NULL, sum.cache_hits, es);
	if (sum.alone > 0 || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyInteger("Rows Computed Alone", NULL, sum.alone, es);
	ExplainPropertyInteger("Tokens", NULL, sum.tokens, es);
	ExplainPropertyInteger("Steps", NULL, sum.steps, es);
	if (!es->timing)
		return;
	ExplainPropertyFloat("Compute Time", "ms", sum.ms, 3, es);
	ExplainPropertyInteger("Threads", NULL, sum.threads, es);
	ExplainPropertyInteger("Memory", "kB", (sum.memory + 1023) / 1024, es);
}

/* ------------------------------------------------------------------ parallel */

Size
dlm_batch_estimate_dsm(CustomScanState *node, ParallelContext *pcxt)
{
	return sizeof(SharedCounters);
}

void
dlm_batch_init_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	SharedCounters *shared = coordinate;

	memset(shared, 0, sizeof(*shared));
	SpinLockInit(&shared->mutex);
	((DlmBatchState *) node)->shared = coordinate;
}

void
dlm_batch_reinit_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	((DlmBatchState *) node)->shared = coordinate;	/* and goes on counting */
}

void
dlm_batch_init_worker(CustomScanState *node, shm_toc *toc, void *coordinate)
{
	((DlmBatchState *) node)->shared = coordinate;
}

/* A worker adds what it did; the leader takes the sum while the segment is there. */
void
dlm_batch_shutdown(CustomScanState *node)
{
	DlmBatchState *b = (DlmBatchState *) node;
	SharedCounters *shared = b->shared;

	if (shared == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	if (IsParallelWorker())
		add_counters(&shared->sum, &b->counters);
	else
		b->workers = shared->sum;
	SpinLockRelease(&shared->mutex);
	b->shared = NULL;
}
