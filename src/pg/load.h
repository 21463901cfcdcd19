/*
 * load.h - what the wrapper's validator asks dlm_load_model.
 */
#ifndef DLM_PG_LOAD_H
#define DLM_PG_LOAD_H

/* Is dlm_load_model making the server of a file of this digest right now, from a source that its caller may read? */
extern bool dlm_load_made(const uint8 digest[32]);

#endif							/* DLM_PG_LOAD_H */
