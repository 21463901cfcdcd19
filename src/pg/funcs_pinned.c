/*
 * funcs_pinned.c - the IMMUTABLE forms: the model is given by its digest.
 *
 * A digest means the same weights, tokenizer and templates for ever, so the
 * answer is a function of the arguments alone, as an index, a generated column
 * or another node needs it to be. What could change it is refused: names of
 * models and parts of digests (registry.c), names of calibrations (request.c).
 * What the database fixes may count: its encoding says which tokens are never
 * written. Rights, files and limits decide between the answer and an error.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"

#include "funcs.h"

PG_FUNCTION_INFO_V1(dlm_sql_generate_pinned);
PG_FUNCTION_INFO_V1(dlm_sql_infill_pinned);
PG_FUNCTION_INFO_V1(dlm_sql_classify_pinned);
PG_FUNCTION_INFO_V1(dlm_sql_embed_pinned);

/* digest, input; returns what follows them */
static const NullableDatum *
unpack_digest(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->digest = arguments[0];
	args->input = arguments[1];
	return arguments + 2;
}

/* ... then max_tokens and the sampling arguments */
static void
unpack_generate(const NullableDatum *arguments, DlmArgs *args)
{
	const NullableDatum *rest = unpack_digest(arguments, args);

	args->max_tokens = rest[0];
	dlm_unpack_sampling(rest + 1, args);
}

/* ... then the sampling arguments */
static void
unpack_infill(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_unpack_sampling(unpack_digest(arguments, args), args);
}

/* ... then what is said of the labels, options */
static void
unpack_classify(const NullableDatum *arguments, DlmArgs *args)
{
	args->options = *dlm_unpack_labels(unpack_digest(arguments, args), args);
}

static void
unpack_embed(const NullableDatum *arguments, DlmArgs *args)
{
	(void) unpack_digest(arguments, args);
}

const DlmFunction dlm_function_generate_pinned = {
	"dlm_sql_generate_pinned", DLM_GENERATE, 2, unpack_generate, dlm_make_text, InvalidOid, .pinned = true
};
const DlmFunction dlm_function_infill_pinned = {
	"dlm_sql_infill_pinned", DLM_INFILL, 2, unpack_infill, dlm_make_text, InvalidOid, .pinned = true
};
const DlmFunction dlm_function_classify_pinned = {
	"dlm_sql_classify_pinned", DLM_CLASSIFY, 3, unpack_classify, dlm_make_label, InvalidOid, .pinned = true
};
const DlmFunction dlm_function_embed_pinned = {
	"dlm_sql_embed_pinned", DLM_EMBED, 2, unpack_embed, dlm_make_embedding, InvalidOid, .pinned = true
};

/* dlm_generate_pinned(digest text, prompt text, ...) returns text */
Datum
dlm_sql_generate_pinned(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_generate_pinned);
}

/* dlm_infill_pinned(digest text, template text, ...) returns text */
Datum
dlm_sql_infill_pinned(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_infill_pinned);
}

/* dlm_classify_pinned(digest text, input text, labels text[], ...) returns text */
Datum
dlm_sql_classify_pinned(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_classify_pinned);
}

/* dlm_embed_pinned(digest text, input text) returns real[] */
Datum
dlm_sql_embed_pinned(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_embed_pinned);
}
