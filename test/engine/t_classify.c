/*
 * t_classify.c - labels: agreement with PyTorch, and what must not change an answer.
 */
#include "tiny_model.h"

#define TOLERANCE	3e-4
#define MAX_CASES	32
#define MAX_TEXTS	16

static const char *const models[] = {"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context",
"untied", "qwen2", "qwen3"};

typedef struct vector_case
{
	const cJSON *json;
	dlm_request request;
	dlm_options options;
	dlm_text	labels[MAX_TEXTS],
				descriptions[MAX_TEXTS];
	dlm_example examples[MAX_TEXTS];
} vector_case;

static int
read_texts(const cJSON *array, dlm_text *out)
{
	int			n = 0;
	const cJSON *item;

	cJSON_ArrayForEach(item, array)
		out[n++] = tiny_text(item->valuestring);
	return n;
}

static void
read_case(const cJSON *json, dlm_task task, vector_case *c)
{
	const cJSON *instruction = tiny_get(json, "instruction");
	const cJSON *tmpl = tiny_get(json, "template");
	const cJSON *item;

	memset(c, 0, sizeof(*c));
	c->json = json;
	c->request.task = task;
	c->request.input = tiny_text(tiny_get(json, "input")->valuestring);
	c->request.labels = c->labels;
	c->request.n_labels = read_texts(tiny_get(json, "labels"), c->labels);
	c->request.has_instruction = instruction != NULL;
	if (instruction != NULL)
		c->request.instruction = tiny_text(instruction->valuestring);
	if (read_texts(tiny_get(json, "descriptions"), c->descriptions) > 0)
		c->request.descriptions = c->descriptions;
	c->request.examples = c->examples;
	cJSON_ArrayForEach(item, tiny_get(json, "examples"))
		c->examples[c->request.n_examples++] = (dlm_example) {tiny_text(tiny_get(item, "input")->valuestring),
	tiny_text(tiny_get(item, "label")->valuestring)};
	c->options.has_template = tmpl != NULL;
	if (tmpl != NULL)
		c->options.tmpl = tiny_text(tmpl->valuestring);
	c->request.options = &c->options;
}

/* The cases of a model's vectors; *json is to be deleted after use. */
static int
read_cases(const char *model, cJSON **json, vector_case *cases)
{
	char		path[256];
	const cJSON *item;
	int			n = 0;

	snprintf(path, sizeof(path), "test/vectors/labels/%s.json", model);
	*json = tiny_json(path);
	CHECK(*json != NULL, "%s cannot be read", path);
	cJSON_ArrayForEach(item, tiny_get(*json, "classify"))
		read_case(item, DLM_CLASSIFY, &cases[n++]);
	cJSON_ArrayForEach(item, tiny_get(*json, "multi"))
		read_case(item, DLM_CLASSIFY_MULTI, &cases[n++]);
	return n;
}

static double
number(const cJSON *array, int i)
{
	return cJSON_GetArrayItem(array, i)->valuedouble;
}

/* One rule of one case against the vectors. */
static void
check_rule(const tiny_model *m, const char *model, vector_case *c, dlm_scoring scoring, dlm_normalize normalize,
		   dlm_calibrate calibrate)
{
	static const char *const rules[] = {"", "one_pass", "grouped", "chain", "pll"};
	static const char *const norms[] = {"", "mean", "sum"};
	const cJSON *both = tiny_get(tiny_get(c->json, "scores"), rules[scoring]);
	const cJSON *input = tiny_get(tiny_get(both, "input"), norms[normalize]);
	const cJSON *null = tiny_get(tiny_get(both, "content_free"), norms[normalize]);
	dlm_error	err = {0};
	dlm_session *s;
	const dlm_result *r;
	double		total = 0;
	double		share = 0;

	c->options.scoring = scoring;
	c->options.normalize = normalize;
	c->options.calibrate = calibrate;
	s = tiny_run(m, &c->request, 1, NULL, &err);
	CHECK(s != NULL, "%s: %s", model, err.message);
	if (s == NULL)
		return;
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == DLM_OK && r->n_labels == c->request.n_labels, "%s: %s", model, r->error.message);
	for (int i = 0; i < r->n_labels; i++)
		total += exp(number(input, i) - (calibrate == DLM_CALIBRATE_NONE ? 0 : number(null, i)));
	for (int i = 0; i < r->n_labels; i++)
	{
		double		want = number(input, i) - (calibrate == DLM_CALIBRATE_NONE ? 0 : number(null, i));
		/* a sum of n tokens may be n times as far off */
		double		allowed = TOLERANCE * (normalize == DLM_NORMALIZE_SUM ? 20 : 2);

		CHECK(fabs(r->labels[i].logprob - want) < allowed, "%s %s %s %d \"%s\" label %d: %.6f, PyTorch %.6f", model,
			  rules[scoring], norms[normalize], calibrate, c->request.input.data, i, r->labels[i].logprob, want);
		CHECK(fabs(r->labels[i].probability - exp(want) / total) < 2 * allowed, "%s label %d", model, i);
		CHECK(r->labels[i].probability <= r->labels[r->best].probability, "%s label %d beats the best", model, i);
		share += r->labels[i].probability;
	}
	CHECK(fabs(share - 1) < 1e-12, "probabilities sum to %.15f", share);
	dlm_session_close(s);
}

static void
scores_agree_with_pytorch(const tiny_model *m, const char *model, vector_case *cases, int n)
{
	for (int i = 0; i < n; i++)
		for (int scoring = DLM_SCORING_ONE_PASS; scoring <= DLM_SCORING_PLL; scoring++)
			for (int rule = 0; rule < 4; rule++)
				if (cases[i].request.task == DLM_CLASSIFY)
					check_rule(m, model, &cases[i], scoring, rule & 1 ? DLM_NORMALIZE_SUM : DLM_NORMALIZE_MEAN,
							   rule & 2 ? DLM_CALIBRATE_CONTENT_FREE : DLM_CALIBRATE_NONE);
}

static void
multi_agrees_with_pytorch(const tiny_model *m, const char *model, vector_case *cases, int n)
{
	for (int k = 0; k < n; k++)
	{
		vector_case *c = &cases[k];
		dlm_error	err = {0};
		dlm_session *s;
		const dlm_result *r;

		if (c->request.task != DLM_CLASSIFY_MULTI)
			continue;
		c->options.scoring = DLM_SCORING_ONE_PASS;
		c->options.normalize = DLM_NORMALIZE_MEAN;
		c->options.calibrate = DLM_CALIBRATE_CONTENT_FREE;
		s = tiny_run(m, &c->request, 1, NULL, &err);
		CHECK(s != NULL, "%s: %s", model, err.message);
		if (s == NULL)
			continue;
		r = dlm_session_result(s, 0);
		CHECK(r->n_labels == c->request.n_labels, "%s: %s", model, r->error.message);
		for (int i = 0; i < r->n_labels; i++)
		{
			double		yes = number(tiny_get(c->json, "yes"), i);

			CHECK(fabs(r->labels[i].logprob - yes) < 2 * TOLERANCE, "%s multi %d", model, i);
			CHECK(fabs(r->labels[i].probability - number(tiny_get(c->json, "probability"), i)) < 2 * TOLERANCE,
				  "%s multi %d: %.6f", model, i, r->labels[i].probability);
		}
		dlm_session_close(s);
	}
}

/* ------------------------------------------------------- what changes nothing */

static bool
same_result(const dlm_result *a, const dlm_result *b)
{
	return a->error.status == b->error.status && a->n_labels == b->n_labels && a->best == b->best &&
		tiny_same(a->labels, b->labels, (size_t) a->n_labels * sizeof(*a->labels));
}

static void
set_rules(vector_case *cases, int n, int scoring)
{
	for (int i = 0; i < n; i++)
	{
		cases[i].options.scoring = scoring;
		cases[i].options.normalize = i % 2 ? DLM_NORMALIZE_SUM : DLM_NORMALIZE_MEAN;
		cases[i].options.calibrate = DLM_CALIBRATE_CONTENT_FREE;
	}
}

/* One session of all cases, several threads, against a session each with one thread. */
static void
batch_equals_single(const tiny_model *m, const char *model, vector_case *cases, int n)
{
	dlm_request requests[2 * MAX_CASES];
	dlm_env		env = {.threads = 3};

	for (int scoring = DLM_SCORING_ONE_PASS; scoring <= DLM_SCORING_PLL; scoring++)
	{
		dlm_error	err = {0};
		dlm_session *all;

		set_rules(cases, n, scoring);
		for (int i = 0; i < 2 * n; i++)
			requests[i] = cases[i % n].request;		/* every request twice */
		all = tiny_run(m, requests, 2 * n, &env, &err);
		CHECK(all != NULL, "%s: %s", model, err.message);
		for (int i = 0; i < n && all != NULL; i++)
		{
			dlm_session *one = tiny_run(m, &requests[i], 1, NULL, &err);

			CHECK(one != NULL && same_result(dlm_session_result(one, 0), dlm_session_result(all, i)),
				  "%s scoring %d request %d", model, scoring, i);
			CHECK(same_result(dlm_session_result(all, i), dlm_session_result(all, n + i)), "%s duplicate %d", model, i);
			if (one != NULL)
				dlm_session_close(one);
		}
		if (all != NULL)
			dlm_session_close(all);
	}
}

/* Requests that share all but their input: the content-free row is computed once, and changes nothing. */
static void
memo_changes_nothing(const tiny_model *m)
{
	enum { N = 6 };
	dlm_text	labels[3] = {tiny_text("yes"), tiny_text("no"), tiny_text("nobody knows")};
	const char *inputs[N] = {"one", "two", "three", "the boat", "the fish", "N/A"};
	dlm_options options = {.calibrate = DLM_CALIBRATE_CONTENT_FREE};
	dlm_request requests[N] = {{0}};
	dlm_memo   *memo = dlm_memo_create(1 << 20);
	dlm_env		with = {.memo = memo};
	dlm_env		cold = {0};
	dlm_error	err = {0};
	dlm_progress first,
				second,
				alone;
	dlm_session *a,
			   *b;

	for (int i = 0; i < N; i++)
	{
		requests[i].task = DLM_CLASSIFY;
		requests[i].input = tiny_text(inputs[i]);
		requests[i].labels = labels;
		requests[i].n_labels = 3;
		requests[i].options = &options;
	}
	a = tiny_run(m, requests, N, &with, &err);
	b = tiny_run(m, requests, N, &with, &err);
	CHECK(a != NULL && b != NULL, "%s", err.message);
	if (a != NULL && b != NULL)
	{
		uint64_t	each = 0;

		dlm_session_progress(a, &first);
		dlm_session_progress(b, &second);
		for (int i = 0; i < N; i++)
		{
			dlm_session *c = tiny_run(m, &requests[i], 1, &cold, &err);

			CHECK(same_result(dlm_session_result(a, i), dlm_session_result(b, i)), "request %d", i);
			CHECK(c != NULL && same_result(dlm_session_result(a, i), dlm_session_result(c, 0)), "request %d", i);
			if (c == NULL)
				continue;
			dlm_session_progress(c, &alone);
			each += alone.tokens;
			dlm_session_close(c);
		}
		CHECK(second.tokens < first.tokens, "the memo saved nothing: %llu and %llu tokens",
			  (unsigned long long) second.tokens, (unsigned long long) first.tokens);
		CHECK(each - first.tokens == (N - 1) * (first.tokens - second.tokens), "content-free row computed twice");
	}
	/* the content-free text itself: all scores are nought, so all labels are equal and the first wins */
	if (b != NULL)
	{
		const dlm_result *r = dlm_session_result(b, N - 1);

		CHECK(r->best == 0 && r->labels[0].probability == r->labels[2].probability && r->labels[1].logprob == 0, "tie");
		dlm_session_close(b);
	}
	if (a != NULL)
		dlm_session_close(a);
	dlm_memo_free(memo);
}

/* A call a row, as SQL makes them: what a call keeps of the one before changes no bit, whatever either begins with. */
static void
calls_in_turn_equal_calls_alone(const tiny_model *m)
{
	static const char *const instructions[] = {"Which one is it?", "Which one was it?", "Which one is it? Say it.", "W"};
	static const char *const inputs[] = {"one", "two fish and a boat", "", "one two", "the boat"};
	dlm_text	labels[2] = {tiny_text("yes"), tiny_text("no")};
	dlm_options options = {.calibrate = DLM_CALIBRATE_CONTENT_FREE};
	dlm_memo   *memo = dlm_memo_create(1 << 22);
	dlm_env		with = {.memo = memo};
	dlm_env		cold = {0};
	dlm_error	err = {0};

	for (int i = 0; i < 40; i++)
	{
		dlm_request request = {.task = DLM_CLASSIFY, .labels = labels, .n_labels = 2, .options = &options,
			.has_instruction = true};
		dlm_session *a,
				   *b;

		request.instruction = tiny_text(instructions[i * 7 % 4]);
		request.input = tiny_text(inputs[i % 5]);
		a = tiny_run(m, &request, 1, &with, &err);
		b = tiny_run(m, &request, 1, &cold, &err);
		CHECK(a != NULL && b != NULL && same_result(dlm_session_result(a, 0), dlm_session_result(b, 0)), "call %d", i);
		dlm_session_close(a);
		dlm_session_close(b);
	}
	dlm_memo_free(memo);
}

static bool
stop_now_and_then(void *arg)
{
	return ++*(int *) arg % 3 == 0;
}

static void
interrupts_change_nothing(const tiny_model *m, vector_case *cases, int n)
{
	int			calls = 0;
	dlm_env		env = {.stop = stop_now_and_then, .arg = &calls};
	dlm_error	err = {0};

	set_rules(cases, n, DLM_SCORING_CHAIN);
	for (int i = 0; i < n; i++)
	{
		dlm_session *a = tiny_run(m, &cases[i].request, 1, NULL, &err);
		dlm_session *b = tiny_run(m, &cases[i].request, 1, &env, &err);

		CHECK(a != NULL && b != NULL && same_result(dlm_session_result(a, 0), dlm_session_result(b, 0)), "case %d", i);
		if (a != NULL)
			dlm_session_close(a);
		if (b != NULL)
			dlm_session_close(b);
	}
}

/* Whatever the limit, a session fails for want of memory or gives the same answers. */
static void
memory_limit_changes_nothing(const tiny_model *m, vector_case *cases, int n)
{
	dlm_request requests[MAX_CASES];
	dlm_error	err = {0};
	dlm_session *free_run;
	int			finished = 0;
	int			failed = 0;

	set_rules(cases, n, DLM_SCORING_PLL);
	for (int i = 0; i < n; i++)
		requests[i] = cases[i].request;
	free_run = tiny_run(m, requests, n, NULL, &err);
	CHECK(free_run != NULL, "%s", err.message);
	for (size_t limit = 100000; limit < 8000000 && free_run != NULL; limit += limit / 5)
	{
		dlm_env		env = {.memory_limit = limit};
		dlm_session *s = tiny_run(m, requests, n, &env, &err);

		if (s == NULL)
		{
			failed++;
			CHECK(err.status == DLM_ENOMEM, "limit %zu: %s", limit, err.message);
			continue;
		}
		finished++;
		for (int i = 0; i < n; i++)
			CHECK(same_result(dlm_session_result(s, i), dlm_session_result(free_run, i)), "limit %zu request %d", limit,
				  i);
		dlm_session_close(s);
	}
	CHECK(finished > 0 && failed > 0, "%d finished, %d failed: the limits test nothing", finished, failed);
	if (free_run != NULL)
		dlm_session_close(free_run);
}

/* ---------------------------------------------------------------- bad input */

/* The status of one request's own error; its message must contain `says`. */
static void
expect(const tiny_model *m, const dlm_request *request, dlm_status status, const char *says)
{
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, request, 1, NULL, &err);
	const dlm_result *r;

	CHECK(s != NULL, "session failed: %s", err.message);
	if (s == NULL)
		return;
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == status && strstr(r->error.message, says) != NULL, "want %d \"%s\", got %d \"%s\"", status,
		  says, r->error.status, r->error.message);
	dlm_session_close(s);
}

static void
bad_labels_are_named(const tiny_model *m, const tiny_model *uncased)
{
	dlm_text	two[2] = {tiny_text("yes"), tiny_text("no")};
	dlm_text	twice[2] = {tiny_text("yes"), tiny_text("yes")};
	dlm_text	cased[2] = {tiny_text("Yes"), tiny_text("yes")};
	dlm_text	blank[2] = {tiny_text("yes"), tiny_text("  ")};
	dlm_text	empty[2] = {tiny_text("yes"), tiny_text("")};
	static dlm_text many[DLM_MAX_LABELS + 1];
	static char names[DLM_MAX_LABELS + 1][16];
	dlm_example example = {tiny_text("x"), tiny_text("maybe")};
	dlm_request r = {.task = DLM_CLASSIFY, .input = tiny_text("the boat"), .labels = two};

	expect(m, &r, DLM_EINVAL, "empty");
	r.n_labels = 2;
	r.labels = twice;
	expect(m, &r, DLM_EINVAL, "\"yes\" is listed twice");
	r.labels = cased;
	expect(m, &r, DLM_OK, "");
	expect(uncased, &r, DLM_EINVAL, "\"Yes\" and \"yes\" have the same tokens");
	r.labels = blank;
	expect(uncased, &r, DLM_EINVAL, "has no tokens");
	r.labels = empty;
	expect(m, &r, DLM_EINVAL, "has no tokens");
	r.labels = two;
	r.examples = &example;
	r.n_examples = 1;
	expect(m, &r, DLM_EINVAL, "\"maybe\" of an example");
	r.n_examples = 0;
	for (int i = 0; i <= DLM_MAX_LABELS; i++)
	{
		snprintf(names[i], sizeof(names[i]), "%d", i);
		many[i] = tiny_text(names[i]);
	}
	r.labels = many;
	r.n_labels = DLM_MAX_LABELS + 1;
	expect(m, &r, DLM_ETOOLONG, "1001 labels");
}

/* A thousand long labels that differ in their last byte or not at all are told apart in time. */
static void
long_labels_are_named(const tiny_model *m)
{
	enum { SIZE = 10000 };
	static char text[DLM_MAX_LABELS * SIZE];
	static dlm_text labels[DLM_MAX_LABELS];
	dlm_request r = {.task = DLM_CLASSIFY, .input = tiny_text("the boat"), .has_instruction = true, .labels = labels,
	.n_labels = DLM_MAX_LABELS};

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < DLM_MAX_LABELS; i++)
	{
		labels[i] = (dlm_text) {text + (size_t) i * SIZE, SIZE};
		text[(size_t) (i + 1) * SIZE - 1] = (char) ('a' + i % 26);
		text[(size_t) (i + 1) * SIZE - 2] = (char) ('a' + i / 26 % 26);
		text[(size_t) (i + 1) * SIZE - 3] = (char) ('a' + i / 676);
	}
	expect(m, &r, DLM_ETOOLONG, "the model's context has 256 positions");
	labels[700] = labels[3];
	expect(m, &r, DLM_EINVAL, "is listed twice");
}

static void
thousand_labels_sum_to_one(const tiny_model *m)
{
	static dlm_text many[DLM_MAX_LABELS];
	static char names[DLM_MAX_LABELS][16];
	dlm_request r = {.task = DLM_CLASSIFY, .input = tiny_text("the boat"), .has_instruction = true, .labels = many,
	.n_labels = DLM_MAX_LABELS};
	dlm_error	err = {0};
	dlm_session *s;
	double		sum = 0;

	for (int i = 0; i < DLM_MAX_LABELS; i++)
	{
		snprintf(names[i], sizeof(names[i]), "%d", i);
		many[i] = tiny_text(names[i]);
	}
	s = tiny_run(m, &r, 1, NULL, &err);
	CHECK(s != NULL, "%s", err.message);
	if (s == NULL)
		return;
	for (int i = 0; i < dlm_session_result(s, 0)->n_labels; i++)
		sum += dlm_session_result(s, 0)->labels[i].probability;
	CHECK(fabs(sum - 1) < 1e-12, "sum %.15f: %s", sum, dlm_session_result(s, 0)->error.message);
	dlm_session_close(s);
}

static void
long_text_is_an_error_or_cut(const tiny_model *m)
{
	enum { SIZE = 20000 };
	static char text[SIZE + 1];
	dlm_text	labels[2] = {tiny_text("yes"), tiny_text("no")};
	dlm_options options = {.overflow = DLM_OVERFLOW_TRUNCATE};
	dlm_request r = {.task = DLM_CLASSIFY, .input = {text, SIZE}, .labels = labels, .n_labels = 2};

	for (int i = 0; i < SIZE; i++)
		text[i] = "the boat, "[i % 10];
	expect(m, &r, DLM_ETOOLONG, "tokens, but the model's context leaves room for");
	r.task = DLM_CLASSIFY_MULTI;
	expect(m, &r, DLM_ETOOLONG, "tokens, but the model's context leaves room for");
	r.options = &options;
	expect(m, &r, DLM_OK, "");
	r.task = DLM_CLASSIFY;
	expect(m, &r, DLM_OK, "");
	r.has_instruction = true;
	r.instruction = r.input;	/* the instruction is not cut */
	expect(m, &r, DLM_ETOOLONG, "even without its text");
	r.has_instruction = false;
	labels[1] = r.input;
	expect(m, &r, DLM_ETOOLONG, "");
}

static void
bad_templates_are_named(const tiny_model *m)
{
	static const struct
	{
		const char *tmpl,
				   *says;
	}			cases[] = {
		{"{input} {foo} {label}", "unknown hole \"foo\""},
		{"{prompt} {input} {label}", "unknown hole \"prompt\""},
		{"{label}", "missing hole \"input\""},
		{"{input} {label} {label}", "more than one canvas"},
		{"{?input}{input} {label}{/input}", "a canvas inside a condition"},
		{"{?input}{input} {label}", "a canvas inside a condition"},
		{"{input}{?labels} {labels}", "a condition is not closed"},
		{"{input}{/input} {label}", "end of a condition that is not open"},
	};
	dlm_text	labels[2] = {tiny_text("yes"), tiny_text("no")};
	dlm_options options = {.has_template = true};
	dlm_request r = {.task = DLM_CLASSIFY, .input = tiny_text("the boat"), .labels = labels, .n_labels = 2,
	.options = &options};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		options.tmpl = tiny_text(cases[i].tmpl);
		expect(m, &r, DLM_EINVAL, cases[i].says);
	}
	options.tmpl = tiny_text("{\"text\": \"{input}\", \"n\": {1}, \"label\": \"{label}\"}");
	expect(m, &r, DLM_OK, "");
	options.tmpl = tiny_text("{input} {label}");
	r.has_instruction = true;
	r.instruction = tiny_text("Choose.");
	expect(m, &r, DLM_EINVAL, "no hole {instruction}");
}

/* t_classify FILE: the default model's vectors against a file of it with f32 weights (bench/quality). */
static int
default_model_agrees(const char *path)
{
	static vector_case cases[MAX_CASES];
	tiny_model	m;
	cJSON	   *json = NULL;
	int			n = read_cases("dlm-135m", &json, cases);

	if (tiny_open_file(path, &m))
	{
		scores_agree_with_pytorch(&m, "dlm-135m", cases, n);
		multi_agrees_with_pytorch(&m, "dlm-135m", cases, n);
	}
	tiny_close(&m);
	cJSON_Delete(json);
	return harness_end("t_classify FILE");
}

int
main(int argc, char **argv)
{
	tiny_model	context = {0};
	tiny_model	bert = {0};

	if (argc > 1)
		return default_model_agrees(argv[1]);
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
	{
		static vector_case cases[MAX_CASES];
		tiny_model	m;
		cJSON	   *json = NULL;
		int			n = read_cases(models[i], &json, cases);

		CHECK(n > 0, "no vectors for %s", models[i]);
		if (tiny_open(models[i], &m))
		{
			scores_agree_with_pytorch(&m, models[i], cases, n);
			multi_agrees_with_pytorch(&m, models[i], cases, n);
			batch_equals_single(&m, models[i], cases, n);
			if (strcmp(models[i], "context") == 0)
			{
				interrupts_change_nothing(&m, cases, n);
				memory_limit_changes_nothing(&m, cases, n);
			}
		}
		tiny_close(&m);
		cJSON_Delete(json);
	}
	if (tiny_open("context", &context) && tiny_open("bert", &bert))
	{
		memo_changes_nothing(&context);
		calls_in_turn_equal_calls_alone(&context);
		bad_labels_are_named(&context, &bert);
		long_labels_are_named(&context);
		long_text_is_an_error_or_cut(&context);
		bad_templates_are_named(&context);
		thousand_labels_sum_to_one(&context);
	}
	tiny_close(&context);
	tiny_close(&bert);
	return harness_end("t_classify");
}
