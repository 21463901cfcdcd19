/*
 * canvas.c - lay out rows, and look at the text around a slot.
 */
#include "constraint.h"
#include "status.h"

#include <math.h>
#include <string.h>

int64_t
dl_frame_tokens(const dl_frame *frame, const int *length)
{
	int64_t		n = 0;

	for (int g = 0; g <= frame->n_gaps; g++)
		n += frame->piece[g].n;
	for (int g = 0; g < frame->n_gaps; g++)
		n += length[g] + (frame->lone_space[g] ? frame->n_space : 0);
	return n;
}

static void
put_fixed(dl_canvas *c, const int32_t *ids, int n)
{
	if (n > 0)
		memcpy(c->ids + c->n, ids, (size_t) n * sizeof(int32_t));
	c->n += n;
}

static void
put_gap(dl_canvas *c, const dl_frame *frame, int gap, int length, int32_t mask)
{
	c->gap_first[gap] = c->n_slots;
	for (int i = 0; i < length; i++)
	{
		dl_slot    *slot = &c->slot[c->n_slots];

		memset(slot, 0, sizeof(*slot));
		slot->position = c->n;
		slot->gap = gap;
		slot->masked = true;
		slot->id = mask;
		slot->score = -INFINITY;
		if (i == 0)
			slot->rules |= frame->lone_space[gap] ? DL_RULE_NEVER_SPACED : frame->first_rule[gap];
		if (i == length - 1)
			slot->rules |= frame->last_rule;
		if (frame->answer && c->n_slots == 0)
			slot->rules |= DL_RULE_FIRST;
		c->live[c->n] = 1;
		c->ids[c->n++] = mask;
		c->n_slots++;
	}
}

dlm_status
dl_canvas_build(const dlm_model *model, const dl_frame *frame, const int *length, dl_arena *a,
				dl_canvas *out, dlm_error *err)
{
	size_t		tokens = (size_t) dl_frame_tokens(frame, length);
	size_t		slots = 0;
	char	   *p;

	for (int g = 0; g < frame->n_gaps; g++)
		slots += (size_t) length[g];
	memset(out, 0, sizeof(*out));
	/* slots first: they need the largest alignment */
	p = dl_arena_block(a, slots * sizeof(dl_slot) + tokens * (sizeof(int32_t) + 1) +
					   ((size_t) frame->n_gaps + 1) * sizeof(int));
	if (p == NULL)
		return dl_fail_memory(err);
	out->block = p;
	out->slot = (dl_slot *) p;
	p += slots * sizeof(dl_slot);
	out->gap_first = (int *) p;
	p += ((size_t) frame->n_gaps + 1) * sizeof(int);
	out->ids = (int32_t *) p;
	out->live = (uint8_t *) (p + tokens * sizeof(int32_t));
	memset(out->live, 0, tokens);
	out->frame = frame;
	out->n_gaps = frame->n_gaps;
	for (int g = 0; g <= frame->n_gaps; g++)
	{
		put_fixed(out, frame->piece[g].id, frame->piece[g].n);
		if (g == frame->n_gaps)
			break;
		if (frame->lone_space[g])
			put_fixed(out, frame->space, frame->n_space);
		put_gap(out, frame, g, length[g], (int32_t) model->config.mask_id);
	}
	out->gap_first[out->n_gaps] = out->n_slots;
	if (model->config.logit_shift == 0)
		return DLM_OK;
	if (out->slot[0].position == 0)
	{
		dl_canvas_free(out, a);
		return dl_fail(err, DLM_EUNSUPPORTED, "Put some text before the first gap.",
					   "this model cannot fill the first position of a row");
	}
	/* the output before each run predicts the run's first token (DESIGN 4) */
	for (int i = 0; i < out->n_slots; i++)
		out->live[out->slot[i].position - 1] = 1;
	return DLM_OK;
}

void
dl_canvas_free(dl_canvas *c, dl_arena *a)
{
	dl_arena_block_free(a, c->block);
	memset(c, 0, sizeof(*c));
}

void
dl_canvas_set(dl_canvas *c, int slot, int32_t id, bool masked, float score)
{
	dl_slot    *s = &c->slot[slot];

	s->id = id;
	s->masked = masked;
	s->score = score;
	c->ids[s->position] = id;
}

/* --------------------------------------------------------- banned texts */

#define WINDOW	4096			/* bytes looked at around a slot; longer banned texts are found in the final text */
#define PART	512

typedef struct window
{
	char		text[WINDOW];
	size_t		n;
} window;

/* Is the token at a row position part of the text around a slot: fixed text, if that counts, or a revealed slot? */
static bool
readable(const dl_canvas *c, int position, int next_slot, bool fixed_text)
{
	if (next_slot >= 0 && next_slot < c->n_slots && c->slot[next_slot].position == position)
		return !c->slot[next_slot].masked;
	return fixed_text;
}

/* The first row position of the readable text before a slot, at most `limit` bytes away. */
static int
text_start(const dlm_model *model, const dl_canvas *c, int slot, size_t limit, bool fixed_text)
{
	int			at = c->slot[slot].position;
	int			s = slot - 1;
	char		buf[PART];
	size_t		bytes = 0;

	while (at > 0 && bytes < limit && readable(c, at - 1, s, fixed_text))
	{
		at--;
		if (s >= 0 && c->slot[s].position == at)
			s--;
		bytes += dl_tok_bytes(model->tok, c->ids[at], at > 0 ? c->ids[at - 1] : -1, buf, sizeof(buf));
	}
	return at;
}

static void
append_token(const dlm_model *model, window *w, int32_t id, int32_t left)
{
	size_t		n = dl_tok_bytes(model->tok, id, left, w->text + w->n, WINDOW - w->n);

	w->n = n > WINDOW - w->n ? WINDOW : w->n + n;
}

/* Would this token, in this slot, complete a banned text? */
static bool
spells_ban(const dlm_model *model, const dl_canvas *c, int slot, int32_t id, const dl_bans *bans, bool fixed_text)
{
	size_t		reach = bans->longest < WINDOW / 4 ? bans->longest : WINDOW / 4;
	int			position = c->slot[slot].position;
	int			at = text_start(model, c, slot, reach, fixed_text);
	int			s = slot + 1;
	window		w;
	size_t		from,
				to,
				len;

	w.n = 0;
	for (int32_t left = at > 0 ? c->ids[at - 1] : -1; at < position; left = c->ids[at++])
		append_token(model, &w, c->ids[at], left);
	from = w.n;
	append_token(model, &w, id, position > 0 ? c->ids[position - 1] : -1);
	to = w.n;
	for (at = position + 1; at < c->n && w.n < to + reach && w.n < WINDOW && readable(c, at, s, fixed_text); at++)
	{
		append_token(model, &w, c->ids[at], at == position + 1 ? id : c->ids[at - 1]);
		if (s < c->n_slots && c->slot[s].position == at)
			s++;
	}
	return dl_bans_find(bans, w.text, w.n, from, to, &len) != SIZE_MAX;
}

bool
dl_canvas_allows(const dl_canvas *c, int slot, int32_t id)
{
	const dl_constraint *constraint = dl_slot_constraint(c, slot);
	int			gap = c->slot[slot].gap;
	int			first = c->gap_first[gap];

	return constraint == NULL ||
		dl_constraint_allows(constraint, c->frame->lone_space[gap], c->slot + first, c->gap_first[gap + 1] - first,
							 slot - first, id);
}

int
dl_canvas_pick(const dlm_model *model, const dl_canvas *c, int slot, const dl_bans *bans, bool fixed_text)
{
	const dl_choice *choice = &c->slot[slot].choice;
	const dl_constraint *constraint = dl_slot_constraint(c, slot);
	int			legal = choice->n;

	if (bans->n_text == 0 && constraint == NULL)
		return 0;
	for (int i = 0; i < choice->n; i++)
	{
		if (constraint != NULL && !dl_canvas_allows(c, slot, choice->pick[i].id))
			continue;
		if (bans->n_text == 0 || !spells_ban(model, c, slot, choice->pick[i].id, bans, fixed_text))
			return i;
		legal = legal < i ? legal : i;
	}
	return legal;
}
