/*
 * table_outliers.c - dlm_outliers: values that do not fit the rest of their rows.
 *
 * Of every row the column is made a gap again and the model is asked how
 * probable its value is there: of a closed set the probability among its
 * values, of any other the mean log-probability of its tokens.
 */
#include "dlm_pg.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "row_job.h"
#include "run.h"
#include "table_fill.h"

PG_FUNCTION_INFO_V1(dlm_sql_outliers);

#define BATCH		200
#define MOST_LISTED	10000

/* A value that is listed. */
typedef struct Odd
{
	char	  **key;
	char	   *value,
			   *expected;		/* NULL: not known */
	double		logprob;
} Odd;

typedef struct Search
{
	DlmFill    *f;
	DlmRowType *type;
	DlmRowOptions *options;
	DlmColumn  *column;
	MemoryContext context;		/* of what is listed */
	Odd		   *odd;			/* [n] the least probable first */
	int			n,
				most;
	/* the present batch */
	char	 ***keys;			/* [rows] */
	DlmRowJob **jobs;
} Search;

/* --------------------------------------------------------------------- list */

static void
list_value(Search *s, char **key, const DlmRowJob *job, const char *expected, double logprob)
{
	int			at = s->n;
	MemoryContext before;
	Odd			odd;
	Datum		value = job->values[s->column->attnum - 1];

	if (at == s->most && logprob >= s->odd[at - 1].logprob)
		return;
	before = MemoryContextSwitchTo(s->context);
	odd.key = palloc(s->f->n_key * sizeof(char *));
	for (int i = 0; i < s->f->n_key; i++)
		odd.key[i] = pstrdup(key[i]);
	odd.value = OutputFunctionCall(&s->column->output, value);
	odd.expected = expected ? pstrdup(expected) : NULL;
	odd.logprob = logprob;
	if (at == s->most)
		at--;
	else
		s->n++;
	for (; at > 0 && s->odd[at - 1].logprob > logprob; at--)
		s->odd[at] = s->odd[at - 1];
	s->odd[at] = odd;
	MemoryContextSwitchTo(before);
}

static void
take_score(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Search	   *s = arg;
	const DlmRowJob *job = s->jobs[row];
	const DlmRowGap *gap = &job->gap[0];

	if (result->n_gaps != 1)
		return;
	if (gap->choice < 0)
		list_value(s, s->keys[row], job, NULL, result->gaps[0].logprob);
	else
		list_value(s, s->keys[row], job, s->column->values[result->gaps[0].choice].input, log(result->gaps[0].choices[gap->choice]));
}

/* A value that the model cannot be asked about is none that it finds odd. */
static void
leave_out(DlmCall *call, int row, const dlm_error *error, void *arg)
{
}

/* -------------------------------------------------------------------- batches */

static char *
query_of(const DlmFill *f, const DlmColumn *column)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfoString(&command, "SELECT ");
	for (int i = 0; i < f->n_key; i++)
		appendStringInfo(&command, "\"dlm row\".%s, ", quote_identifier(f->key[i]));
	appendStringInfo(&command, "\"dlm row\" FROM %s AS \"dlm row\" WHERE \"dlm row\".%s IS NOT NULL", f->table,
					 quote_identifier(column->name));
	if (f->filter)
		appendStringInfo(&command, " AND (%s\n)", f->filter);
	return command.data;
}

static void
score_batch(Search *s, NullableDatum model)
{
	dlm_request request = {.task = DLM_INFILL, .options = &s->options->engine->engine};
	DlmArgs		args;
	DlmCall    *call;

	dlm_args_init(&args);
	args.model = model;
	call = dlm_call_open(DLM_INFILL, &args);
	s->options->engine->engine.forbidden = dlm_forbidden_tokens(call->model);
	s->keys = palloc(SPI_processed * sizeof(char **));
	s->jobs = palloc(SPI_processed * sizeof(DlmRowJob *));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		int			level = dlm_plain_formats();

		s->keys[i] = palloc(s->f->n_key * sizeof(char *));
		for (int k = 0; k < s->f->n_key; k++)
			s->keys[i][k] = SPI_getvalue(tuple, SPI_tuptable->tupdesc, k + 1);
		AtEOXact_GUC(true, level);
		s->jobs[i] = dlm_row_question(s->type, s->options, SPI_getbinval(tuple, SPI_tuptable->tupdesc, s->f->n_key + 1, &isnull),
									  s->column);
		if (s->jobs[i] == NULL)
			continue;
		dlm_row_request(s->jobs[i], &request);
		dlm_call_put(call, &request, (int) i, false);
	}
	dlm_run(call, take_score, leave_out, s);
	dlm_call_end(call);
}

static void
search(Search *s, NullableDatum model)
{
	SPIPlanPtr	plan;
	Portal		portal;

	SPI_connect();
	plan = SPI_prepare(query_of(s->f, s->column), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not read the rows of %s", s->f->table);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, BATCH);
		if (SPI_processed == 0)
			break;
		score_batch(s, model);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* ----------------------------------------------------------------- function */

static ArrayType *
one_name(Datum name)
{
	return construct_array(&name, 1, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR);
}

static void
begin(FunctionCallInfo fcinfo, Search *s)
{
	Jsonb	   *options = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	NullableDatum row_options = {0, false};

	s->most = PG_ARGISNULL(3) ? 20 : PG_GETARG_INT32(3);
	if (s->most < 1 || s->most > MOST_LISTED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be between 1 and %d", MOST_LISTED),
				 errdetail("The value is %d.", s->most)));
	s->f = dlm_fill_preview_arguments(PG_GETARG_OID(0), one_name(PG_GETARG_DATUM(1)),
									  PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), BATCH, options,
									  PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5)));
	row_options.value = DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(s->f->options), CStringGetTextDatum("columns"));
	s->options = dlm_row_options(row_options);
	s->type = dlm_row_type(get_rel_type_id(s->f->target), -1);
	dlm_row_customize(s->type, s->options);
	dlm_row_priors(s->type, s->options);
	s->column = dlm_row_column(s->type, s->f->columns[0]);
	s->context = CurrentMemoryContext;
	s->odd = palloc(s->most * sizeof(Odd));
}

/* dlm_outliers(target regclass, "column" name, filter text, max_rows int, options jsonb, model text) returns table */
Datum
dlm_sql_outliers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Search		s = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	begin(fcinfo, &s);
	search(&s, fcinfo->args[5]);
	for (int i = 0; i < s.n; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false, false, s.odd[i].expected == NULL, false};

		values[0] = JsonbPGetDatum(dlm_fill_key_json(s.f, s.odd[i].key));
		values[1] = CStringGetTextDatum(s.odd[i].value);
		values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(s.odd[i].expected);
		values[3] = Float8GetDatum(s.odd[i].logprob);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
