/*
 * funcs_text.c - SQL functions that write text: generate, infill, their traces, quote.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "encoding.h"
#include "funcs.h"
#include "picture.h"

PG_FUNCTION_INFO_V1(dlm_sql_generate);
PG_FUNCTION_INFO_V1(dlm_sql_generate_array);
PG_FUNCTION_INFO_V1(dlm_sql_trace_generate);
PG_FUNCTION_INFO_V1(dlm_sql_predict_length);
PG_FUNCTION_INFO_V1(dlm_sql_infill);
PG_FUNCTION_INFO_V1(dlm_sql_infill_array);
PG_FUNCTION_INFO_V1(dlm_sql_infill_gaps);
PG_FUNCTION_INFO_V1(dlm_sql_trace);
PG_FUNCTION_INFO_V1(dlm_sql_trace_html);
PG_FUNCTION_INFO_V1(dlm_sql_trace_svg);
PG_FUNCTION_INFO_V1(dlm_sql_trace_generate_html);
PG_FUNCTION_INFO_V1(dlm_sql_trace_generate_svg);
PG_FUNCTION_INFO_V1(dlm_sql_quote);

/* prompt, max_tokens, the sampling arguments, model */
static void
unpack_generate(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	args->max_tokens = arguments[1];
	args->model = *dlm_unpack_sampling(arguments + 2, args);
}

/* template, the sampling arguments, model */
static void
unpack_infill(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	args->model = *dlm_unpack_sampling(arguments + 1, args);
}

const DlmFunction dlm_function_generate = {
	"dlm_sql_generate", DLM_GENERATE, 1, unpack_generate, dlm_make_text, TEXTOID, false
};
const DlmFunction dlm_function_infill = {
	"dlm_sql_infill", DLM_INFILL, 1, unpack_infill, dlm_make_text, TEXTOID, false
};
const DlmFunction dlm_function_infill_gaps = {
	"dlm_sql_infill_gaps", DLM_INFILL, 1, unpack_infill, dlm_make_gaps, InvalidOid, false
};

/* dlm_generate(prompt text, ...) returns text */
Datum
dlm_sql_generate(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_generate);
}

/* dlm_generate(prompts text[], ...) returns text[] */
Datum
dlm_sql_generate_array(PG_FUNCTION_ARGS)
{
	return dlm_array(fcinfo, &dlm_function_generate);
}

/* dlm_infill(template text, ...) returns text */
Datum
dlm_sql_infill(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_infill);
}

/* dlm_infill(templates text[], ...) returns text[] */
Datum
dlm_sql_infill_array(PG_FUNCTION_ARGS)
{
	return dlm_array(fcinfo, &dlm_function_infill);
}

/* dlm_infill_gaps(template text, ...) returns jsonb */
Datum
dlm_sql_infill_gaps(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_infill_gaps);
}

/* dlm_trace_generate(prompt text, ...) returns table */
Datum
dlm_sql_trace_generate(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_generate(fcinfo->args, &args);
	args.trace = true;
	return dlm_return_rows(fcinfo, !args.input.isnull, DLM_GENERATE, &args, dlm_put_trace);
}

/* dlm_trace(template text, ...) returns table */
Datum
dlm_sql_trace(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_infill(fcinfo->args, &args);
	args.trace = true;
	return dlm_return_rows(fcinfo, !args.input.isnull, DLM_INFILL, &args, dlm_put_trace);
}

typedef struct Drawing
{
	DlmDraw		draw;
	text	   *picture;		/* in the caller's context; NULL if the row has no answer */
} Drawing;

static void
take_drawing(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Drawing    *drawing = arg;
	StringInfoData out;
	MemoryContext before;

	initStringInfo(&out);
	drawing->draw(&out, call->model, result);
	before = MemoryContextSwitchTo(call->caller);
	drawing->picture = cstring_to_text_with_len(out.data, out.len);
	MemoryContextSwitchTo(before);
	pfree(out.data);
}

/* Run a call with its trace, and draw it. */
static Datum
return_drawing(FunctionCallInfo fcinfo, dlm_task task, DlmArgs *args, DlmDraw draw)
{
	Drawing		drawing = {draw, NULL};
	DlmCall    *call;

	if (args->input.isnull)
		PG_RETURN_NULL();
	args->trace = true;
	call = dlm_call_begin(task, args);
	dlm_run(call, take_drawing, NULL, &drawing);
	dlm_call_end(call);
	if (!drawing.picture)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(drawing.picture);
}

/* dlm_trace_html(template text, ...) returns text */
Datum
dlm_sql_trace_html(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_infill(fcinfo->args, &args);
	return return_drawing(fcinfo, DLM_INFILL, &args, dlm_draw_html);
}

/* dlm_trace_svg(template text, ...) returns text */
Datum
dlm_sql_trace_svg(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_infill(fcinfo->args, &args);
	return return_drawing(fcinfo, DLM_INFILL, &args, dlm_draw_svg);
}

/* dlm_trace_generate_html(prompt text, ...) returns text */
Datum
dlm_sql_trace_generate_html(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_generate(fcinfo->args, &args);
	return return_drawing(fcinfo, DLM_GENERATE, &args, dlm_draw_html);
}

/* dlm_trace_generate_svg(prompt text, ...) returns text */
Datum
dlm_sql_trace_generate_svg(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_generate(fcinfo->args, &args);
	return return_drawing(fcinfo, DLM_GENERATE, &args, dlm_draw_svg);
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
	return dlm_return_rows(fcinfo, !args.input.isnull, DLM_PREDICT_LENGTH, &args, dlm_put_lengths);
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
