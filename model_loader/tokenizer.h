/*
 * tokenizer.h - compile a tokenizer into the blob of src/engine/token.h.
 */
#ifndef DLM_TOKENIZER_H
#define DLM_TOKENIZER_H

#include "gguf.h"

/*
 * From tokenizer.json [size] or from a GGUF's tokenizer.ggml.* keys. *blob is
 * malloc'd, caller frees; same input, same bytes on any machine. What we do
 * not know exactly (a normaliser, pre-tokeniser, regex, decoder) is
 * DLM_EUNSUPPORTED and named; damage is DLM_EDAMAGED.
 */
dlm_status	dlm_tokenizer_from_json(const char *json, size_t size, const dlm_convert_options *options,
									void **blob, size_t *blob_size, dlm_error *err);
dlm_status	dlm_tokenizer_from_gguf(const dl_gguf *gguf, const dlm_convert_options *options,
									void **blob, size_t *blob_size, dlm_error *err);

#endif							/* DLM_TOKENIZER_H */
