/*
 * model_file.h - the .dlm container: what the converter writes and the engine maps.
 *
 * All numbers are little-endian. A file is
 *
 *		header (DL_HEADER_SIZE bytes, struct dl_header)
 *		configuration	(struct dl_config)
 *		settings		(dl_setting records, see below)
 *		tokenizer		(blob of token.h)
 *		directory		(struct dl_entry [n_entries])
 *		tensors			(each 64-byte aligned, in directory order, gaps zero)
 *		meta			(dl_setting records that the digest does not cover)
 *
 * The digest is the SHA-256 of the bytes from `config.offset` to
 * `meta.offset` (so of everything but header and meta). The header's checksum
 * is the first 8 bytes of the SHA-256 of the header with that field zero,
 * followed by configuration, settings and directory. Sections start on
 * 64-byte boundaries. The file is untrusted: every length, offset, shape and
 * id is checked at open; tensors may not overlap one another or anything else.
 */
#ifndef DL_MODEL_FILE_H
#define DL_MODEL_FILE_H

#include "dlm.h"

#define DL_MAGIC		"dlmmodel"
#define DL_VERSION		1u
#define DL_ENDIAN_TAG	0x01020304u
#define DL_HEADER_SIZE	256u
#define DL_ALIGN		64u

/* Sanity bounds of an open file; a converter refuses what is beyond them. */
#define DL_MAX_LAYERS	256
#define DL_MAX_HIDDEN	65536
#define DL_MAX_VOCAB	(1 << 21)
#define DL_MAX_CONTEXT	(1 << 20)
#define DL_MAX_REPLACED	8

typedef struct dl_section
{
	uint64_t	offset;
	uint64_t	size;
} dl_section;

typedef struct dl_header
{
	char		magic[8];
	uint32_t	version;
	uint32_t	endian;
	uint64_t	file_size;
	uint8_t		digest[32];
	uint64_t	checksum;
	dl_section	config,
				settings,
				tokenizer,
				directory,
				tensors,
				meta;
	uint8_t		reserved[DL_HEADER_SIZE - 160];
} dl_header;

typedef enum dl_dtype { DL_F32 = 0, DL_BF16 = 1, DL_I8 = 2 } dl_dtype;
typedef enum dl_norm { DL_NORM_LAYER = 0, DL_NORM_RMS = 1 } dl_norm;
typedef enum dl_act { DL_ACT_GELU_ERF = 0, DL_ACT_GELU_TANH, DL_ACT_SILU, DL_ACT_RELU } dl_act;
typedef enum dl_position { DL_POS_LEARNED = 0, DL_POS_ROPE = 1 } dl_position;
typedef enum dl_attention { DL_ATT_FULL = 0, DL_ATT_CONTEXT = 1 } dl_attention;

/* Typed configuration, fixed size, all fields 32 bit. */
typedef struct dl_config
{
	char		family[32];		/* "bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "llama", "qwen2", "qwen3", ... NUL-padded */
	uint32_t	weights;		/* dl_dtype of the matrices */
	uint32_t	hidden;
	uint32_t	layers;
	uint32_t	heads;
	uint32_t	kv_heads;		/* heads is a multiple */
	uint32_t	head_dim;		/* a multiple of 2 */
	uint32_t	ffn;
	uint32_t	vocab;			/* rows of the embedding and of the head */
	uint32_t	tokens;			/* ids that the tokenizer knows are < tokens <= vocab */
	uint32_t	context;		/* positions a row may have */
	uint32_t	norm;			/* dl_norm */
	uint32_t	pre_norm;		/* 1: norm before each block, residual around; 0: after the residual (post-LN) */
	float		norm_eps;
	uint32_t	act;			/* dl_act */
	uint32_t	gated;			/* 1: down(act(gate(x)) * up(x)); 0: down(act(up(x))) */
	uint32_t	position;		/* dl_position */
	uint32_t	position_offset;	/* learned: row 0 of a text uses table row position_offset */
	uint32_t	embed_norm;		/* 1: norm after the sum of embeddings */
	uint32_t	final_norm;		/* 1: norm after the last layer */
	uint32_t	qk_norm;		/* 1: RMSNorm per head on q and k before RoPE */
	uint32_t	tied;			/* 1: the head's matrix is the token embedding */
	uint32_t	head_transform;	/* 1: dense + act (GELU_ERF) + LayerNorm before the head's matrix */
	uint32_t	logit_shift;	/* 1: the output at i-1 predicts token i */
	uint32_t	attention;		/* dl_attention */
	uint32_t	mask_id;
	uint32_t	length_classes;	/* 0: no length head */
	uint32_t	length_ffn;		/* of the length head's transformer layer */
	uint32_t	length_hidden;	/* of its Linear-Tanh-Linear predictor */
	uint32_t	n_replaced;		/* rows of the input embedding that DL_T_REPLACED replaces */
	uint32_t	replaced[DL_MAX_REPLACED];
	uint32_t	reserved[16];
} dl_config;

typedef enum dl_role
{
	/* of the whole model (layer = 0) */
	DL_T_EMBED = 1,			/* matrix [vocab, hidden]: input embedding, and head if tied */
	DL_T_REPLACED,			/* vector rows [n_replaced, hidden] */
	DL_T_POSITION,			/* rows [context + position_offset, hidden] */
	DL_T_TYPE,				/* rows [1, hidden]: token type 0 */
	DL_T_EMBED_NORM_W, DL_T_EMBED_NORM_B,
	DL_T_FINAL_NORM_W, DL_T_FINAL_NORM_B,
	DL_T_HEAD_DENSE_W,		/* matrix [hidden, hidden] */
	DL_T_HEAD_DENSE_B, DL_T_HEAD_NORM_W, DL_T_HEAD_NORM_B,
	DL_T_HEAD_W,			/* matrix [vocab, hidden], untied */
	DL_T_HEAD_B,			/* [vocab] */
	DL_T_ROPE_COS, DL_T_ROPE_SIN,	/* rows [context, head_dim / 2] */
	/* of a layer */
	DL_T_ATTN_NORM_W = 32, DL_T_ATTN_NORM_B,
	DL_T_Q_W, DL_T_Q_B, DL_T_K_W, DL_T_K_B, DL_T_V_W, DL_T_V_B, DL_T_O_W, DL_T_O_B,
	DL_T_Q_NORM, DL_T_K_NORM,	/* [head_dim] */
	DL_T_FFN_NORM_W, DL_T_FFN_NORM_B,
	DL_T_GATE_W, DL_T_GATE_B, DL_T_UP_W, DL_T_UP_B, DL_T_DOWN_W, DL_T_DOWN_B,
	/* of the length head (layer = 0): post-norm transformer layer with ReLU, mean, Linear, Tanh, Linear */
	DL_T_LEN_Q_W = 64, DL_T_LEN_Q_B, DL_T_LEN_K_W, DL_T_LEN_K_B, DL_T_LEN_V_W, DL_T_LEN_V_B,
	DL_T_LEN_O_W, DL_T_LEN_O_B, DL_T_LEN_NORM1_W, DL_T_LEN_NORM1_B, DL_T_LEN_UP_W, DL_T_LEN_UP_B,
	DL_T_LEN_DOWN_W, DL_T_LEN_DOWN_B, DL_T_LEN_NORM2_W, DL_T_LEN_NORM2_B,
	DL_T_LEN_HIDDEN_W, DL_T_LEN_HIDDEN_B, DL_T_LEN_OUT_W, DL_T_LEN_OUT_B
} dl_role;

typedef enum dl_layout
{
	DL_ROWS = 0,				/* f32, row-major [rows, cols]; vectors are [1, cols] */
	DL_PANELS = 1				/* a matrix W [rows = outputs, cols = inputs] in the panels of kernels.h */
} dl_layout;

/*
 * One tensor. Bytes of a DL_PANELS tensor, with P = ceil(rows / 16) and each
 * part 64-byte aligned inside the tensor:
 *		f32		P * cols * 16 * 4
 *		bf16	P * cols * 16 * 2
 *		int8	P * (K4 * 64 + G * 128) with K4 = ceil(cols / 4) and G = ceil(K4 / 16) groups
 */
typedef struct dl_entry
{
	uint32_t	role;
	uint32_t	layer;
	uint32_t	dtype;
	uint32_t	layout;
	uint64_t	rows;
	uint64_t	cols;
	uint64_t	offset;			/* from the start of the file */
	uint64_t	bytes;
} dl_entry;

/* Exact size of a tensor's bytes by the table above; 0 if out of bounds. */
uint64_t	dl_entry_bytes(uint32_t dtype, uint32_t layout, uint64_t rows, uint64_t cols);

/* A record of settings or meta: key, size, then size bytes, padded with zeros to 4. */
typedef struct dl_setting
{
	uint32_t	key;
	uint32_t	size;
} dl_setting;

typedef enum dl_setting_key
{
	DL_S_BEGIN_IDS = 1,			/* int32 []: set before a row of plain text */
	DL_S_END_IDS,				/* int32 [] after it */
	DL_S_STOP_IDS,				/* int32 []: tokens that end an answer */
	DL_S_NEVER_GENERATE,		/* int32 [] */
	DL_S_NEVER_SCORE,			/* int32 []: left out of every softmax */
	DL_S_TEMPLATE_GENERATE,		/* text, as in dlm.json; missing = the paper's row */
	DL_S_TEMPLATE_CLASSIFY,
	DL_S_TEMPLATE_CLASSIFY_MULTI,
	DL_S_TEMPLATE_INFILL,
	DL_S_CLASSIFY_INSTRUCTION,	/* text */
	DL_S_CONTENT_FREE,			/* text */
	DL_S_SAMPLER,				/* name */
	DL_S_SCORING,				/* uint32 dlm_scoring */
	DL_S_NORMALIZE,				/* uint32 dlm_normalize */
	DL_S_CALIBRATE,				/* uint32 dlm_calibrate */
	DL_S_STEPS,					/* uint32: default steps; missing = min(canvas, 16) */
	DL_S_LENGTH_BIAS,			/* double [5]: a, b, c, d, e of a e^(-bn) + c e^(-dn) + e */
	/* meta: not covered by the digest */
	DL_S_LICENSE = 128,
	DL_S_SOURCE
} dl_setting_key;

/* Size and first byte of a setting; NULL when missing. A valid file has each key at most once. */
const void *dl_setting_find(const void *section, uint64_t section_size, uint32_t key, uint32_t *size);

#endif							/* DL_MODEL_FILE_H */
