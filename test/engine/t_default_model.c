/*
 * t_default_model.c - the default model in the engine agrees with PyTorch.
 *
 *		t_default_model [BASE.gguf]
 *
 * Converts models/dlm-135m over its base weights (argument, or MODEL_BASE, or
 * where `make` fetches them) and compares with test/vectors/forward/dlm-135m.json.
 * f32 must agree within the tolerance; bf16 and int8 give the same best token
 * wherever the best is not nearly tied (int8 rounds activations too, and this
 * network has outliers: single unlikely tokens move by more than one nat).
 */
#include <math.h>

#include "vectors.h"

#define FOLDER		"models/dlm-135m"
#define FETCHED		"models/base/SmolLM2-135M-Instruct.Q4_1.gguf"
#define TOLERANCE	3e-4
#define MOST_ROWS	8

/* log z of a row of logits without the mask token */
static double
log_sum_exp(float *x, int n, int mask)
{
	double		most = -INFINITY;
	double		sum = 0;

	x[mask] = -INFINITY;
	for (int i = 0; i < n; i++)
		most = fmax(most, x[i]);
	for (int i = 0; i < n; i++)
		sum += exp(x[i] - most);
	return most + log(sum);
}

static int
arg_max(const float *x, int n)
{
	int			best = 0;

	for (int i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

typedef struct comparison
{
	double		worst;
	int			asks;
	int			best_differs;	/* where the two best are at least `margin` apart */
} comparison;

static void
compare_row(const outcome *o, const cJSON *row, int mask, double margin, comparison *c)
{
	for (int i = 0; i < o->n_ask; i++)
	{
		float	   *logits = o->logits + (size_t) i * (size_t) o->vocab;
		double		z = log_sum_exp(logits, o->vocab, mask);
		const cJSON *tokens = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "tokens"), i);
		const cJSON *logprobs = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "logprobs"), i);
		const cJSON *t = tokens->child,
				   *p = logprobs->child;
		bool		clear = p->valuedouble - p->next->valuedouble >= margin;

		c->best_differs += clear && arg_max(logits, o->vocab) != t->valueint;
		for (; t != NULL && p != NULL; t = t->next, p = p->next)
			c->worst = fmax(c->worst, fabs((double) logits[t->valueint] - z - p->valuedouble));
		c->asks++;
	}
}

static void
compare_model(const char *base, dlm_weights weights, double tolerance, double margin)
{
	dlm_convert_options options = {.weights = weights, .lora = FOLDER, .threads = 2};
	cJSON	   *vectors = vector_file("dlm-135m");
	const cJSON *row;
	outcome		o[MOST_ROWS] = {0};
	run_options opt = {.threads = 2};
	comparison	c = {0};
	dlm_error	err = {0};
	fixture		f;
	int			n = 0;

	if (vectors == NULL || !fixture_convert(base, &options, &f))
		return;
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(vectors, "rows"))
		vector_row(row, &o[n++]);
	CHECK(n == 5, "%d rows", n);
	CHECK(outcome_run(f.model, o, n, &opt, NULL, &err) == DLM_OK, "%s", err.message);
	n = 0;
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(vectors, "rows"))
	{
		compare_row(&o[n], row, cJSON_GetObjectItem(vectors, "mask")->valueint, margin, &c);
		outcome_free(&o[n++]);
	}
	printf("weights %d: %d positions, log-probabilities differ by at most %.2g\n", (int) weights, c.asks, c.worst);
	CHECK(c.asks == 25 && c.worst <= tolerance, "%d positions, %g", c.asks, c.worst);
	CHECK(c.best_differs == 0, "%d best tokens differ", c.best_differs);
	fixture_close(&f);
	cJSON_Delete(vectors);
}

int
main(int argc, char **argv)
{
	const char *base = argc > 1 ? argv[1] : getenv("MODEL_BASE");

	if (base == NULL || *base == 0)
		base = FETCHED;
	compare_model(base, DLM_WEIGHTS_BF16, 0.3, 0.3);
	if (getenv("DLM_TEST_QUICK") == NULL)	/* sanitizers see all the code with one form of the weights */
	{
		compare_model(base, DLM_WEIGHTS_F32, TOLERANCE, 1e-3);
		compare_model(base, DLM_WEIGHTS_INT8, 2.5, 0.7);
	}
	return harness_end("t_default_model");
}
