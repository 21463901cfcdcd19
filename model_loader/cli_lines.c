/*
 * cli_lines.c - a text file's lines, gzipped or not. The gzip program reads
 * what is compressed, so that no library is needed for it.
 */
#include "cli_train.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.h"

#define MOST_BYTES	((size_t) 4 << 30)

extern char **environ;

static bool
ends_with(const char *s, const char *end)
{
	size_t		n = strlen(s),
				m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* All of a descriptor. */
static dlm_status
read_all(int fd, const char *path, dl_lines *out, dlm_error *err)
{
	size_t		capacity = 1 << 20;

	out->text = malloc(capacity + 1);
	if (out->text == NULL)
		return dl_fail_memory(err);
	for (;;)
	{
		ssize_t		got;
		char	   *grown;

		got = read(fd, out->text + out->size, capacity - out->size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dl_fail(err, DLM_EIO, "", "could not read \"%s\": %s", path, strerror(errno));
		if (got == 0)
			return DLM_OK;
		out->size += (size_t) got;
		if (out->size < capacity)
			continue;
		if (capacity >= MOST_BYTES)
			return dl_fail(err, DLM_ETOOLONG, "", "\"%s\" has more than 4 GB", path);
		capacity *= 2;
		grown = realloc(out->text, capacity + 1);
		if (grown == NULL)
			return dl_fail_memory(err);
		out->text = grown;
	}
}

int
dl_cli_gunzip(const char *path, pid_t *child)
{
	char	   *argv[] = {"gzip", "-dc", "--", (char *) path, NULL};
	posix_spawn_file_actions_t actions;
	int			ends[2];
	int			failed;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	failed = posix_spawnp(child, "gzip", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (failed == 0)
		return ends[0];
	close(ends[0]);
	errno = failed;
	return -1;
}

static dlm_status
read_gzip(const char *path, dl_lines *out, dlm_error *err)
{
	int			state;
	pid_t		pid;
	int			fd = dl_cli_gunzip(path, &pid);
	dlm_status	st;

	if (fd < 0)
		return dl_fail(err, DLM_EIO, "", "could not run gzip: %s", strerror(errno));
	st = read_all(fd, path, out, err);
	close(fd);
	if ((waitpid(pid, &state, 0) < 0 || state != 0) && st == DLM_OK)
		st = dl_fail(err, DLM_EIO, "", "gzip could not read \"%s\"", path);
	return st;
}

static dlm_status
read_file(const char *path, dl_lines *out, dlm_error *err)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	dlm_status	st;

	if (fd < 0)
		return dl_fail(err, errno == ENOENT ? DLM_ENOENT : DLM_EIO, "", "could not open \"%s\": %s", path, strerror(errno));
	if (ends_with(path, ".gz"))
		st = read_gzip(path, out, err);
	else
		st = read_all(fd, path, out, err);
	close(fd);
	return st;
}

/* The last line may lack its newline. */
static dlm_status
find_lines(dl_lines *out, dlm_error *err)
{
	size_t		at = 0;

	if (out->size >= 3 && memcmp(out->text, "\xef\xbb\xbf", 3) == 0)
		memmove(out->text, out->text + 3, out->size -= 3);
	for (size_t i = 0; i < out->size; i++)
		out->n += out->text[i] == '\n';
	out->n += out->size > 0 && out->text[out->size - 1] != '\n';
	out->start = malloc(((size_t) out->n + 1) * sizeof(size_t));
	if (out->start == NULL)
		return dl_fail_memory(err);
	for (int64_t i = 0; i < out->n; i++)
	{
		char	   *newline = memchr(out->text + at, '\n', out->size - at);

		out->start[i] = at;
		at = newline != NULL ? (size_t) (newline - out->text) + 1 : out->size + 1;
	}
	out->start[out->n] = at;
	return DLM_OK;
}

dlm_status
dl_lines_read(const char *path, dl_lines *out, dlm_error *err)
{
	dlm_status	st;

	memset(out, 0, sizeof(*out));
	st = read_file(path, out, err);
	return st == DLM_OK ? find_lines(out, err) : st;
}

void
dl_lines_free(dl_lines *lines)
{
	free(lines->text);
	free(lines->start);
}
