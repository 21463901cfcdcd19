/*
 * tiny_model.h - tests that run a model: convert a checkpoint of test/models,
 * open it, run requests, read vectors.
 */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "dlm.h"
#include "harness.h"
#include "loader.h"

typedef struct tiny_model
{
	dlm_map		map;
	dlm_model  *model;
} tiny_model;

static inline dlm_text
tiny_text(const char *s)
{
	return (dlm_text) {s, s == NULL ? 0 : strlen(s)};
}

/* memcmp() == 0 that takes NULL for nothing. */
static inline bool
tiny_same(const void *a, const void *b, size_t size)
{
	return size == 0 || memcmp(a, b, size) == 0;
}

/* Open a .dlm file; false and a message if that fails. */
static inline bool
tiny_open_file(const char *path, tiny_model *out)
{
	dlm_error	err = {0};

	memset(out, 0, sizeof(*out));
	if (dlm_file_map(path, &out->map, &err) == DLM_OK &&
		dlm_model_open(out->map.data, out->map.size, &out->model, &err) == DLM_OK)
		return true;
	CHECK(false, "%s: %s", path, err.message);
	return false;
}

/* Convert test/models/NAME with f32 weights and open the result. */
static inline bool
tiny_open(const char *name, tiny_model *out)
{
	char		source[256];
	char		target[256];
	dlm_error	err = {0};
	dlm_convert_options options = {.weights = DLM_WEIGHTS_F32};
	bool		ok;

	snprintf(source, sizeof(source), "test/models/%s", name);
	snprintf(target, sizeof(target), "build/test/tiny-%s-%d.dlm", name, (int) getpid());
	if (dlm_convert(source, target, &options, NULL, &err) != DLM_OK)
	{
		CHECK(false, "%s: %s (%s)", source, err.message, err.hint);
		return false;
	}
	ok = tiny_open_file(target, out);
	unlink(target);				/* the mapping stays */
	return ok;
}

static inline void
tiny_close(tiny_model *m)
{
	dlm_model_close(m->model);
	dlm_file_unmap(&m->map);
}

/* Run requests to the end; NULL and *err if the session fails. The caller closes it. */
static inline dlm_session *
tiny_run(const tiny_model *m, const dlm_request *requests, int n, const dlm_env *env, dlm_error *err)
{
	dlm_session *s;
	dlm_status	st = dlm_session_open(m->model, requests, n, env, &s, err);

	if (st != DLM_OK)
		return NULL;
	while ((st = dlm_session_step(s, err)) == DLM_MORE || st == DLM_EINTR)
		;
	if (st == DLM_OK)
		return s;
	dlm_session_close(s);
	return NULL;
}

/* A JSON file; NULL if it cannot be read. */
static inline cJSON *
tiny_json(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	char	   *text;
	long		size;
	cJSON	   *json = NULL;

	if (f == NULL)
		return NULL;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = calloc((size_t) size + 1, 1);
	if (text != NULL && fread(text, 1, (size_t) size, f) == (size_t) size)
		json = cJSON_Parse(text);
	free(text);
	fclose(f);
	return json;
}

static inline const cJSON *
tiny_get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

#endif							/* TINY_MODEL_H */
