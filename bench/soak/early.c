/*
 * early.c - preloaded beside libasan. AddressSanitizer begins at the first
 * malloc, which is one of libgpg-error's constructor inside bindtextdomain; there
 * it asks dlerror for a translated message, under a lock that is held, and the
 * server hangs before main. This library is linked to be initialised first.
 */
#include <stdlib.h>

static void __attribute__((constructor))
early(void)
{
	void	   *volatile p = malloc(1);

	free(p);
}
