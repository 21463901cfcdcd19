/*
 * names.c - the tensors' names per family; see names.h.
 *
 * A line gives a role, its shape in terms of the configuration, and the name
 * in Hugging Face and in GGUF files, wrappers' prefixes stripped.
 */
#include "names.h"

#include <stddef.h>
#include <stdio.h>

#include "config_family.h"

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

const dl_name dl_names_llama_qk_norms[] = {
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
const dl_name dl_names_length_head[] = {
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

const dl_name *const *
dl_names_model(dl_names names)
{
	static const dl_name *const tables[][4] = {
		[DL_NAMES_BERT] = {encoder_embeddings, embedding_norm, bert_head},
		[DL_NAMES_ROBERTA] = {encoder_embeddings, embedding_norm, roberta_head},
		[DL_NAMES_XL] = {encoder_embeddings, final_encoder_norm, roberta_head},
		[DL_NAMES_LLAMA] = {llama_model},
		[DL_NAMES_LLADA] = {llada_model}
	};

	return tables[names];
}

const dl_name *const *
dl_names_layer(dl_names names)
{
	static const dl_name *const tables[][3] = {
		[DL_NAMES_BERT] = {encoder_layer, post_norms},
		[DL_NAMES_ROBERTA] = {encoder_layer, post_norms},
		[DL_NAMES_XL] = {encoder_layer, pre_norms},
		[DL_NAMES_LLAMA] = {llama_layer, dl_names_llama_qk_norms},
		[DL_NAMES_LLADA] = {llada_layer}
	};

	return tables[names];
}

bool
dl_tensor_key(const char *family, uint32_t role, uint32_t layer, char key[DL_KEY_BYTES])
{
	const dl_family *f = dl_family_find(family);

	for (int part = 0; f != NULL && part < 2; part++)
	{
		const dl_name *const *table = part == 0 ? dl_names_model(f->names) : dl_names_layer(f->names);

		for (; *table != NULL; table++)
			for (const dl_name *line = *table; line->role != 0; line++)
				if (line->role == role)
				{
					snprintf(key, DL_KEY_BYTES, line->hf, (int) layer);
					return true;
				}
	}
	return false;
}
