/*
 * table_views.c - what a fill would write, what it can write, and its undoing.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "encoding.h"
#include "rights.h"
#include "row_job.h"
#include "table_fill.h"

PG_FUNCTION_INFO_V1(dlm_sql_infill_preview);
PG_FUNCTION_INFO_V1(dlm_sql_infill_columns);
PG_FUNCTION_INFO_V1(dlm_sql_infill_undo);

/* ------------------------------------------------------------------- preview */

/* The cells of a row: key, column, value, confidence. */
static void
put_cells(const DlmFill *f, const DlmFillRow *row, ReturnSetInfo *rsinfo)
{
	for (int i = 0; i < f->n_columns; i++)
	{
		JsonbValue	value;
		Datum		values[4];
		bool		nulls[4] = {false, false, false, false};
		Jsonb	   *cell;

		if (!dlm_json_find(row->cells, f->columns[i], &value) || value.type != jbvBinary)
			continue;
		cell = JsonbValueToJsonb(&value);
		values[0] = JsonbPGetDatum(dlm_fill_key_json(f, row->key));
		values[1] = DirectFunctionCall1(namein, CStringGetDatum(f->columns[i]));
		values[2] = CStringGetTextDatum(dlm_json_text(cell, "value"));
		values[3] = Float8GetDatum(dlm_json_number(cell, "confidence"));
		if (dlm_json_number(cell, "confidence") >= f->min_confidence)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* dlm_infill_preview(target regclass, columns name[], filter text, batch int, options jsonb, model text) returns table */
Datum
dlm_sql_infill_preview(PG_FUNCTION_ARGS)
{
	DlmFill    *f;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	f = dlm_fill_preview_arguments(PG_GETARG_OID(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1),
								   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
								   PG_ARGISNULL(3) ? 20 : PG_GETARG_INT32(3), PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
								   PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5)));
	foreach(cell, dlm_fill_read(f))
		put_cells(f, lfirst(cell), (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ------------------------------------------------------------------- columns */

/* What the catalog says of a column, in words. */
static char *
legal_values(const DlmColumn *c)
{
	if (c->n_values > 0)
		return psprintf("one of %d %s", c->n_values,
						c->by_reference ? "rows that it may refer to" : c->common ? "values that the table has" : "values");
	if (c->base == INT2OID || c->base == INT4OID || c->base == INT8OID)
		return psprintf("whole number from %.0f to %.0f", c->bounds.low, c->bounds.high);
	if (c->pattern)
		return psprintf("matches %s", c->pattern);
	return c->bounds.most_chars >= 0 ? psprintf("text of at most %d characters", c->bounds.most_chars) : pstrdup("text");
}

static Bitmapset *
key_columns(Oid table)
{
	Relation	rel = relation_open(table, AccessShareLock);
	Bitmapset  *columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	relation_close(rel, AccessShareLock);
	return columns;
}

/* Why dlm_infill_table fills nothing in a column, or NULL. */
static const char *
why_not(const DlmRowType *t, const DlmColumn *c, const Bitmapset *key)
{
	Form_pg_attribute att = TupleDescAttr(t->desc, c->attnum - 1);

	if (att->attisdropped)
		return NULL;
	if (c->computed)
		return att->attidentity ? "it is an identity" : "it is generated";
	if (bms_is_member(c->attnum - FirstLowInvalidHeapAttributeNumber, key))
		return "it is part of the primary key";
	if (att->attnotnull)
		return "it is NOT NULL, so it has no gaps";
	return c->unfillable;
}

/* dlm_infill_columns(target regclass) returns table ("column" name, fills boolean, legal text, choices text[], reason text) */
Datum
dlm_sql_infill_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DlmRowType *t;
	Bitmapset  *key;
	Oid			type = get_rel_type_id(PG_GETARG_OID(0));

	InitMaterializedSRF(fcinfo, 0);
	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" has no rows", get_rel_name(PG_GETARG_OID(0)))));
	t = dlm_row_type(type, -1);
	dlm_row_common_values(t, NULL);
	key = key_columns(t->relid);
	for (int i = 0; i < t->desc->natts; i++)
	{
		const DlmColumn *c = &t->columns[i];
		const char *reason = why_not(t, c, key);
		Datum		values[5] = {0};
		bool		nulls[5] = {false, false, true, true, true};

		if (c->dropped)
			continue;
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(c->name));
		values[1] = BoolGetDatum(reason == NULL);
		if (reason)
			values[4] = CStringGetTextDatum(reason);
		else
			values[2] = CStringGetTextDatum(legal_values(c));
		nulls[4] = reason == NULL;
		nulls[2] = reason != NULL;
		if (reason == NULL && c->n_values > 0)
		{
			Datum	   *texts = palloc(c->n_values * sizeof(Datum));

			for (int k = 0; k < c->n_values; k++)
				texts[k] = PointerGetDatum(dlm_text_to_server(c->values[k].shown));
			values[3] = PointerGetDatum(construct_array(texts, c->n_values, TEXTOID, -1, false, TYPALIGN_INT));
			nulls[3] = false;
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---------------------------------------------------------------------- undo */

/* A cell that a fill wrote, as its table of provenance has it. */
typedef struct Note
{
	Oid			table;
	Jsonb	   *key;
	char	   *column,
			   *value;
	ItemPointerData ctid;
} Note;

static List *
read_notes(const char *provenance, bool any_job, int64 job, MemoryContext context)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(job);
	List	   *notes = NIL;

	if (SPI_execute_with_args(psprintf("SELECT \"table\", key, \"column\", value, ctid FROM ONLY %s "
									   "WHERE written AND (\"table\", key, \"column\", value) IS NOT NULL%s ORDER BY at DESC FOR UPDATE",
									   provenance, any_job ? "" : " AND job_id OPERATOR(pg_catalog.=) $1"),
							  any_job ? 0 : 1, &type, &value, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read where values come from");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext before = MemoryContextSwitchTo(context);
		Note	   *note = palloc(sizeof(Note));
		bool		isnull;

		note->table = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		note->key = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 2, &isnull));
		note->column = SPI_getvalue(tuple, desc, 3);
		note->value = SPI_getvalue(tuple, desc, 4);
		note->ctid = *(ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 5, &isnull));
		notes = lappend(notes, note);
		MemoryContextSwitchTo(before);
	}
	return notes;
}

/* The base type of a column; InvalidOid: there is no such column. */
static Oid
type_of(Oid table, const char *column)
{
	AttrNumber	attnum = get_attnum(table, column);

	return attnum > 0 ? getBaseType(get_atttype(table, attnum)) : InvalidOid;
}

/* Notes are not a way to change what their keeper may not: whoever undoes them may be a superuser. */
static void
check_keeper(Oid provenance, const Note *note)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(provenance));
	Oid			keeper;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", provenance);
	keeper = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (!dlm_column_right(note->table, get_attnum(note->table, note->column), keeper, ACL_UPDATE))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\", which owns \"%s\", may not update column \"%s\" of \"%s\"", GetUserNameFromId(keeper, false),
						get_rel_name(provenance), note->column, get_rel_name(note->table))));
}

/* The cell is NULL again if it still holds what was written; the count of rows that were changed. */
static uint64
clear_cell(Oid provenance, const Note *note)
{
	StringInfoData command;
	JsonbIterator *iterator = JsonbIteratorInit(&note->key->root);
	JsonbIteratorToken token;
	JsonbValue	item;
	Oid			types[34];
	Datum		values[34];
	int			n = 1;
	char	   *name = get_rel_name(note->table);

	types[0] = name ? type_of(note->table, note->column) : InvalidOid;
	if (!OidIsValid(types[0]) || !JB_ROOT_IS_OBJECT(note->key) || JB_ROOT_COUNT(note->key) == 0)
		return 0;
	check_keeper(provenance, note);
	initStringInfo(&command);
	/* as rows, so that no type needs an operator; out of a domain the cast is no function */
	appendStringInfo(&command, "UPDATE %s SET %s = NULL WHERE CAST(ROW(CAST(%s AS %s)) AS pg_catalog.record) OPERATOR(pg_catalog.*=) "
					 "CAST(ROW($1) AS pg_catalog.record)",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(note->table)), name),
					 quote_identifier(note->column), quote_identifier(note->column),
					 format_type_extended(types[0], -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	values[0] = dlm_value_input(types[0], note->value);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char	   *column = pnstrdup(item.val.string.val, item.val.string.len);

			if (n == lengthof(types) || !OidIsValid(types[n] = type_of(note->table, column)))
				return 0;
			appendStringInfo(&command, " AND %s %s $%d", dlm_plain_column(types[n], quote_identifier(column)), dlm_operator(types[n], true), n + 1);
		}
		else if (token == WJB_VALUE)
		{
			if (item.type != jbvString)
				return 0;
			values[n] = dlm_value_input(types[n], dlm_json_value_text(&item));
			n++;
		}
	}
	if (dlm_fill_execute(note->table, command.data, n, types, values) != SPI_OK_UPDATE)
		elog(ERROR, "could not undo a cell");
	return SPI_processed;
}

/*
 * dlm_infill_undo(provenance regclass, job_id bigint) returns bigint: cells that still hold what the fill wrote are NULL
 * again, and their notes are gone; cells that were changed since stay, and so do their notes.
 */
Datum
dlm_sql_infill_undo(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *provenance;
	int64		cleared = 0;
	ListCell   *cell;
	Oid			type = TIDOID;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("dlm_infill_undo");
	dlm_fill_check_provenance(PG_GETARG_OID(0));
	provenance = dlm_relation_name(PG_GETARG_OID(0));
	SPI_connect();
	foreach(cell, read_notes(provenance, PG_ARGISNULL(1), PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1), context))
	{
		Note	   *note = lfirst(cell);
		Datum		value = PointerGetDatum(&note->ctid);

		CHECK_FOR_INTERRUPTS();
		if (clear_cell(PG_GETARG_OID(0), note) == 0)
			continue;
		cleared++;
		if (dlm_fill_execute(PG_GETARG_OID(0), psprintf("DELETE FROM ONLY %s WHERE ctid OPERATOR(pg_catalog.=) $1", provenance), 1,
							 &type, &value) != SPI_OK_DELETE)
			elog(ERROR, "could not forget an undone cell");
	}
	SPI_finish();
	PG_RETURN_INT64(cleared);
}
