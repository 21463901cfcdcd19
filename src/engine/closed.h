/*
 * closed.h - gaps that hold one of a list of choices.
 *
 * A choice is scored as a label is: the log-probability of its tokens in a
 * canvas of exactly so many masks, mean or sum as `normalize` says, and the
 * softmax over a gap's choices is their probability. All gaps stand in one row:
 *
 *		CHOOSE	every gap that is not decided yet is a canvas; choices of different lengths take a row each.
 *				The gap with the most probable choice is decided, and every other one that is nearly
 *				sure; the next round sees them as text
 *		OPEN	the gaps without choices are decoded together (fill.c), all choices being text
 *		REVISE	the gaps that were decided with least confidence are scored once more, all others being text.
 *				Where another choice is now more probable, the gap that gains most changes, and the round is
 *				repeated
 *
 * A probability is that of the last time its gap was scored: given everything
 * else in the answer for a revised gap, given what was known when it was
 * decided, nearly surely, for another one.
 */
#ifndef DL_CLOSED_H
#define DL_CLOSED_H

#include "fill.h"
#include "labels.h"

typedef struct dl_closed dl_closed;

/*
 * Tokenise the choices of `all`, whose frame holds every gap, and set the
 * lengths of those gaps. *out is NULL where no gap has choices. Errors: those
 * of dl_answers_encode; DLM_EUNSUPPORTED for a gap at the front of the row.
 */
dlm_status	dl_closed_open(dl_fill *all, dl_closed **out, dlm_error *err);
void		dl_closed_close(dl_closed *c);

/* One round's rows, of any phase; none: the result is complete. */
dlm_status	dl_closed_plan(dl_closed *c, dlm_error *err);
dlm_status	dl_closed_absorb(dl_closed *c, dlm_error *err);

#endif							/* DL_CLOSED_H */
