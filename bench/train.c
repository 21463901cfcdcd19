/*
 * train.c - the trainer as a coprocess, for timing beside PyTorch.
 *
 *		build/bench/train MODEL.dlm THREADS RANK ROWS TOKENS ASKS [DISTILL]
 *
 * RANK 0 trains all weights, else LoRA factors of that rank on the seven
 * projections of each layer (and the replaced rows of the input embedding).
 * One batch of ROWS rows of TOKENS tokens, the last ASKS masked, live and asked
 * for; train.py makes the same. DISTILL is the share of all targets that is the teacher's. For each line read, one step (forward, loss,
 * backward, clipping, AdamW) and one line: seconds, processor seconds, mean
 * loss before the step, and the four parts' seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "optimizer.h"

#define MEMORY_LIMIT	((size_t) 16 << 30)
#define RATE			1e-4

typedef struct bench
{
	dl_arena   *arena;
	dl_params  *params;
	dl_net	   *net;
	dl_adamw   *adamw;
	dl_example *rows;
	int			n_rows;
} bench;

static double
now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void *
take(size_t n, size_t size)
{
	void	   *p = calloc(n, size);

	if (p == NULL)
		exit(1);
	return p;
}

static dl_example
make_row(const dl_config *c, int row, int tokens, int asks, float distill)
{
	int32_t    *ids = take((size_t) tokens, sizeof(*ids));
	uint8_t    *live = take((size_t) tokens, sizeof(*live));
	int32_t    *ask = take((size_t) asks, sizeof(*ask));
	int32_t    *target = take((size_t) asks, sizeof(*target));
	float	   *weight = take((size_t) asks, sizeof(*weight));
	float	   *taught = take((size_t) asks, sizeof(*taught));

	for (int i = 0; i < tokens; i++)
		ids[i] = (int32_t) (5 + (i * 7919 + row * 31) % (int) (c->vocab - 10));
	for (int i = tokens - asks - (int) c->logit_shift; i < tokens; i++)
		live[i] = 1;
	/* gcc 12.2 -O3 distributes one loop that moves ids away and masks them into two in the wrong order */
	memcpy(target, ids + tokens - asks, (size_t) asks * sizeof(*ids));
	for (int i = 0; i < asks; i++)
	{
		ask[i] = tokens - asks + i;
		ids[tokens - asks + i] = (int32_t) c->mask_id;
		weight[i] = 1;
		taught[i] = distill;
	}
	return (dl_example) {tokens, ids, live, asks, ask, target, weight, taught};
}

static dlm_status
open_bench(bench *b, const dlm_model *model, char **argv, dlm_error *err)
{
	dlm_env		env = {.threads = atoi(argv[0])};
	int			rank = atoi(argv[1]);
	int			tokens = atoi(argv[3]);
	int			asks = atoi(argv[4]);
	float		distill = argv[5] != NULL ? strtof(argv[5], NULL) : 0;
	dl_train_options options = {
		.mode = rank > 0 ? DL_TRAIN_LORA : DL_TRAIN_ALL, .lora = DL_DENSE_HEAD - 1, .rank = rank, .alpha = 2 * rank,
		.replaced = true, .seed = 1
	};
	dl_net_limits limits = {.rows = atoi(argv[2]), .teacher = distill > 0};
	dlm_status	st;

	b->n_rows = limits.rows;
	limits.tokens = limits.rows * tokens;
	limits.asks = limits.rows * asks;
	b->arena = dl_arena_create(MEMORY_LIMIT);
	b->rows = take((size_t) limits.rows, sizeof(*b->rows));
	for (int i = 0; i < limits.rows; i++)
		b->rows[i] = make_row(&model->config, i, tokens, asks, distill);
	st = dl_params_create(model, &options, b->arena, &b->params, err);
	if (st == DLM_OK)
		st = dl_net_create(b->params, &limits, &env, &b->net, err);
	if (st == DLM_OK)
		st = dl_adamw_create(b->params, &DL_ADAMW_PAPER, &b->adamw, err);
	return st;
}

static dlm_status
step(const bench *b, dlm_error *err)
{
	dl_loss		loss = {0};
	double		t[5];
	double		processor = now(CLOCK_PROCESS_CPUTIME_ID);
	dlm_status	st;

	t[0] = now(CLOCK_MONOTONIC);
	dl_params_clear(b->params);
	st = dl_net_forward(b->net, b->rows, b->n_rows, NULL, err);
	t[1] = now(CLOCK_MONOTONIC);
	if (st == DLM_OK)
		st = dl_net_loss(b->net, 0, &loss, err);
	t[2] = now(CLOCK_MONOTONIC);
	if (st == DLM_OK)
		st = dl_net_backward(b->net, err);
	t[3] = now(CLOCK_MONOTONIC);
	dl_clip_gradients(b->params, 1 / loss.weight, 1);
	dl_adamw_step(b->adamw, RATE);
	t[4] = now(CLOCK_MONOTONIC);
	printf("%.6f %.6f %.6f", t[4] - t[0], now(CLOCK_PROCESS_CPUTIME_ID) - processor, loss.loss / loss.weight);
	for (int i = 0; i < 4; i++)
		printf(" %.4f", t[i + 1] - t[i]);
	printf("\n");
	fflush(stdout);
	return st;
}

int
main(int argc, char **argv)
{
	dlm_map		map = {0};
	dlm_model  *model;
	dlm_error	err = {0};
	bench		b = {0};
	char		line[64];
	dlm_status	st;

	if (argc != 7 && argc != 8)
	{
		fprintf(stderr, "usage: train MODEL.dlm THREADS RANK ROWS TOKENS ASKS [DISTILL]\n");
		return 2;
	}
	st = dlm_file_map(argv[1], &map, &err);
	if (st == DLM_OK)
		st = dlm_model_open(map.data, map.size, &model, &err);
	if (st == DLM_OK)
		st = open_bench(&b, model, argv + 2, &err);
	while (st == DLM_OK && fgets(line, sizeof(line), stdin) != NULL)
		st = step(&b, &err);
	if (st != DLM_OK)
		fprintf(stderr, "train: %s\n", err.message);
	return st != DLM_OK;
}
