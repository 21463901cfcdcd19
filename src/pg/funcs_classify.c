/*
 * funcs_classify.c - SQL functions that choose among labels.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"

#include "funcs.h"

PG_FUNCTION_INFO_V1(dlm_sql_classify);
PG_FUNCTION_INFO_V1(dlm_sql_classify_array);
PG_FUNCTION_INFO_V1(dlm_sql_classify_full);
PG_FUNCTION_INFO_V1(dlm_sql_classify_scores);
PG_FUNCTION_INFO_V1(dlm_sql_classify_multi);

/* input, labels, instruction, descriptions, examples; returns the position after them */
static int
unpack_labels(FunctionCallInfo fcinfo, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = fcinfo->args[0];
	args->labels = fcinfo->args[1];
	args->instruction = fcinfo->args[2];
	args->descriptions = fcinfo->args[3];
	args->examples = fcinfo->args[4];
	return 5;
}

/* ... then options, model */
static void
unpack_classify(FunctionCallInfo fcinfo, DlmArgs *args)
{
	int			next = unpack_labels(fcinfo, args);

	args->options = fcinfo->args[next];
	args->model = fcinfo->args[next + 1];
}

/* dlm_classify(input text, labels text[], ...) returns text */
Datum
dlm_sql_classify(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	unpack_classify(fcinfo, &args);
	return dlm_return_answer(fcinfo, DLM_CLASSIFY, &args, dlm_make_label, TEXTOID, NULL);
}

/* dlm_classify(inputs text[], labels text[], ...) returns text[] */
Datum
dlm_sql_classify_array(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	unpack_classify(fcinfo, &args);
	args.array = true;
	return dlm_return_answer(fcinfo, DLM_CLASSIFY, &args, dlm_make_label, TEXTOID, NULL);
}

/* dlm_classify_full(input text, labels text[], ...) returns dlm_label */
Datum
dlm_sql_classify_full(PG_FUNCTION_ARGS)
{
	DlmArgs		args;
	TupleDesc	tupdesc;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "dlm_classify_full must return a composite type");
	unpack_classify(fcinfo, &args);
	return dlm_return_answer(fcinfo, DLM_CLASSIFY, &args, dlm_make_label_record, InvalidOid, BlessTupleDesc(tupdesc));
}

/* dlm_classify_scores(input text, labels text[], ...) returns table */
Datum
dlm_sql_classify_scores(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_classify(fcinfo, &args);
	return dlm_return_rows(fcinfo, !PG_ARGISNULL(0) && !PG_ARGISNULL(1), DLM_CLASSIFY, &args, dlm_put_label_scores);
}

/* dlm_classify_multi(input text, labels text[], ..., threshold float8, options, model) returns text[] */
Datum
dlm_sql_classify_multi(PG_FUNCTION_ARGS)
{
	DlmArgs		args;
	int			next;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	next = unpack_labels(fcinfo, &args);
	args.threshold = fcinfo->args[next];
	args.options = fcinfo->args[next + 1];
	args.model = fcinfo->args[next + 2];
	return dlm_return_answer(fcinfo, DLM_CLASSIFY_MULTI, &args, dlm_make_labels, TEXTARRAYOID, NULL);
}
