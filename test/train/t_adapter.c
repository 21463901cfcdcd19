/*
 * t_adapter.c - factors as an adapter: a conversion that merges it gives the
 * model that the run wrote, to the bit; and it can be loaded to train on.
 */
#include <sys/stat.h>

#include "trained.h"

static char folder[256];		/* models */
static char adapter[256];

static const dl_train_options every = {.mode = DL_TRAIN_LORA, .lora = EVERY_MODULE, .rank = 3, .alpha = 10};
static const dl_train_options layers = {.mode = DL_TRAIN_LORA, .lora = EVERY_MODULE & ~DL_DENSE_OUTPUT, .rank = 4, .alpha = 2};

/* Write model and adapter; convert the source with the adapter. */
static void
merge_equals(const char *source, const dlm_convert_options *options, const dl_train_options *train)
{
	dlm_convert_options with = *options;
	dl_arena   *a;
	dl_params  *p;
	fixture		base,
				merged;
	uint8_t		digest[32];
	dlm_error	err = {0};

	if (!fixture_convert(source, options, &base))
		return;
	p = trained_create(base.model, train, &a);
	trained_move(p, 0.05);
	CHECK(dl_write_model(p, folder, NULL, digest, &err) == DLM_OK, "%s: %s", source, err.message);
	CHECK(dl_adapter_write(p, adapter, false, &err) == DLM_OK, "%s: %s", source, err.message);
	CHECK(files_count(adapter) == 2, "%s: %d files", source, files_count(adapter));
	with.lora = adapter;
	if (fixture_convert(source, &with, &merged))
		CHECK(memcmp(merged.model->header->digest, digest, 32) == 0, "%s, layers %x: another digest", source, train->lora);
	fixture_close(&merged);
	dl_arena_destroy(a);
	fixture_close(&base);
}

static void
folders_merge(void)
{
	for (int i = 0; i < N_TINY_MODELS; i++)
	{
		char		source[64];
		dlm_convert_options options = {.weights = strcmp(tiny_models[i], "bf16") == 0 ? DLM_WEIGHTS_BF16 : DLM_WEIGHTS_F32};

		if (strcmp(tiny_models[i], REPLACED) == 0)
			continue;
		snprintf(source, sizeof(source), "test/models/%s", tiny_models[i]);
		merge_equals(source, &options, &every);
		merge_equals(source, &options, &layers);
	}
}

/* q and k rows of some GGUF files are in another order, which adapters do not share. */
static void
gguf_files_merge(void)
{
	static const char *const families[] = {"llama", "qwen2", "qwen3", "llada"};

	for (int i = 0; i < 4; i++)
	{
		char		gguf[64],
					tokenizer[64],
					config[64],
					settings[64];
		dlm_convert_options o = {.tokenizer = tokenizer, .config = config};

		snprintf(gguf, sizeof(gguf), "test/models/gguf/%s.gguf", families[i]);
		snprintf(tokenizer, sizeof(tokenizer), "test/models/%s/tokenizer.json", families[i]);
		snprintf(config, sizeof(config), "test/models/%s/config.json", families[i]);
		snprintf(settings, sizeof(settings), "test/models/%s/dlm.json", families[i]);
		if (access(settings, F_OK) == 0)
			o.settings = settings;
		merge_equals(gguf, &o, &every);
	}
}

/* Rows of the embedding travel with the factors, under names of their own. */
static void
replaced_rows_travel(void)
{
	static const char settings[] = "{\"format\": 1, \"mask_token\": \"<|mask|>\", \"begin\": \"<|endoftext|>\", "
		"\"stop_tokens\": [\"<|im_end|>\"], \"embedding_rows\": {\"<|mask|>\": \"mask_embedding\", "
		"\"<|im_end|>\": \"embedding_row_%u\"}}";
	char		text[600],
				path[400];
	dlm_convert_options with = {.weights = DLM_WEIGHTS_F32, .lora = adapter, .settings = path};
	dl_arena   *a,
			   *b;
	dl_params  *p,
			   *q;
	fixture		base,
				merged;
	uint8_t		digest[32];
	dlm_error	err = {0};
	const dl_config *c;

	if (!replaced_open(DLM_WEIGHTS_F32, &base))
		return;
	c = &base.model->config;
	p = trained_create(base.model, &layers, &a);
	trained_move(p, 0.05);
	CHECK(dl_write_model(p, folder, NULL, digest, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_adapter_write(p, adapter, false, &err) == DLM_OK, "%s", err.message);
	snprintf(text, sizeof(text), settings, c->replaced[0] == c->mask_id ? c->replaced[1] : c->replaced[0]);
	files_write(folder, "rows.json", text, strlen(text));
	snprintf(path, sizeof(path), "%s/rows.json", folder);
	if (fixture_convert("test/models/llama", &with, &merged))
		CHECK(memcmp(merged.model->header->digest, digest, 32) == 0, "another digest");
	q = trained_create(base.model, &layers, &b);
	CHECK(dl_adapter_load(q, adapter, &err) == DLM_OK, "%s", err.message);
	CHECK(memcmp(p->replaced->value, q->replaced->value, p->replaced->n * sizeof(float)) == 0, "rows");
	fixture_close(&merged);
	dl_arena_destroy(a);
	dl_arena_destroy(b);
	fixture_close(&base);
}

/* Loaded factors are those that were written, rounded where bf16 was asked for; and go on to the same model. */
static void
training_goes_on(const char *name)
{
	dl_arena   *a,
			   *b;
	dl_params  *p,
			   *q;
	fixture		base;
	uint8_t		digest[2][32];
	dlm_error	err = {0};
	double		worst = 0;

	if (!tiny_open(name, DLM_WEIGHTS_F32, &base))
		return;
	p = trained_create(base.model, &every, &a);
	q = trained_create(base.model, &every, &b);
	trained_move(p, 0.05);
	CHECK(dl_adapter_write(p, adapter, false, &err) == DLM_OK && dl_adapter_load(q, adapter, &err) == DLM_OK, "%s: %s", name,
		  err.message);
	CHECK(dl_write_model(p, folder, NULL, digest[0], &err) == DLM_OK && dl_write_model(q, folder, NULL, digest[1], &err) == DLM_OK &&
		  memcmp(digest[0], digest[1], 32) == 0, "%s: %s", name, err.message);
	CHECK(dl_adapter_write(p, adapter, true, &err) == DLM_OK && dl_adapter_load(q, adapter, &err) == DLM_OK, "%s: %s", name,
		  err.message);
	for (int i = 0; i < p->n; i++)
		for (size_t j = 0; p->list[i].part != DL_PART_TENSOR && j < p->list[i].n; j++)
		{
			double		x = p->list[i].value[j],
						y = q->list[i].value[j];

			if (fabs(x - y) > worst * fabs(x))
				worst = fabs(x - y) / fabs(x);
		}
	CHECK(worst > 1e-4 && worst <= 0x1p-8, "%s: bf16 is off by %g", name, worst);
	dl_arena_destroy(a);
	dl_arena_destroy(b);
	fixture_close(&base);
}

/* Status of loading what lies in the adapter's folder into fresh parameters. */
static void
refused(const dlm_model *m, const dl_train_options *o, dlm_status status, const char *named)
{
	dl_arena   *a;
	dl_params  *p = trained_create(m, o, &a);
	dlm_error	err = {0};
	dlm_status	st = dl_adapter_load(p, adapter, &err);

	CHECK(st == status && (strstr(err.message, named) != NULL || strstr(err.hint, named) != NULL), "%s: %d %s / %s", named, st,
		  err.message, err.hint);
	dl_arena_destroy(a);
}

static void
others_are_refused(void)
{
	dl_train_options o = layers;
	dl_arena   *a;
	dl_params  *p;
	fixture		base,
				other;
	dlm_error	err = {0};
	uint8_t    *data;
	size_t		size;
	char		path[400];

	if (!tiny_open("llama", DLM_WEIGHTS_F32, &base) || !tiny_open("qwen2", DLM_WEIGHTS_F32, &other))
		return;
	p = trained_create(base.model, &layers, &a);
	trained_move(p, 0.05);
	CHECK(dl_adapter_write(p, adapter, false, &err) == DLM_OK, "%s", err.message);
	o.rank = 5;
	refused(base.model, &o, DLM_EINVAL, "Set rank to 4 and alpha to 2");
	o = layers;
	o.alpha = 3;
	refused(base.model, &o, DLM_EINVAL, "alpha");
	o = layers;
	o.lora = EVERY_MODULE;
	refused(base.model, &o, DLM_EINVAL, "no factors for \"lm_head.weight\"");
	o.lora = DL_DENSE_Q;
	refused(base.model, &o, DLM_EINVAL, "not to be trained");
	refused(base.model, &(dl_train_options) {.mode = DL_TRAIN_ALL}, DLM_EINVAL, "mode \"lora\"");
	if (base.model->config.ffn != other.model->config.ffn || base.model->config.hidden != other.model->config.hidden)
		refused(other.model, &layers, DLM_EDAMAGED, "do not fit");
	p->layers[0].o.lora_a->value[0] = INFINITY;
	CHECK(dl_adapter_write(p, adapter, false, &err) == DLM_EDAMAGED, "%s", err.message);
	p->layers[0].o.lora_a->value[0] = 3.4e38f;
	CHECK(dl_adapter_write(p, adapter, true, &err) == DLM_EDAMAGED && files_count(adapter) == 2, "%s", err.message);
	CHECK(dl_adapter_write(p, "/nonexistent/x", false, &err) == DLM_ENOENT, "%s", err.message);
	snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
	data = files_read(path, &size);
	memset(data + size - 4, 0xff, 4);
	files_write(adapter, "adapter_model.safetensors", data, size);
	refused(base.model, &layers, DLM_EDAMAGED, "not finite");
	files_write(adapter, "adapter_model.safetensors", data, size - 4);
	refused(base.model, &layers, DLM_EDAMAGED, "");
	files_write(adapter, "adapter_model.safetensors", data, size);
	snprintf(path, sizeof(path), "%s/adapter_config.json", adapter);
	unlink(path);
	refused(base.model, &layers, DLM_ENOENT, "adapter_config.json");
	free(data);
	dl_arena_destroy(a);
	fixture_close(&base);
	fixture_close(&other);
}

int
main(void)
{
	files_folder(folder);
	files_folder(adapter);
	rmdir(adapter);				/* writing makes it */
	folders_merge();
	gguf_files_merge();
	replaced_rows_travel();
	training_goes_on("llama");
	training_goes_on("xlm-roberta-xl");
	training_goes_on("llada");
	others_are_refused();
	files_remove(folder);
	files_remove(adapter);
	return harness_end("t_adapter");
}
