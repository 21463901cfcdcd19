/*
 * memo.c - a bounded store of pure results, shared by sessions one after another.
 *
 * A chained hash table with one list from the newest to the oldest entry;
 * when the limit is reached the oldest entries go. Keys are SHA-256 digests,
 * so their first bytes serve as the hash. A value that cannot be kept is
 * simply not kept: the memo changes time, never answers.
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
	size_t		limit,
				used;
	entry	   *newest,
			   *oldest;
	entry	   *bucket[BUCKETS];
};

dlm_memo *
dlm_memo_create(size_t memory_limit)
{
	dlm_memo   *memo = calloc(1, sizeof(*memo));

	if (memo != NULL)
		memo->limit = memory_limit;
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
