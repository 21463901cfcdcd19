/*
 * token_pre.c - pre-tokenisation: cut the normalised text into pre-tokens.
 *
 * Operations run one after the other over all spans of the current text; one
 * that changes the text (a prefix space, Metaspace) writes the other of two
 * buffers. Spans are never empty.
 *
 * DL_TOK_CONTINUE: the piece that begins the caller's text gets no dummy
 * space in front. Where a splitter removed white space before it, it does
 * not begin the text any more, and the prefix stands for that space.
 */
#include "token_impl.h"

static bool
begins_with(const char *s, size_t n, const char *prefix, size_t len)
{
	return n >= len && memcmp(s, prefix, len) == 0;
}

/*
 * Turn alternating gaps and matches of one span into spans as `behavior`
 * says. A part joins its neighbour by growing the last span written.
 */
typedef struct cutter
{
	dl_work    *w;
	dl_spans   *out;
	uint32_t	behavior;
	bool		any,			/* a part was seen */
				matched;		/* ... and it was a match */
	size_t		held_start,		/* TB_B_NEXT: a match that waits for what follows */
				held_end;
	bool		held;
} cutter;

static dlm_status
cut_release(cutter *c)
{
	if (!c->held)
		return DLM_OK;
	c->held = false;
	return dl_spans_put(c->w, c->out, c->held_start, c->held_end);
}

static dlm_status
cut_part(cutter *c, size_t start, size_t end, bool match)
{
	bool		joins = false;

	switch (c->behavior)
	{
		case TB_B_REMOVED:
			return match ? DLM_OK : dl_spans_put(c->w, c->out, start, end);
		case TB_B_PREVIOUS:
			joins = match && c->any && !c->matched;
			break;
		case TB_B_CONTIGUOUS:
			joins = c->any && match == c->matched;
			break;
		case TB_B_NEXT:
			if (!match && c->held)
			{
				start = c->held_start;
				c->held = false;
			}
			TRY(cut_release(c));
			if (match)
			{
				c->held = true;
				c->held_start = start;
				c->held_end = end;
				return DLM_OK;
			}
			break;
		default:
			break;
	}
	c->any = true;
	c->matched = match;
	if (joins)
	{
		SPANS(c->out)[c->out->n - 1].end = (uint32_t) end;
		return DLM_OK;
	}
	return dl_spans_put(c->w, c->out, start, end);
}

static dlm_status
split_span(dl_work *w, const tb_op *op, const char *text, dl_span span, dl_spans *out)
{
	cutter		c = {.w = w, .out = out, .behavior = op->b};
	const char *s = text + span.start;
	size_t		n = span.end - span.start,
				done = 0,
				start,
				end;

	while (dl_pattern_find(op->a, w->tok->pool + op->s.offset, op->s.size, s, n, done, &start, &end))
	{
		if (start > done)
			TRY(cut_part(&c, span.start + done, span.start + start, op->c));
		TRY(cut_part(&c, span.start + start, span.start + end, !op->c));
		TRY(dl_work_poll(w));
		done = end;
	}
	if (done < n)
		TRY(cut_part(&c, span.start + done, span.end, op->c));
	return cut_release(&c);
}

static dlm_status
run_split(dl_work *w, const tb_op *op)
{
	dl_spans   *in = &w->spans[w->now],
			   *out = &w->spans[!w->now];

	out->n = 0;
	for (size_t i = 0; i < in->n; i++)
		TRY(split_span(w, op, BUF(&w->text[w->now]), SPANS(in)[i], out));
	/* the text stays: swap only the spans */
	{
		dl_spans	swap = *in;

		*in = *out;
		*out = swap;
	}
	return DLM_OK;
}

/* Does the span begin the text that the caller gave? */
static bool
begins_text(const dl_work *w, dl_span span)
{
	return span.start < w->zero_len;
}

/* ByteLevel's add_prefix_space: a space before every span that does not begin with one. */
static dlm_status
run_prefix_space(dl_work *w)
{
	dl_spans   *in = &w->spans[w->now],
			   *out = &w->spans[!w->now];
	dl_buf	   *from = &w->text[w->now],
			   *to = &w->text[!w->now];
	size_t		zero = 0;

	out->n = 0;
	to->len = 0;
	for (size_t i = 0; i < in->n; i++)
	{
		dl_span		span = SPANS(in)[i];
		size_t		start = to->len;

		if (BUF(from)[span.start] != ' ' && !(w->mode == DL_TOK_CONTINUE && begins_text(w, span)))
			TRY(dl_buf_put(w, to, " ", 1));
		TRY(dl_buf_put(w, to, BUF(from) + span.start, span.end - span.start));
		TRY(dl_spans_put(w, out, start, to->len));
		if (begins_text(w, span))
			zero = start + 1;
	}
	w->zero_len = zero;
	w->now = !w->now;
	return DLM_OK;
}

/* Copy a span with each space replaced. */
static dlm_status
replace_spaces(dl_work *w, dl_buf *to, const char *s, size_t n, const char *mark, size_t mark_len)
{
	while (n > 0)
	{
		const char *hit = memchr(s, ' ', n);
		size_t		plain = hit ? (size_t) (hit - s) : n;

		TRY(dl_buf_put(w, to, s, plain));
		if (hit == NULL)
			break;
		TRY(dl_buf_put(w, to, mark, mark_len));
		TRY(dl_work_poll(w));
		s += plain + 1;
		n -= plain + 1;
	}
	return DLM_OK;
}

static dlm_status
run_metaspace(dl_work *w, const tb_op *op)
{
	dl_spans   *in = &w->spans[w->now],
			   *out = &w->spans[!w->now];
	dl_buf	   *from = &w->text[w->now],
			   *to = &w->text[!w->now];
	const char *mark = w->tok->pool + op->s.offset;
	size_t		mark_len = op->s.size,
				zero = 0;
	tb_op		cut = {.code = TB_P_SPLIT, .a = TB_M_LITERAL, .b = TB_B_NEXT, .s = op->s};

	out->n = 0;
	to->len = 0;
	for (size_t i = 0; i < in->n; i++)
	{
		dl_span		span = SPANS(in)[i];
		const char *s = BUF(from) + span.start;
		size_t		n = span.end - span.start;
		bool		first = begins_text(w, span);
		bool		prepend = op->a == TB_ALWAYS || (op->a == TB_FIRST && first);
		dl_span		made = {(uint32_t) to->len, 0};

		if (w->mode == DL_TOK_CONTINUE && first)
			prepend = false;
		if (prepend && s[0] != ' ' && !begins_with(s, n, mark, mark_len))
			TRY(dl_buf_put(w, to, mark, mark_len));
		TRY(replace_spaces(w, to, s, n, mark, mark_len));
		made.end = (uint32_t) to->len;
		if (op->b)
			TRY(split_span(w, &cut, BUF(to), made, out));
		else
			TRY(dl_spans_put(w, out, made.start, made.end));
		if (first)
			zero = made.start + 1;
	}
	w->zero_len = zero;
	w->now = !w->now;
	return DLM_OK;
}

dlm_status
dl_tok_split(dl_work *w, size_t start, size_t end)
{
	const dl_tok *tok = w->tok;

	w->spans[w->now].n = 0;
	TRY(dl_spans_put(w, &w->spans[w->now], start, end));
	for (uint32_t i = 0; i < tok->n_split; i++)
	{
		const tb_op *op = &tok->split[i];

		switch (op->code)
		{
			case TB_P_SPLIT:
				TRY(run_split(w, op));
				break;
			case TB_P_PREFIX_SPACE:
				TRY(run_prefix_space(w));
				break;
			default:
				TRY(run_metaspace(w, op));
		}
	}
	return DLM_OK;
}
