/*
 * sample.h - the draw of a token: top_k, top_p, temperature.
 */
#ifndef DL_SAMPLE_H
#define DL_SAMPLE_H

#include "choose.h"

/* The logits of a position, in blocks of DL_VOCAB_BLOCK ids, `stride` bytes apart. */
typedef struct dl_blocks
{
	char	   *first;
	size_t		stride;
	int			n;				/* ids of all blocks */
} dl_blocks;

/*
 * Draw one token by the uniform number that the chooser's key and `at` give;
 * -inf stands at what may not be drawn. The token with its logit; id -1 if
 * there is none. The logits are overwritten.
 */
dl_pick		dl_sample(const dl_chooser *c, const dl_blocks *row, const dl_draw *at);

#endif							/* DL_SAMPLE_H */
