/*
 * request.c - check SQL arguments and build the requests of a call.
 *
 * Every SQL function comes through here, and so does the batch node: a bad
 * value gives the same error in a scalar call, in an array and in a plan.
 */
#include "dlm_pg.h"

#include <limits.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "request.h"

#define DEFAULT_MAX_TOKENS		64
#define MAX_STEPS				100000
#define MAX_TEMPERATURE			100.0
#define DEFAULT_LENGTHS			5
#define MAX_LENGTHS				1000

void
dlm_args_init(DlmArgs *args)
{
	memset(args, 0, sizeof(*args));
	args->input.isnull = args->max_tokens.isnull = args->steps.isnull = true;
	args->temperature.isnull = args->seed.isnull = args->labels.isnull = true;
	args->instruction.isnull = args->descriptions.isnull = args->examples.isnull = true;
	args->threshold.isnull = args->k.isnull = args->options.isnull = args->model.isnull = args->digest.isnull = true;
}

char *
dlm_model_argument(NullableDatum model)
{
	return model.isnull ? NULL : TextDatumGetCString(model.value);
}

int
dlm_int_argument(NullableDatum arg, const char *name, int otherwise, int min, int max)
{
	int			value = arg.isnull ? otherwise : DatumGetInt32(arg.value);

	if (!arg.isnull && (value < min || value > max))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %d and %d", name, min, max),
				 errdetail("The value is %d.", value)));
	return value;
}

/* A finite number within bounds; NULL gives its default. The comparison is so written that NaN fails it. */
static double
float_argument(NullableDatum arg, const char *name, double otherwise, double min, double max)
{
	double		value = arg.isnull ? otherwise : DatumGetFloat8(arg.value);

	if (!(value >= min && value <= max))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %g and %g", name, min, max),
				 errdetail("The value is %g.", value)));
	return value;
}

/* The arguments that are options to the engine, beside those in jsonb. */
static void
scalar_options(const DlmArgs *args, dlm_options *out)
{
	out->steps = dlm_int_argument(args->steps, "steps", 0, 1, MAX_STEPS);
	out->temperature = float_argument(args->temperature, "temperature", 0.0, 0.0, MAX_TEMPERATURE);
	out->seed = args->seed.isnull ? 0 : DatumGetInt64(args->seed.value);
	out->multi_threshold = float_argument(args->threshold, "threshold", 0.5, 0.0, 1.0);
	out->top_lengths = dlm_int_argument(args->k, "k", DEFAULT_LENGTHS, 1, MAX_LENGTHS);
}

static void
grow(DlmCall *call, int n)
{
	if (call->n + n <= call->capacity)
		return;
	call->capacity = Max(call->n + n, 2 * call->capacity);
	call->row_of = repalloc_huge(call->row_of, call->capacity * sizeof(int));
	call->requests = repalloc_huge(call->requests, call->capacity * sizeof(dlm_request));
}

/*
 * One request for each row that is not NULL: a copy of the model request with
 * the row's text. In a SQL_ASCII database a text may not be UTF-8, which is
 * the row's own bad value.
 */
static void
add_rows(DlmCall *call, const dlm_request *pattern, const Datum *values, const bool *nulls, int rows)
{
	DlmOnError	on_error = DLM_REQUEST_OPTIONS(pattern)->on_error;
	int			n = call->n;

	grow(call, rows);
	for (int i = 0; i < rows; i++)
	{
		if ((nulls && nulls[i]) || (on_error == DLM_ON_ERROR_NULL && !dlm_text_is_valid(values[i])))
			continue;
		call->requests[n] = *pattern;
		call->requests[n].input = dlm_text_from_datum(values[i]);
		call->row_of[n++] = call->rows + i;
	}
	call->n = n;
}

void
dlm_call_put(DlmCall *call, const dlm_request *request, int row, bool given)
{
	if (!given)
	{
		grow(call, 1);
		call->requests[call->n] = *request;
		call->row_of[call->n++] = row;
		return;
	}
	/* as many as a power of two is room for */
	if ((call->n_given & (call->n_given - 1)) == 0)
	{
		int			capacity = Max(2 * call->n_given, 1);

		call->given = call->given ? repalloc_huge(call->given, capacity * sizeof(dlm_request)) :
			palloc(capacity * sizeof(dlm_request));
		call->given_row = call->given_row ? repalloc_huge(call->given_row, capacity * sizeof(int)) :
			palloc(capacity * sizeof(int));
	}
	call->given[call->n_given] = *request;
	call->given_row[call->n_given++] = row;
}

DlmCall *
dlm_call_open(dlm_task task, const DlmArgs *args)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "dlm call", ALLOCSET_SMALL_SIZES);
	DlmCall    *call;

	MemoryContextSwitchTo(context);
	call = palloc0(sizeof(DlmCall));
	call->context = context;
	call->caller = caller;
	call->task = task;
	call->capacity = 1;
	call->requests = palloc(sizeof(dlm_request));
	call->row_of = palloc(sizeof(int));
	call->model = args->digest.isnull ? dlm_registry_resolve(dlm_model_argument(args->model)) :
		dlm_registry_resolve_digest(TextDatumGetCString(args->digest.value));
	return call;
}

/*
 * What a pinned function answers may depend on nothing but its arguments. A
 * calibration is looked up by its name, under which it can be fitted anew.
 */
static void
check_pinned(const DlmArgs *args, const DlmOptions *options)
{
	if (!args->digest.isnull && options->calibration)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"calibration\" cannot be used in a pinned function"),
				 errdetail("It names a fit that can be replaced, and then the same arguments would have another answer."),
				 errhint("Use dlm_classify with the model's name, or leave the option out.")));
}

/*
 * Requests that the caller makes itself. A bad row after good ones leaves none
 * of them behind: whoever catches the error may go on to add others.
 */
static void
add_own(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int rows)
{
	int			n = call->n;
	int			n_given = call->n_given;

	PG_TRY();
	{
		args->add(call, args, inputs, nulls, rows);
	}
	PG_CATCH();
	{
		call->n = n;
		call->n_given = n_given;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
dlm_call_put_texts(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n)
{
	dlm_task	task = call->task;
	DlmOptions *options = palloc0(sizeof(DlmOptions));
	dlm_request pattern = {0};
	bool		usable = true;

	dlm_options_parse(task, args->options, options);
	check_pinned(args, options);
	scalar_options(args, &options->engine);
	options->engine.forbidden = dlm_forbidden_tokens(call->model);
	pattern.task = task;
	pattern.trace = args->trace;
	pattern.options = &options->engine;
	pattern.rules = options->rules;
	pattern.n_rules = options->n_rules;
	if (task == DLM_GENERATE)
		pattern.max_tokens = dlm_int_argument(args->max_tokens, "max_tokens", DEFAULT_MAX_TOKENS, 1, INT_MAX);
	if (task == DLM_CLASSIFY || task == DLM_CLASSIFY_MULTI)
		usable = dlm_labels_parse(args, options->on_error, &pattern);
	if (usable && options->calibration)
		dlm_calibration_apply(call->model, options, &pattern);
	if (usable)
		add_rows(call, &pattern, inputs, nulls, n);
}

void
dlm_call_add(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n)
{
	if (args->add)
		add_own(call, args, inputs, nulls, n);
	else
		dlm_call_put_texts(call, args, inputs, nulls, n);
	call->rows += n;			/* without requests all of them are NULL */
	call->calls += args->array ? 1 : n;
}

DlmCall *
dlm_call_begin(dlm_task task, const DlmArgs *args)
{
	DlmCall    *call = dlm_call_open(task, args);
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (!args->array)
	{
		dlm_call_add(call, args, &args->input.value, NULL, 1);
		return call;
	}
	call->array = DatumGetArrayTypeP(args->input.value);
	deconstruct_array(call->array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	dlm_call_add(call, args, values, nulls, n);
	return call;
}

void
dlm_call_end(DlmCall *call)
{
	MemoryContextSwitchTo(call->caller);
	MemoryContextDelete(call->context);
}
