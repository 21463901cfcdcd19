/*
 * train_examples.c - what a run's steps would compute, as a file: rows chosen,
 * packed and masked, for a trainer on other hardware.
 *
 *		"DLMEXAMP", u32 version (1), u32 width (2 or 4), u32 vocabulary, u32 mask's id, u32 steps, u32 0
 *		each step:	u32 rows, u32 tokens, u32 asks (R, T, A)
 *					n [R], n_ask [R], ids [T], ask [A], target [A]		numbers of `width` bytes
 *					live [T]											bytes
 *					weight [A]											f32
 *
 * Little-endian, nothing between. The arrays are dl_example's (net.h), those
 * of all rows end to end; a row's asks are positions in the row. A step's loss
 * is sum(weight cross-entropy) / sum(weight) over its asks. What attention sees
 * and which state predicts a token are the model's (attention, logit_shift).
 */
#include "train_impl.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "status.h"

#define EXAMPLES_VERSION	1

typedef struct dl_bytes
{
	uint8_t    *data;
	size_t		size,
				capacity;
} dl_bytes;

/* A step's arrays. */
enum { NS, ASKS, IDS, ASK, TARGET, LIVE, WEIGHT, N_ARRAYS };

typedef struct dl_examples
{
	dlm_train  *run;
	dl_writer  *w;
	int			width;
	uint32_t	count[3];		/* rows, tokens, asks of the step */
	dl_bytes	array[N_ARRAYS];
} dl_examples;

static dlm_status
append(dl_bytes *b, const void *data, size_t size, dlm_error *err)
{
	if (b->capacity - b->size < size)
	{
		size_t		capacity = 2 * b->capacity + size;
		uint8_t    *grown = realloc(b->data, capacity);

		if (grown == NULL)
			return dl_fail_memory(err);
		b->data = grown;
		b->capacity = capacity;
	}
	memcpy(b->data + b->size, data, size);
	b->size += size;
	return DLM_OK;
}

static dlm_status
append_numbers(dl_bytes *b, const int32_t *numbers, int n, int width, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (int i = 0; i < n && st == DLM_OK; i++)
		st = append(b, &numbers[i], (size_t) width, err);	/* the low bytes come first */
	return st;
}

static dlm_status
append_example(dl_examples *x, const dl_example *e, dlm_error *err)
{
	dl_bytes   *a = x->array;
	dlm_status	st = append_numbers(&a[NS], &e->n, 1, x->width, err);

	if (st == DLM_OK)
		st = append_numbers(&a[ASKS], &e->n_ask, 1, x->width, err);
	if (st == DLM_OK)
		st = append_numbers(&a[IDS], e->ids, e->n, x->width, err);
	if (st == DLM_OK)
		st = append_numbers(&a[ASK], e->ask, e->n_ask, x->width, err);
	if (st == DLM_OK)
		st = append_numbers(&a[TARGET], e->target, e->n_ask, x->width, err);
	if (st == DLM_OK)
		st = append(&a[LIVE], e->live, (size_t) e->n, err);
	if (st == DLM_OK)
		st = append(&a[WEIGHT], e->weight, (size_t) e->n_ask * sizeof(float), err);
	x->count[0]++;
	x->count[1] += (uint32_t) e->n;
	x->count[2] += (uint32_t) e->n_ask;
	return st;
}

static dlm_status
put_step(dl_examples *x, dlm_error *err)
{
	const dl_example *rows;
	dlm_status	st = DLM_OK;
	int			n;

	memset(x->count, 0, sizeof(x->count));
	for (int i = 0; i < N_ARRAYS; i++)
		x->array[i].size = 0;
	(void) dl_batches_next(x->run->batches, NULL);
	while (st == DLM_OK && dl_batches_part(x->run->batches, &rows, &n))
		for (int i = 0; i < n && st == DLM_OK; i++)
			st = append_example(x, &rows[i], err);
	if (st == DLM_OK)
		st = dl_writer_put(x->w, x->count, sizeof(x->count), err);
	for (int i = 0; i < N_ARRAYS && st == DLM_OK; i++)
		st = dl_writer_put(x->w, x->array[i].data, x->array[i].size, err);
	return st;
}

static dlm_status
put_all(dl_examples *x, dlm_error *err)
{
	dlm_train  *run = x->run;
	const dl_config *c = &run->base->config;
	const uint32_t header[6] = {EXAMPLES_VERSION, (uint32_t) x->width, c->vocab, c->mask_id, (uint32_t) run->steps, 0};
	dlm_status	st = dl_writer_put(x->w, "DLMEXAMP", 8, err);

	if (st == DLM_OK)
		st = dl_writer_put(x->w, header, sizeof(header), err);
	for (int64_t i = 0; i < run->steps && st == DLM_OK; i++)
	{
		st = put_step(x, err);
		if (st == DLM_OK && run->env.stop != NULL && run->env.stop(run->env.arg))
			st = dl_fail(err, DLM_EINTR, "", "stopped");
	}
	return st;
}

static dlm_status
check_plain(const dlm_train *run, dlm_error *err)
{
	dlm_status	st = dl_train_check_begun(run, err);

	if (st == DLM_OK && (dl_train_lengths(run) || run->recipe.masking.distill > 0))
		return dl_fail(err, DLM_EINVAL, "", "examples of a length head or with a teacher are not written");
	if (st == DLM_OK && (run->recipe.smoothing > 0 || run->recipe.dropout > 0 || run->recipe.attention_dropout > 0 ||
						 run->recipe.lora_dropout > 0))
		return dl_fail(err, DLM_EINVAL, "The other trainer is where they belong.", "examples have no smoothing or dropout");
	if (st == DLM_OK && (run->in_step || run->written || run->state.step > 0 || run->steps > INT32_MAX))
		return dl_fail(err, DLM_EINVAL, "", "examples are those of a run that has not begun, of at most %d steps", INT32_MAX);
	return st;
}

dlm_status
dlm_train_examples(dlm_train *run, const char *path, dlm_error *err)
{
	dl_examples x = {.run = run};
	char	   *folder;
	dlm_status	st = check_plain(run, err);

	if (st != DLM_OK)
		return st;
	run->written = true;		/* the draws go on from here */
	x.width = run->base->config.vocab <= 65536 && run->ds->row_tokens <= 65535 ? 2 : 4;
	folder = dl_folder_of(path);
	st = folder != NULL ? dl_writer_open(folder, &x.w, err) : dl_fail_memory(err);
	free(folder);
	if (st == DLM_OK)
	{
		st = put_all(&x, err);
		if (st == DLM_OK)
			st = dl_writer_commit(x.w, path, err);
		else
			dl_writer_abandon(x.w);
	}
	for (int i = 0; i < N_ARRAYS; i++)
		free(x.array[i].data);
	return st;
}
