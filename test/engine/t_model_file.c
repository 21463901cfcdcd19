/*
 * t_model_file.c - a .dlm file is untrusted: whatever its bytes, opening it
 * gives a model that can be run or a clear error, never a crash.
 *
 * Damage that an accident makes is caught by the checksum. Damage that an
 * attacker makes has a right checksum (reseal), so it meets the checks
 * themselves. Images are copied to blocks of exactly their size: the
 * sanitizer builds of this program see every read beyond.
 */
#include "model_check.h"
#include "rows.h"
#include "sha256.h"

typedef struct image
{
	uint8_t    *data;
	size_t		size;
} image;

static image
copy_image(const void *data, size_t size)
{
	image		i = {NULL, size};

	if (posix_memalign((void **) &i.data, DL_ALIGN, size > 0 ? size : 1) != 0)
		abort();
	memcpy(i.data, data, size);
	return i;
}

static dl_header *
header(image *i)
{
	return (dl_header *) i->data;
}

static dl_config *
config(image *i)
{
	return (dl_config *) (i->data + header(i)->config.offset);
}

static dl_entry *
directory(image *i, int *n)
{
	if (n != NULL)
		*n = (int) (header(i)->directory.size / sizeof(dl_entry));
	return (dl_entry *) (i->data + header(i)->directory.offset);
}

/* Make digest and checksum right again. */
static void
reseal(image *i)
{
	dl_header  *h = header(i);
	dl_sha256	sha;

	dl_sha256_init(&sha);
	dl_sha256_update(&sha, i->data + h->config.offset, h->meta.offset - h->config.offset);
	dl_sha256_final(&sha, h->digest);
	h->checksum = dl_header_checksum(i->data, h);
}

static dlm_status
open_status(const image *i, char message[400])
{
	dlm_model  *m;
	dlm_error	err = {0};
	dlm_status	st = dlm_model_open(i->data, i->size, &m, &err);

	if (message != NULL)
		memcpy(message, err.message, sizeof(err.message));
	CHECK((st == DLM_OK) == (m != NULL) && (st == DLM_OK || (err.status == st && err.message[0] != 0)),
		  "status %d without a message", (int) st);
	if (m != NULL)
		dlm_model_close(m);
	return st;
}

/* Run a row through whatever opened. Any outcome but a crash is right. */
static void
run_model(const dlm_model *m)
{
	int32_t		ids[12] = {0};
	uint8_t		live[12] = {0};
	int32_t		ask[2] = {6, 7};
	outcome		o = {.n = 12, .ids = ids, .live = live, .n_ask = 2, .ask = ask, .want_hidden = true};
	run_options opt = {.threads = 1};
	dlm_error	err = {0};
	dlm_model_info info;

	for (int i = 0; i < 12; i++)
	{
		ids[i] = (int32_t) (i * 31 % m->config.vocab);
		live[i] = i > 4;
	}
	dlm_model_describe(m, &info);
	outcome_run(m, &o, 1, &opt, NULL, &err);
	outcome_clear(&o);
}

static void
truncated_files_are_damaged(const image *good)
{
	for (size_t size = 0; size < good->size; size += size < 4096 ? 64 : 4096)
	{
		image		cut = copy_image(good->data, size);

		CHECK(open_status(&cut, NULL) == DLM_EDAMAGED, "cut to %zu bytes", size);
		if (size >= DL_HEADER_SIZE)
		{
			/* the header lies about the length, with a checksum that fits if the sections allow one */
			header(&cut)->file_size = size;
			if (header(&cut)->directory.offset + header(&cut)->directory.size <= size)
				header(&cut)->checksum = dl_header_checksum(cut.data, header(&cut));
			CHECK(open_status(&cut, NULL) == DLM_EDAMAGED, "cut to %zu bytes, header changed", size);
		}
		free(cut.data);
	}
}

static void
flip_section(const image *good, uint64_t offset, uint64_t size, const char *what)
{
	image		bad = copy_image(good->data, good->size);
	int			opened = 0;

	for (uint64_t bit = 0; bit < size * 8; bit++)
	{
		dlm_status	st;

		bad.data[offset + bit / 8] ^= (uint8_t) (1u << (bit % 8));
		st = open_status(&bad, NULL);
		if (st != DLM_EDAMAGED && !(st == DLM_EUNSUPPORTED && offset == 0))
			opened++;
		bad.data[offset + bit / 8] ^= (uint8_t) (1u << (bit % 8));
	}
	CHECK(opened == 0, "%d flipped bits of the %s were not noticed", opened, what);
	CHECK(open_status(&bad, NULL) == DLM_OK, "%s was restored", what);
	free(bad.data);
}

static void
flipped_bits_are_noticed(const image *good)
{
	const dl_header *h = (const dl_header *) good->data;

	flip_section(good, 0, DL_HEADER_SIZE, "header");
	flip_section(good, h->config.offset, h->config.size, "configuration");
	flip_section(good, h->settings.offset, h->settings.size, "settings");
	flip_section(good, h->directory.offset, h->directory.size, "directory");
}

/* Bits of tensors and tokenizer are covered by the digest: verify notices every one. */
static void
verify_notices_flipped_weights(const image *good)
{
	image		bad = copy_image(good->data, good->size);
	const dl_header *h = (const dl_header *) good->data;

	for (uint64_t at = h->tensors.offset; at < h->meta.offset; at += 9973)
	{
		dlm_model  *m;
		dlm_error	err = {0};

		bad.data[at] ^= 4;
		CHECK(dlm_model_open(bad.data, bad.size, &m, &err) == DLM_OK, "%s", err.message);
		CHECK(dlm_model_verify(m, NULL, &err) == DLM_EDAMAGED, "byte %llu", (unsigned long long) at);
		dlm_model_close(m);
		bad.data[at] ^= 4;
	}
	free(bad.data);
}

typedef void (*damage) (image *i);

static void wrong_magic(image *i) { i->data[0] = 'D'; }
static void other_endian(image *i) { header(i)->endian = 0x04030201u; }
static void reserved_used(image *i) { header(i)->reserved[7] = 1; }
static void section_past_end(image *i) { header(i)->meta.offset = UINT64_MAX - 63; }
static void section_too_long(image *i) { header(i)->meta.size = UINT64_MAX; }
static void sections_overlap(image *i) { header(i)->settings.offset = header(i)->config.offset; }
static void sections_swapped(image *i) { header(i)->tokenizer.offset = header(i)->directory.offset; }
static void section_unaligned(image *i) { header(i)->meta.offset += 4; }
static void config_short(image *i) { header(i)->config.size -= 4; }
static void directory_ragged(image *i) { header(i)->directory.size -= 1; }
static void directory_empty(image *i) { header(i)->directory.size = 0; }
static void no_layers(image *i) { config(i)->layers = 0; }
static void many_layers(image *i) { config(i)->layers = 1u << 31; }
static void more_layers(image *i) { config(i)->layers++; }
static void fewer_layers(image *i) { config(i)->layers--; }
static void hidden_zero(image *i) { config(i)->hidden = 0; }
static void hidden_huge(image *i) { config(i)->hidden = UINT32_MAX; }
static void hidden_other(image *i) { config(i)->hidden += 2; }
static void odd_heads(image *i) { config(i)->heads++; }
static void no_kv_heads(image *i) { config(i)->kv_heads = 0; }
static void odd_head_dim(image *i) { config(i)->head_dim++; }
static void vocab_huge(image *i) { config(i)->vocab = UINT32_MAX; }
static void vocab_other(image *i) { config(i)->vocab--; }
static void tokens_beyond_vocab(image *i) { config(i)->tokens = config(i)->vocab + 1; }
static void tokens_too_few(image *i) { config(i)->tokens = 4; }
static void mask_unknown(image *i) { config(i)->mask_id = config(i)->tokens; }
static void context_huge(image *i) { config(i)->context = 1u << 30; }
static void context_other(image *i) { config(i)->context++; }
static void eps_nan(image *i) { memset(&config(i)->norm_eps, 0xff, 4); }
static void act_unknown(image *i) { config(i)->act = 99; }
static void flag_two(image *i) { config(i)->pre_norm = 2; }
static void family_open(image *i) { memset(config(i)->family, 'a', sizeof(config(i)->family)); }
static void family_control(image *i) { config(i)->family[1] = '\n'; }
static void untied_without_head(image *i) { config(i)->tied = 0; }
static void replaced_without_rows(image *i) { config(i)->n_replaced = 1; }
static void replaced_too_many(image *i) { config(i)->n_replaced = 9; }
static void length_head_without_tensors(image *i) { config(i)->length_classes = config(i)->length_ffn = config(i)->length_hidden = 8; }
static void learned_positions_missing(image *i) { config(i)->position = DL_POS_LEARNED; }
static void qk_norm_missing(image *i) { config(i)->qk_norm = 1; }
static void gate_unwanted(image *i) { config(i)->gated = 0; }

static void tensor_twice(image *i) { directory(i, NULL)[3].role = directory(i, NULL)[2].role; directory(i, NULL)[3].layer = directory(i, NULL)[2].layer; }
static void tensor_unknown_role(image *i) { directory(i, NULL)[1].role = 7777; }
static void tensor_role_zero(image *i) { directory(i, NULL)[1].role = 0; }
static void tensor_layer_beyond(image *i) { int n; dl_entry *e = directory(i, &n); e[n - 1].layer = 200; }
static void tensor_overlap(image *i) { directory(i, NULL)[1].offset = directory(i, NULL)[0].offset; }
static void tensor_overflow(image *i) { directory(i, NULL)[0].offset = UINT64_MAX - 63; }
static void tensor_before(image *i) { directory(i, NULL)[0].offset = 0; }
static void tensor_unaligned(image *i) { directory(i, NULL)[0].offset += 4; }
static void tensor_past_end(image *i) { int n; dl_entry *e = directory(i, &n); e[n - 1].offset = (i->size + 63) & ~(uint64_t) 63; }
static void tensor_rows_huge(image *i) { directory(i, NULL)[0].rows = UINT64_MAX; }
static void tensor_rows_other(image *i) { directory(i, NULL)[0].rows++; }
static void tensor_transposed(image *i) { dl_entry *e = directory(i, NULL); uint64_t rows = e->rows; e->rows = e->cols; e->cols = rows; }
static void tensor_bytes_other(image *i) { directory(i, NULL)[0].bytes -= 64; }
static void tensor_type_unknown(image *i) { directory(i, NULL)[0].dtype = 3; }
static void tensor_type_other(image *i) { directory(i, NULL)[0].dtype = DL_BF16; }
static void tensor_layout_other(image *i) { directory(i, NULL)[0].layout = DL_ROWS; }

/* The first setting with this key, as bytes. */
static uint8_t *
setting(image *i, uint32_t key, uint32_t *size)
{
	return (uint8_t *) (uintptr_t) dl_setting_find(i->data + header(i)->settings.offset, header(i)->settings.size, key,
												   size);
}

static void setting_overlong(image *i) { ((dl_setting *) (i->data + header(i)->settings.offset))->size = UINT32_MAX; }
static void setting_unknown(image *i) { ((dl_setting *) (i->data + header(i)->settings.offset))->key = 77; }
static void setting_cut(image *i) { header(i)->settings.size -= 4; }
static void setting_id_unknown(image *i) { uint32_t n; memset(setting(i, DL_S_STOP_IDS, &n), 0x7f, 4); }
static void setting_id_negative(image *i) { uint32_t n; memset(setting(i, DL_S_BEGIN_IDS, &n), 0xff, 4); }
static void setting_not_utf8(image *i) { uint32_t n; setting(i, DL_S_TEMPLATE_INFILL, &n)[2] = 0xc0; }
static void setting_nul(image *i) { uint32_t n; setting(i, DL_S_TEMPLATE_INFILL, &n)[2] = 0; }
static void setting_sampler(image *i) { uint32_t n; setting(i, DL_S_SAMPLER, &n)[0] = 'x'; }
static void setting_choice(image *i) { uint32_t n; setting(i, DL_S_SCORING, &n)[0] = 9; }

static void
damage_is_refused(const image *good)
{
#define D(f) {#f, f}
	static const struct
	{
		const char *name;
		damage		make;
	}			all[] = {
		D(wrong_magic), D(other_endian), D(reserved_used), D(section_past_end), D(section_too_long),
		D(sections_overlap), D(sections_swapped), D(section_unaligned), D(config_short), D(directory_ragged),
		D(directory_empty), D(no_layers), D(many_layers), D(more_layers), D(fewer_layers), D(hidden_zero),
		D(hidden_huge), D(hidden_other), D(odd_heads), D(no_kv_heads), D(odd_head_dim), D(vocab_huge), D(vocab_other),
		D(tokens_beyond_vocab), D(tokens_too_few), D(mask_unknown), D(context_huge), D(context_other), D(eps_nan),
		D(act_unknown), D(flag_two), D(family_open), D(family_control), D(untied_without_head),
		D(replaced_without_rows), D(replaced_too_many), D(length_head_without_tensors), D(learned_positions_missing),
		D(qk_norm_missing), D(gate_unwanted), D(tensor_twice), D(tensor_unknown_role), D(tensor_role_zero),
		D(tensor_layer_beyond), D(tensor_overlap), D(tensor_overflow), D(tensor_before), D(tensor_unaligned),
		D(tensor_past_end), D(tensor_rows_huge), D(tensor_rows_other), D(tensor_transposed), D(tensor_bytes_other),
		D(tensor_type_unknown), D(tensor_type_other), D(tensor_layout_other), D(setting_overlong), D(setting_unknown),
		D(setting_cut), D(setting_id_unknown), D(setting_id_negative), D(setting_not_utf8), D(setting_nul),
		D(setting_sampler), D(setting_choice)
	};

	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
	{
		image		bad = copy_image(good->data, good->size);
		uint64_t	meta = header(&bad)->meta.offset;
		char		message[400];
		dlm_status	st;

		all[k].make(&bad);
		/* seal what can be sealed, so that the check meant is the one that speaks */
		if (header(&bad)->meta.offset == meta && header(&bad)->directory.size < bad.size)
			reseal(&bad);
		st = open_status(&bad, message);
		CHECK(st == DLM_EDAMAGED, "%s: %d", all[k].name, (int) st);
		CHECK(strstr(message, "checksum") == NULL || header(&bad)->meta.offset != meta, "%s: \"%s\"", all[k].name,
			  message);
		free(bad.data);
	}
#undef D
}

static void
future_version_is_unsupported(const image *good)
{
	image		bad = copy_image(good->data, good->size);
	char		message[400];

	header(&bad)->version = DL_VERSION + 1;
	CHECK(open_status(&bad, message) == DLM_EUNSUPPORTED && strstr(message, "version 2") != NULL, "%s", message);
	header(&bad)->version = 0;
	CHECK(open_status(&bad, message) == DLM_EUNSUPPORTED, "%s", message);
	free(bad.data);
}

/* Bad numbers with a right digest: verify says so, and they cannot reach an answer. */
static void
bad_weights_are_damage(const image *good, uint32_t role, size_t at, const void *value, size_t n, bool runs)
{
	image		bad = copy_image(good->data, good->size);
	int			entries;
	dl_entry   *e = directory(&bad, &entries);
	dlm_model  *m;
	dlm_error	err = {0};

	for (int i = 0; i < entries; i++)
		if (e[i].role == role && e[i].layer == 0)
			memcpy(bad.data + e[i].offset + at, value, n);
	reseal(&bad);
	CHECK(dlm_model_open(bad.data, bad.size, &m, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_model_verify(m, NULL, &err) == DLM_EDAMAGED, "role %u", role);
	if (runs)
	{
		int32_t		ids[4] = {5, 6, 7, 8};
		int32_t		ask[1] = {2};
		outcome		o = {.n = 4, .ids = ids, .n_ask = 1, .ask = ask};
		run_options opt = {.threads = 2};

		CHECK(outcome_run(m, &o, 1, &opt, NULL, &err) == DLM_EDAMAGED && o.calls[0] == 0, "role %u", role);
		outcome_clear(&o);
	}
	dlm_model_close(m);
	free(bad.data);
}

static bool
stop_at_once(void *arg)
{
	++*(int *) arg;
	return true;
}

static void
verify_accepts_and_stops(const image *good)
{
	dlm_model  *m;
	dlm_error	err = {0};
	int			polled = 0;
	dlm_env		env = {.stop = stop_at_once, .arg = &polled};

	CHECK(dlm_model_open(good->data, good->size, &m, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_model_verify(m, NULL, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_model_verify(m, &env, &err) == DLM_EINTR && polled == 1, "polled %d", polled);
	dlm_model_close(m);
}

/* Random bytes of the sealed parts and the tokenizer changed, resealed: open, run, no crash. */
static void
random_damage_never_crashes(const image *good, int rounds)
{
	uint32_t	seed = 7;
	int			opened = 0;

	for (int i = 0; i < rounds; i++)
	{
		image		bad = copy_image(good->data, good->size);
		const dl_header *h = header(&bad);
		const dl_section parts[] = {h->config, h->settings, h->directory, h->tokenizer, h->meta};
		dl_section	part = parts[i % 5];
		dlm_model  *m;
		dlm_error	err = {0};

		for (uint32_t k = 0; k <= seed % 3 && part.size > 0; k++)
		{
			seed = seed * 1664525u + 1013904223u;
			bad.data[part.offset + (seed >> 7) % part.size] ^= (uint8_t) (1u << (seed >> 29));
		}
		reseal(&bad);
		if (dlm_model_open(bad.data, bad.size, &m, &err) == DLM_OK)
		{
			opened++;
			run_model(m);
			dlm_model_close(m);
		}
		free(bad.data);
	}
	CHECK(opened > 0 && opened < rounds, "%d of %d opened", opened, rounds);
}

static void
missing_files_say_so(void)
{
	dlm_map		map;
	dlm_error	err = {0};

	CHECK(dlm_file_map("test/models/no-such-file.dlm", &map, &err) == DLM_ENOENT, "%s", err.message);
	CHECK(dlm_file_map("test/models", &map, &err) == DLM_EDAMAGED, "%s", err.message);
	CHECK(dlm_file_map("/dev/null", &map, &err) == DLM_EDAMAGED, "%s", err.message);
	dlm_file_unmap(&map);
}

int
main(void)
{
	const float nan_value = __builtin_nanf("");
	const float infinite = __builtin_inff();
	const uint16_t bf16_nan = 0x7fc0;
	const int8_t lowest = -64;
	dl_s8_group first;
	fixture		f,
				half,
				bytes;
	image		good;

	if (!fixture_open("context", DLM_WEIGHTS_F32, &f) || !fixture_open("context", DLM_WEIGHTS_BF16, &half) ||
		!fixture_open("context", DLM_WEIGHTS_INT8, &bytes))
		return harness_end("t_model_file");
	good = copy_image(f.map.data, f.map.size);
	verify_accepts_and_stops(&good);
	truncated_files_are_damaged(&good);
	flipped_bits_are_noticed(&good);
	verify_notices_flipped_weights(&good);
	damage_is_refused(&good);
	future_version_is_unsupported(&good);
	random_damage_never_crashes(&good, 2000);
	bad_weights_are_damage(&good, DL_T_Q_W, 64, &nan_value, 4, true);
	bad_weights_are_damage(&good, DL_T_FFN_NORM_W, 8, &infinite, 4, true);
	free(good.data);

	good = copy_image(half.map.data, half.map.size);
	verify_accepts_and_stops(&good);
	bad_weights_are_damage(&good, DL_T_UP_W, 64, &bf16_nan, 2, true);
	free(good.data);

	good = copy_image(bytes.map.data, bytes.map.size);
	verify_accepts_and_stops(&good);
	bad_weights_are_damage(&good, DL_T_UP_W, 64, &lowest, 1, false);
	first = dl_s8_group_at(bytes.model->layers[0].up.data, (bytes.model->layers[0].up.k + 3) / 4, 0);
	bad_weights_are_damage(&good, DL_T_UP_W, (size_t) ((const char *) first.scale - (const char *) first.w), &nan_value, 4,
						   true);
	random_damage_never_crashes(&good, 500);
	free(good.data);

	missing_files_say_so();
	fixture_close(&f);
	fixture_close(&half);
	fixture_close(&bytes);
	return harness_end("t_model_file");
}
