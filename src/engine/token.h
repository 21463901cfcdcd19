/*
 * token.h - tokenizers: text to ids and back, over tables inside the mapping.
 *
 * Three families (byte-level BPE, WordPiece, Unigram) behind one door. They
 * agree with `tokenizers` 0.23, encode_special_tokens=True, token for token
 * (DESIGN 5). The blob is what model_loader/tokenizer_*.c compiled; it is
 * untrusted and validated once, at open, so that encode and decode need no
 * further checks. Memory comes from the caller's arena; long texts poll stop.
 */
#ifndef DL_TOKEN_H
#define DL_TOKEN_H

#include "arena.h"

typedef struct dl_tok dl_tok;

/* A growing list of ids in an arena. Zero-initialise. */
typedef struct dl_ids
{
	int32_t    *id;
	int			n,
				capacity;
} dl_ids;

dlm_status	dl_ids_append(dl_ids *ids, dl_arena *a, const int32_t *id, int n, dlm_error *err);

/* *out is malloc'd; blob is borrowed and must be 8-byte aligned. DLM_EDAMAGED, DLM_EUNSUPPORTED, DLM_ENOMEM. */
dlm_status	dl_tok_open(const void *blob, size_t size, dl_tok **out, dlm_error *err);
void		dl_tok_close(dl_tok *tok);

int			dl_tok_count(const dl_tok *tok);	/* largest id + 1 */

typedef enum dl_tok_mode
{
	DL_TOK_START,				/* a text of its own: exactly what `tokenizers` gives */
	DL_TOK_CONTINUE				/* goes on after other text: no dummy space in front (Metaspace prepend, add_prefix_space),
								 * so a leading space in the text is the only thing that makes a word-initial piece */
} dl_tok_mode;

/*
 * Append the ids of a text to *ids. Text that looks like a special token is
 * ordinary text. Time O(n log n). DLM_EENCODING for invalid UTF-8, DLM_EINTR
 * (ids then restored to their former length), DLM_ENOMEM.
 */
dlm_status	dl_tok_encode(const dl_tok *tok, dlm_text text, dl_tok_mode mode, dl_arena *a,
						  const dlm_env *env, dl_ids *ids, dlm_error *err);

/* The id of a special (added) token by its exact text; -1 if none. For a model's own templates only. */
int32_t		dl_tok_special(const dl_tok *tok, dlm_text text);

/* The longest special token that starts at text[0]; -1 if none; *len gets its length. */
int32_t		dl_tok_special_at(const dl_tok *tok, dlm_text text, size_t *len);

bool		dl_tok_is_special(const dl_tok *tok, int32_t id);

/* Does this token carry a space of its own at its front (" Paris"; "_Paris" in Metaspace; any word-initial WordPiece piece that is not punctuation)? */
bool		dl_tok_starts_with_space(const dl_tok *tok, int32_t id);

/* May this token never carry a space in this vocabulary, so that after a space it stands behind a space token of its own
 * (a digit under single-digit splitting)? See DESIGN 3, "An infill answer". */
bool		dl_tok_never_spaced(const dl_tok *tok, int32_t id);

/* The ids of a lone space that stands as its own token in front of such a token; n = 0 where the family has none (WordPiece). */
int			dl_tok_space_ids(const dl_tok *tok, int32_t ids[4]);

/*
 * The bytes that token `id` adds to a text when `left` stands before it
 * (-1: start of the text). At most cap bytes are written, the full length is
 * returned. Special tokens add none, and a special `left` counts as the start:
 * pass the last token that is not special. Concatenating over a sequence gives
 * dl_tok_decode's bytes before UTF-8 repair. By family: byte-level tokens add
 * the same bytes everywhere; WordPiece adds a space before every token that is
 * not a continuation, but none at the start; Metaspace drops the first token's
 * mark; a model with a word suffix adds the space behind the suffix's token.
 */
size_t		dl_tok_bytes(const dl_tok *tok, int32_t id, int32_t left, char *buf, size_t cap);

/* Text of ids in the arena: skip special tokens, the tokenizer's own decoder; invalid UTF-8 becomes U+FFFD. */
dlm_status	dl_tok_decode(const dl_tok *tok, const int32_t *ids, int n, dl_arena *a, dlm_text *out, dlm_error *err);

/* Raw piece as tokenizer.json writes it (points into the blob); len 0 for a hole in the ids. */
dlm_text	dl_tok_piece(const dl_tok *tok, int32_t id);

#endif							/* DL_TOKEN_H */
