/*
 * job_files.h - the folder of a job, dlm.model_directory/jobs/DATABASE-JOB,
 * and the rows in it.
 *
 * A job reads its query once and goes on from this copy, in a process of its
 * own and after a restart. The file is for its owner's eyes alone (0600) and is
 * there whole or not at all.
 */
#ifndef DLM_PG_JOB_FILES_H
#define DLM_PG_JOB_FILES_H

#include "lib/stringinfo.h"
#include "port/pg_crc32c.h"

#include "dlm.h"

#define DLM_JOB_ROWS		"rows"
#define DLM_JOB_CHECKPOINT	"checkpoint"

/* Path of a file in the folder of a job of this database, or of the folder (NULL); palloc'd. */
extern char *dlm_job_path(int64 id, const char *file);

/* Make the folder, empty. One that is there was left by a job whose row is gone. */
extern void dlm_job_folder_create(int64 id);

/* Remove it with all that is in it; a missing one is fine, other failures are WARNINGs. */
extern void dlm_job_folder_remove(int64 id);

/* The same when the present transaction commits; never if it rolls back. */
extern void dlm_job_folder_remove_at_commit(int64 id);

/* A row: texts in UTF-8, data NULL = none. labels [n_labels] is NULL where the row has none. */
typedef struct DlmSpoolRow
{
	int			source;			/* 0 or DLM_TRAIN_VALIDATION */
	int64		key;
	dlm_text	instruction,
				input,
				target,
				text;
	dlm_text   *labels;
	int			n_labels;
} DlmSpoolRow;

/* Writer and reader live no longer than their transaction, which closes their file. */
typedef struct DlmSpool
{
	int64		job;
	int			fd;
	StringInfoData buffer;		/* writer: not yet written; reader: the record */
	pg_crc32c	crc;
	int64		rows;
} DlmSpool;

/* Errors name the job, not the path: 53100, 58030. */
extern void dlm_spool_create(DlmSpool *spool, int64 job);
extern void dlm_spool_put(DlmSpool *spool, const DlmSpoolRow *row);
extern void dlm_spool_finish(DlmSpool *spool);	/* synced, under its name, closed */

/* 58P01: no rows are there (any more); XX001: the file is damaged. */
extern void dlm_spool_open(DlmSpool *spool, int64 job);

/* The next row; its texts lie in *spool until the next call. False, and closed: that was all. */
extern bool dlm_spool_get(DlmSpool *spool, DlmSpoolRow *row);

#endif							/* DLM_PG_JOB_FILES_H */
