/*
 * config_family.h - model types and what they imply, for both forms of configuration.
 */
#ifndef DLM_CONFIG_FAMILY_H
#define DLM_CONFIG_FAMILY_H

#include "convert.h"

/* Model types, the name that the .dlm gets, and which names their tensors have. */
typedef struct dl_family
{
	const char *type;
	const char *family;
	dl_names	names;
	bool		qk_norm,
				shift;
} dl_family;

const dl_family *dl_family_find(const char *type);	/* NULL: unknown */
void		dl_arch_start(dl_arch *out, const dl_family *family);	/* clear, and set what the family implies */
dlm_status	dl_arch_check(const dl_config *c, dlm_error *err);	/* do heads and widths fit together? */

#endif							/* DLM_CONFIG_FAMILY_H */
