/*
 * train_step.c - one call, one part of a batch: forward, loss, back; and the
 * optimiser's step where the batch is complete.
 */
#include "train_impl.h"

#include <math.h>
#include <time.h>

#include "status.h"

#define RECENT	0.9				/* of the running means of loss and speed */

static double
seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static double
mean_on(double before, double now)
{
	return isnan(before) ? now : RECENT * before + (1 - RECENT) * now;
}

/* Gradients of one part; the loss so far in run->sum. */
static dlm_status
do_part(dlm_train *run, const dl_example *rows, int n, dlm_error *err)
{
	const dl_recipe *r = &run->recipe;
	dl_drop		drop = {.seed = (uint64_t) r->seed, .step = (uint32_t) run->state.step, .first = run->part_first,
		.hidden = r->dropout, .attention = r->attention_dropout, .lora = r->lora_dropout};
	const dl_drop *used = r->dropout > 0 || r->attention_dropout > 0 || r->lora_dropout > 0 ? &drop : NULL;
	dl_loss		loss = {.bad = -1};	/* a forward pass may find what is not finite */
	dlm_status	st = run->length != NULL ? dl_train_length_part(run, rows, n, used, &loss, err) :
		dl_net_forward(run->net, rows, n, used, err);

	if (st == DLM_OK && run->length == NULL)
		st = dl_net_loss(run->net, r->smoothing, &loss, err);
	if (st == DLM_EDAMAGED)
		return dl_fail(err, st, DL_NOT_FINITE_HINT,
					   "loss is not a finite number in step %lld, row %lld", (long long) run->state.step + 1,
					   (long long) dl_batches_row(run->batches, dl_row_of_ask(rows, loss.bad))->key);
	if (st == DLM_OK)
		st = run->length != NULL ? dl_length_backward(run->length, err) : dl_net_backward(run->net, err);
	if (st != DLM_OK)
		return st;
	run->sum.loss += loss.loss;
	run->sum.weight += loss.weight;
	run->sum.nats += loss.nats;
	run->sum.correct += loss.correct;
	run->sum.asks += loss.asks;
	for (int i = 0; i < n; i++)
		run->part_first += (uint32_t) rows[i].n;
	return DLM_OK;
}

static void
begin_step(dlm_train *run)
{
	if (!run->in_step)
	{
		dl_batches_save(run->batches, &run->before);
		(void) dl_batches_next(run->batches, &run->step_tokens);
	}
	else
		dl_batches_again(run->batches);
	dl_params_clear(run->p);
	run->sum = (dl_loss) {0};
	run->part_first = 0;
	run->in_step = true;
}

/* mean = d mean + (1 - d) w, where d grows from 0 so that the first steps do not linger */
static void
average_weights(dlm_train *run)
{
	double		warm = (double) (1 + run->state.averaged) / (double) (10 + run->state.averaged);
	dl_real		d = (dl_real) (run->state.averaged == 0 ? 0 : warm < run->recipe.average ? warm : run->recipe.average);
	dl_real    *mean = run->average;

	run->state.averaged++;
	for (int i = 0; i < run->p->n; i++)
	{
		const dl_param *e = &run->p->list[i];

		for (size_t j = 0; e->grad != NULL && j < e->n; j++, mean++)
			*mean = d * *mean + (1 - d) * e->value[j];
	}
}

static dlm_status
finish_step(dlm_train *run, dlm_error *err)
{
	dl_train_state *s = &run->state;
	double		rate = dl_rate_at(&run->schedule, s->step + 1);
	double		norm = dl_clip_gradients(run->p, 1 / run->sum.weight, run->recipe.clip);

	if (!isfinite(norm))
	{
		run->sum.asks = 0;		/* begun anew by the next call */
		return dl_fail(err, DLM_EDAMAGED, DL_NOT_FINITE_HINT,
					   "gradient is not finite in step %lld", (long long) s->step + 1);
	}
	dl_adamw_step(run->adamw, rate);
	s->step++;
	s->tokens += (uint64_t) run->step_tokens;
	s->rate = rate;
	s->gradient = norm;
	s->loss = mean_on(s->loss, run->sum.nats / run->sum.asks);
	s->accuracy = mean_on(s->accuracy, (double) run->sum.correct / run->sum.asks);
	if (run->average != NULL)
		average_weights(run);
	run->in_step = false;
	return DLM_OK;
}

/* The next part, or the step's end. */
static dlm_status
advance(dlm_train *run, dlm_error *err)
{
	const dl_example *rows;
	int			n;
	dlm_status	st;

	if (dl_batches_part(run->batches, &rows, &n))
	{
		st = do_part(run, rows, n, err);
		if (st != DLM_OK)
			run->sum.asks = 0;	/* begun anew by the next call */
		return st;
	}
	return finish_step(run, err);
}

static bool
over(const dlm_train *run)
{
	const dl_recipe *r = &run->recipe;
	const dl_train_state *s = &run->state;

	return s->step >= run->steps || (r->patience > 0 && s->worse >= r->patience) || (r->seconds > 0 && s->seconds >= r->seconds);
}

static dlm_status
step_or_validate(dlm_train *run, dlm_error *err)
{
	dlm_status	st;

	if (run->validation.running || (!run->in_step && dl_train_validation_due(run)))
		st = dl_train_validate(run, err);
	else if (!run->in_step && over(run))
		return run->best != NULL && run->state.validated < run->state.step ? dl_train_validate(run, err) : DLM_OK;
	else
	{
		if (!run->in_step || run->sum.asks == 0)
			begin_step(run);
		st = advance(run, err);
	}
	return st == DLM_OK ? DLM_MORE : st;
}

dlm_status
dlm_train_step(dlm_train *run, dlm_error *err)
{
	double		begin = seconds_now();
	uint64_t	tokens = run->state.tokens;
	dlm_status	st = dl_train_check_begun(run, err);
	double		spent;

	if (st != DLM_OK)
		return st;
	if (run->written)
		return dl_fail(err, DLM_EINVAL, "", "the run's examples were written: it can only be closed");
	st = step_or_validate(run, err);
	spent = seconds_now() - begin;
	run->state.seconds += spent;
	if (!run->validation.running)
		run->recent_seconds += spent;
	if (run->state.tokens > tokens)
	{
		run->recent_tokens += (double) (run->state.tokens - tokens);
		run->recent_tokens *= RECENT;
		run->recent_seconds *= RECENT;
	}
	return st;
}
