/*
 * fuzz_model_file.c - any bytes as a .dlm: open, and if it opens, use it.
 *
 * A checksum guards the header, so flipped bits alone would never get past
 * it: the target repairs checksum and size first, and the checks behind them
 * see the damage.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_check.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
inside(const dl_section *s, size_t size)
{
	return s->offset <= size && s->size <= size - s->offset;
}

/* A header that its own sums agree with. */
static void
repair(uint8_t *file, size_t size)
{
	dl_header  *h = (dl_header *) file;

	if (size < sizeof(*h))
		return;
	memcpy(h->magic, DL_MAGIC, 8);
	h->file_size = size;
	if (inside(&h->config, size) && inside(&h->settings, size) && inside(&h->directory, size))
		h->checksum = dl_header_checksum(file, h);
}

static void
use(const dlm_model *m)
{
	static const char text[] = "Berlin is the [MASK] of Germany.";
	dlm_model_info info;
	dlm_env		env = {.memory_limit = (size_t) 64 << 20};
	int32_t    *ids = NULL;
	size_t		n,
				len;
	char	   *out = NULL;
	dlm_error	err;

	dlm_model_describe(m, &info);
	for (int32_t id = -1; id < 50; id++)
		dlm_token_piece(m, id);
	if (dlm_tokenize(m, (dlm_text) {text, sizeof(text) - 1}, &env, &ids, &n, &err) == DLM_OK &&
		dlm_detokenize(m, ids, n, &out, &len, &err) == DLM_OK)
		free(out);
	free(ids);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t    *file = aligned_alloc(64, (size + 127) / 64 * 64);
	dlm_model  *model = NULL;
	dlm_error	err;

	if (file == NULL)
		return 0;
	memcpy(file, data, size);
	repair(file, size);
	if (dlm_model_open(file, size, &model, &err) == DLM_OK)
		use(model);
	dlm_model_close(model);
	free(file);
	return 0;
}
