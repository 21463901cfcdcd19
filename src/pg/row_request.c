/*
 * row_request.c - a row as a template: a line "column: value" for each known
 * column, and "column: [gap]" for each that is NULL.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/typcache.h"

#include "encoding.h"
#include "errors.h"
#include "row_job.h"
#include "run.h"

/* ---------------------------------------------------------------------- job */

bool
dlm_is_listed(char **names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

bool
dlm_row_fills(const DlmRowOptions *o, const char *name)
{
	return o == NULL || o->columns == NULL || dlm_is_listed(o->columns, o->n_columns, name);
}

/* Is this NULL column to be filled? */
static bool
is_gap(const DlmRowOptions *o, const DlmRowType *t, const DlmColumn *c)
{
	if (c->dropped || c->computed || !dlm_row_fills(o, c->name))
		return false;
	if (c->unfillable)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of %s cannot be filled", c->name, format_type_be(t->type)),
				 errdetail("Its type is %s: %s.", format_type_be(c->type), c->unfillable),
				 errhint("Name the columns to fill in the option \"columns\", or its values in \"choices\".")));
	return true;
}

DlmRowJob *
dlm_row_job(DlmRowType *t, const DlmRowOptions *options, Datum row)
{
	DlmRowJob  *job = palloc0(sizeof(DlmRowJob));
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple;
	int			n = t->desc->natts;

	job->context = CurrentMemoryContext;
	job->type = t;
	job->options = options;
	job->values = palloc(Max(n, 1) * sizeof(Datum));
	job->nulls = palloc(Max(n, 1) * sizeof(bool));
	job->gap = palloc0(Max(n, 1) * sizeof(DlmRowGap));
	job->blamed = palloc(Max(n, 1) * sizeof(int));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, t->desc, job->values, job->nulls);
	for (int i = 0; i < n; i++)
	{
		if (!job->nulls[i] || !is_gap(options, t, &t->columns[i]))
			continue;
		job->gap[job->n_gaps].column = &t->columns[i];
		job->gap[job->n_gaps].choice = -1;
		job->gap[job->n_gaps++].max_tokens = t->columns[i].max_tokens;
	}
	return job;
}

/* ----------------------------------------------------------------- template */

/* A known value as the model reads it. */
static dlm_text
shown_value(DlmColumn *c, Datum value)
{
	char	   *text;

	switch (c->base)
	{
		case BOOLOID:
			/* not one of c->values: a CHECK or the options may have left fewer than two */
			text = pstrdup(DatumGetBool(value) ? "yes" : "no");
			break;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* in the form that gaps have, whatever the session's DateStyle */
			text = JsonEncodeDateTime(palloc(MAXDATELEN + 1), value, c->base, NULL);
			for (char *p = text; *p; p++)
			{
				if (*p == 'T')
					*p = ' ';
			}
			break;
		default:
			text = dlm_value_output(&c->output, value);
	}
	for (int i = 0; c->by_reference && i < c->n_values; i++)
	{
		if (strcmp(c->values[i].input, text) == 0)
			return c->values[i].shown;
	}
	return dlm_text_from_server(text, strlen(text));
}

void
dlm_append_quoted(StringInfo out, dlm_text text)
{
	dlm_error	err = {0};
	char	   *quoted;
	size_t		len;

	if (dlm_quote_template(text, &quoted, &len, &err) != DLM_OK)
		dlm_raise(&err);
	appendBinaryStringInfo(out, dlm_adopt(quoted, len), (int) len);
}

DlmRowJob *
dlm_row_question(DlmRowType *t, const DlmRowOptions *options, Datum row, DlmColumn *column)
{
	DlmRowOptions *none = palloc(sizeof(DlmRowOptions));
	DlmRowJob  *job;
	DlmRowGap  *gap;
	dlm_text	text;

	*none = *options;
	none->columns = palloc(sizeof(char *));	/* the row's own gaps stay as they are */
	none->n_columns = 0;
	job = dlm_row_job(t, none, row);
	if (job->nulls[column->attnum - 1])
		return NULL;
	text = shown_value(column, job->values[column->attnum - 1]);
	job->asked = true;
	gap = &job->gap[job->n_gaps++];
	gap->column = column;
	gap->choice = -1;
	gap->max_tokens = Max(column->max_tokens, 1);
	job->nulls[column->attnum - 1] = true;
	if (column->n_values == 0)
	{
		gap->only = text;
		return text.len > 0 ? job : NULL;
	}
	for (int i = 0; i < column->n_values; i++)
	{
		if (column->values[i].shown.len == text.len && memcmp(column->values[i].shown.data, text.data, text.len) == 0)
			gap->choice = i;
	}
	return gap->choice >= 0 ? job : NULL;
}

static void
append_label(StringInfo out, const DlmRowJob *job, const DlmColumn *c)
{
	dlm_text	label = c->label;
	const char *comment = job->options->descriptions ? NULL : memchr(label.data, '(', label.len);

	if (comment && comment > label.data && strchr(c->name, '(') == NULL)
		label.len = comment - label.data - 1;
	dlm_append_quoted(out, label);
	appendStringInfoString(out, ": ");
}

/* The gap of a column, -1: it is known, or not filled. */
static int
gap_of(const DlmRowJob *job, const DlmColumn *c)
{
	for (int g = 0; g < job->n_gaps; g++)
	{
		if (job->gap[g].column == c)
			return g;
	}
	return -1;
}

static void
append_line(StringInfo out, const DlmRowJob *job, DlmColumn *c)
{
	const DlmRowOptions *o = job->options;
	int			g = gap_of(job, c);

	if (g < 0 && (c->dropped || job->nulls[c->attnum - 1] || (o->show && !dlm_is_listed(o->show, o->n_show, c->name))))
		return;
	append_label(out, job, c);
	if (g < 0)
		dlm_append_quoted(out, shown_value(c, job->values[c->attnum - 1]));
	else if (job->gap[g].held)
		dlm_append_quoted(out, job->gap[g].choice >= 0 ? c->values[job->gap[g].choice].shown : job->gap[g].utf8);
	else
		appendStringInfo(out, "[MASK:c%d:1-%d]", c->attnum, Max(job->gap[g].max_tokens, 1));
	appendStringInfoChar(out, '\n');
}

static void
append_lines(StringInfo out, const DlmRowJob *job)
{
	const DlmRowOptions *o = job->options;
	DlmRowType *t = job->type;

	for (int i = 0; i < o->n_order; i++)
		append_line(out, job, dlm_row_column(t, o->order[i]));
	/* the others: known ones before gaps, unless the table's order is wanted */
	for (int gaps = 0; gaps < 2; gaps++)
	{
		for (int i = 0; i < t->desc->natts; i++)
		{
			DlmColumn  *c = &t->columns[i];

			if (c->dropped || dlm_is_listed(o->order, o->n_order, c->name))
				continue;
			if (o->table_order ? gaps == 0 : (gap_of(job, c) >= 0) == (gaps == 1))
				append_line(out, job, c);
		}
	}
}

/* ------------------------------------------------------------------ request */

/* The gap's line behind a value that says nothing. */
static dlm_text
alone_text(const DlmRowJob *job, const DlmColumn *c)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "N/A\n");
	append_label(&text, job, c);
	return (dlm_text) {text.data, (size_t) text.len};
}

static void
set_rule(DlmRowJob *job, const DlmRowGap *gap, dlm_gap_rule *rule)
{
	DlmColumn  *c = gap->column;

	memset(rule, 0, sizeof(*rule));
	rule->gap.data = psprintf("c%d", c->attnum);
	rule->gap.len = strlen(rule->gap.data);
	if (gap->only.len > 0)
	{
		rule->choices = &gap->only;
		rule->n_choices = 1;
		return;
	}
	if (c->n_values > 0)
	{
		dlm_text   *choices = palloc(c->n_values * sizeof(dlm_text));

		for (int i = 0; i < c->n_values; i++)
			choices[i] = c->values[i].shown;
		rule->choices = choices;
		rule->n_choices = c->n_values;
		dlm_row_judge(job, gap, rule);
		if (!job->options->as_scored)
			rule->alone = alone_text(job, c);
		return;
	}
	if (c->pattern)
		rule->pattern = dlm_text_from_server(c->pattern, strlen(c->pattern));
	rule->reject = gap->reject;
	rule->n_reject = gap->n_reject;
}

void
dlm_row_request(DlmRowJob *job, dlm_request *out)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);
	StringInfoData text;
	dlm_gap_rule *rules = palloc(job->n_gaps * sizeof(dlm_gap_rule) + 1);

	initStringInfo(&text);
	if (job->options->title.len > 0)
	{
		dlm_append_quoted(&text, job->options->title);
		appendStringInfoChar(&text, '\n');
	}
	append_lines(&text, job);
	out->n_rules = 0;
	for (int g = 0; g < job->n_gaps; g++)
	{
		if (!job->gap[g].held)
			set_rule(job, &job->gap[g], &rules[out->n_rules++]);
	}
	out->input.data = text.data;
	out->input.len = text.len;
	out->rules = rules;
	out->tag = job;
	MemoryContextSwitchTo(before);
}
