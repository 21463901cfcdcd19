/*
 * batch_find.c - which calls of an expression the batch node may collect.
 *
 * A collected call is evaluated for every row that is read, before the rest of
 * the row's expressions. So it must be one that PostgreSQL would evaluate for
 * every row too, or its condition (the branches of CASE and COALESCE before
 * it, the arms of AND and OR) must be cheap and immutable: then the condition
 * is evaluated first, and a branch not taken is not computed.
 *
 * Node types are listed by what they do with their arguments; one that is not
 * listed may leave some out, and its calls stay row by row.
 */
#include "dlm_pg.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "batch.h"

#define CHEAP_OPERATORS		100 /* a condition may cost so many operators */

typedef struct Finder
{
	DlmRewrite *rewrite;
	List	  **found;
	List	   *guards;			/* Node *: all must be true where we are */
	const char *blocked;		/* why nothing can be collected where we are; NULL = it can */
} Finder;

static bool find_walker(Node *node, Finder *f);

/* ------------------------------------------------------------------- reasons */

static void
add_reason(DlmRewrite *rewrite, Oid function, const char *reason)
{
	char	   *name = get_func_name(function);
	char	   *line = psprintf("%s %s", name ? name : "?", reason);
	ListCell   *cell;

	foreach(cell, rewrite->reasons)
	{
		if (strcmp(lfirst(cell), line) == 0)
			return;
	}
	rewrite->reasons = lappend(rewrite->reasons, line);
	elog(DEBUG1, "dlm computes row by row: %s", line);
}

typedef struct Refusal
{
	DlmRewrite *rewrite;
	const char *reason;
} Refusal;

static bool
refuse_walker(Node *node, Refusal *refusal)
{
	if (node == NULL)
		return false;
	if (dlm_called(node))
		add_reason(refusal->rewrite, ((FuncExpr *) node)->funcid, refusal->reason);
	return expression_tree_walker(node, refuse_walker, refusal);
}

void
dlm_batch_refuse(DlmRewrite *rewrite, Node *expression, const char *reason)
{
	Refusal		refusal = {rewrite, reason};

	refuse_walker(expression, &refusal);
}

/* -------------------------------------------------------------------- guards */

static Node *
bool_const(bool value)
{
	return makeBoolConst(value, false);
}

/* A value that only has meaning inside an expression around this one. */
static bool
loose_value_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue))
		return true;
	/* these provide it for what they hold themselves */
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg)
		return loose_value_walker((Node *) ((CaseExpr *) node)->arg, context);
	if (IsA(node, ArrayCoerceExpr))
		return loose_value_walker((Node *) ((ArrayCoerceExpr *) node)->arg, context);
	return expression_tree_walker(node, loose_value_walker, context);
}

/* May a condition be evaluated ahead, and once more in its place? */
static bool
may_guard(Node *condition)
{
	QualCost	cost;

	if (contain_mutable_functions(condition) || contain_subplans(condition) || loose_value_walker(condition, NULL))
		return false;
	cost_qual_eval_node(&cost, condition, NULL);
	return cost.startup + cost.per_tuple <= CHEAP_OPERATORS * cpu_operator_cost;
}

/* Walk a node that is evaluated only where the guard is true (NULL: the same place as before). */
static bool
find_guarded(Node *node, Node *guard, Finder *f)
{
	List	   *guards = f->guards;
	const char *blocked = f->blocked;

	if (guard && !may_guard(guard))
	{
		if (!f->blocked)
			f->blocked = "in a branch whose condition is not immutable and cheap";
	}
	else if (guard)
		f->guards = lappend(list_copy(guards), guard);
	find_walker(node, f);
	f->guards = guards;
	f->blocked = blocked;
	return false;
}

static bool
find_blocked(Node *node, const char *reason, Finder *f)
{
	const char *blocked = f->blocked;

	if (!f->blocked)
		f->blocked = reason;
	find_walker(node, f);
	f->blocked = blocked;
	return false;
}

/*
 * CASE decides by the same CASE: its results replaced by booleans that are
 * true for the arm looked at. arms: so many WHENs are kept; last: the truth of
 * the last of them, rest: of what comes after.
 */
static Node *
case_guard(const CaseExpr *expression, int arms, bool last, bool rest)
{
	CaseExpr   *guard = makeNode(CaseExpr);

	if (arms == 0)
		return NULL;			/* nothing comes before */
	guard->casetype = BOOLOID;
	guard->casecollid = InvalidOid;
	guard->arg = expression->arg;
	guard->defresult = (Expr *) bool_const(rest);
	guard->location = -1;
	for (int i = 0; i < arms; i++)
	{
		CaseWhen   *when = makeNode(CaseWhen);

		when->expr = ((CaseWhen *) list_nth(expression->args, i))->expr;
		when->result = (Expr *) bool_const(i == arms - 1 && last);
		when->location = -1;
		guard->args = lappend(guard->args, when);
	}
	return (Node *) guard;
}

static bool
find_case(CaseExpr *expression, Finder *f)
{
	int			n = list_length(expression->args);

	find_walker((Node *) expression->arg, f);
	for (int i = 0; i < n; i++)
	{
		CaseWhen   *when = list_nth_node(CaseWhen, expression->args, i);

		find_guarded((Node *) when->expr, case_guard(expression, i, false, true), f);
		find_guarded((Node *) when->result, case_guard(expression, i + 1, true, false), f);
	}
	return find_guarded((Node *) expression->defresult, case_guard(expression, n, false, true), f);
}

/* Is `value` NULL, as COALESCE asks: a row of NULLs is not. */
static Node *
is_null(Expr *value)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = value;
	test->nulltesttype = IS_NULL;
	test->argisrow = false;
	test->location = -1;
	return (Node *) test;
}

/* AND goes on unless an arm is false, OR unless one is true. */
static Node *
goes_on(Expr *arm, BoolExprType type)
{
	BooleanTest *test = makeNode(BooleanTest);

	test->arg = arm;
	test->booltesttype = type == AND_EXPR ? IS_NOT_FALSE : IS_NOT_TRUE;
	test->location = -1;
	return (Node *) test;
}

/* The arms of COALESCE, AND, OR: each is evaluated only after those before it did not decide. */
static bool
find_arms(List *arms, Node *(*condition) (Expr *arm, BoolExprType type), BoolExprType type, Finder *f)
{
	List	   *before = NIL;
	ListCell   *cell;

	foreach(cell, arms)
	{
		find_guarded(lfirst(cell), before ? (Node *) make_ands_explicit(before) : NULL, f);
		before = lappend(list_copy(before), condition ? condition(lfirst(cell), type) : is_null(lfirst(cell)));
	}
	return false;
}

/* --------------------------------------------------------------------- calls */

DlmFound *
dlm_batch_lookup(const List *found, const FuncExpr *call)
{
	ListCell   *cell;

	foreach(cell, found)
	{
		DlmFound   *entry = lfirst(cell);

		if (equal(entry->call, call))
			return entry;
	}
	return NULL;
}

typedef struct LevelSearch
{
	const List *found;
	int			level;
} LevelSearch;

static bool
level_walker(Node *node, LevelSearch *search)
{
	DlmFound   *entry;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && (entry = dlm_batch_lookup(search->found, (FuncExpr *) node)) != NULL)
	{
		search->level = Max(search->level, entry->level + 1);
		return false;
	}
	return expression_tree_walker(node, level_walker, search);
}

static const char *
why_not(const FuncExpr *call, const Finder *f)
{
	if (f->blocked)
		return f->blocked;
	if (contain_volatile_functions((Node *) call->args))
		return "with a volatile argument";
	if (loose_value_walker((Node *) call->args, NULL))
		return "with an argument that a CASE or a cast around it provides";
	/* a domain's row is refused when it is evaluated, as is what is no row */
	if (dlm_function_of(call->funcid)->row && (!type_is_rowtype(exprType(linitial(call->args))) ||
											   get_typtype(exprType(linitial(call->args))) == TYPTYPE_DOMAIN))
		return "with an argument that is no row";
	return NULL;
}

/* The conjunction of the guards where we are. */
static Node *
present_guard(const Finder *f)
{
	return f->guards ? (Node *) make_ands_explicit(list_copy(f->guards)) : NULL;
}

/* Equal calls are one: it is evaluated where any of them would be. */
static void
widen_guard(DlmFound *entry, Node *guard)
{
	if (entry->guard == NULL || guard == NULL)
		entry->guard = NULL;
	else if (!equal(entry->guard, guard))
		entry->guard = (Node *) makeBoolExpr(OR_EXPR, list_make2(entry->guard, guard), -1);
}

static DlmFound *
entry_of(FuncExpr *call, Finder *f)
{
	DlmFound   *entry = dlm_batch_lookup(*f->found, call);
	LevelSearch search = {*f->found, 0};

	if (entry)
		return entry;
	level_walker((Node *) call->args, &search);
	entry = palloc0(sizeof(DlmFound));
	entry->call = call;
	entry->level = search.level;
	*f->found = lappend(*f->found, entry);
	return entry;
}

static bool
find_call(FuncExpr *call, Finder *f)
{
	const char *reason = why_not(call, f);
	DlmFound   *entry;

	find_walker((Node *) call->args, f);
	entry = entry_of(call, f);
	if (reason)
		entry->blocked = reason;
	else if (entry->usable)
		widen_guard(entry, present_guard(f));
	else
	{
		entry->usable = true;
		entry->guard = present_guard(f);
	}
	return false;
}

/* A type of node that may evaluate some of its arguments only. */
static bool
find_unlisted(Node *node, Finder *f)
{
	const char *blocked = f->blocked;

	if (!f->blocked)
		f->blocked = "in an expression that may leave it out";
	expression_tree_walker(node, find_walker, f);
	f->blocked = blocked;
	return false;
}

static bool
find_walker(Node *node, Finder *f)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			if (dlm_called(node))
				return find_call((FuncExpr *) node, f);
			break;
		case T_CaseExpr:
			return find_case((CaseExpr *) node, f);
		case T_CoalesceExpr:
			return find_arms(((CoalesceExpr *) node)->args, NULL, NOT_EXPR, f);
		case T_BoolExpr:
			if (((BoolExpr *) node)->boolop == NOT_EXPR)
				break;
			return find_arms(((BoolExpr *) node)->args, goes_on, ((BoolExpr *) node)->boolop, f);
		case T_Aggref:
		case T_WindowFunc:
		case T_GroupingFunc:
			return false;		/* computed below: see dlm_batch_find_input */
		case T_SubPlan:
			find_blocked(((SubPlan *) node)->testexpr, "compared with a sub-query", f);
			return find_blocked((Node *) ((SubPlan *) node)->args, "in an argument of a sub-query", f);
		case T_ArrayCoerceExpr:
			find_walker((Node *) ((ArrayCoerceExpr *) node)->arg, f);
			return find_blocked((Node *) ((ArrayCoerceExpr *) node)->elemexpr, "in a cast of array elements", f);
		case T_SubscriptingRef:
			find_walker((Node *) ((SubscriptingRef *) node)->refexpr, f);
			find_walker((Node *) ((SubscriptingRef *) node)->refassgnexpr, f);
			find_blocked((Node *) ((SubscriptingRef *) node)->refupperindexpr, "in a subscript", f);
			return find_blocked((Node *) ((SubscriptingRef *) node)->reflowerindexpr, "in a subscript", f);
		case T_List:
		case T_TargetEntry:
		case T_Var:
		case T_Const:
		case T_Param:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
		case T_CollateExpr:
		case T_FieldSelect:
		case T_FieldStore:
		case T_NullTest:
		case T_BooleanTest:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_MinMaxExpr:
			break;				/* evaluate all their arguments */
		default:
			return find_unlisted(node, f);
	}
	return expression_tree_walker(node, find_walker, f);
}

void
dlm_batch_find(DlmRewrite *rewrite, Node *expression, List **found)
{
	Finder		f = {rewrite, found, NIL, NULL};

	find_walker(expression, &f);
}

void
dlm_batch_find_input(DlmRewrite *rewrite, Node *input, Expr *filter, List **found)
{
	Finder		f = {rewrite, found, NIL, NULL};

	find_walker((Node *) filter, &f);
	find_guarded(input, (Node *) filter, &f);
}

void
dlm_batch_find_blocked(DlmRewrite *rewrite, Node *expression, const char *reason, List **found)
{
	Finder		f = {rewrite, found, NIL, reason};

	find_walker(expression, &f);
}

/*
 * A node puts the answer wherever an equal call stands. So one that stands
 * where it is not collected, too, needs an answer for every row, or is none.
 */
static bool
is_settled(const DlmFound *entry)
{
	return entry->usable && (entry->blocked == NULL || entry->guard == NULL);
}

List *
dlm_batch_settle(DlmRewrite *rewrite, List *found)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, found)
	{
		if (is_settled(lfirst(cell)))
			result = lappend(result, lfirst(cell));
	}
	/* a node will stand there, and conditions that read its columns are cheap ones: look again */
	if (result != NIL)
		return result;
	foreach(cell, found)
		add_reason(rewrite, ((DlmFound *) lfirst(cell))->call->funcid, ((DlmFound *) lfirst(cell))->blocked);
	return NIL;
}
