/*
 * json.c - cJSON behind limits on size, nesting and number of values.
 *
 * cJSON recurses once per level and allocates a node per value, so both are
 * counted in a pass of our own before it sees a byte. The pass knows only
 * strings and brackets; whether the text is JSON is for cJSON to say.
 */
#include "json.h"

#include <string.h>

#include "status.h"

/* A node takes 64 bytes and more: the largest tokenizer.json in use has about two million values. */
#define MAX_VALUES	((size_t) 12 << 20)

static dlm_status
check_limits(const char *json, size_t size, const char *what, dlm_error *err)
{
	size_t		values = 0;
	int			depth = 0;
	bool		in_string = false;

	for (size_t i = 0; i < size; i++)
	{
		char		c = json[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"')
			in_string = true;
		else if (c == '[' || c == '{')
		{
			if (++depth > DLM_JSON_MAX_DEPTH)
				return dl_fail(err, DLM_EDAMAGED, "", "%s is nested deeper than %d levels", what, DLM_JSON_MAX_DEPTH);
			values++;
		}
		else if (c == ']' || c == '}')
			depth--;
		else if (c == ',' && ++values > MAX_VALUES)
			return dl_fail(err, DLM_EDAMAGED, "", "%s has more than %zu values", what, MAX_VALUES);
	}
	return DLM_OK;
}

dlm_status
dl_json_parse(const char *json, size_t size, const char *what, cJSON **out, dlm_error *err)
{
	const char *end = NULL;
	dlm_status	st;

	*out = NULL;
	if (size == 0)
		return dl_fail(err, DLM_EDAMAGED, "", "%s is empty", what);
	if (size > DLM_JSON_MAX_BYTES)
		return dl_fail(err, DLM_EDAMAGED, "", "%s is larger than %zu MB", what, DLM_JSON_MAX_BYTES >> 20);
	st = check_limits(json, size, what, err);
	if (st != DLM_OK)
		return st;

	*out = cJSON_ParseWithLengthOpts(json, size, &end, 0);
	if (*out == NULL)
		return dl_fail(err, DLM_EDAMAGED, "", "%s is not valid JSON", what);
	while (end < json + size && (*end == ' ' || *end == '\t' || *end == '\n' || *end == '\r'))
		end++;
	if (end != json + size)
	{
		cJSON_Delete(*out);
		*out = NULL;
		return dl_fail(err, DLM_EDAMAGED, "", "%s goes on after its JSON value", what);
	}
	return DLM_OK;
}

/* The end of the string whose opening quote stands at `at`: the position after its closing quote, or size. */
static size_t
skip_string(const char *json, size_t size, size_t at)
{
	for (at++; at < size && json[at] != '"'; at++)
		if (json[at] == '\\')
			at++;
	return at < size ? at + 1 : size;
}

static size_t
skip_space(const char *json, size_t size, size_t at)
{
	while (at < size && (json[at] == ' ' || json[at] == '\t' || json[at] == '\n' || json[at] == '\r'))
		at++;
	return at;
}

/* The end of the value at `at`: where a comma or bracket of its own level follows. */
static size_t
skip_value(const char *json, size_t size, size_t at)
{
	int			depth = 0;

	while (at < size)
	{
		char		c = json[at];

		if (c == '"')
		{
			at = skip_string(json, size, at);
			continue;
		}
		if ((c == ',' || c == '}' || c == ']') && depth == 0)
			return at;
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		at++;
	}
	return size;
}

dlm_status
dl_json_parse_member(const char *json, size_t size, const char *key, const char *what, cJSON **out, dlm_error *err)
{
	size_t		at = skip_space(json, size, 0),
				len = strlen(key);

	*out = NULL;
	if (at == size || json[at] != '{')
		return dl_fail(err, DLM_EDAMAGED, "", "%s is not valid JSON", what);
	while (at < size && json[at] != '}')
	{
		size_t		name = skip_space(json, size, at + 1),
					value,
					end;

		if (name == size || json[name] != '"')
			break;				/* an empty object, or damage that the full parse will name */
		value = skip_string(json, size, name);
		end = value;
		value = skip_space(json, size, value);
		if (value == size || json[value] != ':')
			break;
		value = skip_space(json, size, value + 1);
		at = skip_value(json, size, value);
		if (end - name == len + 2 && memcmp(json + name + 1, key, len) == 0)
			return dl_json_parse(json + value, at - value, what, out, err);
	}
	return DLM_OK;
}
