/*
 * funcs_infill.c - SQL functions that fill rows: dlm_infill_row, dlm_infill_cells.
 *
 * A row's request is written from its columns (row_request.c) and its answer
 * made legal (row_result.c). In a batch a row that cannot be made legal
 * without asking the model again is left to be evaluated alone, where the
 * model is asked as often as it takes, up to a limit.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "funcs.h"
#include "row_job.h"

PG_FUNCTION_INFO_V1(dlm_sql_infill_row);
PG_FUNCTION_INFO_V1(dlm_sql_infill_cells);

#define MOST_ASKED	10			/* times that the model is asked for one row */

/* ----------------------------------------------------------------- requests */

/* Requests for rows of one type. */
static void
add_rows(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n)
{
	DlmRowOptions *options = dlm_row_options(args->options);
	DlmRowType *t = NULL;
	dlm_request request = {.task = DLM_INFILL, .options = &options->engine->engine};

	options->engine->engine.forbidden = dlm_forbidden_tokens(call->model);
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header;
		DlmRowJob  *job;

		if (nulls && nulls[i])
			continue;
		header = DatumGetHeapTupleHeader(inputs[i]);
		if (t == NULL)
		{
			t = dlm_row_type(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
			dlm_row_customize(t, options);
			dlm_row_common_values(t, options);
			dlm_row_priors(t, options);
		}
		job = dlm_row_job(t, options, PointerGetDatum(header));
		if (job->n_gaps > 0)
			dlm_row_request(job, &request);
		request.tag = job;
		dlm_call_put(call, &request, call->rows + i, job->n_gaps == 0);
	}
}

/* row, options, model */
static void
unpack_row(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_unpack_plain(arguments, args);
	args->add = add_rows;
}

/* ------------------------------------------------------------------ answers */

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *value)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = pstrdup(value);
	item.val.string.len = strlen(value);
	pushJsonbValue(state, token, &item);
}

/* {"column": {"value": "text", "confidence": 0.9}, ...}; the text is that of the column's type. */
static Datum
cells_datum(const DlmRowJob *job)
{
	JsonbParseState *state = NULL;
	JsonbValue	number;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int g = 0; g < job->n_gaps; g++)
	{
		const DlmRowGap *gap = &job->gap[g];

		if (gap->text == NULL)
			continue;
		push_text(&state, WJB_KEY, gap->column->name);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_text(&state, WJB_KEY, "value");
		push_text(&state, WJB_VALUE, dlm_value_output(&gap->column->output, gap->value));
		push_text(&state, WJB_KEY, "confidence");
		number.type = jbvNumeric;
		number.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(gap->confidence)));
		pushJsonbValue(&state, WJB_VALUE, &number);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* The row stays as it was. */
static void
leave_empty(DlmRowJob *job)
{
	for (int g = 0; g < job->n_gaps; g++)
		job->gap[g].text = NULL;
}

/* Gaps without a legal value stay NULL, one after the other, until the rest is legal. */
static void
give_up(DlmRowJob *job)
{
	do
		job->gap[job->at].text = NULL;
	while (!dlm_row_settle(job) && job->n_blamed > 0 && job->gap[job->at].text != NULL);
}

/* Take a result and make it legal; false: the model must be asked again. */
static bool
finish(DlmRowJob *job, const dlm_result *result)
{
	if (job->why == NULL && result->n_gaps == 0)
		leave_empty(job);		/* nothing to fill, or an error that on_error turns into NULL */
	else if (result->n_gaps == 0)
		give_up(job);			/* ... when the model was asked again */
	if (result->n_gaps == 0)
		return true;
	dlm_row_take(job, result);
	return dlm_row_settle(job);
}

static Datum
make_row(const dlm_request *request, const dlm_result *result, void *arg)
{
	DlmRowJob  *job = request->tag;

	job->tag.failed = !finish(job, result);
	return job->tag.failed ? (Datum) 0 : dlm_row_datum(job);
}

static Datum
make_cells(const dlm_request *request, const dlm_result *result, void *arg)
{
	DlmRowJob  *job = request->tag;

	job->tag.failed = !finish(job, result);
	return job->tag.failed ? (Datum) 0 : cells_datum(job);
}

const DlmFunction dlm_function_infill_row = {
	"dlm_sql_infill_row", DLM_INFILL, 1, unpack_row, make_row, InvalidOid, false, true
};
const DlmFunction dlm_function_infill_cells = {
	"dlm_sql_infill_cells", DLM_INFILL, 1, unpack_row, make_cells, InvalidOid, false, true
};

/* -------------------------------------------------------------------- alone */

/* What running a row's request came to. */
typedef struct Alone
{
	DlmRowJob  *job;
	bool		legal;
	dlm_error	error;			/* the engine's, of this row */
} Alone;

static void
take_alone(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Alone	   *a = arg;

	a->job = request->tag;
	a->legal = finish(a->job, result);
}

static void
fail_alone(DlmCall *call, int row, const dlm_error *error, void *arg)
{
	((Alone *) arg)->error = *error;
}

pg_noreturn static void
no_legal_value(const DlmRowJob *job)
{
	const DlmRowGap *gap = &job->gap[job->at];

	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("no legal value was found for column \"%s\" of %s", gap->column->name, format_type_be(job->type->type)),
			 job->why ? errdetail("The last of them, \"%s\": %s", gap->text, job->why->message) : 0,
			 errhint("Give its values in the option \"choices\", leave it out of \"columns\", or use \"on_error\": \"null\".")));
}

/* The type that the call was planned with, before anything is read as a row. */
static void
check_argument(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	if (!OidIsValid(type) || !type_is_rowtype(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the argument is of type %s, which is no row", OidIsValid(type) ? format_type_be(type) : "unknown"),
				 errhint("Give a row of a table, as in dlm_infill_row(t) FROM t.")));
	/* the answer would be of the domain, and nobody has asked its CHECKs */
	if (get_typtype(type) == TYPTYPE_DOMAIN)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("rows of domain %s cannot be filled", format_type_be(type)),
				 errhint("Cast the row to %s, and the answer back.", format_type_be(getBaseType(type)))));
}

/* Ask until the row is legal; the answer is made by `datum`. */
static Datum
fill_alone(FunctionCallInfo fcinfo, Datum (*datum) (const DlmRowJob *job))
{
	DlmArgs		args;
	DlmCall    *call;
	Alone		a = {0};
	Datum		answer;

	check_argument(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	unpack_row(fcinfo->args, &args);
	call = dlm_call_open(DLM_INFILL, &args);
	dlm_call_add(call, &args, &args.input.value, NULL, 1);
	for (int i = 0; i < MOST_ASKED && !a.legal; i++)
	{
		bool		null = call->n > 0 && DLM_REQUEST_OPTIONS(&call->requests[0])->on_error == DLM_ON_ERROR_NULL;

		dlm_run(call, take_alone, fail_alone, &a);
		if (a.error.status != DLM_OK && (a.job == NULL || a.job->why == NULL))
			dlm_raise(&a.error);
		if (a.legal)
			break;
		if (a.error.status != DLM_OK || a.job->hopeless || i + 1 == MOST_ASKED)
		{
			if (!null)
				no_legal_value(a.job);
			give_up(a.job);
			break;
		}
		dlm_row_request(a.job, &call->requests[0]);
	}
	MemoryContextSwitchTo(call->caller);
	answer = datum(a.job);
	dlm_call_end(call);
	return answer;
}

/* dlm_infill_row(row anyelement, options jsonb, model text) returns anyelement */
Datum
dlm_sql_infill_row(PG_FUNCTION_ARGS)
{
	return fill_alone(fcinfo, dlm_row_datum);
}

/* dlm_infill_cells(row anyelement, options jsonb, model text) returns jsonb */
Datum
dlm_sql_infill_cells(PG_FUNCTION_ARGS)
{
	return fill_alone(fcinfo, cells_datum);
}
