/*
 * heal.c - a space typed before a gap (DESIGN 3, An infill answer).
 *
 * Vocabularies carry a word's space in the word's token. With `heal` the
 * typed space is taken out of the text before the gap, and the gap's first
 * token has to begin with one, and not be a mere space. Some tokens never carry a space (digits where
 * they stand alone): for them the space is a token of its own before the gap,
 * outside the canvas. Which of the two *forms* a gap takes is resolved once,
 * before anything is revealed, by what its first visible token would cost:
 *
 *		first form		log p of the best token that begins with a space, at the gap's first position
 *		second form		log p of the space token there, in a canvas one longer, plus log p of the
 *						best never-spaced token right after it
 *
 * both normalised over all tokens that are not banned; the second form wins
 * only if it is larger. Two rows answer for all gaps, one with every gap in its
 * first form and one with every gap in its second. Both go through one forward, and the row of the
 * first forms is also the first step of the denoising (or the first probe of
 * the lengths) if no gap changes its form. Ranges are resolved at their middle
 * length. Chance plays no part.
 */
#include "fill.h"
#include "status.h"

#include <string.h>

static bool
has_any(const uint8_t *set, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (set[i])
			return true;
	return false;
}

/* Does a typed space stand before the gap, and may it go either way? */
static bool
has_form(const dl_fill *f, int g)
{
	return (f->frame.first_rule[g] & DL_RULE_SPACED) != 0 && !(f->frame.settled && f->frame.settled[g]);
}

/* Gaps that have a second form; none if the row of the second forms would not fit the context. */
static int
count_forms(const dl_fill *f)
{
	const dl_vocab *v = f->bans->vocab;
	int			n = 0;
	int64_t		tokens = dl_frame_tokens(&f->frame, f->current);

	if (f->frame.n_space != 1 || !has_any(v->never_spaced, v->bytes) || dl_in_set(f->bans->never, f->frame.space[0]))
		return 0;
	for (int g = 0; g < f->frame.n_gaps; g++)
	{
		n += has_form(f, g);
		tokens += dl_length_at(&f->lengths[g], f->lengths[g].n - 1) - f->current[g];
	}
	return tokens + n <= (int64_t) f->task->session->model->config.context ? n : 0;
}

/* The first tokens of a gap in one of its forms: those of the form, or what its pattern leaves of them. */
static dlm_status
form_set(const dl_fill *f, int g, bool second, const uint8_t *tokens, const uint8_t **out, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	size_t		bytes = f->bans->vocab->bytes;
	size_t		n = (size_t) f->current[g];
	dl_slot    *slots;
	dl_states  *reach;
	uint8_t    *sets;

	*out = tokens;
	if (f->frame.constraint == NULL || f->frame.constraint[g] == NULL)
		return DLM_OK;
	slots = dl_arena_calloc(a, n, sizeof(*slots));
	reach = dl_arena_calloc(a, n + 1, sizeof(*reach));
	sets = dl_arena_calloc(a, n, bytes);
	if (slots == NULL || reach == NULL || sets == NULL)
		return dl_fail_memory(err);
	for (size_t i = 0; i < n; i++)
		slots[i].masked = true;
	dl_constraint_sets(f->frame.constraint[g], second, slots, (int) n, reach, sets, bytes);
	*out = sets;				/* the first slot's */
	return DLM_OK;
}

/* The row with these gaps one position longer: first positions are to hold the space token, second ones a never-spaced one. */
static dlm_status
open_form(dl_fill *f, dlm_error *err)
{
	dlm_session *s = f->task->session;
	uint8_t    *space = dl_arena_calloc(s->arena, f->bans->vocab->bytes, 1);
	const uint8_t **sets;
	dl_canvas	canvas;
	dlm_status	st;

	f->form = dl_arena_calloc(s->arena, 1, sizeof(*f->form));
	if (space == NULL || f->form == NULL)
		return dl_fail_memory(err);
	dl_put_in_set(space, f->frame.space[0]);
	for (int g = 0; g < f->frame.n_gaps; g++)
		f->current[g] += has_form(f, g);
	st = dl_canvas_build(s->model, &f->frame, f->current, s->arena, &canvas, err);
	for (int g = 0; g < f->frame.n_gaps; g++)
		f->current[g] -= has_form(f, g);
	if (st != DLM_OK)
		return st;
	sets = dl_arena_calloc(s->arena, (size_t) canvas.n_slots, sizeof(*sets));
	if (sets == NULL)
		return dl_fail_memory(err);
	st = dl_denoise_open(f->form, s, &f->policy, &canvas, 0, NULL, err);
	f->form_open = true;
	if (st != DLM_OK)
		return st;
	f->form->allowed = NULL;	/* its gaps hold a slot more than their patterns know of */
	for (int g = 0; g < f->frame.n_gaps && st == DLM_OK; g++)
		if (has_form(f, g))
		{
			int			first = f->form->canvas.gap_first[g];

			sets[first] = space;
			st = form_set(f, g, true, f->bans->vocab->never_spaced, &sets[first + 1], err);
		}
	f->form->sets = sets;
	return st;
}

static dlm_status
open_base(dl_fill *f, dlm_error *err)
{
	dlm_session *s = f->task->session;
	const uint8_t **sets;
	dl_denoise *row;
	dlm_status	st = dl_fill_combo(f, f->current, &f->form_base, err);

	if (st == DLM_OK)
		st = dl_fill_open_row(f, f->form_base, f->kv, err);
	if (st != DLM_OK)
		return st;
	row = &f->form_base->row;
	sets = dl_arena_calloc(s->arena, (size_t) row->canvas.n_slots, sizeof(*sets));
	if (sets == NULL)
		return dl_fail_memory(err);
	for (int g = 0; g < f->frame.n_gaps && st == DLM_OK; g++)
		if (has_form(f, g))
			st = form_set(f, g, false, f->bans->vocab->spaced_word, &sets[row->canvas.gap_first[g]], err);
	row->sets = sets;
	return st;
}

dlm_status
dl_forms_plan(dl_fill *f, bool *any, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	*any = false;
	if (f->forms_done)
		return DLM_OK;
	if (!f->form_open)
	{
		f->forms_done = count_forms(f) == 0;
		if (f->forms_done)
			return DLM_OK;
		st = open_form(f, err);
		if (st == DLM_OK)
			st = open_base(f, err);
	}
	*any = true;
	if (st == DLM_OK)
		st = dl_denoise_probe(&f->form_base->row, err);
	return st == DLM_OK ? dl_denoise_probe(f->form, err) : st;
}

void
dl_forms_absorb(dl_fill *f)
{
	dl_denoise *base = &f->form_base->row;
	bool		changed = false;

	dl_denoise_absorb(base);
	dl_denoise_absorb(f->form);
	if (!base->fresh)
		return;					/* guidance: the rows themselves come next */
	for (int g = 0; g < f->frame.n_gaps; g++)
	{
		const dl_canvas *longer = &f->form->canvas;
		const dl_slot *first = &longer->slot[longer->gap_first[g]];
		double		second_form;

		if (!has_form(f, g))
			continue;
		second_form = (double) first[0].set_logprob + (double) first[1].set_logprob;
		if (second_form > (double) base->canvas.slot[base->canvas.gap_first[g]].set_logprob)
			changed = f->frame.lone_space[g] = true;
	}
	base->sets = NULL;
	if (changed)
		dl_denoise_close(base);	/* it has another row now */
	dl_forms_close(f);
	f->forms_done = true;
}

void
dl_forms_close(dl_fill *f)
{
	if (f->form_open)
		dl_denoise_close(f->form);
	f->form_open = false;
}
