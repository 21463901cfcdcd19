/*
 * fdw.c - the foreign data wrapper `dlm`, whose servers are the models.
 *
 * There are no foreign tables: the handler says so. The validator lets
 * through exactly the options of a model.
 */
#include "dlm_pg.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "load.h"
#include "model_files.h"
#include "registry.h"

PG_FUNCTION_INFO_V1(dlm_sql_fdw_handler);
PG_FUNCTION_INFO_V1(dlm_sql_fdw_validator);

pg_noreturn static void
raise_no_tables(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a model of dlm has no foreign tables"),
			 errhint("Use its server's name as the model argument of the dlm functions.")));
}

Datum
dlm_sql_fdw_handler(PG_FUNCTION_ARGS)
{
	raise_no_tables();
}

static void
check_option(DefElem *def)
{
	const char *value = defGetString(def);
	const char *problem = NULL;
	uint8		digest[32];

	if (strcmp(def->defname, "file") == 0)
		problem = dlm_file_option_problem(value);
	else if (strcmp(def->defname, "training") == 0)
	{
		Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));

		if (!JB_ROOT_IS_OBJECT(json))
			problem = "it must be a JSON object";
	}
	else if (strcmp(def->defname, "digest") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", def->defname),
				 errhint("A model has the options file and digest, and training where dlm_finetune made it.")));
	else if (!dlm_parse_hex(value, digest))
		problem = "it must be 64 lower-case hexadecimal digits";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value for option \"%s\": %s", def->defname, problem)));
}

/*
 * A server gives its owner the use of the file that it names, and digests are
 * no secret (pg_foreign_server is readable by all). So naming one is reading
 * a file of the server, unless the caller may use it already, or has just
 * made it with dlm_load_model.
 */
static void
check_right(const char *hex)
{
	uint8		digest[32];

	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES) ||
		(dlm_parse_hex(hex, digest) && (dlm_load_made(digest) || dlm_registry_may_use_digest(digest))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to make a model of a file of the server"),
			 errhint("It needs the privileges of pg_read_server_files, or USAGE on a model of the same digest.")));
}

Datum
dlm_sql_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	DlmServerOptions model;
	const char *bundled;
	ListCell   *cell;

	/*
	 * The handler raises, so a table would break everybody's look at
	 * information_schema; a user mapping would keep the extension from being
	 * dropped.
	 */
	if (catalog == ForeignTableRelationId)
		raise_no_tables();
	if (catalog == UserMappingRelationId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a model of dlm has no user mappings"),
				 errhint("GRANT USAGE ON FOREIGN SERVER lets a role use a model.")));
	if (catalog != ForeignServerRelationId)
	{
		if (options != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid option \"%s\"", linitial_node(DefElem, options)->defname),
					 errhint("Only servers of this wrapper have options.")));
		PG_RETURN_VOID();
	}

	foreach(cell, options)
		check_option(lfirst_node(DefElem, cell));
	dlm_registry_options(options, &model);
	if (model.file == NULL || model.digest == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("a model needs the options file and digest"),
				 errhint("dlm_load_model(name, path) writes them.")));
	bundled = dlm_bundled_digest(model.file);
	if (bundled != NULL && strcmp(bundled, model.digest) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("the options file and digest name different models")));
	check_right(model.digest);
	PG_RETURN_VOID();
}
