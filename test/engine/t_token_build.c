/*
 * t_token_build.c - damaged and unknown tokenizers are refused by name; spaces and boundaries; blobs are validated.
 */
#include "token_test.h"
#include "token_blob.h"

static char json_buf[1 << 16];

/* A tiny BPE tokenizer.json with these parts; NULL = null or the usual. */
static dlm_status
convert(const char *vocab, const char *merges, const char *added, const char *normalizer, const char *pre,
		const char *decoder, dlm_error *err)
{
	void	   *blob;
	size_t		size;
	dlm_status	st;
	int			n = snprintf(json_buf, sizeof(json_buf), "{\"version\":\"1.0\",\"added_tokens\":[%s],\"normalizer\":%s,"
							 "\"pre_tokenizer\":%s,\"decoder\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{%s},\"merges\":[%s]}}",
							 added ? added : "", normalizer ? normalizer : "null", pre ? pre : "null",
							 decoder ? decoder : "null", vocab ? vocab : "\"a\":0,\"b\":1,\"ab\":2",
							 merges ? merges : "\"a b\"");

	memset(err, 0, sizeof(*err));
	st = dlm_tokenizer_from_json(json_buf, (size_t) n, NULL, &blob, &size, err);
	free(blob);
	return st;
}

static void
damage_is_refused(void)
{
	static const struct
	{
		const char *vocab,
				   *merges,
				   *added;
	}			bad[] = {
		{"\"a\":0,\"b\":0,\"ab\":2", NULL, NULL},	/* an id twice */
		{"\"a\":0,\"b\":1,\"ab\":2,\"a\":3", NULL, NULL},	/* a piece twice */
		{"\"a\":0,\"b\":1,\"ab\":-2", NULL, NULL},
		{"\"a\":0,\"b\":1,\"ab\":2.5", NULL, NULL},
		{"\"a\":0,\"b\":1,\"ab\":99999999999", NULL, NULL},
		{"\"a\":0,\"b\":1,\"ab\":\"2\"", NULL, NULL},
		{NULL, "\"a c\"", NULL},	/* a merge of an unknown token */
		{NULL, "\"b a\"", NULL},	/* ... into one */
		{NULL, "\"ab\"", NULL},
		{NULL, "[\"a\",\"b\",\"a\"]", NULL},
		{NULL, "7", NULL},
		{NULL, NULL, "{\"id\":7,\"content\":\"x\",\"special\":true}"},	/* a hole before an added token */
		{NULL, NULL, "{\"id\":2,\"content\":\"x\",\"special\":true}"},	/* its id is taken */
		{NULL, NULL, "{\"id\":1,\"content\":\"a\",\"special\":true}"},	/* not the vocabulary's id */
		{NULL, NULL, "{\"id\":3,\"special\":true}"},
		{NULL, NULL, "{\"id\":3,\"content\":\"x\"},{\"id\":3,\"content\":\"x\"}"},
		{"", NULL, NULL}
	};
	dlm_error	err;

	CHECK(convert(NULL, NULL, NULL, NULL, NULL, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(convert("\"a\":0,\"b\":7,\"ab\":9", NULL, NULL, NULL, NULL, NULL, &err) == DLM_OK, "holes: %s", err.message);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dlm_status	st = convert(bad[i].vocab, bad[i].merges, bad[i].added, NULL, NULL, NULL, &err);

		CHECK(st == DLM_EDAMAGED && err.message[0] != '\0', "damage %zu gives status %d: %s", i, st, err.message);
	}
}

static void
unknown_parts_are_named(void)
{
	static const struct
	{
		const char *normalizer,
				   *pre,
				   *decoder,
				   *name;
	}			bad[] = {
		{"{\"type\":\"Nfx\"}", NULL, NULL, "Nfx"},
		{"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"\"}", NULL, NULL, "x+"},
		{"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Odd\"}]}", NULL, NULL, "Odd"},
		{NULL, "{\"type\":\"UnicodeScripts\"}", NULL, "UnicodeScripts"},
		{NULL, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[0-9]\"},\"behavior\":\"Isolated\",\"invert\":false}", NULL, "[0-9]"},
		{NULL, NULL, "{\"type\":\"CTC\",\"pad_token\":\"x\"}", "CTC"},
		{NULL, NULL, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"y+\"},\"content\":\"\"}", "y+"}
	};
	dlm_error	err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dlm_status	st = convert(NULL, NULL, NULL, bad[i].normalizer, bad[i].pre, bad[i].decoder, &err);

		CHECK(st == DLM_EUNSUPPORTED && strstr(err.message, bad[i].name) != NULL, "%s gives status %d: %s", bad[i].name, st,
			  err.message);
	}
}

/* Does the first token of a text behind other text begin with these bytes? */
static bool
begins(const dl_tok *tok, const char *text, const char *first)
{
	dl_arena   *a = dl_arena_create((size_t) 1 << 20);
	dl_ids		ids = {0};
	dlm_error	err;
	dlm_text	t = {text, strlen(text)};
	bool		ok = dl_tok_encode(tok, t, DL_TOK_CONTINUE, a, NULL, &ids, &err) == DLM_OK && ids.n > 0;

	if (ok)
	{
		dlm_text	piece = dl_tok_piece(tok, ids.id[0]);

		ok = piece.len >= strlen(first) && memcmp(piece.data, first, strlen(first)) == 0;
	}
	dl_arena_destroy(a);
	return ok;
}

/* The id of a text that is one token behind other text, -1 if it is not. */
static int32_t
one_id(const dl_tok *tok, const char *text)
{
	dl_arena   *a = dl_arena_create((size_t) 1 << 20);
	dl_ids		ids = {0};
	dlm_error	err;
	int32_t		id = -1;

	if (dl_tok_encode(tok, (dlm_text) {text, strlen(text)}, DL_TOK_CONTINUE, a, NULL, &ids, &err) == DLM_OK && ids.n == 1)
		id = ids.id[0];
	dl_arena_destroy(a);
	return id;
}

static void
spaces_of_the_default_model(void)
{
	void	   *blob;
	dl_tok	   *tok = open_json("models/dlm-135m/tokenizer.json", &blob);
	int32_t		space[4];
	char		buf[16];
	dlm_text	special = {"<|im_end|>", 10};

	if (tok == NULL)
		return;
	CHECK(dl_tok_starts_with_space(tok, one_id(tok, " Paris")), "\" Paris\" carries a space");
	CHECK(!dl_tok_starts_with_space(tok, one_id(tok, "Paris")), "\"Paris\" carries none");
	CHECK(dl_tok_never_spaced(tok, one_id(tok, "7")), "a digit never carries a space");
	CHECK(!dl_tok_never_spaced(tok, one_id(tok, "Paris")), "a word may carry one");
	CHECK(!dl_tok_never_spaced(tok, one_id(tok, "ing")), "a word's end is no digit");
	CHECK(dl_tok_space_ids(tok, space) == 1 && space[0] == one_id(tok, " "), "a lone space is one token");
	CHECK(dl_tok_bytes(tok, space[0], -1, buf, sizeof(buf)) == 1 && buf[0] == ' ', "... of one space");
	CHECK(dl_tok_special(tok, special) == 2 && dl_tok_is_special(tok, 2), "<|im_end|> is special");
	CHECK(one_id(tok, "<|im_end|>") == -1, "... but text in text");
	CHECK(dl_tok_bytes(tok, 2, -1, buf, sizeof(buf)) == 0, "... and adds nothing");
	dl_tok_close(tok);
	free(blob);
}

/* Behind other text no family invents a space, and a typed one is kept. */
static void
continuing_text_has_no_dummy_space(void)
{
	static const struct
	{
		const char *name,
				   *mark;		/* of a space */
	}			expect[] = {
		{"roberta", "\xc4\xa0"}, {"t5", "\xe2\x96\x81"}, {"xlm-roberta-old", "\xe2\x96\x81"},
		{"mistral", "\xe2\x96\x81"}, {"llama2", "\xe2\x96\x81"}, {"unigram-strip", "\xe2\x96\x81"}
	};

	for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++)
	{
		char		path[200];
		void	   *blob;
		dl_tok	   *tok;

		snprintf(path, sizeof(path), "test/models/tokenizers/%s.json", expect[i].name);
		tok = open_json(path, &blob);
		if (tok == NULL)
			continue;
		CHECK(begins(tok, "a", "a"), "%s: \"a\" gets a space", path);
		CHECK(begins(tok, " a", expect[i].mark), "%s: \" a\" loses its space", path);
		dl_tok_close(tok);
		free(blob);
	}
}

/* Cut a blob short, or turn any of its bytes: open either refuses it or what it opens can be used. */
static void
hostile_blobs_are_safe(const char *path)
{
	void	   *blob;
	dl_tok	   *tok = open_json(path, &blob);
	const tb_header *h = blob;
	size_t		size = 0;
	uint64_t	x = 88172645463325252u;
	int			refused = 0;

	for (int i = 0; tok != NULL && i < TB_N_SECTIONS; i++)
		if (h->section[i].size > 0 && h->section[i].offset + (size_t) h->section[i].size > size)
			size = h->section[i].offset + (size_t) h->section[i].size;
	for (int i = 0; tok != NULL && i < 3000; i++)
	{
		char	   *copy = aligned_alloc(8, (size + 15) & ~(size_t) 7);
		size_t		cut = size;
		dl_tok	   *other;
		dlm_error	err;

		memcpy(copy, blob, size);
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		if (i % 8 == 0)
			cut = x % size;
		else
			copy[i % 2 ? x % sizeof(tb_header) : x % size] ^= (char) (1 << (x >> 40) % 8);
		if (dl_tok_open(copy, cut, &other, &err) != DLM_OK)
			refused++;
		else
		{
			(void) one_id(other, "The capital of \xe4\xb8\xad 12 <x>");
			dl_tok_close(other);
		}
		free(copy);
	}
	CHECK(refused > 300, "%s: %d of 3000 damaged blobs were refused", path, refused);
	dl_tok_close(tok);
	free(blob);
}

static void
bad_text_is_refused(void)
{
	static const char *const bad[] = {"\x80", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xb8", "\xff"};
	void	   *blob;
	dl_tok	   *tok = open_json("test/models/tokenizers/gpt2.json", &blob);

	for (size_t i = 0; tok != NULL && i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		dl_arena   *a = dl_arena_create((size_t) 1 << 20);
		dl_ids		ids = {0};
		dlm_error	err;

		CHECK(dl_tok_encode(tok, (dlm_text) {bad[i], strlen(bad[i])}, DL_TOK_START, a, NULL, &ids, &err) == DLM_EENCODING,
			  "bad text %zu is taken", i);
		dl_arena_destroy(a);
	}
	dl_tok_close(tok);
	free(blob);
}

int
main(void)
{
	damage_is_refused();
	unknown_parts_are_named();
	spaces_of_the_default_model();
	continuing_text_has_no_dummy_space();
	hostile_blobs_are_safe("test/models/tokenizers/gpt2-added.json");
	hostile_blobs_are_safe("test/models/tokenizers/bert-uncased.json");
	hostile_blobs_are_safe("test/models/tokenizers/albert.json");
	bad_text_is_refused();
	return harness_end("t_token_build");
}
