/*
 * constraint.h - a pattern as the tokens of a vocabulary can spell it.
 *
 * A gap's slots may be revealed in any order. What a masked slot may hold is
 * found by walking the pattern's automaton from both ends of the gap: a masked
 * slot leads from a state to every state that some token leads to, a revealed
 * one to the state that its token leads to. A token is allowed where it leads
 * from a state that the left can reach to one from which the right can end in
 * a match; so while a gap follows its sets, it can always be finished.
 */
#ifndef DL_CONSTRAINT_H
#define DL_CONSTRAINT_H

#include "canvas.h"
#include "pattern.h"

/* A set of a pattern's states. */
typedef struct dl_states
{
	uint64_t	word[4];
} dl_states;

/* The tokens that some state of a pattern takes, in slots of one kind. */
typedef struct dl_reader
{
	struct dl_reader *older;	/* the session's list */
	const dl_pattern *pattern;
	const dl_bans *bans;
	unsigned	rule;			/* dl_rule of the slot */
	bool		strip;			/* a space at the token's front is not printed */
	int			n;
	int32_t    *id;				/* [n] ascending */
	uint8_t    *step;			/* [n, pattern->n] the state behind the token */
	dl_states  *any;			/* [pattern->n] behind any token */
} dl_reader;

typedef struct dl_constraint
{
	const dl_pattern *pattern;
	const dl_reader *first[2];	/* of a gap's first slot; [1]: behind a space token of its own, NULL where there is none */
	const dl_reader *rest;
} dl_constraint;

/*
 * The constraint of a gap whose first slot has these rules; the session keeps
 * patterns and readers. strip: the first token's space is not printed. Errors:
 * those of dl_pattern_compile; DLM_EINTR: asked again, it goes on.
 */
dlm_status	dl_constraint_get(dl_task *task, const dl_bans *bans, dlm_text pattern, unsigned first_rule, bool strip,
							  dl_constraint **out, dlm_error *err);

/* fits[i]: some text of exactly i + 1 tokens matches, i < n. second: behind a space token of its own. */
void		dl_constraint_lengths(const dl_constraint *c, bool second, int n, bool *fits);

/* The tokens that each of the gap's n slots may hold, itself left open: sets [n, bytes of a set]; reach is scratch [n + 1]. */
void		dl_constraint_sets(const dl_constraint *c, bool second, const dl_slot *slots, int n, dl_states *reach,
							   uint8_t *sets, size_t bytes);

/* With this token in slot `at` and the others as they are, can the gap still be finished? */
bool		dl_constraint_allows(const dl_constraint *c, bool second, const dl_slot *slots, int n, int at, int32_t id);

#endif							/* DL_CONSTRAINT_H */
