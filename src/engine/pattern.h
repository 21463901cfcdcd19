/*
 * pattern.h - what a gap may hold, as a regular expression over its whole text.
 *
 *		x \x		a character; \ takes the meaning from . [ ] ( ) { } * + ? | \ ^ $ and -
 *		\d \w \s	a digit; a letter, digit or _; a space
 *		.			any character but a line break
 *		[a-z_]		one of these ASCII characters; [^a-z] any other one, line breaks left out
 *		(x|y)		one of two; (?:x) is the same
 *		x* x+ x? x{3} x{2,} x{2,5}
 *
 * A leading ^ and a closing $ may be written and mean what holds anyway. The
 * expression becomes a deterministic automaton over the bytes of UTF-8, of
 * which only states are kept from which a match can still be reached.
 */
#ifndef DL_PATTERN_H
#define DL_PATTERN_H

#include "arena.h"

#define DL_PATTERN_LONGEST	2000	/* bytes of an expression */
#define DL_PATTERN_STATES	250
#define DL_PATTERN_DEAD		255		/* no match can follow */

typedef struct dl_pattern
{
	int			n;				/* states; 0 is the start */
	uint8_t		accept[DL_PATTERN_STATES];
	uint8_t		next[DL_PATTERN_STATES][256];
} dl_pattern;

/*
 * *out is a block of the arena; compiling takes at most some MB of it more, given back at the end.
 * DLM_EINVAL: no expression, or one that nothing matches; DLM_ETOOLONG: too many states; DLM_ENOMEM.
 */
dlm_status	dl_pattern_compile(dlm_text source, dl_arena *a, dl_pattern **out, dlm_error *err);

/* The state after some bytes; DL_PATTERN_DEAD stays. */
int			dl_pattern_run(const dl_pattern *p, int state, const char *s, size_t n);

/* Does the whole text match? */
bool		dl_pattern_matches(const dl_pattern *p, dlm_text text);

#endif							/* DL_PATTERN_H */
