/*
 * arena.c - bump chunks and single blocks under one byte limit.
 *
 * A chunk doubles from 64 kB up to 8 MB so that small sessions stay small.
 * Blocks form a doubly linked list, so that destroy frees what an error path
 * left behind.
 */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN			64u
#define FIRST_CHUNK		((size_t) 64 * 1024)
#define LARGEST_CHUNK	((size_t) 8 * 1024 * 1024)

typedef struct chunk
{
	struct chunk *prev;
	size_t		size;			/* payload bytes */
	size_t		used;
} chunk;

typedef struct block
{
	struct block *prev,
			   *next;
	size_t		size;			/* with the header */
} block;

struct dl_arena
{
	size_t		limit,
				used,
				peak;
	chunk	   *top;
	block	   *blocks;
};

/* Payloads start one alignment unit after the header. */
#define PAYLOAD(header)	((char *) (header) + ALIGN)

static void *
take(dl_arena *a, size_t payload)
{
	size_t		size;
	void	   *p;

	if (payload > SIZE_MAX - 2 * ALIGN)
		return NULL;
	size = ALIGN + ((payload + ALIGN - 1) & ~(size_t) (ALIGN - 1));
	if (size > a->limit - a->used)
		return NULL;
	p = aligned_alloc(ALIGN, size);
	if (p == NULL)
		return NULL;
	a->used += size;
	if (a->used > a->peak)
		a->peak = a->used;
	return p;
}

dl_arena *
dl_arena_create(size_t limit)
{
	dl_arena   *a = calloc(1, sizeof(*a));

	if (a != NULL)
		a->limit = limit ? limit : (size_t) 1 << 30;
	return a;
}

static void
pop_chunk(dl_arena *a)
{
	chunk	   *c = a->top;

	a->top = c->prev;
	a->used -= c->size + ALIGN;
	free(c);
}

void
dl_arena_destroy(dl_arena *a)
{
	if (a == NULL)
		return;
	while (a->top)
		pop_chunk(a);
	while (a->blocks)
		dl_arena_block_free(a, PAYLOAD(a->blocks));
	free(a);
}

void *
dl_arena_alloc(dl_arena *a, size_t size)
{
	size_t		want;
	void	   *p;

	if (size > SIZE_MAX - 2 * ALIGN)
		return NULL;
	size = (size + ALIGN - 1) & ~(size_t) (ALIGN - 1);
	if (a->top == NULL || a->top->size - a->top->used < size)
	{
		chunk	   *c;

		want = a->top ? a->top->size * 2 : FIRST_CHUNK;
		if (want > LARGEST_CHUNK)
			want = LARGEST_CHUNK;
		if (want < size)
			want = size;
		c = take(a, want);
		if (c == NULL && want > size)
			c = take(a, want = size);	/* the last bytes under the limit */
		if (c == NULL)
			return NULL;
		c->prev = a->top;
		c->size = (want + ALIGN - 1) & ~(size_t) (ALIGN - 1);
		c->used = 0;
		a->top = c;
	}
	p = PAYLOAD(a->top) + a->top->used;
	a->top->used += size;
	return p;
}

void *
dl_arena_calloc(dl_arena *a, size_t count, size_t size)
{
	void	   *p;

	if (size != 0 && count > SIZE_MAX / size)
		return NULL;
	p = dl_arena_alloc(a, count * size);
	if (p != NULL)
		memset(p, 0, count * size);
	return p;
}

void *
dl_arena_copy(dl_arena *a, const void *src, size_t size)
{
	void	   *p = dl_arena_alloc(a, size);

	if (p != NULL && size > 0)
		memcpy(p, src, size);
	return p;
}

dl_mark
dl_arena_mark(dl_arena *a)
{
	dl_mark		mark = {a->top, a->top ? a->top->used : 0};

	return mark;
}

void
dl_arena_rewind(dl_arena *a, dl_mark mark)
{
	while (a->top != mark.chunk)
		pop_chunk(a);
	if (a->top)
		a->top->used = mark.used;
}

void *
dl_arena_block(dl_arena *a, size_t size)
{
	block	   *b = take(a, size);

	if (b == NULL)
		return NULL;
	b->size = ALIGN + ((size + ALIGN - 1) & ~(size_t) (ALIGN - 1));
	b->prev = NULL;
	b->next = a->blocks;
	if (b->next)
		b->next->prev = b;
	a->blocks = b;
	return PAYLOAD(b);
}

void
dl_arena_block_free(dl_arena *a, void *payload)
{
	block	   *b;

	if (payload == NULL)
		return;
	b = (block *) ((char *) payload - ALIGN);
	if (b->prev)
		b->prev->next = b->next;
	else
		a->blocks = b->next;
	if (b->next)
		b->next->prev = b->prev;
	a->used -= b->size;
	free(b);
}

size_t
dl_arena_used(const dl_arena *a)
{
	return a->used;
}

size_t
dl_arena_peak(const dl_arena *a)
{
	return a->peak;
}

size_t
dl_arena_limit(const dl_arena *a)
{
	return a->limit;
}
