/*
 * config.c - what a checkpoint says about its architecture.
 *
 * From config.json: Hugging Face's keys, or LLaDA's own. What would change a result and is not implemented is refused
 * by name: sliding windows, experts, rope rules, activations.
 */
#include "config_family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "status.h"

/* A JSON object read with one sticky error. */
typedef struct dl_fields
{
	const cJSON *root;
	dlm_status	st;
	dlm_error  *err;
} dl_fields;

#define REQUIRED	(-1)

static bool
is_set(const cJSON *v)
{
	return v != NULL && !cJSON_IsNull(v);
}

static const cJSON *
field(const dl_fields *f, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(f->root, key);

	return is_set(v) ? v : NULL;
}

static void
bad_field(dl_fields *f, const char *key)
{
	if (f->st == DLM_OK)
		f->st = dl_fail(f->err, DLM_EDAMAGED, "", "configuration has no valid \"%s\"", key);
}

/* An integer in [min, max]; fallback REQUIRED makes its absence an error. */
static uint32_t
field_int(dl_fields *f, const char *key, int64_t fallback, int64_t min, int64_t max)
{
	const cJSON *v = field(f, key);

	if (v == NULL && fallback != REQUIRED)
		return (uint32_t) fallback;
	if (v == NULL || !cJSON_IsNumber(v) || !(v->valuedouble >= (double) min && v->valuedouble <= (double) max) ||
		floor(v->valuedouble) != v->valuedouble)
	{
		bad_field(f, key);
		return (uint32_t) min;
	}
	return (uint32_t) v->valuedouble;
}

static double
field_number(dl_fields *f, const char *key, double fallback)
{
	const cJSON *v = field(f, key);

	if (v == NULL && fallback >= 0)
		return fallback;
	if (v == NULL || !cJSON_IsNumber(v) || !(v->valuedouble > 0 && v->valuedouble < 1e30))
	{
		bad_field(f, key);
		return 1;
	}
	return v->valuedouble;
}

static bool
field_bool(const dl_fields *f, const char *key, bool fallback)
{
	const cJSON *v = field(f, key);

	return v == NULL ? fallback : cJSON_IsTrue(v);
}

static const char *
field_string(const dl_fields *f, const char *key, const char *fallback)
{
	const cJSON *v = field(f, key);

	return v != NULL && cJSON_IsString(v) ? v->valuestring : fallback;
}

static void
refuse(dl_fields *f, const char *what, const char *value)
{
	char		clean[100];

	if (f->st == DLM_OK)
		f->st = dl_fail(f->err, DLM_EUNSUPPORTED, "", "model uses %s \"%s\", which is not supported", what,
						dl_clean_name(value, clean));
}

static uint32_t
activation(dl_fields *f, const char *name)
{
	static const struct
	{
		const char *name;
		dl_act		act;
	}			known[] = {
		{"gelu", DL_ACT_GELU_ERF}, {"gelu_new", DL_ACT_GELU_TANH}, {"gelu_pytorch_tanh", DL_ACT_GELU_TANH},
		{"silu", DL_ACT_SILU}, {"swish", DL_ACT_SILU}, {"relu", DL_ACT_RELU},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].act;
	refuse(f, "the activation", name);
	return 0;
}

static int64_t
field_id(const dl_fields *f, const char *key)
{
	const cJSON *v = field(f, key);

	return v != NULL && cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble < DL_MAX_VOCAB
		? (int64_t) v->valuedouble : -1;
}

/* eos_token_id may be one number or several. */
static void
read_stop_ids(const dl_fields *f, dl_arch *out)
{
	const cJSON *v = field(f, "eos_token_id"),
			   *item = v != NULL && cJSON_IsArray(v) ? v->child : v;

	for (; item != NULL && out->n_stop < DL_MAX_STOP_IDS; item = v != item ? item->next : NULL)
		if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < DL_MAX_VOCAB)
			out->stop_ids[out->n_stop++] = (int64_t) item->valuedouble;
}

/* Things that llama-form configurations may ask for and that we do not do. */
static void
refuse_variants(dl_fields *f)
{
	static const char *const experts[] = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"};
	const cJSON *layers = field(f, "layer_types"),
			   *item;

	for (size_t i = 0; i < sizeof(experts) / sizeof(experts[0]); i++)
		if (field(f, experts[i]) != NULL && !(field(f, experts[i])->valuedouble <= 0))
			refuse(f, "mixture of experts", experts[i]);
	if (field(f, "sliding_window") != NULL && field_bool(f, "use_sliding_window", true) &&
		strcmp(field_string(f, "model_type", ""), "qwen2") != 0 && strcmp(field_string(f, "model_type", ""), "qwen3") != 0)
		refuse(f, "sliding-window attention", "sliding_window");
	if (field_bool(f, "use_sliding_window", false))
		refuse(f, "sliding-window attention", "use_sliding_window");
	cJSON_ArrayForEach(item, layers)
		if (!cJSON_IsString(item) || strcmp(item->valuestring, "full_attention") != 0)
			refuse(f, "the layer type", cJSON_IsString(item) ? item->valuestring : "?");
	if (field_number(f, "partial_rotary_factor", 1) != 1)
		refuse(f, "partial rotary embedding", "partial_rotary_factor");
	if (field(f, "quantization_config") != NULL)
		refuse(f, "quantised weights", "quantization_config");
}

/* rope_parameters (new), or rope_theta and rope_scaling (old). */
static void
read_rope(dl_fields *f, dl_rope *rope)
{
	const cJSON *scaling = field(f, "rope_parameters");
	dl_fields	in = *f;
	const char *type;

	if (scaling == NULL)
		scaling = field(f, "rope_scaling");
	rope->theta = field_number(f, "rope_theta", 10000);
	if (scaling == NULL)
		return;
	if (!cJSON_IsObject(scaling))
	{
		bad_field(f, "rope_scaling");
		return;
	}
	in.root = scaling;
	in.st = f->st;
	rope->theta = field_number(&in, "rope_theta", rope->theta);
	if (field_number(&in, "partial_rotary_factor", 1) != 1)
		refuse(&in, "partial rotary embedding", "partial_rotary_factor");
	type = field_string(&in, "rope_type", field_string(&in, "type", "default"));
	if (strcmp(type, "linear") == 0)
	{
		rope->kind = DL_ROPE_LINEAR;
		rope->factor = field_number(&in, "factor", REQUIRED);
	}
	else if (strcmp(type, "llama3") == 0)
	{
		rope->kind = DL_ROPE_LLAMA3;
		rope->factor = field_number(&in, "factor", REQUIRED);
		rope->low_freq_factor = field_number(&in, "low_freq_factor", REQUIRED);
		rope->high_freq_factor = field_number(&in, "high_freq_factor", REQUIRED);
		rope->original_context = field_number(&in, "original_max_position_embeddings", REQUIRED);
		if (in.st == DLM_OK && !(rope->high_freq_factor > rope->low_freq_factor))
			bad_field(&in, "high_freq_factor");
	}
	else if (strcmp(type, "default") != 0)
		refuse(&in, "the rope scaling", type);
	f->st = in.st;
}

/* Sizes by Hugging Face's names. */
static void
read_sizes(dl_fields *f, dl_config *c)
{
	c->hidden = field_int(f, "hidden_size", REQUIRED, 2, DL_MAX_HIDDEN);
	c->layers = field_int(f, "num_hidden_layers", REQUIRED, 1, DL_MAX_LAYERS);
	c->heads = field_int(f, "num_attention_heads", REQUIRED, 1, 4096);
	c->ffn = field_int(f, "intermediate_size", REQUIRED, 1, 1 << 20);
	c->vocab = field_int(f, "vocab_size", REQUIRED, 1, DL_MAX_VOCAB);
	c->context = field_int(f, "max_position_embeddings", REQUIRED, 1, DL_MAX_CONTEXT);
	c->kv_heads = c->heads;
	c->head_dim = c->hidden / c->heads;
}

static void
read_encoder(dl_fields *f, dl_arch *out)
{
	dl_config  *c = &out->config;
	const char *positions = field_string(f, "position_embedding_type", "absolute");

	read_sizes(f, c);
	out->encoder = true;
	c->norm = DL_NORM_LAYER;
	c->norm_eps = (float) field_number(f, "layer_norm_eps", out->names == DL_NAMES_BERT ? 1e-12 : 1e-5);
	c->act = activation(f, field_string(f, "hidden_act", "gelu"));
	c->position = DL_POS_LEARNED;
	c->pre_norm = c->final_norm = out->names == DL_NAMES_XL;
	c->embed_norm = !c->pre_norm;
	c->head_transform = 1;
	c->tied = field_bool(f, "tie_word_embeddings", true);
	if (out->names != DL_NAMES_BERT)
		c->position_offset = field_int(f, "pad_token_id", 1, 0, 1000) + 1;
	else if (c->act != DL_ACT_GELU_ERF)
		refuse(f, "in its head the activation", field_string(f, "hidden_act", "gelu"));
	if (strcmp(positions, "absolute") != 0)
		refuse(f, "the position embedding", positions);
	if (f->st == DLM_OK && c->context <= c->position_offset)
		bad_field(f, "max_position_embeddings");
	c->context -= c->position_offset;
}

static void
read_llama(dl_fields *f, dl_arch *out)
{
	dl_config  *c = &out->config;

	read_sizes(f, c);
	c->kv_heads = field_int(f, "num_key_value_heads", c->heads, 1, c->heads);
	c->head_dim = field_int(f, "head_dim", c->head_dim, 2, 4096);
	c->norm_eps = (float) field_number(f, "rms_norm_eps", 1e-6);
	c->act = activation(f, field_string(f, "hidden_act", "silu"));
	c->tied = field_bool(f, "tie_word_embeddings", false);
	refuse_variants(f);
	read_rope(f, &out->rope);
}

/* LLaDA keeps OLMo's key names. */
static void
read_llada(dl_fields *f, dl_arch *out)
{
	dl_config  *c = &out->config;
	static const char *const off[] = {"alibi", "include_bias", "include_qkv_bias", "attention_layer_norm",
	"scale_logits", "input_emb_norm", "multi_query_attention", "clip_qkv"};

	c->hidden = field_int(f, "d_model", REQUIRED, 2, DL_MAX_HIDDEN);
	c->layers = field_int(f, "n_layers", REQUIRED, 1, DL_MAX_LAYERS);
	c->heads = field_int(f, "n_heads", REQUIRED, 1, 4096);
	c->kv_heads = field_int(f, "n_kv_heads", c->heads, 1, c->heads);
	c->head_dim = c->hidden / c->heads;
	c->ffn = field_int(f, "mlp_hidden_size", REQUIRED, 1, 1 << 20);
	c->vocab = field_int(f, "vocab_size", REQUIRED, 1, DL_MAX_VOCAB);
	c->vocab = field_int(f, "embedding_size", c->vocab, 1, DL_MAX_VOCAB);
	c->context = field_int(f, "max_sequence_length", REQUIRED, 1, DL_MAX_CONTEXT);
	c->norm_eps = (float) field_number(f, "rms_norm_eps", 1e-5);
	c->act = activation(f, field_string(f, "activation_type", "silu"));
	c->tied = field_bool(f, "weight_tying", false);
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (field(f, off[i]) != NULL && !cJSON_IsFalse(field(f, off[i])))
			refuse(f, "the option", off[i]);
	if (!field_bool(f, "rope", true))
		refuse(f, "the option", "rope");
	if (strcmp(field_string(f, "block_type", "llama"), "llama") != 0)
		refuse(f, "the block type", field_string(f, "block_type", ""));
	if (strcmp(field_string(f, "layer_norm_type", "rms"), "rms") != 0)
		refuse(f, "the norm", field_string(f, "layer_norm_type", ""));
	refuse_variants(f);
	read_rope(f, &out->rope);
}

/* What all llama forms share. */
static void
set_llama_form(dl_config *c)
{
	c->norm = DL_NORM_RMS;
	c->pre_norm = 1;
	c->final_norm = 1;
	c->gated = 1;
	c->position = DL_POS_ROPE;
}

dlm_status
dl_arch_check(const dl_config *c, dlm_error *err)
{
	if (c->heads % c->kv_heads != 0 || c->head_dim < 2 || c->head_dim % 2 != 0 ||
		(c->position == DL_POS_LEARNED && c->head_dim * c->heads != c->hidden))
		return dl_fail(err, DLM_EDAMAGED, "", "numbers of heads, key/value heads and their width do not fit together");
	return DLM_OK;
}

static const dl_family families[] = {
	{"bert", "bert", DL_NAMES_BERT, false, false},
	{"roberta", "roberta", DL_NAMES_ROBERTA, false, false},
	{"xlm-roberta", "xlm-roberta", DL_NAMES_ROBERTA, false, false},
	{"xlm-roberta-xl", "xlm-roberta-xl", DL_NAMES_XL, false, false},
	{"llama", "llama", DL_NAMES_LLAMA, false, false},
	{"a2d-llama", "llama", DL_NAMES_LLAMA, false, false},
	{"qwen2", "qwen2", DL_NAMES_LLAMA, false, false},
	{"a2d-qwen2", "qwen2", DL_NAMES_LLAMA, false, false},
	{"qwen3", "qwen3", DL_NAMES_LLAMA, true, false},
	{"a2d-qwen3", "qwen3", DL_NAMES_LLAMA, true, false},
	{"Dream", "dream", DL_NAMES_LLAMA, false, true},
	{"dream", "dream", DL_NAMES_LLAMA, false, true},
	{"llada", "llada", DL_NAMES_LLADA, false, false},
};

const dl_family *
dl_family_find(const char *type)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strcmp(families[i].type, type) == 0)
			return &families[i];
	return NULL;
}

void
dl_arch_start(dl_arch *out, const dl_family *family)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->config.family, sizeof(out->config.family), "%s", family->family);
	out->names = family->names;
	out->config.qk_norm = family->qk_norm;
	out->config.logit_shift = family->shift;
	out->mask_id = out->begin_id = -1;
	if (family->names >= DL_NAMES_LLAMA)
		set_llama_form(&out->config);
}

dlm_status
dl_arch_from_json(const cJSON *root, dl_arch *out, dlm_error *err)
{
	dl_fields	f = {.root = root, .err = err};
	const char *type = cJSON_IsObject(root) ? field_string(&f, "model_type", NULL) : NULL;
	const dl_family *family;
	char		clean[100];

	if (type == NULL)
		return dl_fail(err, DLM_EDAMAGED, "", "configuration has no \"model_type\"");
	family = dl_family_find(type);
	if (family == NULL)
		return dl_fail(err, DLM_EUNSUPPORTED,
					   "Known are bert, roberta, xlm-roberta, xlm-roberta-xl, llama, qwen2, qwen3, Dream and llada.",
					   "models of the type \"%s\" are not supported", dl_clean_name(type, clean));
	dl_arch_start(out, family);
	if (family->names == DL_NAMES_LLAMA)
		read_llama(&f, out);
	else if (family->names == DL_NAMES_LLADA)
		read_llada(&f, out);
	else
		read_encoder(&f, out);
	out->mask_id = field_id(&f, "mask_token_id");
	out->begin_id = field_id(&f, "bos_token_id");
	read_stop_ids(&f, out);
	return f.st == DLM_OK ? dl_arch_check(&out->config, err) : f.st;
}
