/*
 * worker.h - the background worker that warms the page cache.
 */
#ifndef DLM_PG_WORKER_H
#define DLM_PG_WORKER_H

/* _PG_init calls this: registers the worker while shared_preload_libraries are loaded and dlm.preload_models is set. */
extern void dlm_worker_init(void);

#endif							/* DLM_PG_WORKER_H */
