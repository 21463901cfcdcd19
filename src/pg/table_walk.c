/*
 * table_walk.c - the rows of a fill: a batch is one query, which computes too.
 *
 * The filter is the caller's SQL, and runs as the caller with the caller's
 * search path; names that are written here carry their schema.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "registry.h"
#include "row_type.h"
#include "table_fill.h"

/* The rows that have a gap, and that the filter takes. */
static void
append_condition(const DlmFill *f, StringInfo out)
{
	appendStringInfoString(out, " WHERE (");
	for (int i = 0; i < f->n_columns; i++)
		appendStringInfo(out, "%s\"dlm row\".%s IS NULL", i > 0 ? " OR " : "", quote_identifier(f->columns[i]));
	appendStringInfoChar(out, ')');
	/* on a line of its own: a comment at its end must not swallow what follows */
	if (f->filter)
		appendStringInfo(out, " AND (%s\n)", f->filter);
}

/* Behind the position; as one comparison of rows, which an index can answer, where the types have one operator in common. */
static void
append_position(const DlmFill *f, StringInfo out, int first)
{
	bool		common = true;

	for (int i = 1; i < f->n_key; i++)
		common = common && strcmp(dlm_operator(f->key_type[i], false), dlm_operator(f->key_type[0], false)) == 0;
	appendStringInfoString(out, common ? " AND ROW(" : " AND (");
	for (int i = 0; i < f->n_key && common; i++)
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "", dlm_fill_key_column(f, i));
	if (common)
		appendStringInfo(out, ") %s ROW(", dlm_operator(f->key_type[0], false));
	for (int i = 0; i < f->n_key && common; i++)
		appendStringInfo(out, "%s$%d", i > 0 ? ", " : "", first + i);
	for (int i = 0; i < f->n_key && !common; i++)
	{
		/* the columns before it are equal, and it is greater */
		appendStringInfoString(out, i > 0 ? " OR (" : "(");
		for (int k = 0; k < i; k++)
			appendStringInfo(out, "%s %s $%d AND ", dlm_fill_key_column(f, k), dlm_operator(f->key_type[k], true), first + k);
		appendStringInfo(out, "%s %s $%d)", dlm_fill_key_column(f, i), dlm_operator(f->key_type[i], false), first + i);
	}
	appendStringInfoChar(out, ')');
}

/* Nobody drops, renames or alters the table while a batch is read and written; its name is looked up again for each. */
void
dlm_fill_hold_table(DlmFill *f)
{
	LockRelationOid(f->target, AccessShareLock);
	if (get_rel_name(f->target) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s was dropped", f->table)));
	f->table = dlm_relation_name(f->target);
}

static char *
from_clause(const DlmFill *f)
{
	return psprintf(" FROM %s AS \"dlm row\"", f->table);
}

/*
 * The rows as they are by now: in the caller's own transaction what has been written there too, so that no unique value is
 * taken twice.
 */
static void
select_rows(const DlmFill *f, const char *command, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(command, nargs, types, values, nulls, f->commit, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the rows of a fill");
}

static int
put_key(const DlmFill *f, char **key, Oid *types, Datum *values, char *nulls, int first)
{
	memset(nulls + first, ' ', f->n_key);
	return dlm_fill_key_arguments(f, key, types, values, first);
}

int64
dlm_fill_count(const DlmFill *f)
{
	StringInfoData command;
	Oid			types[INDEX_MAX_KEYS];
	Datum		values[INDEX_MAX_KEYS];
	char		nulls[INDEX_MAX_KEYS];
	int			n = 0;
	bool		isnull;
	int64		rows;

	initStringInfo(&command);
	appendStringInfo(&command, "SELECT pg_catalog.count(*)%s", from_clause(f));
	append_condition(f, &command);
	if (f->position)
	{
		append_position(f, &command, 1);
		n = put_key(f, f->position, types, values, nulls, 0);
	}
	SPI_connect();
	select_rows(f, command.data, n, types, values, nulls);
	rows = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return rows;
}

/* The rows that the last query found: keys, the row, its cells. */
static List *
take_rows(const DlmFill *f, MemoryContext context)
{
	List	   *rows = NIL;
	TupleDesc	desc = SPI_tuptable->tupdesc;
	int			level = dlm_plain_formats();

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		MemoryContext before = MemoryContextSwitchTo(context);
		DlmFillRow *row = palloc0(sizeof(DlmFillRow));
		bool		isnull;

		row->key = palloc(f->n_key * sizeof(char *));
		for (int k = 0; k < f->n_key; k++)
			row->key[k] = SPI_getvalue(tuple, desc, k + 1);
		row->row = datumCopy(SPI_getbinval(tuple, desc, f->n_key + 1, &isnull), false, -1);
		row->cells = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, f->n_key + 2, &isnull));
		rows = lappend(rows, row);
		MemoryContextSwitchTo(before);
	}
	AtEOXact_GUC(true, level);
	return rows;
}

static List *
read_rows(DlmFill *f, char **key, bool one)
{
	MemoryContext context = CurrentMemoryContext;
	StringInfoData command;
	Oid			types[INDEX_MAX_KEYS + 2] = {JSONBOID, TEXTOID};
	Datum		values[INDEX_MAX_KEYS + 2];
	char		nulls[INDEX_MAX_KEYS + 2];
	int			n = 2;
	List	   *rows;

	values[0] = JsonbPGetDatum(f->options);
	nulls[0] = ' ';
	values[1] = f->model ? CStringGetTextDatum(f->model) : (Datum) 0;
	nulls[1] = f->model ? ' ' : 'n';
	initStringInfo(&command);
	appendStringInfoString(&command, "SELECT ");
	for (int i = 0; i < f->n_key; i++)
		appendStringInfo(&command, "\"dlm row\".%s, ", quote_identifier(f->key[i]));
	appendStringInfo(&command, "\"dlm row\", %s(\"dlm row\", $1, $2)%s",
					 quote_qualified_identifier(get_namespace_name(dlm_extension_schema()), "dlm_infill_cells"), from_clause(f));
	append_condition(f, &command);
	if (one)
	{
		appendStringInfoString(&command, " AND ");
		dlm_fill_key_condition(f, &command, 3);
	}
	else if (key)
		append_position(f, &command, 3);
	if (key)
		n = put_key(f, key, types, values, nulls, 2);
	for (int i = 0; i < f->n_key; i++)
		appendStringInfo(&command, "%s\"dlm row\".%s", i > 0 ? ", " : " ORDER BY ", quote_identifier(f->key[i]));
	appendStringInfo(&command, " LIMIT %d", f->batch);
	SPI_connect();
	select_rows(f, command.data, n, types, values, nulls);
	rows = take_rows(f, context);
	SPI_finish();
	return rows;
}

List *
dlm_fill_read(DlmFill *f)
{
	return read_rows(f, f->position, false);
}

List *
dlm_fill_read_key(DlmFill *f, char **key)
{
	return read_rows(f, key, true);
}
