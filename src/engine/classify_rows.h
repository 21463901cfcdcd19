/*
 * classify_rows.h - the rows that a question needs under each scoring rule.
 *
 * A *question* is one filled row and the answers that may stand in its
 * canvas. Each rule turns it into *units*, one row of the network each:
 *
 *		one_pass	one row; a canvas of n_max masks and one more for the stop token
 *		grouped		a row per distinct length; a canvas of so many masks
 *		chain		a row per answer and token: earlier tokens revealed, the rest masked
 *		pll			a row per answer and token: all revealed but that token
 *
 * Answers that would give the same row share it. The row after the canvas is
 * the template's rest in every rule. A token's score is its log-probability
 * over the whole vocabulary less never_score.
 *
 * Why all columns of the output projection are computed, not only those of the
 * answers' tokens: the normalisers cancel in the probabilities only where all
 * answers have equally many tokens and stand in one row. They do not where
 * means are taken over different numbers of positions, nor under chain and
 * pll, where answers stand in different rows. Even where they cancel they
 * decide how a score is rounded, so leaving them out could make or break a
 * tie; and the log-probabilities are part of the result.
 */
#ifndef DL_CLASSIFY_ROWS_H
#define DL_CLASSIFY_ROWS_H

#include "labels.h"
#include "session.h"

typedef struct dl_question
{
	dlm_session *session;
	dlm_scoring scoring;
	dl_filled	row;
	dl_answers	answers;
	int32_t		stop;			/* scored behind an answer by one_pass; -1 = the model has none */
	float	   *logprob;		/* [answers.start[answers.n]] of each token of each answer */
	float	   *stop_logprob;	/* [answers.n] */
	int		   *by_block;		/* tokens of all answers, as indices into answers.ids, by the vocabulary block of their id */
	int		   *answer_of;		/* [of those tokens] the answer that it belongs to */
	int		   *block_start;	/* [blocks + 1] into by_block */
	dl_kv	   *kv;				/* fixed text of the rows planned last, or NULL */
	int			kv_canvas;		/* the canvas' length that kv is for; -1 = any */
} dl_question;

/* Where to look for the next unit. */
typedef struct dl_unit_cursor
{
	int			answer,
				token;
} dl_unit_cursor;

/* One row on its way through the network; a block of the arena. */
typedef struct dl_unit
{
	dl_question *question;
	int			answer,
				token;
	int			canvas;			/* masks and revealed tokens of the canvas */
	dl_kv	   *superseded;		/* a cache that earlier units still use and later ones do not, or NULL */
	dl_row		row;
} dl_unit;

/* The stop token that the model scores behind an answer: its first stop token, else its first end token, else -1. */
int32_t		dl_question_stop(const dlm_model *model);

/* Positions that the longest canvas of these answers takes. */
int			dl_question_canvas(const dlm_model *model, dlm_scoring scoring, const dl_answers *answers);

/*
 * Set q up over a filled row and its answers (both borrowed). DLM_ENOMEM;
 * DLM_EINVAL when the canvas stands where the model predicts nothing.
 */
dlm_status	dl_question_init(dl_question *q, dlm_session *s, dlm_scoring scoring, const dl_filled *row,
							 const dl_answers *answers, dlm_error *err);

/* Move *at to the next unit at or behind it; false: there is none. */
bool		dl_question_next(const dl_question *q, dl_unit_cursor *at);

/* Build the unit at *at and step *at over it. *out is a block; DLM_ENOMEM. */
dlm_status	dl_question_unit(dl_question *q, dl_unit_cursor *at, dl_unit **out, dlm_error *err);

/* Free a unit and the cache it superseded; all units of a round at once, since they share caches. */
void		dl_unit_free(dl_unit *u);

/* Free the question's cache: after its last unit, or when the task ends. */
void		dl_question_close(dl_question *q);

/* Score of answer i once all units are computed: mean or sum over its tokens (sum: and the stop token of one_pass). */
double		dl_question_score(const dl_question *q, int i, dlm_normalize normalize);

#endif							/* DL_CLASSIFY_ROWS_H */
