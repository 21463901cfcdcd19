/*
 * t_train_options.c - options of a training run from JSON and from command
 * lines: every key, its range, what is unknown, and the recipes they make.
 */
#include <math.h>

#include "fixture.h"
#include "train_options.h"

static dlm_status
parse(const char *json, dlm_train_options **o, dlm_error *err)
{
	memset(err, 0, sizeof(*err));
	return dlm_train_options_parse(json, strlen(json), DLM_OBJECTIVE_INSTRUCTION, o, err);
}

/* The recipe of options for a model; they must be valid. */
static dl_recipe
recipe_of(const char *json, const dlm_model *m)
{
	dlm_train_options *o = NULL;
	dl_recipe	r = {0};
	dlm_error	err;

	CHECK(parse(json, &o, &err) == DLM_OK, "%s: %s", json, err.message);
	if (o != NULL)
		CHECK(dl_train_recipe_resolve(o, m, &r, &err) == DLM_OK, "%s: %s", json, err.message);
	free(o);
	return r;
}

static void
refused(const char *json, const char *message, const char *hint)
{
	dlm_train_options *o = NULL;
	dlm_error	err;

	CHECK(parse(json, &o, &err) == DLM_EINVAL && o == NULL && strstr(err.message, message) != NULL &&
		  strstr(err.hint, hint) != NULL, "%s: %s / %s", json, err.message, err.hint);
	free(o);
}

static void
refusals(void)
{
	refused("[]", "not a JSON object", "");
	refused("{", "not a JSON object", "");
	refused("{\"learning-rate\": 1}", "unknown training option \"learning-rate\"", "Did you mean \"learning_rate\"?");
	refused("{\"warm_up\": 1}", "unknown training option \"warm_up\"", "Did you mean \"warmup\"?");
	refused("{\"Rank\": 1}", "unknown", "\"rank\"");
	refused("{\"objective\": \"text\"}", "unknown", "docs/");
	refused("{\"rank\": 0}", "option \"rank\" must be an integer from 1 to 4096", "");
	refused("{\"rank\": 2.5}", "option \"rank\" must be an integer", "");
	refused("{\"rank\": \"4\"}", "option \"rank\" must be an integer", "");
	refused("{\"rank\": true}", "option \"rank\" must be an integer", "");
	refused("{\"rank\": null}", "option \"rank\" must be an integer", "");
	refused("{\"rank\": [1]}", "option \"rank\" must be an integer", "");
	refused("{\"rank\": 1e300}", "option \"rank\" must be an integer", "");
	refused("{\"seed\": 1e17}", "option \"seed\" must be an integer from -9007199254740992 to 9007199254740992", "");
	refused("{\"learning_rate\": 0}", "option \"learning_rate\" must be a number above 0 and at most 1", "");
	refused("{\"learning_rate\": -1e-9}", "option \"learning_rate\"", "");
	refused("{\"dropout\": 1}", "option \"dropout\" must be a number from 0 to below 1", "");
	refused("{\"whole\": 1.01}", "option \"whole\" must be a number from 0 to 1", "");
	refused("{\"mode\": \"lorra\"}", "option \"mode\" must be \"full\", \"bias\" or \"lora\"", "");
	refused("{\"mode\": 2}", "option \"mode\"", "");
	refused("{\"coupled\": 1}", "option \"coupled\" must be true or false", "");
	refused("{\"recompute\": \"maybe\"}", "option \"recompute\" must be \"auto\", true or false", "");
	refused("{\"on_overflow\": true}", "option \"on_overflow\" must be \"error\" or \"truncate\"", "");
	refused("{\"modules\": []}", "option \"modules\" must be \"all\", \"attention\" or a list of \"q\", \"k\"", "");
	refused("{\"modules\": [\"q\", \"x\"]}", "option \"modules\"", "");
	refused("{\"modules\": [\"q\", 1]}", "option \"modules\"", "");
	refused("{\"modules\": \"q,\"}", "option \"modules\"", "");
	refused("{\"modules\": {}}", "option \"modules\"", "");
	refused("{\"rank\": 1, \"rank\": 2}", "given twice", "");
	refused("{\"a\\u0007b\": 1}", "\"a?b\"", "");
}

static void
defaults(const dlm_model *encoder, const dlm_model *decoder)
{
	dl_recipe	paper = recipe_of("", encoder);
	dl_recipe	adapt = recipe_of("{}", decoder);

	CHECK(paper.masking.timesteps == 50 && paper.masking.coupled && paper.masking.weighting == DL_WEIGHT_LINEAR &&
		  paper.masking.whole == 0 && paper.masking.row_norm == 1 && paper.masking.end_tokens == 1 &&
		  paper.masking.text_share == 0 && paper.schedule == DL_RATE_INVERSE_SQRT && paper.warmup == 0.01 &&
		  paper.dropout == 0.1 && paper.adamw.beta2 == 0.98 && paper.adamw.decay == 0.01 && paper.rate == 3e-4 &&
		  paper.train.mode == DL_TRAIN_LORA && paper.train.rank == 16 && paper.train.alpha == 16, "paper");
	CHECK(adapt.train.mode == DL_TRAIN_LORA && adapt.train.rank == 16 && adapt.train.alpha == 32 && adapt.train.lora == 127 &&
		  adapt.rate == 5e-4 && adapt.schedule == DL_RATE_COSINE && adapt.last_rate == 0.1 && adapt.warmup == 0.05 &&
		  adapt.masking.timesteps == 50 && !adapt.masking.coupled && adapt.masking.whole == 0.5 &&
		  adapt.masking.short_target == 4 && adapt.masking.row_norm == 0.5 && adapt.masking.end_tokens == 4 &&
		  adapt.masking.text_share == 0.1 && adapt.masking.spans == 4 && adapt.masking.row_share == 0 &&
		  adapt.dropout == 0 && adapt.clip == 1 && adapt.epochs == 4 && adapt.batch_tokens == 0 &&
		  adapt.held_out == 0.1 && adapt.patience == 3 && adapt.recompute == -1, "adapt");
	CHECK(recipe_of("{\"recipe\": \"adapt\"}", encoder).masking.whole == 0.5, "adapt for an encoder");
	CHECK(recipe_of("{\"recipe\": \"paper\"}", decoder).masking.coupled, "paper for a decoder");
}

static void
choices(const dlm_model *encoder, const dlm_model *decoder)
{
	dl_recipe	r = recipe_of("{\"mode\": \"full\", \"seed\": -7, \"recompute\": true, \"on_overflow\": \"truncate\", "
							  "\"coupled\": true, \"steps\": 1000000000, \"epochs\": 0.5, \"time_limit\": 60}", decoder);

	CHECK(r.train.mode == DL_TRAIN_ALL && r.rate == 5e-5 && r.seed == -7 && r.train.seed == -7 && r.recompute == 1 &&
		  r.cut_input && r.masking.coupled && r.steps == 1000000000 && r.epochs == 0.5 && r.seconds == 60, "full");
	r = recipe_of("{\"mode\": \"bias\", \"learning_rate\": 0.01, \"weighting\": \"constant\", \"schedule\": \"constant\"}", encoder);
	CHECK(r.train.mode == DL_TRAIN_BIAS && r.rate == 0.01 && r.masking.weighting == DL_WEIGHT_CONSTANT &&
		  r.schedule == DL_RATE_CONSTANT, "bias");
	r = recipe_of("{\"rank\": 4, \"modules\": [\"q\", \"output\"], \"recompute\": false}", decoder);
	CHECK(r.train.rank == 4 && r.train.alpha == 8 && r.train.lora == (DL_DENSE_Q | DL_DENSE_OUTPUT) && r.recompute == 0,
		  "alpha follows the rank: %g", r.train.alpha);
	r = recipe_of("{\"rank\": 4, \"alpha\": 3, \"modules\": \"attention\"}", decoder);
	CHECK(r.train.alpha == 3 && r.train.lora == 15, "alpha is given");
}

/* What an objective has no use for is refused; the length head has defaults of its own. */
static void
objectives(const dlm_model *m)
{
	static const char *const refused_by_length[] = {"{\"mode\": \"lora\"}", "{\"rank\": 4}", "{\"coupled\": true}",
		"{\"recompute\": true}", "{\"end_tokens\": 2}"};
	dlm_train_options *o = NULL;
	dl_recipe	r;
	dlm_error	err = {0};

	for (size_t i = 0; i < sizeof(refused_by_length) / sizeof(refused_by_length[0]); i++)
	{
		CHECK(dlm_train_options_parse(refused_by_length[i], strlen(refused_by_length[i]), DLM_OBJECTIVE_LENGTH, &o, &err) == DLM_OK,
			  "%s", err.message);
		CHECK(dl_train_recipe_resolve(o, m, &r, &err) == DLM_EINVAL && strstr(err.message, "objective \"length\"") != NULL, "%s: %s",
			  refused_by_length[i], err.message);
		free(o);
	}
	CHECK(parse("{\"length_classes\": 9}", &o, &err) == DLM_OK &&
		  dl_train_recipe_resolve(o, m, &r, &err) == DLM_EINVAL, "%s", err.message);
	free(o);
	CHECK(dlm_train_options_parse("{\"length_classes\": 9}", 21, DLM_OBJECTIVE_LENGTH, &o, &err) == DLM_OK &&
		  dl_train_recipe_resolve(o, m, &r, &err) == DLM_OK, "%s", err.message);
	CHECK(r.train.mode == DL_TRAIN_LENGTH && r.train.length_classes == 9 && r.dropout == 0.1 && r.attention_dropout == 0.1 &&
		  r.rate == 3e-4 && r.schedule == DL_RATE_COSINE, "length");
	free(o);
}

static void
contradictions(const dlm_model *m)
{
	static const char *const cases[] = {
		"{\"mode\": \"full\", \"rank\": 4}", "{\"mode\": \"bias\", \"modules\": \"all\"}",
		"{\"lora_dropout\": 0.1, \"modules\": [\"q\", \"output\"]}", "{\"cover_least\": 0.5, \"cover_most\": 0.4}", "{\"row_tokens\": 100000}"
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dlm_train_options *o = NULL;
		dl_recipe	r;
		dlm_error	err;

		CHECK(parse(cases[i], &o, &err) == DLM_OK, "%s: %s", cases[i], err.message);
		CHECK(dl_train_recipe_resolve(o, m, &r, &err) == DLM_EINVAL && strstr(err.message, "option \"") != NULL, "%s: %s",
			  cases[i], err.message);
		free(o);
	}
}

/* The teacher is the base as a left-to-right model, and must stay what it is: why not, where it cannot be. */
static void
distillation(dlm_model *m)
{
	static const struct
	{
		const char *json;
		dlm_objective objective;
		uint32_t	shift;
		const char *message,
				   *hint;
	}			cases[] = {
		{"{\"distill\": 0.5, \"mode\": \"full\"}", DLM_OBJECTIVE_INSTRUCTION, 1, "is of mode \"lora\", not \"full\"", "changes the base itself"},
		{"{\"distill\": 0.5, \"mode\": \"bias\"}", DLM_OBJECTIVE_TEXT, 1, "is of mode \"lora\", not \"bias\"", "changes the base itself"},
		{"{\"distill\": 0.5}", DLM_OBJECTIVE_INSTRUCTION, 0, "made from a left-to-right one", "never was such a model"},
		{"{\"distill\": 0.5}", DLM_OBJECTIVE_LENGTH, 1, "objective \"length\"", "no opinion of a text's length"},
		{"{\"distill\": 0.5}", DLM_OBJECTIVE_INSTRUCTION, 1, NULL, NULL},
		{"{\"distill\": 1}", DLM_OBJECTIVE_TEXT, 1, NULL, NULL},
		{"{\"distill\": 0, \"mode\": \"full\"}", DLM_OBJECTIVE_TEXT, 1, NULL, NULL}
	};
	uint32_t	shift = m->config.logit_shift;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dlm_train_options *o = NULL;
		dl_recipe	r;
		dlm_error	err = {0};
		dlm_status	st;

		CHECK(dlm_train_options_parse(cases[i].json, strlen(cases[i].json), cases[i].objective, &o, &err) == DLM_OK, "%s", err.message);
		m->config.logit_shift = cases[i].shift;
		st = dl_train_recipe_resolve(o, m, &r, &err);
		CHECK(cases[i].message == NULL ? st == DLM_OK && r.masking.distill == o->recipe.masking.distill :
			  st == DLM_EINVAL && strstr(err.message, cases[i].message) != NULL && strstr(err.hint, cases[i].hint) != NULL,
			  "%s: %s / %s", cases[i].json, err.message, err.hint);
		free(o);
	}
	m->config.logit_shift = shift;
	refused("{\"distill\": 1.5}", "option \"distill\" must be a number from 0 to 1", "");
	CHECK(recipe_of("{}", m).masking.distill == 0, "distilled without being asked");
}

/* Every flag of the table can be set and is a key of JSON; text gives what JSON gives. */
static void
command_line(const dlm_model *m)
{
	static const char *const pairs[][2] = {
		{"--rank", "8"}, {"--learning-rate", "1e-4"}, {"modules", "q,v"}, {"--recompute", "auto"}, {"coupled", "true"},
		{"on_overflow", "truncate"}, {"--seed", "-3"}, {"--mode", "lora"}
	};
	dlm_train_options *o = NULL,
			   *same = NULL;
	dl_recipe	r;
	dlm_error	err;
	char		flag[32];
	const char *help;
	int			n = 0;

	CHECK(parse("{}", &o, &err) == DLM_OK, "%s", err.message);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		CHECK(dl_train_option_set(o, pairs[i][0], pairs[i][1], &err) == DLM_OK, "%s: %s", pairs[i][0], err.message);
	CHECK(parse("{\"rank\": 8, \"learning_rate\": 1e-4, \"modules\": [\"v\", \"q\"], \"recompute\": \"auto\", \"coupled\": true, "
				"\"on_overflow\": \"truncate\", \"seed\": -3, \"mode\": \"lora\"}", &same, &err) == DLM_OK, "%s", err.message);
	CHECK(memcmp(o, same, sizeof(*o)) == 0, "text and JSON differ");
	CHECK(dl_train_recipe_resolve(o, m, &r, &err) == DLM_OK && r.train.lora == (DL_DENSE_Q | DL_DENSE_V), "%s", err.message);
	CHECK(dl_train_option_set(o, "--rank", "8x", &err) == DLM_EINVAL, "8x");
	CHECK(dl_train_option_set(o, "--rank", "", &err) == DLM_EINVAL, "empty");
	CHECK(dl_train_option_set(o, "--rank", "nan", &err) == DLM_EINVAL, "nan");
	CHECK(dl_train_option_set(o, "--alpha", "inf", &err) == DLM_EINVAL, "inf");
	CHECK(dl_train_option_set(o, "--rank", "true", &err) == DLM_EINVAL, "true");
	CHECK(dl_train_option_set(o, "--coupled", "yes", &err) == DLM_EINVAL, "yes");
	CHECK(dl_train_option_set(o, "--ranks", "1", &err) == DLM_EINVAL && strstr(err.hint, "\"rank\"") != NULL, "%s", err.hint);
	while (dl_train_option_flag(n, flag, &help))
	{
		CHECK(strncmp(flag, "--", 2) == 0 && strchr(flag, '_') == NULL && help[0] != '\0', "%s", flag);
		/* a value that no option takes names the option, which is so known */
		CHECK(dl_train_option_set(o, flag, "?", &err) == DLM_EINVAL && strncmp(err.message, "option ", 7) == 0, "%s: %s", flag,
			  err.message);
		n++;
	}
	CHECK(n == 46, "%d options", n);
	free(o);
	free(same);
}

int
main(void)
{
	fixture		encoder,
				decoder;

	refusals();
	if (fixture_open("roberta", DLM_WEIGHTS_F32, &encoder) && fixture_open("llama", DLM_WEIGHTS_INT8, &decoder))
	{
		uint32_t	shift = decoder.model->config.logit_shift;

		decoder.model->config.logit_shift = 1;
		defaults(encoder.model, decoder.model);
		choices(encoder.model, decoder.model);
		contradictions(decoder.model);
		objectives(encoder.model);
		distillation(encoder.model);
		command_line(encoder.model);
		decoder.model->config.logit_shift = shift;
	}
	fixture_close(&encoder);
	fixture_close(&decoder);
	return harness_end("t_train_options");
}
