/*
 * table_args.c - what dlm_infill_table is asked for, and what its job remembers.
 */
#include "dlm_pg.h"

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "registry.h"
#include "rights.h"
#include "row_job.h"
#include "table_fill.h"

#define MOST_ROWS	100000			/* of a batch */

/* -------------------------------------------------------------------- table */

static void
check_kind(Relation rel)
{
	char		kind = rel->rd_rel->relkind;

	if (IsSystemRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" is a system catalog", RelationGetRelationName(rel))));
	if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is no table", RelationGetRelationName(rel)),
			 kind == RELKIND_VIEW || kind == RELKIND_MATVIEW ? errhint("Fill the table that it is a view of.") :
			 kind == RELKIND_FOREIGN_TABLE ? errhint("Fill it on the server where it lies.") : 0));
}

static void
find_key(DlmFill *f, Relation rel)
{
	Oid			index_oid;
	Relation	index;

	(void) RelationGetIndexList(rel);
	index_oid = rel->rd_pkindex;
	if (!OidIsValid(index_oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key", RelationGetRelationName(rel)),
				 errdetail("A fill walks a table in the order of its key, so that it can go on where it was stopped."),
				 errhint("ALTER TABLE %s ADD PRIMARY KEY (...).", f->table)));
	index = index_open(index_oid, AccessShareLock);
	f->n_key = index->rd_index->indnkeyatts;
	f->key = palloc(f->n_key * sizeof(char *));
	f->key_type = palloc(f->n_key * sizeof(Oid));
	for (int i = 0; i < f->n_key; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), index->rd_index->indkey.values[i] - 1);

		f->key[i] = pstrdup(NameStr(att->attname));
		f->key_type[i] = getBaseType(att->atttypid);
		if (!dlm_value_is_plain(f->key_type[i]))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("table \"%s\" has a primary key of type %s, along which it cannot be walked", RelationGetRelationName(rel),
							format_type_be(f->key_type[i]))));
	}
	index_close(index, AccessShareLock);
}

/* ------------------------------------------------------------------ columns */

static void
add_column(DlmFill *f, const DlmColumn *c)
{
	for (int i = 0; i < f->n_columns; i++)
	{
		if (strcmp(f->columns[i], c->name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is named twice", c->name)));
	}
	f->columns[f->n_columns] = c->name;
	f->column_type[f->n_columns++] = c->base;
}

static void
check_fillable(const DlmFill *f, const DlmColumn *c)
{
	if (dlm_is_listed(f->key, f->n_key, c->name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" is part of the primary key and cannot be filled", c->name)));
	if (c->computed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" is generated and cannot be filled", c->name)));
	if (c->unfillable)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of %s cannot be filled", c->name, f->table),
				 errdetail("Its type is %s: %s.", format_type_be(c->type), c->unfillable)));
}

/* The columns that are named, or all that can be filled; those that are NOT NULL have no gaps. */
static void
find_columns(DlmFill *f, const DlmRowType *t, ArrayType *names)
{
	Datum	   *values;
	bool	   *nulls;
	int			n = 0;

	if (names)
		deconstruct_array(names, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &values, &nulls, &n);
	f->columns = palloc(Max(n, t->desc->natts) * sizeof(char *) + 1);
	f->column_type = palloc(Max(n, t->desc->natts) * sizeof(Oid) + 1);
	for (int i = 0; i < n; i++)
	{
		const char *name = nulls[i] ? "" : NameStr(*DatumGetName(values[i]));
		const DlmColumn *c = dlm_row_column(t, name);

		if (c == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of %s does not exist", name, f->table)));
		check_fillable(f, c);
		add_column(f, c);
	}
	for (int i = 0; names == NULL && i < t->desc->natts; i++)
	{
		const DlmColumn *c = &t->columns[i];

		if (!c->dropped && !c->computed && c->unfillable == NULL && !TupleDescAttr(t->desc, i)->attnotnull &&
			!dlm_is_listed(f->key, f->n_key, c->name))
			add_column(f, c);
	}
	if (f->n_columns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no column that can be filled", f->table),
				 errhint("SELECT * FROM dlm_infill_columns('%s') says why.", f->table)));
}

/* Before the model works for hours: may the columns be written? */
static void
check_rights(const DlmFill *f)
{
	for (int i = 0; i < f->n_columns; i++)
	{
		if (!dlm_column_right(f->target, get_attnum(f->target, f->columns[i]), GetUserId(), ACL_UPDATE))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to update column \"%s\" of %s", f->columns[i], f->table)));
	}
}

/* ------------------------------------------------------------------- filter */

/* A syntax error is one of the filter, not of the statement that holds it. */
static void
in_filter(void *command)
{
	int			position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(command);
}

/*
 * The filter is one expression: what its query finds is taken for rows of the
 * table unseen, so it must not end the condition and go on with another query.
 */
static void
check_filter(const char *filter)
{
	char	   *command = psprintf("SELECT WHERE %s\n", filter);
	ErrorContextCallback callback = {error_context_stack, in_filter, command};
	List	   *parsed;
	SelectStmt *select = NULL;

	error_context_stack = &callback;
	parsed = dlm_raw_parser(command);
	error_context_stack = callback.previous;
	if (list_length(parsed) == 1 && IsA(linitial_node(RawStmt, parsed)->stmt, SelectStmt))
		select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (select == NULL || select->op != SETOP_NONE || select->whereClause == NULL || select->groupClause ||
		select->havingClause || select->windowClause || select->sortClause || select->limitOffset || select->limitCount || select->lockingClause)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("filter must be one condition"),
				 errdetail("It is \"%s\".", filter)));
}

/* ------------------------------------------------------------------ options */

static double
confidence_option(Jsonb *options)
{
	JsonbValue	value;
	double		p = 0;

	if (!dlm_json_find(options, "min_confidence", &value))
		return 0;
	if (value.type == jbvNumeric)
		p = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	if (value.type != jbvNumeric || !(p >= 0 && p <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"min_confidence\" must be a number between 0 and 1")));
	return p;
}

/* The table's name as it was written, quoted: it need not be there yet. */
static char *
provenance_option(Jsonb *options)
{
	JsonbValue	value;
	RangeVar   *name;
	Oid			relid;

	if (!dlm_json_find(options, "provenance", &value))
		return NULL;
	if (value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"provenance\" must be the name of a table")));
	name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(dlm_json_value_text(&value))));
	relid = RangeVarGetRelid(name, NoLock, true);
	return quote_qualified_identifier(get_namespace_name(OidIsValid(relid) ? get_rel_namespace(relid) :
														 RangeVarGetCreationNamespace(name)), name->relname);
}

void
dlm_fill_check_provenance(Oid relid)
{
	static const struct
	{
		const char *name;
		Oid			type;
	}			wanted[] = {
		{"table", REGCLASSOID}, {"key", JSONBOID}, {"column", NAMEOID}, {"value", TEXTOID}, {"confidence", FLOAT8OID},
		{"written", BOOLOID}, {"digest", TEXTOID}, {"job_id", INT8OID}, {"at", TIMESTAMPTZOID}
	};

	if (get_rel_relkind(relid) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is no table that can hold where values come from", get_rel_name(relid))));
	for (int i = 0; i < lengthof(wanted); i++)
	{
		AttrNumber	attnum = get_attnum(relid, wanted[i].name);

		if (attnum <= 0 || get_atttype(relid, attnum) != wanted[i].type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("table \"%s\" cannot hold where values come from", get_rel_name(relid)),
					 errdetail("It has no column \"%s\" of type %s.", wanted[i].name, format_type_be(wanted[i].type)),
					 errhint("Name a table that is not there yet: it is created.")));
	}
}

/* The keys of the fill itself are taken out; the rest is for dlm_infill_cells, with the columns and what an error does. */
static void
take_options(DlmFill *f, Jsonb *options)
{
	static const char *const own[] = {"min_confidence", "provenance", "commit", "columns", "on_error", "on_overflow"};
	StringInfoData ours;
	JsonbValue	value;
	Datum		rest;

	options = dlm_json_options(options);
	if (dlm_json_find(options, "columns", &value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"columns\" means nothing here"),
				 errhint("The columns are an argument of their own.")));
	f->min_confidence = confidence_option(options);
	f->provenance = provenance_option(options);
	f->commit = !dlm_json_find(options, "commit", &value) || dlm_json_bool_option(options, "commit");
	rest = JsonbPGetDatum(dlm_json_without(options, own, lengthof(own)));
	initStringInfo(&ours);
	dlm_json_add_names(&ours, "columns", f->columns, f->n_columns);
	dlm_json_add_text(&ours, "on_error", "null");
	dlm_json_add_text(&ours, "on_overflow", "null");
	f->options = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, rest, JsonbPGetDatum(dlm_json_end(&ours))));
}

/* ---------------------------------------------------------------- arguments */

static void
look_up_table(DlmFill *f, ArrayType *columns, Jsonb *options)
{
	Relation	rel;
	DlmRowType *t;
	NullableDatum row_options = {0, false};
	Oid			type;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(f->target)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %u does not exist", f->target)));
	rel = relation_open(f->target, AccessShareLock);
	f->table = dlm_relation_name(f->target);
	check_kind(rel);
	find_key(f, rel);
	type = rel->rd_rel->reltype;
	relation_close(rel, AccessShareLock);
	t = dlm_row_type(type, -1);
	/* choices and patterns of the options may make a column fillable */
	f->n_columns = 0;
	f->columns = NULL;
	take_options(f, options);
	row_options.value = DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(f->options), CStringGetTextDatum("columns"));
	dlm_row_customize(t, dlm_row_options(row_options));
	find_columns(f, t, columns);
	take_options(f, options);
}

DlmFill *
dlm_fill_preview_arguments(Oid target, ArrayType *columns, char *filter, int batch, Jsonb *options, char *model)
{
	DlmFill    *f = palloc0(sizeof(DlmFill));

	if (batch < 1 || batch > MOST_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be between 1 and %d", MOST_ROWS),
				 errdetail("The value is %d.", batch)));
	if (filter)
		check_filter(filter);
	f->target = target;
	f->filter = filter;
	f->batch = batch;
	f->model = model;
	look_up_table(f, columns, options);
	(void) dlm_registry_resolve(model);	/* an unknown model is refused before any work */
	return f;
}

DlmFill *
dlm_fill_arguments(Oid target, ArrayType *columns, char *filter, int batch, Jsonb *options, char *model)
{
	DlmFill    *f = dlm_fill_preview_arguments(target, columns, filter, batch, options, model);

	check_rights(f);
	return f;
}

/* ---------------------------------------------------------------------- job */

Jsonb *
dlm_fill_to_job(const DlmFill *f)
{
	StringInfoData json;

	initStringInfo(&json);
	dlm_json_add_int(&json, "target", f->target);
	dlm_json_add_names(&json, "columns", f->columns, f->n_columns);
	dlm_json_add_text(&json, "filter", f->filter);
	dlm_json_add_int(&json, "batch", f->batch);
	dlm_json_add_jsonb(&json, "options", f->options);
	dlm_json_add_text(&json, "model", f->model);
	dlm_json_add_float(&json, "min_confidence", f->min_confidence);
	dlm_json_add_text(&json, "provenance", f->provenance);
	dlm_json_add_bool(&json, "retrying", f->retrying);
	if (f->position)
		dlm_json_add_names(&json, "position", f->position, f->n_key);
	dlm_json_add_int(&json, "rows", f->counts.rows);
	dlm_json_add_int(&json, "written", f->counts.written);
	dlm_json_add_int(&json, "unsure", f->counts.unsure);
	dlm_json_add_int(&json, "skipped", f->counts.skipped);
	dlm_json_add_int(&json, "failed", f->counts.failed);
	dlm_json_add_int(&json, "cells", f->counts.cells);
	return dlm_json_end(&json);
}

static ArrayType *
name_array(char **names, int n)
{
	Datum	   *values = palloc(n * sizeof(Datum) + 1);

	for (int i = 0; i < n; i++)
		values[i] = DirectFunctionCall1(namein, CStringGetDatum(names[i]));
	return construct_array(values, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR);
}

DlmFill *
dlm_fill_from_job(const DlmJob *job)
{
	Jsonb	   *json = job->arguments;
	JsonbValue	options;
	StringInfoData given;
	int			n,
				n_position;
	char	  **columns = dlm_json_names(json, "columns", &n);
	char	   *provenance = dlm_json_text(json, "provenance");
	DlmFill    *f;

	if (columns == NULL || !dlm_json_find(json, "options", &options) || options.type != jbvBinary)
		elog(ERROR, "job %lld is not one of dlm_infill_table", (long long) job->id);
	initStringInfo(&given);
	dlm_json_add_float(&given, "min_confidence", dlm_json_number(json, "min_confidence"));
	if (provenance)
		dlm_json_add_text(&given, "provenance", provenance);
	f = dlm_fill_arguments((Oid) dlm_json_number(json, "target"), name_array(columns, n), dlm_json_text(json, "filter"),
						   (int) dlm_json_number(json, "batch"),
						   DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
															  DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(JsonbValueToJsonb(&options)),
																				  CStringGetTextDatum("columns")),
															  JsonbPGetDatum(dlm_json_end(&given)))),
						   dlm_json_text(json, "model"));
	f->retrying = dlm_json_bool(json, "retrying");
	f->position = dlm_json_names(json, "position", &n_position);
	if (n_position != f->n_key)
		f->position = NULL;
	f->counts.rows = (int64) dlm_json_number(json, "rows");
	f->counts.written = (int64) dlm_json_number(json, "written");
	f->counts.unsure = (int64) dlm_json_number(json, "unsure");
	f->counts.skipped = (int64) dlm_json_number(json, "skipped");
	f->forgotten = f->counts.skipped > 0;
	f->counts.failed = (int64) dlm_json_number(json, "failed");
	f->counts.cells = (int64) dlm_json_number(json, "cells");
	return f;
}

/* ---------------------------------------------------------------------- key */

char *
dlm_fill_key_column(const DlmFill *f, int i)
{
	return dlm_plain_column(f->key_type[i], psprintf("\"dlm row\".%s", quote_identifier(f->key[i])));
}

void
dlm_fill_key_condition(const DlmFill *f, StringInfo out, int first)
{
	for (int i = 0; i < f->n_key; i++)
		appendStringInfo(out, "%s%s %s $%d", i > 0 ? " AND " : "", dlm_fill_key_column(f, i),
						 dlm_operator(f->key_type[i], true), first + i);
}

int
dlm_fill_key_arguments(const DlmFill *f, char **key, Oid *types, Datum *values, int first)
{
	for (int i = 0; i < f->n_key; i++)
	{
		types[first + i] = f->key_type[i];
		values[first + i] = dlm_value_input(f->key_type[i], key[i]);
	}
	return first + f->n_key;
}

Jsonb *
dlm_fill_key_json(const DlmFill *f, char **key)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < f->n_key; i++)
		dlm_json_add_text(&json, f->key[i], key[i]);
	return dlm_json_end(&json);
}
