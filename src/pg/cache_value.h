/*
 * cache_value.h - a result of the engine as bytes that can be kept.
 */
#ifndef DLM_PG_CACHE_VALUE_H
#define DLM_PG_CACHE_VALUE_H

#include "dlm.h"

/* The bytes of a result without an error and without a trace, palloc'd; never 0 of them. */
extern char *dlm_value_pack(const dlm_result *result, Size *size);

/* The result that was packed, bit for bit. It points into the bytes, which must be aligned as palloc aligns. */
extern void dlm_value_unpack(const char *bytes, dlm_result *result);

#endif							/* DLM_PG_CACHE_VALUE_H */
