/*
 * encoding.h - texts between the server encoding and the engine's UTF-8.
 */
#ifndef DLM_PG_ENCODING_H
#define DLM_PG_ENCODING_H

#include "registry.h"

/* A text in UTF-8; points into `value` where no conversion was needed, else palloc'd. 22021 if it is not valid. */
extern dlm_text dlm_text_from_server(const char *value, int len);
extern dlm_text dlm_text_from_datum(Datum value);

/* May this text be given to the engine? Only SQL_ASCII databases can hold one that may not. */
extern bool dlm_text_is_valid(Datum value);

/* An engine's text as a palloc'd value of type text. 22021 or 22P05 if the server encoding cannot hold it. */
extern text *dlm_text_to_server(dlm_text value);

/* The same for raw pieces of tokens: what the server encoding cannot hold is written as \uXXXX or \xXX. */
extern text *dlm_piece_to_server(dlm_text piece);

/*
 * Bitmap [(vocab + 7) / 8] of the tokens that the server encoding cannot hold,
 * NULL if it holds all. Kept per backend and model digest.
 */
extern const uint8_t *dlm_forbidden_tokens(const DlmModelRef *model);

#endif							/* DLM_PG_ENCODING_H */
