/*
 * row_keys.c - what other rows have to say of a row: keys that it must refer
 * to, and unique keys that it must not repeat.
 *
 * A foreign key of one column is a closed set of that column
 * (row_references.c). One of several columns, and a unique index, are a query
 * over the filled row, with the rights of the caller: it says nothing of rows
 * that he may not read. It sees what the statement sees; two rows that are
 * filled by one statement do not see each other, and where both take the same
 * value the table says so when it is written.
 */
#include "dlm_pg.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "rights.h"
#include "row_job.h"

static Oid
schema_of_operator(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	Oid			schema = HeapTupleIsValid(tuple) ? ((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace : InvalidOid;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return schema;
}

/* May the current user look rows up by the column, with the operator of its type? */
static bool
may_ask(Oid table, AttrNumber attnum)
{
	TypeCacheEntry *type = lookup_type_cache(getBaseType(get_atttype(table, attnum)), TYPECACHE_EQ_OPR);

	return OidIsValid(type->eq_opr) && dlm_schema_aclcheck(schema_of_operator(type->eq_opr), GetUserId()) == ACLCHECK_OK &&
		dlm_schema_aclcheck(get_rel_namespace(table), GetUserId()) == ACLCHECK_OK &&
		dlm_column_right(table, attnum, GetUserId(), ACL_SELECT);
}

/* "column = $n" for a column of the row, and the one of the table that is asked which it is compared with. */
static void
add_column(DlmRowKey *key, StringInfo exists, AttrNumber attnum, Oid table, AttrNumber asked)
{
	Oid			type = getBaseType(get_atttype(table, asked));

	key->attnum[key->n_args++] = attnum;
	appendStringInfo(exists, "%s %s $%d", dlm_plain_column(type, quote_identifier(get_attname(table, asked, false))),
					 dlm_operator(type, true), key->n_args);
}

/* The condition that the key's columns, of the row and of the table that is asked, are equal. */
static DlmRowKey *
new_key(const char *name, bool unique, const AttrNumber *columns, Oid table, const AttrNumber *asked, int n, StringInfo exists)
{
	DlmRowKey  *key = palloc0(sizeof(DlmRowKey));

	key->name = pstrdup(name);
	key->unique = unique;
	initStringInfo(exists);
	/* children have keys of their own, partitions none */
	appendStringInfo(exists, "SELECT 1 FROM %s%s WHERE ", get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 dlm_relation_name(table));
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(exists, i > 0 ? " AND " : "");
		add_column(key, exists, columns[i], table, asked[i]);
	}
	key->n = n;
	return key;
}

static bool
may_ask_all(Oid table, const AttrNumber *asked, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (!may_ask(table, asked[i]))
			return false;
	}
	return true;
}

static void
add_foreign_keys(DlmRowType *t, Relation rel)
{
	ListCell   *cell;

	foreach(cell, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *foreign = lfirst(cell);
		StringInfoData exists;
		DlmRowKey  *key;

		if (foreign->nkeys < 2 || !may_ask_all(foreign->confrelid, foreign->confkey, foreign->nkeys))
			continue;
		key = new_key(get_constraint_name(foreign->conoid), false, foreign->conkey, foreign->confrelid, foreign->confkey, foreign->nkeys, &exists);
		key->exists = exists.data;
		t->keys = lappend(t->keys, key);
	}
}

/* ------------------------------------------------------------------- unique */

/* Does a column of an index hold the column's own values, equal where their type says so? */
static bool
is_plain_column(Relation rel, Relation index, int i)
{
	AttrNumber	attnum = index->rd_index->indkey.values[i];
	Form_pg_attribute att;
	TypeCacheEntry *type;

	if (attnum <= 0)
		return false;
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	type = lookup_type_cache(getBaseType(att->atttypid), TYPECACHE_EQ_OPR);
	return att->attgenerated == '\0' && index->rd_indcollation[i] == att->attcollation && OidIsValid(type->eq_opr) &&
		get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i], index->rd_opcintype[i], BTEqualStrategyNumber) == type->eq_opr;
}

/*
 * Does the index say of columns alone, and of all rows, that no two are equal? What one with expressions, a condition or
 * an equality of its own says, the table alone knows; what is generated is not known yet.
 */
static bool
is_plain_unique(Relation rel, Relation index)
{
	bool		plain = index->rd_index->indisunique && index->rd_index->indisvalid && index->rd_rel->relam == BTREE_AM_OID &&
		RelationGetIndexPredicate(index) == NIL;

	/* partitioned indexes have a btree's columns, too */
	for (int i = 0; i < index->rd_index->indnkeyatts && plain; i++)
		plain = is_plain_column(rel, index, i);
	return plain;
}

/* "and it is another row than this one", by the primary key; a row that has none yet is no row of the table. */
static void
add_other_row(DlmRowKey *key, StringInfo exists, Oid table, const AttrNumber *primary, int n)
{
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(exists, i > 0 ? " AND " : " AND (");
		add_column(key, exists, primary[i], table, primary[i]);
	}
	appendStringInfoString(exists, n > 0 ? ") IS NOT TRUE" : "");
}

static void
add_unique_key(DlmRowType *t, Relation index, const AttrNumber *primary, int n_primary)
{
	const AttrNumber *columns = index->rd_index->indkey.values;
	int			n = index->rd_index->indnkeyatts;
	StringInfoData exists;
	DlmRowKey  *key;

	if (!may_ask_all(t->relid, columns, n))
		return;
	key = new_key(RelationGetRelationName(index), true, columns, t->relid, columns, n, &exists);
	if (may_ask_all(t->relid, primary, n_primary))
		add_other_row(key, &exists, t->relid, primary, n_primary);
	key->exists = exists.data;
	t->keys = lappend(t->keys, key);
}

/* The columns of the primary key, to out; how many. After RelationGetIndexList. */
static int
primary_columns(Relation rel, AttrNumber *out)
{
	Relation	index;
	int			n;

	if (!OidIsValid(rel->rd_pkindex))
		return 0;
	index = index_open(rel->rd_pkindex, AccessShareLock);
	n = index->rd_index->indnkeyatts;
	memcpy(out, index->rd_index->indkey.values, n * sizeof(AttrNumber));
	index_close(index, AccessShareLock);
	return n;
}

static void
add_unique_keys(DlmRowType *t, Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	AttrNumber	primary[INDEX_MAX_KEYS];
	int			n_primary = primary_columns(rel, primary);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		/* columns of the primary key are never NULL: no gap makes it */
		if (!index->rd_index->indisprimary && is_plain_unique(rel, index))
			add_unique_key(t, index, primary, n_primary);
		index_close(index, AccessShareLock);
	}
}

void
dlm_row_keys(DlmRowType *t)
{
	Relation	rel = relation_open(t->relid, AccessShareLock);

	add_foreign_keys(t, rel);
	if (rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		add_unique_keys(t, rel);
	relation_close(rel, AccessShareLock);
}

/* ---------------------------------------------------------------------- ask */

/* The gap of a column; NULL where it was known. */
static const DlmRowGap *
gap_of(const DlmRowJob *job, AttrNumber attnum)
{
	for (int g = 0; g < job->n_gaps; g++)
	{
		if (job->gap[g].column->attnum == attnum)
			return &job->gap[g];
	}
	return NULL;
}

/* Is there a row that has the key's values? */
static bool
is_there(const DlmRowKey *key, Oid *types, Datum *values, const char *nulls)
{
	bool		found;

	SPI_connect();
	if (SPI_execute_with_args(key->exists, key->n_args, types, values, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not check key \"%s\"", key->name);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

/* Does the filled row keep the key? It does where a column is NULL, and where none of it was filled, it is not asked. */
static bool
is_kept(const DlmRowJob *job, const DlmRowKey *key)
{
	Oid			types[lengthof(key->attnum)];
	Datum		values[lengthof(key->attnum)];
	char		nulls[lengthof(key->attnum)];
	bool		filled = false;

	for (int i = 0; i < key->n_args; i++)
	{
		int			column = key->attnum[i] - 1;
		const DlmRowGap *gap = gap_of(job, key->attnum[i]);
		bool		isnull = gap ? gap->text == NULL : job->nulls[column];

		if (isnull && i < key->n)
			return true;
		types[i] = getBaseType(TupleDescAttr(job->type->desc, column)->atttypid);
		values[i] = gap ? gap->value : job->values[column];
		nulls[i] = isnull ? 'n' : ' ';
		filled = filled || (gap && i < key->n);
	}
	return !filled || is_there(key, types, values, nulls) != key->unique;
}

const DlmRowKey *
dlm_row_failing_key(const DlmRowJob *job)
{
	ListCell   *cell;

	foreach(cell, job->type->keys)
	{
		if (!is_kept(job, lfirst(cell)))
			return lfirst(cell);
	}
	return NULL;
}

ErrorData *
dlm_row_key_error(const DlmRowJob *job, const DlmRowKey *key)
{
	ErrorData  *why = palloc0(sizeof(ErrorData));
	const char *table = get_rel_name(job->type->relid);

	why->sqlerrcode = key->unique ? ERRCODE_UNIQUE_VIOLATION : ERRCODE_FOREIGN_KEY_VIOLATION;
	why->message = key->unique ? psprintf("another row of \"%s\" has the value that \"%s\" keeps unique", table, key->name) :
		psprintf("the row violates foreign key constraint \"%s\" of \"%s\"", key->name, table);
	return why;
}
