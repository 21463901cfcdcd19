/*
 * registry.h - from a model's name to its weights.
 *
 * A model is a foreign server of the wrapper `dlm` (DESIGN 4): names, owners,
 * rights, comments, dump and invalidation are PostgreSQL's own. This file
 * finds the server, checks USAGE, and has attach.c map the file.
 */
#ifndef DLM_PG_REGISTRY_H
#define DLM_PG_REGISTRY_H

#include "dlm.h"
#include "foreign/foreign.h"
#include "nodes/pg_list.h"

#define DLM_WRAPPER_NAME	"dlm"
#define DLM_DIGEST_HEX		64

struct DlmMapping;

/* A model in use. palloc'd in the CurrentMemoryContext of the resolve. */
typedef struct DlmModelRef
{
	Oid			serverid;
	char		name[NAMEDATALEN];
	uint8		digest[32];
	char		digest_hex[DLM_DIGEST_HEX + 1];
	bool		bundled;		/* its file comes with a release */
	dlm_model  *model;
	dlm_model_info info;		/* of model */
	struct DlmMapping *mapping; /* attach.c's */
} DlmModelRef;

/*
 * Resolve a model by name, NULL = dlm.default_model, and map it. The mapping
 * stays pinned until the CurrentMemoryContext of the call is reset or deleted
 * (so on success, error and cancel alike).
 *
 * ERRORs: 42704 unknown model, 42501 no USAGE on the server, 58P01 the file
 * is not on this node, XX001 damaged file or another digest, 58030 file cut
 * short, 0A000 a format of the future.
 */
extern DlmModelRef *dlm_registry_resolve(const char *name_or_null);

/*
 * The same for the model of a digest (64 hex digits): any whose server the
 * current user may use and whose file is there. 22023 where the text is no
 * whole digest, 42704 where no model has it; else as above.
 */
extern DlmModelRef *dlm_registry_resolve_digest(const char *hex);

/* _PG_init: settings of the cache of lookups, invalidation callbacks (attach.c's too). */
extern void dlm_registry_init(void);

/* The OID of the wrapper; InvalidOid if the extension is not there. Found by the extension's OID, not by name alone. */
extern Oid	dlm_registry_wrapper(void);

/* The extension's OID and schema in this database; InvalidOid if missing. Cached, invalidated by the catalogs. */
extern Oid	dlm_extension_oid(void);
extern Oid	dlm_extension_schema(void);

/* OIDs of the extension's members in one catalog (ProcedureRelationId, ...); NIL if the extension is missing. */
extern List *dlm_extension_members(Oid catalog);

/* A table of the extension: its name with its schema, palloc'd, and its owner. 42P01 if this database has an older version without it. */
extern char *dlm_extension_table(const char *name, Oid *owner);

/* What a server's options say. All are palloc'd, NULL if missing. */
typedef struct DlmServerOptions
{
	char	   *file;
	char	   *digest;
	char	   *training;		/* a JSON object, of models that dlm_finetune made */
} DlmServerOptions;

extern void dlm_registry_options(List *options, DlmServerOptions *out);

/* The server of a model's name; NULL or 42704 when it is none of ours. No rights are checked. */
extern ForeignServer *dlm_registry_server(const char *name, bool missing_ok);

/* A server, of whatever wrapper; NULL where there is none, also if it is dropped between the look at its name and the one at it. */
extern ForeignServer *dlm_registry_server_by_name(const char *name);

/*
 * Map the model of a server into *ref, pinned as by resolve; *path is where
 * its file should lie. False with *err filled when the file cannot be used.
 * No rights are checked.
 */
extern bool dlm_registry_attach(ForeignServer *server, DlmModelRef *ref, dlm_error *err, char **path);

/* May the current user use the model? */
extern bool dlm_registry_may_use(Oid serverid);

/* ... any model of this digest, or whose file lies at this absolute path? */
extern bool dlm_registry_may_use_digest(const uint8 digest[32]);
extern bool dlm_registry_may_use_path(const char *path);

/* OIDs of all models of this database. */
extern List *dlm_registry_servers(void);

#endif							/* DLM_PG_REGISTRY_H */
