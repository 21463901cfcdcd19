/*
 * attach.h - the models this backend has mapped.
 *
 * A table from digest to mapping with pin counts. The weights are mapped
 * MAP_SHARED and read-only, so that all backends share one copy in the page
 * cache. A mapping that no server names any more, or whose file changed, is
 * unmapped when its last pin goes.
 */
#ifndef DLM_PG_ATTACH_H
#define DLM_PG_ATTACH_H

#include "dlm.h"

#define DLM_MAX_MAPPINGS	64	/* of one backend at a time */

typedef struct DlmMapping DlmMapping;

/*
 * The mapping of a digest whose file is at `path`, pinned until
 * CurrentMemoryContext is reset or deleted. NULL when it cannot be had, with
 * *err filled: DLM_ENOENT, DLM_EIO, DLM_EDAMAGED (another digest too),
 * DLM_EUNSUPPORTED, DLM_ENOMEM.
 */
extern DlmMapping *dlm_attach(const uint8 digest[32], const char *path, dlm_error *err);
extern dlm_model *dlm_mapping_model(const DlmMapping *mapping);

/* What the model says of itself, read when it was mapped. Lives as long as the mapping. */
extern const dlm_model_info *dlm_mapping_info(const DlmMapping *mapping);

/* True once the file was cut short under the mapping. */
extern bool dlm_mapping_lost(const DlmMapping *mapping);

/* Was the file written in place since it was mapped? Gone, or another file of that name: no, ours is still mapped. */
extern bool dlm_mapping_rewritten(const DlmMapping *mapping);

/* Forget unpinned mappings whose digest `used` does not know. Called after catalog changes. */
extern void dlm_attach_sweep(bool (*used) (const uint8 digest[32], void *arg), void *arg);

#endif							/* DLM_PG_ATTACH_H */
