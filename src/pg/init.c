/*
 * init.c - _PG_init: what happens when the library is loaded.
 *
 * It may run in the postmaster (shared_preload_libraries), so nothing here
 * maps a model or starts a thread: a thread pool does not survive fork.
 */
#include "dlm_pg.h"

#include "batch.h"
#include "guc.h"
#include "registry.h"
#include "shmem.h"
#include "stats.h"
#include "worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	dlm_guc_init();
	dlm_shmem_init();
	dlm_stats_init();
	dlm_registry_init();
	dlm_worker_init();
	dlm_functions_init();
	dlm_batch_init();
}
