/*
 * t_length_run.c - a run that trains the length head: its rows are those that
 * the engine's tasks ask with, its classes what they make of them; it learns;
 * the written model predicts what the trainer predicts, and a resumed run
 * gives the bits of one that never stopped.
 */
#include <math.h>

#include "data.h"
#include "length.h"
#include "train.h"
#include "train_impl.h"
#include "train_options.h"
#include "trained.h"

#define ROWS		24
#define CLASSES		20
#define TOLERANCE	1e-5

static char folder[256];

/* A llama whose rows have a template, and a stop token for the canvas. */
static bool
chat_open(fixture *f)
{
	return llama_open("{\"format\": 1, \"mask_token\": \"<|mask|>\", \"begin\": \"<|endoftext|>\", "
					  "\"stop_tokens\": [\"<|im_end|>\"], \"attention\": \"context\", \"logit_shift\": 1, \"templates\": "
					  "{\"generate\": \"<|endoftext|>the {prompt} sea\\n{canvas}\"}}", DLM_WEIGHTS_F32, f);
}

/* Prompt and target of row i; the prompt's first word says how many words the answer has. */
static dlm_train_row
text_row(int i, char prompt[100], char target[100])
{
	static const char *const counts[] = {"one", "two", "three", "four"};
	char		words[60];

	snprintf(prompt, 100, "%s %s", counts[i % 4], data_words(3, (uint64_t) i, words, sizeof(words)));
	snprintf(target, 100, "%.*s", 3 + i % 4 * 4, "sea sea sea sea sea");
	return (dlm_train_row) {.input = data_text(prompt), .target = data_text(target), .key = i + 1};
}

static dlm_train *
open_run(const dlm_model *m, const char *json, dlm_train_options **o, dlm_env *env)
{
	dlm_train  *run = NULL;
	dlm_error	err = {0};
	dlm_status	st = dlm_train_options_parse(json, strlen(json), DLM_OBJECTIVE_LENGTH, o, &err);

	if (st == DLM_OK)
		st = dlm_train_open(m, *o, env, &run, &err);
	for (int i = 0; i < ROWS && st == DLM_OK; i++)
	{
		char		prompt[100],
					target[100];
		dlm_train_row row = text_row(i, prompt, target);

		st = dlm_train_add(run, 0, &row, &err);
	}
	if (st == DLM_OK)
		st = dlm_train_start(run, &err);
	CHECK(st == DLM_OK, "%s", err.message);
	if (st == DLM_OK)
		return run;
	dlm_train_close(run);
	free(*o);
	*o = NULL;
	return NULL;
}

static dlm_status
do_steps(dlm_train *run, int64_t until)
{
	dlm_error	err = {0};
	dlm_status	st = DLM_MORE;

	while (st == DLM_MORE && (until < 0 || run->state.step < until))
		st = dlm_train_step(run, &err);
	CHECK(st == DLM_OK || st == DLM_MORE, "%s", err.message);
	return st;
}

/* The rows of generate and predict_length are the example, and its class gives the canvas that holds the answer. */
static void
rows_are_those_of_inference(const dlm_model *m, const char *name, bool stop_in_canvas)
{
	bed			b = {0};
	dlm_error	err = {0};

	b.f.model = (dlm_model *) m;
	b.a = dl_arena_create(0);
	bed_dataset(&b, &(dl_dataset_options) {.lengths = true});
	b.m.length_classes = CLASSES;
	for (int i = 0; i < ROWS; i++)
	{
		char		prompt[100],
					target[100];
		dlm_train_row row = text_row(i, prompt, target);
		dl_row_text text = {.input = row.input, .target = row.target, .key = 1};
		dlm_request predict = {.task = DLM_PREDICT_LENGTH, .input = row.input},
					generate = {.task = DLM_GENERATE, .input = row.input, .max_tokens = 40};
		dl_example	e;
		dlm_session *s;

		data_add(b.ds, 0, &text);
		b.space.used = 0;
		e = dl_mask_view(&b.m, &b.ds->rows[i], 5, 0, &b.space);
		CHECK(e.n_ask == 1 && e.target[0] + 1 == b.ds->rows[i].target + stop_in_canvas, "%s: class %d of %d tokens", name,
			  e.target[0], b.ds->rows[i].target);
		for (int task = 0; task < 2; task++)
		{
			s = data_session(m, task == 0 ? &predict : &generate, name);
			CHECK(s != NULL && s->n_rows == 1 && data_session_has(s, &e, false) && s->rows[0].lengths != NULL,
				  "%s: task %d has another row", name, task);
			data_session_close(s);
		}
	}
	b.m.length_classes = 3;
	CHECK(dl_mask_view(&b.m, &b.ds->rows[3], 5, 0, &b.space).target[0] == 2, "%s: a long target", name);
	{
		dl_row_text text = data_plain("the sea");

		CHECK(dl_dataset_add(b.ds, 0, &text, &err) == DLM_EINVAL && strstr(err.message, "no answer") != NULL, "%s", err.message);
	}
	dl_dataset_free(b.ds);
	free(b.block);
	dl_arena_destroy(b.a);
}

/* Largest difference of log-probabilities between the trainer and the engine on a written file. */
static double
distance_to_engine(dlm_train *run, const dlm_model *written)
{
	int			classes = (int) written->config.length_classes;
	double	   *mine = malloc((size_t) classes * sizeof(double));
	double		worst = 0;

	for (int i = 0; i < ROWS; i++)
	{
		char		prompt[100],
					target[100];
		dlm_train_row row = text_row(i, prompt, target);
		dlm_request request = {.task = DLM_PREDICT_LENGTH, .input = row.input};
		dlm_options options = {.top_lengths = classes};
		dlm_session *s = NULL;
		const dlm_result *r;
		dlm_error	err = {0};
		dl_example	e;
		dlm_status	st;

		request.options = &options;
		run->space.used = 0;
		e = dl_mask_view(&run->masker, &run->ds->rows[i], 0, 0, &run->space);
		st = dl_length_forward(run->length, &e, NULL, 1, NULL, &err);
		dl_length_logprobs(run->length, 0, mine);
		if (st == DLM_OK)
			st = dlm_session_open(written, &request, 1, NULL, &s, &err);
		while (st == DLM_OK && (st = dlm_session_step(s, &err)) == DLM_MORE)
			st = DLM_OK;
		CHECK(st == DLM_OK, "%s", err.message);
		r = dlm_session_result(s, 0);
		CHECK(r->n_lengths == classes, "%d lengths", r->n_lengths);
		for (int c = 0; c < r->n_lengths; c++)
			worst = fmax(worst, fabs(mine[r->lengths[c].length - 1] - r->lengths[c].logprob));
		dlm_session_close(s);
	}
	free(mine);
	return worst;
}

/* Learn the rows by heart; write; the engine says the same. Returns the memory that it took. */
static size_t
a_run_learns_lengths(const dlm_model *m, const char *name, const char *json, dlm_env *env)
{
	dlm_train_options *o = NULL;
	dlm_train  *run = open_run(m, json, &o, env);
	dlm_train_progress p;
	dlm_error	err = {0};
	uint8_t		digest[32];
	fixture		f;
	char		path[400];
	int			n;

	if (run == NULL)
		return 0;
	CHECK(run->keep_states == (env->memory_limit == 0), "%s: states", name);
	CHECK(run->memory >= dl_arena_used(run->arena), "%s: %zu bytes predicted, %zu taken", name, run->memory,
		  dl_arena_used(run->arena));
	CHECK(do_steps(run, -1) == DLM_OK, "%s", name);
	dlm_train_progress_get(run, &p);
	CHECK(p.accuracy > 0.8, "%s: %.3f right, loss %.3f", name, p.accuracy, p.loss);
	CHECK(p.memory_peak <= run->memory, "%s: peak %zu of %zu", name, p.memory_peak, run->memory);
	CHECK(dlm_train_write(run, folder, digest, &err) == DLM_OK, "%s: %s", name, err.message);
	n = snprintf(path, sizeof(path), "%s/", folder);
	for (int i = 0; i < 32; i++)
		n += snprintf(path + n, sizeof(path) - (size_t) n, "%02x", digest[i]);
	strcat(path, ".dlm");
	memset(&f, 0, sizeof(f));
	if (dlm_file_map(path, &f.map, &err) == DLM_OK && dlm_model_open(f.map.data, f.map.size, &f.model, &err) == DLM_OK &&
		dlm_model_verify(f.model, NULL, &err) == DLM_OK)
	{
		double		d = distance_to_engine(run, f.model);

		printf("%s: %.3f right, %g from the engine\n", name, p.accuracy, d);
		CHECK(d <= TOLERANCE, "%s: predictions differ by %g", name, d);
		rows_are_those_of_inference(f.model, name, strcmp(name, "paper") != 0);
	}
	else
		CHECK(false, "%s: %s", name, err.message);
	fixture_close(&f);
	n = (int) run->memory;
	dlm_train_close(run);
	free(o);
	return (size_t) n;
}

/* Held-out rows are judged; a run that was stopped, saved and resumed writes the same file; so does one that keeps no states. */
static void
a_run_resumes(const dlm_model *m)
{
	static const char json[] = "{\"length_classes\": 20, \"steps\": 100, \"batch_tokens\": 80, \"validation_share\": 0.3, "
		"\"validate_every\": 20, \"patience\": 0, \"part_tokens\": 40, \"learning_rate\": 0.003}";
	dlm_train_options *o[3] = {NULL};
	dlm_train  *run[3];
	dlm_env		env = {.threads = 2};
	dlm_train_progress p;
	uint8_t		digest[3][32] = {{0}};
	dlm_error	err = {0};
	char		checkpoint[400];

	snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint", folder);
	for (int i = 0; i < 3; i++)
	{
		run[i] = open_run(m, json, &o[i], &env);
		if (run[i] == NULL)
			return;
		CHECK(run[i]->keep_states, "states are not kept");
		run[i]->keep_states = i < 2;
		if (i == 1)
		{
			(void) do_steps(run[i], 7);
			CHECK(dlm_train_save(run[i], checkpoint, &err) == DLM_OK, "%s", err.message);
			dlm_train_close(run[i]);
			free(o[i]);
			run[i] = open_run(m, json, &o[i], &env);
			CHECK(run[i] != NULL && dlm_train_resume(run[i], checkpoint, &err) == DLM_OK, "%s", err.message);
		}
		CHECK(do_steps(run[i], -1) == DLM_OK, "run %d", i);
		CHECK(dlm_train_write(run[i], folder, digest[i], &err) == DLM_OK, "%s", err.message);
	}
	dlm_train_progress_get(run[0], &p);
	CHECK(p.rows_held_out > 0 && p.best_step > 0 && isfinite(p.validation_loss) && p.validation_accuracy >= 0 &&
		  p.validation_near >= p.validation_accuracy && p.validation_near > 0 && p.validation_near <= 1, "validation: %g, %g, %g", p.validation_loss,
		  p.validation_accuracy, p.validation_near);
	CHECK(memcmp(digest[0], digest[1], 32) == 0, "a resumed run gives another model");
	CHECK(memcmp(digest[0], digest[2], 32) == 0, "kept states give another model");
	for (int i = 0; i < 3; i++)
	{
		dlm_train_close(run[i]);
		free(o[i]);
	}
}

int
main(void)
{
	static const char fresh[] = "{\"length_classes\": 20, \"steps\": 120, \"batch_tokens\": 200, \"validation_share\": 0, "
		"\"learning_rate\": 0.003, \"dropout\": 0, \"attention_dropout\": 0}";
	static const char further[] = "{\"steps\": 250, \"batch_tokens\": 200, \"validation_share\": 0, \"learning_rate\": 0.003}";
	dlm_env		env = {.threads = 1},
				small = {.threads = 1};
	fixture		f;

	files_folder(folder);
	if (chat_open(&f))
	{
		small.memory_limit = a_run_learns_lengths(f.model, "chat", fresh, &env) - 1;
		a_run_learns_lengths(f.model, "chat, little memory", fresh, &small);
		a_run_resumes(f.model);
	}
	fixture_close(&f);
	if (tiny_open("paper", DLM_WEIGHTS_F32, &f))
		a_run_learns_lengths(f.model, "paper", further, &env);
	fixture_close(&f);
	if (tiny_open("qwen3", DLM_WEIGHTS_F32, &f))
		a_run_learns_lengths(f.model, "qwen3", fresh, &env);
	fixture_close(&f);
	files_remove(folder);
	return harness_end("t_length_run");
}
