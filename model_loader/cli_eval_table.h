/*
 * cli_eval_table.h - cells of text, printed in columns.
 */
#ifndef DLM_CLI_EVAL_TABLE_H
#define DLM_CLI_EVAL_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define DL_TABLE_COLUMNS	64
#define DL_TABLE_CELL		48	/* bytes of a cell with its end; longer texts are cut */

/* Zero-initialise. */
typedef struct dl_table
{
	char		(*row)[DL_TABLE_COLUMNS][DL_TABLE_CELL];	/* malloc'd [n] */
	int			n,
				capacity;
	int			column;			/* next of the last row */
	bool		failed;			/* out of memory: cells are missing */
} dl_table;

void		dl_table_row(dl_table *t);
void		dl_table_add(dl_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Columns as wide as their widest cell; those that begin with a number, but for the first, at the right. */
void		dl_table_print(const dl_table *t, FILE *to);
void		dl_table_free(dl_table *t);

#endif							/* DLM_CLI_EVAL_TABLE_H */
