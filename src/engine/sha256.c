/*
 * sha256.c - the secure hash of FIPS 180-4, section 6.2, straight from its
 * definition. Digests name models and key random numbers. Long data, as of
 * model files, goes to the CPU's own instructions where it has them.
 */
#include "sha256.h"

#include <string.h>

#include "sha256_blocks.h"

#define LONG_DATA	(1024 * (size_t) 64)	/* bytes: less than this is not worth asking what the CPU has */

const uint32_t dl_sha256_constant[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static inline uint32_t
rotr(uint32_t x, int n)
{
	return (x >> n) | (x << (32 - n));
}

static inline uint32_t
load_be32(const uint8_t *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static inline void
store_be32(uint8_t *p, uint32_t x)
{
	p[0] = (uint8_t) (x >> 24);
	p[1] = (uint8_t) (x >> 16);
	p[2] = (uint8_t) (x >> 8);
	p[3] = (uint8_t) x;
}

/* One 64-byte block into the state. */
static void
compress(uint32_t state[8], const uint8_t *block)
{
	uint32_t	w[64];
	uint32_t	v[8];

	for (int t = 0; t < 16; t++)
		w[t] = load_be32(block + 4 * t);
	for (int t = 16; t < 64; t++)
	{
		uint32_t	s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
		uint32_t	s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);

		w[t] = s1 + w[t - 7] + s0 + w[t - 16];
	}
	memcpy(v, state, sizeof v);
	for (int t = 0; t < 64; t++)
	{
		uint32_t	sum1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
		uint32_t	choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t	t1 = v[7] + sum1 + choose + dl_sha256_constant[t] + w[t];
		uint32_t	sum0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
		uint32_t	majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

		v[7] = v[6];
		v[6] = v[5];
		v[5] = v[4];
		v[4] = v[3] + t1;
		v[3] = v[2];
		v[2] = v[1];
		v[1] = v[0];
		v[0] = t1 + sum0 + majority;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

static void
compress_all(uint32_t state[8], const uint8_t *data, size_t blocks)
{
#if defined(__x86_64__)
	if (blocks >= LONG_DATA / 64 && dl_sha256_has_instructions())
	{
		dl_sha256_blocks_x86(state, data, blocks);
		return;
	}
#endif
	for (; blocks > 0; blocks--, data += 64)
		compress(state, data);
}

void
dl_sha256_init(dl_sha256 *s)
{
	static const uint32_t initial[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memcpy(s->state, initial, sizeof initial);
	s->bytes = 0;
}

void
dl_sha256_update(dl_sha256 *s, const void *data, size_t size)
{
	const uint8_t *p = data;
	size_t		held = (size_t) (s->bytes % 64);

	s->bytes += size;
	if (held > 0)
	{
		size_t		take = 64 - held < size ? 64 - held : size;

		if (take > 0)
			memcpy(s->buffer + held, p, take);
		if (held + take < 64)
			return;
		compress(s->state, s->buffer);
		p += take;
		size -= take;
	}
	compress_all(s->state, p, size / 64);
	if (size % 64 > 0)
		memcpy(s->buffer, p + size / 64 * 64, size % 64);
}

void
dl_sha256_final(dl_sha256 *s, uint8_t digest[32])
{
	uint64_t	bits = s->bytes * 8;
	size_t		held = (size_t) (s->bytes % 64);

	s->buffer[held++] = 0x80;
	if (held > 56)
	{
		memset(s->buffer + held, 0, 64 - held);
		compress(s->state, s->buffer);
		held = 0;
	}
	memset(s->buffer + held, 0, 56 - held);
	store_be32(s->buffer + 56, (uint32_t) (bits >> 32));
	store_be32(s->buffer + 60, (uint32_t) bits);
	compress(s->state, s->buffer);
	for (int i = 0; i < 8; i++)
		store_be32(digest + 4 * i, s->state[i]);
}
