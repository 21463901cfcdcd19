/*
 * stats.h - what has run: dlm_stats.
 *
 * Every call is cheap and raises no ERROR; when shared memory cannot be had
 * the figures are this backend's own.
 */
#ifndef DLM_PG_STATS_H
#define DLM_PG_STATS_H

#include "registry.h"

/* What one call did; all of it is added to the shared counters. */
typedef struct DlmStatsDelta
{
	int64		calls;			/* SQL calls */
	int64		rows;			/* requests with an answer */
	int64		batches;		/* sessions */
	int64		tokens;			/* put through the network */
	int64		steps;			/* forwards */
	int64		cancelled;
	int64		errors;
	int64		cache_hits;		/* rows whose answer the cache had */
	double		ms;				/* compute time */
} DlmStatsDelta;

extern void dlm_stats_add(DlmStatsDelta *to, const DlmStatsDelta *delta);

/* Counted by task, model digest, user and database. */
extern void dlm_stats_count(const DlmModelRef *model, dlm_task task, const DlmStatsDelta *delta);

/* "generate", "classify", ... of a dlm_task; "load_model" of a conversion. */
extern const char *dlm_task_name(int task);

/* _PG_init: hooks that keep statistics over a restart, when preloaded. */
extern void dlm_stats_init(void);

#endif							/* DLM_PG_STATS_H */
