/*
 * t_params.c - parameters are the file's weights, whatever their type; what is
 * not trained has no gradient; what cannot be trained is refused.
 */
#include <math.h>

#include "fixture.h"
#include "params.h"

/* A parameter's values, of a frozen matrix too. */
static dl_real *
values_of(const dl_params *p, const dl_param *e)
{
	dl_real    *x = malloc(e->n * sizeof(dl_real));

	if (e->value != NULL)
		memcpy(x, e->value, e->n * sizeof(dl_real));
	else
		dl_unpack(e->entry, p->model->base + e->entry->offset, x);
	return x;
}

/* The embedding is what dl_model_embed says, bit for bit; other matrices of an int8 model are near the f32 model's. */
static void
int8_is_dequantised(const char *name)
{
	dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 2, .alpha = 2};
	dl_train_options all = {.mode = DL_TRAIN_ALL};
	dl_arena   *a = dl_arena_create(0);
	fixture		f8,
				f32;
	dl_params  *p8 = NULL,
			   *p32 = NULL;
	dlm_error	err = {0};
	float		x[256];
	dl_real    *embed;
	bool		same = true;

	if (!fixture_open(name, DLM_WEIGHTS_INT8, &f8) || !fixture_open(name, DLM_WEIGHTS_F32, &f32))
		return;
	CHECK(dl_params_create(f8.model, &all, a, &p8, &err) == DLM_EUNSUPPORTED && strstr(err.hint, "LoRA") != NULL,
		  "%s: %s", name, err.hint);
	CHECK(dl_params_create(f8.model, &lora, a, &p8, &err) == DLM_OK, "%s: %s", name, err.message);
	CHECK(dl_params_create(f32.model, &all, a, &p32, &err) == DLM_OK, "%s: %s", name, err.message);
	embed = values_of(p8, p8->embed);
	for (int id = 0; id < (int) f8.model->config.vocab; id++)
	{
		bool		replaced = false;

		for (uint32_t i = 0; i < f8.model->config.n_replaced; i++)
			replaced = replaced || f8.model->config.replaced[i] == (uint32_t) id;
		dl_model_embed(f8.model, id, x);
		same = same && (replaced || memcmp(x, embed + (size_t) id * f8.model->config.hidden,
										   f8.model->config.hidden * sizeof(float)) == 0);
	}
	CHECK(same, "%s: embedding", name);
	free(embed);
	for (int i = 0; i < p32->n; i++)
	{
		const dl_param *e = &p32->list[i];
		const dl_param *q = dl_params_find(p8, e->role, e->layer, DL_PART_TENSOR);
		dl_real    *x8 = q != NULL ? values_of(p8, q) : NULL;
		double		error = 0,
					norm = 0;

		for (size_t j = 0; q != NULL && j < e->n; j++)
		{
			error += ((double) e->value[j] - x8[j]) * ((double) e->value[j] - x8[j]);
			norm += (double) e->value[j] * e->value[j];
		}
		free(x8);
		CHECK(q != NULL && error <= 0.02 * 0.02 * norm, "%s role %d: %g of %g", name, (int) e->role, error, norm);
	}
	dl_arena_destroy(a);
	fixture_close(&f8);
	fixture_close(&f32);
}

/* Some rows of a tensor are those rows of the whole, wherever they begin in a panel. */
static void
rows_are_of_the_whole(const char *name, dlm_weights weights)
{
	fixture		f;
	const dl_entry *e;
	bool		same = true;

	if (!fixture_open(name, weights, &f))
		return;
	e = (const dl_entry *) (f.model->base + f.model->header->directory.offset);
	for (size_t i = 0; i < f.model->header->directory.size / sizeof(dl_entry); i++)
	{
		const void *data = f.model->base + e[i].offset;
		size_t		cols = (size_t) e[i].cols;
		dl_real    *whole = malloc((size_t) e[i].rows * cols * sizeof(dl_real));
		dl_real    *part = malloc(20 * cols * sizeof(dl_real));

		dl_unpack(&e[i], data, whole);
		for (size_t first = 0; first < e[i].rows; first += 7)
		{
			size_t		n = e[i].rows - first < 20 ? (size_t) e[i].rows - first : 20;

			dl_unpack_rows(&e[i], data, first, n, part);
			same = same && memcmp(part, whole + first * cols, n * cols * sizeof(dl_real)) == 0;
		}
		free(whole);
		free(part);
	}
	CHECK(same, "%s", name);
	fixture_close(&f);
}

/* A is the same for a seed and another for another; B is zero; nothing else is trained; memory is what was predicted. */
static void
factors_begin_at_the_model(const char *name)
{
	dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q | DL_DENSE_DOWN, .rank = 3, .alpha = 6, .seed = 1};
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p[3] = {NULL};
	dlm_error	err = {0};
	fixture		f;
	int			factors = 0;

	if (!fixture_open(name, DLM_WEIGHTS_F32, &f))
		return;
	for (int i = 0; i < 3; i++)
	{
		size_t		used = dl_arena_used(a);

		lora.seed = i < 2 ? 1 : 2;
		CHECK(dl_params_create(f.model, &lora, a, &p[i], &err) == DLM_OK, "%s: %s", name, err.message);
		CHECK(dl_arena_used(a) - used == dl_params_bytes(f.model, &lora, NULL), "%s: %zu bytes", name, dl_arena_used(a) - used);
	}
	CHECK(p[0]->scale == 2, "%s: scale %g", name, (double) p[0]->scale);
	for (int i = 0; i < p[0]->n; i++)
	{
		const dl_param *e = &p[0]->list[i];
		size_t		bytes = e->n * sizeof(dl_real);
		double		most = 0;

		CHECK((e->part == DL_PART_TENSOR) == (e->grad == NULL), "%s role %d", name, (int) e->role);
		if (e->part == DL_PART_TENSOR)
			continue;
		factors++;
		for (size_t j = 0; j < e->n; j++)
			most = fmax(most, fabs((double) e->value[j]));
		if (e->part == DL_PART_LORA_A)
			CHECK(most <= 1 / sqrt(e->cols) && most > 0.8 / sqrt(e->cols) &&
				  memcmp(e->value, p[1]->list[i].value, bytes) == 0 && memcmp(e->value, p[2]->list[i].value, bytes) != 0,
				  "%s role %d: A", name, (int) e->role);
		else
			CHECK(most == 0, "%s role %d: B", name, (int) e->role);
	}
	CHECK(factors == 2 * 2 * (int) f.model->config.layers, "%s: %d factors", name, factors);
	dl_arena_destroy(a);
	fixture_close(&f);
}

/* What cannot be trained is refused, with a message, and keeps no memory. */
static void
refusals(void)
{
	static const struct
	{
		dl_train_options options;
		const char *why;
	}			cases[] = {
		{{.mode = DL_TRAIN_BIAS}, "llama has no biases"},
		{{.mode = DL_TRAIN_LORA, .lora = DL_DENSE_HEAD, .rank = 1, .alpha = 1}, "llama has no head transform"},
		{{.mode = DL_TRAIN_LORA, .rank = 1, .alpha = 1}, "no layer"},
		{{.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .alpha = 1}, "rank 0"},
		{{.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 41, .alpha = 1}, "rank above hidden"},
		{{.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 1, .alpha = NAN}, "alpha NaN"},
		{{.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 1, .alpha = 0}, "alpha 0"},
	};
	dl_arena   *a = dl_arena_create(0);
	dl_arena   *small = dl_arena_create(100000);
	fixture		f;

	if (!fixture_open("llama", DLM_WEIGHTS_F32, &f))
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dlm_error	err = {0};
		dl_params  *p = NULL;

		CHECK(dl_params_create(f.model, &cases[i].options, a, &p, &err) == DLM_EINVAL && p == NULL &&
			  err.message[0] != 0, "%s", cases[i].why);
	}
	CHECK(dl_params_create(f.model, &(dl_train_options) {.mode = DL_TRAIN_ALL}, small, &(dl_params *) {NULL}, NULL) ==
		  DLM_ENOMEM, "limit");
	CHECK(dl_arena_used(a) == 0 && dl_arena_used(small) == 0, "a refusal keeps memory");
	dl_arena_destroy(a);
	dl_arena_destroy(small);
	fixture_close(&f);
}

int
main(void)
{
	int8_is_dequantised("paper");
	int8_is_dequantised("qwen3");
	int8_is_dequantised("xlm-roberta-xl");
	rows_are_of_the_whole("xlm-roberta-xl", DLM_WEIGHTS_INT8);
	rows_are_of_the_whole("llama", DLM_WEIGHTS_BF16);
	rows_are_of_the_whole("bert", DLM_WEIGHTS_F32);
	factors_begin_at_the_model("llama");
	factors_begin_at_the_model("bert");
	refusals();
	return harness_end("t_params");
}
