/*
 * finetune_rows.c - the rows of dlm_finetune's queries, into the job's file.
 *
 * Columns are found by name. Their values are taken in their output form, so
 * that an enum or a number is a target as well as a text; labels are an array,
 * or a JSON array of strings. What one row alone cannot tell (a target longer
 * than the context, one label only) is the trainer's to say.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "encoding.h"
#include "finetune.h"
#include "job_files.h"

enum
{
	ROW_INSTRUCTION, ROW_INPUT, ROW_TARGET, ROW_LABELS, ROW_TEXT, N_ROW
};

static const char *const names[N_ROW] = {"instruction", "input", "target", "labels", "text"};

/* Where a query has the columns. */
typedef struct Columns
{
	const char *which;			/* "query", "validation_query" */
	int			at[N_ROW];		/* from 1; 0: not there */
	Oid			type[N_ROW];
	Oid			output[N_ROW];	/* of labels: of an element */
} Columns;

/* ------------------------------------------------------------------- columns */

static bool
text_rows(const DlmFinetune *f)
{
	return dlm_finetune_objective(f->objective) == DLM_OBJECTIVE_TEXT;
}

static int
expected_columns_hint(const DlmFinetune *f)
{
	if (text_rows(f))
		return errhint("With objective %s it has the column text.", f->objective);
	return errhint("With objective %s it has the columns target, input or instruction or both, and, if targets are labels, "
				   "labels (all labels of the row, an array).", f->objective);
}

static int
column_of_name(const char *name)
{
	for (int i = 0; i < N_ROW; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return i;
	}
	return -1;
}

/* How values of the column are read. */
static void
look_up_output(Columns *c, int column, Oid type)
{
	bool		varlena;
	Oid			base = getBaseType(type);

	c->type[column] = base;
	if (column == ROW_LABELS)
	{
		Oid			element = get_element_type(base);

		if (base == JSONOID || base == JSONBOID)
			return;
		if (!OidIsValid(element))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"labels\" of the %s is of type %s", c->which, format_type_be(type)),
					 errhint("It must be an array, or json or jsonb.")));
		base = element;
	}
	getTypeOutputInfo(base, &c->output[column], &varlena);
}

static void
find_columns(const DlmFinetune *f, TupleDesc desc, const char *which, Columns *c)
{
	bool		text = text_rows(f);

	memset(c, 0, sizeof(*c));
	c->which = which;
	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		int			column = column_of_name(name);

		if (column < 0 || (column == ROW_TEXT) != text)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the %s has a column \"%s\", which means nothing here", which, name),
					 expected_columns_hint(f)));
		if (c->at[column] != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the %s has the column \"%s\" twice", which, name)));
		c->at[column] = i + 1;
		look_up_output(c, column, TupleDescAttr(desc, i)->atttypid);
	}
	if (text ? c->at[ROW_TEXT] == 0 : c->at[ROW_TARGET] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the %s has no column \"%s\"", which, text ? "text" : "target"),
				 expected_columns_hint(f)));
	if (!text && c->at[ROW_INPUT] == 0 && c->at[ROW_INSTRUCTION] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the %s has no column \"input\" and no column \"instruction\"", which),
				 expected_columns_hint(f)));
}

static bool
changes(const Query *query)
{
	return query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL;
}

/* A plan of one SELECT, inside an SPI connection. */
static SPIPlanPtr
prepare(const DlmFinetune *f, const char *query, const char *which)
{
	SPIPlanPtr	plan = SPI_prepare(query, 0, NULL);
	List	   *sources;
	CachedPlanSource *source;

	if (plan == NULL)
		elog(ERROR, "could not prepare the %s: %s", which, SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	source = list_length(sources) == 1 ? linitial(sources) : NULL;
	if (source == NULL || source->commandTag != CMDTAG_SELECT || source->resultDesc == NULL ||
		changes(linitial_node(Query, source->query_list)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the %s must be one SELECT, which changes and locks nothing", which),
				 expected_columns_hint(f)));
	return plan;
}

static void
check_query(const DlmFinetune *f, const char *query, const char *which)
{
	Columns		columns;
	SPIPlanPtr	plan = prepare(f, query, which);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	find_columns(f, source->resultDesc, which, &columns);
	SPI_freeplan(plan);
}

void
dlm_finetune_check_queries(const DlmFinetune *f)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	check_query(f, f->query, "query");
	if (f->validation_query != NULL)
		check_query(f, f->validation_query, "validation_query");
	SPI_finish();
}

/* ---------------------------------------------------------------------- rows */

pg_noreturn static void
raise_row(const Columns *c, int64 row, int code, const char *what)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("row %lld of the %s %s", (long long) row, c->which, what)));
}

/* The output form of a column in UTF-8; data NULL: it is NULL, or not there. */
static dlm_text
value_of(const Columns *c, int column, HeapTuple tuple, TupleDesc desc)
{
	dlm_text	none = {0};
	bool		isnull;
	Datum		value;
	char	   *text;

	if (c->at[column] == 0)
		return none;
	value = SPI_getbinval(tuple, desc, c->at[column], &isnull);
	if (isnull)
		return none;
	text = OidOutputFunctionCall(c->output[column], value);
	return dlm_text_from_server(text, (int) strlen(text));
}

static void
labels_of_array(const Columns *c, Datum value, DlmSpoolRow *row)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Oid			element = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *elements;
	bool	   *nulls;

	get_typlenbyvalalign(element, &length, &by_value, &align);
	deconstruct_array(array, element, length, by_value, align, &elements, &nulls, &row->n_labels);
	row->labels = palloc0(Max(row->n_labels, 1) * sizeof(dlm_text));
	for (int i = 0; i < row->n_labels; i++)
	{
		char	   *text;

		if (nulls[i])
			raise_row(c, row->key, ERRCODE_NULL_VALUE_NOT_ALLOWED, "has a NULL among its labels");
		text = OidOutputFunctionCall(c->output[ROW_LABELS], elements[i]);
		row->labels[i] = dlm_text_from_server(text, (int) strlen(text));
	}
}

static void
labels_of_json(const Columns *c, Datum value, DlmSpoolRow *row)
{
	Jsonb	   *json;

	if (c->type[ROW_LABELS] == JSONOID)
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(value)));
	json = DatumGetJsonbP(value);
	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		raise_row(c, row->key, ERRCODE_INVALID_PARAMETER_VALUE, "has labels that are no JSON array");
	row->n_labels = (int) JB_ROOT_COUNT(json);
	row->labels = palloc0(Max(row->n_labels, 1) * sizeof(dlm_text));
	for (int i = 0; i < row->n_labels; i++)
	{
		JsonbValue *label = getIthJsonbValueFromContainer(&json->root, (uint32) i);

		if (label->type != jbvString)
			raise_row(c, row->key, ERRCODE_INVALID_PARAMETER_VALUE, "has a label that is no string");
		row->labels[i] = dlm_text_from_server(pnstrdup(label->val.string.val, label->val.string.len),
											  label->val.string.len);
	}
}

static void
read_labels(const Columns *c, HeapTuple tuple, TupleDesc desc, DlmSpoolRow *row)
{
	bool		isnull;
	Datum		value;

	if (c->at[ROW_LABELS] == 0)
		return;
	value = SPI_getbinval(tuple, desc, c->at[ROW_LABELS], &isnull);
	if (isnull)
		return;
	if (c->type[ROW_LABELS] == JSONOID || c->type[ROW_LABELS] == JSONBOID)
		labels_of_json(c, value, row);
	else
		labels_of_array(c, value, row);
}

static void
check_text(const Columns *c, int64 row, int column, dlm_text text)
{
	if (text.data == NULL)
		raise_row(c, row, ERRCODE_NULL_VALUE_NOT_ALLOWED, psprintf("has no %s: it is NULL", names[column]));
	if (text.len == 0)
		raise_row(c, row, ERRCODE_INVALID_PARAMETER_VALUE, psprintf("has an empty %s", names[column]));
}

static void
read_row(const Columns *c, HeapTuple tuple, TupleDesc desc, DlmSpoolRow *row)
{
	row->instruction = value_of(c, ROW_INSTRUCTION, tuple, desc);
	row->input = value_of(c, ROW_INPUT, tuple, desc);
	row->target = value_of(c, ROW_TARGET, tuple, desc);
	row->text = value_of(c, ROW_TEXT, tuple, desc);
	read_labels(c, tuple, desc, row);
	if (c->at[ROW_TEXT] != 0)
	{
		check_text(c, row->key, ROW_TEXT, row->text);
		return;
	}
	check_text(c, row->key, ROW_TARGET, row->target);
	if (row->instruction.data == NULL && row->input.data == NULL)
		raise_row(c, row->key, ERRCODE_NULL_VALUE_NOT_ALLOWED, "has neither input nor instruction");
}

/* Where an error of the query itself came up. */
typedef struct Place
{
	const char *which;
	int64		rows;
} Place;

static void
tell_place(void *arg)
{
	const Place *place = arg;

	errcontext("the %s of dlm_finetune, after %lld rows", place->which, (long long) place->rows);
}

/* Write the rows of a cursor, from the first to the last. */
static void
read_cursor(Portal portal, const Columns *columns, int source, DlmSpool *spool, Place *place)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "dlm row", ALLOCSET_DEFAULT_SIZES);

	for (SPI_cursor_fetch(portal, true, 1); SPI_processed > 0; SPI_cursor_fetch(portal, true, 1))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		DlmSpoolRow row = {0};

		CHECK_FOR_INTERRUPTS();
		row.source = source;
		row.key = place->rows + 1;
		read_row(columns, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &row);
		MemoryContextSwitchTo(old);
		dlm_spool_put(spool, &row);
		MemoryContextReset(row_context);
		SPI_freetuptable(SPI_tuptable);
		place->rows++;
		dlm_activity_scope_rows(spool->rows);
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextDelete(row_context);
}

/* Run one query to its end. Returns its rows. */
static int64
read_query(const DlmFinetune *f, const char *query, const char *which, int source, DlmSpool *spool)
{
	Place		place = {which, 0};
	ErrorContextCallback context = {error_context_stack, tell_place, &place};
	Columns		columns;
	Portal		portal;

	error_context_stack = &context;
	portal = SPI_cursor_open(NULL, prepare(f, query, which), NULL, NULL, true);
	find_columns(f, portal->tupDesc, which, &columns);
	read_cursor(portal, &columns, source, spool, &place);
	SPI_cursor_close(portal);
	error_context_stack = context.previous;
	if (place.rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the %s gives no rows", which)));
	return place.rows;
}

void
dlm_finetune_read_rows(DlmJob *job, DlmFinetune *f)
{
	DlmSpool	spool;
	int64		rows,
				validation_rows = 0;

	/* The subtransaction that this runs in takes it back. A query changes nothing, whatever functions it calls. */
	XactReadOnly = true;
	dlm_spool_create(&spool, job->id);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	rows = read_query(f, f->query, "query", 0, &spool);
	if (f->validation_query != NULL)
		validation_rows = read_query(f, f->validation_query, "validation_query", DLM_TRAIN_VALIDATION, &spool);
	SPI_finish();
	dlm_spool_finish(&spool);
	f->rows = rows;
	f->validation_rows = validation_rows;
}
