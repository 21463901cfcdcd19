/*
 * t_token.c - tokenizers against `tokenizers`: ids and decoded texts of test/vectors/tokens/NAME.json.
 */
#include <cjson/cJSON.h>
#include <dirent.h>

#include "token_test.h"
#include "token_unicode.h"

#define FOLDER	"test/vectors/tokens"

/* Decode hex into buf, which is large enough; a missing member is length 0. */
static size_t
unhex(const cJSON *item, char *buf)
{
	const char *hex = cJSON_GetStringValue(item);
	size_t		n = hex ? strlen(hex) / 2 : 0;

	for (size_t i = 0; i < n; i++)
	{
		unsigned	byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		buf[i] = (char) byte;
	}
	return n;
}

static int
read_ids(const cJSON *list, int32_t *ids, int max)
{
	const cJSON *item;
	int			n = 0;

	cJSON_ArrayForEach(item, list)
		if (n < max)
			ids[n++] = (int32_t) item->valuedouble;
	return n;
}

static char text_buf[1 << 20],
			expect_buf[1 << 20],
			bytes_buf[1 << 20];
static int32_t expect_ids[1 << 18];

/* Concatenated dl_tok_bytes, each token with its left neighbour that is not special. */
static size_t
join_bytes(const dl_tok *tok, const int32_t *ids, int n)
{
	size_t		len = 0;
	int32_t		left = -1;

	for (int i = 0; i < n; i++)
	{
		len += dl_tok_bytes(tok, ids[i], left, bytes_buf + len, sizeof(bytes_buf) - len);
		if (!dl_tok_is_special(tok, ids[i]))
			left = ids[i];
	}
	return len;
}

static bool
same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static void
ids_equal_tokenizers(const dl_tok *tok, const char *name, const cJSON *one, int i)
{
	const cJSON *text_item = cJSON_GetObjectItemCaseSensitive(one, "text");
	int			n = read_ids(cJSON_GetObjectItemCaseSensitive(one, "ids"), expect_ids, 1 << 18);
	size_t		expect_len = unhex(cJSON_GetObjectItemCaseSensitive(one, "decoded"), expect_buf);
	dl_arena   *a = dl_arena_create((size_t) 64 << 20);
	dlm_text	decoded;
	dlm_error	err = {0};
	dl_ids		ids = {0};
	dlm_status	st;

	if (text_item != NULL)
	{
		dlm_text	text = {text_buf, unhex(text_item, text_buf)};

		st = dl_tok_encode(tok, text, DL_TOK_START, a, NULL, &ids, &err);
		CHECK(st == DLM_OK && ids.n == n && (n == 0 || memcmp(ids.id, expect_ids, (size_t) n * 4) == 0),
			  "%s case %d: %s (%d ids, expected %d): %.60s", name, i, err.message, ids.n, n, text_buf);
	}
	st = dl_tok_decode(tok, expect_ids, n, a, &decoded, &err);
	CHECK(st == DLM_OK && same(decoded.data, decoded.len, expect_buf, expect_len),
		  "%s case %d decodes to %.60s, expected %.60s", name, i, decoded.data, expect_buf);
	/* what needed no repair is what the tokens' bytes join to */
	if (st == DLM_OK && memmem(decoded.data, decoded.len, "\xef\xbf\xbd", 3) == NULL)
	{
		size_t		len = join_bytes(tok, expect_ids, n);

		CHECK(same(bytes_buf, len, decoded.data, decoded.len), "%s case %d: bytes of tokens are not the text", name, i);
	}
	dl_arena_destroy(a);
}

/* FNV-1a over the ids of every code point, 64 to a text with an "a" between two: any table that differs shows. */
static void
all_code_points_agree(const dl_tok *tok, const char *name, const cJSON *expected)
{
	uint64_t	hash = 0xcbf29ce484222325u;
	char		text[64 * 5],
				shown[20];
	size_t		len = 0;
	int			held = 0;

	if (expected == NULL)
		return;
	for (uint32_t c = 0; c <= 0x110000; c++)
	{
		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (held == 64 || c == 0x110000)
		{
			dl_arena   *a = dl_arena_create((size_t) 1 << 20);
			dl_ids		ids = {0};
			dlm_error	err = {0};

			if (dl_tok_encode(tok, (dlm_text) {text, len}, DL_TOK_START, a, NULL, &ids, &err) != DLM_OK)
				hash = 0;
			for (int i = 0; i < ids.n; i++)
				for (int shift = 0; shift < 32; shift += 8)
					hash = (hash ^ ((uint32_t) ids.id[i] >> shift & 255)) * 0x100000001b3u;
			dl_arena_destroy(a);
			len = 0;
			held = 0;
		}
		if (held > 0)
			text[len++] = 'a';
		if (c < 0x110000)
			len += (size_t) dl_utf8_put(c, text + len);
		held++;
	}
	snprintf(shown, sizeof(shown), "%016llx", (unsigned long long) hash);
	CHECK(strcmp(shown, cJSON_GetStringValue(expected)) == 0, "%s: all code points give %s", name, shown);
}

static void
run_file(const char *name)
{
	char		path[512];
	size_t		size;
	char	   *file;
	void	   *blob;
	dl_tok	   *tok;
	cJSON	   *root;
	const cJSON *one;
	int			i = 0;

	snprintf(path, sizeof(path), "%s/%s", FOLDER, name);
	file = read_file(path, &size);
	root = cJSON_Parse(file);
	CHECK(root != NULL, "%s does not parse", path);
	tok = open_json(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "tokenizer")), &blob);
	if (tok != NULL)
	{
		cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "cases"))
			ids_equal_tokenizers(tok, name, one, i++);
		all_code_points_agree(tok, name, cJSON_GetObjectItemCaseSensitive(root, "all"));
	}
	dl_tok_close(tok);
	free(blob);
	free(file);
	cJSON_Delete(root);
}

int
main(void)
{
	DIR		   *dir = opendir(FOLDER);
	struct dirent *entry;
	int			files = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strstr(entry->d_name, ".json") != NULL)
		{
			run_file(entry->d_name);
			files++;
		}
	if (dir != NULL)
		closedir(dir);
	CHECK(files > 0, "no vectors in " FOLDER);
	return harness_end("t_token");
}
