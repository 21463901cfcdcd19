/*
 * load.h - making models: what dlm_finetune shares with dlm_load_model, and
 * what the wrapper's validator asks them.
 */
#ifndef DLM_PG_LOAD_H
#define DLM_PG_LOAD_H

/*
 * May the current user make a model of that name? With replace one that is
 * there may be taken over by its owner. ERRORs: 42602, 42622, 42710, 42501.
 */
extern void dlm_load_check_name(const char *name, bool replace);

/*
 * Make the server of a file of the model directory, which the caller has
 * written, as the current user; with replace an existing server of that name
 * gets the file, and keeps its rights. training (a JSON object) may be NULL.
 */
extern void dlm_load_register(const char *name, const uint8 digest[32], const char *training, bool replace);

/* Is one of the two making the server of a file of this digest right now, from a source that its caller may read? */
extern bool dlm_load_made(const uint8 digest[32]);

#endif							/* DLM_PG_LOAD_H */
