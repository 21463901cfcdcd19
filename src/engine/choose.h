/*
 * choose.h - the token choice: from the logits of one position to candidates.
 *
 * Order (DESIGN 3, Chance): bans, top_k, top_p, temperature. Confidence is
 * always the untempered log-probability after bans.
 */
#ifndef DL_CHOOSE_H
#define DL_CHOOSE_H

#include "bans.h"
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
 * logits [vocab->rows] are overwritten. Safe on any thread. A tie goes to the
 * lower id. The draw is keyed by (candidate, step, position).
 */
void		dl_choose(const dl_chooser *c, float *logits, unsigned rules, uint32_t candidate, uint32_t step,
					  uint32_t position, dl_choice *out);

/* Log-probability, over all tokens that are not banned, of the most probable one of a set; -inf if there is none. */
float		dl_set_logprob(const dl_chooser *c, const float *logits, const uint8_t *set);

#endif							/* DL_CHOOSE_H */
