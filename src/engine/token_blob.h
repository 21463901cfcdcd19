/*
 * token_blob.h - the compiled tokenizer: what model_loader writes and token.c reads.
 *
 * A blob is a header and sections, all little-endian and 8-byte aligned, with
 * the look-up structures laid out so that opening is validation only:
 *
 *		tokens		tb_token [n_tokens]
 *		pool		bytes that tokens and operations point into
 *		pieces		trie over the vocabulary (bytes-mode: over the raw bytes)
 *		merges		tb_merge [power of two], open addressing: pairs of BPE
 *		scores		double [n_tokens], Unigram
 *		bytes		int32 [4][256]: first symbols of byte-level BPE, by (not first) + 2 * last
 *		fallback	int32 [256]: tokens of byte fallback
 *		normalize	tb_op []
 *		split		tb_op []: pre-tokenisation
 *		added		tb_added []
 *		raw			trie: added tokens matched in the text as it stands -> index into added
 *		cooked		trie: added tokens matched in the normalised text
 *		special		trie: special tokens -> id
 *		charsmap	Precompiled: u32 size of the double array, the array, NUL-ended strings
 *
 * What tokens decode to is worked out by the converter: `text` in the middle
 * of a line, `first` at its start, so that decoding is joining (token_decode.c).
 */
#ifndef DL_TOKEN_BLOB_H
#define DL_TOKEN_BLOB_H

#include <stdint.h>

#define TB_MAGIC		"dlmtoken"
#define TB_VERSION		1u
#define TB_MAX_TOKENS	(1 << 21)
#define TB_MAX_DEPTH	1024	/* bytes of a piece that can be matched */
#define TB_MAX_PROBES	128		/* slots that a look-up in merges may visit */
#define TB_MAX_AFFIX	64		/* bytes of subword prefix and word suffix */
#define TB_MAX_OPS		64

typedef enum tb_kind { TB_BPE = 1, TB_WORDPIECE, TB_UNIGRAM } tb_kind;

/* tb_header.flags */
#define TB_BYTES			1u	/* byte-level: pieces are matched as raw bytes */
#define TB_IGNORE_MERGES	2u
#define TB_FUSE_UNK			4u
#define TB_BYTE_FALLBACK	8u
#define TB_REPAIR_RUNS		16u	/* a run of byte tokens is text or U+FFFD for each byte; else the usual repair */
#define TB_FIRST_STRIP		32u	/* `first` serves until a byte is written, else for the first token only */

typedef struct tb_section
{
	uint32_t	offset;
	uint32_t	size;
} tb_section;

enum
{
	TB_S_TOKENS, TB_S_POOL,
	TB_S_PIECE_CHILD, TB_S_PIECE_LABEL, TB_S_PIECE_VALUE,
	TB_S_MERGES, TB_S_SCORES, TB_S_BYTES, TB_S_FALLBACK,
	TB_S_NORMALIZE, TB_S_SPLIT, TB_S_ADDED,
	TB_S_RAW_CHILD, TB_S_RAW_LABEL, TB_S_RAW_VALUE,
	TB_S_COOKED_CHILD, TB_S_COOKED_LABEL, TB_S_COOKED_VALUE,
	TB_S_SPECIAL_CHILD, TB_S_SPECIAL_LABEL, TB_S_SPECIAL_VALUE,
	TB_S_CHARSMAP,
	TB_N_SECTIONS
};

typedef struct tb_span
{
	uint32_t	offset;			/* into the pool */
	uint32_t	size;
} tb_span;

typedef struct tb_header
{
	char		magic[8];
	uint32_t	version;
	uint32_t	kind;			/* tb_kind */
	uint32_t	flags;
	int32_t		n_tokens;		/* largest id + 1 */
	int32_t		unk_id;			/* -1: none */
	uint32_t	max_chars;		/* WordPiece: longer words are unknown */
	tb_span		prefix;			/* of continuing subwords */
	tb_span		suffix;			/* of the last subword of a word (BPE) */
	double		unk_score;		/* Unigram */
	int32_t		space_ids[4];	/* a lone space behind other text */
	int32_t		n_space_ids;
	uint32_t	reserved[5];
	tb_section	section[TB_N_SECTIONS];
} tb_header;

/* tb_token.flags */
#define TB_T_SPECIAL		1u	/* added and special: skipped by decode, never matched in text */
#define TB_T_BYTE			2u	/* byte fallback token: its text is one raw byte */
#define TB_T_SPACE_AFTER	4u	/* ends a word: a space follows unless it is the last */
#define TB_T_HOLE			8u	/* no such token */
#define TB_T_SPACED			16u	/* carries a space at its front */
#define TB_T_NEVER_SPACED	32u

typedef struct tb_token
{
	tb_span		piece;			/* as the file writes it */
	tb_span		text;			/* bytes it adds behind another token */
	tb_span		first;			/* bytes it adds at the start */
	uint32_t	flags;
} tb_token;

typedef struct tb_merge
{
	int32_t		left,			/* -1: empty slot */
				right;
	uint32_t	rank;
	int32_t		id;
} tb_merge;

/* tb_added.flags */
#define TB_A_SPECIAL		1u
#define TB_A_SINGLE_WORD	2u
#define TB_A_LSTRIP			4u
#define TB_A_RSTRIP			8u

typedef struct tb_added
{
	int32_t		id;
	uint32_t	flags;
} tb_added;

/* tb_op.code of normalize; arguments in brackets */
typedef enum tb_normalize_code
{
	TB_N_NFC = 1, TB_N_NFD, TB_N_NFKC, TB_N_NFKD,
	TB_N_LOWERCASE, TB_N_STRIP_ACCENTS,
	TB_N_BERT_CLEAN, TB_N_BERT_CJK, TB_N_BERT_ACCENTS,
	TB_N_STRIP,					/* [a: 1 left, 2 right] */
	TB_N_REPLACE,				/* [s: pattern, t: content] */
	TB_N_REPLACE_SPACES,		/* [t]: the regex " {2,}" */
	TB_N_PREPEND,				/* [s] */
	TB_N_NMT,
	TB_N_CHARSMAP,
	TB_N_END
} tb_normalize_code;

/* tb_op.code of split */
typedef enum tb_split_code
{
	TB_P_SPLIT = 1,				/* [a: tb_pattern, b: tb_behavior, c: invert, s: a literal] */
	TB_P_PREFIX_SPACE,			/* ByteLevel's add_prefix_space */
	TB_P_METASPACE,				/* [a: tb_scheme, b: split, s: replacement] */
	TB_P_END
} tb_split_code;

typedef enum tb_pattern
{
	TB_M_LITERAL = 1,			/* a string */
	TB_M_WHITESPACE, TB_M_NUMERIC, TB_M_PUNCTUATION,	/* one character of a class */
	TB_M_WORDS,					/* \w+|[^\w\s]+ */
	TB_M_GPT2,					/* the regexes of split.c's header */
	TB_M_LLAMA3,
	TB_M_QWEN2,
	TB_M_END
} tb_pattern;

typedef enum tb_behavior { TB_B_REMOVED, TB_B_ISOLATED, TB_B_PREVIOUS, TB_B_NEXT, TB_B_CONTIGUOUS, TB_B_END } tb_behavior;
typedef enum tb_scheme { TB_FIRST, TB_NEVER, TB_ALWAYS, TB_SCHEME_END } tb_scheme;

typedef struct tb_op
{
	uint32_t	code,
				a,
				b,
				c;
	tb_span		s,
				t;
} tb_op;

/* Hash of a pair of ids for the merges table. */
static inline uint32_t
tb_pair_hash(int32_t left, int32_t right)
{
	uint64_t	x = ((uint64_t) (uint32_t) left << 32 | (uint32_t) right) * 0x9e3779b97f4a7c15u;

	return (uint32_t) (x >> 32) ^ (uint32_t) (x >> 17);
}

#endif							/* DL_TOKEN_BLOB_H */
