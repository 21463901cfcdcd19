/*
 * bind.c - names to roles, one table per family.
 *
 * A table line gives a role, its shape in terms of the configuration, and the
 * tensor's name in Hugging Face and in GGUF files (prefixes already stripped
 * by source.c). An adapter may replace a tensor as a whole. In the end every
 * tensor has been bound, or is one that plays no part, or is an error: a
 * model is never converted with half of its weights.
 */
#include "convert.h"

#include <stdio.h>
#include <string.h>

#include "status.h"

/* Sizes in a shape. */
typedef enum dl_size
{
	S_ONE, S_HIDDEN, S_QUERY, S_KEY, S_HEAD, S_FFN, S_VOCAB, S_POSITIONS, S_LENGTH_FFN, S_LENGTH_HIDDEN, S_CLASSES
} dl_size;

#define MATRIX		1			/* packed in panels */
#define OPTIONAL	2
#define FIRST_ROW	4			/* the tensor may have more rows than we take */
#define PERMUTED_Q	8			/* GGUF of llama and llada: rows in the order for interleaved RoPE */
#define PERMUTED_K	16
#define PART_1		32			/* second and third part of a tensor that holds three */
#define PART_2		64
#define THIRD		128			/* the first */

typedef struct dl_name
{
	uint8_t		role;
	uint8_t		rows,
				cols;
	uint8_t		flags;
	const char *hf;
	const char *gguf;
} dl_name;

static const dl_name encoder_embeddings[] = {
	{DL_T_EMBED, S_VOCAB, S_HIDDEN, MATRIX, "embeddings.word_embeddings.weight", NULL},
	{DL_T_POSITION, S_POSITIONS, S_HIDDEN, 0, "embeddings.position_embeddings.weight", NULL},
	{DL_T_TYPE, S_ONE, S_HIDDEN, FIRST_ROW, "embeddings.token_type_embeddings.weight", NULL},
	{0}
};

static const dl_name embedding_norm[] = {
	{DL_T_EMBED_NORM_W, S_ONE, S_HIDDEN, 0, "embeddings.LayerNorm.weight", NULL},
	{DL_T_EMBED_NORM_B, S_ONE, S_HIDDEN, 0, "embeddings.LayerNorm.bias", NULL},
	{0}
};

static const dl_name encoder_layer[] = {
	{DL_T_Q_W, S_QUERY, S_HIDDEN, MATRIX, "encoder.layer.%d.attention.self.query.weight", NULL},
	{DL_T_Q_B, S_ONE, S_QUERY, 0, "encoder.layer.%d.attention.self.query.bias", NULL},
	{DL_T_K_W, S_KEY, S_HIDDEN, MATRIX, "encoder.layer.%d.attention.self.key.weight", NULL},
	{DL_T_K_B, S_ONE, S_KEY, 0, "encoder.layer.%d.attention.self.key.bias", NULL},
	{DL_T_V_W, S_KEY, S_HIDDEN, MATRIX, "encoder.layer.%d.attention.self.value.weight", NULL},
	{DL_T_V_B, S_ONE, S_KEY, 0, "encoder.layer.%d.attention.self.value.bias", NULL},
	{DL_T_O_W, S_HIDDEN, S_QUERY, MATRIX, "encoder.layer.%d.attention.output.dense.weight", NULL},
	{DL_T_O_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.attention.output.dense.bias", NULL},
	{DL_T_UP_W, S_FFN, S_HIDDEN, MATRIX, "encoder.layer.%d.intermediate.dense.weight", NULL},
	{DL_T_UP_B, S_ONE, S_FFN, 0, "encoder.layer.%d.intermediate.dense.bias", NULL},
	{DL_T_DOWN_W, S_HIDDEN, S_FFN, MATRIX, "encoder.layer.%d.output.dense.weight", NULL},
	{DL_T_DOWN_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.output.dense.bias", NULL},
	{0}
};

static const dl_name post_norms[] = {
	{DL_T_ATTN_NORM_W, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.attention.output.LayerNorm.weight", NULL},
	{DL_T_ATTN_NORM_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.attention.output.LayerNorm.bias", NULL},
	{DL_T_FFN_NORM_W, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.output.LayerNorm.weight", NULL},
	{DL_T_FFN_NORM_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.output.LayerNorm.bias", NULL},
	{0}
};

static const dl_name pre_norms[] = {
	{DL_T_ATTN_NORM_W, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.attention.self_attn_layer_norm.weight", NULL},
	{DL_T_ATTN_NORM_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.attention.self_attn_layer_norm.bias", NULL},
	{DL_T_FFN_NORM_W, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.LayerNorm.weight", NULL},
	{DL_T_FFN_NORM_B, S_ONE, S_HIDDEN, 0, "encoder.layer.%d.LayerNorm.bias", NULL},
	{0}
};

static const dl_name final_encoder_norm[] = {
	{DL_T_FINAL_NORM_W, S_ONE, S_HIDDEN, 0, "encoder.LayerNorm.weight", NULL},
	{DL_T_FINAL_NORM_B, S_ONE, S_HIDDEN, 0, "encoder.LayerNorm.bias", NULL},
	{0}
};

static const dl_name roberta_head[] = {
	{DL_T_HEAD_DENSE_W, S_HIDDEN, S_HIDDEN, MATRIX, "lm_head.dense.weight", NULL},
	{DL_T_HEAD_DENSE_B, S_ONE, S_HIDDEN, 0, "lm_head.dense.bias", NULL},
	{DL_T_HEAD_NORM_W, S_ONE, S_HIDDEN, 0, "lm_head.layer_norm.weight", NULL},
	{DL_T_HEAD_NORM_B, S_ONE, S_HIDDEN, 0, "lm_head.layer_norm.bias", NULL},
	{DL_T_HEAD_W, S_VOCAB, S_HIDDEN, MATRIX, "lm_head.decoder.weight", NULL},
	{DL_T_HEAD_B, S_ONE, S_VOCAB, OPTIONAL, "lm_head.bias", "lm_head.decoder.bias"},
	{0}
};

static const dl_name bert_head[] = {
	{DL_T_HEAD_DENSE_W, S_HIDDEN, S_HIDDEN, MATRIX, "cls.predictions.transform.dense.weight", NULL},
	{DL_T_HEAD_DENSE_B, S_ONE, S_HIDDEN, 0, "cls.predictions.transform.dense.bias", NULL},
	{DL_T_HEAD_NORM_W, S_ONE, S_HIDDEN, 0, "cls.predictions.transform.LayerNorm.weight", NULL},
	{DL_T_HEAD_NORM_B, S_ONE, S_HIDDEN, 0, "cls.predictions.transform.LayerNorm.bias", NULL},
	{DL_T_HEAD_W, S_VOCAB, S_HIDDEN, MATRIX, "cls.predictions.decoder.weight", NULL},
	{DL_T_HEAD_B, S_ONE, S_VOCAB, OPTIONAL, "cls.predictions.bias", "cls.predictions.decoder.bias"},
	{0}
};

static const dl_name llama_model[] = {
	{DL_T_EMBED, S_VOCAB, S_HIDDEN, MATRIX, "embed_tokens.weight", "token_embd.weight"},
	{DL_T_FINAL_NORM_W, S_ONE, S_HIDDEN, 0, "norm.weight", "output_norm.weight"},
	{DL_T_HEAD_W, S_VOCAB, S_HIDDEN, MATRIX, "lm_head.weight", "output.weight"},
	{0}
};

static const dl_name llama_layer[] = {
	{DL_T_ATTN_NORM_W, S_ONE, S_HIDDEN, 0, "layers.%d.input_layernorm.weight", "blk.%d.attn_norm.weight"},
	{DL_T_Q_W, S_QUERY, S_HIDDEN, MATRIX | PERMUTED_Q, "layers.%d.self_attn.q_proj.weight", "blk.%d.attn_q.weight"},
	{DL_T_Q_B, S_ONE, S_QUERY, OPTIONAL | PERMUTED_Q, "layers.%d.self_attn.q_proj.bias", "blk.%d.attn_q.bias"},
	{DL_T_K_W, S_KEY, S_HIDDEN, MATRIX | PERMUTED_K, "layers.%d.self_attn.k_proj.weight", "blk.%d.attn_k.weight"},
	{DL_T_K_B, S_ONE, S_KEY, OPTIONAL | PERMUTED_K, "layers.%d.self_attn.k_proj.bias", "blk.%d.attn_k.bias"},
	{DL_T_V_W, S_KEY, S_HIDDEN, MATRIX, "layers.%d.self_attn.v_proj.weight", "blk.%d.attn_v.weight"},
	{DL_T_V_B, S_ONE, S_KEY, OPTIONAL, "layers.%d.self_attn.v_proj.bias", "blk.%d.attn_v.bias"},
	{DL_T_O_W, S_HIDDEN, S_QUERY, MATRIX, "layers.%d.self_attn.o_proj.weight", "blk.%d.attn_output.weight"},
	{DL_T_O_B, S_ONE, S_HIDDEN, OPTIONAL, "layers.%d.self_attn.o_proj.bias", "blk.%d.attn_output.bias"},
	{DL_T_FFN_NORM_W, S_ONE, S_HIDDEN, 0, "layers.%d.post_attention_layernorm.weight", "blk.%d.ffn_norm.weight"},
	{DL_T_GATE_W, S_FFN, S_HIDDEN, MATRIX, "layers.%d.mlp.gate_proj.weight", "blk.%d.ffn_gate.weight"},
	{DL_T_GATE_B, S_ONE, S_FFN, OPTIONAL, "layers.%d.mlp.gate_proj.bias", "blk.%d.ffn_gate.bias"},
	{DL_T_UP_W, S_FFN, S_HIDDEN, MATRIX, "layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight"},
	{DL_T_UP_B, S_ONE, S_FFN, OPTIONAL, "layers.%d.mlp.up_proj.bias", "blk.%d.ffn_up.bias"},
	{DL_T_DOWN_W, S_HIDDEN, S_FFN, MATRIX, "layers.%d.mlp.down_proj.weight", "blk.%d.ffn_down.weight"},
	{DL_T_DOWN_B, S_ONE, S_HIDDEN, OPTIONAL, "layers.%d.mlp.down_proj.bias", "blk.%d.ffn_down.bias"},
	{0}
};

static const dl_name llama_qk_norms[] = {
	{DL_T_Q_NORM, S_ONE, S_HEAD, 0, "layers.%d.self_attn.q_norm.weight", "blk.%d.attn_q_norm.weight"},
	{DL_T_K_NORM, S_ONE, S_HEAD, 0, "layers.%d.self_attn.k_norm.weight", "blk.%d.attn_k_norm.weight"},
	{0}
};

static const dl_name llada_model[] = {
	{DL_T_EMBED, S_VOCAB, S_HIDDEN, MATRIX, "wte.weight", "token_embd.weight"},
	{DL_T_FINAL_NORM_W, S_ONE, S_HIDDEN, 0, "ln_f.weight", "output_norm.weight"},
	{DL_T_HEAD_W, S_VOCAB, S_HIDDEN, MATRIX, "ff_out.weight", "output.weight"},
	{0}
};

static const dl_name llada_layer[] = {
	{DL_T_ATTN_NORM_W, S_ONE, S_HIDDEN, 0, "blocks.%d.attn_norm.weight", "blk.%d.attn_norm.weight"},
	{DL_T_Q_W, S_QUERY, S_HIDDEN, MATRIX | PERMUTED_Q, "blocks.%d.q_proj.weight", "blk.%d.attn_q.weight"},
	{DL_T_K_W, S_KEY, S_HIDDEN, MATRIX | PERMUTED_K, "blocks.%d.k_proj.weight", "blk.%d.attn_k.weight"},
	{DL_T_V_W, S_KEY, S_HIDDEN, MATRIX, "blocks.%d.v_proj.weight", "blk.%d.attn_v.weight"},
	{DL_T_O_W, S_HIDDEN, S_QUERY, MATRIX, "blocks.%d.attn_out.weight", "blk.%d.attn_output.weight"},
	{DL_T_FFN_NORM_W, S_ONE, S_HIDDEN, 0, "blocks.%d.ff_norm.weight", "blk.%d.ffn_norm.weight"},
	{DL_T_GATE_W, S_FFN, S_HIDDEN, MATRIX, "blocks.%d.ff_proj.weight", "blk.%d.ffn_gate.weight"},
	{DL_T_UP_W, S_FFN, S_HIDDEN, MATRIX, "blocks.%d.up_proj.weight", "blk.%d.ffn_up.weight"},
	{DL_T_DOWN_W, S_HIDDEN, S_FFN, MATRIX, "blocks.%d.ff_out.weight", "blk.%d.ffn_down.weight"},
	{0}
};

/* PyTorch's TransformerEncoderLayer, then Linear, Tanh, Linear (Ye et al. 2023's length predictor). */
static const dl_name length_head[] = {
	{DL_T_LEN_Q_W, S_HIDDEN, S_HIDDEN, MATRIX | THIRD, "length_trm.layers.0.self_attn.in_proj_weight", NULL},
	{DL_T_LEN_Q_B, S_ONE, S_HIDDEN, THIRD, "length_trm.layers.0.self_attn.in_proj_bias", NULL},
	{DL_T_LEN_K_W, S_HIDDEN, S_HIDDEN, MATRIX | PART_1, "length_trm.layers.0.self_attn.in_proj_weight", NULL},
	{DL_T_LEN_K_B, S_ONE, S_HIDDEN, PART_1, "length_trm.layers.0.self_attn.in_proj_bias", NULL},
	{DL_T_LEN_V_W, S_HIDDEN, S_HIDDEN, MATRIX | PART_2, "length_trm.layers.0.self_attn.in_proj_weight", NULL},
	{DL_T_LEN_V_B, S_ONE, S_HIDDEN, PART_2, "length_trm.layers.0.self_attn.in_proj_bias", NULL},
	{DL_T_LEN_O_W, S_HIDDEN, S_HIDDEN, MATRIX, "length_trm.layers.0.self_attn.out_proj.weight", NULL},
	{DL_T_LEN_O_B, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.self_attn.out_proj.bias", NULL},
	{DL_T_LEN_NORM1_W, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.norm1.weight", NULL},
	{DL_T_LEN_NORM1_B, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.norm1.bias", NULL},
	{DL_T_LEN_UP_W, S_LENGTH_FFN, S_HIDDEN, MATRIX, "length_trm.layers.0.linear1.weight", NULL},
	{DL_T_LEN_UP_B, S_ONE, S_LENGTH_FFN, 0, "length_trm.layers.0.linear1.bias", NULL},
	{DL_T_LEN_DOWN_W, S_HIDDEN, S_LENGTH_FFN, MATRIX, "length_trm.layers.0.linear2.weight", NULL},
	{DL_T_LEN_DOWN_B, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.linear2.bias", NULL},
	{DL_T_LEN_NORM2_W, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.norm2.weight", NULL},
	{DL_T_LEN_NORM2_B, S_ONE, S_HIDDEN, 0, "length_trm.layers.0.norm2.bias", NULL},
	{DL_T_LEN_HIDDEN_W, S_LENGTH_HIDDEN, S_HIDDEN, MATRIX, "length_predictor.0.weight", NULL},
	{DL_T_LEN_HIDDEN_B, S_ONE, S_LENGTH_HIDDEN, 0, "length_predictor.0.bias", NULL},
	{DL_T_LEN_OUT_W, S_CLASSES, S_LENGTH_HIDDEN, MATRIX, "length_predictor.2.weight", NULL},
	{DL_T_LEN_OUT_B, S_ONE, S_CLASSES, 0, "length_predictor.2.bias", NULL},
	{0}
};

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

static dlm_status
bind_table(dl_binder *b, const dl_name *table, int layer)
{
	for (; table->role != 0; table++)
	{
		dlm_status	st = DLM_OK;

		if (table->role == DL_T_HEAD_W && b->arch->config.tied)
		{
			/* as the original does: a tied head is the embedding, whatever the file holds */
			char		hf[200];
			bool		replaced;

			snprintf(hf, sizeof(hf), "%s", table->hf);
			find_tensor(b, table, hf, layer, &replaced);
		}
		else
			st = bind_one(b, table, layer);
		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
bind_layers(dl_binder *b)
{
	const dl_name *tables[2] = {NULL, NULL};

	switch (b->arch->names)
	{
		case DL_NAMES_LLAMA:
			tables[0] = llama_layer;
			tables[1] = b->arch->config.qk_norm ? llama_qk_norms : NULL;
			break;
		case DL_NAMES_LLADA:
			tables[0] = llada_layer;
			break;
		default:
			tables[0] = encoder_layer;
			tables[1] = b->arch->names == DL_NAMES_XL ? pre_norms : post_norms;
	}
	for (uint32_t layer = 0; layer < b->arch->config.layers; layer++)
		for (int i = 0; i < 2 && tables[i] != NULL; i++)
		{
			dlm_status	st = bind_table(b, tables[i], (int) layer);

			if (st != DLM_OK)
				return st;
		}
	return DLM_OK;
}

/* The tensors outside the layers. */
static dlm_status
bind_model(dl_binder *b)
{
	const dl_name *tables[3] = {NULL, NULL, NULL};

	switch (b->arch->names)
	{
		case DL_NAMES_LLAMA:
			tables[0] = llama_model;
			break;
		case DL_NAMES_LLADA:
			tables[0] = llada_model;
			break;
		default:
			tables[0] = encoder_embeddings;
			tables[1] = b->arch->names == DL_NAMES_XL ? final_encoder_norm : embedding_norm;
			tables[2] = b->arch->names == DL_NAMES_BERT ? bert_head : roberta_head;
	}
	for (int i = 0; i < 3 && tables[i] != NULL; i++)
	{
		dlm_status	st = bind_table(b, tables[i], 0);

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
	return bind_table(b, length_head, 0);
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
