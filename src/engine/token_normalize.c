/*
 * token_normalize.c - normalisers: each rewrites the whole piece into the other buffer.
 *
 * NFC, NFD, NFKC and NFKD follow Unicode's algorithms over the data of
 * token_unicode.h; a run of combining marks is sorted by counting, so that a
 * text of nothing but marks costs no more than another.
 */
#include "token_impl.h"

/* A decomposed character with its combining class. */
typedef struct mark
{
	uint32_t	c;
	int			class;
} mark;

/* Marks [n] in w->marks that wait for the next starter; the starter itself is first if there is one. */
typedef struct composer
{
	dl_work    *w;
	dl_buf	   *out;
	size_t		n;
	bool		compose;
} composer;

static dlm_status
put_char(dl_work *w, dl_buf *out, uint32_t c)
{
	char		utf8[4];
	int			len = dl_utf8_put(c, utf8);

	return dl_buf_put(w, out, utf8, (size_t) len);
}

/* Stable sort of marks by class: insertion for the usual few, else one counting pass into the upper half. */
static dlm_status
sort_marks(composer *p, size_t first)
{
	mark	   *m = (mark *) p->w->marks.data + first;
	mark	   *sorted;
	size_t		n = p->n - first,
				count[257] = {0};

	if (n < 24)
	{
		for (size_t i = 1; i < n; i++)
		{
			mark		x = m[i];
			size_t		k = i;

			for (; k > 0 && m[k - 1].class > x.class; k--)
				m[k] = m[k - 1];
			m[k] = x;
		}
		return DLM_OK;
	}
	TRY(dl_vec_reserve(p->w, &p->w->marks, (p->n + n) * sizeof(mark), p->n * sizeof(mark)));
	m = (mark *) p->w->marks.data + first;
	sorted = (mark *) p->w->marks.data + p->n;
	for (size_t i = 0; i < n; i++)
		count[m[i].class + 1]++;
	for (int i = 1; i < 257; i++)
		count[i] += count[i - 1];
	for (size_t i = 0; i < n; i++)
		sorted[count[m[i].class]++] = m[i];
	memcpy(m, sorted, n * sizeof(mark));
	return DLM_OK;
}

/* Compose the marks into their starter where nothing of the same or a higher class stands between. */
static void
compose_marks(composer *p)
{
	mark	   *m = p->w->marks.data;
	size_t		kept = 1;
	int			last = -1;

	for (size_t i = 1; i < p->n; i++)
	{
		uint32_t	c = last < m[i].class ? dl_unicode_composite(m[0].c, m[i].c) : 0;

		if (c != 0)
			m[0].c = c;
		else
		{
			last = m[i].class;
			m[kept++] = m[i];
		}
	}
	p->n = kept;
}

/* Order, compose and write what waits. `next` is the starter that follows (0 at the end); true if it was composed away. */
static dlm_status
flush_marks(composer *p, uint32_t next, bool *composed)
{
	mark	   *m;
	bool		starter;

	*composed = false;
	if (p->n == 0)
		return DLM_OK;
	starter = ((mark *) p->w->marks.data)[0].class == 0;
	TRY(sort_marks(p, starter ? 1 : 0));
	if (p->compose && starter)
		compose_marks(p);
	m = p->w->marks.data;
	if (p->compose && starter && p->n == 1 && next != 0)
	{
		uint32_t	c = dl_unicode_composite(m[0].c, next);

		if (c != 0)
		{
			m[0].c = c;
			*composed = true;
			return DLM_OK;
		}
	}
	for (size_t i = 0; i < p->n; i++)
		TRY(put_char(p->w, p->out, m[i].c));
	p->n = 0;
	return DLM_OK;
}

static dlm_status
add_mark(composer *p, uint32_t c)
{
	mark		m = {c, dl_unicode_combining(c)};
	bool		composed = false;

	if (m.class == 0)
	{
		TRY(flush_marks(p, c, &composed));
		if (composed)
			return DLM_OK;
	}
	TRY(dl_vec_reserve(p->w, &p->w->marks, (p->n + 1) * sizeof(m), p->n * sizeof(m)));
	((mark *) p->w->marks.data)[p->n++] = m;
	return dl_work_poll(p->w);
}

static dlm_status
run_unicode(dl_work *w, const char *s, size_t n, bool compatible, bool compose, dl_buf *out)
{
	composer	p = {.w = w, .out = out, .compose = compose};
	bool		composed;

	for (size_t i = 0; i < n;)
	{
		int			len;
		uint32_t	hangul[3];
		const uint32_t *parts;
		uint32_t	c = dl_utf8_get(s + i, &len);
		int			k = dl_unicode_decompose(c, compatible, hangul, &parts);

		if (k == 0)
			TRY(add_mark(&p, c));
		for (int j = 0; j < k; j++)
			TRY(add_mark(&p, parts[j]));
		i += (size_t) len;
	}
	return flush_marks(&p, 0, &composed);
}

/* The characters that Nmt turns into spaces, and those it removes. */
static bool
nmt_space(uint32_t c)
{
	return c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
		c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

static bool
nmt_drop(uint32_t c)
{
	return (c >= 1 && c <= 8) || c == 11 || (c >= 14 && c <= 31) || c == 0x7f || c == 0x8f || c == 0x9f;
}

/* The blocks that BERT sets between spaces. */
static bool
is_cjk(uint32_t c)
{
	return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
		(c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
		(c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* What an operation that works character by character makes of c, in out[3]; returns how many. */
static int
map_char(uint32_t code, uint32_t c, uint32_t out[3])
{
	uint32_t	class = c < 0x80 && code == TB_N_LOWERCASE ? 0 : dl_unicode_class(c);

	out[0] = c;
	switch (code)
	{
		case TB_N_LOWERCASE:
			return dl_unicode_lowercase(c, out);
		case TB_N_STRIP_ACCENTS:
			return !(class & DL_U_MARK);
		case TB_N_BERT_ACCENTS:
			return !(class & DL_U_NONSPACING);
		case TB_N_BERT_CLEAN:
			if (class & DL_U_DROP)
				return 0;
			if (class & DL_U_WHITESPACE)
				out[0] = ' ';
			return 1;
		case TB_N_BERT_CJK:
			if (!is_cjk(c))
				return 1;
			out[0] = out[2] = ' ';
			out[1] = c;
			return 3;
		default:				/* TB_N_NMT */
			if (nmt_drop(c))
				return 0;
			if (nmt_space(c))
				out[0] = ' ';
			return 1;
	}
}

static dlm_status
run_map(dl_work *w, uint32_t code, const char *s, size_t n, dl_buf *out)
{
	for (size_t i = 0; i < n;)
	{
		int			len;
		uint32_t	mapped[3];
		int			k = map_char(code, dl_utf8_get(s + i, &len), mapped);

		for (int j = 0; j < k; j++)
			TRY(put_char(w, out, mapped[j]));
		if (k == 0 && i == 0)
			w->zero_len = 0;
		i += (size_t) len;
		TRY(dl_work_poll(w));
	}
	return DLM_OK;
}

static dlm_status
run_replace(dl_work *w, const char *s, size_t n, const char *what, size_t what_len, const char *by, size_t by_len,
			dl_buf *out)
{
	size_t		at = 0,
				start,
				end;

	while (dl_pattern_find(TB_M_LITERAL, what, what_len, s, n, at, &start, &end))
	{
		TRY(dl_buf_put(w, out, s + at, start - at));
		TRY(dl_buf_put(w, out, by, by_len));
		TRY(dl_work_poll(w));
		at = end;
	}
	return dl_buf_put(w, out, s + at, n - at);
}

/* Two or more spaces become `by`. */
static dlm_status
run_replace_spaces(dl_work *w, const char *s, size_t n, const char *by, size_t by_len, dl_buf *out)
{
	for (size_t i = 0; i < n;)
	{
		size_t		end = i;

		while (end < n && s[end] == ' ')
			end++;
		if (end - i >= 2)
			TRY(dl_buf_put(w, out, by, by_len));
		else
		{
			end = i + 1;
			while (end < n && s[end] != ' ')
				end++;
			TRY(dl_buf_put(w, out, s + i, end - i));
		}
		i = end;
		TRY(dl_work_poll(w));
	}
	return DLM_OK;
}

/* Behind other text the white space at the front is the caller's, not an accident of typing. */
static dlm_status
run_strip(dl_work *w, uint32_t sides, const char *s, size_t n, dl_buf *out)
{
	size_t		start = 0;
	int			len;

	while ((sides & 1) && start < n && !(w->mode == DL_TOK_CONTINUE && w->zero_len > 0))
	{
		if (!(dl_unicode_class(dl_utf8_get(s + start, &len)) & DL_U_WHITESPACE))
			break;
		start += (size_t) len;
	}
	while ((sides & 2) && n > start)
	{
		size_t		last = n;

		do
			last--;
		while (((unsigned char) s[last] & 0xc0) == 0x80);
		if (!(dl_unicode_class(dl_utf8_get(s + last, &len)) & DL_U_WHITESPACE))
			break;
		n = last;
	}
	if (start > 0)
		w->zero_len = 0;
	return dl_buf_put(w, out, s + start, n - start);
}

static dlm_status
run_prepend(dl_work *w, const char *what, size_t what_len, const char *s, size_t n, dl_buf *out)
{
	if (n > 0 && !(w->mode == DL_TOK_CONTINUE && w->zero_len > 0))
	{
		TRY(dl_buf_put(w, out, what, what_len));
		if (w->zero_len > 0)
			w->zero_len += what_len;
	}
	return dl_buf_put(w, out, s, n);
}

static dlm_status
run_op(dl_work *w, const tb_op *op, const char *s, size_t n, dl_buf *out)
{
	const char *arg_s = w->tok->pool + op->s.offset,
			   *arg_t = w->tok->pool + op->t.offset;

	switch (op->code)
	{
		case TB_N_NFC:
		case TB_N_NFKC:
			return run_unicode(w, s, n, op->code == TB_N_NFKC, true, out);
		case TB_N_NFD:
		case TB_N_NFKD:
			return run_unicode(w, s, n, op->code == TB_N_NFKD, false, out);
		case TB_N_STRIP:
			return run_strip(w, op->a, s, n, out);
		case TB_N_REPLACE:
			return run_replace(w, s, n, arg_s, op->s.size, arg_t, op->t.size, out);
		case TB_N_REPLACE_SPACES:
			return run_replace_spaces(w, s, n, arg_t, op->t.size, out);
		case TB_N_PREPEND:
			return run_prepend(w, arg_s, op->s.size, s, n, out);
		case TB_N_CHARSMAP:
			return dl_tok_charsmap(w, s, n, out);
		default:
			return run_map(w, op->code, s, n, out);
	}
}

dlm_status
dl_tok_normalize(dl_work *w, const char *text, size_t len)
{
	const dl_tok *tok = w->tok;

	w->text[w->now].len = 0;
	if (tok->n_normalize == 0)
		return dl_buf_put(w, &w->text[w->now], text, len);
	for (uint32_t i = 0; i < tok->n_normalize; i++)
	{
		dl_buf	   *out = &w->text[!w->now];

		out->len = 0;
		TRY(run_op(w, &tok->normalize[i], text, len, out));
		w->now = !w->now;
		text = BUF(out);
		len = out->len;
	}
	return DLM_OK;
}
