/*
 * model_files.c - the folders of model files: paths, containment, dlm_model_files().
 */
#include "dlm_pg.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/file_perm.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "guc.h"
#include "model_files.h"
#include "registry.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(dlm_sql_model_files);

#define FILE_SUFFIX	".dlm"

char *
dlm_hex(const uint8 digest[32])
{
	char	   *hex = palloc(DLM_DIGEST_HEX + 1);

	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return hex;
}

bool
dlm_parse_hex(const char *hex, uint8 digest[32])
{
	if (strlen(hex) != DLM_DIGEST_HEX || strspn(hex, "0123456789abcdef") != DLM_DIGEST_HEX)
		return false;
	for (int i = 0; i < 32; i++)
	{
		char		pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		digest[i] = (uint8) strtoul(pair, NULL, 16);
	}
	return true;
}

char *
dlm_model_directory_path(void)
{
	const char *setting = dlm_guc_model_directory;
	char	   *path;

	if (setting == NULL || setting[0] == '\0')
		setting = "dlm_models";
	path = is_absolute_path(setting) ? pstrdup(setting) : psprintf("%s/%s", DataDir, setting);
	canonicalize_path(path);
	return path;
}

char *
dlm_bundled_directory_path(void)
{
	char		share[MAXPGPATH];

	get_share_path(my_exec_path, share);
	return psprintf("%s/dlm", share);
}

void
dlm_model_directory_create(void)
{
	char	   *path = dlm_model_directory_path();

	if (MakePGDirectory(path) != 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create the model directory \"%s\": %m", path),
				 errhint("Create it for the server's operating system user, or set dlm.model_directory.")));
}

static bool
is_model_name(const char *file)
{
	Size		length = strlen(file);

	return length > strlen(FILE_SUFFIX) && strcmp(file + length - strlen(FILE_SUFFIX), FILE_SUFFIX) == 0;
}

const char *
dlm_file_option_problem(const char *file)
{
	uint8		digest[32];

	if (dlm_bundled_digest(file) != NULL)
		return dlm_parse_hex(dlm_bundled_digest(file), digest) ? NULL :
			"\"bundled:\" must be followed by a digest of 64 hexadecimal digits";
	if (file[0] == '\0' || file[0] == '.')
		return "it must not be empty or start with a dot";
	if (strpbrk(file, "/\\") != NULL)
		return "it must not hold a slash";
	if (strlen(file) >= NAME_MAX)
		return "it is too long";
	if (!is_model_name(file))
		return "it must end in " FILE_SUFFIX;
	return NULL;
}

char *
dlm_model_path(const char *file)
{
	const char *problem = dlm_file_option_problem(file);

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" cannot be the file of a model: %s", file, problem)));
	if (dlm_bundled_digest(file) != NULL)
		return psprintf("%s/%s" FILE_SUFFIX, dlm_bundled_directory_path(), dlm_bundled_digest(file));
	return psprintf("%s/%s", dlm_model_directory_path(), file);
}

/* Does the path, links resolved, lie inside the folder, links resolved? A missing one does not. */
static bool
lies_inside(const char *path, const char *folder)
{
	char	   *real_path = realpath(path, NULL);
	char	   *real_folder = realpath(folder, NULL);
	bool		inside = false;

	if (real_path != NULL && real_folder != NULL)
		inside = path_is_prefix_of_path(real_folder, real_path);
	free(real_path);
	free(real_folder);
	return inside;
}

/*
 * Files that end in .dlm and lie directly in the model directory, links
 * resolved, are those of models: reading one as a source is using the model.
 */
static bool
is_foreign_model(const char *path)
{
	char	   *folder = dlm_model_directory_path();
	char	   *real_path = realpath(path, NULL);
	char	   *real_folder = realpath(folder, NULL);
	char	   *parent = pstrdup(real_path != NULL ? real_path : "");
	char	   *name = NULL;

	get_parent_directory(parent);
	if (real_path != NULL && real_folder != NULL && strcmp(parent, real_folder) == 0)
		name = pstrdup(last_dir_separator(real_path) + 1);
	free(real_path);
	free(real_folder);
	return name != NULL && is_model_name(name) && !dlm_registry_may_use_path(psprintf("%s/%s", folder, name));
}

bool
dlm_may_see_paths(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
}

void
dlm_hide_directory(dlm_error *err)
{
	const char *folders[] = {
		psprintf("%s/", dlm_model_directory_path()),
		psprintf("%s/", dlm_bundled_directory_path())
	};

	if (dlm_may_see_paths())
		return;
	for (int i = 0; i < lengthof(folders); i++)
	{
		Size		length = strlen(folders[i]);
		char	   *at;

		while ((at = strstr(err->message, folders[i])) != NULL)
			memmove(at, at + length, strlen(at + length) + 1);
	}
}

char *
dlm_source_path(const char *path, const char *what)
{
	char	   *folder = dlm_model_directory_path();
	char	   *full;
	bool		inside;

	if (path[0] == '\0' || strlen(path) >= MAXPGPATH / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the path of the %s is empty or too long", what)));
	full = is_absolute_path(path) ? pstrdup(path) : psprintf("%s/%s", folder, path);
	canonicalize_path(full);
	if (dlm_may_see_paths())
		return full;
	inside = !path_contains_parent_reference(full) && path_is_prefix_of_path(folder, full) &&
		(access(full, F_OK) != 0 || lies_inside(full, folder));
	if (!inside)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read the %s outside of the model directory", what),
				 errhint("Only roles with privileges of pg_read_server_files may read other files of the server.")));
	if (is_foreign_model(full))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read the file of a model"),
				 errhint("It needs USAGE on the model, or the privileges of pg_read_server_files.")));
	return full;
}

/* ------------------------------------------------------- dlm_model_files() */

/* Names of the models of this database with that digest, as text[]. */
static Datum
users_of(const uint8 digest[32], List *servers)
{
	ArrayBuildState *names = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	ListCell   *cell;

	foreach(cell, servers)
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		DlmServerOptions options;
		uint8		other[32];

		if (server == NULL)
			continue;			/* dropped since the list was made */
		dlm_registry_options(server->options, &options);
		if (options.digest != NULL && dlm_parse_hex(options.digest, other) && memcmp(other, digest, 32) == 0)
			names = accumArrayResult(names, CStringGetTextDatum(server->servername), false, TEXTOID,
									 CurrentMemoryContext);
	}
	return makeArrayResult(names, CurrentMemoryContext);
}

static void
emit_file(ReturnSetInfo *rsinfo, const char *folder, const char *file, const char *option_prefix, List *servers)
{
	char	   *path = psprintf("%s/%s", folder, file);
	Size		length = strlen(file);
	struct stat st;
	uint8		digest[32];
	Datum		values[5];
	bool		nulls[5] = {false};

	if (file[0] == '.' || !pg_verifymbstr(file, (int) length, true) || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	nulls[1] = nulls[3] = nulls[4] = true;
	if (length == DLM_DIGEST_HEX + strlen(FILE_SUFFIX) && strcmp(file + DLM_DIGEST_HEX, FILE_SUFFIX) == 0)
	{
		char	   *hex = pnstrdup(file, DLM_DIGEST_HEX);

		if (dlm_parse_hex(hex, digest))
		{
			int			mapped = dlm_shmem_mapped_by(digest);

			values[1] = CStringGetTextDatum(hex);
			values[3] = users_of(digest, servers);
			values[4] = Int32GetDatum(mapped);
			nulls[1] = nulls[3] = false;
			nulls[4] = mapped < 0;
			if (option_prefix[0] != '\0')
				file = psprintf("%s%s", option_prefix, hex);
		}
	}
	else if (option_prefix[0] != '\0')
		return;
	values[0] = CStringGetTextDatum(file);
	values[2] = Int64GetDatum((int64) st.st_size);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
emit_folder(ReturnSetInfo *rsinfo, const char *folder, const char *option_prefix, List *servers)
{
	DIR		   *dir = AllocateDir(folder);
	struct dirent *entry;

	if (dir == NULL && errno == ENOENT)
		return;
	while ((entry = ReadDir(dir, folder)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		emit_file(rsinfo, folder, entry->d_name, option_prefix, servers);
	}
	FreeDir(dir);
}

/* dlm_model_files() returns table(file, digest, bytes, used_by, mapped_by) */
Datum
dlm_sql_model_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *servers;

	InitMaterializedSRF(fcinfo, 0);
	servers = dlm_registry_servers();
	emit_folder(rsinfo, dlm_model_directory_path(), "", servers);
	emit_folder(rsinfo, dlm_bundled_directory_path(), DLM_BUNDLED_PREFIX, servers);
	return (Datum) 0;
}
