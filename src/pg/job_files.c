/*
 * job_files.c - folders of jobs, and the rows that a job has read.
 *
 * The file of rows: a magic word, then a record for each row (its length, its
 * numbers, its texts with their lengths), then a length of -1, the number of
 * rows, and a CRC of all before it. It never leaves this machine, so numbers
 * lie as they do in memory.
 */
#include "dlm_pg.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "job_files.h"
#include "model_files.h"

#define MAGIC		"DLMROWS1"
#define PIECE		(256 * 1024)
#define NO_TEXT		(-1)

/* ------------------------------------------------------------------- folders */

char *
dlm_job_path(int64 id, const char *file)
{
	char	   *folder = psprintf("%s/jobs/%u-%lld", dlm_model_directory_path(), MyDatabaseId, (long long) id);

	return file != NULL ? psprintf("%s/%s", folder, file) : folder;
}

static void
make_folder(const char *path)
{
	if (mkdir(path, PG_DIR_MODE_OWNER) != 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create a folder for jobs in the model directory: %m")));
}

void
dlm_job_folder_create(int64 id)
{
	char	   *jobs = psprintf("%s/jobs", dlm_model_directory_path());
	char	   *folder = dlm_job_path(id, NULL);

	dlm_model_directory_create();
	make_folder(jobs);
	dlm_job_folder_remove(id);
	make_folder(folder);
	fsync_fname(jobs, true);
}

void
dlm_job_folder_remove(int64 id)
{
	char	   *folder = dlm_job_path(id, NULL);

	if (access(folder, F_OK) == 0)
		(void) rmtree(folder, true);
}

/* A folder to remove at commit; the list lies in TopTransactionContext. */
typedef struct Removal
{
	int64		id;
	SubTransactionId subtransaction;
} Removal;

static List *removals = NIL;

static void
transaction_ends(XactEvent event, void *arg)
{
	List	   *list = removals;
	ListCell   *cell;

	if (event == XACT_EVENT_PRE_PREPARE && list != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has deleted a job of dlm")));
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	removals = NIL;
	foreach(cell, event == XACT_EVENT_COMMIT ? list : NIL)
		dlm_job_folder_remove(((Removal *) lfirst(cell))->id);
}

/* Numbers of subtransactions ascend: what has one from this on was asked for inside this one. */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell   *cell;

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(cell, removals)
	{
		if (((Removal *) lfirst(cell))->subtransaction >= mine)
			removals = foreach_delete_current(removals, cell);
	}
}

void
dlm_job_folder_remove_at_commit(int64 id)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Removal    *removal = palloc(sizeof(Removal));

	if (!registered)
	{
		RegisterXactCallback(transaction_ends, NULL);
		RegisterSubXactCallback(subtransaction_ends, NULL);
		registered = true;
	}
	removal->id = id;
	removal->subtransaction = GetCurrentSubTransactionId();
	removals = lappend(removals, removal);
	MemoryContextSwitchTo(old);
}

/* --------------------------------------------------------------- writing rows */

static void
raise_write(const DlmSpool *spool)
{
	/* a short write leaves errno as it was */
	if (errno == 0)
		errno = ENOSPC;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not write the rows of job %lld: %m", (long long) spool->job)));
}

static void
flush(DlmSpool *spool)
{
	int			done = 0;

	COMP_CRC32C(spool->crc, spool->buffer.data, spool->buffer.len);
	while (done < spool->buffer.len)
	{
		ssize_t		n;

		errno = 0;
		n = write(spool->fd, spool->buffer.data + done, spool->buffer.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			raise_write(spool);
		done += n;
	}
	resetStringInfo(&spool->buffer);
}

static void
put_int(DlmSpool *spool, int64 value, int size)
{
	int32		narrow = (int32) value;

	appendBinaryStringInfo(&spool->buffer, size == sizeof(int32) ? (char *) &narrow : (char *) &value, size);
}

static void
put_text(DlmSpool *spool, dlm_text text)
{
	put_int(spool, text.data == NULL ? NO_TEXT : (int64) text.len, sizeof(int32));
	if (text.data != NULL)
		appendBinaryStringInfo(&spool->buffer, text.data, (int) text.len);
}

void
dlm_spool_create(DlmSpool *spool, int64 job)
{
	memset(spool, 0, sizeof(*spool));
	spool->job = job;
	initStringInfo(&spool->buffer);
	INIT_CRC32C(spool->crc);
	spool->fd = OpenTransientFilePerm(dlm_job_path(job, DLM_JOB_ROWS ".new"), O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY,
									  PG_FILE_MODE_OWNER);
	if (spool->fd < 0)
		raise_write(spool);
	appendBinaryStringInfo(&spool->buffer, MAGIC, strlen(MAGIC));
}

void
dlm_spool_put(DlmSpool *spool, const DlmSpoolRow *row)
{
	int			start = spool->buffer.len;
	int32		length;

	put_int(spool, 0, sizeof(int32));	/* the length, below */
	put_int(spool, row->source, sizeof(int32));
	put_int(spool, row->key, sizeof(int64));
	put_text(spool, row->instruction);
	put_text(spool, row->input);
	put_text(spool, row->target);
	put_text(spool, row->text);
	put_int(spool, row->labels != NULL ? row->n_labels : NO_TEXT, sizeof(int32));
	for (int i = 0; row->labels != NULL && i < row->n_labels; i++)
		put_text(spool, row->labels[i]);
	length = spool->buffer.len - start - (int) sizeof(int32);
	memcpy(spool->buffer.data + start, &length, sizeof(int32));
	spool->rows++;
	if (spool->buffer.len >= PIECE)
		flush(spool);
}

void
dlm_spool_finish(DlmSpool *spool)
{
	pg_crc32c	crc;

	put_int(spool, -1, sizeof(int32));
	put_int(spool, spool->rows, sizeof(int64));
	flush(spool);
	crc = spool->crc;
	FIN_CRC32C(crc);
	put_int(spool, (int32) crc, sizeof(int32));
	flush(spool);
	errno = 0;
	if (pg_fsync(spool->fd) != 0 || CloseTransientFile(spool->fd) != 0)
		raise_write(spool);
	(void) durable_rename(dlm_job_path(spool->job, DLM_JOB_ROWS ".new"), dlm_job_path(spool->job, DLM_JOB_ROWS), ERROR);
}

/* --------------------------------------------------------------- reading rows */

pg_noreturn static void
raise_damaged(const DlmSpool *spool)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the rows that job %lld has read are damaged", (long long) spool->job),
			 errhint("dlm_job_delete(%lld) deletes the job; begin anew.", (long long) spool->job)));
}

/* Read exactly so many bytes into the buffer. */
static void
take(DlmSpool *spool, int size)
{
	resetStringInfo(&spool->buffer);
	enlargeStringInfo(&spool->buffer, size);
	while (spool->buffer.len < size)
	{
		ssize_t		n = read(spool->fd, spool->buffer.data + spool->buffer.len, size - spool->buffer.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read the rows of job %lld: %m", (long long) spool->job)));
		if (n == 0)
			raise_damaged(spool);
		spool->buffer.len += n;
	}
}

void
dlm_spool_open(DlmSpool *spool, int64 job)
{
	memset(spool, 0, sizeof(*spool));
	spool->job = job;
	initStringInfo(&spool->buffer);
	INIT_CRC32C(spool->crc);
	spool->fd = OpenTransientFile(dlm_job_path(job, DLM_JOB_ROWS), O_RDONLY | PG_BINARY);
	if (spool->fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open the rows that job %lld has read: %m", (long long) job)));
	take(spool, strlen(MAGIC));
	if (memcmp(spool->buffer.data, MAGIC, strlen(MAGIC)) != 0)
		raise_damaged(spool);
	COMP_CRC32C(spool->crc, spool->buffer.data, spool->buffer.len);
}

/* The next number of a record, from its cursor on. */
static int64
get_int(DlmSpool *spool, int size)
{
	int32		narrow;
	int64		value;

	if (spool->buffer.len - spool->buffer.cursor < size)
		raise_damaged(spool);
	if (size == sizeof(int64))
		memcpy(&value, spool->buffer.data + spool->buffer.cursor, size);
	else
	{
		memcpy(&narrow, spool->buffer.data + spool->buffer.cursor, size);
		value = narrow;
	}
	spool->buffer.cursor += size;
	return value;
}

static dlm_text
get_text(DlmSpool *spool)
{
	int64		length = get_int(spool, sizeof(int32));
	dlm_text	text = {0};

	if (length == NO_TEXT)
		return text;
	if (length < 0 || length > spool->buffer.len - spool->buffer.cursor)
		raise_damaged(spool);
	text.data = spool->buffer.data + spool->buffer.cursor;
	text.len = (size_t) length;
	spool->buffer.cursor += (int) length;
	return text;
}

/* After the last row: their number and the CRC. */
static void
check_end(DlmSpool *spool)
{
	pg_crc32c	crc;

	take(spool, sizeof(int64));
	COMP_CRC32C(spool->crc, spool->buffer.data, spool->buffer.len);
	if (get_int(spool, sizeof(int64)) != spool->rows)
		raise_damaged(spool);
	crc = spool->crc;
	FIN_CRC32C(crc);
	take(spool, sizeof(int32));
	if ((pg_crc32c) get_int(spool, sizeof(int32)) != crc)
		raise_damaged(spool);
	CloseTransientFile(spool->fd);
}

bool
dlm_spool_get(DlmSpool *spool, DlmSpoolRow *row)
{
	int64		length;

	take(spool, sizeof(int32));
	COMP_CRC32C(spool->crc, spool->buffer.data, spool->buffer.len);
	length = get_int(spool, sizeof(int32));
	if (length == -1)
	{
		check_end(spool);
		return false;
	}
	if (length < 0 || length >= (int64) MaxAllocSize)
		raise_damaged(spool);
	take(spool, (int) length);
	COMP_CRC32C(spool->crc, spool->buffer.data, spool->buffer.len);
	memset(row, 0, sizeof(*row));
	row->source = (int) get_int(spool, sizeof(int32));
	row->key = get_int(spool, sizeof(int64));
	row->instruction = get_text(spool);
	row->input = get_text(spool);
	row->target = get_text(spool);
	row->text = get_text(spool);
	row->n_labels = (int) get_int(spool, sizeof(int32));
	if (row->n_labels >= 0)
	{
		if (row->n_labels > length)
			raise_damaged(spool);
		row->labels = palloc(Max(row->n_labels, 1) * sizeof(dlm_text));
	}
	for (int i = 0; row->labels != NULL && i < row->n_labels; i++)
		row->labels[i] = get_text(spool);
	spool->rows++;
	return true;
}
