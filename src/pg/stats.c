/*
 * stats.c - dlm_stats: what has run, over all backends.
 *
 * A table with open addressing in shared memory, by model digest, task, user
 * and database. Rows are added under the exclusive lock and only ever go all
 * at once (reset), so a counter costs a shared lock and a spinlock. When it
 * is full, calls are counted as lost, never evicted: the table is for
 * thousands of rows, not for every query.
 *
 * With shared_preload_libraries it is kept over a restart in a file, written
 * by the postmaster at shutdown and removed when read, so that a crash does
 * not bring back old figures.
 */
#include "dlm_pg.h"

#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "access/htup_details.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "budget.h"
#include "model_files.h"
#include "shmem.h"
#include "stats.h"

PG_FUNCTION_INFO_V1(dlm_sql_stats);
PG_FUNCTION_INFO_V1(dlm_sql_stats_info);
PG_FUNCTION_INFO_V1(dlm_sql_stats_reset);

#define STATS_FILE		PGSTAT_STAT_PERMANENT_DIRECTORY "/dlm.stat"
#define STATS_MAGIC		0x444c4d32	/* changes with the layout of StatsRecord */

/* What lies in the file: the header, then n_records records, then the checksum of all before. */
typedef struct StatsHeader
{
	uint32		magic;
	uint32		record_size;
	uint32		n_records;
	uint32		zero;
	int64		reset;
	int64		lost;
} StatsHeader;

typedef struct StatsRecord
{
	DlmStatsKey key;
	char		model[NAMEDATALEN];
	DlmStatsDelta counts;
} StatsRecord;

static shmem_startup_hook_type previous_startup_hook = NULL;

const char *
dlm_task_name(int task)
{
	static const char *const names[] = {
		[DLM_GENERATE] = "generate",
		[DLM_INFILL] = "infill",
		[DLM_CLASSIFY] = "classify",
		[DLM_CLASSIFY_MULTI] = "classify_multi",
		[DLM_SCORE] = "score",
		[DLM_TOKEN_SCORES] = "token_scores",
		[DLM_EMBED] = "embed",
		[DLM_PREDICT_LENGTH] = "predict_length",
	};

	if (task == DLM_ACTIVITY_LOAD)
		return "load_model";
	if (task == DLM_ACTIVITY_TRAIN)
		return "finetune";
	return task >= 0 && task < (int) lengthof(names) ? names[task] : "unknown";
}

/*
 * The entry of a key; with create, a free one is taken. NULL when there is
 * none. The lock is held, exclusively to create.
 */
static DlmStatsEntry *
find_entry(DlmShared *s, const DlmStatsKey *key, bool create)
{
	uint32		start = hash_bytes((const unsigned char *) key, sizeof(DlmStatsKey)) % DLM_SHARED_STATS;

	for (uint32 i = 0; i < DLM_SHARED_STATS; i++)
	{
		DlmStatsEntry *e = &s->stats[(start + i) % DLM_SHARED_STATS];

		if (e->used && memcmp(&e->key, key, sizeof(DlmStatsKey)) == 0)
			return e;
		if (e->used)
			continue;
		if (create)
		{
			e->key = *key;
			memset(e->model, 0, sizeof(e->model));
			memset(&e->counts, 0, sizeof(e->counts));
			e->used = true;
		}
		return create ? e : NULL;
	}
	return NULL;
}

void
dlm_stats_add(DlmStatsDelta *to, const DlmStatsDelta *d)
{
	to->calls += d->calls;
	to->rows += d->rows;
	to->batches += d->batches;
	to->tokens += d->tokens;
	to->steps += d->steps;
	to->cancelled += d->cancelled;
	to->errors += d->errors;
	to->cache_hits += d->cache_hits;
	to->ms += d->ms;
}

void
dlm_stats_count(const DlmModelRef *model, dlm_task task, const DlmStatsDelta *delta)
{
	DlmShared  *s = dlm_shmem();
	DlmStatsKey key;
	DlmStatsEntry *e;

	if (s == NULL)
		return;
	memset(&key, 0, sizeof(key));
	memcpy(key.digest, model->digest, sizeof(key.digest));
	key.userid = GetUserId();
	key.dbid = MyDatabaseId;
	key.task = (int32) task;

	LWLockAcquire(&s->lock, LW_SHARED);
	e = find_entry(s, &key, false);
	if (e == NULL)
	{
		LWLockRelease(&s->lock);
		LWLockAcquire(&s->lock, LW_EXCLUSIVE);
		e = find_entry(s, &key, true);
	}
	if (e != NULL)
	{
		SpinLockAcquire(&e->mutex);
		strlcpy(e->model, model->name, sizeof(e->model));
		dlm_stats_add(&e->counts, delta);
		SpinLockRelease(&e->mutex);
	}
	else
		s->stats_lost += delta->calls;	/* the lock is exclusive here */
	LWLockRelease(&s->lock);
}

/* ------------------------------------------------------- over a restart */

/* locked: others may be counting. Not so at shutdown, when a killed backend may have left the mutex taken. */
static void
copy_entry(DlmStatsEntry *e, StatsRecord *out, bool locked)
{
	memset(out, 0, sizeof(*out));
	out->key = e->key;
	if (locked)
		SpinLockAcquire(&e->mutex);
	memcpy(out->model, e->model, sizeof(out->model));
	out->counts = e->counts;
	if (locked)
		SpinLockRelease(&e->mutex);
}

static bool
write_all(FILE *file, const void *data, Size size, pg_crc32c *crc)
{
	COMP_CRC32C(*crc, data, size);
	return fwrite(data, size, 1, file) == 1;
}

static bool
write_stats(FILE *file, DlmShared *s)
{
	StatsHeader header = {STATS_MAGIC, sizeof(StatsRecord), 0, 0, s->stats_reset, s->stats_lost};
	StatsRecord record;
	pg_crc32c	crc;

	for (int i = 0; i < DLM_SHARED_STATS; i++)
		header.n_records += s->stats[i].used ? 1 : 0;
	INIT_CRC32C(crc);
	if (!write_all(file, &header, sizeof(header), &crc))
		return false;
	for (int i = 0; i < DLM_SHARED_STATS; i++)
	{
		if (!s->stats[i].used)
			continue;
		copy_entry(&s->stats[i], &record, false);
		if (!write_all(file, &record, sizeof(record), &crc))
			return false;
	}
	FIN_CRC32C(crc);
	return fwrite(&crc, sizeof(crc), 1, file) == 1;
}

/* on_shmem_exit of the postmaster. */
static void
save_stats(int code, Datum arg)
{
	DlmShared  *s = dlm_shmem_preloaded() ? dlm_shmem_existing() : NULL;
	FILE	   *file;
	bool		written;

	if (code != 0 || s == NULL)
		return;
	file = AllocateFile(STATS_FILE ".tmp", PG_BINARY_W);
	written = file != NULL && write_stats(file, s);
	if (file != NULL && FreeFile(file) != 0)
		written = false;
	if (!written)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", STATS_FILE ".tmp")));
		unlink(STATS_FILE ".tmp");
		return;
	}
	(void) durable_rename(STATS_FILE ".tmp", STATS_FILE, LOG);
}

static bool
read_all(FILE *file, void *data, Size size, pg_crc32c *crc)
{
	if (fread(data, size, 1, file) != 1)
		return false;
	COMP_CRC32C(*crc, data, size);
	return true;
}

/* Read the records; false if the file is not what save_stats writes. */
static bool
read_stats(FILE *file, StatsHeader *header, StatsRecord *records)
{
	pg_crc32c	crc,
				expected;

	INIT_CRC32C(crc);
	if (!read_all(file, header, sizeof(*header), &crc))
		return false;
	if (header->magic != STATS_MAGIC || header->record_size != sizeof(StatsRecord) ||
		header->n_records > DLM_SHARED_STATS)
		return false;
	for (uint32 i = 0; i < header->n_records; i++)
		if (!read_all(file, &records[i], sizeof(StatsRecord), &crc))
			return false;
	FIN_CRC32C(crc);
	if (fread(&expected, sizeof(expected), 1, file) != 1 || !EQ_CRC32C(crc, expected))
		return false;
	return fgetc(file) == EOF;
}

static void
take_records(DlmShared *s, const StatsHeader *header, const StatsRecord *records)
{
	for (uint32 i = 0; i < header->n_records; i++)
	{
		DlmStatsEntry *e = find_entry(s, &records[i].key, true);

		strlcpy(e->model, records[i].model, sizeof(e->model));
		e->counts = records[i].counts;
	}
	s->stats_reset = header->reset;
	s->stats_lost = header->lost;
}

static void
load_stats(DlmShared *s)
{
	FILE	   *file = AllocateFile(STATS_FILE, PG_BINARY_R);
	StatsHeader header;
	StatsRecord *records;

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", STATS_FILE)));
		return;
	}
	records = palloc(sizeof(StatsRecord) * DLM_SHARED_STATS);
	if (read_stats(file, &header, records))
		take_records(s, &header, records);
	else
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("ignoring invalid data in file \"%s\"", STATS_FILE)));
	pfree(records);
	FreeFile(file);
	unlink(STATS_FILE);
}

/* Runs after shmem.c's hook, which has set the state up. */
static void
startup_stats(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	if (IsUnderPostmaster || dlm_shmem_existing() == NULL)
		return;
	on_shmem_exit(save_stats, (Datum) 0);
	load_stats(dlm_shmem_existing());
}

void
dlm_stats_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_stats;
}

/* ------------------------------------------------------------ functions */

static void
put_counts(Datum *values, const DlmStatsDelta *c)
{
	values[0] = Int64GetDatum(c->calls);
	values[1] = Int64GetDatum(c->rows);
	values[2] = Int64GetDatum(c->batches);
	values[3] = Int64GetDatum(c->tokens);
	values[4] = Int64GetDatum(c->steps);
	values[5] = Float8GetDatum(c->ms);
	values[6] = Int64GetDatum(c->cancelled);
	values[7] = Int64GetDatum(c->errors);
	values[8] = Int64GetDatum(c->cache_hits);
}

/*
 * table(userid oid, dbid oid, task text, model text, digest text, calls, rows,
 * batches, tokens, steps, ms, cancelled, errors, cache_hits)
 */
Datum
dlm_sql_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DlmShared  *s = dlm_shmem();
	bool		all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	StatsRecord *records;
	int			n = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (s == NULL)
		return (Datum) 0;
	records = palloc(sizeof(StatsRecord) * DLM_SHARED_STATS);
	LWLockAcquire(&s->lock, LW_SHARED);
	for (int i = 0; i < DLM_SHARED_STATS; i++)
		if (s->stats[i].used)
			copy_entry(&s->stats[i], &records[n++], true);
	LWLockRelease(&s->lock);

	for (int i = 0; i < n; i++)
	{
		StatsRecord *r = &records[i];
		bool		hidden = !all && !has_privs_of_role(GetUserId(), r->key.userid);
		Datum		values[14];
		bool		nulls[14] = {false};

		values[0] = ObjectIdGetDatum(r->key.userid);
		values[1] = ObjectIdGetDatum(r->key.dbid);
		values[2] = CStringGetTextDatum(dlm_task_name(r->key.task));
		values[3] = CStringGetTextDatum(r->model);
		values[4] = CStringGetTextDatum(dlm_hex(r->key.digest));
		nulls[3] = nulls[4] = hidden;
		put_counts(values + 5, &r->counts);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * (stats_reset timestamptz, kept_over_restart boolean, shared boolean, lost_calls bigint,
 * compute_slots_used int, computing_sessions int, max_threads int)
 */
Datum
dlm_sql_stats_info(PG_FUNCTION_ARGS)
{
	DlmShared  *s = dlm_shmem();
	TupleDesc	desc;
	Datum		values[7] = {0};
	bool		nulls[7] = {true, false, false, true, true, true, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[1] = BoolGetDatum(dlm_shmem_preloaded());
	values[2] = BoolGetDatum(s != NULL);
	if (s != NULL)
	{
		LWLockAcquire(&s->lock, LW_SHARED);
		values[0] = TimestampTzGetDatum(s->stats_reset);
		values[3] = Int64GetDatum(s->stats_lost);
		LWLockRelease(&s->lock);
		values[4] = Int32GetDatum((int32) pg_atomic_read_u32(&s->slots));
		values[5] = Int32GetDatum((int32) pg_atomic_read_u32(&s->computing));
		nulls[0] = nulls[3] = nulls[4] = nulls[5] = false;
	}
	values[6] = Int32GetDatum(dlm_max_threads());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
dlm_sql_stats_reset(PG_FUNCTION_ARGS)
{
	DlmShared  *s = dlm_shmem();

	if (s == NULL)
		PG_RETURN_VOID();
	LWLockAcquire(&s->lock, LW_EXCLUSIVE);
	for (int i = 0; i < DLM_SHARED_STATS; i++)
		s->stats[i].used = false;
	s->stats_lost = 0;
	s->stats_reset = GetCurrentTimestamp();
	LWLockRelease(&s->lock);
	PG_RETURN_VOID();
}
