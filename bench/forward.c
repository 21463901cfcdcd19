/*
 * forward.c - the engine as a coprocess, for timing beside its peers.
 *
 *		build/bench/forward MODEL.dlm [THREADS] [ref|avx2|avx512|best] [cpu]
 *
 * Reads one command a line and answers each with one line: median and best
 * seconds of a run, and a checksum of its results. A run is repeated until
 * SECONDS have passed, at least three times, after one that is not counted;
 * SECONDS 0 is one run and nothing else, for work that takes long.
 *
 *		rows SECONDS LEN...									rows of these lengths, two positions asked in each
 *		prefix SECONDS ROWS PREFIX INPUT SHARED				rows of PREFIX + INPUT fixed tokens and a canvas of
 *															three; SHARED 1: all begin with the same PREFIX
 *		denoise SECONDS ROWS PROMPT CANVAS STEPS			whole denoisings through a session; a fourth number
 *															says how many forwards one took
 *		logits PATH LEN...									no timing: the logits of `rows`, float [asked, vocab],
 *															to a file, for comparison; answers rows of it and vocab
 *
 * With "cpu" seconds are the process's processor time: on one thread that holds
 * on a busy machine too.
 *
 * Token ids are a hash of row and position, so that a peer can make the same
 * rows (bench/engine.py does). A failure answers "error ..." and goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forward.h"
#include "scheduler.h"
#include "status.h"

#define FIRST_ID		5		/* below are special tokens in most vocabularies */
#define PREFIX_CANVAS	3
#define MAX_ASKS		3		/* of a row */
#define MEMORY_LIMIT	((size_t) 4 << 30)

typedef struct bench
{
	const dlm_model *model;
	const dl_kernels *kernels;
	dlm_env		env;
	dl_arena   *arena;
	dl_forward *forward;
	clockid_t	clock;
} bench;

/* What was found at one asked position. */
typedef struct answer
{
	int32_t		id;
	float		log_sum_exp;
} answer;

typedef struct bench_row
{
	const bench *b;
	int32_t    *ids;
	uint8_t    *live;
	int32_t		ask[MAX_ASKS];
	answer		answers[MAX_ASKS];
	float	   *copy;			/* NULL, or [n_ask, vocab] gets the logits */
} bench_row;

typedef struct batch
{
	int			n;
	dl_row	   *rows;
	bench_row  *state;
} batch;

/* One run of what is timed; mixes what it found into *sum. */
typedef dlm_status (*work_fn) (const bench *b, void *work, uint64_t *sum, dlm_error *err);

static double
now(const bench *b)
{
	struct timespec t;

	clock_gettime(b->clock, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void *
need(void *p)
{
	if (p == NULL)
	{
		fprintf(stderr, "forward: out of memory\n");
		exit(1);
	}
	return p;
}

/* FNV-1a */
static void
mix(uint64_t *sum, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		*sum = (*sum ^ p[i]) * 0x100000001b3u;
}

/* ---------------------------------------------------------------- rows */

static int32_t
token_at(const dlm_model *model, int row, int position)
{
	uint32_t	x = (uint32_t) row * 0x9E3779B1u + (uint32_t) position * 0x85EBCA77u + 1u;
	int32_t		tokens = (int32_t) model->config.tokens,
				id;

	x = (x ^ x >> 15) * 0x2C1B3C6Du;
	x = (x ^ x >> 12) * 0x297A2D39u;
	x ^= x >> 15;
	id = FIRST_ID + (int32_t) (x % (uint32_t) (tokens - FIRST_ID));
	if (id == (int32_t) model->config.mask_id)
		id = id == tokens - 1 ? tokens - 2 : tokens - 1;
	return id;
}

/* What a block gives. */
typedef struct block_answer
{
	dl_block_sum sum;
	int32_t		id;				/* of the largest logit */
	int32_t		unused;
} block_answer;

/* The largest logit's id and log-sum-exp: what a denoiser needs of a position. */
static void
take_block(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	bench_row  *r = ctx;
	block_answer *p = partial;
	float		exps[DL_VOCAB_BLOCK];

	if (r->copy != NULL)
		memcpy(r->copy + (size_t) ask * (size_t) r->b->model->config.vocab + first, logits, (size_t) n * sizeof(float));
	p->sum = dl_block_sum_of(r->b->kernels, logits, n, exps);
	p->id = 0;
	while (logits[p->id] != p->sum.max)
		p->id++;
	p->id += first;
}

static void
take_fold(void *ctx, int ask, void *partials, int n_blocks)
{
	bench_row  *r = ctx;
	const block_answer *p = partials;
	int			best = 0;
	double		total = 0;

	for (int b = 1; b < n_blocks; b++)
		if (p[b].sum.max > p[best].sum.max)
			best = b;
	for (int b = 0; b < n_blocks; b++)
		total += dl_block_weight(p[b].sum, p[best].sum.max);
	r->answers[ask] = (answer) {p[best].id, p[best].sum.max + (float) dl_log(total)};
}

static const dl_reducer take = {sizeof(block_answer), take_block, take_fold};

/* Mask the asked positions; under `context` they and the ones before them are live, as in the product. */
static void
ask_at(const bench *b, dl_row *row, int32_t position)
{
	bench_row  *r = row->ctx;

	if (position < (int32_t) b->model->config.logit_shift)
		position = (int32_t) b->model->config.logit_shift;
	if (row->n_ask > 0 && position <= r->ask[row->n_ask - 1])
		position = r->ask[row->n_ask - 1] + 1;
	if (position >= row->n)
		return;
	r->ask[row->n_ask++] = position;
	r->ids[position] = (int32_t) b->model->config.mask_id;
	r->live[position] = 1;
	if (b->model->config.logit_shift)
		r->live[position - 1] = 1;
}

static void
make_row(const bench *b, dl_row *row, bench_row *state, int number, int n)
{
	*state = (bench_row) {.b = b, .ids = need(malloc((size_t) n * sizeof(int32_t))), .live = need(calloc((size_t) n, 1))};
	for (int i = 0; i < n; i++)
		state->ids[i] = token_at(b->model, number, i);
	*row = (dl_row) {.n = n, .ids = state->ids, .live = state->live, .ask = state->ask, .reducer = &take, .ctx = state};
}

static batch
make_batch(int n)
{
	return (batch) {.n = n, .rows = need(calloc((size_t) n, sizeof(dl_row))), .state = need(calloc((size_t) n, sizeof(bench_row)))};
}

static void
free_batch(batch *w)
{
	for (int i = 0; i < w->n; i++)
	{
		free(w->state[i].ids);
		free(w->state[i].live);
		free(w->state[i].copy);
	}
	free(w->rows);
	free(w->state);
}

/* All rows, in forwards of at most DL_ROUND_TOKENS tokens, as the scheduler cuts them. */
static dlm_status
run_batch(const bench *b, void *work, uint64_t *sum, dlm_error *err)
{
	batch	   *w = work;

	for (int first = 0, end; first < w->n; first = end)
	{
		int			tokens = w->rows[first].n;
		dlm_status	st;

		for (end = first + 1; end < w->n && tokens + w->rows[end].n <= DL_ROUND_TOKENS; end++)
			tokens += w->rows[end].n;
		st = dl_forward_begin(b->forward, w->rows + first, end - first, err);
		if (st != DLM_OK)
			return st;
		while ((st = dl_forward_step(b->forward, err)) == DLM_MORE)
			;
		if (st != DLM_OK)
			return st;
	}
	for (int i = 0; i < w->n; i++)
		for (int k = 0; k < w->rows[i].n_ask; k++)
			mix(sum, &w->state[i].answers[k], sizeof(answer));
	return DLM_OK;
}

/* ---------------------------------------------------------------- timing */

static int
by_time(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return x < y ? -1 : x > y;
}

#define MOST_RUNS	10000

static dlm_status
time_it(const bench *b, double seconds, work_fn run, void *work, uint64_t *sum, double *median, double *best, dlm_error *err)
{
	double	   *times = need(malloc(MOST_RUNS * sizeof(double))),
				start;
	int			n = 0;
	dlm_status	st;

	*sum = 0;
	st = seconds > 0 ? run(b, work, sum, err) : DLM_OK;
	start = now(b);
	while (st == DLM_OK && n < MOST_RUNS && (n < (seconds > 0 ? 3 : 1) || now(b) - start < seconds))
	{
		double		t0 = now(b);

		*sum = 0xcbf29ce484222325u;
		st = run(b, work, sum, err);
		times[n++] = now(b) - t0;
	}
	qsort(times, (size_t) n, sizeof(double), by_time);
	*median = n > 0 ? (times[(n - 1) / 2] + times[n / 2]) / 2 : 0;
	*best = n > 0 ? times[0] : 0;
	free(times);
	return st;
}

static void
say_error(const dlm_error *err)
{
	printf("error %s\n", err->message);
}

static void
time_batch(const bench *b, double seconds, batch *w)
{
	uint64_t	sum;
	double		median,
				best;
	dlm_error	err = {0};

	if (time_it(b, seconds, run_batch, w, &sum, &median, &best, &err) != DLM_OK)
		say_error(&err);
	else
		printf("%.9f %.9f %016llx\n", median, best, (unsigned long long) sum);
}

/* ---------------------------------------------------------------- commands over rows */

static bool
fits(const bench *b, long tokens)
{
	if (tokens >= 2 && tokens <= (long) b->model->config.context)
		return true;
	printf("error a row must have from 2 to %u tokens\n", b->model->config.context);
	return false;
}

/* Lengths up to the end of the line; false: one does not fit (said so), or there is none. */
static bool
read_lengths(const bench *b, char *at, batch *w)
{
	int			n = 0;
	char	   *end;

	for (char *p = at; strtol(p, &end, 10), end != p; p = end)
		n++;
	if (n == 0)
	{
		printf("error no lengths\n");
		return false;
	}
	*w = make_batch(n);
	for (int i = 0; i < n; i++)
	{
		long		len = strtol(at, &at, 10);

		if (!fits(b, len))
			return false;
		make_row(b, &w->rows[i], &w->state[i], i, (int) len);
		ask_at(b, &w->rows[i], (int32_t) (len / 3));
		ask_at(b, &w->rows[i], (int32_t) (2 * len / 3));
	}
	return true;
}

static void
do_rows(const bench *b, char *args)
{
	double		seconds = strtod(args, &args);
	batch		w = {0};

	if (read_lengths(b, args, &w))
		time_batch(b, seconds, &w);
	free_batch(&w);
}

static void
do_prefix(const bench *b, char *args)
{
	double		seconds = strtod(args, &args);
	int			rows = (int) strtol(args, &args, 10),
				prefix = (int) strtol(args, &args, 10),
				input = (int) strtol(args, &args, 10),
				shared = (int) strtol(args, &args, 10);
	int			n = prefix + input + PREFIX_CANVAS;
	batch		w;

	if (rows < 1 || !fits(b, n))
		return;
	w = make_batch(rows);
	for (int i = 0; i < rows; i++)
	{
		make_row(b, &w.rows[i], &w.state[i], i, n);
		for (int p = 0; p < prefix && shared; p++)
			w.state[i].ids[p] = token_at(b->model, 0, p);
		for (int p = 0; p < PREFIX_CANVAS; p++)
			ask_at(b, &w.rows[i], prefix + input + p);
	}
	time_batch(b, seconds, &w);
	free_batch(&w);
}

static bool
write_logits(const batch *w, const char *path, size_t vocab, int *asked)
{
	FILE	   *file = fopen(path, "wb");
	bool		good = file != NULL;

	*asked = 0;
	for (int i = 0; i < w->n && good; i++)
	{
		good = fwrite(w->state[i].copy, vocab * sizeof(float), (size_t) w->rows[i].n_ask, file) == (size_t) w->rows[i].n_ask;
		*asked += w->rows[i].n_ask;
	}
	if (file != NULL && fclose(file) != 0)
		good = false;
	return good;
}

static void
do_logits(const bench *b, char *args)
{
	size_t		vocab = b->model->config.vocab;
	const char *path = strtok_r(args, " ", &args);
	uint64_t	sum = 0;
	batch		w = {0};
	int			asked;
	dlm_error	err = {0};

	if (path == NULL)
		printf("error no path\n");
	else if (read_lengths(b, args, &w))
	{
		for (int i = 0; i < w.n; i++)
			w.state[i].copy = need(malloc(MAX_ASKS * vocab * sizeof(float)));
		if (run_batch(b, &w, &sum, &err) != DLM_OK)
			say_error(&err);
		else if (!write_logits(&w, path, vocab, &asked))
			printf("error cannot write the file\n");
		else
			printf("%d %zu\n", asked, vocab);
	}
	free_batch(&w);
}

/* ---------------------------------------------------------------- denoise */

typedef struct denoising
{
	int			n;
	dlm_request *requests;
	char	  **prompts;
	dlm_options options;
	uint64_t	forwards;		/* of the last run */
} denoising;

static int
count_tokens(const bench *b, const char *text, size_t len)
{
	int32_t    *ids;
	size_t		n;
	dlm_error	err;

	if (dlm_tokenize(b->model, (dlm_text) {text, len}, &b->env, &ids, &n, &err) != DLM_OK)
		return -1;
	free(ids);
	return (int) n;
}

/* A text of exactly n tokens: pieces of the vocabulary that add one token each to what is there. */
static char *
make_prompt(const bench *b, int number, int n)
{
	char	   *text = need(calloc((size_t) n + 1, 64));
	size_t		len = 0;
	int			have = 0;

	for (int tries = 0; have < n && tries < 200 * n; tries++)
	{
		size_t		more = dlm_token_bytes(b->model, token_at(b->model, number, tries), text + len, 63);

		if (more == 0 || more > 63 || memchr(text + len, '[', more) != NULL || memchr(text + len, '\n', more) != NULL)
			continue;
		if (count_tokens(b, text, len + more) == have + 1)
		{
			len += more;
			have++;
		}
	}
	text[len] = '\0';
	if (have == n)
		return text;
	free(text);
	return NULL;
}

static void
free_denoising(denoising *w)
{
	for (int i = 0; i < w->n; i++)
		free(w->prompts[i]);
	free(w->prompts);
	free(w->requests);
}

/* Begin, prompt and end tokens together are `prompt` tokens; the canvas is never cut or probed. */
static bool
make_denoising(const bench *b, denoising *w, int rows, int prompt, int canvas, int steps)
{
	*w = (denoising) {.n = rows, .requests = need(calloc((size_t) rows, sizeof(dlm_request))),
		.prompts = need(calloc((size_t) rows, sizeof(char *))),
		.options = {.steps = steps, .length = DLM_LENGTH_FIXED, .has_template = true, .tmpl = {"{prompt}", 8}}};
	prompt -= b->model->settings.n_begin + b->model->settings.n_end;
	for (int i = 0; i < rows; i++)
	{
		w->prompts[i] = prompt > 0 ? make_prompt(b, i, prompt) : NULL;
		if (w->prompts[i] == NULL)
			return false;
		w->requests[i] = (dlm_request) {.task = DLM_GENERATE, .input = {w->prompts[i], strlen(w->prompts[i])},
			.max_tokens = canvas};
	}
	return true;
}

static dlm_status
run_denoising(const bench *b, void *work, uint64_t *sum, dlm_error *err)
{
	denoising  *w = work;
	dlm_session *session = NULL;
	dlm_progress progress;
	dlm_status	st;

	for (int i = 0; i < w->n; i++)
		w->requests[i].options = &w->options;
	st = dlm_session_open(b->model, w->requests, w->n, &b->env, &session, err);
	if (st == DLM_OK)
		while ((st = dlm_session_step(session, err)) == DLM_MORE)
			;
	for (int i = 0; i < w->n && st == DLM_OK; i++)
	{
		const dlm_result *r = dlm_session_result(session, i);

		*err = r->error;
		st = r->error.status;
		mix(sum, r->text.data, r->text.len);
		mix(sum, &r->logprob, sizeof(double));
	}
	if (st == DLM_OK)
	{
		dlm_session_progress(session, &progress);
		w->forwards = progress.forwards;
	}
	dlm_session_close(session);
	return st;
}

static void
do_denoise(const bench *b, char *args)
{
	double		seconds = strtod(args, &args),
				median,
				best;
	int			rows = (int) strtol(args, &args, 10),
				prompt = (int) strtol(args, &args, 10),
				canvas = (int) strtol(args, &args, 10),
				steps = (int) strtol(args, &args, 10);
	denoising	w = {0};
	uint64_t	sum;
	dlm_error	err = {0};

	if (rows < 1 || canvas < 1 || steps < 1 || !make_denoising(b, &w, rows, prompt, canvas, steps))
		printf("error no prompt of %d tokens for this model\n", prompt);
	else if (time_it(b, seconds, run_denoising, &w, &sum, &median, &best, &err) != DLM_OK)
		say_error(&err);
	else
		printf("%.9f %.9f %016llx %llu\n", median, best, (unsigned long long) sum, (unsigned long long) w.forwards);
	free_denoising(&w);
}

/* ---------------------------------------------------------------- main */

static void
answer_line(const bench *b, char *line)
{
	static const struct
	{
		const char *name;
		void		(*run) (const bench *b, char *args);
	}			commands[] = {{"rows", do_rows}, {"prefix", do_prefix}, {"denoise", do_denoise}, {"logits", do_logits}};
	char	   *args = line + strcspn(line, " \n");

	if (*args != '\0')
		*args++ = '\0';
	args[strcspn(args, "\n")] = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(line, commands[i].name) == 0)
		{
			commands[i].run(b, args);
			return;
		}
	printf("error unknown command\n");
}

static bool
read_mask(const char *isa, uint32_t *mask)
{
	static const struct
	{
		const char *name;
		uint32_t	mask;
	}			known[] = {{"ref", ~0u}, {"avx2", DLM_CPU_AVX512 | DLM_CPU_VNNI}, {"avx512", DLM_CPU_VNNI}, {"best", 0}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(isa, known[i].name) == 0)
		{
			*mask = known[i].mask;
			return true;
		}
	return false;
}

static dlm_status
open_bench(bench *b, const char *path, int threads, uint32_t mask, bool cpu, dlm_map *map, dlm_error *err)
{
	dlm_model  *model = NULL;
	dlm_status	st = dlm_file_map(path, map, err);

	if (st == DLM_OK)
		st = dlm_model_open(map->data, map->size, &model, err);
	if (st != DLM_OK)
		return st;
	*b = (bench) {.model = model, .kernels = dl_kernels_get(mask), .arena = need(dl_arena_create(MEMORY_LIMIT)),
		.env = {.threads = threads, .memory_limit = MEMORY_LIMIT, .cpu_mask = mask},
		.clock = cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC};
	b->forward = need(dl_forward_create(model, b->arena, threads, mask));
	return DLM_OK;
}

int
main(int argc, char **argv)
{
	int			threads = argc > 2 ? atoi(argv[2]) : 2;
	uint32_t	mask = 0;
	dlm_map		map = {0};
	char	   *line = NULL;
	size_t		capacity = 0;
	bench		b;
	dlm_error	err = {0};

	if (argc < 2 || threads < 1 || (argc > 3 && !read_mask(argv[3], &mask)))
	{
		fprintf(stderr, "usage: forward MODEL.dlm [THREADS] [ref|avx2|avx512|best] [cpu]\n");
		return 2;
	}
	if (open_bench(&b, argv[1], threads, mask, argc > 4, &map, &err) != DLM_OK)
	{
		fprintf(stderr, "forward: %s\n", err.message);
		return 1;
	}
	while (getline(&line, &capacity, stdin) > 0)
	{
		answer_line(&b, line);
		fflush(stdout);
	}
	free(line);
	dl_forward_free(b.forward);
	dl_arena_destroy(b.arena);
	dlm_model_close((dlm_model *) b.model);
	dlm_file_unmap(&map);
	return 0;
}
