/*
 * result_rows.c - rows of set-returning functions.
 *
 * Rows go to the function's tuplestore (materialise mode), which spills to
 * disk at work_mem. Positions, steps and ordinals count from 1.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "result.h"

static void
put(ReturnSetInfo *rsinfo, Datum *values, bool *nulls)
{
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static Datum
piece_datum(const DlmModelRef *model, int32_t id)
{
	return PointerGetDatum(dlm_piece_to_server(dlm_run_piece(model, id)));
}

/* ------------------------------------------------------------- label scores */

typedef struct Ranked
{
	double		probability;
	int			index;
	bool		best;
} Ranked;

/* Highest probability first, ties to the earlier label; the engine's best label is always the first. */
static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->best != y->best)
		return x->best ? -1 : 1;
	if (x->probability != y->probability)
		return x->probability > y->probability ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

void
dlm_put_label_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo)
{
	Ranked	   *ranked = palloc(result->n_labels * sizeof(Ranked));

	for (int i = 0; i < result->n_labels; i++)
	{
		ranked[i].probability = result->labels[i].probability;
		ranked[i].index = i;
		ranked[i].best = i == result->best;
	}
	qsort(ranked, result->n_labels, sizeof(Ranked), compare_ranked);
	for (int i = 0; i < result->n_labels; i++)
	{
		int			label = ranked[i].index;
		Datum		values[3];
		bool		nulls[3] = {false};

		values[0] = PointerGetDatum(dlm_text_to_server(request->labels[label]));
		values[1] = Float8GetDatum(result->labels[label].probability);
		values[2] = Float8GetDatum(result->labels[label].logprob);
		put(rsinfo, values, nulls);
	}
}

/* ------------------------------------------------------------------- tokens */

void
dlm_put_token_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo)
{
	for (int i = 0; i < result->n_tokens; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = Int32GetDatum(i + 1);
		values[1] = Int32GetDatum(result->tokens[i].id);
		values[2] = piece_datum(call->model, result->tokens[i].id);
		values[3] = Float8GetDatum(result->tokens[i].logprob);
		put(rsinfo, values, nulls);
		pfree(DatumGetPointer(values[2]));
	}
}

void
dlm_put_tokens(const DlmModelRef *model, const int32_t *ids, size_t n, ReturnSetInfo *rsinfo)
{
	for (size_t i = 0; i < n; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = Int32GetDatum(ids[i]);
		values[2] = piece_datum(model, ids[i]);
		put(rsinfo, values, nulls);
		pfree(DatumGetPointer(values[2]));
	}
}

void
dlm_put_trace(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo)
{
	static const char *const events[] = {"reveal", "remask", "revise"};
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "dlm trace row", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(scratch);

	for (int i = 0; i < result->n_trace; i++)
	{
		const dlm_trace_row *change = &result->trace[i];
		Datum		values[7];
		bool		nulls[7] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum(change->step);
		values[1] = Int32GetDatum(change->position);
		values[2] = Int32GetDatum(change->id);
		values[3] = piece_datum(call->model, change->id);
		values[4] = Float8GetDatum(change->logprob);
		values[5] = CStringGetTextDatum(events[change->event]);
		values[6] = PointerGetDatum(dlm_piece_to_server(change->canvas));
		put(rsinfo, values, nulls);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
}

/* ------------------------------------------------------------------ lengths */

void
dlm_put_lengths(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo)
{
	for (int i = 0; i < result->n_lengths; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};

		values[0] = Int32GetDatum(result->lengths[i].length);
		values[1] = Float8GetDatum(result->lengths[i].logprob);
		put(rsinfo, values, nulls);
	}
}
