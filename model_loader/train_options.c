/*
 * train_options.c - see train_options.h.
 */
#include "train_options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "status.h"

typedef enum dl_option_type
{
	OPT_INT,					/* int */
	OPT_LONG,					/* int64_t */
	OPT_NUMBER,					/* double */
	OPT_SWITCH,					/* bool */
	OPT_WORD,					/* an enum: the index of the word */
	OPT_WORD_SWITCH,			/* bool: the index of the word */
	OPT_AUTO_SWITCH,			/* int: "auto" is -1 */
	OPT_MODULES					/* uint32_t: dl_dense_bit */
} dl_option_type;

#define ABOVE	1				/* the least value itself is out of range */
#define BELOW	2				/* the largest is */

typedef struct dl_option
{
	const char *key;
	dl_option_type type;
	uint16_t	offset;			/* in dlm_train_options */
	uint8_t		flags;
	double		least,
				most;
	const char *const *words;	/* ends in NULL */
	const char *help;
} dl_option;

#define EXACT	9007199254740992.0	/* 2^53: integers of JSON are exact so far */
#define MANY	1e9

static const char *const recipe_words[] = {"auto", "paper", "adapt", NULL};
static const char *const mode_words[] = {"full", "bias", "lora", NULL};	/* dl_train_mode */
static const char *const overflow_words[] = {"error", "truncate", NULL};
static const char *const schedule_words[] = {"constant", "cosine", "inverse_sqrt", NULL};
static const char *const weighting_words[] = {"constant", "linear", NULL};

static const struct
{
	const char *word;
	uint32_t	bits;
}			module_words[] = {
	{"all", DL_DENSE_Q | DL_DENSE_K | DL_DENSE_V | DL_DENSE_O | DL_DENSE_GATE | DL_DENSE_UP | DL_DENSE_DOWN},
	{"attention", DL_DENSE_Q | DL_DENSE_K | DL_DENSE_V | DL_DENSE_O},
	{"q", DL_DENSE_Q}, {"k", DL_DENSE_K}, {"v", DL_DENSE_V}, {"o", DL_DENSE_O}, {"gate", DL_DENSE_GATE},
	{"up", DL_DENSE_UP}, {"down", DL_DENSE_DOWN}, {"head", DL_DENSE_HEAD}, {"output", DL_DENSE_OUTPUT}
};

#define N_MODULES	(sizeof(module_words) / sizeof(module_words[0]))
#define F(field)	offsetof(dlm_train_options, field)
#define R(field)	offsetof(dlm_train_options, recipe.field)
#define M(field)	offsetof(dlm_train_options, recipe.masking.field)

static const dl_option options[] = {
	{"recipe", OPT_WORD, F(name), 0, 0, 0, recipe_words, "paper, adapt, or auto: by the model's kind"},
	{"mode", OPT_WORD, R(train.mode), 0, 0, 0, mode_words, "what is trained: lora, bias or full (all weights)"},
	{"rank", OPT_INT, R(train.rank), 0, 1, 4096, NULL, "of LoRA's factors"},
	{"alpha", OPT_NUMBER, R(train.alpha), ABOVE, 0, 1e5, NULL, "LoRA adds alpha / rank times B A"},
	{"modules", OPT_MODULES, R(train.lora), 0, 0, 0, NULL,
		"layers with factors: all, attention, or some of q k v o gate up down head output"},
	{"length_classes", OPT_INT, R(train.length_classes), 0, 0, DL_MAX_CONTEXT, NULL,
		"of a new length head: lengths from 1; 0: 512, or the context if it is less"},
	{"lora_dropout", OPT_NUMBER, R(lora_dropout), BELOW, 0, 1, NULL, "dropout before LoRA's A"},
	{"dropout", OPT_NUMBER, R(dropout), BELOW, 0, 1, NULL, "dropout after embedding and blocks"},
	{"attention_dropout", OPT_NUMBER, R(attention_dropout), BELOW, 0, 1, NULL, "dropout of attention's probabilities"},
	{"label_smoothing", OPT_NUMBER, R(smoothing), BELOW, 0, 1, NULL, "share of the target spread over all tokens"},
	{"seed", OPT_LONG, R(seed), 0, -EXACT, EXACT, NULL, "of everything random"},
	{"epochs", OPT_NUMBER, R(epochs), ABOVE, 0, 1e6, NULL, "passes over the rows"},
	{"steps", OPT_LONG, R(steps), 0, 0, MANY, NULL, "optimiser's steps; 0: by epochs"},
	{"batch_tokens", OPT_INT, R(batch_tokens), 0, 0, 1 << 24, NULL, "tokens of a step, about; 0: a twentieth of an epoch, 256 to 2048"},
	{"part_tokens", OPT_INT, R(part_tokens), 0, 0, 1 << 24, NULL, "most tokens of one forward pass; 0: as memory allows"},
	{"row_tokens", OPT_INT, R(row_tokens), 0, 0, DL_MAX_CONTEXT, NULL,
		"longer texts are cut into rows of so many; 0: the context"},
	{"on_overflow", OPT_WORD_SWITCH, R(cut_input), 0, 0, 0, overflow_words,
		"a row that is too long: error, or truncate its input"},
	{"recompute", OPT_AUTO_SWITCH, R(recompute), 0, 0, 0, NULL,
		"compute activations again instead of keeping them: auto, true, false"},
	{"learning_rate", OPT_NUMBER, R(rate), ABOVE, 0, 1, NULL, "its peak"},
	{"last_rate", OPT_NUMBER, R(last_rate), 0, 0, 1, NULL, "cosine: at the end, as a share of the peak"},
	{"schedule", OPT_WORD, R(schedule), 0, 0, 0, schedule_words, "constant, cosine or inverse_sqrt"},
	{"warmup", OPT_NUMBER, R(warmup), 0, 0, 1, NULL, "share of the steps in which the rate grows"},
	{"clip", OPT_NUMBER, R(clip), 0, 0, MANY, NULL, "largest norm of the gradient; 0: any"},
	{"beta1", OPT_NUMBER, R(adamw.beta1), BELOW, 0, 1, NULL, "AdamW's"},
	{"beta2", OPT_NUMBER, R(adamw.beta2), BELOW, 0, 1, NULL, "AdamW's"},
	{"epsilon", OPT_NUMBER, R(adamw.eps), ABOVE, 0, 1, NULL, "AdamW's"},
	{"weight_decay", OPT_NUMBER, R(adamw.decay), 0, 0, 1, NULL, "AdamW's, of matrices"},
	{"average", OPT_NUMBER, R(average), BELOW, 0, 1, NULL, "decay of a running mean of the weights, 0: none"},
	{"validation_share", OPT_NUMBER, R(held_out), BELOW, 0, 1, NULL, "share of the rows held out"},
	{"validate_every", OPT_INT, R(validate_every), 0, 0, MANY, NULL, "steps; 0: ten times a run"},
	{"patience", OPT_INT, R(patience), 0, 0, MANY, NULL, "validations without a better one before the end; 0: any"},
	{"time_limit", OPT_NUMBER, R(seconds), 0, 0, MANY, NULL, "seconds; 0: none"},
	{"timesteps", OPT_INT, M(timesteps), 0, 1, 1 << 20, NULL, "T: a view's masking rate is t / T"},
	{"coupled", OPT_SWITCH, M(coupled), 0, 0, 0, NULL, "two views of each row, the second a subset of the first"},
	{"weighting", OPT_WORD, M(weighting), 0, 0, 0, weighting_words, "of views: linear in t, or constant"},
	{"whole", OPT_NUMBER, M(whole), 0, 0, 1, NULL, "share of views whose whole canvas is masked"},
	{"short_target", OPT_INT, M(short_target), 0, 0, MANY, NULL, "targets of at most so many tokens have weight 1"},
	{"row_norm", OPT_NUMBER, M(row_norm), 0, 0, 1, NULL, "weights are divided by (tokens of the canvas) ^ row_norm"},
	{"end_tokens", OPT_INT, M(end_tokens), 0, 0, 1024, NULL, "up to so many stop tokens follow a target; 0: none"},
	{"text_share", OPT_NUMBER, M(text_share), 0, 0, 1, NULL, "share of instruction rows trained as text"},
	{"row_share", OPT_NUMBER, M(row_share), 0, 0, 1, NULL, "share of text rows that are masked as a whole"},
	{"spans", OPT_INT, M(spans), 0, 1, 1000, NULL, "1 to so many spans of a text row"},
	{"fields", OPT_NUMBER, M(fields), 0, 0, 1, NULL, "share of text rows of lines \"name: value\" whose last values are masked"},
	{"cover_least", OPT_NUMBER, M(cover_least), ABOVE, 0, 1, NULL, "share of a text row that its spans cover: least"},
	{"cover_most", OPT_NUMBER, M(cover_most), ABOVE, 0, 1, NULL, "and most"},
	{"distill", OPT_NUMBER, M(distill), 0, 0, 1, NULL, "share of the target that is the base's own, where nothing is shown behind it"}
};

#define N_OPTIONS	((int) (sizeof(options) / sizeof(options[0])))

_Static_assert(sizeof(options) / sizeof(options[0]) <= 64, "dlm_train_options.given has a bit for each option");
_Static_assert(sizeof(dl_train_mode) == sizeof(int) && sizeof(dl_recipe_name) == sizeof(int), "words are stored as int");

static void *
field(dlm_train_options *o, const dl_option *option)
{
	return (char *) o + option->offset;
}

/* ---------------------------------------------------------------- errors */

/* Append to a text of `size` bytes. */
static void
append(char *text, size_t size, const char *format, const char *word)
{
	size_t		n = strlen(text);

	snprintf(text + n, size - n, format, word);
}

/* What a value may be: "an integer from 1 to 4096". */
static void
describe_range(const dl_option *option, char *text, size_t size)
{
	text[0] = '\0';
	switch (option->type)
	{
		case OPT_WORD:
		case OPT_WORD_SWITCH:
			for (int i = 0; option->words[i] != NULL; i++)
				append(text, size, i == 0 ? "\"%s\"" : option->words[i + 1] != NULL ? ", \"%s\"" : " or \"%s\"",
					   option->words[i]);
			return;
		case OPT_SWITCH:
			append(text, size, "%s", "true or false");
			return;
		case OPT_AUTO_SWITCH:
			append(text, size, "%s", "\"auto\", true or false");
			return;
		case OPT_MODULES:
			append(text, size, "%s", "\"all\", \"attention\" or a list of");
			for (size_t i = 2; i < N_MODULES; i++)
				append(text, size, i == 2 ? " \"%s\"" : i + 1 < N_MODULES ? ", \"%s\"" : " and \"%s\"",
					   module_words[i].word);
			return;
		default:
			snprintf(text, size, "%s %s %.16g%s %s%.16g", option->type == OPT_NUMBER ? "a number" : "an integer",
					 option->flags & ABOVE ? "above" : "from", option->least, option->flags & ABOVE ? " and" : "",
					 option->flags & BELOW ? "to below " : option->flags & ABOVE ? "at most " : "to ", option->most);
	}
}

static dlm_status
bad_value(const dl_option *option, dlm_error *err)
{
	char		range[240];

	describe_range(option, range, sizeof(range));
	return dl_fail(err, DLM_EINVAL, "", "option \"%s\" must be %s", option->key, range);
}

/* Edits that make b of a (Levenshtein); texts beyond 40 bytes are far from everything. */
static int
edits(const char *a, const char *b)
{
	int			row[41];
	int			n = (int) strlen(b);

	if (n > 40 || strlen(a) > 40)
		return 1000;
	for (int j = 0; j <= n; j++)
		row[j] = j;
	for (int i = 1; a[i - 1] != '\0'; i++)
	{
		int			diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= n; j++)
		{
			int			change = diagonal + (a[i - 1] != b[j - 1]);
			int			other = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;

			diagonal = row[j];
			row[j] = change < other ? change : other;
		}
	}
	return row[n];
}

static dlm_status
unknown_option(const char *key, dlm_error *err)
{
	const char *best = NULL;
	int			least = 1000;
	char		hint[100] = "docs/fine-tuning.md lists the options.";
	char		clean[64];
	int			n = 0;

	for (int i = 0; i < N_OPTIONS; i++)
		if (edits(key, options[i].key) < least)
		{
			least = edits(key, options[i].key);
			best = options[i].key;
		}
	if (best != NULL && least * 2 <= (int) strlen(best))
		snprintf(hint, sizeof(hint), "Did you mean \"%s\"?", best);
	for (; n < 60 && key[n] != '\0'; n++)
		clean[n] = key[n] >= ' ' && key[n] <= '~' ? key[n] : '?';
	clean[n] = '\0';
	return dl_fail(err, DLM_EINVAL, hint, "unknown training option \"%s\"", clean);
}

/* ---------------------------------------------------------------- values */

static dlm_status
set_number(dlm_train_options *o, const dl_option *option, double v, dlm_error *err)
{
	bool		whole = option->type == OPT_NUMBER || (v >= -EXACT && v <= EXACT && v == (double) (int64_t) v);

	if (!(v >= option->least && v <= option->most) || !whole || ((option->flags & ABOVE) && v == option->least) ||
		((option->flags & BELOW) && v == option->most))
		return bad_value(option, err);
	if (option->type == OPT_NUMBER)
		*(double *) field(o, option) = v;
	else if (option->type == OPT_LONG)
		*(int64_t *) field(o, option) = (int64_t) v;
	else
		*(int *) field(o, option) = (int) v;
	return DLM_OK;
}

static dlm_status
set_switch(dlm_train_options *o, const dl_option *option, bool v, dlm_error *err)
{
	if (option->type == OPT_SWITCH)
		*(bool *) field(o, option) = v;
	else if (option->type == OPT_AUTO_SWITCH)
		*(int *) field(o, option) = v;
	else
		return bad_value(option, err);
	return DLM_OK;
}

/* Add the layers that a word [len] means. */
static dlm_status
add_module(uint32_t *bits, const dl_option *option, const char *word, size_t len, dlm_error *err)
{
	for (size_t i = 0; i < N_MODULES; i++)
		if (strlen(module_words[i].word) == len && memcmp(module_words[i].word, word, len) == 0)
		{
			*bits |= module_words[i].bits;
			return DLM_OK;
		}
	return bad_value(option, err);
}

/* One word, or words with commas between them. */
static dlm_status
set_modules(dlm_train_options *o, const dl_option *option, const char *text, dlm_error *err)
{
	uint32_t	bits = 0;

	for (;;)
	{
		size_t		len = strcspn(text, ",");
		dlm_status	st = add_module(&bits, option, text, len, err);

		if (st != DLM_OK)
			return st;
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	*(uint32_t *) field(o, option) = bits;
	return DLM_OK;
}

static dlm_status
set_word(dlm_train_options *o, const dl_option *option, const char *word, dlm_error *err)
{
	if (option->type == OPT_MODULES)
		return set_modules(o, option, word, err);
	if (option->type == OPT_AUTO_SWITCH && strcmp(word, "auto") == 0)
	{
		*(int *) field(o, option) = -1;
		return DLM_OK;
	}
	for (int i = 0; option->words != NULL && option->words[i] != NULL; i++)
		if (strcmp(option->words[i], word) == 0)
		{
			if (option->type == OPT_WORD)
				*(int *) field(o, option) = i;
			else
				*(bool *) field(o, option) = i;
			return DLM_OK;
		}
	return bad_value(option, err);
}

/* ---------------------------------------------------------------- JSON */

static dlm_status
set_list(dlm_train_options *o, const dl_option *option, const cJSON *list, dlm_error *err)
{
	const cJSON *item;
	uint32_t	bits = 0;

	if (option->type != OPT_MODULES)
		return bad_value(option, err);
	cJSON_ArrayForEach(item, list)
	{
		dlm_status	st = cJSON_IsString(item) ?
			add_module(&bits, option, item->valuestring, strlen(item->valuestring), err) : bad_value(option, err);

		if (st != DLM_OK)
			return st;
	}
	if (bits == 0)
		return bad_value(option, err);
	*(uint32_t *) field(o, option) = bits;
	return DLM_OK;
}

static dlm_status
set_json(dlm_train_options *o, const cJSON *item, dlm_error *err)
{
	int			i = 0;
	dlm_status	st;

	while (i < N_OPTIONS && strcmp(options[i].key, item->string) != 0)
		i++;
	if (i == N_OPTIONS)
		return unknown_option(item->string, err);
	if (o->given & (uint64_t) 1 << i)
		return dl_fail(err, DLM_EINVAL, "", "option \"%s\" is given twice", options[i].key);
	if (cJSON_IsNumber(item))
		st = options[i].type <= OPT_NUMBER ? set_number(o, &options[i], item->valuedouble, err) : bad_value(&options[i], err);
	else if (cJSON_IsBool(item))
		st = set_switch(o, &options[i], cJSON_IsTrue(item), err);
	else if (cJSON_IsString(item))
		st = set_word(o, &options[i], item->valuestring, err);
	else if (cJSON_IsArray(item))
		st = set_list(o, &options[i], item, err);
	else
		st = bad_value(&options[i], err);
	o->given |= (uint64_t) 1 << i;
	return st;
}

dlm_status
dlm_train_options_parse(const char *json, size_t size, dlm_objective objective, dlm_train_options **out, dlm_error *err)
{
	dlm_train_options *o = calloc(1, sizeof(*o));
	const cJSON *item;
	cJSON	   *root = NULL;
	dlm_status	st = DLM_OK;

	*out = NULL;
	if (o == NULL)
		return dl_fail_memory(err);
	o->recipe.objective = (dl_objective) objective;
	if (size > 0)
		st = dl_json_parse(json, size, "training options", &root, err);
	if (st == DLM_EDAMAGED || (st == DLM_OK && size > 0 && !cJSON_IsObject(root)))
		st = dl_fail(err, DLM_EINVAL, "", "training options are not a JSON object");
	if (st == DLM_OK && root != NULL)
		cJSON_ArrayForEach(item, root)
		{
			st = set_json(o, item, err);
			if (st != DLM_OK)
				break;
		}
	cJSON_Delete(root);
	if (st == DLM_OK)
		*out = o;
	else
		free(o);
	return st;
}

/* ---------------------------------------------------------------- command lines */

/* Is a key of JSON the one of a command line? '-' and '_' are the same. */
static bool
same_key(const char *key, const char *text)
{
	for (; *key != '\0' && (*key == *text || (*key == '_' && *text == '-')); text++)
		key++;
	return *key == '\0' && *text == '\0';
}

dlm_status
dl_train_option_set(dlm_train_options *o, const char *key, const char *text, dlm_error *err)
{
	const dl_option *option = options;
	dlm_status	st;
	char	   *end;

	if (strncmp(key, "--", 2) == 0)
		key += 2;
	while (option < options + N_OPTIONS && !same_key(option->key, key))
		option++;
	if (option == options + N_OPTIONS)
		return unknown_option(key, err);
	if (option->type <= OPT_NUMBER)
	{
		double		v = strtod(text, &end);

		st = *text == '\0' || isspace((unsigned char) *text) || *end != '\0' ? bad_value(option, err)
			: set_number(o, option, v, err);
	}
	else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		st = set_switch(o, option, text[0] == 't', err);
	else
		st = set_word(o, option, text, err);
	o->given |= (uint64_t) 1 << (option - options);
	return st;
}

bool
dl_train_option_flag(int i, char flag[32], const char **help)
{
	if (i < 0 || i >= N_OPTIONS)
		return false;
	snprintf(flag, 32, "--%s", options[i].key);
	for (char *c = flag; *c != '\0'; c++)
		if (*c == '_')
			*c = '-';
	*help = options[i].help;
	return true;
}

/* ---------------------------------------------------------------- recipes */

/* Was the option of this field given? */
static bool
is_given(const dlm_train_options *o, size_t offset)
{
	for (int i = 0; i < N_OPTIONS; i++)
		if (options[i].offset == offset)
			return (o->given >> i & 1) != 0;
	return false;
}

static size_t
size_of(const dl_option *option)
{
	switch (option->type)
	{
		case OPT_NUMBER:
			return sizeof(double);
		case OPT_LONG:
			return sizeof(int64_t);
		case OPT_SWITCH:
		case OPT_WORD_SWITCH:
			return sizeof(bool);
		default:
			return sizeof(int);
	}
}

/* The paper's length head: dropout of PyTorch's layers; a schedule that suits one new layer. */
static void
fill_in_length(dl_recipe *r)
{
	r->train.mode = DL_TRAIN_LENGTH;
	r->train.replaced = false;
	r->dropout = r->attention_dropout = 0.1;
	r->rate = 3e-4;
	r->schedule = DL_RATE_COSINE;
	r->last_rate = 0.1;
	r->warmup = 0.05;
}

/*
 * Defaults that depend on other options. The mode is lora for every model, encoders too: full weights take 16 bytes a
 * parameter (value, gradient, two moments) against 4 or fewer that are frozen, and an int8 model has no other way but
 * biases. Rates: the paper's for all weights (5e-5), what is usual for factors and for biases.
 */
static void
fill_in(const dlm_train_options *o, dl_recipe *r)
{
	double		scale = r->train.alpha / r->train.rank;

	r->objective = o->recipe.objective;
	r->train.lora = module_words[0].bits;
	r->train.replaced = true;		/* the mask's own embedding: a few hundred numbers that every row reads */
	if (r->objective == DL_LENGTH_ROWS)
		fill_in_length(r);
	if (is_given(o, R(train.mode)) && o->recipe.train.mode != DL_TRAIN_LORA)
		r->rate = o->recipe.train.mode == DL_TRAIN_ALL ? 5e-5 : 5e-4;
	if (is_given(o, R(train.rank)))
		r->train.alpha = scale * o->recipe.train.rank;
}

/* Options that mean nothing to an objective are refused, not passed over. */
static dlm_status
check_objective(const dlm_train_options *o, const dl_recipe *r, dlm_error *err)
{
	static const char *const objectives[] = {"instruction", "text", "length"};
	bool		length = r->objective == DL_LENGTH_ROWS;

	for (int i = 0; i < N_OPTIONS; i++)
	{
		size_t		at = options[i].offset;
		bool		other = at >= M(timesteps) || at == R(train.mode) || at == R(train.rank) || at == R(train.alpha) ||
			at == R(train.lora) || at == R(lora_dropout) || at == R(recompute);

		if ((o->given >> i & 1) != 0 && (length ? other : at == R(train.length_classes)))
			return dl_fail(err, DLM_EINVAL, "", "option \"%s\" is not one of objective \"%s\"", options[i].key,
						   objectives[r->objective]);
	}
	return DLM_OK;
}

/* The teacher is the base as the left-to-right model that it was made from: it must be one, and stay as it is. */
static dlm_status
check_distill(const dlm_train_options *o, const dlm_model *model, const dl_recipe *r, dlm_error *err)
{
	if (!is_given(o, M(distill)) || r->masking.distill == 0)
		return DLM_OK;
	if (r->objective == DL_LENGTH_ROWS)
		return dl_fail(err, DLM_EINVAL, "The base has no opinion of a text's length that a new head could learn from.",
					   "option \"distill\" is not one of objective \"length\"");
	if (model->config.logit_shift == 0)
		return dl_fail(err, DLM_EINVAL, "The teacher is the base, run from left to right; this one never was such a model.",
					   "option \"distill\" needs a model made from a left-to-right one (\"logit_shift\" 1)");
	if (r->train.mode != DL_TRAIN_LORA)
		return dl_fail(err, DLM_EINVAL, "The teacher is the base beside LoRA's factors; this mode changes the base itself.",
					   "option \"distill\" is of mode \"lora\", not \"%s\"", mode_words[r->train.mode]);
	return DLM_OK;
}

static dlm_status
check_recipe(const dlm_train_options *o, const dlm_model *model, const dl_recipe *r, dlm_error *err)
{
	static const struct
	{
		size_t		offset;
		const char *key;
	}			of_lora[] = {
		{R(train.rank), "rank"}, {R(train.alpha), "alpha"}, {R(train.lora), "modules"}, {R(lora_dropout), "lora_dropout"}
	};

	if (check_distill(o, model, r, err) != DLM_OK || check_objective(o, r, err) != DLM_OK)
		return DLM_EINVAL;
	for (size_t i = 0; r->train.mode != DL_TRAIN_LORA && i < sizeof(of_lora) / sizeof(of_lora[0]); i++)
		if (is_given(o, of_lora[i].offset))
			return dl_fail(err, DLM_EINVAL, "", "option \"%s\" is of mode \"lora\", not \"%s\"", of_lora[i].key,
						   mode_words[r->train.mode]);
	if (r->train.mode == DL_TRAIN_LORA && r->lora_dropout > 0 && (r->train.lora & DL_DENSE_OUTPUT) != 0)
		return dl_fail(err, DLM_EINVAL, "", "option \"lora_dropout\" does not go with \"output\" among the \"modules\"");
	if (r->masking.cover_least > r->masking.cover_most)
		return dl_fail(err, DLM_EINVAL, "", "option \"cover_least\" must not be above \"cover_most\", %g",
					   r->masking.cover_most);
	if (r->row_tokens > (int) model->config.context)
		return dl_fail(err, DLM_EINVAL, "", "option \"row_tokens\" must not be above the model's context, %u",
					   model->config.context);
	return DLM_OK;
}

dlm_status
dl_train_recipe_resolve(const dlm_train_options *o, const dlm_model *model, dl_recipe *out, dlm_error *err)
{
	dl_recipe_name name = o->name;
	dlm_train_options resolved = {0};

	if (name == DL_RECIPE_AUTO)
		name = model->config.logit_shift != 0 ? DL_RECIPE_ADAPT : DL_RECIPE_PAPER;
	resolved.recipe = name == DL_RECIPE_ADAPT ? dl_recipe_adapt : dl_recipe_paper;
	fill_in(o, &resolved.recipe);
	for (int i = 0; i < N_OPTIONS; i++)
		if (o->given >> i & 1)
			memcpy(field(&resolved, &options[i]), (const char *) o + options[i].offset, size_of(&options[i]));
	*out = resolved.recipe;
	out->train.seed = out->seed;
	return check_recipe(o, model, out, err);
}
