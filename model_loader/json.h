/*
 * json.h - cJSON with limits: the one door through which JSON comes in.
 */
#ifndef DLM_JSON_H
#define DLM_JSON_H

#include <cjson/cJSON.h>

#include "loader.h"

#define DLM_JSON_MAX_BYTES	((size_t) 256 << 20)
#define DLM_JSON_MAX_DEPTH	64

/*
 * Parse json [size]: bounded size and nesting (checked before cJSON sees it),
 * nothing after the value. `what` names the file in errors. DLM_EDAMAGED.
 * The caller frees with cJSON_Delete.
 */
dlm_status	dl_json_parse(const char *json, size_t size, const char *what, cJSON **out, dlm_error *err);

/*
 * Parse one member of the outermost object alone, so that a large file need
 * not become a tree. The rest is looked at only for brackets and strings:
 * whoever needs it parses it. *out is NULL when the member is missing.
 */
dlm_status	dl_json_parse_member(const char *json, size_t size, const char *key, const char *what, cJSON **out,
								 dlm_error *err);

#endif							/* DLM_JSON_H */
