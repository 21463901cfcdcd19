/*
 * task_classify.c - zero-shot labels: classify and classify_multi.
 *
 * A request becomes *pairs* of questions (classify_rows.h): one about the
 * input and, when calibrated, one about the model's content-free text. Plain
 * classification is one pair whose answers are the labels; classify_multi is
 * a pair for each label, answered by "yes" or "no".
 *
 * Pairs are built when their rows are due, and rows come in waves of bounded
 * number, so that neither 1000 labels nor long ones need more than their
 * scores' memory. Work passes over the pairs twice: first the inputs, and
 * those content-free questions that are ours to compute; then what another
 * task was to compute of the latter and did not (calibrate.h).
 */
#include "calibrate.h"
#include "fmath.h"
#include "status.h"

#include <math.h>
#include <string.h>

#define WAVE	64				/* units of one round */

typedef struct pair
{
	dl_question main;
	dl_question null;			/* content-free; unused when calibrated is off */
	dl_content_free *shared;	/* scores of null, or NULL */
	bool		own;			/* ours to compute in the first pass */
} pair;

/* How far the work has come. */
typedef struct place
{
	int			pass;			/* 0, 1; 2 = all done */
	int			pair;
	int			part;			/* 0 = null, 1 = main */
	dl_unit_cursor unit;
} place;

typedef struct classify_state
{
	bool		multi;
	bool		calibrated;
	bool		own_template;
	dlm_text	tmpl;
	dlm_scoring scoring;
	dlm_normalize normalize;
	dl_holes	holes;			/* of classify; those of classify_multi differ by label */
	const dlm_text *answers;	/* [n_answers] */
	int			n_answers;
	pair	  **pairs;			/* [n_pairs], NULL until built */
	int			n_pairs;
	place		computed,		/* all before it has been computed */
				planned;		/* ... is in this round */
	dl_unit    *wave[WAVE];
	pair	   *wave_pair[WAVE];	/* whose unit it is */
	int			n_wave;
} classify_state;

static const dlm_text yes_no[2] = {{"yes", 3}, {"no", 2}};

/* ---------------------------------------------------------------- open */

static void
choose_template(const dl_task *task, classify_state *state)
{
	const dl_settings *set = &task->session->model->settings;

	state->own_template = !task->options->has_template;
	if (task->options->has_template)
		state->tmpl = task->options->tmpl;
	else
		state->tmpl = state->multi ? set->classify_multi : set->classify;
}

static void
choose_rules(const dlm_options *options, const dl_settings *set, classify_state *state)
{
	dlm_calibrate calibrate = options->calibrate ? options->calibrate : set->calibrate;

	state->scoring = options->scoring ? options->scoring : set->scoring;
	if (state->scoring == DLM_SCORING_DEFAULT)
		state->scoring = DLM_SCORING_ONE_PASS;
	state->normalize = options->normalize ? options->normalize : set->normalize;
	if (state->normalize == DLM_NORMALIZE_DEFAULT)
		state->normalize = DLM_NORMALIZE_MEAN;
	state->calibrated = calibrate == DLM_CALIBRATE_CONTENT_FREE;
}

static dlm_status
classify_open(dl_task *task, dlm_error *err)
{
	const dlm_request *request = task->request;
	dl_arena   *a = task->session->arena;
	classify_state *state;
	dlm_status	st = dl_labels_check(request, a, err);

	if (st != DLM_OK)
		return st;
	state = dl_arena_calloc(a, 1, sizeof(*state));
	if (state == NULL)
		return dl_fail_memory(err);
	state->multi = request->task == DLM_CLASSIFY_MULTI;
	state->answers = state->multi ? yes_no : request->labels;
	state->n_answers = state->multi ? 2 : request->n_labels;
	state->n_pairs = state->multi ? request->n_labels : 1;
	state->pairs = dl_arena_calloc(a, (size_t) state->n_pairs, sizeof(pair *));
	if (state->pairs == NULL)
		return dl_fail_memory(err);
	choose_template(task, state);
	choose_rules(task->options, &task->session->model->settings, state);
	if (!state->multi)
		st = dl_labels_holes(task->session->model, request, state->tmpl, a, &state->holes, err);
	if (st != DLM_OK)
		return st;
	task->steps = state->n_pairs * (state->calibrated ? 2 : 1);
	task->state = state;
	return DLM_OK;
}

/* ---------------------------------------------------------------- questions */

/*
 * Fill a row that leaves room for the longest answer, and tokenise the
 * answers as its canvas. The room is known only when the answers are
 * tokenised, which needs the row: a row that turns out too long is filled
 * once more with less room.
 */
static dlm_status
fill_question(dl_task *task, const classify_state *state, dl_holes *holes, dlm_overflow overflow, dl_question *q,
			  dlm_error *err)
{
	dlm_session *s = task->session;
	int			context = (int) s->model->config.context;
	int			canvas = 0;
	dl_filled	row;
	dl_answers	answers;

	for (;;)
	{
		dlm_status	st = dl_template_fit(s->model, state->tmpl, state->own_template, holes, &holes->input,
										 context - canvas, overflow, s->arena, &s->env, &row, err);
		int			needs;

		if (st == DLM_OK)
			st = dl_answers_encode(s->model, state->answers, state->n_answers, &row, s->arena, &s->env, &answers, err);
		if (st != DLM_OK)
			return st;
		needs = dl_question_canvas(s->model, state->scoring, &answers);
		if (row.head.n + row.tail.n + needs <= context)
			return dl_question_init(q, s, state->scoring, &row, &answers, err);
		canvas = needs > canvas ? needs : canvas + 1;
	}
}

static dlm_status
build_pair(dl_task *task, classify_state *state, int index, dlm_error *err)
{
	dlm_session *s = task->session;
	pair	   *p = dl_arena_calloc(s->arena, 1, sizeof(*p));
	dl_holes	holes = state->holes;
	dlm_status	st = DLM_OK;

	if (p == NULL)
		return dl_fail_memory(err);
	if (state->multi)
		st = dl_labels_question(s->model, task->request, index, state->tmpl, s->arena, &holes, err);
	if (st == DLM_OK)
		st = fill_question(task, state, &holes, task->options->overflow, &p->main, err);
	if (st == DLM_OK && state->calibrated)
	{
		holes.input = s->model->settings.content_free;
		if (holes.input.len == 0)
			holes.input = dl_text("N/A");
		st = fill_question(task, state, &holes, DLM_OVERFLOW_ERROR, &p->null, err);
		if (st == DLM_OK)
			st = dl_content_free_share(s, &p->null, state->normalize, &p->shared, &p->own, err);
	}
	if (st == DLM_OK)
		state->pairs[index] = p;
	return st;
}

/* ---------------------------------------------------------------- result */

/* Score of one answer, calibrated if asked for. A token that is never scored makes it -inf. */
static double
answer_value(const classify_state *state, const pair *p, int i)
{
	double		score = dl_question_score(&p->main, i, state->normalize);

	if (p->shared == NULL || !isfinite(score) || !isfinite(p->shared->score[i]))
		return score;
	return score - p->shared->score[i];
}

/* A score under the bias and scale that were fitted to it. */
static double
fitted(const dlm_request *r, int i, double value)
{
	if (r->label_bias != NULL)
		value -= r->label_bias[i];
	return r->label_scale > 0 ? r->label_scale * value : value;
}

/* out[i] = softmax of value [n], in order; equal shares where no value is finite. */
static void
softmax(const double *value, int n, double *out)
{
	double		max = value[0];
	double		sum = 0;

	for (int i = 1; i < n; i++)
		if (value[i] > max)
			max = value[i];
	for (int i = 0; i < n; i++)
	{
		out[i] = !isfinite(max) ? 1 : isfinite(value[i]) ? dl_exp(value[i] - max) : 0;
		sum += out[i];
	}
	for (int i = 0; i < n; i++)
		out[i] /= sum;
}

static dlm_status
write_result(dl_task *task, classify_state *state, dlm_error *err)
{
	int			n = task->request->n_labels;
	dl_arena   *a = task->session->arena;
	dlm_label_score *score = dl_arena_calloc(a, (size_t) n, sizeof(*score));
	double	   *value = dl_arena_calloc(a, (size_t) n + 4, sizeof(double));
	double	   *share = dl_arena_calloc(a, (size_t) n + 4, sizeof(double));

	if (score == NULL || value == NULL || share == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
		value[i] = state->multi ? 0 : fitted(task->request, i, answer_value(state, state->pairs[0], i));
	softmax(value, n, share);
	for (int i = 0; i < n; i++)
	{
		double		yes_no_value[2];
		double		yes_no_share[2];

		if (!state->multi)
		{
			const dl_question *q = &state->pairs[0]->main;

			score[i] = (dlm_label_score) {value[i], share[i], dl_question_score(q, i, DLM_NORMALIZE_MEAN),
				dl_question_score(q, i, DLM_NORMALIZE_SUM)};
			continue;
		}
		for (int k = 0; k < 2; k++)
			yes_no_value[k] = answer_value(state, state->pairs[i], k);
		softmax(yes_no_value, 2, yes_no_share);
		score[i] = (dlm_label_score) {.logprob = yes_no_value[0], .probability = yes_no_share[0]};
	}
	task->result->labels = score;
	task->result->n_labels = n;
	task->result->best = 0;
	for (int i = 1; i < n; i++)
		if (score[i].probability > score[task->result->best].probability)
			task->result->best = i;
	return DLM_OK;
}

/* ---------------------------------------------------------------- plan */

/* The question at this place, if it has work in this pass. */
static dl_question *
question_at(const classify_state *state, const place *at)
{
	pair	   *p = state->pairs[at->pair];

	if (at->part == 1)
		return at->pass == 0 ? &p->main : NULL;
	if (p->shared == NULL || p->shared->done || p->own != (at->pass == 0))
		return NULL;
	return &p->null;
}

/* Filling rows takes a while when labels are many: look whether the caller wants to stop. */
static dlm_status
poll_stop(const dlm_session *s, dlm_error *err)
{
	if (s->env.stop != NULL && s->env.stop(s->env.arg))
		return dl_fail(err, DLM_EINTR, "", "canceled by the caller");
	return DLM_OK;
}

/* Move to the next unit. *q NULL: the pass ends here. */
static dlm_status
next_unit(dl_task *task, classify_state *state, place *at, dl_question **q, dlm_error *err)
{
	*q = NULL;
	while (at->pair < state->n_pairs)
	{
		if (state->pairs[at->pair] == NULL)
		{
			dl_mark		mark = dl_arena_mark(task->session->arena);
			dlm_status	st = poll_stop(task->session, err);

			if (st == DLM_OK)
				st = build_pair(task, state, at->pair, err);
			if (st == DLM_EINTR)	/* to be built again; nothing of it is known to anyone */
				dl_arena_rewind(task->session->arena, mark);
			if (st != DLM_OK)
				return st;
		}
		*q = question_at(state, at);
		if (*q != NULL && dl_question_next(*q, &at->unit))
			return DLM_OK;
		*q = NULL;
		at->unit = (dl_unit_cursor) {0, 0};
		if (++at->part == 2)
		{
			at->part = 0;
			at->pair++;
		}
	}
	return DLM_OK;
}

static void
free_wave(classify_state *state)
{
	for (int i = 0; i < state->n_wave; i++)
		dl_unit_free(state->wave[i]);
	state->n_wave = 0;
}

static dlm_status
classify_plan(dl_task *task, dlm_error *err)
{
	classify_state *state = task->state;
	place	   *at = &state->planned;

	/* a plan that was interrupted goes on: its rows are still in the round */
	while (state->n_wave < WAVE && at->pass < 2)
	{
		dl_question *q;
		dl_unit    *u = NULL;
		dlm_status	st = next_unit(task, state, at, &q, err);

		if (st == DLM_OK && q == NULL)
		{
			if (state->n_wave > 0)
				break;			/* whether the next pass has work depends on what this round computes */
			*at = (place) {.pass = at->pass + 1};
			continue;
		}
		if (st == DLM_OK)
			st = dl_question_unit(q, &at->unit, &u, err);
		if (st != DLM_OK)
			return st;
		state->wave_pair[state->n_wave] = state->pairs[at->pair];
		state->wave[state->n_wave++] = u;
		st = dl_session_add_row(task->session, &u->row, err);
		if (st != DLM_OK)
			return st;
	}
	return state->n_wave > 0 ? DLM_OK : write_result(task, state, err);
}

/* Have all units of this question been computed? */
static bool
is_complete(const classify_state *state, const dl_question *q)
{
	const place *at = &state->computed;
	dl_unit_cursor unit = at->unit;

	if (at->pair >= state->n_pairs)
		return true;
	if (q == &state->pairs[at->pair]->null)
		return at->part > 0 || !dl_question_next(q, &unit);
	if (q == &state->pairs[at->pair]->main)
		return at->part > 0 && !dl_question_next(q, &unit);
	return true;				/* the work has passed it */
}

static dlm_status
classify_absorb(dl_task *task, dlm_error *err)
{
	classify_state *state = task->state;
	int			n = state->n_wave;

	state->computed = state->planned;
	for (int i = 0; i < n; i++)
	{
		dl_question *q = state->wave[i]->question;
		pair	   *p = state->wave_pair[i];

		if (!is_complete(state, q) || (i + 1 < n && state->wave[i + 1]->question == q))
			continue;
		dl_question_close(q);
		task->step++;
		if (q == &p->null && !p->shared->done)
			dl_content_free_publish(task->session, q, state->normalize, p->shared);
	}
	free_wave(state);
	return DLM_OK;
}

static void
classify_close(dl_task *task)
{
	classify_state *state = task->state;

	free_wave(state);
	for (int i = 0; i < state->n_pairs; i++)
		if (state->pairs[i] != NULL)
		{
			dl_question_close(&state->pairs[i]->main);
			dl_question_close(&state->pairs[i]->null);
		}
}

const dl_task_ops dl_task_classify = {
	.name = "classify",
	.open = classify_open,
	.plan = classify_plan,
	.absorb = classify_absorb,
	.close = classify_close,
};
