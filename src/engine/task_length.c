/*
 * task_length.c - predict_length: how many tokens an answer to a prompt has.
 *
 * The paper's length head (Ye et al. 2023): the backbone reads what generate's
 * row has before its canvas, so in the paper the begin tokens and the prompt,
 * no canvas and no end; a transformer layer, mean pooling and a small network
 * give a class for each length; class c means c + 1 tokens. The most probable
 * lengths come first, ties to the shorter.
 */
#include "session.h"
#include "status.h"
#include "template.h"

#include <math.h>
#include <string.h>

#define DEFAULT_LENGTHS	5

typedef struct length_state
{
	dl_ids		ids;			/* before the canvas */
	float	   *logprob;		/* [length_classes] */
	bool		computed;
} length_state;

static dlm_status
length_open(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	dl_holes	holes = {.prompt = task->request->input};
	length_state *state;
	dl_filled	row;
	dlm_status	st;

	if (s->model->config.length_classes == 0)
		return dl_fail(err, DLM_EUNSUPPORTED,
					   "Train one with the length objective, or generate with the option length \"probed\".",
					   "model has no length head");
	state = dl_arena_calloc(s->arena, 1, sizeof(*state));
	if (state == NULL)
		return dl_fail_memory(err);
	if (holes.prompt.data == NULL)
		holes.prompt.data = "";
	st = dl_template_fit(s->model, s->model->settings.generate, true, &holes, &holes.prompt, (int) s->model->config.context,
						 task->options->overflow, s->arena, &s->env, &row, err);
	if (st != DLM_OK)
		return st;
	state->ids = row.head;
	if (state->ids.n == 0)
		return dl_fail(err, DLM_EINVAL, "", "text has no tokens");
	task->steps = 1;
	task->state = state;
	return DLM_OK;
}

static dlm_status
length_plan(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	length_state *state = task->state;
	dl_row		row = {.n = state->ids.n, .ids = state->ids.id};

	if (state->computed)
		return DLM_OK;
	state->logprob = dl_arena_calloc(s->arena, s->model->config.length_classes, sizeof(float));
	row.lengths = state->logprob;
	row.live = dl_arena_calloc(s->arena, (size_t) row.n, 1);
	if (row.lengths == NULL || row.live == NULL)
		return dl_fail_memory(err);
	return dl_session_add_row(s, &row, err);
}

/* The k best classes; best first, ties to the shorter length. */
static void
best_lengths(const float *logprob, int classes, dlm_length_score *out, int k)
{
	int			n = 0;

	for (int c = 0; c < classes; c++)
	{
		int			at = n < k ? n++ : k;

		if (at == k && !(logprob[c] > out[k - 1].logprob))
			continue;
		if (at == k)
			at--;
		for (; at > 0 && logprob[c] > out[at - 1].logprob; at--)
			out[at] = out[at - 1];
		out[at] = (dlm_length_score) {c + 1, logprob[c]};
	}
}

static dlm_status
length_absorb(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	length_state *state = task->state;
	int			classes = (int) s->model->config.length_classes;
	int			k = task->options->top_lengths ? task->options->top_lengths : DEFAULT_LENGTHS;
	dlm_length_score *lengths;

	if (k > classes)
		k = classes;
	lengths = dl_arena_calloc(s->arena, (size_t) k, sizeof(*lengths));
	if (lengths == NULL)
		return dl_fail_memory(err);
	best_lengths(state->logprob, classes, lengths, k);
	task->result->lengths = lengths;
	task->result->n_lengths = k;
	task->step = 1;
	state->computed = true;
	return DLM_OK;
}

static void
length_close(dl_task *task)
{
	(void) task;				/* all of it lies in the arena's bump memory */
}

const dl_task_ops dl_task_length = {
	.name = "predict_length",
	.open = length_open,
	.plan = length_plan,
	.absorb = length_absorb,
	.close = length_close,
};
