/*
 * fixture.h - a tiny checkpoint of test/models as an open model.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "loader.h"
#include "model.h"

typedef struct fixture
{
	dlm_map		map;
	dlm_model  *model;
} fixture;

/* The path of a file that no other test uses; the caller unlinks it. */
static void
fixture_path(char *path, size_t size)
{
	const char *folder = getenv("TMPDIR");
	int			fd;

	snprintf(path, size, "%s/dlm-test-XXXXXX", folder != NULL ? folder : "/tmp");
	fd = mkstemp(path);
	if (fd >= 0)
		close(fd);
}

/* Convert a source, map and open the result. On failure prints a failed check and returns false. */
static bool
fixture_convert(const char *source, const dlm_convert_options *options, fixture *f)
{
	char		path[256];
	dlm_error	err = {0};
	dlm_status	st;

	memset(f, 0, sizeof(*f));
	fixture_path(path, sizeof(path));
	st = dlm_convert(source, path, options, NULL, &err);
	if (st == DLM_OK)
		st = dlm_file_map(path, &f->map, &err);
	if (st == DLM_OK)
		st = dlm_model_open(f->map.data, f->map.size, &f->model, &err);
	unlink(path);
	CHECK(st == DLM_OK, "%s: %s", source, err.message);
	return st == DLM_OK;
}

/* Open the model of this digest in a folder, as a run leaves it there, and verify it. */
static inline dlm_status
fixture_written(const char *folder, const uint8_t digest[32], fixture *f, dlm_error *err)
{
	char		path[400];
	int			n = snprintf(path, sizeof(path), "%s/", folder);
	dlm_status	st;

	for (int i = 0; i < 32; i++)
		snprintf(path + n + 2 * i, sizeof(path) - (size_t) (n + 2 * i), "%02x", digest[i]);
	strcat(path, ".dlm");
	st = dlm_file_map(path, &f->map, err);
	if (st == DLM_OK)
		st = dlm_model_open(f->map.data, f->map.size, &f->model, err);
	return st == DLM_OK ? dlm_model_verify(f->model, NULL, err) : st;
}

static inline bool
fixture_open(const char *name, dlm_weights weights, fixture *f)
{
	dlm_convert_options options = {.weights = weights};
	char		source[256];

	snprintf(source, sizeof(source), "test/models/%s", name);
	return fixture_convert(source, &options, f);
}

static inline void
fixture_close(fixture *f)
{
	dlm_model_close(f->model);
	dlm_file_unmap(&f->map);
}

#endif							/* FIXTURE_H */
