/*
 * errors.h - errors of engine and loader as errors of PostgreSQL.
 */
#ifndef DLM_PG_ERRORS_H
#define DLM_PG_ERRORS_H

#include "dlm.h"

/* Raise an engine or loader error: its message, its hint, and the SQLSTATE of its status. */
pg_noreturn extern void dlm_raise(const dlm_error *err);

/* The same for an element of an array (from 1); 0 = no array. */
pg_noreturn extern void dlm_raise_element(const dlm_error *err, int element);

/*
 * Do work in a subtransaction. NULL: it is done. Otherwise its error, in the
 * caller's context, and the subtransaction is rolled back. Either way memory
 * context and resource owner are the caller's again. Not in a parallel plan.
 */
extern ErrorData *dlm_subtransaction(void (*work) (void *arg), void *arg);

#endif							/* DLM_PG_ERRORS_H */
