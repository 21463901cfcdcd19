/*
 * row_check.c - is a filled row legal? The real casts and the real checks say.
 *
 * Input functions of domains, and the checks of tables, are code of the
 * table's owner. It runs in a security-restricted operation, as that role where
 * the caller may do more (rights.h): a superuser who fills a hostile table lends
 * it no rights. What it raises is caught in a subtransaction; a
 * parallel plan cannot begin one, so the functions that fill rows are parallel
 * unsafe, and below another that is not, what it raises ends the statement.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "errors.h"
#include "rights.h"
#include "row_job.h"

typedef struct Attempt
{
	DlmRowJob  *job;
	int			gap;			/* being cast; n_gaps: the checks */
	int			failed_check;	/* -1 */
	const DlmRowKey *failed_key;
} Attempt;

/* ------------------------------------------------------------------- checks */

static void
prepare_checks(DlmRowType *t)
{
	TupleConstr *constr = t->desc->constr;
	MemoryContext before = MemoryContextSwitchTo(t->context);

	t->estate = CreateExecutorState();
	MemoryContextSwitchTo(t->estate->es_query_cxt);
	t->n_checks = constr ? constr->num_check : 0;
	t->checks = palloc0(Max(t->n_checks, 1) * sizeof(ExprState *));
	for (int i = 0; i < t->n_checks; i++)
		t->checks[i] = ExecPrepareExpr((Expr *) stringToNode(constr->check[i].ccbin), t->estate);
	if (constr && constr->has_generated_stored)
		t->generated = palloc0(t->desc->natts * sizeof(ExprState *));
	for (int i = 0; t->generated && i < constr->num_defval; i++)
	{
		int			column = constr->defval[i].adnum - 1;

		if (TupleDescAttr(t->desc, column)->attgenerated == ATTRIBUTE_GENERATED_STORED)
			t->generated[column] = ExecPrepareExpr((Expr *) stringToNode(constr->defval[i].adbin), t->estate);
	}
	MemoryContextSwitchTo(before);
}

/* The row with its gaps filled, and what is generated from them. */
static void
fill_slot(const DlmRowJob *job, TupleTableSlot *slot, ExprContext *econtext)
{
	DlmRowType *t = job->type;
	int			n = t->desc->natts;

	memcpy(slot->tts_values, job->values, n * sizeof(Datum));
	memcpy(slot->tts_isnull, job->nulls, n * sizeof(bool));
	for (int g = 0; g < job->n_gaps; g++)
	{
		slot->tts_values[job->gap[g].column->attnum - 1] = job->gap[g].value;
		slot->tts_isnull[job->gap[g].column->attnum - 1] = job->gap[g].text == NULL;
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = t->relid;	/* a check may read it */
	econtext->ecxt_scantuple = slot;
	for (int i = 0; t->generated && i < n; i++)
	{
		if (t->generated[i])
			slot->tts_values[i] = ExecEvalExprSwitchContext(t->generated[i], econtext, &slot->tts_isnull[i]);
	}
}

/* The first check that the row does not pass; -1: none. NULL passes, as in PostgreSQL. */
static int
failing_check(DlmRowJob *job)
{
	DlmRowType *t = job->type;
	TupleTableSlot *slot;
	ExprContext *econtext;
	int			failed = -1;

	if (t->estate == NULL)
		prepare_checks(t);
	if (t->n_checks == 0 && t->generated == NULL)
		return -1;
	slot = MakeSingleTupleTableSlot(t->desc, &TTSOpsVirtual);
	econtext = GetPerTupleExprContext(t->estate);
	fill_slot(job, slot, econtext);
	for (int i = 0; i < t->n_checks && failed < 0; i++)
	{
		if (!ExecCheck(t->checks[i], econtext))
			failed = i;
	}
	ResetPerTupleExprContext(t->estate);
	ExecDropSingleTupleTableSlot(slot);
	return failed;
}

/* ----------------------------------------------------------------- attempts */

static void
try_row(void *arg)
{
	Attempt    *a = arg;
	DlmRowJob  *job = a->job;
	Oid			user;
	int			security,
				level;
	MemoryContext before = MemoryContextSwitchTo(job->context);

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(dlm_role_of_code(job->type->owner), security | SECURITY_RESTRICTED_OPERATION);
	level = NewGUCNestLevel();
	for (a->gap = 0; a->gap < job->n_gaps; a->gap++)
	{
		DlmRowGap  *gap = &job->gap[a->gap];

		if (gap->text == NULL)
			continue;
		gap->value = InputFunctionCall(&gap->column->input, gap->text, gap->column->ioparam, gap->column->typmod);
	}
	a->failed_check = failing_check(job);
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, security);
	if (a->failed_check < 0)
		a->failed_key = dlm_row_failing_key(job);
	MemoryContextSwitchTo(before);
}

/* What was prepared in a subtransaction that failed may be broken: it is made again. */
static void
forget_checks(DlmRowType *t)
{
	/* without the callbacks of expressions, whose resources are gone */
	while (t->estate && t->estate->es_exprcontexts != NIL)
		FreeExprContext(linitial(t->estate->es_exprcontexts), false);
	if (t->estate)
		FreeExecutorState(t->estate);
	t->estate = NULL;
	t->checks = NULL;
	t->generated = NULL;
}

static bool
attempt(Attempt *a, ErrorData **why)
{
	int			category;

	if (IsInParallelMode())
	{
		try_row(a);
		return true;
	}
	*why = dlm_subtransaction(try_row, a);
	if (*why == NULL)
		return true;
	category = ERRCODE_TO_CATEGORY((*why)->sqlerrcode);
	if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_SYSTEM_ERROR ||
		category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_TRANSACTION_ROLLBACK)
		ReThrowError(*why);
	forget_checks(a->job->type);
	return false;
}

/* Columns that a check reads, offset as pull_varattnos has them; NULL: all. */
static Bitmapset *
columns_of_check(const DlmRowJob *job, int check)
{
	Bitmapset  *vars = NULL;
	bool		all;

	pull_varattnos(stringToNode(job->type->desc->constr->check[check].ccbin), 1, &vars);
	/* the row itself, or what is generated from it */
	all = bms_is_member(-FirstLowInvalidHeapAttributeNumber, vars);
	for (int i = 0; i < job->type->desc->natts && !all; i++)
		all = TupleDescAttr(job->type->desc, i)->attgenerated && bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, vars);
	return all ? NULL : vars;
}

static Bitmapset *
columns_of_key(const DlmRowKey *key)
{
	Bitmapset  *vars = NULL;

	for (int i = 0; i < key->n; i++)
		vars = bms_add_member(vars, key->attnum[i] - FirstLowInvalidHeapAttributeNumber);
	return vars;
}

/* The filled gaps of these columns; all of them where it is not known which ones are at fault (NULL). */
static void
blame(DlmRowJob *job, const Bitmapset *vars)
{
	job->n_blamed = 0;
	for (int g = 0; g < job->n_gaps; g++)
	{
		int			column = job->gap[g].column->attnum - FirstLowInvalidHeapAttributeNumber;

		if (job->gap[g].text == NULL)
			continue;
		if (vars == NULL || bms_is_member(column, vars))
			job->blamed[job->n_blamed++] = g;
	}
	/* a check that the row's known values fail is nobody's fault: any gap will do to say so */
	for (int g = 0; job->n_blamed == 0 && g < job->n_gaps; g++)
		job->blamed[job->n_blamed++] = g;
	job->at = job->blamed[0];
	for (int i = 1; i < job->n_blamed; i++)
	{
		if (job->gap[job->blamed[i]].confidence < job->gap[job->at].confidence)
			job->at = job->blamed[i];
	}
}

static ErrorData *
check_error(const DlmRowJob *job, int check)
{
	ErrorData  *why = palloc0(sizeof(ErrorData));

	why->sqlerrcode = ERRCODE_CHECK_VIOLATION;
	why->message = psprintf("the row violates check constraint \"%s\" of \"%s\"", job->type->desc->constr->check[check].ccname,
							get_rel_name(job->type->relid));
	return why;
}

DlmTry
dlm_row_try(DlmRowJob *job)
{
	Attempt		a = {job, 0, -1, NULL};
	ErrorData  *why = NULL;

	if (!attempt(&a, &why))
	{
		job->why = why;
		blame(job, NULL);
		if (a.gap == job->n_gaps)
			return DLM_TRY_CHECK;
		job->at = job->blamed[0] = a.gap;
		job->n_blamed = 1;
		return DLM_TRY_CAST;
	}
	if (a.failed_check < 0 && a.failed_key == NULL)
		return DLM_TRY_LEGAL;
	blame(job, a.failed_key ? columns_of_key(a.failed_key) : columns_of_check(job, a.failed_check));
	job->why = a.failed_key ? dlm_row_key_error(job, a.failed_key) : check_error(job, a.failed_check);
	return DLM_TRY_CHECK;
}
