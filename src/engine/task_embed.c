/*
 * task_embed.c - a vector for a text: mean-pooled, L2-normalised hidden states.
 *
 * The row is begin, text, end; the states are those after the final norm, of
 * the text's own tokens: in models made from left-to-right ones the state of
 * the begin token is the same for every text and large. A text without tokens
 * has the vector of its begin and end. Sums over positions run in order, the
 * squares of the norm in the 16 lanes of kernels.h; the division by the norm
 * is done in double and rounded once.
 */
#include "session.h"
#include "status.h"
#include "template.h"

#include <math.h>
#include <string.h>

typedef struct embed_state
{
	dl_ids		ids;
	int			first,			/* positions [first, last) are pooled */
				last;
	float	   *states;			/* [ids.n, hidden], a block */
	bool		computed;
} embed_state;

static dlm_status
embed_open(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	embed_state *state = dl_arena_calloc(s->arena, 1, sizeof(*state));
	dlm_status	st;

	if (state == NULL)
		return dl_fail_memory(err);
	st = dl_template_plain(s->model, task->request->input, task->options->overflow, s->arena, &s->env, &state->ids,
						   &state->first, &state->last, err);
	if (st != DLM_OK)
		return st;
	if (state->ids.n == 0)
		return dl_fail(err, DLM_EINVAL, "", "text has no tokens");
	if (state->first == state->last)
	{
		state->first = 0;
		state->last = state->ids.n;
	}
	task->steps = 1;
	task->state = state;
	return DLM_OK;
}

static dlm_status
embed_plan(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	embed_state *state = task->state;
	dl_row		row = {.n = state->ids.n, .ids = state->ids.id};

	if (state->computed)
		return DLM_OK;
	if (state->states == NULL)
		state->states = dl_arena_block(s->arena, (size_t) state->ids.n * s->model->config.hidden * sizeof(float));
	if (state->states == NULL)
		return dl_fail_memory(err);
	row.hidden = state->states;
	row.live = dl_arena_calloc(s->arena, (size_t) row.n, 1);	/* all fixed: the text as it stands */
	if (row.live == NULL)
		return dl_fail_memory(err);
	return dl_session_add_row(s, &row, err);
}

static dlm_status
embed_absorb(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	embed_state *state = task->state;
	int			hidden = (int) s->model->config.hidden;
	float	   *mean = dl_arena_calloc(s->arena, (size_t) hidden, sizeof(float));
	double		norm;

	if (mean == NULL)
		return dl_fail_memory(err);
	for (int i = state->first; i < state->last; i++)
		s->kernels->add(mean, state->states + (size_t) i * (size_t) hidden, hidden);
	for (int i = 0; i < hidden; i++)
		mean[i] /= (float) (state->last - state->first);
	norm = sqrt((double) s->kernels->sum_squares(mean, hidden));
	if (!isfinite(norm))
		return dl_fail(err, DLM_EDAMAGED, "Run dlm-model verify on the file.", "model gave non-finite hidden states");
	for (int i = 0; i < hidden; i++)
		mean[i] = norm > 0 ? (float) ((double) mean[i] / norm) : 0;
	task->result->embedding = mean;
	task->result->n_embedding = hidden;
	task->step = 1;
	state->computed = true;
	dl_arena_block_free(s->arena, state->states);
	state->states = NULL;
	return DLM_OK;
}

static void
embed_close(dl_task *task)
{
	embed_state *state = task->state;

	dl_arena_block_free(task->session->arena, state->states);
	state->states = NULL;
}

const dl_task_ops dl_task_embed = {
	.name = "embed",
	.open = embed_open,
	.plan = embed_plan,
	.absorb = embed_absorb,
	.close = embed_close,
};
