/*
 * omp_single.c - the fuzzers run on one thread, built by a compiler without
 * OpenMP's library: the two calls that threads.c makes.
 */
#include "omp.h"

int
omp_get_thread_num(void)
{
	return 0;
}
