/*
 * request_gaps.c - what gaps may hold, as options of dlm_infill say it:
 *
 *		"choices":  {"city": ["Berlin", "Bonn"], "2": ["yes", "no"]}
 *		"patterns": {"zip": "[0-9]{5}"}
 *
 * Keys are names of gaps, or numbers of gaps without a name.
 */
#include "dlm_pg.h"

#include "utils/jsonb.h"

#include "encoding.h"
#include "request.h"

pg_noreturn static void
wrong_form(const char *key, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", key, wanted)));
}

static dlm_text
text_of(const JsonbValue *string)
{
	return dlm_text_from_server(pnstrdup(string->val.string.val, string->val.string.len), string->val.string.len);
}

/* The rule of a gap, new if it has none yet; there is room for it. */
static dlm_gap_rule *
rule_of(DlmOptions *out, dlm_text gap)
{
	for (int i = 0; i < out->n_rules; i++)
	{
		if (out->rules[i].gap.len == gap.len && memcmp(out->rules[i].gap.data, gap.data, gap.len) == 0)
			return &out->rules[i];
	}
	memset(&out->rules[out->n_rules], 0, sizeof(dlm_gap_rule));
	out->rules[out->n_rules].gap = gap;
	return &out->rules[out->n_rules++];
}

/* Go through an object; take is given each member's value and the rule of the gap that it is of. */
static void
each_gap(const char *key, const JsonbValue *value, const char *wanted, DlmOptions *out,
		 void (*take) (const char *key, const char *wanted, const JsonbValue *value, dlm_gap_rule *rule))
{
	JsonbIterator *iterator;
	JsonbValue	item;
	JsonbIteratorToken token;
	dlm_gap_rule *rule = NULL;
	dlm_gap_rule *rules;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) > DLM_MAX_GAPS)
		wrong_form(key, wanted);
	rules = palloc((out->n_rules + JsonContainerSize(value->val.binary.data)) * sizeof(dlm_gap_rule) + 1);
	if (out->n_rules > 0)		/* of the other option */
		memcpy(rules, out->rules, out->n_rules * sizeof(dlm_gap_rule));
	out->rules = rules;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			rule = rule_of(out, text_of(&item));
		else if (token == WJB_VALUE && item.type != jbvNull)
			take(key, wanted, &item, rule);
	}
}

static void
take_choices(const char *key, const char *wanted, const JsonbValue *value, dlm_gap_rule *rule)
{
	JsonbContainer *array = value->val.binary.data;
	dlm_text   *texts;
	int			n;

	if (value->type != jbvBinary || !JsonContainerIsArray(array) || JsonContainerSize(array) == 0)
		wrong_form(key, wanted);
	n = JsonContainerSize(array);
	texts = palloc(n * sizeof(dlm_text));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString || element->val.string.len == 0)
			wrong_form(key, wanted);
		texts[i] = text_of(element);
	}
	rule->choices = texts;
	rule->n_choices = n;
}

static void
take_pattern(const char *key, const char *wanted, const JsonbValue *value, dlm_gap_rule *rule)
{
	if (value->type != jbvString || value->val.string.len == 0)
		wrong_form(key, wanted);
	rule->pattern = text_of(value);
}

void
dlm_options_choices(const char *key, const JsonbValue *value, DlmOptions *out)
{
	each_gap(key, value, "an object of names of gaps and arrays of non-empty strings", out, take_choices);
}

void
dlm_options_patterns(const char *key, const JsonbValue *value, DlmOptions *out)
{
	each_gap(key, value, "an object of names of gaps and patterns", out, take_pattern);
}
