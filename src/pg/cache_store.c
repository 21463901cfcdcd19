/*
 * cache_store.c - answers by key in one piece of memory; see cache_store.h.
 *
 *		head | buckets [parts][n] | blocks [parts][n]
 *
 * An answer is a chain of blocks of one size, so memory cannot become
 * fragmented, and what an answer leaves serves any other. The first block of a
 * chain holds the key. All links are numbers of blocks within the part, from
 * 1; 0 is none. Where room is wanted the answer goes that was not asked for the
 * longest.
 */
#include "dlm_pg.h"

#include "cache_store.h"

#define BLOCK		128			/* bytes */
#define REST		(BLOCK - sizeof(uint32))	/* of an answer in a block that is not its first */

/* The first block of an answer. */
typedef struct Entry
{
	uint32		rest;			/* next block of the answer */
	uint32		chain;			/* next entry of the bucket */
	uint32		newer,
				older;
	uint32		size;			/* bytes of the answer */
	uint8		key[DLM_CACHE_KEY];
	char		data[BLOCK - 5 * sizeof(uint32) - DLM_CACHE_KEY];
} Entry;

typedef union Block
{
	Entry		entry;
	struct
	{
		uint32		rest;		/* next block of the answer, or of the free ones */
		char		data[REST];
	}			more;
} Block;

typedef struct Part
{
	bool		closed;
	uint32		freed;			/* first of the blocks that were in use before */
	uint32		touched;		/* blocks that ever were in use: those behind are free, and hold anything */
	uint32		n_free;
	uint32		newest,
				oldest;
	uint32		answers;
} Part;

struct DlmStore
{
	uint32		n;				/* blocks of a part, and buckets */
	Part		part[DLM_CACHE_PARTS];
};

StaticAssertDecl(sizeof(Block) == BLOCK, "blocks have one size");
StaticAssertDecl(sizeof(struct DlmStore) <= DLM_STORE_HEAD, "the head holds all parts");

DlmStore *
dlm_store_init(void *memory, Size size)
{
	DlmStore   *store = memory;
	Size		n = (size - DLM_STORE_HEAD - BLOCK) / DLM_CACHE_PARTS / (BLOCK + sizeof(uint32));

	memset(store, 0, sizeof(*store));
	store->n = (uint32) Min(n, PG_UINT32_MAX);
	for (int i = 0; i < DLM_CACHE_PARTS; i++)
		store->part[i].n_free = store->n;
	memset((char *) store + DLM_STORE_HEAD, 0, (Size) store->n * DLM_CACHE_PARTS * sizeof(uint32));
	return store;
}

int
dlm_store_part(const uint8 key[DLM_CACHE_KEY])
{
	return key[0] % DLM_CACHE_PARTS;
}

static uint32 *
bucket_of(DlmStore *store, const uint8 key[DLM_CACHE_KEY])
{
	uint32		hash;

	memcpy(&hash, key + 4, sizeof(hash));
	return (uint32 *) ((char *) store + DLM_STORE_HEAD) + (Size) dlm_store_part(key) * store->n + hash % store->n;
}

static Block *
block_at(DlmStore *store, int part, uint32 number)
{
	Size		buckets = (Size) store->n * DLM_CACHE_PARTS * sizeof(uint32);
	Block	   *blocks = (Block *) ((char *) store + DLM_STORE_HEAD + TYPEALIGN(BLOCK, buckets));

	return blocks + (Size) part * store->n + number - 1;
}

static Entry *
entry_at(DlmStore *store, int part, uint32 number)
{
	return &block_at(store, part, number)->entry;
}

/* ------------------------------------------------------------------ the order */

static void
link_newest(DlmStore *store, int p, uint32 number)
{
	Part	   *part = &store->part[p];
	Entry	   *e = entry_at(store, p, number);

	e->newer = 0;
	e->older = part->newest;
	if (part->newest)
		entry_at(store, p, part->newest)->newer = number;
	else
		part->oldest = number;
	part->newest = number;
}

static void
unlink_entry(DlmStore *store, int p, const Entry *e)
{
	Part	   *part = &store->part[p];

	if (e->newer)
		entry_at(store, p, e->newer)->older = e->older;
	else
		part->newest = e->older;
	if (e->older)
		entry_at(store, p, e->older)->newer = e->newer;
	else
		part->oldest = e->newer;
}

/* --------------------------------------------------------------------- blocks */

static uint32
blocks_for(Size size)
{
	Size		first = sizeof(((Entry *) NULL)->data);

	return size <= first ? 1 : 1 + (uint32) ((size - first + REST - 1) / REST);
}

static uint32
take_block(DlmStore *store, int p)
{
	Part	   *part = &store->part[p];
	uint32		number = part->freed;

	part->n_free--;
	if (number == 0)
		return ++part->touched;
	part->freed = block_at(store, p, number)->more.rest;
	return number;
}

static void
free_blocks(DlmStore *store, int p, uint32 number)
{
	Part	   *part = &store->part[p];

	while (number)
	{
		Block	   *block = block_at(store, p, number);
		uint32		rest = block->more.rest;

		block->more.rest = part->freed;
		part->freed = number;
		part->n_free++;
		number = rest;
	}
}

static void
evict_oldest(DlmStore *store, int p)
{
	uint32		number = store->part[p].oldest;
	Entry	   *e = entry_at(store, p, number);
	uint32	   *link = bucket_of(store, e->key);

	while (*link != number)
		link = &entry_at(store, p, *link)->chain;
	*link = e->chain;
	unlink_entry(store, p, e);
	free_blocks(store, p, number);
	store->part[p].answers--;
}

/* -------------------------------------------------------------------- answers */

/* The entry of a key; 0 = none. */
static uint32
find(DlmStore *store, int p, const uint8 key[DLM_CACHE_KEY])
{
	uint32		number = *bucket_of(store, key);

	while (number && memcmp(entry_at(store, p, number)->key, key, DLM_CACHE_KEY) != 0)
		number = entry_at(store, p, number)->chain;
	return number;
}

static void
touch(DlmStore *store, int p, uint32 number)
{
	unlink_entry(store, p, entry_at(store, p, number));
	link_newest(store, p, number);
}

void
dlm_store_close(DlmStore *store, int part)
{
	store->part[part].closed = true;
}

Size
dlm_store_get(DlmStore *store, const uint8 key[DLM_CACHE_KEY], char *room, Size size)
{
	int			p = dlm_store_part(key);
	uint32		number;
	const Entry *e;
	Size		done;

	if (store->part[p].closed || (number = find(store, p, key)) == 0)
		return 0;
	e = entry_at(store, p, number);
	if (e->size > size)
		return e->size;
	touch(store, p, number);
	done = Min(e->size, sizeof(e->data));
	memcpy(room, e->data, done);
	for (uint32 rest = e->rest; done < e->size;)
	{
		const Block *block = block_at(store, p, rest);
		Size		n = Min(e->size - done, REST);

		memcpy(room + done, block->more.data, n);
		done += n;
		rest = block->more.rest;
	}
	return e->size;
}

/* Write an answer into blocks, of which there are enough; returns the first. */
static uint32
write_blocks(DlmStore *store, int p, const char *answer, Size size)
{
	uint32		first = take_block(store, p);
	Entry	   *e = entry_at(store, p, first);
	uint32	   *link = &e->rest;
	Size		done = Min(size, sizeof(e->data));

	e->size = (uint32) size;
	memcpy(e->data, answer, done);
	while (done < size)
	{
		Block	   *block;
		Size		n = Min(size - done, REST);

		*link = take_block(store, p);
		block = block_at(store, p, *link);
		memcpy(block->more.data, answer + done, n);
		done += n;
		link = &block->more.rest;
	}
	*link = 0;
	return first;
}

DlmStored
dlm_store_put(DlmStore *store, const uint8 key[DLM_CACHE_KEY], const char *answer, Size size, int *evicted)
{
	int			p = dlm_store_part(key);
	Part	   *part = &store->part[p];
	uint32		number;
	uint32	   *bucket;

	*evicted = 0;
	if (part->closed || size > (Size) store->n * BLOCK * DLM_CACHE_PARTS / DLM_STORE_LARGEST)
		return DLM_STORED_NOT;
	number = find(store, p, key);
	if (number)
	{
		touch(store, p, number);
		return DLM_STORED_BEFORE;
	}
	for (; part->n_free < blocks_for(size); (*evicted)++)
		evict_oldest(store, p);
	number = write_blocks(store, p, answer, size);
	bucket = bucket_of(store, key);
	memcpy(entry_at(store, p, number)->key, key, DLM_CACHE_KEY);
	entry_at(store, p, number)->chain = *bucket;
	*bucket = number;
	link_newest(store, p, number);
	part->answers++;
	return DLM_STORED;
}

DlmStoreUse
dlm_store_use(const DlmStore *store, int p)
{
	const Part *part = &store->part[p];

	if (part->closed)
		return (DlmStoreUse) {0};
	return (DlmStoreUse) {part->answers, (int64) (store->n - part->n_free) * BLOCK};
}
