/*
 * denoise.c - the loop: ask, rank, revise, until nothing is left to do.
 */
#include "denoise.h"
#include "status.h"

#include <math.h>
#include <string.h>

/* --------------------------------------------------------------- changes */

static void
record(dl_denoise *d, int slot, dlm_event event)
{
	const dl_slot *s = &d->canvas.slot[slot];

	if (!d->policy->trace || d->error.status != DLM_OK)
		return;
	if (d->n_changes == d->changes_capacity)
	{
		int			capacity = d->changes_capacity ? d->changes_capacity * 2 : 64;
		dl_change  *grown = capacity > (1 << 24) ? NULL :
			dl_arena_block(d->session->arena, (size_t) capacity * sizeof(dl_change));

		if (grown == NULL)
		{
			dl_fail_memory(&d->error);
			return;
		}
		if (d->n_changes > 0)
			memcpy(grown, d->change, (size_t) d->n_changes * sizeof(dl_change));
		dl_arena_block_free(d->session->arena, d->change);
		d->change = grown;
		d->changes_capacity = capacity;
	}
	d->change[d->n_changes++] = (dl_change) {event == DLM_EVENT_REVISE ? d->step : d->step + 1, slot, s->id, s->score,
		event};
}

void
dl_denoise_reveal(dl_denoise *d, const dl_ranked *r)
{
	const dl_choice *choice = &d->canvas.slot[r->slot].choice;
	/* neighbours may have been revealed in this very step; if every candidate spells a banned text, the final check decides */
	int			at = dl_canvas_pick(d->session->model, &d->canvas, r->slot, d->policy->chooser.bans,
									d->policy->fixed_text);
	const dl_pick *pick = &choice->pick[at < choice->n ? at : 0];

	if (at == choice->n && d->allowed != NULL && dl_slot_constraint(&d->canvas, r->slot) != NULL)
	{
		d->fresh = false;		/* another forward, with what its neighbours leave now */
		return;
	}
	dl_canvas_set(&d->canvas, r->slot, pick->id, false, pick->logprob);
	d->fresh = false;
	if (d->policy->chooser.bans->stop && dl_in_set(d->policy->chooser.bans->stop, pick->id))
		d->stopped = true;
	record(d, r->slot, DLM_EVENT_REVEAL);
}

void
dl_denoise_remask(dl_denoise *d, int slot)
{
	dl_canvas_set(&d->canvas, slot, (int32_t) d->session->model->config.mask_id, true, -INFINITY);
	d->fresh = false;
	record(d, slot, DLM_EVENT_REMASK);
}

void
dl_denoise_replace(dl_denoise *d, int slot, dl_pick pick)
{
	dl_canvas_set(&d->canvas, slot, pick.id, false, pick.logprob);
	record(d, slot, DLM_EVENT_REVISE);
}

/* ---------------------------------------------------------------- blocks */

static int
block_size(const dl_denoise *d)
{
	int			n = d->canvas.n_slots;

	return d->policy->block_length > 0 && d->policy->block_length < n ? d->policy->block_length : n;
}

/* Steps of a block: an even share, the first blocks taking what is left over, at least one. */
static int
steps_of_block(const dl_denoise *d, int total, int block)
{
	int			size = block_size(d);
	int			left = d->canvas.n_slots - block * size;
	int			steps = total / d->n_blocks + (block < total % d->n_blocks);

	if (d->policy->rules->schedule == dl_schedule_single)
		return left < size ? left : size;
	return steps > 1 ? steps : 1;
}

static int
total_steps(const dl_denoise *d)
{
	return dl_schedule_steps(d->policy->steps, d->session->model->settings.steps, d->canvas.n_slots);
}

static void
start_block(dl_denoise *d, int block)
{
	int			size = block_size(d);

	d->block = block;
	if (block >= d->n_blocks)
	{
		d->done = true;
		return;
	}
	d->first = block * size;
	d->end = d->first + size < d->canvas.n_slots ? d->first + size : d->canvas.n_slots;
	d->block_step = 0;
	d->block_steps = steps_of_block(d, total_steps(d), block);
	d->fresh = false;
}

/* Room for the sets of patterns, if a gap has one. */
static bool
open_allowed(dl_denoise *d)
{
	const dl_frame *frame = d->canvas.frame;
	size_t		n = (size_t) d->canvas.n_slots;
	bool		any = false;

	for (int g = 0; g < frame->n_gaps && frame->constraint != NULL; g++)
		any |= frame->constraint[g] != NULL;
	if (!any)
		return true;
	d->reach = dl_arena_block(d->session->arena, (n + 1) * sizeof(dl_states) + n * d->policy->chooser.bans->vocab->bytes);
	d->allowed = d->reach ? (uint8_t *) (d->reach + n + 1) : NULL;
	return d->reach != NULL;
}

dlm_status
dl_denoise_open(dl_denoise *d, dlm_session *s, const dl_policy *policy, dl_canvas *canvas,
				uint32_t candidate, dl_kv *kv, dlm_error *err)
{
	size_t		n = (size_t) canvas->n_slots;
	char	   *p = dl_arena_block(s->arena, n * (sizeof(dl_ranked) + sizeof(int32_t) + sizeof(int)));

	memset(d, 0, sizeof(*d));
	d->session = s;
	d->policy = policy;
	d->canvas = *canvas;
	memset(canvas, 0, sizeof(*canvas));
	d->candidate = candidate;
	d->kv = kv;
	if (p == NULL)
	{
		dl_canvas_free(&d->canvas, s->arena);
		return dl_fail_memory(err);
	}
	if (!open_allowed(d))
	{
		dl_arena_block_free(s->arena, p);
		dl_canvas_free(&d->canvas, s->arena);
		return dl_fail_memory(err);
	}
	d->ranked = (dl_ranked *) p;
	d->ask = (int32_t *) (p + n * sizeof(dl_ranked));
	d->ask_slot = (int *) (d->ask + n);
	d->n_blocks = (d->canvas.n_slots + block_size(d) - 1) / block_size(d);
	for (int b = 0; b < d->n_blocks; b++)
		d->steps += steps_of_block(d, total_steps(d), b);
	start_block(d, 0);
	return DLM_OK;
}

void
dl_denoise_close(dl_denoise *d)
{
	dl_arena   *a;

	if (d->session == NULL)
		return;
	a = d->session->arena;
	dl_canvas_free(&d->canvas, a);
	dl_arena_block_free(a, d->ranked);
	dl_arena_block_free(a, d->reach);
	dl_arena_block_free(a, d->blind);
	dl_arena_block_free(a, d->unconditional);
	dl_arena_block_free(a, d->change);
	dl_kv_free(d->blind_kv);
	memset(d, 0, sizeof(*d));
}

/* --------------------------------------------------------------- forward */

/* What its gap's pattern leaves to a slot; NULL: everything. */
static const uint8_t *
allowed_at(const dl_denoise *d, int slot)
{
	if (d->allowed == NULL || dl_slot_constraint(&d->canvas, slot) == NULL)
		return NULL;
	return d->allowed + (size_t) slot * d->policy->chooser.bans->vocab->bytes;
}

/* dl_reducer: a block of the row's logits. With guidance l = u + (w + 1) (c - u), u the logits without the fixed text. */
static void
choose_block(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	dl_denoise *d = ctx;
	const dl_policy *policy = d->policy;
	int			slot = d->ask_slot[ask];

	if (policy->guidance > 0)
	{
		const float *u = d->unconditional + (size_t) ask * (size_t) policy->chooser.bans->vocab->rows + first;

		for (int i = 0; i < n; i++)
			logits[i] = fmaf(policy->guidance + 1.0f, logits[i] - u[i], u[i]);
	}
	dl_choose_block(&policy->chooser, first, n, logits, d->canvas.slot[slot].rules, allowed_at(d, slot),
					d->sets ? d->sets[slot] : NULL, partial);
}

static void
choose_fold(void *ctx, int ask, void *partials, int n_blocks)
{
	dl_denoise *d = ctx;
	int			slot = d->ask_slot[ask];
	dl_draw		at = {d->candidate, (uint32_t) d->step + 1, (uint32_t) slot};

	if (d->sets && d->sets[slot])
		d->canvas.slot[slot].set_logprob = dl_set_logprob(&d->policy->chooser, partials);
	dl_choose_fold(&d->policy->chooser, partials, &at, &d->canvas.slot[slot].choice);
}

/* Guidance: the unconditional logits are kept until those of the row itself come. */
static void
keep_block(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	dl_denoise *d = ctx;

	memcpy(d->unconditional + (size_t) ask * (size_t) d->policy->chooser.bans->vocab->rows + first, logits,
		   (size_t) n * sizeof(float));
}

static const dl_reducer greedy = {DL_CHOICE_GREEDY, choose_block, choose_fold};
static const dl_reducer sampled = {DL_CHOICE_SAMPLED, choose_block, choose_fold};
static const dl_reducer keep = {0, keep_block, NULL};

/* The tokens that patterns leave, the canvas being as it is. */
static void
update_allowed(dl_denoise *d)
{
	const dl_canvas *c = &d->canvas;
	size_t		bytes = d->policy->chooser.bans->vocab->bytes;

	for (int g = 0; g < c->n_gaps && d->allowed != NULL; g++)
	{
		int			first = c->gap_first[g];

		if (c->frame->constraint[g] != NULL)
			dl_constraint_sets(c->frame->constraint[g], c->frame->lone_space[g], c->slot + first,
							   c->gap_first[g + 1] - first, d->reach, d->allowed + (size_t) first * bytes, bytes);
	}
}

/* The slots whose candidates the next step looks at. Stop tokens may be chosen only where all to the left is revealed. */
static void
list_asks(dl_denoise *d)
{
	bool		masked_left = false;

	d->n_ask = 0;
	for (int i = 0; i < d->canvas.n_slots; i++)
	{
		dl_slot    *s = &d->canvas.slot[i];

		s->rules &= ~(unsigned) DL_RULE_NO_STOP;
		if (masked_left)
			s->rules |= DL_RULE_NO_STOP;
		masked_left |= s->masked;
		if (!d->ask_all && (i < d->first || i >= d->end || !(s->masked || d->policy->rules->revises)))
			continue;
		d->ask[d->n_ask] = s->position;
		d->ask_slot[d->n_ask++] = i;
	}
}

/* The row with its fixed text masked, for guidance. */
static dlm_status
add_blind_row(dl_denoise *d, dl_row *row, dlm_error *err)
{
	dl_arena   *a = d->session->arena;
	const dlm_model *model = d->session->model;
	size_t		need = (size_t) d->n_ask * model->config.vocab * sizeof(float);

	if (d->blind == NULL)
	{
		d->blind = dl_arena_block(a, (size_t) d->canvas.n * sizeof(int32_t));
		d->blind_kv = dl_kv_create(model, a);
		if (d->blind == NULL || d->blind_kv == NULL)
			return dl_fail_memory(err);
	}
	if (d->unconditional == NULL || d->unconditional_size < need)
	{
		dl_arena_block_free(a, d->unconditional);
		d->unconditional = dl_arena_block(a, need);
		d->unconditional_size = need;
		if (d->unconditional == NULL)
			return dl_fail_memory(err);
	}
	for (int i = 0; i < d->canvas.n; i++)
		d->blind[i] = (int32_t) model->config.mask_id;
	for (int i = 0; i < d->canvas.n_slots; i++)
		d->blind[d->canvas.slot[i].position] = d->canvas.slot[i].id;
	row->ids = d->blind;
	row->reducer = &keep;
	row->kv = d->blind_kv;
	return dl_session_add_row(d->session, row, err);
}

static dlm_status
add_row(dl_denoise *d, dlm_error *err)
{
	dl_row		row = {0};

	list_asks(d);
	update_allowed(d);
	row.n = d->canvas.n;
	row.ids = d->canvas.ids;
	row.live = d->canvas.live;
	row.n_ask = d->n_ask;
	row.ask = d->ask;
	row.ctx = d;
	if (d->policy->guidance > 0 && !d->guided)
		return add_blind_row(d, &row, err);
	row.reducer = d->policy->chooser.temperature > 0 ? &sampled : &greedy;
	row.kv = d->kv;
	return dl_session_add_row(d->session, &row, err);
}

/* ------------------------------------------------------------------ step */

/* qsort would do, but its order of equal elements and its memory are the C library's; heapsort on a total order is not. */
static bool
surer(const dl_ranked *a, const dl_ranked *b)
{
	if (a->confidence != b->confidence)
		return a->confidence > b->confidence;
	return a->slot < b->slot;
}

static void
sift_down(dl_ranked *r, int at, int n)
{
	for (;;)
	{
		int			child = 2 * at + 1;
		dl_ranked	t;

		if (child >= n)
			return;
		if (child + 1 < n && surer(&r[child], &r[child + 1]))
			child++;
		if (!surer(&r[at], &r[child]))
			return;
		t = r[at];
		r[at] = r[child];
		r[child] = t;
		at = child;
	}
}

/* The surest first. */
static void
sort_ranked(dl_ranked *r, int n)
{
	for (int i = n / 2 - 1; i >= 0; i--)
		sift_down(r, i, n);
	for (int i = n - 1; i > 0; i--)
	{
		dl_ranked	t = r[0];

		r[0] = r[i];
		r[i] = t;
		sift_down(r, 0, i);
	}
}

/* Rank the window's eligible slots; -1: a slot has no candidate at all. */
static int
rank(dl_denoise *d)
{
	const dl_policy *policy = d->policy;
	double		rate = d->block_step >= d->block_steps ? 0 :
		dl_schedule_rate(policy->linear, d->block_step + 1, d->block_steps);
	int			n = 0;

	for (int i = d->first; i < d->end; i++)
	{
		const dl_slot *s = &d->canvas.slot[i];
		dl_ranked  *r = &d->ranked[n];
		int			pick;

		if (!s->masked && !policy->rules->revises)
			continue;
		if (s->choice.n == 0)
		{
			d->failed = true;
			d->failed_slot = i;
			return -1;
		}
		pick = dl_canvas_pick(d->session->model, &d->canvas, i, policy->chooser.bans, policy->fixed_text);
		r->slot = i;
		r->pick = pick < s->choice.n ? pick : 0;
		r->confidence = policy->rules->confidence(d, r, rate);
		n++;
	}
	sort_ranked(d->ranked, n);
	return n;
}

static bool
window_finished(const dl_denoise *d)
{
	const dl_rules *rules = d->policy->rules;

	/* a pattern may have kept a slot masked beyond its turn: the steps go on */
	if (d->block_step >= d->block_steps && d->allowed == NULL)
		return true;
	for (int i = d->first; i < d->end; i++)
		if (d->canvas.slot[i].masked)
			return false;
	if (d->block_step >= d->block_steps)
		return true;
	/* the schedules fall: if the next step masks nothing, none does */
	return !rules->revises || rules->schedule(d->end - d->first, d->block_step + 1, d->block_steps) == 0;
}

static void
apply_step(dl_denoise *d)
{
	const dl_rules *rules = d->policy->rules;
	int			keep = d->block_step >= d->block_steps ? 0 :
		rules->schedule(d->end - d->first, d->block_step + 1, d->block_steps);
	int			n = rank(d);

	if (n < 0)
		return;
	/* choices that nothing is drawn for hold as long as the canvas does */
	d->fresh = d->policy->chooser.temperature == 0;
	rules->revise(d, d->ranked, n, keep < n ? keep : n);
	d->guided = false;
	d->step++;
	d->block_step++;
	if (d->stopped && !rules->revises)
		d->done = true;			/* what follows a stop token is cut, and nothing can mask it again */
	else if (window_finished(d))
		start_block(d, d->block + 1);
}

dlm_status
dl_denoise_probe(dl_denoise *d, dlm_error *err)
{
	d->ask_all = true;
	return add_row(d, err);
}

dlm_status
dl_denoise_plan(dl_denoise *d, dlm_error *err)
{
	while (d->fresh && !d->done && !d->failed)
		apply_step(d);
	if (d->error.status != DLM_OK)
	{
		if (err)
			*err = d->error;
		return d->error.status;
	}
	if (d->failed)
		return dl_fail(err, DLM_EINVAL, "Check \"ban\" and the text around the gap, or use \"boundary\": \"plain\".",
					   "no token of the model may stand at position %d of the canvas", d->failed_slot + 1);
	if (d->done)
		return DLM_OK;
	d->ask_all = false;
	return add_row(d, err);
}

void
dl_denoise_absorb(dl_denoise *d)
{
	if (d->policy->guidance > 0 && !d->guided)
		d->guided = true;		/* now the row itself */
	else
		d->fresh = true;
}
