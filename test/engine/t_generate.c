/*
 * t_generate.c - lengths, stop tokens and texts, limits of generate.
 */
#include "bans.h"
#include "patched_model.h"

static dlm_session *
generate(const tiny_model *m, const char *prompt, int max_tokens, const dlm_options *o, bool trace)
{
	dlm_request r = {.task = DLM_GENERATE, .input = tiny_text(prompt), .max_tokens = max_tokens, .options = o, .trace = trace};
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);

	CHECK(s != NULL, "%s: %s", prompt, err.message);
	return s;
}

/* Slots of the winner's canvas: the largest position of its trace. */
static int
canvas_of(const dlm_result *r)
{
	int			n = 0;

	for (int i = 0; i < r->n_trace; i++)
		if (r->trace[i].position > n)
			n = r->trace[i].position;
	return n;
}

static void
bad_limits_are_refused(const tiny_model *m)
{
	static const int bad[] = {0, -5, 1000000, INT32_MAX};
	dlm_options predicted = {.length = DLM_LENGTH_PREDICTED};
	dlm_session *s;

	for (int i = 0; i < 4; i++)
	{
		s = generate(m, "Where is Rome?", bad[i], NULL, false);
		CHECK(dlm_session_result(s, 0)->error.status == (i < 2 ? DLM_EINVAL : DLM_ETOOLONG), "max_tokens %d: %s", bad[i],
			  dlm_session_result(s, 0)->error.message);
		dlm_session_close(s);
	}
	s = generate(m, "Where is Rome?", 8, &predicted, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_EINVAL, "predicted without a head");
	dlm_session_close(s);
}

/* Probed lengths are 4, 8, 16, ... and max_tokens; the winner has the bits of the same length asked for. */
static void
probed_equals_fixed(const tiny_model *m, const char *family)
{
	static const int most[] = {1, 3, 4, 5, 8, 30};

	for (int i = 0; i < 6; i++)
	{
		dlm_options probed = {.length = DLM_LENGTH_PROBED, .steps = 4},
					fixed = {.length = DLM_LENGTH_FIXED, .steps = 4};
		dlm_session *a = generate(m, "Where does the sun rise?", most[i], &probed, true);
		const dlm_result *x = dlm_session_result(a, 0);
		int			n = canvas_of(x);
		dlm_session *b;
		const dlm_result *y;

		CHECK(x->error.status == DLM_OK, "%s: %s", family, x->error.message);
		CHECK(n == most[i] || (n <= most[i] && n >= 4 && (n & (n - 1)) == 0), "%s: %d slots of at most %d", family, n, most[i]);
		b = generate(m, "Where does the sun rise?", n, &fixed, true);
		y = dlm_session_result(b, 0);
		CHECK(canvas_of(y) == n && x->text.len == y->text.len && memcmp(x->text.data, y->text.data, x->text.len) == 0 &&
			  memcmp(&x->logprob, &y->logprob, sizeof(double)) == 0, "%s: %d slots, %.9f and %.9f", family, n, x->logprob,
			  y->logprob);
		dlm_session_close(a);
		dlm_session_close(b);
	}
}

/* With a length head the canvas has one of its most probable lengths, cut to max_tokens. */
static void
predicted_lengths(const tiny_model *m)
{
	dlm_request ask = {.task = DLM_PREDICT_LENGTH, .input = tiny_text("Where does the sun rise?")};
	dlm_options three = {.length_beam = 3, .top_lengths = 3, .steps = 3};
	dlm_error	err = {0};
	dlm_session *p,
			   *s;
	const dlm_result *lengths,
			   *r;
	bool		among = false;

	ask.options = &three;
	p = tiny_run(m, &ask, 1, NULL, &err);
	CHECK(p != NULL, "%s", err.message);
	if (p == NULL)
		return;
	lengths = dlm_session_result(p, 0);
	s = generate(m, "Where does the sun rise?", 40, &three, true);
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == DLM_OK, "%s", r->error.message);
	for (int i = 0; i < lengths->n_lengths; i++)
		among |= canvas_of(r) == (lengths->lengths[i].length < 40 ? lengths->lengths[i].length : 40);
	CHECK(lengths->n_lengths == 3 && among, "%d slots", canvas_of(r));
	dlm_session_close(s);
	s = generate(m, "Where does the sun rise?", 2, &three, true);
	CHECK(canvas_of(dlm_session_result(s, 0)) <= 2, "%d slots of at most 2", canvas_of(dlm_session_result(s, 0)));
	dlm_session_close(s);
	dlm_session_close(p);
}

/* Of the three most probable lengths, each decoded as it is, the best mean log-probability wins; ties to fewer tokens. */
static void
best_predicted_length_wins(const tiny_model *m)
{
	static const char *const prompts[] = {"Where does the sun rise?", "Berlin is", "How many days are in a week?", "He walked"};
	int			rank_of_winner[3] = {0};

	for (int p = 0; p < 4; p++)
		for (int kind = DLM_SAMPLER_REPARAM; kind <= DLM_SAMPLER_LEFT_TO_RIGHT; kind++)
		{
			dlm_options three = {.length_beam = 3, .top_lengths = 3, .sampler = {.kind = (dlm_sampler_kind) kind}};
			dlm_options fixed = three;
			dlm_request ask = {.task = DLM_PREDICT_LENGTH, .input = tiny_text(prompts[p]), .options = &three};
			dlm_error	err = {0};
			dlm_session *session = tiny_run(m, &ask, 1, NULL, &err),
					   *winner = generate(m, prompts[p], 40, &three, true),
					   *each[3];
			const dlm_result *lengths = dlm_session_result(session, 0),
					   *w = dlm_session_result(winner, 0);
			int			best = -1,
						best_length = 0;

			fixed.length = DLM_LENGTH_FIXED;
			CHECK(lengths->n_lengths == 3, "%d lengths", lengths->n_lengths);
			for (int i = 0; i < 3; i++)
			{
				int			n = lengths->lengths[i].length < 40 ? lengths->lengths[i].length : 40;
				double		logprob;

				each[i] = generate(m, prompts[p], n, &fixed, true);
				logprob = dlm_session_result(each[i], 0)->logprob;
				if (best < 0 || logprob > dlm_session_result(each[best], 0)->logprob ||
					(logprob == dlm_session_result(each[best], 0)->logprob && n < best_length))
				{
					best = i;
					best_length = n;
				}
			}
			if (kind != DLM_SAMPLER_RANDOM)	/* its noise is keyed by the mode, too */
			{
				const dlm_result *b = dlm_session_result(each[best], 0);

				rank_of_winner[best]++;
				CHECK(canvas_of(w) == best_length && w->text.len == b->text.len &&
					  tiny_same(w->text.data, b->text.data, b->text.len) && tiny_same(&w->logprob, &b->logprob, sizeof(double)),
					  "\"%s\", sampler %d: %d slots with %.9f, not %d with %.9f", prompts[p], kind, canvas_of(w), w->logprob,
					  best_length, b->logprob);
			}
			for (int i = 0; i < 3; i++)
				dlm_session_close(each[i]);
			dlm_session_close(winner);
			dlm_session_close(session);
		}
	CHECK(rank_of_winner[1] + rank_of_winner[2] > 0, "the most probable length always wins");
}

/* The text ends before the first stop text. */
static void
stop_texts_cut(const tiny_model *m)
{
	dlm_options fixed = {.length = DLM_LENGTH_FIXED};
	dlm_session *a = generate(m, "How many days are in a week?", 20, &fixed, false);
	dlm_text	whole = dlm_session_result(a, 0)->text;

	CHECK(whole.len > 8, "%d bytes", (int) whole.len);
	for (size_t at = 1; at + 3 < whole.len; at += 5)
	{
		dlm_text	stop[] = {{"\x7F\x7F", 2}, {whole.data + at, 3}};
		dlm_options o = {.length = DLM_LENGTH_FIXED, .stop = stop, .n_stop = 2};
		const char *first = memmem(whole.data, whole.len, stop[1].data, 3);
		dlm_session *b = generate(m, "How many days are in a week?", 20, &o, false);
		dlm_text	cut = dlm_session_result(b, 0)->text;

		CHECK(cut.len == (size_t) (first - whole.data) && memcmp(cut.data, whole.data, cut.len) == 0, "cut at %d: %d bytes",
			  (int) at, (int) cut.len);
		dlm_session_close(b);
	}
	dlm_session_close(a);
}

/* The context checkpoint with this token as its stop token. */
static bool
open_with_stop(const char *token, tiny_model *out)
{
	cJSON	   *json = tiny_json("test/models/context/dlm.json");
	cJSON	   *stops = cJSON_CreateArray();
	bool		ok;

	cJSON_AddItemToArray(stops, cJSON_CreateString(token));
	cJSON_ReplaceItemInObjectCaseSensitive(json, "stop_tokens", stops);
	ok = patched_open("context", json, out);
	cJSON_Delete(json);
	return ok;
}

/*
 * A token that the model likes, made its stop token: it is never revealed
 * first, nor while a position to its left is masked; the text ends before it.
 */
static void
stop_tokens_come_last(const tiny_model *plain)
{
	static const char *const prompts[] = {"Tables, rows and columns", "Where is Rome?", "He walked", "How many weeks are in a year?"};
	dlm_options fixed = {.length = DLM_LENGTH_FIXED, .sampler = {.kind = DLM_SAMPLER_CONFIDENCE}};
	int			stops = 0;

	for (int round = 0; round < 16; round++)
	{
		const char *prompt = prompts[round / 4];
		int			position = 2 + round % 4 * 2;
		dlm_session *a = generate(plain, prompt, 10, &fixed, true);
		const dlm_result *x = dlm_session_result(a, 0);
		int32_t		id = -1;
		int32_t    *ids = NULL;
		size_t		n_ids = 0;
		char		name[64] = "";
		tiny_model	m;

		for (int i = 0; i < x->n_trace; i++)
			if (x->trace[i].position == position)
				id = x->trace[i].id;
		dlm_session_close(a);
		dlm_token_bytes(plain->model, id, name, sizeof(name) - 1);
		/* dlm.json names it by its text, which has to be this one token */
		if (dlm_tokenize(plain->model, tiny_text(name), NULL, &ids, &n_ids, NULL) != DLM_OK || n_ids != 1 || ids[0] != id)
		{
			free(ids);
			continue;
		}
		free(ids);
		if (!open_with_stop(name, &m))
			return;
		for (int kind = DLM_SAMPLER_REPARAM; kind <= DLM_SAMPLER_LEFT_TO_RIGHT; kind++)
		{
			dlm_options o = {.length = DLM_LENGTH_FIXED, .sampler = {.kind = (dlm_sampler_kind) kind}, .seed = position};
			dlm_session *s = generate(&m, prompt, 10, &o, true);
			const dlm_result *r = dlm_session_result(s, 0);
			bool		masked[11],
						early = false;

			memset(masked, true, sizeof(masked));
			for (int i = 0, end; i < r->n_trace; i = end)
			{
				bool		before[11];

				memcpy(before, masked, sizeof(before));
				for (end = i; end < r->n_trace && r->trace[end].step == r->trace[i].step; end++)
				{
					int			p = r->trace[end].position;

					masked[p] = r->trace[end].event == DLM_EVENT_REMASK;
					if (masked[p] || r->trace[end].id != id)
						continue;
					stops++;
					early |= p == 1;
					for (int k = 1; k < p; k++)
						early |= before[k];
				}
			}
			CHECK(r->error.status == DLM_OK && !early, "sampler %d: \"%s\" too early %s", kind, name, r->error.message);
			CHECK(r->error.status != DLM_OK || dl_utf8_valid(r->text.data, r->text.len) == r->text.len, "text");
			dlm_session_close(s);
		}
		tiny_close(&m);
	}
	CHECK(stops > 5, "only %d stop tokens revealed", stops);
}

static void
long_prompts(const tiny_model *m)
{
	static char	text[60000];
	dlm_options cut = {.overflow = DLM_OVERFLOW_TRUNCATE, .steps = 1, .length = DLM_LENGTH_FIXED};
	dlm_session *s;

	for (int i = 0; i < 10000; i++)
		memcpy(text + 6 * i, "river ", 6);
	text[59999] = '\0';
	s = generate(m, text, 8, NULL, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_ETOOLONG, "%s", dlm_session_result(s, 0)->error.message);
	dlm_session_close(s);
	s = generate(m, text, 8, &cut, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_OK, "%s", dlm_session_result(s, 0)->error.message);
	dlm_session_close(s);
	s = generate(m, "", 8, NULL, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_OK, "an empty prompt: %s", dlm_session_result(s, 0)->error.message);
	dlm_session_close(s);
}

int
main(void)
{
	tiny_model	m;

	if (tiny_open("context", &m))
	{
		bad_limits_are_refused(&m);
		probed_equals_fixed(&m, "context");
		stop_texts_cut(&m);
		stop_tokens_come_last(&m);
		long_prompts(&m);
		tiny_close(&m);
	}
	if (tiny_open("xlm-roberta", &m))
	{
		probed_equals_fixed(&m, "xlm-roberta");
		tiny_close(&m);
	}
	if (tiny_open("paper", &m))
	{
		predicted_lengths(&m);
		best_predicted_length_wins(&m);
		tiny_close(&m);
	}
	return harness_end("t_generate");
}
