/*
 * batch_node.c - the batch node as a custom scan.
 *
 * The node owns no lock, pin or file between two rows: compute slots, threads
 * and the model's mapping are held inside dlm_run alone, never while the child
 * runs or a row is with the client.
 */
#include "dlm_pg.h"

#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "batch_state.h"

static Node *create_state(CustomScan *plan);

const CustomScanMethods dlm_batch_methods = {DLM_BATCH_NODE, create_state};

/* ------------------------------------------------------------------ beginning */

static bool
is_fixed(const Node *expression)
{
	return IsA(expression, Const) || IsA(expression, Param);
}

/* Expressions that cannot fail, beyond what reading their values can. */
static bool
is_simple(const Node *expression)
{
	if (expression && IsA(expression, RelabelType))
		return is_simple((const Node *) ((const RelabelType *) expression)->arg);
	return expression && (is_fixed(expression) || IsA(expression, Var));
}

static void
begin_args(DlmBatchState *b, DlmBatchCall *call, List *args)
{
	ListCell   *cell;

	call->n_args = list_length(args);
	call->args = palloc0(call->n_args * sizeof(DlmBatchArg));
	call->fixed = true;
	foreach(cell, args)
	{
		Node	   *expression = lfirst(cell);
		DlmBatchArg *arg = &call->args[foreach_current_index(cell)];

		arg->state = ExecInitExpr((Expr *) expression, &b->css.ss.ps);
		get_typlenbyval(exprType(expression), &arg->typlen, &arg->typbyval);
		arg->fixed = is_fixed(expression);
		arg->in_row = IsA(expression, Var) && ((Var *) expression)->varattno <= b->n_columns;
		if (foreach_current_index(cell) != dlm_input_place(call->function))
			call->fixed &= arg->fixed;
		b->guarded |= !is_simple(expression);
	}
}

static void
begin_call(DlmBatchState *b, DlmBatchCall *call, FuncExpr *expression, Node *guard, int level)
{
	call->function = dlm_function_of(expression->funcid);
	if (call->function == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %u is no longer one of extension \"dlm\"", expression->funcid)));
	call->funcid = expression->funcid;
	call->level = level;
	call->alone = ExecInitExpr((Expr *) expression, &b->css.ss.ps);
	if (guard)
		call->guard = ExecInitQual(list_make1(guard), &b->css.ss.ps);
	b->guarded |= guard != NULL;
	call->guard_params = dlm_exec_params(guard);
	call->arg_params = dlm_exec_params((Node *) expression->args);
	begin_args(b, call, expression->args);
	if (call->function->composite)
		call->desc = lookup_rowtype_tupdesc_copy(expression->funcresulttype, -1);
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	DlmBatchState *b = (DlmBatchState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	List	   *calls = list_nth(plan->custom_exprs, DLM_BATCH_CALLS);
	List	   *guards = list_nth(plan->custom_exprs, DLM_BATCH_GUARDS);
	List	   *limit = list_nth(plan->custom_exprs, DLM_BATCH_LIMIT);

	outerPlanState(node) = ExecInitNode(outerPlan(plan), estate, eflags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK));
	b->n_columns = list_length(outerPlan(plan)->targetlist);
	b->row_slot = ExecInitExtraTupleSlot(estate, ExecGetResultType(outerPlanState(node)), &TTSOpsMinimalTuple);
	b->n_calls = list_length(calls);
	b->calls = palloc0(b->n_calls * sizeof(DlmBatchCall));
	for (int i = 0; i < b->n_calls; i++)
		begin_call(b, &b->calls[i], list_nth(calls, i), list_nth(guards, i), list_nth_int(plan->custom_private, i));
	/* a scan that a sub-query's argument opens in a subtransaction would outlive it */
	if (contain_subplans((Node *) calls))
		b->guarded = false;
	if (limit)
	{
		b->limit_count = ExecInitExpr(linitial(limit), &node->ss.ps);
		b->limit_offset = ExecInitExpr(lsecond(limit), &node->ss.ps);
	}
	b->ahead = 1;
	b->bound = -1;
	b->read = AllocSetContextCreate(estate->es_query_cxt, "dlm rows", 0, 1024, dlm_batch_block(dlm_batch_room()));
	b->batch = AllocSetContextCreate(estate->es_query_cxt, "dlm batch", 0, 1024, dlm_batch_block(dlm_batch_room()));
	b->memo = dlm_memo_of(estate);
}

/* ---------------------------------------------------------------------- rows */

/* The next row into the scan tuple; false at the end. */
static bool
next_row(DlmBatchState *b)
{
	if (b->next == b->ready && !dlm_batch_fill(b))
		return false;
	dlm_batch_load(b, b->next);
	if (b->alone[b->next])
		dlm_batch_evaluate_alone(b);
	b->next++;
	b->handed++;
	b->counters.rows++;
	return true;
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	DlmBatchState *b = (DlmBatchState *) node;
	PlanState  *ps = &node->ss.ps;
	ExprContext *econtext = ps->ps_ExprContext;

	econtext->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
	for (;;)
	{
		ResetExprContext(econtext);
		if (!next_row(b))
			return ps->ps_ProjInfo ? ExecClearTuple(ps->ps_ResultTupleSlot) : NULL;
		if (ps->qual == NULL || ExecQual(ps->qual, econtext))
			return ps->ps_ProjInfo ? ExecProject(ps->ps_ProjInfo) : node->ss.ss_ScanTupleSlot;
		InstrCountFiltered1(node, 1);
	}
}

static void
rescan(CustomScanState *node)
{
	DlmBatchState *b = (DlmBatchState *) node;

	dlm_batch_restart(b);
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}

static void
end_scan(CustomScanState *node)
{
	DlmBatchState *b = (DlmBatchState *) node;

	dlm_batch_stop(b);
	MemoryContextDelete(b->batch);
	MemoryContextDelete(b->read);
	ExecEndNode(outerPlanState(node));
}

static const CustomExecMethods exec_methods = {
	.CustomName = DLM_BATCH_NODE,
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
	.EstimateDSMCustomScan = dlm_batch_estimate_dsm,
	.InitializeDSMCustomScan = dlm_batch_init_dsm,
	.ReInitializeDSMCustomScan = dlm_batch_reinit_dsm,
	.InitializeWorkerCustomScan = dlm_batch_init_worker,
	.ShutdownCustomScan = dlm_batch_shutdown,
	.ExplainCustomScan = dlm_batch_explain
};

static Node *
create_state(CustomScan *plan)
{
	DlmBatchState *b = (DlmBatchState *) newNode(sizeof(DlmBatchState), T_CustomScanState);

	b->css.methods = &exec_methods;
	return (Node *) b;
}
