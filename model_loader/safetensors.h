/*
 * safetensors.h - the header of a .safetensors file.
 */
#ifndef DLM_SAFETENSORS_H
#define DLM_SAFETENSORS_H

#include "source.h"

#define DL_SAFETENSORS_MAX_HEADER	((uint64_t) 100 << 20)

/*
 * Parse a header [size] (the JSON text after the 8 length bytes) and append
 * its tensors to s. data_offset: where the tensors begin in the file;
 * data_size: bytes from there to its end. Tensors must tile the data: no
 * overlap, no hole. DLM_EDAMAGED, DLM_EUNSUPPORTED, DLM_ENOMEM.
 */
dlm_status	dl_safetensors_parse(dl_source *s, const dl_file *file, const char *header, size_t size,
								 uint64_t data_offset, uint64_t data_size, dlm_error *err);

/* Read a file's header and append its tensors. */
dlm_status	dl_safetensors_read(dl_source *s, const char *path, dlm_error *err);

#endif							/* DLM_SAFETENSORS_H */
