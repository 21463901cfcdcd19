/*
 * vectors.h - read test/vectors/forward/NAME.json.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include "json.h"
#include "rows.h"

static cJSON *
vector_file(const char *name)
{
	char		path[256];
	FILE	   *file;
	char	   *text;
	long		size;
	cJSON	   *json = NULL;

	snprintf(path, sizeof(path), "test/vectors/forward/%s.json", name);
	file = fopen(path, "rb");
	if (file != NULL)
	{
		fseek(file, 0, SEEK_END);
		size = ftell(file);
		rewind(file);
		text = calloc((size_t) size + 1, 1);
		if (fread(text, 1, (size_t) size, file) == (size_t) size)
			json = cJSON_Parse(text);
		free(text);
		fclose(file);
	}
	CHECK(json != NULL, "cannot read %s", path);
	return json;
}

/* A malloc'd copy of an array of integers. */
static int32_t *
vector_ints(const cJSON *array, int *n)
{
	int32_t    *out = malloc((size_t) cJSON_GetArraySize(array) * sizeof(int32_t) + 1);
	const cJSON *value;

	*n = 0;
	cJSON_ArrayForEach(value, array)
		out[(*n)++] = (int32_t) value->valuedouble;
	return out;
}

static inline void
vector_row(const cJSON *row, outcome *o)
{
	int			n;
	int32_t    *live = vector_ints(cJSON_GetObjectItem(row, "live"), &n);

	o->ids = vector_ints(cJSON_GetObjectItem(row, "ids"), &o->n);
	o->ask = vector_ints(cJSON_GetObjectItem(row, "ask"), &o->n_ask);
	o->live = malloc((size_t) n + 1);
	for (int i = 0; i < n; i++)
		o->live[i] = (uint8_t) live[i];
	o->want_hidden = cJSON_GetObjectItem(row, "hidden") != NULL;
	free(live);
}

#endif							/* VECTORS_H */
