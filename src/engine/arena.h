/*
 * arena.h - all memory of a session, under one hard limit.
 *
 * Two ways to take memory share the limit: bump allocation, released all at
 * once or back to a mark, and blocks, which are freed one by one (workspaces
 * and key/value caches). Everything is 64-byte aligned. NULL means the limit
 * was reached or malloc failed; callers turn it into DLM_ENOMEM.
 * Not thread-safe: the calling thread alone allocates.
 */
#ifndef DL_ARENA_H
#define DL_ARENA_H

#include "dlm.h"

typedef struct dl_arena dl_arena;

typedef struct dl_mark
{
	void	   *chunk;
	size_t		used;
} dl_mark;

dl_arena   *dl_arena_create(size_t limit);
void		dl_arena_destroy(dl_arena *a);
void	   *dl_arena_alloc(dl_arena *a, size_t size);	/* bump, not cleared */
void	   *dl_arena_calloc(dl_arena *a, size_t count, size_t size);	/* bump, cleared, checks overflow */
void	   *dl_arena_copy(dl_arena *a, const void *src, size_t size);
dl_mark		dl_arena_mark(dl_arena *a);
void		dl_arena_rewind(dl_arena *a, dl_mark mark);
void	   *dl_arena_block(dl_arena *a, size_t size);	/* own block, not cleared */
void		dl_arena_block_free(dl_arena *a, void *block);	/* NULL is fine */
size_t		dl_arena_used(const dl_arena *a);
size_t		dl_arena_peak(const dl_arena *a);
size_t		dl_arena_limit(const dl_arena *a);

#endif							/* DL_ARENA_H */
