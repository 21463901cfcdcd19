/*
 * status.h - how engine and loader report failure.
 */
#ifndef DL_STATUS_H
#define DL_STATUS_H

#include "dlm.h"

/*
 * Fill *err (may be NULL) and return its status, so that a failing function
 * ends in `return dl_fail(err, DLM_EINVAL, "hint or empty", "message %d", x)`.
 */
dlm_status	dl_fail(dlm_error *err, dlm_status status, const char *hint, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* DLM_ENOMEM in the usual words. */
dlm_status	dl_fail_memory(dlm_error *err);

/* DLM_ENOENT, DLM_ENOSPC or DLM_EIO after a system call on a file failed with errnum. Names path, never content. */
dlm_status	dl_fail_errno(dlm_error *err, int errnum, const char *what, const char *path);

#endif							/* DL_STATUS_H */
