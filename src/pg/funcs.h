/*
 * funcs.h - shared by the files of SQL-callable functions (funcs_*.c), which
 * unpack arguments by position and do nothing else.
 *
 * C names are dlm_sql_NAME: the plain names belong to the engine's functions.
 */
#ifndef DLM_PG_FUNCS_H
#define DLM_PG_FUNCS_H

#include "result.h"

/* steps, temperature, seed, options, model: five arguments that follow each other from `first` on. */
static inline void
dlm_unpack_sampling(FunctionCallInfo fcinfo, int first, DlmArgs *args)
{
	args->steps = fcinfo->args[first];
	args->temperature = fcinfo->args[first + 1];
	args->seed = fcinfo->args[first + 2];
	args->options = fcinfo->args[first + 3];
	args->model = fcinfo->args[first + 4];
}

/* Run a call whose answer is one value (array calls: of element type `type`). */
static inline Datum
dlm_return_answer(FunctionCallInfo fcinfo, dlm_task task, const DlmArgs *args, DlmMake make, Oid type, void *arg)
{
	return dlm_answer(dlm_call_begin(task, args), make, type, arg, &fcinfo->isnull);
}

/* Run a call whose answer is rows. `usable` false: no rows (a NULL first argument). */
extern Datum dlm_return_rows(FunctionCallInfo fcinfo, bool usable, dlm_task task, const DlmArgs *args, DlmTake take);

#endif							/* DLM_PG_FUNCS_H */
