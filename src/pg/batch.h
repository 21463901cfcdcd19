/*
 * batch.h - the batch node: model calls of many rows evaluated together.
 *
 * PLANNING works on a copy of the finished plan, when the executor starts:
 * a cached or first-statement plan is treated like any other, and settings of
 * the moment count. Where a target list calls models
 *
 *		Parent -> P(id, upper(f(x)), g)
 * becomes
 *		Parent -> Custom Scan (DlmBatch)(id, upper(column 3), g) -> P(id, x, g)
 *
 * The node's scan tuple is the child's row followed by one column a call. All
 * that is not a call, or an argument of one, is computed by the node's own
 * projection when a row is emitted, so once a row and in order.
 *
 *	batch_find.c	which calls of an expression may be collected, under which condition
 *	batch_build.c	the node over or under one plan node
 *	batch_filter.c	nodes that filter: calls in WHERE
 *	batch_inline.c	sub-selects that only call a model become part of their row
 *	batch_plan.c	the walk over a whole statement
 *	batch_hooks.c	when all this happens
 *
 * EXECUTION
 *
 *	batch_node.c	the custom scan's methods
 *	batch_rows.c	reading rows ahead, and loading one of them into the scan tuple
 *	batch_eval.c	arguments, requests, answers of one batch
 *	batch_memo.c	answers of the statement, so that equal calls are computed once
 *	batch_explain.c	what EXPLAIN shows, and its sum over parallel workers
 */
#ifndef DLM_PG_BATCH_H
#define DLM_PG_BATCH_H

#include "nodes/extensible.h"
#include "nodes/pg_list.h"
#include "nodes/plannodes.h"

#include "functions.h"

#define DLM_BATCH_NODE	"DlmBatch"
#define DLM_LEAST_ROWS	2		/* the planner expects so many, or nothing is collected */

/* What is kept over the treatment of one statement. */
typedef struct DlmRewrite
{
	PlannedStmt *stmt;			/* the copy, changed in place */
	int			next_node_id;
	int			nodes;			/* batch nodes placed */
	int			volatile_parts; /* target lists and conditions with volatile functions */
	Bitmapset  *inlined;		/* plan_id of sub-selects that became part of their row */
	List	   *reasons;		/* char *: why a call is computed row by row, each once */
} DlmRewrite;

/* A call that a node collects, or may not. */
typedef struct DlmFound
{
	FuncExpr   *call;			/* as it stands in the plan */
	bool		usable;			/* it stands where it may be collected */
	Node	   *guard;			/* ... evaluated only where this is true; NULL = for every row */
	const char *blocked;		/* it (also) stands where it may not, and why; or NULL */
	int			level;			/* 0, or one more than the calls in its arguments */
	AttrNumber	column;			/* of the scan tuple; set by batch_build.c */
} DlmFound;

/* -- batch_find.c -- */

/*
 * Find the calls in an expression and add them to *found (DlmFound *, inner
 * calls before outer ones, equal calls once). Aggregates and window functions
 * are not looked into.
 */
extern void dlm_batch_find(DlmRewrite *rewrite, Node *expression, List **found);

/* The same for the input of an aggregate or window function; filter may be NULL. */
extern void dlm_batch_find_input(DlmRewrite *rewrite, Node *input, Expr *filter, List **found);

/* The same for what is not evaluated for every row. */
extern void dlm_batch_find_blocked(DlmRewrite *rewrite, Node *expression, const char *reason, List **found);

/*
 * When all expressions of a node have been looked at: the calls to collect
 * now. Then look again over the new node: a branch that one of them decides
 * can be collected there. When there are none, what was found goes to
 * rewrite->reasons.
 */
extern List *dlm_batch_settle(DlmRewrite *rewrite, List *found);

/* All calls of an expression stay as they are, for this reason ("in a ..."). */
extern void dlm_batch_refuse(DlmRewrite *rewrite, Node *expression, const char *reason);

/* The entry of a call equal to this one, or NULL. */
extern DlmFound *dlm_batch_lookup(const List *found, const FuncExpr *call);

/* -- batch_build.c -- */

/*
 * Put a node over `plan` and return it. quals NIL: found are calls of the
 * plan's target list. Else the node filters by quals, which the plan no longer
 * does, and found are calls of the first of them.
 */
extern Plan *dlm_batch_over(DlmRewrite *rewrite, Plan *plan, List *quals, List *found, bool below_gather);

/* Put a node over `input` that adds columns for calls of the plan above; returns the node. */
extern Plan *dlm_batch_under(DlmRewrite *rewrite, Plan *input, List *found, bool below_gather);

/*
 * ... and let that plan refer to the columns: in its aggregates and window
 * functions, or, where it is a ProjectSet, in its whole target list.
 */
extern void dlm_batch_use_columns(Plan *plan, const List *found);

/* At most so many rows are wanted of the nodes under `plan` that pass their rows on to it. */
extern void dlm_batch_bound(Plan *plan, const Limit *limit);

/* Where a node's parts lie in custom_exprs. The calls' levels are its custom_private. */
typedef enum DlmBatchExprs { DLM_BATCH_CALLS, DLM_BATCH_GUARDS, DLM_BATCH_LIMIT } DlmBatchExprs;

/* The executor's parameters (PARAM_EXEC) that an expression reads. */
extern Bitmapset *dlm_exec_params(Node *expression);

/* -- batch_filter.c -- */

/* Nodes over `plan` for the calls of its conditions; returns the topmost, or plan itself. */
extern Plan *dlm_batch_filter(DlmRewrite *rewrite, Plan *plan, bool below_gather);

/* -- batch_inline.c -- */

/* Sub-selects of a target list that read nothing but the row become expressions of the row. */
extern List *dlm_batch_inline(DlmRewrite *rewrite, List *targetlist);

/* -- batch_plan.c -- */

/*
 * A copy of the statement with batch nodes where they serve, in the
 * CurrentMemoryContext; *reasons lists why calls stay row by row (char *).
 * scroll: rows may be asked for backward.
 */
extern PlannedStmt *dlm_batch_rewrite(const PlannedStmt *stmt, bool scroll, List **reasons);

/* Is this one of our nodes? */
extern bool dlm_is_batch(const Plan *plan);

/* -- batch_node.c -- */

extern const CustomScanMethods dlm_batch_methods;

/* _PG_init */
extern void dlm_batch_init(void);

#endif							/* DLM_PG_BATCH_H */
