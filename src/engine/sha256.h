/*
 * sha256.h - FIPS 180-4, for digests of models and of requests.
 */
#ifndef DL_SHA256_H
#define DL_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct dl_sha256
{
	uint32_t	state[8];
	uint64_t	bytes;
	uint8_t		buffer[64];
} dl_sha256;

void		dl_sha256_init(dl_sha256 *s);
void		dl_sha256_update(dl_sha256 *s, const void *data, size_t size);
void		dl_sha256_final(dl_sha256 *s, uint8_t digest[32]);

#endif							/* DL_SHA256_H */
