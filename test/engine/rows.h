/*
 * rows.h - run rows through the forward pass and keep all that they gave.
 */
#ifndef ROWS_H
#define ROWS_H

#include "fixture.h"
#include "forward.h"

/* A row with what it gave. Zero-initialise, set n .. ask, then outcome_run. */
typedef struct outcome
{
	int			n;
	int32_t    *ids;
	uint8_t    *live;			/* NULL: all live */
	int			n_ask;
	int32_t    *ask;
	dl_kv	   *kv;
	bool		want_hidden;
	int			vocab;
	float	   *logits;			/* [n_ask, vocab] */
	float	   *hidden;			/* [n, hidden] or NULL */
	int		   *calls;			/* [n_ask] times the ask was folded */
	int		   *blocks;			/* [n_ask] times a block was reduced */
} outcome;

typedef struct run_options
{
	int			threads;
	uint32_t	cpu_mask;
	int			together;		/* rows of a batch; 0 = all */
	int			steps;			/* give up after so many; 0 = never */
} run_options;

static void
outcome_reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	outcome    *o = ctx;

	if (ask >= 0 && ask < o->n_ask)
	{
		memcpy(o->logits + (size_t) ask * (size_t) o->vocab + first, logits, (size_t) n * sizeof(float));
		__atomic_fetch_add(&o->blocks[ask], 1, __ATOMIC_RELAXED);
	}
	*(int64_t *) partial = first;
	memset(logits, 0xff, (size_t) n * sizeof(float));	/* a reducer may overwrite */
}

/* Counts an ask as folded only if all its blocks are there, in their order. */
static void
outcome_fold(void *ctx, int ask, void *partials, int n_blocks)
{
	outcome    *o = ctx;
	bool		complete = o->blocks[ask] == n_blocks && n_blocks == dl_vocab_blocks(o->vocab);

	for (int i = 0; i < n_blocks; i++)
		complete = complete && ((int64_t *) partials)[i] == (int64_t) i * DL_VOCAB_BLOCK;
	__atomic_fetch_add(&o->calls[ask], complete ? 1 : 1000, __ATOMIC_RELAXED);
}

static const dl_reducer outcome_reducer = {sizeof(int64_t), outcome_reduce, outcome_fold};

static void
outcome_clear(outcome *o)
{
	free(o->logits);
	free(o->hidden);
	free(o->calls);
	free(o->blocks);
	o->logits = o->hidden = NULL;
	o->calls = o->blocks = NULL;
}

static inline void
outcome_free(outcome *o)
{
	outcome_clear(o);
	free(o->ids);
	free(o->live);
	free(o->ask);
}

static dl_row
outcome_row(const dlm_model *m, outcome *o)
{
	o->vocab = (int) m->config.vocab;
	outcome_clear(o);
	o->logits = calloc((size_t) o->n_ask * (size_t) o->vocab + 1, sizeof(float));
	o->calls = calloc((size_t) o->n_ask + 1, sizeof(int));
	o->blocks = calloc((size_t) o->n_ask + 1, sizeof(int));
	if (o->want_hidden)
		o->hidden = calloc((size_t) o->n * m->config.hidden, sizeof(float));
	return (dl_row) {
		.n = o->n, .ids = o->ids, .live = o->live, .n_ask = o->n_ask, .ask = o->ask,
		.reducer = &outcome_reducer, .ctx = o, .hidden = o->hidden, .kv = o->kv
	};
}

static dlm_status
run_batch(dl_forward *f, const dl_row *rows, int n, int steps, dlm_error *err)
{
	dlm_status	st = dl_forward_begin(f, rows, n, err);

	if (st != DLM_OK)
		return st;
	for (int i = 0; (st = dl_forward_step(f, err)) == DLM_MORE; i++)
		if (i + 1 == steps)
			break;
	return st;
}

/* Run n rows; status of the last batch. With steps set, DLM_MORE means abandoned. */
static dlm_status
outcome_run(const dlm_model *m, outcome *o, int n, const run_options *opt, dl_arena *kv_arena, dlm_error *err)
{
	dl_arena   *a = kv_arena != NULL ? kv_arena : dl_arena_create((size_t) 2 << 30);
	dl_forward *f = dl_forward_create(m, a, opt->threads, opt->cpu_mask);
	dl_row	   *rows = calloc((size_t) n, sizeof(*rows));
	int			together = opt->together > 0 ? opt->together : n;
	dlm_status	st = f != NULL ? DLM_OK : DLM_ENOMEM;

	for (int i = 0; i < n; i++)
		rows[i] = outcome_row(m, &o[i]);
	for (int i = 0; i < n && st == DLM_OK; i += together)
		st = run_batch(f, rows + i, n - i < together ? n - i : together, opt->steps, err);
	free(rows);
	dl_forward_free(f);
	if (kv_arena == NULL)
		dl_arena_destroy(a);
	return st;
}

/* Bit for bit the same logits (and hidden states), each ask folded once. */
static inline bool
outcome_equal(const dlm_model *m, const outcome *a, const outcome *b)
{
	for (int i = 0; i < a->n_ask; i++)
		if (b->calls[i] != 1)
			return false;
	if (memcmp(a->logits, b->logits, (size_t) a->n_ask * (size_t) a->vocab * sizeof(float)) != 0)
		return false;
	return a->hidden == NULL || b->hidden == NULL ||
		memcmp(a->hidden, b->hidden, (size_t) a->n * m->config.hidden * sizeof(float)) == 0;
}

/* A copy of the request, without results. */
static inline outcome
outcome_copy(const outcome *o)
{
	outcome		c = {.n = o->n, .n_ask = o->n_ask, .kv = o->kv, .want_hidden = o->want_hidden};

	c.ids = memcpy(malloc((size_t) o->n * sizeof(int32_t)), o->ids, (size_t) o->n * sizeof(int32_t));
	c.ask = memcpy(malloc((size_t) o->n_ask * sizeof(int32_t) + 1), o->ask, (size_t) o->n_ask * sizeof(int32_t));
	if (o->live != NULL)
		c.live = memcpy(malloc((size_t) o->n), o->live, (size_t) o->n);
	return c;
}

#endif							/* ROWS_H */
