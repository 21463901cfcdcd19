/*
 * batch_filter.c - calls in the conditions of a scan, join or aggregate.
 *
 *		Seq Scan on t (Filter: a > 1 AND f(x) = 'spam' AND g(y) > 0)
 * becomes
 *		DlmBatch (Filter: column > 0)		g(y)
 *		  ->  DlmBatch (Filter: column = 'spam')		f(x)
 *				->  Seq Scan on t (Filter: a > 1)
 *
 * Conditions are in the order in which PostgreSQL evaluates them: security
 * barriers first, then the cheaper ones. That order stays. Each condition that
 * calls a model gets a node of its own, so nothing is computed, nor an argument
 * evaluated, for a row that an earlier condition refuses.
 */
#include "dlm_pg.h"

#include <math.h>

#include "optimizer/cost.h"
#include "optimizer/optimizer.h"

#include "batch.h"

/*
 * Rows that the condition is evaluated for, by the planner's own estimate: it
 * has told only how many pass, but the calls make up the costs.
 */
static double
rows_before(const Plan *plan, Node *condition)
{
	QualCost	cost;

	cost_qual_eval_node(&cost, condition, NULL);
	return Max(plan->plan_rows, (plan->total_cost - plan->startup_cost) / Max(cost.per_tuple, cpu_operator_cost));
}

/* A node over `plan` that evaluates its conditions from number `first` on. */
static Plan *
filter_from(DlmRewrite *rewrite, Plan *plan, int first, List *found, bool below_gather)
{
	List	   *quals = list_copy_tail(plan->qual, first);
	double		rows = rows_before(plan, linitial(quals));
	Plan	   *node;

	plan->qual = list_truncate(list_copy(plan->qual), first);
	node = dlm_batch_over(rewrite, plan, quals, found, below_gather);
	plan->plan_rows = rint(rows);
	return node;
}

Plan *
dlm_batch_filter(DlmRewrite *rewrite, Plan *plan, bool below_gather)
{
	ListCell   *cell;

	foreach(cell, plan->qual)
	{
		List	   *found = NIL;

		if (rows_before(plan, lfirst(cell)) < DLM_LEAST_ROWS)
			continue;
		dlm_batch_find(rewrite, lfirst(cell), &found);
		found = dlm_batch_settle(rewrite, found);
		if (found)
			return dlm_batch_filter(rewrite, filter_from(rewrite, plan, foreach_current_index(cell), found, below_gather),
									below_gather);
	}
	return plan;
}
