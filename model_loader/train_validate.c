/*
 * train_validate.c - held-out rows: their loss with the whole canvas masked,
 * and, where they have labels, how often the target scores best of them, by
 * the rule that dlm_classify uses without calibration. The best weights so far
 * are kept.
 */
#include "train_impl.h"

#include <math.h>
#include <string.h>

#include "status.h"

bool
dl_train_validation_due(const dlm_train *run)
{
	const dl_train_state *s = &run->state;

	return run->best != NULL && s->validated < s->step && (s->step % run->validate_every == 0 || s->step >= run->steps);
}

/* ------------------------------------------------------------------- losses */

static dlm_status
rows_loss(dlm_train *run, dlm_error *err)
{
	dl_validation *v = &run->validation;
	const dl_example *rows;
	dl_loss		loss;
	int			n;
	dlm_status	st;

	dl_batches_validation(run->batches, v->row, &rows, &n);
	if (run->length != NULL)
		return dl_train_length_validate(run, rows, n, err);
	st = dl_net_forward(run->net, rows, n, NULL, err);
	if (st == DLM_OK)
		st = dl_net_loss(run->net, 0, &loss, err);
	if (st != DLM_OK)
		return st;
	v->nats += loss.nats;
	v->asks += loss.asks;
	v->row += n;
	return DLM_OK;
}

/* ------------------------------------------------------------------- labels */

static const dl_data_row *
row_at(const dlm_train *run, int i)
{
	return &run->ds->rows[run->ds->validation.row[i]];
}

/* One canvas serves all labels where a stop token ends them; elsewhere each length has its own. */
static int
canvas_of(const dlm_train *run, const dl_answers *labels, int length)
{
	return run->ds->stop >= 0 ? labels->n_max + 1 : length;
}

/* Questions of a row that a forward pass must answer: its canvases. */
static int
canvases(const dlm_train *run, const dl_data_row *row, int *lengths)
{
	int			n = 0;

	if (run->ds->stop >= 0)
	{
		lengths[0] = row->labels->n_max;
		return 1;
	}
	for (int length = 1; length <= row->labels->n_max; length++)
		for (int i = 0; i < row->labels->n; i++)
			if (dl_answer_length(row->labels, i) == length)
			{
				lengths[n++] = length;
				break;
			}
	return n;
}

/* Score of label i whose canvas' first ask is `ask`: the model's own normalisation. */
static double
label_score(dlm_train *run, const dl_answers *labels, int i, int ask)
{
	int			n = dl_answer_length(labels, i);
	bool		sum = run->base->settings.normalize == DLM_NORMALIZE_SUM;
	double		score = 0;

	for (int t = 0; t < n; t++)
		score += dl_net_logprob(run->net, ask + t, labels->ids[labels->start[i] + t]);
	if (!sum)
		return score / n;
	return run->ds->stop >= 0 ? score + dl_net_logprob(run->net, ask + n, run->ds->stop) : score;
}

/* Labels of a row whose canvases' asks begin at ask [n]. */
static void
judge(dlm_train *run, const dl_data_row *row, const int *lengths, const int *ask, int n)
{
	const dl_answers *labels = row->labels;
	double		best = -INFINITY;
	int			winner = -1;

	for (int i = 0; i < labels->n; i++)
	{
		int			c = 0;
		double		score;

		while (n > 1 && c < n - 1 && lengths[c] != dl_answer_length(labels, i))
			c++;
		score = label_score(run, labels, i, ask[c]);
		if (score > best)
		{
			best = score;
			winner = i;
		}
	}
	run->validation.asked++;
	run->validation.right += winner == row->answer;
}

#define MOST_CANVASES	32		/* rows with labels of more lengths are passed over */

/* One row with labels: a forward pass over its canvases. */
static dlm_status
one_question(dlm_train *run, const dl_data_row *row, dlm_error *err)
{
	int			lengths[MOST_CANVASES];
	int			ask[MOST_CANVASES];
	int			n = row->labels->n_max <= MOST_CANVASES || run->ds->stop >= 0 ? canvases(run, row, lengths) : 0;
	int			asks = 0;
	dl_loss		loss;
	dlm_status	st;

	if (n == 0)
		return DLM_OK;
	run->space.used = 0;
	for (int i = 0; i < n; i++)
	{
		int			canvas = canvas_of(run, row->labels, lengths[i]);

		if (i >= run->limits.rows || run->space.used + row->head + canvas + row->tail > run->limits.tokens ||
			asks + canvas > run->limits.asks || row->head + canvas + row->tail > (int) run->base->config.context)
			return DLM_OK;		/* does not fit the run's batches */
		run->questions[i] = dl_mask_question(&run->masker, row, canvas, &run->space);
		ask[i] = asks;
		asks += canvas;
	}
	st = dl_net_forward(run->net, run->questions, n, NULL, err);
	if (st == DLM_OK)
		st = dl_net_loss(run->net, 0, &loss, err);
	if (st == DLM_OK)
		judge(run, row, lengths, ask, n);
	return st;
}

static dlm_status
labels_right(dlm_train *run, dlm_error *err)
{
	dl_validation *v = &run->validation;
	const dl_data_row *row = row_at(run, v->question);
	dlm_status	st = DLM_OK;

	if (row->labels != NULL && row->answer >= 0)
		st = one_question(run, row, err);
	if (st == DLM_OK)
		v->question++;
	return st;
}

/* ------------------------------------------------------------------ the best */

/* Lengths by their loss: a near miss is worth something. */
static bool
better(const dlm_train *run)
{
	const dl_train_state *s = &run->state;

	if (s->best_step < 0)
		return true;
	if (run->length == NULL && !isnan(s->validation_accuracy) && s->validation_accuracy != s->best_accuracy)
		return s->validation_accuracy > s->best_accuracy;
	return s->validation_loss < s->best_loss;
}

static void
conclude(dlm_train *run)
{
	dl_train_state *s = &run->state;
	const dl_validation *v = &run->validation;

	s->validated = s->step;
	s->validation_loss = v->nats / (double) v->asks;
	s->validation_accuracy = v->asked > 0 ? (double) v->right / (double) v->asked : NAN;
	s->validation_near = run->length != NULL ? (double) v->near / (double) v->asked : NAN;
	if (better(run))
	{
		s->best_loss = s->validation_loss;
		s->best_accuracy = s->validation_accuracy;
		s->best_step = s->step;
		s->worse = 0;
		dl_train_take(run->p, run->best);
	}
	else
		s->worse++;
}

/* Averaged weights stand in for the last ones while they are judged. */
static void
step_aside(dlm_train *run)
{
	if (run->average == NULL || run->state.averaged == 0)
		return;
	dl_train_take(run->p, run->aside);
	dl_train_put(run->p, run->average);
}

static void
step_back(dlm_train *run)
{
	if (run->average != NULL && run->state.averaged > 0)
		dl_train_put(run->p, run->aside);
}

dlm_status
dl_train_validate(dlm_train *run, dlm_error *err)
{
	dl_validation *v = &run->validation;
	dlm_status	st;

	if (!v->running)
		*v = (dl_validation) {.running = true};
	step_aside(run);
	if (v->row < run->ds->validation.n)
		st = rows_loss(run, err);
	else
		st = labels_right(run, err);
	if (st == DLM_OK && v->row >= run->ds->validation.n && v->question >= run->ds->validation.n)
	{
		conclude(run);
		v->running = false;
	}
	step_back(run);
	return st == DLM_OK && v->running ? DLM_MORE : st;
}
