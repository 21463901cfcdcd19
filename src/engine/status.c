/*
 * status.c - error reports of engine and loader.
 */
#undef _GNU_SOURCE				/* GNU's strerror_r returns a text, the XSI form fills the buffer */
#define _POSIX_C_SOURCE 200809L

#include "status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dlm_status
dl_fail(dlm_error *err, dlm_status status, const char *hint, const char *format, ...)
{
	va_list		args;

	if (err == NULL)
		return status;
	err->status = status;
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	snprintf(err->hint, sizeof(err->hint), "%s", hint ? hint : "");
	return status;
}

dlm_status
dl_fail_memory(dlm_error *err)
{
	return dl_fail(err, DLM_ENOMEM, "Raise dlm.max_session_memory, or send shorter texts or fewer rows at once.",
				   "out of memory for the model's buffers");
}

dlm_status
dl_fail_errno(dlm_error *err, int errnum, const char *what, const char *path)
{
	char		buffer[128];
	const char *reason = buffer;
	dlm_status	status = DLM_EIO;

	/* two functions share this name: glibc's returns the text, POSIX's fills the buffer */
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
	reason = strerror_r(errnum, buffer, sizeof(buffer));
#else
	if (strerror_r(errnum, buffer, sizeof(buffer)) != 0)
		snprintf(buffer, sizeof(buffer), "error %d", errnum);
#endif
	if (errnum == ENOENT || errnum == ENOTDIR)
		status = DLM_ENOENT;
	else if (errnum == ENOSPC || errnum == EDQUOT)
		status = DLM_ENOSPC;
	else if (errnum == ENOMEM)
		status = DLM_ENOMEM;
	return dl_fail(err, status, "", "could not %s \"%.200s\": %s", what, path, reason);
}
