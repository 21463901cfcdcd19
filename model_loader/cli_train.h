/*
 * cli_train.h - what the files of `dlm-model train` share.
 */
#ifndef DLM_CLI_TRAIN_H
#define DLM_CLI_TRAIN_H

#include "cli.h"
#include "train.h"

/* Which rows of a file. */
typedef struct dl_train_choice
{
	const char *split;			/* rows whose "split" is another are passed over; NULL: all */
	double		first,			/* the part of the file's lines, in [0, 1] */
				last;
	int			most;			/* as many at the most, evenly spread; 0: all */
	bool		skip_long;		/* rows that are too long are passed over, else they are an error */
} dl_train_choice;

/*
 * Add a file's rows to a source of the run (DLM_TRAIN_VALIDATION; any other
 * value: a new source, or the first one while that is empty). The name's end says
 * what it is: .jsonl (objects with instruction, input, target, labels or
 * text), .tsv (the same as columns, the first line their names), .txt (a text
 * a line); .gz is read through gzip. Blank lines of .jsonl and .txt are passed over. *rows and *skipped get how many were added and
 * were too long. Errors name file and line.
 */
dlm_status	dl_train_read(dlm_train *run, const char *path, const dl_train_choice *choice, int source, int64_t *rows,
						  int64_t *skipped, dlm_error *err);

/* Is a file one of texts, by its name? */
bool		dl_train_is_text(const char *path);

/* Lines of a file, in memory, without a byte order mark. */
typedef struct dl_lines
{
	char	   *text;			/* malloc'd */
	size_t		size;
	size_t	   *start;			/* [n + 1], malloc'd */
	int64_t		n;
} dl_lines;

dlm_status	dl_lines_read(const char *path, dl_lines *out, dlm_error *err);
void		dl_lines_free(dl_lines *lines);

#endif							/* DLM_CLI_TRAIN_H */
