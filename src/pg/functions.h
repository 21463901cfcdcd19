/*
 * functions.h - which functions of the extension a plan calls.
 *
 * Functions are known by OID, found through the extension's membership and
 * their C symbol, never by name and search_path. The table is kept per backend
 * until pg_proc changes.
 */
#ifndef DLM_PG_FUNCTIONS_H
#define DLM_PG_FUNCTIONS_H

#include "nodes/plannodes.h"

#include "funcs.h"

/* The description of a function that the batch node can collect; NULL for any other. */
extern const DlmFunction *dlm_function_of(Oid function);

/* ... of the function that a node calls; NULL for any other node, and for no node. */
extern const DlmFunction *dlm_called(const Node *node);

/* Does an expression, or a query, call one of them anywhere? */
extern bool dlm_calls_models(const Node *node);

/*
 * Does a finished plan call one of them anywhere? Answered from the plan's
 * list of dependencies, so it costs next to nothing for other plans.
 */
extern bool dlm_plan_calls_models(const PlannedStmt *stmt);

/* _PG_init: the callback that empties the table. */
extern void dlm_functions_init(void);

#endif							/* DLM_PG_FUNCTIONS_H */
