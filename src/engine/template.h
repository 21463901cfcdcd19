/*
 * template.h - fill the holes of a row's template (DESIGN 4).
 *
 * A template is text with holes: text holes ({prompt}, {instruction}, {input},
 * {labels}, {descriptions}, {examples}, {text}) are tokenised together with
 * the text around them; {canvas} and {label} split the row, and one space just
 * before them belongs to them. {?input}...{/input} is left out when the hole
 * is empty. In a model's own template special tokens are tokens; in a user's
 * they are ordinary text, set between begin and end.
 */
#ifndef DL_TEMPLATE_H
#define DL_TEMPLATE_H

#include "arena.h"
#include "model.h"

/*
 * Values of the text holes; data NULL = the hole may not occur in this
 * template. {prompt}, {input} and {text} must occur if they have a value
 * (data not NULL, be it empty).
 */
typedef struct dl_holes
{
	dlm_text	prompt,
				instruction,
				input,
				labels,
				descriptions,
				examples,
				text;
} dl_holes;

/* A row split at its canvas hole. */
typedef struct dl_filled
{
	dl_ids		head;			/* ids before the canvas (begin included where it is due) */
	dl_ids		tail;			/* ids after it (end included) */
	bool		space;			/* one space stood just before the hole: it belongs to the canvas' text */
	bool		has_canvas;		/* the template had {canvas} or {label}; otherwise the canvas stands at the end */
} dl_filled;

/*
 * Fill and tokenise. own: the model's own template (special tokens are
 * tokens, written whole); otherwise plain text between begin and end.
 * Errors: DLM_EINVAL (unknown or missing hole, unclosed condition, a second
 * canvas), or DLM_EDAMAGED for the same faults in a model's own template;
 * those of dl_tok_encode.
 */
dlm_status	dl_template_fill(const dlm_model *model, dlm_text tmpl, bool own, const dl_holes *holes, dl_arena *a,
							 const dlm_env *env, dl_filled *out, dlm_error *err);

/*
 * As dl_template_fill, for a row whose head and tail together may have at
 * most `room` tokens (the context less the canvas). *shorten is the hole of
 * *holes that gives way: under DLM_OVERFLOW_TRUNCATE it loses characters from
 * its end until the row fits (*shorten then has the length used), otherwise
 * a row too long is DLM_ETOOLONG, with both numbers. `a` is rewound to where
 * it stood between attempts.
 */
dlm_status	dl_template_fit(const dlm_model *model, dlm_text tmpl, bool own, dl_holes *holes, dlm_text *shorten,
							int room, dlm_overflow overflow, dl_arena *a, const dlm_env *env, dl_filled *out,
							dlm_error *err);

/*
 * begin + text + end with no template: the row of score, token scores and
 * embed. Positions [*first, *last) are the text's own. A row
 * longer than the context is DLM_ETOOLONG, or loses tokens from the end of
 * its text under DLM_OVERFLOW_TRUNCATE.
 */
dlm_status	dl_template_plain(const dlm_model *model, dlm_text text, dlm_overflow overflow, dl_arena *a,
							  const dlm_env *env, dl_ids *ids, int *first, int *last, dlm_error *err);

#endif							/* DL_TEMPLATE_H */
