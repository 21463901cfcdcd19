/*
 * cli_eval.h - what the files of `dlm-model eval` share: rows, what models made of them, the report.
 *
 * A *task* is a file of rows of one kind. An *outcome* is what one model under
 * one rule made of one task: a few numbers for each row, in the file's order.
 */
#ifndef DLM_CLI_EVAL_H
#define DLM_CLI_EVAL_H

#include <stdio.h>

#include "cli_run.h"
#include "eval.h"
#include "json.h"

#define DL_EVAL_RULES	4		/* mean, mean+cf, sum, sum+cf */

typedef enum dl_eval_kind
{
	DL_EVAL_LABELS,				/* a label among labels */
	DL_EVAL_GENERATION,			/* a text */
	DL_EVAL_INFILL,				/* gaps of a text */
	DL_EVAL_TEXT				/* text alone */
} dl_eval_kind;

typedef struct dl_eval_row
{
	cJSON	   *json;			/* owns the texts, or NULL */
	char	   *owned;			/* a text of our own, or NULL */
	int			line;			/* of the file, from 0 */
	dl_eval_kind kind;
	dlm_text	instruction;	/* of labels */
	dlm_text	input;			/* of labels; prompt; template or text with a gap; text */
	dlm_text   *texts;			/* labels, or the answers of the gaps [n_texts] */
	int			n_texts;
	int			target;			/* of labels: an index */
	dlm_text	answer;			/* of generation */
	bool		has_gap;		/* input holds its answer at bytes [gap_start, gap_end) */
	size_t		gap_start,
				gap_end;
} dl_eval_row;

typedef struct dl_eval_task
{
	const char *path;
	char		name[128];		/* the file's, without folder and endings */
	dl_eval_kind kind;
	dl_eval_row *row;
	int			n,
				capacity,
				skipped;		/* of another kind, or with a target that is none of the labels */
} dl_eval_task;

/* Which rows of a file. */
typedef struct dl_eval_choice
{
	int			limit;			/* the first so many, 0 = all */
	int			rows;			/* so many in the random order of seed, 0 = all */
	uint32_t	seed;
} dl_eval_choice;

/* Read a task; rows of another kind than the first are skipped. Errors name file and line. Free even after failure. */
dlm_status	dl_eval_read(const char *path, const dl_eval_choice *choice, dl_eval_task *task, dlm_error *err);
void		dl_eval_free(dl_eval_task *task);

/* A row's place in the random order of a seed: by key, equal ones by row. */
typedef struct dl_eval_place
{
	uint64_t	key;
	int			row;			/* of the task */
} dl_eval_place;

/* The rows of a task in the random order of a seed, malloc'd [task->n]; DLM_ENOMEM. */
dlm_status	dl_eval_shuffle(const dl_eval_task *task, uint32_t seed, dl_eval_place **out, dlm_error *err);

/* A rule of scoring labels. */
typedef struct dl_eval_rule
{
	dlm_normalize normalize;
	bool		content_free;
} dl_eval_rule;

/* The name of a rule, e.g. "mean+cf"; static. */
const char *dl_eval_rule_name(dl_eval_rule rule);

/* "mean,sum+cf" -> rules; DLM_EINVAL. */
dlm_status	dl_eval_parse_rules(const char *list, dl_eval_rule rules[DL_EVAL_RULES], int *n, dlm_error *err);

/* Columns of outcome.value, by kind. */
typedef struct dl_eval_metric
{
	const char *name;			/* "ROUGE-L" */
	const char *key;			/* of JSON: "rouge_l" */
	int			first,			/* column */
				width;
	dl_eval_score score;
	int			digits;			/* behind the point, printed */
} dl_eval_metric;

/* Metrics of a kind, the main one first; *n of them, *stride columns. Static. */
const dl_eval_metric *dl_eval_metrics(dl_eval_kind kind, int *n, int *stride);

typedef struct dl_eval_outcome
{
	dl_eval_rule rule;			/* of labels */
	double	   *value;			/* [rows, stride], malloc'd */
	double	   *probability;	/* of labels: the winner's [rows], negative for a row that failed; malloc'd */
	int		   *chosen;			/* of labels: index into the row's labels, -1 for a row that failed; malloc'd */
	int			failed;
	double		seconds;
} dl_eval_outcome;

/* How to run. */
typedef struct dl_eval_run
{
	dl_cli_engine engine;
	dl_eval_rule rules[DL_EVAL_RULES];
	int			n_rules;		/* 0 = the model's own, or what --normalize and --calibrate say */
	int			max_tokens;
	FILE	   *answers;		/* or NULL */
	bool		several;		/* answers name model and rule */
} dl_eval_run;

/*
 * Run a model (`name` for answers and messages) over a task; out [n_rules, at
 * least 1] has an outcome for each rule, for kinds without rules one. A row
 * that fails counts as wrong; the first such is told on standard error.
 */
dlm_status	dl_eval_run_task(const dlm_model *model, const char *name, dl_eval_run *run, const dl_eval_task *task,
							 dl_eval_outcome *out, dlm_error *err);
void		dl_eval_free_outcome(dl_eval_outcome *o);

/* Of labels, by rows and rules: cli_eval_labels.c; a request is drawn up per row and run in batches. */
dlm_status	dl_eval_run_labels(const dlm_model *model, const char *name, dl_eval_run *run, const dl_eval_task *task,
							   dl_eval_outcome *out, dlm_error *err);

/* Called for each request that has a result, in their order. */
typedef dlm_status (*dl_eval_take) (void *ctx, int i, const dlm_result *result, dlm_error *err);

/* Run requests [n] in sessions of a bounded number; shows progress on a terminal. */
dlm_status	dl_eval_drive(const dlm_model *model, const dl_eval_run *run, const dlm_request *requests, int n,
						  dl_eval_take take, void *ctx, dlm_error *err);

/* A line of the file of answers about a row, begun: task, line, and model and rule if there are several. NULL = no memory. */
cJSON	   *dl_eval_answer(const dl_eval_run *run, const dl_eval_task *task, int row, const char *model, const char *rule);

/* Write and free it. DLM_EIO. */
dlm_status	dl_eval_answer_end(const dl_eval_run *run, cJSON *line, dlm_error *err);

/* All that was computed. outcome [tasks, models, rules]. */
typedef struct dl_eval_report
{
	const dl_eval_task *tasks;
	const char *const *models;	/* names */
	const dl_eval_outcome *outcomes;
	int			n_tasks,
				n_models,
				n_rules;
	uint32_t	seed;
	bool		confusion;
	FILE	   *json;			/* or NULL */
} dl_eval_report;

/* Tables on standard output, a line of JSON for each task, model and rule. DLM_EIO, DLM_ENOMEM. */
dlm_status	dl_eval_print(const dl_eval_report *report, dlm_error *err);

/* The greater of the two is the baseline. */
double		dl_eval_majority(const dl_eval_task *task);	/* share of the most frequent target */
double		dl_eval_chance(const dl_eval_task *task);	/* mean of 1 / labels of a row */

/*
 * The label set that all rows share, in the first row's order, and counts
 * [n + 1, n] by target and answer (last row: none, for rows that failed); NULL
 * if the rows' sets differ or memory is short. The caller frees it.
 */
int		   *dl_eval_confusion(const dl_eval_task *task, const dl_eval_outcome *o);

#endif							/* DLM_CLI_EVAL_H */
