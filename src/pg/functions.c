/*
 * functions.c - from function OIDs to what the batch node knows of them.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "functions.h"

static const DlmFunction *const batchable[] = {
	&dlm_function_generate, &dlm_function_infill, &dlm_function_infill_gaps, &dlm_function_infill_row,
	&dlm_function_infill_cells, &dlm_function_infill_record,
	&dlm_function_classify,
	&dlm_function_classify_full, &dlm_function_classify_multi, &dlm_function_score, &dlm_function_embed,
	&dlm_function_generate_pinned, &dlm_function_infill_pinned, &dlm_function_classify_pinned, &dlm_function_embed_pinned,
	&dlm_function_nearest_examples
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
	Datum		prosrc;
	bool		isnull;
	char	   *symbol;

	if (!HeapTupleIsValid(tuple))
		return;
	prosrc = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	symbol = isnull ? NULL : TextDatumGetCString(prosrc);
	for (int i = 0; i < lengthof(batchable) && symbol; i++)
	{
		if (n_known < lengthof(known) && strcmp(symbol, batchable[i]->symbol) == 0)
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
	ListCell   *cell;

	n_known = 0;
	valid = true;				/* first: an invalidation that comes in below must not be lost */
	foreach(cell, dlm_extension_members(ProcedureRelationId))
		remember(lfirst_oid(cell));
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

const DlmFunction *
dlm_called(const Node *node)
{
	return node && IsA(node, FuncExpr) ? dlm_function_of(((const FuncExpr *) node)->funcid) : NULL;
}

static bool
call_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (dlm_called(node))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, call_walker, context, 0);
	return expression_tree_walker(node, call_walker, context);
}

bool
dlm_calls_models(const Node *node)
{
	return call_walker((Node *) node, NULL);
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
