/*
 * worker.c - background workers that warm the page cache after a start.
 *
 * With shared_preload_libraries the files of dlm.preload_models are read once,
 * so that the first query does not wait for the disk. Names of models belong
 * to databases, and a worker can connect to one only: the launcher starts a
 * worker for one database after the other, each warms the models it knows,
 * and marks in shared memory that it did. A digest needs no database. What is
 * missing or bad is a WARNING, never a failed start.
 */
#include "dlm_pg.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "guc.h"
#include "model_files.h"
#include "registry.h"
#include "shmem.h"
#include "sigbus.h"
#include "worker.h"

#define READ_SIZE	(1024 * 1024)

PGDLLEXPORT void dlm_worker_launch(Datum arg);
PGDLLEXPORT void dlm_worker_database(Datum arg);

static void
describe_worker(BackgroundWorker *worker, const char *function, BgWorkerStartTime start)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = start;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "dlm", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, "dlm prewarm", sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, "dlm prewarm", sizeof(worker->bgw_type));
}

void
dlm_worker_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress ||
		dlm_guc_preload_models == NULL || dlm_guc_preload_models[0] == '\0')
		return;
	describe_worker(&worker, "dlm_worker_launch", BgWorkerStart_ConsistentState);
	RegisterBackgroundWorker(&worker);
}

/* Is the file a whole model? Warns if not. */
static bool
valid_model(const char *path)
{
	dlm_map		map = {0};
	dlm_model  *model = NULL;
	dlm_error	err = {0};
	int			fault = -1;
	dlm_status	status;

	status = dlm_file_map(path, &map, &err);
	if (status == DLM_OK)
	{
		fault = dlm_fault_register(map.data, map.size);
		dlm_fault_enter();
		status = dlm_model_open(map.data, map.size, &model, &err);
		dlm_fault_leave();
		if (fault >= 0 && dlm_fault_lost(fault))
		{
			status = DLM_EIO;
			strlcpy(err.message, "the file was cut short", sizeof(err.message));
		}
	}
	if (model != NULL)
		dlm_model_close(model);
	if (fault >= 0)
		dlm_fault_unregister(fault);
	if (map.data != NULL)
		dlm_file_unmap(&map);
	if (status != DLM_OK)
		ereport(WARNING,
				(errmsg("dlm.preload_models: could not use \"%s\": %s", path, err.message)));
	return status == DLM_OK;
}

/* Read a file through, which leaves it in the page cache. */
static void
warm_file(const char *path)
{
	static uint32 event = 0;
	char	   *buffer;
	int64		total = 0;
	ssize_t		n = 0;
	int			fd;

	if (!valid_model(path))
		return;
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("dlm.preload_models: could not open \"%s\": %m", path)));
		return;
	}
	buffer = palloc(READ_SIZE);
	pgstat_report_wait_start(dlm_wait_event("DlmModelRead", event));
	while (!ShutdownRequestPending && (n = read(fd, buffer, READ_SIZE)) > 0)
		total += n;
	pgstat_report_wait_end();
	if (n < 0)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("dlm.preload_models: could not read \"%s\": %m", path)));
	CloseTransientFile(fd);
	pfree(buffer);
	if (!ShutdownRequestPending && n == 0)
		ereport(LOG,
				(errmsg("dlm: warmed \"%s\", %lld bytes", path, (long long) total)));
}

/* A digest may lie in either folder. */
static char *
path_of_digest(const char *hex)
{
	char	   *path = dlm_model_path(psprintf("%s.dlm", hex));

	if (access(path, R_OK) != 0)
		path = dlm_model_path(psprintf(DLM_BUNDLED_PREFIX "%s", hex));
	return path;
}

/* The entries of dlm.preload_models; those beyond the bits of the shared mask are not looked at. */
static List *
preload_entries(void)
{
	List	   *entries;

	if (!SplitGUCList(pstrdup(dlm_guc_preload_models), ',', &entries))
	{
		ereport(WARNING,
				(errmsg("dlm.preload_models is not a comma-separated list")));
		return NIL;
	}
	return list_truncate(entries, 64);
}

/* ------------------------------------------------------ the worker of a database */

static void
warm_models_of_database(void)
{
	List	   *entries = preload_entries();
	pg_atomic_uint64 *found = &dlm_shmem()->preloaded;

	if (!OidIsValid(dlm_extension_oid()))
		return;
	for (int i = 0; i < list_length(entries) && !ShutdownRequestPending; i++)
	{
		ForeignServer *server = dlm_registry_server(list_nth(entries, i), true);
		DlmServerOptions options;

		if (server == NULL || (pg_atomic_read_u64(found) >> i & 1) != 0)
			continue;
		pg_atomic_fetch_or_u64(found, UINT64CONST(1) << i);
		dlm_registry_options(server->options, &options);
		if (options.file != NULL && dlm_file_option_problem(options.file) == NULL)
			warm_file(dlm_model_path(options.file));
	}
}

void
dlm_worker_database(Datum arg)
{
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	warm_models_of_database();
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}

/* ------------------------------------------------------------------ the launcher */

/* OIDs of the databases that can be connected to, in `context`. */
static List *
list_databases(MemoryContext context)
{
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!form->datallowconn || form->datistemplate)
			continue;
		old = MemoryContextSwitchTo(context);
		result = lappend_oid(result, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

static void
run_in_database(Oid database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	describe_worker(&worker, "dlm_worker_database", BgWorkerStart_ConsistentState);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		ereport(WARNING,
				(errmsg("dlm.preload_models: no background worker is free"),
				 errhint("Raise max_worker_processes.")));
		return;
	}
	(void) WaitForBackgroundWorkerShutdown(handle);
}

/* The entries that are no digests: bit i stands for entry i. */
static uint64
warm_digests(List *entries)
{
	uint64		names = 0;
	uint8		digest[32];

	for (int i = 0; i < list_length(entries) && !ShutdownRequestPending; i++)
	{
		if (dlm_parse_hex(list_nth(entries, i), digest))
			warm_file(path_of_digest(list_nth(entries, i)));
		else
			names |= UINT64CONST(1) << i;
	}
	return names;
}

void
dlm_worker_launch(Datum arg)
{
	MemoryContext context;
	List	   *entries;
	ListCell   *cell;
	uint64		names,
				missing;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "dlm prewarm", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);

	entries = preload_entries();
	names = warm_digests(entries);
	foreach(cell, names != 0 ? list_databases(context) : NIL)
	{
		if (ShutdownRequestPending || (names & ~pg_atomic_read_u64(&dlm_shmem()->preloaded)) == 0)
			break;
		run_in_database(lfirst_oid(cell));
	}

	missing = names & ~pg_atomic_read_u64(&dlm_shmem()->preloaded);
	for (int i = 0; i < list_length(entries) && !ShutdownRequestPending; i++)
		if ((missing >> i & 1) != 0)
			ereport(WARNING,
					(errmsg("dlm.preload_models: no database has a model \"%s\"",
							(const char *) list_nth(entries, i))));
	proc_exit(0);
}
