/*
 * kv.c - keys and values of fixed tokens, kept over the forwards of a request.
 */
#include "kv.h"
#include "status.h"

#include <string.h>

#define CAPACITY_STEP	64

dl_kv *
dl_kv_create(const dlm_model *model, dl_arena *a)
{
	const dl_config *c = &model->config;
	dl_kv	   *kv = dl_arena_block(a, sizeof(*kv));

	if (kv == NULL)
		return NULL;
	memset(kv, 0, sizeof(*kv));
	kv->arena = a;
	kv->heads = dl_heads_of((int) c->heads, (int) c->kv_heads, (int) c->head_dim);
	kv->layers = (int) c->layers;
	kv->row = -1;
	return kv;
}

void
dl_kv_free(dl_kv *kv)
{
	dl_arena   *a;

	if (kv == NULL)
		return;
	a = kv->arena;
	dl_arena_block_free(a, kv->id);
	dl_arena_block_free(a, kv->data);
	dl_arena_block_free(a, kv);
}

int
dl_kv_common(const dl_kv *kv, const int32_t *id, const int32_t *position, int n)
{
	int			i = 0;

	while (i < n && i < kv->n && kv->id[i] == id[i] && kv->position[i] == position[i])
		i++;
	return i;
}

/* Copy the first n slots of every key space into spaces of another capacity. */
static void
copy_slots(const dl_kv *kv, float *to, int capacity, int n)
{
	const dl_heads *h = &kv->heads;
	size_t		keys = (size_t) ((n + DL_PANEL - 1) / DL_PANEL * DL_PANEL) * (size_t) h->dim;
	size_t		values = (size_t) n * (size_t) h->value_dim;

	for (int layer = 0; layer < kv->layers; layer++)
		for (int head = 0; head < h->kv_heads; head++)
		{
			const float *old = dl_kv_layer(kv, layer) + dl_keys_head(h, kv->capacity, head);
			float	   *new = to + (size_t) layer * dl_keys_floats(h, capacity) + dl_keys_head(h, capacity, head);

			memcpy(new, old, keys * sizeof(float));
			memcpy(new + (size_t) capacity * (size_t) h->dim, old + (size_t) kv->capacity * (size_t) h->dim,
				   values * sizeof(float));
		}
}

size_t
dl_kv_bytes(const dlm_model *model, int n)
{
	const dl_config *c = &model->config;
	dl_heads	heads = dl_heads_of((int) c->heads, (int) c->kv_heads, (int) c->head_dim);
	int			capacity = (n + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;

	return 2 * (dl_keys_floats(&heads, capacity) * (size_t) c->layers * sizeof(float) +
				(size_t) capacity * 2 * sizeof(int32_t)) + sizeof(dl_kv) + 5 * 256;	/* blocks' headers and alignment */
}

/* Room for n slots; the first `keep` survive. */
static dlm_status
grow(dl_kv *kv, int n, int keep, dlm_error *err)
{
	int			capacity = (n + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;
	size_t		bytes = dl_keys_floats(&kv->heads, capacity) * (size_t) kv->layers * sizeof(float);
	float	   *data = dl_arena_block(kv->arena, bytes);
	int32_t    *id = dl_arena_block(kv->arena, (size_t) capacity * 2 * sizeof(int32_t));

	if (data == NULL || id == NULL)
	{
		dl_arena_block_free(kv->arena, data);
		dl_arena_block_free(kv->arena, id);
		return dl_fail_memory(err);
	}
	memset(data, 0, bytes);		/* unused lanes of a panel are read, though never used */
	if (keep > 0)
	{
		copy_slots(kv, data, capacity, keep);
		memcpy(id, kv->id, (size_t) keep * sizeof(int32_t));
		memcpy(id + capacity, kv->position, (size_t) keep * sizeof(int32_t));
	}
	dl_arena_block_free(kv->arena, kv->id);
	dl_arena_block_free(kv->arena, kv->data);
	kv->data = data;
	kv->id = id;
	kv->position = id + capacity;
	kv->capacity = capacity;
	return DLM_OK;
}

dlm_status
dl_kv_prepare(dl_kv *kv, const int32_t *id, const int32_t *position, int n, int keep, dlm_error *err)
{
	if (n > kv->capacity)
	{
		dlm_status	st = grow(kv, n, keep, err);

		if (st != DLM_OK)
			return st;
	}
	kv->n = keep;
	memcpy(kv->id + keep, id + keep, (size_t) (n - keep) * sizeof(int32_t));
	memcpy(kv->position + keep, position + keep, (size_t) (n - keep) * sizeof(int32_t));
	return DLM_OK;
}
