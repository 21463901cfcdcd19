/*
 * canvas.h - a row with holes to be filled: pieces of fixed tokens, and slots.
 *
 * A *slot* is one position of the canvas; slots count from 0 over the whole
 * row, from left to right. A *gap* is a run of slots that the user asked for.
 * An infill row has many gaps, a generated one has a single gap.
 */
#ifndef DL_CANVAS_H
#define DL_CANVAS_H

#include "choose.h"

/* What of a row is fixed, whatever the lengths of its gaps. */
typedef struct dl_frame
{
	int			n_gaps;
	dl_ids	   *piece;			/* [n_gaps + 1] tokens around the gaps */
	unsigned   *first_rule;		/* [n_gaps] dl_rule of a gap's first slot */
	unsigned	last_rule;		/* of every gap's last slot */
	bool		answer;			/* the canvas is an answer: stop tokens may end it (generate) */
	bool	   *lone_space;		/* [n_gaps] a space token of its own stands before the gap (heal.c) */
	bool	   *settled;		/* [n_gaps] lone_space is not to be asked about; NULL: nowhere */
	struct dl_constraint **constraint;	/* [n_gaps] what a gap's text must match, NULL: anything; or NULL */
	int32_t		space[4];		/* that token [n_space] */
	int			n_space;
} dl_frame;

typedef struct dl_slot
{
	int			position;		/* in the row */
	int			gap;
	unsigned	rules;
	bool		masked;
	int32_t		id;				/* the mask's while masked */
	float		score;			/* log-probability when it was revealed; -inf while masked */
	float		set_logprob;	/* heal.c: of the form's first tokens */
	int			repairs;		/* repair.c: candidates used up */
	dl_choice	choice;			/* of the last forward that asked for it */
} dl_slot;

typedef struct dl_canvas
{
	const dl_frame *frame;		/* borrowed */
	int			n;				/* tokens of the row */
	int32_t    *ids;			/* [n] */
	uint8_t    *live;			/* [n] */
	int			n_slots;
	dl_slot    *slot;			/* [n_slots] */
	int			n_gaps;
	int		   *gap_first;		/* [n_gaps + 1] first slot of each gap */
	void	   *block;			/* all of the above */
} dl_canvas;

/* Tokens of a row with these gap lengths [n_gaps]. */
int64_t		dl_frame_tokens(const dl_frame *frame, const int *length);

/* All slots masked. DLM_ENOMEM; DLM_EUNSUPPORTED if the first slot has nothing before it and the model needs that. */
dlm_status	dl_canvas_build(const dlm_model *model, const dl_frame *frame, const int *length, dl_arena *a,
							dl_canvas *out, dlm_error *err);
void		dl_canvas_free(dl_canvas *c, dl_arena *a);

/* Set a slot's token (the mask's id masks it again). */
void		dl_canvas_set(dl_canvas *c, int slot, int32_t id, bool masked, float score);

/* The constraint of a slot's gap, or NULL. */
static inline const struct dl_constraint *
dl_slot_constraint(const dl_canvas *c, int slot)
{
	return c->frame->constraint ? c->frame->constraint[c->slot[slot].gap] : NULL;
}

/* With this token in a slot and its neighbours as they are, can the gap's pattern still be matched? */
bool		dl_canvas_allows(const dl_canvas *c, int slot, int32_t id);

/*
 * Index of the first candidate of a slot that, with its neighbours as they are, spells no banned text and leaves the
 * gap's pattern possible; of the first that does the latter, if all are banned; n if none.
 */
int			dl_canvas_pick(const dlm_model *model, const dl_canvas *c, int slot, const dl_bans *bans, bool fixed_text);

#endif							/* DL_CANVAS_H */
