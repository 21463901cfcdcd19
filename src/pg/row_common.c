/*
 * row_common.c - texts, numbers and dates that are one of few.
 *
 * Many a column of type text holds a kind, a brand, a town, and many a number
 * is a size that things come in: nothing says so but its values. Where those that ANALYZE calls common are nearly all that there
 * are, and it has found each ten times on average (then it gives the number of
 * distinct values, not their share of the rows), a gap of that column takes
 * one of them. They are what the current user may read in pg_stats.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "encoding.h"
#include "row_job.h"

#define MOST_VALUES	100			/* of a column; each is scored */
#define MOST_BYTES	200			/* of a value, on average */
#define LEAST_SHARE	0.95		/* of the known rows that have one of them */

/* A number of a key tells rows apart: one that other rows have is no candidate. */
static bool
is_of_key(const DlmRowType *t, const DlmColumn *c)
{
	ListCell   *cell;

	foreach(cell, t->keys)
	{
		const DlmRowKey *key = lfirst(cell);

		for (int i = 0; i < key->n && key->unique; i++)
		{
			if (key->attnum[i] == c->attnum)
				return true;
		}
	}
	return false;
}

/* May the column hold one of few? Not where its values are known already, or the options give it a rule. */
static bool
is_open(const DlmRowType *t, const DlmColumn *c, const DlmRowOptions *o)
{
	if (c->dropped || c->computed || c->unfillable || c->values || (o && dlm_row_rule(o, c->name)))
		return false;
	switch (c->base)
	{
		case TEXTOID:
		case VARCHAROID:
			return c->pattern == NULL;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case DATEOID:
			return !is_of_key(t, c);
		default:
			return false;
	}
}

static void
set_values(DlmColumn *c, MemoryContext context, ArrayType *values)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Datum	   *value;
	int			n;

	deconstruct_array(values, TEXTOID, -1, false, TYPALIGN_INT, &value, NULL, &n);
	c->values = palloc(Max(n, 1) * sizeof(DlmValue));
	for (int i = 0; i < n; i++)
	{
		char	   *input = TextDatumGetCString(value[i]);

		if (input[0] == '\0')
			continue;
		c->values[c->n_values].shown = dlm_text_from_server(input, strlen(input));
		c->values[c->n_values++].input = input;
	}
	c->common = true;
	dlm_column_exclude(c);
	MemoryContextSwitchTo(old);
}

void
dlm_row_common_values(DlmRowType *t, const DlmRowOptions *o)
{
	int			level;

	if (!t->table || (o && o->any_text))
		return;
	SPI_connect();
	level = dlm_plain_queries();
	for (int i = 0; i < t->desc->natts; i++)
	{
		DlmColumn  *c = &t->columns[i];

		if (!is_open(t, c, o) || !dlm_row_fills(o, c->name))
			continue;
		if (dlm_column_statistics(t, c, "most_common_vals::pg_catalog.text::pg_catalog.text[]",
								  psprintf("AND n_distinct > 0 AND pg_catalog.cardinality(most_common_freqs) BETWEEN 2 AND %d "
										   "AND pg_catalog.octet_length(most_common_vals::pg_catalog.text) <= "
										   "pg_catalog.cardinality(most_common_freqs) * %d "
										   "AND (SELECT pg_catalog.sum(f) FROM pg_catalog.unnest(most_common_freqs) AS f) >= %g * (1 - null_frac) "
										   "ORDER BY inherited", MOST_VALUES, MOST_BYTES, LEAST_SHARE)))
		{
			bool		isnull;
			Datum		found = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

			if (!isnull)
				set_values(c, t->context, DatumGetArrayTypeP(found));
		}
	}
	AtEOXact_GUC(true, level);
	SPI_finish();
}
