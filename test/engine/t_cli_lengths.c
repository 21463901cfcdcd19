/*
 * t_cli_lengths.c - dlm-model lengths: the fit against curves that are known,
 * what it measures against the engine asked by hand, and the model it writes.
 */
#include "fixture.h"
#include "verb.h"

#include <math.h>

#include "cli_run.h"
#include "length_curve.h"
#include "model.h"

static char folder[256];
static char model_path[300];

static int
lengths(const char *words, char *said, size_t size)
{
	return verb_run(dl_cli_lengths, "lengths", folder, words, said, size);
}

/* ---------------------------------------------------------------- the fit */

static void
fit_of(const double truth[5], const int *tokens, int n, double curve[5])
{
	dl_length_point point[16];

	for (int i = 0; i < n; i++)
		point[i] = (dl_length_point) {tokens[i], 10 + 7 * i, dl_length_curve_at(truth, tokens[i])};
	dl_length_curve_fit(point, n, curve);
}

static void
known_curves(void)
{
	static const int tokens[] = {1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
	/* the paper's own; without a slow term; a constant; one that no bound lets through */
	static const double truth[4][5] = {{1, 1.77, 0.56, 0.06, 0.24}, {0.8, 0.5, 0, 0, 0.1}, {0, 0, 0, 0, 0.3}, {0, 0, 0, 0, 0.9}};
	double		curve[5],
				worst;

	CHECK(fabs(dl_length_curve_at(truth[0], 8) - (exp(-1.77 * 8) + 0.56 * exp(-0.06 * 8) + 0.24)) < 1e-12, "the form");
	fit_of(truth[0], tokens, 13, curve);
	for (int i = 0; i < 5; i++)
		CHECK(fabs(curve[i] - truth[0][i]) < 2e-3, "number %d of the paper's curve: %g", i, curve[i]);
	for (int k = 0; k < 4; k++)
	{
		fit_of(truth[k], tokens, 13, curve);
		worst = 0;
		for (int i = 0; i < 13; i++)
			worst = fmax(worst, fabs(dl_length_curve_at(curve, tokens[i]) - dl_length_curve_at(truth[k], tokens[i])));
		CHECK(worst < 2e-3, "curve %d: off by %g", k, worst);
		CHECK(curve[0] >= 0 && curve[0] <= 1 && curve[1] >= 0 && curve[1] <= 2 && curve[2] >= 0 && curve[2] <= 1 && curve[3] >= 0 &&
			  curve[3] <= 0.5 && curve[4] >= 0 && curve[4] <= 0.5, "curve %d is out of bounds", k);
	}
}

/* A point of many gaps draws the curve to it. */
static void
points_are_weighed(void)
{
	dl_length_point point[] = {{8, 1, 0.2}, {8, 99, 0.1}, {16, 50, 0.1}, {32, 50, 0.1}, {64, 50, 0.1}};
	double		curve[5];

	dl_length_curve_fit(point, 5, curve);
	CHECK(fabs(dl_length_curve_at(curve, 8) - 0.101) < 1e-3, "%g", dl_length_curve_at(curve, 8));
}

/* ---------------------------------------------------------------- the verb */

/* Mean over the gap of the largest probability of its first step, by a trace of the decoding in one step. */
static double
confidence(const dlm_model *model, const char *template)
{
	dlm_options options = {.steps = 1, .sampler = {.kind = DLM_SAMPLER_CONFIDENCE}};
	dlm_request request = {.task = DLM_INFILL, .input = {template, strlen(template)}, .trace = true, .options = &options};
	dlm_env		env = {0};
	dlm_session *session;
	dlm_error	err = {0};
	const dlm_result *result;
	double		sum = 0;
	int			n = 0;

	CHECK(dlm_session_open(model, &request, 1, &env, &session, &err) == DLM_OK && dl_cli_drive(session, &err) == DLM_OK, "%s", err.message);
	result = dlm_session_result(session, 0);
	/* what follows the first step are repairs of its text */
	for (; n < result->n_trace && result->trace[n].event == DLM_EVENT_REVEAL; n++)
		sum += exp((double) result->trace[n].logprob);
	dlm_session_close(session);
	return sum / n;
}

/* The line of the table about so many tokens. */
static bool
said_of(const char *said, int tokens, int *gaps, double *value)
{
	for (const char *line = strchr(said, '\n'); line != NULL; line = strchr(line + 1, '\n'))
	{
		int			n;

		if (sscanf(line + 1, "%d %d %lf", &n, gaps, value) == 3 && n == tokens)
			return true;
	}
	return false;
}

/* A text of seven words has one place for a gap: its fifth word, of one token. */
static void
measured(const dlm_model *model)
{
	char		words[1200],
				said[4000],
				template[100];
	const char *at;
	double		value = 0,
				c[5] = {0};
	int			gaps = 0;
	dlm_env		env = {0};
	dlm_error	err = {0};
	int32_t    *ids = NULL;
	size_t		own = 0;

	snprintf(words, sizeof(words), "%s %s --most 12 --threads 1", model_path, verb_write(folder, "seven.txt", "it is [MASK] so he, said it\n"));
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_FAILED && strstr(said, "only 3 lengths of 1 gaps") != NULL, "%s", said);
	snprintf(words, sizeof(words), "%s %s --most 48 --threads 1", model_path, verb_path(folder, "seven.txt"));
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	CHECK(!said_of(said, 4, &gaps, &value), "a length near the right one: %s", said);
	for (int n = 6; n <= 48; n *= 2)
	{
		snprintf(template, sizeof(template), "it is [[MASK]] so [MASK:%d], said it", n);
		CHECK(said_of(said, n, &gaps, &value) && gaps == 1 && fabs(value - confidence(model, template)) < 1e-4, "%d tokens: %g, by hand %g", n, value,
			  confidence(model, template));
	}
	/* how far it is above the curve at its own length */
	at = strstr(said, "confidence over curve: ");
	CHECK(at != NULL && sscanf(at, "confidence over curve: %lf at the right length (%d)", &value, &gaps) == 2 && gaps == 1, "%s", said);
	at = strstr(said, "\"length_bias\": [");
	CHECK(at != NULL && sscanf(at, "\"length_bias\": [%lf, %lf, %lf, %lf, %lf]", &c[0], &c[1], &c[2], &c[3], &c[4]) == 5, "%s", said);
	CHECK(dlm_tokenize(model, (dlm_text) {" he", 3}, &env, &ids, &own, &err) == DLM_OK, "%s", err.message);
	free(ids);
	snprintf(template, sizeof(template), "it is [[MASK]] so [MASK:%zu], said it", own);
	CHECK(fabs(value - confidence(model, template) / dl_length_curve_at(c, (int) own)) < 1e-3, "%g", value);
}

/* Texts enough for a fit of the tiny model. */
static const char *
some_texts(void)
{
	char		text[6000] = "";

	for (int i = 0; i < 12; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "row %d of a text has some words and then it has some more of them, all "
				 "of them small, and not one of them says what number %d was for.\n", i, i * i);
	return verb_write(folder, "texts.txt", text);
}

static void
written_model(const dlm_model *model)
{
	char		words[1200],
				said[4000],
				again[4000];
	const char *texts = some_texts();
	dl_cli_model m;
	dlm_error	err = {0};
	double		c[5];
	const char *at;

	snprintf(words, sizeof(words), "%s %s --rows 5 --most 16 --threads 1 --out %s", model_path, texts, verb_path(folder, "curve.dlm"));
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_OK, "%s", said);
	snprintf(words, sizeof(words), "%s %s --rows 5 --most 16 --threads 2", model_path, texts);
	CHECK(lengths(words, again, sizeof(again)) == DL_EXIT_OK && strcmp(said, again) == 0, "%s%s", said, again);
	at = strstr(said, "\"length_bias\": [");
	CHECK(at != NULL && sscanf(at, "\"length_bias\": [%lf, %lf, %lf, %lf, %lf]", &c[0], &c[1], &c[2], &c[3], &c[4]) == 5, "%s", said);
	CHECK(dl_cli_open(verb_path(folder, "curve.dlm"), &m, &err) == DLM_OK && dlm_model_verify(m.model, NULL, &err) == DLM_OK, "%s", err.message);
	if (m.model != NULL && at != NULL)
	{
		for (int i = 0; i < 5; i++)
			CHECK(m.model->settings.length_bias[i] == c[i], "number %d: %g in the file, %g printed", i, m.model->settings.length_bias[i], c[i]);
		CHECK(memcmp(model->header->digest, m.model->header->digest, 32) != 0, "another model has another digest");
		CHECK(confidence(model, "it is [MASK:3] so") == confidence(m.model, "it is [MASK:3] so"), "the same weights");
		CHECK(m.model->settings.classify.len == model->settings.classify.len && m.model->settings.calibrate == model->settings.calibrate &&
			  m.model->settings.n_stop == model->settings.n_stop, "the same settings");
	}
	dl_cli_close(&m);
	/* a second fit takes the place of the first, and is the same file */
	snprintf(words, sizeof(words), "%s %s --rows 5 --most 16 --out %s", verb_path(folder, "curve.dlm"), texts, verb_path(folder, "curve2.dlm"));
	CHECK(lengths(words, again, sizeof(again)) == DL_EXIT_OK && strcmp(said, again) == 0, "%s", again);
	snprintf(words, sizeof(words), "cmp %s %s", verb_path(folder, "curve.dlm"), verb_path(folder, "curve2.dlm"));
	CHECK(system(words) == 0, "a fit of what was fitted");
	/* a part of the lines: the first two have two gaps, however many are asked for */
	snprintf(words, sizeof(words), "%s %s --part 0:0.17", model_path, texts);
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_OK && strncmp(said, "2 gaps", 6) == 0, "%s", said);
}

static void
bad_input(void)
{
	static const struct
	{
		const char *more,
				   *said;
		int			code;
	}			cases[] = {
		{"--part 1:0", "--part must be", DL_EXIT_USAGE},
		{"--rows 0", "must be at least 1", DL_EXIT_USAGE},
		{"no-such-file.txt", "could not open", DL_EXIT_FAILED},
		{"--out /no/such/folder/x.dlm", "/no/such/folder", DL_EXIT_FAILED},
	};
	char		words[1200],
				said[4000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		snprintf(words, sizeof(words), "%s %s --rows 2 --threads 1 %s", model_path, some_texts(), cases[i].more);
		CHECK(lengths(words, said, sizeof(said)) == cases[i].code && strstr(said, cases[i].said) != NULL, "case %zu: %s", i, said);
	}
	CHECK(lengths(model_path, said, sizeof(said)) == DL_EXIT_USAGE, "%s", said);
	snprintf(words, sizeof(words), "%s %s", model_path,
			 verb_write(folder, "labels.jsonl", "{\"input\": \"x\", \"labels\": [\"a\", \"b\"], \"target\": \"a\"}\n"));
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_FAILED && strstr(said, "has no plain texts") != NULL, "%s", said);
	snprintf(words, sizeof(words), "%s %s", model_path, verb_write(folder, "short.txt", "too short\n. . . . . . . . . .\n"));
	CHECK(lengths(words, said, sizeof(said)) == DL_EXIT_FAILED && strstr(said, "of 0 gaps") != NULL, "%s", said);
}

int
main(void)
{
	dlm_convert_options options = {.weights = DLM_WEIGHTS_F32};
	dl_cli_model m;
	dlm_error	err = {0};

	known_curves();
	points_are_weighed();
	files_folder(folder);
	snprintf(model_path, sizeof(model_path), "%s/tiny.dlm", folder);
	CHECK(dlm_convert("test/models/context", model_path, &options, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_cli_open(model_path, &m, &err) == DLM_OK, "%s", err.message);
	if (m.model != NULL)
	{
		measured(m.model);
		written_model(m.model);
		bad_input();
	}
	dl_cli_close(&m);
	files_remove(folder);
	return harness_end("t_cli_lengths");
}
