/*
 * closed_alone.c - choices where the model knows nothing; see closed_alone.h.
 */
#include "closed_alone.h"
#include "calibrate.h"
#include "status.h"

#include <math.h>
#include <string.h>

struct dl_alone
{
	dl_question question;
	dl_content_free *shared;	/* its scores, maybe computed by another request */
	bool		own;			/* no other request computes them */
	bool		planned;		/* in this round */
};

struct dl_alone_unit
{
	dl_alone_unit *next;
	dl_unit    *unit;
};

static dlm_status
open_question(const dl_closed *c, dl_closed_gap *g, dlm_text text, dl_alone *out, dlm_error *err)
{
	dl_task    *task = c->all->task;
	dlm_session *s = task->session;
	bool		own = !task->options->has_template;
	dlm_text	tmpl = own ? s->model->settings.infill : task->options->tmpl;
	bool		prompt = !own && memmem(tmpl.data, tmpl.len, "{prompt}", 8) != NULL;
	dl_holes	holes = {0};
	dl_filled	row;
	dlm_status	st;

	*(prompt ? &holes.prompt : &holes.text) = text;
	st = dl_template_fill(s->model, tmpl, own, &holes, s->arena, &s->env, &row, err);
	return st == DLM_OK ? dl_question_init(&out->question, s, DLM_SCORING_GROUPED, &row, &g->answers, err) : st;
}

static dlm_status
open_alone(const dl_closed *c, dl_closed_gap *g, dlm_text text, dlm_error *err)
{
	dlm_session *s = c->all->task->session;
	dl_mark		mark = dl_arena_mark(s->arena);
	dl_alone   *alone = dl_arena_calloc(s->arena, 1, sizeof(*alone));
	dlm_status	st = alone ? open_question(c, g, text, alone, err) : dl_fail_memory(err);

	if (st != DLM_OK)
	{
		dl_arena_rewind(s->arena, mark);	/* a plan that was interrupted begins again */
		return st;
	}
	g->alone = alone;
	return dl_content_free_share(s, &alone->question, dl_closed_normalize(c), &alone->shared, &alone->own, err);
}

static dlm_status
plan_units(dl_closed *c, dl_alone *alone, dlm_error *err)
{
	dlm_session *s = c->all->task->session;
	dl_unit_cursor at = {0, 0};
	dlm_status	st = DLM_OK;

	alone->planned = true;
	while (st == DLM_OK && dl_question_next(&alone->question, &at))
	{
		dl_alone_unit *u = dl_arena_block(s->arena, sizeof(*u));

		if (u == NULL)
			return dl_fail_memory(err);
		st = dl_question_unit(&alone->question, &at, &u->unit, err);
		if (st != DLM_OK)
		{
			dl_arena_block_free(s->arena, u);
			return st;
		}
		u->next = c->alone;
		c->alone = u;
		st = dl_session_add_row(s, &u->unit->row, err);
	}
	return st;
}

dlm_status
dl_alone_plan(dl_closed *c, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (int i = 0; i < c->n && st == DLM_OK; i++)
	{
		dl_closed_gap *g = &c->gap[i];
		dlm_text	text = c->all->rule[g->gap]->alone;

		if (text.len == 0)
			continue;
		if (g->alone == NULL)
			st = open_alone(c, g, text, err);
		if (st == DLM_OK && !g->alone->shared->done && !g->alone->planned && (g->alone->own || c->waits))
			st = plan_units(c, g->alone, err);
	}
	return st;
}

bool
dl_alone_absorb(dl_closed *c)
{
	dlm_session *s = c->all->task->session;
	bool		known = true;

	for (int i = 0; i < c->n; i++)
	{
		dl_alone   *alone = c->gap[i].alone;

		if (alone == NULL)
			continue;
		if (alone->planned && !alone->shared->done)
			dl_content_free_publish(s, &alone->question, dl_closed_normalize(c), alone->shared);
		known &= alone->shared->done;
	}
	dl_alone_close(c);
	return known;
}

double
dl_alone_score(const dl_closed_gap *g, int choice)
{
	double		score = g->alone ? g->alone->shared->score[choice] : 0;

	return isfinite(score) ? score : 0;
}

void
dl_alone_close(dl_closed *c)
{
	while (c->alone != NULL)
	{
		dl_alone_unit *next = c->alone->next;

		dl_unit_free(c->alone->unit);
		dl_arena_block_free(c->all->task->session->arena, c->alone);
		c->alone = next;
	}
	for (int i = 0; i < c->n; i++)
	{
		dl_alone   *alone = c->gap[i].alone;

		if (alone == NULL)
			continue;
		dl_question_close(&alone->question);
		alone->planned = false;
	}
}
