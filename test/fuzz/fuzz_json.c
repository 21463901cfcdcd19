/*
 * fuzz_json.c - any bytes to the JSON door.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "json.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cJSON	   *root = NULL;
	dlm_error	err;

	/* success and a value go together */
	if ((dl_json_parse((const char *) data, size, "fuzz", &root, &err) == DLM_OK) != (root != NULL))
		abort();
	cJSON_Delete(root);
	return 0;
}
