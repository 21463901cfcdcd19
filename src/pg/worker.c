/*
 * worker.c - a background worker that warms the page cache after a start.
 *
 * With shared_preload_libraries it reads the files of dlm.preload_models once,
 * so that the first query does not wait for the disk, and ends. It belongs to
 * no database, so a model is named by its file here: a digest, a file of
 * dlm.model_directory, bundled:DIGEST, or the word bundled for all files that
 * packages installed. What is missing or bad is a WARNING, never a failed
 * start.
 */
#include "dlm_pg.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "guc.h"
#include "model_files.h"
#include "sigbus.h"
#include "worker.h"

#define READ_SIZE	(1024 * 1024)

PGDLLEXPORT void dlm_worker_main(Datum arg);

void
dlm_worker_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress ||
		dlm_guc_preload_models == NULL || dlm_guc_preload_models[0] == '\0')
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "dlm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "dlm_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "dlm prewarm", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "dlm prewarm", sizeof(worker.bgw_type));
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
	while (!ShutdownRequestPending && (n = read(fd, buffer, READ_SIZE)) > 0)
		total += n;
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

static void
warm_bundled(void)
{
	char	   *folder = dlm_bundled_directory_path();
	DIR		   *dir = AllocateDir(folder);
	struct dirent *entry;

	if (dir == NULL)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("dlm.preload_models: could not read \"%s\": %m", folder)));
		return;
	}
	while (!ShutdownRequestPending && (entry = ReadDirExtended(dir, folder, WARNING)) != NULL)
		if (entry->d_name[0] != '.')
			warm_file(psprintf("%s/%s", folder, entry->d_name));
	FreeDir(dir);
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

static void
warm_entry(const char *entry)
{
	uint8		digest[32];
	const char *problem;

	if (strcmp(entry, "bundled") == 0)
		warm_bundled();
	else if (dlm_parse_hex(entry, digest))
		warm_file(path_of_digest(entry));
	else if ((problem = dlm_file_option_problem(entry)) != NULL)
		ereport(WARNING,
				(errmsg("dlm.preload_models: \"%s\" cannot be the file of a model: %s", entry, problem)));
	else
		warm_file(dlm_model_path(entry));
}

void
dlm_worker_main(Datum arg)
{
	List	   *entries;
	ListCell   *cell;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext, "dlm prewarm", ALLOCSET_DEFAULT_SIZES);

	if (!SplitGUCList(pstrdup(dlm_guc_preload_models), ',', &entries))
	{
		ereport(WARNING,
				(errmsg("dlm.preload_models is not a comma-separated list")));
		proc_exit(0);
	}
	foreach(cell, entries)
	{
		if (ShutdownRequestPending)
			break;
		warm_entry((const char *) lfirst(cell));
	}
	proc_exit(0);
}
