/*
 * rng.h - counter-based random numbers: a pure function of key and counter,
 * so that equal rows get equal noise whatever runs beside them.
 */
#ifndef DL_RNG_H
#define DL_RNG_H

#include <stdint.h>

/* A key of one request: seed and SHA-256 of its token ids and result-changing options. */
typedef struct dl_rng_key
{
	uint32_t	word[4];
} dl_rng_key;

dl_rng_key	dl_rng_make_key(int64_t seed, const uint8_t digest[32]);

/* The bare cipher: ten rounds turn counter [4] into output [4]. */
void		dl_philox(uint32_t counter[4], uint32_t key0, uint32_t key1);

/* Uniform in (0, 1), an odd multiple of 2^-53, for (candidate, step, position, index). Philox 4x32-10 (Salmon et al. 2011). */
double		dl_rng_uniform(const dl_rng_key *key, uint32_t candidate, uint32_t step, uint32_t position, uint32_t index);

/* Standard Gumbel: -log(-log(u)), by our own log. */
double		dl_rng_gumbel(const dl_rng_key *key, uint32_t candidate, uint32_t step, uint32_t position, uint32_t index);

#endif							/* DL_RNG_H */
