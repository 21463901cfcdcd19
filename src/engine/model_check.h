/*
 * model_check.h - between the files that open a model: header, configuration,
 * directory, settings. Each step relies on the ones before it.
 */
#ifndef DL_MODEL_CHECK_H
#define DL_MODEL_CHECK_H

#include "model.h"

#define DL_MAX_ENTRIES	((uint64_t) DL_MAX_LAYERS * 32 + 64)
#define DL_MAX_SETTINGS	((uint64_t) 16 << 20)
#define DL_MAX_FFN		(1 << 20)
#define DL_MAX_HEAD_DIM	1024

/* DLM_EDAMAGED in the usual words. */
dlm_status	dl_fail_damaged(dlm_error *err, const char *what);

/* Magic, version, sections, checksum. Afterwards every section lies inside the file. */
dlm_status	dl_header_check(const uint8_t *base, size_t size, dlm_error *err);

/* What the header's checksum must be; sections must lie inside the file. */
uint64_t	dl_header_checksum(const uint8_t *base, const dl_header *h);

bool		dl_settings_wellformed(const void *section, uint64_t section_size, uint32_t first, uint32_t last);

/* All numbers in their ranges and consistent with one another. */
dlm_status	dl_config_check(const dl_config *c, dlm_error *err);

/* Bind the directory's tensors to model->... by role and layer; model->config and base are set, layers allocated. */
dlm_status	dl_model_bind(dlm_model *model, dlm_error *err);

/* Read the settings section, fill in what is missing; model->tok is open. */
dlm_status	dl_model_settings(dlm_model *model, dlm_error *err);

#endif							/* DL_MODEL_CHECK_H */
