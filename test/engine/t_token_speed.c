/*
 * t_token_speed.c - 1 MB of one letter takes at most 20 times what 100 KB takes, for every family; cancelling works.
 */
#include <time.h>

#include "token_test.h"

#define SMALL	((size_t) 100 * 1000)
#define LARGE	((size_t) 1000 * 1000)

/* Processor time: other programs on the machine do not count. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* Seconds that it takes to encode n bytes of `unit`, the best of `rounds`; -1 on failure. */
static double
seconds(const dl_tok *tok, const char *unit, size_t n, int rounds)
{
	size_t		step = strlen(unit);
	char	   *text = malloc(n + step);
	size_t		len = 0;
	double		best = -1;

	for (; len + step <= n; len += step)
		memcpy(text + len, unit, step);
	for (int i = 0; i < rounds; i++)
	{
		dl_arena   *a = dl_arena_create((size_t) 1 << 30);
		dl_ids		ids = {0};
		dlm_error	err = {0};
		double		start = now();
		dlm_status	st = dl_tok_encode(tok, (dlm_text) {text, len}, DL_TOK_START, a, NULL, &ids, &err);
		double		spent = now() - start;

		CHECK(st == DLM_OK, "%s", err.message);
		if (best < 0 || spent < best)
			best = spent;
		dl_arena_destroy(a);
	}
	free(text);
	return best;
}

static void
time_is_n_log_n(const char *path)
{
	static const char *const unit[] = {"a", " ", "\n", "1", "\xcc\x81", "\xe4\xb8\xad"};
	void	   *blob;
	dl_tok	   *tok = open_json(path, &blob);

	for (size_t i = 0; tok != NULL && i < sizeof(unit) / sizeof(unit[0]); i++)
	{
		double		small = seconds(tok, unit[i], SMALL, 3),
					large = seconds(tok, unit[i], LARGE, 1);

		/* again, if something else took the caches */
		for (int again = 0; large > 20 * small && again < 4; again++)
		{
			small = seconds(tok, unit[i], SMALL, 3);
			large = seconds(tok, unit[i], LARGE, 3);
		}
		CHECK(large <= 20 * small, "%s, \"%s\": %.1f ms, %.1f ms for ten times as much", path, unit[i],
			  small * 1e3, large * 1e3);
		CHECK(large < 3, "%s, \"%s\": %.1f s for 1 MB", path, unit[i], large);
	}
	dl_tok_close(tok);
	free(blob);
}

typedef struct stopper
{
	double		last,
				longest;
	int			calls,
				limit;
} stopper;

static bool
stop_at(void *arg)
{
	stopper    *s = arg;
	double		t = now();

	if (t - s->last > s->longest)
		s->longest = t - s->last;
	s->last = t;
	return ++s->calls > s->limit;
}

/* env.stop is asked often, and a stopped call leaves the ids as they were. */
static void
stop_is_polled(const char *path, const char *unit)
{
	void	   *blob;
	dl_tok	   *tok = open_json(path, &blob);
	size_t		step = strlen(unit);
	char	   *text = malloc(LARGE);
	dl_arena   *a = dl_arena_create((size_t) 1 << 30);
	dl_ids		ids = {0};
	dlm_error	err = {0};
	stopper		s = {.last = now(), .limit = 1 << 30};
	dlm_env		env = {.stop = stop_at, .arg = &s};
	dlm_text	big = {text, LARGE / step * step};
	int32_t		first = 7;

	for (size_t i = 0; i < big.len; i += step)
		memcpy(text + i, unit, step);
	CHECK(dl_ids_append(&ids, a, &first, 1, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_tok_encode(tok, big, DL_TOK_START, a, &env, &ids, &err) == DLM_OK, "%s", err.message);
	CHECK(s.calls > 0 && s.longest < 0.05, "%s: stop was asked %d times, %.1f ms apart", path, s.calls, s.longest * 1e3);
	ids.n = 1;
	s.limit = s.calls + 2;
	CHECK(dl_tok_encode(tok, big, DL_TOK_START, a, &env, &ids, &err) == DLM_EINTR, "not interrupted");
	CHECK(ids.n == 1 && ids.id[0] == 7, "ids are not restored");
	dl_arena_destroy(a);
	dl_tok_close(tok);
	free(blob);
	free(text);
}

int
main(void)
{
	static const char *const name[] = {"gpt2-added", "llama3", "qwen2", "bert-uncased", "wordpiece-plain", "llama2", "mistral",
		"bpe-unk", "t5", "albert", "unigram-bytes", "bytes-nfc", "bytes-charsmap", "split-mix"};
	char		path[200];

	time_is_n_log_n("models/dlm-135m/tokenizer.json");
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
	{
		snprintf(path, sizeof(path), "test/models/tokenizers/%s.json", name[i]);
		time_is_n_log_n(path);
	}
	stop_is_polled("models/dlm-135m/tokenizer.json", "a");
	stop_is_polled("models/dlm-135m/tokenizer.json", "1 ");
	stop_is_polled("test/models/tokenizers/bert-uncased.json", "a");
	stop_is_polled("test/models/tokenizers/unigram-bytes.json", "a");
	stop_is_polled("test/models/tokenizers/albert.json", "\xcc\x81");
	return harness_end("t_token_speed");
}
