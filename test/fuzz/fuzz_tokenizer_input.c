/*
 * fuzz_tokenizer_input.c - any bytes as a text for each of the tiny tokenizers.
 *
 * Valid UTF-8 encodes, its ids are in range and decode; anything else is
 * DLM_EENCODING. The first byte chooses the tokenizer and the mode. Run from
 * the repository root.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"
#include "token_unicode.h"
#include "tokenizer.h"

static const char *const names[] = {"gpt2-added", "roberta", "neox", "llama3", "qwen2", "split-mix", "words", "bytes-nfc",
	"bytes-nfkd", "bytes-charsmap", "bytes-replace", "bytes-bert-normal", "bert-uncased", "wordpiece-plain", "llama2",
	"mistral", "bpe-unk", "bpe-prefix", "t5", "xlm-roberta", "albert", "unigram-bytes"};

#define N_NAMES	(sizeof(names) / sizeof(names[0]))

static dl_tok *
load(const char *name)
{
	static char json[1 << 20];
	char		path[200];
	FILE	   *f;
	size_t		size,
				blob_size;
	void	   *blob;
	dl_tok	   *tok = NULL;
	dlm_error	err;

	snprintf(path, sizeof(path), "test/models/tokenizers/%s.json", name);
	f = fopen(path, "rb");
	if (f == NULL)
		abort();
	size = fread(json, 1, sizeof(json), f);
	fclose(f);
	if (dlm_tokenizer_from_json(json, size, NULL, &blob, &blob_size, &err) != DLM_OK ||
		dl_tok_open(blob, blob_size, &tok, &err) != DLM_OK)
		abort();
	return tok;
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static dl_tok *toks[N_NAMES];
	size_t		which;
	dl_arena   *a;
	dl_ids		ids = {0};
	dlm_text	text,
				out;
	dlm_error	err;
	dlm_status	st;
	bool		valid;

	if (size == 0)
		return 0;
	which = (data[0] >> 1) % N_NAMES;
	if (toks[which] == NULL)
		toks[which] = load(names[which]);
	text.data = (const char *) data + 1;
	text.len = size - 1;
	valid = dl_utf8_wellformed(text.data, text.len);
	a = dl_arena_create((size_t) 64 << 20);
	st = dl_tok_encode(toks[which], text, data[0] & 1 ? DL_TOK_CONTINUE : DL_TOK_START, a, NULL, &ids, &err);
	if (st != (valid ? DLM_OK : DLM_EENCODING))
		abort();
	for (int i = 0; i < ids.n; i++)
		if (ids.id[i] < 0 || ids.id[i] >= dl_tok_count(toks[which]) || dl_tok_piece(toks[which], ids.id[i]).len == 0)
			abort();
	if (dl_tok_decode(toks[which], ids.id, ids.n, a, &out, &err) != DLM_OK || !dl_utf8_wellformed(out.data, out.len))
		abort();
	dl_arena_destroy(a);
	return 0;
}
