/*
 * t_convert_faults.c - what a conversion does with damaged sources, full
 * disks and cancels: the right status, a message, and nothing left behind.
 */
#include "harness.h"
#include "files.h"

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "loader.h"

static char source[256],
			output[256],
			target[512];

/* Convert `from`; failure must leave the output folder as it was. */
static dlm_status
convert_with(const char *from, const dlm_convert_options *o, dlm_error *err)
{
	int			before = files_count(output);
	dlm_status	st;

	memset(err, 0, sizeof(*err));
	st = dlm_convert(from, target, o, NULL, err);
	if (st != DLM_OK)
	{
		CHECK(err->status == st && err->message[0] != '\0', "failure without a message");
		CHECK(files_count(output) == before, "%d files are left behind: %s", files_count(output) - before, err->message);
	}
	else
		unlink(target);
	return st;
}

/* A fresh copy of a tiny checkpoint in `source`. */
static void
fresh(const char *model)
{
	char		from[128];

	files_remove(source);
	if (mkdir(source, 0700) != 0)
		exit(1);
	snprintf(from, sizeof(from), "test/models/%s", model);
	files_copy_folder(from, source);
}

/* Replace the first occurrence of a text in a file of `source`. */
static void
edit(const char *name, const char *from, const char *to)
{
	char		path[512];
	size_t		size,
				a = strlen(from),
				b = strlen(to);
	uint8_t    *data,
			   *at,
			   *out;

	snprintf(path, sizeof(path), "%s/%s", source, name);
	data = files_read(path, &size);
	at = memmem(data, size, from, a);
	CHECK(at != NULL, "%s has no \"%s\"", name, from);
	if (at != NULL)
	{
		size_t		before = (size_t) (at - data);

		out = malloc(size + b);
		memcpy(out, data, before);
		memcpy(out + before, to, b);
		memcpy(out + before + b, at + a, size - before - a);
		files_write(source, name, out, size - a + b);
		free(out);
	}
	free(data);
}

static void
drop(const char *name)
{
	char		path[512];

	snprintf(path, sizeof(path), "%s/%s", source, name);
	CHECK(unlink(path) == 0, "%s", name);
}

static void
expect(dlm_status wanted, const char *what, const char *named)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
	dlm_error	err;
	dlm_status	st = convert_with(source, &o, &err);

	CHECK(st == wanted, "%s: status %d, %s", what, st, err.message);
	CHECK(named == NULL || strstr(err.message, named) != NULL, "%s: \"%s\" does not name %s", what, err.message, named);
}

/* ---------------------------------------------------------------- sources */

static void
missing_files_are_named(void)
{
	static const char *const files[] = {"config.json", "tokenizer.json", "model.safetensors"};

	for (int i = 0; i < 3; i++)
	{
		fresh("llama");
		drop(files[i]);
		expect(DLM_ENOENT, "missing file", files[i]);
	}
	fresh("sharded");
	drop("model-00002-of-00003.safetensors");
	expect(DLM_ENOENT, "missing shard", "model-00002-of-00003.safetensors");
	fresh("sharded");
	edit("model.safetensors.index.json", "model-00002-of-00003", "../../../../etc/passwd");
	expect(DLM_EDAMAGED, "a path in the index", "file name");
	files_remove(source);
	expect(DLM_ENOENT, "missing folder", NULL);
	if (mkfifo(source, 0600) == 0)
		expect(DLM_EDAMAGED, "a pipe as source", "regular");
	unlink(source);
}

typedef struct edit_case
{
	const char *model,
			   *file,
			   *from,
			   *to;
	dlm_status	status;
	const char *named;
} edit_case;

static const edit_case cases[] = {
	{"llama", "config.json", "\"intermediate_size\": 88", "\"intermediate_size\": 89", DLM_EDAMAGED, "should be"},
	{"llama", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", DLM_EDAMAGED, "layers.2."},
	{"llama", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", DLM_EUNSUPPORTED, "layers.1."},
	{"llama", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2e9", DLM_EDAMAGED, "num_hidden_layers"},
	{"llama", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": \"2\"", DLM_EDAMAGED, "num_hidden_layers"},
	{"llama", "config.json", "\"hidden_size\": 40", "\"hidden_size\": -40", DLM_EDAMAGED, "hidden_size"},
	{"llama", "config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", DLM_EDAMAGED, "heads"},
	{"llama", "config.json", "\"llama\"", "\"gpt_neox\"", DLM_EUNSUPPORTED, "gpt_neox"},
	{"llama", "config.json", "\"silu\"", "\"mish\"", DLM_EUNSUPPORTED, "mish"},
	{"llama", "config.json", "\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", DLM_EUNSUPPORTED, "yarn"},
	{"llama", "config.json", "\"rope_type\": \"default\"", "\"rope_type\": \"linear\"", DLM_EDAMAGED, "factor"},
	{"llama", "config.json", "\"use_cache\"", "\"sliding_window\": 128, \"use_cache\"", DLM_EUNSUPPORTED, "sliding"},
	{"llama", "config.json", "\"use_cache\"", "\"num_experts\": 8, \"use_cache\"", DLM_EUNSUPPORTED, "experts"},
	{"qwen2", "config.json", "\"full_attention\"", "\"sliding_attention\"", DLM_EUNSUPPORTED, "sliding"},
	{"llama", "config.json", "\"vocab_size\": 424", "\"vocab_size\": 423", DLM_EDAMAGED, "should be"},
	{"llama", "config.json", "{", "[", DLM_EDAMAGED, "JSON"},
	{"llama", "model.safetensors", "layers.1.mlp.up_proj.weight", "layers.1.mlp.uq_proj.weight", DLM_EDAMAGED, "layers.1.mlp.up_proj.weight"},
	{"llama", "model.safetensors", "\"F32\"", "\"I32\"", DLM_EUNSUPPORTED, "type"},
	{"llama", "dlm.json", "\"begin\"", "\"begim\"", DLM_EINVAL, "begim"},
	{"llama", "dlm.json", "<|mask|>", "<|musk|>", DLM_EINVAL, "<|musk|>"},
	{"llama", "dlm.json", "\"format\": 1", "\"format\": 2", DLM_EUNSUPPORTED, "format"},
	{"llama", "dlm.json", "\"format\": 1", "\"attention\": \"causal\"", DLM_EINVAL, "attention"},
	{"llama", "dlm.json", "\"format\": 1", "\"defaults\": {\"sampler\": \"fastest\"}", DLM_EINVAL, NULL},
	{"llama", "dlm.json", "\"format\": 1", "\"embedding_rows\": {\"<|mask|>\": \"nothing\"}", DLM_EINVAL, "nothing"},
	{"llama", "dlm.json", "\"format\": 1", "\"length_head\": true", DLM_EDAMAGED, "length_predictor"},
	{"llama", "tokenizer.json", "\"!\":4,", "\"!\":5,", DLM_EDAMAGED, NULL},	/* id 5 twice, id 4 missing */
	{"llama", "tokenizer.json", "\"!\":4,", "\"!\":1e9,", DLM_EDAMAGED, NULL},
	{"llama", "tokenizer.json", "\"Where\":420", "\"Where\":430", DLM_EDAMAGED, NULL},	/* beyond the embedding's rows */
	{"llama", "tokenizer.json", "\"type\":\"ByteLevel\"", "\"type\":\"BiteLevel\"", DLM_EUNSUPPORTED, "BiteLevel"},
	{"llada", "config.json", "\"alibi\": false", "\"alibi\": true", DLM_EUNSUPPORTED, "alibi"},
	{"bert", "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", DLM_EUNSUPPORTED, "relu"},
	{"paper", "model.safetensors", "length_predictor.2.bias", "length_predictor.2.bios", DLM_EDAMAGED, "length_predictor.2.bias"},
};

static void
bad_settings_and_shapes_are_named(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		fresh(cases[i].model);
		edit(cases[i].file, cases[i].from, cases[i].to);
		expect(cases[i].status, cases[i].to, cases[i].named);
	}
}

static void
deep_json_is_refused(void)
{
	static const char *const files[] = {"config.json", "tokenizer.json", "dlm.json"};
	static const char start[] = "{\"a\":";
	char		deep[20100];
	size_t		n = sizeof(start) - 1;

	memcpy(deep, start, n);
	memset(deep + n, '[', 10000);
	memset(deep + n + 10000, ']', 10000);
	deep[n + 20000] = '}';
	for (int i = 0; i < 3; i++)
	{
		fresh("llama");
		files_write(source, files[i], deep, n + 20001);
		expect(DLM_EDAMAGED, files[i], "nested");
	}
}

/* The first weights of the data: NaN, infinity, and an infinity of the opposite sign. */
static void
non_finite_weights_are_refused(void)
{
	static const uint8_t bad[3][4] = {{0, 0, 0xc0, 0x7f}, {0, 0, 0x80, 0x7f}, {0, 0, 0x80, 0xff}};
	char		path[512];

	for (int i = 0; i < 3; i++)
		for (int w = DLM_WEIGHTS_F32; w <= DLM_WEIGHTS_INT8; w++)
		{
			dlm_convert_options o = {.weights = (dlm_weights) w};
			dlm_error	err;
			size_t		size;
			uint8_t    *data;

			fresh("llama");
			snprintf(path, sizeof(path), "%s/model.safetensors", source);
			data = files_read(path, &size);
			memcpy(data + size - 4 - 400 * (size_t) i, bad[i], 4);
			files_write(source, "model.safetensors", data, size);
			free(data);
			CHECK(convert_with(source, &o, &err) == DLM_EDAMAGED, "value %d as type %d", i, w);
			CHECK(strstr(err.message, "finite") != NULL, "%s", err.message);
		}
}

static void
truncated_sources_are_refused(void)
{
	size_t		size;
	uint8_t    *data = files_read("test/models/llama/model.safetensors", &size);
	uint8_t    *gguf;

	for (size_t cut = 0; cut < size; cut += 4096)
	{
		fresh("llama");
		files_write(source, "model.safetensors", data, cut);
		expect(DLM_EDAMAGED, "truncated safetensors", NULL);
	}
	free(data);
	gguf = files_read("test/models/gguf/llama.gguf", &size);
	for (size_t cut = 0; cut < size; cut += 4096)
	{
		char		path[512];
		dlm_convert_options o = {.weights = DLM_WEIGHTS_INT8};
		dlm_error	err;

		files_write(source, "m.gguf", gguf, cut);
		snprintf(path, sizeof(path), "%s/m.gguf", source);
		CHECK(convert_with(path, &o, &err) != DLM_OK, "GGUF cut at %zu", cut);
	}
	free(gguf);
}

static void
bad_adapters_are_named(void)
{
	static const char header[] = "{\"x.y.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
	uint8_t		file[256] = {sizeof(header) - 1};
	dlm_convert_options o = {.lora = source, .weights = DLM_WEIGHTS_F32};
	const char *model = "test/models/llama";
	const char *config = "{\"r\": 2, \"lora_alpha\": 4, \"use_dora\": true}";
	dlm_error	err;

	fresh("llama");
	drop("model.safetensors");
	CHECK(convert_with(model, &o, &err) == DLM_ENOENT, "no adapter: %s", err.message);
	memcpy(file + 8, header, sizeof(header) - 1);
	files_write(source, "adapter_model.safetensors", file, 8 + sizeof(header) - 1 + 4);
	CHECK(convert_with(model, &o, &err) == DLM_ENOENT, "no adapter_config.json: %s", err.message);
	files_write(source, "adapter_config.json", config, strlen(config));
	CHECK(convert_with(model, &o, &err) == DLM_EUNSUPPORTED && strstr(err.message, "use_dora"), "%s", err.message);
	edit("adapter_config.json", "true", "false");
	CHECK(convert_with(model, &o, &err) == DLM_EUNSUPPORTED && strstr(err.message, "x.y.lora_A"), "%s", err.message);
	edit("adapter_config.json", "\"r\": 2", "\"r\": 0");
	CHECK(convert_with(model, &o, &err) == DLM_EDAMAGED, "rank 0: %s", err.message);
}

/* ---------------------------------------------------------------- targets */

static bool
stop_after(void *arg)
{
	int		   *left = arg;

	return (*left)-- <= 0;
}

/* Stopped at the n-th question, for every n until the conversion ends by itself. */
static void
stop_leaves_nothing(void)
{
	int			stopped = 0;

	for (int n = 0; n < 100000; n = n * 3 / 2 + 1)
	{
		int			left = n;
		dlm_convert_options o = {.weights = DLM_WEIGHTS_INT8, .stop = stop_after, .arg = &left};
		dlm_error	err;
		dlm_status	st = convert_with("test/models/gguf/quants.gguf", &o, &err);

		if (st == DLM_OK)
			break;
		CHECK(st == DLM_EINTR, "stopped at %d: %d %s", n, st, err.message);
		stopped++;
	}
	CHECK(stopped >= 5, "stop was asked for only %d times", stopped);
}

/* A file size limit fails writes with EFBIG, at every place of the file. */
static void
size_limit_leaves_nothing(void)
{
	struct rlimit old,
				limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	for (rlim_t size = 0; size < 300000; size += 50000)
	{
		dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
		dlm_error	err;
		dlm_status	st;

		limit = old;
		limit.rlim_cur = size;
		setrlimit(RLIMIT_FSIZE, &limit);
		st = convert_with("test/models/gguf/quants.gguf", &o, &err);
		setrlimit(RLIMIT_FSIZE, &old);
		CHECK(st == DLM_ENOSPC, "limit %zu: %d %s", (size_t) size, st, err.message);
	}
}

/* A file system of 256 kB, where we may mount one; elsewhere the size limit above has to do. */
static void
full_disk_leaves_nothing(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
	char		kept[512];
	dlm_error	err;

	if (mount("tmpfs", output, "tmpfs", 0, "size=256k") != 0)
	{
		printf("note: no tmpfs here (%s)\n", strerror(errno));
		return;
	}
	snprintf(kept, sizeof(kept), "%s/kept", output);
	files_write(output, "kept", "x", 1);
	CHECK(convert_with("test/models/gguf/quants.gguf", &o, &err) == DLM_ENOSPC, "%s", err.message);
	CHECK(access(kept, F_OK) == 0, "another file is gone");
	unlink(kept);
	/* lazily: an abandoned file is closed by a thread of its own, perhaps a moment later */
	CHECK(umount2(output, MNT_DETACH) == 0, "umount");
}

static void
failure_keeps_the_old_target(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_F32};
	dlm_error	err;
	size_t		size;
	uint8_t    *data;

	files_write(output, "m.dlm", "old", 3);
	fresh("llama");
	edit("config.json", "\"llama\"", "\"lama\"");
	CHECK(convert_with(source, &o, &err) == DLM_EUNSUPPORTED, "%s", err.message);
	data = files_read(target, &size);
	CHECK(size == 3 && memcmp(data, "old", 3) == 0, "the old file has changed");
	free(data);
	CHECK(dlm_convert("test/models/llama", target, &o, NULL, &err) == DLM_OK, "%s", err.message);
	data = files_read(target, &size);
	CHECK(size > 1000, "the old file was not replaced");
	free(data);
	CHECK(dlm_convert("test/models/llama", "/nonexistent/m.dlm", &o, NULL, &err) == DLM_ENOENT, "%s", err.message);
	CHECK(dlm_convert("test/models/llama", output, &o, NULL, &err) == DLM_EEXIST, "a folder as target");
	unlink(target);
}

static void
files_are_named_by_digest(void)
{
	dlm_convert_options o = {.weights = DLM_WEIGHTS_BF16};
	uint8_t		digest[32];
	char		path[512];
	struct stat first,
				second;
	dlm_error	err;
	int			n;

	CHECK(dlm_convert_into("test/models/bert", output, &o, digest, &err) == DLM_OK, "%s", err.message);
	n = snprintf(path, sizeof(path), "%s/", output);
	for (int i = 0; i < 32; i++)
		n += snprintf(path + n, sizeof(path) - (size_t) n, "%02x", digest[i]);
	snprintf(path + n, sizeof(path) - (size_t) n, ".dlm");
	CHECK(stat(path, &first) == 0, "no file %s", path);
	CHECK(dlm_convert_into("test/models/bert", output, &o, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(stat(path, &second) == 0 && first.st_ino == second.st_ino, "an equal file was written again");
	CHECK(files_count(output) == 1, "%d files", files_count(output));
	CHECK(truncate(path, 1000) == 0 && dlm_convert_into("test/models/bert", output, &o, NULL, &err) == DLM_OK &&
		  stat(path, &second) == 0 && second.st_size == first.st_size, "a damaged file is replaced");
	CHECK(dlm_convert_into("test/models/bert", "/nonexistent", &o, NULL, &err) == DLM_ENOENT, "%s", err.message);
	unlink(path);
}

/* A .dlm as source is verified and copied, whatever its damage. */
static void
model_files_are_verified_and_copied(void)
{
	dlm_convert_options none = {.weights = DLM_WEIGHTS_AUTO},
				int8 = {.weights = DLM_WEIGHTS_INT8},
				head = {.head = DLM_WEIGHTS_INT8},
				lora = {.lora = source};
	uint8_t		made[32],
				copied[32];
	char		path[512];
	size_t		size;
	uint8_t    *data;
	dlm_error	err;

	fresh("llama");
	snprintf(path, sizeof(path), "%s/m.dlm", source);
	CHECK(dlm_convert("test/models/llama", path, &none, made, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_convert(path, target, &none, copied, &err) == DLM_OK && memcmp(made, copied, 32) == 0, "%s", err.message);
	unlink(target);
	CHECK(convert_with(path, &int8, &err) == DLM_EINVAL, "weights of a finished model: %s", err.message);
	CHECK(convert_with(path, &head, &err) == DLM_EINVAL, "a head for a finished model: %s", err.message);
	CHECK(convert_with(path, &lora, &err) == DLM_EINVAL, "an adapter for a finished model: %s", err.message);
	data = files_read(path, &size);
	for (size_t at = 20; at < size - 64; at += size / 40)
	{
		data[at] ^= 4;
		files_write(source, "m.dlm", data, size);
		CHECK(convert_with(path, &none, &err) == DLM_EDAMAGED, "flip at %zu of %zu: %s", at, size, err.message);
		data[at] ^= 4;
	}
	for (size_t cut = 8; cut < size; cut += 4096)
	{
		files_write(source, "m.dlm", data, cut);
		CHECK(convert_with(path, &none, &err) == DLM_EDAMAGED, "cut at %zu: %s", cut, err.message);
	}
	free(data);
}

int
main(void)
{
	files_folder(source);
	files_folder(output);
	snprintf(target, sizeof(target), "%s/m.dlm", output);
	missing_files_are_named();
	bad_settings_and_shapes_are_named();
	deep_json_is_refused();
	non_finite_weights_are_refused();
	truncated_sources_are_refused();
	bad_adapters_are_named();
	stop_leaves_nothing();
	size_limit_leaves_nothing();
	full_disk_leaves_nothing();
	failure_keeps_the_old_target();
	files_are_named_by_digest();
	model_files_are_verified_and_copied();
	files_remove(source);
	files_remove(output);
	return harness_end("t_convert_faults");
}
