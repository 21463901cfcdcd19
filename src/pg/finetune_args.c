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
#include "json_object.h"

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

/* A number in the unit, or a text with a unit of its own, as settings have them. */
static double
unit_option(Jsonb *options, const char *key, int unit, double least, double most, double other)
{
	JsonbValue	value;
	const char *hint = NULL;
	char	   *text;
	double		result = 0;

	if (!dlm_json_find(options, key, &value))
		return other;
	text = dlm_json_value_text(&value);
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

	options = dlm_json_options(options);
	f->background = dlm_json_bool_option(options, "background");
	f->replace = dlm_json_bool_option(options, "replace");
	f->memory_limit = (int) unit_option(options, "memory_limit", GUC_UNIT_KB, 1024, dlm_guc_max_session_memory,
										dlm_guc_max_session_memory);
	f->time_limit = unit_option(options, "time_limit", GUC_UNIT_S, 0, 1e9, 0);
	f->checkpoint_every = unit_option(options, "checkpoint_every", GUC_UNIT_S, 0, 1e9, CHECKPOINT_EVERY);
	f->options = dlm_json_without(options, own, lengthof(own));
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

/* What is asked, the same in the job and in the model's card. */
static void
add_request(StringInfo json, const DlmFinetune *f)
{
	dlm_json_add_text(json, "base_digest", f->base_digest);
	dlm_json_add_text(json, "objective", f->objective);
	dlm_json_add_text(json, "query", f->query);
	dlm_json_add_text(json, "validation_query", f->validation_query);
	dlm_json_add_jsonb(json, "options", f->options);
	dlm_json_add_int(json, "rows", f->rows);
	dlm_json_add_int(json, "validation_rows", f->validation_rows);
}

Jsonb *
dlm_finetune_to_arguments(const DlmFinetune *f)
{
	StringInfoData json;

	initStringInfo(&json);
	add_request(&json, f);
	dlm_json_add_bool(&json, "background", f->background);
	dlm_json_add_bool(&json, "replace", f->replace);
	dlm_json_add_int(&json, "memory_limit", f->memory_limit);
	dlm_json_add_float(&json, "time_limit", f->time_limit);
	dlm_json_add_float(&json, "checkpoint_every", f->checkpoint_every);
	return dlm_json_end(&json);
}

char *
dlm_finetune_card(const DlmJob *job, const DlmFinetune *f)
{
	StringInfoData json;

	initStringInfo(&json);
	dlm_json_add_text(&json, "base", job->base);
	add_request(&json, f);
	dlm_json_add_int(&json, "steps", job->figures.step);
	dlm_json_add_int(&json, "best_step", job->figures.best_step);
	dlm_json_add_int(&json, "tokens", (int64) job->figures.tokens);
	dlm_json_add_float(&json, "seconds", job->figures.seconds);
	dlm_json_add_float(&json, "loss", job->figures.loss);
	dlm_json_add_float(&json, "accuracy", job->figures.accuracy);
	dlm_json_add_float(&json, "validation_loss", job->figures.validation_loss);
	dlm_json_add_float(&json, "validation_accuracy", job->figures.validation_accuracy);
	dlm_json_add_text(&json, "finished", timestamptz_to_str(GetCurrentTimestamp()));
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* ------------------------------------------------------------------- and back */

DlmFinetune *
dlm_finetune_from_arguments(Jsonb *arguments)
{
	DlmFinetune *f = palloc0(sizeof(DlmFinetune));
	JsonbValue	options;

	f->base_digest = dlm_json_text(arguments, "base_digest");
	f->objective = dlm_json_text(arguments, "objective");
	f->query = dlm_json_text(arguments, "query");
	f->validation_query = dlm_json_text(arguments, "validation_query");
	f->rows = (int64) dlm_json_number(arguments, "rows");
	f->validation_rows = (int64) dlm_json_number(arguments, "validation_rows");
	f->background = dlm_json_bool(arguments, "background");
	f->replace = dlm_json_bool(arguments, "replace");
	f->memory_limit = (int) dlm_json_number(arguments, "memory_limit");
	f->time_limit = dlm_json_number(arguments, "time_limit");
	f->checkpoint_every = dlm_json_number(arguments, "checkpoint_every");
	if (f->base_digest == NULL || f->objective == NULL || f->query == NULL ||
		!dlm_json_find(arguments, "options", &options) || options.type != jbvBinary)
		elog(ERROR, "the job is not one of dlm_finetune");
	f->options = JsonbValueToJsonb(&options);
	return f;
}
