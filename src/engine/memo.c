/*
 * memo.c - a bounded store of pure results, shared by sessions one after another.
 *
 * A chained hash table with one list from the newest to the oldest entry;
 * when the limit is reached the oldest entries go. Keys are SHA-256 digests,
 * so their first bytes serve as the hash. A value that cannot be kept is
 * simply not kept: the memo changes time, never answers.
 *
 * Beside them stands one cache of keys and values, of the last row that began
 * a batch: the next call over the same table begins with the same instruction.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS	1024

typedef struct entry
{
	struct entry *chain;		/* of the bucket */
	struct entry *older,
			   *newer;
	uint8_t		key[32];
	size_t		size;
	double		value[];		/* aligned for any plain type */
} entry;

struct dlm_memo
{
	size_t		limit,			/* of the entries */
				used;
	dl_arena   *arena;			/* of the kv, with a limit of its own */
	dl_kv	   *kv;
	uint8_t		kv_digest[32];	/* the model it belongs to */
	entry	   *newest,
			   *oldest;
	entry	   *bucket[BUCKETS];
};

dlm_memo *
dlm_memo_create(size_t memory_limit)
{
	dlm_memo   *memo = calloc(1, sizeof(*memo));

	if (memo == NULL)
		return NULL;
	memo->limit = memory_limit / 4;
	memo->arena = dl_arena_create(memory_limit - memo->limit + 1);	/* 0 would be the default limit */
	if (memo->arena == NULL)
	{
		free(memo);
		return NULL;
	}
	return memo;
}

static entry **
bucket_of(dlm_memo *memo, const uint8_t key[32])
{
	return &memo->bucket[(key[0] | (unsigned) key[1] << 8) % BUCKETS];
}

static void
drop_oldest(dlm_memo *memo)
{
	entry	   *e = memo->oldest;
	entry	  **link = bucket_of(memo, e->key);

	while (*link != e)
		link = &(*link)->chain;
	*link = e->chain;
	memo->oldest = e->newer;
	if (memo->oldest)
		memo->oldest->older = NULL;
	else
		memo->newest = NULL;
	memo->used -= sizeof(*e) + e->size;
	free(e);
}

void
dlm_memo_free(dlm_memo *memo)
{
	if (memo == NULL)
		return;
	while (memo->oldest)
		drop_oldest(memo);
	dl_arena_destroy(memo->arena);
	free(memo);
}

const void *
dl_memo_get(dlm_memo *memo, const uint8_t key[32], size_t *size)
{
	if (memo == NULL)
		return NULL;
	for (entry *e = *bucket_of(memo, key); e; e = e->chain)
		if (memcmp(e->key, key, 32) == 0)
		{
			*size = e->size;
			return e->value;
		}
	return NULL;
}

void
dl_memo_put(dlm_memo *memo, const uint8_t key[32], const void *value, size_t size)
{
	entry	   *e;
	entry	  **link;
	size_t		known;

	if (memo == NULL || size > memo->limit || sizeof(*e) > memo->limit - size)
		return;
	if (dl_memo_get(memo, key, &known) != NULL)
		return;					/* pure: the old value is the same */
	while (memo->oldest && memo->used > memo->limit - sizeof(*e) - size)
		drop_oldest(memo);
	e = malloc(sizeof(*e) + size);
	if (e == NULL)
		return;
	memcpy(e->key, key, 32);
	memcpy(e->value, value, size);
	e->size = size;
	e->newer = NULL;
	e->older = memo->newest;
	if (memo->newest)
		memo->newest->newer = e;
	else
		memo->oldest = e;
	memo->newest = e;
	link = bucket_of(memo, key);
	e->chain = *link;
	*link = e;
	memo->used += sizeof(*e) + size;
}

dl_kv *
dl_memo_kv(dlm_memo *memo, const dlm_model *model, int n)
{
	if (memo == NULL || dl_kv_bytes(model, n) > dl_arena_limit(memo->arena))
		return NULL;
	if (memo->kv != NULL && memcmp(memo->kv_digest, model->header->digest, sizeof(memo->kv_digest)) != 0)
	{
		dl_kv_free(memo->kv);
		memo->kv = NULL;
	}
	if (memo->kv == NULL)
	{
		memo->kv = dl_kv_create(model, memo->arena);
		memcpy(memo->kv_digest, model->header->digest, sizeof(memo->kv_digest));
	}
	return memo->kv;
}
