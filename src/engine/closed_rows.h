/*
 * closed_rows.h - the rows that score choices, and what they leave behind.
 */
#ifndef DL_CLOSED_ROWS_H
#define DL_CLOSED_ROWS_H

#include "closed.h"

#define DL_CLOSED_CACHES	8	/* rows of a round whose fixed text is kept for the next one */

/* A gap's choices where nothing is known, and a row of them in the network; closed_alone.c. */
typedef struct dl_alone dl_alone;
typedef struct dl_alone_unit dl_alone_unit;

typedef struct dl_closed_gap
{
	int			gap;			/* of the row */
	dl_answers	answers;		/* tokens of the choices */
	int		   *length;			/* [n_lengths] distinct numbers of tokens, ascending */
	int			n_lengths;
	double	   *logprob;		/* [n] of each choice, mean or sum */
	double	   *score;			/* [n] what decides: trust * (logprob - that where nothing is known) + bias */
	double	   *probability;	/* [n] */
	int			choice;			/* taken; -1: not decided */
	bool		revised;		/* is scored again when everything else is known */
	dl_alone   *alone;			/* NULL: nothing is subtracted */
} dl_closed_gap;

typedef enum dl_closed_phase { DL_CLOSED_CHOOSE = 0, DL_CLOSED_OPEN, DL_CLOSED_REVISE } dl_closed_phase;

/* A row on its way through the network; a block of the arena. */
typedef struct dl_closed_row dl_closed_row;

struct dl_closed
{
	dl_fill    *all;			/* every gap */
	int			n;				/* gaps with choices */
	dl_closed_gap *gap;			/* [n] */
	dl_closed_gap **of_gap;		/* [all->frame.n_gaps], NULL: an open gap */
	dl_closed_phase phase;
	dl_fill		open;			/* the open gaps, the choices being text */
	bool		open_started;
	bool		settled;		/* nothing changed in the last round of REVISE */
	int			changes;
	bool		waits;			/* the first choices wait for what is subtracted from their scores */
	dl_alone_unit *alone;		/* of this round */
	dl_closed_row *rows;		/* of this round */
	dl_kv	   *kv[DL_CLOSED_CACHES];
};

/*
 * The rows of a round. CHOOSE: as many as the gap with the most different
 * lengths has; in row k each gap not decided is a canvas of its k-th length.
 * REVISE: one for each revised gap and length. Rows stay linked until they are freed.
 */
dlm_status	dl_closed_choose_rows(dl_closed *c, dlm_error *err);
dlm_status	dl_closed_revise_rows(dl_closed *c, dlm_error *err);

/* The forward is done: logprob of all choices that were asked about. */
void		dl_closed_rows_score(dl_closed *c);
void		dl_closed_rows_free(dl_closed *c);

/* How the tokens of a choice make its score. */
dlm_normalize dl_closed_normalize(const dl_closed *c);

/* Mean log-probability of a choice's tokens, from its logprob. */
double		dl_closed_mean(const dl_closed *c, const dl_closed_gap *g, int choice);

#endif							/* DL_CLOSED_ROWS_H */
