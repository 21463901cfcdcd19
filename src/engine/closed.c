/*
 * closed.c - which choice a gap takes; see closed.h.
 */
#include "closed.h"
#include "closed_alone.h"
#include "closed_rows.h"
#include "fmath.h"
#include "status.h"

#include <math.h>
#include <string.h>

#define NEARLY_SURE		0.9		/* gaps whose best choice is as probable as this are decided together */
#define ROUNDS			16		/* at most about so many rounds, however many gaps there are */
#define MOST_REVISED	8		/* gaps that are scored again: each costs whole rows, one for each length of its choices */
#define MOST_CHANGES	2		/* gaps that may change after everything else is known */

/* ------------------------------------------------------------------- open */

/* The distinct numbers of tokens of a gap's choices, ascending. */
static dlm_status
find_lengths(dl_arena *a, dl_closed_gap *g, dlm_error *err)
{
	g->length = dl_arena_calloc(a, (size_t) g->answers.n, sizeof(int));
	if (g->length == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < g->answers.n; i++)
	{
		int			n = dl_answer_length(&g->answers, i);
		int			at = g->n_lengths;

		while (at > 0 && g->length[at - 1] > n)
			at--;
		if (at > 0 && g->length[at - 1] == n)
			continue;
		memmove(g->length + at + 1, g->length + at, (size_t) (g->n_lengths - at) * sizeof(int));
		g->length[at] = n;
		g->n_lengths++;
	}
	return DLM_OK;
}

/* A token that makes the text before a gap one to go on from. */
static int32_t
ordinary_token(const dl_vocab *v)
{
	int32_t		id = 0;

	while (id + 1 < v->rows && dl_in_set(v->silent, id))
		id++;
	return id;
}

static dlm_status
open_gap(dl_closed *c, int gap, dl_closed_gap *g, dlm_error *err)
{
	dl_fill    *f = c->all;
	dlm_session *s = f->task->session;
	int32_t		before = ordinary_token(f->bans->vocab);
	dl_filled	row = {.head = f->frame.piece[gap], .space = f->typed[gap], .has_canvas = true};
	dlm_status	st;

	if (row.head.n == 0 && gap == 0 && s->model->config.logit_shift > 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "Put some text before the first gap.",
					   "this model cannot fill the first position of a row");
	if (row.head.n == 0 && gap > 0)
		row.head = (dl_ids) {.id = &before, .n = 1};
	g->gap = gap;
	g->choice = -1;
	st = dl_answers_encode(s->model, f->rule[gap]->choices, f->rule[gap]->n_choices, &row, s->arena, &s->env, &g->answers,
						   err);
	if (st == DLM_EINVAL && err != NULL)
	{
		dlm_error	of_labels = *err;

		return dl_fail(err, st, of_labels.hint, "choices of gap %d: %.300s", gap + 1, of_labels.message);
	}
	if (st == DLM_OK)
		st = find_lengths(s->arena, g, err);
	if (st != DLM_OK)
		return st;
	g->logprob = dl_arena_calloc(s->arena, (size_t) g->answers.n, sizeof(double));
	g->score = dl_arena_calloc(s->arena, (size_t) g->answers.n, sizeof(double));
	g->probability = dl_arena_calloc(s->arena, (size_t) g->answers.n, sizeof(double));
	if (g->logprob == NULL || g->score == NULL || g->probability == NULL)
		return dl_fail_memory(err);
	f->lengths[gap] = (dl_lengths) {.n = g->n_lengths, .list = g->length};
	return DLM_OK;
}

dlm_status
dl_closed_open(dl_fill *all, dl_closed **out, dlm_error *err)
{
	dl_arena   *a = all->task->session->arena;
	int			n = 0;
	dl_closed  *c;
	dlm_status	st = DLM_OK;

	*out = NULL;
	for (int g = 0; g < all->frame.n_gaps && all->rule; g++)
		n += all->rule[g] != NULL && all->rule[g]->n_choices > 0;
	if (n == 0)
		return DLM_OK;
	c = dl_arena_calloc(a, 1, sizeof(*c));
	if (c == NULL)
		return dl_fail_memory(err);
	c->all = all;
	c->gap = dl_arena_calloc(a, (size_t) n, sizeof(*c->gap));
	c->of_gap = dl_arena_calloc(a, (size_t) all->frame.n_gaps, sizeof(*c->of_gap));
	if (c->gap == NULL || c->of_gap == NULL)
		return dl_fail_memory(err);
	for (int g = 0; g < all->frame.n_gaps && st == DLM_OK; g++)
	{
		if (all->rule[g] == NULL || all->rule[g]->n_choices == 0)
			continue;
		c->of_gap[g] = &c->gap[c->n];
		st = open_gap(c, g, &c->gap[c->n++], err);
	}
	*out = c;
	return st;
}

void
dl_closed_close(dl_closed *c)
{
	dl_closed_rows_free(c);
	dl_alone_close(c);
	for (int i = 0; i < DL_CLOSED_CACHES; i++)
	{
		dl_kv_free(c->kv[i]);
		c->kv[i] = NULL;
	}
	if (c->open_started)
		dl_fill_close(&c->open);
	c->open_started = false;
}

/* ------------------------------------------------------------------ choose */

/* The most probable choice, the earlier one among equals. */
static int
best_choice(const dl_closed_gap *g)
{
	int			best = 0;

	for (int i = 1; i < g->answers.n; i++)
		if (g->score[i] > g->score[best])
			best = i;
	return best;
}

/* From log-probabilities to scores and the probabilities of the choices. */
static void
soften(const dl_closed *c, dl_closed_gap *g)
{
	const dlm_gap_rule *rule = c->all->rule[g->gap];
	double		trust = rule->trust != 0 ? rule->trust : 1;
	double		max;
	double		sum = 0;

	for (int i = 0; i < g->answers.n; i++)
		g->score[i] = trust * (g->logprob[i] - dl_alone_score(g, i)) + (rule->bias ? rule->bias[i] : 0);
	max = g->score[best_choice(g)];
	for (int i = 0; i < g->answers.n; i++)
		sum += g->probability[i] = dl_exp(g->score[i] - max);
	for (int i = 0; i < g->answers.n; i++)
		g->probability[i] /= sum;
}

static dl_closed_gap *
surest(const dl_closed *c)
{
	dl_closed_gap *found = NULL;

	for (int i = 0; i < c->n; i++)
	{
		dl_closed_gap *g = &c->gap[i];

		if (g->choice < 0 &&
			(found == NULL || g->probability[best_choice(g)] > found->probability[best_choice(found)]))
			found = g;
	}
	return found;
}

static void
absorb_choose(dl_closed *c)
{
	int			quota = (c->n + ROUNDS - 1) / ROUNDS;
	dl_closed_gap *g;

	for (int i = 0; i < c->n; i++)
		if (c->gap[i].choice < 0)
			soften(c, &c->gap[i]);
	while ((g = surest(c)) != NULL && (quota-- > 0 || g->probability[best_choice(g)] >= NEARLY_SURE))
		g->choice = best_choice(g);
}

/* -------------------------------------------------------------------- open */

static dlm_text
printed_of(const dl_closed *c, int gap)
{
	const dl_closed_gap *g = c->of_gap[gap];

	return g ? c->all->rule[gap]->choices[g->choice] : (dlm_text) {NULL, 0};
}

/* Put the choices into the text around the open gaps: pieces and printed text of c->open. */
static dlm_status
join_pieces(dl_closed *c, dlm_error *err)
{
	dl_fill    *all = c->all;
	dl_arena   *a = all->task->session->arena;
	dlm_text   *part = dl_arena_calloc(a, 2 * (size_t) all->frame.n_gaps + 1, sizeof(*part));
	int			parts = 0;
	int			piece = 0;
	dlm_status	st = part ? DLM_OK : dl_fail_memory(err);

	for (int g = 0; g <= all->frame.n_gaps && st == DLM_OK; g++)
	{
		const dl_closed_gap *closed = g < all->frame.n_gaps ? c->of_gap[g] : NULL;

		part[parts++] = all->printed[g];
		st = dl_ids_append(&c->open.frame.piece[piece], a, all->frame.piece[g].id, all->frame.piece[g].n, err);
		if (closed != NULL && st == DLM_OK)
		{
			part[parts++] = printed_of(c, g);
			st = dl_ids_append(&c->open.frame.piece[piece], a, closed->answers.ids + closed->answers.start[closed->choice],
							   dl_answer_length(&closed->answers, closed->choice), err);
			continue;
		}
		if (st == DLM_OK)
			st = dl_text_join(a, part, parts, &c->open.printed[piece++], err);
		parts = 0;
	}
	return st;
}

/* c->open: the row as it is with all choices in it. */
static dlm_status
make_open(dl_closed *c, dlm_error *err)
{
	dl_fill    *all = c->all,
			   *o = &c->open;
	dl_arena   *a = all->task->session->arena;
	size_t		n = (size_t) (all->frame.n_gaps - c->n);
	int			at = 0;

	*o = (dl_fill) {.task = all->task, .frame = {.n_gaps = (int) n, .last_rule = all->frame.last_rule}};
	o->frame.piece = dl_arena_calloc(a, n + 1, sizeof(dl_ids));
	o->frame.first_rule = dl_arena_calloc(a, n, sizeof(unsigned));
	o->frame.lone_space = dl_arena_calloc(a, n, sizeof(bool));
	o->frame.settled = dl_arena_calloc(a, n, sizeof(bool));
	o->frame.constraint = dl_arena_calloc(a, n, sizeof(*o->frame.constraint));
	o->printed = dl_arena_calloc(a, n + 1, sizeof(dlm_text));
	o->strip = dl_arena_calloc(a, n, sizeof(bool));
	o->lengths = dl_arena_calloc(a, n, sizeof(dl_lengths));
	o->rule = dl_arena_calloc(a, n, sizeof(*o->rule));
	if (!o->frame.piece || !o->frame.first_rule || !o->frame.lone_space || !o->frame.settled || !o->frame.constraint ||
		!o->printed || !o->strip || !o->lengths || !o->rule)
		return dl_fail_memory(err);
	for (int g = 0; g < all->frame.n_gaps; g++)
	{
		if (c->of_gap[g] != NULL)
			continue;
		o->frame.first_rule[at] = all->frame.first_rule[g];
		o->frame.lone_space[at] = all->frame.lone_space[g];
		o->frame.settled[at] = all->frame.settled[g];
		o->frame.constraint[at] = all->frame.constraint[g];
		o->strip[at] = all->strip[g];
		o->lengths[at] = all->lengths[g];
		o->rule[at++] = all->rule[g];
	}
	return join_pieces(c, err);
}

/* *busy: a round of the open gaps has been planned. */
static dlm_status
plan_open(dl_closed *c, bool *busy, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	*busy = false;
	if (c->n == c->all->frame.n_gaps)
		return DLM_OK;
	if (!c->open_started)
	{
		st = make_open(c, err);
		c->open_started = st == DLM_OK;
		if (st == DLM_OK)
			st = dl_fill_start(&c->open, err);
	}
	if (st == DLM_OK && c->open.phase != DL_FILL_DONE)
		st = dl_fill_plan(&c->open, err);
	*busy = c->open.phase != DL_FILL_DONE;
	return st;
}

/* ------------------------------------------------------------------ revise */

/* The gap that was decided with least confidence, the earlier one among equals, of those not nearly sure and not revised yet. */
static dl_closed_gap *
least_sure(const dl_closed *c)
{
	dl_closed_gap *found = NULL;
	double		least = NEARLY_SURE;

	for (int i = 0; i < c->n; i++)
	{
		dl_closed_gap *g = &c->gap[i];

		if (!g->revised && g->probability[g->choice] < least)
		{
			found = g;
			least = g->probability[g->choice];
		}
	}
	return found;
}

/* *busy: a round is needed. A single gap with nothing open has been scored with everything else known. */
static dlm_status
plan_revise(dl_closed *c, bool *busy, dlm_error *err)
{
	dl_closed_gap *g;

	*busy = false;
	if (c->settled || c->all->frame.n_gaps == 1)
		return DLM_OK;
	for (int n = 0; c->changes == 0 && n < MOST_REVISED && (g = least_sure(c)) != NULL; n++)
		g->revised = true;
	for (int i = 0; i < c->n; i++)
		*busy |= c->gap[i].revised;
	return *busy ? dl_closed_revise_rows(c, err) : DLM_OK;
}

static void
absorb_revise(dl_closed *c)
{
	dl_closed_gap *moved = NULL;
	double		most = 0;

	for (int i = 0; i < c->n; i++)
	{
		dl_closed_gap *g = &c->gap[i];
		double		gain;

		if (!g->revised)
			continue;
		soften(c, g);
		gain = g->score[best_choice(g)] - g->score[g->choice];
		if (gain > most)
		{
			most = gain;
			moved = g;
		}
	}
	c->settled = moved == NULL || c->changes++ == MOST_CHANGES;
	if (!c->settled)
		moved->choice = best_choice(moved);
}

/* ------------------------------------------------------------------ result */

static dlm_status
write_text(const dl_closed *c, const dlm_gap *gap, dlm_text *out, dlm_error *err)
{
	const dl_fill *all = c->all;
	int			n = all->frame.n_gaps;
	dlm_text   *part = dl_arena_calloc(all->task->session->arena, 2 * (size_t) n + 1, sizeof(*part));

	if (part == NULL)
		return dl_fail_memory(err);
	for (int g = 0; g <= n; g++)
	{
		part[2 * g] = all->printed[g];
		if (g < n)
			part[2 * g + 1] = gap[g].text;
	}
	return dl_text_join(all->task->session->arena, part, 2 * n + 1, out, err);
}

static dlm_status
write_result(dl_closed *c, dlm_error *err)
{
	const dl_fill *all = c->all;
	dlm_result *result = all->task->result;
	const dlm_gap *open = result->gaps;
	int			n = all->frame.n_gaps;
	dlm_gap    *gap = dl_arena_calloc(all->task->session->arena, (size_t) n, sizeof(*gap));
	double		sum = 0;
	int			tokens = 0;

	if (gap == NULL)
		return dl_fail_memory(err);
	for (int g = 0; g < n; g++)
	{
		const dl_closed_gap *closed = c->of_gap[g];

		if (closed == NULL)
			gap[g] = *open++;
		else
			gap[g] = (dlm_gap) {.text = printed_of(c, g), .tokens = dl_answer_length(&closed->answers, closed->choice),
				.logprob = dl_closed_mean(c, closed, closed->choice), .probability = closed->probability[closed->choice],
				.choice = closed->choice, .choices = closed->probability, .n_choices = closed->answers.n};
		gap[g].name = all->name[g];
		sum += gap[g].logprob * gap[g].tokens;
		tokens += gap[g].tokens;
	}
	result->gaps = gap;
	result->n_gaps = n;
	result->logprob = tokens > 0 ? sum / tokens : 0;
	return write_text(c, gap, &result->text, err);
}

/* ------------------------------------------------------------------ rounds */

dlm_status
dl_closed_plan(dl_closed *c, dlm_error *err)
{
	bool		busy = surest(c) != NULL;
	dlm_status	st = DLM_OK;

	c->phase = DL_CLOSED_CHOOSE;
	if (busy)
		st = dl_alone_plan(c, err);
	if (busy)
		return st == DLM_OK && !c->waits ? dl_closed_choose_rows(c, err) : st;
	c->phase = DL_CLOSED_OPEN;
	st = plan_open(c, &busy, err);
	if (st != DLM_OK || busy)
		return st;
	c->phase = DL_CLOSED_REVISE;
	st = plan_revise(c, &busy, err);
	return st != DLM_OK || busy ? st : write_result(c, err);
}

dlm_status
dl_closed_absorb(dl_closed *c, dlm_error *err)
{
	if (c->phase == DL_CLOSED_OPEN)
		return dl_fill_absorb(&c->open, err);
	dl_closed_rows_score(c);
	dl_closed_rows_free(c);
	c->waits = !dl_alone_absorb(c);
	if (c->phase == DL_CLOSED_REVISE)
		absorb_revise(c);
	else if (!c->waits)
		absorb_choose(c);
	return DLM_OK;
}
