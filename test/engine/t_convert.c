/*
 * t_convert.c - checkpoints of every family to .dlm: the same digest for any
 * team size, the source's values, bounds of the rounding.
 */
#include "harness.h"
#include "files.h"

#include <math.h>

#include "convert.h"
#include "hadamard.h"
#include "loader.h"
#include "model.h"

static char folder[256];
static char target[512];

static void
hex(const uint8_t digest[32], char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void
convert_ok(const char *source, const dlm_convert_options *o, char digest[65])
{
	uint8_t		bytes[32] = {0};
	dlm_error	err = {0};
	dlm_status	st = dlm_convert(source, target, o, bytes, &err);

	CHECK(st == DLM_OK, "%s: %s", source, err.message);
	hex(bytes, digest);
}

/* The file just written, opened as the server does. */
typedef struct opened
{
	dlm_map		map;
	dlm_model  *model;
} opened;

static opened
open_target(void)
{
	opened		o = {{NULL, 0}, NULL};
	dlm_error	err = {0};

	CHECK(dlm_file_map(target, &o.map, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_model_open(o.map.data, o.map.size, &o.model, &err) == DLM_OK, "%s", err.message);
	if (o.model == NULL)
		exit(1);
	return o;
}

static void
close_target(opened *o)
{
	dlm_model_close(o->model);
	dlm_file_unmap(&o->map);
}

/* ---------------------------------------------------------------- digests */

static void
digests_are_expected(void)
{
	FILE	   *f = fopen("test/vectors/digests.txt", "r");
	char		wanted[80],
				weights[16],
				model[64],
				source[128],
				got[65];
	int			n = 0;

	CHECK(f != NULL, "no list of digests");
	while (f != NULL && fscanf(f, "%79s %15s %63s", wanted, weights, model) == 3)
		for (int threads = 1; threads <= 2; threads++)
		{
			dlm_convert_options o = {.threads = threads};
			opened		m;
			dlm_error	err = {0};

			CHECK(dlm_weights_parse(weights, &o.weights, NULL) == DLM_OK, "%s", weights);
			snprintf(source, sizeof(source), "test/models/%s", model);
			convert_ok(source, &o, got);
			CHECK(strcmp(got, wanted) == 0, "%s as %s with %d threads: %s", model, weights, threads, got);
			m = open_target();
			CHECK(dlm_model_verify(m.model, NULL, &err) == DLM_OK, "%s: %s", model, err.message);
			close_target(&m);
			n++;
		}
	CHECK(n >= 80, "only %d conversions", n);
	if (f != NULL)
		fclose(f);
}

/* The same weights as folder and as GGUF file give the same model, so the order of q and k rows is undone. */
static void
gguf_equals_folder(void)
{
	static const char *const families[] = {"llama", "qwen2", "qwen3", "llada"};

	for (int i = 0; i < 4; i++)
	{
		char		from[64],
					gguf[64],
					tokenizer[64],
					config[64],
					settings[64],
					a[65],
					b[65];
		dlm_convert_options o = {.weights = DLM_WEIGHTS_INT8};
		dlm_convert_options with = {.weights = DLM_WEIGHTS_INT8, .tokenizer = tokenizer, .config = config};

		snprintf(from, sizeof(from), "test/models/%s", families[i]);
		snprintf(gguf, sizeof(gguf), "test/models/gguf/%s.gguf", families[i]);
		snprintf(tokenizer, sizeof(tokenizer), "test/models/%s/tokenizer.json", families[i]);
		snprintf(config, sizeof(config), "test/models/%s/config.json", families[i]);
		snprintf(settings, sizeof(settings), "test/models/%s/dlm.json", families[i]);
		if (access(settings, F_OK) == 0)
			with.settings = settings;
		convert_ok(from, &o, a);
		convert_ok(gguf, &with, b);
		CHECK(strcmp(a, b) == 0, "%s: folder %s, GGUF %s", families[i], a, b);
	}
}

/* Text of a vector file's case, from hex; returns its bytes. */
static size_t
case_text(const cJSON *item, char *buf, size_t cap)
{
	const char *digits = cJSON_GetStringValue(cJSON_GetObjectItem(item, "text"));
	size_t		n = 0;
	unsigned	byte;

	for (; digits != NULL && n < cap && sscanf(digits + 2 * n, "%2x", &byte) == 1; n++)
		buf[n] = (char) byte;
	return n;
}

/* A GGUF file's own tokenizer (type gpt2) gives the ids of the tokenizer.json that it was made from, on every vector text. */
static void
gguf_tokenizer_equals_tokenizer_json(void)
{
	static const char *const files[] = {"test/vectors/tokens/gpt2.json", "test/vectors/tokens/smollm2.json"};
	dlm_convert_options own = {.settings = "test/models/llama/dlm.json"};
	char		digest[65];
	opened		a,
				b;

	convert_ok("test/models/gguf/llama.gguf", &own, digest);
	a = open_target();
	convert_ok("test/models/llama", &(dlm_convert_options) {0}, digest);
	b = open_target();
	for (int f = 0; f < 2; f++)
	{
		size_t		size;
		char	   *json = (char *) files_read(files[f], &size);
		cJSON	   *root = cJSON_ParseWithLength(json, size);
		const cJSON *item;
		int			n = 0;

		cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "cases"))
		{
			char		buf[8192];
			dlm_text	text = {buf, case_text(item, buf, sizeof(buf))};
			int32_t    *x = NULL,
					   *y = NULL;
			size_t		n_x = 0,
						n_y = 0;
			dlm_error	err = {0};
			dlm_status	st = dlm_tokenize(a.model, text, NULL, &x, &n_x, &err);

			CHECK(st == dlm_tokenize(b.model, text, NULL, &y, &n_y, &err), "%s %d: %s", files[f], n, err.message);
			CHECK(n_x == n_y && (n_x == 0 || memcmp(x, y, n_x * sizeof(int32_t)) == 0), "%s %d: other ids", files[f], n);
			free(x);
			free(y);
			n++;
		}
		CHECK(n > 50, "%s: %d texts", files[f], n);
		cJSON_Delete(root);
		free(json);
	}
	close_target(&a);
	close_target(&b);
}

/* ---------------------------------------------------------------- values */

static const dl_entry *
find_entry(const dlm_model *m, uint32_t role, uint32_t layer)
{
	const dl_entry *e = (const dl_entry *) (m->base + m->header->directory.offset);

	for (uint64_t i = 0; i < m->header->directory.size / sizeof(dl_entry); i++)
		if (e[i].role == role && e[i].layer == layer)
			return &e[i];
	return NULL;
}

/* Element [r, c] of a stored tensor as the kernels read it; *step: the distance of two neighbouring values. */
static float
stored(const dlm_model *m, const dl_entry *e, uint64_t r, uint64_t c, float *step)
{
	const uint8_t *data = m->base + e->offset;
	int			k4 = (int) ((e->cols + 3) / 4);
	dl_s8_group group;
	uint64_t	at = (r / 16) * e->cols * 16 + c * 16 + r % 16;
	float		value;
	uint32_t	bits;

	*step = 0;
	if (e->layout == DL_ROWS)
		return ((const float *) data)[r * e->cols + c];
	if (e->dtype == DL_F32)
		return ((const float *) data)[at];
	if (e->dtype == DL_BF16)
	{
		bits = (uint32_t) ((const uint16_t *) data)[at] << 16;
		memcpy(&value, &bits, sizeof(value));
		*step = fabsf(value) * 0x1p-7f;
		return value;
	}
	group = dl_s8_group_at((const int8_t *) data + (r / 16) * dl_s8_panel_bytes(k4), k4, (int) (c / DL_GROUP));
	*step = group.scale[r % 16];
	return (float) group.w[(c % DL_GROUP / 4 * 16 + r % 16) * 4 + c % 4] * *step;
}

/* Every element of a role against a tensor of the source, from its row `first` on. */
static void
compare(const opened *o, const dl_source *s, const char *key, uint32_t role, uint32_t layer, uint64_t first)
{
	const dl_entry *e = find_entry(o->model, role, layer);
	const dl_tensor *t = dl_source_find(s, key);
	uint64_t	n;
	uint8_t    *raw;
	float	   *value,
				step;
	double		worst = 0;

	CHECK(e != NULL && t != NULL, "%s: role %u", key, role);
	if (e == NULL || t == NULL)
		return;
	n = t->dims[0] * (t->n_dims > 1 ? t->dims[1] : 1);
	raw = malloc(t->bytes);
	value = malloc(n * sizeof(float));
	CHECK(dl_file_read(t->file, t->offset, raw, t->bytes, NULL) == DLM_OK, "%s", key);
	dl_dequantize(t->storage, raw, n, value);
	CHECK((first + e->rows) * e->cols <= n, "%s is smaller than its role", key);
	for (uint64_t r = 0; e->dtype == DL_I8 && r < e->rows; r++)
		for (uint64_t c = 0; c + DL_GROUP <= e->cols; c += DL_GROUP)
			dl_rotate_group(value + (first + r) * e->cols + c);
	for (uint64_t r = 0; r < e->rows; r++)
		for (uint64_t c = 0; c < e->cols; c++)
		{
			float		got = stored(o->model, e, r, c, &step);
			float		error = fabsf(got - value[(first + r) * e->cols + c]);

			/* half a step, and a rounding of the product q * scale */
			if (error > step * 0.50001f && error > worst)
				worst = error;
		}
	CHECK(worst == 0, "%s differs by up to %g", key, worst);
	free(raw);
	free(value);
}

typedef struct probe
{
	const char *model;
	const char *key;
	uint32_t	role,
				layer;
	uint64_t	first;
} probe;

static const probe probes[] = {
	{"llama", "embed_tokens.weight", DL_T_EMBED, 0, 0}, {"llama", "norm.weight", DL_T_FINAL_NORM_W, 0, 0},
	{"llama", "layers.1.self_attn.k_proj.weight", DL_T_K_W, 1, 0}, {"llama", "layers.0.mlp.down_proj.weight", DL_T_DOWN_W, 0, 0},
	{"llama", "layers.1.mlp.gate_proj.weight", DL_T_GATE_W, 1, 0},
	{"llama", "layers.1.post_attention_layernorm.weight", DL_T_FFN_NORM_W, 1, 0},
	{"untied", "lm_head.weight", DL_T_HEAD_W, 0, 0}, {"bf16", "layers.0.mlp.up_proj.weight", DL_T_UP_W, 0, 0},
	{"qwen2", "layers.1.self_attn.v_proj.bias", DL_T_V_B, 1, 0}, {"qwen3", "layers.1.self_attn.q_norm.weight", DL_T_Q_NORM, 1, 0},
	{"llada", "blocks.1.ff_proj.weight", DL_T_GATE_W, 1, 0}, {"llada", "ff_out.weight", DL_T_HEAD_W, 0, 0},
	{"llada", "blocks.1.ff_out.weight", DL_T_DOWN_W, 1, 0},
	{"bert", "embeddings.token_type_embeddings.weight", DL_T_TYPE, 0, 0},
	{"bert", "embeddings.position_embeddings.weight", DL_T_POSITION, 0, 0},
	{"bert", "encoder.layer.1.output.dense.weight", DL_T_DOWN_W, 1, 0},
	{"bert", "cls.predictions.transform.dense.weight", DL_T_HEAD_DENSE_W, 0, 0}, {"bert", "cls.predictions.bias", DL_T_HEAD_B, 0, 0},
	{"roberta", "lm_head.layer_norm.bias", DL_T_HEAD_NORM_B, 0, 0},
	{"roberta", "encoder.layer.0.attention.output.LayerNorm.weight", DL_T_ATTN_NORM_W, 0, 0},
	{"xlm-roberta-xl", "encoder.layer.1.attention.self_attn_layer_norm.bias", DL_T_ATTN_NORM_B, 1, 0},
	{"xlm-roberta-xl", "encoder.LayerNorm.weight", DL_T_FINAL_NORM_W, 0, 0},
	{"paper", "length_trm.layers.0.self_attn.in_proj_weight", DL_T_LEN_Q_W, 0, 0},
	{"paper", "length_trm.layers.0.self_attn.in_proj_weight", DL_T_LEN_K_W, 0, 42},
	{"paper", "length_trm.layers.0.self_attn.in_proj_weight", DL_T_LEN_V_W, 0, 84},
	{"paper", "length_predictor.2.weight", DL_T_LEN_OUT_W, 0, 0},
	{"paper", "encoder.layer.1.intermediate.dense.bias", DL_T_UP_B, 1, 0},
};

/* f32 exactly, bf16 and int8 within half a step. */
static void
values_are_the_sources(void)
{
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		for (int w = DLM_WEIGHTS_F32; w <= DLM_WEIGHTS_INT8; w++)
		{
			dlm_convert_options o = {.weights = (dlm_weights) w};
			dl_arena   *arena = dl_arena_create((size_t) 64 << 20);
			char		path[64],
						digest[65];
			dl_source	source;
			opened		m;

			snprintf(path, sizeof(path), "test/models/%s", probes[i].model);
			convert_ok(path, &o, digest);
			CHECK(dl_source_open(path, "model.safetensors", arena, &source, NULL) == DLM_OK, "%s", path);
			m = open_target();
			compare(&m, &source, probes[i].key, probes[i].role, probes[i].layer, probes[i].first);
			close_target(&m);
			dl_source_close(&source);
			dl_arena_destroy(arena);
		}
}

/* A head of its own type: tied it is the embedding, untied the output projection; nothing else changes. */
static void
head_has_its_own_type(void)
{
	static const struct
	{
		const char *path;
		uint32_t	role;
	}			cases[] = {{"test/models/llama", DL_T_EMBED}, {"test/models/untied", DL_T_HEAD_W}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dlm_convert_options o = {.weights = DLM_WEIGHTS_BF16, .head = DLM_WEIGHTS_INT8};
		char		digest[65];
		opened		m;
		const dl_entry *e;
		uint64_t	n;

		convert_ok(cases[i].path, &o, digest);
		m = open_target();
		CHECK(dlm_model_verify(m.model, NULL, NULL) == DLM_OK, "%s", cases[i].path);
		CHECK(m.model->head.dtype == DL_I8 && m.model->layers[0].up.dtype == DL_BF16, "%s", cases[i].path);
		e = (const dl_entry *) (m.model->base + m.model->header->directory.offset);
		n = m.model->header->directory.size / sizeof(dl_entry);
		for (uint64_t j = 0; j < n; j++)
			CHECK(e[j].layout == DL_ROWS || e[j].dtype == (e[j].role == cases[i].role ? DL_I8 : DL_BF16),
				  "%s: role %u is of type %u", cases[i].path, e[j].role, e[j].dtype);
		close_target(&m);
	}
}

static void
rounding_is_as_defined(void)
{
	float		row[5] = {63.0f, -63.0f, 0.5f, 1.5f, -2.5f},
				zero[3] = {0, -0.0f, 0},
				tiny[2] = {1e-45f, 0},
				scale;
	int8_t		q[5];

	CHECK(dl_quantize_group(row, 5, q, &scale) == 0 && scale == 1, "scale %g", (double) scale);
	CHECK(q[0] == 63 && q[1] == -63 && q[2] == 0 && q[3] == 2 && q[4] == -2, "halves go to even");
	CHECK(dl_quantize_group(zero, 3, q, &scale) == 0 && scale == 0 && q[0] == 0, "a zero row");
	CHECK(dl_quantize_group(tiny, 2, q, &scale) == 0 && scale == 0 && q[0] == 0, "a row whose scale underflows");
	CHECK(dl_round_bf16(1.0f) == 0x3f80 && dl_round_bf16(0x1.01p0f) == 0x3f80 && dl_round_bf16(0x1.03p0f) == 0x3f82, "halves go to even");
	CHECK(dl_round_bf16(0x1.010002p0f) == 0x3f81 && dl_round_bf16(-0.0f) == 0x8000, "above half goes up");
	CHECK(dl_round_bf16(3.4028235e38f) == 0x7f80, "what is too large becomes infinite");
}

/* ---------------------------------------------------------------- adapter */

#define RANK	2
#define WIDTH	40

static float adapter_a[RANK][WIDTH],
			adapter_b[WIDTH][RANK],
			mask_row[WIDTH];

/* An adapter for q_proj of layer 1 of test/models/llama, and a row of the embedding. */
static void
write_adapter(const char *to, const char *config)
{
	uint8_t		file[4096];
	char		header[512];
	const char *settings = "{\"mask_token\": \"<|mask|>\", \"embedding_rows\": {\"<|mask|>\": \"mask_embedding\"}}";
	uint64_t	length;
	size_t		a = sizeof(adapter_a),
				b = sizeof(adapter_b),
				m = sizeof(mask_row);

	for (int i = 0; i < WIDTH; i++)
	{
		for (int r = 0; r < RANK; r++)
		{
			adapter_a[r][i] = (float) ((i * 37 + r * 11) % 29 - 14) / 64;
			adapter_b[i][r] = (float) ((i * 23 + r * 7) % 31 - 15) / 32;
		}
		mask_row[i] = (float) i / 8;
	}
	length = (uint64_t) snprintf(header, sizeof(header),
		"{\"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[2,40],\"data_offsets\":[0,%zu]},"
		"\"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[40,2],\"data_offsets\":[%zu,%zu]},"
		"\"mask_embedding\":{\"dtype\":\"F32\",\"shape\":[40],\"data_offsets\":[%zu,%zu]}}", a, a, a + b, a + b, a + b + m);
	memcpy(file, &length, 8);
	memcpy(file + 8, header, length);
	memcpy(file + 8 + length, adapter_a, a);
	memcpy(file + 8 + length + a, adapter_b, b);
	memcpy(file + 8 + length + a + b, mask_row, m);
	files_write(to, "adapter_model.safetensors", file, 8 + length + a + b + m);
	files_write(to, "adapter_config.json", config, strlen(config));
	files_write(to, "dlm.json", settings, strlen(settings));
}

static void
adapter_is_merged(void)
{
	char		adapter[256],
				with_gguf[65],
				digest[65];
	dlm_convert_options o = {.lora = adapter, .tokenizer = "test/models/llama/tokenizer.json", .config = "test/models/llama/config.json"};
	dl_arena   *arena = dl_arena_create((size_t) 64 << 20);
	dl_source	source;
	const dl_tensor *t;
	const dl_entry *e;
	opened		m;
	uint8_t		raw[WIDTH * WIDTH * 4];
	float		base[WIDTH][WIDTH],
				step;
	int			wrong = 0;

	files_folder(adapter);
	write_adapter(adapter, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 6, \"bias\": \"none\"}");
	convert_ok("test/models/gguf/llama.gguf", &o, with_gguf);
	convert_ok("test/models/llama", &o, digest);
	CHECK(strcmp(digest, with_gguf) == 0, "merged into the folder and into the GGUF file");
	CHECK(dl_source_open("test/models/llama", "model.safetensors", arena, &source, NULL) == DLM_OK, "source");
	t = dl_source_find(&source, "layers.1.self_attn.q_proj.weight");
	CHECK(dl_file_read(t->file, t->offset, raw, sizeof(raw), NULL) == DLM_OK, "q_proj");
	dl_dequantize(t->storage, raw, WIDTH * WIDTH, &base[0][0]);
	m = open_target();
	e = find_entry(m.model, DL_T_Q_W, 1);
	for (int i = 0; i < WIDTH; i++)
		for (int j = 0; j < WIDTH; j++)
		{
			float		chain = fmaf(adapter_b[i][1], adapter_a[1][j], fmaf(adapter_b[i][0], adapter_a[0][j], 0));
			float		delta = 3.0f * chain;

			wrong += stored(m.model, e, (uint64_t) i, (uint64_t) j, &step) != base[i][j] + delta;
		}
	CHECK(wrong == 0, "%d elements are not W + (alpha / r) B A", wrong);
	compare(&m, &source, "layers.0.self_attn.q_proj.weight", DL_T_Q_W, 0, 0);
	CHECK(m.model->config.n_replaced == 1 && m.model->config.replaced[0] == 3, "the mask's row is replaced");
	CHECK(memcmp(m.model->replaced, mask_row, sizeof(mask_row)) == 0, "by the adapter's");
	close_target(&m);
	dl_source_close(&source);
	dl_arena_destroy(arena);
	files_remove(adapter);
}

/* ---------------------------------------------------------------- variants of a checkpoint */

/* Replace every occurrence of a text in a file of a folder by one of the same length. */
static int
replace_all(const char *in, const char *name, const char *from, const char *to)
{
	char		path[512];
	size_t		size,
				n = strlen(from);
	uint8_t    *data,
			   *at;
	int			count = 0;

	snprintf(path, sizeof(path), "%s/%s", in, name);
	data = files_read(path, &size);
	at = data;
	while ((at = memmem(at, size - (size_t) (at - data), from, n)) != NULL)
	{
		memcpy(at, to, n);
		count++;
	}
	files_write(in, name, data, size);
	free(data);
	return count;
}

/* Old BERT files say gamma and beta: the same model. */
static void
gamma_and_beta_are_weight_and_bias(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_INT8};
	char		copy[256],
				plain[65],
				old[65];

	files_folder(copy);
	files_copy_folder("test/models/bert", copy);
	CHECK(replace_all(copy, "model.safetensors", "LayerNorm.weight\"", "LayerNorm.gamma\" ") >= 5, "no norms to rename");
	CHECK(replace_all(copy, "model.safetensors", "LayerNorm.bias", "LayerNorm.beta") >= 5, "no norms to rename");
	convert_ok("test/models/bert", &o, plain);
	convert_ok(copy, &o, old);
	CHECK(strcmp(plain, old) == 0, "%s and %s", plain, old);
	files_remove(copy);
}

/* Dream is Qwen2 with shifted logits, also without dlm.json. */
static void
dream_is_qwen2_with_a_shift(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
	char		copy[256],
				settings[512],
				digest[65];
	opened		m;

	files_folder(copy);
	files_copy_folder("test/models/qwen2", copy);
	snprintf(settings, sizeof(settings), "%s/dlm.json", copy);
	unlink(settings);
	CHECK(replace_all(copy, "config.json", "\"model_type\": \"qwen2\"", "\"model_type\": \"Dream\"") == 1, "no model_type");
	convert_ok(copy, &o, digest);
	m = open_target();
	CHECK(strcmp(m.model->config.family, "dream") == 0 && m.model->config.logit_shift == 1, "shift %u", m.model->config.logit_shift);
	CHECK(m.model->config.mask_id == 3, "mask by its usual name: %u", m.model->config.mask_id);
	CHECK(m.model->config.attention == DL_ATT_FULL, "attention");
	CHECK(m.model->settings.n_begin == 1 && m.model->settings.begin[0] == 0, "begin is bos_token_id");
	CHECK(m.model->settings.n_stop == 1 && m.model->settings.stop[0] == 2, "stop is eos_token_id");
	close_target(&m);
	files_remove(copy);
}

/* Without dlm.json the post-processor of tokenizer.json names begin and end. */
static void
post_processor_names_begin_and_end(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
	char		digest[65];
	opened		m;

	convert_ok("test/models/xlm-roberta", &o, digest);
	m = open_target();
	CHECK(m.model->settings.n_begin == 1 && m.model->settings.begin[0] == 0, "begin is <s>");
	CHECK(m.model->settings.n_end == 1 && m.model->settings.end[0] == 2, "end is </s>");
	CHECK(m.model->config.position_offset == 2 && m.model->config.context == 128, "positions start at 2");
	close_target(&m);
}

/* ---------------------------------------------------------------- rope */

static void
rope_rules_are_applied(void)
{
	dl_arch		arch = {.config = {.head_dim = 8}, .rope = {.theta = 10000, .factor = 8, .low_freq_factor = 1,
		.high_freq_factor = 4, .original_context = 8192}};
	double		plain[4],
				linear[4],
				llama3[4];
	float		cosines[4],
				sines[4];

	CHECK(dl_rope_frequencies(&arch, plain, NULL) == DLM_OK, "plain");
	arch.rope.kind = DL_ROPE_LINEAR;
	CHECK(dl_rope_frequencies(&arch, linear, NULL) == DLM_OK, "linear");
	arch.rope.kind = DL_ROPE_LLAMA3;
	CHECK(dl_rope_frequencies(&arch, llama3, NULL) == DLM_OK, "llama3");
	for (int i = 0; i < 4; i++)
	{
		CHECK(fabs(plain[i] - pow(10000, -2.0 * i / 8)) < 1e-15, "frequency %d", i);
		CHECK(linear[i] == plain[i] / 8, "linear %d", i);
	}
	/* wavelengths 6.28, 62.8, 628 are under 8192 / 4 and stay; 6283 lies between 2048 and 8192 */
	CHECK(llama3[0] == plain[0] && llama3[1] == plain[1] && llama3[2] == plain[2], "short waves stay");
	CHECK(fabs(llama3[3] - 2.1360754e-4) < 1e-10, "blended: %.6g", llama3[3]);
	dl_rope_row(plain, 4, 8191, cosines, sines);
	for (int i = 0; i < 4; i++)
		CHECK(fabs(cosines[i] - cos(8191 * plain[i])) < 1e-7 && fabs(sines[i] - sin(8191 * plain[i])) < 1e-7, "angle %d", i);
}

/* GGUF's rope_freqs divides the frequencies, exactly; a table of another size or with a zero is refused. */
static void
gguf_rope_factors_are_applied(void)
{
	static const double factors[] = {1, 2, 8, 0.5};
	static const char *const bad[] = {"short.weight", "zero.weight"};
	dl_arena   *arena = dl_arena_create((size_t) 16 << 20);
	dl_source	source;
	dlm_error	err = {0};
	dl_arch		arch = {.config.head_dim = 8, .rope = {.theta = 10000}};
	double		plain[4],
				freq[4];

	CHECK(dl_source_open("test/models/gguf/rope.gguf", "", arena, &source, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_rope_frequencies(&arch, plain, &err) == DLM_OK, "%s", err.message);
	arch.rope.factors = dl_source_find(&source, "rope_freqs.weight");
	CHECK(arch.rope.factors != NULL && dl_rope_frequencies(&arch, freq, &err) == DLM_OK, "%s", err.message);
	for (int i = 0; i < 4; i++)
		CHECK(freq[i] == plain[i] / factors[i], "%d: %.9g", i, freq[i]);
	for (int i = 0; i < 2; i++)
	{
		arch.rope.factors = dl_source_find(&source, bad[i]);
		CHECK(arch.rope.factors != NULL && dl_rope_frequencies(&arch, freq, &err) == DLM_EDAMAGED, "%s is taken", bad[i]);
	}
	dl_source_close(&source);
	dl_arena_destroy(arena);
}

int
main(void)
{
	files_folder(folder);
	snprintf(target, sizeof(target), "%s/m.dlm", folder);
	head_has_its_own_type();
	rounding_is_as_defined();
	rope_rules_are_applied();
	gguf_rope_factors_are_applied();
	digests_are_expected();
	gguf_equals_folder();
	gguf_tokenizer_equals_tokenizer_json();
	values_are_the_sources();
	adapter_is_merged();
	gamma_and_beta_are_weight_and_bias();
	dream_is_qwen2_with_a_shift();
	post_processor_names_begin_and_end();
	CHECK(files_count(folder) == 1, "%d files are left beside the target", files_count(folder) - 1);
	files_remove(folder);
	return harness_end("t_convert");
}
