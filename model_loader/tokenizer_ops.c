/*
 * tokenizer_ops.c - tokenizer.json's normalisers, pre-tokenisers and decoders into operations.
 *
 * Each has a type; sequences are flattened. A type, a regular expression or an
 * option that we do not know exactly is refused by name: a tokenizer that is
 * almost right would be wrong without anybody noticing.
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

#define MAX_NESTING	8

static const tb_span none = {0, 0};

const char *
dl_json_string(const cJSON *json, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
}

bool
dl_json_bool(const cJSON *json, const char *key, bool otherwise)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, key);

	return cJSON_IsBool(v) ? cJSON_IsTrue(v) : otherwise;
}

static int
json_int(const cJSON *json, const char *key, int otherwise)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, key);

	return cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble <= 1e6 ? (int) v->valuedouble : otherwise;
}

/* What went wrong, with the name as the file gives it: at most 100 characters, printable ASCII only. */
static dlm_status
refuse(dlm_error *err, const char *what, const char *name)
{
	char		shown[101];
	size_t		n = 0;

	for (; name != NULL && name[n] != '\0' && n < sizeof(shown) - 1; n++)
		shown[n] = name[n] >= ' ' && name[n] <= '~' ? name[n] : '?';
	shown[n] = '\0';
	return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's %s \"%s\" is not supported", what, shown);
}

static tb_span
put_text(dl_builder *b, const char *s)
{
	return dl_build_string(b, s, strlen(s));
}

/* A pattern: {"String": s} or {"Regex": r}; exactly one of the two is set. */
static bool
read_pattern(const cJSON *json, const char **literal, const char **regex)
{
	const cJSON *p = cJSON_GetObjectItemCaseSensitive(json, "pattern");

	*literal = dl_json_string(p, "String");
	*regex = dl_json_string(p, "Regex");
	return (*literal != NULL) != (*regex != NULL);
}

/* ---------------------------------------------------------------- sequences */

typedef dlm_status (*read_one) (dl_builder *b, const cJSON *json, const char *type, dlm_error *err);

/* Run `one` over a component and, if it is a Sequence, over its members, in order. */
static dlm_status
read_nested(dl_builder *b, const cJSON *json, const char *members, read_one one, int depth, dlm_error *err)
{
	const char *type = dl_json_string(json, "type");
	const cJSON *list,
			   *item;

	if (json == NULL || cJSON_IsNull(json))
		return DLM_OK;
	if (type == NULL || depth > MAX_NESTING)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: a component has no type or is nested too deep");
	if (strcmp(type, "Sequence") != 0)
		return one(b, json, type, err);
	list = cJSON_GetObjectItemCaseSensitive(json, members);
	if (!cJSON_IsArray(list))
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: a sequence has no members");
	cJSON_ArrayForEach(item, list)
	{
		dlm_status	st = read_nested(b, item, members, one, depth + 1, err);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

/* ---------------------------------------------------------------- normalisers */

static void
norm(dl_builder *b, tb_normalize_code code)
{
	dl_build_op(&b->normalize, code, 0, 0, 0, none, none);
}

static void
read_bert(dl_builder *b, const cJSON *json)
{
	const cJSON *accents = cJSON_GetObjectItemCaseSensitive(json, "strip_accents");
	bool		lowercase = dl_json_bool(json, "lowercase", true);

	if (dl_json_bool(json, "clean_text", true))
		norm(b, TB_N_BERT_CLEAN);
	if (dl_json_bool(json, "handle_chinese_chars", true))
		norm(b, TB_N_BERT_CJK);
	if (cJSON_IsBool(accents) ? cJSON_IsTrue(accents) : lowercase)
	{
		norm(b, TB_N_NFD);
		norm(b, TB_N_BERT_ACCENTS);
	}
	if (lowercase)
		norm(b, TB_N_LOWERCASE);
}

static dlm_status
read_replace(dl_builder *b, const cJSON *json, dlm_error *err)
{
	const char *content = dl_json_string(json, "content"),
			   *literal,
			   *regex;

	if (content == NULL || !read_pattern(json, &literal, &regex))
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: Replace lacks its pattern or content");
	if (regex != NULL && strcmp(regex, " {2,}") == 0)
		dl_build_op(&b->normalize, TB_N_REPLACE_SPACES, 0, 0, 0, none, put_text(b, content));
	else if (regex != NULL)
		return refuse(err, "Replace pattern", regex);
	else if (literal[0] != '\0')
		dl_build_op(&b->normalize, TB_N_REPLACE, 0, 0, 0, put_text(b, literal), put_text(b, content));
	return DLM_OK;
}

/* Decode base64; false if it is none. */
static bool
base64(const char *s, dl_bytes *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t	acc = 0;
	int			bits = 0;

	for (; *s != '\0' && *s != '='; s++)
	{
		const char *d = strchr(digits, *s);
		char		byte;

		if (d == NULL)
			return false;
		acc = (acc << 6 | (uint32_t) (d - digits)) & 0xffffff;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		byte = (char) (acc >> bits);
		dl_bytes_put(out, &byte, 1);
	}
	return !out->failed;
}

static dlm_status
read_precompiled(dl_builder *b, const cJSON *json, dlm_error *err)
{
	const char *map = dl_json_string(json, "precompiled_charsmap");
	uint32_t	size;

	if (map == NULL || map[0] == '\0')
		return DLM_OK;
	if (b->charsmap.len > 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer has two precompiled character maps");
	if (!base64(map, &b->charsmap) || b->charsmap.len < 9)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: bad precompiled character map");
	memcpy(&size, b->charsmap.data, 4);
	if (size == 0 || size % 4 != 0 || size > b->charsmap.len - 5)
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: bad precompiled character map");
	if (b->charsmap.data[b->charsmap.len - 1] != '\0')
		dl_bytes_put(&b->charsmap, "", 1);
	norm(b, TB_N_CHARSMAP);
	return DLM_OK;
}

static dlm_status
read_one_normalizer(dl_builder *b, const cJSON *json, const char *type, dlm_error *err)
{
	static const struct
	{
		const char *type;
		tb_normalize_code code;
	}			plain[] = {
		{"NFC", TB_N_NFC}, {"NFD", TB_N_NFD}, {"NFKC", TB_N_NFKC}, {"NFKD", TB_N_NFKD}, {"Lowercase", TB_N_LOWERCASE},
		{"StripAccents", TB_N_STRIP_ACCENTS}, {"Nmt", TB_N_NMT}
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(type, plain[i].type) == 0)
		{
			norm(b, plain[i].code);
			return DLM_OK;
		}
	if (strcmp(type, "BertNormalizer") == 0)
		read_bert(b, json);
	else if (strcmp(type, "Strip") == 0)
	{
		uint32_t	sides = (dl_json_bool(json, "strip_left", true) ? 1u : 0) |
			(dl_json_bool(json, "strip_right", true) ? 2u : 0);

		dl_build_op(&b->normalize, TB_N_STRIP, sides, 0, 0, none, none);
	}
	else if (strcmp(type, "Prepend") == 0)
	{
		const char *what = dl_json_string(json, "prepend");

		if (what == NULL)
			return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: Prepend lacks its text");
		dl_build_op(&b->normalize, TB_N_PREPEND, 0, 0, 0, put_text(b, what), none);
	}
	else if (strcmp(type, "Replace") == 0)
		return read_replace(b, json, err);
	else if (strcmp(type, "Precompiled") == 0)
		return read_precompiled(b, json, err);
	else
		return refuse(err, "normalizer", type);
	return DLM_OK;
}

dlm_status
dl_read_normalizer(dl_builder *b, const cJSON *json, dlm_error *err)
{
	return read_nested(b, json, "normalizers", read_one_normalizer, 0, err);
}

/* ---------------------------------------------------------------- pre-tokenisers */

/* tb_behavior of its name in JSON, -1 if unknown. */
static int
behavior_of(const char *name)
{
	static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};

	for (int i = 0; name != NULL && i < TB_B_END; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

static void
split(dl_builder *b, tb_pattern pattern, tb_behavior behavior, bool invert, tb_span literal)
{
	dl_build_op(&b->split, TB_P_SPLIT, pattern, behavior, invert, literal, none);
}

/* The regular expressions that token_split.c matches by hand, as tokenizer.json files write them. */
static int
known_regex(const char *regex)
{
	static const struct
	{
		const char *regex;
		tb_pattern	pattern;
	}			known[] = {
		{"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", TB_M_GPT2},
		{"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", TB_M_GPT2},
		{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
		"\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", TB_M_LLAMA3},
		{"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
		"\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", TB_M_QWEN2}
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(regex, known[i].regex) == 0)
			return known[i].pattern;
	return -1;
}

static dlm_status
read_split(dl_builder *b, const cJSON *json, dlm_error *err)
{
	const char *literal,
			   *regex;
	int			behavior = behavior_of(dl_json_string(json, "behavior"));
	bool		invert = dl_json_bool(json, "invert", false);
	int			pattern;

	if (behavior < 0 || !read_pattern(json, &literal, &regex))
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: Split lacks its pattern or behavior");
	if (literal != NULL && literal[0] == '\0')
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's Split by an empty text is not supported");
	if (literal != NULL)
	{
		split(b, TB_M_LITERAL, (tb_behavior) behavior, invert, put_text(b, literal));
		return DLM_OK;
	}
	pattern = known_regex(regex);
	if (pattern < 0)
		return refuse(err, "Split pattern", regex);
	split(b, (tb_pattern) pattern, (tb_behavior) behavior, invert, none);
	return DLM_OK;
}

static dlm_status
read_metaspace(dl_builder *b, const cJSON *json, dlm_error *err)
{
	static const char *const schemes[] = {"first", "never", "always"};
	const char *mark = dl_json_string(json, "replacement"),
			   *scheme = dl_json_string(json, "prepend_scheme");
	uint32_t	code = TB_ALWAYS;

	if (mark == NULL || mark[0] == '\0')
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: Metaspace lacks its replacement");
	if (scheme != NULL)
	{
		for (code = 0; code < TB_SCHEME_END && strcmp(scheme, schemes[code]) != 0;)
			code++;
		if (code == TB_SCHEME_END)
			return refuse(err, "Metaspace prepend_scheme", scheme);
	}
	if (!dl_json_bool(json, "add_prefix_space", true))
		code = TB_NEVER;
	dl_build_op(&b->split, TB_P_METASPACE, code, dl_json_bool(json, "split", true), 0, put_text(b, mark), none);
	return DLM_OK;
}

static dlm_status
read_one_pre_tokenizer(dl_builder *b, const cJSON *json, const char *type, dlm_error *err)
{
	if (b->flags & TB_BYTES)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's pre-tokenizer after ByteLevel is not supported");
	if (strcmp(type, "ByteLevel") == 0)
	{
		b->flags |= TB_BYTES;
		if (dl_json_bool(json, "add_prefix_space", true))
			dl_build_op(&b->split, TB_P_PREFIX_SPACE, 0, 0, 0, none, none);
		if (dl_json_bool(json, "use_regex", true))
			split(b, TB_M_GPT2, TB_B_ISOLATED, false, none);
	}
	else if (strcmp(type, "BertPreTokenizer") == 0)
	{
		split(b, TB_M_WHITESPACE, TB_B_REMOVED, false, none);
		split(b, TB_M_PUNCTUATION, TB_B_ISOLATED, false, none);
	}
	else if (strcmp(type, "WhitespaceSplit") == 0)
		split(b, TB_M_WHITESPACE, TB_B_REMOVED, false, none);
	else if (strcmp(type, "Whitespace") == 0)
		split(b, TB_M_WORDS, TB_B_REMOVED, true, none);
	else if (strcmp(type, "Digits") == 0)
		split(b, TB_M_NUMERIC, dl_json_bool(json, "individual_digits", false) ? TB_B_ISOLATED : TB_B_CONTIGUOUS, false,
			  none);
	else if (strcmp(type, "Punctuation") == 0)
	{
		const char *name = dl_json_string(json, "behavior");
		int			behavior = name == NULL ? TB_B_ISOLATED : behavior_of(name);

		if (behavior < 0)
			return refuse(err, "Punctuation behavior", name);
		split(b, TB_M_PUNCTUATION, (tb_behavior) behavior, false, none);
	}
	else if (strcmp(type, "CharDelimiterSplit") == 0 && dl_json_string(json, "delimiter") != NULL &&
			 dl_json_string(json, "delimiter")[0] != '\0')
		split(b, TB_M_LITERAL, TB_B_REMOVED, false, put_text(b, dl_json_string(json, "delimiter")));
	else if (strcmp(type, "Split") == 0)
		return read_split(b, json, err);
	else if (strcmp(type, "Metaspace") == 0)
		return read_metaspace(b, json, err);
	else
		return refuse(err, "pre-tokenizer", type);
	return DLM_OK;
}

dlm_status
dl_read_pre_tokenizer(dl_builder *b, const cJSON *json, dlm_error *err)
{
	return read_nested(b, json, "pretokenizers", read_one_pre_tokenizer, 0, err);
}

/* ---------------------------------------------------------------- decoders */

static dlm_status
read_decoder_arguments(dl_decoder *d, const cJSON *json, dlm_error *err)
{
	const char *regex = NULL,
			   *scheme = dl_json_string(json, "prepend_scheme");

	switch (d->code)
	{
		case DL_DEC_WORDPIECE:
			d->s = dl_json_string(json, "prefix");
			d->flag = dl_json_bool(json, "cleanup", true);
			break;
		case DL_DEC_METASPACE:
			d->s = dl_json_string(json, "replacement");
			d->flag = dl_json_bool(json, "add_prefix_space", true) && (scheme == NULL || strcmp(scheme, "never") != 0);
			break;
		case DL_DEC_STRIP:
			d->s = dl_json_string(json, "content");
			d->start = json_int(json, "start", 0);
			d->stop = json_int(json, "stop", 0);
			break;
		case DL_DEC_REPLACE:
			d->t = dl_json_string(json, "content");
			if (!read_pattern(json, &d->s, &regex))
				d->s = NULL;
			if (regex != NULL)
				return refuse(err, "decoder's Replace pattern", regex);
			break;
		case DL_DEC_BPE:
			d->s = dl_json_string(json, "suffix");
			break;
		default:
			d->s = "";
	}
	if (d->s == NULL || (d->code == DL_DEC_REPLACE && d->t == NULL))
		return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: a decoder lacks its arguments");
	return DLM_OK;
}

static dlm_status
read_one_decoder(dl_builder *b, const cJSON *json, const char *type, dlm_error *err)
{
	static const struct
	{
		const char *type;
		dl_decoder_code code;
	}			known[] = {
		{"ByteLevel", DL_DEC_BYTE_LEVEL}, {"WordPiece", DL_DEC_WORDPIECE}, {"Metaspace", DL_DEC_METASPACE},
		{"ByteFallback", DL_DEC_BYTE_FALLBACK}, {"Fuse", DL_DEC_FUSE}, {"Strip", DL_DEC_STRIP},
		{"Replace", DL_DEC_REPLACE}, {"BPEDecoder", DL_DEC_BPE}
	};

	if (b->n_decoders == TB_MAX_OPS)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer has more than %d decoders", TB_MAX_OPS);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(type, known[i].type) == 0)
		{
			b->decoder[b->n_decoders].code = known[i].code;
			return read_decoder_arguments(&b->decoder[b->n_decoders++], json, err);
		}
	return refuse(err, "decoder", type);
}

dlm_status
dl_read_decoder(dl_builder *b, const cJSON *json, dlm_error *err)
{
	return read_nested(b, json, "decoders", read_one_decoder, 0, err);
}
