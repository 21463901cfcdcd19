/*
 * fuzz_tokenizer_json.c - any bytes as a tokenizer.json: an error or a tokenizer that works, never a crash.
 *
 * What converts is opened and asked to encode and decode a few texts. An
 * input that begins as a blob does is opened as one, so that validation meets
 * hostile tables.
 */
#include <stdlib.h>
#include <string.h>

#include "token.h"
#include "tokenizer.h"

static void
use(const void *blob, size_t size)
{
	static const char *const texts[] = {"", "a", "Hello,  world 12\n", " \xe4\xb8\xad\xcc\x81<s>[UNK]", "aaaaaaaaaaaaaaaa"};
	dl_tok	   *tok;
	dlm_error	err;

	if (dl_tok_open(blob, size, &tok, &err) != DLM_OK)
		return;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		dl_arena   *a = dl_arena_create((size_t) 16 << 20);
		dl_ids		ids = {0};
		dlm_text	text = {texts[i], strlen(texts[i])};
		dlm_text	out;

		if (dl_tok_encode(tok, text, i & 1 ? DL_TOK_CONTINUE : DL_TOK_START, a, NULL, &ids, &err) == DLM_OK)
			(void) dl_tok_decode(tok, ids.id, ids.n, a, &out, &err);
		(void) dl_tok_special(tok, text);
		dl_arena_destroy(a);
	}
	for (int32_t id = -1; id <= dl_tok_count(tok) && id < 1000; id++)
	{
		char		buf[16];

		(void) dl_tok_bytes(tok, id, id - 1, buf, sizeof(buf));
		(void) dl_tok_piece(tok, id);
	}
	dl_tok_close(tok);
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void	   *blob;
	size_t		blob_size;
	dlm_error	err;

	if (size > 8 && memcmp(data, "dlmtoken", 8) == 0)
	{
		void	   *copy = aligned_alloc(8, (size + 7) & ~(size_t) 7);

		if (copy != NULL)
		{
			memcpy(copy, data, size);
			use(copy, size);
		}
		free(copy);
		return 0;
	}
	if (dlm_tokenizer_from_json((const char *) data, size, NULL, &blob, &blob_size, &err) == DLM_OK)
		use(blob, blob_size);
	free(blob);
	return 0;
}
