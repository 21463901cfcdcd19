/*
 * rng.c - Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", 2011).
 *
 * The cipher takes a 64-bit key and a 128-bit counter. A request's key has
 * 128 bits: its first two words are the cipher's key, and (candidate, step,
 * position, index) xor the other two words' spread is the counter. The xor is
 * a bijection of counters, so different coordinates of one request never meet.
 */
#include "rng.h"

#include "fmath.h"
#include "sha256.h"

dl_rng_key
dl_rng_make_key(int64_t seed, const uint8_t digest[32])
{
	dl_sha256	s;
	uint8_t		bytes[8],
				out[32];
	dl_rng_key	key;

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t) ((uint64_t) seed >> (8 * i));
	dl_sha256_init(&s);
	dl_sha256_update(&s, bytes, sizeof bytes);
	dl_sha256_update(&s, digest, 32);
	dl_sha256_final(&s, out);
	for (int i = 0; i < 4; i++)
		key.word[i] = (uint32_t) out[4 * i] | (uint32_t) out[4 * i + 1] << 8 |
			(uint32_t) out[4 * i + 2] << 16 | (uint32_t) out[4 * i + 3] << 24;
	return key;
}

/* Ten rounds; counter [4] becomes the output [4]. */
void
dl_philox(uint32_t counter[4], uint32_t key0, uint32_t key1)
{
	for (int round = 0; round < 10; round++)
	{
		uint64_t	p0 = (uint64_t) 0xD2511F53u * counter[0];
		uint64_t	p1 = (uint64_t) 0xCD9E8D57u * counter[2];
		uint32_t	c1 = counter[1],
					c3 = counter[3];

		counter[0] = (uint32_t) (p1 >> 32) ^ c1 ^ key0;
		counter[1] = (uint32_t) p1;
		counter[2] = (uint32_t) (p0 >> 32) ^ c3 ^ key1;
		counter[3] = (uint32_t) p0;
		key0 += 0x9E3779B9u;
		key1 += 0xBB67AE85u;
	}
}

double
dl_rng_uniform(const dl_rng_key *key, uint32_t candidate, uint32_t step, uint32_t position, uint32_t index)
{
	uint32_t	c[4] = {candidate ^ key->word[2], step ^ key->word[3], position, index};
	uint64_t	bits;

	dl_philox(c, key->word[0], key->word[1]);
	bits = ((uint64_t) c[1] << 32 | c[0]) >> 12;

	/* the middle of one of 2^52 equal cells: never 0 or 1, and exact */
	return ((double) bits + 0.5) * 0x1p-52;
}

double
dl_rng_gumbel(const dl_rng_key *key, uint32_t candidate, uint32_t step, uint32_t position, uint32_t index)
{
	return -dl_log(-dl_log(dl_rng_uniform(key, candidate, step, position, index)));
}
