/*
 * json_object.h - JSON objects as options, and as what jobs remember.
 *
 * An object is written into a StringInfo that was empty, member by member, and
 * closed by dlm_json_end.
 */
#ifndef DLM_PG_JSON_OBJECT_H
#define DLM_PG_JSON_OBJECT_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void dlm_json_add_text(StringInfo json, const char *key, const char *value);	/* NULL: null */
extern void dlm_json_add_int(StringInfo json, const char *key, int64 value);
extern void dlm_json_add_float(StringInfo json, const char *key, double value);	/* not finite: null */
extern void dlm_json_add_bool(StringInfo json, const char *key, bool value);
extern void dlm_json_add_jsonb(StringInfo json, const char *key, Jsonb *value);
extern void dlm_json_add_names(StringInfo json, const char *key, char **names, int n);
extern Jsonb *dlm_json_end(StringInfo json);

/* A member that is there and not null. */
extern bool dlm_json_find(Jsonb *object, const char *key, JsonbValue *out);

/* A string, or a number as it is written; NULL for any other value. */
extern char *dlm_json_value_text(const JsonbValue *value);

/* Members of an object that was written here: NULL, 0 or false where there is none. */
extern char *dlm_json_text(Jsonb *object, const char *key);
extern double dlm_json_number(Jsonb *object, const char *key);
extern bool dlm_json_bool(Jsonb *object, const char *key);
extern char **dlm_json_names(Jsonb *object, const char *key, int *n);

/* A user's options, {} for NULL; 22023 if they are no object. */
extern Jsonb *dlm_json_options(Jsonb *options);

/* The object less the members of these names. */
extern Jsonb *dlm_json_without(Jsonb *object, const char *const *keys, int n);

/* A flag of a user's options; 22023 if it is no boolean. */
extern bool dlm_json_bool_option(Jsonb *options, const char *key);

#endif							/* DLM_PG_JSON_OBJECT_H */
