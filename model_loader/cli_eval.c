/*
 * cli_eval.c - dlm-model eval: how good one or several models are on files of rows.
 *
 * The command line, and the loop over models and files. Figures: eval.h; kinds
 * of rows: cli_eval_rows.c. All files are read before the first model runs, so
 * that bad input is told at once.
 */
#include "cli_eval.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

#define MEMO_BYTES	((size_t) 64 << 20)
#define MAX_ARGS	512

typedef struct dl_eval
{
	dl_eval_run run;
	dl_eval_choice choice;
	dl_cli_list models;
	const char *rules,
			   *answers,
			   *json;
	bool		confusion;
	const char *args[MAX_ARGS];
	int			n_args;
	char		names[DL_CLI_MAX_LIST][64];
	const char *name[DL_CLI_MAX_LIST];
	dl_eval_task tasks[MAX_ARGS];
	int			n_tasks;
	dl_eval_outcome *outcomes;	/* [n_tasks, models.n, n_rules] */
	int			n_rules;
} dl_eval;

/* "folder/name.dlm" -> "name"; equal names get their number. */
static void
name_models(dl_eval *e)
{
	for (int i = 0; i < e->models.n; i++)
	{
		const char *slash = strrchr(e->models.item[i], '/');
		char	   *name = e->names[i],
				   *dot;

		snprintf(name, sizeof(e->names[i]), "%.50s", slash ? slash + 1 : e->models.item[i]);
		dot = strrchr(name, '.');
		if (dot != NULL && strcmp(dot, ".dlm") == 0)
			*dot = '\0';
		for (int k = 0; k < i; k++)
			if (strcmp(e->names[k], name) == 0)
			{
				snprintf(name + strlen(name), sizeof(e->names[i]) - strlen(name), "#%d", i + 1);
				break;
			}
		e->name[i] = name;
	}
}

static dlm_status
read_tasks(dl_eval *e, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (int i = 0; i < e->n_args && st == DLM_OK; i++)
		st = dl_eval_read(e->args[i], &e->choice, &e->tasks[e->n_tasks++], err);
	return st;
}

/* One model over all tasks. */
static dlm_status
run_model(dl_eval *e, int m, dlm_error *err)
{
	dl_cli_model model;
	dlm_status	st = dl_cli_open(e->models.item[m], &model, err);

	e->run.engine.env.memo = dlm_memo_create(MEMO_BYTES);
	for (int t = 0; t < e->n_tasks && st == DLM_OK; t++)
		st = dl_eval_run_task(model.model, e->name[m], &e->run, &e->tasks[t],
							  &e->outcomes[((size_t) t * (size_t) e->models.n + (size_t) m) * (size_t) e->n_rules], err);
	dlm_memo_free(e->run.engine.env.memo);
	e->run.engine.env.memo = NULL;
	dl_cli_close(&model);
	return st;
}

static dlm_status
create(const char *path, FILE **f, dlm_error *err)
{
	*f = path != NULL ? fopen(path, "w") : NULL;
	return path != NULL && *f == NULL ? dl_fail(err, DLM_EIO, "", "could not create \"%.200s\"", path) : DLM_OK;
}

static dlm_status
evaluate(dl_eval *e, FILE *json, dlm_error *err)
{
	dl_eval_report report = {.tasks = e->tasks, .models = e->name, .n_tasks = e->n_tasks, .n_models = e->models.n,
		.n_rules = e->n_rules, .seed = e->choice.seed, .confusion = e->confusion, .json = json};
	dlm_status	st = DLM_OK;

	e->outcomes = calloc((size_t) e->n_tasks * (size_t) e->models.n * (size_t) e->n_rules, sizeof(dl_eval_outcome));
	if (e->outcomes == NULL)
		return dl_fail_memory(err);
	report.outcomes = e->outcomes;
	for (int m = 0; m < e->models.n && st == DLM_OK; m++)
		st = run_model(e, m, err);
	return st == DLM_OK ? dl_eval_print(&report, err) : st;
}

static int
run_all(dl_eval *e)
{
	FILE	   *json = NULL;
	dlm_error	err = {0};
	dlm_status	st = read_tasks(e, &err);

	e->n_rules = e->run.n_rules > 0 ? e->run.n_rules : 1;
	e->run.several = e->models.n > 1 || e->n_rules > 1;
	name_models(e);
	if (st == DLM_OK)
		st = create(e->answers, &e->run.answers, &err);
	if (st == DLM_OK)
		st = create(e->json, &json, &err);
	if (st == DLM_OK)
		st = evaluate(e, json, &err);
	if (e->run.answers != NULL && fclose(e->run.answers) != 0 && st == DLM_OK)
		st = dl_fail(&err, DLM_EIO, "", "could not write the answers");
	if (json != NULL && fclose(json) != 0 && st == DLM_OK)
		st = dl_fail(&err, DLM_EIO, "", "could not write the report");
	for (int i = 0; e->outcomes != NULL && i < e->n_tasks * e->models.n * e->n_rules; i++)
		dl_eval_free_outcome(&e->outcomes[i]);
	free(e->outcomes);
	for (int t = 0; t < e->n_tasks; t++)
		dl_eval_free(&e->tasks[t]);
	return st == DLM_OK ? DL_EXIT_OK : dl_cli_fail(&err);
}

/* Without --model the first argument is the model. */
static dlm_status
check_line(dl_eval *e, dlm_error *err)
{
	dl_cli_engine *engine = &e->run.engine;

	if (e->models.n == 0 && e->n_args > 0)
	{
		e->models.item[e->models.n++] = e->args[0];
		memmove(e->args, e->args + 1, (size_t) --e->n_args * sizeof(*e->args));
	}
	if (e->models.n == 0 || e->n_args == 0)
		return dl_fail(err, DLM_EINVAL, "", "eval needs a model and a file of rows");
	if (e->choice.limit > 0 && e->choice.rows > 0)
		return dl_fail(err, DLM_EINVAL, "", "--limit and --rows exclude each other");
	if (e->rules != NULL && (engine->normalize != NULL || engine->calibrate != NULL))
		return dl_fail(err, DLM_EINVAL, "", "--rules says what --normalize and --calibrate would say");
	e->choice.seed = (uint32_t) engine->seed;
	if (e->rules != NULL && dl_eval_parse_rules(e->rules, e->run.rules, &e->run.n_rules, err) != DLM_OK)
		return err->status;
	return dl_cli_engine_finish(engine, err);
}

static int
parse_and_run(dl_eval *e, int argc, char **argv)
{
	dl_cli_option options[] = {
		{"--model", DL_CLI_LIST, &e->models, "a model; several are compared with the first, row by row"},
		{"--rows", DL_CLI_INT, &e->choice.rows, "so many rows of each file, chosen at random by --seed (default: all)"},
		{"--limit", DL_CLI_INT, &e->choice.limit, "the first so many rows of each file"},
		{"--rules", DL_CLI_STRING, &e->rules, "of labels, from one run: mean,mean+cf,sum,sum+cf (cf: content-free)"},
		{"--confusion", DL_CLI_FLAG, &e->confusion, "print confusion matrices of tasks with one set of labels"},
		{"--max-tokens", DL_CLI_INT, &e->run.max_tokens, "of generation (default 64)"},
		{"--json", DL_CLI_STRING, &e->json, "write the figures to this file, a JSON line a task, model and rule"},
		{"--answers", DL_CLI_STRING, &e->answers, "write each row's answer to this file, a JSON line a row"},
		DL_CLI_ENGINE_OPTIONS(&e->run.engine),
		{0}
	};
	dlm_error	err = {0};
	bool		help;
	int			code;

	e->run.max_tokens = 64;
	code = dl_cli_parse(argc, argv, "eval [options] ROWS.jsonl[.gz]|TEXT.txt[.gz]... --model A.dlm [--model B.dlm]...",
						options, e->args, MAX_ARGS, &e->n_args, &help);
	if (code != DL_EXIT_OK || help)
		return code;
	if (check_line(e, &err) != DLM_OK)
	{
		dl_cli_fail(&err);
		return DL_EXIT_USAGE;
	}
	return run_all(e);
}

int
dl_cli_eval(int argc, char **argv)
{
	dl_eval    *e = calloc(1, sizeof(dl_eval));
	int			code;

	if (e == NULL)
		return DL_EXIT_FAILED;
	code = parse_and_run(e, argc, argv);
	free(e);
	return code;
}
