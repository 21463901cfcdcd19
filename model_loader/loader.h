/*
 * loader.h - checkpoint to .dlm: the interface of model_loader, for dlm-model
 * and for dlm_load_model. C11 + cJSON, no PostgreSQL. Sources are hostile.
 */
#ifndef DLM_LOADER_H
#define DLM_LOADER_H

#include "../src/engine/dlm.h"

typedef enum dlm_weights { DLM_WEIGHTS_AUTO = 0, DLM_WEIGHTS_F32, DLM_WEIGHTS_BF16, DLM_WEIGHTS_INT8 } dlm_weights;

typedef struct dlm_convert_options
{
	dlm_weights weights;		/* auto: f32 */
	dlm_weights head;			/* of the output projection, and of the embedding where that is the same matrix; auto: as weights */
	const char *lora;			/* folder or adapter_model.safetensors, NULL = none; adapter_config.json lies beside it */
	const char *settings;		/* dlm.json; NULL = the LoRA's folder's, else the source folder's, if any */
	const char *tokenizer;		/* tokenizer.json; NULL = the LoRA's folder's, else the source folder's, else the GGUF's own */
	const char *config;			/* config.json; NULL = the source folder's, else the LoRA's folder's, else the GGUF's own */
	size_t		memory_limit;	/* 0 = 4 GiB */
	int			threads;		/* of the conversion; the digest does not depend on it */
	bool		(*stop) (void *arg);	/* polled at least every 20 ms of work: DLM_EINTR, nothing left behind */
	void	   *arg;
	void		(*progress) (void *arg, double share);	/* 0 .. 1, may be NULL */
} dlm_convert_options;

/*
 * Convert SOURCE (a Hugging Face folder, a .gguf file, or a .dlm file, which
 * is verified and copied) to `target`: a temporary file in the target's
 * folder, flushed in 2 MB pieces, synced, renamed, folder synced. An existing
 * target is replaced atomically. digest may be NULL.
 */
dlm_status	dlm_convert(const char *source, const char *target, const dlm_convert_options *options,
						uint8_t digest[32], dlm_error *err);

/*
 * As dlm_convert, but the target is folder/<hex digest>.dlm, since the name is
 * known only at the end. An equal file that is there already is kept.
 */
dlm_status	dlm_convert_into(const char *source, const char *folder, const dlm_convert_options *options,
							 uint8_t digest[32], dlm_error *err);

/* "f32", "bf16", "int8", "auto"; DLM_EINVAL otherwise. */
dlm_status	dlm_weights_parse(const char *name, dlm_weights *out, dlm_error *err);

#endif							/* DLM_LOADER_H */
