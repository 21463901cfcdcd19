/*
 * sha256_blocks.h - between sha256.c and its fast form.
 */
#ifndef DL_SHA256_BLOCKS_H
#define DL_SHA256_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t dl_sha256_constant[64];

#if defined(__x86_64__)
/* Asks CPUID, which a virtual machine may answer slowly: not for a few blocks. */
bool		dl_sha256_has_instructions(void);
/* state [8] after `blocks` blocks of 64 bytes. Only where the CPU has the instructions. */
void		dl_sha256_blocks_x86(uint32_t state[8], const uint8_t *data, size_t blocks);
#endif

#endif							/* DL_SHA256_BLOCKS_H */
