/*
 * funcs_record.c - dlm_infill_record: the null members of a JSON object.
 *
 * What dlm_infill_row does for a row, without a catalog to ask: only the
 * options "choices" and "patterns" say what is legal. Filled members are
 * strings; the others stay as they are.
 */
#include "dlm_pg.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "encoding.h"
#include "funcs.h"
#include "row_job.h"

PG_FUNCTION_INFO_V1(dlm_sql_infill_record);

#define MEMBER_TOKENS	8			/* of a gap without choices */

typedef struct Member
{
	char	   *name;
	JsonbValue	value;
	bool		gap;
} Member;

typedef struct RecordJob
{
	DlmRequestTag tag;			/* first */
	Member	   *member;			/* [n] in the object's order */
	int			n,
				n_gaps;
} RecordJob;

/* ----------------------------------------------------------------- requests */

static RecordJob *
read_record(Jsonb *record, const DlmRowOptions *o)
{
	RecordJob  *job = palloc0(sizeof(RecordJob));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;

	if (!JB_ROOT_IS_OBJECT(record))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the record must be a JSON object")));
	job->member = palloc(Max(JB_ROOT_COUNT(record), 1) * sizeof(Member));
	iterator = JsonbIteratorInit(&record->root);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		Member	   *m = &job->member[job->n];

		if (token != WJB_KEY)
			continue;
		m->name = pnstrdup(key.val.string.val, key.val.string.len);
		JsonbIteratorNext(&iterator, &m->value, true);
		m->gap = m->value.type == jbvNull && dlm_row_fills(o, m->name);
		job->n_gaps += m->gap;
		job->n++;
	}
	return job;
}

static dlm_text
shown_value(const JsonbValue *value)
{
	char	   *text;

	switch (value->type)
	{
		case jbvString:
			text = pnstrdup(value->val.string.val, value->val.string.len);
			break;
		case jbvBool:
			text = value->val.boolean ? "yes" : "no";
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		default:
			text = JsonbToCString(NULL, &JsonbValueToJsonb(unconstify(JsonbValue *, value))->root, 0);
	}
	return dlm_text_from_server(text, strlen(text));
}

static const dlm_gap_rule *
rule_of(const DlmRowOptions *o, const char *name)
{
	dlm_text	utf8 = dlm_text_from_server(name, strlen(name));

	for (int i = 0; i < o->engine->n_rules; i++)
	{
		dlm_text	gap = o->engine->rules[i].gap;

		if (gap.len == utf8.len && memcmp(gap.data, utf8.data, gap.len) == 0)
			return &o->engine->rules[i];
	}
	return NULL;
}

static void
append_member(StringInfo out, const RecordJob *job, int i, const DlmRowOptions *o)
{
	const Member *m = &job->member[i];

	if (!m->gap && (m->value.type == jbvNull || (o->show && !dlm_is_listed(o->show, o->n_show, m->name))))
		return;
	dlm_append_quoted(out, dlm_text_from_server(m->name, strlen(m->name)));
	appendStringInfoString(out, ": ");
	if (m->gap)
	{
		const dlm_gap_rule *rule = rule_of(o, m->name);
		int			most = o->max_tokens ? o->max_tokens : MEMBER_TOKENS;

		appendStringInfo(out, "[MASK:m%d:1-%d]", i, rule && rule->pattern.len > 0 ? Max(most, 16) : most);
	}
	else
		dlm_append_quoted(out, shown_value(&m->value));
	appendStringInfoChar(out, '\n');
}

static void
write_request(RecordJob *job, const DlmRowOptions *o, dlm_request *out)
{
	StringInfoData text;
	dlm_gap_rule *rules = palloc(job->n_gaps * sizeof(dlm_gap_rule) + 1);

	initStringInfo(&text);
	out->n_rules = 0;
	if (o->title.len > 0)
	{
		dlm_append_quoted(&text, o->title);
		appendStringInfoChar(&text, '\n');
	}
	for (int k = 0; k < o->n_order; k++)
	{
		for (int i = 0; i < job->n; i++)
		{
			if (strcmp(job->member[i].name, o->order[k]) == 0)
				append_member(&text, job, i, o);
		}
	}
	for (int gaps = 0; gaps < 2; gaps++)
	{
		for (int i = 0; i < job->n; i++)
		{
			const Member *m = &job->member[i];

			if (!dlm_is_listed(o->order, o->n_order, m->name) && (o->table_order ? gaps == 0 : m->gap == (gaps == 1)))
				append_member(&text, job, i, o);
		}
	}
	for (int i = 0; i < job->n; i++)
	{
		const dlm_gap_rule *rule = job->member[i].gap ? rule_of(o, job->member[i].name) : NULL;

		if (rule == NULL)
			continue;
		rules[out->n_rules] = *rule;
		rules[out->n_rules].gap.data = psprintf("m%d", i);
		rules[out->n_rules].gap.len = strlen(rules[out->n_rules].gap.data);
		out->n_rules++;
	}
	out->rules = rules;
	out->input.data = text.data;
	out->input.len = text.len;
}

static void
add_records(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n)
{
	DlmRowOptions *options = dlm_row_options(args->options);
	dlm_request request = {.task = DLM_INFILL, .options = &options->engine->engine};

	options->engine->engine.forbidden = dlm_forbidden_tokens(call->model);
	for (int i = 0; i < n; i++)
	{
		RecordJob  *job;

		if (nulls && nulls[i])
			continue;
		job = read_record(DatumGetJsonbP(inputs[i]), options);
		if (job->n_gaps > 0)
			write_request(job, options, &request);
		request.tag = job;
		dlm_call_put(call, &request, call->rows + i, job->n_gaps == 0);
	}
}

/* record, options, model */
static void
unpack_record(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_unpack_plain(arguments, args);
	args->add = add_records;
}

/* ------------------------------------------------------------------ answers */

static Datum
make_record(const dlm_request *request, const dlm_result *result, void *arg)
{
	const RecordJob *job = request->tag;
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < job->n; i++)
	{
		const dlm_gap *gap = job->member[i].gap ? dlm_result_gap(result, 'm', i) : NULL;
		JsonbValue	item;
		text	   *answer;

		item.type = jbvString;
		item.val.string.val = job->member[i].name;
		item.val.string.len = strlen(job->member[i].name);
		pushJsonbValue(&state, WJB_KEY, &item);
		item = job->member[i].value;
		if (gap)
		{
			answer = dlm_text_to_server(gap->text);
			item.type = jbvString;
			item.val.string.val = VARDATA_ANY(answer);
			item.val.string.len = VARSIZE_ANY_EXHDR(answer);
		}
		pushJsonbValue(&state, WJB_VALUE, &item);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

const DlmFunction dlm_function_infill_record = {
	"dlm_sql_infill_record", DLM_INFILL, 1, unpack_record, make_record, InvalidOid, false
};

/* dlm_infill_record(record jsonb, options jsonb, model text) returns jsonb */
Datum
dlm_sql_infill_record(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_infill_record);
}
