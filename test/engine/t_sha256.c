/*
 * t_sha256.c - the examples of FIPS 180, and that pieces do not matter.
 */
#include "harness.h"

#include <stdlib.h>

#include "sha256.h"

static void
hex(const uint8_t digest[32], char out[65])
{
	for (int i = 0; i < 32; i++)
		sprintf(out + 2 * i, "%02x", digest[i]);
}

static void
published_examples(void)
{
	static const char *const cases[][2] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		 "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"}
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
	{
		dl_sha256	s;
		uint8_t		digest[32];
		char		text[65];

		dl_sha256_init(&s);
		dl_sha256_update(&s, cases[i][0], strlen(cases[i][0]));
		dl_sha256_final(&s, digest);
		hex(digest, text);
		CHECK(strcmp(text, cases[i][1]) == 0, "case %zu: %s", i, text);
	}
}

static void
million_letters(void)
{
	dl_sha256	s;
	uint8_t		digest[32];
	char		text[65],
				block[1000];

	memset(block, 'a', sizeof block);
	dl_sha256_init(&s);
	for (int i = 0; i < 1000; i++)
		dl_sha256_update(&s, block, sizeof block);
	dl_sha256_final(&s, digest);
	hex(digest, text);
	CHECK(strcmp(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0, "%s", text);
}

/* Every length up to three blocks, cut at every place, equals the whole */
static void
pieces_equal_whole(void)
{
	uint8_t		data[200],
				whole[32],
				parts[32];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t) (i * 37 + 11);
	for (size_t n = 0; n <= sizeof data; n++)
	{
		dl_sha256	s;
		int			wrong = 0;

		dl_sha256_init(&s);
		dl_sha256_update(&s, data, n);
		dl_sha256_final(&s, whole);
		for (size_t cut = 0; cut <= n; cut++)
		{
			dl_sha256_init(&s);
			dl_sha256_update(&s, data, cut);
			dl_sha256_update(&s, NULL, 0);
			dl_sha256_update(&s, data + cut, n - cut);
			dl_sha256_final(&s, parts);
			wrong += memcmp(whole, parts, 32) != 0;
		}
		CHECK(wrong == 0, "length %zu: %d cuts differ", n, wrong);
	}
}

/* Data long enough for the CPU's own instructions, at once and in short pieces, which never take them */
static void
long_data_equals_short_pieces(void)
{
	size_t		size = (1 << 20) + 77;
	uint8_t    *data = malloc(size),
				whole[32],
				parts[32];
	dl_sha256	s;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t) (i * i >> 7);
	dl_sha256_init(&s);
	dl_sha256_update(&s, data, 13);
	dl_sha256_update(&s, data + 13, size - 13);
	dl_sha256_final(&s, whole);
	dl_sha256_init(&s);
	for (size_t at = 0; at < size; at += 777)
		dl_sha256_update(&s, data + at, size - at < 777 ? size - at : 777);
	dl_sha256_final(&s, parts);
	CHECK(memcmp(whole, parts, 32) == 0, "1 MB");
	free(data);
}

int
main(void)
{
	published_examples();
	million_letters();
	pieces_equal_whole();
	long_data_equals_short_pieces();
	return harness_end("t_sha256");
}
