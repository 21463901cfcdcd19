/*
 * config_gguf.c - what a GGUF file's keys say about its architecture.
 */
#include "config_family.h"

#include <stdio.h>
#include <string.h>

#include "status.h"

typedef struct dl_keys
{
	const dl_gguf *g;
	const char *arch;
	dlm_status	st;
	dlm_error  *err;
} dl_keys;

static uint32_t
key_int(dl_keys *k, const char *name, int64_t fallback, int64_t min, int64_t max)
{
	char		key[128];
	int64_t		v;

	snprintf(key, sizeof(key), "%s.%s", k->arch, name);
	if (!dl_gguf_get_int(k->g, key, &v))
		v = fallback;
	if ((v < min || v > max) && k->st == DLM_OK)
		k->st = dl_fail(k->err, DLM_EDAMAGED, "", "GGUF file has no valid key \"%s\"", key);
	return v < min || v > max ? (uint32_t) min : (uint32_t) v;
}

static double
key_number(dl_keys *k, const char *name, double fallback)
{
	char		key[128];
	double		v;

	snprintf(key, sizeof(key), "%s.%s", k->arch, name);
	if (!dl_gguf_get_float(k->g, key, &v))
		v = fallback;
	if (!(v > 0 && v < 1e30))
	{
		if (k->st == DLM_OK)
			k->st = dl_fail(k->err, DLM_EDAMAGED, "", "GGUF file has no valid key \"%s\"", key);
		return 1;
	}
	return v;
}

static void
refuse_key(dl_keys *k, const char *what)
{
	if (k->st == DLM_OK)
		k->st = dl_fail(k->err, DLM_EUNSUPPORTED, "", "GGUF model uses %s, which is not supported", what);
}

static void
read_gguf_rope(dl_keys *k, const dl_source *s, dl_arch *out)
{
	char		key[128];
	dlm_text	type;

	out->rope.theta = key_number(k, "rope.freq_base", 10000);
	out->rope.factors = dl_source_find(s, "rope_freqs.weight");
	if (key_int(k, "rope.dimension_count", out->config.head_dim, 0, 65536) != out->config.head_dim)
		refuse_key(k, "partial rotary embedding");
	snprintf(key, sizeof(key), "%s.rope.scaling.type", k->arch);
	if (!dl_gguf_get_string(k->g, key, &type) || (type.len == 4 && memcmp(type.data, "none", 4) == 0))
		return;
	if (type.len != 6 || memcmp(type.data, "linear", 6) != 0)
	{
		refuse_key(k, "a rope scaling other than \"linear\"");
		return;
	}
	out->rope.kind = DL_ROPE_LINEAR;
	out->rope.factor = key_number(k, "rope.scaling.factor", -1);
}

static void
read_gguf_sizes(dl_keys *k, const dl_source *s, dl_arch *out)
{
	dl_config  *c = &out->config;
	const dl_tensor *embed = dl_source_find(s, "token_embd.weight");

	c->hidden = key_int(k, "embedding_length", -1, 2, DL_MAX_HIDDEN);
	c->layers = key_int(k, "block_count", -1, 1, DL_MAX_LAYERS);
	c->heads = key_int(k, "attention.head_count", -1, 1, 4096);
	c->kv_heads = key_int(k, "attention.head_count_kv", c->heads, 1, c->heads);
	c->head_dim = key_int(k, "attention.key_length", c->hidden / c->heads, 2, 4096);
	if (key_int(k, "attention.value_length", c->head_dim, 0, 65536) != c->head_dim)
		refuse_key(k, "values of another width than keys");
	c->ffn = key_int(k, "feed_forward_length", -1, 1, 1 << 20);
	c->context = key_int(k, "context_length", -1, 1, DL_MAX_CONTEXT);
	c->norm_eps = (float) key_number(k, "attention.layer_norm_rms_epsilon", -1);
	c->act = DL_ACT_SILU;
	c->tied = dl_source_find(s, "output.weight") == NULL;
	if (embed != NULL && embed->dims[0] <= DL_MAX_VOCAB)
		c->vocab = (uint32_t) embed->dims[0];
	if (key_int(k, "expert_count", 0, 0, 65536) > 0)
		refuse_key(k, "a mixture of experts");
	if (key_int(k, "attention.sliding_window", 0, 0, INT32_MAX) > 0)
		refuse_key(k, "sliding-window attention");
}

static void
read_gguf_ids(const dl_gguf *g, dl_arch *out)
{
	int64_t		v;

	if (dl_gguf_get_int(g, "tokenizer.ggml.mask_token_id", &v))
		out->mask_id = v;
	if (dl_gguf_get_int(g, "tokenizer.ggml.bos_token_id", &v))
		out->begin_id = v;
	if (dl_gguf_get_int(g, "tokenizer.ggml.eos_token_id", &v))
		out->stop_ids[out->n_stop++] = v;
	if (dl_gguf_get_int(g, "diffusion.shift_logits", &v))
		out->config.logit_shift = v != 0;
}

dlm_status
dl_arch_from_gguf(const dl_source *s, dl_arch *out, dlm_error *err)
{
	char		arch[40] = "",
				clean[100];
	dlm_text	name;
	const dl_family *family = NULL;
	dl_keys		k = {.g = s->gguf, .arch = arch, .err = err};

	if (!dl_gguf_get_string(s->gguf, "general.architecture", &name))
		return dl_fail(err, DLM_EDAMAGED, "", "GGUF file does not name its architecture");
	if (name.len < sizeof(arch))
	{
		memcpy(arch, name.data, name.len);
		family = dl_family_find(arch);
	}
	if (family == NULL || family->names < DL_NAMES_LLAMA)
		return dl_fail(err, DLM_EUNSUPPORTED, "GGUF files of llama, qwen2, qwen3, dream and llada can be read.",
					   "GGUF files of the architecture \"%s\" are not supported", dl_clean_name(arch, clean));
	dl_arch_start(out, family);
	read_gguf_sizes(&k, s, out);
	read_gguf_rope(&k, s, out);
	read_gguf_ids(s->gguf, out);
	if (k.st != DLM_OK)
		return k.st;
	return dl_arch_check(&out->config, err);
}
