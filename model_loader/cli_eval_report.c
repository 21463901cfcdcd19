/*
 * cli_eval_report.c - tables for people, JSON lines for programs.
 */
#include "cli_eval.h"

#include <stdlib.h>
#include <string.h>

#include "cli_eval_table.h"
#include "status.h"

#define MAX_PRINTED_LABELS	60	/* of a confusion matrix */

/* One line of the report: a task, or all tasks of a kind (task < 0), of a model and rule. */
typedef struct dl_line
{
	const dl_eval_report *report;
	dl_eval_kind kind;
	int			task,
				first,			/* of the kind: its rules are all tasks' */
				model,
				rule;
	dl_eval_sample *samples;	/* [report->n_tasks], scratch */
} dl_line;

static const dl_eval_outcome *
outcome(const dl_eval_report *r, int task, int model, int rule)
{
	return &r->outcomes[((size_t) task * (size_t) r->n_models + (size_t) model) * (size_t) r->n_rules + (size_t) rule];
}

static bool
belongs(const dl_line *l, int task)
{
	return l->task < 0 ? l->report->tasks[task].kind == l->kind : task == l->task;
}

/* A metric of the line, or its difference to the first model's. */
static dl_eval_interval
interval(const dl_line *l, const dl_eval_metric *metric, int stride, bool difference)
{
	const dl_eval_report *r = l->report;
	dl_eval_interval out;
	int			n = 0;

	for (int t = 0; t < r->n_tasks; t++)
		if (belongs(l, t))
			l->samples[n++] = (dl_eval_sample) {outcome(r, t, l->model, l->rule)->value + metric->first,
				difference ? outcome(r, t, 0, l->rule)->value + metric->first : NULL, r->tasks[t].n, stride};
	dl_eval_bootstrap(l->samples, n, metric->score, metric->width, r->seed, &out);
	return out;
}

static double
ece(const dl_eval_task *task, const dl_eval_outcome *o)
{
	return dl_eval_ece(o->probability, o->value, 1, task->n);
}

/* Means over the line's tasks, sums of what counts. */
typedef struct dl_totals
{
	int			tasks,
				rows,
				failed,
				skipped;
	double		majority,
				chance,
				baseline,
				ece,
				seconds;
} dl_totals;

static dl_totals
totals(const dl_line *l)
{
	const dl_eval_report *r = l->report;
	dl_totals	out = {0};

	for (int t = 0; t < r->n_tasks; t++)
	{
		const dl_eval_task *task = &r->tasks[t];
		const dl_eval_outcome *o = outcome(r, t, l->model, l->rule);

		if (!belongs(l, t))
			continue;
		out.tasks++;
		out.rows += task->n;
		out.failed += o->failed;
		out.skipped += task->skipped;
		out.seconds += o->seconds;
		if (task->kind == DL_EVAL_LABELS)
		{
			double		majority = dl_eval_majority(task),
						chance = dl_eval_chance(task);

			out.majority += majority;
			out.chance += chance;
			out.baseline += majority > chance ? majority : chance;
			out.ece += ece(task, o);
		}
	}
	out.majority /= out.tasks;
	out.chance /= out.tasks;
	out.baseline /= out.tasks;
	out.ece /= out.tasks;
	return out;
}

/* ---------------------------------------------------------------- JSON */

static void
add_interval(cJSON *to, const char *key, dl_eval_interval v)
{
	cJSON	   *o = cJSON_AddObjectToObject(to, key);

	cJSON_AddNumberToObject(o, "value", v.value);
	cJSON_AddNumberToObject(o, "low", v.low);
	cJSON_AddNumberToObject(o, "high", v.high);
}

/* Lines of the rows in the file; of rows that are right or wrong a digit each. */
static void
add_rows(cJSON *to, const dl_eval_task *task, const dl_eval_outcome *o, int stride)
{
	cJSON	   *lines = cJSON_AddArrayToObject(to, "lines");
	char	   *digits = calloc((size_t) task->n + 1, 1);

	for (int i = 0; i < task->n && digits != NULL; i++)
	{
		cJSON_AddItemToArray(lines, cJSON_CreateNumber(task->row[i].line));
		digits[i] = o->value[(size_t) i * (size_t) stride] > 0 ? '1' : '0';
	}
	if (digits != NULL && (task->kind == DL_EVAL_LABELS || task->kind == DL_EVAL_INFILL))
		cJSON_AddStringToObject(to, "right", digits);
	free(digits);
}

static void
add_confusion(cJSON *to, const dl_eval_task *task, const int *count)
{
	int			n = task->row[0].n_texts;
	cJSON	   *confusion = cJSON_AddObjectToObject(to, "confusion"),
			   *labels = cJSON_AddArrayToObject(confusion, "labels"),
			   *counts = cJSON_AddArrayToObject(confusion, "by_target");

	for (int target = 0; target < n; target++)
	{
		cJSON	   *row = cJSON_CreateArray();

		cJSON_AddItemToArray(labels, cJSON_CreateString(task->row[0].texts[target].data));
		for (int chosen = 0; chosen <= n; chosen++)
			cJSON_AddItemToArray(row, cJSON_CreateNumber(count[chosen * n + target]));
		cJSON_AddItemToArray(counts, row);
	}
}

static void
add_labels(cJSON *to, const dl_line *l, const dl_totals *total)
{
	const dl_eval_report *r = l->report;

	cJSON_AddNumberToObject(to, "baseline", total->baseline);
	cJSON_AddNumberToObject(to, "majority", total->majority);
	cJSON_AddNumberToObject(to, "chance", total->chance);
	cJSON_AddNumberToObject(to, "ece", total->ece);
	if (r->confusion && l->task >= 0)
	{
		int		   *count = dl_eval_confusion(&r->tasks[l->task], outcome(r, l->task, l->model, l->rule));

		if (count != NULL)
			add_confusion(to, &r->tasks[l->task], count);
		free(count);
	}
}

static dlm_status
write_json(const dl_line *l, dlm_error *err)
{
	static const char *const kinds[] = {"labels", "generation", "infill", "text"};
	const dl_eval_report *r = l->report;
	dl_totals	total = totals(l);
	cJSON	   *line = cJSON_CreateObject();
	int			n,
				stride;
	const dl_eval_metric *metric = dl_eval_metrics(l->kind, &n, &stride);
	char	   *text;
	bool		ok;

	cJSON_AddStringToObject(line, "task", l->task < 0 ? "mean" : r->tasks[l->task].name);
	if (l->task < 0)
		cJSON_AddNumberToObject(line, "tasks", total.tasks);
	cJSON_AddStringToObject(line, "kind", kinds[l->kind]);
	cJSON_AddStringToObject(line, "model", r->models[l->model]);
	if (l->kind == DL_EVAL_LABELS)
		cJSON_AddStringToObject(line, "rule", dl_eval_rule_name(outcome(r, l->first, l->model, l->rule)->rule));
	cJSON_AddNumberToObject(line, "rows", total.rows);
	cJSON_AddNumberToObject(line, "failed", total.failed);
	cJSON_AddNumberToObject(line, "skipped", total.skipped);
	cJSON_AddNumberToObject(line, "seconds", total.seconds);
	for (int k = 0; k < n; k++)
		add_interval(line, metric[k].key, interval(l, &metric[k], stride, false));
	if (l->model > 0)
		add_interval(line, "difference", interval(l, &metric[0], stride, true));
	if (l->kind == DL_EVAL_LABELS)
		add_labels(line, l, &total);
	if (l->task >= 0)
		add_rows(line, &r->tasks[l->task], outcome(r, l->task, l->model, l->rule), stride);
	text = cJSON_PrintUnformatted(line);
	ok = text != NULL && fprintf(r->json, "%s\n", text) > 0;
	cJSON_free(text);
	cJSON_Delete(line);
	return ok ? DLM_OK : dl_fail(err, DLM_EIO, "", "could not write the report");
}

/* ---------------------------------------------------------------- tables */

static void
header(dl_table *table, const dl_eval_report *r, dl_eval_kind kind, int first_task)
{
	int			n,
				stride;
	const dl_eval_metric *metric = dl_eval_metrics(kind, &n, &stride);
	bool		many = kind == DL_EVAL_LABELS && r->n_rules > 1;

	dl_table_row(table);
	dl_table_add(table, "task");
	dl_table_add(table, "rows");
	if (kind == DL_EVAL_LABELS)
		dl_table_add(table, "baseline");
	dl_table_add(table, "model");
	if (kind == DL_EVAL_LABELS && !many)
		dl_table_add(table, "rule");
	for (int i = 0; many && i < r->n_rules; i++)
		dl_table_add(table, "%s", dl_eval_rule_name(outcome(r, first_task, 0, i)->rule));
	if (many)
		return;
	dl_table_add(table, "%s", metric[0].name);
	dl_table_add(table, "95 %% interval");
	for (int k = 1; k < n; k++)
		dl_table_add(table, "%s", metric[k].name);
	if (kind == DL_EVAL_LABELS)
		dl_table_add(table, "ECE");
	if (r->n_models > 1)
	{
		dl_table_add(table, "difference");
		dl_table_add(table, "95 %% interval");
	}
	dl_table_add(table, "failed");
	dl_table_add(table, "rows/s");
}

/* The cells of a line behind the model's name. */
static void
cells(dl_table *table, const dl_line *l, const dl_totals *total)
{
	int			n,
				stride;
	const dl_eval_metric *metric = dl_eval_metrics(l->kind, &n, &stride);
	dl_eval_interval v = interval(l, &metric[0], stride, false);
	int			digits = metric[0].digits;

	dl_table_add(table, "%.*f", digits, v.value);
	dl_table_add(table, "%.*f to %.*f", digits, v.low, digits, v.high);
	for (int k = 1; k < n; k++)
		dl_table_add(table, "%.*f", metric[k].digits, interval(l, &metric[k], stride, false).value);
	if (l->kind == DL_EVAL_LABELS)
		dl_table_add(table, "%.3f", total->ece);
	if (l->report->n_models > 1 && l->model > 0)
	{
		v = interval(l, &metric[0], stride, true);
		dl_table_add(table, "%+.*f", digits, v.value);
		dl_table_add(table, "%+.*f to %+.*f", digits, v.low, digits, v.high);
	}
	else if (l->report->n_models > 1)
	{
		dl_table_add(table, "%s", "");
		dl_table_add(table, "%s", "");
	}
	dl_table_add(table, "%d", total->failed);
	dl_table_add(table, "%.2f", total->rows / total->seconds);
}

/* A line of a task and model: all its rules when there are several. */
static dlm_status
add_line(dl_table *table, dl_line *l, dlm_error *err)
{
	const dl_eval_report *r = l->report;
	bool		labels = l->kind == DL_EVAL_LABELS;
	dl_totals	total;
	dlm_status	st = DLM_OK;
	int			n,
				stride;
	const dl_eval_metric *metric = dl_eval_metrics(l->kind, &n, &stride);

	l->rule = 0;
	total = totals(l);
	dl_table_row(table);
	dl_table_add(table, "%s", l->model > 0 ? "" : l->task < 0 ? "mean" : r->tasks[l->task].name);
	dl_table_add(table, "%d", total.rows);
	if (labels)
		dl_table_add(table, "%.3f", total.baseline);
	dl_table_add(table, "%s", r->models[l->model]);
	for (l->rule = 0; l->rule < (labels ? r->n_rules : 1) && st == DLM_OK; l->rule++)
	{
		if (labels && r->n_rules > 1)
			dl_table_add(table, "%.3f", interval(l, &metric[0], stride, false).value);
		else
		{
			if (labels)
				dl_table_add(table, "%s", dl_eval_rule_name(outcome(r, l->first, l->model, 0)->rule));
			cells(table, l, &total);
		}
		if (r->json != NULL)
			st = write_json(l, err);
	}
	return st;
}

static void
print_confusion(const dl_eval_report *r, int t, int m, int rule)
{
	const dl_eval_task *task = &r->tasks[t];
	const dl_eval_outcome *o = outcome(r, t, m, rule);
	int			n = task->row[0].n_texts;
	int		   *count = n <= MAX_PRINTED_LABELS ? dl_eval_confusion(task, o) : NULL;
	dl_table	table = {0};

	printf("\n%s, %s, %s: ", task->name, r->models[m], dl_eval_rule_name(o->rule));
	if (count == NULL)
	{
		printf("no confusion matrix: %s\n", n > MAX_PRINTED_LABELS ? "too many labels" : "the rows' labels differ");
		return;
	}
	printf("targets down, answers across\n");
	dl_table_row(&table);
	dl_table_add(&table, "%s", "");
	for (int k = 0; k < n; k++)
		dl_table_add(&table, "%s", task->row[0].texts[k].data);
	if (o->failed > 0)
		dl_table_add(&table, "failed");
	for (int target = 0; target < n; target++)
	{
		dl_table_row(&table);
		dl_table_add(&table, "%s", task->row[0].texts[target].data);
		for (int chosen = 0; chosen < n + (o->failed > 0); chosen++)
			dl_table_add(&table, "%d", count[chosen * n + target]);
	}
	dl_table_print(&table, stdout);
	dl_table_free(&table);
	free(count);
}

/* Table and JSON of all tasks of a kind; no tasks, no table. */
static dlm_status
print_kind(const dl_eval_report *r, dl_eval_kind kind, bool *printed, dlm_error *err)
{
	dl_table	table = {0};
	dl_line		l = {.report = r, .kind = kind, .samples = calloc((size_t) r->n_tasks, sizeof(dl_eval_sample))};
	dlm_status	st = l.samples == NULL ? dl_fail_memory(err) : DLM_OK;
	int			n = 0;

	for (int t = 0; t < r->n_tasks && st == DLM_OK; t++)
	{
		if (r->tasks[t].kind != kind)
			continue;
		if (n++ == 0)
		{
			l.first = t;
			header(&table, r, kind, t);
		}
		l.task = t;
		for (l.model = 0; l.model < r->n_models && st == DLM_OK; l.model++)
			st = add_line(&table, &l, err);
	}
	l.task = -1;
	for (l.model = 0; l.model < r->n_models && st == DLM_OK && n > 1; l.model++)
		st = add_line(&table, &l, err);
	if (st == DLM_OK && n > 0)
	{
		printf("%s", *printed ? "\n" : "");
		dl_table_print(&table, stdout);
		*printed = true;
		if (table.failed)
			st = dl_fail_memory(err);
	}
	dl_table_free(&table);
	free(l.samples);
	return st;
}

dlm_status
dl_eval_print(const dl_eval_report *r, dlm_error *err)
{
	dlm_status	st = DLM_OK;
	bool		printed = false;

	for (int kind = DL_EVAL_LABELS; kind <= DL_EVAL_TEXT && st == DLM_OK; kind++)
		st = print_kind(r, (dl_eval_kind) kind, &printed, err);
	for (int t = 0; t < r->n_tasks && st == DLM_OK && r->confusion; t++)
		for (int m = 0; m < r->n_models && r->tasks[t].kind == DL_EVAL_LABELS; m++)
			for (int k = 0; k < r->n_rules; k++)
				print_confusion(r, t, m, k);
	return st;
}
