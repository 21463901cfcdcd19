/*
 * funcs_rows.c - SQL functions on tokens, scores and embeddings, and what all
 * functions share: how the scalar, array and set-returning forms are run.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "funcs.h"

PG_FUNCTION_INFO_V1(dlm_sql_score);
PG_FUNCTION_INFO_V1(dlm_sql_token_scores);
PG_FUNCTION_INFO_V1(dlm_sql_embed);
PG_FUNCTION_INFO_V1(dlm_sql_embed_many);
PG_FUNCTION_INFO_V1(dlm_sql_tokenize);
PG_FUNCTION_INFO_V1(dlm_sql_detokenize);
PG_FUNCTION_INFO_V1(dlm_sql_count_tokens);

static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function must return a composite type");
	return BlessTupleDesc(desc);
}

Datum
dlm_scalar(FunctionCallInfo fcinfo, const DlmFunction *function)
{
	DlmArgs		args;
	void	   *arg;

	if (dlm_required_missing(function, fcinfo->args))
		PG_RETURN_NULL();
	function->unpack(fcinfo->args, &args);
	arg = function->composite ? result_desc(fcinfo) : NULL;
	return dlm_answer(dlm_call_begin(function->task, &args), function->make, InvalidOid, arg, &fcinfo->isnull);
}

Datum
dlm_array(FunctionCallInfo fcinfo, const DlmFunction *function)
{
	DlmArgs		args;

	if (dlm_required_missing(function, fcinfo->args))
		PG_RETURN_NULL();
	function->unpack(fcinfo->args, &args);
	args.array = true;
	return dlm_answer(dlm_call_begin(function->task, &args), function->make, function->array_element, NULL, &fcinfo->isnull);
}

Datum
dlm_return_rows(FunctionCallInfo fcinfo, bool usable, dlm_task task, const DlmArgs *args, DlmTake take)
{
	DlmCall    *call;

	InitMaterializedSRF(fcinfo, 0);
	if (usable)
	{
		call = dlm_call_begin(task, args);
		dlm_run(call, take, NULL, fcinfo->resultinfo);
		dlm_call_end(call);
	}
	return (Datum) 0;
}

/* input, model */
static void
unpack_embed(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	args->model = arguments[1];
}

const DlmFunction dlm_function_score = {
	"dlm_sql_score", DLM_SCORE, 1, dlm_unpack_plain, dlm_make_score, InvalidOid, false
};
const DlmFunction dlm_function_embed = {
	"dlm_sql_embed", DLM_EMBED, 1, unpack_embed, dlm_make_embedding, InvalidOid, false
};

/* dlm_score(input text, options jsonb, model text) returns float8 */
Datum
dlm_sql_score(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_score);
}

/* dlm_token_scores(input text, options jsonb, model text) returns table */
Datum
dlm_sql_token_scores(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	dlm_unpack_plain(fcinfo->args, &args);
	return dlm_return_rows(fcinfo, !args.input.isnull, DLM_TOKEN_SCORES, &args, dlm_put_token_scores);
}

/* dlm_embed(input text, model text) returns real[] */
Datum
dlm_sql_embed(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_embed);
}

/* Embeddings by row, until all have come: rows without one must be there too. */
static void
take_embedding(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *embeddings)
{
	((Datum *) embeddings)[row] = dlm_make_embedding(request, result, NULL);
}

/* dlm_embed_many(inputs text[], model text) returns table: a row for each element, NULL for NULL. */
Datum
dlm_sql_embed_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DlmArgs		args;
	DlmCall    *call;
	Datum	   *embeddings;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	unpack_embed(fcinfo->args, &args);
	args.array = true;
	call = dlm_call_begin(DLM_EMBED, &args);
	embeddings = palloc0(call->rows * sizeof(Datum) + 1);
	dlm_run(call, take_embedding, NULL, embeddings);
	for (int i = 0; i < call->rows; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false, embeddings[i] == (Datum) 0};

		values[0] = Int32GetDatum(i + 1);
		values[1] = embeddings[i];
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	dlm_call_end(call);
	return (Datum) 0;
}

/* ------------------------------------------------------------------- tokens */

/* A context for one call without requests; delete it and the model is unpinned. */
static MemoryContext
enter_scratch(MemoryContext *scratch)
{
	*scratch = AllocSetContextCreate(CurrentMemoryContext, "dlm tokens", ALLOCSET_SMALL_SIZES);
	return MemoryContextSwitchTo(*scratch);
}

static void
leave_scratch(MemoryContext scratch, MemoryContext before)
{
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
}

/* dlm_tokenize(input text, model text) returns table */
Datum
dlm_sql_tokenize(PG_FUNCTION_ARGS)
{
	MemoryContext scratch,
				before;
	DlmModelRef *model;
	int32_t    *ids;
	size_t		n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	before = enter_scratch(&scratch);
	model = dlm_registry_resolve(dlm_model_argument(fcinfo->args[1]));
	ids = dlm_run_tokenize(model, dlm_text_from_datum(PG_GETARG_DATUM(0)), &n);
	dlm_put_tokens(model, ids, n, (ReturnSetInfo *) fcinfo->resultinfo);
	leave_scratch(scratch, before);
	return (Datum) 0;
}

/* dlm_count_tokens(input text, model text) returns int */
Datum
dlm_sql_count_tokens(PG_FUNCTION_ARGS)
{
	MemoryContext scratch,
				before;
	DlmModelRef *model;
	size_t		n;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	before = enter_scratch(&scratch);
	model = dlm_registry_resolve(dlm_model_argument(fcinfo->args[1]));
	dlm_run_tokenize(model, dlm_text_from_datum(PG_GETARG_DATUM(0)), &n);
	leave_scratch(scratch, before);
	PG_RETURN_INT32((int32) n);
}

/* The elements of an int[]; NULL elements are refused, as a text has no gaps. */
static int32_t *
ids_argument(Datum array, int *n)
{
	Datum	   *values;
	bool	   *nulls;
	int32_t    *ids;

	deconstruct_array(DatumGetArrayTypeP(array), INT4OID, sizeof(int32), true, TYPALIGN_INT, &values, &nulls, n);
	ids = palloc(*n * sizeof(int32_t) + 1);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("ids must not hold NULL")));
		ids[i] = DatumGetInt32(values[i]);
	}
	return ids;
}

/* dlm_detokenize(ids int[], model text) returns text */
Datum
dlm_sql_detokenize(PG_FUNCTION_ARGS)
{
	MemoryContext scratch,
				before;
	DlmModelRef *model;
	int32_t    *ids;
	int			n;
	dlm_text	utf8;
	text	   *result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	before = enter_scratch(&scratch);
	model = dlm_registry_resolve(dlm_model_argument(fcinfo->args[1]));
	ids = ids_argument(PG_GETARG_DATUM(0), &n);
	utf8 = dlm_run_detokenize(model, ids, n);
	MemoryContextSwitchTo(before);
	result = dlm_text_to_server(utf8);
	leave_scratch(scratch, before);
	PG_RETURN_TEXT_P(result);
}
