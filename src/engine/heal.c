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
 * only if it is larger. All rows go through one forward, and the row of the
 * first forms is also the first step of the denoising (or the first probe of
 * the lengths) if no gap changes its form. Ranges are resolved at their middle
 * length, with the other gaps in their first form. Chance plays no part.
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

/* Gaps that have a second form; none if their rows would not fit the context. */
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
		n += (f->frame.first_rule[g] & DL_RULE_SPACED) != 0;
		tokens += dl_length_at(&f->lengths[g], f->lengths[g].n - 1) - f->current[g];
	}
	return tokens + n <= (int64_t) f->task->session->model->config.context ? n : 0;
}

/* The row with gap g one position longer: its first position is to hold the space token, its second a never-spaced one. */
static dlm_status
open_form(dl_fill *f, int g, const uint8_t *space, dl_denoise *row, dlm_error *err)
{
	dlm_session *s = f->task->session;
	const uint8_t **sets;
	dl_canvas	canvas;
	dlm_status	st;
	int			first;

	f->current[g]++;
	st = dl_canvas_build(s->model, &f->frame, f->current, s->arena, &canvas, err);
	f->current[g]--;
	if (st != DLM_OK)
		return st;
	first = canvas.gap_first[g];
	sets = dl_arena_calloc(s->arena, (size_t) canvas.n_slots, sizeof(*sets));
	st = dl_denoise_open(row, s, &f->policy, &canvas, 0, NULL, err);
	if (st != DLM_OK)
		return st;
	if (sets == NULL)
		return dl_fail_memory(err);
	sets[first] = space;
	sets[first + 1] = f->bans->vocab->never_spaced;
	row->sets = sets;
	return DLM_OK;
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
	for (int g = 0; g < f->frame.n_gaps; g++)
		if (f->frame.first_rule[g] & DL_RULE_SPACED)
			sets[row->canvas.gap_first[g]] = f->bans->vocab->spaced_word;
	row->sets = sets;
	return DLM_OK;
}

static dlm_status
open_forms(dl_fill *f, int n, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	uint8_t    *space = dl_arena_calloc(a, f->bans->vocab->bytes, 1);
	dlm_status	st = DLM_OK;

	f->form = dl_arena_calloc(a, (size_t) n, sizeof(*f->form));
	f->form_gap = dl_arena_calloc(a, (size_t) n, sizeof(int));
	if (space == NULL || f->form == NULL || f->form_gap == NULL)
		return dl_fail_memory(err);
	dl_put_in_set(space, f->frame.space[0]);
	for (int g = 0; g < f->frame.n_gaps && st == DLM_OK; g++)
	{
		if (!(f->frame.first_rule[g] & DL_RULE_SPACED))
			continue;
		f->form_gap[f->n_forms] = g;
		st = open_form(f, g, space, &f->form[f->n_forms++], err);
	}
	return st == DLM_OK ? open_base(f, err) : st;
}

dlm_status
dl_forms_plan(dl_fill *f, bool *any, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	*any = false;
	if (f->forms_done)
		return DLM_OK;
	if (f->n_forms == 0)
	{
		int			n = count_forms(f);

		f->forms_done = n == 0;
		if (n == 0)
			return DLM_OK;
		st = open_forms(f, n, err);
	}
	*any = true;
	if (st == DLM_OK)
		st = dl_denoise_probe(&f->form_base->row, err);
	for (int i = 0; i < f->n_forms && st == DLM_OK; i++)
		st = dl_denoise_probe(&f->form[i], err);
	return st;
}

void
dl_forms_absorb(dl_fill *f)
{
	dl_denoise *base = &f->form_base->row;
	bool		changed = false;

	dl_denoise_absorb(base);
	for (int i = 0; i < f->n_forms; i++)
		dl_denoise_absorb(&f->form[i]);
	if (!base->fresh)
		return;					/* guidance: the rows themselves come next */
	for (int i = 0; i < f->n_forms; i++)
	{
		int			g = f->form_gap[i];
		const dl_canvas *longer = &f->form[i].canvas;
		const dl_slot *first = &longer->slot[longer->gap_first[g]];
		double		second_form = (double) first[0].set_logprob + (double) first[1].set_logprob;

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
	for (int i = 0; i < f->n_forms; i++)
		dl_denoise_close(&f->form[i]);
	f->n_forms = 0;
}
