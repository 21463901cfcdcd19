/*
 * lengths.c - how long the gaps are (DESIGN 3, Lengths).
 *
 * A length is judged by the first forward with the whole gap masked: the mean
 * over its positions of the largest probability, over the model's length-bias
 * curve (the training-free search of arXiv 2602.00476). Ranges are searched
 * gap by gap, the others fixed, all lengths of a gap in one batched forward;
 * a combination counts with the mean of its gaps' scores. What was probed is
 * decoded from that same forward. Every probe costs one of length_budget; a
 * gap with more lengths than are left is probed at even distances.
 */
#include "fill.h"
#include "fmath.h"
#include "status.h"

#include <math.h>
#include <string.h>

#define MAX_SWEEPS		3
#define DEFAULT_BEAM	3

static int
beam_size(const dl_fill *f)
{
	return f->task->options->length_beam ? f->task->options->length_beam : DEFAULT_BEAM;
}

void
dl_lengths_middle(dl_fill *f)
{
	for (int g = 0; g < f->frame.n_gaps; g++)
		f->current[g] = dl_length_at(&f->lengths[g], (f->lengths[g].n - 1) / 2);
}

double
dl_length_curve_at(const double curve[5], int tokens)
{
	return curve[0] * dl_exp(-curve[1] * tokens) + curve[2] * dl_exp(-curve[3] * tokens) + curve[4];
}

/* What a confidence is divided by; a model without a curve has 1. */
static double
length_bias(const dlm_model *model, int n)
{
	double		value = dl_length_curve_at(model->settings.length_bias, n);

	return value > 0 ? value : 1.0;
}

static double
score_of(const dl_fill *f, const dl_combo *c)
{
	const dl_canvas *canvas = &c->row.canvas;
	double		total = 0;

	for (int g = 0; g < canvas->n_gaps; g++)
	{
		int			n = c->length[g];
		double		sum = 0;

		for (int i = canvas->gap_first[g]; i < canvas->gap_first[g + 1]; i++)
			sum += (double) dl_expf(canvas->slot[i].choice.peak);
		total += sum / n / length_bias(f->task->session->model, n);
	}
	return total / canvas->n_gaps;
}

/* Larger score, fewer tokens, shorter left gap. */
static bool
better(const dl_fill *f, const dl_combo *a, const dl_combo *b)
{
	if (a->score != b->score)
		return a->score > b->score;
	if (a->tokens != b->tokens)
		return a->tokens < b->tokens;
	for (int g = 0; g < f->frame.n_gaps; g++)
		if (a->length[g] != b->length[g])
			return a->length[g] < b->length[g];
	return false;
}

/* The best probed combinations, best first; what is not among them gives its row back. */
static dlm_status
choose_beam(dl_fill *f, dlm_error *err)
{
	int			most = beam_size(f);
	dl_combo   *only;
	dlm_status	st;

	f->beam = dl_arena_calloc(f->task->session->arena, (size_t) most, sizeof(*f->beam));
	if (f->beam == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < f->n_combos; i++)
	{
		dl_combo   *c = f->combo[i];
		int			at = f->n_beam;

		if (!c->probed || (at == most && !better(f, c, f->beam[at - 1])))
			continue;
		if (at == most)
			at--;
		else
			f->n_beam++;
		for (; at > 0 && better(f, c, f->beam[at - 1]); at--)
			f->beam[at] = f->beam[at - 1];
		f->beam[at] = c;
	}
	if (f->n_beam > 0)
		return DLM_OK;
	st = dl_fill_combo(f, f->current, &only, err);
	f->beam[0] = only;
	f->n_beam = 1;
	return st;
}

static dlm_status
probe(dl_fill *f, const int *length, dlm_error *err)
{
	dl_combo   *c;
	dlm_status	st = dl_fill_combo(f, length, &c, err);

	if (st != DLM_OK || c->probed || f->budget == 0)
		return st;
	f->budget--;
	c->probed = true;			/* its score comes with the round */
	st = dl_fill_open_row(f, c, f->kv, err);
	if (st == DLM_OK && c->row.fresh)
		c->score = score_of(f, c);	/* heal.c has run this very row */
	else if (st == DLM_OK)
		st = dl_denoise_probe(&c->row, err);
	return st;
}

/* Guidance takes two rounds: ask for the rows whose unconditional half is done. */
static dlm_status
probe_again(dl_fill *f, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (int i = f->probed_from; i < f->n_combos && st == DLM_OK; i++)
		if (f->combo[i]->row.session != NULL && f->combo[i]->row.guided && !f->combo[i]->row.fresh)
			st = dl_denoise_probe(&f->combo[i]->row, err);
	return st;
}

/* Probe every length of a gap, or as many at even distances as the budget allows. */
static dlm_status
probe_gap(dl_fill *f, int gap, dlm_error *err)
{
	const dl_lengths *l = &f->lengths[gap];
	int			best = f->current[gap];
	int			m = l->n < f->budget ? l->n : f->budget;
	dlm_status	st = DLM_OK;

	f->probed_from = f->n_combos;
	if (f->n_combos == 0)
		st = probe(f, f->current, err);
	for (int i = 0; i < m && st == DLM_OK; i++)
	{
		int64_t		at = m == l->n ? i : m == 1 ? l->n / 2 : (int64_t) i * (l->n - 1) / (m - 1);

		f->current[gap] = dl_length_at(l, (int) at);
		st = probe(f, f->current, err);
	}
	f->current[gap] = best;
	return st;
}

/* A gap is done: take the best length among the combinations that differ in this gap alone. */
static void
settle_gap(dl_fill *f, int gap)
{
	const dl_combo *best = NULL;
	int			old = f->current[gap];

	for (int i = 0; i < f->n_combos; i++)
	{
		const dl_combo *c = f->combo[i];
		bool		same = c->probed;

		for (int g = 0; g < f->frame.n_gaps && same; g++)
			same = g == gap || c->length[g] == f->current[g];
		if (same && (best == NULL || better(f, c, best)))
			best = c;
	}
	if (best != NULL)
		f->current[gap] = best->length[gap];
	f->moved |= f->current[gap] != old;
}

static int
count_ranges(const dl_fill *f)
{
	int			n = 0;

	for (int g = 0; g < f->frame.n_gaps; g++)
		n += f->lengths[g].n > 1;
	return n;
}

/* Rows of combinations that can no longer be among the best give their memory back. */
static void
drop_losers(dl_fill *f)
{
	int			most = beam_size(f);

	for (int i = 0; i < f->n_combos; i++)
	{
		int			ahead = 0;

		for (int k = 0; k < f->n_combos && ahead < most; k++)
			ahead += k != i && f->combo[k]->probed && better(f, f->combo[k], f->combo[i]);
		if (ahead >= most)
			dl_denoise_close(&f->combo[i]->row);
	}
}

dlm_status
dl_lengths_plan(dl_fill *f, bool *any, dlm_error *err)
{
	int			before = f->task->session->n_rows;
	int			ranges = count_ranges(f);

	dlm_status	st;

	*any = false;
	if (f->n_beam > 0)			/* predicted */
		return DLM_OK;
	st = probe_again(f, err);
	*any = f->task->session->n_rows > before;
	if (st != DLM_OK || *any)
		return st;
	while (ranges > 0 && f->budget > 0 && f->sweep < MAX_SWEEPS)
	{
		if (f->gap == f->frame.n_gaps)
		{
			if (!f->moved || ranges == 1)
				break;
			f->moved = false;
			f->gap = 0;
			f->sweep++;
			continue;
		}
		if (f->lengths[f->gap].n == 1)
		{
			f->gap++;
			continue;
		}
		st = probe_gap(f, f->gap, err);
		if (st != DLM_OK)
			return st;
		if (f->task->session->n_rows > before)
		{
			*any = true;
			return DLM_OK;
		}
		settle_gap(f, f->gap++);	/* all its lengths were known */
	}
	return choose_beam(f, err);
}

void
dl_lengths_absorb(dl_fill *f)
{
	bool		again = false;

	for (int i = f->probed_from; i < f->n_combos; i++)
	{
		dl_combo   *c = f->combo[i];

		if (!c->probed || c->row.session == NULL || c->row.fresh)
			continue;
		dl_denoise_absorb(&c->row);
		if (c->row.fresh)
			c->score = score_of(f, c);
		else
			again = true;		/* guidance: the row itself comes next */
	}
	if (again)
		return;
	settle_gap(f, f->gap++);
	drop_losers(f);
}

/* -------------------------------------------------------- the length head */

dlm_status
dl_lengths_predict_plan(dl_fill *f, dlm_error *err)
{
	dlm_session *s = f->task->session;
	const dl_ids *head = &f->frame.piece[0];
	dl_row		row = {.n = head->n, .ids = head->id};

	if (f->length_logprobs == NULL)
	{
		f->length_logprobs = dl_arena_calloc(s->arena, s->model->config.length_classes, sizeof(float));
		f->no_live = dl_arena_calloc(s->arena, (size_t) head->n, 1);
		if (f->length_logprobs == NULL || f->no_live == NULL)
			return dl_fail_memory(err);
	}
	row.lengths = f->length_logprobs;
	row.live = f->no_live;
	return dl_session_add_row(s, &row, err);
}

/* The k most probable classes, as lengths clipped to the largest allowed; equal ones once. Ties to the shorter. */
dlm_status
dl_lengths_predict_absorb(dl_fill *f, dlm_error *err)
{
	dlm_session *s = f->task->session;
	int			classes = (int) s->model->config.length_classes;
	int			largest = f->lengths[0].first;
	int			most = beam_size(f);
	float	   *logprob = f->length_logprobs;
	dlm_status	st = DLM_OK;

	f->beam = dl_arena_calloc(s->arena, (size_t) most, sizeof(*f->beam));
	if (f->beam == NULL)
		return dl_fail_memory(err);
	for (int k = 0; k < most && k < classes && st == DLM_OK; k++)
	{
		int			best = 0;
		int			length;
		int			known = f->n_combos;

		for (int c = 1; c < classes; c++)
			if (logprob[c] > logprob[best])
				best = c;
		logprob[best] = -INFINITY;
		length = best + 1 < largest ? best + 1 : largest;
		st = dl_fill_combo(f, &length, &f->beam[f->n_beam], err);
		f->n_beam += f->n_combos > known;
	}
	f->phase = DL_FILL_SEARCH;	/* nothing to search: the beam is set */
	f->lengths[0].n = 1;
	return st;
}
