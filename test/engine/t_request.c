/*
 * t_request.c - the key of a request: every field that an answer may depend on changes it, nothing else does.
 *
 * Answers are kept by it (src/pg/cache.c), so a field left out would be a wrong answer.
 */
#include "fixture.h"

static const dlm_text texts[] = {{"rain", 4}, {"sun", 3}, {"ra", 2}, {"insun", 5}};
static const dlm_example examples[] = {{{"a", 1}, {"b", 1}}, {{"ab", 2}, {"", 0}}};
static const double bias[] = {0, 0.5, -0.0};
static const uint8_t forbidden[64] = {1};

static fixture f;
static uint8_t plain[32];		/* the key of the request that all others are compared with */

typedef struct variant
{
	dlm_options options;
	dlm_gap_rule rule;
	dlm_request request;
} variant;

/* Two labels with a bias, an instruction, an example, a rule: something to change everywhere. */
static void
begin(variant *v)
{
	memset(v, 0, sizeof(*v));
	v->options.ban = v->options.stop = texts;
	v->options.n_ban = v->options.n_stop = 1;
	v->options.has_template = true;
	v->options.tmpl = texts[0];
	v->rule = (dlm_gap_rule) {.gap = texts[0], .choices = texts, .n_choices = 2, .bias = bias, .alone = texts[0], .pattern = texts[0], .reject = texts, .n_reject = 1};
	v->request = (dlm_request) {.task = DLM_CLASSIFY, .input = texts[0], .has_instruction = true, .instruction = texts[0],
		.labels = texts, .n_labels = 2, .descriptions = texts, .examples = examples, .n_examples = 1, .label_bias = bias,
		.rules = &v->rule, .n_rules = 1, .options = &v->options};
}

static void
key_of(const variant *v, uint8_t key[32])
{
	dlm_request_key(f.model, &v->request, "scope", 5, key);
}

#define CHANGES(change) \
	do { \
		variant		v; \
		uint8_t		key[32]; \
		begin(&v); \
		change; \
		key_of(&v, key); \
		CHECK(memcmp(key, plain, 32) != 0, "%s", #change); \
	} while (0)

static void
every_field_changes_it(void)
{
	CHANGES(v.request.task = DLM_CLASSIFY_MULTI);
	CHANGES(v.request.input = texts[1]);
	CHANGES(v.request.input.len = 3);
	CHANGES(v.request.max_tokens = 1);
	CHANGES(v.request.trace = true);
	CHANGES(v.request.has_instruction = false);
	CHANGES(v.request.instruction = texts[1]);
	CHANGES(v.request.instruction.len = 0);
	CHANGES(v.request.n_labels = 1);
	CHANGES(v.request.labels = texts + 1);
	CHANGES(v.request.labels = texts + 2);	/* the same bytes, cut elsewhere */
	CHANGES(v.request.descriptions = NULL);
	CHANGES(v.request.descriptions = texts + 2);
	CHANGES(v.request.n_examples = 0);
	CHANGES(v.request.n_examples = 2);
	CHANGES(v.request.examples = examples + 1);
	CHANGES(v.request.label_bias = NULL);
	CHANGES(v.request.label_bias = bias + 1);
	CHANGES(v.request.label_scale = 2);
	CHANGES(v.request.n_rules = 0);
	CHANGES(v.rule.gap = texts[1]);
	CHANGES(v.rule.n_choices = 1);
	CHANGES(v.rule.choices = texts + 2);
	CHANGES(v.rule.bias = NULL);
	CHANGES(v.rule.bias = bias + 1);
	CHANGES(v.rule.trust = 0.5);
	CHANGES(v.rule.alone = texts[1]);
	CHANGES(v.rule.pattern = texts[1]);
	CHANGES(v.rule.n_reject = 0);
	CHANGES(v.rule.reject = texts + 1);
	CHANGES(v.request.options = NULL);
}

static void
every_option_changes_it(void)
{
	CHANGES(v.options.steps = 1);
	CHANGES(v.options.temperature = 1);
	CHANGES(v.options.seed = 1);
	CHANGES(v.options.sampler.kind = DLM_SAMPLER_MARGIN);
	CHANGES(v.options.sampler.cond = true);
	CHANGES(v.options.sampler.noise = 1);
	CHANGES(v.options.sampler.linear = true);
	CHANGES(v.options.threshold = 1);
	CHANGES(v.options.block_length = 1);
	CHANGES(v.options.cfg_scale = 1);
	CHANGES(v.options.top_k = 1);
	CHANGES(v.options.top_p = 1);
	CHANGES(v.options.n_ban = 0);
	CHANGES(v.options.ban = texts + 1);
	CHANGES(v.options.n_stop = 2);
	CHANGES(v.options.stop = texts + 1);
	CHANGES(v.options.length = DLM_LENGTH_FIXED);
	CHANGES(v.options.length_beam = 1);
	CHANGES(v.options.length_budget = 1);
	CHANGES(v.options.has_template = false);
	CHANGES(v.options.tmpl = texts[1]);
	CHANGES(v.options.boundary = DLM_BOUNDARY_PLAIN);
	CHANGES(v.options.multiline = true);
	CHANGES(v.options.overflow = DLM_OVERFLOW_TRUNCATE);
	CHANGES(v.options.scoring = DLM_SCORING_PLL);
	CHANGES(v.options.normalize = DLM_NORMALIZE_SUM);
	CHANGES(v.options.calibrate = DLM_CALIBRATE_NONE);
	CHANGES(v.options.passes = 1);
	CHANGES(v.options.multi_threshold = 1);
	CHANGES(v.options.top_lengths = 1);
	CHANGES(v.options.forbidden = forbidden);
}

/* Equal by value, at other addresses; the tag is the caller's own. */
static void
nothing_else_changes_it(void)
{
	static char input[] = "rain";
	static dlm_text labels[] = {{input, 4}, {"sun", 3}};
	variant		v;
	uint8_t		key[32];

	begin(&v);
	v.request.input.data = input;
	v.request.labels = labels;
	v.request.tag = &v;
	key_of(&v, key);
	CHECK(memcmp(key, plain, 32) == 0, "equal requests have equal keys");
	dlm_request_key(f.model, &v.request, "scopf", 5, key);
	CHECK(memcmp(key, plain, 32) != 0, "another scope");
	dlm_request_key(f.model, &v.request, "scope", 4, key);
	CHECK(memcmp(key, plain, 32) != 0, "a shorter scope");
}

/* A field that is added must be hashed, and tried above; its size gives it away, unless it fits between two others. */
static void
no_field_was_added(void)
{
	CHECK(sizeof(dlm_request) == 136, "dlm_request has %zu bytes", sizeof(dlm_request));
	CHECK(sizeof(dlm_options) == 208, "dlm_options has %zu bytes", sizeof(dlm_options));
	CHECK(sizeof(dlm_gap_rule) == 96, "dlm_gap_rule has %zu bytes", sizeof(dlm_gap_rule));
	CHECK(sizeof(dlm_example) == 32 && sizeof(dlm_sampler) == 24, "%zu, %zu", sizeof(dlm_example), sizeof(dlm_sampler));
}

int
main(void)
{
	variant		v;

	if (!fixture_open("llama", DLM_WEIGHTS_F32, &f))
		return harness_end("t_request");
	if (f.model->config.tokens > (int) sizeof(forbidden) * 8)
		CHECK(false, "%d tokens: make the bitmap larger", f.model->config.tokens);
	begin(&v);
	key_of(&v, plain);
	every_field_changes_it();
	every_option_changes_it();
	nothing_else_changes_it();
	no_field_was_added();
	fixture_close(&f);
	return harness_end("t_request");
}
