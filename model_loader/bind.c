/*
 * bind.c - names to roles.
 *
 * The tables are in names.c. An adapter may replace a tensor as a whole. In
 * the end every tensor has been bound, or is one that plays no part, or is an
 * error: a model is never converted with half of its weights.
 */
#include "names.h"

#include <stdio.h>
#include <string.h>

#include "status.h"

/* Ends of names that play no part in our computation. */
static const char *const harmless[] = {
	"position_ids", "token_type_ids", "rotary_emb.inv_freq", "pooler.dense.weight", "pooler.dense.bias",
	"cls.seq_relationship.weight", "cls.seq_relationship.bias", "lm_head.decoder.bias", "cls.predictions.decoder.bias",
	"attn.bias", "attn.masked_bias",
};

typedef struct dl_binder
{
	dl_source  *source;
	dl_lora    *lora;
	dl_arch    *arch;
	dl_arena   *arena;
	dl_binding *out;
	dlm_error  *err;
} dl_binder;

static uint64_t
size_of(const dl_config *c, uint8_t size)
{
	switch (size)
	{
		case S_HIDDEN:
			return c->hidden;
		case S_QUERY:
			return (uint64_t) c->heads * c->head_dim;
		case S_KEY:
			return (uint64_t) c->kv_heads * c->head_dim;
		case S_HEAD:
			return c->head_dim;
		case S_FFN:
			return c->ffn;
		case S_VOCAB:
			return c->vocab;
		case S_POSITIONS:
			return (uint64_t) c->context + c->position_offset;
		case S_LENGTH_FFN:
			return c->length_ffn;
		case S_LENGTH_HIDDEN:
			return c->length_hidden;
		case S_CLASSES:
			return c->length_classes;
		default:
			return 1;
	}
}

static dl_bound *
add_bound(dl_binder *b)
{
	dl_binding *out = b->out;

	if (out->n == out->capacity)
	{
		int			capacity = out->capacity ? out->capacity * 2 : 512;
		dl_bound   *grown = dl_arena_calloc(b->arena, (size_t) capacity, sizeof(dl_bound));

		if (grown == NULL)
			return NULL;
		if (out->n > 0)
			memcpy(grown, out->bound, (size_t) out->n * sizeof(dl_bound));
		out->bound = grown;
		out->capacity = capacity;
	}
	return &out->bound[out->n++];
}

/* Old BERT files call a LayerNorm's weight and bias gamma and beta. */
static dl_tensor *
find_gamma_beta(const dl_source *s, const char *key)
{
	char		old[200];
	const char *end = strstr(key, "LayerNorm.");
	bool		weight;

	if (end == NULL || strlen(key) > 180)
		return NULL;
	weight = strcmp(end, "LayerNorm.weight") == 0;
	snprintf(old, sizeof(old), "%.*sLayerNorm.%s", (int) (end - key), key, weight ? "gamma" : "beta");
	return dl_source_find(s, old);
}

/* The tensor of a table line: the adapter's own, or the source's by its format's name. *replaced: it is the adapter's. */
static dl_tensor *
find_tensor(dl_binder *b, const dl_name *name, const char *hf, int layer, bool *replaced)
{
	char		gguf[200];
	dl_tensor  *t,
			   *own = b->lora->present ? dl_source_find(&b->lora->source, hf) : NULL;

	*replaced = own != NULL;
	if (b->source->kind == DL_SOURCE_GGUF)
	{
		snprintf(gguf, sizeof(gguf), name->gguf ? name->gguf : "?", layer);
		t = dl_source_find(b->source, gguf);
	}
	else
	{
		t = dl_source_find(b->source, hf);
		if (t == NULL)
			t = find_gamma_beta(b->source, hf);
		if (t == NULL && name->gguf != NULL && (name->flags & OPTIONAL) && strstr(name->gguf, "decoder.bias"))
			t = dl_source_find(b->source, name->gguf);
	}
	if (t != NULL)
		t->used = true;
	if (own != NULL)
		own->used = true;
	return own != NULL ? own : t;
}

static dlm_status
check_shape(const dl_binder *b, const dl_name *name, const dl_tensor *t, uint64_t rows, uint64_t cols)
{
	uint64_t	parts = name->flags & (THIRD | PART_1 | PART_2) ? 3 : 1;
	char		clean[100];
	bool		fits;

	if (t->storage == DL_ST_OTHER)
		return dl_fail(b->err, DLM_EUNSUPPORTED, "", "tensor \"%s\" is stored in a type that is not supported",
					   dl_clean_name(t->name, clean));
	if (name->rows == S_ONE && !(name->flags & FIRST_ROW))
		fits = (t->n_dims == 1 && t->dims[0] == parts * cols) ||
			(t->n_dims == 2 && t->dims[0] == 1 && t->dims[1] == parts * cols);
	else
		fits = t->n_dims == 2 && t->dims[1] == cols &&
			(name->flags & FIRST_ROW ? t->dims[0] >= rows : t->dims[0] == parts * rows);
	if (!fits)
		return dl_fail(b->err, DLM_EDAMAGED, "", "tensor \"%s\" should be [%llu, %llu] but is [%llu, %llu]",
					   dl_clean_name(t->name, clean), (unsigned long long) (rows * parts), (unsigned long long) cols,
					   (unsigned long long) t->dims[0], (unsigned long long) (t->n_dims > 1 ? t->dims[1] : 1));
	return DLM_OK;
}

static dlm_status
bind_one(dl_binder *b, const dl_name *name, int layer)
{
	const dl_config *c = &b->arch->config;
	uint64_t	rows = size_of(c, name->rows),
				cols = size_of(c, name->cols);
	char		hf[200];
	bool		replaced;
	dl_tensor  *t;
	dl_bound   *bound;
	dlm_status	st;

	snprintf(hf, sizeof(hf), name->hf, layer);
	t = find_tensor(b, name, hf, layer, &replaced);
	if (t == NULL)
	{
		if (name->flags & OPTIONAL)
			return DLM_OK;
		return dl_fail(b->err, DLM_EDAMAGED, "", "model has no tensor \"%s\"", hf);
	}
	st = check_shape(b, name, t, rows, cols);
	if (st != DLM_OK)
		return st;
	bound = add_bound(b);
	if (bound == NULL)
		return dl_fail_memory(b->err);
	bound->role = name->role;
	bound->layer = (uint32_t) layer;
	bound->matrix = name->flags & MATRIX;
	bound->rows = rows;
	bound->cols = cols;
	bound->tensor = t;
	bound->first = rows * cols * (name->flags & PART_2 ? 2 : name->flags & PART_1 ? 1 : 0);
	if (b->arch->permuted && !replaced && (name->flags & (PERMUTED_Q | PERMUTED_K)))
		bound->permuted_heads = name->flags & PERMUTED_Q ? c->heads : c->kv_heads;
	if (bound->matrix)
		return dl_lora_find(b->lora, hf, rows, cols, &bound->lora_a, &bound->lora_b, b->err);
	return DLM_OK;
}

/*
 * A tied head is the embedding, whatever the file holds, as in the original;
 * unless an adapter trained the head, and not the embedding: then they part.
 */
static dlm_status
bind_tied_head(dl_binder *b, const dl_name *name)
{
	dl_config  *c = &b->arch->config;
	dl_tensor  *lora_a,
			   *lora_b;
	const dl_bound *embed = b->out->bound;
	dl_bound   *bound;
	bool		replaced;
	dlm_status	st;

	find_tensor(b, name, name->hf, 0, &replaced);
	st = dl_lora_find(b->lora, name->hf, c->vocab, c->hidden, &lora_a, &lora_b, b->err);
	if (st != DLM_OK || lora_a == NULL)
		return st;
	while (embed->role != DL_T_EMBED)
		embed++;
	bound = add_bound(b);
	if (bound == NULL)
		return dl_fail_memory(b->err);
	*bound = *embed;
	bound->role = DL_T_HEAD_W;
	bound->lora_a = lora_a;
	bound->lora_b = lora_b;
	c->tied = 0;
	return DLM_OK;
}

static dlm_status
bind_table(dl_binder *b, const dl_name *table, int layer)
{
	for (; table->role != 0; table++)
	{
		dlm_status	st = table->role == DL_T_HEAD_W && b->arch->config.tied ? bind_tied_head(b, table)
			: bind_one(b, table, layer);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
bind_layers(dl_binder *b)
{
	for (uint32_t layer = 0; layer < b->arch->config.layers; layer++)
		for (const dl_name *const *table = dl_names_layer(b->arch->names); *table != NULL; table++)
		{
			dlm_status	st = DLM_OK;

			if (*table != dl_names_llama_qk_norms || b->arch->config.qk_norm)
				st = bind_table(b, *table, (int) layer);
			if (st != DLM_OK)
				return st;
		}
	return DLM_OK;
}

/* The tensors outside the layers. */
static dlm_status
bind_model(dl_binder *b)
{
	for (const dl_name *const *table = dl_names_model(b->arch->names); *table != NULL; table++)
	{
		dlm_status	st = bind_table(b, *table, 0);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

/* A head that is not there is the embedding. */
static void
settle_tied(dl_binder *b)
{
	static const char *const heads[] = {
		[DL_NAMES_BERT] = "cls.predictions.decoder.weight", [DL_NAMES_ROBERTA] = "lm_head.decoder.weight",
		[DL_NAMES_XL] = "lm_head.decoder.weight", [DL_NAMES_LLAMA] = "lm_head.weight",
		[DL_NAMES_LLADA] = "ff_out.weight",
	};
	const char *head = b->source->kind == DL_SOURCE_GGUF ? "output.weight" : heads[b->arch->names];

	if (dl_source_find(b->source, head) == NULL)
		b->arch->config.tied = 1;
}

/* Rows of an output matrix, as a size of the length head. */
static uint32_t
rows_of(const dl_source *s, const char *key)
{
	const dl_tensor *t = dl_source_find(s, key);

	return t != NULL && t->n_dims == 2 && t->dims[0] <= 1 << 20 ? (uint32_t) t->dims[0] : 0;
}

static dlm_status
bind_length_head(dl_binder *b, const dl_settings_out *settings)
{
	dl_config  *c = &b->arch->config;
	uint32_t	classes = rows_of(b->source, "length_predictor.2.weight");

	if (settings->length_head == 0)
	{
		for (int i = 0; i < b->source->n_tensors; i++)
			if (strncmp(b->source->tensors[i].key, "length_", 7) == 0)
				b->source->tensors[i].used = true;
		return DLM_OK;
	}
	if (classes == 0)
		return settings->length_head < 0 ? DLM_OK :
			dl_fail(b->err, DLM_EDAMAGED, "", "model has no tensor \"%s\"", "length_predictor.2.weight");
	c->length_classes = classes;
	c->length_ffn = rows_of(b->source, "length_trm.layers.0.linear1.weight");
	c->length_hidden = rows_of(b->source, "length_predictor.0.weight");
	return bind_table(b, dl_names_length_head, 0);
}

/* Rows of the input embedding that the adapter (or the source) brings. */
static dlm_status
bind_replaced(dl_binder *b, const dl_settings_out *settings)
{
	const dl_config *c = &b->arch->config;
	dl_bound   *bound;

	if (c->n_replaced == 0)
		return DLM_OK;
	for (uint32_t i = 0; i < c->n_replaced; i++)
	{
		const char *name = settings->replaced_names[i];
		dl_tensor  *t = b->lora->present ? dl_source_find(&b->lora->source, name) : NULL;
		dl_name		row = {.rows = S_ONE, .cols = S_HIDDEN};
		char		clean[100];
		dlm_status	st;

		if (t == NULL)
			t = dl_source_find(b->source, name);
		if (t == NULL)
			return dl_fail(b->err, DLM_EINVAL, "", "\"embedding_rows\" names the tensor \"%s\", which is nowhere",
						   dl_clean_name(name, clean));
		st = check_shape(b, &row, t, 1, c->hidden);
		if (st != DLM_OK)
			return st;
		t->used = true;
		b->out->replaced[i] = t;
	}
	bound = add_bound(b);
	if (bound == NULL)
		return dl_fail_memory(b->err);
	bound->role = DL_T_REPLACED;
	bound->rows = c->n_replaced;
	bound->cols = c->hidden;
	return DLM_OK;
}

static dlm_status
bind_rope(dl_binder *b)
{
	if (b->arch->config.position != DL_POS_ROPE)
		return DLM_OK;
	for (int i = 0; i < 2; i++)
	{
		dl_bound   *bound = add_bound(b);

		if (bound == NULL)
			return dl_fail_memory(b->err);
		bound->role = i == 0 ? DL_T_ROPE_COS : DL_T_ROPE_SIN;
		bound->rows = b->arch->config.context;
		bound->cols = b->arch->config.head_dim / 2;
	}
	if (b->arch->rope.factors != NULL)
		b->arch->rope.factors->used = true;
	return DLM_OK;
}

static dlm_status
check_all_used(const dl_source *s, const char *what, dlm_error *err)
{
	char		clean[100];

	for (int i = 0; i < s->n_tensors; i++)
	{
		const dl_tensor *t = &s->tensors[i];
		bool		known = t->used;

		for (size_t h = 0; h < sizeof(harmless) / sizeof(harmless[0]) && !known; h++)
		{
			size_t		n = strlen(harmless[h]),
						len = strlen(t->key);

			known = len >= n && strcmp(t->key + len - n, harmless[h]) == 0;
		}
		if (!known)
			return dl_fail(err, DLM_EUNSUPPORTED, "", "%s has a tensor \"%s\" that its architecture does not know", what,
						   dl_clean_name(t->name, clean));
	}
	return DLM_OK;
}

dlm_status
dl_bind(dl_source *s, dl_lora *lora, const dl_settings_out *settings, dl_arch *arch, dl_arena *arena,
		dl_binding *out, dlm_error *err)
{
	dl_binder	b = {.source = s, .lora = lora, .arch = arch, .arena = arena, .out = out, .err = err};
	dlm_status	st;

	memset(out, 0, sizeof(*out));
	settle_tied(&b);
	if ((st = bind_model(&b)) != DLM_OK || (st = bind_replaced(&b, settings)) != DLM_OK ||
		(st = bind_rope(&b)) != DLM_OK || (st = bind_layers(&b)) != DLM_OK ||
		(st = bind_length_head(&b, settings)) != DLM_OK || (st = check_all_used(s, "model", err)) != DLM_OK)
		return st;
	return lora->present ? check_all_used(&lora->source, "adapter", err) : DLM_OK;
}
