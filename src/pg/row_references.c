/*
 * row_references.c - the rows that a foreign key may refer to.
 *
 * Candidates are what the current user sees of the referenced table: the
 * values that are most frequent in the referring column come first (as ANALYZE
 * found them, if the user may read that), then the others in the order of the
 * key, up to a cap. Where the key is no text, the first text column of the
 * referenced table is what the model reads and writes for it, if it tells the
 * candidates apart: "country: France" for country_id = 33.
 */
#include "dlm_pg.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "encoding.h"
#include "rights.h"
#include "row_type.h"

typedef struct Reference
{
	Oid			table;
	AttrNumber	attnum;			/* of the key */
	char	   *key,
			   *shown;			/* column that is read for it, or NULL */
	Oid			type;			/* of the key, without domains */
} Reference;

/* The first column of a text type that is not the key. */
static char *
text_column(Relation rel, AttrNumber key)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			base = att->attisdropped ? InvalidOid : getBaseType(att->atttypid);

		if (att->attnum != key && (base == TEXTOID || base == VARCHAROID || base == BPCHAROID))
			return pstrdup(NameStr(att->attname));
	}
	return NULL;
}

static void
set_reference(Oid table, AttrNumber key, bool whole, Reference *out)
{
	Relation	other = relation_open(table, AccessShareLock);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(other), key - 1);

	out->table = table;
	out->key = pstrdup(NameStr(att->attname));
	out->attnum = att->attnum;
	out->type = getBaseType(att->atttypid);
	/* a part of a key is not what a row is known by */
	out->shown = !whole || TypeCategory(getBaseType(att->atttypid)) == TYPCATEGORY_STRING ? NULL : text_column(other, att->attnum);
	relation_close(other, AccessShareLock);
}

static bool
find_reference(const DlmRowType *t, const DlmColumn *c, Reference *out)
{
	Relation	rel = relation_open(t->relid, AccessShareLock);
	int			keys = INDEX_MAX_KEYS + 1;
	ListCell   *cell;

	/* the key with the fewest columns says most of this one */
	foreach(cell, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *key = lfirst(cell);
		int			at = 0;

		while (at < key->nkeys && key->conkey[at] != c->attnum)
			at++;
		if (at == key->nkeys || key->nkeys >= keys)
			continue;
		keys = key->nkeys;
		set_reference(key->confrelid, key->confkey[at], key->nkeys == 1, out);
	}
	relation_close(rel, AccessShareLock);
	return keys <= INDEX_MAX_KEYS;
}

/* ------------------------------------------------------------------ queries */

/* Add what the query found: key, text; those that are known already are left out. */
static void
add_rows(DlmColumn *c, MemoryContext context)
{
	for (uint64 i = 0; i < SPI_processed && c->n_values < DLM_CANDIDATES; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		char	   *key = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		char	   *shown = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
		bool		usable = key != NULL && key[0] != '\0';
		MemoryContext before;

		for (int k = 0; k < c->n_values && usable; k++)
			usable = strcmp(c->values[k].input, key) != 0;
		if (!usable)
			continue;
		before = MemoryContextSwitchTo(context);
		key = pstrdup(key);
		shown = shown && shown[0] != '\0' ? pstrdup(shown) : key;
		c->values[c->n_values].input = key;
		c->values[c->n_values++].shown = dlm_text_from_server(shown, strlen(shown));
		MemoryContextSwitchTo(before);
	}
}

static void
query(DlmColumn *c, MemoryContext context, const char *command, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(command, nargs, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the candidates of column \"%s\"", c->name);
	add_rows(c, context);
	SPI_freetuptable(SPI_tuptable);
}

/* The most common values of the column as an array of the key's type, most frequent first; false: none are known. */
static bool
frequent_values(const DlmRowType *t, const DlmColumn *c, const Reference *r, Oid *array, Datum *out)
{
	char	   *found = NULL;

	*array = dlm_value_is_plain(r->type) ? get_array_type(r->type) : InvalidOid;
	if (!OidIsValid(*array))
		return false;
	if (dlm_column_statistics(t, c, "most_common_vals", "AND NOT inherited"))
		found = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	SPI_freetuptable(SPI_tuptable);
	if (found == NULL)
		return false;
	*out = dlm_value_input(*array, found);
	return true;
}

/* Keys and texts are read as they are, their output functions make the text: casts belong to the owners of types. */
static void
read_candidates(const DlmRowType *t, DlmColumn *c, const Reference *r)
{
	StringInfoData command;
	const char *key = quote_identifier(r->key);
	const char *columns = r->shown ? psprintf("k.%s, k.%s", key, quote_identifier(r->shown)) : psprintf("k.%s, NULL", key);
	Oid			array;
	Datum		frequent;

	if (frequent_values(t, c, r, &array, &frequent))
	{
		initStringInfo(&command);
		appendStringInfo(&command, "SELECT %s FROM unnest($1) WITH ORDINALITY AS f(v, i), %s AS k WHERE %s %s f.v ORDER BY f.i LIMIT %d",
						 columns, dlm_relation_name(r->table), dlm_plain_column(r->type, psprintf("k.%s", key)), dlm_operator(r->type, true), DLM_CANDIDATES);
		query(c, t->context, command.data, 1, &array, &frequent);
	}
	initStringInfo(&command);
	appendStringInfo(&command, "SELECT DISTINCT ON (k.%s) %s FROM %s AS k WHERE k.%s IS NOT NULL ORDER BY k.%s LIMIT %d",
					 key, columns, dlm_relation_name(r->table), key, key, DLM_CANDIDATES);
	query(c, t->context, command.data, 0, NULL, NULL);
}

/* May the user read what the queries read? */
static bool
may_read(const Reference *r)
{
	return dlm_column_right(r->table, r->attnum, GetUserId(), ACL_SELECT) &&
		(r->shown == NULL || dlm_column_right(r->table, get_attnum(r->table, r->shown), GetUserId(), ACL_SELECT));
}

/* Are the texts shown for the candidates distinct? Else the keys themselves are shown. */
static void
settle_shown(DlmColumn *c)
{
	bool		distinct = true;

	for (int i = 0; i < c->n_values && distinct; i++)
	{
		for (int k = 0; k < i && distinct; k++)
			distinct = c->values[i].shown.len != c->values[k].shown.len ||
				memcmp(c->values[i].shown.data, c->values[k].shown.data, c->values[i].shown.len) != 0;
	}
	for (int i = 0; i < c->n_values && !distinct; i++)
		c->values[i].shown = dlm_text_from_server(c->values[i].input, strlen(c->values[i].input));
	c->by_reference = true;
	/* "country: France", not "country id: France" */
	if (distinct && c->n_values > 0 && c->values[0].shown.data != c->values[0].input && c->label.len > 3 &&
		memcmp(c->label.data + c->label.len - 3, " id", 3) == 0)
		c->label.len -= 3;
}

void
dlm_column_reference(const DlmRowType *t, DlmColumn *c)
{
	Reference	reference = {0};
	int			level;

	if (!find_reference(t, c, &reference))
		return;
	if (!may_read(&reference))
	{
		c->n_values = 0;
		c->unfillable = "you may not read the table that its foreign key refers to";
		return;
	}
	c->values = palloc(DLM_CANDIDATES * sizeof(DlmValue));
	c->n_values = 0;
	SPI_connect();
	level = dlm_plain_queries();
	read_candidates(t, c, &reference);
	AtEOXact_GUC(true, level);
	SPI_finish();
	if (c->n_values == 0)
		c->unfillable = "you see no row that its foreign key could refer to";
	else
		settle_shown(c);
}
