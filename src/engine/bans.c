/*
 * bans.c - sets of tokens that may not be written.
 *
 * The sets of a vocabulary cost one walk over all tokens; they are made once
 * per session and kept in the caller's memo, if there is one. A banned text
 * bans every token that contains it; what neighbours spell together is
 * checked when a token is chosen (canvas.c) and once more on the final text.
 */
#include "bans.h"
#include "request.h"
#include "status.h"

#include <string.h>

#define N_SETS		8
#define TOKEN_BYTES	512			/* of a token looked at; longer ones are never written */

/* ----------------------------------------------------------------- text */

static bool
is_ascii_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* U+0085, U+00A0, U+1680, U+2000 .. U+200A, U+2028, U+2029, U+202F, U+205F, U+3000 at the end of s. */
bool
dl_ends_in_space(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *) s + n;

	if (n == 0)
		return false;
	if (is_ascii_space(s[n - 1]))
		return true;
	if (n >= 2 && p[-2] == 0xC2)
		return p[-1] == 0x85 || p[-1] == 0xA0;
	if (n < 3)
		return false;
	if (p[-3] == 0xE2 && p[-2] == 0x80)
		return p[-1] <= 0x8A || p[-1] == 0xA8 || p[-1] == 0xA9 || p[-1] == 0xAF;
	return (p[-3] == 0xE1 && p[-2] == 0x9A && p[-1] == 0x80) || (p[-3] == 0xE2 && p[-2] == 0x81 && p[-1] == 0x9F) ||
		(p[-3] == 0xE3 && p[-2] == 0x80 && p[-1] == 0x80);
}

/* LF, VT, FF, CR, U+0085, U+2028, U+2029. */
size_t
dl_find_line_break(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *) s;

	for (size_t i = 0; i < n; i++)
	{
		if (s[i] >= '\n' && s[i] <= '\r')
			return i;
		if (p[i] == 0xC2 && n - i >= 2 && p[i + 1] == 0x85)
			return i;
		if (p[i] == 0xE2 && n - i >= 3 && p[i + 1] == 0x80 && (p[i + 2] == 0xA8 || p[i + 2] == 0xA9))
			return i;
	}
	return SIZE_MAX;
}

/* ----------------------------------------------------------- vocabulary */

static void
set_pointers(dl_vocab *v, uint8_t *base)
{
	uint8_t   **sets[N_SETS] = {&v->silent, &v->special, &v->spaced, &v->spaced_word, &v->never_spaced,
		&v->space_end, &v->line_break, &v->whole};

	for (int i = 0; i < N_SETS; i++)
		*sets[i] = base + (size_t) i * v->bytes;
}

static void
classify_token(const dlm_model *model, dl_vocab *v, int32_t id)
{
	char		buf[TOKEN_BYTES];
	size_t		n = dlm_token_bytes(model, id, buf, sizeof(buf));

	if (dl_tok_is_special(model->tok, id))
	{
		dl_put_in_set(v->silent, id);
		dl_put_in_set(v->special, id);
		return;
	}
	if (n == 0 || n > sizeof(buf) || memchr(buf, '\0', n) != NULL)
	{
		dl_put_in_set(v->silent, id);
		return;
	}
	if (dl_tok_starts_with_space(model->tok, id))
	{
		dl_put_in_set(v->spaced, id);
		if (n > 1 && !is_ascii_space(buf[1]))
			dl_put_in_set(v->spaced_word, id);
	}
	if (dl_tok_never_spaced(model->tok, id))
		dl_put_in_set(v->never_spaced, id);
	if (is_ascii_space(buf[n - 1]))
		dl_put_in_set(v->space_end, id);
	if (dl_find_line_break(buf, n) != SIZE_MAX)
		dl_put_in_set(v->line_break, id);
	if (dl_utf8_valid(buf, n) == n)
		dl_put_in_set(v->whole, id);
}

static void
classify_vocab(const dlm_model *model, dl_vocab *v)
{
	int			known = dl_tok_count(model->tok);
	const dl_settings *set = &model->settings;

	for (int32_t id = 0; id < v->rows; id++)
	{
		if (id < known && (uint32_t) id < model->config.tokens)
			classify_token(model, v, id);
		else
			dl_put_in_set(v->silent, id);
	}
	for (int i = 0; i < set->n_never_generate; i++)
		if (set->never_generate[i] >= 0 && set->never_generate[i] < v->rows)
		{
			dl_put_in_set(v->silent, set->never_generate[i]);
			v->special[set->never_generate[i] >> 3] &= (uint8_t) ~(1u << (set->never_generate[i] & 7));
		}
	dl_put_in_set(v->silent, (int32_t) model->config.mask_id);
	v->special[model->config.mask_id >> 3] &= (uint8_t) ~(1u << (model->config.mask_id & 7));
}

static dlm_status
get_vocab(dlm_session *s, const dl_vocab **out, dlm_error *err)
{
	const dlm_model *model = s->model;
	dl_vocab   *v;
	uint8_t    *base;
	uint8_t		key[32];
	dl_sha256	sha;
	const void *known;
	size_t		size;

	if (s->vocab == NULL)
	{
		v = dl_arena_block(s->arena, sizeof(*v));
		if (v == NULL)
			return dl_fail_memory(err);
		v->rows = (int) model->config.vocab;
		v->bytes = ((size_t) v->rows + 7) / 8;
		base = dl_arena_block(s->arena, N_SETS * v->bytes);
		if (base == NULL)
			return dl_fail_memory(err);
		memset(base, 0, N_SETS * v->bytes);
		set_pointers(v, base);
		dl_sha256_init(&sha);
		dl_hash_text(&sha, (dlm_text) {"vocabulary sets", 15});
		dl_sha256_update(&sha, model->header->digest, 32);
		dl_sha256_final(&sha, key);
		known = dl_memo_get(s->env.memo, key, &size);
		if (known != NULL && size == N_SETS * v->bytes)
			memcpy(base, known, size);
		else
		{
			classify_vocab(model, v);
			dl_memo_put(s->env.memo, key, base, N_SETS * v->bytes);
		}
		s->vocab = v;
	}
	*out = s->vocab;
	return DLM_OK;
}

/* -------------------------------------------------------------- options */

/* The banned texts by their first byte: list[first[c] .. first[c + 1]) begin with c. */
typedef struct text_index
{
	int			first[257];
	int		   *list;
} text_index;

static dlm_status
index_texts(const dlm_options *o, dl_arena *a, text_index *index, dlm_error *err)
{
	int			at[256];

	memset(index, 0, sizeof(*index));
	index->list = dl_arena_calloc(a, (size_t) o->n_ban, sizeof(int));
	if (index->list == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < o->n_ban; i++)
		index->first[(unsigned char) o->ban[i].data[0] + 1]++;
	for (int c = 0; c < 256; c++)
	{
		index->first[c + 1] += index->first[c];
		at[c] = index->first[c];
	}
	for (int i = 0; i < o->n_ban; i++)
		index->list[at[(unsigned char) o->ban[i].data[0]]++] = i;
	return DLM_OK;
}

static bool
holds_text(const dlm_options *o, const text_index *index, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		int			c = (unsigned char) s[i];

		for (int k = index->first[c]; k < index->first[c + 1]; k++)
		{
			const dlm_text *ban = &o->ban[index->list[k]];

			if (ban->len <= n - i && memcmp(s + i, ban->data, ban->len) == 0)
				return true;
		}
	}
	return false;
}

static dlm_status
ban_texts(const dl_task *task, const dl_vocab *v, uint8_t *never, dlm_error *err)
{
	dlm_session *s = task->session;
	dl_mark		mark = dl_arena_mark(s->arena);
	text_index	index;
	char		buf[TOKEN_BYTES];
	dlm_status	st = index_texts(task->options, s->arena, &index, err);

	for (int32_t id = 0; st == DLM_OK && id < v->rows; id++)
	{
		size_t		n;

		if (id % 4096 == 0 && s->env.stop && s->env.stop(s->env.arg))
			st = dl_fail(err, DLM_EINTR, "", "canceled by the caller");
		if (dl_in_set(never, id))
			continue;
		n = dlm_token_bytes(s->model, id, buf, sizeof(buf));
		if (n <= sizeof(buf) && holds_text(task->options, &index, buf, n))
			dl_put_in_set(never, id);
	}
	dl_arena_rewind(s->arena, mark);
	return st;
}

static dlm_status
make_bans(dl_task *task, const dl_vocab *v, bool stops, uint8_t *never, uint8_t *stop, dl_bans *b, dlm_error *err)
{
	const dlm_options *o = task->options;
	const dl_settings *set = &task->session->model->settings;

	memcpy(never, v->silent, v->bytes);
	memset(stop, 0, v->bytes);
	for (int i = 0; stops && i < set->n_stop; i++)
	{
		int32_t		id = set->stop[i];

		if (id < 0 || id >= v->rows || (dl_in_set(never, id) && !dl_in_set(v->special, id)))
			continue;
		never[id >> 3] &= (uint8_t) ~(1u << (id & 7));
		dl_put_in_set(stop, id);
	}
	for (size_t i = 0; !stops && !o->multiline && i < v->bytes; i++)
		never[i] |= v->line_break[i];
	if (o->forbidden)
	{
		size_t		known = ((size_t) task->session->model->config.tokens + 7) / 8;

		for (size_t i = 0; i < v->bytes && i < known; i++)
			never[i] |= o->forbidden[i] & (uint8_t) ~stop[i];
	}
	b->vocab = v;
	b->never = never;
	b->stop = stops ? stop : NULL;
	b->text = o->ban;
	b->n_text = o->n_ban;
	b->longest = 0;
	for (int i = 0; i < o->n_ban; i++)
		if (o->ban[i].len > b->longest)
			b->longest = o->ban[i].len;
	return o->n_ban > 0 ? ban_texts(task, v, never, err) : DLM_OK;
}

/* A session's bans, one entry per set of options and kind of task. */
typedef struct kept_bans
{
	struct kept_bans *next;
	const dlm_options *options;
	bool		stops;
	dl_bans		bans;
} kept_bans;

dlm_status
dl_bans_get(dl_task *task, bool stops, const dl_bans **out, dlm_error *err)
{
	dlm_session *s = task->session;
	const dl_vocab *v = NULL;
	kept_bans  *kept;
	uint8_t    *sets;
	dlm_status	st;

	for (kept = s->bans; kept; kept = kept->next)
		if (kept->options == task->options && kept->stops == stops)
		{
			*out = &kept->bans;
			return DLM_OK;
		}
	st = get_vocab(s, &v, err);
	if (st != DLM_OK)
		return st;
	/* blocks, because a task's open may be rewound and the bans outlive it */
	kept = dl_arena_block(s->arena, sizeof(*kept));
	sets = dl_arena_block(s->arena, 2 * v->bytes);
	st = kept && sets ? make_bans(task, v, stops, sets, sets + v->bytes, &kept->bans, err) : dl_fail_memory(err);
	if (st != DLM_OK)
	{
		dl_arena_block_free(s->arena, kept);
		dl_arena_block_free(s->arena, sets);
		return st;
	}
	kept->options = task->options;
	kept->stops = stops;
	kept->next = s->bans;
	s->bans = kept;
	*out = &kept->bans;
	return DLM_OK;
}

size_t
dl_bans_find(const dl_bans *bans, const char *s, size_t n, size_t from, size_t to, size_t *len)
{
	size_t		best = SIZE_MAX;

	for (int i = 0; i < bans->n_text; i++)
	{
		size_t		m = bans->text[i].len;
		size_t		first = from >= m ? from - m + 1 : 0;

		for (size_t at = first; at < to && at < best && m <= n && at <= n - m; at++)
			if (memcmp(s + at, bans->text[i].data, m) == 0)
			{
				best = at;
				*len = m;
			}
	}
	return best;
}
