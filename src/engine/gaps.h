/*
 * gaps.h - the syntax of infill templates.
 *
 *		[MASK]				a gap of one token
 *		[MASK:5]			of five
 *		[MASK:1-8]			of the best length from one to eight
 *		[MASK:city]  [MASK:city:5]  [MASK:city:1-8]		the same with a name
 *		[[MASK]]			the text "[MASK]"
 *		[[MASK:]]			no text at all: keeps two texts apart (dlm_quote_template)
 *
 * Everything else is text. A template is pieces with a gap between each two.
 */
#ifndef DL_GAPS_H
#define DL_GAPS_H

#include "arena.h"

typedef struct dl_gap_spec
{
	dlm_text	name;			/* points into the template; len 0 = unnamed */
	int			min,
				max;			/* tokens, 1 <= min <= max */
} dl_gap_spec;

typedef struct dl_gaps
{
	int			n;				/* gaps, at least 1 */
	dl_gap_spec *gap;			/* [n] */
	dlm_text   *piece;			/* [n + 1] text as it is printed, escapes resolved; in the arena */
} dl_gaps;

/* Largest number of tokens that may be written in a gap. */
#define DL_MAX_GAP_TOKENS	1000000

/* DLM_EINVAL: no gap, a malformed one, a name used twice; DLM_ETOOLONG: more than DLM_MAX_GAPS; DLM_ENOMEM. */
dlm_status	dl_gaps_parse(dlm_text tmpl, dl_arena *a, dl_gaps *out, dlm_error *err);

#endif							/* DL_GAPS_H */
