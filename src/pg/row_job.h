/*
 * row_job.h - one row on its way: template and rules, then values.
 */
#ifndef DLM_PG_ROW_JOB_H
#define DLM_PG_ROW_JOB_H

#include "lib/stringinfo.h"

#include "row_type.h"

/* What is known of a closed set before the model has read the row. */
typedef enum DlmPrior
{
	DLM_PRIOR_ROWS,				/* how common its values are in the table, and beside the values that the row has */
	DLM_PRIOR_STATISTICS,		/* how common they are */
	DLM_PRIOR_NONE
} DlmPrior;

/* Options of the row functions: those of dlm_infill that serve here, and what is shown and filled. */
typedef struct DlmRowOptions
{
	char	  **columns;		/* [n_columns] to be filled, NULL: all that can be */
	int			n_columns;
	char	  **show;			/* [n_show] shown where they are known, NULL: all */
	int			n_show;
	char	  **order;			/* [n_order] lines in this order, the others behind them; NULL: known columns, then gaps */
	int			n_order;
	bool		table_order;	/* "order": "table" */
	bool		descriptions;	/* comments stand behind names */
	int			max_tokens;		/* of a text's gap, 0: TEXT_TOKENS */
	dlm_text	title;			/* first line, len 0: none */
	bool		any_text;		/* "texts": "any" */
	DlmPrior	prior;
	bool		as_scored;		/* "calibrate": "none" */
	DlmOptions *engine;			/* rules are those of "choices" and "patterns", by name of column */
} DlmRowOptions;

/* Parse; raises 22023. scalar options (steps, temperature, seed) go to engine->engine. */
extern DlmRowOptions *dlm_row_options(NullableDatum options);

/* Is it one of the names? */
extern bool dlm_is_listed(char **names, int n, const char *name);

/* Do the options want a column of this name, or member of a record, to be filled? options NULL: any is. */
extern bool dlm_row_fills(const DlmRowOptions *options, const char *name);

/* The rule that the options give a column of this name; NULL: none. */
extern const dlm_gap_rule *dlm_row_rule(const DlmRowOptions *options, const char *name);

/* Append a text to a template of dlm_infill so that nothing of it opens a gap. */
extern void dlm_append_quoted(StringInfo out, dlm_text text);

/* Apply choices and patterns of the options to the columns; 22023, 42703 for names that are no columns. */
extern void dlm_row_customize(DlmRowType *t, const DlmRowOptions *options);

/*
 * row_common.c: the texts that a column takes, where ANALYZE has found that there are few, for the columns that are filled; with
 * options NULL, of all columns. After dlm_row_customize.
 */
extern void dlm_row_common_values(DlmRowType *t, const DlmRowOptions *options);

/*
 * row_priors.c: set the bias of the columns with closed sets that are filled, as far as the options want it, and the
 * table's statistics are there and may be read.
 */
extern void dlm_row_priors(DlmRowType *t, const DlmRowOptions *options);

/* A gap of the row. */
typedef struct DlmRowGap
{
	DlmColumn  *column;
	int			max_tokens;
	dlm_text	only;			/* the one text to be scored, len 0: the column's own rule */
	dlm_text   *reject;			/* texts that were not legal [n_reject] */
	int			n_reject;
	bool		held;			/* its text stands, and is shown to the model when another gap is written anew */
	/* what the model said last */
	char	   *text;			/* in the server's encoding */
	dlm_text	utf8;
	double		confidence;
	int			choice;			/* of the column's values; -1 */
	double	   *probability;	/* [column->n_values], below 0: tried, and not legal */
	double	   *first_probability;	/* ... as the model gave them */
	Datum		value;			/* legal, in the memory of the job */
} DlmRowGap;

typedef struct DlmRowJob
{
	DlmRequestTag tag;			/* first */
	MemoryContext context;
	DlmRowType *type;
	const DlmRowOptions *options;
	Datum	   *values;			/* [natts] of the row as it came */
	bool	   *nulls;
	DlmRowGap  *gap;			/* [n_gaps] */
	int			n_gaps;
	bool		asked;			/* the gap is a value that the row has (dlm_row_question) */
	uint64	   *code;			/* row_evidence.c: of its values; NULL: not asked for */
	ErrorData  *why;			/* the last failure, or NULL */
	int			at;				/* gap that failed */
	int		   *blamed;			/* [n_blamed] gaps that the failing check reads, or the one whose cast failed */
	int			n_blamed;
	bool		hopeless;		/* asking the model again would change nothing */
} DlmRowJob;

/* row_evidence.c: what is known of the values of a gap's closed set, beside what the model says: the rule's bias and trust. */
extern void dlm_row_judge(DlmRowJob *job, const DlmRowGap *gap, dlm_gap_rule *rule);

/* Take a row apart; 0 gaps where nothing is to be filled. 0A000 for a NULL column that cannot be. */
extern DlmRowJob *dlm_row_job(DlmRowType *t, const DlmRowOptions *options, Datum row);

/*
 * A row of which one known column is a gap again, to be asked how probable
 * its value is: among the column's values if these are a closed set, else by
 * itself. NULL if it has none, or one that is not among the values.
 */
extern DlmRowJob *dlm_row_question(DlmRowType *t, const DlmRowOptions *options, Datum row, DlmColumn *column);

/* The request for its gaps that are not held. */
extern void dlm_row_request(DlmRowJob *job, dlm_request *out);

/* Take what the model wrote. */
extern void dlm_row_take(DlmRowJob *job, const dlm_result *result);

/*
 * Make the gaps' values legal: cast them and check the row, with the next most
 * probable choice where one is not. False: job->at must be written anew, and
 * what it held has been rejected; job->why says why.
 */
extern bool dlm_row_settle(DlmRowJob *job);

/* The row with its gaps filled, in the CurrentMemoryContext. */
extern Datum dlm_row_datum(const DlmRowJob *job);

/* -- row_keys.c -- */

/* The first key that the row with its gaps filled does not keep, as the current user; NULL: there is none. */
extern const DlmRowKey *dlm_row_failing_key(const DlmRowJob *job);

extern ErrorData *dlm_row_key_error(const DlmRowJob *job, const DlmRowKey *key);

/* -- row_check.c -- */

/* What one try came to. */
typedef enum DlmTry { DLM_TRY_LEGAL = 0, DLM_TRY_CAST, DLM_TRY_CHECK } DlmTry;

/*
 * Cast the gaps' texts and evaluate the table's checks over the row, as the
 * table's owner and in a subtransaction, where one can be begun. Not legal:
 * job->blamed are the gaps that may be at fault, job->at is the least sure of
 * them, job->why tells.
 */
extern DlmTry dlm_row_try(DlmRowJob *job);

#endif							/* DLM_PG_ROW_JOB_H */
