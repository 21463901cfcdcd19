/*
 * load.c - dlm_load_model and dlm_drop_model: sugar over CREATE SERVER and DROP SERVER.
 *
 * Loading converts a checkpoint into dlm.model_directory, under the name of
 * its digest, and makes a server for it as the caller. The rights are
 * PostgreSQL's own: USAGE on the foreign data wrapper to make a model,
 * pg_read_server_files to read outside of the model directory, ownership to
 * drop. If the transaction rolls back, the file stays; dlm_model_files()
 * shows that nobody uses it.
 */
#include "dlm_pg.h"

#include "catalog/dependency.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "activity.h"
#include "guc.h"
#include "interrupts.h"
#include "load.h"
#include "loader.h"
#include "model_files.h"
#include "registry.h"
#include "errors.h"
#include "sigbus.h"

PG_FUNCTION_INFO_V1(dlm_sql_load_model);
PG_FUNCTION_INFO_V1(dlm_sql_drop_model);

#define CONVERT_MEMORY	((size_t) 4 << 30)

/* ---------------------------------------------------------------- options */

static const char *const option_names = "weights, head, lora, tokenizer, settings, config";

/* value NULL: not a string. */
static void
set_option(const char *key, const char *value, dlm_convert_options *out)
{
	static const char *const known[] = {"weights", "head", "lora", "tokenizer", "settings", "config"};
	dlm_error	err = {0};
	bool		found = false;

	for (int i = 0; i < lengthof(known); i++)
		found = found || strcmp(key, known[i]) == 0;
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\"", key),
				 errhint("The options of dlm_load_model are %s.", option_names)));
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a string", key)));
	if (strcmp(key, "weights") == 0)
	{
		if (dlm_weights_parse(value, &out->weights, &err) != DLM_OK)
			dlm_raise(&err);
	}
	else if (strcmp(key, "head") == 0)
	{
		if (dlm_weights_parse(value, &out->head, &err) != DLM_OK)
			dlm_raise(&err);
	}
	else if (strcmp(key, "lora") == 0)
		out->lora = dlm_source_path(value, "LoRA adapter");
	else if (strcmp(key, "tokenizer") == 0)
		out->tokenizer = dlm_source_path(value, "tokenizer");
	else if (strcmp(key, "settings") == 0)
		out->settings = dlm_source_path(value, "settings");
	else
		out->config = dlm_source_path(value, "configuration");
}

static void
read_options(Jsonb *json, dlm_convert_options *out)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("The options of dlm_load_model are %s.", option_names)));
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && v.type == jbvString)
			set_option(key, pnstrdup(v.val.string.val, v.val.string.len), out);
		else if (token == WJB_VALUE)
			set_option(key, NULL, out);
	}
}

/* ------------------------------------------------------------------- load */

static void
show_progress(void *arg, double share)
{
	dlm_activity_load_progress(share);
}

/* Run the converter until it ends or an interrupt raises. */
static void
convert(const char *source, dlm_convert_options *options, uint8 digest[32])
{
	static uint32 event = 0;
	char	   *folder = dlm_model_directory_path();
	dlm_error	err;
	dlm_status	status;
	bool		lost;

	options->memory_limit = CONVERT_MEMORY;
	options->threads = 1;
	options->stop = dlm_stop_wanted;
	options->progress = show_progress;
	do
	{
		CHECK_FOR_INTERRUPTS();
		memset(&err, 0, sizeof(err));
		pgstat_report_wait_start(dlm_wait_event("DlmModelConvert", event));
		dlm_fault_enter_all();
		status = dlm_convert_into(source, folder, options, digest, &err);
		lost = dlm_fault_leave_all();
		pgstat_report_wait_end();
	} while (status == DLM_EINTR);
	CHECK_FOR_INTERRUPTS();
	if (lost)
		ereport(ERROR,
				(errcode(ERRCODE_IO_ERROR),
				 errmsg("the source was cut short while it was read")));
	if (status == DLM_OK)
		return;
	dlm_hide_directory(&err);
	dlm_raise(&err);
}

/* Everything that can be refused is refused before minutes of work. */
void
dlm_load_check_name(const char *name, bool replace)
{
	AclResult	acl;
	ForeignServer *server;

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a model must not be empty")));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("the name of a model must be shorter than %d bytes", NAMEDATALEN)));
	server = dlm_registry_server_by_name(name);
	if (server != NULL && !(replace && server->fdwid == dlm_registry_wrapper()))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("model \"%s\" already exists", name),
				 errhint("replace => true puts another in its place; dlm_drop_model(name) drops it.")));
	if (server != NULL && getExtensionOfObject(ForeignServerRelationId, server->serverid) == dlm_extension_oid())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" belongs to the extension", name),
				 errhint("Give the new model a name of its own and set dlm.default_model to it.")));
	if (server != NULL && !dlm_server_ownercheck(server->serverid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FOREIGN_SERVER, name);
	acl = dlm_wrapper_aclcheck(dlm_registry_wrapper(), GetUserId());
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_FDW, GetForeignDataWrapper(dlm_registry_wrapper())->fdwname);
}

/* What dlm_load_made answers for. */
static const uint8 *made = NULL;

bool
dlm_load_made(const uint8 digest[32])
{
	return made != NULL && memcmp(made, digest, 32) == 0;
}

static void
execute(const char *command)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", command);
	SPI_finish();
}

/* CREATE SERVER, or ALTER SERVER for one that is there. */
static char *
server_command(const char *name, const char *hex, const char *training, const ForeignServer *old)
{
	char	   *wrapper = GetForeignDataWrapper(dlm_registry_wrapper())->fdwname;
	const char *set = old != NULL ? "SET " : "";
	DlmServerOptions options = {0};
	StringInfoData command;

	initStringInfo(&command);
	if (old != NULL)
	{
		dlm_registry_options(old->options, &options);
		appendStringInfo(&command, "ALTER SERVER %s", quote_identifier(name));
	}
	else
		appendStringInfo(&command, "CREATE SERVER %s FOREIGN DATA WRAPPER %s", quote_identifier(name),
						 quote_identifier(wrapper));
	appendStringInfo(&command, " OPTIONS (%sfile '%s.dlm', %sdigest '%s'", set, hex, set, hex);
	if (training != NULL)
		appendStringInfo(&command, ", %straining %s", options.training != NULL ? "SET " : old != NULL ? "ADD " : "",
						 quote_literal_cstr(training));
	else if (options.training != NULL)
		appendStringInfoString(&command, ", DROP training");
	appendStringInfoChar(&command, ')');
	return command.data;
}

void
dlm_load_register(const char *name, const uint8 digest[32], const char *training, bool replace)
{
	ForeignServer *old = NULL;

	dlm_load_check_name(name, replace);
	if (replace)
		old = dlm_registry_server(name, true);
	made = digest;
	PG_TRY();
	{
		execute(server_command(name, dlm_hex(digest), training, old));
	}
	PG_FINALLY();
	{
		made = NULL;
	}
	PG_END_TRY();
}

/* dlm_load_model(name text, path text, options jsonb, replace boolean) returns text: the digest */
Datum
dlm_sql_load_model(PG_FUNCTION_ARGS)
{
	dlm_convert_options options = {0};
	uint8		digest[32];
	char	   *name,
			   *source;
	/* the function of version 0.1 has three arguments */
	bool		replace = PG_NARGS() > 3 && !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name and the path of a model must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	dlm_load_check_name(name, replace);
	source = dlm_source_path(text_to_cstring(PG_GETARG_TEXT_PP(1)), "source");
	if (!PG_ARGISNULL(2))
		read_options(PG_GETARG_JSONB_P(2), &options);

	PreventCommandIfReadOnly("dlm_load_model");
	PreventCommandDuringRecovery("dlm_load_model");
	dlm_model_directory_create();
	dlm_activity_scope_begin(CurrentMemoryContext, -1);
	dlm_activity_load(name);
	convert(source, &options, digest);
	dlm_activity_scope_end();

	dlm_load_register(name, digest, NULL, replace);
	PG_RETURN_TEXT_P(cstring_to_text(dlm_hex(digest)));
}

/* dlm_drop_model(name text) returns void; the file stays, others may have it mapped. */
Datum
dlm_sql_drop_model(PG_FUNCTION_ARGS)
{
	ForeignServer *server;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of a model must not be null")));
	server = dlm_registry_server(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	execute(psprintf("DROP SERVER %s", quote_identifier(server->servername)));
	PG_RETURN_VOID();
}
