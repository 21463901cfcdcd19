/*
 * t_arena.c - one limit for bump memory and blocks; marks give back.
 */
#include "harness.h"

#include <stdint.h>

#include "arena.h"

#define LIMIT	((size_t) 4 << 20)

static void
limit_is_hard(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);
	size_t		got = 0;
	int			served = 0;

	CHECK(dl_arena_limit(a) == LIMIT, "limit");
	while (served < 10000 && dl_arena_alloc(a, 10000) != NULL)
	{
		served++;
		got += 10000;
	}
	CHECK(got > LIMIT / 4 && got <= LIMIT, "%zu bytes served", got);
	CHECK(dl_arena_used(a) <= LIMIT && dl_arena_peak(a) <= LIMIT, "used %zu", dl_arena_used(a));
	CHECK(dl_arena_block(a, LIMIT) == NULL, "blocks share the limit");
	dl_arena_destroy(a);
}

static void
sizes_that_overflow_are_refused(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);

	CHECK(dl_arena_alloc(a, SIZE_MAX) == NULL, "alloc of SIZE_MAX");
	CHECK(dl_arena_alloc(a, SIZE_MAX - 63) == NULL, "alloc that wraps when aligned");
	CHECK(dl_arena_block(a, SIZE_MAX - 100) == NULL, "block that wraps with its header");
	CHECK(dl_arena_calloc(a, SIZE_MAX / 2, 3) == NULL, "calloc whose product wraps");
	CHECK(dl_arena_calloc(a, (size_t) 1 << 32, (size_t) 1 << 32) == NULL, "calloc whose product is 0 modulo 2^64");
	CHECK(dl_arena_alloc(a, 100) != NULL, "still usable");
	dl_arena_destroy(a);
}

static void
memory_is_aligned_and_distinct(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);
	unsigned char *p[100];

	for (int i = 0; i < 100; i++)
	{
		p[i] = i % 3 == 0 ? dl_arena_block(a, (size_t) i * 7 + 1) : dl_arena_alloc(a, (size_t) i * 7 + 1);
		CHECK(p[i] != NULL && (uintptr_t) p[i] % 64 == 0, "allocation %d", i);
		if (p[i] != NULL)
			memset(p[i], i, (size_t) i * 7 + 1);
	}
	for (int i = 0; i < 100; i++)
		for (int j = 0; p[i] != NULL && j < i * 7 + 1; j++)
			if (p[i][j] != i)
			{
				CHECK(false, "allocation %d was overwritten", i);
				break;
			}
	dl_arena_destroy(a);
}

static void
calloc_clears_reused_memory(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);
	dl_mark		mark = dl_arena_mark(a);
	unsigned char *p = dl_arena_alloc(a, 5000);
	int			set = 0;

	memset(p, 255, 5000);
	dl_arena_rewind(a, mark);
	p = dl_arena_calloc(a, 50, 100);
	for (int i = 0; i < 5000; i++)
		set += p[i] != 0;
	CHECK(set == 0, "%d bytes not cleared", set);
	p = dl_arena_copy(a, "hello", 6);
	CHECK(p != NULL && strcmp((char *) p, "hello") == 0, "copy");
	dl_arena_destroy(a);
}

static void
rewind_gives_back_and_keeps_what_is_older(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);
	char	   *old = dl_arena_copy(a, "old", 4);
	dl_mark		mark = dl_arena_mark(a);
	size_t		used = dl_arena_used(a);

	for (int round = 0; round < 50; round++)
	{
		for (int i = 0; i < 20; i++)
		{
			char	   *p = dl_arena_alloc(a, 100000);

			CHECK(p != NULL, "round %d allocation %d", round, i);
			if (p != NULL)
				memset(p, 1, 100000);
		}
		dl_arena_rewind(a, mark);
	}
	CHECK(strcmp(old, "old") == 0, "older memory lives");
	CHECK(dl_arena_used(a) <= used + LIMIT / 2 && dl_arena_peak(a) >= 2000000, "used %zu", dl_arena_used(a));
	dl_arena_destroy(a);
}

static void
blocks_are_freed_one_by_one(void)
{
	dl_arena   *a = dl_arena_create(LIMIT);
	size_t		before = dl_arena_used(a);

	dl_arena_block_free(a, NULL);
	for (int i = 0; i < 100; i++)
	{
		void	   *x = dl_arena_block(a, LIMIT / 3);
		void	   *y = dl_arena_block(a, LIMIT / 3);

		CHECK(x != NULL && y != NULL && dl_arena_block(a, LIMIT / 2) == NULL, "round %d", i);
		dl_arena_block_free(a, i % 2 ? x : y);
		dl_arena_block_free(a, i % 2 ? y : x);
	}
	CHECK(dl_arena_used(a) == before, "used %zu, was %zu", dl_arena_used(a), before);
	dl_arena_block(a, 1000);	/* destroy frees what is left; a leak checker sees to it */
	dl_arena_destroy(a);
}

int
main(void)
{
	limit_is_hard();
	sizes_that_overflow_are_refused();
	memory_is_aligned_and_distinct();
	calloc_clears_reused_memory();
	rewind_gives_back_and_keeps_what_is_older();
	blocks_are_freed_one_by_one();
	return harness_end("t_arena");
}
