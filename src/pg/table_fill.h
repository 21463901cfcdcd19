/*
 * table_fill.h - CALL dlm_infill_table: the gaps of a whole table, batch by batch.
 *
 * A table is walked in the order of its primary key. A batch is computed first
 * (SELECT ... dlm_infill_cells(row) ... LIMIT n, which the batch node collects)
 * and then written row by row: the row is locked without waiting, it must be
 * the row that was computed on, bit for bit, and its gaps are set. Rows that
 * are locked or have changed are visited again at the end. Every batch is
 * committed together with the job's position and counts, so whatever ends the
 * work, a later call with the job's number goes on behind the last batch.
 *
 *	table_args.c	arguments, checks, what the job remembers
 *	table_walk.c	reading and computing a batch
 *	table_write.c	writing a row
 *	table_fill.c	the procedure
 *	table_views.c	preview, undo, what the catalog says of columns
 */
#ifndef DLM_PG_TABLE_FILL_H
#define DLM_PG_TABLE_FILL_H

#include "jobs.h"
#include "json_object.h"

/* Rows seen; each is one of these. */
typedef struct DlmFillCounts
{
	int64		rows;
	int64		written;		/* at least one cell */
	int64		unsure;			/* nothing was sure enough */
	int64		skipped;		/* locked, changed or gone when it was to be written */
	int64		failed;			/* no legal value, or the table did not take it */
	int64		cells;			/* written */
} DlmFillCounts;

typedef struct DlmFill
{
	Oid			target;
	char	   *table;			/* its name, quoted, with its schema */
	char	  **key;			/* [n_key] columns of the primary key */
	Oid		   *key_type;		/* [n_key], without domains */
	int			n_key;
	char	  **columns;		/* [n_columns] to be filled */
	Oid		   *column_type;	/* [n_columns], without domains */
	int			n_columns;
	char	   *filter;			/* SQL condition, or NULL */
	int			batch;
	Jsonb	   *options;		/* of dlm_infill_cells */
	char	   *model;			/* or NULL */
	double		min_confidence;
	char	   *provenance;		/* table, quoted, or NULL */
	Oid			provenance_oid;
	bool		commit;
	/* how far it is */
	char	  **position;		/* [n_key] key of the last row that was visited, NULL: none */
	bool		retrying;		/* the walk is over */
	DlmFillCounts counts;
	char	   *digest;			/* of the model in this batch, in hex */
	char	   *last_error;		/* of a row that failed, or NULL */
	List	   *again;			/* keys (char **) of rows to visit again; they count as skipped until then */
	bool		forgotten;		/* such keys of a job that was stopped */
	bool		late;			/* so all rows that still have gaps are visited once more; they have been counted */
} DlmFill;

/* A row that was computed. */
typedef struct DlmFillRow
{
	char	  **key;			/* [n_key] */
	Datum		row;			/* the row itself */
	Jsonb	   *cells;
} DlmFillRow;

/* Check the arguments of a new fill and look the table up. Raises; no row has been read. */
extern DlmFill *dlm_fill_arguments(Oid target, ArrayType *columns, char *filter, int batch, Jsonb *options, char *model);

/* The same without what only writing needs (a right to update). */
extern DlmFill *dlm_fill_preview_arguments(Oid target, ArrayType *columns, char *filter, int batch, Jsonb *options, char *model);

extern Jsonb *dlm_fill_to_job(const DlmFill *f);
extern DlmFill *dlm_fill_from_job(const DlmJob *job);

/* Rows that the walk has still to visit, for its progress. */
extern int64 dlm_fill_count(const DlmFill *f);

/* Keep the table from being changed until the transaction ends; 42P01 where it is gone. f->table is in the CurrentMemoryContext. */
extern void dlm_fill_hold_table(DlmFill *f);

/* The next batch behind f->position, or the rows of these keys; a list of DlmFillRow in the CurrentMemoryContext. */
extern List *dlm_fill_read(DlmFill *f);
extern List *dlm_fill_read_key(DlmFill *f, char **key);

/* Write a row, and count it; one that is locked, has changed, or has come too late for a unique value goes to f->again, unless it is from there. */
extern void dlm_fill_write(DlmFill *f, const DlmJob *job, DlmFillRow *row, bool again);

/* Execute a statement on a table without lending its owner the caller's rights; SPI's result and SPI_processed. */
extern int	dlm_fill_execute(Oid relid, const char *command, int nargs, Oid *types, Datum *values);

/* SQL of a column of the key. */
extern char *dlm_fill_key_column(const DlmFill *f, int i);

/* "t.k1 = $1 AND ..." from argument `first` on, and the arguments themselves; the number behind the last. */
extern void dlm_fill_key_condition(const DlmFill *f, StringInfo out, int first);
extern int	dlm_fill_key_arguments(const DlmFill *f, char **key, Oid *types, Datum *values, int first);

/* Is it a table that has what a fill notes of its cells? 42809, 42804 where not. */
extern void dlm_fill_check_provenance(Oid relid);

/* {"column": "value"} of a row's key. */
extern Jsonb *dlm_fill_key_json(const DlmFill *f, char **key);

#endif							/* DLM_PG_TABLE_FILL_H */
