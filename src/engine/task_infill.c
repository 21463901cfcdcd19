/*
 * task_infill.c - fill the gaps of a user's text.
 *
 * The text is pieces with gaps between them (gaps.c). Each piece is tokenised
 * by itself, the first and the last together with what the infill template
 * puts around the text. The answer is the user's own text with each gap
 * replaced; the tokens of the pieces are only what the model reads. Gaps with
 * choices are decided apart (closed.c).
 */
#include "closed.h"
#include "gaps.h"
#include "status.h"
#include "template.h"

#include <string.h>

typedef struct infill
{
	dl_fill		fill;			/* all gaps; not started where some have choices */
	dl_closed  *closed;			/* or NULL */
} infill;

/* How a tokenizer family writes spaces, found out by asking it. */
typedef struct space_habits
{
	bool		words;			/* WordPiece: a space is no token, a word's first piece implies it */
	bool		folds;			/* a line break is written as a space is */
	bool		prefix;			/* a text's first word carries a space that was never typed */
} space_habits;

/* Where pieces of the row's text go. */
typedef struct writer
{
	dl_fill    *fill;
	dl_ids	   *ids;			/* of the current piece */
	bool		fresh;			/* the next text begins a text of its own */
	char	   *text;			/* not yet tokenised [n] */
	size_t		n;
	int			special_end;	/* ids of the piece up to and with the last special token */
	int			special_start;	/* ids before the first one, -1: there is none */
} writer;

/* --------------------------------------------------------------- habits */

static dlm_status
encode_equal(dlm_session *s, const char *x, const char *y, bool *equal, dlm_error *err)
{
	dl_ids		a = {0},
				b = {0};
	dl_mark		mark = dl_arena_mark(s->arena);
	dlm_status	st;

	st = dl_tok_encode(s->model->tok, (dlm_text) {x, strlen(x)}, DL_TOK_START, s->arena, &s->env, &a, err);
	if (st == DLM_OK)
		st = dl_tok_encode(s->model->tok, (dlm_text) {y, strlen(y)}, DL_TOK_START, s->arena, &s->env, &b, err);
	*equal = st == DLM_OK && a.n == b.n && (a.n == 0 || memcmp(a.id, b.id, (size_t) a.n * sizeof(int32_t)) == 0);
	dl_arena_rewind(s->arena, mark);
	return st;
}

static dlm_status
find_habits(const dl_fill *f, space_habits *out, dlm_error *err)
{
	dlm_session *s = f->task->session;
	const dl_vocab *v = f->bans->vocab;
	int32_t		ids[4];
	char		byte[1];

	memset(out, 0, sizeof(*out));
	out->words = dl_tok_space_ids(s->model->tok, ids) == 0;
	for (int32_t id = 0; id < v->rows; id++)
		if (dl_in_set(v->spaced, id) && !dl_in_set(v->silent, id))
		{
			out->prefix = dl_tok_bytes(s->model->tok, id, -1, byte, 1) == 0 || byte[0] != ' ';
			break;
		}
	return encode_equal(s, "a\nb", "a b", &out->folds, err);
}

/* ---------------------------------------------------------------- pieces */

static dlm_status
flush(writer *w, dlm_error *err)
{
	dlm_session *s = w->fill->task->session;
	dlm_text	text = {w->text, w->n};
	dlm_status	st;

	if (w->n == 0)
		return DLM_OK;
	st = dl_tok_encode(s->model->tok, text, w->fresh ? DL_TOK_START : DL_TOK_CONTINUE, s->arena, &s->env, w->ids, err);
	w->n = 0;
	w->fresh = false;
	return st;
}

static void
put_text(writer *w, const char *s, size_t n)
{
	if (n > 0)
		memcpy(w->text + w->n, s, n);
	w->n += n;
}

/* Template text: in the model's own, special tokens are tokens. */
static dlm_status
put_template(writer *w, dlm_text text, bool own, dlm_error *err)
{
	dlm_session *s = w->fill->task->session;

	for (size_t at = 0; at < text.len;)
	{
		dlm_text	rest = {text.data + at, text.len - at};
		size_t		len = 0;
		int32_t		id = own ? dl_tok_special_at(s->model->tok, rest, &len) : -1;
		dlm_status	st;

		if (id < 0 || len == 0)
		{
			put_text(w, rest.data, 1);
			at++;
			continue;
		}
		st = flush(w, err);
		if (w->special_start < 0)
			w->special_start = w->ids->n;
		if (st == DLM_OK)
			st = dl_ids_append(w->ids, s->arena, &id, 1, err);
		if (st != DLM_OK)
			return st;
		w->fresh = true;
		w->special_end = w->ids->n;
		at += len;
	}
	return DLM_OK;
}

/* The template's only hole: {text}, or {prompt} in a user's. */
static dlm_status
split_template(dlm_text tmpl, bool own, dlm_text *before, dlm_text *after, dlm_error *err)
{
	static const char *const holes[] = {"{text}", "{prompt}"};

	for (int i = 0; i < 2; i++)
	{
		size_t		n = strlen(holes[i]);
		const char *hit = tmpl.len ? memmem(tmpl.data, tmpl.len, holes[i], n) : NULL;

		if (hit == NULL)
			continue;
		*before = (dlm_text) {tmpl.data, (size_t) (hit - tmpl.data)};
		*after = (dlm_text) {hit + n, tmpl.len - before->len - n};
		if (after->len > 0 && memmem(after->data, after->len, holes[i], n) != NULL)
			break;
		return DLM_OK;
	}
	if (own)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged template in the model: it needs {text} once");
	return dl_fail(err, DLM_EINVAL, "", "the template of an infill needs \"{prompt}\" or \"{text}\" once");
}

static bool
is_word_end(unsigned char c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/*
 * What may stand first in the gap after this piece, and how many bytes at the
 * piece's end are left to the gap's first token (heal.c).
 */
static size_t
gap_rule(dl_fill *f, int g, const space_habits *habits, bool at_start)
{
	dlm_text	piece = f->printed[g];
	char		last = piece.len ? piece.data[piece.len - 1] : 0;
	bool		typed = last == ' ' || (habits->folds && last >= '\t' && last <= '\r');
	unsigned   *rule = &f->frame.first_rule[g];

	f->strip[g] = habits->words;
	if (f->task->options->boundary == DLM_BOUNDARY_PLAIN)
		return 0;
	if (typed)
	{
		*rule = habits->words ? DL_RULE_WORD_START : DL_RULE_SPACED;
		f->strip[g] = f->typed[g] = true;
		return 1;
	}
	if (habits->words && (piece.len ? !is_word_end((unsigned char) last) : at_start))
		*rule = DL_RULE_WORD_START;
	else if (habits->prefix && piece.len == 0 && at_start)
		*rule = DL_RULE_SPACED;
	else
		*rule = DL_RULE_UNSPACED;
	return 0;
}

/* The row's text before the first piece. */
static dlm_status
write_front(writer *w, dlm_text before, bool own, dlm_error *err)
{
	const dlm_model *model = w->fill->task->session->model;
	dlm_status	st = DLM_OK;

	w->ids = &w->fill->frame.piece[0];
	if (!own)
		st = dl_ids_append(w->ids, w->fill->task->session->arena, model->settings.begin, model->settings.n_begin, err);
	w->special_end = w->ids->n;
	return st == DLM_OK ? put_template(w, before, own, err) : st;
}

/* What follows the last piece, which is still in the buffer. */
static dlm_status
write_back(writer *w, dlm_text after, bool own, dlm_error *err)
{
	const dlm_model *model = w->fill->task->session->model;
	dlm_status	st;

	w->special_start = -1;
	st = put_template(w, after, own, err);
	if (st == DLM_OK)
		st = flush(w, err);
	if (w->special_start < 0)
		w->special_start = w->ids->n;
	if (st == DLM_OK && !own)
		st = dl_ids_append(w->ids, w->fill->task->session->arena, model->settings.end, model->settings.n_end, err);
	return st;
}

/* Tokenise everything; *front and *back get the tokens at the row's two ends that overflow may not take. */
static dlm_status
write_pieces(dl_fill *f, dlm_text before, dlm_text after, bool own, int *front, int *back, dlm_error *err)
{
	int			n = f->frame.n_gaps;
	size_t		size = before.len + after.len + 1;
	writer		w = {.fill = f, .fresh = true};
	space_habits habits;
	dlm_status	st = find_habits(f, &habits, err);

	for (int g = 0; g <= n; g++)
		size += f->printed[g].len;
	w.text = dl_arena_alloc(f->task->session->arena, size);
	if (st == DLM_OK && w.text == NULL)
		st = dl_fail_memory(err);
	if (st == DLM_OK)
		st = write_front(&w, before, own, err);
	*front = w.special_end;
	for (int g = 0; g < n && st == DLM_OK; g++)
	{
		size_t		left = gap_rule(f, g, &habits, w.fresh && w.n == 0);

		w.ids = &f->frame.piece[g];
		put_text(&w, f->printed[g].data, f->printed[g].len - left);
		st = flush(&w, err);
		w.fresh = false;
	}
	if (st != DLM_OK)
		return st;
	w.ids = &f->frame.piece[n];
	put_text(&w, f->printed[n].data, f->printed[n].len);
	st = write_back(&w, after, own, err);
	*back = w.ids->n - w.special_start;
	return st;
}

/* ------------------------------------------------------------------ open */

/* The row with all gaps at their largest has to fit; truncation takes the text farthest from the gaps. */
static dlm_status
check_fit(dl_fill *f, int front, int back, dlm_error *err)
{
	int			n = f->frame.n_gaps;
	int64_t		context = f->task->session->model->config.context;
	dl_ids	   *first = &f->frame.piece[0],
			   *last = &f->frame.piece[n];
	int64_t		tokens = 0;
	int64_t		spare;

	for (int g = 0; g <= n; g++)
		tokens += f->frame.piece[g].n + (g < n ? dl_length_at(&f->lengths[g], f->lengths[g].n - 1) : 0) +
			(g < n && f->frame.lone_space && f->frame.lone_space[g]);
	if (tokens <= context)
		return DLM_OK;
	spare = (int64_t) (first->n - front) + (last->n - back);
	if (f->task->options->overflow != DLM_OVERFLOW_TRUNCATE || tokens - spare > context)
		return dl_fail(err, DLM_ETOOLONG, "Shorten the text or its gaps, or use \"on_overflow\".",
					   "the template has %lld tokens with its gaps, the model takes %lld",
					   (long long) tokens, (long long) context);
	while (tokens > context && first->n > front)
	{
		int			cut = tokens - context < first->n - front ? (int) (tokens - context) : first->n - front;

		memmove(first->id + front, first->id + front + cut, (size_t) (first->n - front - cut) * sizeof(int32_t));
		first->n -= cut;
		tokens -= cut;
	}
	if (tokens > context)
	{
		int			cut = (int) (tokens - context);

		if (back > 0)
			memmove(last->id + last->n - back - cut, last->id + last->n - back, (size_t) back * sizeof(int32_t));
		last->n -= cut;
	}
	return DLM_OK;
}

static dlm_status
alloc_frame(dl_fill *f, const dl_gaps *gaps, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	size_t		n = (size_t) gaps->n;

	f->frame.n_gaps = gaps->n;
	f->frame.last_rule = DL_RULE_LAST;
	f->frame.piece = dl_arena_calloc(a, n + 1, sizeof(dl_ids));
	f->frame.first_rule = dl_arena_calloc(a, n, sizeof(unsigned));
	f->strip = dl_arena_calloc(a, n, sizeof(bool));
	f->typed = dl_arena_calloc(a, n, sizeof(bool));
	f->lengths = dl_arena_calloc(a, n, sizeof(dl_lengths));
	f->name = dl_arena_calloc(a, n, sizeof(dlm_text));
	f->printed = gaps->piece;
	if (!f->frame.piece || !f->frame.first_rule || !f->strip || !f->typed || !f->lengths || !f->name)
		return dl_fail_memory(err);
	for (int g = 0; g < gaps->n; g++)
	{
		f->lengths[g] = (dl_lengths) {.first = gaps->gap[g].min, .n = gaps->gap[g].max - gaps->gap[g].min + 1};
		f->name[g] = gaps->gap[g].name;
	}
	return DLM_OK;
}

/* The open gaps of a row with choices begin at the middle of their lengths, as in any fill. */
static dlm_status
start_closed(dl_fill *f, dlm_error *err)
{
	f->current = dl_arena_calloc(f->task->session->arena, (size_t) f->frame.n_gaps, sizeof(int));
	if (f->current == NULL)
		return dl_fail_memory(err);
	dl_lengths_middle(f);
	return DLM_OK;
}

static dlm_status
infill_open(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	infill	   *state = dl_arena_calloc(s->arena, 1, sizeof(*state));
	dl_fill    *f = &state->fill;
	dl_gaps		gaps;
	bool		own = !task->options->has_template;
	dlm_text	before = {"", 0},
				after = {"", 0};
	int			front = 0,
				back = 0;
	dlm_status	st;

	if (state == NULL)
		return dl_fail_memory(err);
	f->task = task;
	task->state = state;
	st = dl_gaps_parse(task->request->input, s->arena, &gaps, err);
	if (st == DLM_OK)
		st = split_template(own ? s->model->settings.infill : task->options->tmpl, own, &before, &after, err);
	if (st == DLM_OK)
		st = alloc_frame(f, &gaps, err);
	if (st == DLM_OK)
		st = dl_bans_get(task, false, &f->bans, err);
	if (st == DLM_OK)
		st = write_pieces(f, before, after, own, &front, &back, err);
	if (st == DLM_OK)
		st = dl_gap_rules_apply(f, err);
	if (st == DLM_OK)
		st = dl_closed_open(f, &state->closed, err);
	if (st == DLM_OK)
		st = check_fit(f, front, back, err);
	if (st != DLM_OK)
		return st;
	return state->closed == NULL ? dl_fill_start(f, err) : start_closed(f, err);
}

static dlm_status
infill_plan(dl_task *task, dlm_error *err)
{
	infill	   *state = task->state;

	return state->closed ? dl_closed_plan(state->closed, err) : dl_fill_plan(&state->fill, err);
}

static dlm_status
infill_absorb(dl_task *task, dlm_error *err)
{
	infill	   *state = task->state;

	return state->closed ? dl_closed_absorb(state->closed, err) : dl_fill_absorb(&state->fill, err);
}

static void
infill_close(dl_task *task)
{
	infill	   *state = task->state;

	if (state->closed)
		dl_closed_close(state->closed);
	dl_fill_close(&state->fill);
}

const dl_task_ops dl_task_infill = {
	.name = "infill",
	.open = infill_open,
	.plan = infill_plan,
	.absorb = infill_absorb,
	.close = infill_close,
};
