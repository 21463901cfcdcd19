/*
 * functions.c - from function OIDs to what the batch node knows of them.
 */
#include "dlm_pg.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "functions.h"

static const DlmFunction *const batchable[] = {
	&dlm_function_generate, &dlm_function_infill, &dlm_function_infill_gaps, &dlm_function_classify,
	&dlm_function_classify_full, &dlm_function_classify_multi, &dlm_function_score, &dlm_function_embed
};

typedef struct Known
{
	Oid			oid;
	uint32		hash;			/* of its syscache entry, as plans list it among their dependencies */
	const DlmFunction *function;
} Known;

static Known known[lengthof(batchable)];
static int	n_known = 0;
static bool valid = false;

static void
functions_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	valid = false;
}

void
dlm_functions_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
}

/* Is the function one of the table? The text[] forms have symbols of their own, so a symbol is one function. */
static void
remember(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	Datum		symbol;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	for (int i = 0; i < lengthof(batchable) && !isnull; i++)
	{
		if (n_known < lengthof(known) && strcmp(TextDatumGetCString(symbol), batchable[i]->symbol) == 0)
		{
			known[n_known].oid = oid;
			known[n_known].hash = GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(oid));
			known[n_known++].function = batchable[i];
		}
	}
	ReleaseSysCache(tuple);
}

/* Go through the members of the extension. */
static void
fill_table(void)
{
	Oid			extension = dlm_extension_oid();
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key[2];
	HeapTuple	tuple;

	n_known = 0;
	valid = true;				/* first: an invalidation that comes in below must not be lost */
	if (!OidIsValid(extension))
		return;
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	rel = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->classid == ProcedureRelationId && depend->deptype == DEPENDENCY_EXTENSION)
			remember(depend->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

const DlmFunction *
dlm_function_of(Oid function)
{
	if (!valid)
		fill_table();
	for (int i = 0; i < n_known; i++)
	{
		if (known[i].oid == function)
			return known[i].function;
	}
	return NULL;
}

bool
dlm_plan_calls_models(const PlannedStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->invalItems)
	{
		PlanInvalItem *item = lfirst_node(PlanInvalItem, cell);

		if (item->cacheId != PROCOID)
			continue;
		if (!valid)
			fill_table();
		for (int i = 0; i < n_known; i++)
		{
			if (known[i].hash == item->hashValue)
				return true;
		}
	}
	return false;
}
