/*
 * t_json.c - the limits on JSON: depth, size, number of values, rest of the text.
 */
#include "harness.h"

#include <stdlib.h>

#include "json.h"

static dlm_status
parse(const char *text, size_t size)
{
	cJSON	   *root = NULL;
	dlm_error	err = {0};
	dlm_status	st = dl_json_parse(text, size, "test", &root, &err);

	CHECK((st == DLM_OK) == (root != NULL), "a value without success or the other way round");
	CHECK(st == DLM_OK || (err.status == st && err.message[0] != '\0'), "failure without a message");
	cJSON_Delete(root);
	return st;
}

static dlm_status
parse_text(const char *text)
{
	return parse(text, strlen(text));
}

/* n times `open`, then n times `close`. */
static dlm_status
parse_nested(int n, char open, char close)
{
	char	   *text = malloc((size_t) n * 8 + 8);
	size_t		at = 0;
	dlm_status	st;

	for (int i = 0; i < n; i++)
	{
		text[at++] = open;
		if (open == '{')
			at += (size_t) sprintf(text + at, "\"a\":");
	}
	text[at++] = '1';
	for (int i = 0; i < n; i++)
		text[at++] = close;
	st = parse(text, at);
	free(text);
	return st;
}

static void
valid_json_is_read(void)
{
	CHECK(parse_text("{}") == DLM_OK, "empty object");
	CHECK(parse_text(" [1, 2, {\"a\": \"]]]]\\\"[[[[\"}] \n") == DLM_OK, "brackets in a string do not nest");
	CHECK(parse_text("\"\\u00e9\"") == DLM_OK, "string");
}

static void
nesting_is_bounded(void)
{
	CHECK(parse_nested(60, '[', ']') == DLM_OK, "60 levels");
	CHECK(parse_nested(10000, '[', ']') == DLM_EDAMAGED, "10,000 arrays");
	CHECK(parse_nested(10000, '{', '}') == DLM_EDAMAGED, "10,000 objects");
	CHECK(parse_nested(DLM_JSON_MAX_DEPTH, '[', ']') == DLM_OK, "at the limit");
	CHECK(parse_nested(DLM_JSON_MAX_DEPTH + 1, '[', ']') == DLM_EDAMAGED, "beyond the limit");
}

static void
damage_is_refused(void)
{
	static const char *const texts[] = {"", "{", "[1,2", "{\"a\":}", "{} {}", "{}x", "nul", "\"a", "{\"a\":1,}", "]", "[1}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(parse_text(texts[i]) == DLM_EDAMAGED, "%s", texts[i]);
	CHECK(parse("{}\0{}", 5) == DLM_EDAMAGED, "a NUL and more after the value");
}

static void
number_of_values_is_bounded(void)
{
	size_t		n = (size_t) 13 << 20;
	char	   *text = malloc(2 * n + 2);

	for (size_t i = 0; i < n; i++)
	{
		text[2 * i] = i ? ',' : '[';
		text[2 * i + 1] = '0';
	}
	text[2 * n] = ']';
	CHECK(parse(text, 2 * n + 1) == DLM_EDAMAGED, "13 million values");
	free(text);
	CHECK(parse("1", DLM_JSON_MAX_BYTES + 1) == DLM_EDAMAGED, "size is looked at before the text");
}

/* The member alone, at the outer level only, whatever the strings around it hold. */
static void
one_member_is_parsed(void)
{
	static const char text[] = " {\"x\": {\"key\": 1}, \"s\": \"\\\"key\\\": }]\", \"key\" : [2, {\"a\": \"}\"}] , \"z\": [[[3]]]} ";
	cJSON	   *root = NULL;
	dlm_error	err;

	CHECK(dl_json_parse_member(text, strlen(text), "key", "test", &root, &err) == DLM_OK && cJSON_GetArraySize(root) == 2, "found");
	cJSON_Delete(root);
	CHECK(dl_json_parse_member(text, strlen(text), "z", "test", &root, &err) == DLM_OK && cJSON_IsArray(root), "the last");
	cJSON_Delete(root);
	CHECK(dl_json_parse_member(text, strlen(text), "a", "test", &root, &err) == DLM_OK && root == NULL, "an inner member is none");
	CHECK(dl_json_parse_member("[]", 2, "a", "test", &root, &err) == DLM_EDAMAGED, "no object");
	for (size_t cut = 0; cut < strlen(text); cut++)
	{
		dlm_status	st = dl_json_parse_member(text, cut, "key", "test", &root, &err);

		CHECK(st == DLM_OK || st == DLM_EDAMAGED, "cut at %zu", cut);
		cJSON_Delete(root);
		root = NULL;
	}
}

int
main(void)
{
	one_member_is_parsed();
	valid_json_is_read();
	nesting_is_bounded();
	damage_is_refused();
	number_of_values_is_bounded();
	return harness_end("t_json");
}
