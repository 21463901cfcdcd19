/*
 * guc.c - the settings dlm.*, all of them in one table per type.
 *
 * They are defined with and without shared_preload_libraries, so none is
 * PGC_POSTMASTER (a setting of that kind defined after startup is fatal).
 * Limits that protect the server are for superusers; the rest is for all.
 */
#include "dlm_pg.h"

#include <limits.h>

#include "utils/guc.h"

#include "cache_store.h"
#include "guc.h"

char	   *dlm_guc_default_model;
char	   *dlm_guc_model_directory;
char	   *dlm_guc_preload_models;
int			dlm_guc_max_threads;
int			dlm_guc_threads_per_worker;
bool		dlm_guc_enable_batching;
int			dlm_guc_batch_size;
int			dlm_guc_batch_mem;
int			dlm_guc_max_session_memory;
bool		dlm_guc_parallel_small_tables;
int			dlm_guc_statement_budget_ms;
int			dlm_guc_memo_mem;
int			dlm_guc_cache_mem;
bool		dlm_guc_prewarm;

typedef struct IntSetting
{
	const char *name;
	const char *brief;
	int		   *variable;
	int			boot,
				min,
				max;
	GucContext	context;
	int			flags;
	GucIntCheckHook check;
} IntSetting;

/* A store too small for its own head would be none. */
static bool
check_cache_mem(int *value, void **extra, GucSource source)
{
	if (*value > 0 && *value < DLM_STORE_LEAST / 1024)
	{
		GUC_check_errdetail("It must be 0, or at least %d kB.", DLM_STORE_LEAST / 1024);
		return false;
	}
	return true;
}

static const IntSetting int_settings[] = {
	{"dlm.max_threads", "Compute threads of all sessions together; 0 is the number of CPUs.",
	&dlm_guc_max_threads, 0, 0, 64, PGC_SUSET, 0},
	{"dlm.threads_per_worker", "Compute threads of one parallel query worker.",
	&dlm_guc_threads_per_worker, 1, 1, 64, PGC_SUSET, 0},
	{"dlm.batch_size", "Most rows that are put through a model together.",
	&dlm_guc_batch_size, 64, 1, DLM_MOST_BATCH_SIZE, PGC_USERSET, 0},
	{"dlm.batch_mem", "Most memory for the rows of a batch node, in each process.",
	&dlm_guc_batch_mem, 64 * 1024, 64, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB},
	{"dlm.max_session_memory", "Most memory that one call may use beside the model.",
	&dlm_guc_max_session_memory, 1024 * 1024, 1024, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB},
	{"dlm.statement_budget_ms", "Most time that one statement may spend in models; 0 is no limit.",
	&dlm_guc_statement_budget_ms, 0, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS},
	{"dlm.memo_mem", "Memory of a session for results that several calls share; 0 turns it off.",
	&dlm_guc_memo_mem, 32 * 1024, 0, 1024 * 1024, PGC_USERSET, GUC_UNIT_KB},
	{"dlm.cache_mem", "Shared memory for answers that all sessions may find again; 0 turns it off.",
	&dlm_guc_cache_mem, 0, 0, 64 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, check_cache_mem},
};

typedef struct BoolSetting
{
	const char *name;
	const char *brief;
	const char *detail;
	bool	   *variable;
	bool		boot;
	GucContext	context;
} BoolSetting;

static const BoolSetting bool_settings[] = {
	{"dlm.enable_batching", "Collect the calls of many rows into batches.",
	"Read when a statement starts. Answers are the same either way.", &dlm_guc_enable_batching, true, PGC_USERSET},
	{"dlm.parallel_small_tables", "Consider parallel plans for small tables when a query calls a model.",
	"A table's own parallel_workers stands.", &dlm_guc_parallel_small_tables, true, PGC_USERSET},
	{"dlm.prewarm", "Read a model into memory when a session first uses it.",
	NULL, &dlm_guc_prewarm, false, PGC_USERSET},
};

typedef struct StringSetting
{
	const char *name;
	const char *brief;
	char	  **variable;
	const char *boot;
	GucContext	context;
	int			flags;
	GucStringCheckHook check;
} StringSetting;

/* A relative directory is taken from the data directory; ".." would leave it unseen. */
static bool
check_model_directory(char **value, void **extra, GucSource source)
{
	if (path_contains_parent_reference(*value))
	{
		GUC_check_errdetail("The path must not contain \"..\".");
		return false;
	}
	if (**value == '\0')
	{
		GUC_check_errdetail("The path must not be empty.");
		return false;
	}
	canonicalize_path(*value);
	return true;
}

static const StringSetting string_settings[] = {
	{"dlm.default_model", "Model of calls that name none.",
	&dlm_guc_default_model, "dlm-135m", PGC_USERSET, 0, NULL},
	{"dlm.model_directory", "Directory of model files; a relative path starts at the data directory.",
	&dlm_guc_model_directory, "dlm_models", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_model_directory},
	{"dlm.preload_models", "Models that a background worker reads into memory at server start, comma-separated.",
	&dlm_guc_preload_models, "", PGC_SIGHUP, GUC_LIST_INPUT, NULL},
};

/* Define all settings. Call once, from _PG_init. */
void
dlm_guc_init(void)
{
	for (int i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->brief, NULL, s->variable, s->boot, s->min, s->max, s->context, s->flags,
								s->check, NULL, NULL);
	}
	for (int i = 0; i < lengthof(bool_settings); i++)
	{
		const BoolSetting *s = &bool_settings[i];

		DefineCustomBoolVariable(s->name, s->brief, s->detail, s->variable, s->boot, s->context, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(string_settings); i++)
	{
		const StringSetting *s = &string_settings[i];

		DefineCustomStringVariable(s->name, s->brief, NULL, s->variable, s->boot, s->context, s->flags,
								   s->check, NULL, NULL);
	}
	MarkGUCPrefixReserved("dlm");
}
