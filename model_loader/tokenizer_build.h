/*
 * tokenizer_build.h - what the readers of tokenizer.json and GGUF fill in, and the writer of the blob.
 */
#ifndef DLM_TOKENIZER_BUILD_H
#define DLM_TOKENIZER_BUILD_H

#include "../src/engine/status.h"
#include "../src/engine/token_blob.h"
#include "tokenizer.h"

/* A growing byte string; after a failed malloc it stays failed and is checked once, at the end. */
typedef struct dl_bytes
{
	char	   *data;
	size_t		len,
				cap;
	bool		failed;
} dl_bytes;

void		dl_bytes_put(dl_bytes *b, const void *data, size_t n);
void		dl_bytes_free(dl_bytes *b);

/* Decoders, in the order in which they run. */
typedef enum dl_decoder_code
{
	DL_DEC_BYTE_LEVEL = 1, DL_DEC_WORDPIECE, DL_DEC_METASPACE, DL_DEC_BYTE_FALLBACK, DL_DEC_FUSE, DL_DEC_STRIP,
	DL_DEC_REPLACE, DL_DEC_BPE
} dl_decoder_code;

typedef struct dl_decoder
{
	dl_decoder_code code;
	const char *s,				/* prefix, replacement, pattern, suffix, stripped character; borrowed, NUL-ended */
			   *t;				/* content */
	int			start,			/* of strip */
				stop;
	bool		flag;			/* WordPiece: cleanup; Metaspace: the first token loses its space */
} dl_decoder;

/* One added token. content is borrowed. */
typedef struct dl_added
{
	dlm_text	content;
	int32_t		id;
	uint32_t	flags;			/* TB_A_* */
	bool		normalized;
	bool		outside;		/* not in the model's vocabulary: the model itself never gives it */
} dl_added;

/* A vocabulary: pieces by id, ids by piece. */
typedef struct dl_vocab
{
	dlm_text   *piece;			/* [n]: len 0 = hole; borrowed */
	int32_t		n;
	int32_t    *slot;			/* [n_slots]: id or -1 */
	uint32_t	n_slots;
} dl_vocab;

dlm_status	dl_vocab_create(dl_vocab *v, int32_t n, dlm_error *err);
void		dl_vocab_free(dl_vocab *v);
/* DLM_EDAMAGED if the id or the piece is taken. An empty piece leaves a hole. */
dlm_status	dl_vocab_add(dl_vocab *v, int32_t id, dlm_text piece, dlm_error *err);
int32_t		dl_vocab_find(const dl_vocab *v, const char *s, size_t n);

/* All that a tokenizer is. Zero-initialise, fill, dl_build_finish, dl_build_free. */
typedef struct dl_builder
{
	tb_kind		kind;
	uint32_t	flags;			/* TB_* */
	int32_t		unk_id;
	uint32_t	max_chars;
	dlm_text	prefix,
				suffix;
	double		unk_score;
	dl_vocab	vocab;
	double	   *scores;			/* [vocab.n] */
	tb_merge   *merges;			/* [n_merges], in no order; a pair at most once */
	size_t		n_merges;
	dl_bytes	normalize,		/* tb_op [] */
				split,
				pool;
	dl_added   *added;
	int32_t		n_added;
	dl_decoder	decoder[TB_MAX_OPS];
	int			n_decoders;		/* 0: tokens are joined by spaces */
	dl_bytes	charsmap;
} dl_builder;

/* A pair that is listed twice counts with its last rank, as in `tokenizers`. */
void		dl_build_drop_earlier(dl_builder *b);
tb_span		dl_build_string(dl_builder *b, const char *s, size_t n);
void		dl_build_op(dl_bytes *ops, uint32_t code, uint32_t a, uint32_t b, uint32_t c, tb_span s, tb_span t);
dlm_status	dl_build_finish(dl_builder *b, const dlm_convert_options *options, void **blob, size_t *size,
							dlm_error *err);
void		dl_build_free(dl_builder *b);

/* One entry of a trie to be built. */
typedef struct dl_entry_text
{
	const char *s;
	size_t		n;
	int32_t		value;
} dl_entry_text;

/* Sorts entry [n]; equal strings are DLM_EDAMAGED. Appends the three sections of a trie; nothing when n is 0. */
dlm_status	dl_build_trie(dl_entry_text *entry, size_t n, dl_bytes *child, dl_bytes *label, dl_bytes *value,
						  dlm_error *err);

/* The byte that a character of the byte-level alphabet stands for, -1 if it is none. */
int			dl_byte_of_char(uint32_t c);
uint32_t	dl_char_of_byte(int byte);
/* Byte-level text to bytes; false if a character is not of the alphabet. out has room for n. */
bool		dl_bytes_of_text(const char *s, size_t n, char *out, size_t *len);
/* The byte that "<0xAB>" names, -1 if it is not of that form. */
int			dl_byte_of_name(const char *s, size_t n);

/* What a token decodes to behind another token and at the start of a text; sets TB_T_BYTE and TB_T_SPACE_AFTER. */
dlm_status	dl_decode_token(const dl_builder *b, dlm_text piece, bool first, dl_bytes *out, uint32_t *flags,
							dlm_error *err);
/* Refuse decoders that cannot be worked out token by token; sets TB_REPAIR_RUNS and TB_FIRST_STRIP. */
dlm_status	dl_check_decoders(dl_builder *b, dlm_error *err);

/* A stop of the conversion: DLM_EINTR. Call it every few hundred tokens. */
dlm_status	dl_build_poll(const dlm_convert_options *options, dlm_error *err);

/* tokenizer.json's normaliser and pre-tokeniser (NULL = none) into operations, its decoder into b->decoder. */
struct cJSON;
dlm_status	dl_read_normalizer(dl_builder *b, const struct cJSON *json, dlm_error *err);
dlm_status	dl_read_pre_tokenizer(dl_builder *b, const struct cJSON *json, dlm_error *err);
dlm_status	dl_read_decoder(dl_builder *b, const struct cJSON *json, dlm_error *err);

/* Members of a JSON object with defaults; missing and null are the default. NULL or false for another type. */
const char *dl_json_string(const struct cJSON *json, const char *key);
bool		dl_json_bool(const struct cJSON *json, const char *key, bool otherwise);

#endif							/* DLM_TOKENIZER_BUILD_H */
