/*
 * t_session.c - batches, interrupts, memory limits, equal requests, checks of options, the memo.
 */
#include "session.h"
#include "tiny_model.h"

#define N	9

static dlm_options greedy = {.steps = 4};
static dlm_options sampled = {.steps = 4, .temperature = 1, .seed = 5};

/* A mix of tasks; the last fails by itself. */
static void
make_requests(dlm_request *r)
{
	static const char *const infill[] = {"Berlin is [MASK:3] of Germany.", "A [MASK:1-3] wrote that [MASK:2].",
		"Berlin is [MASK:3] of Germany."};

	memset(r, 0, N * sizeof(*r));
	for (int i = 0; i < 3; i++)
		r[i] = (dlm_request) {.task = DLM_INFILL, .input = tiny_text(infill[i]), .options = &greedy};
	r[3] = (dlm_request) {.task = DLM_INFILL, .input = tiny_text(infill[0]), .options = &sampled};
	r[4] = (dlm_request) {.task = DLM_GENERATE, .input = tiny_text("Where is Rome?"), .max_tokens = 9, .options = &greedy};
	r[5] = (dlm_request) {.task = DLM_GENERATE, .input = tiny_text("How many days?"), .max_tokens = 9, .options = &sampled};
	r[6] = (dlm_request) {.task = DLM_SCORE, .input = tiny_text("The weather was good.")};
	r[7] = (dlm_request) {.task = DLM_EMBED, .input = tiny_text("Tables, rows, columns")};
	r[8] = (dlm_request) {.task = DLM_INFILL, .input = tiny_text("no gap"), .options = &greedy};
}

static bool
same(const dlm_result *a, const dlm_result *b)
{
	return a->error.status == b->error.status && a->text.len == b->text.len &&
		(a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0) &&
		memcmp(&a->logprob, &b->logprob, sizeof(double)) == 0 && a->n_embedding == b->n_embedding &&
		(a->n_embedding == 0 ||
		 memcmp(a->embedding, b->embedding, (size_t) a->n_embedding * sizeof(float)) == 0);
}

static void
batch_equals_single(const tiny_model *m)
{
	dlm_request r[N];
	dlm_error	err = {0};
	dlm_session *batch;

	make_requests(r);
	batch = tiny_run(m, r, N, NULL, &err);
	CHECK(batch != NULL, "%s", err.message);
	for (int i = 0; i < N && batch; i++)
	{
		dlm_session *single = tiny_run(m, &r[i], 1, NULL, &err);

		CHECK(single && same(dlm_session_result(batch, i), dlm_session_result(single, 0)), "request %d", i);
		dlm_session_close(single);
	}
	if (batch)
	{
		CHECK(dlm_session_result(batch, 8)->error.status == DLM_EINVAL, "a row's own error");
		CHECK(dlm_session_result(batch, -1) == NULL && dlm_session_result(batch, N) == NULL, "no such request");
	}
	dlm_session_close(batch);
}

static void
equal_requests_are_computed_once(const tiny_model *m)
{
	dlm_request r[N];
	dlm_request twice[4];
	dlm_progress one,
				four;
	dlm_error	err = {0};
	dlm_session *s;

	make_requests(r);
	s = tiny_run(m, &r[1], 1, NULL, &err);
	dlm_session_progress(s, &one);
	dlm_session_close(s);
	for (int i = 0; i < 4; i++)
		twice[i] = r[1];
	s = tiny_run(m, twice, 4, NULL, &err);
	dlm_session_progress(s, &four);
	CHECK(four.tokens == one.tokens && four.forwards == one.forwards, "%d tokens for four, %d for one", (int) four.tokens,
		  (int) one.tokens);
	CHECK(four.requests_done == 4 && dlm_session_result(s, 3) == dlm_session_result(s, 0), "all four are answered");
	dlm_session_close(s);
}

/* ------------------------------------------------------------ interrupts */

static int	polls;

static bool
every_third(void *arg)
{
	(void) arg;
	return ++polls % 3 == 0;
}

static void
interrupts_change_nothing(const tiny_model *m)
{
	dlm_request r[N];
	dlm_env		nervous = {.stop = every_third};
	dlm_error	err = {0};
	dlm_session *a,
			   *b;

	make_requests(r);
	polls = 0;
	a = tiny_run(m, r, N, NULL, &err);
	b = tiny_run(m, r, N, &nervous, &err);
	CHECK(a && b && polls > 10, "%s", err.message);
	for (int i = 0; i < N && a && b; i++)
		CHECK(same(dlm_session_result(a, i), dlm_session_result(b, i)), "request %d", i);
	dlm_session_close(a);
	dlm_session_close(b);
}

/* ---------------------------------------------------------------- memory */

/* A limit turns a batch into an error or leaves every answer as it is; somewhere between the two tasks take turns. */
static void
memory_limits_never_change_answers(const tiny_model *m)
{
	dlm_request r[N];
	dlm_error	err = {0};
	dlm_session *free_run;
	int			failed = 0,
				answered = 0;

	make_requests(r);
	free_run = tiny_run(m, r, N, NULL, &err);
	for (size_t limit = 64 * 1024; limit < 16 * 1024 * 1024; limit += limit / 6)
	{
		dlm_env		env = {.memory_limit = limit};
		dlm_session *s = tiny_run(m, r, N, &env, &err);
		dlm_progress p;

		if (s == NULL)
		{
			CHECK(err.status == DLM_ENOMEM, "limit %d: %s", (int) limit, err.message);
			failed++;
			continue;
		}
		answered++;
		dlm_session_progress(s, &p);
		CHECK(p.memory_peak <= limit, "%d bytes under a limit of %d", (int) p.memory_peak, (int) limit);
		for (int i = 0; i < N; i++)
			CHECK(same(dlm_session_result(s, i), dlm_session_result(free_run, i)), "limit %d, request %d", (int) limit, i);
		dlm_session_close(s);
	}
	CHECK(failed > 0 && answered > 0, "%d failed, %d answered", failed, answered);
	dlm_session_close(free_run);
}

/* --------------------------------------------------------------- options */

static void
bad_options_are_refused(const tiny_model *m)
{
	static const dlm_text empty[] = {{"", 0}};
	const dlm_options bad[] = {{.steps = -1}, {.temperature = -1}, {.temperature = NAN}, {.temperature = INFINITY},
		{.threshold = 1.5}, {.threshold = NAN}, {.block_length = -1}, {.cfg_scale = -1}, {.cfg_scale = INFINITY},
		{.top_k = -1}, {.top_p = 1.01}, {.top_p = -0.1}, {.length_beam = 65}, {.length_beam = -1}, {.length_budget = -1},
		{.length_budget = 1000000}, {.passes = -2}, {.ban = empty, .n_ban = 1}, {.stop = empty, .n_stop = 1},
		{.n_ban = 1000000}, {.steps = 2000000000}, {.top_lengths = -1}, {.multi_threshold = 2}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dlm_request r = {.task = DLM_INFILL, .input = tiny_text("[MASK]"), .options = &bad[i]};
		dlm_session *s = NULL;
		dlm_error	err = {0};

		CHECK(dlm_session_open(m->model, &r, 1, NULL, &s, &err) == DLM_EINVAL && err.message[0] && s == NULL, "options %d",
			  (int) i);
	}
}

static void
odd_sessions(const tiny_model *m)
{
	dlm_request r = {.task = (dlm_task) 99};
	dlm_session *s = NULL;
	dlm_error	err = {0};

	CHECK(dlm_session_open(m->model, NULL, 0, NULL, &s, &err) == DLM_OK && dlm_session_step(s, &err) == DLM_OK, "no requests");
	dlm_session_close(s);
	CHECK(dlm_session_open(m->model, NULL, -1, NULL, &s, &err) == DLM_EINVAL && s == NULL, "-1 requests");
	CHECK(dlm_session_open(m->model, &r, 1, NULL, &s, &err) == DLM_EINVAL && s == NULL, "unknown task");
	r = (dlm_request) {.task = DLM_INFILL, .input = tiny_text("Berlin is [MASK:3].")};
	CHECK(dlm_session_open(m->model, &r, 1, NULL, &s, &err) == DLM_OK, "%s", err.message);
	dlm_session_step(s, &err);
	dlm_session_close(s);		/* in the middle: valgrind and ASan see what is left */
	dlm_session_close(NULL);
}

static void
memo_is_bounded_and_exact(void)
{
	dlm_memo   *memo = dlm_memo_create(4 * 4096);	/* a quarter is for entries */
	uint8_t		key[32] = {0};
	size_t		size = 0;
	char		value[100];
	int			kept = 0;

	for (int i = 0; i < 200; i++)
	{
		key[0] = (uint8_t) (i * 7);
		key[31] = (uint8_t) i;
		memset(value, i, sizeof(value));
		dl_memo_put(memo, key, value, sizeof(value));
		dl_memo_put(memo, key, value, sizeof(value));
	}
	for (int i = 0; i < 200; i++)
	{
		const char *found;

		key[0] = (uint8_t) (i * 7);
		key[31] = (uint8_t) i;
		found = dl_memo_get(memo, key, &size);
		kept += found != NULL;
		CHECK(found == NULL || (size == sizeof(value) && found[99] == (char) i), "entry %d", i);
	}
	CHECK(kept > 10 && kept * 100 <= 4096, "%d entries of 100 bytes in 4096", kept);
	dl_memo_put(memo, key, value, 100000);
	key[5] = 1;
	CHECK(dl_memo_get(memo, key, &size) == NULL, "an unknown key");
	CHECK(dl_memo_get(NULL, key, &size) == NULL, "no memo");
	dl_memo_put(NULL, key, value, 1);
	dlm_memo_free(memo);
	dlm_memo_free(NULL);
}

int
main(void)
{
	tiny_model	m;

	if (tiny_open("context", &m))
	{
		batch_equals_single(&m);
		equal_requests_are_computed_once(&m);
		interrupts_change_nothing(&m);
		memory_limits_never_change_answers(&m);
		bad_options_are_refused(&m);
		odd_sessions(&m);
		tiny_close(&m);
	}
	if (tiny_open("roberta", &m))
	{
		batch_equals_single(&m);
		memory_limits_never_change_answers(&m);
		tiny_close(&m);
	}
	memo_is_bounded_and_exact();
	return harness_end("t_session");
}
