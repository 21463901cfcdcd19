/*
 * bans.h - which tokens may be written: sets over the vocabulary, and texts
 * that no run of tokens may spell.
 *
 * Sets are bitmaps over the rows of the model's head, [(vocab + 7) / 8] bytes.
 */
#ifndef DL_BANS_H
#define DL_BANS_H

#include "session.h"
#include "token_unicode.h"

/* What the tokens of a model are, whatever the request. */
typedef struct dl_vocab
{
	int			rows;			/* of the head */
	size_t		bytes;			/* of a set */
	uint8_t    *silent;			/* never written: special tokens, never_generate, the mask, rows beyond the tokenizer,
								 * tokens without bytes or with a NUL byte */
	uint8_t    *special;		/* ... of those, what is silent only because it is special */
	uint8_t    *spaced;			/* begin with a space of their own */
	uint8_t    *spaced_word;	/* ... and go on with something else */
	uint8_t    *never_spaced;	/* never carry a space in this vocabulary */
	uint8_t    *space_end;		/* end in ASCII white space */
	uint8_t    *line_break;		/* hold a line break */
	uint8_t    *whole;			/* their bytes are valid UTF-8 */
} dl_vocab;

/* The sets of one request's options. */
typedef struct dl_bans
{
	const dl_vocab *vocab;
	const uint8_t *never;		/* out of the softmax */
	const uint8_t *stop;		/* tokens that end an answer; NULL: none can be written */
	const dlm_text *text;		/* texts never written [n_text] */
	int			n_text;
	size_t		longest;		/* bytes of the longest of them */
} dl_bans;

static inline bool
dl_in_set(const uint8_t *set, int32_t id)
{
	return (set[id >> 3] >> (id & 7)) & 1;
}

static inline void
dl_put_in_set(uint8_t *set, int32_t id)
{
	set[id >> 3] |= (uint8_t) (1u << (id & 7));
}

/* Of the task's options; made once per session and set of options. stops: stop tokens may be written (generate). */
dlm_status	dl_bans_get(dl_task *task, bool stops, const dl_bans **out, dlm_error *err);

/*
 * Offset of the first banned text in s[0, n) that overlaps s[from, to), and
 * its length in *len; SIZE_MAX if there is none.
 */
size_t		dl_bans_find(const dl_bans *bans, const char *s, size_t n, size_t from, size_t to, size_t *len);

/* Does the text end in white space, Unicode's included? Does it hold a line break, and where (SIZE_MAX: no)? Valid UTF-8. */
bool		dl_ends_in_space(const char *s, size_t n);
size_t		dl_find_line_break(const char *s, size_t n);

#endif							/* DL_BANS_H */
