/*
 * token_test.h - what the tokenizer's test programs share: read a file, open a tokenizer.json.
 */
#ifndef TOKEN_TEST_H
#define TOKEN_TEST_H

#include <stdlib.h>

#include "harness.h"
#include "token.h"
#include "tokenizer.h"

/* The bytes of a file, NUL behind them, malloc'd; NULL if it cannot be read. */
static inline char *
read_file(const char *path, size_t *size)
{
	FILE	   *f = path ? fopen(path, "rb") : NULL;
	char	   *data = NULL;
	long		n;

	*size = 0;
	if (f == NULL)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0)
	{
		data = malloc((size_t) n + 1);
		*size = data ? fread(data, 1, (size_t) n, f) : 0;
		if (data)
			data[*size] = '\0';
	}
	fclose(f);
	return data;
}

/* Convert and open; *blob is malloc'd and must outlive the result. NULL after a failed check. */
static inline dl_tok *
open_json(const char *path, void **blob)
{
	size_t		size,
				blob_size = 0;
	char	   *json = read_file(path, &size);
	dl_tok	   *tok = NULL;
	dlm_error	err = {0};

	*blob = NULL;
	CHECK(json != NULL, "%s is missing", path);
	if (json == NULL)
		return NULL;
	CHECK(dlm_tokenizer_from_json(json, size, NULL, blob, &blob_size, &err) == DLM_OK, "%s: %s", path, err.message);
	if (*blob != NULL)
		CHECK(dl_tok_open(*blob, blob_size, &tok, &err) == DLM_OK, "%s: %s", path, err.message);
	free(json);
	return tok;
}

#endif							/* TOKEN_TEST_H */
