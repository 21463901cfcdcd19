/*
 * fill.h - what generate and infill share: a frame with gaps whose lengths
 * and tokens are to be found.
 *
 * A fill goes through phases, each some rounds long:
 *
 *		PREDICT		the length head reads the prompt (generate, `predicted`)
 *		FORMS		which gaps begin behind a space token of their own (heal.c)
 *		SEARCH		probe lengths (lengths.c)
 *		DECODE		denoise the best combinations of lengths
 *		DONE		the winner's text is in *task->result
 */
#ifndef DL_FILL_H
#define DL_FILL_H

#include "denoise.h"

/* A combination of gap lengths. */
typedef struct dl_combo
{
	int		   *length;			/* [n_gaps] */
	int64_t		tokens;			/* their sum */
	double		score;			/* of the search; larger is better */
	bool		probed;
	dl_denoise	row;			/* session NULL: not open */
	double		logprob;		/* mean final log-probability of what is kept */
	int			kept;			/* slots before the first stop (generate), or all */
} dl_combo;

/* The lengths that a gap may have, ascending. */
typedef struct dl_lengths
{
	int			first;			/* a range: first .. first + n - 1 */
	int			n;
	const int  *list;			/* or a list [n] */
} dl_lengths;

static inline int
dl_length_at(const dl_lengths *l, int i)
{
	return l->list ? l->list[i] : l->first + i;
}

typedef enum dl_phase { DL_FILL_FORMS = 0, DL_FILL_PREDICT, DL_FILL_SEARCH, DL_FILL_DECODE, DL_FILL_DONE } dl_phase;

typedef struct dl_fill
{
	dl_task    *task;
	const dl_bans *bans;
	dl_policy	policy;
	dl_frame	frame;
	dlm_text   *printed;		/* [n_gaps + 1] text around the gaps as the answer has it */
	dlm_text   *name;			/* [n_gaps] */
	const dlm_gap_rule **rule;	/* [n_gaps] NULL: any text; or NULL */
	bool	   *typed;			/* [n_gaps] infill: a space typed before the gap is left to its first token */
	bool	   *strip;			/* [n_gaps] a leading space of the gap's text is not printed: it stands in the text before */
	bool		answer;			/* generate: cut at stop tokens */
	dl_lengths *lengths;		/* [n_gaps] */
	dl_phase	phase;
	dl_kv	   *kv;				/* shared by all rows: their fixed tokens are the same */
	dl_kv	  **own_kv;			/* or one per decoded combination [n_combos] */
	int			n_own_kv;

	/* predict */
	float	   *length_logprobs;	/* [length_classes] of the length head */
	uint8_t    *no_live;		/* [head tokens] zeros */

	/* forms */
	dl_denoise *form;			/* the row with every gap behind a typed space in its second form */
	bool		form_open;
	dl_combo   *form_base;		/* the row with every gap in its first form */
	bool		forms_done;

	/* search and decode */
	dl_combo  **combo;			/* [n_combos] in the order of their making, a block of pointers */
	int			n_combos,
				combos_capacity;
	int		   *current;		/* [n_gaps] lengths of the best combination so far */
	int			probed_from;	/* combos of this round's probes */
	int			sweep,
				gap;			/* being searched */
	bool		moved;			/* this sweep changed a length */
	int			budget;			/* probes left */
	dl_combo  **beam;			/* [n_beam] decoded, in the arena */
	int			n_beam;
	const dl_combo *winner;		/* of them; NULL before DONE */
} dl_fill;

/* Frame, lengths, texts are set; fill in policy, bans, key, and choose the first phase. */
dlm_status	dl_fill_start(dl_fill *f, dlm_error *err);
/* One round's rows; none: phase is DL_FILL_DONE and the result is complete. */
dlm_status	dl_fill_plan(dl_fill *f, dlm_error *err);
dlm_status	dl_fill_absorb(dl_fill *f, dlm_error *err);
void		dl_fill_close(dl_fill *f);

/* A combination with these lengths, found or made. Its row is not open. */
dlm_status	dl_fill_combo(dl_fill *f, const int *length, dl_combo **out, dlm_error *err);
/* Open a combination's row, if it is not. */
dlm_status	dl_fill_open_row(dl_fill *f, dl_combo *c, dl_kv *kv, dlm_error *err);

/*
 * gap_rules.c: what the request says of its gaps. Patterns become constraints
 * of the frame, settle the form of gaps behind a typed space where only one is
 * possible, and leave of a gap's lengths those that a match can have. Errors:
 * those of dl_constraint_get; DLM_EINVAL where no length is left.
 */
dlm_status	dl_gap_rules_apply(dl_fill *f, dlm_error *err);

/* The rule of a gap, or NULL. */
const dlm_gap_rule *dl_gap_rule_of(const dl_fill *f, int gap);

/* heal.c */
dlm_status	dl_forms_plan(dl_fill *f, bool *any, dlm_error *err);
void		dl_forms_absorb(dl_fill *f);
void		dl_forms_close(dl_fill *f);

/* lengths.c: probe what is to be probed next; *any false: the search is over and f->beam is set. */
dlm_status	dl_lengths_plan(dl_fill *f, bool *any, dlm_error *err);
void		dl_lengths_absorb(dl_fill *f);
dlm_status	dl_lengths_predict_plan(dl_fill *f, dlm_error *err);
dlm_status	dl_lengths_predict_absorb(dl_fill *f, dlm_error *err);
/* The first lengths: the middle of every gap's. */
void		dl_lengths_middle(dl_fill *f);

/* repair.c: make a decoded combination's text valid; sets kept and logprob. DLM_EINVAL if it cannot be. */
dlm_status	dl_fill_repair(dl_fill *f, dl_combo *c, dlm_error *err);
/* Text of a gap as it is printed, and its tokens; of a finished row. */
dlm_status	dl_fill_gap_text(dl_fill *f, const dl_combo *c, int gap, dlm_text *text, int *tokens, dlm_error *err);

/* Mean log-probability of a gap's first tokens; of its first slot if there are none. */
double		dl_fill_gap_logprob(const dl_combo *c, int gap, int tokens);

/* trace.c: the rows of dlm_trace from a row's changes. */
dlm_status	dl_trace_build(dl_fill *f, const dl_combo *c, dlm_error *err);

#endif							/* DL_FILL_H */
