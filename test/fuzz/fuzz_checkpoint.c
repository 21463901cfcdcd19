/*
 * fuzz_checkpoint.c - any bytes as the checkpoint of a training run: go on
 * from it, and if that works, take steps, save and write.
 *
 * A digest guards the file, and the run's identity its sections: the target
 * repairs both first, and the checks behind them see the damage.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sha256.h"
#include "train.h"

#define HEADER		64			/* checkpoint.c's */
#define ENTRY		48
#define NAME		32
#define OPTIONS		"{\"rank\": 1, \"modules\": \"q\", \"average\": 0.5, \"validation_share\": 0.3, \"steps\": 5, \"validate_every\": 2, " \
	"\"batch_tokens\": 40}"
#define ROWS		8			/* of make_corpus.sh */

int			LLVMFuzzerInitialize(int *argc, char ***argv);
int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static dlm_model *base;
static dlm_train_options *options;
static uint8_t *whole;			/* a checkpoint of the run's beginning */
static size_t whole_size;
static int	file = -1;			/* in memory */
static char path[40];

static void
must(dlm_status st, const dlm_error *err)
{
	if (st == DLM_OK)
		return;
	fprintf(stderr, "%s\n", err->message);
	exit(1);
}

static dlm_train *
start(void)
{
	static const char *const inputs[] = {"rain", "sun"};
	static const char *const targets[] = {"wet", "dry"};
	dlm_text	labels[] = {{"wet", 3}, {"dry", 3}};
	dlm_train  *run;
	dlm_error	err = {0};

	must(dlm_train_open(base, options, &(dlm_env) {0}, &run, &err), &err);
	for (int i = 0; i < ROWS; i++)
	{
		dlm_train_row row = {.instruction = {"Say it.", 7}, .input = {inputs[i % 2], strlen(inputs[i % 2])},
			.target = {targets[i % 2], 3}, .labels = labels, .n_labels = 2, .key = i + 1};

		must(dlm_train_add(run, 0, &row, &err), &err);
	}
	must(dlm_train_start(run, &err), &err);
	return run;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char		name[] = "/tmp/dlm-fuzz-XXXXXX";
	dlm_convert_options convert = {.weights = DLM_WEIGHTS_F32};
	dlm_error	err = {0};
	dlm_map		map;
	dlm_train  *run;
	FILE	   *f;

	close(mkstemp(name));
	must(dlm_convert("test/models/paper", name, &convert, NULL, &err), &err);
	must(dlm_file_map(name, &map, &err), &err);
	must(dlm_model_open(map.data, map.size, &base, &err), &err);
	must(dlm_train_options_parse(OPTIONS, strlen(OPTIONS), DLM_OBJECTIVE_INSTRUCTION, &options, &err), &err);
	run = start();
	must(dlm_train_save(run, name, &err), &err);
	dlm_train_close(run);
	f = fopen(name, "rb");
	fseek(f, 0, SEEK_END);
	whole_size = (size_t) ftell(f);
	rewind(f);
	whole = malloc(whole_size);
	if (whole == NULL || fread(whole, 1, whole_size, f) != whole_size)
		exit(1);
	fclose(f);
	unlink(name);
	file = memfd_create("checkpoint", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return 0;
}

/* A section of a file; NULL: none, or outside. */
static uint8_t *
section(uint8_t *data, size_t size, const char *name, size_t *bytes)
{
	uint32_t	n;
	uint64_t	place[2];

	memcpy(&n, data + 24, sizeof(n));
	for (uint32_t i = 0; i < n && HEADER + (i + 1) * (size_t) ENTRY <= size && i < 64; i++)
	{
		const uint8_t *e = data + HEADER + i * (size_t) ENTRY;

		memcpy(place, e + NAME, sizeof(place));
		if (strncmp((const char *) e, name, NAME) == 0 && place[0] <= size && place[1] <= size - place[0])
		{
			*bytes = (size_t) place[1];
			return data + place[0];
		}
	}
	return NULL;
}

/* Magic, version, byte order, size, identity and digest as they must be. */
static void
repair(uint8_t *data, size_t size)
{
	uint64_t	file_size = size;
	size_t		mine,
				its;
	uint8_t    *from = section(whole, whole_size, "identity", &mine);
	uint8_t    *to = section(data, size, "identity", &its);
	dl_sha256	sha;

	memcpy(data, whole, 16);
	memcpy(data + 16, &file_size, sizeof(file_size));
	if (to != NULL && its == mine)
		memcpy(to, from, mine);
	memset(data + 32, 0, 32);
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, data, size);
	dl_sha256_final(&sha, data + 32);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t    *copy = malloc(size > 0 ? size : 1);
	dlm_train  *run;
	dlm_train_progress p;
	dlm_error	err;
	bool		whole_steps = true;

	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	if (size >= HEADER)
		repair(copy, size);
	if (ftruncate(file, 0) != 0 || pwrite(file, copy, size, 0) != (ssize_t) size)
		exit(1);
	free(copy);
	run = start();
	if (dlm_train_resume(run, path, &err) == DLM_OK)
	{
		for (int i = 0; i < 4 && whole_steps; i++)
			whole_steps = dlm_train_step(run, &err) == DLM_MORE;
		dlm_train_progress_get(run, &p);
		if (p.step < 0 || p.step > p.steps || p.best_step > p.step)
			abort();
	}
	dlm_train_close(run);
	return 0;
}
