/*
 * row_type.c - the columns of a composite type, and what their types allow.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "encoding.h"
#include "row_type.h"

/* ------------------------------------------------------------------- labels */

/* "population in millions", or "population in millions (of the last census)". */
static dlm_text
column_label(const DlmRowType *t, const char *name, AttrNumber attnum)
{
	char	   *label = pstrdup(name);
	char	   *comment = GetComment(t->relid, RelationRelationId, attnum);

	for (char *p = label; *p; p++)
	{
		if (*p == '_')
			*p = ' ';
	}
	if (comment)
		label = psprintf("%s (%s)", label, comment);
	for (char *p = label; *p; p++)
	{
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	}
	return dlm_text_from_server(label, strlen(label));
}

/* -------------------------------------------------------------- closed sets */

static void
add_value(DlmColumn *c, const char *shown, const char *input)
{
	if (c->values == NULL)
		c->values = palloc(sizeof(DlmValue));
	else
		c->values = repalloc(c->values, (c->n_values + 1) * sizeof(DlmValue));
	c->values[c->n_values].shown = dlm_text_from_server(pstrdup(shown), strlen(shown));
	c->values[c->n_values++].input = pstrdup(input);
}

static int
by_sort_order(const void *a, const void *b)
{
	float4		x = ((Form_pg_enum) GETSTRUCT(*(const HeapTuple *) a))->enumsortorder,
				y = ((Form_pg_enum) GETSTRUCT(*(const HeapTuple *) b))->enumsortorder;

	return (x > y) - (x < y);
}

/* The labels of an enum in their order. */
static void
add_enum(DlmColumn *c)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(c->base));
	HeapTuple  *tuples = palloc(list->n_members * sizeof(HeapTuple) + 1);

	for (int i = 0; i < list->n_members; i++)
		tuples[i] = &list->members[i]->tuple;
	qsort(tuples, list->n_members, sizeof(HeapTuple), by_sort_order);
	for (int i = 0; i < list->n_members; i++)
	{
		const char *label = NameStr(((Form_pg_enum) GETSTRUCT(tuples[i]))->enumlabel);

		if (label[0] != '\0')
			add_value(c, label, label);
	}
	ReleaseCatCacheList(list);
	if (c->n_values == 0)
		c->unfillable = "its enum has no labels";
}

/* ------------------------------------------------------------------ domains */

static void
learn_from_one_domain(DlmColumn *c, Oid domain)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_constraint_contypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(domain));
	scan = systable_beginscan(rel, ConstraintTypidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		bin = heap_getattr(tuple, Anum_pg_constraint_conbin, RelationGetDescr(rel), &isnull);

		if (!isnull && ((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_CHECK)
			dlm_column_learn(c, stringToNode(TextDatumGetCString(bin)), true);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The CHECKs of a domain and of the domains that it is over. */
static void
learn_from_domains(DlmColumn *c, Oid type)
{
	while (get_typtype(type) == TYPTYPE_DOMAIN)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		Oid			over;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", type);
		over = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
		learn_from_one_domain(c, type);
		type = over;
	}
}

/* ------------------------------------------------------------------ columns */

static void
look_up_type(DlmColumn *c)
{
	Oid			output,
				input;
	bool		varlena;
	char		kind;

	c->base_typmod = c->typmod;
	c->base = getBaseTypeAndTypmod(c->type, &c->base_typmod);
	kind = get_typtype(c->base);
	c->bounds = (DlmBounds) {-INFINITY, INFINITY, 0, -1};
	getTypeOutputInfo(c->base, &output, &varlena);
	fmgr_info(output, &c->output);
	getTypeInputInfo(c->type, &input, &c->ioparam);
	fmgr_info(input, &c->input);
	if (type_is_array(c->base))
		c->unfillable = "it is an array";
	else if (kind == TYPTYPE_COMPOSITE)
		c->unfillable = "it is composite";
	else if (kind == TYPTYPE_RANGE || kind == TYPTYPE_MULTIRANGE)
		c->unfillable = "it is a range";
	else if (kind == TYPTYPE_PSEUDO)
		c->unfillable = "it is a pseudo-type";
	else if (kind == TYPTYPE_ENUM)
		add_enum(c);
	else if (c->base == BOOLOID)
	{
		/* written as CHECKs have them */
		add_value(c, "yes", "t");
		add_value(c, "no", "f");
	}
}

static void
set_column(DlmRowType *t, int i)
{
	Form_pg_attribute att = TupleDescAttr(t->desc, i);
	DlmColumn  *c = &t->columns[i];

	c->attnum = att->attnum;
	c->dropped = att->attisdropped;
	if (c->dropped)
		return;
	c->name = pstrdup(NameStr(att->attname));
	c->computed = att->attgenerated != '\0' || att->attidentity != '\0';
	c->type = att->atttypid;
	c->typmod = att->atttypmod;
	c->label = column_label(t, c->name, c->attnum);
	look_up_type(c);
	learn_from_domains(c, c->type);
}

/* What the table's own CHECKs say of single columns. */
static void
learn_from_table(DlmRowType *t, const TupleConstr *constr)
{
	for (int i = 0; constr && i < constr->num_check; i++)
	{
		Node	   *check = stringToNode(constr->check[i].ccbin);
		Bitmapset  *vars = NULL;
		int			attnum;

		pull_varattnos(check, 1, &vars);
		attnum = bms_num_members(vars) == 1 ? bms_singleton_member(vars) + FirstLowInvalidHeapAttributeNumber : 0;
		if (attnum > 0 && constr->check[i].ccvalid && !t->columns[attnum - 1].dropped)
			dlm_column_learn(&t->columns[attnum - 1], check, false);
	}
}

static void
fill_columns(DlmRowType *t, Relation rel)
{
	t->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	t->columns = palloc0(Max(t->desc->natts, 1) * sizeof(DlmColumn));
	for (int i = 0; i < t->desc->natts; i++)
		set_column(t, i);
	learn_from_table(t, t->desc->constr);
	if (t->table)
		dlm_row_keys(t);
	for (int i = 0; i < t->desc->natts; i++)
	{
		DlmColumn  *c = &t->columns[i];

		if (c->dropped || c->computed)
			continue;
		if (t->table)
			dlm_column_reference(t, c);
		if (c->n_values == 0 && c->unfillable == NULL)
			dlm_column_pattern(c);
		dlm_column_exclude(c);
	}
}

DlmRowType *
dlm_row_type(Oid type, int32 typmod)
{
	DlmRowType *t = palloc0(sizeof(DlmRowType));
	Oid			base = getBaseType(type);
	Relation	rel;

	if (base == RECORDOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the row is an anonymous record"),
				 errhint("Give a row of a table, as in dlm_infill_row(t) FROM t, or cast it to a named type: ROW(...)::t.")));
	t->relid = get_typ_typrelid(base);
	if (!OidIsValid(t->relid))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("dlm_infill_row takes a row, not a value of type %s", format_type_be(type))));
	t->context = CurrentMemoryContext;
	t->type = base;
	rel = relation_open(t->relid, AccessShareLock);
	t->owner = rel->rd_rel->relowner;
	t->table = rel->rd_rel->relkind != RELKIND_COMPOSITE_TYPE;
	fill_columns(t, rel);
	relation_close(rel, NoLock);	/* the columns hold until the row has been filled */
	return t;
}

DlmColumn *
dlm_row_column(const DlmRowType *t, const char *name)
{
	for (int i = 0; i < t->desc->natts; i++)
	{
		if (!t->columns[i].dropped && strcmp(t->columns[i].name, name) == 0)
			return &t->columns[i];
	}
	return NULL;
}
