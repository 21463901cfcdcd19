/*
 * t_cli_eval.c - dlm-model eval over small files: its figures against answers
 * of the engine asked one by one, counts by hand, and what it says about bad input.
 */
#include "fixture.h"
#include "verb.h"

#include <math.h>

#include "cli_eval.h"

static char folder[256];
static char model_path[300];

static const char *
path_of(const char *name)
{
	return verb_path(folder, name);
}

static const char *
write_file(const char *name, const char *content)
{
	return verb_write(folder, name, content);
}

/* The JSON lines of a file as an array. */
static cJSON *
read_json_lines(const char *path)
{
	cJSON	   *list = cJSON_CreateArray();
	FILE	   *f = fopen(path, "rb");
	char	   *line = NULL;
	size_t		size = 0;

	while (f != NULL && getline(&line, &size, f) > 0)
		cJSON_AddItemToArray(list, cJSON_Parse(line));
	free(line);
	if (f != NULL)
		fclose(f);
	return list;
}

static int
eval(const char *words, char *said, size_t size)
{
	return verb_run(dl_cli_eval, "eval", folder, words, said, size);
}

static const char labels_file[] =
	"{\"instruction\": \"Which?\", \"input\": \"one two\", \"labels\": [\"a\", \"bcd\"], \"target\": \"a\"}\n"
	"\n"
	"{\"input\": \"three\", \"labels\": [\"bcd\", \"a\"], \"target\": \"a\"}\n"
	"{\"input\": \"four\", \"labels\": [\"a\", \"bcd\"], \"target\": \"none of them\"}\n"
	"{\"instruction\": \"Which?\", \"input\": \"five of it\", \"labels\": [\"a\", \"bcd\"], \"target\": \"bcd\"}\n"
	"{\"instruction\": \"Which?\", \"input\": \"the sixth\", \"labels\": [\"a\", \"bcd\"], \"target\": \"a\"}\n";

static const char *const names[] = {"mean", "mean+cf", "sum", "sum+cf"};

/* What the engine says to row k of labels_file under a rule, asked alone: the winner and its probability. */
static const char *
ask(const dlm_model *model, int k, int rule, double *probability)
{
	static const char *const inputs[] = {"one two", "three", "five of it", "the sixth"};
	static const dlm_text orders[2][2] = {{{"a", 1}, {"bcd", 3}}, {{"bcd", 3}, {"a", 1}}};
	dlm_options options = {.normalize = rule < 2 ? DLM_NORMALIZE_MEAN : DLM_NORMALIZE_SUM,
		.calibrate = rule % 2 ? DLM_CALIBRATE_CONTENT_FREE : DLM_CALIBRATE_NONE};
	dlm_request request = {.task = DLM_CLASSIFY, .input = {inputs[k], strlen(inputs[k])}, .labels = orders[k == 1], .n_labels = 2,
		.has_instruction = k != 1, .instruction = {k != 1 ? "Which?" : "", k != 1 ? 6 : 0}, .options = &options};
	dlm_env		env = {0};
	dlm_session *session;
	dlm_error	err = {0};
	const dlm_result *result;
	const char *label;

	CHECK(dlm_session_open(model, &request, 1, &env, &session, &err) == DLM_OK && dl_cli_drive(session, &err) == DLM_OK, "%s", err.message);
	result = dlm_session_result(session, 0);
	label = request.labels[result->best].data;
	*probability = result->labels[result->best].probability;
	dlm_session_close(session);
	return label;
}

static double
number(const cJSON *object, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsObject(v) ? number(v, "value") : cJSON_IsNumber(v) ? v->valuedouble : -1e9;
}

static const char *
string(const cJSON *object, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsString(v) ? v->valuestring : "(no string)";
}

/* The report's line of a rule against answers to the rows one by one. */
static void
check_rule(const dlm_model *model, const cJSON *line, int rule)
{
	static const char *const targets[] = {"a", "a", "bcd", "a"};
	static const int lines[] = {0, 2, 4, 5};
	double		p[4],
				right[4];
	int			counts[2][2] = {{0}};
	char		digits[5] = "";
	const cJSON *by_target = cJSON_GetObjectItem(cJSON_GetObjectItem(line, "confusion"), "by_target");

	for (int k = 0; k < 4; k++)
	{
		const char *label = ask(model, k, rule, &p[k]);

		right[k] = strcmp(label, targets[k]) == 0;
		digits[k] = right[k] > 0 ? '1' : '0';
		counts[strcmp(targets[k], "bcd") == 0][strcmp(label, "bcd") == 0]++;
		CHECK(cJSON_GetArrayItem(cJSON_GetObjectItem(line, "lines"), k)->valueint == lines[k], "line of row %d", k);
	}
	CHECK(strcmp(string(line, "rule"), names[rule]) == 0, "rule %s", string(line, "rule"));
	CHECK(strcmp(string(line, "right"), digits) == 0, "%s: %s, one by one %s", names[rule], string(line, "right"), digits);
	CHECK(number(line, "accuracy") == (right[0] + right[1] + right[2] + right[3]) / 4, "%g", number(line, "accuracy"));
	CHECK(fabs(number(line, "ece") - dl_eval_ece(p, right, 1, 4)) < 1e-12, "ECE %g", number(line, "ece"));
	CHECK(number(line, "rows") == 4 && number(line, "skipped") == 1 && number(line, "failed") == 0, "rows");
	/* three of four targets are "a"; two labels */
	CHECK(number(line, "majority") == 0.75 && number(line, "chance") == 0.5 && number(line, "baseline") == 0.75, "baseline");
	for (int t = 0; t < 2; t++)
		for (int c = 0; c < 2; c++)
			CHECK(cJSON_GetArrayItem(cJSON_GetArrayItem(by_target, t), c)->valueint == counts[t][c], "%s: %d said %d", names[rule], t, c);
}

static void
rules_of_labels(const dlm_model *model)
{
	char		words[1600],
				said[8000];
	cJSON	   *report,
			   *answers;

	snprintf(words, sizeof(words), "%s --model %s --model %s --rules mean,mean+cf,sum,sum+cf --confusion --threads 1 --json %s --answers %s",
			 write_file("labels.jsonl", labels_file), model_path, model_path, path_of("report"), path_of("answers"));
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	report = read_json_lines(path_of("report"));
	answers = read_json_lines(path_of("answers"));
	CHECK(cJSON_GetArraySize(report) == 8, "%d lines", cJSON_GetArraySize(report));
	CHECK(cJSON_GetArraySize(answers) == 4 * 4 * 2, "%d answers", cJSON_GetArraySize(answers));
	for (int i = 0; i < 8 && cJSON_GetArraySize(report) == 8; i++)
		check_rule(model, cJSON_GetArrayItem(report, i), i % 4);
	/* the second model is the first under another name */
	CHECK(number(cJSON_GetArrayItem(report, 0), "difference") == -1e9 && number(cJSON_GetArrayItem(report, 4), "difference") == 0, "difference");
	CHECK(strcmp(string(cJSON_GetArrayItem(report, 0), "model"), string(cJSON_GetArrayItem(report, 4), "model")) != 0, "names differ");
	CHECK(strcmp(string(cJSON_GetArrayItem(answers, 5), "rule"), "mean+cf") == 0, "%s", string(cJSON_GetArrayItem(answers, 5), "rule"));
	CHECK(strstr(said, "mean+cf") != NULL && strstr(said, "targets down") != NULL, "%s", said);
	cJSON_Delete(report);
	cJSON_Delete(answers);
}

/* The line as it was in 0.1: model first, the model's own rule, answers of label and scores alone. */
static void
first_form(const dlm_model *model)
{
	char		words[1200],
				said[4000];
	cJSON	   *answers;
	double		p;

	snprintf(words, sizeof(words), "%s %s --limit 2 --normalize sum --calibrate none --threads 1 --answers %s", model_path,
			 write_file("labels.jsonl", labels_file), path_of("answers"));
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	answers = read_json_lines(path_of("answers"));
	CHECK(cJSON_GetArraySize(answers) == 2, "%d", cJSON_GetArraySize(answers));
	for (int k = 0; k < 2 && cJSON_GetArraySize(answers) == 2; k++)
	{
		const cJSON *answer = cJSON_GetArrayItem(answers, k);

		CHECK(strcmp(string(answer, "label"), ask(model, k, 2, &p)) == 0, "row %d", k);
		CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(answer, "scores")) == 2, "scores of row %d", k);
	}
	cJSON_Delete(answers);
}

/* ---------------------------------------------------------------- texts */

/* One request of the engine; the result's text, copied, and its score. */
static void
ask_text(const dlm_model *model, dlm_task task, const char *input, char *text, size_t size, double *score)
{
	dlm_request request = {.task = task, .input = {input, strlen(input)}, .max_tokens = 4};
	dlm_env		env = {0};
	dlm_session *session;
	dlm_error	err = {0};
	const dlm_result *result;

	CHECK(dlm_session_open(model, &request, 1, &env, &session, &err) == DLM_OK && dl_cli_drive(session, &err) == DLM_OK, "%s", err.message);
	result = dlm_session_result(session, 0);
	CHECK(result->error.status == DLM_OK, "%s", result->error.message);
	if (task == DLM_INFILL)
		snprintf(text, size, "%.*s", (int) result->gaps[0].text.len, result->gaps[0].text.data);
	else
		snprintf(text, size, "%.*s", (int) result->text.len, result->text.data ? result->text.data : "");
	*score = result->logprob;
	dlm_session_close(session);
}

static cJSON *
eval_one(const char *file, const char *more)
{
	char		words[1200],
				said[4000];

	snprintf(words, sizeof(words), "%s --model %s --threads 1 --json %s %s", file, model_path, path_of("report"), more);
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	return read_json_lines(path_of("report"));
}

static void
rows_of_text(const dlm_model *model)
{
	double		nats = 0,
				tokens = 0;
	char		none[10];
	cJSON	   *report;

	for (int i = 0; i < 2; i++)
	{
		const char *text = i == 0 ? "the cat sat" : "a longer text of more words";
		dlm_env		env = {0};
		dlm_error	err;
		int32_t    *ids;
		size_t		n;
		double		score;

		ask_text(model, DLM_SCORE, text, none, sizeof(none), &score);
		CHECK(dlm_tokenize(model, (dlm_text) {text, strlen(text)}, &env, &ids, &n, &err) == DLM_OK, "%s", err.message);
		free(ids);
		nats -= score * (double) n;
		tokens += (double) n;
	}
	report = eval_one(write_file("some.txt", "the cat sat\r\n\na longer text of more words"), "");
	CHECK(fabs(number(report->child, "perplexity") / exp(nats / tokens) - 1) < 1e-9, "%g", number(report->child, "perplexity"));
	CHECK(number(report->child, "rows") == 2 && strcmp(string(report->child, "task"), "some") == 0, "a row a line");
	cJSON_Delete(report);
	report = eval_one(write_file("some.jsonl", "{\"text\": \"the cat sat\"}\n{\"text\": \"a longer text of more words\"}\n"), "");
	CHECK(fabs(number(report->child, "perplexity") / exp(nats / tokens) - 1) < 1e-9, "%g", number(report->child, "perplexity"));
	cJSON_Delete(report);
}

static void
rows_of_generation(const dlm_model *model)
{
	char		text[400],
				file[1200];
	double		score;
	cJSON	   *report;
	const cJSON *line;

	ask_text(model, DLM_GENERATE, "Say\nthis", text, sizeof(text), &score);
	{
		cJSON	   *row = cJSON_CreateObject();
		char	   *json;

		cJSON_AddStringToObject(row, "instruction", "Say");
		cJSON_AddStringToObject(row, "input", "this");
		cJSON_AddStringToObject(row, "target", text);
		json = cJSON_PrintUnformatted(row);
		snprintf(file, sizeof(file), "%s\n{\"input\": \"Say\\nthis\", \"target\": \"\\u4e00\"}\n", json);
		cJSON_free(json);
		cJSON_Delete(row);
	}
	report = eval_one(write_file("say.jsonl", file), "--max-tokens 4");
	line = report->child;
	CHECK(number(line, "exact") == 0.5, "exact %g", number(line, "exact"));
	CHECK(number(line, "rows") == 2 && number(line, "chrf") > 0 && number(line, "chrf") < 100, "chrF %g", number(line, "chrf"));
	cJSON_Delete(report);
}

static void
rows_of_infill(const dlm_model *model)
{
	char		text[400],
				file[2400];
	char		more[500];
	double		score;
	cJSON	   *report,
			   *answers,
			   *row = cJSON_CreateObject();
	char	   *json;

	ask_text(model, DLM_INFILL, "the [MASK:2] sat", text, sizeof(text), &score);
	cJSON_AddStringToObject(row, "text", "the [MASK:2] sat");
	cJSON_AddStringToObject(row, "answer", text);
	json = cJSON_PrintUnformatted(row);
	/* the third names its gap by characters (of which the first is two bytes), the fourth asks for two */
	snprintf(file, sizeof(file), "%s\n{\"template\": \"the [MASK:2] sat\", \"answer\": \"no such\"}\n"
			 "{\"text\": \"\\u00e9 cat sat\", \"gap\": [2, 5]}\n{\"text\": \"[MASK] and [MASK]\", \"answer\": [\"q!\", \"z!\"]}\n", json);
	snprintf(more, sizeof(more), "--answers %s", path_of("answers"));
	report = eval_one(write_file("gaps.jsonl", file), more);
	answers = read_json_lines(path_of("answers"));
	CHECK(number(answers->child, "chrf") == 100 && number(answers->child, "exact") == 1 && number(answers->child->next, "chrf") < 100, "chrF of a row");
	CHECK(number(report->child, "rows") == 4 && strcmp(string(report->child, "kind"), "infill") == 0, "rows");
	CHECK(number(report->child, "chrf") > 0 && number(report->child, "chrf") < 100, "chrF %g", number(report->child, "chrf"));
	CHECK(string(report->child, "right")[0] == '1' && string(report->child, "right")[1] == '0' && string(report->child, "right")[3] == '0', "%s",
		  string(report->child, "right"));
	cJSON_free(json);
	cJSON_Delete(row);
	cJSON_Delete(report);
	cJSON_Delete(answers);
}

/* ---------------------------------------------------------------- choice, several tasks, bad input */

static void
choice_and_means(void)
{
	char		file[4000] = "",
				words[1200],
				said[4000];
	cJSON	   *report;
	const cJSON *mean;

	for (int i = 0; i < 30; i++)
		snprintf(file + strlen(file), sizeof(file) - strlen(file), "{\"input\": \"row %d\", \"labels\": [\"a\", \"bcd\"], \"target\": \"a\"}\n", i);
	snprintf(words, sizeof(words), "%s %s --model %s --rows 3 --seed 7 --threads 1 --json %s", write_file("many.jsonl", file),
			 write_file("few.jsonl", "{\"input\": \"x\", \"labels\": [\"a\", \"bcd\"], \"target\": \"a\"}\n"), model_path, path_of("report"));
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	report = read_json_lines(path_of("report"));
	/* lines 2, 17 and 16 come first in the order of seed 7 (test/vectors/eval) */
	CHECK(cJSON_GetArrayItem(cJSON_GetObjectItem(report->child, "lines"), 0)->valueint == 2 &&
		  cJSON_GetArrayItem(cJSON_GetObjectItem(report->child, "lines"), 1)->valueint == 16 &&
		  cJSON_GetArrayItem(cJSON_GetObjectItem(report->child, "lines"), 2)->valueint == 17, "rows by chance");
	mean = cJSON_GetArrayItem(report, 2);
	CHECK(strcmp(string(mean, "task"), "mean") == 0 && number(mean, "rows") == 4 && number(mean, "tasks") == 2, "mean");
	CHECK(fabs(number(mean, "accuracy") - (number(report->child, "accuracy") + number(report->child->next, "accuracy")) / 2) < 1e-12, "mean of tasks");
	cJSON_Delete(report);
}

static void
bad_input(void)
{
	static const struct
	{
		const char *content,
				   *more,
				   *said;
		int			code;
	}			cases[] = {
		{"{\"text\": \"fine\"}\n{\"text\": \"cut", "", "line 2 of", DL_EXIT_FAILED},
		{"[1]\n", "", "is not a JSON object", DL_EXIT_FAILED},
		{"{\"labels\": [\"a\"], \"target\": \"b\"}\n", "", "no rows that can be evaluated", DL_EXIT_FAILED},
		{"", "", "no rows that can be evaluated", DL_EXIT_FAILED},
		{"{\"text\": \"abc\", \"gap\": [1, 9]}\n", "", "gap is no part of the text", DL_EXIT_FAILED},
		{"{\"text\": \"abc\", \"gap\": [2, 1]}\n", "", "gap is no part of the text", DL_EXIT_FAILED},
		{"{\"text\": \"abc\", \"gap\": [\"a\", 1]}\n", "", "gap is no part of the text", DL_EXIT_FAILED},
		{"{\"text\": \"fine\"}\n", "--rules mean,median", "unknown or repeated rule", DL_EXIT_USAGE},
		{"{\"text\": \"fine\"}\n", "--rules mean,mean", "unknown or repeated rule", DL_EXIT_USAGE},
		{"{\"text\": \"fine\"}\n", "--rules mean --normalize sum", "--rules says", DL_EXIT_USAGE},
		{"{\"text\": \"fine\"}\n", "--rows 3 --limit 3", "exclude each other", DL_EXIT_USAGE},
		{"{\"text\": \"fine\"}\n", "no-such-file.jsonl", "could not open", DL_EXIT_FAILED},
		{"{\"text\": \"fine\"}\n", "--json /no/such/folder", "could not create", DL_EXIT_FAILED},
		{"{\"text\": \"fine\"}\n", "--model no-such-model.dlm", "no-such-model", DL_EXIT_FAILED},
		{"{\"text\": \"fine\"}\n", "--rows x", "wrong value", DL_EXIT_USAGE},
	};
	char		words[1200],
				said[4000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		snprintf(words, sizeof(words), "%s --model %s --threads 1 %s", write_file("bad.jsonl", cases[i].content), model_path, cases[i].more);
		CHECK(eval(words, said, sizeof(said)) == cases[i].code && strstr(said, cases[i].said) != NULL, "case %zu: %s", i, said);
	}
	CHECK(eval("", said, sizeof(said)) == DL_EXIT_USAGE, "nothing: %s", said);
	snprintf(words, sizeof(words), "%s --model %s", write_file("bad.jsonl.gz", "this is no gzip"), model_path);
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_FAILED && strstr(said, "could not unpack") != NULL, "%s", said);
	/* a row that fails counts as wrong, and is told */
	snprintf(words, sizeof(words), "%s --model %s --threads 1", write_file("twice.jsonl", "{\"input\": \"x\", \"labels\": [\"a\", \"a\"], \"target\": \"a\"}\n"),
			 model_path);
	CHECK(eval(words, said, sizeof(said)) == DL_EXIT_OK && strstr(said, "a row failed") != NULL && strstr(said, "listed twice") != NULL, "%s", said);
}

int
main(void)
{
	dlm_convert_options options = {.weights = DLM_WEIGHTS_F32};
	dl_cli_model m;
	dlm_error	err = {0};

	files_folder(folder);
	snprintf(model_path, sizeof(model_path), "%s/tiny.dlm", folder);
	CHECK(dlm_convert("test/models/context", model_path, &options, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_cli_open(model_path, &m, &err) == DLM_OK, "%s", err.message);
	if (m.model != NULL)
	{
		rules_of_labels(m.model);
		first_form(m.model);
		rows_of_text(m.model);
		rows_of_generation(m.model);
		rows_of_infill(m.model);
		choice_and_means();
		bad_input();
	}
	dl_cli_close(&m);
	files_remove(folder);
	return harness_end("t_cli_eval");
}
