/*
 * repair.c - the text of a decoded row, and what must hold of it.
 *
 * Tokens are chosen one by one; what only their concatenation shows is
 * checked at the end: the text is UTF-8, holds no banned text, and a gap
 * neither ends in white space nor holds a line break. Where something fails,
 * the least sure of the tokens involved takes its next candidate, and all is
 * checked again. The last candidate is a token that is valid by itself, so
 * broken characters always come to an end.
 */
#include "fill.h"
#include "status.h"

#include <string.h>


/* A gap's bytes, and where each slot's begin. */
typedef struct gap_bytes
{
	char	   *text;
	size_t		n;
	size_t	   *start;			/* [slots + 1] */
	int			first,			/* slot */
				slots;
	size_t		strip;			/* bytes at the front that are not printed */
} gap_bytes;

static size_t
slot_bytes(const dl_fill *f, const dl_combo *c, int slot, char *buf, size_t cap)
{
	const dl_canvas *canvas = &c->row.canvas;
	int			at = canvas->slot[slot].position;
	/* an answer is a text of its own; a gap goes on after what stands before it */
	int32_t		left = f->answer && slot == 0 ? -1 : at > 0 ? canvas->ids[at - 1] : -1;

	return dl_tok_bytes(f->task->session->model->tok, canvas->slot[slot].id, left, buf, cap);
}

/* Slots of a gap that are kept. */
static int
kept_slots(const dl_combo *c, int gap)
{
	const dl_canvas *canvas = &c->row.canvas;
	int			end = canvas->gap_first[gap + 1] < c->kept ? canvas->gap_first[gap + 1] : c->kept;

	return end > canvas->gap_first[gap] ? end - canvas->gap_first[gap] : 0;
}

static dlm_status
read_gap(const dl_fill *f, const dl_combo *c, int gap, gap_bytes *out, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	size_t		total = 0;

	out->first = c->row.canvas.gap_first[gap];
	out->slots = kept_slots(c, gap);
	out->start = dl_arena_calloc(a, (size_t) out->slots + 1, sizeof(size_t));
	if (out->start == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < out->slots; i++)
	{
		out->start[i] = total;
		total += slot_bytes(f, c, out->first + i, NULL, 0);
	}
	out->start[out->slots] = out->n = total;
	out->text = dl_arena_alloc(a, total + 1);
	if (out->text == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < out->slots; i++)
		slot_bytes(f, c, out->first + i, out->text + out->start[i], total - out->start[i]);
	out->text[total] = '\0';
	out->strip = f->strip[gap] && total > 0 && out->text[0] == ' ';
	return DLM_OK;
}

/* Where the first of the stop texts begins; n if none does. */
static size_t
stop_at(const dlm_options *o, const char *s, size_t n)
{
	size_t		best = n;

	for (int i = 0; i < o->n_stop; i++)
	{
		const char *hit = memmem(s, best < n ? best + o->stop[i].len - 1 < n ? best + o->stop[i].len - 1 : n : n,
								 o->stop[i].data, o->stop[i].len);

		if (hit != NULL && (size_t) (hit - s) < best)
			best = (size_t) (hit - s);
	}
	return best;
}

/* Cut at the first stop text: the bytes after it, and the slots that begin there. */
static void
cut_gap(const dl_fill *f, gap_bytes *b)
{
	size_t		cut = b->strip + stop_at(f->task->options, b->text + b->strip, b->n - b->strip);

	while (b->slots > 0 && b->start[b->slots - 1] >= cut && cut < b->n)
		b->slots--;
	b->n = cut;
	b->text[cut] = '\0';
}

dlm_status
dl_fill_gap_text(dl_fill *f, const dl_combo *c, int gap, dlm_text *text, int *tokens, dlm_error *err)
{
	gap_bytes	b;
	dlm_status	st = read_gap(f, c, gap, &b, err);

	if (st != DLM_OK)
		return st;
	cut_gap(f, &b);
	*text = (dlm_text) {b.text + b.strip, b.n - b.strip};
	*tokens = b.slots;
	return DLM_OK;
}

double
dl_fill_gap_logprob(const dl_combo *c, int gap, int tokens)
{
	const dl_slot *slot = c->row.canvas.slot + c->row.canvas.gap_first[gap];
	double		sum = 0;

	for (int i = 0; i < tokens; i++)
		sum += (double) slot[i].score;
	return tokens > 0 ? sum / tokens : (double) slot[0].score;
}

/* ---------------------------------------------------------------- faults */

/* Bytes [*from, *to) of the gap's text that must change; false: all is well. */
typedef struct fault
{
	size_t		from,
				to;
	bool		broken;			/* no UTF-8 */
	const char *what;
} fault;

/* A banned text across the gap and the printed text around it. Only what overlaps the gap counts. */
static dlm_status
find_ban(const dl_fill *f, int gap, const gap_bytes *b, bool *found, fault *out, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	dlm_text	left = f->printed[gap],
				right = f->printed[gap + 1];
	size_t		reach = f->bans->longest;
	size_t		before = left.len < reach ? left.len : reach;
	size_t		after = right.len < reach ? right.len : reach;
	size_t		n = b->n - b->strip;
	size_t		at,
				len = 0;
	char	   *s = dl_arena_alloc(a, before + n + after + 1);

	if (s == NULL)
		return dl_fail_memory(err);
	if (before > 0)
		memcpy(s, left.data + left.len - before, before);
	memcpy(s + before, b->text + b->strip, n);
	if (after > 0)
		memcpy(s + before + n, right.data, after);
	at = dl_bans_find(f->bans, s, before + n + after, before, before + n, &len);
	*found = at != SIZE_MAX;
	if (*found)
	{
		out->from = (at > before ? at - before : 0) + b->strip;
		out->to = at + len - before + b->strip;
		out->what = "the answer cannot be written without a banned text";
	}
	return DLM_OK;
}

/* The broken character at the front of s[0, n): at most the bytes that its first one announces. */
static size_t
broken_length(const char *s, size_t n)
{
	unsigned char c = (unsigned char) s[0];
	size_t		len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;

	return len < n ? len : n;
}

/* Is a gap's text one that its rule does not let pass? */
static bool
breaks_rule(const dl_fill *f, int gap, dlm_text text, fault *out)
{
	const dlm_gap_rule *rule = dl_gap_rule_of(f, gap);

	if (rule == NULL)
		return false;
	out->what = "the model writes no text here that the gap's pattern leaves";
	if (f->frame.constraint != NULL && f->frame.constraint[gap] != NULL &&
		!dl_pattern_matches(f->frame.constraint[gap]->pattern, text))
		return true;
	out->what = "the model writes no text here that is not rejected";
	for (int i = 0; i < rule->n_reject; i++)
		if (rule->reject[i].len == text.len && memcmp(rule->reject[i].data, text.data, text.len) == 0)
			return true;
	return false;
}

static dlm_status
find_fault(const dl_fill *f, int gap, const gap_bytes *b, bool *found, fault *out, dlm_error *err)
{
	const char *s = b->text + b->strip;
	size_t		n = b->n - b->strip;
	size_t		valid = dl_utf8_valid(s, n);
	size_t		line;

	*found = true;
	out->broken = valid < n;
	out->what = "the model writes no valid text here";
	if (valid < n)
	{
		out->from = b->strip + valid;
		out->to = out->from + broken_length(s + valid, n - valid);
		return DLM_OK;
	}
	if (!f->answer && dl_ends_in_space(s, n))
	{
		out->from = b->n - 1;
		out->to = b->n;
		return DLM_OK;
	}
	line = f->answer || f->task->options->multiline ? SIZE_MAX : dl_find_line_break(s, n);
	if (line != SIZE_MAX)
	{
		out->from = b->strip + line;
		out->to = out->from + 1;
		return DLM_OK;
	}
	*found = breaks_rule(f, gap, (dlm_text) {s, n}, out);
	if (*found)
	{
		out->from = b->strip;
		out->to = b->n;
	}
	return !*found && f->bans->n_text > 0 ? find_ban(f, gap, b, found, out, err) : DLM_OK;
}

/* The next candidate that a slot has not held yet, the one that is valid by itself last; false: there is none. */
static bool
next_pick(const dl_canvas *canvas, int slot, dl_pick *out)
{
	const dl_slot *s = &canvas->slot[slot];
	const dl_choice *choice = &s->choice;
	int			at = s->repairs;

	while (at < choice->n && (choice->pick[at].id == s->id || !dl_canvas_allows(canvas, slot, choice->pick[at].id)))
		at++;
	if (at < choice->n)
		*out = choice->pick[at];
	else if (at == choice->n && choice->whole.id >= 0 && dl_canvas_allows(canvas, slot, choice->whole.id))
		*out = choice->whole;
	else
		return false;
	return true;
}

/*
 * The least sure slot that has bytes in the fault takes its next candidate.
 * Every repair moves a slot on in its finite list. Of broken characters some
 * token is always not valid by itself, and only such tokens are replaced.
 */
static bool
repair_once(const dl_fill *f, dl_combo *c, const gap_bytes *b, const fault *bad)
{
	dl_canvas  *canvas = &c->row.canvas;
	int			worst = -1;
	dl_pick		pick;

	for (int i = 0; i < b->slots; i++)
	{
		const dl_slot *s = &canvas->slot[b->first + i];

		if (b->start[i + 1] <= bad->from || b->start[i] >= bad->to || !next_pick(canvas, b->first + i, &pick) ||
			(bad->broken && dl_in_set(f->bans->vocab->whole, s->id)))
			continue;
		if (worst < 0 || s->score < canvas->slot[worst].score)
			worst = b->first + i;
	}
	if (worst < 0)
		return false;
	next_pick(canvas, worst, &pick);
	while (canvas->slot[worst].repairs < canvas->slot[worst].choice.n &&
		   canvas->slot[worst].choice.pick[canvas->slot[worst].repairs].id != pick.id)
		canvas->slot[worst].repairs++;
	canvas->slot[worst].repairs++;
	dl_denoise_replace(&c->row, worst, pick);
	return true;
}

/* Slots before the first stop token; a masked one stands behind a stop token. */
static int
count_kept(const dl_fill *f, const dl_combo *c)
{
	const dl_canvas *canvas = &c->row.canvas;
	int			n = 0;

	while (n < canvas->n_slots && !canvas->slot[n].masked &&
		   !(f->bans->stop && dl_in_set(f->bans->stop, canvas->slot[n].id)))
		n++;
	return n;
}

/* Mean final log-probability of what is kept; of the first slot if nothing is. */
static dlm_status
score_kept(dl_fill *f, dl_combo *c, dlm_error *err)
{
	double		sum = 0;
	int			n = 0;

	for (int g = 0; g < f->frame.n_gaps; g++)
	{
		gap_bytes	b;
		dlm_status	st = read_gap(f, c, g, &b, err);

		if (st != DLM_OK)
			return st;
		cut_gap(f, &b);
		for (int i = 0; i < b.slots; i++, n++)
			sum += (double) c->row.canvas.slot[b.first + i].score;
	}
	c->logprob = n > 0 ? sum / n : (double) c->row.canvas.slot[0].score;
	return DLM_OK;
}

dlm_status
dl_fill_repair(dl_fill *f, dl_combo *c, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	dl_mark		mark = dl_arena_mark(a);
	dlm_status	st;

	c->kept = count_kept(f, c);
	for (int g = 0; g < f->frame.n_gaps;)
	{
		gap_bytes	b;
		fault		bad;
		bool		found = false;

		st = read_gap(f, c, g, &b, err);
		if (st == DLM_OK)
		{
			cut_gap(f, &b);
			st = find_fault(f, g, &b, &found, &bad, err);
		}
		if (st != DLM_OK)
			return st;
		if (!found)
		{
			g++;
			continue;
		}
		if (!repair_once(f, c, &b, &bad))
			return dl_fail(err, DLM_EINVAL, "Ban less, or allow more tokens.", "%s", bad.what);
		dl_arena_rewind(a, mark);
		c->kept = count_kept(f, c);
		g = 0;
	}
	st = score_kept(f, c, err);
	dl_arena_rewind(a, mark);
	return st;
}
