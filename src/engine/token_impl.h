/*
 * token_impl.h - what the files of the tokenizer share; nobody else includes it.
 *
 * An opened tokenizer is typed pointers into the blob. One encode call keeps
 * its scratch in a dl_work: growing buffers taken as arena blocks, all freed
 * when the call ends, so that only the ids stay in the arena.
 */
#ifndef DL_TOKEN_IMPL_H
#define DL_TOKEN_IMPL_H

#include <string.h>

#include "status.h"
#include "token.h"
#include "token_blob.h"
#include "token_unicode.h"

typedef struct dl_trie
{
	const uint32_t *child;		/* [n + 1]: children of i are child[i] .. child[i + 1] - 1; NULL = no trie */
	const uint8_t *label;		/* [n]: ascending among siblings */
	const int32_t *value;		/* [n]: -1 = nothing ends here */
	uint32_t	n;
} dl_trie;

struct dl_tok
{
	const char *base;
	const tb_header *header;
	const tb_token *tokens;		/* [n_tokens] */
	const char *pool;
	const tb_merge *merges;		/* [n_merges], a power of two; NULL = none */
	uint32_t	n_merges;
	const double *scores;
	const int32_t *bytes;		/* [4 * 256] */
	const int32_t *fallback;	/* [256] */
	const tb_op *normalize;
	uint32_t	n_normalize;
	const tb_op *split;
	uint32_t	n_split;
	const tb_added *added;
	uint32_t	n_added;
	const uint32_t *charsmap;	/* double array [n_charsmap] */
	uint32_t	n_charsmap;
	const char *charsmap_text;	/* [charsmap_text_size], ends in NUL */
	uint32_t	charsmap_text_size;
	dl_trie		pieces,
				raw,
				cooked,
				special;
	uint32_t	prefix_node;	/* of pieces, behind the continuing prefix; UINT32_MAX = none */
};

/* A growing array. */
typedef struct dl_vec
{
	void	   *data;
	size_t		capacity;		/* bytes */
} dl_vec;

/* A growing text. */
typedef struct dl_buf
{
	dl_vec		mem;
	size_t		len;
} dl_buf;

typedef struct dl_span
{
	uint32_t	start,
				end;
} dl_span;

typedef struct dl_spans
{
	dl_vec		mem;
	size_t		n;
} dl_spans;

typedef struct dl_work
{
	const dl_tok *tok;
	dl_arena   *arena;
	const dlm_env *env;
	dlm_error  *err;
	dl_ids	   *ids;
	dl_tok_mode mode;
	dl_buf		text[2];		/* ping-pong of the normalised text */
	dl_spans	spans[2];		/* ping-pong of the pre-tokens */
	dl_vec		symbols,
				heap,
				marks;			/* normalisation: (code point, combining class) */
	int			now;			/* text and spans that are current */
	size_t		zero_len;		/* leading bytes of the text that come from offset 0 of the caller's text */
	unsigned	polls;
} dl_work;

/* Never NULL, so that an empty text is a pointer too; written to only after dl_vec_reserve. */
#define BUF(b)	((char *) ((b)->mem.data ? (b)->mem.data : (void *) ""))
#define SPANS(s)	((dl_span *) (s)->mem.data)

/* Longest text of one call and of one normalised piece. */
#define DL_TOK_MAX_TEXT	((size_t) 1 << 30)

/* Make room for `size` bytes; keeps the first `keep`. */
dlm_status	dl_vec_reserve(dl_work *w, dl_vec *v, size_t size, size_t keep);
dlm_status	dl_buf_put(dl_work *w, dl_buf *b, const char *s, size_t n);
dlm_status	dl_spans_put(dl_work *w, dl_spans *s, size_t start, size_t end);
dlm_status	dl_work_id(dl_work *w, int32_t id);
dlm_status	dl_work_stopped(dl_work *w);

/* Count a unit of work (about 0.1 us); DLM_EINTR when env.stop says so. */
static inline dlm_status
dl_work_poll(dl_work *w)
{
	return (++w->polls & 0x3fff) ? DLM_OK : dl_work_stopped(w);
}

#define TRY(call) \
	do { \
		dlm_status	try_status = (call); \
		if (try_status != DLM_OK) \
			return try_status; \
	} while (0)

/* The child of node by label, or 0 (the root is nobody's child). */
static inline uint32_t
dl_trie_step(const dl_trie *t, uint32_t node, uint8_t label)
{
	uint32_t	lo = t->child[node],
				hi = t->child[node + 1];

	while (lo < hi)
	{
		uint32_t	mid = lo + (hi - lo) / 2;

		if (t->label[mid] == label)
			return mid;
		if (t->label[mid] < label)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

/* The node behind s [n] from `node`, or 0. */
static inline uint32_t
dl_trie_walk(const dl_trie *t, uint32_t node, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		node = dl_trie_step(t, node, (uint8_t) s[i]);
		if (node == 0)
			return 0;
	}
	return node;
}

/* The value of exactly s [n], -1 if none. */
static inline int32_t
dl_trie_exact(const dl_trie *t, const char *s, size_t n)
{
	uint32_t	node = n > 0 ? dl_trie_walk(t, 0, s, n) : 0;

	return node ? t->value[node] : -1;
}

/* The longest entry that starts at s; -1 if none. */
int32_t		dl_trie_longest(const dl_trie *t, const char *s, size_t n, size_t *len);

/* Normalise text [len] into w->text[w->now]. */
dlm_status	dl_tok_normalize(dl_work *w, const char *text, size_t len);

/* Precompiled character map over w's current text. */
dlm_status	dl_tok_charsmap(dl_work *w, const char *text, size_t len, dl_buf *out);

/* The length of the grapheme cluster at s [n > 0] of valid UTF-8. */
size_t		dl_grapheme_next(const char *s, size_t n);

/*
 * Cut bytes [start, end) of the current text into pre-tokens: spans[now] over
 * text[now] when done. at_start: the piece begins the caller's text.
 */
dlm_status	dl_tok_split(dl_work *w, size_t start, size_t end);

/* Find the next match of a pattern in s [n] from `from`; false if none. */
bool		dl_pattern_find(uint32_t pattern, const char *literal, size_t literal_len, const char *s, size_t n,
							size_t from, size_t *start, size_t *end);

/* Append the tokens of one pre-token. */
dlm_status	dl_tok_bpe(dl_work *w, const char *s, size_t n);
dlm_status	dl_tok_wordpiece(dl_work *w, const char *s, size_t n);
dlm_status	dl_tok_unigram(dl_work *w, const char *s, size_t n);

#endif							/* DL_TOKEN_IMPL_H */
