/*
 * t_gap_rules.c - gaps with patterns and gaps with choices, over all tokenizer
 * families: answers are legal whatever the sampler; choices are scored as
 * labels are; and one row is many rows, on any thread and CPU.
 *
 * The checkpoints have random weights, so nothing but the rules makes an
 * answer legal.
 */
#include "model.h"
#include "pattern.h"
#include "tiny_model.h"

static const char *const families[] = {"context", "llama", "bert", "roberta", "xlm-roberta", "qwen3"};

#define N_FAMILIES	6

static bool
matches(const char *pattern, dlm_text text)
{
	dl_arena   *a = dl_arena_create(16 << 20);
	dl_pattern *p = NULL;
	bool		yes = dl_pattern_compile(tiny_text(pattern), a, &p, NULL) == DLM_OK && dl_pattern_matches(p, text);

	dl_arena_block_free(a, p);
	dl_arena_destroy(a);
	return yes;
}

static bool
same_text(dlm_text a, dlm_text b)
{
	return a.len == b.len && tiny_same(a.data, b.data, a.len);
}

/* --------------------------------------------------------------- patterns */

#define DIGITS	"[1-9][0-9]{0,3}"
#define WORDS	"[a-z]+( [a-z]+)*"
#define DATE	"(1[0-9]|2[0-9]) ?(-|/) ?[0-9]{2}"	/* WordPiece writes spaces around signs */

static void
patterns_hold(const tiny_model *m, const char *family)
{
	static const char *const samplers[] = {"reparam-uncond-deterministic-cosine", "reparam-cond-stochastic0.5-linear",
		"confidence", "random", "left-to-right", "entropy"};
	static const dlm_gap_rule rules[3] = {{.gap = {"1", 1}, .pattern = {DIGITS, sizeof(DIGITS) - 1}}, {.gap = {"2", 1}, .pattern = {WORDS, sizeof(WORDS) - 1}},
		{.gap = {"3", 1}, .pattern = {DATE, sizeof(DATE) - 1}}};

	for (int i = 0; i < 24; i++)
	{
		dlm_options o = {.temperature = i % 4, .seed = i, .boundary = i % 5 == 4 ? DLM_BOUNDARY_PLAIN : DLM_BOUNDARY_HEAL,
			.block_length = i % 7 == 3 ? 2 : 0, .steps = i % 3 == 2 ? 2 : 0};
		dlm_request r = {.task = DLM_INFILL, .options = &o, .rules = rules, .n_rules = 3,
			.input = tiny_text("the price is [MASK:1-5], the[MASK:2-6] and ([MASK:3-6]).")};
		dlm_error	err = {0};
		const dlm_result *result;
		dlm_session *s;

		dlm_sampler_parse(samplers[i % 6], &o.sampler, &err);
		s = tiny_run(m, &r, 1, NULL, &err);
		CHECK(s != NULL, "%s: %s", family, err.message);
		if (s == NULL)
			continue;
		result = dlm_session_result(s, 0);
		CHECK(result->error.status == DLM_OK, "%s, %d: %s", family, i, result->error.message);
		for (int g = 0; g < result->n_gaps; g++)
			CHECK(matches(rules[g].pattern.data, g == 1 && result->gaps[g].text.data[0] == ' ' ?
						  (dlm_text) {result->gaps[g].text.data + 1, result->gaps[g].text.len - 1} : result->gaps[g].text),
				  "%s, %d: gap %d is \"%.*s\"", family, i, g, (int) result->gaps[g].text.len, result->gaps[g].text.data);
		dlm_session_close(s);
	}
}

/* Rejecting every answer in turn walks through different legal ones. */
static void
rejected_texts_are_not_written(const tiny_model *m, const char *family)
{
	dlm_text	seen[6];
	char		kept[6][16];
	int			n = 0;

	for (int i = 0; i < 6; i++)
	{
		dlm_gap_rule rule = {.gap = {"1", 1}, .pattern = tiny_text("[a-z]"), .reject = seen, .n_reject = n};
		dlm_request r = {.task = DLM_INFILL, .rules = &rule, .n_rules = 1, .input = tiny_text("it has ([MASK:1]) legs")};
		dlm_error	err = {0};
		dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
		const dlm_result *result = s ? dlm_session_result(s, 0) : NULL;

		CHECK(result != NULL && result->error.status == DLM_OK, "%s: %s", family, result ? result->error.message : err.message);
		if (result != NULL && result->error.status == DLM_OK)
		{
			dlm_text	t = result->gaps[0].text;

			CHECK(matches("[a-z]", t), "%s: \"%.*s\"", family, (int) t.len, t.data);
			for (int k = 0; k < n; k++)
				CHECK(!same_text(seen[k], t), "%s: \"%.*s\" again", family, (int) t.len, t.data);
			snprintf(kept[n], sizeof(kept[n]), "%.*s", (int) t.len, t.data);
			seen[n] = tiny_text(kept[n]);
			n++;
		}
		dlm_session_close(s);
	}
}

static void
impossible_patterns_are_errors(const tiny_model *m, const char *family)
{
	static const struct
	{
		const char *tmpl,
				   *pattern,
				   *message;
	}			bad[] = {
		{"a [MASK:2]", "[0-9]{9,}x{30}", "no text of 2 to 2 tokens"},
		{"a [MASK]", "(", "pattern is not valid"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dlm_gap_rule rule = {.gap = {"1", 1}, .pattern = tiny_text(bad[i].pattern)};
		dlm_request r = {.task = DLM_INFILL, .rules = &rule, .n_rules = 1, .input = tiny_text(bad[i].tmpl)};
		dlm_error	err = {0};
		dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
		const dlm_result *result = s ? dlm_session_result(s, 0) : NULL;

		CHECK(result != NULL && result->error.status == DLM_EINVAL && strstr(result->error.message, bad[i].message),
			  "%s: %s", family, result ? result->error.message : err.message);
		dlm_session_close(s);
	}
}

/* ---------------------------------------------------------------- choices */

static const dlm_text animals[] = {{"cat", 3}, {"dogs", 4}, {"the sea", 7}, {"red fox", 7}, {"12", 2}};
static const dlm_text colours[] = {{"red", 3}, {"blue and red", 12}};

/* One gap behind a text: the same scores as a classification whose labels stand there. */
static void
choices_are_labels(const tiny_model *m, const char *family)
{
	dlm_options fill = {.has_template = true, .tmpl = tiny_text("{text}")},
				label = {.has_template = true, .tmpl = tiny_text("{input} {label} is here"), .scoring = DLM_SCORING_GROUPED,
				.calibrate = DLM_CALIBRATE_NONE};

	for (int normalize = DLM_NORMALIZE_MEAN; normalize <= DLM_NORMALIZE_SUM; normalize++)
	{
		dlm_gap_rule rule = {.gap = {"1", 1}, .choices = animals, .n_choices = 5};
		dlm_request r[2] = {
			{.task = DLM_INFILL, .input = tiny_text("I see a [MASK] is here"), .rules = &rule, .n_rules = 1, .options = &fill},
			{.task = DLM_CLASSIFY, .input = tiny_text("I see a"), .labels = animals, .n_labels = 5, .options = &label}
		};
		dlm_error	err = {0};
		dlm_session *s;

		fill.normalize = label.normalize = (dlm_normalize) normalize;
		s = tiny_run(m, r, 2, NULL, &err);
		CHECK(s != NULL, "%s: %s", family, err.message);
		if (s != NULL)
		{
			const dlm_result *a = dlm_session_result(s, 0),
					   *b = dlm_session_result(s, 1);

			CHECK(a->error.status == DLM_OK && b->error.status == DLM_OK && a->n_gaps == 1, "%s: %s %s", family,
				  a->error.message, b->error.message);
			for (int i = 0; a->n_gaps == 1 && i < 5; i++)
				CHECK(fabs(a->gaps[0].choices[i] - b->labels[i].probability) < 1e-12, "%s: choice %d has %.9f, the label %.9f",
					  family, i, a->gaps[0].choices[i], b->labels[i].probability);
			CHECK(a->n_gaps == 1 && a->gaps[0].choice == b->best && same_text(a->gaps[0].text, animals[b->best]),
				  "%s: another choice", family);
			CHECK(a->n_gaps == 1 && fabs(a->gaps[0].logprob - b->labels[b->best].mean) < 1e-6, "%s: mean", family);
		}
		dlm_session_close(s);
	}
}

/*
 * With a text that says nothing, a bias and a trust in the model: the same probabilities as content-free labels under that scale and
 * bias, for each of equal requests.
 */
static void
alone_is_content_free(const tiny_model *m, const char *family, double trust)
{
	static const double bias[5] = {0.5, -1, 0, 2, 0.25};
	double		minus[5];
	dlm_options fill = {.has_template = true, .tmpl = tiny_text("{text}")},
				label = {.has_template = true, .tmpl = tiny_text("{input} {label}"), .scoring = DLM_SCORING_GROUPED,
				.calibrate = DLM_CALIBRATE_CONTENT_FREE};
	dlm_text	nothing = m->model->settings.content_free.len > 0 ? m->model->settings.content_free : tiny_text("N/A");
	char		alone[64];
	dlm_gap_rule rule = {.gap = {"1", 1}, .choices = animals, .n_choices = 5, .trust = trust, .bias = bias, .alone = {alone, 0}};
	dlm_request r[4];
	dlm_error	err = {0};
	dlm_session *s;

	rule.alone.len = (size_t) snprintf(alone, sizeof(alone), "%.*s ", (int) nothing.len, nothing.data);
	for (int i = 0; i < 5; i++)
		minus[i] = -bias[i] / (trust != 0 ? trust : 1);
	for (int i = 0; i < 3; i++)
		r[i] = (dlm_request) {.task = DLM_INFILL, .input = tiny_text(i == 1 ? "I see no [MASK]" : "I see a [MASK]"), .rules = &rule,
			.n_rules = 1, .options = &fill};
	r[3] = (dlm_request) {.task = DLM_CLASSIFY, .input = tiny_text("I see a"), .labels = animals, .n_labels = 5, .label_bias = minus, .label_scale = trust,
		.options = &label};
	s = tiny_run(m, r, 4, NULL, &err);
	CHECK(s != NULL, "%s: %s", family, err.message);
	for (int k = 0; s != NULL && k < 3; k += 2)
	{
		const dlm_result *a = dlm_session_result(s, k),
				   *b = dlm_session_result(s, 3);

		CHECK(a->error.status == DLM_OK && b->error.status == DLM_OK && a->n_gaps == 1, "%s: %s %s", family, a->error.message,
			  b->error.message);
		for (int i = 0; a->n_gaps == 1 && b->n_labels == 5 && i < 5; i++)
			CHECK(fabs(a->gaps[0].choices[i] - b->labels[i].probability) < 1e-9, "%s: choice %d has %.9f, the label %.9f", family, i,
				  a->gaps[0].choices[i], b->labels[i].probability);
	}
	dlm_session_close(s);
}

/* Choices beside open gaps and patterns: each is a choice, and its probabilities are those with all else as text. */
static void
rows_hold_all_kinds(const tiny_model *m, const char *family)
{
	dlm_gap_rule rules[3] = {{.gap = {"4", 1}, .pattern = tiny_text(DIGITS)}, {.gap = {"3", 1}, .choices = colours, .n_choices = 2},
		{.gap = {"kind", 4}, .choices = animals, .n_choices = 5}};
	dlm_request r = {.task = DLM_INFILL, .rules = rules, .n_rules = 3,
		.input = tiny_text("animal: [MASK:kind]\nname:[MASK:2]\ncolour: [MASK]\nlegs: [MASK:1-3]\n")};
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
	const dlm_result *result = s ? dlm_session_result(s, 0) : NULL;
	char		want[512];

	CHECK(result != NULL && result->error.status == DLM_OK && result->n_gaps == 4, "%s: %s", family,
		  result ? result->error.message : err.message);
	if (result != NULL && result->n_gaps == 4)
	{
		const dlm_gap *g = result->gaps;
		double		sum = 0;

		for (int i = 0; i < 5; i++)
			sum += g[0].choices[i];
		CHECK(fabs(sum - 1) < 1e-9 && g[0].probability == g[0].choices[g[0].choice], "%s: probabilities", family);
		for (int i = 0; i < 5; i++)
			CHECK(g[0].choices[i] <= g[0].probability, "%s: choice %d is more probable", family, i);
		CHECK(g[0].name.len == 4 && g[1].choice == -1 && g[1].choices == NULL && g[1].tokens == 2, "%s: gaps", family);
		CHECK(matches(DIGITS, g[3].text), "%s: legs \"%.*s\"", family, (int) g[3].text.len, g[3].text.data);
		snprintf(want, sizeof(want), "animal: %.*s\nname:%.*s\ncolour: %.*s\nlegs: %.*s\n", (int) g[0].text.len, g[0].text.data,
				 (int) g[1].text.len, g[1].text.data, (int) g[2].text.len, g[2].text.data, (int) g[3].text.len, g[3].text.data);
		CHECK(same_text(result->text, tiny_text(want)), "%s: the answer is \"%.*s\"", family, (int) result->text.len,
			  result->text.data);
		CHECK(isfinite(result->logprob) && result->logprob <= 0, "%s: log-probability %f", family, result->logprob);
	}
	dlm_session_close(s);
}

/* More gaps with choices than are scored again: each holds one of its choices all the same, with a probability. */
static void
many_choices(const tiny_model *m, const char *family)
{
	enum { N = 12 };
	static const char *const names[N] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"};
	dlm_gap_rule rules[N];
	dlm_request r = {.task = DLM_INFILL, .rules = rules, .n_rules = N,
		.input = tiny_text("a [MASK] b [MASK] c [MASK] d [MASK] e [MASK] f [MASK] g [MASK] h [MASK] i [MASK] j [MASK] k [MASK] l [MASK] m")};
	dlm_error	err = {0};
	dlm_session *s;
	const dlm_result *result;

	for (int g = 0; g < N; g++)
		rules[g] = (dlm_gap_rule) {.gap = tiny_text(names[g]), .choices = animals, .n_choices = 5};
	s = tiny_run(m, &r, 1, NULL, &err);
	result = s ? dlm_session_result(s, 0) : NULL;
	CHECK(result != NULL && result->error.status == DLM_OK && result->n_gaps == N, "%s: %s", family,
		  result ? result->error.message : err.message);
	for (int g = 0; result != NULL && g < result->n_gaps; g++)
	{
		const dlm_gap *gap = &result->gaps[g];

		double		sum = 0;

		for (int i = 0; i < 5; i++)
			sum += gap->choices[i];
		CHECK(fabs(sum - 1) < 1e-9 && gap->choice >= 0 && gap->choice < 5 && gap->probability == gap->choices[gap->choice] &&
			  same_text(gap->text, animals[gap->choice]), "%s: gap %d holds \"%.*s\"", family, g, (int) gap->text.len, gap->text.data);
	}
	dlm_session_close(s);
}

/* --------------------------------------------------------------- equality */

static void
same_gaps(const dlm_result *a, const dlm_result *b, const char *what)
{
	CHECK(a->error.status == b->error.status && same_text(a->text, b->text) &&
		  memcmp(&a->logprob, &b->logprob, sizeof(double)) == 0 && a->n_gaps == b->n_gaps, "%s: \"%.*s\" and \"%.*s\"", what,
		  (int) a->text.len, a->text.data, (int) b->text.len, b->text.data);
	for (int g = 0; g < a->n_gaps && a->n_gaps == b->n_gaps; g++)
		CHECK(memcmp(&a->gaps[g].probability, &b->gaps[g].probability, sizeof(double)) == 0 &&
			  a->gaps[g].choice == b->gaps[g].choice && a->gaps[g].tokens == b->gaps[g].tokens, "%s: gap %d", what, g);
}

/* Many rows together, alone, on two threads and with plain kernels. */
static void
batch_is_single(const tiny_model *m, const char *family)
{
	static const char *const tmpls[] = {"a [MASK] b [MASK:1-3] c [MASK]", "x [MASK] [MASK:1-2], [MASK]", "[MASK:2] is [MASK:1-4] or [MASK]"};
	static const dlm_text g1 = {"1", 1},
				g2 = {"2", 1},
				g3 = {"3", 1};
	dlm_gap_rule rules[3][3] = {
		{{.gap = g1, .choices = animals, .n_choices = 5}, {.gap = g2, .pattern = tiny_text(DIGITS)},
		{.gap = g3, .choices = colours, .n_choices = 2}},
		{{.gap = g1, .choices = colours, .n_choices = 2}, {.gap = g2, .pattern = tiny_text("[a-z]+")},
		{.gap = g3, .choices = animals, .n_choices = 3}},
		{{.gap = g1}, {.gap = g2, .pattern = tiny_text(DIGITS)}, {.gap = g3, .pattern = tiny_text("[a-z0-9]")}}
	};
	dlm_options sampled = {.temperature = 0.8, .seed = 5};
	dlm_request r[6];
	dlm_env		envs[] = {{.threads = 2}, {.cpu_mask = ~0u}};
	dlm_error	err = {0};
	dlm_session *all;

	for (int i = 0; i < 6; i++)
		r[i] = (dlm_request) {.task = DLM_INFILL, .input = tiny_text(tmpls[i % 3]), .rules = rules[i % 3], .n_rules = 3,
			.options = i < 3 ? NULL : &sampled};
	all = tiny_run(m, r, 6, NULL, &err);
	CHECK(all != NULL, "%s: %s", family, err.message);
	for (int i = 0; i < 6 && all != NULL; i++)
	{
		dlm_session *one = tiny_run(m, &r[i], 1, NULL, &err);

		CHECK(one != NULL, "%s: %s", family, err.message);
		if (one != NULL)
			same_gaps(dlm_session_result(all, i), dlm_session_result(one, 0), family);
		CHECK(dlm_session_result(all, i)->error.status == DLM_OK, "%s, %d: %s", family, i,
			  dlm_session_result(all, i)->error.message);
		dlm_session_close(one);
	}
	for (int e = 0; e < 2 && all != NULL; e++)
	{
		dlm_session *other = tiny_run(m, r, 6, &envs[e], &err);

		for (int i = 0; i < 6 && other != NULL; i++)
			same_gaps(dlm_session_result(all, i), dlm_session_result(other, i), e ? "plain kernels" : "two threads");
		CHECK(other != NULL, "%s: %s", family, err.message);
		dlm_session_close(other);
	}
	dlm_session_close(all);
}

/* Requests that differ in their rules alone are not the same request. */
static void
rules_make_requests_different(const tiny_model *m)
{
	dlm_gap_rule digit = {.gap = {"1", 1}, .pattern = tiny_text("[0-9]")},
				letter = {.gap = {"1", 1}, .pattern = tiny_text("[a-z]")},
				choice = {.gap = {"1", 1}, .choices = animals, .n_choices = 2};
	dlm_request r[3] = {
		{.task = DLM_INFILL, .input = tiny_text("a [MASK]"), .rules = &digit, .n_rules = 1},
		{.task = DLM_INFILL, .input = tiny_text("a [MASK]"), .rules = &letter, .n_rules = 1},
		{.task = DLM_INFILL, .input = tiny_text("a [MASK]"), .rules = &choice, .n_rules = 1}
	};
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, r, 3, NULL, &err);

	CHECK(s != NULL && matches("[0-9]", dlm_session_result(s, 0)->gaps[0].text) &&
		  matches("[a-z]", dlm_session_result(s, 1)->gaps[0].text) && dlm_session_result(s, 2)->gaps[0].choice >= 0,
		  "%s", err.message);
	dlm_session_close(s);
}

static void
wrong_rules_are_errors(const tiny_model *m)
{
	dlm_gap_rule both = {.gap = {"1", 1}, .choices = animals, .n_choices = 2, .pattern = tiny_text("a")},
				twice = {.gap = {"1", 1}, .choices = (const dlm_text[]) {{"cat", 3}, {"cat", 3}}, .n_choices = 2},
				many = {.gap = {"1", 1}, .choices = calloc(DLM_MAX_CHOICES + 1, sizeof(dlm_text)), .n_choices = DLM_MAX_CHOICES + 1};
	dlm_gap_rule no_number = {.gap = {"1", 1}, .choices = animals, .n_choices = 2, .trust = NAN};
	dlm_gap_rule doubled[2] = {{.gap = {"2", 1}}, {.gap = {"2", 1}}};
	const dlm_gap_rule *rules[] = {&both, &twice, &many, doubled, doubled, &no_number};
	const char *const messages[] = {"both choices and a pattern", "same tokens", "at most 1000", "two rules", "no gap \"2\"", "trust of gap 1"};

	for (int i = 0; i < 6; i++)
	{
		dlm_request r = {.task = DLM_INFILL, .input = tiny_text(i == 3 ? "a [MASK] b [MASK]" : "a [MASK]"), .rules = rules[i],
			.n_rules = i == 3 ? 2 : 1};
		dlm_error	err = {0};
		dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
		const dlm_result *result = s ? dlm_session_result(s, 0) : NULL;

		CHECK(result != NULL && result->error.status != DLM_OK && strstr(result->error.message, messages[i]), "%d: %s", i,
			  result ? result->error.message : err.message);
		dlm_session_close(s);
	}
	free((void *) many.choices);
}

int
main(void)
{
	for (int i = 0; i < N_FAMILIES; i++)
	{
		tiny_model	m;

		if (!tiny_open(families[i], &m))
			continue;
		patterns_hold(&m, families[i]);
		rejected_texts_are_not_written(&m, families[i]);
		impossible_patterns_are_errors(&m, families[i]);
		choices_are_labels(&m, families[i]);
		rows_hold_all_kinds(&m, families[i]);
		many_choices(&m, families[i]);
		alone_is_content_free(&m, families[i], 0);
		alone_is_content_free(&m, families[i], 0.5);
		batch_is_single(&m, families[i]);
		if (i == 0)
		{
			rules_make_requests_different(&m);
			wrong_rules_are_errors(&m);
		}
		tiny_close(&m);
	}
	return harness_end("t_gap_rules");
}
