/*
 * result.c - single values from results: texts, labels, numbers, arrays.
 *
 * Values are built in the caller's memory context, so that they outlive the
 * call. Set-returning functions have their own file, result_rows.c.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "encoding.h"
#include "result.h"

/* The values of a call's rows while they come in. */
typedef struct Answers
{
	Datum	   *values;			/* [rows] */
	bool	   *nulls;			/* [rows] */
	DlmMake		make;
	void	   *arg;
} Answers;

static void
take_answer(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Answers    *answers = arg;
	MemoryContext before = MemoryContextSwitchTo(call->caller);

	answers->values[row] = answers->make(request, result, answers->arg);
	answers->nulls[row] = false;
	MemoryContextSwitchTo(before);
}

/* An array in the shape of the call's input array. */
static Datum
answer_array(const DlmCall *call, const Answers *answers, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;

	if (call->rows == 0)
		return PointerGetDatum(construct_empty_array(type));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(answers->values, answers->nulls, ARR_NDIM(call->array),
											  ARR_DIMS(call->array), ARR_LBOUND(call->array),
											  type, length, by_value, align));
}

Datum
dlm_answer(DlmCall *call, DlmMake make, Oid type, void *arg, bool *isnull)
{
	Answers		answers;
	Datum		value;

	answers.values = palloc0(call->rows * sizeof(Datum) + 1);
	answers.nulls = palloc(call->rows * sizeof(bool) + 1);
	memset(answers.nulls, true, call->rows);
	answers.make = make;
	answers.arg = arg;
	dlm_run(call, take_answer, NULL, &answers);
	MemoryContextSwitchTo(call->caller);
	if (call->array)
	{
		value = answer_array(call, &answers, type);
		*isnull = false;
	}
	else
	{
		value = answers.values[0];
		*isnull = answers.nulls[0];
	}
	dlm_call_end(call);
	return value;
}

/* ------------------------------------------------------------------- values */

Datum
dlm_make_text(const dlm_request *request, const dlm_result *result, void *arg)
{
	return PointerGetDatum(dlm_text_to_server(result->text));
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, text *value)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = VARDATA_ANY(value);
	item.val.string.len = VARSIZE_ANY_EXHDR(value);
	pushJsonbValue(state, token, &item);
}

const dlm_gap *
dlm_result_gap(const dlm_result *result, char letter, int number)
{
	char		name[16];
	size_t		len = (size_t) snprintf(name, sizeof(name), "%c%d", letter, number);

	for (int i = 0; i < result->n_gaps; i++)
	{
		if (result->gaps[i].name.len == len && memcmp(result->gaps[i].name.data, name, len) == 0)
			return &result->gaps[i];
	}
	return NULL;
}

/* {"name": "text", ...}; a gap without a name is called by its number among all gaps, from 1. */
Datum
dlm_make_gaps(const dlm_request *request, const dlm_result *result, void *arg)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < result->n_gaps; i++)
	{
		const dlm_gap *gap = &result->gaps[i];

		push_string(&state, WJB_KEY,
					gap->name.len > 0 ? dlm_text_to_server(gap->name) : cstring_to_text(psprintf("%d", i + 1)));
		push_string(&state, WJB_VALUE, dlm_text_to_server(gap->text));
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(object));
}

Datum
dlm_make_label(const dlm_request *request, const dlm_result *result, void *arg)
{
	return PointerGetDatum(dlm_text_to_server(request->labels[result->best]));
}

/* How far the best label leads; a label alone leads by its whole probability. */
static double
margin(const dlm_result *result)
{
	double		second = 0;

	for (int i = 0; i < result->n_labels; i++)
	{
		if (i != result->best)
			second = Max(second, result->labels[i].probability);
	}
	return result->labels[result->best].probability - second;
}

Datum
dlm_make_label_record(const dlm_request *request, const dlm_result *result, void *tupdesc)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	values[0] = dlm_make_label(request, result, NULL);
	values[1] = Float8GetDatum(result->labels[result->best].probability);
	values[2] = Float8GetDatum(margin(result));
	return HeapTupleGetDatum(heap_form_tuple((TupleDesc) tupdesc, values, nulls));
}

/* All labels whose probability reaches the threshold, in the order of the request. */
Datum
dlm_make_labels(const dlm_request *request, const dlm_result *result, void *arg)
{
	double		threshold = request->options->multi_threshold;
	Datum	   *values = palloc(result->n_labels * sizeof(Datum) + 1);
	int			n = 0;

	for (int i = 0; i < result->n_labels; i++)
	{
		if (result->labels[i].probability >= threshold)
			values[n++] = PointerGetDatum(dlm_text_to_server(request->labels[i]));
	}
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
dlm_make_score(const dlm_request *request, const dlm_result *result, void *arg)
{
	return Float8GetDatum(result->logprob);
}

Datum
dlm_make_embedding(const dlm_request *request, const dlm_result *result, void *arg)
{
	Datum	   *values = palloc(result->n_embedding * sizeof(Datum) + 1);

	for (int i = 0; i < result->n_embedding; i++)
		values[i] = Float4GetDatum(result->embedding[i]);
	return PointerGetDatum(construct_array(values, result->n_embedding, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}
