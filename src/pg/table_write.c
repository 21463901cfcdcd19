/*
 * table_write.c - writing a row of a fill.
 *
 * Each row is a subtransaction: what the table refuses (a trigger, a foreign
 * key that changed, row security) is that row's failure and no other's. The
 * UPDATE sets a cell only where the row is still the one that was computed on,
 * so what somebody else has written meanwhile is never overwritten.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"

#include "errors.h"
#include "rights.h"
#include "row_type.h"
#include "table_fill.h"

/* A cell to be written. */
typedef struct Cell
{
	int			column;			/* of the fill */
	char	   *value;
	double		confidence;
} Cell;

typedef enum Written { WRITTEN, NOT_THERE, TAKEN } Written;

typedef struct Writer
{
	DlmFill    *f;
	const DlmJob *job;
	DlmFillRow *row;
	Cell	   *sure,			/* [n_sure] */
			   *unsure;			/* [n_unsure] */
	int			n_sure,
				n_unsure;
	Written		outcome;
} Writer;

/* -------------------------------------------------------------------- cells */

static void
sort_cells(Writer *w)
{
	DlmFill    *f = w->f;

	w->sure = palloc(f->n_columns * sizeof(Cell));
	w->unsure = palloc(f->n_columns * sizeof(Cell));
	for (int i = 0; i < f->n_columns; i++)
	{
		JsonbValue	value;
		Jsonb	   *cell;
		Cell		c = {.column = i};

		if (!dlm_json_find(w->row->cells, f->columns[i], &value) || value.type != jbvBinary)
			continue;
		cell = JsonbValueToJsonb(&value);
		c.value = dlm_json_text(cell, "value");
		c.confidence = dlm_json_number(cell, "confidence");
		if (c.confidence >= f->min_confidence)
			w->sure[w->n_sure++] = c;
		else
			w->unsure[w->n_unsure++] = c;
	}
}

/* --------------------------------------------------------------- statements */

/* Lock the row without waiting; false: it is locked, or gone. */
static bool
lock_row(const Writer *w, int nargs, Oid *types, Datum *values)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfo(&command, "SELECT 1 FROM %s AS \"dlm row\" WHERE ", w->f->table);
	dlm_fill_key_condition(w->f, &command, 1);
	appendStringInfoString(&command, " FOR NO KEY UPDATE SKIP LOCKED");
	if (SPI_execute_with_args(command.data, nargs, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not lock a row of a fill");
	return SPI_processed > 0;
}

/* Deferred constraints are those of the row that breaks them: at COMMIT they would fail a whole batch. */
static void
check_at_once(void)
{
	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not have constraints checked at once");
}

/*
 * A statement that runs a table's triggers, checks and index expressions. They
 * belong to the table's owner; a caller who has all of that role's rights, and
 * more, runs it as that role in a security-restricted operation, so that a
 * superuser who fills a hostile table lends it nothing. Such an operation may
 * leave nothing for COMMIT.
 */
int
dlm_fill_execute(Oid relid, const char *command, int nargs, Oid *types, Datum *values)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner,
				user;
	int			security,
				level,
				result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&user, &security);
	if (dlm_role_of_code(owner) == user)
		return SPI_execute_with_args(command, nargs, types, values, NULL, false, 0);
	check_at_once();
	level = NewGUCNestLevel();
	SetUserIdAndSecContext(owner, security | SECURITY_RESTRICTED_OPERATION);
	result = SPI_execute_with_args(command, nargs, types, values, NULL, false, 0);
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, security);
	return result;
}

/* Set the cells where the row is as it was; false: it is not. */
static bool
update_row(const Writer *w, int n_key, Oid *types, Datum *values)
{
	const DlmFill *f = w->f;
	StringInfoData command;
	int			n = n_key;

	initStringInfo(&command);
	appendStringInfo(&command, "UPDATE %s AS \"dlm row\" SET ", f->table);
	for (int i = 0; i < w->n_sure; i++)
	{
		types[n] = f->column_type[w->sure[i].column];
		values[n] = dlm_value_input(types[n], w->sure[i].value);
		n++;
		appendStringInfo(&command, "%s%s = $%d", i > 0 ? ", " : "", quote_identifier(f->columns[w->sure[i].column]), n);
	}
	appendStringInfoString(&command, " WHERE ");
	dlm_fill_key_condition(f, &command, 1);
	types[n] = get_rel_type_id(f->target);
	values[n++] = w->row->row;
	appendStringInfo(&command, " AND \"dlm row\" OPERATOR(pg_catalog.*=) $%d", n);
	if (dlm_fill_execute(f->target, command.data, n, types, values) != SPI_OK_UPDATE)
		elog(ERROR, "could not write a row of a fill");
	return SPI_processed > 0;
}

static void
note_cell(const Writer *w, const Cell *cell, bool written)
{
	const DlmFill *f = w->f;
	Oid			types[] = {OIDOID, JSONBOID, NAMEOID, TEXTOID, FLOAT8OID, BOOLOID, TEXTOID, INT8OID};
	Datum		values[lengthof(types)];
	char	   *command;

	values[0] = ObjectIdGetDatum(f->target);
	values[1] = JsonbPGetDatum(dlm_fill_key_json(f, w->row->key));
	values[2] = DirectFunctionCall1(namein, CStringGetDatum(f->columns[cell->column]));
	values[3] = CStringGetTextDatum(cell->value);
	values[4] = Float8GetDatum(cell->confidence);
	values[5] = BoolGetDatum(written);
	values[6] = CStringGetTextDatum(f->digest);
	values[7] = Int64GetDatum(w->job->id);
	command = psprintf("INSERT INTO %s (\"table\", key, \"column\", value, confidence, written, digest, job_id) "
					   "VALUES (CAST($1 AS pg_catalog.regclass), $2, $3, $4, $5, $6, $7, $8)", f->provenance);
	if (dlm_fill_execute(f->provenance_oid, command, lengthof(types), types, values) != SPI_OK_INSERT)
		elog(ERROR, "could not write where values come from");
}

static void
write_row(void *arg)
{
	Writer	   *w = arg;
	DlmFill    *f = w->f;
	int			n = f->n_key;
	Oid		   *types = palloc((n + f->n_columns + 1) * sizeof(Oid));
	Datum	   *values = palloc((n + f->n_columns + 1) * sizeof(Datum));

	(void) dlm_fill_key_arguments(f, w->row->key, types, values, 0);
	SPI_connect();
	if (f->commit)
		check_at_once();
	w->outcome = WRITTEN;
	if (w->n_sure > 0 && (!lock_row(w, n, types, values) || !update_row(w, n, types, values)))
		w->outcome = NOT_THERE;
	for (int i = 0; f->provenance && w->outcome == WRITTEN && i < w->n_sure; i++)
		note_cell(w, &w->sure[i], true);
	for (int i = 0; f->provenance && w->outcome == WRITTEN && i < w->n_unsure; i++)
		note_cell(w, &w->unsure[i], false);
	SPI_finish();
}

/* ------------------------------------------------------------------- outcome */

/* False: the row failed, and its error is f->last_error; what ends the statement is raised. */
static bool
attempt(Writer *w, bool first)
{
	ErrorData  *error = dlm_subtransaction(write_row, w);
	int			category = error ? ERRCODE_TO_CATEGORY(error->sqlerrcode) : 0;

	if (error == NULL)
		return true;
	/* another row of the batch, or another session, was there first: the row is computed again, and sees it */
	if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && first)
	{
		FreeErrorData(error);
		w->outcome = TAKEN;
		return true;
	}
	if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_SYSTEM_ERROR ||
		category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		category == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
	{
		/* a right that one row's policy denies is that row's; one that the table denies is everyone's */
		if (error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE || strstr(error->message, "row-level security") == NULL)
			ReThrowError(error);
	}
	w->f->last_error = MemoryContextStrdup(w->job->context, error->message);
	FreeErrorData(error);
	return false;
}

static void
keep_for_later(DlmFill *f, const DlmJob *job, char **key)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);
	char	  **copy = palloc(f->n_key * sizeof(char *));

	for (int i = 0; i < f->n_key; i++)
		copy[i] = pstrdup(key[i]);
	f->again = lappend(f->again, copy);
	MemoryContextSwitchTo(before);
}

/* Count a row by what came of it. */
static void
count_row(Writer *w, bool done)
{
	DlmFill    *f = w->f;

	if (!done)
		f->counts.failed++;
	else if (w->outcome != WRITTEN)
		f->counts.skipped++;
	else if (w->n_sure == 0)
		f->counts.unsure++;
	else
		f->counts.written++;
}

/* Of rows that have been counted, nobody knows as what, only one that is written now is news. */
static void
count_late_row(Writer *w, bool done)
{
	DlmFill    *f = w->f;

	if (!done || w->outcome != WRITTEN)
		return;
	f->counts.written++;
	if (f->counts.skipped > 0)
		f->counts.skipped--;
	else
		f->counts.rows++;
}

void
dlm_fill_write(DlmFill *f, const DlmJob *job, DlmFillRow *row, bool again)
{
	Writer		w = {.f = f, .job = job, .row = row};
	bool		done;

	sort_cells(&w);
	if (!again && !f->late)
		f->counts.rows++;
	/* what is unsure has its note from the first visit */
	if (f->late && w.n_sure == 0)
		return;
	done = w.n_sure + w.n_unsure > 0;
	if (!done && f->last_error == NULL)
		f->last_error = MemoryContextStrdup(job->context, "no legal value was found");
	if (done)
		done = attempt(&w, !again);
	if (done && w.outcome != WRITTEN && !again)
		keep_for_later(f, job, row->key);
	if (done && w.outcome == WRITTEN)
		f->counts.cells += w.n_sure;
	if (f->late)
		count_late_row(&w, done);
	else
		count_row(&w, done);
}
