/*
 * adapter.c - LoRA factors of a training run as an adapter in PEFT's form, and
 * back (lora.c reads the same files to merge them).
 *
 * A module's name in the file is the one that it has in the original's Python
 * class: "base_model.model." and the class' own path.
 */
#include "train_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_family.h"
#include "names.h"
#include "status.h"

#define MODULE_BYTES	300
#define READ_MEMORY		((size_t) 1 << 30)

/* Path of the tensors' wrapper; the encoders' and llama's heads are outside it. */
static const char *
wrapper(dl_names names, uint32_t role)
{
	bool		head = role == DL_T_HEAD_DENSE_W || role == DL_T_HEAD_W;

	switch (names)
	{
		case DL_NAMES_BERT:
			return head ? "" : "bert.";
		case DL_NAMES_ROBERTA:
		case DL_NAMES_XL:
			return head ? "" : "roberta.";
		case DL_NAMES_LLADA:
			return "model.transformer.";
		default:
			return head ? "" : "model.";
	}
}

/* The role whose name a factor has: factors of a tied embedding are the output projection's. */
static uint32_t
role_of(const dl_param *factor)
{
	return factor->role == DL_T_EMBED ? DL_T_HEAD_W : factor->role;
}

/* "model.layers.0.self_attn.q_proj" */
static dlm_status
module_of(const dl_params *p, const dl_param *factor, char module[MODULE_BYTES], dlm_error *err)
{
	const dl_family *family = dl_family_find(p->config.family);
	char		key[DL_KEY_BYTES];

	if (family == NULL || !dl_tensor_key(p->config.family, role_of(factor), (uint32_t) factor->layer, key))
		return dl_fail(err, DLM_EUNSUPPORTED, "", "layers of a \"%.32s\" model have no names for an adapter",
					   p->config.family);
	snprintf(module, MODULE_BYTES, "%s%.*s", wrapper(family->names, role_of(factor)),
			 (int) (strlen(key) - strlen(".weight")), key);
	return DLM_OK;
}

/* Tensor that replaces a row of the embedding. */
static void
row_name(const dl_params *p, uint32_t i, char name[40])
{
	if (p->config.replaced[i] == p->config.mask_id)
		snprintf(name, 40, "mask_embedding");
	else
		snprintf(name, 40, "embedding_row_%u", p->config.replaced[i]);
}

/* ---------------------------------------------------------------- writing */

/* One tensor to write. */
typedef struct dl_export
{
	char		name[MODULE_BYTES + 40];
	int			rows,			/* 0: a vector */
				cols;
	const float *value;
} dl_export;

static dlm_status
list_tensors(const dl_params *p, dl_export *list, int *n, dlm_error *err)
{
	char		module[MODULE_BYTES];

	*n = 0;
	for (int i = 0; i < p->n; i++)
	{
		const dl_param *e = &p->list[i];
		dlm_status	st;

		if (e->part == DL_PART_TENSOR)
			continue;
		st = module_of(p, e, module, err);
		if (st != DLM_OK)
			return st;
		list[*n] = (dl_export) {.rows = e->rows, .cols = e->cols, .value = e->value};
		snprintf(list[*n].name, sizeof(list[*n].name), "base_model.model.%s.lora_%c.weight", module,
				 e->part == DL_PART_LORA_A ? 'A' : 'B');
		(*n)++;
	}
	if (*n == 0)
		return dl_fail(err, DLM_EINVAL, "", "only runs of mode \"lora\" have an adapter");
	for (uint32_t i = 0; i < p->config.n_replaced; i++)
	{
		const float *rows = p->replaced != NULL && p->replaced->value != NULL ? p->replaced->value : p->model->replaced;

		list[*n] = (dl_export) {.cols = (int) p->config.hidden, .value = rows + (size_t) i * p->config.hidden};
		row_name(p, i, list[(*n)++].name);
	}
	return DLM_OK;
}

static size_t
count_of(const dl_export *t)
{
	return (size_t) t->cols * (size_t) (t->rows > 0 ? t->rows : 1);
}

static void
digest_text(const dl_params *p, char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", p->model->header->digest[i]);
}

/* "key": [numbers] in an object; false when out of memory. */
static bool
add_numbers(cJSON *object, const char *key, const double *numbers, int n)
{
	return cJSON_AddItemToObject(object, key, cJSON_CreateDoubleArray(numbers, n));
}

/* The JSON before the tensors, padded with blanks to a multiple of 8; malloc'd. */
static char *
make_header(const dl_params *p, const dl_export *list, int n, bool bf16, size_t *size)
{
	cJSON	   *root = cJSON_CreateObject(),
			   *meta = cJSON_AddObjectToObject(root, "__metadata__");
	double		at[2] = {0, 0};
	char		digest[65];
	char	   *text,
			   *padded = NULL;
	bool		ok;

	digest_text(p, digest);
	ok = cJSON_AddStringToObject(meta, "format", "pt") != NULL && cJSON_AddStringToObject(meta, "base", digest) != NULL;
	for (int i = 0; i < n && ok; i++)
	{
		cJSON	   *t = cJSON_AddObjectToObject(root, list[i].name);
		const double shape[2] = {list[i].rows, list[i].cols};

		at[0] = at[1];
		at[1] += (double) count_of(&list[i]) * (bf16 ? 2 : 4);
		ok = cJSON_AddStringToObject(t, "dtype", bf16 ? "BF16" : "F32") != NULL &&
			add_numbers(t, "shape", list[i].rows > 0 ? shape : shape + 1, list[i].rows > 0 ? 2 : 1) &&
			add_numbers(t, "data_offsets", at, 2);
	}
	text = ok ? cJSON_PrintUnformatted(root) : NULL;
	cJSON_Delete(root);
	if (text != NULL)
	{
		*size = (strlen(text) + 7) / 8 * 8;
		padded = malloc(*size + 1);
		if (padded != NULL)
			snprintf(padded, *size + 1, "%-*s", (int) *size, text);
	}
	cJSON_free(text);
	return padded;
}

static dlm_status
put_tensor(dl_writer *w, const dl_export *t, bool bf16, dlm_error *err)
{
	uint16_t	rounded[4096];
	size_t		n = count_of(t);
	bool		finite = dl_all_finite(t->value, n);
	dlm_status	st = DLM_OK;

	if (finite && !bf16)
		return dl_writer_put(w, t->value, n * sizeof(float), err);
	for (size_t at = 0; at < n && finite && st == DLM_OK;)
	{
		size_t		part = 0;

		for (; part < 4096 && at < n; part++, at++)
		{
			rounded[part] = dl_round_bf16(t->value[at]);
			finite = finite && (rounded[part] & 0x7f80) != 0x7f80;
		}
		st = dl_writer_put(w, rounded, part * sizeof(rounded[0]), err);
	}
	if (!finite)
		return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" holds values that are not finite", t->name);
	return st;
}

static dlm_status
put_tensors(dl_writer *w, const dl_params *p, bool bf16, dlm_error *err)
{
	size_t		room = (size_t) p->n + p->config.n_replaced;
	dl_export  *list = calloc(room > 0 ? room : 1, sizeof(*list));
	char	   *header = NULL;
	uint8_t		length[8];
	size_t		size = 0;
	int			n = 0;
	dlm_status	st = list != NULL ? list_tensors(p, list, &n, err) : dl_fail_memory(err);

	if (st == DLM_OK && (header = make_header(p, list, n, bf16, &size)) == NULL)
		st = dl_fail_memory(err);
	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t) ((uint64_t) size >> (8 * i));
	if (st == DLM_OK)
		st = dl_writer_put(w, length, sizeof(length), err);
	if (st == DLM_OK)
		st = dl_writer_put(w, header, size, err);
	for (int i = 0; i < n && st == DLM_OK; i++)
		st = put_tensor(w, &list[i], bf16, err);
	free(header);
	free(list);
	return st;
}

/* alpha, so that alpha / rank gives the scale again; the shortest decimal that does. */
static double
alpha_of(const dl_params *p)
{
	char		text[40];
	double		alpha = (double) p->scale * p->rank;

	snprintf(text, sizeof(text), "%.6g", alpha);
	return (float) (strtod(text, NULL) / p->rank) == p->scale ? strtod(text, NULL) : alpha;
}

static dlm_status
put_config(dl_writer *w, const dl_params *p, dlm_error *err)
{
	cJSON	   *root = cJSON_CreateObject(),
			   *modules;
	dlm_model_info info;
	char		module[MODULE_BYTES],
				digest[65];
	char	   *text;
	dlm_status	st = DLM_OK;

	dlm_model_describe(p->model, &info);
	digest_text(p, digest);
	cJSON_AddStringToObject(root, "peft_type", "LORA");
	cJSON_AddNumberToObject(root, "r", p->rank);
	cJSON_AddNumberToObject(root, "lora_alpha", alpha_of(p));
	cJSON_AddNumberToObject(root, "lora_dropout", 0);
	cJSON_AddStringToObject(root, "bias", "none");
	cJSON_AddStringToObject(root, "base_model_name_or_path", info.source[0] != '\0' ? info.source : digest);
	/* whole paths: an encoder's last words ("dense") name several layers */
	modules = cJSON_AddArrayToObject(root, "target_modules");
	for (int i = 0; i < p->n && st == DLM_OK; i++)
		if (p->list[i].part == DL_PART_LORA_A)
		{
			st = module_of(p, &p->list[i], module, err);
			cJSON_AddItemToArray(modules, cJSON_CreateString(module));
		}
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (st == DLM_OK)
		st = text != NULL ? dl_writer_put(w, text, strlen(text), err) : dl_fail_memory(err);
	cJSON_free(text);
	return st;
}

/* Rename both. The old configuration goes first: weights without one are refused, never taken for those of another. */
static dlm_status
commit(const char *folder, dl_writer *weights, dl_writer *config, dlm_error *err)
{
	char		path[2][1024];
	int			n = snprintf(path[0], sizeof(path[0]), "%s/adapter_model.safetensors", folder);
	dlm_status	st = n > 0 && n < (int) sizeof(path[0]) ? DLM_OK : dl_fail_errno(err, ENAMETOOLONG, "open", folder);

	snprintf(path[1], sizeof(path[1]), "%s/adapter_config.json", folder);
	if (st == DLM_OK)
		st = dl_writer_sync(weights, err);
	if (st == DLM_OK)
		st = dl_writer_sync(config, err);
	if (st == DLM_OK && unlink(path[1]) != 0 && errno != ENOENT)
		st = dl_fail_errno(err, errno, "remove", path[1]);
	if (st != DLM_OK)
	{
		dl_writer_abandon(weights);
		dl_writer_abandon(config);
		return st;
	}
	st = dl_writer_commit(weights, path[0], err);
	if (st == DLM_OK)
		return dl_writer_commit(config, path[1], err);
	dl_writer_abandon(config);
	return st;
}

dlm_status
dl_adapter_write(const dl_params *p, const char *folder, bool bf16, dlm_error *err)
{
	dl_writer  *weights = NULL,
			   *config = NULL;
	dlm_status	st = DLM_OK;

	if (p->rank == 0)
		return dl_fail(err, DLM_EINVAL, "", "only runs of mode \"lora\" have an adapter");
	if (mkdir(folder, 0777) != 0 && errno != EEXIST)
		return dl_fail_errno(err, errno, "create", folder);
	st = dl_writer_open(folder, &weights, err);
	if (st == DLM_OK)
		st = dl_writer_open(folder, &config, err);
	if (st == DLM_OK)
		st = put_tensors(weights, p, bf16, err);
	if (st == DLM_OK)
		st = put_config(config, p, err);
	if (st == DLM_OK)
		return commit(folder, weights, config, err);
	dl_writer_abandon(weights);
	dl_writer_abandon(config);
	return st;
}

/* ---------------------------------------------------------------- reading */

/* A tensor's elements to f32 [n]. */
static dlm_status
read_values(const dl_tensor *t, dl_arena *arena, float *out, size_t n, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(arena);
	uint8_t    *raw = dl_arena_alloc(arena, (size_t) t->bytes);
	char		clean[100];
	dlm_status	st;

	if (raw == NULL)
		return dl_fail_memory(err);
	st = dl_file_read(t->file, t->offset, raw, (size_t) t->bytes, err);
	if (st == DLM_OK)
		dl_dequantize(t->storage, raw, n, out);
	dl_arena_rewind(arena, mark);
	if (st == DLM_OK && !dl_all_finite(out, n))
		st = dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" holds values that are not finite", dl_clean_name(t->name, clean));
	return st;
}

static dlm_status
load_factors(dl_params *p, const dl_lora *lora, dl_arena *arena, dlm_error *err)
{
	char		key[DL_KEY_BYTES];

	for (int i = 0; i < p->n; i++)
	{
		dl_param   *a = &p->list[i],
				   *b;
		dl_tensor  *from_a = NULL,
				   *from_b = NULL;
		dlm_status	st;

		if (a->part != DL_PART_LORA_A)
			continue;
		b = dl_params_find(p, a->role, a->layer, DL_PART_LORA_B);
		if (!dl_tensor_key(p->config.family, role_of(a), (uint32_t) a->layer, key))
			return dl_fail(err, DLM_EUNSUPPORTED, "", "layers of a \"%.32s\" model have no names for an adapter",
						   p->config.family);
		st = dl_lora_find(lora, key, (uint64_t) b->rows, (uint64_t) a->cols, &from_a, &from_b, err);
		if (st == DLM_OK && from_a == NULL)
			return dl_fail(err, DLM_EINVAL, "Train the layers that the adapter has.",
						   "adapter has no factors for \"%s\", which is to be trained", key);
		if (st == DLM_OK)
			st = read_values(from_a, arena, a->value, a->n, err);
		if (st == DLM_OK)
			st = read_values(from_b, arena, b->value, b->n, err);
		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
load_rows(dl_params *p, const dl_lora *lora, dl_arena *arena, dlm_error *err)
{
	for (uint32_t i = 0; i < p->config.n_replaced; i++)
	{
		size_t		hidden = p->config.hidden;
		char		name[40];
		dl_tensor  *t;
		dlm_status	st;

		row_name(p, i, name);
		t = dl_source_find(&lora->source, name);
		if (t == NULL)
			continue;
		if (t->storage > DL_ST_BF16 || t->dims[t->n_dims - 1] != hidden ||
			!(t->n_dims == 1 || (t->n_dims == 2 && t->dims[0] == 1)))
			return dl_fail(err, DLM_EDAMAGED, "", "adapter's \"%s\" does not fit the model", name);
		if (p->replaced == NULL || p->replaced->value == NULL)
			return dl_fail(err, DLM_EUNSUPPORTED, "", "rows of the embedding are not to be trained");
		t->used = true;
		st = read_values(t, arena, p->replaced->value + i * hidden, hidden, err);
		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
check_adapter(const dl_params *p, const dl_lora *lora, dlm_error *err)
{
	char		hint[100];

	snprintf(hint, sizeof(hint), "Set rank to %u and alpha to %g.", lora->rank, (double) lora->scale * lora->rank);
	if (p->rank == 0)
		return dl_fail(err, DLM_EINVAL, "", "an adapter can be trained further in mode \"lora\" only");
	if (lora->rank != (uint32_t) p->rank || lora->scale != p->scale)
		return dl_fail(err, DLM_EINVAL, hint, "adapter has rank %u and alpha %g, but %d and %g are to be trained",
					   lora->rank, (double) lora->scale * lora->rank, p->rank, (double) p->scale * p->rank);
	return DLM_OK;
}

/* A tensor that nobody took would be lost. */
static dlm_status
check_all_used(const dl_lora *lora, dlm_error *err)
{
	char		clean[100];

	for (int i = 0; i < lora->source.n_tensors; i++)
		if (!lora->source.tensors[i].used)
			return dl_fail(err, DLM_EINVAL, "Train the layers that the adapter has.",
						   "adapter has a tensor \"%s\" that is not to be trained",
						   dl_clean_name(lora->source.tensors[i].name, clean));
	return DLM_OK;
}

dlm_status
dl_adapter_load(dl_params *p, const char *path, dlm_error *err)
{
	dl_arena   *arena = dl_arena_create(READ_MEMORY);
	dl_lora		lora = {0};
	dlm_status	st = arena != NULL ? dl_lora_open(path, arena, &lora, err) : dl_fail_memory(err);

	if (st == DLM_OK)
		st = check_adapter(p, &lora, err);
	if (st == DLM_OK)
		st = load_factors(p, &lora, arena, err);
	if (st == DLM_OK)
		st = load_rows(p, &lora, arena, err);
	if (st == DLM_OK)
		st = check_all_used(&lora, err);
	dl_lora_close(&lora);
	if (arena != NULL)
		dl_arena_destroy(arena);
	return st;
}
