/*
 * t_logits.c - the trainer's forward pass gives the engine's logits, for every
 * tiny family, both attention rules, f32 and bf16 weights; memory is what was
 * predicted.
 */
#include "logits.h"

#define TOLERANCE	1e-5		/* of a logit, relative to the largest of its position */

/* Logits equal the engine's; and no longer, when one weight is another. */
static void
compare(dlm_model *m, const char *name, dl_arena *a)
{
	dl_train_options options = {.mode = DL_TRAIN_ALL};
	batch		b;
	outcome		o[BATCH_ROWS] = {0};
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dlm_error	err = {0};
	double		d;

	batch_make(&m->config, 7, &b);
	CHECK(dl_params_create(m, &options, a, &p, &err) == DLM_OK, "%s: %s", name, err.message);
	CHECK(dl_arena_used(a) == dl_params_bytes(m, &options, NULL), "%s: %zu bytes", name, dl_arena_used(a));
	CHECK(dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s: %s", name, err.message);
	CHECK(dl_arena_used(a) == dl_params_bytes(m, &options, NULL) + dl_net_bytes(m, &options, &b.limits, 1), "%s: %zu bytes", name,
		  dl_arena_used(a));
	if (engine_logits(m, &b, o))
	{
		CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
		d = batch_distance(net, o, (int) m->config.vocab);
		CHECK(d <= TOLERANCE, "%s: logits differ by %g", name, d);
		printf("%s, %s attention: largest relative difference %.1e\n", name,
			   m->config.attention == DL_ATT_CONTEXT ? "context" : "full", d);
		p->layers[0].q.w->value[3] += 0.5f;
		p->layers[1].down.w->value[5] += 0.05f;
		CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
		CHECK(batch_distance(net, o, (int) m->config.vocab) > TOLERANCE, "%s: another weight is not noticed", name);
	}
	for (int r = 0; r < BATCH_ROWS; r++)
		outcome_free(&o[r]);
	dl_net_free(net);
	dl_params_free(p);
	CHECK(dl_arena_used(a) == 0, "%s: %zu bytes are left", name, dl_arena_used(a));
}

static void
logits_equal_the_engines(const char *name, dlm_weights weights)
{
	dl_arena   *a = dl_arena_create(0);
	fixture		f;

	if (tiny_open(name, weights, &f))
	{
		uint32_t	own = f.model->config.attention;

		compare(f.model, name, a);
		f.model->config.attention = own == DL_ATT_FULL ? DL_ATT_CONTEXT : DL_ATT_FULL;
		compare(f.model, name, a);
		f.model->config.attention = own;
		fixture_close(&f);
	}
	dl_arena_destroy(a);
}

/* What is not in the model or does not fit is refused. */
static void
refusals(void)
{
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dlm_error	err = {0};
	fixture		f;
	batch		b;

	if (!fixture_open("llama", DLM_WEIGHTS_F32, &f))
		return;
	CHECK(dl_params_create(f.model, &(dl_train_options) {.mode = DL_TRAIN_ALL}, a, &p, &err) == DLM_OK, "%s",
		  err.message);
	batch_make(&f.model->config, 7, &b);
	CHECK(dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s", err.message);
	b.ids[2][2] = (int32_t) f.model->config.vocab;
	CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_EINVAL, "token beyond the vocabulary");
	batch_make(&f.model->config, 7, &b);
	b.target[3][0] = -1;
	CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_EINVAL, "negative target");
	batch_make(&f.model->config, 7, &b);
	b.ask[3][0] = b.rows[3].n;
	CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_EINVAL, "ask outside the row");
	batch_make(&f.model->config, 7, &b);
	b.rows[0] = b.rows[3];
	CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_ETOOLONG, "batch beyond the limits");
	dl_arena_destroy(a);
	fixture_close(&f);
}

int
main(void)
{
	for (int i = 0; i < N_TINY_MODELS; i++)
		logits_equal_the_engines(tiny_models[i], DLM_WEIGHTS_F32);
	logits_equal_the_engines("bf16", DLM_WEIGHTS_BF16);
	logits_equal_the_engines("roberta", DLM_WEIGHTS_BF16);
	refusals();
	return harness_end("t_logits");
}
