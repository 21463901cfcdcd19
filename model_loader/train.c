/*
 * train.c - a run's life: open, rows, start; see train.h.
 *
 * Memory is predicted whole before any of it is taken. Where the limit does
 * not hold a whole batch, batches are taken in parts; where it does not hold a
 * part of a few hundred tokens, activations are computed again on the way back.
 */
#include "train_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "status.h"
#include "train_options.h"

#define DEFAULT_LIMIT	((size_t) 1 << 30)
#define SMALL_PART		256		/* tokens: below, products lose speed and recomputing is the better way */
#define LARGE_PART		4096	/* above, nothing is gained */
#define EPOCH_STEPS		20		/* of batches whose size is left to us */
#define LEAST_BATCH		256		/* tokens */
#define USUAL_BATCH		2048

dlm_status
dlm_train_open(const dlm_model *base, const dlm_train_options *options, const dlm_env *env, dlm_train **out, dlm_error *err)
{
	dlm_train  *run = calloc(1, sizeof(*run));
	dl_dataset_options rows = {0};
	dlm_status	st;

	*out = NULL;
	if (run == NULL)
		return dl_fail_memory(err);
	run->base = base;
	run->options = options;
	run->env = *env;
	run->threads = env->threads;
	run->state.validated = run->state.best_step = -1;
	run->state.loss = run->state.accuracy = run->state.validation_loss = run->state.validation_accuracy = NAN;
	run->state.validation_near = run->state.best_loss = run->state.best_accuracy = NAN;
	st = dl_train_recipe_resolve(options, base, &run->recipe, err);
	run->arena = st == DLM_OK ? dl_arena_create(env->memory_limit > 0 ? env->memory_limit : DEFAULT_LIMIT) : NULL;
	if (st == DLM_OK && run->arena == NULL)
		st = dl_fail_memory(err);
	if (st == DLM_OK)
	{
		rows.row_tokens = run->recipe.row_tokens;
		rows.cut_input = run->recipe.cut_input;
		rows.keep_labels = run->recipe.held_out > 0;
		rows.lengths = dl_train_lengths(run);
		st = dl_dataset_create(base, &rows, env, run->arena, &run->ds, err);
	}
	if (st != DLM_OK)
	{
		dlm_train_close(run);
		return st;
	}
	run->masker = (dl_masker) {.ds = run->ds, .masking = &run->recipe.masking, .seed = run->recipe.seed};
	if (dl_train_lengths(run))
		dl_train_length_open(run);
	*out = run;
	return DLM_OK;
}

void
dlm_train_close(dlm_train *run)
{
	if (run == NULL)
		return;
	dl_net_free(run->net);		/* its threads */
	dl_length_free(run->length);
	if (run->arena != NULL)
		dl_arena_destroy(run->arena);
	free(run);
}

/* The net is the last thing that start takes. */
static dlm_status
check_not_begun(const dlm_train *run, dlm_error *err)
{
	return !dl_train_begun(run) ? DLM_OK : dl_fail(err, DLM_EINVAL, "", "the training has begun already");
}

dlm_status
dlm_train_source(dlm_train *run, const char *name, double weight, int *source, dlm_error *err)
{
	dlm_status	st = check_not_begun(run, err);

	return st == DLM_OK ? dl_dataset_source(run->ds, name, weight, source, err) : st;
}

void
dlm_train_source_drop(dlm_train *run)
{
	dl_dataset *ds = run->ds;

	if (!dl_train_begun(run) && ds->n_sources > 1 && ds->source[ds->n_sources - 1].n == 0)
		ds->n_sources--;
}

dlm_status
dlm_train_weigh(dlm_train *run, int source, double weight, dlm_error *err)
{
	dlm_status	st = check_not_begun(run, err);

	if (st == DLM_OK && (source < 0 || source >= run->ds->n_sources))
		st = dl_fail(err, DLM_EINVAL, "", "there is no source %d", source);
	return st == DLM_OK ? dl_dataset_weigh(run->ds, source, weight, err) : st;
}

dlm_status
dlm_train_add(dlm_train *run, int source, const dlm_train_row *row, dlm_error *err)
{
	dl_row_text text = {
		.instruction = row->instruction, .input = row->input, .target = row->target, .text = row->text,
		.labels = row->labels, .n_labels = row->n_labels, .key = row->key
	};

	dlm_status	st = check_not_begun(run, err);

	return st == DLM_OK ? dl_dataset_add(run->ds, source, &text, err) : st;
}

/* ------------------------------------------------------------------ memory */

static size_t
trained_numbers(const dlm_train *run)
{
	size_t		trained;

	(void) dl_params_bytes(run->base, &run->recipe.train, &trained);
	return trained;
}

static bool
validates(const dlm_train *run)
{
	return run->ds->validation.n > 0;
}

/* Copies of the trained weights that a run keeps: the mean and the best. */
static int
copies(const dlm_train *run)
{
	return (run->recipe.average > 0) + validates(run);
}

/* Everything but the rows, for batches that go in parts of so many tokens. */
static size_t
bytes_needed(dlm_train *run, int part_tokens, bool recompute)
{
	size_t		trained = trained_numbers(run);
	size_t		bytes;

	run->batching = (dl_batches_options) {run->recipe.batch_tokens, part_tokens};
	run->limits = dl_batches_limits(&run->masker, &run->batching);
	run->limits.recompute = recompute;
	run->limits.lora_dropout = run->recipe.lora_dropout > 0;
	run->limits.teacher = run->recipe.masking.distill > 0;
	bytes = dl_train_lengths(run) ? dl_train_length_bytes(run) :
		dl_train_bytes(run->base, &run->recipe.train, &run->limits, run->threads);
	bytes += dl_batches_bytes(&run->masker, &run->batching);
	bytes += (size_t) copies(run) * dl_block_bytes(trained * sizeof(dl_real));
	bytes += dl_block_bytes(dl_mask_space_bytes(run->limits.tokens));
	bytes += dl_block_bytes(dl_train_pieces(run) * sizeof(dl_piece));
	return bytes + dl_block_bytes((size_t) run->limits.rows * sizeof(dl_example));
}

static bool
fits(dlm_train *run, int part_tokens, bool recompute)
{
	run->memory = dl_arena_used(run->arena) + bytes_needed(run, part_tokens, recompute);
	return run->memory <= dl_arena_limit(run->arena);
}

/* The largest parts that fit, down to so many tokens. */
static bool
fits_in_parts(dlm_train *run, int least, bool recompute)
{
	int			whole = run->recipe.batch_tokens;

	for (int part = whole < LARGE_PART ? whole : LARGE_PART;; part /= 2)
	{
		if (part < least)
			return fits(run, least, recompute);
		if (fits(run, part, recompute))
			return true;
	}
}

static dlm_status
plan_memory(dlm_train *run, dlm_error *err)
{
	const dl_recipe *r = &run->recipe;
	bool		ok;

	if (dl_train_lengths(run))	/* parts of a useful size come before states that are kept */
		ok = (run->keep_states = true, r->part_tokens > 0 ? fits(run, r->part_tokens, false) : fits_in_parts(run, SMALL_PART, false)) ||
			(run->keep_states = false, r->part_tokens > 0 ? fits(run, r->part_tokens, false) : fits_in_parts(run, 1, false));
	else if (r->part_tokens > 0)
		ok = (r->recompute != 1 && fits(run, r->part_tokens, false)) || (r->recompute != 0 && fits(run, r->part_tokens, true));
	else
		ok = (r->recompute != 1 && fits_in_parts(run, r->recompute == 0 ? 1 : SMALL_PART, false)) ||
			(r->recompute != 0 && fits_in_parts(run, 1, true));
	if (ok)
		return DLM_OK;
	/* a little too much is a MB more */
	return dl_fail(err, DLM_ENOMEM, "Raise the limit, or train fewer weights (\"rank\", \"modules\"), shorter rows or smaller batches (\"batch_tokens\").",
				   "training needs %zu MB, but the limit is %zu MB", (run->memory >> 20) + 1, dl_arena_limit(run->arena) >> 20);
}

static dlm_status
take_copy(dlm_train *run, dl_real **copy, dlm_error *err)
{
	*copy = dl_arena_block(run->arena, run->p->trained * sizeof(dl_real));
	return *copy != NULL ? DLM_OK : dl_fail_memory(err);
}

static void
set_threads(dlm_train *run)
{
	if (run->net != NULL)
		dl_net_threads(run->net, run->env.threads);
	if (run->length != NULL)
		dl_length_threads(run->length, run->env.threads);
}

static dlm_status
take_memory(dlm_train *run, dlm_error *err)
{
	const dl_recipe *r = &run->recipe;
	dlm_env		env = run->env;
	dlm_status	st = dl_params_create(run->base, &r->train, run->arena, &run->p, err);

	if (st == DLM_OK)
		st = dl_adamw_create(run->p, &r->adamw, &run->adamw, err);
	if (st == DLM_OK)
		st = dl_batches_create(&run->masker, &run->batching, &run->batches, err);
	if (st == DLM_OK && r->average > 0)
		st = take_copy(run, &run->average, err);
	if (st == DLM_OK && validates(run))
		st = take_copy(run, &run->best, err);
	if (st != DLM_OK)
		return st;
	run->space_block = dl_arena_block(run->arena, dl_mask_space_bytes(run->limits.tokens));
	run->questions = dl_arena_block(run->arena, (size_t) run->limits.rows * sizeof(dl_example));
	run->pieces = dl_arena_block(run->arena, dl_train_pieces(run) * sizeof(dl_piece));
	if (run->space_block == NULL || run->questions == NULL || run->pieces == NULL)
		return dl_fail_memory(err);
	run->space = dl_mask_space_over(run->space_block, run->limits.tokens);
	if (run->average != NULL)
		memset(run->average, 0, run->p->trained * sizeof(dl_real));
	env.threads = run->threads;
	st = dl_train_lengths(run) ? dl_train_length_create(run, &env, err) :
		dl_net_create(run->p, &run->limits, &env, &run->net, err);
	if (st == DLM_OK)
		set_threads(run);
	return st;
}

/* -------------------------------------------------------------------- start */

/* Few rows still make enough steps of an epoch to learn from; many rows make steps that use the machine well. */
static void
choose_batch(dlm_train *run)
{
	dl_batches_options one = {.batch_tokens = 1};
	double		share;

	if (run->recipe.batch_tokens > 0)
		return;
	share = dl_batches_epoch_steps(&run->masker, &one) / EPOCH_STEPS;
	run->recipe.batch_tokens = share < LEAST_BATCH ? LEAST_BATCH : share > USUAL_BATCH ? USUAL_BATCH : (int) share;
}

static void
plan_steps(dlm_train *run)
{
	const dl_recipe *r = &run->recipe;

	run->steps = r->steps > 0 ? r->steps : (int64_t) ceil(r->epochs * dl_batches_epoch_steps(&run->masker, &run->batching));
	if (run->steps < 1)
		run->steps = 1;
	run->validate_every = r->validate_every > 0 ? r->validate_every : (run->steps + 9) / 10;
	run->schedule = (dl_rate) {
		.form = r->schedule, .peak = r->rate, .last = r->last_rate * r->rate,
		.warmup = (int64_t) (r->warmup * (double) run->steps), .steps = run->steps
	};
}

dlm_status
dlm_train_start(dlm_train *run, dlm_error *err)
{
	dlm_status	st = check_not_begun(run, err);

	if (st == DLM_OK)
		st = dl_dataset_check(run->ds, err);
	if (st == DLM_OK && run->ds->validation.n == 0)
		st = dl_dataset_hold_out(run->ds, run->recipe.held_out, run->recipe.seed, err);
	if (st != DLM_OK)
		return st;
	choose_batch(run);
	st = plan_memory(run, err);
	if (st != DLM_OK)
		return st;
	plan_steps(run);
	return take_memory(run, err);
}

void
dlm_train_threads(dlm_train *run, int threads)
{
	threads = threads < 1 ? 1 : threads > run->threads ? run->threads : threads;
	run->env.threads = threads;
	set_threads(run);
}

size_t
dlm_train_memory(const dlm_train *run)
{
	return run->memory;
}

void
dlm_train_progress_get(const dlm_train *run, dlm_train_progress *out)
{
	const dl_train_state *s = &run->state;
	int64_t		rows = 0;

	for (int i = 0; i < run->ds->n_sources; i++)
		rows += run->ds->source[i].n;
	*out = (dlm_train_progress) {
		.step = s->step, .steps = run->steps, .rows = rows, .rows_held_out = run->ds->validation.n, .tokens = s->tokens,
		.seconds = s->seconds, .loss = s->loss, .accuracy = s->accuracy, .rate = s->rate, .gradient = s->gradient,
		.validation_loss = s->validation_loss, .validation_accuracy = s->validation_accuracy,
		.validation_near = s->validation_near, .best_loss = s->best_loss, .best_accuracy = s->best_accuracy,
		.best_step = s->best_step, .validated = s->validated, .memory_peak = dl_arena_peak(run->arena)
	};
	out->tokens_per_second = run->recent_seconds > 0 ? run->recent_tokens / run->recent_seconds : 0;
}

/* ------------------------------------------------------------ trained values */

void
dl_train_take(const dl_params *p, dl_real *out)
{
	for (int i = 0; i < p->n; i++)
		if (p->list[i].grad != NULL)
		{
			memcpy(out, p->list[i].value, p->list[i].n * sizeof(dl_real));
			out += p->list[i].n;
		}
}

void
dl_train_put(dl_params *p, const dl_real *in)
{
	for (int i = 0; i < p->n; i++)
		if (p->list[i].grad != NULL)
		{
			memcpy(p->list[i].value, in, p->list[i].n * sizeof(dl_real));
			in += p->list[i].n;
		}
}

void
dl_train_exchange(dl_params *p, dl_real *with)
{
	for (int i = 0; i < p->n; i++)
		for (size_t j = 0; p->list[i].grad != NULL && j < p->list[i].n; j++, with++)
		{
			dl_real		x = p->list[i].value[j];

			p->list[i].value[j] = *with;
			*with = x;
		}
}

void
dl_train_stand_in(dlm_train *run, bool averaged)
{
	if (run->average == NULL || run->state.averaged == 0 || run->stands_in == averaged)
		return;
	dl_train_exchange(run->p, run->average);
	run->stands_in = averaged;
}
