/*
 * t_safetensors.c - headers of safetensors files, sound and hostile.
 */
#include "harness.h"
#include "files.h"

#include "safetensors.h"

#define DATA_BYTES	64

static char folder[256];

/* A file with this header text, a given length field, and DATA_BYTES of data; its tensors. */
static dlm_status
open_with(const char *header, uint64_t length, int *n_tensors)
{
	uint8_t		file[4096];
	size_t		text = strlen(header);
	char		path[512];
	dl_arena   *arena = dl_arena_create((size_t) 64 << 20);
	dl_source	source;
	dlm_error	err = {0};
	dlm_status	st;

	for (int i = 0; i < 8; i++)
		file[i] = (uint8_t) (length >> (8 * i));
	memcpy(file + 8, header, text);
	for (size_t i = 0; i < DATA_BYTES; i++)
		file[8 + text + i] = (uint8_t) i;
	files_write(folder, "m.safetensors", file, 8 + text + DATA_BYTES);
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	st = dl_source_open(path, "model.safetensors", arena, &source, &err);
	if (st == DLM_OK)
	{
		*n_tensors = source.n_tensors;
		dl_source_close(&source);
	}
	else
		CHECK(err.status == st && err.message[0] != '\0', "failure without a message");
	dl_arena_destroy(arena);
	return st;
}

static dlm_status
open_header(const char *header)
{
	int			n;

	return open_with(header, strlen(header), &n);
}

static void
sound_header_is_read(void)
{
	int			n = 0;
	const char *h = "{\"__metadata__\":{\"format\":\"pt\"},\"model.a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[16],\"data_offsets\":[32,64]}}  ";

	CHECK(open_with(h, strlen(h), &n) == DLM_OK && n == 2, "two tensors, got %d", n);
}

static void
values_are_exact(void)
{
	const char *h = "{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,64]}}";
	char		path[512];
	uint8_t		raw[64];
	float		value[16];
	dl_arena   *arena = dl_arena_create((size_t) 1 << 20);
	dl_source	source;
	dl_tensor  *t;
	int			n;

	CHECK(open_with(h, strlen(h), &n) == DLM_OK, "sound file");
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	CHECK(dl_source_open(path, "", arena, &source, NULL) == DLM_OK, "sound file");
	t = dl_source_find(&source, "a");
	CHECK(t != NULL && t->n_dims == 1 && t->dims[0] == 16 && t->bytes == 64, "shape");
	CHECK(dl_file_read(t->file, t->offset, raw, 64, NULL) == DLM_OK && raw[0] == 0 && raw[63] == 63, "bytes");
	dl_dequantize(DL_ST_F32, raw, 16, value);
	CHECK(memcmp(value, raw, 64) == 0, "f32 is taken as it is");
	CHECK(dl_file_read(t->file, t->offset, raw, 65, NULL) == DLM_EDAMAGED, "reading past the end is an error");
	dl_source_close(&source);
	dl_arena_destroy(arena);
}

static void
lengths_are_checked(void)
{
	const char *h = "{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,64]}}";
	int			n;

	CHECK(open_with(h, (uint64_t) 1 << 60, &n) == DLM_EDAMAGED, "header of 2^60 bytes");
	CHECK(open_with(h, UINT64_MAX, &n) == DLM_EDAMAGED, "header of 2^64 - 1 bytes");
	CHECK(open_with(h, strlen(h) + DATA_BYTES + 1, &n) == DLM_EDAMAGED, "header one byte longer than the file");
	CHECK(open_with(h, strlen(h) - 1, &n) == DLM_EDAMAGED, "header cut");
	CHECK(open_with(h, 0, &n) == DLM_EDAMAGED, "empty header");
}

static void
bad_entries_are_refused(void)
{
	static const struct
	{
		const char *header;
		dlm_status	status;
	}			cases[] = {
		{"[]", DLM_EDAMAGED},
		{"{\"a\":1}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,68]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[17],\"data_offsets\":[0,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[64,0]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-16],\"data_offsets\":[0,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,1e18]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[16]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"Q9\",\"shape\":[16],\"data_offsets\":[0,64]}}", DLM_EUNSUPPORTED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},\"b\":{\"dtype\":\"F32\",\"shape\":[9],\"data_offsets\":[28,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},\"b\":{\"dtype\":\"F32\",\"shape\":[7],\"data_offsets\":[36,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[32,64]}}", DLM_EDAMAGED},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},\"model.a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[32,64]}}", DLM_EDAMAGED},
		{"{\"__metadata__\":{}}", DLM_EDAMAGED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dlm_status	st = open_header(cases[i].header);

		CHECK(st == cases[i].status, "status %d for %s", st, cases[i].header);
	}
}

static void
prefixes_are_stripped(void)
{
	const char *h = "{\"model.roberta.embeddings.x\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]},"
		"\"base_model.model.model.layers.0.y\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[32,64]}}";
	char		path[512];
	dl_arena   *arena = dl_arena_create((size_t) 1 << 20);
	dl_source	source;
	int			n;

	CHECK(open_with(h, strlen(h), &n) == DLM_OK, "sound file");
	snprintf(path, sizeof(path), "%s/m.safetensors", folder);
	CHECK(dl_source_open(path, "", arena, &source, NULL) == DLM_OK, "sound file");
	CHECK(dl_source_find(&source, "embeddings.x") != NULL, "the paper's prefix");
	CHECK(dl_source_find(&source, "layers.0.y") != NULL, "PEFT's prefix");
	CHECK(dl_source_find(&source, "layers.0.z") == NULL, "no such tensor");
	dl_source_close(&source);
	dl_arena_destroy(arena);
}

int
main(void)
{
	files_folder(folder);
	sound_header_is_read();
	values_are_exact();
	lengths_are_checked();
	bad_entries_are_refused();
	prefixes_are_stripped();
	files_remove(folder);
	return harness_end("t_safetensors");
}
