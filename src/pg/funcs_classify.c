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

/* input, and what is said of the labels; returns what follows them */
static const NullableDatum *
unpack_input(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	return dlm_unpack_labels(arguments + 1, args);
}

/* ... then options, model */
static void
unpack_classify(const NullableDatum *arguments, DlmArgs *args)
{
	const NullableDatum *rest = unpack_input(arguments, args);

	args->options = rest[0];
	args->model = rest[1];
}

/* ... then threshold, options, model */
static void
unpack_classify_multi(const NullableDatum *arguments, DlmArgs *args)
{
	const NullableDatum *rest = unpack_input(arguments, args);

	args->threshold = rest[0];
	args->options = rest[1];
	args->model = rest[2];
}

const DlmFunction dlm_function_classify = {
	"dlm_sql_classify", DLM_CLASSIFY, 2, unpack_classify, dlm_make_label, TEXTOID, false
};
const DlmFunction dlm_function_classify_full = {
	"dlm_sql_classify_full", DLM_CLASSIFY, 2, unpack_classify, dlm_make_label_record, InvalidOid, true
};
const DlmFunction dlm_function_classify_multi = {
	"dlm_sql_classify_multi", DLM_CLASSIFY_MULTI, 2, unpack_classify_multi, dlm_make_labels, InvalidOid, false
};

/* dlm_classify(input text, labels text[], ...) returns text */
Datum
dlm_sql_classify(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_classify);
}

/* dlm_classify(inputs text[], labels text[], ...) returns text[] */
Datum
dlm_sql_classify_array(PG_FUNCTION_ARGS)
{
	return dlm_array(fcinfo, &dlm_function_classify);
}

/* dlm_classify_full(input text, labels text[], ...) returns dlm_label */
Datum
dlm_sql_classify_full(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_classify_full);
}

/* dlm_classify_multi(input text, labels text[], ..., threshold float8, options, model) returns text[] */
Datum
dlm_sql_classify_multi(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_classify_multi);
}

/* dlm_classify_scores(input text, labels text[], ...) returns table */
Datum
dlm_sql_classify_scores(PG_FUNCTION_ARGS)
{
	DlmArgs		args;

	unpack_classify(fcinfo->args, &args);
	return dlm_return_rows(fcinfo, !args.input.isnull && !args.labels.isnull, DLM_CLASSIFY, &args, dlm_put_label_scores);
}
