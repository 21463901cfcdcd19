/*
 * batch_inline.c - sub-selects that read nothing but their row.
 *
 *		UPDATE t SET (b, c) = (SELECT f.label, f.margin FROM dlm_classify_full(t.body, ...) f)
 *		SELECT (SELECT dlm_classify(t.body, ...)) FROM t
 *
 * Such a sub-select has one row whatever happens, so its columns are
 * expressions of the outer row, in which calls can be collected.
 */
#include "dlm_pg.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "nodes/makefuncs.h"

#include "batch.h"

typedef struct Inliner
{
	DlmRewrite *rewrite;
	List	   *outputs;		/* Param ids that a MULTIEXPR sub-select sets ... */
	List	   *values;			/* ... and the expressions that take their place */
} Inliner;

/* The sub-select's own parameters, replaced by what the outer row gives for them. */
static Node *
substitute_params(Node *node, SubPlan *subplan)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		ListCell   *id,
				   *arg;

		forboth(id, subplan->parParam, arg, subplan->args)
		{
			if (lfirst_int(id) == ((Param *) node)->paramid)
				return copyObject(lfirst(arg));
		}
	}
	return expression_tree_mutator(node, substitute_params, subplan);
}

/* Columns of a function in FROM, replaced by the call; *whole is set where that cannot be said. */
typedef struct FromFunction
{
	FuncExpr   *call;
	bool		composite;
	bool		whole;
} FromFunction;

static Node *
substitute_columns(Node *node, FromFunction *from)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		FieldSelect *field;

		if (var->varattno <= 0 || (!from->composite && var->varattno != 1))
			from->whole = true;
		if (!from->composite)
			return copyObject((Node *) from->call);
		field = makeNode(FieldSelect);
		field->arg = copyObject((Expr *) from->call);
		field->fieldnum = var->varattno;
		field->resulttype = var->vartype;
		field->resulttypmod = var->vartypmod;
		field->resultcollid = var->varcollid;
		return (Node *) field;
	}
	return expression_tree_mutator(node, substitute_columns, from);
}

/* The target list of a scan of one of our functions, in terms of the call; NIL if the scan is not that simple. */
static List *
function_scan_outputs(FunctionScan *scan)
{
	FromFunction from = {0};
	RangeTblFunction *function;
	const DlmFunction *known;
	List	   *result;

	if (list_length(scan->functions) != 1 || scan->funcordinality)
		return NIL;
	function = linitial_node(RangeTblFunction, scan->functions);
	if (!IsA(function->funcexpr, FuncExpr) || function->funccolnames != NIL)
		return NIL;
	from.call = (FuncExpr *) function->funcexpr;
	known = dlm_function_of(from.call->funcid);
	if (known == NULL)
		return NIL;
	from.composite = known->composite;
	result = (List *) substitute_columns((Node *) scan->scan.plan.targetlist, &from);
	return from.whole ? NIL : result;
}

/* The target list of a sub-select that has one row whatever happens; NIL for any other. */
static List *
row_outputs(Plan *plan)
{
	if (plan == NULL || plan->lefttree || plan->qual || plan->initPlan)
		return NIL;
	if (IsA(plan, Result) && ((Result *) plan)->resconstantqual == NULL)
		return plan->targetlist;
	if (IsA(plan, FunctionScan))
		return function_scan_outputs((FunctionScan *) plan);
	return NIL;
}

/* Expressions for the columns of a sub-select, NIL where it must stay one. */
static List *
inlined_columns(const PlannedStmt *stmt, SubPlan *subplan)
{
	List	   *targets;
	List	   *result = NIL;
	ListCell   *cell;

	if (subplan->subLinkType != EXPR_SUBLINK && subplan->subLinkType != MULTIEXPR_SUBLINK)
		return NIL;
	targets = row_outputs(list_nth(stmt->subplans, subplan->plan_id - 1));
	if (!dlm_calls_models((Node *) targets) || contain_volatile_functions((Node *) targets) ||
		contain_subplans((Node *) targets) || contain_volatile_functions((Node *) subplan->args))
		return NIL;
	foreach(cell, targets)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk)
			result = lappend(result, substitute_params((Node *) entry->expr, subplan));
	}
	if (subplan->subLinkType == MULTIEXPR_SUBLINK && list_length(result) != list_length(subplan->setParam))
		return NIL;
	return result;
}

static Node *
inline_mutator(Node *node, Inliner *in)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, SubPlan))
	{
		SubPlan    *subplan = (SubPlan *) node;
		List	   *columns = inlined_columns(in->rewrite->stmt, subplan);

		if (columns != NIL)
			in->rewrite->inlined = bms_add_member(in->rewrite->inlined, subplan->plan_id);
		if (columns != NIL && subplan->subLinkType == EXPR_SUBLINK)
			return linitial(columns);
		if (columns != NIL)
		{
			in->outputs = list_concat(in->outputs, subplan->setParam);
			in->values = list_concat(in->values, columns);
			return (Node *) makeNullConst(RECORDOID, -1, InvalidOid);	/* a junk column whose value nobody reads */
		}
	}
	return expression_tree_mutator(node, inline_mutator, in);
}

static Node *
output_mutator(Node *node, Inliner *in)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		ListCell   *id,
				   *value;

		forboth(id, in->outputs, value, in->values)
		{
			if (lfirst_int(id) == ((Param *) node)->paramid)
				return copyObject(lfirst(value));
		}
	}
	return expression_tree_mutator(node, output_mutator, in);
}

List *
dlm_batch_inline(DlmRewrite *rewrite, List *targetlist)
{
	Inliner		in = {rewrite, NIL, NIL};

	if (!contain_subplans((Node *) targetlist))
		return targetlist;
	targetlist = (List *) inline_mutator((Node *) targetlist, &in);
	return in.outputs ? (List *) output_mutator((Node *) targetlist, &in) : targetlist;
}
