/*
 * cache_store.h - answers by key in one piece of memory: blocks, lists, and who goes first.
 *
 * A store is cut into parts, which know nothing of each other: the caller
 * holds a part's lock (cache.c) around every call on it. No call raises an
 * error or takes memory, so none leaves half an answer behind.
 */
#ifndef DLM_PG_CACHE_STORE_H
#define DLM_PG_CACHE_STORE_H

#define DLM_CACHE_PARTS		16
#define DLM_CACHE_KEY		32		/* bytes of a key: SHA-256 */
#define DLM_STORE_HEAD		4096	/* bytes before the answers: a page, see dlm_store_close */
#define DLM_STORE_LEAST		(64 * 1024)
#define DLM_STORE_LARGEST	64		/* one answer takes at most this fraction of the store */

typedef struct DlmStore DlmStore;

/* What a part holds. */
typedef struct DlmStoreUse
{
	int64		answers;
	int64		bytes;			/* in blocks that answers take */
} DlmStoreUse;

typedef enum DlmStored { DLM_STORED, DLM_STORED_BEFORE, DLM_STORED_NOT } DlmStored;

/* Make `size` bytes, at least DLM_STORE_LEAST, an empty store. */
extern DlmStore *dlm_store_init(void *memory, Size size);

/* The part that a key belongs to. */
extern int	dlm_store_part(const uint8 key[DLM_CACHE_KEY]);

/* From now on the part is empty and stays so; when all are, nothing behind the head is looked at any more. */
extern void dlm_store_close(DlmStore *store, int part);

/* Bytes of the answer under a key, 0 = none. It is copied to `room` [size] where it fits, and is the last to go then. */
extern Size dlm_store_get(DlmStore *store, const uint8 key[DLM_CACHE_KEY], char *room, Size size);

/* Keep an answer of at least one byte, in the place of those not asked for the longest; *evicted: how many had to go. */
extern DlmStored dlm_store_put(DlmStore *store, const uint8 key[DLM_CACHE_KEY], const char *answer, Size size,
							   int *evicted);

extern DlmStoreUse dlm_store_use(const DlmStore *store, int part);

#endif							/* DLM_PG_CACHE_STORE_H */
