/*
 * writer.c - a file that is there whole or not at all.
 *
 * Bytes go to a temporary file in the target's folder (O_EXCL), are written
 * to the disk every 2 MB so that the end does not stall on one huge sync nor a
 * cancel on a large one, their pages let go, and are hashed on the way. Commit
 * syncs, renames and syncs the folder.
 */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "status.h"

#define FLUSH_BYTES		((uint64_t) 2 << 20)

struct dl_writer
{
	int			fd;
	char	   *folder;
	char		temp[PATH_MAX];
	uint64_t	at,
				flushed;
	bool		hashing;
	dl_sha256	sha;
};

/* A name that no other writer uses: O_EXCL decides, process and clock make a clash unlikely. */
static int
open_unique(dl_writer *w)
{
	struct timespec now;

	for (int attempt = 0; attempt < 100; attempt++)
	{
		int			n;

		clock_gettime(CLOCK_REALTIME, &now);
		n = snprintf(w->temp, sizeof(w->temp), "%s/.dlm-%ld-%lx.tmp", w->folder, (long) getpid(),
					 (unsigned long) now.tv_nsec + (unsigned long) attempt);
		if (n < 0 || (size_t) n >= sizeof(w->temp))
		{
			errno = ENAMETOOLONG;
			return -1;
		}
		w->fd = open(w->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
		if (w->fd >= 0 || errno != EEXIST)
			return w->fd;
	}
	return -1;
}

char *
dl_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t) (slash - path));
}

dlm_status
dl_writer_open(const char *folder, dl_writer **out, dlm_error *err)
{
	dl_writer  *w = calloc(1, sizeof(dl_writer));

	*out = NULL;
	if (w == NULL || (w->folder = strdup(folder)) == NULL)
	{
		free(w);
		return dl_fail_memory(err);
	}
	dl_sha256_init(&w->sha);
	if (open_unique(w) < 0)
	{
		dlm_status	st = dl_fail_errno(err, errno, "create a file in", folder);

		free(w->folder);
		free(w);
		return st;
	}
	*out = w;
	return DLM_OK;
}

void
dl_writer_hash(dl_writer *w, bool on)
{
	w->hashing = on;
}

uint64_t
dl_writer_at(const dl_writer *w)
{
	return w->at;
}

const char *
dl_writer_path(const dl_writer *w)
{
	return w->temp;
}

void
dl_writer_digest(const dl_writer *w, uint8_t digest[32])
{
	dl_sha256	copy = w->sha;

	dl_sha256_final(&copy, digest);
}

/* Write at an offset, whole. */
static dlm_status
write_at(dl_writer *w, uint64_t offset, const void *data, size_t n, dlm_error *err)
{
	size_t		done = 0;

	while (done < n)
	{
		ssize_t		put = pwrite(w->fd, (const char *) data + done, n - done, (off_t) (offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EFBIG)
			return dl_fail(err, DLM_ENOSPC, "", "could not write \"%.200s\": the file would exceed the size limit", w->temp);
		if (put <= 0)
			return dl_fail_errno(err, put < 0 ? errno : ENOSPC, "write", w->temp);
		done += (size_t) put;
	}
	return DLM_OK;
}

/*
 * Have the disk take what was written since the last time. Not a sync: that
 * also waits for the journal and the disk's own cache, a tenth of a second on
 * a busy machine, and is due only once, at the end.
 */
static dlm_status
flush(dl_writer *w, dlm_error *err)
{
	off_t		from = (off_t) w->flushed;
	off_t		n = (off_t) (w->at - w->flushed);

#ifdef SYNC_FILE_RANGE_WRITE
	if (sync_file_range(w->fd, from, n, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0 &&
		errno != ENOSYS && errno != ESPIPE)
#else
	if (fdatasync(w->fd) != 0)
#endif
		return dl_fail_errno(err, errno, "sync", w->temp);
	/* pages that are let go now need not be freed by the unlink of a cancelled conversion */
	posix_fadvise(w->fd, from, n, POSIX_FADV_DONTNEED);
	w->flushed = w->at;
	return DLM_OK;
}

dlm_status
dl_writer_put(dl_writer *w, const void *data, size_t n, dlm_error *err)
{
	dlm_status	st = write_at(w, w->at, data, n, err);

	if (st != DLM_OK)
		return st;
	if (w->hashing)
		dl_sha256_update(&w->sha, data, n);
	w->at += n;
	return w->at - w->flushed < FLUSH_BYTES ? DLM_OK : flush(w, err);
}

dlm_status
dl_writer_pad(dl_writer *w, uint64_t to, dlm_error *err)
{
	static const uint8_t zeros[DL_ALIGN];

	while (w->at < to)
	{
		uint64_t	n = to - w->at < sizeof(zeros) ? to - w->at : sizeof(zeros);
		dlm_status	st = dl_writer_put(w, zeros, (size_t) n, err);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

dlm_status
dl_writer_header(dl_writer *w, const void *header, size_t n, dlm_error *err)
{
	return write_at(w, 0, header, n, err);
}

static dlm_status
sync_folder(const char *folder, dlm_error *err)
{
	int			fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dlm_status	st = DLM_OK;

	if (fd < 0)
		return dl_fail_errno(err, errno, "open", folder);
	/* some file systems cannot sync a folder and say EINVAL */
	if (fsync(fd) != 0 && errno != EINVAL)
		st = dl_fail_errno(err, errno, "sync", folder);
	close(fd);
	return st;
}

static void
free_writer(dl_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->folder);
	free(w);
}

static void *
close_file(void *arg)
{
	close((int) (intptr_t) arg);
	return NULL;
}

/*
 * Close a file without a name. Its blocks are freed then, which takes a tenth
 * of a second for a large one: a thread of its own does it, so that nobody who
 * cancels waits. It takes no signals, which are the caller's.
 */
static void
close_unlinked(int fd)
{
	sigset_t	all,
				saved;
	pthread_t	thread;
	bool		started;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &saved);
	started = pthread_create(&thread, NULL, close_file, (void *) (intptr_t) fd) == 0;
	if (started)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (!started)
		close(fd);
}

void
dl_writer_abandon(dl_writer *w)
{
	if (w == NULL)
		return;
	unlink(w->temp);
	if (w->fd >= 0)
		close_unlinked(w->fd);
	w->fd = -1;
	free_writer(w);
}

dlm_status
dl_writer_sync(dl_writer *w, dlm_error *err)
{
	return fsync(w->fd) == 0 ? DLM_OK : dl_fail_errno(err, errno, "sync", w->temp);
}

dlm_status
dl_writer_commit(dl_writer *w, const char *path, dlm_error *err)
{
	dlm_status	st = dl_writer_sync(w, err);

	if (st == DLM_OK && rename(w->temp, path) != 0)
		st = dl_fail_errno(err, errno, "rename a file to", path);
	if (st != DLM_OK)
	{
		dl_writer_abandon(w);
		return st;
	}
	posix_fadvise(w->fd, 0, 0, POSIX_FADV_WILLNEED);	/* it is about to be used */
	st = sync_folder(w->folder, err);
	free_writer(w);
	return st;
}
