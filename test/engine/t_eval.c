/*
 * t_eval.c - the figures of dlm-model eval: against sacrebleu, rouge-score and
 * a second bootstrap (test/vectors/eval, by make_eval.py), and by hand.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "eval.h"
#include "json.h"

#define NEAR(a, b) (fabs((a) - (b)) < 1e-9)

static cJSON *
read_figures(void)
{
	FILE	   *f = fopen("test/vectors/eval/figures.json", "rb");
	char	   *text = calloc(1, 1 << 20);
	size_t		n = f != NULL ? fread(text, 1, (1 << 20) - 1, f) : 0;
	cJSON	   *json = cJSON_ParseWithLength(text, n);

	if (f != NULL)
		fclose(f);
	free(text);
	CHECK(json != NULL, "figures.json");
	return json;
}

static double
number(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key)->valuedouble;
}

static dlm_text
text(const cJSON *object, const char *key)
{
	const char *s = cJSON_GetObjectItemCaseSensitive(object, key)->valuestring;

	return (dlm_text) {s, strlen(s)};
}

static void
texts(const cJSON *figures)
{
	const cJSON *pair;
	double		all[DL_CHRF_STATS] = {0};
	dlm_error	err;
	int			n = 0;

	cJSON_ArrayForEach(pair, cJSON_GetObjectItemCaseSensitive(figures, "pairs"))
	{
		dlm_text	a = text(pair, "answer"),
					b = text(pair, "reference");
		double		stats[DL_CHRF_STATS],
					f1;

		CHECK(dl_eval_chrf_count(a, b, stats, &err) == DLM_OK && dl_eval_rouge_l(a, b, &f1, &err) == DLM_OK, "%s", err.message);
		CHECK(NEAR(dl_eval_chrf(stats, 1), number(pair, "chrf")), "chrF of pair %d: %.9f, sacrebleu %.9f", n,
			  dl_eval_chrf(stats, 1), number(pair, "chrf"));
		CHECK(NEAR(f1, number(pair, "rouge_l")), "ROUGE-L of pair %d: %.9f, rouge-score %.9f", n, f1, number(pair, "rouge_l"));
		for (int i = 0; i < DL_CHRF_STATS; i++)
			all[i] += stats[i];
		n++;
	}
	CHECK(n == 50 && NEAR(dl_eval_chrf(all, n), number(figures, "corpus_chrf")), "corpus of %d: %.9f", n, dl_eval_chrf(all, n));
}

static void
bad_utf8(void)
{
	double		stats[DL_CHRF_STATS];
	dlm_error	err;

	/* a lone continuation byte, a cut character, an overlong one: each byte a character of its own */
	CHECK(dl_eval_chrf_count((dlm_text) {"\x80" "a\xC3", 3}, (dlm_text) {"\xC0\x80", 2}, stats, &err) == DLM_OK, "bad bytes");
	CHECK(stats[0] == 3 && stats[1] == 2 && stats[2] == 1, "counts %g %g %g", stats[0], stats[1], stats[2]);
}

static void
exact(void)
{
	CHECK(dl_eval_equal((dlm_text) {" Paris\n", 7}, (dlm_text) {"Paris", 5}), "white space at the ends");
	CHECK(!dl_eval_equal((dlm_text) {"paris", 5}, (dlm_text) {"Paris", 5}), "case counts");
	CHECK(dl_eval_equal((dlm_text) {"  ", 2}, (dlm_text) {"", 0}), "nothing equals nothing");
}

static void
calibration(void)
{
	/* bins of 1/15: 0.5 and 0.52 share bin 8 (0.4667, 0.5333]; 0.9 is in bin 14; the last row has no answer */
	static const double p[] = {0.5, 0.52, 0.9, -1};
	static const double right[] = {1, 0, 1, 0};
	double		wide[] = {1, 9, 0, 9, 1, 9};

	/* (|0.5 + 0.52 - 1| + |0.9 - 1|) / 3 */
	CHECK(NEAR(dl_eval_ece(p, right, 1, 4), 0.04), "%.9f", dl_eval_ece(p, right, 1, 4));
	CHECK(NEAR(dl_eval_ece(p, wide, 2, 3), 0.04), "stride");
	/* the upper edge belongs to the lower bin: 0.6 = 9/15 and 0.61 are in different bins, so errors do not cancel */
	CHECK(NEAR(dl_eval_ece((const double[]) {0.6, 0.61}, (const double[]) {1, 0}, 1, 2), (0.4 + 0.61) / 2), "edge");
	CHECK(dl_eval_ece((const double[]) {1, 1}, (const double[]) {1, 1}, 1, 2) == 0, "sure and right");
	CHECK(dl_eval_ece((const double[]) {0, 0}, (const double[]) {1, 1}, 1, 2) == 1, "the opposite");
	CHECK(dl_eval_ece(p, right, 1, 0) == 0, "no rows");
}

/* tasks of the file as samples; minus: the same of another key, or NULL */
static int
samples(const cJSON *figures, const char *key, const char *minus, dl_eval_sample *out)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(figures, key),
			   *other = minus != NULL ? cJSON_GetObjectItemCaseSensitive(figures, minus) : NULL;
	int			n = cJSON_GetArraySize(list);

	for (int t = 0; t < n; t++)
	{
		const cJSON *task = cJSON_GetArrayItem(list, t);
		int			rows = cJSON_GetArraySize(task);
		double	   *value = calloc((size_t) rows * 2, sizeof(double));
		double	   *less = other != NULL ? calloc((size_t) rows * 2, sizeof(double)) : NULL;

		for (int i = 0; i < rows; i++)
		{
			value[2 * i] = cJSON_GetArrayItem(task, i)->valuedouble;
			if (less != NULL)
				less[2 * i] = cJSON_GetArrayItem(cJSON_GetArrayItem(other, t), i)->valuedouble;
		}
		out[t] = (dl_eval_sample) {value, less, rows, 2};
	}
	return n;
}

static void
check_interval(const cJSON *figures, const char *key, const dl_eval_sample *s, int n)
{
	const cJSON *wanted = cJSON_GetObjectItemCaseSensitive(figures, key);
	dl_eval_interval got;
	double		w[3];

	for (int i = 0; i < 3; i++)
		w[i] = cJSON_GetArrayItem(wanted, i)->valuedouble;
	dl_eval_bootstrap(s, n, dl_eval_mean, 1, (uint32_t) number(figures, "seed"), &got);
	CHECK(NEAR(got.value, w[0]) && NEAR(got.low, w[1]) && NEAR(got.high, w[2]), "%s: %.9f %.9f %.9f, not %.9f %.9f %.9f", key,
		  got.value, got.low, got.high, w[0], w[1], w[2]);
}

static void
intervals(const cJSON *figures)
{
	dl_eval_sample s[3],
				d[3];
	static const double two[] = {0, 1};
	static const double nats[] = {2, 1, 4, 2};	/* nats and tokens: 2 nats a token */
	dl_eval_interval got;
	int			n = samples(figures, "tasks", NULL, s);

	samples(figures, "tasks", "other", d);
	check_interval(figures, "interval", s, n);
	check_interval(figures, "interval_first", s, 1);
	check_interval(figures, "interval_difference", d, n);
	/* of two rows a quarter of the resamples has the first twice, a quarter the second */
	dl_eval_bootstrap(&(dl_eval_sample) {two, NULL, 2, 1}, 1, dl_eval_mean, 1, 0, &got);
	CHECK(got.value == 0.5 && got.low == 0 && got.high == 1, "%g %g %g", got.value, got.low, got.high);
	/* a model does not differ from itself */
	dl_eval_bootstrap(&(dl_eval_sample) {two, two, 2, 1}, 1, dl_eval_mean, 1, 0, &got);
	CHECK(got.value == 0 && got.low == 0 && got.high == 0, "%g %g %g", got.value, got.low, got.high);
	dl_eval_bootstrap(&(dl_eval_sample) {nats, NULL, 2, 2}, 1, dl_eval_perplexity, 2, 0, &got);
	CHECK(NEAR(got.value, exp(2)) && NEAR(got.low, exp(2)) && NEAR(got.high, exp(2)), "%g %g %g", got.value, got.low, got.high);
	for (int t = 0; t < n; t++)
	{
		free((void *) s[t].value);
		free((void *) d[t].value);
		free((void *) d[t].minus);
	}
}

static void
order(const cJSON *figures)
{
	const cJSON *line;
	uint64_t	last = 0;

	cJSON_ArrayForEach(line, cJSON_GetObjectItemCaseSensitive(figures, "order"))
	{
		uint64_t	place = dl_eval_order((uint32_t) line->valueint, (uint32_t) number(figures, "seed"));

		CHECK(place > last, "line %d", line->valueint);
		last = place;
	}
}

int
main(void)
{
	cJSON	   *figures = read_figures();

	if (figures != NULL)
	{
		texts(figures);
		intervals(figures);
		order(figures);
	}
	bad_utf8();
	exact();
	calibration();
	cJSON_Delete(figures);
	return harness_end("t_eval");
}
