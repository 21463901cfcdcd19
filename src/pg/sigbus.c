/*
 * sigbus.c - surviving a file that was cut short under its mapping.
 *
 * The kernel raises SIGBUS in the thread that touches the page, which may be
 * a helper thread of the engine: jumping out of it is impossible. So the handler maps zero
 * pages from the faulting page to the end of the mapping (all of that is gone
 * when a file was truncated) and returns; the thread computes on with zeros,
 * and the caller throws its work away. mmap is a plain system call and safe
 * in a handler.
 *
 * The table of ranges changes only in the main thread and outside of enter
 * and leave, so that a handler never sees a half-written entry.
 */
#include "dlm_pg.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach.h"
#include "sigbus.h"

typedef struct FaultRange
{
	char	   *start;			/* NULL = free */
	Size		size;			/* whole pages */
	volatile sig_atomic_t lost;
} FaultRange;

static FaultRange ranges[DLM_MAX_MAPPINGS];
static struct sigaction previous;
static Size page_size;
static int	depth = 0;
static volatile sig_atomic_t guard_all = 0; /* survive faults outside of the ranges too */
static volatile sig_atomic_t lost_elsewhere = 0;

/* Zero pages over [page, page + size): the thread that faulted goes on. */
static bool
map_zeros(char *page, Size size)
{
	return mmap(page, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void
handle_fault(int signo, siginfo_t *info, void *context)
{
	char	   *address = (char *) info->si_addr;
	int			saved_errno = errno;

	for (int i = 0; i < DLM_MAX_MAPPINGS; i++)
	{
		FaultRange *r = &ranges[i];
		char	   *page;

		if (r->start == NULL || address < r->start || address >= r->start + r->size)
			continue;
		page = r->start + (Size) (address - r->start) / page_size * page_size;
		if (!map_zeros(page, r->size - (Size) (page - r->start)))
			break;
		r->lost = 1;
		errno = saved_errno;
		return;
	}
	if (guard_all && map_zeros(address - (uintptr_t) address % page_size, page_size))
	{
		lost_elsewhere = 1;
		errno = saved_errno;
		return;
	}

	/* Not ours: the faulting instruction runs again under the handler of before. */
	sigaction(signo, &previous, NULL);
	errno = saved_errno;
}

void
dlm_fault_enter(void)
{
	struct sigaction action;

	if (depth++ > 0)
		return;
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = handle_fault;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigfillset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &previous) != 0)
	{
		depth--;
		elog(ERROR, "could not install a handler for SIGBUS: %m");
	}
}

void
dlm_fault_leave(void)
{
	Assert(depth > 0);
	if (--depth == 0)
		sigaction(SIGBUS, &previous, NULL);
}

void
dlm_fault_enter_all(void)
{
	page_size = (Size) sysconf(_SC_PAGESIZE);
	dlm_fault_enter();
	lost_elsewhere = 0;
	guard_all = 1;
}

bool
dlm_fault_leave_all(void)
{
	guard_all = 0;
	dlm_fault_leave();
	return lost_elsewhere != 0;
}

int
dlm_fault_register(const void *start, Size size)
{
	page_size = (Size) sysconf(_SC_PAGESIZE);
	for (int i = 0; i < DLM_MAX_MAPPINGS; i++)
	{
		if (ranges[i].start != NULL)
			continue;
		ranges[i].size = (size + page_size - 1) / page_size * page_size;
		ranges[i].lost = 0;
		ranges[i].start = unconstify(char *, (const char *) start);
		return i;
	}
	return -1;
}

void
dlm_fault_unregister(int handle)
{
	Assert(handle >= 0 && handle < DLM_MAX_MAPPINGS);
	ranges[handle].start = NULL;
}

bool
dlm_fault_lost(int handle)
{
	Assert(handle >= 0 && handle < DLM_MAX_MAPPINGS);
	return ranges[handle].lost != 0;
}

void
dlm_sigbus_enter(const DlmModelRef *ref)
{
	dlm_fault_enter();
}

bool
dlm_sigbus_leave(const DlmModelRef *ref)
{
	dlm_fault_leave();
	return dlm_mapping_lost(ref->mapping);
}

void
dlm_sigbus_raise(const DlmModelRef *ref)
{
	ereport(ERROR,
			(errcode(ERRCODE_IO_ERROR),
			 errmsg("the file of model \"%s\" was written to, cut short or could not be read while it was in use", ref->name),
			 errdetail("Digest %s.", ref->digest_hex),
			 errhint("Bring the file back as it was; a statement that starts after that uses it.")));
}
