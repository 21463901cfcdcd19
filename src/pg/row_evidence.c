/*
 * row_evidence.c - what the other rows of the table say of a gap.
 *
 * About MOST_ROWS rows are read, as the current user sees them. A column whose
 * value w in the row at hand stands in n(w) of them, in n(v, w) beside the
 * value v of a closed set, adds to the score of v
 *
 *		log (n(v, w) + FRESH p(v)) / ((n(w) + FRESH) p(v))
 *
 * where p(v) is the share of v in the rows that have the column: naive Bayes,
 * with FRESH more rows that have w and no opinion. Having been seen once beside
 * v says little, always being there says much, a value that no other row has
 * says nothing. This and the column's own bias (row_priors.c) are the bias of
 * v. The model adds what it reads in the row, which no count can know. Gaps
 * that have been filled are no witnesses: what they say has been concluded
 * from the same columns (bench/infill has the figures).
 *
 * Values are compared as texts, those of types without code of the table's
 * owner alone; rows are sampled by blocks, the same ones each time.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "rights.h"
#include "row_job.h"

#define MOST_ROWS		5000		/* of the table that are looked at, about */
#define MOST_READ		(4 * MOST_ROWS) /* ... however many more the table has than ANALYZE found */
#define MOST_COLUMNS	100
#define MOST_BYTES		200			/* of a value; longer ones are texts that say nothing by being equal */
#define FRESH			5.0
#define TRUST			0.3			/* the model has read the same columns: most of what it says is known already (bench/infill) */

struct DlmEvidence
{
	int			n;				/* rows that were read */
	uint64	  **code;			/* [natts] what stands in the column [n], 0: NULL; NULL: the column is not compared */
	int		  **choice;			/* [natts] of a closed set: number of the row's value [n], -1: none; NULL: another column */
};

static uint64
code_of(const DlmColumn *c, const char *text)
{
	return strlen(text) <= MOST_BYTES ? dlm_value_code(c->base, text) : 0;
}

/* ------------------------------------------------------- tables and columns */

/* Has this member of the table's tree rows that a sample can be taken of, here and now? */
static bool
can_sample(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;
	bool		can;

	if (!HeapTupleIsValid(tuple))
		return false;
	class = (Form_pg_class) GETSTRUCT(tuple);
	can = class->relkind == RELKIND_PARTITIONED_TABLE ||
		((class->relkind == RELKIND_RELATION || class->relkind == RELKIND_MATVIEW) && class->relam == HEAP_TABLE_AM_OID &&
		 !(class->relpersistence == RELPERSISTENCE_UNLOGGED && RecoveryInProgress()));
	ReleaseSysCache(tuple);
	return can;
}

/*
 * Foreign partitions would be read whole, over the owner's connection. A sample of a table is a lock of all of it under
 * SERIALIZABLE, and would let fills of different rows fail each other.
 */
static bool
may_sample(const DlmRowType *t)
{
	ListCell   *cell;

	if (IsolationIsSerializable() || dlm_schema_aclcheck(get_rel_namespace(t->relid), GetUserId()) != ACLCHECK_OK)
		return false;
	foreach(cell, find_all_inheritors(t->relid, NoLock, NULL))
	{
		if (!can_sample(lfirst_oid(cell)))
			return false;
	}
	return true;
}

/* Generated columns say again what others say. */
static bool
is_compared(const DlmRowType *t, const DlmColumn *c)
{
	return !c->dropped && !c->computed && dlm_value_is_plain(c->base) &&
		dlm_column_right(t->relid, c->attnum, GetUserId(), ACL_SELECT);
}

/* The columns that are compared to at [MOST_COLUMNS], those with closed sets first; their number. */
static int
compared_columns(const DlmRowType *t, int *at)
{
	int			n = 0;

	for (int closed = 1; closed >= 0; closed--)
	{
		for (int i = 0; i < t->desc->natts && n < MOST_COLUMNS; i++)
		{
			if ((t->columns[i].bias != NULL) == closed && is_compared(t, &t->columns[i]))
				at[n++] = i;
		}
	}
	return n;
}

/* -------------------------------------------------------------------- rows */

/* Long values are passed over without being read. */
static char *
query_of(const DlmRowType *t, const int *at, int n)
{
	double		percent = Min(100.0 * MOST_ROWS / t->rows, 100.0);
	StringInfoData sql;

	initStringInfo(&sql);
	for (int k = 0; k < n; k++)
	{
		const DlmColumn *c = &t->columns[at[k]];
		const char *name = quote_identifier(c->name);

		appendStringInfoString(&sql, k == 0 ? "SELECT " : ", ");
		if (get_typlen(c->base) == -1)
			appendStringInfo(&sql, "CASE WHEN pg_catalog.pg_column_size(r.%s) <= %d THEN r.%s END", name, MOST_BYTES + VARHDRSZ, name);
		else
			appendStringInfo(&sql, "r.%s", name);
	}
	appendStringInfo(&sql, " FROM %s AS r TABLESAMPLE pg_catalog.system (%.9f) REPEATABLE (0)", dlm_relation_name(t->relid), percent);
	return sql.data;
}

static void
take_column(const DlmRowType *t, struct DlmEvidence *e, int at, int column)
{
	DlmColumn  *c = &t->columns[at];
	MemoryContext short_lived = AllocSetContextCreate(CurrentMemoryContext, "dlm evidence", ALLOCSET_DEFAULT_SIZES);

	e->code[at] = MemoryContextAllocZero(t->context, Max(e->n, 1) * sizeof(uint64));
	for (int r = 0; r < e->n; r++)
	{
		MemoryContext before = MemoryContextSwitchTo(short_lived);
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[r], SPI_tuptable->tupdesc, column, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			e->code[at][r] = code_of(c, OutputFunctionCall(&c->output, value));
		MemoryContextSwitchTo(before);
		MemoryContextReset(short_lived);
	}
	MemoryContextDelete(short_lived);
}

/* Which value of its closed set each row has. */
static int *
choices_of(const DlmRowType *t, const DlmColumn *c, const uint64 *code, int n)
{
	int		   *choice = MemoryContextAlloc(t->context, Max(n, 1) * sizeof(int));

	memset(choice, -1, Max(n, 1) * sizeof(int));
	for (int k = 0; k < c->n_values; k++)
	{
		for (int r = 0; r < n; r++)
		{
			if (code[r] == c->codes[k])
				choice[r] = k;
		}
	}
	return choice;
}

static void
read_rows(const DlmRowType *t, struct DlmEvidence *e)
{
	int			at[MOST_COLUMNS];
	int			n = compared_columns(t, at);

	if (n == 0 || SPI_execute(query_of(t, at, n), true, MOST_READ) != SPI_OK_SELECT)
		return;
	e->n = (int) SPI_processed;
	for (int k = 0; k < n; k++)
	{
		const DlmColumn *c = &t->columns[at[k]];

		/* the table is locked since its columns were looked up; a type is not */
		if (getBaseType(SPI_gettypeid(SPI_tuptable->tupdesc, k + 1)) != c->base)
			continue;
		take_column(t, e, at[k], k + 1);
		if (c->bias)
			e->choice[at[k]] = choices_of(t, c, e->code[at[k]], e->n);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The evidence of a row type, read when it is first asked for. */
static const struct DlmEvidence *
evidence_of(DlmRowType *t)
{
	struct DlmEvidence *e = t->evidence;
	int			level;

	if (e != NULL || t->rows <= 0)
		return e;
	e = MemoryContextAllocZero(t->context, sizeof(*e));
	e->code = MemoryContextAllocZero(t->context, t->desc->natts * sizeof(uint64 *));
	e->choice = MemoryContextAllocZero(t->context, t->desc->natts * sizeof(int *));
	if (may_sample(t))
	{
		SPI_connect();
		level = dlm_plain_queries();
		read_rows(t, e);
		AtEOXact_GUC(true, level);
		SPI_finish();
	}
	t->evidence = e;
	return e;
}

/* -------------------------------------------------------------------- a gap */

/* What the row has in the columns that are compared, 0: nothing that is known. */
static const uint64 *
codes_in_row(DlmRowJob *job, const struct DlmEvidence *e)
{
	const DlmRowType *t = job->type;

	if (job->code)
		return job->code;
	job->code = palloc0(t->desc->natts * sizeof(uint64));
	for (int i = 0; i < t->desc->natts; i++)
	{
		DlmColumn  *c = &t->columns[i];
		char	   *text;

		if (e->code[i] == NULL || job->nulls[i] ||
			(get_typlen(c->base) == -1 && toast_raw_datum_size(job->values[i]) > MOST_BYTES + VARHDRSZ))
			continue;
		text = dlm_value_output(&c->output, job->values[i]);
		job->code[i] = code_of(c, text);
		pfree(text);
	}
	return job->code;
}

/* A row that is like the one at hand in every column and has this value: it is that row, which is no witness of itself. -1: none */
static int
row_itself(const struct DlmEvidence *e, const uint64 *code, int natts, int column, int choice)
{
	for (int r = 0; r < e->n; r++)
	{
		bool		same = e->choice[column][r] == choice;

		for (int i = 0; i < natts && same; i++)
			same = e->code[i] == NULL || i == column || e->code[i][r] == code[i];
		if (same)
			return r;
	}
	return -1;
}

/* How often each value of a closed set stands in the rows that have anything in a column, and in those that have what the row has. */
typedef struct Counts
{
	int		   *all,			/* [n_values] */
			   *beside;
	int			n_all,			/* their sums */
				n_beside;
} Counts;

/* Of all rows but one. */
static void
count(const struct DlmEvidence *e, const int *choice, const uint64 *column, uint64 code, int but, int n_values, Counts *out)
{
	memset(out->all, 0, n_values * sizeof(int));
	memset(out->beside, 0, n_values * sizeof(int));
	out->n_all = out->n_beside = 0;
	for (int r = 0; r < e->n; r++)
	{
		if (choice[r] < 0 || r == but || column[r] == 0)
			continue;
		out->all[choice[r]]++;
		out->n_all++;
		if (column[r] != code)
			continue;
		out->beside[choice[r]]++;
		out->n_beside++;
	}
}

/* Add to the bias [n_values] what the row's known columns say; how many of them say anything. */
static int
hear(DlmRowJob *job, const DlmRowGap *gap, const struct DlmEvidence *e, double *bias)
{
	const DlmRowOptions *o = job->options;
	const DlmColumn *c = gap->column;
	int			own = c->attnum - 1,
				natts = job->type->desc->natts;
	const uint64 *code = codes_in_row(job, e);
	int			itself = job->asked ? row_itself(e, code, natts, own, gap->choice) : -1;
	Counts		counts = {.all = palloc(c->n_values * sizeof(int)), .beside = palloc(c->n_values * sizeof(int))};
	int			witnesses = 0;

	for (int i = 0; i < natts; i++)
	{
		if (i == own || code[i] == 0 || (o->show && !dlm_is_listed(o->show, o->n_show, job->type->columns[i].name)))
			continue;
		count(e, e->choice[own], e->code[i], code[i], itself, c->n_values, &counts);
		witnesses += counts.n_beside > 0;
		for (int k = 0; k < c->n_values && counts.n_beside > 0; k++)
		{
			double		p = (counts.all[k] + 1.0) / (counts.n_all + c->n_values);

			bias[k] += log((counts.beside[k] + FRESH * p) / ((counts.n_beside + FRESH) * p));
		}
	}
	pfree(counts.all);
	pfree(counts.beside);
	return witnesses;
}

void
dlm_row_judge(DlmRowJob *job, const DlmRowGap *gap, dlm_gap_rule *rule)
{
	const DlmColumn *c = gap->column;
	const struct DlmEvidence *e = c->bias ? evidence_of(job->type) : NULL;
	double	   *bias;

	rule->bias = c->bias;
	if (e == NULL || e->choice[c->attnum - 1] == NULL)
		return;
	rule->bias = bias = palloc(c->n_values * sizeof(double));
	memcpy(bias, c->bias, c->n_values * sizeof(double));
	if (hear(job, gap, e, bias) > 0)
		rule->trust = TRUST;
}
