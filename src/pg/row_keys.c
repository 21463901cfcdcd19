/*
 * row_keys.c - what other rows have to say of a row: keys that it must refer
 * to, and unique keys that it must not repeat.
 *
 * A foreign key of one column is a closed set of that column
 * (row_references.c). One of several columns, and a unique index, are a query
 * over the filled row. The query sees what the statement sees; two rows that
 * are filled by one statement do not see each other, and where both take the
 * same value the table says so when it is written.
 */
#include "dlm_pg.h"

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/typcache.h"

#include "row_job.h"

char *
dlm_row_relation(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* A key without columns, and its query as far as it names none. */
static DlmRowKey *
new_key(const char *name, bool unique, Oid table, StringInfo exists)
{
	DlmRowKey  *key = palloc0(sizeof(DlmRowKey));

	key->name = pstrdup(name);
	key->unique = unique;
	initStringInfo(exists);
	appendStringInfo(exists, "SELECT 1 FROM %s WHERE ", dlm_row_relation(table));
	return key;
}

/* A column of the row, and the one of the table that is asked which it has to equal. */
static void
add_column(DlmRowKey *key, StringInfo exists, AttrNumber attnum, Oid table, AttrNumber asked)
{
	key->attnum[key->n++] = attnum;
	appendStringInfo(exists, "%s%s %s $%d", key->n > 1 ? " AND " : "", quote_identifier(get_attname(table, asked, false)),
					 dlm_operator(getBaseType(get_atttype(table, asked)), true), key->n);
}

static void
add_foreign_keys(DlmRowType *t, Relation rel)
{
	ListCell   *cell;

	foreach(cell, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *foreign = lfirst(cell);
		DlmRowKey  *key;
		StringInfoData exists;

		if (foreign->nkeys < 2)
			continue;
		key = new_key(get_constraint_name(foreign->conoid), false, foreign->confrelid, &exists);
		for (int i = 0; i < foreign->nkeys; i++)
			add_column(key, &exists, foreign->conkey[i], foreign->confrelid, foreign->confkey[i]);
		key->exists = exists.data;
		t->keys = lappend(t->keys, key);
	}
}

/* Does the index say of columns alone, and of all rows, that no two are equal? Of others only the table itself knows. */
static bool
is_plain_unique(Relation rel, Relation index)
{
	if (!index->rd_index->indisunique || !index->rd_index->indisvalid || RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		AttrNumber	attnum = index->rd_index->indkey.values[i];

		if (attnum <= 0 ||
			!OidIsValid(lookup_type_cache(getBaseType(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid), TYPECACHE_EQ_OPR)->eq_opr))
			return false;
	}
	return true;
}

static void
add_unique_keys(DlmRowType *t, Relation rel)
{
	ListCell   *cell;

	/* an owner may have taken these rights from itself: then the table decides */
	if (pg_class_aclcheck(t->relid, t->owner, ACL_SELECT) != ACLCHECK_OK ||
		dlm_schema_aclcheck(RelationGetNamespace(rel), t->owner) != ACLCHECK_OK)
		return;
	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		DlmRowKey  *key;
		StringInfoData exists;

		if (is_plain_unique(rel, index))
		{
			key = new_key(RelationGetRelationName(index), true, t->relid, &exists);
			for (int i = 0; i < index->rd_index->indnkeyatts; i++)
				add_column(key, &exists, index->rd_index->indkey.values[i], t->relid, index->rd_index->indkey.values[i]);
			key->exists = exists.data;
			t->keys = lappend(t->keys, key);
		}
		index_close(index, AccessShareLock);
	}
}

void
dlm_row_keys(DlmRowType *t)
{
	Relation	rel = relation_open(t->relid, AccessShareLock);

	add_foreign_keys(t, rel);
	add_unique_keys(t, rel);
	relation_close(rel, AccessShareLock);
}

/* A column's value in the row with its gaps filled; whether it was a gap. */
static Datum
value_of(const DlmRowJob *job, AttrNumber attnum, bool *isnull, bool *filled)
{
	for (int g = 0; g < job->n_gaps; g++)
	{
		if (job->gap[g].column->attnum != attnum)
			continue;
		*isnull = job->gap[g].text == NULL;
		*filled = true;
		return job->gap[g].value;
	}
	*isnull = job->nulls[attnum - 1];
	return job->values[attnum - 1];
}

/* Is there a row that has the key's values? */
static bool
is_there(const DlmRowKey *key, Oid *types, Datum *values)
{
	bool		found;

	SPI_connect();
	if (SPI_execute_with_args(key->exists, key->n, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not check key \"%s\"", key->name);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

const DlmRowKey *
dlm_row_failing_key(const DlmRowJob *job)
{
	ListCell   *cell;

	foreach(cell, job->type->keys)
	{
		const DlmRowKey *key = lfirst(cell);
		Oid			types[INDEX_MAX_KEYS];
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull = false,
					filled = false;

		for (int i = 0; i < key->n && !isnull; i++)
		{
			types[i] = getBaseType(TupleDescAttr(job->type->desc, key->attnum[i] - 1)->atttypid);
			values[i] = value_of(job, key->attnum[i], &isnull, &filled);
		}
		/* NULL is equal to nothing; a unique key that was known whole is the row's own */
		if (!isnull && (filled || !key->unique) && is_there(key, types, values) == key->unique)
			return key;
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
