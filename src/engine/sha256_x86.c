/*
 * sha256_x86.c - blocks of SHA-256 with the SHA extensions of x86-64: model
 * files are hundreds of megabytes, and these are about seven times as fast
 * as the plain form.
 *
 * The instructions hold the eight state words as (a b e f) and (c d g h) and
 * do two rounds each; sha256msg1 and sha256msg2 are the two halves of the
 * message schedule.
 */
#if defined(__x86_64__)

#include "sha256_blocks.h"

#include <cpuid.h>
#include <immintrin.h>

#include "kernels_target.h"

#define LEAF1_ECX_SSSE3		(1u << 9)
#define LEAF1_ECX_SSE41		(1u << 19)
#define LEAF7_EBX_SHA		(1u << 29)

bool
dl_sha256_has_instructions(void)
{
	unsigned int a,
				b,
				c,
				d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & LEAF1_ECX_SSSE3) || !(c & LEAF1_ECX_SSE41))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & LEAF7_EBX_SHA) != 0;
}

TARGET("sha,sse4.1,ssse3")

void
dl_sha256_blocks_x86(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i		low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *) state), 0xb1);	/* b a d c */
	__m128i		high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *) (state + 4)), 0x1b);	/* h g f e */
	__m128i		abef = _mm_alignr_epi8(low, high, 8);
	__m128i		cdgh = _mm_blend_epi16(high, low, 0xf0);

	for (; blocks > 0; blocks--, data += 64)
	{
		__m128i		abef_before = abef,
					cdgh_before = cdgh,
					w[4];

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) (data + 16 * i)), big_endian);
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
		{
			__m128i		k = _mm_loadu_si128((const __m128i *) (dl_sha256_constant + 4 * i));
			__m128i		sum = _mm_add_epi32(w[i % 4], k);

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
			if (i < 12)
			{
				__m128i		last = w[(i + 3) % 4];
				__m128i		next = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);

				next = _mm_add_epi32(next, _mm_alignr_epi8(last, w[(i + 2) % 4], 4));
				w[i % 4] = _mm_sha256msg2_epu32(next, last);
			}
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	low = _mm_shuffle_epi32(abef, 0x1b);	/* a b e f in memory's order of words */
	high = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *) state, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128((__m128i *) (state + 4), _mm_alignr_epi8(high, low, 8));
}

TARGET_END

#endif							/* __x86_64__ */
