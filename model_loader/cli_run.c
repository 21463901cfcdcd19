/*
 * cli_run.c - dlm-model run and tokenize: the engine without a server.
 *
 * Each argument after the task is one request; "-" stands for the lines of
 * standard input. All of them go through one session.
 */
#include "cli_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS		4096
#define MAX_LABELS		DLM_MAX_LABELS

typedef struct dl_run
{
	dl_cli_engine engine;
	const char *labels;
	const char *instruction;
	int			max_tokens;
	int			repeat;
	bool		time;
	bool		trace;
	dlm_task	task;
	dlm_text	label[MAX_LABELS];
	int			n_labels;
	dlm_text	input[MAX_INPUTS];
	int			n_inputs;
	char	   *lines;			/* what standard input held */
} dl_run;

static const struct
{
	const char *name;
	dlm_task	task;
}			tasks[] = {
	{"generate", DLM_GENERATE}, {"infill", DLM_INFILL}, {"classify", DLM_CLASSIFY},
	{"classify-multi", DLM_CLASSIFY_MULTI}, {"score", DLM_SCORE}, {"token-scores", DLM_TOKEN_SCORES},
	{"embed", DLM_EMBED}, {"predict-length", DLM_PREDICT_LENGTH},
};

/* ---------------------------------------------------------------- input */

/* Labels are separated by commas. */
static void
split_labels(dl_run *r)
{
	const char *at = r->labels;

	while (at != NULL && r->n_labels < MAX_LABELS)
	{
		const char *comma = strchr(at, ',');
		dlm_text   *label = &r->label[r->n_labels++];

		label->data = at;
		label->len = comma ? (size_t) (comma - at) : strlen(at);
		at = comma ? comma + 1 : NULL;
	}
}

/* All of standard input; NULL when out of memory. */
static char *
read_stdin(size_t *size)
{
	size_t		capacity = 1 << 16,
				n = 0,
				got;
	char	   *text = malloc(capacity);

	while (text != NULL && (got = fread(text + n, 1, capacity - n, stdin)) > 0)
	{
		n += got;
		if (n == capacity)
		{
			char	   *grown = realloc(text, capacity *= 2);

			if (grown == NULL)
				free(text);
			text = grown;
		}
	}
	*size = n;
	return text;
}

static bool
add_lines(dl_run *r)
{
	size_t		size;
	char	   *at,
			   *end;

	r->lines = read_stdin(&size);
	if (r->lines == NULL)
		return false;
	for (at = r->lines, end = r->lines + size; at < end && r->n_inputs < MAX_INPUTS;)
	{
		char	   *newline = memchr(at, '\n', (size_t) (end - at));
		char	   *stop = newline ? newline : end;

		r->input[r->n_inputs++] = (dlm_text) {at, (size_t) (stop - at)};
		at = stop + 1;
	}
	return true;
}

static bool
add_inputs(dl_run *r, const char *const *args, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(args[i], "-") == 0 && r->lines == NULL)
		{
			if (!add_lines(r))
				return false;
		}
		else if (r->n_inputs < MAX_INPUTS)
			r->input[r->n_inputs++] = (dlm_text) {args[i], strlen(args[i])};
	}
	return true;
}

/* ---------------------------------------------------------------- output */

static void
print_labels(const dl_run *r, const dlm_result *result)
{
	for (int i = 0; i < result->n_labels; i++)
		printf("%s%.*s\t%.4f\t%.4f\n", r->task == DLM_CLASSIFY && i == result->best ? "* " : "  ",
			   (int) r->label[i].len, r->label[i].data, result->labels[i].probability, result->labels[i].logprob);
}

static void
print_trace(const dlm_model *model, const dlm_result *result)
{
	static const char *const events[] = {"reveal", "remask", "revise"};

	for (int i = 0; i < result->n_trace; i++)
	{
		const dlm_trace_row *t = &result->trace[i];
		dlm_text	piece = dlm_token_piece(model, t->id);

		printf("%d\t%d\t%d\t%.*s\t%.4f\t%s\t%.*s\n", t->step, t->position, (int) t->id, (int) piece.len, piece.data,
			   (double) t->logprob, events[t->event], (int) t->canvas.len, t->canvas.data);
	}
}

static void
print_tokens(const dlm_model *model, const dlm_result *result)
{
	for (int i = 0; i < result->n_tokens; i++)
	{
		dlm_text	piece = dlm_token_piece(model, result->tokens[i].id);

		printf("%d\t%d\t%.*s\t%.5f\n", i + 1, (int) result->tokens[i].id, (int) piece.len, piece.data,
			   (double) result->tokens[i].logprob);
	}
}

static int
print_result(const dl_run *r, const dlm_model *model, const dlm_result *result)
{
	if (result->error.status != DLM_OK)
		return dl_cli_fail(&result->error);
	print_trace(model, result);
	switch (r->task)
	{
		case DLM_CLASSIFY:
		case DLM_CLASSIFY_MULTI:
			print_labels(r, result);
			break;
		case DLM_SCORE:
			printf("%.6f\n", result->logprob);
			break;
		case DLM_TOKEN_SCORES:
			print_tokens(model, result);
			break;
		case DLM_EMBED:
			for (int i = 0; i < result->n_embedding; i++)
				printf("%s%.7g", i ? " " : "", (double) result->embedding[i]);
			printf("\n");
			break;
		case DLM_PREDICT_LENGTH:
			for (int i = 0; i < result->n_lengths; i++)
				printf("%d\t%.5f\n", result->lengths[i].length, (double) result->lengths[i].logprob);
			break;
		default:
			printf("%.*s\n", (int) result->text.len, result->text.data);
	}
	return DL_EXIT_OK;
}

/* ---------------------------------------------------------------- run */

static dlm_request *
make_requests(const dl_run *r)
{
	dlm_request *requests = calloc((size_t) r->n_inputs, sizeof(dlm_request));

	for (int i = 0; i < r->n_inputs && requests != NULL; i++)
		requests[i] = (dlm_request) {.task = r->task, .input = r->input[i], .max_tokens = r->max_tokens,
			.trace = r->trace, .has_instruction = r->instruction != NULL,
			.instruction = {r->instruction, r->instruction ? strlen(r->instruction) : 0},
			.labels = r->label, .n_labels = r->n_labels, .options = &r->engine.options};
	return requests;
}

static int
run_once(dl_run *r, const dlm_model *model, const dlm_request *requests, bool print)
{
	dlm_session *session = NULL;
	dlm_progress progress;
	dlm_error	err;
	double		start = dl_cli_seconds();
	int			code = DL_EXIT_OK;
	dlm_status	st = dlm_session_open(model, requests, r->n_inputs, &r->engine.env, &session, &err);

	if (st == DLM_OK)
		st = dl_cli_drive(session, &err);
	if (st != DLM_OK)
	{
		dlm_session_close(session);
		return dl_cli_fail(&err);
	}
	if (r->time)
	{
		double		seconds = dl_cli_seconds() - start;

		dlm_session_progress(session, &progress);
		fprintf(stderr, "%d rows in %.3f s: %.2f rows/s, %llu tokens (%.0f/s), %llu forwards, %.1f MB peak, %d threads, %s\n",
				r->n_inputs, seconds, r->n_inputs / seconds, (unsigned long long) progress.tokens,
				(double) progress.tokens / seconds, (unsigned long long) progress.forwards,
				(double) progress.memory_peak / 1e6, r->engine.env.threads, dlm_cpu_name(r->engine.env.cpu_mask));
	}
	for (int i = 0; i < r->n_inputs && print; i++)
		if (print_result(r, model, dlm_session_result(session, i)) != DL_EXIT_OK)
			code = DL_EXIT_FAILED;
	dlm_session_close(session);
	return code;
}

static int
run_all(dl_run *r, const char *path)
{
	dlm_request *requests = NULL;
	dl_cli_model m;
	dlm_error	err;
	int			code = DL_EXIT_OK;

	if (dl_cli_open(path, &m, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	else if ((requests = make_requests(r)) == NULL)
		code = DL_EXIT_FAILED;
	for (int i = 0; i < r->repeat && code == DL_EXIT_OK; i++)
		code = run_once(r, m.model, requests, i + 1 == r->repeat);
	free(requests);
	dl_cli_close(&m);
	return code;
}

static int
find_task(const char *name, dlm_task *task)
{
	for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++)
		if (strcmp(tasks[i].name, name) == 0)
		{
			*task = tasks[i].task;
			return DL_EXIT_OK;
		}
	fprintf(stderr, "dlm-model: unknown task \"%s\"\n", name);
	return DL_EXIT_USAGE;
}

static int
parse_and_run(dl_run *r, int argc, char **argv)
{
	dl_cli_option options[] = {
		DL_CLI_ENGINE_OPTIONS(&r->engine),
		{"--labels", DL_CLI_STRING, &r->labels, "of classify, separated by commas"},
		{"--instruction", DL_CLI_STRING, &r->instruction, "of classify (default: the model's own)"},
		{"--max-tokens", DL_CLI_INT, &r->max_tokens, "of generate (default 64)"},
		{"--repeat", DL_CLI_INT, &r->repeat, "do it so many times, print the last answer"},
		{"--time", DL_CLI_FLAG, &r->time, "print timings"},
		{"--trace", DL_CLI_FLAG, &r->trace, "of generate and infill: print the denoising"},
		{0}
	};
	const char *args[256];
	dlm_error	err;
	bool		help;
	int			n,
				code = dl_cli_parse(argc, argv, "run FILE.dlm generate|infill|classify|classify-multi|score|token-scores|"
									"embed|predict-length INPUT... [options]", options, args, 256, &n, &help);

	if (code != DL_EXIT_OK || help)
		return code;
	if (n < 3)
	{
		fprintf(stderr, "dlm-model: run needs a file, a task and an input (\"-\" reads lines)\n");
		return DL_EXIT_USAGE;
	}
	if (strcmp(args[1], "tokenize") == 0)
		return dl_cli_tokenize_texts(args[0], args + 2, n - 2);
	code = find_task(args[1], &r->task);
	if (code != DL_EXIT_OK)
		return code;
	if (dl_cli_engine_finish(&r->engine, &err) != DLM_OK)
	{
		dl_cli_fail(&err);
		return DL_EXIT_USAGE;
	}
	split_labels(r);
	if (!add_inputs(r, args + 2, n - 2))
	{
		fprintf(stderr, "dlm-model: out of memory\n");
		return DL_EXIT_FAILED;
	}
	return run_all(r, args[0]);
}

int
dl_cli_run(int argc, char **argv)
{
	dl_run	   *r = calloc(1, sizeof(dl_run));
	int			code;

	if (r == NULL)
		return DL_EXIT_FAILED;
	r->max_tokens = 64;
	r->repeat = 1;
	code = parse_and_run(r, argc, argv);
	free(r->lines);
	free(r);
	return code;
}

/* ---------------------------------------------------------------- tokenize */

static int
tokenize_text(const dlm_model *model, const char *text)
{
	dlm_env		env = {0};
	int32_t    *ids;
	size_t		n;
	dlm_error	err;

	if (dlm_tokenize(model, (dlm_text) {text, strlen(text)}, &env, &ids, &n, &err) != DLM_OK)
		return dl_cli_fail(&err);
	for (size_t i = 0; i < n; i++)
	{
		dlm_text	piece = dlm_token_piece(model, ids[i]);

		printf("%zu\t%d\t%.*s\n", i + 1, (int) ids[i], (int) piece.len, piece.data);
	}
	free(ids);
	return DL_EXIT_OK;
}

int
dl_cli_tokenize_texts(const char *path, const char *const *texts, int n)
{
	dl_cli_model m;
	dlm_error	err;
	int			code = DL_EXIT_OK;

	if (dl_cli_open(path, &m, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	for (int i = 0; i < n && code == DL_EXIT_OK; i++)
		code = tokenize_text(m.model, texts[i]);
	dl_cli_close(&m);
	return code;
}

int
dl_cli_tokenize(int argc, char **argv)
{
	dl_cli_option options[] = {{0}};
	const char *args[256];
	bool		help;
	int			n,
				code = dl_cli_parse(argc, argv, "tokenize FILE.dlm TEXT...", options, args, 256, &n, &help);

	if (code != DL_EXIT_OK || help)
		return code;
	if (n < 2)
	{
		fprintf(stderr, "dlm-model: tokenize needs a file and a text\n");
		return DL_EXIT_USAGE;
	}
	return dl_cli_tokenize_texts(args[0], args + 1, n - 1);
}
