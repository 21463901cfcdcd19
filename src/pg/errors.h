/*
 * errors.h - errors of engine and loader as errors of PostgreSQL.
 */
#ifndef DLM_PG_ERRORS_H
#define DLM_PG_ERRORS_H

#include "utils/resowner.h"

#include "dlm.h"

/* Raise an engine or loader error: its message, its hint, and the SQLSTATE of its status. */
extern void dlm_raise(const dlm_error *err) pg_attribute_noreturn();

/* The same for an element of an array (from 1); 0 = no array. */
extern void dlm_raise_element(const dlm_error *err, int element) pg_attribute_noreturn();

/*
 * In PG_CATCH: the error of an internal subtransaction that began in this
 * context and with this owner, which are current again; it is rolled back.
 */
extern ErrorData *dlm_rollback_subtransaction(MemoryContext context, ResourceOwner owner);

#endif							/* DLM_PG_ERRORS_H */
