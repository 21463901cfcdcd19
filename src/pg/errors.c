/*
 * errors.c - errors of engine and loader as errors of PostgreSQL, the only
 * place that maps one to the other; and errors that are caught.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "encoding.h"
#include "errors.h"

static int
sqlstate(dlm_status status)
{
	switch (status)
	{
		case DLM_EINVAL:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case DLM_ETOOLONG:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case DLM_ENOMEM:
			return ERRCODE_OUT_OF_MEMORY;
		case DLM_EDAMAGED:
			return ERRCODE_DATA_CORRUPTED;
		case DLM_ENOENT:
			return ERRCODE_UNDEFINED_FILE;
		case DLM_EIO:
			return ERRCODE_IO_ERROR;
		case DLM_ENOSPC:
			return ERRCODE_DISK_FULL;
		case DLM_EINTR:
			return ERRCODE_QUERY_CANCELED;
		case DLM_EUNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case DLM_EENCODING:
			return ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;
		case DLM_EEXIST:
			return ERRCODE_DUPLICATE_FILE;
		case DLM_OK:
		case DLM_MORE:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/* Messages are UTF-8 and may be cut within a character. */
static char *
to_server(const char *message)
{
	dlm_text	utf8 = {message, strlen(message)};

	return text_to_cstring(dlm_piece_to_server(utf8));
}

void
dlm_raise_element(const dlm_error *err, int element)
{
	const char *hint = err->hint;

	if (hint[0] == '\0' && err->status == DLM_ENOMEM)
		hint = "dlm.max_session_memory limits what one call may use.";
	ereport(ERROR,
			(errcode(sqlstate(err->status)),
			 errmsg_internal("%s", to_server(err->message)),
			 element > 0 ? errdetail("The error is in element %d of the array.", element) : 0,
			 hint[0] ? errhint("%s", to_server(hint)) : 0));
}

void
dlm_raise(const dlm_error *err)
{
	dlm_raise_element(err, 0);
}

ErrorData *
dlm_subtransaction(void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}
