/*
 * batch_plan.c - the walk over a finished plan that places batch nodes.
 *
 * Children first, then the node itself: its aggregates' inputs get a batch
 * node below, its conditions and its target list one above. All other places
 * where a call may stand (join conditions, RETURNING, MERGE actions, functions
 * in FROM) keep PostgreSQL's row by row evaluation; why is said in the list of
 * reasons.
 */
#include "dlm_pg.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/planmain.h"

#include "batch.h"
#include "budget.h"

typedef struct Place
{
	bool		below_gather;
	bool		marked;			/* the parent returns to earlier rows, which the node cannot */
} Place;

static Plan *rewrite_plan(DlmRewrite *r, Plan *plan, Place place);

bool
dlm_is_batch(const Plan *plan)
{
	return plan && IsA(plan, CustomScan) && ((const CustomScan *) plan)->methods == &dlm_batch_methods;
}

/* ------------------------------------------------------------- row by row */

static void
refuse_list(DlmRewrite *r, List *expressions, const char *reason)
{
	dlm_batch_refuse(r, (Node *) expressions, reason);
}

static void
refuse_modify(DlmRewrite *r, ModifyTable *modify)
{
	refuse_list(r, modify->returningLists, "in RETURNING");
	refuse_list(r, modify->withCheckOptionLists, "in a WITH CHECK OPTION or row security policy");
	refuse_list(r, modify->onConflictSet, "in ON CONFLICT");
	dlm_batch_refuse(r, modify->onConflictWhere, "in ON CONFLICT");
	refuse_list(r, dlm_merge_actions(modify), "in an action of MERGE");
}

/*
 * Expressions of a scan beside its target list and conditions. What an index
 * holds is no call: what it is compared with is.
 */
static void
refuse_scan(DlmRewrite *r, Plan *plan)
{
	const char *condition = "in a condition";

	switch (nodeTag(plan))
	{
		case T_IndexScan:
			refuse_list(r, ((IndexScan *) plan)->indexqual, condition);
			refuse_list(r, ((IndexScan *) plan)->indexorderby, "in an index's order");
			break;
		case T_IndexOnlyScan:
			refuse_list(r, ((IndexOnlyScan *) plan)->indexqual, condition);
			break;
		case T_BitmapIndexScan:
			refuse_list(r, ((BitmapIndexScan *) plan)->indexqual, condition);
			break;
		case T_TidScan:
			refuse_list(r, ((TidScan *) plan)->tidquals, condition);
			break;
		case T_FunctionScan:
			{
				ListCell   *cell;

				foreach(cell, ((FunctionScan *) plan)->functions)
					dlm_batch_refuse(r, lfirst_node(RangeTblFunction, cell)->funcexpr, "in FROM");
			}
			break;
		case T_ValuesScan:
			refuse_list(r, ((ValuesScan *) plan)->values_lists, "in VALUES");
			break;
		case T_TableFuncScan:
			dlm_batch_refuse(r, (Node *) ((TableFuncScan *) plan)->tablefunc, "in FROM");
			break;
		default:
			break;
	}
}

/* Calls in expressions that no batch node serves. */
static void
refuse_others(DlmRewrite *r, Plan *plan)
{
	const char *join = "in a join condition";

	refuse_list(r, plan->qual, IsA(plan, Agg) ? "in HAVING" : "in a condition");
	switch (nodeTag(plan))
	{
		case T_NestLoop:
			refuse_list(r, ((Join *) plan)->joinqual, join);
			break;
		case T_MergeJoin:
			refuse_list(r, ((Join *) plan)->joinqual, join);
			refuse_list(r, ((MergeJoin *) plan)->mergeclauses, join);
			break;
		case T_HashJoin:
			refuse_list(r, ((Join *) plan)->joinqual, join);
			refuse_list(r, ((HashJoin *) plan)->hashclauses, join);
			break;
		case T_Result:
			dlm_batch_refuse(r, ((Result *) plan)->resconstantqual, "in a condition");
			break;
		case T_WindowAgg:
			dlm_batch_refuse(r, ((WindowAgg *) plan)->startOffset, "in the bounds of a window frame");
			dlm_batch_refuse(r, ((WindowAgg *) plan)->endOffset, "in the bounds of a window frame");
			break;
		case T_Limit:
			dlm_batch_refuse(r, ((Limit *) plan)->limitCount, "in LIMIT");
			dlm_batch_refuse(r, ((Limit *) plan)->limitOffset, "in OFFSET");
			break;
		case T_ModifyTable:
			refuse_modify(r, (ModifyTable *) plan);
			break;
		default:
			refuse_scan(r, plan);
			break;
	}
}

/* --------------------------------------------------------------- placement */

/* An UPDATE or DELETE that a foreign data wrapper has sent away whole: its target list only shows what runs there. */
static bool
is_shipped(const Plan *plan)
{
	return IsA(plan, ForeignScan) && ((const ForeignScan *) plan)->operation != CMD_SELECT;
}

/* Does the node compute its target list, so that calls can stand in it? */
static bool
projects(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_ValuesScan:
		case T_TableFuncScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
		case T_Group:
		case T_Agg:
		case T_WindowAgg:
		case T_Gather:
		case T_GatherMerge:
			return true;
		case T_ForeignScan:
			return !is_shipped(plan);
		case T_Result:
			return outerPlan(plan) != NULL;
		case T_CustomScan:
			return dlm_is_batch(plan);
		default:
			return false;
	}
}

/* The plans below a plan; NIL for NULL. */
static List *
children_of(const Plan *plan)
{
	List	   *children = NIL;

	if (plan == NULL)
		return NIL;
	check_stack_depth();
	if (IsA(plan, Append))
		children = list_copy(((const Append *) plan)->appendplans);
	else if (IsA(plan, MergeAppend))
		children = list_copy(((const MergeAppend *) plan)->mergeplans);
	else if (IsA(plan, BitmapAnd))
		children = list_copy(((const BitmapAnd *) plan)->bitmapplans);
	else if (IsA(plan, BitmapOr))
		children = list_copy(((const BitmapOr *) plan)->bitmapplans);
	else if (IsA(plan, CustomScan))
		children = list_copy(((const CustomScan *) plan)->custom_plans);
	else if (IsA(plan, SubqueryScan))
		children = list_make1(((const SubqueryScan *) plan)->subplan);
	else if (IsA(plan, ModifyTable))
		children = list_copy(dlm_modify_plans((const ModifyTable *) plan));
	if (plan->lefttree)
		children = lappend(children, plan->lefttree);
	if (plan->righttree)
		children = lappend(children, plan->righttree);
	return children;
}

static int
count_volatile(List *expressions)
{
	return contain_volatile_functions((Node *) expressions) ? 1 : 0;
}

/* Does it take all rows of its child before it gives one? */
static bool
takes_all_first(const Plan *plan)
{
	if (IsA(plan, Agg))
		return ((const Agg *) plan)->aggstrategy == AGG_PLAIN || ((const Agg *) plan)->aggstrategy == AGG_HASHED;
	return IsA(plan, Sort) || IsA(plan, Hash);
}

/*
 * How many target lists and conditions of a plan hold volatile functions.
 * in_step: only of what is evaluated row for row with its output.
 */
static int
volatile_parts(const Plan *plan, bool in_step)
{
	int			count;
	ListCell   *cell;

	if (plan == NULL)
		return 0;
	count = count_volatile(plan->targetlist) + count_volatile(plan->qual);
	if (IsA(plan, NestLoop) || IsA(plan, MergeJoin) || IsA(plan, HashJoin))
		count += count_volatile(((const Join *) plan)->joinqual);
	else if (IsA(plan, ValuesScan))
		count += count_volatile(((const ValuesScan *) plan)->values_lists);
	else if (IsA(plan, ModifyTable))
		count += count_volatile(dlm_merge_actions((const ModifyTable *) plan)) +
			count_volatile(((const ModifyTable *) plan)->onConflictSet);
	if (in_step && takes_all_first(plan))
		return count;
	foreach(cell, children_of(plan))
		count += volatile_parts(lfirst(cell), in_step);
	return count;
}

/*
 * Would reading ahead change the order in which volatile functions run? Those
 * of the rows that are read alternate with all others, be it random() in both.
 */
static bool
mixes_order(const DlmRewrite *r, const Plan *rows, bool with_targets)
{
	int			below = r->volatile_parts ? volatile_parts(rows, true) : 0;

	if (!with_targets)
		below -= count_volatile(rows->targetlist);
	return below > 0 && below < r->volatile_parts;
}

/* Rows by the planner's estimate. How many a call lets pass is a guess that it makes for any expression. */
static double
expected_rows(const Plan *plan)
{
	return dlm_is_batch(plan) && plan->qual ? expected_rows(outerPlan(plan)) : plan->plan_rows;
}

/* Why the rows of a node are not collected, NULL if they are; with_targets: it computes its target list first. */
static const char *
why_no_node(const DlmRewrite *r, const Plan *rows, bool with_targets, Place place)
{
	if (place.marked)
		return "under a merge join that reads rows again";
	if (expected_rows(rows) < DLM_LEAST_ROWS)
		return "for one row";
	if (mixes_order(r, rows, with_targets))
		return "between volatile functions of two nodes";
	return NULL;
}

/* Nodes above, for the calls of the conditions. A WindowAgg's own conditions end its run, they do not filter. */
static Plan *
place_filter(DlmRewrite *r, Plan *plan, Place place)
{
	if (!projects(plan) || place.marked || IsA(plan, WindowAgg) || count_volatile(plan->qual) > 0 ||
		mixes_order(r, plan, false))
		return plan;
	return dlm_batch_filter(r, plan, place.below_gather);
}

/* A node above, for the calls of the target list. */
static Plan *
place_over(DlmRewrite *r, Plan *plan, Place place)
{
	const char *reason;
	List	   *found = NIL;

	if (IsA(plan, ModifyTable) || is_shipped(plan))
		return plan;			/* RETURNING was seen before */
	if (!projects(plan))
	{
		refuse_list(r, plan->targetlist, IsA(plan, Result) ? "for one row" : "in this node's target list");
		return plan;
	}
	reason = why_no_node(r, plan, false, place);
	if (reason)
		dlm_batch_find_blocked(r, (Node *) plan->targetlist, reason, &found);
	else
		dlm_batch_find(r, (Node *) plan->targetlist, &found);
	found = dlm_batch_settle(r, found);
	if (found == NIL)
		return plan;
	return place_over(r, dlm_batch_over(r, plan, NIL, found, place.below_gather), place);
}

typedef struct Inputs
{
	DlmRewrite *rewrite;
	List	   *found;
	const char *reason;			/* they stay as they are */
	int			frame;			/* frameOptions of window functions */
} Inputs;

/* Is each row in its own frame? Then an aggregate over frames takes them all. */
static bool
has_own_row(int frame)
{
	const int	without = FRAMEOPTION_START_OFFSET_FOLLOWING | FRAMEOPTION_END_OFFSET_PRECEDING |
		FRAMEOPTION_EXCLUDE_CURRENT_ROW | FRAMEOPTION_EXCLUDE_GROUP;

	return !(frame & without);
}

static void
find_aggregate(Aggref *aggregate, Inputs *in)
{
	dlm_batch_find_input(in->rewrite, (Node *) aggregate->args, aggregate->aggfilter, &in->found);
	dlm_batch_find_blocked(in->rewrite, (Node *) aggregate->aggdirectargs, "in an argument that is wanted once a group",
						   &in->found);
}

/* first_value, lag and their like look at rows as they need them. */
static void
find_window(WindowFunc *function, Inputs *in)
{
	if (function->winagg && has_own_row(in->frame))
		dlm_batch_find_input(in->rewrite, (Node *) function->args, function->aggfilter, &in->found);
	else
		dlm_batch_find_blocked(in->rewrite, (Node *) list_make2(function->args, function->aggfilter),
							   "in a window function that need not look at every row", &in->found);
}

/* Calls in the inputs of aggregates and window functions. */
static bool
input_walker(Node *node, Inputs *in)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Aggref) && !IsA(node, WindowFunc))
		return expression_tree_walker(node, input_walker, in);
	if (in->reason)
		dlm_batch_refuse(in->rewrite, node, in->reason);
	else if (IsA(node, Aggref))
		find_aggregate((Aggref *) node, in);
	else
		find_window((WindowFunc *) node, in);
	return false;
}

/* A node below an aggregate, window function or set-returning function, for the calls of its input. */
static void
place_under(DlmRewrite *r, Plan *plan, Place place)
{
	Plan	   *input = outerPlan(plan);
	Place		inner = {place.below_gather, false};
	int			frame = IsA(plan, WindowAgg) ? ((WindowAgg *) plan)->frameOptions : 0;
	Inputs		in = {r, NIL, input ? why_no_node(r, input, true, inner) : "for one row", frame};

	if (IsA(plan, ProjectSet) && in.reason)
		refuse_list(r, plan->targetlist, in.reason);
	else if (IsA(plan, ProjectSet))
		dlm_batch_find(r, (Node *) plan->targetlist, &in.found);
	else
	{
		input_walker((Node *) plan->targetlist, &in);
		input_walker((Node *) plan->qual, &in);
	}
	in.found = dlm_batch_settle(r, in.found);
	if (in.found == NIL)
		return;
	outerPlan(plan) = dlm_batch_under(r, input, in.found, place.below_gather);
	dlm_batch_use_columns(plan, in.found);
	place_under(r, plan, place);
}

static void
rewrite_list(DlmRewrite *r, List *plans, Place place)
{
	ListCell   *cell;

	foreach(cell, plans)
		lfirst(cell) = rewrite_plan(r, lfirst(cell), place);
}

static void
rewrite_children(DlmRewrite *r, Plan *plan, Place place)
{
	/* one that force_parallel_mode = regress hides is hidden by us, too */
	bool		gathers = IsA(plan, GatherMerge) || (IsA(plan, Gather) && !((Gather *) plan)->invisible);
	Place		outer = {place.below_gather || gathers, IsA(plan, Result) && place.marked};
	Place		inner = {outer.below_gather, IsA(plan, MergeJoin)};

	/* Bitmap index scans have no target lists; plans of other custom scans are not ours to change. */
	if (!IsA(plan, CustomScan) && !IsA(plan, BitmapHeapScan))
	{
		outerPlan(plan) = rewrite_plan(r, outerPlan(plan), outer);
		innerPlan(plan) = rewrite_plan(r, innerPlan(plan), inner);
	}
	if (IsA(plan, Append))
		rewrite_list(r, ((Append *) plan)->appendplans, outer);
	else if (IsA(plan, MergeAppend))
		rewrite_list(r, ((MergeAppend *) plan)->mergeplans, outer);
	else if (IsA(plan, SubqueryScan))
		((SubqueryScan *) plan)->subplan = rewrite_plan(r, ((SubqueryScan *) plan)->subplan, outer);
	else if (IsA(plan, ModifyTable))
		rewrite_list(r, dlm_modify_plans((ModifyTable *) plan), outer);
}

/*
 * The planner counted on all compute slots. Where other sessions compute now,
 * a worker more than what they leave would only take their processors.
 */
static void
leave_slots(Plan *plan)
{
	int			others = dlm_budget_others();
	int		   *workers = IsA(plan, Gather) ? &((Gather *) plan)->num_workers : &((GatherMerge *) plan)->num_workers;

	if (others > 0)
		*workers = Min(*workers, Max(0, dlm_max_threads() - 1 - others));
}

static Plan *
rewrite_plan(DlmRewrite *r, Plan *plan, Place place)
{
	Plan	   *filtered;
	int			nodes = r->nodes;

	if (plan == NULL)
		return NULL;
	check_stack_depth();
	rewrite_children(r, plan, place);
	if ((IsA(plan, Gather) || IsA(plan, GatherMerge)) && r->nodes > nodes)
		leave_slots(plan);
	plan->targetlist = dlm_batch_inline(r, plan->targetlist);
	if (IsA(plan, Agg) || IsA(plan, WindowAgg) || IsA(plan, ProjectSet))
		place_under(r, plan, place);
	if (IsA(plan, Limit))
		dlm_batch_bound(outerPlan(plan), (Limit *) plan);
	filtered = place_filter(r, plan, place);
	refuse_others(r, plan);
	return IsA(plan, ProjectSet) ? plan : place_over(r, filtered, place);
}

/* --------------------------------------------------------------- statements */

/* The largest node id of a plan. */
static int
last_node_id(const Plan *plan)
{
	int			last = plan ? plan->plan_node_id : 0;
	ListCell   *cell;

	foreach(cell, children_of(plan))
		last = Max(last, last_node_id(lfirst(cell)));
	return last;
}

/* PostgreSQL decided by the old plan that rows can be asked for backward: now they must be kept. */
static Plan *
keep_rows(DlmRewrite *r, Plan *plan)
{
	ListCell   *cell;

	if (ExecSupportsBackwardScan(plan))
		return plan;
	plan = materialize_finished_plan(plan);
	plan->plan_node_id = r->next_node_id++;
	/* it was made for plans whose references are not resolved yet */
	plan->targetlist = list_copy(plan->targetlist);
	foreach(cell, plan->targetlist)
	{
		TargetEntry *entry = flatCopyTargetEntry(lfirst_node(TargetEntry, cell));

		entry->expr = (Expr *) makeVarFromTargetEntry(OUTER_VAR, entry);
		lfirst(cell) = entry;
	}
	return plan;
}

PlannedStmt *
dlm_batch_rewrite(const PlannedStmt *stmt, bool scroll, List **reasons)
{
	DlmRewrite	r = {(PlannedStmt *) copyObjectImpl(stmt)};
	Place		top = {false, false};
	ListCell   *cell;

	r.next_node_id = last_node_id(r.stmt->planTree);
	r.volatile_parts = volatile_parts(r.stmt->planTree, false);
	foreach(cell, r.stmt->subplans)
	{
		r.next_node_id = Max(r.next_node_id, last_node_id(lfirst(cell)));
		r.volatile_parts += volatile_parts(lfirst(cell), false);
	}
	r.next_node_id++;
	r.stmt->planTree = rewrite_plan(&r, r.stmt->planTree, top);
	/* outer ones have the higher numbers: they say which inner ones are still used */
	for (int i = list_length(r.stmt->subplans); i > 0; i--)
	{
		cell = list_nth_cell(r.stmt->subplans, i - 1);
		if (!bms_is_member(i, r.inlined))
			lfirst(cell) = rewrite_plan(&r, lfirst(cell), top);
	}
	if (scroll && r.nodes > 0)
		r.stmt->planTree = keep_rows(&r, r.stmt->planTree);
	*reasons = r.reasons;
	return r.stmt;
}
