/*
 * params.c - see params.h.
 *
 * The file's directory is the list: whatever role a tensor has, it becomes a
 * parameter, and the typed fields are then found by role. Layout is done twice
 * by the same function: once to count, once to hand out.
 */
#include "params.h"

#include <string.h>

#include "rng.h"
#include "status.h"

/* The linear layers that may have factors. */
static const struct
{
	uint32_t	bit;
	dl_role		role;
}			dense_roles[] = {
	{DL_DENSE_Q, DL_T_Q_W}, {DL_DENSE_K, DL_T_K_W}, {DL_DENSE_V, DL_T_V_W}, {DL_DENSE_O, DL_T_O_W},
	{DL_DENSE_GATE, DL_T_GATE_W}, {DL_DENSE_UP, DL_T_UP_W}, {DL_DENSE_DOWN, DL_T_DOWN_W},
	{DL_DENSE_HEAD, DL_T_HEAD_DENSE_W}, {DL_DENSE_OUTPUT, DL_T_HEAD_W}
};

#define N_DENSE_ROLES	(sizeof(dense_roles) / sizeof(dense_roles[0]))

static const dl_entry *
directory(const dlm_model *model, int *n)
{
	*n = (int) (model->header->directory.size / sizeof(dl_entry));
	return (const dl_entry *) (model->base + model->header->directory.offset);
}

static bool
is_parameter(const dl_entry *e, const dl_train_options *o)
{
	if (o->mode == DL_TRAIN_LENGTH)
		return e->role >= DL_T_LEN_Q_W;
	return e->role != DL_T_ROPE_COS && e->role != DL_T_ROPE_SIN && e->role < DL_T_LEN_Q_W;
}

static bool
is_bias(uint32_t role)
{
	switch (role)
	{
		case DL_T_EMBED_NORM_B: case DL_T_FINAL_NORM_B: case DL_T_HEAD_DENSE_B: case DL_T_HEAD_NORM_B:
		case DL_T_HEAD_B: case DL_T_ATTN_NORM_B: case DL_T_Q_B: case DL_T_K_B: case DL_T_V_B: case DL_T_O_B:
		case DL_T_FFN_NORM_B: case DL_T_GATE_B: case DL_T_UP_B: case DL_T_DOWN_B:
			return true;
		default:
			return false;
	}
}

/* Rows of embeddings and matrices, whatever their number. */
static bool
is_matrix(const dl_entry *e)
{
	return e->layout == DL_PANELS || e->role == DL_T_REPLACED || e->role == DL_T_POSITION || e->role == DL_T_TYPE;
}

static bool
has_factors(const dl_config *c, const dl_train_options *o, uint32_t role)
{
	if (c->tied && role == DL_T_EMBED)
		role = DL_T_HEAD_W;
	for (size_t i = 0; o->mode == DL_TRAIN_LORA && i < N_DENSE_ROLES; i++)
		if (dense_roles[i].role == role)
			return (o->lora & dense_roles[i].bit) != 0;
	return false;
}

/* Append a parameter to the list, its numbers carved from the same block; p->list NULL only counts. */
static dl_param *
append(dl_params *p, void *base, size_t *at, dl_param param, bool trained)
{
	param.n = (size_t) param.rows * (size_t) param.cols;
	if (trained || param.entry == NULL || param.entry->layout == DL_ROWS)
		param.value = dl_carve_reals(base, at, param.n);
	if (trained)
	{
		param.grad = dl_carve_reals(base, at, param.n);
		p->trained += param.n;
	}
	if (base == NULL)
	{
		p->n++;
		return NULL;
	}
	p->list[p->n] = param;
	return &p->list[p->n++];
}

static void
append_tensor(dl_params *p, void *base, size_t *at, const dl_entry *e, const dl_train_options *o)
{
	bool		trained = o->mode == DL_TRAIN_ALL || o->mode == DL_TRAIN_LENGTH ||
		(o->mode == DL_TRAIN_BIAS && is_bias(e->role)) || (o->replaced && e->role == DL_T_REPLACED);
	dl_param	param = {
		.role = (dl_role) e->role, .layer = (int) e->layer, .matrix = is_matrix(e), .rows = (int) e->rows,
		.cols = (int) e->cols, .entry = e
	};
	dl_param   *added = append(p, base, at, param, trained);

	if (added != NULL && added->value != NULL)
		dl_unpack(e, p->model->base + e->offset, added->value);
}

/* A is uniform in +-1/sqrt(k), as Kaiming's with a = sqrt 5 is; B is zero, so that training begins at the model itself. */
static void
append_factors(dl_params *p, void *base, size_t *at, const dl_entry *e, const dl_train_options *o)
{
	static const uint8_t no_digest[32];
	dl_param	a = {
		.role = (dl_role) e->role, .layer = (int) e->layer, .part = DL_PART_LORA_A, .matrix = true, .rows = o->rank,
		.cols = (int) e->cols
	};
	dl_param	b = {
		.role = (dl_role) e->role, .layer = (int) e->layer, .part = DL_PART_LORA_B, .matrix = true,
		.rows = (int) e->rows, .cols = o->rank
	};
	dl_param   *added = append(p, base, at, a, true);
	double		bound = 1 / sqrt((double) e->cols);
	dl_rng_key	key;

	append(p, base, at, b, true);
	if (added == NULL)
		return;
	key = dl_rng_make_key(o->seed, no_digest);
	for (size_t i = 0; i < added->n; i++)
		added->value[i] = (dl_real) (bound * (2 * dl_rng_uniform(&key, e->role, e->layer, (uint32_t) i, 0) - 1));
}

enum head_size { H, F, D, C, ONE };	/* hidden, length_ffn, length_hidden, length_classes, a vector */
enum head_init { ZERO, UNIT, INPUTS, IN_PROJECTION };

/* A new length head's tensors, in the order of their roles. */
typedef struct head_tensor
{
	uint8_t		rows,			/* head_size */
				cols,
				init;			/* head_init */
} head_tensor;

static const head_tensor head_tensors[] = {
	{H, H, IN_PROJECTION}, {ONE, H, ZERO}, {H, H, IN_PROJECTION}, {ONE, H, ZERO}, {H, H, IN_PROJECTION}, {ONE, H, ZERO},
	{H, H, INPUTS}, {ONE, H, ZERO}, {ONE, H, UNIT}, {ONE, H, ZERO}, {F, H, INPUTS}, {ONE, F, INPUTS},
	{H, F, INPUTS}, {ONE, H, INPUTS}, {ONE, H, UNIT}, {ONE, H, ZERO},
	{D, H, INPUTS}, {ONE, D, INPUTS}, {C, D, INPUTS}, {ONE, C, INPUTS}
};

#define N_HEAD_TENSORS	((int) (sizeof(head_tensors) / sizeof(head_tensors[0])))

/*
 * As PyTorch begins a TransformerEncoderLayer and a Linear: weights and biases
 * of a Linear are uniform in +-1/sqrt(inputs); the joint projection of queries,
 * keys and values is Xavier's, +-sqrt(6 / (inputs + 3 inputs)); biases of
 * attention are 0; norms are 1 and 0.
 */
static void
begin_head_tensor(dl_param *e, int init, int inputs, int64_t seed)
{
	static const uint8_t no_digest[32];
	dl_rng_key	key = dl_rng_make_key(seed, no_digest);
	double		bound = init == IN_PROJECTION ? sqrt(6.0 / (4.0 * inputs)) : 1 / sqrt((double) inputs);

	for (size_t i = 0; i < e->n; i++)
		e->value[i] = (dl_real) (init == ZERO ? 0 : init == UNIT ? 1 :
								 bound * (2 * dl_rng_uniform(&key, e->role, 0, (uint32_t) i, 0) - 1));
}

static void
append_head(dl_params *p, void *base, size_t *at, const dl_train_options *o)
{
	const dl_config *c = &p->config;
	const uint32_t size[] = {c->hidden, c->length_ffn, c->length_hidden, c->length_classes, 1};

	for (int i = 0; i < N_HEAD_TENSORS; i++)
	{
		const head_tensor *t = &head_tensors[i];
		dl_param	param = {
			.role = (dl_role) (DL_T_LEN_Q_W + i), .matrix = t->rows != ONE, .rows = (int) size[t->rows],
			.cols = (int) size[t->cols]
		};
		dl_param   *added = append(p, base, at, param, true);
		/* a bias follows its weights */
		int			inputs = (int) size[t->rows != ONE || i == 0 ? t->cols : head_tensors[i - 1].cols];

		if (added != NULL)
			begin_head_tensor(added, t->init, inputs, o->seed);
	}
}

void
dl_length_sizes(dl_config *c, const dl_train_options *o)
{
	if (o->mode != DL_TRAIN_LENGTH || c->length_classes > 0)
		return;
	c->length_classes = o->length_classes > 0 ? (uint32_t) o->length_classes :
		c->context < DL_LENGTH_CLASSES ? c->context : DL_LENGTH_CLASSES;
	c->length_ffn = c->length_hidden = c->ffn;
}

/* The whole block: structures first. Sets p->n and p->trained; base NULL only counts. */
static size_t
layout(dl_params *p, void *base, int n_params, const dl_train_options *o)
{
	size_t		at = (sizeof(*p) + 63) & ~(size_t) 63;
	int			n;
	const dl_entry *e = directory(p->model, &n);

	p->list = dl_carve_bytes(base, &at, (size_t) n_params * sizeof(dl_param));
	p->layers = dl_carve_bytes(base, &at, p->config.layers * sizeof(dl_layer_params));
	p->n = 0;
	p->trained = 0;
	for (int i = 0; i < n; i++)
		if (is_parameter(&e[i], o))
			append_tensor(p, base, &at, &e[i], o);
	if (o->mode == DL_TRAIN_LENGTH && p->model->config.length_classes == 0)
		append_head(p, base, &at, o);
	for (int i = 0; i < n; i++)
		if (has_factors(&p->config, o, e[i].role))
			append_factors(p, base, &at, &e[i], o);
	dl_carve_bytes(base, &at, DL_PANEL * sizeof(dl_real));	/* products read 16 numbers at a time */
	return at;
}

/* What a model's parameters are, without their arrays; *bytes gets what those take. */
static dl_params
count_params(const dlm_model *model, const dl_train_options *o, size_t *bytes)
{
	dl_params	count = {.model = model, .config = model->config};

	dl_length_sizes(&count.config, o);
	layout(&count, NULL, 0, o);
	*bytes = layout(&count, NULL, count.n, o);
	return count;
}

size_t
dl_params_bytes(const dlm_model *model, const dl_train_options *o, size_t *trained)
{
	size_t		bytes;
	dl_params	count = count_params(model, o, &bytes);

	if (trained != NULL)
		*trained = count.trained;
	return dl_block_bytes(bytes);
}

dl_param *
dl_params_find(const dl_params *p, dl_role role, int layer, dl_param_part part)
{
	for (int i = 0; i < p->n; i++)
		if (p->list[i].role == role && p->list[i].layer == layer && p->list[i].part == part)
			return &p->list[i];
	return NULL;
}

static dl_matrix
stored_matrix(const dl_params *p, const dl_param *e)
{
	if (e == NULL || e->entry == NULL)
		return (dl_matrix) {0};
	return (dl_matrix) {
		.dtype = (dl_dtype) e->entry->dtype, .n = e->rows, .k = e->cols, .data = p->model->base + e->entry->offset
	};
}

static dl_dense
find_dense(const dl_params *p, dl_role w, dl_role b, int layer)
{
	dl_param   *matrix = dl_params_find(p, w, layer, DL_PART_TENSOR);

	return (dl_dense) {
		.w = matrix, .stored = stored_matrix(p, matrix), .b = dl_params_find(p, b, layer, DL_PART_TENSOR),
		.lora_a = dl_params_find(p, w, layer, DL_PART_LORA_A), .lora_b = dl_params_find(p, w, layer, DL_PART_LORA_B)
	};
}

static dl_norm_params
find_norm(const dl_params *p, dl_role w, dl_role b, int layer)
{
	return (dl_norm_params) {dl_params_find(p, w, layer, DL_PART_TENSOR), dl_params_find(p, b, layer, DL_PART_TENSOR)};
}

static void
bind_length(dl_params *p)
{
	dl_length_params *l = &p->length;

	l->q = find_dense(p, DL_T_LEN_Q_W, DL_T_LEN_Q_B, 0);
	l->k = find_dense(p, DL_T_LEN_K_W, DL_T_LEN_K_B, 0);
	l->v = find_dense(p, DL_T_LEN_V_W, DL_T_LEN_V_B, 0);
	l->o = find_dense(p, DL_T_LEN_O_W, DL_T_LEN_O_B, 0);
	l->norm1 = find_norm(p, DL_T_LEN_NORM1_W, DL_T_LEN_NORM1_B, 0);
	l->up = find_dense(p, DL_T_LEN_UP_W, DL_T_LEN_UP_B, 0);
	l->down = find_dense(p, DL_T_LEN_DOWN_W, DL_T_LEN_DOWN_B, 0);
	l->norm2 = find_norm(p, DL_T_LEN_NORM2_W, DL_T_LEN_NORM2_B, 0);
	l->hidden = find_dense(p, DL_T_LEN_HIDDEN_W, DL_T_LEN_HIDDEN_B, 0);
	l->out = find_dense(p, DL_T_LEN_OUT_W, DL_T_LEN_OUT_B, 0);
}

static void
bind(dl_params *p)
{
	for (int i = 0; i < (int) p->config.layers; i++)
	{
		dl_layer_params *l = &p->layers[i];

		l->attn_norm = find_norm(p, DL_T_ATTN_NORM_W, DL_T_ATTN_NORM_B, i);
		l->ffn_norm = find_norm(p, DL_T_FFN_NORM_W, DL_T_FFN_NORM_B, i);
		l->q_norm = dl_params_find(p, DL_T_Q_NORM, i, DL_PART_TENSOR);
		l->k_norm = dl_params_find(p, DL_T_K_NORM, i, DL_PART_TENSOR);
		l->q = find_dense(p, DL_T_Q_W, DL_T_Q_B, i);
		l->k = find_dense(p, DL_T_K_W, DL_T_K_B, i);
		l->v = find_dense(p, DL_T_V_W, DL_T_V_B, i);
		l->o = find_dense(p, DL_T_O_W, DL_T_O_B, i);
		l->gate = find_dense(p, DL_T_GATE_W, DL_T_GATE_B, i);
		l->up = find_dense(p, DL_T_UP_W, DL_T_UP_B, i);
		l->down = find_dense(p, DL_T_DOWN_W, DL_T_DOWN_B, i);
	}
	p->embed = dl_params_find(p, DL_T_EMBED, 0, DL_PART_TENSOR);
	p->replaced = dl_params_find(p, DL_T_REPLACED, 0, DL_PART_TENSOR);
	p->position = dl_params_find(p, DL_T_POSITION, 0, DL_PART_TENSOR);
	p->type = dl_params_find(p, DL_T_TYPE, 0, DL_PART_TENSOR);
	p->embed_norm = find_norm(p, DL_T_EMBED_NORM_W, DL_T_EMBED_NORM_B, 0);
	p->final_norm = find_norm(p, DL_T_FINAL_NORM_W, DL_T_FINAL_NORM_B, 0);
	p->head_norm = find_norm(p, DL_T_HEAD_NORM_W, DL_T_HEAD_NORM_B, 0);
	p->head_dense = find_dense(p, DL_T_HEAD_DENSE_W, DL_T_HEAD_DENSE_B, 0);
	p->head = find_dense(p, DL_T_HEAD_W, DL_T_HEAD_B, 0);
	if (p->config.tied)
	{
		p->head.w = p->embed;
		p->head.stored = stored_matrix(p, p->embed);
		p->head.lora_a = dl_params_find(p, DL_T_EMBED, 0, DL_PART_LORA_A);
		p->head.lora_b = dl_params_find(p, DL_T_EMBED, 0, DL_PART_LORA_B);
	}
}

static dlm_status
check_head(const dl_config *c, const dl_train_options *o, dlm_error *err)
{
	if (c->length_classes == 0 && c->hidden % c->heads != 0)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "a length head needs a hidden size, here %u, that is a multiple of the heads, %u",
					   c->hidden, c->heads);
	if (o->length_classes < 0 || o->length_classes > DL_MAX_CONTEXT)
		return dl_fail(err, DLM_EINVAL, "", "a length head has at most %d classes", DL_MAX_CONTEXT);
	if (c->length_classes > 0 && o->length_classes > 0 && (uint32_t) o->length_classes != c->length_classes)
		return dl_fail(err, DLM_EINVAL, "", "the model's length head has %u classes, not %d", c->length_classes,
					   o->length_classes);
	return DLM_OK;
}

static dlm_status
check_options(const dlm_model *model, const dl_train_options *o, dlm_error *err)
{
	const dl_config *c = &model->config;

	if (o->mode == DL_TRAIN_ALL && c->weights == DL_I8)
		return dl_fail(err, DLM_EUNSUPPORTED, "Train LoRA factors or biases, or begin with an f32 or bf16 model.",
					   "int8 weights cannot be trained");
	if (o->mode == DL_TRAIN_LORA && (o->rank < 1 || (uint32_t) o->rank > c->hidden))
		return dl_fail(err, DLM_EINVAL, "", "rank must be between 1 and the model's hidden size, %u", c->hidden);
	if (o->mode == DL_TRAIN_LORA && !(o->alpha > 0 && isfinite(o->alpha)))
		return dl_fail(err, DLM_EINVAL, "", "alpha must be a positive number");
	return o->mode == DL_TRAIN_LENGTH ? check_head(c, o, err) : DLM_OK;
}

dlm_status
dl_params_create(const dlm_model *model, const dl_train_options *o, dl_arena *a, dl_params **out, dlm_error *err)
{
	dlm_status	st = check_options(model, o, err);
	size_t		bytes;
	dl_params	count;
	dl_params  *p;

	if (st != DLM_OK)
		return st;
	count = count_params(model, o, &bytes);
	if (count.trained == 0)
		return dl_fail(err, DLM_EINVAL, "", o->mode == DL_TRAIN_BIAS ? "model has no biases to train" :
					   "no linear layer of the model is to get LoRA factors");
	p = dl_arena_block(a, bytes);
	if (p == NULL)
		return dl_fail_memory(err);
	memset(p, 0, bytes);
	p->arena = a;
	p->config = model->config;
	p->model = model;
	p->rank = o->mode == DL_TRAIN_LORA ? o->rank : 0;
	p->whole = o->mode != DL_TRAIN_LORA;
	dl_length_sizes(&p->config, o);
	p->scale = p->rank > 0 ? (dl_real) (o->alpha / o->rank) : 0;
	layout(p, p, count.n, o);
	bind(p);
	bind_length(p);
	*out = p;
	return DLM_OK;
}

void
dl_params_free(dl_params *p)
{
	if (p != NULL)
		dl_arena_block_free(p->arena, p);
}

void
dl_params_clear(dl_params *p)
{
	for (int i = 0; i < p->n; i++)
		if (p->list[i].grad != NULL)
			memset(p->list[i].grad, 0, p->list[i].n * sizeof(dl_real));
}
