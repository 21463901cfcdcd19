/*
 * dropout.c - see dropout.h. One block of the cipher serves four elements.
 */
#include "dropout.h"

#include "rng.h"

void
dl_dropout(const dl_drop *d, double rate, uint32_t site, uint32_t line, dl_real *x, int n)
{
	uint32_t	threshold = (uint32_t) (rate * 0x1p32);
	dl_real		scale = (dl_real) (1 / (1 - rate));

	if (rate <= 0)
		return;
	for (int i = 0; i < n; i += 4)
	{
		uint32_t	word[4] = {(uint32_t) i / 4, line, site, d->step};

		dl_philox(word, (uint32_t) d->seed, (uint32_t) (d->seed >> 32));
		for (int j = 0; j < 4 && i + j < n; j++)
			x[i + j] = word[j] < threshold ? 0 : x[i + j] * scale;
	}
}
