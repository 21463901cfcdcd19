/*
 * row_priors.c - how often the values of a closed set stand in the table.
 *
 * The model says how much better a value fits this row than no row at all; how
 * common the value is, the table knows. What ANALYZE found of a column, and
 * the current user may read in pg_stats, becomes the bias of its values: the
 * logarithm of their share among the known ones, as if each had been seen once
 * more in a table of at most MOST_ROWS rows, so that none is ruled out.
 */
#include "dlm_pg.h"

#include <math.h>

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "row_job.h"

#define MOST_ROWS	1000.0

/* The number of rows that ANALYZE found; less than 0: it was not there. */
static double
known_rows(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	double		rows = -1;

	if (!HeapTupleIsValid(tuple))
		return -1;
	rows = dlm_table_rows((Form_pg_class) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return rows;
}

/* Add the share of each common value; the sum of the shares. */
static double
take_shares(const DlmColumn *c, ArrayType *values, ArrayType *shares, double *share)
{
	Datum	   *value,
			   *number;
	int			n,
				n_numbers;
	double		sum = 0;

	deconstruct_array(values, TEXTOID, -1, false, TYPALIGN_INT, &value, NULL, &n);
	deconstruct_array(shares, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT, &number, NULL, &n_numbers);
	for (int i = 0; i < Min(n, n_numbers); i++)
	{
		char	   *common = TextDatumGetCString(value[i]);
		uint64		code = dlm_value_code(c->base, common);

		for (int k = 0; k < c->n_values; k++)
		{
			if (c->codes[k] != code)
				continue;
			share[k] = DatumGetFloat4(number[i]);
			sum += share[k];
			break;
		}
		pfree(common);
	}
	return sum;
}

/* From shares of all rows to the bias; what is not common shares the rest. */
static void
set_bias(DlmColumn *c, const double *share, double sum, double null_share, double rows)
{
	double		known = Max(1 - null_share, sum);
	double		n = Min(rows * known, MOST_ROWS);
	int			rare = 0;

	for (int k = 0; k < c->n_values; k++)
		rare += share[k] == 0;
	for (int k = 0; k < c->n_values; k++)
	{
		double		part = share[k] > 0 ? share[k] : (known - sum) / rare;

		c->bias[k] = log((part / known * n + 1) / (n + c->n_values));
	}
}

bool
dlm_column_statistics(const DlmRowType *t, const DlmColumn *c, const char *what, const char *rows)
{
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	char	   *command = psprintf("SELECT %s FROM pg_catalog.pg_stats WHERE schemaname = $1 AND tablename = $2 AND attname = $3 %s",
								   what, rows);

	values[0] = CStringGetTextDatum(get_namespace_name(get_rel_namespace(t->relid)));
	values[1] = CStringGetTextDatum(get_rel_name(t->relid));
	values[2] = CStringGetTextDatum(c->name);
	if (SPI_execute_with_args(command, 3, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the statistics of column \"%s\"", c->name);
	return SPI_processed > 0;
}

static void
read_shares(const DlmRowType *t, DlmColumn *c, double rows)
{
	double	   *share = palloc0(c->n_values * sizeof(double));
	bool		isnull[3];
	Datum		found[3];
	double		sum = 0;

	if (!dlm_column_statistics(t, c, "null_frac, most_common_vals::pg_catalog.text::pg_catalog.text[], most_common_freqs",
							   "ORDER BY inherited"))
		return;
	for (int i = 0; i < 3; i++)
		found[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull[i]);
	if (isnull[0] || DatumGetFloat4(found[0]) >= 1)
		return;
	c->codes = MemoryContextAlloc(t->context, c->n_values * sizeof(uint64));
	for (int k = 0; k < c->n_values; k++)
		c->codes[k] = dlm_value_code(c->base, c->values[k].input);
	if (!isnull[1] && !isnull[2])
		sum = take_shares(c, DatumGetArrayTypeP(found[1]), DatumGetArrayTypeP(found[2]), share);
	c->bias = MemoryContextAlloc(t->context, c->n_values * sizeof(double));
	set_bias(c, share, sum, DatumGetFloat4(found[0]), rows);
}

void
dlm_row_priors(DlmRowType *t, const DlmRowOptions *o)
{
	double		rows = t->table && o->prior != DLM_PRIOR_NONE ? known_rows(t->relid) : -1;
	bool		any = false;
	int			level;

	if (rows <= 0)
		return;
	SPI_connect();
	level = dlm_plain_queries();
	for (int i = 0; i < t->desc->natts; i++)
	{
		DlmColumn  *c = &t->columns[i];

		if (c->n_values > 1 && !c->computed && dlm_row_fills(o, c->name))
			read_shares(t, c, rows);
		any |= c->bias != NULL;
	}
	if (any && o->prior == DLM_PRIOR_ROWS)
		t->rows = rows;
	AtEOXact_GUC(true, level);
	SPI_finish();
}
