/*
 * mask.h - a row of the dataset becomes an example of net.h: canvas, masks,
 * targets, weights. A pure function of the seed, the number of the draw and
 * the view; the rules are struct dl_masking's (recipe.h).
 *
 * A coupled pair of views (reparam-discrete-diffusion; 1.1 of the reference):
 * t1 >= t2 are two draws from 1 .. T; the first view masks a token of the
 * canvas with probability t1 / T, the second one keeps such a mask with
 * probability t2 / t1; where t1 = t2 it masks afresh.
 *
 * Where the recipe distils, a masked token has the base's left-to-right model
 * as its teacher (net.h) if the view shows nothing of the text behind it: the
 * canvas from there on is masked, and the canvas ends where the text does. A
 * left-to-right model then knows what the view knows, and the masked tokens in
 * front as well. Stop tokens behind the first have no teacher: that they are
 * repeated is this trainer's own convention.
 *
 * The length head reads the tokens before the canvas alone, none of them live
 * (lengths.c), and its class c means a canvas of c + 1 tokens: the target's
 * and, unless it stands behind the canvas already, the stop token. Longer
 * canvases than there are classes for are of the last one.
 */
#ifndef DL_MASK_H
#define DL_MASK_H

#include "dataset.h"
#include "net.h"
#include "recipe.h"

typedef struct dl_masker
{
	const dl_dataset *ds;		/* complete */
	const dl_masking *masking;
	int64_t		seed;
	int			length_classes;	/* > 0: examples for the length head, of so many classes (length.h) */
} dl_masker;

/* Where examples' arrays lie, one after another. */
typedef struct dl_mask_space
{
	int			capacity,		/* tokens */
				used;
	int32_t    *ids,			/* [capacity] each */
			   *ask,
			   *target;
	uint8_t    *live;
	float	   *weight,
			   *taught;
} dl_mask_space;

/* Bytes for so many tokens, and the arrays over a caller's block of that size (64-byte aligned). */
size_t		dl_mask_space_bytes(int tokens);
dl_mask_space dl_mask_space_over(void *block, int tokens);

/* DLM_EINVAL: a choice out of its range. */
dlm_status	dl_masking_check(const dl_masking *masking, dlm_error *err);

/* Views of each draw: 2 where they are coupled. */
static inline int
dl_mask_views(const dl_masker *m)
{
	return m->masking->coupled && m->length_classes == 0 ? 2 : 1;
}

/* Tokens of a draw of a row, the same for all its views. */
int			dl_mask_tokens(const dl_masker *m, const dl_data_row *row, uint64_t draw);

/* Most tokens, and most of them asked for, that an example of this row can have, in training or validation. */
int			dl_mask_most_tokens(const dl_masker *m, const dl_data_row *row);
int			dl_mask_most_asks(const dl_masker *m, const dl_data_row *row);

/* Tokens of an average draw. */
double		dl_mask_mean_tokens(const dl_masker *m, const dl_data_row *row);

/*
 * One view of a draw; its arrays are the next of the space, which must have
 * dl_mask_tokens of room. At least one position is asked for, all of them
 * masked; the weights are those of dl_masking.
 */
dl_example	dl_mask_view(const dl_masker *m, const dl_data_row *row, uint64_t draw, int view, dl_mask_space *space);

/*
 * The same in every validation: an instruction row's whole canvas masked, with
 * one stop token if training sets any; of a text row, spans that are a
 * function of the row's number in the dataset. All weights are 1.
 */
dl_example	dl_mask_validation(const dl_masker *m, const dl_data_row *row, dl_mask_space *space);

/*
 * The row that dlm_classify asks, with a canvas of so many masks: one_pass
 * has one for each token of the longest label and one for the stop token,
 * grouped one for each token of the labels asked for. All of the canvas is
 * asked for; targets are the row's own, the stop token after it.
 */
dl_example	dl_mask_question(const dl_masker *m, const dl_data_row *row, int canvas, dl_mask_space *space);

#endif							/* DL_MASK_H */
