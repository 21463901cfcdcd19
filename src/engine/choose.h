/*
 * choose.h - the token choice: from the logits of one position, block by block, to candidates.
 *
 * Order (DESIGN 3, Chance): bans, top_k, top_p, temperature. Confidence is
 * always the untempered log-probability after bans.
 */
#ifndef DL_CHOOSE_H
#define DL_CHOOSE_H

#include "bans.h"
#include "logprob.h"
#include "rng.h"

#define DL_PICKS	8			/* candidates kept of a position */

/* What a position of the canvas may hold, besides the request's bans. */
typedef enum dl_rule
{
	DL_RULE_SPACED = 1,			/* a token that is a space and more: a space was typed before the gap */
	DL_RULE_UNSPACED = 2,		/* one that does not: none was typed */
	DL_RULE_NEVER_SPACED = 4,	/* one that never carries a space: a space token stands before the gap */
	DL_RULE_LAST = 8,			/* one that does not end in white space */
	DL_RULE_FIRST = 16,			/* the first of the answer: no stop token, not even as the most probable one */
	DL_RULE_WORD_START = 64,	/* spaced or never-spaced: whatever begins a word (WordPiece) */
	DL_RULE_NO_STOP = 32		/* a position to the left is masked: stop tokens count in the softmax, but are not chosen */
} dl_rule;

typedef struct dl_pick
{
	int32_t		id;
	float		logprob;
} dl_pick;

typedef struct dl_choice
{
	int			n;				/* candidates; 0: no token is allowed here */
	dl_pick		pick[DL_PICKS];	/* the chosen token, then the most probable others */
	dl_pick		whole;			/* the most probable token that is valid UTF-8 by itself; id -1 if none */
	float		peak;			/* log-probability of the most probable token, stop tokens considered */
	float		margin;			/* p1 - p2 of the two most probable */
	float		entropy;		/* nats */
} dl_choice;

typedef struct dl_chooser
{
	const dl_bans *bans;
	const dl_kernels *kernels;
	double		temperature;	/* 0 = the most probable */
	int			top_k;			/* 0 = off */
	double		top_p;			/* 0 = off */
	bool		entropy;		/* asked for */
	dl_rng_key	key;
} dl_chooser;

/* Indices of the draws of one (candidate, step, position). */
#define DL_DRAW_TOKEN	0u
#define DL_DRAW_RANK	1u		/* reparam-*-stochastic: Gumbel noise on the rank */
#define DL_DRAW_ORDER	2u		/* sampler random */

/*
 * What one block of the vocabulary gives to the choice of a position. Until
 * the fold, the log-probabilities of picks are their logits. With a
 * temperature the block's logits follow, less what may not be chosen.
 */
typedef struct dl_choice_part
{
	dl_block_sum sum;			/* of what is not banned */
	float		second;			/* the second largest of these logits */
	int			n;
	dl_pick		pick[DL_PICKS];	/* the largest that may be chosen, the lower id first among equals */
	dl_pick		whole;			/* the largest of those that are valid UTF-8; id -1 if none */
	double		weighted;		/* sum of e^x x, x = logit - sum.max; only if the entropy is asked for */
	dl_block_sum set_sum;		/* with a set: of what is banned nowhere, whatever the rules */
	float		set_best;		/* the largest logit of the set */
} dl_choice_part;

/* Where and when a choice is made. */
typedef struct dl_draw
{
	uint32_t	candidate,		/* key of the noise */
				step,
				position;
} dl_draw;

/* Bytes of a block's dl_choice_part and what follows it, for a chooser with a temperature and for one without. */
#define DL_CHOICE_GREEDY	sizeof(dl_choice_part)
#define DL_CHOICE_SAMPLED	(sizeof(dl_choice_part) + DL_VOCAB_BLOCK * sizeof(float))

/*
 * Reduce a block's logits [n] of ids first .. first + n - 1, which are
 * overwritten; first is a multiple of DL_VOCAB_BLOCK. allowed: tokens that the
 * rules leave and that are in this set; set: dl_set_logprob is wanted of it.
 * Both may be NULL. Safe on any thread.
 */
void		dl_choose_block(const dl_chooser *c, int first, int n, float *logits, unsigned rules, const uint8_t *allowed,
							const uint8_t *set, dl_choice_part *part);

/*
 * The choice from all blocks' parts, ascending, of DL_CHOICE_GREEDY or
 * DL_CHOICE_SAMPLED bytes each; sampled ones are overwritten. A tie goes to the lower id.
 */
void		dl_choose_fold(const dl_chooser *c, void *parts, const dl_draw *at, dl_choice *out);

/* Log-probability, over all tokens that are not banned, of the most probable one of the set; -inf if there is none. */
float		dl_set_logprob(const dl_chooser *c, const void *parts);

#endif							/* DL_CHOOSE_H */
