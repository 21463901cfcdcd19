/*
 * t_kv.c - keeping keys and values of fixed text changes no bit, whatever
 * was in the cache before, and saves the work it should.
 */
#include "rows.h"

/* A small generator of our own: tests must not depend on the engine's. */
static uint32_t
draw(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) % below;
}

/* A row of n tokens whose last `canvas` and a few others are live. */
static outcome
make_row(uint32_t *seed, int n, int canvas)
{
	outcome		o = {.n = n, .n_ask = canvas};

	o.ids = malloc((size_t) n * sizeof(int32_t));
	o.live = calloc((size_t) n, 1);
	o.ask = malloc((size_t) canvas * sizeof(int32_t));
	for (int i = 0; i < n; i++)
		o.ids[i] = (int32_t) draw(seed, 400);
	for (int i = 0; i < canvas; i++)
		o.ask[i] = n - canvas + i;
	for (int i = n - canvas - 1; i < n; i++)
		o.live[i] = 1;
	if (n > canvas + 8)
		o.live[3] = 1;			/* a gap in the middle, too */
	return o;
}

static void
check_equal(const dlm_model *m, const char *what, outcome *o, dl_kv *kv, dl_arena *a, int threads)
{
	outcome		plain = outcome_copy(o);
	run_options single = {.threads = 1};
	run_options opt = {.threads = threads};
	dlm_error	err = {0};

	plain.kv = NULL;
	CHECK(outcome_run(m, &plain, 1, &single, NULL, &err) == DLM_OK, "%s: %s", what, err.message);
	o->kv = kv;
	CHECK(outcome_run(m, o, 1, &opt, a, &err) == DLM_OK, "%s: %s", what, err.message);
	CHECK(outcome_equal(m, &plain, o), "%s: %d tokens", what, o->n);
	outcome_free(&plain);
}

/* The same cache through canvases of every length, changed texts, longer and shorter ones. */
static void
cached_equals_uncached(dlm_weights weights)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 1;
	dl_kv	   *kv;

	if (!fixture_open("context", weights, &f))
		return;
	kv = dl_kv_create(f.model, a);
	for (int round = 0; round < 40; round++)
	{
		outcome		o = make_row(&seed, 20 + (int) draw(&seed, 200), 1 + (int) draw(&seed, 6));

		check_equal(f.model, "new text", &o, kv, a, 1 + round % 2);
		check_equal(f.model, "same row again", &o, kv, a, 1);
		o.ids[o.n - 1] = 3;		/* live: the cache stays good */
		check_equal(f.model, "canvas changed", &o, kv, a, 1);
		o.ids[1 + (int) draw(&seed, (uint32_t) o.n - 1)] = 5;
		check_equal(f.model, "text changed", &o, kv, a, 2);
		o.live[o.n / 2] ^= 1;
		check_equal(f.model, "canvas moved", &o, kv, a, 1);
		outcome_free(&o);
	}
	dl_kv_free(kv);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Asked positions that are fixed, and hidden states, need tokens that the cache would skip. */
static void
fixed_positions_can_be_asked(void)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 2;
	dl_kv	   *kv;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	kv = dl_kv_create(f.model, a);
	for (int round = 0; round < 10; round++)
	{
		outcome		o = make_row(&seed, 60, 3);

		check_equal(f.model, "filling", &o, kv, a, 1);
		o.ask[0] = 9 + round;
		o.ask[1] = 30;
		check_equal(f.model, "fixed asked", &o, kv, a, 2);
		o.want_hidden = true;
		check_equal(f.model, "hidden wanted", &o, kv, a, 2);
		outcome_free(&o);
	}
	dl_kv_free(kv);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Rows of one batch share a cache: the first fills it, the others read it. */
static void
rows_of_a_batch_share(void)
{
	enum { N = 5 };
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 3;
	outcome		o[N],
				plain[N];
	run_options opt = {.threads = 2};
	dlm_error	err = {0};
	dl_kv	   *kv;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	kv = dl_kv_create(f.model, a);
	for (int round = 0; round < 3; round++)
	{
		o[0] = make_row(&seed, 70, 4);
		for (int i = 1; i < N; i++)
		{
			o[i] = outcome_copy(&o[0]);
			o[i].ids[69] = i;	/* another canvas over the same text */
			o[i].ids[67] = 2 * i;
			if (i == 3)
				o[i].ask[0] = 40;	/* and one that asks for a fixed position */
		}
		for (int i = 0; i < N; i++)
		{
			plain[i] = outcome_copy(&o[i]);
			o[i].kv = kv;
		}
		CHECK(outcome_run(f.model, plain, N, &opt, NULL, &err) == DLM_OK, "%s", err.message);
		CHECK(outcome_run(f.model, o, N, &opt, a, &err) == DLM_OK, "%s", err.message);
		for (int i = 0; i < N; i++)
		{
			CHECK(outcome_equal(f.model, &plain[i], &o[i]), "round %d row %d", round, i);
			outcome_free(&plain[i]);
			outcome_free(&o[i]);
		}
	}
	o[0] = make_row(&seed, 30, 2);
	o[1] = make_row(&seed, 30, 2);
	o[0].kv = o[1].kv = kv;
	CHECK(outcome_run(f.model, o, 2, &opt, a, &err) == DLM_EINVAL, "different texts share a cache");
	outcome_free(&o[0]);
	outcome_free(&o[1]);
	dl_kv_free(kv);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Leaving a batch after any number of steps leaves a cache that is still right. */
static void
abandoned_batches_do_no_harm(void)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 4;
	dl_kv	   *kv;
	int			abandoned = 0;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	kv = dl_kv_create(f.model, a);
	for (int steps = 1; steps < 40; steps++)
	{
		outcome		o = make_row(&seed, 240, 4);
		outcome		batch[24];
		dl_kv	   *own[24];
		run_options opt = {.threads = 1, .steps = steps};
		dlm_error	err = {0};

		for (int i = 0; i < 24; i++)	/* enough rows for many steps */
		{
			batch[i] = i == 0 ? outcome_copy(&o) : make_row(&seed, 240, 4);
			own[i] = batch[i].kv = i == 0 ? kv : dl_kv_create(f.model, a);
		}
		abandoned += outcome_run(f.model, batch, 24, &opt, a, &err) == DLM_MORE;
		check_equal(f.model, "after leaving", &o, kv, a, 1);
		for (int i = 0; i < 24; i++)
		{
			outcome_free(&batch[i]);
			if (i > 0)
				dl_kv_free(own[i]);
		}
		outcome_free(&o);
	}
	CHECK(abandoned > 3, "%d batches were left", abandoned);
	dl_kv_free(kv);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Under full attention a cache holds nothing and does no harm. */
static void
full_attention_ignores_caches(void)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 5;
	dl_kv	   *kv;

	if (!fixture_open("roberta", DLM_WEIGHTS_F32, &f))
		return;
	kv = dl_kv_create(f.model, a);
	for (int round = 0; round < 3; round++)
	{
		outcome		o = make_row(&seed, 40, 3);

		check_equal(f.model, "full", &o, kv, a, 1);
		outcome_free(&o);
	}
	dl_kv_free(kv);
	dl_arena_destroy(a);
	fixture_close(&f);
}

#define MANY	24

static int
count_steps(const dlm_model *m, outcome *o, dl_arena *a)
{
	dl_forward *f = dl_forward_create(m, a, 1, 0);
	dl_row		rows[MANY];
	dlm_error	err = {0};
	int			steps = 1;

	for (int i = 0; i < MANY; i++)
		rows[i] = outcome_row(m, &o[i]);
	CHECK(dl_forward_begin(f, rows, MANY, &err) == DLM_OK, "%s", err.message);
	while (dl_forward_step(f, &err) == DLM_MORE)
		steps++;
	dl_forward_free(f);
	return steps;
}

/* With warm caches only the canvas is computed: of 256 tokens 4 are live. */
static void
cache_saves_work(void)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 6;
	outcome		o[MANY];
	int			cold,
				warm;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	for (int i = 0; i < MANY; i++)
	{
		o[i] = make_row(&seed, 256, 2);
		o[i].kv = dl_kv_create(f.model, a);
	}
	cold = count_steps(f.model, o, a);
	warm = count_steps(f.model, o, a);
	CHECK(warm * 3 < cold, "%d steps cold, %d warm", cold, warm);
	for (int i = 0; i < MANY; i++)
	{
		dl_kv_free(o[i].kv);
		outcome_free(&o[i]);
	}
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Rows that begin alike, with caches of their own, of others, or none: the same bits, and less work. */
static void
common_beginnings_are_shared(dlm_weights weights)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 8;
	run_options alone = {.threads = 1, .together = 1};
	run_options together = {.threads = 3};

	if (!fixture_open("context", weights, &f))
		return;
	for (int round = 0; round < 12; round++)
	{
		outcome		o[MANY],
					plain[MANY];
		dlm_error	err = {0};
		outcome		first = make_row(&seed, 100, 3);

		for (int i = 0; i < MANY; i++)
		{
			int			common = (int) draw(&seed, 95);

			o[i] = make_row(&seed, common + 8 + (int) draw(&seed, 100), 1 + (int) draw(&seed, 4));
			memcpy(o[i].ids, first.ids, (size_t) common * sizeof(int32_t));
			o[i].live[3] = first.live[3];
			if (i % 5 == 1)
				o[i].ask[0] = common / 2 + 1;	/* asks for what could be copied */
			o[i].want_hidden = i % 7 == 2;
			plain[i] = outcome_copy(&o[i]);
			o[i].kv = i % 3 ? dl_kv_create(f.model, a) : NULL;
		}
		CHECK(outcome_run(f.model, plain, MANY, &alone, NULL, &err) == DLM_OK, "%s", err.message);
		for (int again = 0; again < 2; again++)	/* cold caches, warm ones */
		{
			CHECK(outcome_run(f.model, o, MANY, &together, a, &err) == DLM_OK, "%s", err.message);
			for (int i = 0; i < MANY; i++)
				CHECK(outcome_equal(f.model, &plain[i], &o[i]), "round %d row %d", round, i);
		}
		for (int i = 0; i < MANY; i++)
		{
			dl_kv_free(o[i].kv);
			outcome_free(&o[i]);
			outcome_free(&plain[i]);
		}
		outcome_free(&first);
	}
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* Rows without caches: the second and later ones compute only what is their own. */
static void
sharing_saves_work(void)
{
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	uint32_t	seed = 9;
	outcome		o[MANY];
	int			apart,
				alike;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	for (int i = 0; i < MANY; i++)
		o[i] = make_row(&seed, 256, 2);
	apart = count_steps(f.model, o, a);
	for (int i = 1; i < MANY; i++)
		memcpy(o[i].ids, o[0].ids, 200 * sizeof(int32_t));
	alike = count_steps(f.model, o, a);
	CHECK(alike * 3 < apart, "%d steps apart, %d alike", apart, alike);
	for (int i = 0; i < MANY; i++)
		outcome_free(&o[i]);
	dl_arena_destroy(a);
	fixture_close(&f);
}

int
main(void)
{
	cached_equals_uncached(DLM_WEIGHTS_F32);
	cached_equals_uncached(DLM_WEIGHTS_INT8);
	fixed_positions_can_be_asked();
	rows_of_a_batch_share();
	abandoned_batches_do_no_harm();
	full_attention_ignores_caches();
	cache_saves_work();
	common_beginnings_are_shared(DLM_WEIGHTS_F32);
	common_beginnings_are_shared(DLM_WEIGHTS_BF16);
	sharing_saves_work();
	return harness_end("t_kv");
}
