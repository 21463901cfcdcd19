/*
 * cli_eval_labels.c - rows with labels: scores once, choices under each rule.
 *
 * The engine gives mean and sum of each label from one run. A calibrated rule
 * subtracts those of the content-free request, which are computed once for
 * all rows of equal instruction and labels: the values, and so the choice, are
 * what the engine itself gives with `calibrate` content_free.
 */
#include "cli_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fmath.h"
#include "model.h"
#include "status.h"

/* Mean and sum of a request's labels. */
typedef struct dl_scores
{
	const dlm_request *request;	/* [n] */
	double	   *mean,			/* request i: from start[i] */
			   *sum;
	int		   *start;			/* [n + 1] */
	bool	   *failed;			/* [n] */
	dlm_error	first;			/* of the first request that failed */
} dl_scores;

static const char *const names[] = {"mean", "mean+cf", "sum", "sum+cf"};

const char *
dl_eval_rule_name(dl_eval_rule rule)
{
	return names[(rule.normalize == DLM_NORMALIZE_SUM ? 2 : 0) + rule.content_free];
}

dlm_status
dl_eval_parse_rules(const char *list, dl_eval_rule rules[DL_EVAL_RULES], int *n, dlm_error *err)
{
	*n = 0;
	for (const char *at = list; at != NULL; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
	{
		size_t		len = strcspn(at, ",");
		int			k = 0;

		while (k < DL_EVAL_RULES && (strlen(names[k]) != len || memcmp(names[k], at, len) != 0))
			k++;
		for (int i = 0; i < *n && k < DL_EVAL_RULES; i++)
			if (strcmp(dl_eval_rule_name(rules[i]), names[k]) == 0)
				k = DL_EVAL_RULES;
		if (k == DL_EVAL_RULES)
			return dl_fail(err, DLM_EINVAL, "Known are mean, mean+cf, sum and sum+cf, each once, separated by commas.",
						   "unknown or repeated rule in \"%.60s\"", list);
		rules[(*n)++] = (dl_eval_rule) {k >= 2 ? DLM_NORMALIZE_SUM : DLM_NORMALIZE_MEAN, k % 2 != 0};
	}
	return DLM_OK;
}

/* ---------------------------------------------------------------- scores */

static void
free_scores(dl_scores *s)
{
	free(s->mean);
	free(s->sum);
	free(s->start);
	free(s->failed);
}

static dlm_status
take_scores(void *ctx, int i, const dlm_result *result, dlm_error *err)
{
	dl_scores  *s = ctx;

	s->failed[i] = result->error.status != DLM_OK;
	if (s->failed[i] && s->first.status == DLM_OK)
		s->first = result->error;
	for (int k = 0; k < result->n_labels && !s->failed[i]; k++)
	{
		s->mean[s->start[i] + k] = result->labels[k].mean;
		s->sum[s->start[i] + k] = result->labels[k].sum;
	}
	return DLM_OK;
}

static dlm_status
compute_scores(const dlm_model *model, const dl_eval_run *run, const dlm_request *requests, int n, dl_scores *s,
			   dlm_error *err)
{
	*s = (dl_scores) {.request = requests, .start = calloc((size_t) n + 1, sizeof(int)),
		.failed = calloc((size_t) n + 1, sizeof(bool))};
	if (s->start == NULL || s->failed == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
		s->start[i + 1] = s->start[i] + requests[i].n_labels;
	s->mean = calloc((size_t) s->start[n] + 1, sizeof(double));
	s->sum = calloc((size_t) s->start[n] + 1, sizeof(double));
	if (s->mean == NULL || s->sum == NULL)
		return dl_fail_memory(err);
	return dl_eval_drive(model, run, requests, n, take_scores, s, err);
}

/* ---------------------------------------------------------------- content-free requests */

static int
compare_texts(dlm_text a, dlm_text b)
{
	size_t		n = a.len < b.len ? a.len : b.len;
	int			order = n > 0 ? memcmp(a.data, b.data, n) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* By what a content-free request depends on. */
static int
compare_requests(const void *a, const void *b)
{
	const dlm_request *x = *(const dlm_request *const *) a,
			   *y = *(const dlm_request *const *) b;
	int			order = compare_texts(x->instruction, y->instruction);

	if (order == 0)
		order = (x->n_labels > y->n_labels) - (x->n_labels < y->n_labels);
	for (int i = 0; i < x->n_labels && order == 0; i++)
		order = compare_texts(x->labels[i], y->labels[i]);
	return order;
}

/* The content-free requests of requests [n]: distinct ones to null [n], their number to *n_null, and null_of [n] each one's. */
static dlm_status
content_free_requests(const dlm_model *model, const dlm_request *requests, int n, dlm_request *null, int *null_of,
					  int *n_null, dlm_error *err)
{
	const dlm_request **order = calloc((size_t) n, sizeof(*order));

	if (order == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
		order[i] = &requests[i];
	qsort(order, (size_t) n, sizeof(*order), compare_requests);
	*n_null = 0;
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || compare_requests(&order[i - 1], &order[i]) != 0)
		{
			null[*n_null] = *order[i];
			null[(*n_null)++].input = model->settings.content_free;
		}
		null_of[order[i] - requests] = *n_null - 1;
	}
	free(order);
	return DLM_OK;
}

/* ---------------------------------------------------------------- choices */

/* exp(value - max); equal shares where no value is finite. */
static double
exp_below(double value, double max)
{
	return !isfinite(max) ? 1 : isfinite(value) ? dl_exp(value - max) : 0;
}

/* The winner of values [n] and its share of the softmax, as the engine has them: ties to the earlier. */
static int
choose(const double *value, int n, double *probability)
{
	double		max = value[0],
				sum = 0,
				best = -1;
	int			winner = 0;

	for (int i = 1; i < n; i++)
		max = value[i] > max ? value[i] : max;
	for (int i = 0; i < n; i++)
		sum += exp_below(value[i], max);
	for (int i = 0; i < n; i++)
	{
		double		share = exp_below(value[i], max) / sum;

		if (share > best)
		{
			best = share;
			winner = i;
		}
	}
	*probability = best;
	return winner;
}

static dlm_status
write_answer(const dl_eval_run *run, const dl_eval_task *task, int i, const char *name, const dl_eval_outcome *o,
			 const double *value, dlm_error *err)
{
	cJSON	   *line = dl_eval_answer(run, task, i, name, dl_eval_rule_name(o->rule)),
			   *scores;

	if (o->chosen[i] < 0)
		cJSON_AddNullToObject(line, "label");
	else
	{
		cJSON_AddStringToObject(line, "label", task->row[i].texts[o->chosen[i]].data);
		scores = cJSON_AddObjectToObject(line, "scores");
		for (int k = 0; k < task->row[i].n_texts && scores != NULL; k++)
			cJSON_AddNumberToObject(scores, task->row[i].texts[k].data, value[k]);
	}
	return dl_eval_answer_end(run, line, err);
}

/* Fill an outcome, whose rule is set, from scores; null: NULL, or the content-free ones of null_of [rows]. */
static dlm_status
apply_rule(const dl_eval_run *run, const dl_eval_task *task, const char *name, const dl_scores *s,
		   const dl_scores *null, const int *null_of, dl_eval_outcome *o, dlm_error *err)
{
	double		value[DLM_MAX_LABELS];
	const double *score = o->rule.normalize == DLM_NORMALIZE_SUM ? s->sum : s->mean;
	dlm_status	st = DLM_OK;

	for (int i = 0; i < task->n && st == DLM_OK; i++)
	{
		const double *z = null == NULL ? NULL :
			(o->rule.normalize == DLM_NORMALIZE_SUM ? null->sum : null->mean) + null->start[null_of[i]];
		bool		failed = s->failed[i] || (null != NULL && null->failed[null_of[i]]);

		o->chosen[i] = -1;
		o->probability[i] = -1;
		o->failed += failed;
		for (int k = 0; k < task->row[i].n_texts && !failed; k++)
		{
			value[k] = score[s->start[i] + k];
			if (z != NULL && isfinite(value[k]) && isfinite(z[k]))
				value[k] -= z[k];
		}
		if (!failed)
			o->chosen[i] = choose(value, task->row[i].n_texts, &o->probability[i]);
		o->value[i] = o->chosen[i] == task->row[i].target;
		if (run->answers != NULL)
			st = write_answer(run, task, i, name, o, value, err);
	}
	return st;
}

/* The rules to apply: those asked for, or the one that the options or the model name. */
static void
set_rules(const dlm_model *model, const dl_eval_run *run, dl_eval_outcome *out)
{
	const dlm_options *options = &run->engine.options;
	dlm_normalize normalize = options->normalize ? options->normalize : model->settings.normalize;
	dlm_calibrate calibrate = options->calibrate ? options->calibrate : model->settings.calibrate;

	out[0].rule = (dl_eval_rule) {normalize, calibrate == DLM_CALIBRATE_CONTENT_FREE};
	for (int i = 0; i < run->n_rules; i++)
		out[i].rule = run->rules[i];
}

static dlm_status
run_requests(const dlm_model *model, const char *name, const dl_eval_run *run, const dl_eval_task *task,
			 dlm_request *requests, int *null_of, dl_eval_outcome *out, dlm_error *err)
{
	int			n_out = run->n_rules > 0 ? run->n_rules : 1,
				n_null = 0;
	bool		calibrated = false;
	dl_scores	s = {0},
				null = {0};
	dlm_request *null_requests = requests + task->n;
	dlm_status	st = compute_scores(model, run, requests, task->n, &s, err);

	set_rules(model, run, out);
	for (int i = 0; i < n_out; i++)
		calibrated |= out[i].rule.content_free;
	if (st == DLM_OK && calibrated)
		st = content_free_requests(model, requests, task->n, null_requests, null_of, &n_null, err);
	if (st == DLM_OK && calibrated)
		st = compute_scores(model, run, null_requests, n_null, &null, err);
	for (int i = 0; i < n_out && st == DLM_OK; i++)
	{
		bool		cf = out[i].rule.content_free;

		st = apply_rule(run, task, name, &s, cf ? &null : NULL, null_of, &out[i], err);
	}
	if (st == DLM_OK && (s.first.status != DLM_OK || null.first.status != DLM_OK))
		fprintf(stderr, "dlm-model: %s: a row failed: %s\n", task->name,
				s.first.status != DLM_OK ? s.first.message : null.first.message);
	free_scores(&s);
	free_scores(&null);
	return st;
}

dlm_status
dl_eval_run_labels(const dlm_model *model, const char *name, dl_eval_run *run, const dl_eval_task *task,
				   dl_eval_outcome *out, dlm_error *err)
{
	dlm_options options = run->engine.options;
	dlm_request *requests = calloc((size_t) task->n * 2, sizeof(dlm_request));
	int		   *null_of = calloc((size_t) task->n, sizeof(int));
	dlm_status	st;

	options.calibrate = DLM_CALIBRATE_NONE;
	for (int i = 0; i < task->n && requests != NULL; i++)
	{
		const dl_eval_row *r = &task->row[i];

		requests[i] = (dlm_request) {.task = DLM_CLASSIFY, .input = r->input, .instruction = r->instruction,
			.has_instruction = r->instruction.len > 0, .labels = r->texts, .n_labels = r->n_texts, .options = &options};
	}
	st = requests != NULL && null_of != NULL ? run_requests(model, name, run, task, requests, null_of, out, err) :
		dl_fail_memory(err);
	free(requests);
	free(null_of);
	return st;
}

/* ---------------------------------------------------------------- baseline, confusion */

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

double
dl_eval_majority(const dl_eval_task *task)
{
	const char **targets = calloc((size_t) task->n + 1, sizeof(char *));
	int			best = 0,
				count = 0;

	for (int i = 0; i < task->n && targets != NULL; i++)
		targets[i] = task->row[i].texts[task->row[i].target].data;
	if (targets != NULL)
		qsort(targets, (size_t) task->n, sizeof(char *), compare_strings);
	for (int i = 0; i < task->n && targets != NULL; i++)
	{
		count = i > 0 && strcmp(targets[i], targets[i - 1]) == 0 ? count + 1 : 1;
		best = count > best ? count : best;
	}
	free(targets);
	return (double) best / task->n;
}

double
dl_eval_chance(const dl_eval_task *task)
{
	double		sum = 0;

	for (int i = 0; i < task->n; i++)
		sum += 1.0 / task->row[i].n_texts;
	return sum / task->n;
}

static int
find_text(const dlm_text *texts, int n, const char *text)
{
	int			i = 0;

	while (i < n && strcmp(texts[i].data, text) != 0)
		i++;
	return i;
}

int *
dl_eval_confusion(const dl_eval_task *task, const dl_eval_outcome *o)
{
	const dlm_text *set = task->row[0].texts;
	int			n = task->row[0].n_texts;
	int		   *count = calloc((size_t) n * (size_t) (n + 1), sizeof(int));
	bool		fixed = count != NULL;

	for (int i = 0; i < task->n && fixed; i++)
	{
		const dl_eval_row *r = &task->row[i];
		int			target,
					chosen;

		fixed = r->n_texts == n;
		for (int k = 0; k < n && fixed; k++)
			fixed = find_text(set, n, r->texts[k].data) < n;
		if (!fixed)
			break;
		target = find_text(set, n, r->texts[r->target].data);
		chosen = o->chosen[i] < 0 ? n : find_text(set, n, r->texts[o->chosen[i]].data);
		count[chosen * n + target]++;
	}
	if (fixed)
		return count;
	free(count);
	return NULL;
}
