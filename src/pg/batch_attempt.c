/*
 * batch_attempt.c - work whose errors must wait.
 *
 * Rows are read ahead, and an error of such a row may only be raised when the
 * row is emitted: under a LIMIT it might never be. So what may fail runs in a
 * subtransaction, as PL/pgSQL's blocks with EXCEPTION do, and the row is
 * evaluated again, unprotected, when its time comes.
 *
 * A parallel plan cannot start subtransactions. There the error is raised at
 * once, as PostgreSQL's own workers do, which run ahead of what the leader has
 * handed out.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"

#include "batch_state.h"
#include "errors.h"

/* Errors that concern the statement or the transaction, not the row: a cancel, a deadlock, a failing disk. */
static bool
ends_statement(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_SYSTEM_ERROR ||
		category == ERRCODE_TRANSACTION_ROLLBACK;
}

/*
 * Is a held cursor being read to its end, at COMMIT? Every row of it is
 * wanted, and PostgreSQL asserts that none fails in a subtransaction so late.
 */
static bool
ends_transaction(void)
{
	return ActivePortal && (ActivePortal->cursorOptions & CURSOR_OPT_HOLD) && ActivePortal->holdStore;
}

bool
dlm_attempt(void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *error;

	if (IsInParallelMode() || ends_transaction())
	{
		work(arg);
		MemoryContextSwitchTo(context);
		return true;
	}
	error = dlm_subtransaction(work, arg);
	if (error == NULL)
		return true;
	if (ends_statement(error))
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}
