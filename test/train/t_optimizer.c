/*
 * t_optimizer.c - AdamW, clipping and schedules against values worked out by
 * hand. In the double build.
 */
#define DL_TRAIN_DOUBLE

#include <math.h>

#include "harness.h"
#include "optimizer.h"

/* Three tensors of one or two numbers: a matrix, a bias, and a frozen one between them. */
typedef struct toy
{
	dl_arena   *a;
	dl_params	p;
	dl_param	list[3];
	double		value[3][2];
	double		grad[3][2];
} toy;

static void
toy_open(toy *t)
{
	memset(t, 0, sizeof(*t));
	t->a = dl_arena_create(0);
	for (int i = 0; i < 3; i++)
		t->list[i] = (dl_param) {
			.matrix = i == 0, .rows = 1, .cols = i == 0 ? 2 : 1, .n = i == 0 ? 2 : 1, .value = t->value[i],
			.grad = i == 1 ? NULL : t->grad[i]
		};
	t->value[0][0] = t->value[0][1] = t->value[1][0] = t->value[2][0] = 1;
	t->p = (dl_params) {.arena = t->a, .trained = 3, .n = 3, .list = t->list};
}

/*
 * Rate 0.1, gradients 0.5, -0.25, 2: the first step is rate * sign of the
 * gradient, 1 (1 - 0.1 * 0.01) - 0.1 = 0.899. The others by the formulas in 30 decimal digits.
 */
static void
adamw_by_hand(void)
{
	static const double gradients[] = {0.5, -0.25, 2};
	static const double decayed[] = {0.899000001999999960, 0.871390231320433930, 0.804008677664887925};
	static const double plain[] = {0.900000001999999960, 0.873289231322433930, 0.806779067898208358};
	toy			t;
	dl_adamw   *o = NULL;
	dlm_error	err = {0};

	toy_open(&t);
	CHECK(dl_adamw_create(&t.p, &DL_ADAMW_PAPER, &o, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_arena_used(t.a) == dl_adamw_bytes(t.p.trained), "%zu bytes", dl_arena_used(t.a));
	for (int i = 0; i < 3; i++)
	{
		t.grad[0][1] = t.grad[2][0] = gradients[i];
		dl_adamw_step(o, 0.1);
		CHECK(fabs(t.value[0][1] - decayed[i]) < 1e-15, "matrix, step %d: %.17g", i + 1, t.value[0][1]);
		CHECK(fabs(t.value[2][0] - plain[i]) < 1e-15, "bias, step %d: %.17g", i + 1, t.value[2][0]);
		CHECK(t.value[1][0] == 1, "frozen, step %d: %.17g", i + 1, t.value[1][0]);
	}
	/* no gradient: decay alone */
	CHECK(fabs(t.value[0][0] - 0.999 * 0.999 * 0.999) < 1e-15, "%.17g", t.value[0][0]);
	CHECK(o->steps == 3 && fabs(o->power1 - 0.729) < 1e-15, "%.17g", o->power1);
	dl_adamw_free(o);
	CHECK(dl_arena_used(t.a) == 0, "memory is left");
	dl_arena_destroy(t.a);
}

static void
bad_options(void)
{
	static const dl_adamw_options bad[] = {
		{1, 0.98, 1e-8, 0}, {-0.1, 0.98, 1e-8, 0}, {0.9, 1, 1e-8, 0}, {0.9, NAN, 1e-8, 0}, {0.9, 0.98, 0, 0},
		{0.9, 0.98, INFINITY, 0}, {0.9, 0.98, 1e-8, -1}, {0.9, 0.98, 1e-8, NAN}
	};
	toy			t;

	toy_open(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dl_adamw   *o = NULL;
		dlm_error	err = {0};

		CHECK(dl_adamw_create(&t.p, &bad[i], &o, &err) == DLM_EINVAL && o == NULL && err.message[0] != 0, "case %zu", i);
	}
	dl_arena_destroy(t.a);
}

/* Gradients 3, 0 and 4, frozen ones not counted: norm 5. */
static void
clipping_by_hand(void)
{
	toy			t;

	toy_open(&t);
	t.grad[0][0] = 3;
	t.grad[1][0] = 100;
	t.grad[2][0] = 4;
	CHECK(dl_clip_gradients(&t.p, 1, 0) == 5 && t.grad[0][0] == 3, "no limit");
	CHECK(dl_clip_gradients(&t.p, 1, 5) == 5 && t.grad[0][0] == 3, "at the limit");
	CHECK(dl_clip_gradients(&t.p, 0.5, 10) == 2.5 && t.grad[0][0] == 1.5 && t.grad[2][0] == 2, "scaled");
	CHECK(dl_clip_gradients(&t.p, 2, 1) == 5 && fabs(t.grad[0][0] - 0.6) < 1e-15 && fabs(t.grad[2][0] - 0.8) < 1e-15,
		  "clipped: %.17g %.17g", t.grad[0][0], t.grad[2][0]);
	CHECK(t.grad[1][0] == 100, "a frozen tensor is touched");
	t.grad[2][0] = NAN;
	CHECK(isnan(dl_clip_gradients(&t.p, 1, 1)), "NaN is hidden");
	dl_arena_destroy(t.a);
}

static void
rate_is(const dl_rate *r, int64_t step, double expected)
{
	CHECK(fabs(dl_rate_at(r, step) - expected) <= 1e-15, "form %d, step %lld: %.17g, expected %.17g", (int) r->form,
		  (long long) step, dl_rate_at(r, step), expected);
}

static void
schedules_by_hand(void)
{
	const dl_rate constant = {DL_RATE_CONSTANT, 0.4, 0, 4, 0};
	const dl_rate cosine = {DL_RATE_COSINE, 1, 0.2, 10, 30};
	const dl_rate root = {DL_RATE_INVERSE_SQRT, 0.5, 0, 9, 0};
	const dl_rate cold = {DL_RATE_INVERSE_SQRT, 1, 0, 0, 0};

	rate_is(&constant, 1, 0.1);
	rate_is(&constant, 3, 0.3);
	rate_is(&constant, 4, 0.4);
	rate_is(&constant, 1000000, 0.4);
	rate_is(&cosine, 5, 0.5);
	rate_is(&cosine, 10, 1);
	rate_is(&cosine, 15, 0.2 + 0.4 * (1 + sqrt(0.5)));	/* a quarter of the half wave */
	rate_is(&cosine, 20, 0.6);
	rate_is(&cosine, 30, 0.2);
	rate_is(&cosine, 31, 0.2);
	rate_is(&root, 3, 0.5 / 3);
	rate_is(&root, 9, 0.5);
	rate_is(&root, 36, 0.25);
	rate_is(&cold, 1, 1);
	rate_is(&cold, 4, 0.5);
}

int
main(void)
{
	adamw_by_hand();
	bad_options();
	clipping_by_hand();
	schedules_by_hand();
	return harness_end("t_optimizer");
}
