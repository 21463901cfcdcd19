/*
 * interrupts.h - what long work looks for between and within its slices.
 */
#ifndef DLM_PG_INTERRUPTS_H
#define DLM_PG_INTERRUPTS_H

/* For stop callbacks of loader and trainer, within a slice: will CHECK_FOR_INTERRUPTS end this statement? */
extern bool dlm_stop_wanted(void *arg);

/*
 * Between slices, before CHECK_FOR_INTERRUPTS: look about once a second whether
 * the client is still there; where it is not, the check ends the session.
 */
extern void dlm_check_client(void);

#endif							/* DLM_PG_INTERRUPTS_H */
