/*
 * row_values.c - values as text and back.
 *
 * A text becomes a value by the input function of its base type, and no cast
 * or operator is found by name: CREATE CAST (text AS mood), a domain's CHECK
 * and an operator in the search path are code of whoever owns the type or the
 * schema, and would run as the caller. The texts are the same in every
 * session: they are kept in jobs and in tables of provenance.
 */
#include "dlm_pg.h"

#include <float.h>

#include "access/transam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "row_type.h"

int
dlm_plain_formats(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"extra_float_digits", "1"}
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

int
dlm_plain_queries(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) dlm_plain_formats();
	return level;
}

uint64
dlm_value_code(Oid type, const char *text)
{
	int			len = (int) strlen(text);
	char	   *end;
	double		number;

	/* 1 and 1.00 are one number; of many digits a double would not keep all */
	if ((type == NUMERICOID || type == FLOAT4OID || type == FLOAT8OID) && len <= DBL_DIG)
	{
		number = strtod(text, &end) + 0.0;	/* -0 is 0 */
		if (*end == '\0' && end > text)
			return Max(hash_bytes_extended((unsigned char *) &number, sizeof(number), 1), 1);
	}
	while (type == BPCHAROID && len > 0 && text[len - 1] == ' ')
		len--;
	return Max(hash_bytes_extended((const unsigned char *) text, len, 0), 1);
}

char *
dlm_value_output(FmgrInfo *output, Datum value)
{
	int			level = dlm_plain_formats();
	char	   *text = OutputFunctionCall(output, value);

	AtEOXact_GUC(true, level);
	return text;
}

Datum
dlm_value_input(Oid type, const char *text)
{
	int			level = dlm_plain_formats();
	Oid			input,
				ioparam;
	Datum		value;

	getTypeInputInfo(type, &input, &ioparam);
	value = OidInputFunctionCall(input, unconstify(char *, text), ioparam, -1);
	AtEOXact_GUC(true, level);
	return value;
}

bool
dlm_value_is_plain(Oid type)
{
	char		kind = get_typtype(type);

	return type < FirstNormalObjectId || kind == TYPTYPE_ENUM || (kind == TYPTYPE_BASE && !OidIsValid(get_element_type(type)));
}

char *
dlm_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

char *
dlm_plain_column(Oid type, const char *column)
{
	return psprintf("CAST(%s AS %s)", column, format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

char *
dlm_operator(Oid type, bool equal)
{
	TypeCacheEntry *entry = lookup_type_cache(type, equal ? TYPECACHE_EQ_OPR : TYPECACHE_GT_OPR);
	Oid			oid = equal ? entry->eq_opr : entry->gt_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s have no order", format_type_be(type))));
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)), NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}
