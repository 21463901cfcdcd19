/*
 * tables.h - every kernel table that some mask gives on this machine. Names no
 * instruction set, so a new one is tested from the day it is there.
 */
#ifndef TABLES_H
#define TABLES_H

#include "kernels.h"

#define MOST_TABLES	16
#define MASK_BITS	8			/* more than there are DLM_CPU_* flags */

typedef struct test_tables
{
	int			n;
	const dl_kernels *table[MOST_TABLES];	/* the reference first */
	uint32_t	mask[MOST_TABLES];	/* that gives it */
} test_tables;

static inline test_tables
tables_of_machine(void)
{
	test_tables t = {1, {&dl_kernels_ref}, {~0u}};

	for (uint32_t mask = (1u << MASK_BITS); mask-- > 0;)
	{
		const dl_kernels *k = dl_kernels_get(mask);
		int			i = 0;

		while (i < t.n && t.table[i] != k)
			i++;
		if (i < t.n || t.n == MOST_TABLES)
			continue;
		t.table[t.n] = k;
		t.mask[t.n++] = mask;
	}
	return t;
}

#endif							/* TABLES_H */
