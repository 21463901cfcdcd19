/*
 * cli_eval_run.c - a task through a model: sessions, and the rows whose answer is a text.
 */
#include "cli_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "status.h"

#define BATCH	256				/* rows of a session */

static const dl_eval_metric of_labels[] = {{"accuracy", "accuracy", 0, 1, dl_eval_mean, 3}};
static const dl_eval_metric of_infill[] = {
	{"exact match", "exact", 0, 1, dl_eval_mean, 3},
	{"chrF", "chrf", 1, DL_CHRF_STATS, dl_eval_chrf, 1},
};
static const dl_eval_metric of_text[] = {{"perplexity", "perplexity", 0, 2, dl_eval_perplexity, 2}};
static const dl_eval_metric of_generation[] = {
	{"chrF", "chrf", 0, DL_CHRF_STATS, dl_eval_chrf, 1},
	{"ROUGE-L", "rouge_l", DL_CHRF_STATS, 1, dl_eval_mean, 3},
	{"exact match", "exact", DL_CHRF_STATS + 1, 1, dl_eval_mean, 3},
};

const dl_eval_metric *
dl_eval_metrics(dl_eval_kind kind, int *n, int *stride)
{
	static const int metrics[] = {1, 3, 2, 1};	/* by kind */
	static const int columns[] = {1, DL_CHRF_STATS + 2, DL_CHRF_STATS + 1, 2};

	*n = metrics[kind];
	*stride = columns[kind];
	return kind == DL_EVAL_LABELS ? of_labels : kind == DL_EVAL_INFILL ? of_infill :
		kind == DL_EVAL_TEXT ? of_text : of_generation;
}

/* ---------------------------------------------------------------- sessions, answers */

dlm_status
dl_eval_drive(const dlm_model *model, const dl_eval_run *run, const dlm_request *requests, int n, dl_eval_take take,
			  void *ctx, dlm_error *err)
{
	double		start = dl_cli_seconds();
	dlm_status	st = DLM_OK;

	for (int at = 0; at < n && st == DLM_OK; at += BATCH)
	{
		int			rows = n - at < BATCH ? n - at : BATCH;
		dlm_session *session = NULL;

		st = dlm_session_open(model, requests + at, rows, &run->engine.env, &session, err);
		if (st == DLM_OK)
			st = dl_cli_drive(session, err);
		for (int i = 0; i < rows && st == DLM_OK; i++)
			st = take(ctx, at + i, dlm_session_result(session, i), err);
		dlm_session_close(session);
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%d of %d rows, %.1f rows/s ", at + rows, n, (at + rows) / (dl_cli_seconds() - start));
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%60s\r", "");
	return st;
}

cJSON *
dl_eval_answer(const dl_eval_run *run, const dl_eval_task *task, int row, const char *model, const char *rule)
{
	cJSON	   *line = cJSON_CreateObject();

	cJSON_AddStringToObject(line, "task", task->name);
	cJSON_AddNumberToObject(line, "line", task->row[row].line);
	if (run->several)
		cJSON_AddStringToObject(line, "model", model);
	if (run->several && rule != NULL)
		cJSON_AddStringToObject(line, "rule", rule);
	return line;
}

dlm_status
dl_eval_answer_end(const dl_eval_run *run, cJSON *line, dlm_error *err)
{
	char	   *text = line != NULL ? cJSON_PrintUnformatted(line) : NULL;
	bool		ok = text != NULL && fprintf(run->answers, "%s\n", text) > 0;

	cJSON_free(text);
	cJSON_Delete(line);
	return ok ? DLM_OK : dl_fail(err, DLM_EIO, "", "could not write the answers");
}

/* ---------------------------------------------------------------- rows whose answer is a text */

typedef struct dl_texts
{
	const dl_eval_run *run;
	const dl_eval_task *task;
	const dlm_model *model;
	const char *name;
	dl_eval_outcome *out;
	int			stride;
	dlm_error	first;			/* of the first row that failed */
} dl_texts;

static dlm_status
count_tokens(const dlm_model *model, dlm_text text, size_t *n, dlm_error *err)
{
	dlm_env		env = {0};
	int32_t    *ids;
	dlm_status	st = dlm_tokenize(model, text, &env, &ids, n, err);

	if (st == DLM_OK)
		free(ids);
	return st;
}

/* Do all gaps hold what was asked for? value[0]; and counts of chrF, added up over them. A row that failed has empty gaps. */
static dlm_status
judge_gaps(const dl_eval_row *r, const dlm_result *result, double *value, dlm_error *err)
{
	dlm_text	own = {r->input.data + r->gap_start, r->gap_end - r->gap_start};
	int			n = r->has_gap ? 1 : r->n_texts;
	bool		failed = result->error.status != DLM_OK;
	bool		right = !failed && result->n_gaps == n;
	dlm_status	st = DLM_OK;

	for (int i = 0; i < n && st == DLM_OK; i++)
	{
		dlm_text	asked = r->has_gap ? own : r->texts[i],
					text = failed || i >= result->n_gaps ? (dlm_text) {"", 0} : result->gaps[i].text;
		double		count[DL_CHRF_STATS];

		right = right && dl_eval_equal(text, asked);
		st = dl_eval_chrf_count(text, asked, count, err);
		for (int k = 0; k < DL_CHRF_STATS && st == DLM_OK; k++)
			value[1 + k] += count[k];
	}
	value[0] = right;
	return st;
}

static dlm_status
write_text(const dl_texts *t, int i, const dlm_result *result, const double *value, dlm_error *err)
{
	cJSON	   *line = dl_eval_answer(t->run, t->task, i, t->name, NULL),
			   *gaps;
	int			n,
				stride;
	const dl_eval_metric *metric = dl_eval_metrics(t->task->kind, &n, &stride);

	if (result->error.status != DLM_OK)
	{
		cJSON_AddNullToObject(line, "text");
		return dl_eval_answer_end(t->run, line, err);
	}
	if (t->task->kind != DL_EVAL_TEXT)
	{
		char	   *text = strndup(result->text.data != NULL ? result->text.data : "", result->text.len);

		cJSON_AddStringToObject(line, "text", text != NULL ? text : "");
		free(text);
	}
	gaps = t->task->kind == DL_EVAL_INFILL ? cJSON_AddArrayToObject(line, "gaps") : NULL;
	for (int k = 0; k < result->n_gaps && gaps != NULL; k++)
	{
		char	   *text = strndup(result->gaps[k].text.data != NULL ? result->gaps[k].text.data : "", result->gaps[k].text.len);

		cJSON_AddItemToArray(gaps, cJSON_CreateString(text != NULL ? text : ""));
		free(text);
	}
	for (int k = 0; k < n; k++)
		cJSON_AddNumberToObject(line, metric[k].key, metric[k].score(value + metric[k].first, 1));
	return dl_eval_answer_end(t->run, line, err);
}

static dlm_status
take_text(void *ctx, int i, const dlm_result *result, dlm_error *err)
{
	dl_texts   *t = ctx;
	const dl_eval_row *r = &t->task->row[i];
	double	   *value = t->out->value + (size_t) i * (size_t) t->stride;
	bool		failed = result->error.status != DLM_OK;
	dlm_text	text = failed ? (dlm_text) {"", 0} : result->text;
	dlm_status	st = DLM_OK;
	size_t		tokens;

	t->out->failed += failed;
	if (failed && t->first.status == DLM_OK)
		t->first = result->error;
	if (t->task->kind == DL_EVAL_GENERATION)
	{
		st = dl_eval_chrf_count(text, r->answer, value, err);
		if (st == DLM_OK)
			st = dl_eval_rouge_l(text, r->answer, &value[DL_CHRF_STATS], err);
		value[DL_CHRF_STATS + 1] = !failed && dl_eval_equal(text, r->answer);
	}
	else if (t->task->kind == DL_EVAL_INFILL)
		st = judge_gaps(r, result, value, err);
	else if (!failed)
	{
		st = count_tokens(t->model, r->input, &tokens, err);
		value[0] = -result->logprob * (double) tokens;
		value[1] = (double) tokens;
	}
	if (st == DLM_OK && t->run->answers != NULL)
		st = write_text(t, i, result, value, err);
	return st;
}

/*
 * The template of a row that says which part of its text is the gap: so many
 * masks as the part has tokens, with the space before it where there is one,
 * since the gap's first token then carries it. malloc'd.
 */
static dlm_status
make_template(const dlm_model *model, const dl_eval_row *r, dlm_text *out, dlm_error *err)
{
	bool		space = r->gap_start > 0 && r->input.data[r->gap_start - 1] == ' ';
	dlm_text	part = {r->input.data + r->gap_start - space, r->gap_end - r->gap_start + space};
	char	   *left = NULL,
			   *right = NULL,
			   *text = NULL;
	size_t		n_left,
				n_right,
				tokens;
	dlm_status	st = count_tokens(model, part, &tokens, err);

	if (st == DLM_OK)
		st = dlm_quote_template((dlm_text) {r->input.data, r->gap_start}, &left, &n_left, err);
	if (st == DLM_OK)
		st = dlm_quote_template((dlm_text) {r->input.data + r->gap_end, r->input.len - r->gap_end}, &right, &n_right, err);
	if (st == DLM_OK)
	{
		text = malloc(n_left + n_right + 40);
		if (text == NULL)
			st = dl_fail_memory(err);
	}
	if (st == DLM_OK)
	{
		int			n = sprintf(text + n_left, "[MASK:%zu]", tokens);

		memcpy(text, left, n_left);
		memcpy(text + n_left + n, right, n_right);
		*out = (dlm_text) {text, n_left + (size_t) n + n_right};
	}
	free(left);
	free(right);
	return st;
}

static dlm_status
run_texts(const dlm_model *model, const char *name, dl_eval_run *run, const dl_eval_task *task, dl_eval_outcome *out,
		  dlm_request *requests, dlm_error *err)
{
	static const dlm_task tasks[] = {DLM_CLASSIFY, DLM_GENERATE, DLM_INFILL, DLM_SCORE};
	dl_texts	t = {.run = run, .task = task, .model = model, .name = name, .out = out};
	dlm_status	st = DLM_OK;
	int			n;

	dl_eval_metrics(task->kind, &n, &t.stride);
	for (int i = 0; i < task->n && st == DLM_OK; i++)
	{
		const dl_eval_row *r = &task->row[i];

		requests[i] = (dlm_request) {.task = tasks[task->kind], .input = r->input, .max_tokens = run->max_tokens,
			.options = &run->engine.options};
		if (r->has_gap)
			st = make_template(model, r, &requests[i].input, err);
	}
	if (st == DLM_OK)
		st = dl_eval_drive(model, run, requests, task->n, take_text, &t, err);
	for (int i = 0; i < task->n; i++)
		if (task->row[i].has_gap && requests[i].input.data != task->row[i].input.data)
			free((void *) requests[i].input.data);
	if (st == DLM_OK && t.first.status != DLM_OK)
		fprintf(stderr, "dlm-model: %s: a row failed: %s\n", task->name, t.first.message);
	return st;
}

/* ---------------------------------------------------------------- tasks */

static dlm_status
allocate(const dl_eval_task *task, dl_eval_outcome *o, dlm_error *err)
{
	int			n,
				stride;

	dl_eval_metrics(task->kind, &n, &stride);
	*o = (dl_eval_outcome) {.value = calloc((size_t) task->n * (size_t) stride, sizeof(double))};
	if (task->kind == DL_EVAL_LABELS)
	{
		o->probability = calloc((size_t) task->n, sizeof(double));
		o->chosen = calloc((size_t) task->n, sizeof(int));
	}
	return o->value == NULL || (task->kind == DL_EVAL_LABELS && (o->probability == NULL || o->chosen == NULL)) ?
		dl_fail_memory(err) : DLM_OK;
}

dlm_status
dl_eval_run_task(const dlm_model *model, const char *name, dl_eval_run *run, const dl_eval_task *task,
				 dl_eval_outcome *out, dlm_error *err)
{
	int			n = task->kind == DL_EVAL_LABELS && run->n_rules > 0 ? run->n_rules : 1;
	double		start = dl_cli_seconds();
	dlm_request *requests;
	dlm_status	st = DLM_OK;

	for (int i = 0; i < n && st == DLM_OK; i++)
		st = allocate(task, &out[i], err);
	if (st != DLM_OK)
		return st;
	if (task->kind == DL_EVAL_LABELS)
		st = dl_eval_run_labels(model, name, run, task, out, err);
	else
	{
		requests = calloc((size_t) task->n, sizeof(dlm_request));
		st = requests != NULL ? run_texts(model, name, run, task, out, requests, err) : dl_fail_memory(err);
		free(requests);
	}
	for (int i = 0; i < n; i++)
		out[i].seconds = dl_cli_seconds() - start;
	return st;
}

void
dl_eval_free_outcome(dl_eval_outcome *o)
{
	free(o->value);
	free(o->probability);
	free(o->chosen);
	*o = (dl_eval_outcome) {0};
}
