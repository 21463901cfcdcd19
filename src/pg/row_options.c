/*
 * row_options.c - options of dlm_infill_row and its kin.
 *
 * Keys that concern the row are taken here; the others go to the parser of
 * dlm_infill's options, which raises on those that it does not know either.
 */
#include "dlm_pg.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "encoding.h"
#include "json_object.h"
#include "row_job.h"

#define MAX_NAMES	1600		/* MaxTupleAttributeNumber and some */

pg_noreturn static void
wrong_value(const char *key, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", key, wanted)));
}

static char *
string_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* An array of names of columns. */
static char **
names_of(const char *key, const JsonbValue *value, int *n)
{
	JsonbContainer *array = value->val.binary.data;
	char	  **names;

	if (value->type != jbvBinary || !JsonContainerIsArray(array) || JsonContainerSize(array) > MAX_NAMES)
		wrong_value(key, "an array of names of columns");
	*n = JsonContainerSize(array);
	names = palloc(*n * sizeof(char *) + 1);
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString)
			wrong_value(key, "an array of names of columns");
		names[i] = string_of(element);
	}
	return names;
}

static double
number_of(const char *key, const JsonbValue *value, double min, double max, bool whole)
{
	double		number = 0;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (value->type != jbvNumeric || !(number >= min && number <= max) || (whole && number != (double) (int64) number))
		wrong_value(key, psprintf("%s between %.0f and %.0f", whole ? "an integer" : "a number", min, max));
	return number;
}

static bool
is_string(const JsonbValue *value, const char *word)
{
	return value->type == jbvString && value->val.string.len == strlen(word) &&
		memcmp(value->val.string.val, word, value->val.string.len) == 0;
}

/* Which of the words it is. */
static int
word_of(const char *key, const JsonbValue *value, const char *const *words, int n)
{
	StringInfoData wanted;

	for (int i = 0; i < n; i++)
	{
		if (is_string(value, words[i]))
			return i;
	}
	initStringInfo(&wanted);
	for (int i = 0; i < n; i++)
		appendStringInfo(&wanted, "%s\"%s\"", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
	wrong_value(key, wanted.data);
}

static void
set_order(DlmRowOptions *o, const JsonbValue *value)
{
	if (is_string(value, "table"))
		o->table_order = true;
	else if (!is_string(value, "known_first"))
	{
		if (value->type == jbvString)
			wrong_value("order", "\"known_first\", \"table\" or an array of names of columns");
		o->order = names_of("order", value, &o->n_order);
	}
}

/* A key of the row functions; false: it is none of them. */
static bool
take_key(DlmRowOptions *o, const char *key, const JsonbValue *value)
{
	static const char *const priors[] = {[DLM_PRIOR_ROWS] = "rows", [DLM_PRIOR_STATISTICS] = "statistics", [DLM_PRIOR_NONE] = "none"};
	static const char *const texts[] = {"known", "any"};
	static const char *const calibrations[] = {"content_free", "none"};
	dlm_options *e = &o->engine->engine;

	if (strcmp(key, "columns") == 0)
		o->columns = names_of(key, value, &o->n_columns);
	else if (strcmp(key, "show") == 0)
		o->show = names_of(key, value, &o->n_show);
	else if (strcmp(key, "order") == 0)
		set_order(o, value);
	else if (strcmp(key, "descriptions") == 0)
	{
		if (value->type != jbvBool)
			wrong_value(key, "true or false");
		o->descriptions = value->val.boolean;
	}
	else if (strcmp(key, "prior") == 0)
		o->prior = word_of(key, value, priors, lengthof(priors));
	else if (strcmp(key, "texts") == 0)
		o->any_text = word_of(key, value, texts, lengthof(texts)) == 1;
	else if (strcmp(key, "calibrate") == 0)
		o->as_scored = word_of(key, value, calibrations, lengthof(calibrations)) == 1;
	else if (strcmp(key, "max_tokens") == 0)
		o->max_tokens = (int) number_of(key, value, 1, 1000, true);
	else if (strcmp(key, "title") == 0)
	{
		if (value->type != jbvString)
			wrong_value(key, "a string");
		o->title = dlm_text_from_server(string_of(value), value->val.string.len);
	}
	else if (strcmp(key, "steps") == 0)
		e->steps = (int) number_of(key, value, 1, 100000, true);
	else if (strcmp(key, "temperature") == 0)
		e->temperature = number_of(key, value, 0, 100, false);
	else if (strcmp(key, "seed") == 0)
		e->seed = (int64) number_of(key, value, -9007199254740992.0, 9007199254740992.0, true);
	else if (strcmp(key, "multiline") == 0 || strcmp(key, "stop") == 0 || strcmp(key, "boundary") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" means nothing for a row", key)));
	else
		return false;
	return true;
}

DlmRowOptions *
dlm_row_options(NullableDatum options)
{
	DlmRowOptions *o = palloc0(sizeof(DlmRowOptions));
	NullableDatum others = {0, false};
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key,
				value;

	o->engine = palloc0(sizeof(DlmOptions));
	o->engine->also_known = "calibrate, columns, descriptions, max_tokens, order, prior, seed, show, steps, temperature, texts, title";
	o->descriptions = true;
	/* a row has many gaps, and most have few lengths: one combination of them is decoded (bench/infill) */
	o->engine->engine.length_beam = 1;
	o->engine->engine.length_budget = 24;
	if (options.isnull)
		return o;
	iterator = JsonbIteratorInit(&dlm_json_options(DatumGetJsonbP(options.value))->root);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		JsonbIteratorNext(&iterator, &value, true);
		if (value.type == jbvNull || take_key(o, string_of(&key), &value))
			continue;
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	others.value = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	dlm_options_parse(DLM_INFILL, others, o->engine);
	return o;
}

/* -------------------------------------------------------------- on a row type */

static DlmColumn *
named_column(const DlmRowType *t, const char *name)
{
	DlmColumn  *c = dlm_row_column(t, name);

	if (c == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of %s does not exist", name, format_type_be(t->type))));
	return c;
}

const dlm_gap_rule *
dlm_row_rule(const DlmRowOptions *o, const char *name)
{
	for (int i = 0; i < o->engine->n_rules; i++)
	{
		if (strcmp(text_to_cstring(dlm_text_to_server(o->engine->rules[i].gap)), name) == 0)
			return &o->engine->rules[i];
	}
	return NULL;
}

static void
check_names(const DlmRowType *t, char **names, int n)
{
	for (int i = 0; i < n; i++)
		named_column(t, names[i]);
}

/* Choices of the options take the place of what the catalog says; the real cast and checks still decide. */
static void
set_choices(DlmColumn *c, const dlm_gap_rule *rule)
{
	c->values = palloc(rule->n_choices * sizeof(DlmValue));
	c->n_values = rule->n_choices;
	c->by_reference = false;
	for (int i = 0; i < rule->n_choices; i++)
	{
		c->values[i].shown = rule->choices[i];
		c->values[i].input = text_to_cstring(dlm_text_to_server(rule->choices[i]));
	}
}

void
dlm_row_customize(DlmRowType *t, const DlmRowOptions *o)
{
	check_names(t, o->columns, o->n_columns);
	check_names(t, o->show, o->n_show);
	check_names(t, o->order, o->n_order);
	for (int i = 0; i < o->n_columns; i++)
	{
		DlmColumn  *c = named_column(t, o->columns[i]);

		if (c->computed)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is generated and cannot be filled", c->name)));
	}
	for (int i = 0; i < o->engine->n_rules; i++)
	{
		const dlm_gap_rule *rule = &o->engine->rules[i];
		DlmColumn  *c = named_column(t, text_to_cstring(dlm_text_to_server(rule->gap)));

		c->unfillable = NULL;
		if (rule->n_choices > 0)
			set_choices(c, rule);
		else
		{
			c->n_values = 0;
			c->pattern = text_to_cstring(dlm_text_to_server(rule->pattern));
			c->max_tokens = Max(c->max_tokens, 16);
		}
	}
	for (int i = 0; i < t->desc->natts; i++)
	{
		DlmColumn  *c = &t->columns[i];

		if (o->max_tokens > 0 && c->n_values == 0 && c->pattern == NULL)
			c->max_tokens = c->bounds.most_chars > 0 ? Min(o->max_tokens, c->bounds.most_chars) : o->max_tokens;
	}
}
