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

#define MANY_LABELS		50		/* held-out rows with labels from which their accuracy decides */

bool
dl_train_validation_due(const dlm_train *run)
{
	const dl_train_state *s = &run->state;

	return run->best != NULL && s->validated < s->step && (s->step % run->validate_every == 0 || s->step >= run->steps);
}

/* An error of a forward pass; where numbers are not finite, with step and row. */
static dlm_status
named(const dlm_train *run, dlm_status st, int64_t key, dlm_error *err)
{
	if (st != DLM_EDAMAGED)
		return st;
	return dl_fail(err, st, "Lower \"learning_rate\".", "loss is not a finite number after step %lld, held-out row %lld",
				   (long long) run->state.step, (long long) key);
}

/* ------------------------------------------------------------------- losses */

static const dl_data_row *
row_at(const dlm_train *run, int i)
{
	return &run->ds->rows[run->ds->validation.row[i]];
}

static dlm_status
rows_loss(dlm_train *run, dlm_error *err)
{
	dl_validation *v = &run->validation;
	const dl_example *rows;
	dl_loss		loss = {.bad = -1};
	int			n;
	dlm_status	st;

	dl_batches_validation(run->batches, v->row, &rows, &n);
	st = run->length != NULL ? dl_train_length_validate(run, rows, n, &loss, err) :
		dl_net_forward(run->net, rows, n, NULL, err);
	if (st == DLM_OK && run->length == NULL)
		st = dl_net_loss(run->net, 0, &loss, err);
	if (st != DLM_OK)
		return named(run, st, st == DLM_EDAMAGED ? row_at(run, v->row + dl_row_of_ask(rows, loss.bad))->key : 0, err);
	v->nats += loss.nats;
	v->asks += loss.asks;
	v->row += n;
	return DLM_OK;
}

/* ------------------------------------------------------------------- labels */

/* One canvas serves all labels where a stop token ends them; elsewhere each length has its own. */
static int
canvas_of(const dlm_train *run, const dl_answers *labels, int length)
{
	return run->ds->stop >= 0 ? labels->n_max + 1 : length;
}

#define MOST_CANVASES	32		/* rows with labels of more lengths are passed over */

/* Lengths of the labels of a row that need a canvas of their own. */
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

/* Canvases that go through the network together. */
typedef struct dl_canvases
{
	int			first,			/* of the row's */
				n;
	int			ask[MOST_CANVASES];	/* where the asks of each begin */
} dl_canvases;

/* The best label so far; ties are for the earlier one. */
typedef struct dl_verdict
{
	double		score;
	int			label;			/* -1: none */
} dl_verdict;

static void
judge(dlm_train *run, const dl_answers *labels, const int *lengths, const dl_canvases *c, dl_verdict *v)
{
	for (int i = 0; i < labels->n; i++)
		for (int j = 0; j < c->n; j++)
		{
			double		score;

			if (run->ds->stop < 0 && lengths[c->first + j] != dl_answer_length(labels, i))
				continue;
			score = label_score(run, labels, i, c->ask[j]);
			if (v->label < 0 || score > v->score || (score == v->score && i < v->label))
				*v = (dl_verdict) {score, i};
			break;
		}
}

/* Questions of the row's canvases from c->first on, as many as the run's batches hold. */
static void
ask_together(dlm_train *run, const dl_data_row *row, const int *lengths, int n, dl_canvases *c)
{
	int			asks = 0;

	run->space.used = 0;
	for (c->n = 0; c->first + c->n < n && c->n < run->limits.rows; c->n++)
	{
		int			canvas = canvas_of(run, row->labels, lengths[c->first + c->n]);

		if (run->space.used + row->head + canvas + row->tail > run->limits.tokens || asks + canvas > run->limits.asks)
			return;
		run->questions[c->n] = dl_mask_question(&run->masker, row, canvas, &run->space);
		c->ask[c->n] = asks;
		asks += canvas;
	}
}

/* One row with labels; one that the engine could not ask about is passed over. */
static dlm_status
one_question(dlm_train *run, const dl_data_row *row, dlm_error *err)
{
	int			longest = row->labels->n_max + (run->ds->stop >= 0);
	int			lengths[MOST_CANVASES];
	int			n;
	dl_canvases c = {0};
	dl_verdict	v = {.label = -1};

	if ((run->ds->stop < 0 && longest > MOST_CANVASES) || row->head + longest + row->tail > (int) run->base->config.context)
		return DLM_OK;
	n = canvases(run, row, lengths);
	for (; c.first < n; c.first += c.n)
	{
		dl_loss		loss;
		dlm_status	st;

		ask_together(run, row, lengths, n, &c);
		if (c.n == 0)
			return DLM_OK;		/* not of this run's rows: its batches hold each of their canvases */
		st = dl_net_forward(run->net, run->questions, c.n, NULL, err);
		if (st == DLM_OK)
			st = dl_net_loss(run->net, 0, &loss, err);
		if (st != DLM_OK)
			return named(run, st, row->key, err);
		judge(run, row->labels, lengths, &c, &v);
		if (dl_net_stopped(run->net))
			return dl_fail(err, DLM_EINTR, "", "training was stopped");
	}
	run->validation.asked++;
	run->validation.right += v.label == row->answer;
	return DLM_OK;
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

/* Lengths are judged by their loss, since a near miss is worth something; and so are labels of so few rows that a share of them is luck. */
static bool
better(const dlm_train *run)
{
	const dl_train_state *s = &run->state;

	if (s->best_step < 0)
		return true;
	if (run->length == NULL && run->validation.asked >= MANY_LABELS && s->validation_accuracy != s->best_accuracy)
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

dlm_status
dl_train_validate(dlm_train *run, dlm_error *err)
{
	dl_validation *v = &run->validation;
	dlm_status	st;

	if (!v->running)
		*v = (dl_validation) {.running = true};
	dl_train_stand_in(run, true);
	if (v->row < run->ds->validation.n)
		st = rows_loss(run, err);
	else
		st = labels_right(run, err);
	if (st == DLM_OK && v->row >= run->ds->validation.n && v->question >= run->ds->validation.n)
	{
		conclude(run);
		v->running = false;
	}
	/* from slice to slice they stay; a run that goes on, or cannot, has its own weights */
	if (!v->running || (st != DLM_OK && st != DLM_EINTR))
		dl_train_stand_in(run, false);
	return st == DLM_OK && v->running ? DLM_MORE : st;
}
