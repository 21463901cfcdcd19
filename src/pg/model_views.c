/*
 * model_views.c - behind the view dlm_models and dlm_model_info().
 *
 * The view must show all models even if the file of one is missing or
 * damaged: what is wrong stands in the column `problem`. A file is mapped only
 * for the look, unless this backend has it mapped anyway.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "catalog/pg_foreign_server.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "model_files.h"
#include "registry.h"
#include "run.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(dlm_sql_model_list);
PG_FUNCTION_INFO_V1(dlm_sql_model_info);

/*
 * Columns of both functions, in their order. New ones come last, here and in every function that returns rows: a database
 * whose extension has not been updated yet reads the first ones of them.
 */
enum
{
	COL_NAME, COL_OWNER, COL_DIGEST, COL_ARCHITECTURE, COL_PARAMETERS, COL_WEIGHTS, COL_BYTES, COL_CONTEXT,
	COL_MASK_TOKEN, COL_ATTENTION, COL_LAYERS, COL_HIDDEN, COL_VOCAB, COL_LENGTH_HEAD, COL_LICENSE, COL_SOURCE,
	COL_MAPPED_BY, COL_FILE, COL_PROBLEM, COL_TRAINING, N_COLS
};

static void
put_text(Datum *values, bool *nulls, int col, const char *data, Size len)
{
	dlm_text	t = {data, len};

	nulls[col] = data == NULL || len == 0;
	if (!nulls[col])
		values[col] = PointerGetDatum(dlm_piece_to_server(t));
}

static void
put_info(Datum *values, bool *nulls, const DlmModelRef *ref)
{
	const dlm_model_info *info = &ref->info;
	dlm_text	mask = dlm_run_piece(ref, info->mask_id);

	put_text(values, nulls, COL_ARCHITECTURE, info->architecture, strlen(info->architecture));
	put_text(values, nulls, COL_WEIGHTS, info->weights, strlen(info->weights));
	put_text(values, nulls, COL_MASK_TOKEN, mask.data, mask.len);
	put_text(values, nulls, COL_ATTENTION, info->attention, strlen(info->attention));
	put_text(values, nulls, COL_LICENSE, info->license, strlen(info->license));
	put_text(values, nulls, COL_SOURCE, info->source, strlen(info->source));
	values[COL_PARAMETERS] = Int64GetDatum((int64) info->parameters);
	values[COL_BYTES] = Int64GetDatum((int64) info->bytes);
	values[COL_CONTEXT] = Int32GetDatum(info->context);
	values[COL_LAYERS] = Int32GetDatum(info->layers);
	values[COL_HIDDEN] = Int32GetDatum(info->hidden);
	values[COL_VOCAB] = Int32GetDatum(info->vocab);
	values[COL_LENGTH_HEAD] = BoolGetDatum(info->length_head);
	nulls[COL_PARAMETERS] = nulls[COL_BYTES] = nulls[COL_CONTEXT] = false;
	nulls[COL_LAYERS] = nulls[COL_HIDDEN] = nulls[COL_VOCAB] = nulls[COL_LENGTH_HEAD] = false;
}

/* Columns that the catalog and shared memory know. */
static void
put_server(Datum *values, bool *nulls, const ForeignServer *server)
{
	DlmServerOptions options;
	uint8		digest[32];
	int			mapped = -1;

	memset(nulls, true, N_COLS * sizeof(bool));
	dlm_registry_options(server->options, &options);
	values[COL_NAME] = CStringGetTextDatum(server->servername);
	values[COL_OWNER] = CStringGetTextDatum(GetUserNameFromId(server->owner, false));
	nulls[COL_NAME] = nulls[COL_OWNER] = false;
	if (options.file != NULL)
		values[COL_FILE] = CStringGetTextDatum(options.file);
	nulls[COL_FILE] = options.file == NULL;
	if (options.training != NULL)
		values[COL_TRAINING] = DirectFunctionCall1(jsonb_in, CStringGetDatum(options.training));
	nulls[COL_TRAINING] = options.training == NULL;
	if (options.digest != NULL)
	{
		values[COL_DIGEST] = CStringGetTextDatum(options.digest);
		if (dlm_parse_hex(options.digest, digest))
			mapped = dlm_shmem_mapped_by(digest);
	}
	nulls[COL_DIGEST] = options.digest == NULL;
	values[COL_MAPPED_BY] = Int32GetDatum(mapped);
	nulls[COL_MAPPED_BY] = mapped < 0;
}

/*
 * What the file says. Without the right to use the model, and when the file
 * cannot be used, these columns are NULL.
 */
static void
put_model(Datum *values, bool *nulls, ForeignServer *server)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext look = AllocSetContextCreate(caller, "dlm look at a model", ALLOCSET_SMALL_SIZES);
	DlmModelRef ref = {0};
	dlm_error	err = {0};
	char	   *path;
	bool		attached;

	/* The pin goes with the context. */
	MemoryContextSwitchTo(look);
	attached = dlm_registry_attach(server, &ref, &err, &path);
	MemoryContextSwitchTo(caller);
	if (attached)
		put_info(values, nulls, &ref);
	else
	{
		put_text(values, nulls, COL_PROBLEM, err.message, strlen(err.message));
	}
	MemoryContextDelete(look);
}

/* dlm_model_list() returns a row for each model of the database: dlm_models */
Datum
dlm_sql_model_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *servers;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	servers = dlm_registry_servers();
	foreach(cell, servers)
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);
		Datum		values[N_COLS];
		bool		nulls[N_COLS];

		CHECK_FOR_INTERRUPTS();
		if (server == NULL)
			continue;
		put_server(values, nulls, server);
		if (dlm_registry_may_use(server->serverid))
			put_model(values, nulls, server);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* dlm_model_info(name text) returns the same row of one model, with the errors of using it */
Datum
dlm_sql_model_info(PG_FUNCTION_ARGS)
{
	Datum		values[N_COLS];
	bool		nulls[N_COLS];
	DlmModelRef *ref;
	ForeignServer *server;
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ref = dlm_registry_resolve(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	server = GetForeignServerExtended(ref->serverid, FSV_MISSING_OK);
	if (server == NULL)			/* dropped meanwhile: say so as for any name */
		server = dlm_registry_server(ref->name, false);
	put_server(values, nulls, server);
	put_info(values, nulls, ref);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
