/*
 * request_options.c - the keys of `options jsonb`.
 *
 * One table says for each key which functions know it, its type, its bounds
 * and where its value goes. An unknown key is an error that names the known
 * ones; a JSON null means the default, as a NULL argument does.
 */
#include "dlm_pg.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "encoding.h"
#include "errors.h"
#include "json_object.h"
#include "request.h"

#define MAX_TEXTS	1000		/* elements of ban, of stop */

/* Functions by task, as a set. */
#define ON(task)	(1u << (task))
#define WRITERS		(ON(DLM_GENERATE) | ON(DLM_INFILL))
#define CLASSIFIERS	(ON(DLM_CLASSIFY) | ON(DLM_CLASSIFY_MULTI))
#define SCORERS		(ON(DLM_SCORE) | ON(DLM_TOKEN_SCORES))

typedef enum OptionType
{
	OPTION_INT,
	OPTION_FLOAT,
	OPTION_BOOL,
	OPTION_CHOICE,				/* one of a list of words, stored as int */
	OPTION_TEXTS,				/* array of texts; the count is stored at offset2 */
	OPTION_SAMPLER,
	OPTION_TEMPLATE,
	OPTION_PASSES,				/* a number, or "exact" */
	OPTION_NAME,				/* a string, stored as char * */
	OPTION_CHOICES,				/* an object: gap -> array of texts */
	OPTION_PATTERNS				/* an object: gap -> pattern */
} OptionType;

typedef struct Choice
{
	const char *word;
	int			value;
} Choice;

typedef struct OptionKey
{
	const char *key;
	unsigned	tasks;
	OptionType	type;
	size_t		offset;			/* in DlmOptions */
	size_t		offset2;
	double		min,
				max;
	const Choice *choices;
} OptionKey;

static const Choice lengths[] = {
	{"predicted", DLM_LENGTH_PREDICTED}, {"probed", DLM_LENGTH_PROBED}, {"fixed", DLM_LENGTH_FIXED}, {NULL, 0}
};
static const Choice boundaries[] = {
	{"heal", DLM_BOUNDARY_HEAL}, {"plain", DLM_BOUNDARY_PLAIN}, {NULL, 0}
};
static const Choice scorings[] = {
	{"one_pass", DLM_SCORING_ONE_PASS}, {"grouped", DLM_SCORING_GROUPED}, {"chain", DLM_SCORING_CHAIN},
	{"pll", DLM_SCORING_PLL}, {NULL, 0}
};
static const Choice normalizations[] = {
	{"mean", DLM_NORMALIZE_MEAN}, {"sum", DLM_NORMALIZE_SUM}, {NULL, 0}
};
static const Choice calibrations[] = {
	{"none", DLM_CALIBRATE_NONE}, {"content_free", DLM_CALIBRATE_CONTENT_FREE}, {NULL, 0}
};
static const Choice on_errors[] = {
	{"error", DLM_ON_ERROR_RAISE}, {"null", DLM_ON_ERROR_NULL}, {NULL, 0}
};
static const Choice on_overflows[] = {
	{"error", DLM_ON_OVERFLOW_RAISE}, {"truncate", DLM_ON_OVERFLOW_TRUNCATE}, {"null", DLM_ON_OVERFLOW_NULL}, {NULL, 0}
};

#define AT(field)	offsetof(DlmOptions, field)

/* In alphabetic order, as the hint lists them. */
static const OptionKey option_keys[] = {
	{"ban", WRITERS, OPTION_TEXTS, AT(engine.ban), AT(engine.n_ban), 0, 0, NULL},
	{"block_length", WRITERS, OPTION_INT, AT(engine.block_length), 0, 0, 1000000, NULL},
	{"boundary", WRITERS, OPTION_CHOICE, AT(engine.boundary), 0, 0, 0, boundaries},
	{"calibrate", CLASSIFIERS, OPTION_CHOICE, AT(engine.calibrate), 0, 0, 0, calibrations},
	{"calibration", ON(DLM_CLASSIFY), OPTION_NAME, AT(calibration), 0, 0, 0, NULL},
	{"cfg_scale", WRITERS, OPTION_FLOAT, AT(engine.cfg_scale), 0, 0, 100, NULL},
	{"choices", ON(DLM_INFILL), OPTION_CHOICES, 0, 0, 0, 0, NULL},
	{"length", WRITERS, OPTION_CHOICE, AT(engine.length), 0, 0, 0, lengths},
	{"length_beam", WRITERS, OPTION_INT, AT(engine.length_beam), 0, 1, 64, NULL},
	{"length_budget", WRITERS, OPTION_INT, AT(engine.length_budget), 0, 1, 100000, NULL},
	{"multiline", WRITERS, OPTION_BOOL, AT(engine.multiline), 0, 0, 0, NULL},
	{"normalize", CLASSIFIERS | ON(DLM_INFILL), OPTION_CHOICE, AT(engine.normalize), 0, 0, 0, normalizations},
	{"on_error", WRITERS | CLASSIFIERS | SCORERS, OPTION_CHOICE, AT(on_error), 0, 0, 0, on_errors},
	{"on_overflow", WRITERS | CLASSIFIERS | SCORERS, OPTION_CHOICE, AT(on_overflow), 0, 0, 0, on_overflows},
	{"passes", ON(DLM_SCORE), OPTION_PASSES, AT(engine.passes), 0, 1, 1000, NULL},
	{"patterns", ON(DLM_INFILL), OPTION_PATTERNS, 0, 0, 0, 0, NULL},
	{"sampler", WRITERS, OPTION_SAMPLER, AT(engine.sampler), 0, 0, 0, NULL},
	{"scoring", CLASSIFIERS, OPTION_CHOICE, AT(engine.scoring), 0, 0, 0, scorings},
	{"stop", WRITERS, OPTION_TEXTS, AT(engine.stop), AT(engine.n_stop), 0, 0, NULL},
	{"template", WRITERS | CLASSIFIERS, OPTION_TEMPLATE, AT(engine.tmpl), 0, 0, 0, NULL},
	{"threshold", WRITERS, OPTION_FLOAT, AT(engine.threshold), 0, 0, 1, NULL},
	{"top_k", WRITERS, OPTION_INT, AT(engine.top_k), 0, 0, 10000000, NULL},
	{"top_p", WRITERS, OPTION_FLOAT, AT(engine.top_p), 0, 0, 1, NULL},
};

/* ------------------------------------------------------------------- errors */

pg_noreturn static void
unknown_key(dlm_task task, const JsonbValue *key, const char *also_known)
{
	StringInfoData known;
	char	   *name = pnstrdup(key->val.string.val,
								pg_mbcliplen(key->val.string.val, key->val.string.len, NAMEDATALEN));

	initStringInfo(&known);
	for (int i = 0; i < lengthof(option_keys); i++)
	{
		if (option_keys[i].tasks & ON(task))
			appendStringInfo(&known, "%s%s", known.len ? ", " : "", option_keys[i].key);
	}
	if (also_known)
		appendStringInfo(&known, ", %s", also_known);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", name),
			 known.len ? errhint("Known options are: %s.", known.data) : errhint("This function takes no options.")));
}

pg_noreturn static void
wrong_value(const OptionKey *key, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", key->key, wanted)));
}

pg_noreturn static void
not_a_choice(const OptionKey *key)
{
	StringInfoData words;

	initStringInfo(&words);
	for (const Choice *c = key->choices; c->word; c++)
		appendStringInfo(&words, "%s\"%s\"", words.len == 0 ? "" : c[1].word ? ", " : " or ", c->word);
	wrong_value(key, words.data);
}

/* ------------------------------------------------------------------- values */

/* A JSON number within the key's bounds; numbers beyond float8 become infinite and fail them. */
static double
number_value(const OptionKey *key, const JsonbValue *value)
{
	double		number = 0;
	bool		good = value->type == jbvNumeric;

	if (good)
	{
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
		good = number >= key->min && number <= key->max;
	}
	if (good && key->type != OPTION_FLOAT)
		good = number == floor(number);
	if (!good)
		wrong_value(key, psprintf(key->type == OPTION_PASSES ? "%s between %.0f and %.0f, or \"exact\"" : "%s between %.10g and %.10g",
								  key->type == OPTION_FLOAT ? "a number" : "an integer", key->min, key->max));
	return number;
}

static char *
string_value(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static bool
is_word(const JsonbValue *value, const char *word)
{
	return value->type == jbvString && value->val.string.len == strlen(word) &&
		memcmp(value->val.string.val, word, value->val.string.len) == 0;
}

static int
choice_value(const OptionKey *key, const JsonbValue *value)
{
	for (const Choice *c = key->choices; c->word; c++)
	{
		if (is_word(value, c->word))
			return c->value;
	}
	not_a_choice(key);
}

/* Array of non-empty texts. A value nested in another arrives as jbvBinary. */
static dlm_text *
texts_value(const OptionKey *key, const JsonbValue *value, int *n)
{
	const char *wanted = "an array of non-empty strings";
	JsonbContainer *array;
	dlm_text   *texts;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		wrong_value(key, wanted);
	array = value->val.binary.data;
	if (JsonContainerSize(array) > MAX_TEXTS)
		wrong_value(key, psprintf("an array of at most %d strings", MAX_TEXTS));
	*n = JsonContainerSize(array);
	texts = palloc(*n * sizeof(dlm_text) + 1);
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString || element->val.string.len == 0)
			wrong_value(key, wanted);
		texts[i] = dlm_text_from_server(string_value(element), element->val.string.len);
	}
	return texts;
}

/* "raw" is the text alone, without the model's own template around it. */
static void
set_template(dlm_task task, const OptionKey *key, const JsonbValue *value, dlm_options *out)
{
	if (value->type != jbvString)
		wrong_value(key, "a string");
	out->has_template = true;
	if (is_word(value, "raw") && (WRITERS & ON(task)))
	{
		out->tmpl.data = task == DLM_INFILL ? "{text}" : "{prompt}";
		out->tmpl.len = strlen(out->tmpl.data);
	}
	else
		out->tmpl = dlm_text_from_server(string_value(value), value->val.string.len);
}

static void
set_sampler(const OptionKey *key, const JsonbValue *value, dlm_options *out)
{
	dlm_error	err;

	if (value->type != jbvString)
		wrong_value(key, "a string");
	if (dlm_sampler_parse(string_value(value), &out->sampler, &err) != DLM_OK)
		dlm_raise(&err);
}

static void
set_option(dlm_task task, const OptionKey *key, const JsonbValue *value, DlmOptions *out)
{
	void	   *target = (char *) out + key->offset;

	switch (key->type)
	{
		case OPTION_INT:
			*(int *) target = (int) number_value(key, value);
			break;
		case OPTION_FLOAT:
			*(double *) target = number_value(key, value);
			break;
		case OPTION_BOOL:
			if (value->type != jbvBool)
				wrong_value(key, "true or false");
			*(bool *) target = value->val.boolean;
			break;
		case OPTION_CHOICE:
			*(int *) target = choice_value(key, value);
			break;
		case OPTION_TEXTS:
			*(dlm_text **) target = texts_value(key, value, (int *) ((char *) out + key->offset2));
			break;
		case OPTION_SAMPLER:
			set_sampler(key, value, &out->engine);
			break;
		case OPTION_TEMPLATE:
			set_template(task, key, value, &out->engine);
			break;
		case OPTION_PASSES:
			*(int *) target = is_word(value, "exact") ? -1 : (int) number_value(key, value);
			break;
		case OPTION_NAME:
			if (value->type != jbvString)
				wrong_value(key, "a string");
			*(char **) target = string_value(value);
			break;
		case OPTION_CHOICES:
			dlm_options_choices(key->key, value, out);
			break;
		case OPTION_PATTERNS:
			dlm_options_patterns(key->key, value, out);
			break;
	}
}

/*
 * Parse options of a task into *out (zero-initialised by the caller). Texts
 * are palloc'd or point into the jsonb. Raises 22023.
 */
void
dlm_options_parse(dlm_task task, NullableDatum options, DlmOptions *out)
{
	Jsonb	   *jsonb;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	const OptionKey *key = NULL;

	if (options.isnull)
		return;
	jsonb = dlm_json_options(DatumGetJsonbP(options.value));
	iterator = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = NULL;
			for (int i = 0; i < lengthof(option_keys) && !key; i++)
			{
				if ((option_keys[i].tasks & ON(task)) && strlen(option_keys[i].key) == item.val.string.len &&
					memcmp(option_keys[i].key, item.val.string.val, item.val.string.len) == 0)
					key = &option_keys[i];
			}
			if (!key)
				unknown_key(task, &item, out->also_known);
		}
		else if (token == WJB_VALUE && item.type != jbvNull)
			set_option(task, key, &item, out);
	}
	if (out->on_overflow == DLM_ON_OVERFLOW_TRUNCATE)
		out->engine.overflow = DLM_OVERFLOW_TRUNCATE;
}
