/*
 * quantize.c - f32 weights to the types that a .dlm stores (DESIGN 4, 5).
 *
 * Only IEEE operations, each rounded once: the same bytes on any machine.
 */
#include "convert.h"

#include <math.h>
#include <string.h>

#include "kernels.h"

uint16_t
dl_round_bf16(float x)
{
	uint32_t	bits;

	memcpy(&bits, &x, sizeof(bits));
	/* half of the last kept bit, less one unless that bit is odd: ties go to even */
	return (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int32_t
dl_quantize_group(const float *w, size_t n, int8_t *q, float *scale)
{
	float		max = 0;
	int32_t		sum = 0;

	for (size_t i = 0; i < n; i++)
		max = fabsf(w[i]) > max ? fabsf(w[i]) : max;
	*scale = max / (float) DL_MOST_S8;
	for (size_t i = 0; i < n; i++)
	{
		/* a group so small that its scale underflows is stored as zero */
		float		v = *scale > 0 ? rintf(w[i] / *scale) : 0;

		v = v > DL_MOST_S8 ? DL_MOST_S8 : v < -DL_MOST_S8 ? -DL_MOST_S8 : v;
		q[i] = (int8_t) v;
		sum += q[i];
	}
	return sum;
}

bool
dl_all_finite(const float *x, size_t n)
{
	uint32_t	bad = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint32_t	bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bad |= (bits & 0x7f800000) == 0x7f800000;
	}
	return bad == 0;
}
