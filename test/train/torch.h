/*
 * torch.h - loss and gradients against those of PyTorch in double precision,
 * for every tiny family, all weights and LoRA factors.
 *
 * Vectors: test/vectors/gradients/NAME.json, made by test/vectors/make_gradients.py.
 * Each tensor's gradient is compared in its norm, its product with a fixed
 * direction, which every element enters, and some elements.
 */
#ifndef TORCH_H
#define TORCH_H

#include <cjson/cJSON.h>
#include <math.h>

#include "tiny.h"

static const char *const torch_models[] = {
	"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "llama", "context", "untied", "qwen2", "qwen3", "llada"
};

#define N_TORCH_MODELS	((int) (sizeof(torch_models) / sizeof(torch_models[0])))
#define TORCH_ROWS		5
#define TORCH_LONGEST	24

static const struct
{
	const char *name;
	dl_role		role;
}			torch_roles[] = {
	{"EMBED", DL_T_EMBED}, {"POSITION", DL_T_POSITION}, {"TYPE", DL_T_TYPE}, {"EMBED_NORM_W", DL_T_EMBED_NORM_W},
	{"EMBED_NORM_B", DL_T_EMBED_NORM_B}, {"FINAL_NORM_W", DL_T_FINAL_NORM_W}, {"FINAL_NORM_B", DL_T_FINAL_NORM_B},
	{"HEAD_DENSE_W", DL_T_HEAD_DENSE_W}, {"HEAD_DENSE_B", DL_T_HEAD_DENSE_B}, {"HEAD_NORM_W", DL_T_HEAD_NORM_W},
	{"HEAD_NORM_B", DL_T_HEAD_NORM_B}, {"HEAD_W", DL_T_HEAD_W}, {"HEAD_B", DL_T_HEAD_B},
	{"ATTN_NORM_W", DL_T_ATTN_NORM_W}, {"ATTN_NORM_B", DL_T_ATTN_NORM_B}, {"Q_W", DL_T_Q_W}, {"Q_B", DL_T_Q_B},
	{"K_W", DL_T_K_W}, {"K_B", DL_T_K_B}, {"V_W", DL_T_V_W}, {"V_B", DL_T_V_B}, {"O_W", DL_T_O_W}, {"O_B", DL_T_O_B},
	{"Q_NORM", DL_T_Q_NORM}, {"K_NORM", DL_T_K_NORM}, {"FFN_NORM_W", DL_T_FFN_NORM_W}, {"FFN_NORM_B", DL_T_FFN_NORM_B},
	{"GATE_W", DL_T_GATE_W}, {"UP_W", DL_T_UP_W}, {"UP_B", DL_T_UP_B}, {"DOWN_W", DL_T_DOWN_W}, {"DOWN_B", DL_T_DOWN_B}
};

typedef struct torch_batch
{
	dl_example	rows[TORCH_ROWS];
	int32_t		ids[TORCH_ROWS][TORCH_LONGEST];
	uint8_t		live[TORCH_ROWS][TORCH_LONGEST];
	int32_t		ask[TORCH_ROWS][TORCH_LONGEST];
	int32_t		target[TORCH_ROWS][TORCH_LONGEST];
	float		weight[TORCH_ROWS][TORCH_LONGEST];
	dl_net_limits limits;
} torch_batch;

static double
torch_number(const cJSON *object, const char *name)
{
	const cJSON *value = cJSON_GetObjectItem(object, name);

	return cJSON_IsNumber(value) ? value->valuedouble : NAN;
}

static const char *
torch_string(const cJSON *object, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

	return s != NULL ? s : "";
}

static int
torch_list(const cJSON *object, const char *name, double list[TORCH_LONGEST])
{
	const cJSON *value;
	int			n = 0;

	cJSON_ArrayForEach(value, cJSON_GetObjectItem(object, name))
		if (n < TORCH_LONGEST)
			list[n++] = value->valuedouble;
	return n;
}

static void
torch_read_rows(const cJSON *vectors, torch_batch *b)
{
	const cJSON *row;
	double		list[TORCH_LONGEST];
	int			r = 0;

	memset(b, 0, sizeof(*b));
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(vectors, "rows"))
	{
		dl_example *e = &b->rows[r];

		if (r == TORCH_ROWS)
			break;
		*e = (dl_example) {0, b->ids[r], b->live[r], 0, b->ask[r], b->target[r], b->weight[r], NULL};
		e->n = torch_list(row, "ids", list);
		for (int i = 0; i < e->n; i++)
			b->ids[r][i] = (int32_t) list[i];
		torch_list(row, "live", list);
		for (int i = 0; i < e->n; i++)
			b->live[r][i] = list[i] != 0;
		e->n_ask = torch_list(row, "ask", list);
		for (int i = 0; i < e->n_ask; i++)
			b->ask[r][i] = (int32_t) list[i];
		torch_list(row, "target", list);
		for (int i = 0; i < e->n_ask; i++)
			b->target[r][i] = (int32_t) list[i];
		torch_list(row, "weight", list);
		for (int i = 0; i < e->n_ask; i++)
			b->weight[r][i] = (float) list[i];
		b->limits.tokens += e->n;
		b->limits.asks += e->n_ask;
		r++;
	}
	b->limits.rows = r;
}

static dl_param *
torch_find(const dl_params *p, const cJSON *tensor)
{
	const char *part = torch_string(tensor, "part");
	const char *role = torch_string(tensor, "role");

	for (size_t i = 0; i < sizeof(torch_roles) / sizeof(torch_roles[0]); i++)
		if (strcmp(torch_roles[i].name, role) == 0)
			return dl_params_find(p, torch_roles[i].role, (int) torch_number(tensor, "layer"),
								  strcmp(part, "LORA_A") == 0 ? DL_PART_LORA_A :
								  strcmp(part, "LORA_B") == 0 ? DL_PART_LORA_B : DL_PART_TENSOR);
	return NULL;
}

/* The factors that make_gradients.py drew, in float's precision. */
static void
torch_draw_factors(dl_params *p, const cJSON *tensors)
{
	const cJSON *t;

	cJSON_ArrayForEach(t, tensors)
	{
		dl_param   *e = torch_find(p, t);
		uint64_t	seed = (uint64_t) torch_number(t, "seed");

		for (size_t i = 0; e != NULL && e->part != DL_PART_TENSOR && i < e->n; i++)
			e->value[i] = (float) ((batch_uniform(&seed) - 0.5) / 5);
	}
}

/* The largest relative difference of a tensor's gradient: elements relative to themselves or to the root mean square. */
static double
torch_distance(const dl_param *e, const cJSON *t)
{
	double		norm = torch_number(t, "norm");
	double		rms = norm / sqrt((double) e->n);
	uint64_t	seed = (uint64_t) torch_number(t, "seed");
	double		squares = 0,
				along = 0,
				worst;
	const cJSON *at = cJSON_GetObjectItem(t, "at");
	const cJSON *grad = cJSON_GetObjectItem(t, "grad");

	for (size_t i = 0; i < e->n; i++)
	{
		double		g = (double) e->grad[i];

		squares += g * g;
		along += (batch_uniform(&seed) - 0.5) * g;
	}
	worst = fmax(fabs(sqrt(squares) - norm), fabs(along - torch_number(t, "along"))) / norm;
	for (int i = 0; i < cJSON_GetArraySize(at); i++)
	{
		double		expected = cJSON_GetArrayItem(grad, i)->valuedouble;
		double		found = (double) e->grad[(size_t) cJSON_GetArrayItem(at, i)->valuedouble];

		worst = fmax(worst, fabs(found - expected) / fmax(fabs(expected), rms));
	}
	return worst;
}

/* All tensors of a mode; each that has a gradient must be among the vectors. */
static double
torch_compare(const dl_params *p, const char *name, const cJSON *mode, double loss, double tolerance)
{
	const cJSON *t;
	double		worst = fabs(loss - torch_number(mode, "loss")) / torch_number(mode, "loss");
	double		largest = 0;
	int			compared = 0,
				trained = 0;

	CHECK(worst <= tolerance, "%s: loss %.12g", name, loss);
	cJSON_ArrayForEach(t, cJSON_GetObjectItem(mode, "tensors"))
		largest = fmax(largest, torch_number(t, "norm") / sqrt(torch_number(t, "n")));
	cJSON_ArrayForEach(t, cJSON_GetObjectItem(mode, "tensors"))
	{
		const dl_param *e = torch_find(p, t);
		double		d = INFINITY;

		compared++;
		if (e != NULL && e->grad != NULL && (double) e->n == torch_number(t, "n"))
			d = torch_distance(e, t);
		/* what is nothing but rounding on both sides: a key's bias adds the same to all scores of a query */
		if (e != NULL && e->role == DL_T_K_B && torch_number(t, "norm") < 1e-12 * largest)
			continue;
		CHECK(d <= tolerance, "%s %s layer %d %s: gradient differs by %g", name, torch_string(t, "role"),
			  (int) torch_number(t, "layer"), torch_string(t, "part"), d);
		worst = fmax(worst, d);
	}
	for (int i = 0; i < p->n; i++)
		trained += p->list[i].grad != NULL;
	CHECK(compared == trained, "%s: %d tensors of %d are compared", name, compared, trained);
	return worst;
}

static void
torch_mode(dlm_model *m, const char *name, const cJSON *vectors, dl_train_mode train, double tolerance)
{
	const cJSON *mode = cJSON_GetObjectItem(vectors, train == DL_TRAIN_LORA ? "lora" : "all");
	dl_train_options options = {
		.mode = train, .lora = 511, .rank = (int) torch_number(vectors, "rank"), .alpha = torch_number(vectors, "alpha")
	};
	dl_arena   *a = dl_arena_create(0);
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dl_loss		loss = {.loss = NAN};
	dlm_error	err = {0};
	torch_batch b;

	torch_read_rows(vectors, &b);
	CHECK(dl_params_create(m, &options, a, &p, &err) == DLM_OK && dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK,
		  "%s: %s", name, err.message);
	if (net != NULL)
	{
		torch_draw_factors(p, cJSON_GetObjectItem(mode, "tensors"));
		CHECK(dl_net_forward(net, b.rows, b.limits.rows, NULL, &err) == DLM_OK &&
			  dl_net_loss(net, torch_number(vectors, "smoothing"), &loss, &err) == DLM_OK &&
			  dl_net_backward(net, &err) == DLM_OK, "%s: %s", name, err.message);
		printf("%s, %s: largest relative difference %.1e\n", name, train == DL_TRAIN_LORA ? "LoRA" : "all weights",
			   torch_compare(p, name, mode, loss.loss, tolerance));
	}
	dl_net_free(net);
	dl_arena_destroy(a);
}

static int
torch_main(const char *program, double tolerance)
{
	for (int i = 0; i < N_TORCH_MODELS; i++)
	{
		char		path[256];
		size_t		size;
		char	   *text;
		cJSON	   *vectors;
		fixture		f;

		snprintf(path, sizeof(path), "test/vectors/gradients/%s.json", torch_models[i]);
		text = (char *) files_read(path, &size);
		vectors = cJSON_Parse(text);
		free(text);
		CHECK(vectors != NULL, "%s is damaged", path);
		if (vectors != NULL && fixture_open(torch_models[i], DLM_WEIGHTS_F32, &f))
		{
			torch_mode(f.model, torch_models[i], vectors, DL_TRAIN_ALL, tolerance);
			torch_mode(f.model, torch_models[i], vectors, DL_TRAIN_LORA, tolerance);
			fixture_close(&f);
		}
		cJSON_Delete(vectors);
	}
	return harness_end(program);
}

#endif							/* TORCH_H */
