/*
 * runs.h - training runs of tiny models on made-up rows, with or without
 * trouble on the way.
 */
#ifndef RUNS_H
#define RUNS_H

#include "trained.h"
#include "stream.h"
#include "train_impl.h"

#define N_ROWS	24				/* of each source */

typedef struct setting
{
	const char *model;
	dlm_weights weights;
	dlm_objective objective;
	int			sources;
	bool		labels;			/* rows have labels */
	const char *options;		/* members of an object */
} setting;

typedef struct bench
{
	const setting *s;
	fixture		f;
	char		folder[256];
	const char *more;			/* options that go before the setting's, NULL: none */
	int			seed;
	int			first_row;
	bool		heavy;			/* the second source has another weight */
	bool		learnable;		/* every target follows from its input */
} bench;

static inline bool
bench_open(const setting *s, bench *b)
{
	memset(b, 0, sizeof(*b));
	b->s = s;
	b->seed = 1;
	files_folder(b->folder);
	return tiny_open(s->model, s->weights, &b->f);
}

static inline void
bench_close(bench *b)
{
	files_remove(b->folder);
	fixture_close(&b->f);
}

/* ------------------------------------------------------------------- rows */

typedef struct toy_row
{
	dlm_train_row row;
	char		text[4][160];
	dlm_text	labels[3];
} toy_row;

static inline dlm_text
toy_text(char *to, const char *text)
{
	snprintf(to, 160, "%s", text);
	return (dlm_text) {to, strlen(to)};
}

/* Row i of a source. Labels of one and of more tokens; texts of different lengths. */
static inline void
make_row(const bench *b, int source, int i, toy_row *r)
{
	static const char *const weather[] = {"rain", "sun", "snow", "wind"};
	static const char *const answers[] = {"wet", "dry", "a cold sea"};
	uint64_t	seed = (uint64_t) (source * 1000 + b->first_row + i) * 977 + 5;
	int			kind = (int) (batch_uniform(&seed) * 4);
	int			answer = b->learnable ? kind % 2 : (int) (batch_uniform(&seed) * 3);
	char		words[100];
	int			n = 0;

	memset(r, 0, sizeof(*r));
	words[0] = '\0';
	for (int repeat = b->learnable ? 0 : (int) (batch_uniform(&seed) * 5); repeat >= 0; repeat--)
		n += snprintf(words + n, sizeof(words) - (size_t) n, "%s ", weather[kind]);
	snprintf(words + n, sizeof(words) - (size_t) n, "%d", i % 10);
	r->row.key = i + 1;
	if (b->s->objective == DLM_OBJECTIVE_TEXT)
	{
		r->row.text = toy_text(r->text[0], words);
		return;
	}
	r->row.instruction = toy_text(r->text[1], "Say it.");
	r->row.input = toy_text(r->text[2], words);
	r->row.target = toy_text(r->text[3], answers[answer]);
	if (!b->s->labels)
		return;
	r->row.labels = r->labels;
	r->row.n_labels = b->learnable ? 2 : 3;
	for (int a = 0; a < r->row.n_labels; a++)
		r->labels[a] = (dlm_text) {answers[a], strlen(answers[a])};
}

/* Was row i of source 0 held out? The least place is enough where the share is below all. */
static inline bool
is_held_out(const bench *b, int i)
{
	dl_stream	s = dl_stream_of(b->seed, DL_USE_HOLD_OUT, 0, (uint64_t) i);

	return dl_stream_uniform(&s) < 0.3;
}

/* ---------------------------------------------------------------- trouble */

/* What disturbs a run: env.stop at random polls; saved, closed, opened and resumed after random calls. */
typedef struct trouble
{
	uint64_t	seed;
	double		stop_share,
				resume_share;
	bool		threads;		/* another number of threads now and then */
	int			stops,
				resumes,
				in_steps,		/* resumes that were saved in the middle of a step, or of a validation */
				in_validations;
	bool		quiet;
} trouble;

static bool
trouble_stop(void *arg)
{
	trouble    *t = arg;

	return !t->quiet && batch_uniform(&t->seed) < t->stop_share;
}

/* ------------------------------------------------------------------- runs */

/* A run with its rows, not started; NULL: see err. Options live as long as the process. */
static inline dlm_train *
bench_rows(const bench *b, const dlm_env *env, dlm_error *err)
{
	static dlm_train_options *kept[8];
	static int	at = 0;
	char		json[1500];
	char		given[1500] = "";
	const char *defaults[] = {"\"steps\": 9", "\"batch_tokens\": 150", "\"part_tokens\": 40", "\"validate_every\": 3",
		"\"patience\": 0", "\"learning_rate\": 0.01", "\"warmup\": 0.2"};
	dlm_train  *run = NULL;
	dlm_status	st;

	/* cJSON objects may hold a key once: the bench' options win over the setting's, and those over defaults */
	snprintf(given, sizeof(given), "%s%s", b->s->options, b->more != NULL ? b->more : "");
	snprintf(json, sizeof(json), "{\"seed\": %d", b->seed);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
	{
		char		key[40];

		snprintf(key, sizeof(key), "%.*s", (int) (strchr(defaults[i], ':') - defaults[i]), defaults[i]);
		if (strstr(given, key) == NULL)
			snprintf(json + strlen(json), sizeof(json) - strlen(json), ", %s", defaults[i]);
	}
	/* of the setting's what is not given anew */
	for (const char *from = b->s->options; *from != '\0';)
	{
		const char *colon = strchr(from, ':');
		const char *quote = strchr(from, '"');
		const char *end = colon;
		char		key[40];

		for (bool in = false; *end != '\0' && (in || *end != ','); end++)
			in ^= *end == '"';
		snprintf(key, sizeof(key), "%.*s", (int) (colon - quote), quote);
		if (b->more == NULL || strstr(b->more, key) == NULL)
			snprintf(json + strlen(json), sizeof(json) - strlen(json), ", %.*s", (int) (end - quote), quote);
		from = *end == ',' ? end + 1 : end;
	}
	snprintf(json + strlen(json), sizeof(json) - strlen(json), "%s}", b->more != NULL ? b->more : "");
	free(kept[at]);
	kept[at] = NULL;
	st = dlm_train_options_parse(json, strlen(json), b->s->objective, &kept[at], err);
	CHECK(st == DLM_OK, "%s: %s", json, err->message);
	if (st == DLM_OK)
		st = dlm_train_open(b->f.model, kept[at], env, &run, err);
	at = (at + 1) % 8;
	for (int s = 0; s < b->s->sources && st == DLM_OK; s++)
	{
		int			source = 0;

		if (s > 0)
			st = dlm_train_source(run, "more", s == 1 && b->heavy ? 5 : 0.5, &source, err);
		for (int i = 0; i < N_ROWS && st == DLM_OK; i++)
		{
			toy_row		row;

			make_row(b, s, i, &row);
			do
				st = dlm_train_add(run, source, &row.row, err);
			while (st == DLM_EINTR && env->stop == trouble_stop);
		}
	}
	if (st == DLM_OK)
		return run;
	dlm_train_close(run);
	return NULL;
}

static inline dlm_train *
bench_start(const bench *b, const dlm_env *env, dlm_error *err)
{
	dlm_train  *run = bench_rows(b, env, err);
	dlm_status	st = run != NULL ? dlm_train_start(run, err) : DLM_OK;

	CHECK(run != NULL && st == DLM_OK, "%s: %s", b->s->model, err->message);
	if (run != NULL && st == DLM_OK)
		return run;
	dlm_train_close(run);
	return NULL;
}

/* Write what came of it into the folder, and open it; digest may be NULL. */
static inline bool
bench_write(dlm_train *run, const char *folder, uint8_t digest[32], fixture *f)
{
	dlm_error	err = {0};
	uint8_t		own[32];
	dlm_status	st;

	memset(f, 0, sizeof(*f));
	while ((st = dlm_train_write(run, folder, own, &err)) == DLM_EINTR)
		;
	if (st == DLM_OK)
		st = fixture_written(folder, own, f, &err);
	if (digest != NULL)
		memcpy(digest, own, 32);
	CHECK(st == DLM_OK, "%s", err.message);
	return st == DLM_OK;
}

typedef struct outcome
{
	uint8_t		digest[32],		/* of the model */
				values[32];		/* of the last weights, which may not be the best */
	dlm_train_progress progress;
} outcome;

/* Of all but times and memory. */
static inline bool
same_outcome(const outcome *a, const outcome *b)
{
	dlm_train_progress p = a->progress,
				q = b->progress;

	p.seconds = q.seconds = p.tokens_per_second = q.tokens_per_second = 0;
	p.memory_peak = q.memory_peak = 0;
	return memcmp(a->digest, b->digest, 32) == 0 && memcmp(a->values, b->values, 32) == 0 && memcmp(&p, &q, sizeof(p)) == 0;
}

/* Save, close, and go on from the file with a fresh run. */
static inline dlm_train *
bench_resume(const bench *b, const dlm_env *env, dlm_train *run, trouble *t)
{
	char		path[300];
	dlm_error	err = {0};
	dlm_status	st;

	snprintf(path, sizeof(path), "%s/run.ckpt", b->folder);
	t->resumes++;
	t->in_steps += run->in_step;
	t->in_validations += run->validation.running;
	while ((st = dlm_train_save(run, path, &err)) == DLM_EINTR)
		t->stops++;
	CHECK(st == DLM_OK, "%s", err.message);
	dlm_train_close(run);
	run = bench_start(b, env, &err);
	while (run != NULL && (st = dlm_train_resume(run, path, &err)) == DLM_EINTR)
		t->stops++;
	CHECK(run != NULL && st == DLM_OK, "%s", err.message);
	return run;
}

static inline void
hash_values(const dl_params *p, uint8_t digest[32])
{
	dl_sha256	sha;

	dl_sha256_init(&sha);
	for (int i = 0; i < p->n; i++)
		if (p->list[i].grad != NULL)
			dl_sha256_update(&sha, p->list[i].value, p->list[i].n * sizeof(dl_real));
	dl_sha256_final(&sha, digest);
}

/* A whole run. t NULL: undisturbed. */
static inline void
bench_run(const bench *b, const dlm_env *env, trouble *t, outcome *out)
{
	dlm_env		own = *env;
	dlm_error	err = {0};
	dlm_status	st = DLM_MORE;
	dlm_train  *run;
	fixture		f;

	memset(out, 0, sizeof(*out));
	if (t != NULL)
	{
		own.stop = trouble_stop;
		own.arg = t;
	}
	run = bench_start(b, &own, &err);
	while (run != NULL && (st == DLM_MORE || st == DLM_EINTR))
	{
		st = dlm_train_step(run, &err);
		if (t == NULL)
			continue;
		t->stops += st == DLM_EINTR;
		if (t->threads)
			dlm_train_threads(run, (int) (batch_uniform(&t->seed) * 6));
		if (st == DLM_MORE && batch_uniform(&t->seed) < t->resume_share)
			run = bench_resume(b, &own, run, t);
	}
	CHECK(run != NULL && st == DLM_OK, "%s: %s", b->s->model, err.message);
	if (run == NULL)
		return;
	dlm_train_progress_get(run, &out->progress);
	hash_values(run->p, out->values);
	if (st == DLM_OK && bench_write(run, b->folder, out->digest, &f))
		fixture_close(&f);
	dlm_train_close(run);
}

#endif							/* RUNS_H */
