/*
 * attach.c - map a model's file once per backend, count pins, let go in time.
 *
 * Opening is mmap, validation and pointer arithmetic (DESIGN 4), a few
 * milliseconds; a backend keeps its mappings, so that only the first call
 * pays. A pin is a callback of a memory context: it goes with the context, on
 * success, error and cancel alike, and is registered before anything is
 * acquired.
 *
 * At each attach the file is looked at again (one stat). A file that was
 * deleted, or replaced by rename, leaves the old mapping intact, which is
 * fine: the name of a file is its digest. A file that was written in place is
 * mapped and checked anew.
 */
#include "dlm_pg.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "activity.h"
#include "attach.h"
#include "guc.h"
#include "model_files.h"
#include "shmem.h"
#include "sigbus.h"

struct DlmMapping
{
	dlist_node	node;
	uint8		digest[32];
	char		path[MAXPGPATH];
	dlm_map		map;
	dlm_model  *model;
	dlm_model_info info;		/* its texts are those below or the model's own, not the file's */
	char		license[1024];
	char		source[2048];
	struct stat file;			/* as it was when it was mapped */
	int			fault;			/* handle of sigbus.c, -1 = none */
	int			pins;
	bool		counted;		/* in the shared count of backends */
	bool		stale;			/* not to be handed out again */
};

typedef struct Pin
{
	MemoryContextCallback callback;
	DlmMapping *mapping;
} Pin;

static dlist_head mappings = DLIST_STATIC_INIT(mappings);
static int	n_mappings = 0;

static void
mapping_free(DlmMapping *m)
{
	HOLD_INTERRUPTS();
	dlist_delete(&m->node);
	n_mappings--;
	if (m->counted)
		dlm_shmem_count_mapping(m->digest, -1);
	if (m->model != NULL)
		dlm_model_close(m->model);
	if (m->fault >= 0)
		dlm_fault_unregister(m->fault);
	if (m->map.data != NULL)
		dlm_file_unmap(&m->map);
	pfree(m);
	RESUME_INTERRUPTS();
}

static void
unpin(void *arg)
{
	DlmMapping *m = ((Pin *) arg)->mapping;

	if (m == NULL)
		return;
	((Pin *) arg)->mapping = NULL;
	Assert(m->pins > 0);
	m->pins--;
	if (m->pins == 0 && (m->stale || dlm_mapping_lost(m)))
		mapping_free(m);
}

bool
dlm_mapping_rewritten(const DlmMapping *m)
{
	struct stat now;

	if (stat(m->path, &now) != 0)
		return false;
	if (now.st_dev != m->file.st_dev || now.st_ino != m->file.st_ino)
		return false;
	return now.st_size != m->file.st_size ||
		now.st_mtim.tv_sec != m->file.st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != m->file.st_mtim.tv_nsec;
}

static DlmMapping *
find_mapping(const uint8 digest[32], const char *path)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &mappings)
	{
		DlmMapping *m = dlist_container(DlmMapping, node, iter.cur);

		if (m->stale || memcmp(m->digest, digest, sizeof(m->digest)) != 0 || strcmp(m->path, path) != 0)
			continue;
		if (!dlm_mapping_lost(m) && !dlm_mapping_rewritten(m))
			return m;
		m->stale = true;
		if (m->pins == 0)
			mapping_free(m);
	}
	return NULL;
}

/* Make room for one more mapping. */
static void
evict_one(void)
{
	dlist_iter	iter;

	if (n_mappings < DLM_MAX_MAPPINGS)
		return;
	/* The list is in order of mapping: the oldest unpinned one goes. */
	dlist_foreach(iter, &mappings)
	{
		DlmMapping *m = dlist_container(DlmMapping, node, iter.cur);

		if (m->pins == 0)
		{
			mapping_free(m);
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("too many models in use at once"),
			 errdetail("A session can use %d at a time.", DLM_MAX_MAPPINGS)));
}

/* Read every page once, so that no later call waits for the disk. */
static void
prewarm(const DlmMapping *m)
{
	const volatile char *p = m->map.data;
	volatile char sum = 0;

	(void) madvise(unconstify(void *, m->map.data), m->map.size, MADV_WILLNEED);
	for (Size i = 0; i < m->map.size && !dlm_mapping_lost(m); i += 4096)
	{
		sum += p[i];
		if (i % ((Size) 64 << 20) == 0 && i > 0)
		{
			dlm_fault_leave();
			CHECK_FOR_INTERRUPTS();
			dlm_fault_enter();
		}
	}
	(void) sum;
}

/* Fill *err for what stat said. */
static dlm_status
fail_stat(dlm_error *err, int errnum)
{
	err->status = errnum == ENOENT || errnum == ENOTDIR ? DLM_ENOENT : DLM_EIO;
	snprintf(err->message, sizeof(err->message), "could not read the file: %s", strerror(errnum));
	return err->status;
}

/*
 * Replace the pages before the weights by copies of this process. They hold
 * offsets that were checked at open; zeros in their place, after the file was
 * cut short, would lead astray. A few megabytes at most. False: no memory.
 */
static bool
keep_head(const DlmMapping *m)
{
	Size		page = (Size) sysconf(_SC_PAGESIZE);
	Size		size = (Size) Min(m->info.head_bytes, m->map.size) / page * page;
	void	   *head = unconstify(void *, m->map.data);
	void	   *copy = malloc(size);
	bool		done = false;

	if (size == 0 || copy == NULL)
		return size == 0;
	memcpy(copy, head, size);
	if (mmap(head, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
	{
		memcpy(head, copy, size);
		done = mprotect(head, size, PROT_READ) == 0;
	}
	free(copy);
	return done;
}

/* Everything that reads the mapping while it is opened; inside dlm_fault_enter and leave, so no palloc. */
static dlm_status
validate(DlmMapping *m, dlm_error *err)
{
	dlm_status	status = dlm_model_open(m->map.data, m->map.size, &m->model, err);

	if (status != DLM_OK)
		return status;
	dlm_model_describe(m->model, &m->info);
	strlcpy(m->license, m->info.license, sizeof(m->license));
	strlcpy(m->source, m->info.source, sizeof(m->source));
	m->info.license = m->license;
	m->info.source = m->source;
	if (keep_head(m))
		return DLM_OK;
	err->status = DLM_ENOMEM;
	strlcpy(err->message, "out of memory", sizeof(err->message));
	return err->status;
}

/*
 * Map and validate. On failure the entry is in the list with what it has got;
 * its pin frees it.
 */
static dlm_status
open_mapping(DlmMapping *m, const char *path, dlm_error *err)
{
	dlm_status	status;

	if (stat(path, &m->file) != 0)
		return fail_stat(err, errno);
	status = dlm_file_map(path, &m->map, err);
	if (status != DLM_OK)
		return status;
	m->fault = dlm_fault_register(m->map.data, m->map.size);
	if (m->fault < 0)
		elog(ERROR, "no room to register the mapping of \"%s\"", path);

	dlm_fault_enter();
	status = validate(m, err);
	dlm_fault_leave();
	if (dlm_fault_lost(m->fault))
	{
		err->status = status = DLM_EIO;
		strlcpy(err->message, "the file was cut short while it was opened", sizeof(err->message));
	}
	return status;
}

/* The file is a model, but is it the one that the server names? */
static dlm_status
check_digest(const DlmMapping *m, dlm_error *err)
{
	if (memcmp(m->info.digest, m->digest, sizeof(m->digest)) == 0)
		return DLM_OK;
	err->status = DLM_EDAMAGED;
	snprintf(err->message, sizeof(err->message), "the file is another model: expected digest %s, found %s",
			 dlm_hex(m->digest), dlm_hex(m->info.digest));
	strlcpy(err->hint, "Bring the right file back, or load the model again.", sizeof(err->hint));
	return err->status;
}

static DlmMapping *
new_mapping(const uint8 digest[32], const char *path)
{
	DlmMapping *m;

	evict_one();
	m = MemoryContextAllocZero(TopMemoryContext, sizeof(DlmMapping));
	memcpy(m->digest, digest, sizeof(m->digest));
	strlcpy(m->path, path, sizeof(m->path));
	m->fault = -1;
	dlist_push_tail(&mappings, &m->node);
	n_mappings++;
	return m;
}

/* Open the file of a digest. The pin keeps the entry, and drops it if we fail. */
static dlm_status
map_file(Pin *pin, const uint8 digest[32], const char *path, dlm_error *err)
{
	static uint32 event = 0;
	DlmMapping *m = new_mapping(digest, path);
	dlm_status	status;

	m->stale = true;			/* until it is whole */
	m->pins = 1;
	pin->mapping = m;
	dlm_activity_scope_begin(CurrentMemoryContext, -1);
	dlm_activity_phase(DLM_PHASE_LOAD);
	status = open_mapping(m, path, err);
	if (status == DLM_OK)
		status = check_digest(m, err);
	if (status == DLM_OK && dlm_guc_prewarm)
	{
		pgstat_report_wait_start(dlm_wait_event("DlmModelRead", event));
		dlm_fault_enter();
		prewarm(m);
		dlm_fault_leave();
		pgstat_report_wait_end();
	}
	dlm_activity_scope_end();
	if (status != DLM_OK)
		return status;
	m->stale = false;
	m->counted = dlm_shmem_count_mapping(digest, 1);
	return DLM_OK;
}

DlmMapping *
dlm_attach(const uint8 digest[32], const char *path, dlm_error *err)
{
	Pin		   *pin = palloc0(sizeof(Pin));
	DlmMapping *m;

	/* First the callback, then what it gives back. */
	pin->callback.func = unpin;
	pin->callback.arg = pin;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pin->callback);

	m = find_mapping(digest, path);
	if (m != NULL)
	{
		m->pins++;
		pin->mapping = m;
		return m;
	}
	if (map_file(pin, digest, path, err) == DLM_OK)
		return pin->mapping;
	unpin(pin);
	return NULL;
}

dlm_model *
dlm_mapping_model(const DlmMapping *mapping)
{
	return mapping->model;
}

const dlm_model_info *
dlm_mapping_info(const DlmMapping *mapping)
{
	return &mapping->info;
}

bool
dlm_mapping_lost(const DlmMapping *mapping)
{
	return mapping->fault >= 0 && dlm_fault_lost(mapping->fault);
}

void
dlm_attach_sweep(bool (*used) (const uint8 digest[32], void *arg), void *arg)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &mappings)
	{
		DlmMapping *m = dlist_container(DlmMapping, node, iter.cur);

		if (used(m->digest, arg))
			continue;
		m->stale = true;
		if (m->pins == 0)
			mapping_free(m);
	}
}
