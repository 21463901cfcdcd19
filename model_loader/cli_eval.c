/*
 * cli_eval.c - dlm-model eval: accuracy of labels over a file of rows.
 *
 * A row is a JSON object {"instruction", "input", "labels": [...], "target"}
 * a line; the file may be gzipped (read through the gzip program, so that no
 * library is needed for it). Rows go through sessions of up to BATCH rows
 * that share what content-free calibration computes. --answers writes a JSON
 * line {"label", "scores": {label: log-probability}} per row with labels.
 */
#include "cli_run.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"
#include "status.h"

#define BATCH		256
#define MEMO_BYTES	((size_t) 64 << 20)

extern char **environ;

typedef struct dl_row
{
	cJSON	   *json;			/* owns the texts */
	dlm_request request;
	dlm_text   *labels;
	int			target;
} dl_row;

typedef struct dl_rows
{
	dl_row	   *row;
	int			n,
				capacity,
				skipped;		/* without labels, or with a target that is none of them */
} dl_rows;

typedef struct dl_tally
{
	FILE	   *answers;		/* or NULL */
	int			rows,
				right,
				failed;
	double		seconds;
} dl_tally;

/* ---------------------------------------------------------------- rows */

static dlm_text
text_of(const cJSON *object, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(v) ? (dlm_text) {v->valuestring, strlen(v->valuestring)} : (dlm_text) {"", 0};
}

/* Fill a row from its JSON; false if it has no labels or its target is none of them. */
static bool
read_row(dl_row *r, const dlm_options *options)
{
	const cJSON *labels = cJSON_GetObjectItemCaseSensitive(r->json, "labels"),
			   *label;
	dlm_text	target = text_of(r->json, "target");
	int			n = cJSON_IsArray(labels) ? cJSON_GetArraySize(labels) : 0;

	if (n < 1)
		return false;
	r->labels = calloc((size_t) n, sizeof(dlm_text));
	if (r->labels == NULL)
		return false;
	r->target = -1;
	r->request = (dlm_request) {.task = DLM_CLASSIFY, .input = text_of(r->json, "input"),
		.instruction = text_of(r->json, "instruction"), .labels = r->labels, .options = options};
	r->request.has_instruction = r->request.instruction.len > 0;
	cJSON_ArrayForEach(label, labels)
	{
		if (!cJSON_IsString(label))
			return false;
		if (strcmp(label->valuestring, target.data) == 0)
			r->target = r->request.n_labels;
		r->labels[r->request.n_labels++] = (dlm_text) {label->valuestring, strlen(label->valuestring)};
	}
	return r->target >= 0;
}

static void
free_row(dl_row *r)
{
	cJSON_Delete(r->json);
	free(r->labels);
}

static dlm_status
add_row(dl_rows *rows, const char *line, size_t len, const dlm_options *options, dlm_error *err)
{
	dl_row		r = {0};
	dlm_status	st = dl_json_parse(line, len, "a row", &r.json, err);

	if (st != DLM_OK)
		return st;
	if (!read_row(&r, options))
	{
		free_row(&r);
		rows->skipped++;
		return DLM_OK;
	}
	if (rows->n == rows->capacity)
	{
		int			capacity = rows->capacity ? rows->capacity * 2 : 1024;
		dl_row	   *grown = realloc(rows->row, (size_t) capacity * sizeof(dl_row));

		if (grown == NULL)
		{
			free_row(&r);
			return dl_fail_memory(err);
		}
		rows->row = grown;
		rows->capacity = capacity;
	}
	rows->row[rows->n++] = r;
	return DLM_OK;
}

static dlm_status
read_lines(FILE *f, int limit, const dlm_options *options, dl_rows *rows, dlm_error *err)
{
	char	   *line = NULL;
	size_t		capacity = 0;
	ssize_t		n;
	dlm_status	st = DLM_OK;

	while (st == DLM_OK && (limit == 0 || rows->n < limit) && (n = getline(&line, &capacity, f)) > 0)
		if (n > 1)
			st = add_row(rows, line, (size_t) n, options, err);
	free(line);
	return st;
}

/* Start `gzip -dc PATH`; its output, and *child to wait for. */
static FILE *
open_gzip(const char *path, pid_t *child)
{
	char	   *argv[] = {(char *) "gzip", (char *) "-dc", (char *) "--", (char *) path, NULL};
	posix_spawn_file_actions_t actions;
	FILE	   *f = NULL;
	int			ends[2];

	if (pipe(ends) != 0)
		return NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	if (posix_spawnp(child, "gzip", &actions, NULL, argv, environ) == 0)
		f = fdopen(ends[0], "r");
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (f == NULL)
		close(ends[0]);
	return f;
}

static dlm_status
read_rows(const char *path, int limit, const dlm_options *options, dl_rows *rows, dlm_error *err)
{
	size_t		len = strlen(path);
	bool		gzipped = len > 3 && strcmp(path + len - 3, ".gz") == 0;
	pid_t		child = 0;
	int			status = 0;
	FILE	   *f = gzipped && access(path, R_OK) == 0 ? open_gzip(path, &child) : fopen(path, "r");
	dlm_status	st;
	bool		whole;

	if (f == NULL)
		return dl_fail(err, DLM_ENOENT, "", "could not open \"%.200s\"", path);
	st = read_lines(f, limit, options, rows, err);
	whole = feof(f) != 0;
	fclose(f);
	/* a limit closes the pipe early: gzip then ends by SIGPIPE, which is no fault of the file */
	if (child > 0 && waitpid(child, &status, 0) == child && whole && status != 0 && st == DLM_OK)
		st = dl_fail(err, DLM_EDAMAGED, "", "could not unpack \"%.200s\"", path);
	return st;
}

/* ---------------------------------------------------------------- scoring */

/* One line of the file of answers; null for a row that failed. */
static bool
write_answer(FILE *f, const dl_row *row, const dlm_result *result)
{
	cJSON	   *line = cJSON_CreateObject(),
			   *scores = result->error.status == DLM_OK ? cJSON_AddObjectToObject(line, "scores") : NULL;
	char	   *text;
	bool		ok;

	if (result->error.status == DLM_OK)
		cJSON_AddStringToObject(line, "label", row->labels[result->best].data);
	else
		cJSON_AddNullToObject(line, "label");
	for (int i = 0; i < result->n_labels && scores != NULL; i++)
		cJSON_AddNumberToObject(scores, row->labels[i].data, result->labels[i].logprob);
	text = cJSON_PrintUnformatted(line);
	ok = text != NULL && fprintf(f, "%s\n", text) > 0;
	cJSON_free(text);
	cJSON_Delete(line);
	return ok;
}

static dlm_status
score_batch(const dlm_model *model, const dl_cli_engine *engine, const dl_row *rows, int n, dl_tally *tally,
			dlm_error *err)
{
	dlm_request requests[BATCH];
	dlm_session *session = NULL;
	dlm_status	st;

	for (int i = 0; i < n; i++)
		requests[i] = rows[i].request;
	st = dlm_session_open(model, requests, n, &engine->env, &session, err);
	if (st == DLM_OK)
		st = dl_cli_drive(session, err);
	for (int i = 0; i < n && st == DLM_OK; i++)
	{
		const dlm_result *result = dlm_session_result(session, i);

		tally->rows++;
		tally->failed += result->error.status != DLM_OK;
		tally->right += result->error.status == DLM_OK && result->best == rows[i].target;
		if (tally->answers != NULL && !write_answer(tally->answers, &rows[i], result))
			st = dl_fail(err, DLM_EIO, "", "could not write the answers");
	}
	dlm_session_close(session);
	return st;
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Share of the most frequent target: what a model must beat. */
static double
majority(const dl_rows *rows)
{
	const char **targets = calloc((size_t) rows->n + 1, sizeof(char *));
	int			best = 0,
				run = 0;

	if (targets == NULL || rows->n == 0)
	{
		free(targets);
		return 0;
	}
	for (int i = 0; i < rows->n; i++)
		targets[i] = rows->row[i].labels[rows->row[i].target].data;
	qsort(targets, (size_t) rows->n, sizeof(char *), compare_texts);
	for (int i = 0; i < rows->n; i++)
	{
		run = i > 0 && strcmp(targets[i], targets[i - 1]) == 0 ? run + 1 : 1;
		best = run > best ? run : best;
	}
	free(targets);
	return (double) best / rows->n;
}

static dlm_status
score_rows(const dlm_model *model, dl_cli_engine *engine, const dl_rows *rows, dl_tally *tally, dlm_error *err)
{
	double		start = dl_cli_seconds();
	dlm_status	st = DLM_OK;

	for (int at = 0; at < rows->n && st == DLM_OK; at += BATCH)
	{
		int			n = rows->n - at < BATCH ? rows->n - at : BATCH;

		st = score_batch(model, engine, rows->row + at, n, tally, err);
		tally->seconds = dl_cli_seconds() - start;
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%d of %d rows, %.1f rows/s ", tally->rows, rows->n, tally->rows / tally->seconds);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%60s\r", "");
	return st;
}

static int
eval_file(const dlm_model *model, dl_cli_engine *engine, const char *path, int limit, FILE *answers)
{
	dl_rows		rows = {0};
	dl_tally	tally = {.answers = answers};
	dlm_error	err;
	int			code = DL_EXIT_OK;

	if (read_rows(path, limit, &engine->options, &rows, &err) != DLM_OK ||
		score_rows(model, engine, &rows, &tally, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	else if (rows.n == 0)
	{
		fprintf(stderr, "dlm-model: \"%s\" has no rows with labels\n", path);
		code = DL_EXIT_FAILED;
	}
	else
		printf("%s\taccuracy %.4f\tmajority %.4f\trows %d\tfailed %d\tskipped %d\t%.2f rows/s\n", path,
			   (double) tally.right / tally.rows, majority(&rows), tally.rows, tally.failed, rows.skipped,
			   tally.rows / tally.seconds);
	for (int i = 0; i < rows.n; i++)
		free_row(&rows.row[i]);
	free(rows.row);
	return code;
}

static int
eval_files(const char *const *args, int n, dl_cli_engine *engine, int limit, const char *answers)
{
	FILE	   *f = answers != NULL ? fopen(answers, "w") : NULL;
	dl_cli_model m = {{NULL, 0}, NULL};
	dlm_error	err;
	int			code = DL_EXIT_OK;

	if (answers != NULL && f == NULL)
	{
		dl_fail(&err, DLM_EIO, "", "could not create \"%.200s\"", answers);
		code = dl_cli_fail(&err);
	}
	else if (dl_cli_open(args[0], &m, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	engine->env.memo = dlm_memo_create(MEMO_BYTES);
	for (int i = 1; i < n && code == DL_EXIT_OK; i++)
		code = eval_file(m.model, engine, args[i], limit, f);
	dlm_memo_free(engine->env.memo);
	dl_cli_close(&m);
	if (f != NULL && fclose(f) != 0)
		code = DL_EXIT_FAILED;
	return code;
}

int
dl_cli_eval(int argc, char **argv)
{
	dl_cli_engine engine = {0};
	const char *answers = NULL;
	int			limit = 0,
				n,
				code;
	dl_cli_option options[] = {
		DL_CLI_ENGINE_OPTIONS(&engine),
		{"--limit", DL_CLI_INT, &limit, "rows of each file (default: all)"},
		{"--answers", DL_CLI_STRING, &answers, "write label and scores of each row to this file, a JSON line a row"},
		{0}
	};
	const char *args[256];
	dlm_error	err;
	bool		help;

	code = dl_cli_parse(argc, argv, "eval FILE.dlm ROWS.jsonl[.gz]... [options]", options, args, 256, &n, &help);
	if (code != DL_EXIT_OK || help)
		return code;
	if (n < 2 || dl_cli_engine_finish(&engine, &err) != DLM_OK)
	{
		fprintf(stderr, "dlm-model: %s\n", n < 2 ? "eval needs a model and a file of rows" : err.message);
		return DL_EXIT_USAGE;
	}
	return eval_files(args, n, &engine, limit, answers);
}
