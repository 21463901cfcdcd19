/*
 * pattern_impl.h - between the two halves of pattern.c: Thompson's automaton.
 */
#ifndef DL_PATTERN_IMPL_H
#define DL_PATTERN_IMPL_H

#include "pattern.h"

#define DL_MAX_NODES	2400

/* A state: reads a byte of [low, high] (low <= high), or goes both ways without reading. */
typedef struct dl_node
{
	uint8_t		low,
				high;
	int16_t		next,
				other;			/* -1: none */
} dl_node;

#define DL_FINAL		0		/* the node that accepts */

typedef struct dl_nodes
{
	int			n;
	dl_node		node[DL_MAX_NODES];
} dl_nodes;

/* pattern_parse.c: the nodes of an expression; *start is where to begin. */
dlm_status	dl_pattern_parse(dlm_text source, dl_arena *a, dl_nodes *out, int *start, dlm_error *err);

#endif							/* DL_PATTERN_IMPL_H */
