/*
 * settings.c - what is special to diffusion: dlm.json (DESIGN 4), or, where
 * it is silent, what tokenizer.json, config.json and the family say.
 *
 * Texts of tokens are resolved to ids here, once, so that the .dlm holds only
 * ids and templates. A key that is not known is an error: a misspelt one must
 * not pass for its default.
 */
#include "convert.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

#define MAX_IDS		64

typedef struct dl_id_list
{
	int32_t		id[MAX_IDS];
	int			n;
} dl_id_list;

typedef struct dl_resolver
{
	const dl_settings_in *in;
	dl_arch    *arch;
	dl_settings_out *out;
	dlm_error  *err;
	dl_id_list	begin,
				end,
				stop,
				never_generate,
				never_score;
} dl_resolver;

static const cJSON *
get(const cJSON *object, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	return v != NULL && !cJSON_IsNull(v) ? v : NULL;
}

static dlm_status
bad_key(dlm_error *err, const char *key)
{
	return dl_fail(err, DLM_EINVAL, "docs/models.md describes the file.", "dlm.json has no valid \"%s\"", key);
}

/* ---------------------------------------------------------------- records */

dlm_status
dl_records_put(dl_records *r, uint32_t key, const void *data, size_t size, dlm_error *err)
{
	size_t		padded = (size + 3) / 4 * 4,
				need = r->size + sizeof(dl_setting) + padded;
	dl_setting	head = {key, (uint32_t) size};

	if (size > 1 << 20)
		return dl_fail(err, DLM_EINVAL, "", "a text of dlm.json is longer than 1 MB");
	if (need > r->capacity)
	{
		uint8_t    *grown = realloc(r->data, need * 2);

		if (grown == NULL)
			return dl_fail_memory(err);
		r->data = grown;
		r->capacity = need * 2;
	}
	memcpy(r->data + r->size, &head, sizeof(head));
	memset(r->data + r->size + sizeof(head), 0, padded);
	if (size > 0)
		memcpy(r->data + r->size + sizeof(head), data, size);
	r->size = need;
	return DLM_OK;
}

static dlm_status
put_ids(dl_resolver *r, uint32_t key, const dl_id_list *ids)
{
	if (ids->n == 0)
		return DLM_OK;
	return dl_records_put(&r->out->settings, key, ids->id, (size_t) ids->n * sizeof(int32_t), r->err);
}

static dlm_status
put_text(dl_resolver *r, dl_records *records, uint32_t key, const cJSON *v, const char *name)
{
	if (v == NULL)
		return DLM_OK;
	if (!cJSON_IsString(v))
		return bad_key(r->err, name);
	return dl_records_put(records, key, v->valuestring, strlen(v->valuestring), r->err);
}

void
dl_settings_free(dl_settings_out *out)
{
	free(out->settings.data);
	free(out->meta.data);
	memset(out, 0, sizeof(*out));
}

/* ---------------------------------------------------------------- ids */

static dlm_status
add_id(dl_resolver *r, dl_id_list *list, int64_t id)
{
	if (id < 0 || id >= r->arch->config.vocab)
		return dl_fail(r->err, DLM_EINVAL, "", "a special token's id %lld is not in the model's vocabulary of %u",
					   (long long) id, r->arch->config.vocab);
	for (int i = 0; i < list->n; i++)
		if (list->id[i] == id)
			return DLM_OK;
	if (list->n == MAX_IDS)
		return dl_fail(r->err, DLM_EINVAL, "", "dlm.json lists more than %d tokens", MAX_IDS);
	list->id[list->n++] = (int32_t) id;
	return DLM_OK;
}

/* The id of one token by its text: a special token, or a text that is one token. -1 if it is neither. */
static dlm_status
find_token(dl_resolver *r, const char *text, int64_t *id)
{
	dlm_text	t = {text, strlen(text)};
	dl_ids		ids = {0};
	dlm_status	st;

	*id = dl_tok_special(r->in->tok, t);
	if (*id >= 0 || t.len == 0)
		return DLM_OK;
	st = dl_tok_encode(r->in->tok, t, DL_TOK_CONTINUE, r->in->arena, r->in->env, &ids, r->err);
	if (st == DLM_OK && ids.n == 1)
		*id = ids.id[0];
	return st;
}

static dlm_status
require_token(dl_resolver *r, const char *text, const char *key, int64_t *id)
{
	dlm_status	st = find_token(r, text, id);
	char		clean[100];

	if (st == DLM_OK && *id < 0)
		st = dl_fail(r->err, DLM_EINVAL, "", "\"%s\" of dlm.json names \"%s\", which is not a token of the tokenizer",
					 key, dl_clean_name(text, clean));
	return st;
}

/* An array of token texts. *given says whether the key is there. */
static dlm_status
read_tokens(dl_resolver *r, const char *key, dl_id_list *list, bool *given)
{
	const cJSON *v = get(r->in->settings, key),
			   *item;

	*given = v != NULL;
	if (v == NULL)
		return DLM_OK;
	if (!cJSON_IsArray(v))
		return bad_key(r->err, key);
	cJSON_ArrayForEach(item, v)
	{
		int64_t		id;
		dlm_status	st;

		if (!cJSON_IsString(item))
			return bad_key(r->err, key);
		st = require_token(r, item->valuestring, key, &id);
		if (st == DLM_OK)
			st = add_id(r, list, id);
		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

/* A text of special tokens and ordinary text, as the begin or end of a row; repeats are kept. */
static dlm_status
encode_row_text(dl_resolver *r, const char *text, dl_id_list *list)
{
	dlm_text	rest = {text, strlen(text)};

	while (rest.len > 0)
	{
		dl_ids		ids = {0};
		int32_t		special;
		size_t		n = 0;
		dlm_text	plain = rest;
		dlm_status	st;

		special = dl_tok_special_at(r->in->tok, rest, &n);
		if (special >= 0)
		{
			if (list->n == MAX_IDS)
				return dl_fail(r->err, DLM_EINVAL, "", "begin or end of dlm.json is longer than %d tokens", MAX_IDS);
			list->id[list->n++] = special;
			rest.data += n;
			rest.len -= n;
			continue;
		}
		for (plain.len = 1; plain.len < rest.len; plain.len++)
		{
			dlm_text	here = {rest.data + plain.len, rest.len - plain.len};

			if (dl_tok_special_at(r->in->tok, here, &n) >= 0)
				break;
		}
		st = dl_tok_encode(r->in->tok, plain, DL_TOK_CONTINUE, r->in->arena, r->in->env, &ids, r->err);
		if (st != DLM_OK)
			return st;
		if (ids.n > MAX_IDS - list->n)
			return dl_fail(r->err, DLM_EINVAL, "", "begin or end of dlm.json is longer than %d tokens", MAX_IDS);
		memcpy(list->id + list->n, ids.id, (size_t) ids.n * sizeof(int32_t));
		list->n += ids.n;
		rest.data += plain.len;
		rest.len -= plain.len;
	}
	return DLM_OK;
}

/* ---------------------------------------------------------------- tokenizer.json */

static void
append_id(dl_id_list *list, const cJSON *v)
{
	if (list->n < MAX_IDS && cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble < DL_MAX_VOCAB)
		list->id[list->n++] = (int32_t) v->valuedouble;
}

/* TemplateProcessing: what stands before and after the text of a single row. */
static void
read_template_processing(const cJSON *p, dl_id_list *begin, dl_id_list *end)
{
	const cJSON *piece,
			   *specials = get(p, "special_tokens");
	dl_id_list *list = begin;

	cJSON_ArrayForEach(piece, get(p, "single"))
	{
		const cJSON *special = get(piece, "SpecialToken"),
				   *name = get(special, "id"),
				   *id;

		if (special == NULL)
			list = end;
		else if (cJSON_IsString(name))
			cJSON_ArrayForEach(id, get(get(specials, name->valuestring), "ids"))
				append_id(list, id);
	}
}

/* Sets begin and end if the processor adds tokens. */
static void
read_post_processor(const cJSON *p, dl_id_list *begin, dl_id_list *end)
{
	const cJSON *type = get(p, "type"),
			   *inner;

	if (!cJSON_IsString(type))
		return;
	if (strcmp(type->valuestring, "TemplateProcessing") == 0)
		read_template_processing(p, begin, end);
	else if (strcmp(type->valuestring, "BertProcessing") == 0 || strcmp(type->valuestring, "RobertaProcessing") == 0)
	{
		append_id(begin, cJSON_GetArrayItem(get(p, "cls"), 1));
		append_id(end, cJSON_GetArrayItem(get(p, "sep"), 1));
	}
	else if (strcmp(type->valuestring, "Sequence") == 0)
	{
		/* one level: a sequence within a sequence does not occur */
		cJSON_ArrayForEach(inner, get(p, "processors"))
		{
			const cJSON *kind = get(inner, "type");

			if (cJSON_IsString(kind) && strcmp(kind->valuestring, "TemplateProcessing") == 0)
				read_template_processing(inner, begin, end);
		}
	}
}

/* ---------------------------------------------------------------- the parts */

static dlm_status
resolve_mask(dl_resolver *r)
{
	static const char *const usual[] = {"[MASK]", "<mask>", "<|mask|>", "<|mdm_mask|>", "|<MASK>|"};
	const cJSON *own = get(r->in->settings, "mask_token"),
			   *config = get(r->in->tokenizer_config, "mask_token");
	int64_t		id = r->arch->mask_id;
	dlm_status	st = DLM_OK;

	if (own != NULL)
	{
		if (!cJSON_IsString(own))
			return bad_key(r->err, "mask_token");
		st = require_token(r, own->valuestring, "mask_token", &id);
	}
	else if (id < 0)
	{
		if (cJSON_IsObject(config))
			config = get(config, "content");
		if (cJSON_IsString(config))
			id = dl_tok_special(r->in->tok, (dlm_text) {config->valuestring, strlen(config->valuestring)});
		for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]) && id < 0; i++)
			id = dl_tok_special(r->in->tok, (dlm_text) {usual[i], strlen(usual[i])});
	}
	if (st == DLM_OK && id < 0)
		st = dl_fail(r->err, DLM_EINVAL, "Name it as \"mask_token\" in dlm.json.", "model has no mask token");
	if (st == DLM_OK && id >= r->arch->config.tokens)
		st = dl_fail(r->err, DLM_EINVAL, "", "mask token %lld is not one of the tokenizer's %u ids", (long long) id,
					 r->arch->config.tokens);
	r->arch->config.mask_id = (uint32_t) id;
	return st;
}

static dlm_status
resolve_row_ends(dl_resolver *r)
{
	const cJSON *begin = get(r->in->settings, "begin"),
			   *end = get(r->in->settings, "end");
	dl_id_list	own_begin = {.n = 0},
				own_end = {.n = 0};
	dlm_status	st = DLM_OK;

	if ((begin != NULL && !cJSON_IsString(begin)) || (end != NULL && !cJSON_IsString(end)))
		return bad_key(r->err, begin != NULL && !cJSON_IsString(begin) ? "begin" : "end");
	read_post_processor(r->in->post_processor, &own_begin, &own_end);
	if (own_begin.n == 0 && r->arch->begin_id >= 0 && r->arch->begin_id < r->arch->config.vocab)
		own_begin.id[own_begin.n++] = (int32_t) r->arch->begin_id;
	r->begin = own_begin;
	r->end = own_end;
	if (begin != NULL)
	{
		r->begin.n = 0;
		st = encode_row_text(r, begin->valuestring, &r->begin);
	}
	if (end != NULL && st == DLM_OK)
	{
		r->end.n = 0;
		st = encode_row_text(r, end->valuestring, &r->end);
	}
	for (int i = 0; i < r->begin.n + r->end.n && st == DLM_OK; i++)
	{
		dl_id_list	checked = {.n = 0};

		st = add_id(r, &checked, i < r->begin.n ? r->begin.id[i] : r->end.id[i - r->begin.n]);
	}
	return st;
}

static dlm_status
resolve_lists(dl_resolver *r)
{
	bool		given;
	int64_t		mask = r->arch->config.mask_id;
	dlm_status	st = read_tokens(r, "stop_tokens", &r->stop, &given);

	for (int i = 0; i < r->arch->n_stop && !given && st == DLM_OK; i++)
		if (r->arch->stop_ids[i] < r->arch->config.vocab)
			st = add_id(r, &r->stop, r->arch->stop_ids[i]);
	if (r->stop.n == 0 && !given)
		r->stop = r->end;
	if (st == DLM_OK)
		st = read_tokens(r, "never_generate", &r->never_generate, &given);
	if (st == DLM_OK)
		st = add_id(r, &r->never_generate, mask);
	if (st == DLM_OK)
		st = read_tokens(r, "never_score", &r->never_score, &given);
	if (st == DLM_OK && !given)
		st = add_id(r, &r->never_score, mask);
	return st;
}

static dlm_status
resolve_network(dl_resolver *r)
{
	const cJSON *shift = get(r->in->settings, "logit_shift"),
			   *attention = get(r->in->settings, "attention"),
			   *head = get(r->in->settings, "length_head");
	dl_config  *c = &r->arch->config;

	if (shift != NULL)
	{
		if (!cJSON_IsNumber(shift) || (shift->valuedouble != 0 && shift->valuedouble != 1))
			return bad_key(r->err, "logit_shift");
		c->logit_shift = shift->valuedouble == 1;
	}
	if (attention != NULL)
	{
		bool		context = cJSON_IsString(attention) && strcmp(attention->valuestring, "context") == 0;

		if (!context && !(cJSON_IsString(attention) && strcmp(attention->valuestring, "full") == 0))
			return bad_key(r->err, "attention");
		c->attention = context ? DL_ATT_CONTEXT : DL_ATT_FULL;
	}
	if (head != NULL && !cJSON_IsBool(head))
		return bad_key(r->err, "length_head");
	r->out->length_head = head == NULL ? -1 : cJSON_IsTrue(head);
	return DLM_OK;
}

static dlm_status
resolve_embedding_rows(dl_resolver *r)
{
	const cJSON *rows = get(r->in->settings, "embedding_rows"),
			   *item;
	dl_config  *c = &r->arch->config;

	if (rows != NULL && !cJSON_IsObject(rows))
		return bad_key(r->err, "embedding_rows");
	cJSON_ArrayForEach(item, rows)
	{
		int64_t		id;
		dlm_status	st;

		if (!cJSON_IsString(item) || c->n_replaced == DL_MAX_REPLACED)
			return bad_key(r->err, "embedding_rows");
		st = require_token(r, item->string, "embedding_rows", &id);
		if (st != DLM_OK)
			return st;
		for (uint32_t i = 0; i < c->n_replaced; i++)
			if (c->replaced[i] == (uint32_t) id)
				return bad_key(r->err, "embedding_rows");
		r->out->replaced_names[c->n_replaced] = item->valuestring;
		c->replaced[c->n_replaced++] = (uint32_t) id;
	}
	return DLM_OK;
}

/* A name out of a list as its number. */
static dlm_status
put_choice(dl_resolver *r, const cJSON *defaults, const char *name, uint32_t key, const char *const *choices)
{
	const cJSON *v = get(defaults, name);

	if (v == NULL)
		return DLM_OK;
	for (uint32_t i = 0; choices[i] != NULL && cJSON_IsString(v); i++)
		if (strcmp(choices[i], v->valuestring) == 0)
		{
			uint32_t	number = i + 1;	/* 0 is "default" in the public enums */

			return dl_records_put(&r->out->settings, key, &number, sizeof(number), r->err);
		}
	return bad_key(r->err, name);
}

static dlm_status
put_length_bias(dl_resolver *r, const cJSON *v)
{
	double		bias[5];
	const cJSON *item;
	int			n = 0;

	if (v == NULL)
		return DLM_OK;
	cJSON_ArrayForEach(item, v)
	{
		if (n == 5 || !cJSON_IsNumber(item) || !(item->valuedouble > -1e6 && item->valuedouble < 1e6))
			return bad_key(r->err, "length_bias");
		bias[n++] = item->valuedouble;
	}
	if (n != 5)
		return bad_key(r->err, "length_bias");
	return dl_records_put(&r->out->settings, DL_S_LENGTH_BIAS, bias, sizeof(bias), r->err);
}

static dlm_status
put_defaults(dl_resolver *r)
{
	static const char *const scoring[] = {"one_pass", "grouped", "chain", "pll", NULL};
	static const char *const normalize[] = {"mean", "sum", NULL};
	static const char *const calibrate[] = {"none", "content_free", NULL};
	const cJSON *d = get(r->in->settings, "defaults"),
			   *sampler = get(d, "sampler"),
			   *steps = get(d, "steps");
	dlm_sampler parsed;
	dlm_status	st = DLM_OK;

	if (sampler != NULL)
	{
		if (!cJSON_IsString(sampler))
			return bad_key(r->err, "sampler");
		st = dlm_sampler_parse(sampler->valuestring, &parsed, r->err);
	}
	if (st == DLM_OK)
		st = put_text(r, &r->out->settings, DL_S_SAMPLER, sampler, "sampler");
	if (st == DLM_OK)
		st = put_choice(r, d, "scoring", DL_S_SCORING, scoring);
	if (st == DLM_OK)
		st = put_choice(r, d, "normalize", DL_S_NORMALIZE, normalize);
	if (st == DLM_OK)
		st = put_choice(r, d, "calibrate", DL_S_CALIBRATE, calibrate);
	if (st == DLM_OK && steps != NULL)
	{
		uint32_t	n = cJSON_IsNumber(steps) && steps->valuedouble >= 1 && steps->valuedouble <= 10000
			? (uint32_t) steps->valuedouble : 0;

		st = n == 0 ? bad_key(r->err, "steps") : dl_records_put(&r->out->settings, DL_S_STEPS, &n, sizeof(n), r->err);
	}
	return st == DLM_OK ? put_length_bias(r, get(d, "length_bias")) : st;
}

static dlm_status
put_texts(dl_resolver *r)
{
	static const struct
	{
		uint32_t	key;
		bool		template;
		bool		meta;
		const char *name;
	}			texts[] = {
		{DL_S_TEMPLATE_GENERATE, true, false, "generate"}, {DL_S_TEMPLATE_CLASSIFY, true, false, "classify"},
		{DL_S_TEMPLATE_CLASSIFY_MULTI, true, false, "classify_multi"}, {DL_S_TEMPLATE_INFILL, true, false, "infill"},
		{DL_S_CLASSIFY_INSTRUCTION, false, false, "classify_instruction"},
		{DL_S_CONTENT_FREE, false, false, "content_free"},
		{DL_S_LICENSE, false, true, "license"}, {DL_S_SOURCE, false, true, "source"},
	};
	const cJSON *s = r->in->settings,
			   *templates = get(s, "templates");

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		dlm_status	st = put_text(r, texts[i].meta ? &r->out->meta : &r->out->settings, texts[i].key,
								  get(texts[i].template ? templates : s, texts[i].name), texts[i].name);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
check_keys(const cJSON *object, const char *const *known, const char *where, dlm_error *err)
{
	const cJSON *item;
	char		clean[100];

	if (object == NULL)
		return DLM_OK;
	if (!cJSON_IsObject(object))
		return bad_key(err, where);
	cJSON_ArrayForEach(item, object)
	{
		int			i = 0;

		while (known[i] != NULL && strcmp(known[i], item->string) != 0)
			i++;
		if (known[i] == NULL)
			return dl_fail(err, DLM_EINVAL, "docs/models.md lists the keys.", "%s has an unknown key \"%s\"", where,
						   dl_clean_name(item->string, clean));
	}
	return DLM_OK;
}

static dlm_status
check_settings(const cJSON *s, dlm_error *err)
{
	static const char *const keys[] = {"format", "mask_token", "begin", "end", "never_generate", "never_score",
		"stop_tokens", "logit_shift", "attention", "templates", "classify_instruction", "content_free", "defaults",
	"embedding_rows", "length_head", "license", "source", NULL};
	static const char *const templates[] = {"generate", "classify", "classify_multi", "infill", NULL};
	static const char *const defaults[] = {"sampler", "scoring", "normalize", "calibrate", "steps", "length_bias", NULL};
	const cJSON *format = get(s, "format");
	dlm_status	st = check_keys(s, keys, "dlm.json", err);

	if (st == DLM_OK)
		st = check_keys(get(s, "templates"), templates, "templates", err);
	if (st == DLM_OK)
		st = check_keys(get(s, "defaults"), defaults, "defaults", err);
	if (st == DLM_OK && format != NULL && !(cJSON_IsNumber(format) && format->valuedouble == 1))
		st = dl_fail(err, DLM_EUNSUPPORTED, "", "dlm.json has an unknown format");
	return st;
}

dlm_status
dl_settings_resolve(const dl_settings_in *in, dl_arch *arch, dl_settings_out *out, dlm_error *err)
{
	dl_resolver r = {.in = in, .arch = arch, .out = out, .err = err};
	int			tokens = dl_tok_count(in->tok);
	dlm_status	st = check_settings(in->settings, err);

	if (st != DLM_OK)
		return st;
	if (tokens < 1 || (uint32_t) tokens > arch->config.vocab)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer has %d ids, but the model's embedding %u rows", tokens,
					   arch->config.vocab);
	arch->config.tokens = (uint32_t) tokens;
	if ((st = resolve_mask(&r)) != DLM_OK || (st = resolve_row_ends(&r)) != DLM_OK ||
		(st = resolve_lists(&r)) != DLM_OK || (st = resolve_network(&r)) != DLM_OK ||
		(st = resolve_embedding_rows(&r)) != DLM_OK || (st = put_ids(&r, DL_S_BEGIN_IDS, &r.begin)) != DLM_OK ||
		(st = put_ids(&r, DL_S_END_IDS, &r.end)) != DLM_OK || (st = put_ids(&r, DL_S_STOP_IDS, &r.stop)) != DLM_OK ||
		(st = put_ids(&r, DL_S_NEVER_GENERATE, &r.never_generate)) != DLM_OK ||
		(st = put_ids(&r, DL_S_NEVER_SCORE, &r.never_score)) != DLM_OK || (st = put_texts(&r)) != DLM_OK)
		return st;
	return put_defaults(&r);
}
