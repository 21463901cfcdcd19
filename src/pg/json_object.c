/*
 * json_object.c - JSON objects as options, and as what jobs remember.
 */
#include "dlm_pg.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "json_object.h"

/* ------------------------------------------------------------------- reading */

bool
dlm_json_find(Jsonb *object, const char *key, JsonbValue *out)
{
	return getKeyJsonValueFromContainer(&object->root, key, (int) strlen(key), out) != NULL && out->type != jbvNull;
}

char *
dlm_json_value_text(const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	return NULL;
}

char *
dlm_json_text(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return dlm_json_find(object, key, &value) ? dlm_json_value_text(&value) : NULL;
}

double
dlm_json_number(Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (!dlm_json_find(object, key, &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value.val.numeric)));
}

bool
dlm_json_bool(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return dlm_json_find(object, key, &value) && value.type == jbvBool && value.val.boolean;
}

bool
dlm_json_bool_option(Jsonb *options, const char *key)
{
	JsonbValue	value;

	if (!dlm_json_find(options, key, &value))
		return false;
	if (value.type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be true or false", key)));
	return value.val.boolean;
}

/* ------------------------------------------------------------------- writing */

static void
add_key(StringInfo json, const char *key)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, key);
	appendStringInfoString(json, ": ");
}

void
dlm_json_add_text(StringInfo json, const char *key, const char *value)
{
	add_key(json, key);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

void
dlm_json_add_int(StringInfo json, const char *key, int64 value)
{
	add_key(json, key);
	appendStringInfo(json, "%lld", (long long) value);
}

void
dlm_json_add_float(StringInfo json, const char *key, double value)
{
	add_key(json, key);
	if (isnan(value) || isinf(value))
		appendStringInfoString(json, "null");
	else
	{
		char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

		double_to_shortest_decimal_buf(value, digits);
		appendStringInfoString(json, digits);
	}
}

void
dlm_json_add_bool(StringInfo json, const char *key, bool value)
{
	add_key(json, key);
	appendStringInfoString(json, value ? "true" : "false");
}

void
dlm_json_add_jsonb(StringInfo json, const char *key, Jsonb *value)
{
	add_key(json, key);
	appendStringInfoString(json, JsonbToCString(NULL, &value->root, VARSIZE(value)));
}

void
dlm_json_add_names(StringInfo json, const char *key, char **names, int n)
{
	add_key(json, key);
	appendStringInfoChar(json, '[');
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(json, i > 0 ? ", " : "");
		escape_json(json, names[i]);
	}
	appendStringInfoChar(json, ']');
}

char **
dlm_json_names(Jsonb *object, const char *key, int *n)
{
	JsonbValue	value;
	char	  **names;

	*n = 0;
	if (!dlm_json_find(object, key, &value) || value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		return NULL;
	*n = JsonContainerSize(value.val.binary.data);
	names = palloc(*n * sizeof(char *) + 1);
	for (int i = 0; i < *n; i++)
		names[i] = dlm_json_value_text(getIthJsonbValueFromContainer(value.val.binary.data, i));
	return names;
}

Jsonb *
dlm_json_end(StringInfo json)
{
	appendStringInfoString(json, json->len == 0 ? "{}" : "}");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data)));
}

Jsonb *
dlm_json_options(Jsonb *options)
{
	if (options == NULL)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	return options;
}

Jsonb *
dlm_json_without(Jsonb *object, const char *const *keys, int n)
{
	Datum		rest = JsonbPGetDatum(object);

	for (int i = 0; i < n; i++)
		rest = DirectFunctionCall2(jsonb_delete, rest, CStringGetTextDatum(keys[i]));
	return DatumGetJsonbP(rest);
}
