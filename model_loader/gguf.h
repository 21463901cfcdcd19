/*
 * gguf.h - read a GGUF file (versions 2 and 3): key/values and tensors.
 *
 * The file is mapped and hostile: counts, string lengths, array lengths,
 * dimensions and offsets are checked against the file's size before use, and
 * the number of keys and tensors is bounded.
 */
#ifndef DLM_GGUF_H
#define DLM_GGUF_H

#include "loader.h"

typedef struct dl_gguf dl_gguf;

typedef enum dl_gguf_type
{
	DL_GGUF_U8 = 0, DL_GGUF_I8, DL_GGUF_U16, DL_GGUF_I16, DL_GGUF_U32, DL_GGUF_I32, DL_GGUF_F32,
	DL_GGUF_BOOL, DL_GGUF_STRING, DL_GGUF_ARRAY, DL_GGUF_U64, DL_GGUF_I64, DL_GGUF_F64
} dl_gguf_type;

dlm_status	dl_gguf_open(const void *data, size_t size, dl_gguf **out, dlm_error *err);

/*
 * The same over the first `have` bytes of a file of file_size bytes, so that
 * a reader need not map it: DLM_MORE asks for a longer beginning. data must
 * outlive *out.
 */
dlm_status	dl_gguf_open_head(const void *data, size_t have, uint64_t file_size, dl_gguf **out, dlm_error *err);
void		dl_gguf_close(dl_gguf *g);

/* Look a key up; false if missing or of another type. Integers of any width serve get_int; bool too. */
bool		dl_gguf_get_int(const dl_gguf *g, const char *key, int64_t *out);
bool		dl_gguf_get_float(const dl_gguf *g, const char *key, double *out);
bool		dl_gguf_get_string(const dl_gguf *g, const char *key, dlm_text *out);

/* An array's element type and length; then its elements by index. */
bool		dl_gguf_get_array(const dl_gguf *g, const char *key, dl_gguf_type *type, uint64_t *n);
/* All strings of a string array into out [n]. */
bool		dl_gguf_array_strings(const dl_gguf *g, const char *key, dlm_text *out, uint64_t n);
bool		dl_gguf_array_floats(const dl_gguf *g, const char *key, float *out, uint64_t n);
bool		dl_gguf_array_ints(const dl_gguf *g, const char *key, int32_t *out, uint64_t n);

/* A tensor: type is ggml's number, dims outermost first, offset from the start of the file (not yet checked against it). */
typedef struct dl_gguf_tensor
{
	dlm_text	name;
	uint32_t	type;
	int			n_dims;
	uint64_t	dims[4];
	uint64_t	offset;
} dl_gguf_tensor;

const dl_gguf_tensor *dl_gguf_tensors(const dl_gguf *g, int *n);

#endif							/* DLM_GGUF_H */
