/*
 * t_bits.c - the results of a fixed workload are the same bits on every
 * instruction set, with 1 and 2 threads, in every batching, and those of
 * test/vectors/bits.txt.
 *
 *	t_bits					convert the tiny checkpoints, run, compare
 *	t_bits --update			the same, then write test/vectors/bits.txt: after a change that is meant
 *							to change results (int8's definition, say), whose commit says why
 *							and raises KEY_VERSION of src/engine/request.c:
 *								make build/test/t_bits && build/test/t_bits --update
 *	t_bits --write FOLDER [MODEL ...]	only convert, for a machine without the loader
 *	t_bits FOLDER			run what lies there; built with -DDLM_TEST_NO_LOADER from engine sources
 *							alone (check_aarch64.sh, check_model.sh) this is all it does
 *
 * Hashed is what a caller gets: statuses, texts, ids, and the bits of every
 * float, never how a file is laid out. Each line of bits.txt is MODEL WEIGHTS
 * SHA256 over the digests of all requests.
 */
#include "harness.h"

#include <stdlib.h>
#include <unistd.h>

#include "bits_workload.h"
#include "files.h"
#include "sha256.h"
#include "tables.h"

#ifndef DLM_TEST_NO_LOADER
#include "loader.h"
#endif

#define VECTORS		"test/vectors/bits.txt"
#define MOST_LINES	64

static const char *const models[] = {"bert", "roberta", "xlm-roberta-xl", "paper", "context", "qwen2", "qwen3", "llada"};
static const char *const weights[] = {"f32", "bf16", "int8"};

#define N_MODELS	((int) (sizeof(models) / sizeof(*models)))

typedef struct digest
{
	uint8_t		byte[32];
} digest;

typedef struct answers
{
	digest		request[N_REQUESTS];
} answers;

/* ---------------------------------------------------------------- hashing */

static void
put(dl_sha256 *s, uint64_t value)
{
	uint8_t		byte[8];

	for (int i = 0; i < 8; i++)
		byte[i] = (uint8_t) (value >> 8 * i);
	dl_sha256_update(s, byte, sizeof(byte));
}

static void
put_float(dl_sha256 *s, float x)
{
	uint32_t	bits;

	memcpy(&bits, &x, sizeof(bits));
	put(s, bits);
}

static void
put_double(dl_sha256 *s, double x)
{
	uint64_t	bits;

	memcpy(&bits, &x, sizeof(bits));
	put(s, bits);
}

static void
put_text(dl_sha256 *s, dlm_text t)
{
	put(s, t.len);
	if (t.len > 0)
		dl_sha256_update(s, t.data, t.len);
}

static void
put_trace(dl_sha256 *s, const dlm_result *r)
{
	put(s, (uint64_t) r->n_trace);
	for (int i = 0; i < r->n_trace; i++)
	{
		put(s, (uint64_t) r->trace[i].step);
		put(s, (uint64_t) r->trace[i].position);
		put(s, (uint64_t) r->trace[i].id);
		put(s, r->trace[i].event);
		put_float(s, r->trace[i].logprob);
		put_text(s, r->trace[i].canvas);
	}
}

static void
put_scores(dl_sha256 *s, const dlm_result *r)
{
	put(s, (uint64_t) r->n_labels);
	put(s, (uint64_t) r->best);
	for (int i = 0; i < r->n_labels; i++)
	{
		put_double(s, r->labels[i].logprob);
		put_double(s, r->labels[i].probability);
	}
	put(s, (uint64_t) r->n_tokens);
	for (int i = 0; i < r->n_tokens; i++)
	{
		put(s, (uint64_t) r->tokens[i].id);
		put_float(s, r->tokens[i].logprob);
	}
	put(s, (uint64_t) r->n_embedding);
	for (int i = 0; i < r->n_embedding; i++)
		put_float(s, r->embedding[i]);
	put(s, (uint64_t) r->n_lengths);
	for (int i = 0; i < r->n_lengths; i++)
	{
		put(s, (uint64_t) r->lengths[i].length);
		put_float(s, r->lengths[i].logprob);
	}
}

static digest
result_digest(const dlm_result *r)
{
	dl_sha256	s;
	digest		d;

	dl_sha256_init(&s);
	put(&s, r->error.status);
	put_text(&s, r->text);
	put_double(&s, r->logprob);
	put(&s, (uint64_t) r->n_gaps);
	for (int i = 0; i < r->n_gaps; i++)
	{
		put_text(&s, r->gaps[i].name);
		put_text(&s, r->gaps[i].text);
		put(&s, (uint64_t) r->gaps[i].tokens);
	}
	put_scores(&s, r);
	put_trace(&s, r);
	dl_sha256_final(&s, d.byte);
	return d;
}

static void
hex(const void *data, size_t size, char out[65])
{
	dl_sha256	s;
	digest		d;

	dl_sha256_init(&s);
	dl_sha256_update(&s, data, size);
	dl_sha256_final(&s, d.byte);
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", d.byte[i]);
}

/* ---------------------------------------------------------------- running */

/* One request fails by design, and lengths need a head; anything else that fails would test nothing. */
static bool
may_fail(const dlm_model *m, const dlm_request *r)
{
	dlm_model_info info;

	dlm_model_describe(m, &info);
	return (r->task == DLM_INFILL && memchr(r->input.data, '[', r->input.len) == NULL) ||
		(r->task == DLM_PREDICT_LENGTH && !info.length_head);
}

static bool
run_some(const dlm_model *m, int first, int n, const dlm_env *env, answers *out)
{
	dlm_session *s;
	dlm_error	err = {0};
	dlm_status	st = dlm_session_open(m, bits_requests + first, n, env, &s, &err);

	if (st == DLM_OK)
		while ((st = dlm_session_step(s, &err)) == DLM_MORE)
			;
	CHECK(st == DLM_OK, "requests from %d: %s", first, err.message);
	if (st != DLM_OK)
		return false;
	for (int i = first; i < first + n; i++)
	{
		const dlm_result *r = dlm_session_result(s, i - first);

		CHECK((r->error.status == DLM_OK) != may_fail(m, &bits_requests[i]), "request %d: %s", i, r->error.message);
		out->request[i] = result_digest(r);
	}
	dlm_session_close(s);
	return true;
}

/* Batches of `together` requests; 0 = all. Batches of three share a memo, which must not show. */
static bool
run_all(const dlm_model *m, uint32_t mask, int threads, int together, answers *out)
{
	dlm_env		env = {.threads = threads, .cpu_mask = mask};
	bool		ok = true;

	if (together == 0)
		together = N_REQUESTS;
	if (together == 3)
		env.memo = dlm_memo_create((size_t) 1 << 20);
	for (int i = 0; i < N_REQUESTS && ok; i += together)
		ok = run_some(m, i, N_REQUESTS - i < together ? N_REQUESTS - i : together, &env, out);
	dlm_memo_free(env.memo);
	return ok;
}

/*
 * All ways on all tables against the first; out is the first's. Emulators and
 * sanitizers (DLM_TEST_QUICK) go the reference's other ways no further: they
 * are the same C everywhere.
 */
static bool
ways_agree(const dlm_model *m, const char *name, const test_tables *t, answers *out)
{
	static const int together[] = {1, 0, 3};

	if (!run_all(m, t->mask[0], 1, 1, out))
		return false;
	for (int way = getenv("DLM_TEST_QUICK") ? 6 : 1; way < 6 * t->n; way++)
	{
		int			table = way / 6,
					threads = 1 + way % 2,
					batch = together[way % 6 / 2],
					i = 0;
		answers		a;

		if (!run_all(m, t->mask[table], threads, batch, &a))
			return false;
		while (i < N_REQUESTS && memcmp(&a.request[i], &out->request[i], sizeof(digest)) == 0)
			i++;
		CHECK(i == N_REQUESTS, "%s: request %d on %s, %d threads, batches of %d", name, i, t->table[table]->name, threads,
			  batch);
	}
	return true;
}

/* ---------------------------------------------------------------- vectors */

typedef struct line
{
	char		name[48];		/* "MODEL WEIGHTS" */
	char		hash[65];
} line;

typedef struct lines
{
	int			n;
	line		line[MOST_LINES];
} lines;

static void
lines_read(lines *l)
{
	FILE	   *f = fopen(VECTORS, "r");
	char		model[24],
				kind[8];

	l->n = 0;
	while (f != NULL && l->n < MOST_LINES && fscanf(f, "%23s %7s %64s", model, kind, l->line[l->n].hash) == 3)
	{
		snprintf(l->line[l->n].name, sizeof(l->line[l->n].name), "%s %s", model, kind);
		l->n++;
	}
	if (f != NULL)
		fclose(f);
}

static void
lines_write(const lines *l)
{
	FILE	   *f = fopen(VECTORS, "w");
	bool		ok = f != NULL;

	for (int i = 0; ok && i < l->n; i++)
		ok = fprintf(f, "%s %s\n", l->line[i].name, l->line[i].hash) > 0;
	ok = f != NULL && fclose(f) == 0 && ok;
	CHECK(ok, "%s cannot be written", VECTORS);
}

static void
compare(const lines *known, const line *got)
{
	for (int i = 0; i < known->n; i++)
		if (strcmp(known->line[i].name, got->name) == 0)
		{
			CHECK(strcmp(known->line[i].hash, got->hash) == 0, "%s: %s, not the %s of %s", got->name, got->hash,
				  known->line[i].hash, VECTORS);
			return;
		}
	CHECK(false, "%s is not in %s: t_bits --update", got->name, VECTORS);
}

/* ---------------------------------------------------------------- models */

static void
path_of(char *path, size_t size, const char *folder, int model, int kind)
{
	snprintf(path, size, "%s/%s-%s.dlm", folder, models[model], weights[kind]);
}

static void
run_file(const char *path, const char *name, const test_tables *t, lines *out)
{
	dlm_map		map;
	dlm_model  *m = NULL;
	dlm_error	err = {0};
	answers		a;

	memset(&a, 0, sizeof(a));
	if (dlm_file_map(path, &map, &err) != DLM_OK || dlm_model_open(map.data, map.size, &m, &err) != DLM_OK)
	{
		CHECK(false, "%s: %s", path, err.message);
		return;
	}
	if (ways_agree(m, name, t, &a) && out->n < MOST_LINES)
	{
		line	   *l = &out->line[out->n++];

		snprintf(l->name, sizeof(l->name), "%s", name);
		hex(&a, sizeof(a), l->hash);
	}
	dlm_model_close(m);
	dlm_file_unmap(&map);
}

/* The hash of all lines names the whole run. */
static void
run_folder(const char *folder, bool update)
{
	static lines known,
				got;
	test_tables t = tables_of_machine();
	char		path[1024],
				name[48],
				hash[65];

	for (int i = 0; i < t.n; i++)
		printf("table %s\n", t.table[i]->name);
	for (int i = 0; i < N_MODELS * 3; i++)
	{
		path_of(path, sizeof(path), folder, i / 3, i % 3);
		snprintf(name, sizeof(name), "%s %s", models[i / 3], weights[i % 3]);
		if (access(path, R_OK) == 0)
			run_file(path, name, &t, &got);
	}
	CHECK(got.n > 0, "no models in %s", folder);
	lines_read(&known);
	for (int i = 0; i < got.n && !update; i++)
		compare(&known, &got.line[i]);
	if (update && harness_failed == 0)
		lines_write(&got);
	hex(got.line, (size_t) got.n * sizeof(line), hash);
	printf("%d models, each on %d tables in 6 ways: %s\n", got.n, t.n, hash);
}

#ifndef DLM_TEST_NO_LOADER

static bool
chosen(const char *model, int n, char **names)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], model) == 0)
			return true;
	return n == 0;
}

static void
write_models(const char *folder, int n, char **names)
{
	static const dlm_weights kind[] = {DLM_WEIGHTS_F32, DLM_WEIGHTS_BF16, DLM_WEIGHTS_INT8};
	char		source[256],
				target[1024];

	for (int i = 0; i < N_MODELS * 3; i++)
	{
		dlm_convert_options options = {.weights = kind[i % 3]};
		dlm_error	err = {0};

		if (!chosen(models[i / 3], n, names))
			continue;
		snprintf(source, sizeof(source), "test/models/%s", models[i / 3]);
		path_of(target, sizeof(target), folder, i / 3, i % 3);
		unlink(target);
		CHECK(dlm_convert(source, target, &options, NULL, &err) == DLM_OK, "%s: %s", source, err.message);
	}
}

static void
convert_and_run(bool update)
{
	/* a sanitizer is slow, and looks for something else */
	static char *few[] = {"context", "paper"};
	char		folder[256];

	files_folder(folder);
	write_models(folder, getenv("DLM_TEST_QUICK") && !update ? 2 : 0, few);
	run_folder(folder, update);
	files_remove(folder);
}

#endif

int
main(int argc, char **argv)
{
#ifndef DLM_TEST_NO_LOADER
	if (argc == 1)
		convert_and_run(false);
	else if (argc == 2 && strcmp(argv[1], "--update") == 0)
		convert_and_run(true);
	else if (argc >= 3 && strcmp(argv[1], "--write") == 0)
		write_models(argv[2], argc - 3, argv + 3);
	else
#endif
	if (argc == 2 && argv[1][0] != '-')
		run_folder(argv[1], false);
	else
		CHECK(false, "usage: see the head of t_bits.c");
	return harness_end("t_bits");
}
