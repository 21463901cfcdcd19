/*
 * t_head.c - the output projection in blocks: whatever the vocabulary's size,
 * the number of asks, the reducers beside each other, the team and the
 * instruction set, an ask's logits are those of one plain product, and what
 * is made of them does not change a bit.
 */
#include "classify_rows.h"
#include "linear.h"
#include "rows.h"
#include "wide_model.h"

/* Blocks that are full or hold one id; a last panel that is full or holds one column. */
static const int vocabularies[] = {424, 1024, 1025, 2048, 2085, 3073};

#define N_VOCABULARIES	((int) (sizeof(vocabularies) / sizeof(vocabularies[0])))
#define ROW_TOKENS		9
#define ROW_ASKS		6

static void
make_rows(const dlm_model *m, outcome *o, int n)
{
	memset(o, 0, (size_t) n * sizeof(*o));
	for (int r = 0; r < n; r++)
	{
		o[r].n = ROW_TOKENS;
		o[r].ids = malloc(ROW_TOKENS * sizeof(int32_t));
		for (int i = 0; i < ROW_TOKENS; i++)
			o[r].ids[i] = (int32_t) (wide_random() % m->config.vocab);
		o[r].n_ask = ROW_ASKS - r % 3;
		o[r].ask = malloc(ROW_ASKS * sizeof(int32_t));
		for (int i = 0; i < ROW_ASKS; i++)
			o[r].ask[i] = i + 1 + (i > 2);
	}
}

static void
free_rows(outcome *o, int n)
{
	for (int r = 0; r < n; r++)
		outcome_free(&o[r]);
}

/* The head as one product over the last hidden states. */
static void
logits_are_the_plain_product(const char *name, dl_dtype dtype)
{
	for (int v = 0; v < N_VOCABULARIES; v++)
	{
		wide_model	w;
		outcome		o[3];
		run_options opt = {.threads = 2};
		dlm_error	err = {0};
		float	   *want = calloc((size_t) vocabularies[v], sizeof(float));
		void	   *scratch;

		if (!wide_open(name, dtype, vocabularies[v], &w))
			return;
		scratch = malloc(dl_linear_scratch(1, w.model.head.k));
		make_rows(&w.model, o, 3);
		for (int r = 0; r < 3; r++)
			o[r].want_hidden = true;
		CHECK(outcome_run(&w.model, o, 3, &opt, NULL, &err) == DLM_OK, "%s", err.message);
		for (int r = 0; r < 3; r++)
			for (int i = 0; i < o[r].n_ask; i++)
			{
				const float *x = o[r].hidden +
					(size_t) (o[r].ask[i] - (int) w.model.config.logit_shift) * w.model.config.hidden;

				dl_linear(&dl_kernels_ref, NULL, &w.model.head, x, w.model.config.hidden, 1, want, (size_t) vocabularies[v],
						  scratch);
				CHECK(o[r].calls[i] == 1 && memcmp(want, o[r].logits + (size_t) i * (size_t) vocabularies[v],
												   (size_t) vocabularies[v] * sizeof(float)) == 0,
					  "%s, weights %d, %d ids, row %d ask %d", name, (int) dtype, vocabularies[v], r, i);
			}
		free_rows(o, 3);
		free(want);
		free(scratch);
		wide_close(&w);
	}
}

/* Many asks, so that a pass has several tiles and a batch several passes. */
static void
bits_are_equal(const char *name, dl_dtype dtype, int vocab, int n)
{
	static const run_options ways[] = {
		{.threads = 1}, {.threads = 4}, {.threads = 3, .together = 7},
		{.threads = 1, .cpu_mask = DLM_CPU_AVX512 | DLM_CPU_VNNI}, {.threads = 2, .cpu_mask = ~0u}
	};
	wide_model	w;
	outcome    *o = calloc((size_t) n, sizeof(*o)),
			   *again = calloc((size_t) n, sizeof(*o));
	run_options alone = {.threads = 1, .together = 1};
	dlm_error	err = {0};

	if (!wide_open(name, dtype, vocab, &w))
		return;
	make_rows(&w.model, o, n);
	CHECK(outcome_run(&w.model, o, n, &alone, NULL, &err) == DLM_OK, "%s", err.message);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
	{
		int			equal = 0;

		for (int r = 0; r < n; r++)
			again[r] = outcome_copy(&o[r]);
		CHECK(outcome_run(&w.model, again, n, &ways[i], NULL, &err) == DLM_OK, "%s", err.message);
		for (int r = 0; r < n; r++)
			equal += outcome_equal(&w.model, &o[r], &again[r]);
		CHECK(equal == n, "%s, weights %d, %d ids: %d of %d rows, threads %d, mask %u, together %d", name, (int) dtype,
			  vocab, equal, n, ways[i].threads, ways[i].cpu_mask, ways[i].together);
		free_rows(again, n);
	}
	free_rows(o, n);
	free(o);
	free(again);
	wide_close(&w);
}

/* ------------------------------------------------- reducers beside each other */

/* One that keeps its row among its partial results; in between is what makes a pass of few asks. */
#define BIG_PARTIAL	((size_t) 1 << 20)

static void
whole_reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	memcpy(partial, logits, (size_t) n * sizeof(float));
}

static void
whole_fold(void *ctx, int ask, void *partials, int n_blocks)
{
	outcome    *o = ctx;

	for (int b = 0; b < n_blocks; b++)
	{
		int			first = b * DL_VOCAB_BLOCK;
		int			n = o->vocab - first < DL_VOCAB_BLOCK ? o->vocab - first : DL_VOCAB_BLOCK;

		memcpy(o->logits + (size_t) ask * (size_t) o->vocab + first, (char *) partials + (size_t) b * BIG_PARTIAL,
			   (size_t) n * sizeof(float));
	}
	o->calls[ask]++;
}

/* One that keeps nothing, and is not folded. */
static void
bare_reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	outcome    *o = ctx;

	memcpy(o->logits + (size_t) ask * (size_t) o->vocab + first, logits, (size_t) n * sizeof(float));
	if (first == 0)
		o->calls[ask]++;
}

static const dl_reducer whole = {BIG_PARTIAL, whole_reduce, whole_fold};
static const dl_reducer bare = {0, bare_reduce, NULL};

static void
reducers_stand_beside_each_other(void)
{
	enum { N = 12 };
	wide_model	w;
	outcome		o[N],
				mixed[N];
	dl_row		rows[N];
	run_options opt = {.threads = 2};
	dlm_error	err = {0};
	dl_arena   *a = dl_arena_create(0);
	dl_forward *f;

	if (!wide_open("llama", DL_F32, 2085, &w))
		return;
	make_rows(&w.model, o, N);
	CHECK(outcome_run(&w.model, o, N, &opt, NULL, &err) == DLM_OK, "%s", err.message);
	f = dl_forward_create(&w.model, a, 2, 0);
	for (int r = 0; r < N; r++)
	{
		mixed[r] = outcome_copy(&o[r]);
		rows[r] = outcome_row(&w.model, &mixed[r]);
		if (r % 4 != 1)
			rows[r].reducer = r % 4 == 0 ? &bare : &whole;
	}
	CHECK(run_batch(f, rows, N, 0, &err) == DLM_OK, "%s", err.message);
	for (int r = 0; r < N; r++)
		CHECK(outcome_equal(&w.model, &o[r], &mixed[r]), "row %d", r);
	dl_forward_free(f);
	dl_arena_destroy(a);
	free_rows(o, N);
	free_rows(mixed, N);
	wide_close(&w);
}

/* What a batch takes is no more than what the scheduler was told. */
static void
workspace_is_an_honest_estimate(void)
{
	static const dl_reducer *const reducers[] = {&bare, &outcome_reducer, &whole};
	static const int counts[] = {1, 5, 60};
	wide_model	w;

	if (!wide_open("llama", DL_I8, 3073, &w))
		return;
	for (int k = 0; k < 9; k++)
	{
		int			n = counts[k / 3];
		outcome    *o = calloc((size_t) n, sizeof(*o));
		dl_row	   *rows = calloc((size_t) n, sizeof(*rows));
		dl_arena   *a = dl_arena_create(0);
		dl_forward *f = dl_forward_create(&w.model, a, 4, 0);
		size_t		before = dl_arena_used(a),
					told;
		int			asks = 0;
		dlm_error	err = {0};

		make_rows(&w.model, o, n);
		for (int r = 0; r < n; r++)
		{
			rows[r] = outcome_row(&w.model, &o[r]);
			rows[r].reducer = reducers[k % 3];
			asks += o[r].n_ask;
		}
		told = dl_forward_workspace(&w.model, n * ROW_TOKENS, asks, reducers[k % 3]->partial);
		CHECK(dl_forward_begin(f, rows, n, &err) == DLM_OK, "%s", err.message);
		CHECK(dl_arena_used(a) - before <= told, "%d rows, reducer %d: %zu bytes, not %zu", n, k % 3,
			  dl_arena_used(a) - before, told);
		dl_forward_free(f);
		dl_arena_destroy(a);
		free_rows(o, n);
		free(o);
		free(rows);
	}
	wide_close(&w);
}

/* ------------------------------------------------------------ bad weights */

static void
logits_that_are_not_finite_are_damage(void)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	static const int columns[] = {0, 1023, 1024, 2084};

	for (int k = 0; k < 12; k++)
	{
		wide_model	w;
		outcome		o[2];
		run_options opt = {.threads = 1 + k % 2 * 3};
		dlm_error	err = {0};

		if (!wide_open("llama", DL_F32, 2085, &w))
			return;
		make_rows(&w.model, o, 2);
		w.bias[columns[k / 3]] = bad[k % 3];
		CHECK(outcome_run(&w.model, o, 2, &opt, NULL, &err) == DLM_EDAMAGED, "%g in column %d: %d", bad[k % 3],
			  columns[k / 3], (int) err.status);
		for (int i = 0; i < o[0].n_ask; i++)
			CHECK(o[0].calls[i] == 0, "folded all the same");
		free_rows(o, 2);
		wide_close(&w);
	}
}

/* -------------------------------------------------------------- questions */

/* Answers whose tokens lie in all blocks, some of them twice, of one to three tokens. */
static const int32_t answer_ids[] = {5, 1023, 1024, 2084, 5, 7, 2047, 2048, 77, 2084};
static const int answer_start[] = {0, 1, 3, 4, 7, 9, 10};

typedef struct asked
{
	double		score[6];
	float		logprob[10];
	float		stop[6];
} asked;

/* Score the answers under one rule: all units in one forward, or one by one. */
static void
ask_question(const wide_model *w, dlm_scoring scoring, int threads, uint32_t mask, bool together, asked *out)
{
	int32_t		head[] = {1, 2000, 3},
				tail[] = {4};
	dl_arena   *a = dl_arena_create(0);
	dlm_session s = {.model = &w->model, .kernels = dl_kernels_get(mask), .arena = a};
	dl_filled	row = {.head = {.id = head, .n = 3}, .tail = {.id = tail, .n = 1}};
	dl_answers	answers = {6, 3, answer_ids, answer_start};
	dl_forward *f = dl_forward_create(&w->model, a, threads, mask);
	dl_unit_cursor at = {0, 0};
	dl_unit    *units[32];
	dl_row		rows[32];
	int			n = 0;
	dl_question q;
	dlm_error	err = {0};

	CHECK(dl_question_init(&q, &s, scoring, &row, &answers, &err) == DLM_OK, "%s", err.message);
	while (n < 32 && dl_question_next(&q, &at))
	{
		CHECK(dl_question_unit(&q, &at, &units[n], &err) == DLM_OK, "%s", err.message);
		rows[n] = units[n]->row;
		rows[n++].kv = NULL;
	}
	for (int i = 0; i < n; i += together ? n : 1)
		CHECK(run_batch(f, rows + i, together ? n : 1, 0, &err) == DLM_OK, "%s", err.message);
	for (int i = 0; i < 6; i++)
		out->score[i] = dl_question_score(&q, i, DLM_NORMALIZE_SUM);
	memcpy(out->logprob, q.logprob, sizeof(out->logprob));
	memcpy(out->stop, q.stop_logprob, sizeof(out->stop));
	for (int i = 0; i < n; i++)
		dl_unit_free(units[i]);
	dl_question_close(&q);
	dl_forward_free(f);
	dl_arena_destroy(a);
}

/* The log-probability of id at position `at` of a row: a plain softmax in doubles, less never_score. */
static double
plain_logprob(const wide_model *w, int32_t *ids, int n, int at, int32_t id)
{
	outcome		o = {.n = n, .ids = ids, .n_ask = 1, .ask = (int32_t[]) {at}};
	uint8_t		live[16] = {0};
	run_options opt = {.threads = 1};
	dlm_error	err = {0};
	double		result;

	memset(live + 3 - w->model.config.logit_shift, 1, (size_t) (n - 4) + w->model.config.logit_shift);
	o.live = live;
	CHECK(outcome_run(&w->model, &o, 1, &opt, NULL, &err) == DLM_OK, "%s", err.message);
	for (int i = 0; i < w->model.settings.n_never_score; i++)
		o.logits[w->model.settings.never_score[i]] = -INFINITY;
	result = (double) o.logits[id] - wide_log_sum_exp(o.logits, o.vocab);
	outcome_clear(&o);
	return result;
}

/* Token t of answer k under a rule, from its own row. */
static double
plain_token(const wide_model *w, dlm_scoring scoring, bool with_stop, int k, int t)
{
	int			n = answer_start[k + 1] - answer_start[k];
	int			canvas = scoring == DLM_SCORING_ONE_PASS ? 3 + with_stop : n;
	int32_t		ids[16] = {1, 2000, 3};
	int32_t		id = t < n ? answer_ids[answer_start[k] + t] : dl_question_stop(&w->model);

	for (int i = 0; i < canvas; i++)
		ids[3 + i] = (scoring == DLM_SCORING_CHAIN && i < t) || (scoring == DLM_SCORING_PLL && i != t) ?
			answer_ids[answer_start[k] + i] : (int32_t) w->model.config.mask_id;
	ids[3 + canvas] = 4;
	return plain_logprob(w, ids, 3 + canvas + 1, 3 + t, id);
}

static void
questions_agree_with_a_plain_softmax(const char *name)
{
	static const dlm_scoring rules[] = {DLM_SCORING_ONE_PASS, DLM_SCORING_GROUPED, DLM_SCORING_CHAIN, DLM_SCORING_PLL};
	wide_model	w;

	if (!wide_open(name, DL_F32, 2085, &w))
		return;
	for (int r = 0; r < 4; r++)
	{
		bool		stop = rules[r] == DLM_SCORING_ONE_PASS && dl_question_stop(&w.model) >= 0;
		asked		one,
					other;

		ask_question(&w, rules[r], 1, 0, false, &one);
		ask_question(&w, rules[r], 4, 0, true, &other);
		CHECK(memcmp(&one, &other, sizeof(one)) == 0, "%s, rule %d: one row or many, threads", name, (int) rules[r]);
		ask_question(&w, rules[r], 2, ~0u, true, &other);
		CHECK(memcmp(&one, &other, sizeof(one)) == 0, "%s, rule %d: the reference kernels", name, (int) rules[r]);
		for (int k = 0; k < 6; k++)
		{
			int			n = answer_start[k + 1] - answer_start[k];

			for (int t = 0; t < n + stop; t++)
			{
				double		want = plain_token(&w, rules[r], stop, k, t);
				double		got = (double) (t < n ? one.logprob[answer_start[k] + t] : one.stop[k]);

				CHECK(fabs(got - want) < 1e-5 || got == want, "%s, rule %d, answer %d token %d: %f, not %f", name,
					  (int) rules[r], k, t, got, want);
			}
		}
	}
	wide_close(&w);
}

int
main(void)
{
	static const dl_dtype dtypes[] = {DL_F32, DL_BF16, DL_I8};

	for (int d = 0; d < 3; d++)
	{
		logits_are_the_plain_product("llama", dtypes[d]);	/* logit_shift */
		bits_are_equal("llama", dtypes[d], 2085, 70);
		bits_are_equal("bert", dtypes[d], 1030, 70);	/* a transform before the head */
	}
	bits_are_equal("roberta", DL_F32, 424, 70);
	reducers_stand_beside_each_other();
	workspace_is_an_honest_estimate();
	logits_that_are_not_finite_are_damage();
	questions_agree_with_a_plain_softmax("llama");
	questions_agree_with_a_plain_softmax("context");
	questions_agree_with_a_plain_softmax("roberta");
	return harness_end("t_head");
}
