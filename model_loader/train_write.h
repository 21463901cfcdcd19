/*
 * train_write.h - what a training run leaves behind: a model file, or an
 * adapter (private to model_loader).
 */
#ifndef DLM_TRAIN_WRITE_H
#define DLM_TRAIN_WRITE_H

#include "params.h"

typedef struct dl_write_options
{
	const dlm_env *env;			/* threads, stop, memory_limit for the buffers: a few panels a thread; may be NULL */
	dlm_calibrate calibrate;	/* what the model does with labels where a call does not say; 0: as the base */
} dl_write_options;

/*
 * The base with what was trained, as folder/<digest>.dlm. Configuration,
 * settings (but for what the options change), tokenizer and every tensor that
 * was not trained are the base's, byte for byte; trained matrices are rounded or quantised to the base's type,
 * those with factors from W + (alpha / r) B A. Factors of a tied output
 * projection part it from the embedding. options and digest may be NULL.
 * DLM_EDAMAGED: values that are not finite; DLM_EIO, DLM_ENOSPC, DLM_ENOMEM,
 * DLM_EINTR: nothing is left behind.
 */
dlm_status	dl_write_model(const dl_params *p, const char *folder, const dl_write_options *options, uint8_t digest[32],
						   dlm_error *err);

/*
 * The factors as a PEFT adapter: folder (made if missing)/adapter_model.safetensors, in
 * f32 or bf16, and adapter_config.json. Rows that replace the embedding's go
 * with them, the mask's as "mask_embedding", others as "embedding_row_<id>",
 * for "embedding_rows" of dlm.json. A folder whose files are not of one
 * adapter, after a crash between two renames, has no adapter_config.json and is
 * refused by whoever reads it. DLM_EINVAL: no factors; as above.
 */
dlm_status	dl_adapter_write(const dl_params *p, const char *folder, bool bf16, dlm_error *err);

/*
 * Values of an adapter (a folder or adapter_model.safetensors) into parameters
 * that have the same factors. DLM_EINVAL: another rank or alpha, or other
 * layers; DLM_EDAMAGED: shapes, values; those of opening a source. After an
 * error some values may have been set.
 */
dlm_status	dl_adapter_load(dl_params *p, const char *path, dlm_error *err);

#endif							/* DLM_TRAIN_WRITE_H */
