/*
 * source.h - a checkpoint as a list of named tensors, whatever its format.
 *
 * Tensor data is read with pread, never mapped: a file that is cut short
 * while we read it gives an error, not a signal.
 */
#ifndef DLM_SOURCE_H
#define DLM_SOURCE_H

#include "arena.h"
#include "gguf.h"

#define DL_SOURCE_MAX_TENSORS	65536
#define DL_SOURCE_MAX_FILES		1024

/* How elements are stored. Blocks of the quantised kinds run along a row. */
typedef enum dl_storage
{
	DL_ST_F32 = 0, DL_ST_F16, DL_ST_BF16,
	DL_ST_Q4_0, DL_ST_Q4_1, DL_ST_Q5_0, DL_ST_Q5_1, DL_ST_Q8_0, DL_ST_Q4_K, DL_ST_Q5_K, DL_ST_Q6_K,
	DL_ST_OTHER					/* integers, booleans, doubles: may be there, cannot be read */
} dl_storage;

typedef struct dl_file
{
	char	   *path;
	int			fd;
	uint64_t	size;
} dl_file;

typedef struct dl_tensor
{
	const char *name;			/* as in the file */
	const char *key;			/* name without wrappers' prefixes ("model.", "roberta.", ...): what binders look for */
	dl_storage	storage;
	int			n_dims;
	uint64_t	dims[4];		/* outermost first; a matrix is [rows, cols], a vector [n] */
	const dl_file *file;
	uint64_t	offset;			/* in the file, checked */
	uint64_t	bytes;
	bool		used;			/* bound to a role */
} dl_tensor;

typedef enum dl_source_kind { DL_SOURCE_SAFETENSORS, DL_SOURCE_GGUF } dl_source_kind;

typedef struct dl_source
{
	dl_source_kind kind;
	dl_arena   *arena;			/* borrowed: names, tensors, files */
	char	   *folder;			/* where config.json and others lie */
	dl_file    *files;			/* [DL_SOURCE_MAX_FILES] */
	int			n_files;
	dl_tensor  *tensors;		/* sorted by key */
	int			n_tensors,
				capacity;
	dl_gguf    *gguf;			/* of a GGUF file, else NULL */
} dl_source;

/*
 * Open a Hugging Face folder, a .safetensors file or a .gguf file. The arena
 * must outlive the source; close releases the files. `what` names the source
 * in errors ("model", "adapter"). DLM_ENOENT, DLM_EIO, DLM_EDAMAGED,
 * DLM_EUNSUPPORTED, DLM_ENOMEM.
 */
dlm_status	dl_source_open(const char *path, const char *weights_name, dl_arena *arena, dl_source *out, dlm_error *err);
void		dl_source_close(dl_source *s);

/* By key, NULL if missing. */
dl_tensor  *dl_source_find(const dl_source *s, const char *key);

/* For readers of a format: open a file of the source; append a tensor (name copied); sort and look for duplicates. */
dlm_status	dl_source_add_file(dl_source *s, const char *path, dl_file **out, dlm_error *err);
dlm_status	dl_source_add_tensor(dl_source *s, const dl_tensor *t, dlm_text name, dlm_error *err);

/* Read exactly n bytes. Thread-safe. DLM_EIO, DLM_EDAMAGED when the file has become shorter. */
dlm_status	dl_file_read(const dl_file *f, uint64_t offset, void *buf, size_t n, dlm_error *err);

/* Read a small text file whole into the arena. DLM_ENOENT and others; DLM_EDAMAGED beyond `limit`. */
dlm_status	dl_read_text(const char *path, size_t limit, dl_arena *arena, dlm_text *out, dlm_error *err);

/* "folder/name" in the arena; NULL when out of memory. */
char	   *dl_path_join(dl_arena *arena, const char *folder, const char *name);

/* Elements and bytes of a block; bytes of n elements (0 if n is not a multiple of the block). */
uint32_t	dl_storage_block(dl_storage st);
uint32_t	dl_storage_block_bytes(dl_storage st);
uint64_t	dl_storage_bytes(dl_storage st, uint64_t n);

/* n elements (a multiple of the block) to f32, exactly as the format defines them. gguf_dequant.c */
void		dl_dequantize(dl_storage st, const uint8_t *data, size_t n, float *out);
float		dl_half_to_float(uint16_t h);

/* A name that may come from a hostile file, made fit for an error message: printable ASCII, cut at 96. */
const char *dl_clean_name(const char *name, char buf[100]);

#endif							/* DLM_SOURCE_H */
