/*
 * train_length.c - what is different in a run that trains the length head:
 * the network, and that states of the frozen backbone are kept where the limit
 * has room for all rows' of them.
 */
#include "train_impl.h"

#include "status.h"

void
dl_train_length_open(dlm_train *run)
{
	dl_config	c = run->base->config;

	dl_length_sizes(&c, &run->recipe.train);
	run->masker.length_classes = (int) c.length_classes;
}

static int64_t
count_tokens(const dlm_train *run)
{
	int64_t		tokens = 0;

	for (int i = 0; i < run->ds->n; i++)
		tokens += run->ds->rows[i].head;
	return tokens;
}

static int
longest_row(const dlm_train *run)
{
	int			longest = 1;

	for (int i = 0; i < run->ds->n; i++)
		if (run->ds->rows[i].head > longest)
			longest = run->ds->rows[i].head;
	return longest;
}

static dl_length_limits
limits_of(const dlm_train *run)
{
	dl_length_limits limits = {
		.states = {.tokens = run->limits.tokens, .rows = run->limits.rows}, .longest = longest_row(run)
	};

	if (run->keep_states)
	{
		limits.states.kept = run->ds->n;
		limits.states.kept_tokens = count_tokens(run);
	}
	return limits;
}

size_t
dl_train_length_bytes(const dlm_train *run)
{
	dl_length_limits limits = limits_of(run);
	size_t		trained;
	size_t		params = dl_params_bytes(run->base, &run->recipe.train, &trained);

	return params + dl_length_bytes(run->base, &run->recipe.train, &limits, run->threads) + dl_adamw_bytes(trained) +
		dl_block_bytes((size_t) run->limits.rows * sizeof(int));
}

dlm_status
dl_train_length_create(dlm_train *run, const dlm_env *env, dlm_error *err)
{
	dl_length_limits limits = limits_of(run);

	run->numbers = dl_arena_block(run->arena, (size_t) run->limits.rows * sizeof(int));
	if (run->numbers == NULL)
		return dl_fail_memory(err);
	return dl_length_create(run->p, &limits, env, &run->length, err);
}

/* Rows whose numbers stand in run->numbers. */
static dlm_status
forward(dlm_train *run, const dl_example *rows, int n, const dl_drop *drop, dlm_error *err)
{
	return dl_length_forward(run->length, rows, run->keep_states ? run->numbers : NULL, n, drop, err);
}

dlm_status
dl_train_length_part(dlm_train *run, const dl_example *rows, int n, const dl_drop *drop, dl_loss *loss, dlm_error *err)
{
	dlm_status	st;

	for (int i = 0; i < n; i++)
		run->numbers[i] = (int) (dl_batches_row(run->batches, i) - run->ds->rows);
	st = forward(run, rows, n, drop, err);
	return st == DLM_OK ? dl_length_loss(run->length, run->recipe.smoothing, loss, NULL, err) : st;
}

/* Loss of validation rows; the share of exact lengths takes the place of labels' accuracy. */
dlm_status
dl_train_length_validate(dlm_train *run, const dl_example *rows, int n, dl_loss *loss, dlm_error *err)
{
	dl_validation *v = &run->validation;
	int			near;
	dlm_status	st;

	for (int i = 0; i < n; i++)
		run->numbers[i] = run->ds->validation.row[v->row + i];
	st = forward(run, rows, n, NULL, err);
	if (st == DLM_OK)
		st = dl_length_loss(run->length, 0, loss, &near, err);
	if (st != DLM_OK)
		return st;
	v->right += loss->correct;
	v->near += near;
	v->asked += loss->asks;
	v->question = v->row + n;
	return DLM_OK;
}
