/*
 * hadamard.c - see hadamard.h.
 */
#include "hadamard.h"

void
dl_rotate_group(float *x)
{
	for (int distance = DL_GROUP / 2; distance > 0; distance /= 2)
		for (int first = 0; first < DL_GROUP; first += 2 * distance)
			for (int i = first; i < first + distance; i++)
			{
				float		a = x[i],
							b = x[i + distance];

				x[i] = a + b;
				x[i + distance] = a - b;
			}
	for (int i = 0; i < DL_GROUP; i++)
		x[i] *= 0.125f;
}
