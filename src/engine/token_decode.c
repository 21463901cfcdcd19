/*
 * token_decode.c - ids back to text.
 *
 * The converter has worked out what every token adds behind another one and
 * at the start of a text, so decoding is joining, then repair of what is not
 * UTF-8: each maximal ill-formed part becomes one U+FFFD, or, with byte
 * fallback tokens, each byte of a run that is not UTF-8 as a whole.
 */
#include "token_impl.h"

#define REPLACEMENT	"\xef\xbf\xbd"

/* Joins tokens; counts only while to is NULL. */
typedef struct joiner
{
	const dl_tok *tok;
	char	   *to;
	size_t		len;
	bool		begun;			/* something stands to the left */
	bool		space;			/* the last token ends a word */
	size_t		run;			/* start of the run of byte tokens, SIZE_MAX = none */
} joiner;

static void
put(joiner *j, const char *s, size_t n)
{
	if (j->to != NULL && n > 0)
		memcpy(j->to + j->len, s, n);
	j->len += n;
}

/* End a run of byte tokens: what is not UTF-8 becomes a U+FFFD for each byte. */
static void
end_run(joiner *j)
{
	size_t		start = j->run,
				n;

	if (start == SIZE_MAX)
		return;
	n = j->len - start;
	j->run = SIZE_MAX;
	if (j->to == NULL)
		j->len += 2 * n;		/* room for the worst case */
	else if (!dl_utf8_wellformed(j->to + start, n))
	{
		j->len = start;
		for (size_t i = 0; i < n; i++)
			put(j, REPLACEMENT, 3);
	}
}

static void
join(joiner *j, int32_t id)
{
	const dl_tok *tok = j->tok;
	const tb_token *t;
	tb_span		span;

	if (id < 0 || id >= tok->header->n_tokens)
		return;
	t = &tok->tokens[id];
	if (t->flags & (TB_T_SPECIAL | TB_T_HOLE))
		return;
	if (tok->header->flags & TB_REPAIR_RUNS)
	{
		if (!(t->flags & TB_T_BYTE))
			end_run(j);
		else if (j->run == SIZE_MAX)
			j->run = j->len;
	}
	if (j->space)
		put(j, " ", 1);
	j->space = (t->flags & TB_T_SPACE_AFTER) != 0;
	span = j->begun ? t->text : t->first;
	put(j, tok->pool + span.offset, span.size);
	if (t->text.size > 0 || !(tok->header->flags & TB_FIRST_STRIP))
		j->begun = true;
}

/* Copy text [n] to out (3 n bytes) with each ill-formed part replaced; returns the length. */
static size_t
repair(const char *s, size_t n, char *out)
{
	size_t		len = 0;

	for (size_t i = 0; i < n;)
	{
		int			bad,
					good = dl_utf8_check(s + i, n - i, &bad);

		if (good > 0)
			memcpy(out + len, s + i, (size_t) good);
		else
			memcpy(out + len, REPLACEMENT, 3);
		len += good > 0 ? (size_t) good : 3;
		i += (size_t) (good > 0 ? good : bad);
	}
	return len;
}

dlm_status
dl_tok_decode(const dl_tok *tok, const int32_t *ids, int n, dl_arena *a, dlm_text *out, dlm_error *err)
{
	joiner		j = {.tok = tok, .run = SIZE_MAX};
	char	   *text;

	for (int i = 0; i < n; i++)
		join(&j, ids[i]);
	end_run(&j);
	text = dl_arena_alloc(a, j.len + 1);
	if (text == NULL)
		return dl_fail_memory(err);
	j = (joiner) {.tok = tok, .to = text, .run = SIZE_MAX};
	for (int i = 0; i < n; i++)
		join(&j, ids[i]);
	end_run(&j);
	if (!dl_utf8_wellformed(text, j.len))
	{
		char	   *fixed = j.len < SIZE_MAX / 3 ? dl_arena_alloc(a, 3 * j.len + 1) : NULL;

		if (fixed == NULL)
			return dl_fail_memory(err);
		j.len = repair(text, j.len, fixed);
		text = fixed;
	}
	text[j.len] = '\0';
	out->data = text;
	out->len = j.len;
	return DLM_OK;
}

size_t
dl_tok_bytes(const dl_tok *tok, int32_t id, int32_t left, char *buf, size_t cap)
{
	const int32_t skipped = TB_T_SPECIAL | TB_T_HOLE;
	int32_t		count = tok->header->n_tokens;
	const tb_token *t;
	tb_span		span;
	size_t		space = 0;

	if (id < 0 || id >= count || (tok->tokens[id].flags & (uint32_t) skipped))
		return 0;
	t = &tok->tokens[id];
	if (left < 0 || left >= count || (tok->tokens[left].flags & (uint32_t) skipped))
		span = t->first;
	else
	{
		span = t->text;
		space = (tok->tokens[left].flags & TB_T_SPACE_AFTER) != 0;
	}
	if (space > 0 && cap > 0)
		buf[0] = ' ';
	if (cap > space)
		memcpy(buf + space, tok->pool + span.offset, span.size < cap - space ? span.size : cap - space);
	return space + span.size;
}
