/*
 * tokenizer_blob.c - lay a tokenizer out as the blob of token_blob.h.
 *
 * Everything is sorted or in id order, so the same tokenizer gives the same
 * bytes on any machine. Last, the blob is opened as the engine will open it,
 * and the engine itself is asked which tokens never carry a space.
 */
#include <stdlib.h>
#include <string.h>

#include "../src/engine/token.h"
#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

/* A blob in the making: the parts of each section. */
typedef struct layout
{
	dl_bytes	part[TB_N_SECTIONS];
	tb_header	header;
} layout;

/* What is known of an id besides its piece. */
#define IS_SPECIAL	1
#define IS_OUTSIDE	2			/* added, not in the model's vocabulary */

/* Does text spell this token? */
static bool
can_match(const dl_builder *b, const uint8_t *known, int32_t id)
{
	return known[id] == 0 && !(id == b->unk_id && b->kind == TB_UNIGRAM);
}

/* The id of a text in the model's vocabulary, -1 if none. */
static int32_t
model_id(const dl_builder *b, const uint8_t *known, const char *s, size_t n)
{
	int32_t		id = dl_vocab_find(&b->vocab, s, n);

	return id >= 0 && !(known[id] & IS_OUTSIDE) ? id : -1;
}

/* The trie over the vocabulary: what text can spell, in raw bytes for byte-level models. */
static dlm_status
put_pieces(dl_builder *b, layout *l, const uint8_t *known, dlm_error *err)
{
	dl_entry_text *entry = malloc(((size_t) b->vocab.n + 1) * sizeof(*entry));
	char	   *raw;
	size_t		n = 0,
				used = 0,
				total = 0;
	dlm_status	st;

	for (int32_t i = 0; i < b->vocab.n; i++)
		total += b->vocab.piece[i].len;
	raw = malloc(total + 1);
	if (entry == NULL || raw == NULL)
	{
		free(entry);
		free(raw);
		return dl_fail_memory(err);
	}
	for (int32_t i = 0; i < b->vocab.n; i++)
	{
		dlm_text	p = b->vocab.piece[i];

		if (p.len == 0 || p.len > TB_MAX_DEPTH || !can_match(b, known, i))
			continue;
		entry[n].s = p.data;
		entry[n].n = p.len;
		entry[n].value = i;
		if (b->flags & TB_BYTES)
		{
			if (!dl_bytes_of_text(p.data, p.len, raw + used, &entry[n].n))
				continue;
			entry[n].s = raw + used;
			used += entry[n].n;
		}
		n++;
	}
	st = dl_build_trie(entry, n, &l->part[TB_S_PIECE_CHILD], &l->part[TB_S_PIECE_LABEL],
					   &l->part[TB_S_PIECE_VALUE], err);
	free(entry);
	free(raw);
	return st;
}

/* The open-addressing table of merges: half full at most, and no look-up visits more than TB_MAX_PROBES slots. */
static dlm_status
put_merges(dl_builder *b, layout *l, dlm_error *err)
{
	size_t		slots = 16;
	tb_merge   *table = NULL;
	bool		fits = false;

	if (b->n_merges == 0)
		return DLM_OK;
	while (slots < 2 * b->n_merges)
		slots *= 2;
	for (; !fits; slots *= 2)
	{
		free(table);
		table = slots <= (size_t) 1 << 26 ? malloc(slots * sizeof(*table)) : NULL;
		if (table == NULL)
			return dl_fail_memory(err);
		memset(table, -1, slots * sizeof(*table));
		fits = true;
		for (size_t i = 0; i < b->n_merges && fits; i++)
		{
			size_t		at = tb_pair_hash(b->merges[i].left, b->merges[i].right) & (slots - 1);
			int			probes = 1;

			while (table[at].left >= 0 && probes++ < TB_MAX_PROBES)
				at = (at + 1) & (slots - 1);
			fits = table[at].left < 0;
			if (fits)
				table[at] = b->merges[i];
		}
		if (fits)
			dl_bytes_put(&l->part[TB_S_MERGES], table, slots * sizeof(*table));
	}
	free(table);
	return DLM_OK;
}

/* First symbols of byte-level BPE, with the affixes of a word's first, inner and last byte. */
static void
put_byte_symbols(dl_builder *b, layout *l, const uint8_t *known)
{
	char		name[TB_MAX_AFFIX * 2 + 4];

	for (int place = 0; place < 4; place++)
		for (int byte = 0; byte < 256; byte++)
		{
			int32_t		id;
			size_t		n = 0;

			if ((place & 1) && b->prefix.len > 0)
				memcpy(name, b->prefix.data, n = b->prefix.len);
			n += (size_t) dl_utf8_put(dl_char_of_byte(byte), name + n);
			if ((place & 2) && b->suffix.len > 0)
			{
				memcpy(name + n, b->suffix.data, b->suffix.len);
				n += b->suffix.len;
			}
			id = model_id(b, known, name, n);
			dl_bytes_put(&l->part[TB_S_BYTES], &id, sizeof(id));
		}
}

static void
put_fallback(dl_builder *b, layout *l, const uint8_t *known)
{
	static const char hex[] = "0123456789ABCDEF";

	for (int byte = 0; byte < 256; byte++)
	{
		char		name[6] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
		int32_t		id = model_id(b, known, name, sizeof(name));

		dl_bytes_put(&l->part[TB_S_FALLBACK], &id, sizeof(id));
	}
}

/* The pool span of a text: inside one that is there already, if it fits. */
static tb_span
shared_string(dl_builder *b, const dl_bytes *text, tb_span other)
{
	if (text->len <= other.size && text->len > 0)
	{
		const char *have = b->pool.data + other.offset;

		for (size_t at = 0; at + text->len <= other.size; at++)
			if (memcmp(have + at, text->data, text->len) == 0)
				return (tb_span) {other.offset + (uint32_t) at, (uint32_t) text->len};
	}
	return dl_build_string(b, text->data, text->len);
}

static bool
begins_with_punctuation(dlm_text piece)
{
	unsigned char c = piece.len > 0 ? (unsigned char) piece.data[0] : 0;

	return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* A WordPiece token that stands for itself as a mark: "(" or "#", but not "##x", which goes on inside a word. */
static bool
is_mark(const dl_builder *b, dlm_text piece)
{
	bool		inside = b->prefix.len > 0 && piece.len > b->prefix.len &&
		memcmp(piece.data, b->prefix.data, b->prefix.len) == 0;

	return b->kind == TB_WORDPIECE && !inside && begins_with_punctuation(piece);
}

static dlm_status
put_tokens(dl_builder *b, layout *l, const uint8_t *known, const dlm_convert_options *options, dlm_error *err)
{
	dl_bytes	text = {0},
				first = {0};
	dlm_status	st = DLM_OK;

	for (int32_t i = 0; i < b->vocab.n && st == DLM_OK; i++)
	{
		dlm_text	piece = b->vocab.piece[i];
		tb_token	t;

		memset(&t, 0, sizeof(t));
		text.len = first.len = 0;
		t.flags = (piece.len == 0 ? TB_T_HOLE : 0) | (known[i] & IS_SPECIAL ? TB_T_SPECIAL : 0);
		t.piece = dl_build_string(b, piece.data, piece.len);
		if (!(t.flags & (TB_T_HOLE | TB_T_SPECIAL)))
		{
			st = dl_decode_token(b, piece, false, &text, &t.flags, err);
			if (st == DLM_OK)
				st = dl_decode_token(b, piece, true, &first, &t.flags, err);
			if (b->pool.failed || text.failed || first.failed)
				st = dl_fail_memory(err);
			if (st != DLM_OK)
				break;
			t.text = shared_string(b, &text, t.piece);
			t.first = shared_string(b, &first, t.text);
			if (text.len > 1 && text.data[0] == ' ' && !is_mark(b, piece))
				t.flags |= TB_T_SPACED;
			if (text.len == 1 && text.data[0] == ' ')
				t.flags |= TB_T_SPACED;
			if (is_mark(b, piece) && !(t.flags & TB_T_SPACED))
				t.flags |= TB_T_NEVER_SPACED;
		}
		dl_bytes_put(&l->part[TB_S_TOKENS], &t, sizeof(t));
		if (i % 512 == 0)
			st = dl_build_poll(options, err);
	}
	dl_bytes_free(&text);
	dl_bytes_free(&first);
	return st;
}

static dlm_status
put_added(dl_builder *b, layout *l, dlm_error *err)
{
	dl_entry_text *entry = malloc(((size_t) b->n_added + 1) * 3 * sizeof(*entry));
	dl_entry_text *raw = entry,
			   *cooked = entry + b->n_added,
			   *special = cooked + b->n_added;
	size_t		n_raw = 0,
				n_cooked = 0,
				n_special = 0;
	bool		ordinary_raw = false,
				ordinary_cooked = false;
	dlm_status	st;

	if (entry == NULL)
		return dl_fail_memory(err);
	for (int32_t i = 0; i < b->n_added; i++)
	{
		const dl_added *a = &b->added[i];
		tb_added	record = {a->id, a->flags};
		dl_entry_text e = {a->content.data, a->content.len, i};
		bool		is_special = (a->flags & TB_A_SPECIAL) != 0;

		dl_bytes_put(&l->part[TB_S_ADDED], &record, sizeof(record));
		if (a->normalized)
		{
			cooked[n_cooked++] = e;
			ordinary_cooked = ordinary_cooked || !is_special;
		}
		else
		{
			raw[n_raw++] = e;
			ordinary_raw = ordinary_raw || !is_special;
		}
		if (is_special)
		{
			e.s = b->vocab.piece[a->id].data;
			e.n = b->vocab.piece[a->id].len;
			e.value = a->id;
			special[n_special++] = e;
		}
	}
	/* tokens that stay text only matter where they shadow others */
	st = dl_build_trie(raw, ordinary_raw ? n_raw : 0, &l->part[TB_S_RAW_CHILD], &l->part[TB_S_RAW_LABEL],
					   &l->part[TB_S_RAW_VALUE], err);
	if (st == DLM_OK)
		st = dl_build_trie(cooked, ordinary_cooked ? n_cooked : 0, &l->part[TB_S_COOKED_CHILD],
						   &l->part[TB_S_COOKED_LABEL], &l->part[TB_S_COOKED_VALUE], err);
	if (st == DLM_OK)
		st = dl_build_trie(special, n_special, &l->part[TB_S_SPECIAL_CHILD], &l->part[TB_S_SPECIAL_LABEL],
						   &l->part[TB_S_SPECIAL_VALUE], err);
	free(entry);
	return st;
}

/* ---------------------------------------------------------------- the blob */

static dlm_status
join_sections(layout *l, void **blob, size_t *size, dlm_error *err)
{
	size_t		total = (sizeof(tb_header) + 7) & ~(size_t) 7;
	char	   *out;

	for (int i = 0; i < TB_N_SECTIONS; i++)
	{
		if (l->part[i].failed)
			return dl_fail_memory(err);
		l->header.section[i].offset = (uint32_t) total;
		l->header.section[i].size = (uint32_t) l->part[i].len;
		total += (l->part[i].len + 7) & ~(size_t) 7;
		if (total > UINT32_MAX)
			return dl_fail(err, DLM_ETOOLONG, "", "tokenizer is too large");
	}
	out = calloc(1, total);
	if (out == NULL)
		return dl_fail_memory(err);
	memcpy(out, &l->header, sizeof(l->header));
	for (int i = 0; i < TB_N_SECTIONS; i++)
		if (l->part[i].len > 0)
			memcpy(out + l->header.section[i].offset, l->part[i].data, l->part[i].len);
	*blob = out;
	*size = total;
	return DLM_OK;
}

/* The ids of " " + text(id), or of a lone space when id is -1, behind other text. */
static dlm_status
encode_spaced(const dl_tok *tok, dl_arena *a, int32_t id, dl_ids *ids, bool *valid, dlm_error *err)
{
	char		buf[TB_MAX_DEPTH + 1] = " ";
	size_t		n = id >= 0 ? dl_tok_bytes(tok, id, id, buf + 1, TB_MAX_DEPTH) : 0;
	dlm_text	text = {buf, n + 1};
	dlm_error	ignored;
	dlm_status	st;

	ids->n = 0;
	*valid = false;
	if (n > TB_MAX_DEPTH || (id >= 0 && (n == 0 || buf[1] == ' ')))
		return DLM_OK;
	st = dl_tok_encode(tok, text, DL_TOK_CONTINUE, a, NULL, ids, &ignored);
	if (st == DLM_EENCODING)
		return DLM_OK;
	if (st != DLM_OK)
		return dl_fail(err, st, "", "%s", ignored.message);
	*valid = true;
	return DLM_OK;
}

/* The characters that stand behind the space of some token: a bitmap over code points. */
static void
mark_spaced(const char *pool, const tb_header *header, const tb_token *tokens, uint8_t *seen)
{
	for (int32_t id = 0; id < header->n_tokens; id++)
	{
		const char *s = pool + tokens[id].text.offset;
		size_t		n = tokens[id].text.size;
		int			bad,
					len;
		uint32_t	c;

		if (!(tokens[id].flags & TB_T_SPACED) || n < 2 || dl_utf8_check(s + 1, n - 1, &bad) == 0)
			continue;
		c = dl_utf8_get(s + 1, &len);
		seen[c / 8] |= (uint8_t) (1 << c % 8);
	}
}

/*
 * Tokens that never carry a space: no token has a space before their first
 * character, and the engine writes " " + text as a lone space and the token
 * (a digit where digits stand alone).
 */
static dlm_status
mark_never_spaced(const dl_tok *tok, dl_arena *a, const tb_header *header, tb_token *tokens, const char *pool,
				  const uint8_t *seen, const dlm_convert_options *options, dlm_error *err)
{
	dl_ids		ids = {0};
	bool		valid;

	for (int32_t id = 0; id < header->n_tokens; id++)
	{
		const char *s = pool + tokens[id].text.offset;
		int			bad,
					len;
		uint32_t	c;
		dlm_status	st = id % 256 == 0 ? dl_build_poll(options, err) : DLM_OK;

		if (st != DLM_OK)
			return st;
		if ((tokens[id].flags & (TB_T_SPECIAL | TB_T_HOLE | TB_T_SPACED)) ||
			dl_utf8_check(s, tokens[id].text.size, &bad) == 0)
			continue;
		c = dl_utf8_get(s, &len);
		if (seen[c / 8] & 1 << c % 8)
			continue;
		st = encode_spaced(tok, a, id, &ids, &valid, err);
		if (st != DLM_OK)
			return st;
		if (valid && ids.n == 2 && ids.id[0] == header->space_ids[0] && ids.id[1] == id)
			tokens[id].flags |= TB_T_NEVER_SPACED;
	}
	return DLM_OK;
}

/* How is a lone space written behind other text, and which tokens need one? WordPiece has none. */
static dlm_status
find_spaces(const dl_tok *tok, dl_arena *a, char *blob, const dlm_convert_options *options, dlm_error *err)
{
	tb_header  *header = (tb_header *) blob;
	tb_token   *tokens = (tb_token *) (blob + header->section[TB_S_TOKENS].offset);
	const char *pool = blob + header->section[TB_S_POOL].offset;
	dl_ids		ids = {0};
	bool		valid;
	char		space[8];
	uint8_t    *seen;
	dlm_status	st;

	if (header->kind == TB_WORDPIECE)
		return DLM_OK;
	st = encode_spaced(tok, a, -1, &ids, &valid, err);
	if (st != DLM_OK)
		return st;
	if (!valid || ids.n != 1 || dl_tok_bytes(tok, ids.id[0], ids.id[0], space, sizeof(space)) != 1 || space[0] != ' ')
		return DLM_OK;
	header->n_space_ids = 1;
	header->space_ids[0] = ids.id[0];
	seen = calloc(0x110000 / 8, 1);
	if (seen == NULL)
		return dl_fail_memory(err);
	mark_spaced(pool, header, tokens, seen);
	st = mark_never_spaced(tok, a, header, tokens, pool, seen, options, err);
	free(seen);
	return st;
}

static dlm_status
finish_flags(void *blob, size_t size, const dlm_convert_options *options, dlm_error *err)
{
	dl_tok	   *tok;
	dl_arena   *arena;
	dlm_status	st = dl_tok_open(blob, size, &tok, err);

	if (st != DLM_OK)
		return st;
	arena = dl_arena_create(0);
	if (arena == NULL)
		st = dl_fail_memory(err);
	else
		st = find_spaces(tok, arena, blob, options, err);
	dl_arena_destroy(arena);
	dl_tok_close(tok);
	return st;
}

static dlm_status
fill(dl_builder *b, layout *l, uint8_t *known, const dlm_convert_options *options, dlm_error *err)
{
	dlm_status	st;

	for (int32_t i = 0; i < b->n_added; i++)
		known[b->added[i].id] = (b->added[i].flags & TB_A_SPECIAL ? IS_SPECIAL : 0) |
			(b->added[i].outside ? IS_OUTSIDE : 0);
	st = dl_check_decoders(b, err);
	if (st == DLM_OK)
		st = put_pieces(b, l, known, err);
	if (st == DLM_OK)
		st = put_merges(b, l, err);
	if (st == DLM_OK)
		st = put_tokens(b, l, known, options, err);
	if (st == DLM_OK)
		st = put_added(b, l, err);
	if (st != DLM_OK)
		return st;
	if (b->flags & TB_BYTES)
		put_byte_symbols(b, l, known);
	if (b->flags & TB_BYTE_FALLBACK)
		put_fallback(b, l, known);
	if (b->scores != NULL)
		dl_bytes_put(&l->part[TB_S_SCORES], b->scores, (size_t) b->vocab.n * sizeof(double));
	memcpy(l->header.magic, TB_MAGIC, 8);
	l->header.version = TB_VERSION;
	l->header.kind = b->kind;
	l->header.flags = b->flags;
	l->header.n_tokens = b->vocab.n;
	l->header.unk_id = b->unk_id;
	l->header.max_chars = b->max_chars;
	l->header.unk_score = b->unk_score;
	l->header.prefix = dl_build_string(b, b->prefix.data, b->prefix.len);
	l->header.suffix = dl_build_string(b, b->suffix.data, b->suffix.len);
	/* these were filled by the readers */
	l->part[TB_S_POOL] = b->pool;
	l->part[TB_S_NORMALIZE] = b->normalize;
	l->part[TB_S_SPLIT] = b->split;
	l->part[TB_S_CHARSMAP] = b->charsmap;
	memset(&b->pool, 0, sizeof(b->pool));
	memset(&b->normalize, 0, sizeof(b->normalize));
	memset(&b->split, 0, sizeof(b->split));
	memset(&b->charsmap, 0, sizeof(b->charsmap));
	return DLM_OK;
}

dlm_status
dl_build_finish(dl_builder *b, const dlm_convert_options *options, void **blob, size_t *size, dlm_error *err)
{
	layout	   *l = calloc(1, sizeof(*l));
	uint8_t    *known = calloc((size_t) b->vocab.n + 1, 1);
	dlm_status	st;

	*blob = NULL;
	if (l == NULL || known == NULL)
		st = dl_fail_memory(err);
	else if (b->prefix.len > TB_MAX_AFFIX || b->suffix.len > TB_MAX_AFFIX)
		st = dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer has a subword prefix or word suffix of more than %d bytes",
					 TB_MAX_AFFIX);
	else
		st = fill(b, l, known, options, err);
	if (st == DLM_OK)
		st = join_sections(l, blob, size, err);
	if (st == DLM_OK)
		st = finish_flags(*blob, *size, options, err);
	for (int i = 0; l != NULL && i < TB_N_SECTIONS; i++)
		dl_bytes_free(&l->part[i]);
	free(l);
	free(known);
	if (st != DLM_OK)
	{
		free(*blob);
		*blob = NULL;
	}
	return st;
}
