/*
 * names.h - tables of roles, shapes and tensor names, a table per part of a family.
 */
#ifndef DLM_NAMES_H
#define DLM_NAMES_H

#include "convert.h"

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

/* Tables of a family, in the file's order; each ends with a line of role 0, the list with NULL. */
const dl_name *const *dl_names_model(dl_names names);	/* outside the layers */
const dl_name *const *dl_names_layer(dl_names names);
extern const dl_name dl_names_llama_qk_norms[];	/* of a layer, where the configuration has such norms */
extern const dl_name dl_names_length_head[];

/* Room for a tensor's key. */
#define DL_KEY_BYTES	200

/* The Hugging Face key of a tensor, for a family's name as in a .dlm; false: unknown. */
bool		dl_tensor_key(const char *family, uint32_t role, uint32_t layer, char key[DL_KEY_BYTES]);

#endif							/* DLM_NAMES_H */
