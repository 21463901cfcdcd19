/*
 * guc.h - the settings dlm.*. None but default_model may change an answer: a
 * limit may turn an answer into an error, never into another answer.
 */
#ifndef DLM_GUC_H
#define DLM_GUC_H

#define DLM_MOST_BATCH_SIZE	4096	/* that dlm.batch_size may be */

extern char *dlm_guc_default_model;
extern char *dlm_guc_model_directory;	/* absolute, or relative to the data directory */
extern char *dlm_guc_preload_models;	/* comma-separated names */
extern int	dlm_guc_max_threads;		/* 0 = the number of CPUs; see dlm_max_threads() */
extern int	dlm_guc_threads_per_worker;
extern bool dlm_guc_enable_batching;
extern int	dlm_guc_batch_size;		/* rows */
extern int	dlm_guc_batch_mem;		/* kB */
extern int	dlm_guc_max_session_memory;	/* kB */
extern bool dlm_guc_parallel_small_tables;
extern int	dlm_guc_statement_budget_ms;	/* 0 = no limit */
extern int	dlm_guc_memo_mem;		/* kB, 0 = no memo */
extern int	dlm_guc_cache_mem;		/* kB, 0 = no cache */
extern bool dlm_guc_prewarm;

void		dlm_guc_init(void);

#endif							/* DLM_GUC_H */
