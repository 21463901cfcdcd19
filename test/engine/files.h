/*
 * files.h - temporary folders and files for tests of the loader.
 */
#ifndef TEST_FILES_H
#define TEST_FILES_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new folder under $TMPDIR or /tmp; its path stays valid. */
static inline const char *
files_folder(char path[256])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, 256, "%s/dlm-test-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(path) == NULL)
	{
		perror("mkdtemp");
		exit(1);
	}
	return path;
}

/* Files in a folder, hidden ones included. */
static inline int
files_count(const char *folder)
{
	DIR		   *d = opendir(folder);
	struct dirent *e;
	int			n = 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d != NULL)
		closedir(d);
	return n;
}

/* Remove a folder of plain files. */
static inline void
files_remove(const char *folder)
{
	DIR		   *d = opendir(folder);
	struct dirent *e;
	char		path[1024];

	while (d != NULL && (e = readdir(d)) != NULL)
	{
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(folder);
}

/* Whole file; exits when it cannot be read, since nothing can be tested then. Caller frees. */
static inline uint8_t *
files_read(const char *path, size_t *size)
{
	FILE	   *f = fopen(path, "rb");
	struct stat sb;
	uint8_t    *data;

	if (f == NULL || fstat(fileno(f), &sb) != 0)
	{
		printf("cannot read %s\n", path);
		exit(1);
	}
	*size = (size_t) sb.st_size;
	data = malloc(*size + 1);
	if (data == NULL || fread(data, 1, *size, f) != *size)
		exit(1);
	data[*size] = 0;
	fclose(f);
	return data;
}

static inline void
files_write(const char *folder, const char *name, const void *data, size_t size)
{
	char		path[1024];
	FILE	   *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0)
	{
		printf("cannot write %s\n", path);
		exit(1);
	}
}

/* Copy the plain files of a folder. */
static inline void
files_copy_folder(const char *from, const char *to)
{
	DIR		   *d = opendir(from);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
	{
		char		path[1024];
		struct stat sb;

		snprintf(path, sizeof(path), "%s/%s", from, e->d_name);
		if (stat(path, &sb) == 0 && S_ISREG(sb.st_mode))
		{
			size_t		size;
			uint8_t    *data = files_read(path, &size);

			files_write(to, e->d_name, data, size);
			free(data);
		}
	}
	if (d != NULL)
		closedir(d);
}

#endif							/* TEST_FILES_H */
