/*
 * kv.h - what the forward pass does with a dl_kv.
 */
#ifndef DL_KV_H
#define DL_KV_H

#include "attention.h"
#include "forward.h"

/*
 * Key spaces of all layers in one block, and the fixed tokens they belong to.
 * Between batches the first n slots of every layer are valid. While a batch
 * runs, n is what it found and kept, so that abandoning it loses nothing.
 */
struct dl_kv
{
	dl_arena   *arena;
	dl_heads	heads;
	int			layers;
	int			n;
	int			capacity;		/* slots, a multiple of 16 */
	int32_t    *id;				/* [capacity] */
	int32_t    *position;		/* [capacity] */
	float	   *data;			/* [layers] key spaces */
	int			row;			/* in a batch: the first row that uses it */
};

/* How many leading tokens of the list are there already. */
int			dl_kv_common(const dl_kv *kv, const int32_t *id, const int32_t *position, int n);

/* Keep the first `keep` slots, make room for n, note the list. DLM_ENOMEM leaves the cache as it was. */
dlm_status	dl_kv_prepare(dl_kv *kv, const int32_t *id, const int32_t *position, int n, int keep, dlm_error *err);

/* The key space of a layer. */
static inline float *
dl_kv_layer(const dl_kv *kv, int layer)
{
	return kv->data + (size_t) layer * dl_keys_floats(&kv->heads, kv->capacity);
}

#endif							/* DL_KV_H */
