/*
 * lora.c - a LoRA adapter in PEFT's form: adapter_model.safetensors with
 * pairs NAME.lora_A.weight [r, in] and NAME.lora_B.weight [out, r], and
 * adapter_config.json beside it. W' = W + (alpha / r) B A.
 */
#include "convert.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "status.h"

static bool
is_off(const cJSON *root, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(root, key);

	return v == NULL || cJSON_IsNull(v) || cJSON_IsFalse(v) || ((cJSON_IsObject(v) || cJSON_IsArray(v)) && !v->child);
}

static dlm_status
read_adapter_config(const cJSON *root, dl_lora *out, dlm_error *err)
{
	static const char *const off[] = {"use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "lora_bias"};
	const cJSON *r = cJSON_GetObjectItemCaseSensitive(root, "r"),
			   *alpha = cJSON_GetObjectItemCaseSensitive(root, "lora_alpha"),
			   *bias = cJSON_GetObjectItemCaseSensitive(root, "bias");

	if (!cJSON_IsNumber(r) || !cJSON_IsNumber(alpha) || !(r->valuedouble >= 1 && r->valuedouble <= 4096) ||
		floor(r->valuedouble) != r->valuedouble || !(fabs(alpha->valuedouble) < 1e6))
		return dl_fail(err, DLM_EDAMAGED, "", "adapter_config.json has no valid \"r\" and \"lora_alpha\"");
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (!is_off(root, off[i]))
			return dl_fail(err, DLM_EUNSUPPORTED, "", "adapter uses \"%s\", which is not supported", off[i]);
	if (cJSON_IsString(bias) && strcmp(bias->valuestring, "none") != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "adapter trains biases, which is not supported");
	out->rank = (uint32_t) r->valuedouble;
	out->scale = (float) (alpha->valuedouble / (is_off(root, "use_rslora") ? r->valuedouble : sqrt(r->valuedouble)));
	return DLM_OK;
}

dlm_status
dl_lora_open(const char *path, dl_arena *arena, dl_lora *out, dlm_error *err)
{
	char	   *config;
	dlm_text	text;
	cJSON	   *root;
	dlm_status	st = dl_source_open(path, "adapter_model.safetensors", arena, &out->source, err);

	if (st != DLM_OK)
		return st;
	out->present = true;
	config = dl_path_join(arena, out->source.folder, "adapter_config.json");
	if (config == NULL)
		return dl_fail_memory(err);
	st = dl_read_text(config, (size_t) 1 << 20, arena, &text, err);
	if (st == DLM_OK)
		st = dl_json_parse(text.data, text.len, "adapter_config.json", &root, err);
	if (st != DLM_OK)
		return st;
	st = read_adapter_config(root, out, err);
	cJSON_Delete(root);
	return st;
}

void
dl_lora_close(dl_lora *lora)
{
	if (lora->present)
		dl_source_close(&lora->source);
	lora->present = false;
}

static dl_tensor *
find_part(const dl_lora *lora, const char *module, int len, const char *part)
{
	char		key[256];
	dl_tensor  *t;

	snprintf(key, sizeof(key), "%.*s.%s.weight", len, module, part);
	t = dl_source_find(&lora->source, key);
	if (t != NULL)
		return t;
	snprintf(key, sizeof(key), "%.*s.%s.default.weight", len, module, part);
	return dl_source_find(&lora->source, key);
}

static bool
has_shape(const dl_tensor *t, uint64_t rows, uint64_t cols)
{
	return t->storage <= DL_ST_BF16 && t->n_dims == 2 && t->dims[0] == rows && t->dims[1] == cols;
}

dlm_status
dl_lora_find(const dl_lora *lora, const char *weight_key, uint64_t rows, uint64_t cols,
			 dl_tensor **a, dl_tensor **b, dlm_error *err)
{
	size_t		len = strlen(weight_key);

	*a = *b = NULL;
	if (!lora->present || len < 8 || len > 200 || strcmp(weight_key + len - 7, ".weight") != 0)
		return DLM_OK;
	*a = find_part(lora, weight_key, (int) len - 7, "lora_A");
	*b = find_part(lora, weight_key, (int) len - 7, "lora_B");
	if (*a == NULL && *b == NULL)
		return DLM_OK;
	if (*a == NULL || *b == NULL || !has_shape(*a, lora->rank, cols) || !has_shape(*b, rows, lora->rank))
		return dl_fail(err, DLM_EDAMAGED, "", "adapter's matrices for \"%s\" do not fit the model", weight_key);
	(*a)->used = (*b)->used = true;
	return DLM_OK;
}
