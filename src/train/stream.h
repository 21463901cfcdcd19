/*
 * stream.h - random numbers of the data side: a pure function of the run's
 * seed, of what they are for and of a number (of a draw, a row, an epoch), so
 * that a resumed run draws what the first one would have drawn.
 */
#ifndef DL_STREAM_H
#define DL_STREAM_H

#include <stdint.h>

#include "rng.h"

typedef enum dl_stream_use
{
	DL_USE_HOLD_OUT = 1,		/* number: the row's */
	DL_USE_SOURCE,				/* the draw's */
	DL_USE_EPOCH,				/* the source's epoch; view: the source */
	DL_USE_POOL,				/* its first draw */
	DL_USE_CANVAS,				/* the draw's: what both views share */
	DL_USE_RATE,				/* the draw's */
	DL_USE_MASK,				/* the draw's */
	DL_USE_VALIDATION			/* the row's */
} dl_stream_use;

typedef struct dl_stream
{
	uint32_t	key[2];
	uint32_t	counter[4];
} dl_stream;

/* The key differs from dropout's of the same seed. */
static inline dl_stream
dl_stream_of(int64_t seed, dl_stream_use use, uint32_t view, uint64_t number)
{
	return (dl_stream) {
		.key = {(uint32_t) (uint64_t) seed ^ 0x64617461u, (uint32_t) ((uint64_t) seed >> 32)},
		.counter = {0, (uint32_t) use << 16 ^ view, (uint32_t) number, (uint32_t) (number >> 32)}
	};
}

static inline uint64_t
dl_stream_bits(dl_stream *s)
{
	uint32_t	c[4] = {s->counter[0]++, s->counter[1], s->counter[2], s->counter[3]};

	dl_philox(c, s->key[0], s->key[1]);
	return (uint64_t) c[1] << 32 | c[0];
}

/* Uniform in [0, 1), a multiple of 2^-53. */
static inline double
dl_stream_uniform(dl_stream *s)
{
	return (double) (dl_stream_bits(s) >> 11) * 0x1p-53;
}

/* Uniform in 0 .. n - 1, n >= 1: floor(n x / 2^64), no value more likely than another by 2^-32 of itself. */
static inline int
dl_stream_below(dl_stream *s, int n)
{
	uint64_t	bits = dl_stream_bits(s);
	uint64_t	low = (bits & 0xFFFFFFFFu) * (uint64_t) n >> 32;

	return (int) (((bits >> 32) * (uint64_t) n + low) >> 32);
}

#endif							/* DL_STREAM_H */
