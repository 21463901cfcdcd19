/*
 * harness.h - a test program prints one line per check that fails, and a last
 * line "NAME: N passed, N failed"; its exit status says if any failed.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdio.h>
#include <string.h>

static int	harness_passed,
			harness_failed;

#define CHECK(condition, ...) \
	do { \
		if (condition) \
			harness_passed++; \
		else \
		{ \
			harness_failed++; \
			printf("FAILED %s:%d %s: ", __FILE__, __LINE__, #condition); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

static int
harness_end(const char *name)
{
	printf("%s: %d passed, %d failed\n", name, harness_passed, harness_failed);
	return harness_failed > 0;
}

#endif							/* HARNESS_H */
