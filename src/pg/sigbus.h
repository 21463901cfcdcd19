/*
 * sigbus.h - a file cut short under its mapping fails a statement, not the cluster.
 *
 * Touching a page of a mapping that the file no longer covers raises SIGBUS,
 * in the backend or in one of its helper threads. PostgreSQL leaves
 * that signal at its default, so the postmaster would restart the cluster.
 * Between enter and leave a handler puts zero pages over the whole registered
 * mapping, marks it as lost and lets the thread go on; leave then tells, so
 * that nobody uses what was computed from the zeros. A fault anywhere else
 * takes its usual way.
 *
 *		dlm_sigbus_enter(ref);
 *		status = dlm_session_step(session, &err);
 *		if (dlm_sigbus_leave(ref))
 *			... close the session, dlm_sigbus_raise(ref);
 *
 * Everything that reads a mapping stands between the two: dlm_session_open,
 * dlm_tokenize and dlm_token_piece too. Nothing between them may ereport or
 * longjmp. Pairs nest. Main thread only.
 */
#ifndef DLM_PG_SIGBUS_H
#define DLM_PG_SIGBUS_H

#include "registry.h"

/* From here on a fault inside a registered mapping is survived. */
extern void dlm_sigbus_enter(const DlmModelRef *ref);

/* The outermost leave restores the handler of before. True: the mapping of ref was lost, results are worthless. */
extern bool dlm_sigbus_leave(const DlmModelRef *ref);

/* The ERROR (58030) for a lost mapping. */
pg_noreturn extern void dlm_sigbus_raise(const DlmModelRef *ref);

/*
 * For attach.c: the same by handle. Register a mapping of [size] bytes that
 * starts on a page; returns a handle >= 0, or -1 when the table is full.
 */
extern int	dlm_fault_register(const void *start, Size size);
extern void dlm_fault_unregister(int handle);
extern bool dlm_fault_lost(int handle);
extern void dlm_fault_enter(void);
extern void dlm_fault_leave(void);

/*
 * Around the converter, which maps sources that only it knows: a fault
 * anywhere is survived, page by page. True: something was lost.
 */
extern void dlm_fault_enter_all(void);
extern bool dlm_fault_leave_all(void);

#endif							/* DLM_PG_SIGBUS_H */
