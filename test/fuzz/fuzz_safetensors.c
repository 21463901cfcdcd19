/*
 * fuzz_safetensors.c - any bytes as the header of a safetensors file of 1 MB
 * of data: what is accepted must lie inside it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

#define DATA_OFFSET	1000
#define DATA_SIZE	((uint64_t) 1 << 20)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	dl_file		file = {.path = "fuzz", .fd = -1, .size = DATA_OFFSET + DATA_SIZE};
	dl_source	s;
	dlm_error	err;

	memset(&s, 0, sizeof(s));
	s.arena = dl_arena_create((size_t) 64 << 20);
	if (s.arena == NULL)
		return 0;
	/* the first byte chooses how much data there is, so that small files can be whole */
	if (size > 0 && dl_safetensors_parse(&s, &file, (const char *) data + 1, size - 1, DATA_OFFSET,
										 data[0] < 128 ? data[0] * 4u : DATA_SIZE, &err) == DLM_OK)
		for (int i = 0; i < s.n_tensors; i++)
			if (s.tensors[i].offset < DATA_OFFSET || s.tensors[i].bytes > file.size - s.tensors[i].offset)
				abort();
	dl_source_close(&s);
	dl_arena_destroy(s.arena);
	return 0;
}
