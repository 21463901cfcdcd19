/*
 * t_forward.c - the forward pass agrees with PyTorch, and gives the same bits
 * whatever the batch, the team and the instruction set.
 *
 * Vectors: test/vectors/forward/NAME.json, made by test/vectors/make_forward.py.
 */
#include <math.h>
#include <time.h>

#include "rows.h"
#include "vectors.h"

static const char *const models[] = {
	"bert", "roberta", "sharded", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context", "untied", "bf16",
	"qwen2", "qwen3", "llada"
};

#define N_MODELS	((int) (sizeof(models) / sizeof(models[0])))
#define TOLERANCE	3e-4		/* in log-probability: DESIGN, issue 3 */

static double
log_sum_exp(const float *x, int n)
{
	double		most = x[0];
	double		sum = 0;

	for (int i = 1; i < n; i++)
		if (x[i] > most)
			most = x[i];
	for (int i = 0; i < n; i++)
		sum += exp(x[i] - most);
	return most + log(sum);
}

/* Largest difference in log-probability of a row's asks; *mean gets the mean one. */
static double
row_distance(const outcome *o, const cJSON *row, double *mean)
{
	double		worst = 0;
	double		sum = 0;

	for (int i = 0; i < o->n_ask; i++)
	{
		const float *logits = o->logits + (size_t) i * (size_t) o->vocab;
		const cJSON *list = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "logprobs"), i);
		double		z = log_sum_exp(logits, o->vocab);
		const cJSON *value;
		int			j = 0;

		if (cJSON_GetArraySize(list) != o->vocab)
			return INFINITY;
		cJSON_ArrayForEach(value, list)
		{
			double		d = fabs((double) logits[j++] - z - value->valuedouble);

			sum += d;
			if (!(d <= worst))
				worst = d;
		}
	}
	*mean = sum / ((double) o->n_ask * o->vocab);
	return worst;
}

static double
hidden_distance(const dlm_model *m, const outcome *o, const cJSON *row)
{
	const cJSON *line,
			   *value;
	double		worst = 0;
	int			at = 0;

	cJSON_ArrayForEach(line, cJSON_GetObjectItem(row, "hidden"))
		cJSON_ArrayForEach(value, line)
		{
			double		d = fabs((double) o->hidden[at++] - value->valuedouble);

			if (!(d <= worst))
				worst = d;
		}
	return at == o->n * (int) m->config.hidden ? worst : INFINITY;
}

static int
read_rows(const cJSON *vectors, outcome *o, int most)
{
	const cJSON *row;
	int			n = 0;

	cJSON_ArrayForEach(row, cJSON_GetObjectItem(vectors, "rows"))
		if (n < most)
			vector_row(row, &o[n++]);
	return n;
}

/* f32 within the tolerance; bf16 and int8 round the weights (of a network that random weights make touchy): near in the mean. */
static void
agrees_with_pytorch(const char *name, dlm_weights weights, double tolerance, double mean_tolerance)
{
	cJSON	   *vectors = vector_file(name);
	fixture		f;
	outcome		o[8] = {0};
	int			n;
	dlm_error	err = {0};
	run_options opt = {.threads = 2};

	if (vectors == NULL || !fixture_open(name, weights, &f))
		return;
	CHECK((f.model->config.attention == DL_ATT_CONTEXT) == cJSON_IsTrue(cJSON_GetObjectItem(vectors, "context")) &&
		  f.model->config.logit_shift == (uint32_t) cJSON_GetObjectItem(vectors, "shift")->valueint, "%s", name);
	n = read_rows(vectors, o, 8);
	CHECK(n == 5, "%s: %d rows", name, n);
	CHECK(outcome_run(f.model, o, n, &opt, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
	for (int i = 0; i < n; i++)
	{
		const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(vectors, "rows"), i);
		double		mean = INFINITY;
		double		d = row_distance(&o[i], row, &mean);

		CHECK(d <= tolerance && mean <= mean_tolerance, "%s row %d: log-probabilities differ by %g, %g in the mean",
			  name, i, d, mean);
		if (o[i].want_hidden && weights == DLM_WEIGHTS_F32)
		{
			d = hidden_distance(f.model, &o[i], row);
			CHECK(d <= tolerance, "%s row %d: hidden states differ by %g", name, i, d);
		}
		outcome_free(&o[i]);
	}
	fixture_close(&f);
	cJSON_Delete(vectors);
}

static void
same_bits(const dlm_model *m, const char *what, const outcome *expected, int n, const run_options *opt)
{
	outcome		o[8];
	dlm_error	err = {0};
	dlm_status	st;

	for (int i = 0; i < n; i++)
		o[i] = outcome_copy(&expected[i]);
	st = outcome_run(m, o, n, opt, NULL, &err);
	CHECK(st == DLM_OK, "%s: %s", what, err.message);
	for (int i = 0; i < n; i++)
	{
		CHECK(st == DLM_OK && outcome_equal(m, &expected[i], &o[i]), "%s row %d: threads %d, mask %u, together %d",
			  what, i, opt->threads, opt->cpu_mask, opt->together);
		outcome_free(&o[i]);
	}
}

/* batch = single, 1 thread = 4 threads, every instruction set = the reference */
static void
bits_are_equal(const char *name, dlm_weights weights)
{
	static const run_options ways[] = {
		{.threads = 1, .together = 1}, {.threads = 1}, {.threads = 4}, {.threads = 4, .together = 2},
		{.threads = 1, .cpu_mask = DLM_CPU_AVX512 | DLM_CPU_VNNI}, {.threads = 1, .cpu_mask = DLM_CPU_VNNI},
		{.threads = 2, .cpu_mask = ~0u}
	};
	cJSON	   *vectors = vector_file(name);
	fixture		f;
	outcome		o[8] = {0};
	dlm_error	err = {0};
	char		what[64];
	int			n;

	if (vectors == NULL || !fixture_open(name, weights, &f))
		return;
	snprintf(what, sizeof(what), "%s weights %d", name, (int) weights);
	n = read_rows(vectors, o, 8);
	CHECK(outcome_run(f.model, o, n, &ways[0], NULL, &err) == DLM_OK, "%s: %s", what, err.message);
	for (size_t i = 1; i < sizeof(ways) / sizeof(ways[0]); i++)
		same_bits(f.model, what, o, n, &ways[i]);
	for (int i = 0; i < n; i++)
		outcome_free(&o[i]);
	fixture_close(&f);
	cJSON_Delete(vectors);
}

/* What is asked beside a position, and whether hidden states are wanted, changes no bit of its logits. */
static void
asks_are_independent(const char *name)
{
	cJSON	   *vectors = vector_file(name);
	fixture		f;
	outcome		o[8] = {0};
	run_options opt = {.threads = 1};
	dlm_error	err = {0};

	if (vectors == NULL || !fixture_open(name, DLM_WEIGHTS_F32, &f))
		return;
	read_rows(vectors, o, 8);
	CHECK(outcome_run(f.model, o + 4, 1, &opt, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
	for (int i = 0; i < o[4].n_ask; i++)
	{
		outcome		one = outcome_copy(&o[4]);

		one.ask[0] = o[4].ask[i];
		one.n_ask = 1;
		one.want_hidden = i == 0;
		CHECK(outcome_run(f.model, &one, 1, &opt, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
		CHECK(memcmp(one.logits, o[4].logits + (size_t) i * (size_t) one.vocab, (size_t) one.vocab * sizeof(float)) == 0,
			  "%s ask %d", name, i);
		outcome_free(&one);
	}
	for (int i = 0; i < 8; i++)
		outcome_free(&o[i]);
	fixture_close(&f);
	cJSON_Delete(vectors);
}

/* The length head on a row of ids, between two other rows that also want it or its logits. */
static void
run_lengths(const dlm_model *m, const cJSON *list, int threads, uint32_t cpu_mask, float *logprobs)
{
	dl_arena   *a = dl_arena_create(0);
	dl_forward *f = dl_forward_create(m, a, threads, cpu_mask);
	int32_t		other[40] = {0};
	int32_t		ask[1] = {3};
	float		unused[256];
	outcome		o = {.n = 40, .ids = other, .n_ask = 1, .ask = ask};
	int			n;
	int32_t    *ids = vector_ints(list, &n);
	dl_row		rows[3] = {outcome_row(m, &o), {.n = n, .ids = ids, .lengths = logprobs},
		{.n = 17, .ids = other, .lengths = unused}};
	dlm_error	err = {0};

	CHECK(run_batch(f, rows, 3, 0, &err) == DLM_OK, "%s", err.message);
	if (threads == 1)			/* and alone */
		CHECK(run_batch(f, rows + 1, 1, 0, &err) == DLM_OK, "%s", err.message);
	free(ids);
	outcome_clear(&o);
	dl_forward_free(f);
	dl_arena_destroy(a);
}

static void
length_head_agrees_with_pytorch(void)
{
	cJSON	   *vectors = vector_file("paper");
	const cJSON *item;
	fixture		f;
	int			seen = 0;

	if (vectors == NULL || !fixture_open("paper", DLM_WEIGHTS_F32, &f))
		return;
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(vectors, "lengths"))
	{
		float		got[2][256];
		const cJSON *value;
		double		worst = 0;
		int			c = 0;

		CHECK(f.model->config.length_classes == 130, "%u", f.model->config.length_classes);
		for (int i = 0; i < 2; i++)
			run_lengths(f.model, cJSON_GetObjectItem(item, "ids"), i ? 4 : 1, i ? ~0u : 0, got[i]);
		CHECK(memcmp(got[0], got[1], 130 * sizeof(float)) == 0, "bits of the length head");
		cJSON_ArrayForEach(value, cJSON_GetObjectItem(item, "logprobs"))
			worst = fmax(worst, fabs((double) got[0][c++] - value->valuedouble));
		CHECK(c == 130 && worst <= TOLERANCE, "lengths differ by %g", worst);
		seen++;
	}
	CHECK(seen == 3, "%d", seen);
	fixture_close(&f);
	cJSON_Delete(vectors);
}

static void
bad_rows_are_refused(void)
{
	fixture		f;
	run_options opt = {.threads = 1};
	int32_t		ids[300] = {0};
	int32_t		ask[2] = {1, 2};
	struct
	{
		int			n;
		int32_t		id;
		int32_t		ask[2];
	}			bad[] = {{0, 1, {1, 2}}, {257, 1, {1, 2}}, {5, -1, {1, 2}}, {5, 424, {1, 2}}, {5, 1, {0, 2}}, {5, 1, {1, 5}},
		{5, 1, {2, 2}}, {5, 1, {2, 1}}};

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f))
		return;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		outcome		o = {.n = bad[i].n, .ids = ids, .n_ask = 2, .ask = ask};
		dlm_error	err = {0};

		ids[2] = bad[i].id;
		memcpy(ask, bad[i].ask, sizeof(ask));
		CHECK(outcome_run(f.model, &o, 1, &opt, NULL, &err) == DLM_EINVAL, "case %zu: %d", i, (int) err.status);
		outcome_clear(&o);
	}
	fixture_close(&f);
}

/* Too little memory at any point is an error, never a crash. */
static void
memory_limit_is_an_error(void)
{
	fixture		f;
	int32_t		ids[200] = {0};
	int32_t		ask[1] = {7};
	int			failed = 0;

	if (!fixture_open("llama", DLM_WEIGHTS_F32, &f))
		return;
	for (size_t limit = 1024; limit < (size_t) 8 << 20; limit = limit * 5 / 4)
	{
		dl_arena   *a = dl_arena_create(limit);
		dl_forward *forward = dl_forward_create(f.model, a, 1, 0);
		outcome		o = {.n = 200, .ids = ids, .n_ask = 1, .ask = ask};
		dl_row		row = outcome_row(f.model, &o);
		dlm_error	err = {0};
		dlm_status	st = forward ? run_batch(forward, &row, 1, 0, &err) : DLM_ENOMEM;

		CHECK(st == DLM_OK || st == DLM_ENOMEM, "%s", err.message);
		failed += st == DLM_ENOMEM;
		outcome_clear(&o);
		dl_forward_free(forward);
		dl_arena_destroy(a);
	}
	CHECK(failed > 3, "%d limits were too small", failed);
	fixture_close(&f);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOST_SECONDS	1.0		/* sanitizers slow a step down by an order of magnitude */
#else
#define MOST_SECONDS	0.05
#endif

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* A row as long as the context stays cancellable: no step works longer than a slice. */
static void
long_row_goes_in_small_steps(void)
{
	enum { N = 8192 };
	fixture		f;
	dl_arena   *a = dl_arena_create(0);
	int32_t    *ids = calloc(N, sizeof(*ids));
	int32_t		ask[1] = {N / 2};
	outcome		o = {.n = N, .ids = ids, .n_ask = 1, .ask = ask};
	double		worst = 0;
	int			steps = 0;

	if (!fixture_open("llama", DLM_WEIGHTS_F32, &f))
		return;
	for (int i = 0; i < N; i++)
		ids[i] = i % 421;
	{
		dl_forward *forward = dl_forward_create(f.model, a, 1, 0);
		dl_row		row = outcome_row(f.model, &o);
		dlm_error	err = {0};
		dlm_status	st = dl_forward_begin(forward, &row, 1, &err);

		while (st == DLM_OK || st == DLM_MORE)
		{
			double		start = cpu_seconds();

			st = dl_forward_step(forward, &err);
			worst = fmax(worst, cpu_seconds() - start);
			steps++;
			if (st == DLM_OK)
				break;
		}
		CHECK(st == DLM_OK && o.calls[0] == 1, "%s", err.message);
		dl_forward_free(forward);
	}
	CHECK(worst < MOST_SECONDS && steps > 50, "a step took %.1f ms of %d", worst * 1e3, steps);
	outcome_clear(&o);
	free(ids);
	dl_arena_destroy(a);
	fixture_close(&f);
}

int
main(void)
{
	for (int i = 0; i < N_MODELS; i++)
	{
		agrees_with_pytorch(models[i], DLM_WEIGHTS_F32, TOLERANCE, TOLERANCE);
		bits_are_equal(models[i], DLM_WEIGHTS_F32);
		bits_are_equal(models[i], DLM_WEIGHTS_BF16);
		bits_are_equal(models[i], DLM_WEIGHTS_INT8);
		asks_are_independent(models[i]);
	}
	agrees_with_pytorch("bf16", DLM_WEIGHTS_BF16, TOLERANCE, TOLERANCE);	/* its weights are bf16 already: nothing is rounded */
	agrees_with_pytorch("llama", DLM_WEIGHTS_BF16, 0.3, 0.05);
	agrees_with_pytorch("llama", DLM_WEIGHTS_INT8, 2, 0.3);
	length_head_agrees_with_pytorch();
	bad_rows_are_refused();
	memory_limit_is_an_error();
	long_row_goes_in_small_steps();
	return harness_end("t_forward");
}
