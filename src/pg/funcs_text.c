/*
 * funcs_text.c - SQL functions that write text: generate, infill, trace, quote.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"

#include "encoding.h"
#include "funcs.h"

PG_FUNCTION_INFO_V1(dlm_sql_generate);
PG_FUNCTION_INFO_V1(dlm_sql_generate_array);
PG_FUNCTION_INFO_V1(dlm_sql_trace_generate);
PG_FUNCTION_INFO_V1(dlm_sql_predict_length);
PG_FUNCTION_INFO_V1(dlm_sql_infill);
PG_FUNCTION_INFO_V1(dlm_sql_infill_array);
PG_FUNCTION_INFO_V1(dlm_sql_infill_gaps);
PG_FUNCTION_INFO_V1(dlm_sql_trace);
PG_FUNCTION_INFO_V1(dlm_sql_quote);

/* prompt, max_tokens, then the sampling arguments */
static void
unpack_generate(FunctionCallInfo fcinfo, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = fcinfo->args[0];
	args->max_tokens = fcinfo->args[1];
	dlm_unpack_sampling(fcinfo, 2, args);
}

/* template, then the sampling arguments */
static void
unpack_infill(FunctionCallInfo fcinfo, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = fcinfo->args[0];
	dlm_unpack_sampling(fcinfo, 1, args);
}

/* dlm_generate(prompt text, ...) returns text */
Datum
dlm_sql_generate(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_generate(fcinfo, &args);
	return dlm_return_answer(fcinfo, DLM_GENERATE, &args, dlm_make_text, TEXTOID, NULL);
}

/* dlm_generate(prompts text[], ...) returns text[] */
Datum
dlm_sql_generate_array(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_generate(fcinfo, &args);
	args.array = true;
	return dlm_return_answer(fcinfo, DLM_GENERATE, &args, dlm_make_text, TEXTOID, NULL);
}

/* dlm_trace_generate(prompt text, ...) returns table */
Datum
dlm_sql_trace_generate(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_generate(fcinfo, &args);
	args.trace = true;
	return dlm_return_rows(fcinfo, !PG_ARGISNULL(0), DLM_GENERATE, &args, dlm_put_trace);
}

/* dlm_predict_length(prompt text, k int, model text) returns table */
Datum
dlm_sql_predict_length(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	dlm_args_init(&args);
	args.input = fcinfo->args[0];
	args.k = fcinfo->args[1];
	args.model = fcinfo->args[2];
	return dlm_return_rows(fcinfo, !PG_ARGISNULL(0), DLM_PREDICT_LENGTH, &args, dlm_put_lengths);
}

/* dlm_infill(template text, ...) returns text */
Datum
dlm_sql_infill(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_infill(fcinfo, &args);
	return dlm_return_answer(fcinfo, DLM_INFILL, &args, dlm_make_text, TEXTOID, NULL);
}

/* dlm_infill(templates text[], ...) returns text[] */
Datum
dlm_sql_infill_array(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_infill(fcinfo, &args);
	args.array = true;
	return dlm_return_answer(fcinfo, DLM_INFILL, &args, dlm_make_text, TEXTOID, NULL);
}

/* dlm_infill_gaps(template text, ...) returns jsonb */
Datum
dlm_sql_infill_gaps(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_infill(fcinfo, &args);
	return dlm_return_answer(fcinfo, DLM_INFILL, &args, dlm_make_gaps, JSONBOID, NULL);
}

/* dlm_trace(template text, ...) returns table */
Datum
dlm_sql_trace(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_infill(fcinfo, &args);
	args.trace = true;
	return dlm_return_rows(fcinfo, !PG_ARGISNULL(0), DLM_INFILL, &args, dlm_put_trace);
}

/* dlm_quote(value text) returns text */
Datum
dlm_sql_quote(PG_FUNCTION_ARGS)
{
	dlm_text	value = dlm_text_from_datum(PG_GETARG_DATUM(0));
	dlm_error	err = {0};
	char	   *quoted;
	dlm_text	result;

	if (dlm_quote_template(value, &quoted, &result.len, &err) != DLM_OK)
		dlm_raise(&err);
	result.data = dlm_adopt(quoted, result.len);
	PG_RETURN_TEXT_P(dlm_text_to_server(result));
}
