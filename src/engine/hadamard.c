/*
 * hadamard.c - see hadamard.h.
 */
#include "hadamard.h"

void
dl_rotate_group(float *x)
{
	for (int distance = DL_GROUP / 2; distance > 0; distance /= 2)
		for (int i = 0; i < DL_GROUP; i++)
			if ((i & distance) == 0)
			{
				float		a = x[i],
							b = x[i + distance];

				x[i] = a + b;
				x[i + distance] = a - b;
			}
	for (int i = 0; i < DL_GROUP; i++)
		x[i] *= 0.125f;
}
