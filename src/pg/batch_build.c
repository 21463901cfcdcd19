/*
 * batch_build.c - make the batch node over or under one node of the plan.
 *
 * The node's columns: first the child's, then one for each call. Three forms
 * of an expression are needed: over the scan tuple (INDEX_VAR), which the
 * node's projection and the evaluation of arguments use; over the child
 * (OUTER_VAR), with calls written out, which says in custom_scan_tlist what a
 * column is, for EXPLAIN; and, under an aggregate, over the node itself.
 */
#include "dlm_pg.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "batch.h"

typedef struct Builder
{
	List	   *found;
	List	   *columns;		/* Node *: what the child computes, in order */
	bool		fixed;			/* the child stays as it is: Vars name its columns already */
	int			varno;			/* of the Vars to be made */
	bool		written_out;	/* calls stay calls */
	bool		everywhere;		/* only calls that the node computes for every row become columns */
} Builder;

static bool
is_leaf(Node *node)
{
	return IsA(node, Var) || IsA(node, Aggref) || IsA(node, WindowFunc) || IsA(node, GroupingFunc);
}

/* Number of the child's column that computes a leaf; a new one where there is none. */
static AttrNumber
child_column(Builder *b, Node *leaf)
{
	ListCell   *cell;

	if (b->fixed)
		return ((Var *) leaf)->varattno;
	foreach(cell, b->columns)
	{
		if (equal(lfirst(cell), leaf))
			return foreach_current_index(cell) + 1;
	}
	b->columns = lappend(b->columns, leaf);
	return list_length(b->columns);
}

static Node *
column_var(int varno, AttrNumber column, Node *expression)
{
	return (Node *) makeVar(varno, column, exprType(expression), exprTypmod(expression), exprCollation(expression), 0);
}

/* The call whose column a node becomes, NULL for none. */
static DlmFound *
call_column(const Builder *b, Node *node)
{
	DlmFound   *entry = NULL;

	if (!b->written_out && IsA(node, FuncExpr))
		entry = dlm_batch_lookup(b->found, (FuncExpr *) node);
	return entry && b->everywhere && entry->guard ? NULL : entry;
}

static Node *
translate(Node *node, Builder *b)
{
	DlmFound   *entry;

	if (node == NULL)
		return NULL;
	if ((entry = call_column(b, node)) != NULL)
		return column_var(b->varno, entry->column, node);
	if (is_leaf(node))
		return column_var(b->varno, child_column(b, node), node);
	return expression_tree_mutator(node, translate, b);
}

/* An expression over the columns of varno. */
static Node *
translate_to(Builder *b, int varno, bool written_out, Node *node)
{
	b->varno = varno;
	b->written_out = written_out;
	return translate(node, b);
}

/* A call itself, with its arguments translated: its own entry must not replace it. */
static FuncExpr *
translate_call(Builder *b, int varno, bool written_out, const FuncExpr *call)
{
	FuncExpr   *result = makeNode(FuncExpr);

	*result = *call;
	result->args = (List *) translate_to(b, varno, written_out, (Node *) call->args);
	return result;
}

/* Collect the leaves of an expression before columns of calls are numbered. */
static void
collect_leaves(Builder *b, Node *node)
{
	(void) translate_to(b, INDEX_VAR, true, node);
}

static int
compare_levels(const ListCell *a, const ListCell *b)
{
	const DlmFound *x = lfirst(a);
	const DlmFound *y = lfirst(b);

	return x->level - y->level;
}

/* Columns of calls follow the child's, inner calls before outer ones. */
static void
number_calls(Builder *b)
{
	ListCell   *cell;
	AttrNumber	next = list_length(b->columns) + 1;

	list_sort(b->found, compare_levels);
	foreach(cell, b->found)
		((DlmFound *) lfirst(cell))->column = next++;
}

/* What each column of the scan tuple is. */
static List *
scan_tlist(Builder *b)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, b->columns)
	{
		AttrNumber	column = foreach_current_index(cell) + 1;

		result = lappend(result, makeTargetEntry((Expr *) column_var(OUTER_VAR, column, lfirst(cell)), column, NULL, false));
	}
	foreach(cell, b->found)
	{
		DlmFound   *entry = lfirst(cell);

		result = lappend(result, makeTargetEntry((Expr *) translate_call(b, OUTER_VAR, true, entry->call),
												 entry->column, NULL, false));
	}
	return result;
}

/* custom_exprs, as the enum of batch.h numbers its parts, and custom_private. */
static void
set_parts(CustomScan *node, Builder *b)
{
	List	   *calls = NIL,
			   *guards = NIL,
			   *levels = NIL;
	ListCell   *cell;

	foreach(cell, b->found)
	{
		DlmFound   *entry = lfirst(cell);

		calls = lappend(calls, translate_call(b, INDEX_VAR, false, entry->call));
		guards = lappend(guards, translate_to(b, INDEX_VAR, false, entry->guard));
		levels = lappend_int(levels, entry->level);
	}
	node->custom_exprs = list_make3(calls, guards, NIL);
	node->custom_private = levels;
}

/* What evaluating a target list costs for one row. */
static Cost
tlist_cost(List *targetlist)
{
	QualCost	cost;

	cost_qual_eval_node(&cost, (Node *) targetlist, NULL);
	return cost.per_tuple;
}

/* The node takes the place of `child` in the plan, with its rows, params and initplans. */
static CustomScan *
make_node(DlmRewrite *rewrite, Plan *child, bool below_gather)
{
	CustomScan *node = makeNode(CustomScan);
	Plan	   *plan = &node->scan.plan;

	plan->startup_cost = child->startup_cost;
	plan->total_cost = child->total_cost;
	plan->plan_rows = child->plan_rows;
	plan->plan_width = child->plan_width;
	plan->parallel_aware = below_gather;	/* shares its counters */
	plan->parallel_safe = child->parallel_safe;
	plan->plan_node_id = rewrite->next_node_id++;
	plan->lefttree = child;
	plan->initPlan = child->initPlan;
	child->initPlan = NIL;
	plan->extParam = bms_copy(child->extParam);
	plan->allParam = bms_copy(child->allParam);
	dlm_clear_async(child);		/* its parent is no Append any more */
	node->methods = &dlm_batch_methods;
	rewrite->nodes++;
	return node;
}

/* The child computes the leaves and no longer the calls. */
static void
set_child_tlist(Plan *child, List *columns)
{
	Cost		before = tlist_cost(child->targetlist);
	Cost		saved;
	ListCell   *cell;

	child->targetlist = NIL;
	foreach(cell, columns)
	{
		child->targetlist = lappend(child->targetlist,
									makeTargetEntry(lfirst(cell), foreach_current_index(cell) + 1, NULL, false));
	}
	saved = (before - tlist_cost(child->targetlist)) * child->plan_rows;
	child->total_cost = Max(child->total_cost - Max(saved, 0), child->startup_cost);
}

Plan *
dlm_batch_over(DlmRewrite *rewrite, Plan *plan, List *quals, List *found, bool below_gather)
{
	Builder		b = {found};
	CustomScan *node = make_node(rewrite, plan, below_gather);
	Plan	   *over = &node->scan.plan;
	ListCell   *cell;

	collect_leaves(&b, (Node *) plan->targetlist);
	collect_leaves(&b, (Node *) quals);
	number_calls(&b);
	node->custom_scan_tlist = scan_tlist(&b);
	set_parts(node, &b);
	foreach(cell, quals)
	{
		b.everywhere = foreach_current_index(cell) > 0;
		over->qual = lappend(over->qual, translate_to(&b, INDEX_VAR, false, lfirst(cell)));
	}
	b.everywhere = quals != NIL;
	foreach(cell, plan->targetlist)
	{
		TargetEntry *entry = flatCopyTargetEntry(lfirst_node(TargetEntry, cell));

		entry->expr = (Expr *) translate_to(&b, INDEX_VAR, false, (Node *) entry->expr);
		over->targetlist = lappend(over->targetlist, entry);
	}
	set_child_tlist(plan, b.columns);
	return over;
}

Plan *
dlm_batch_under(DlmRewrite *rewrite, Plan *input, List *found, bool below_gather)
{
	Builder		b = {.found = found, .fixed = true};
	CustomScan *node = make_node(rewrite, input, below_gather);
	ListCell   *cell;

	foreach(cell, input->targetlist)
		b.columns = lappend(b.columns, lfirst_node(TargetEntry, cell)->expr);
	number_calls(&b);
	node->custom_scan_tlist = scan_tlist(&b);
	set_parts(node, &b);
	foreach(cell, node->custom_scan_tlist)
	{
		TargetEntry *column = lfirst_node(TargetEntry, cell);
		TargetEntry *entry;

		if (column->resno <= list_length(input->targetlist))
			entry = flatCopyTargetEntry(list_nth_node(TargetEntry, input->targetlist, column->resno - 1));
		else
			entry = flatCopyTargetEntry(column);
		entry->expr = (Expr *) column_var(INDEX_VAR, column->resno, (Node *) column->expr);
		node->scan.plan.targetlist = lappend(node->scan.plan.targetlist, entry);
	}
	return &node->scan.plan;
}

typedef struct UseColumns
{
	const List *found;
	bool		inside;			/* in the input of an aggregate, or wherever calls are replaced */
} UseColumns;

/* Calls become columns of the node below. */
static Node *
use_columns(Node *node, UseColumns *use)
{
	DlmFound   *entry;
	UseColumns	within = {use->found, true};

	if (node == NULL)
		return NULL;
	if (use->inside && IsA(node, FuncExpr) && (entry = dlm_batch_lookup(use->found, (FuncExpr *) node)) != NULL)
		return column_var(OUTER_VAR, entry->column, node);
	if (IsA(node, Aggref) || IsA(node, WindowFunc))
		use = &within;
	return expression_tree_mutator(node, use_columns, use);
}

void
dlm_batch_use_columns(Plan *plan, const List *found)
{
	UseColumns	use = {found, IsA(plan, ProjectSet)};

	plan->targetlist = (List *) use_columns((Node *) plan->targetlist, &use);
	plan->qual = (List *) use_columns((Node *) plan->qual, &use);
}

/* ------------------------------------------------------------------- limits */

static bool
exec_param_walker(Node *node, Bitmapset **params)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		*params = bms_add_member(*params, ((Param *) node)->paramid);
	return expression_tree_walker(node, exec_param_walker, params);
}

Bitmapset *
dlm_exec_params(Node *expression)
{
	Bitmapset  *params = NULL;

	exec_param_walker(expression, &params);
	return params;
}

/* May the node evaluate it too? Values of PARAM_EXEC need not have reached a worker. */
static bool
usable_limit(Node *expression)
{
	return !contain_volatile_functions(expression) && !contain_subplans(expression) &&
		bms_is_empty(dlm_exec_params(expression));
}

static void
set_bound(Plan *plan, List *limit)
{
	ListCell   *cell;

	if (plan == NULL || plan->qual != NIL)
		return;					/* nobody knows how many rows a condition lets pass */
	if (dlm_is_batch(plan))
		lfirst(list_nth_cell(((CustomScan *) plan)->custom_exprs, DLM_BATCH_LIMIT)) = limit;
	if (dlm_is_batch(plan) || IsA(plan, LockRows) || IsA(plan, Gather) || IsA(plan, GatherMerge) ||
		(IsA(plan, Result) && ((Result *) plan)->resconstantqual == NULL))
		set_bound(outerPlan(plan), limit);
	else if (IsA(plan, SubqueryScan))
		set_bound(((SubqueryScan *) plan)->subplan, limit);
	else if (IsA(plan, Append))
		foreach(cell, ((Append *) plan)->appendplans)
			set_bound(lfirst(cell), limit);
}

void
dlm_batch_bound(Plan *plan, const Limit *limit)
{
	if (limit->limitCount != NULL && usable_limit(limit->limitCount) && usable_limit(limit->limitOffset))
		set_bound(plan, list_make2(limit->limitCount, limit->limitOffset));
}
