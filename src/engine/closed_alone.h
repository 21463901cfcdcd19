/*
 * closed_alone.h - what the model says of a gap's choices where it knows nothing.
 *
 * A rule may bring a text that stands before the gap in a row of its own
 * (dlm_gap_rule.alone). The scores of the choices there are subtracted from
 * those in the row that is filled (contextual calibration, Zhao et al. 2021, as
 * for labels): a choice that the model likes anyway is no answer. Rows, sharing
 * between requests and memory are those of content-free labels (calibrate.h),
 * scored in a canvas for each length, as choices are.
 */
#ifndef DL_CLOSED_ALONE_H
#define DL_CLOSED_ALONE_H

#include "closed_rows.h"

/*
 * The rows of this round of the gaps that are not known: at first those that
 * no other request computes; where the choices wait, all that are missing.
 * None: nothing is added. Errors: those of dl_template_fill.
 */
dlm_status	dl_alone_plan(dl_closed *c, dlm_error *err);

/* The round is computed. False: some scores are not known yet, since the request that was to compute them failed. */
bool		dl_alone_absorb(dl_closed *c);

/* A choice's score where nothing is known; 0 where that is not asked for. */
double		dl_alone_score(const dl_closed_gap *g, int choice);

/* Give the rows back. */
void		dl_alone_close(dl_closed *c);

#endif							/* DL_CLOSED_ALONE_H */
