/*
 * batch_hooks.c - when plans are looked at.
 *
 * ExecutorStart: every statement that calls a model runs a changed copy of its
 * plan, made then. So the plan of a session's first statement, whose planning
 * loaded this library, is treated as well, and so are cached plans, under the
 * settings of the moment. Parallel workers get their part of the copy.
 *
 * The planner: the query of a MERGE's source keeps its calls (pulled up they
 * would stand in the actions), and small tables are considered for parallel
 * plans.
 */
#include "dlm_pg.h"

#include <limits.h>

#include "access/parallel.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "jit/jit.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "batch.h"
#include "budget.h"
#include "guc.h"

static planner_hook_type previous_planner = NULL;
static get_relation_info_hook_type previous_relation_info = NULL;
static ExecutorStart_hook_type previous_start = NULL;
static ExecutorEnd_hook_type previous_end = NULL;
static ExplainOneQuery_hook_type previous_explain = NULL;

/* ------------------------------------------------------------- executor start */

/* A statement that runs a copy of its plan; lives in the memory of the copy. */
typedef struct Running
{
	dlist_node	node;
	MemoryContext context;
	MemoryContextCallback callback;
	QueryDesc  *query;
	PlannedStmt *original;
} Running;

static dlist_head running = DLIST_STATIC_INIT(running);

static void
forget_running(void *arg)
{
	dlist_delete(&((Running *) arg)->node);
}

/*
 * The copy lies beside the QueryDesc, so that it lives as long, and in a
 * context of its own, so that it goes when the statement ends: a QueryDesc may
 * lie in the memory of a function that runs a thousand of them.
 */
static void
run_copy(QueryDesc *query, int eflags)
{
	MemoryContext context = AllocSetContextCreate(GetMemoryChunkContext(query), "dlm plan", ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Running    *r = palloc0(sizeof(Running));
	List	   *reasons = NIL;
	PlannedStmt *copy;

	r->context = context;
	r->query = query;
	r->original = query->plannedstmt;
	dlist_push_head(&running, &r->node);
	r->callback.func = forget_running;
	r->callback.arg = r;
	MemoryContextRegisterResetCallback(context, &r->callback);
	copy = dlm_batch_rewrite(query->plannedstmt, (eflags & EXEC_FLAG_BACKWARD) != 0, &reasons);
	copy->jitFlags = PGJIT_NONE;	/* as in batch_planner, which may have come too late */
	query->plannedstmt = copy;
	MemoryContextSwitchTo(before);
}

static void
batch_executor_start(QueryDesc *query, int eflags)
{
	if (dlm_guc_enable_batching && !IsParallelWorker() && dlm_plan_calls_models(query->plannedstmt))
		run_copy(query, eflags);
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
batch_executor_end(QueryDesc *query)
{
	dlist_mutable_iter it;

	if (previous_end)
		previous_end(query);
	else
		standard_ExecutorEnd(query);
	dlist_foreach_modify(it, &running)
	{
		Running    *r = dlist_container(Running, node, it.cur);

		if (r->query != query)
			continue;
		query->plannedstmt = r->original;
		MemoryContextDelete(r->context);
		break;
	}
}

/* ------------------------------------------------------------------- planner */

/* Is a column of a sub-query, or of one that could be pulled up into it, a call? */
static bool
has_call_column(const Query *query)
{
	ListCell   *cell;

	check_stack_depth();
	if (dlm_calls_models((Node *) query->targetList))
		return true;
	foreach(cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_SUBQUERY && has_call_column(rte->subquery))
			return true;
	}
	return false;
}

/* OFFSET 0: the planner's fence, which leaves a sub-query's target list where it is. */
static void
fence(Query *query)
{
	if (query->limitOffset == NULL && has_call_column(query))
		query->limitOffset = (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(0), false,
												FLOAT8PASSBYVAL);
}

/* A source may be a sub-query, part of a join, or a CTE that is used once. */
static void
fence_merge_source(Query *query)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_SUBQUERY)
			fence(rte->subquery);
	}
	foreach(cell, query->cteList)
	{
		Query	   *cte = castNode(Query, lfirst_node(CommonTableExpr, cell)->ctequery);

		if (cte->commandType == CMD_SELECT)
			fence(cte);
	}
}

static PlannedStmt *
batch_planner(Query *parse, const char *query_string, int cursor_options, ParamListInfo params)
{
	PlannedStmt *result;

	if (dlm_guc_enable_batching && parse->commandType == CMD_MERGE)
		fence_merge_source(parse);
	if (previous_planner)
		result = previous_planner(parse, query_string, cursor_options, params);
	else
		result = standard_planner(parse, query_string, cursor_options, params);
	/* a call costs thousands of operators, which is nothing that compiling them could save */
	if (dlm_plan_calls_models(result))
		result->jitFlags = PGJIT_NONE;
	return result;
}

/* Workers of a statement beside the leader: as many as there are compute slots, for each takes one. */
static int
wanted_workers(BlockNumber pages)
{
	return Min(Min(dlm_max_threads() - 1, max_parallel_workers_per_gather), (int) Min(pages, (BlockNumber) INT_MAX));
}

/*
 * PostgreSQL gives a table of less than min_parallel_table_scan_size no
 * worker. Rows that call a model are worth one from the second page on. More
 * workers than slots would only get in each other's way. A table's own
 * parallel_workers stands.
 */
static void
batch_relation_info(PlannerInfo *root, Oid relation, bool inhparent, RelOptInfo *rel)
{
	if (previous_relation_info)
		previous_relation_info(root, relation, inhparent, rel);
	if (!dlm_guc_parallel_small_tables || inhparent || rel->rel_parallel_workers != -1 ||
		root->parse->commandType != CMD_SELECT || max_parallel_workers_per_gather == 0 || rel->pages < 2 ||
		!dlm_calls_models((Node *) root->parse))
		return;
	rel->rel_parallel_workers = wanted_workers(rel->pages);
}

/* ------------------------------------------------------------------- EXPLAIN */

static void
explain_reasons(const PlannedStmt *plan, ExplainState *es)
{
	List	   *reasons = NIL;

	if (!dlm_guc_enable_batching || !dlm_plan_calls_models(plan))
		return;
	(void) dlm_batch_rewrite(plan, false, &reasons);
	if (reasons == NIL)
		return;
	ExplainOpenGroup("Model Calls", NULL, true, es);
	ExplainPropertyList("Computed Row by Row", reasons, es);
	ExplainCloseGroup("Model Calls", NULL, true, es);
}

/* As PostgreSQL explains, and then which calls are not collected. */
static void
batch_explain(Query *query, int cursor_options, IntoClause *into, ExplainState *es, const char *query_string,
			  ParamListInfo params, QueryEnvironment *env)
{
	PlannedStmt *plan;
	BufferUsage buffers_start = pgBufferUsage;
	BufferUsage buffers = {0};
	instr_time	start,
				duration;

	if (previous_explain)
	{
		previous_explain(query, cursor_options, into, es, query_string, params, env);
		return;
	}
	INSTR_TIME_SET_CURRENT(start);
	plan = pg_plan_query(query, query_string, cursor_options, params);
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	BufferUsageAccumDiff(&buffers, &pgBufferUsage, &buffers_start);
	dlm_explain_one_plan(plan, into, es, query_string, params, env, &duration, es->buffers ? &buffers : NULL);
	explain_reasons(plan, es);
}

void
dlm_batch_init(void)
{
	RegisterCustomScanMethods(&dlm_batch_methods);
	previous_planner = planner_hook;
	planner_hook = batch_planner;
	previous_relation_info = get_relation_info_hook;
	get_relation_info_hook = batch_relation_info;
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = batch_executor_start;
	previous_end = ExecutorEnd_hook;
	ExecutorEnd_hook = batch_executor_end;
	previous_explain = ExplainOneQuery_hook;
	ExplainOneQuery_hook = batch_explain;
}
