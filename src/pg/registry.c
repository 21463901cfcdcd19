/*
 * registry.c - from a model's name to a foreign server to its weights.
 *
 * All state is PostgreSQL's catalogs; here are only caches of two OIDs, reset
 * by the invalidation callbacks. A lookup costs a syscache probe, a stat and
 * a table search, so nothing is remembered per call site.
 */
#include "dlm_pg.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "attach.h"
#include "encoding.h"
#include "errors.h"
#include "guc.h"
#include "model_files.h"
#include "registry.h"
#include "statement_models.h"

/* Cached OIDs, valid until a callback resets them. */
static Oid	wrapper_oid = InvalidOid;
/* Servers changed: mappings that nobody names any more may go. */
static bool servers_changed = false;

static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	if (cacheid == FOREIGNDATAWRAPPEROID)
		wrapper_oid = InvalidOid;
	servers_changed = true;
}

void
dlm_registry_init(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, catalog_changed, (Datum) 0);
}

Oid
dlm_extension_oid(void)
{
	return get_extension_oid("dlm", true);
}

Oid
dlm_extension_schema(void)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(dlm_extension_oid()));
	rel = table_open(ExtensionRelationId, AccessShareLock);
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

List *
dlm_extension_members(Oid catalog)
{
	Oid			extension = dlm_extension_oid();
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key[2];
	HeapTuple	tuple;
	List	   *result = NIL;

	if (!OidIsValid(extension))
		return NIL;
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	rel = table_open(DependRelationId, AccessShareLock);
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->classid == catalog && depend->deptype == DEPENDENCY_EXTENSION)
			result = lappend_oid(result, depend->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

char *
dlm_extension_table(const char *name, Oid *owner)
{
	ListCell   *cell;

	foreach(cell, dlm_extension_members(RelationRelationId))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_class form;
		char	   *found = NULL;

		if (!HeapTupleIsValid(tuple))
			continue;
		form = (Form_pg_class) GETSTRUCT(tuple);
		if (strcmp(NameStr(form->relname), name) == 0 && form->relkind == RELKIND_RELATION)
		{
			found = quote_qualified_identifier(get_namespace_name(form->relnamespace), NameStr(form->relname));
			*owner = form->relowner;
		}
		ReleaseSysCache(tuple);
		if (found)
			return found;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the extension dlm of this database has no table \"%s\"", name),
			 errhint("ALTER EXTENSION dlm UPDATE brings it.")));
}

/*
 * The wrapper is the one that belongs to the extension, whatever its name:
 * a superuser may rename it.
 */
Oid
dlm_registry_wrapper(void)
{
	List	   *wrappers;

	if (OidIsValid(wrapper_oid))
		return wrapper_oid;
	wrappers = dlm_extension_members(ForeignDataWrapperRelationId);
	wrapper_oid = wrappers ? llast_oid(wrappers) : InvalidOid;
	return wrapper_oid;
}

void
dlm_registry_options(List *options, DlmServerOptions *out)
{
	ListCell   *cell;

	out->file = NULL;
	out->digest = NULL;
	out->training = NULL;
	foreach(cell, options)
	{
		DefElem    *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "file") == 0)
			out->file = defGetString(def);
		else if (strcmp(def->defname, "digest") == 0)
			out->digest = defGetString(def);
		else if (strcmp(def->defname, "training") == 0)
			out->training = defGetString(def);
	}
}

bool
dlm_registry_may_use(Oid serverid)
{
	return dlm_server_aclcheck(serverid, GetUserId()) == ACLCHECK_OK;
}

/* A digest of a server of ours; false when the options are not a model's. */
static bool
server_digest(List *options, uint8 digest[32])
{
	DlmServerOptions o;

	dlm_registry_options(options, &o);
	return o.digest != NULL && dlm_parse_hex(o.digest, digest);
}

bool
dlm_registry_may_use_digest(const uint8 digest[32])
{
	ListCell   *cell;

	foreach(cell, dlm_registry_servers())
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		uint8		other[32];

		if (server != NULL && server_digest(server->options, other) && memcmp(other, digest, 32) == 0 &&
			dlm_registry_may_use(server->serverid))
			return true;
	}
	return false;
}

bool
dlm_registry_may_use_path(const char *path)
{
	ListCell   *cell;

	foreach(cell, dlm_registry_servers())
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		DlmServerOptions options;

		if (server == NULL || !dlm_registry_may_use(server->serverid))
			continue;
		dlm_registry_options(server->options, &options);
		if (options.file != NULL && dlm_file_option_problem(options.file) == NULL &&
			strcmp(dlm_model_path(options.file), path) == 0)
			return true;
	}
	return false;
}

List *
dlm_registry_servers(void)
{
	Oid			wrapper = dlm_registry_wrapper();
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	if (!OidIsValid(wrapper))
		return NIL;
	rel = table_open(ForeignServerRelationId, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server form = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (form->srvfdw == wrapper)
			result = lappend_oid(result, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Is the digest named by one of the servers, or what one of them was for the present statement? */
static bool
digest_in_use(const uint8 digest[32], void *arg)
{
	ListCell   *cell;

	if (dlm_statement_uses(dlm_hex(digest)))
		return true;
	foreach(cell, (List *) arg)
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		uint8		other[32];

		if (server != NULL && server_digest(server->options, other) && memcmp(other, digest, sizeof(other)) == 0)
			return true;
	}
	return false;
}

static void
sweep_mappings(void)
{
	servers_changed = false;
	dlm_attach_sweep(digest_in_use, dlm_registry_servers());
}

static void
unknown_model(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" does not exist", name),
			 errhint("SELECT name FROM dlm_models lists the models; dlm_load_model(name, path) loads one.")));
}

ForeignServer *
dlm_registry_server_by_name(const char *name)
{
	Oid			oid = get_foreign_server_oid(name, true);

	return OidIsValid(oid) ? GetForeignServerExtended(oid, FSV_MISSING_OK) : NULL;
}

ForeignServer *
dlm_registry_server(const char *name, bool missing_ok)
{
	ForeignServer *server = NULL;

	if (strlen(name) < NAMEDATALEN)
		server = dlm_registry_server_by_name(name);
	if (server != NULL && server->fdwid == dlm_registry_wrapper())
		return server;
	if (!missing_ok)
		unknown_model(name);
	return NULL;
}

static const char *
default_model(void)
{
	if (dlm_guc_default_model == NULL || dlm_guc_default_model[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no model is named and \"dlm.default_model\" is empty"),
				 errhint("Name a model (model => '...') or set dlm.default_model.")));
	return dlm_guc_default_model;
}

/* Why a model cannot be used: the engine's words, with the model's name where only the file is named. */
static void
raise_attach(const DlmModelRef *ref, const char *path, const dlm_error *err)
{
	dlm_error	named = *err;
	dlm_text	name = dlm_text_from_server(ref->name, (int) strlen(ref->name));
	const char *shown = dlm_may_see_paths() ? path : last_dir_separator(path) + 1;

	if (err->status == DLM_ENOENT)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("the file of model \"%s\" is not on this node", ref->name),
				 errdetail("Digest %s, expected at \"%s\".", ref->digest_hex, shown),
				 ref->bundled ?
				 errhint("It comes with a release of dlm. If another release is installed now, "
						 "ALTER EXTENSION dlm UPDATE names that release's model; else install it again.") :
				 errhint("Copy the file from a node that has it, or make it again from its source: "
						 "dlm-model convert SOURCE \"%s\".", shown)));
	snprintf(named.message, sizeof(named.message), "model \"%.*s\" cannot be used: %s",
			 (int) name.len, name.data, err->message);
	dlm_raise(&named);
}

static void
check_options(const ForeignServer *server, DlmServerOptions *options)
{
	uint8		digest[32];

	dlm_registry_options(server->options, options);
	if (options->file == NULL || options->digest == NULL || !dlm_parse_hex(options->digest, digest))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("server \"%s\" lacks the options of a model", server->servername),
				 errhint("A model has the options file and digest; dlm_load_model writes them.")));
}

static bool
attach(const ForeignServer *server, const DlmServerOptions *options, DlmModelRef *ref, dlm_error *err, char **path)
{
	(void) dlm_parse_hex(options->digest, ref->digest);
	ref->serverid = server->serverid;
	strlcpy(ref->name, server->servername, sizeof(ref->name));
	strlcpy(ref->digest_hex, options->digest, sizeof(ref->digest_hex));
	ref->bundled = dlm_bundled_digest(options->file) != NULL;
	*path = dlm_model_path(options->file);
	ref->mapping = dlm_attach(ref->digest, *path, err);
	if (ref->mapping == NULL)
	{
		dlm_hide_directory(err);
		return false;
	}
	ref->model = dlm_mapping_model(ref->mapping);
	ref->info = *dlm_mapping_info(ref->mapping);
	return true;
}

bool
dlm_registry_attach(ForeignServer *server, DlmModelRef *ref, dlm_error *err, char **path)
{
	DlmServerOptions options;

	check_options(server, &options);
	return attach(server, &options, ref, err, path);
}

DlmModelRef *
dlm_registry_resolve(const char *name_or_null)
{
	const char *name = name_or_null != NULL ? name_or_null : default_model();
	DlmModelRef *ref = palloc0(sizeof(DlmModelRef));
	ForeignServer *server = dlm_registry_server(name, false);
	AclResult	acl = dlm_server_aclcheck(server->serverid, GetUserId());
	DlmServerOptions options;
	dlm_error	err = {0};
	char	   *path;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_FOREIGN_SERVER, server->servername);
	if (servers_changed)
		sweep_mappings();
	check_options(server, &options);
	dlm_statement_model(server->serverid, &options);
	if (!attach(server, &options, ref, &err, &path))
		raise_attach(ref, path, &err);
	return ref;
}

static uint8 *
parse_digest(const char *hex)
{
	uint8	   *digest = palloc(32);

	if (!dlm_parse_hex(hex, digest))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a digest must be 64 lower-case hexadecimal digits"),
				 errdetail("A name, or a part of a digest, could come to mean another model."),
				 errhint("SELECT name, digest FROM dlm_models shows the digests of the models.")));
	return digest;
}

pg_noreturn static void
unknown_digest(const char *hex)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no model has the digest %s", hex),
			 errhint("dlm_load_model(name, path) makes it from its source; where its file lies in the model directory, "
					 "CREATE SERVER name FOREIGN DATA WRAPPER dlm OPTIONS (file '%s.dlm', digest '%s') does.", hex, hex)));
}

DlmModelRef *
dlm_registry_resolve_digest(const char *hex)
{
	const uint8 *digest = parse_digest(hex);
	DlmModelRef *ref = palloc0(sizeof(DlmModelRef));
	ForeignServer *refused = NULL;
	dlm_error	err = {0};
	char	   *path = NULL;
	ListCell   *cell;

	if (servers_changed)
		sweep_mappings();
	foreach(cell, dlm_registry_servers())
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		uint8		other[32];

		if (server == NULL || !server_digest(server->options, other) || memcmp(other, digest, sizeof(other)) != 0)
			continue;
		if (!dlm_registry_may_use(server->serverid))
		{
			refused = server;
			continue;
		}
		memset(&err, 0, sizeof(err));
		if (dlm_registry_attach(server, ref, &err, &path))
			return ref;
	}
	if (path != NULL)
		raise_attach(ref, path, &err);
	if (refused != NULL)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, refused->servername);
	unknown_digest(hex);
}
