/*
 * t_gguf.c - GGUF files: values of every block format against the `gguf`
 * package (vectors of make_gguf.py), keys, and hostile headers.
 */
#include "harness.h"
#include "files.h"

#include "json.h"
#include "sha256.h"
#include "source.h"

#define QUANTS "test/models/gguf/quants.gguf"

static void
hex(const uint8_t digest[32], char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* SHA-256 of a tensor's values in f32. */
static void
hash_tensor(const dl_tensor *t, char out[65])
{
	uint64_t	n = t->dims[0] * (t->n_dims > 1 ? t->dims[1] : 1);
	uint8_t    *raw = malloc(t->bytes);
	float	   *value = malloc(n * sizeof(float));
	uint8_t		digest[32];
	dl_sha256	sha;

	CHECK(dl_file_read(t->file, t->offset, raw, t->bytes, NULL) == DLM_OK, "%s", t->name);
	dl_dequantize(t->storage, raw, n, value);
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, value, n * sizeof(float));
	dl_sha256_final(&sha, digest);
	hex(digest, out);
	free(raw);
	free(value);
}

static void
dequantised_values_equal_reference(void)
{
	dl_arena   *arena = dl_arena_create((size_t) 64 << 20);
	size_t		size;
	uint8_t    *text = files_read("test/vectors/gguf_blocks.json", &size);
	bool		seen[DL_ST_OTHER + 1] = {false};
	dl_source	source;
	dlm_error	err;
	const cJSON *item;
	cJSON	   *root;

	CHECK(dl_json_parse((char *) text, size, "vectors", &root, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_source_open(QUANTS, "", arena, &source, &err) == DLM_OK, "%s", err.message);
	cJSON_ArrayForEach(item, root)
	{
		const dl_tensor *t = dl_source_find(&source, item->string);
		char		digest[65];

		CHECK(t != NULL, "no tensor %s", item->string);
		if (t == NULL)
			continue;
		seen[t->storage] = true;
		hash_tensor(t, digest);
		CHECK(strcmp(digest, item->valuestring) == 0, "values of %s (storage %d)", item->string, t->storage);
	}
	for (int st = DL_ST_F32; st < DL_ST_OTHER; st++)
		CHECK(seen[st], "format %d is not in the file", st);
	cJSON_Delete(root);
	dl_source_close(&source);
	dl_arena_destroy(arena);
	free(text);
}

static void
halves_are_exact(void)
{
	CHECK(dl_half_to_float(0x3c00) == 1.0f && dl_half_to_float(0xc000) == -2.0f, "one, minus two");
	CHECK(dl_half_to_float(0x7bff) == 65504.0f && dl_half_to_float(0x0400) == 0x1p-14f, "largest, smallest normal");
	CHECK(dl_half_to_float(0x0001) == 0x1p-24f && dl_half_to_float(0x83ff) == -1023 * 0x1p-24f, "subnormals");
	CHECK(dl_half_to_float(0x0000) == 0 && 1 / dl_half_to_float(0x8000) < 0, "zeros keep their sign");
	CHECK(dl_half_to_float(0x7c00) > 1e38f && dl_half_to_float(0x7e00) != dl_half_to_float(0x7e00), "infinity, NaN");
}

static void
keys_are_read(void)
{
	size_t		size;
	uint8_t    *data = files_read("test/models/gguf/llama.gguf", &size);
	dl_gguf    *g = NULL;
	int64_t		v;
	double		d;
	dlm_text	text,
				tokens[1];
	dl_gguf_type type;
	uint64_t	n;
	int			tensors;

	CHECK(dl_gguf_open(data, size, &g, NULL) == DLM_OK, "sound file");
	CHECK(dl_gguf_get_int(g, "llama.block_count", &v) && v == 2, "an integer");
	CHECK(dl_gguf_get_float(g, "llama.rope.freq_base", &d) && d == 10000, "a float");
	CHECK(dl_gguf_get_string(g, "general.architecture", &text) && text.len == 5 && memcmp(text.data, "llama", 5) == 0, "a string");
	CHECK(dl_gguf_get_array(g, "tokenizer.ggml.tokens", &type, &n) && type == DL_GGUF_STRING && n > 400, "an array");
	CHECK(dl_gguf_array_strings(g, "tokenizer.ggml.tokens", tokens, 1) && tokens[0].len == 13, "its first element");
	CHECK(!dl_gguf_array_floats(g, "tokenizer.ggml.tokens", &(float) {0}, 1), "strings are no floats");
	CHECK(!dl_gguf_get_int(g, "llama.rope.freq_base", &v) && !dl_gguf_get_int(g, "no.such.key", &v), "other type, missing");
	CHECK(dl_gguf_tensors(g, &tensors) != NULL && tensors == 20, "%d tensors", tensors);
	dl_gguf_close(g);
	free(data);
}

/* A file of a few fields: magic, version, counts, and a tail. */
static dlm_status
open_bytes(uint32_t version, uint64_t tensors, uint64_t keys, const void *tail, size_t tail_size)
{
	uint8_t		file[512] = "GGUF";
	dl_gguf    *g = NULL;
	dlm_error	err = {0};
	dlm_status	st;

	memcpy(file + 4, &version, 4);
	memcpy(file + 8, &tensors, 8);
	memcpy(file + 16, &keys, 8);
	memcpy(file + 24, tail, tail_size);
	st = dl_gguf_open(file, 24 + tail_size, &g, &err);
	CHECK(st != DLM_MORE && (st == DLM_OK) == (g != NULL), "status %d", st);
	dl_gguf_close(g);
	return st;
}

static void
hostile_headers_are_refused(void)
{
	static const uint8_t long_string[] = "\xff\xff\xff\xff\xff\xff\xff\x7f" "abc";
	static const uint8_t longer_than_file[] = "\x10\x00\x00\x00\x00\x00\x00\x00" "abc";
	static const uint8_t bad_type[] = "\x01\x00\x00\x00\x00\x00\x00\x00" "a" "\x63\x00\x00\x00" "xxxxxxxx";
	static const uint8_t nested_array[] = "\x01\x00\x00\x00\x00\x00\x00\x00" "a" "\x09\x00\x00\x00" "\x09\x00\x00\x00"
		"\x01\x00\x00\x00\x00\x00\x00\x00" "xxxxxxxxxxxxxxxx";
	static const uint8_t long_array[] = "\x01\x00\x00\x00\x00\x00\x00\x00" "a" "\x09\x00\x00\x00" "\x06\x00\x00\x00"
		"\x00\x00\x00\x00\x00\x00\x00\x40" "xxxx";
	static const uint8_t many_strings[] = "\x01\x00\x00\x00\x00\x00\x00\x00" "a" "\x09\x00\x00\x00" "\x08\x00\x00\x00"
		"\xff\xff\xff\xff\xff\xff\xff\xff" "xxxx";
	static const uint8_t tensor_dims[] = "\x01\x00\x00\x00\x00\x00\x00\x00" "t" "\x09\x00\x00\x00" "xxxxxxxxxxxxxxxxxxxxxxxxxx";

	CHECK(open_bytes(3, 0, 0, "", 0) == DLM_OK, "an empty file is well formed");
	CHECK(open_bytes(1, 0, 0, "", 0) == DLM_EUNSUPPORTED && open_bytes(4, 0, 0, "", 0) == DLM_EUNSUPPORTED, "version");
	CHECK(open_bytes(3, 0, (uint64_t) 1 << 40, "", 0) == DLM_EDAMAGED, "2^40 keys");
	CHECK(open_bytes(3, (uint64_t) 1 << 40, 0, "", 0) == DLM_EDAMAGED, "2^40 tensors");
	CHECK(open_bytes(3, 0, 1, "", 0) == DLM_EDAMAGED, "a key that is not there");
	CHECK(open_bytes(3, 0, 1, long_string, 11) == DLM_EDAMAGED, "string of 2^63 bytes");
	CHECK(open_bytes(3, 0, 1, longer_than_file, 11) == DLM_EDAMAGED, "string longer than the file");
	CHECK(open_bytes(3, 0, 1, bad_type, sizeof(bad_type) - 1) == DLM_EDAMAGED, "unknown type");
	CHECK(open_bytes(3, 0, 1, nested_array, sizeof(nested_array) - 1) == DLM_EDAMAGED, "array of arrays");
	CHECK(open_bytes(3, 0, 1, long_array, sizeof(long_array) - 1) == DLM_EDAMAGED, "array of 2^62 floats");
	CHECK(open_bytes(3, 0, 1, many_strings, sizeof(many_strings) - 1) == DLM_EDAMAGED, "array of 2^64 - 1 strings");
	CHECK(open_bytes(3, 1, 0, tensor_dims, sizeof(tensor_dims) - 1) == DLM_EDAMAGED, "tensor of nine dimensions");
}

/* Cut anywhere, the whole is refused; a beginning asks for more. */
static void
truncation_is_seen_everywhere(void)
{
	size_t		size;
	uint8_t    *data = files_read("test/models/gguf/llama.gguf", &size);
	size_t		head = 1;
	dl_gguf    *g;

	while (dl_gguf_open_head(data, head, size, &g, NULL) == DLM_MORE)
		head++;
	CHECK(head > 5000 && head < size, "head of %zu bytes", head);
	CHECK(g != NULL, "the head is enough");
	dl_gguf_close(g);
	for (size_t cut = 0; cut < head; cut += 7)
		CHECK(dl_gguf_open(data, cut, &g, NULL) == DLM_EDAMAGED, "cut at %zu", cut);
	free(data);
}

/* Flip bytes of the head: whatever comes out, no crash, and tensors stay inside the file. */
static void
flipped_bytes_do_no_harm(void)
{
	char		folder[256],
				path[512];
	size_t		size;
	uint8_t    *data = files_read("test/models/gguf/llama.gguf", &size);
	int			opened = 0;

	files_folder(folder);
	snprintf(path, sizeof(path), "%s/m.gguf", folder);
	for (size_t at = 0; at < 9000; at += 41)
	{
		dl_arena   *arena = dl_arena_create((size_t) 16 << 20);
		dl_source	source;
		uint8_t		kept = data[at];

		data[at] ^= 0x80;
		files_write(folder, "m.gguf", data, size);
		if (dl_source_open(path, "", arena, &source, NULL) == DLM_OK)
		{
			opened++;
			for (int i = 0; i < source.n_tensors; i++)
				CHECK(source.tensors[i].offset + source.tensors[i].bytes <= size, "tensor outside after a flip at %zu", at);
			dl_source_close(&source);
		}
		dl_arena_destroy(arena);
		data[at] = kept;
	}
	CHECK(opened > 0, "no flip was harmless: the test tests nothing");
	files_remove(folder);
	free(data);
}

int
main(void)
{
	dequantised_values_equal_reference();
	halves_are_exact();
	keys_are_read();
	hostile_headers_are_refused();
	truncation_is_seen_everywhere();
	flipped_bytes_do_no_harm();
	return harness_end("t_gguf");
}
