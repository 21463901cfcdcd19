/*
 * finetune_args.c - the options of dlm_finetune, and what its jobs remember.
 *
 * The procedure's own keys are taken out of the options; all others are the
 * trainer's, which knows their names and ranges.
 */
#include "dlm_pg.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "errors.h"
#include "finetune.h"
#include "guc.h"

#define CHECKPOINT_EVERY	60.0

dlm_objective
dlm_finetune_objective(const char *name)
{
	if (strcmp(name, "instruction") == 0)
		return DLM_OBJECTIVE_INSTRUCTION;
	if (strcmp(name, "text") == 0)
		return DLM_OBJECTIVE_TEXT;
	if (strcmp(name, "length") == 0)
		return DLM_OBJECTIVE_LENGTH;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid objective \"%s\"", name),
			 errhint("Objectives are instruction, text and length.")));
}

/* ------------------------------------------------------------- values of keys */

static bool
find(Jsonb *object, const char *key, JsonbValue *out)
{
	return getKeyJsonValueFromContainer(&object->root, key, (int) strlen(key), out) != NULL && out->type != jbvNull;
}

static char *
text_value(const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	return NULL;
}

static bool
bool_option(Jsonb *options, const char *key)
{
	JsonbValue	value;

	if (!find(options, key, &value))
		return false;
	if (value.type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be true or false", key)));
	return value.val.boolean;
}

/* A number in the unit, or a text with a unit of its own, as settings have them. */
static double
unit_option(Jsonb *options, const char *key, int unit, double least, double most, double other)
{
	JsonbValue	value;
	const char *hint = NULL;
	char	   *text;
	double		result = 0;

	if (!find(options, key, &value))
		return other;
	text = text_value(&value);
	if (text == NULL || !parse_real(text, &result, unit, &hint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", key),
				 hint ? errhint("%s", _(hint)) : errhint("It is a number, or a text of a number and a unit.")));
	if (!(result >= least && result <= most))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be between %.0f and %.0f %s", key, least, most, unit == GUC_UNIT_KB ? "kB" : "s"),
				 unit == GUC_UNIT_KB ? errhint("dlm.max_session_memory is the most that a session may use.") : 0));
	return result;
}

void
dlm_finetune_options(DlmFinetune *f, Jsonb *options)
{
	static const char *const own[] = {"background", "replace", "memory_limit", "time_limit", "checkpoint_every"};
	Datum		rest;

	if (options == NULL)
		options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	f->background = bool_option(options, "background");
	f->replace = bool_option(options, "replace");
	f->memory_limit = (int) unit_option(options, "memory_limit", GUC_UNIT_KB, 1024, dlm_guc_max_session_memory,
										dlm_guc_max_session_memory);
	f->time_limit = unit_option(options, "time_limit", GUC_UNIT_S, 0, 1e9, 0);
	f->checkpoint_every = unit_option(options, "checkpoint_every", GUC_UNIT_S, 0, 1e9, CHECKPOINT_EVERY);
	rest = JsonbPGetDatum(options);
	for (int i = 0; i < lengthof(own); i++)
		rest = DirectFunctionCall2(jsonb_delete, rest, CStringGetTextDatum(own[i]));
	f->options = DatumGetJsonbP(rest);
}

dlm_train_options *
dlm_finetune_train_options(const DlmFinetune *f)
{
	char	   *json = JsonbToCString(NULL, &f->options->root, VARSIZE(f->options));
	dlm_text	utf8 = dlm_text_from_server(json, (int) strlen(json));
	dlm_train_options *options = NULL;
	dlm_error	err = {0};

	if (dlm_train_options_parse(utf8.data, utf8.len, dlm_finetune_objective(f->objective), &options, &err) == DLM_OK)
		return options;
	if (err.hint[0] == '\0')
		strlcpy(err.hint, "Beside the trainer's options there are background, replace, memory_limit, time_limit and "
				"checkpoint_every.", sizeof(err.hint));
	dlm_raise(&err);
}

/* -------------------------------------------------------------- as a JSON text */

static void
add_key(StringInfo json, const char *key)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, key);
	appendStringInfoString(json, ": ");
}

static void
add_text(StringInfo json, const char *key, const char *value)
{
	add_key(json, key);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

static void
add_int(StringInfo json, const char *key, int64 value)
{
	add_key(json, key);
	appendStringInfo(json, "%lld", (long long) value);
}

static void
add_float(StringInfo json, const char *key, double value)
{
	add_key(json, key);
	if (isnan(value) || isinf(value))
		appendStringInfoString(json, "null");
	else
		appendStringInfo(json, "%.6g", value);
}

static void
add_bool(StringInfo json, const char *key, bool value)
{
	add_key(json, key);
	appendStringInfoString(json, value ? "true" : "false");
}

static void
add_jsonb(StringInfo json, const char *key, Jsonb *value)
{
	add_key(json, key);
	appendStringInfoString(json, JsonbToCString(NULL, &value->root, VARSIZE(value)));
}

/* What is asked, the same in the job and in the model's card. */
static void
add_request(StringInfo json, const DlmFinetune *f)
{
	add_text(json, "base_digest", f->base_digest);
	add_text(json, "objective", f->objective);
	add_text(json, "query", f->query);
	add_text(json, "validation_query", f->validation_query);
	add_jsonb(json, "options", f->options);
	add_int(json, "rows", f->rows);
	add_int(json, "validation_rows", f->validation_rows);
}

Jsonb *
dlm_finetune_to_arguments(const DlmFinetune *f)
{
	StringInfoData json;

	initStringInfo(&json);
	add_request(&json, f);
	add_bool(&json, "background", f->background);
	add_bool(&json, "replace", f->replace);
	add_int(&json, "memory_limit", f->memory_limit);
	add_float(&json, "time_limit", f->time_limit);
	add_float(&json, "checkpoint_every", f->checkpoint_every);
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

char *
dlm_finetune_card(const DlmJob *job, const DlmFinetune *f)
{
	StringInfoData json;

	initStringInfo(&json);
	add_text(&json, "base", job->base);
	add_request(&json, f);
	add_int(&json, "steps", job->figures.step);
	add_int(&json, "best_step", job->figures.best_step);
	add_int(&json, "tokens", (int64) job->figures.tokens);
	add_float(&json, "seconds", job->figures.seconds);
	add_float(&json, "loss", job->figures.loss);
	add_float(&json, "accuracy", job->figures.accuracy);
	add_float(&json, "validation_loss", job->figures.validation_loss);
	add_float(&json, "validation_accuracy", job->figures.validation_accuracy);
	add_text(&json, "finished", timestamptz_to_str(GetCurrentTimestamp()));
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* ------------------------------------------------------------------- and back */

static char *
get_text(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return find(object, key, &value) ? text_value(&value) : NULL;
}

static double
get_number(Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (!find(object, key, &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value.val.numeric)));
}

static bool
get_bool(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return find(object, key, &value) && value.type == jbvBool && value.val.boolean;
}

DlmFinetune *
dlm_finetune_from_arguments(Jsonb *arguments)
{
	DlmFinetune *f = palloc0(sizeof(DlmFinetune));
	JsonbValue	options;

	f->base_digest = get_text(arguments, "base_digest");
	f->objective = get_text(arguments, "objective");
	f->query = get_text(arguments, "query");
	f->validation_query = get_text(arguments, "validation_query");
	f->rows = (int64) get_number(arguments, "rows");
	f->validation_rows = (int64) get_number(arguments, "validation_rows");
	f->background = get_bool(arguments, "background");
	f->replace = get_bool(arguments, "replace");
	f->memory_limit = (int) get_number(arguments, "memory_limit");
	f->time_limit = get_number(arguments, "time_limit");
	f->checkpoint_every = get_number(arguments, "checkpoint_every");
	if (f->base_digest == NULL || f->objective == NULL || f->query == NULL ||
		!find(arguments, "options", &options) || options.type != jbvBinary)
		elog(ERROR, "the job is not one of dlm_finetune");
	f->options = JsonbValueToJsonb(&options);
	return f;
}
