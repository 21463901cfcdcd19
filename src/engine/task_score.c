/*
 * task_score.c - pseudo-log-likelihood: score and token_scores.
 *
 * The row is begin, text, end. score masks every P-th token of the text at
 * once, P times with another start (Salazar et al. 2020 mask one at a time,
 * which `exact` does), so that each token is predicted once with most of its
 * context in sight; the result is the mean log-probability over the text's
 * tokens. token_scores masks each token alone and gives all of them.
 *
 * Masked tokens are the canvas of their pass: under `context` attention they,
 * and with logit_shift the position before each, see the whole row.
 */
#include "logprob.h"
#include "session.h"
#include "status.h"
#include "template.h"

#include <string.h>

#define DEFAULT_PASSES	8
#define WAVE	32				/* passes of one round */

typedef struct score_pass
{
	struct score_state *state;
	int			first;			/* the first masked token of the text */
	dl_row		row;
} score_pass;

typedef struct score_state
{
	dlm_session *session;
	dl_ids		ids;			/* begin, text, end */
	int			first,			/* tokens [first, last) are the text's */
				last;
	int			stride;			/* a pass masks every stride-th token */
	int			computed,		/* passes done */
				planned;
	float	   *logprob;		/* [last - first] */
	score_pass *wave[WAVE];
	int			n_wave;
} score_state;

static dlm_status
score_open(dl_task *task, dlm_error *err)
{
	dlm_session *s = task->session;
	int			passes = task->options->passes ? task->options->passes : DEFAULT_PASSES;
	bool		alone = task->request->task == DLM_TOKEN_SCORES || passes < 0;
	score_state *state = dl_arena_calloc(s->arena, 1, sizeof(*state));
	dlm_status	st;
	int			n;

	if (state == NULL)
		return dl_fail_memory(err);
	state->session = s;
	st = dl_template_plain(s->model, task->request->input, task->options->overflow, s->arena, &s->env, &state->ids,
						   &state->first, &state->last, err);
	if (st != DLM_OK)
		return st;
	n = state->last - state->first;
	if (n == 0 && task->request->task == DLM_SCORE)
		return dl_fail(err, DLM_EINVAL, "", "text has no tokens to score");
	if (n > 0 && (uint32_t) state->first < s->model->config.logit_shift)
		return dl_fail(err, DLM_EUNSUPPORTED, "A model with logit_shift needs a begin token for this.",
					   "model predicts nothing at the start of a row");
	state->stride = alone || passes > n ? n : passes;
	state->logprob = dl_arena_calloc(s->arena, (size_t) n, sizeof(float));
	if (state->logprob == NULL)
		return dl_fail_memory(err);
	task->steps = state->stride;
	task->state = state;
	return DLM_OK;
}

/* dl_reducer: the log-probability of the text's own token. */
static void
reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	const score_pass *p = ctx;
	const score_state *state = p->state;
	const dlm_session *s = state->session;
	const dl_settings *set = &s->model->settings;
	int			token = p->first + ask * state->stride;
	int32_t		id = state->ids.id[state->first + token];

	dl_logits_exclude(logits, first, n, set->never_score, set->n_never_score);
	if (id >= first && id - first < n)
		state->logprob[token] = logits[id - first];	/* its logit, until the fold */
	*(dl_block_sum *) partial = dl_block_sum_of(s->kernels, logits, n, logits);
}

static void
fold(void *ctx, int ask, void *partials, int n_blocks)
{
	const score_pass *p = ctx;
	float	   *logprob = &p->state->logprob[p->first + ask * p->state->stride];

	*logprob = dl_logprob(*logprob, dl_blocks_normalizer(partials, n_blocks));
}

static const dl_reducer own_token = {sizeof(dl_block_sum), reduce, fold};

static dlm_status
make_pass(score_state *state, int first, score_pass **out, dlm_error *err)
{
	const dl_config *config = &state->session->model->config;
	int			n = state->ids.n;
	int			asks = (state->last - state->first - first + state->stride - 1) / state->stride;
	size_t		ids_at = (sizeof(score_pass) + 15) & ~(size_t) 15;
	size_t		ask_at = ids_at + (size_t) n * sizeof(int32_t);
	size_t		live_at = ask_at + (size_t) asks * sizeof(int32_t);
	char	   *block = dl_arena_block(state->session->arena, live_at + (size_t) n);
	score_pass *p = (score_pass *) block;
	int32_t    *ids,
			   *ask;
	uint8_t    *live;

	if (block == NULL)
		return dl_fail_memory(err);
	ids = (int32_t *) (block + ids_at);
	ask = (int32_t *) (block + ask_at);
	live = (uint8_t *) (block + live_at);
	memcpy(ids, state->ids.id, (size_t) n * sizeof(*ids));
	memset(live, 0, (size_t) n);
	for (int i = 0; i < asks; i++)
	{
		int			at = state->first + first + i * state->stride;

		ask[i] = at;
		ids[at] = (int32_t) config->mask_id;
		live[at] = 1;
		live[at - (int) config->logit_shift] = 1;
	}
	memset(p, 0, sizeof(*p));
	p->state = state;
	p->first = first;
	p->row = (dl_row) {.n = n, .ids = ids, .live = live, .n_ask = asks, .ask = ask, .reducer = &own_token,
		.ctx = p};
	*out = p;
	return DLM_OK;
}

static void
free_wave(score_state *state)
{
	for (int i = 0; i < state->n_wave; i++)
		dl_arena_block_free(state->session->arena, state->wave[i]);
	state->n_wave = 0;
}

static dlm_status
write_result(dl_task *task, const score_state *state, dlm_error *err)
{
	int			n = state->last - state->first;
	dlm_token_score *tokens;
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) state->logprob[i];
	task->result->logprob = n > 0 ? sum / n : 0;
	if (task->request->task == DLM_SCORE)
		return DLM_OK;
	tokens = dl_arena_calloc(state->session->arena, (size_t) n, sizeof(*tokens));
	if (tokens == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
		tokens[i] = (dlm_token_score) {state->ids.id[state->first + i], state->logprob[i]};
	task->result->tokens = tokens;
	task->result->n_tokens = n;
	return DLM_OK;
}

static dlm_status
score_plan(dl_task *task, dlm_error *err)
{
	score_state *state = task->state;

	while (state->n_wave < WAVE && state->planned < state->stride)
	{
		score_pass *p = NULL;
		dlm_status	st = make_pass(state, state->planned, &p, err);

		if (st != DLM_OK)
			return st;
		state->wave[state->n_wave++] = p;
		state->planned++;
		st = dl_session_add_row(task->session, &p->row, err);
		if (st != DLM_OK)
			return st;
	}
	return state->n_wave > 0 ? DLM_OK : write_result(task, state, err);
}

static dlm_status
score_absorb(dl_task *task, dlm_error *err)
{
	score_state *state = task->state;

	state->computed = state->planned;
	task->step = state->computed;
	free_wave(state);
	return DLM_OK;
}

static void
score_close(dl_task *task)
{
	free_wave(task->state);
}

const dl_task_ops dl_task_score = {
	.name = "score",
	.open = score_open,
	.plan = score_plan,
	.absorb = score_absorb,
	.close = score_close,
};
