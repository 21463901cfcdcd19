/*
 * batches.h - random rows for a tiny model, the same in every run.
 */
#ifndef BATCHES_H
#define BATCHES_H

#include "fixture.h"
#include "net.h"

static const char *const tiny_models[] = {
	"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context", "untied", "bf16", "qwen2",
	"qwen3", "llada"
};

#define N_TINY_MODELS	((int) (sizeof(tiny_models) / sizeof(tiny_models[0])))
#define BATCH_ROWS		4
#define BATCH_LONGEST	12

typedef struct batch
{
	dl_example	rows[BATCH_ROWS];
	int32_t		ids[BATCH_ROWS][BATCH_LONGEST];
	uint8_t		live[BATCH_ROWS][BATCH_LONGEST];
	int32_t		ask[BATCH_ROWS][BATCH_LONGEST];
	int32_t		target[BATCH_ROWS][BATCH_LONGEST];
	float		weight[BATCH_ROWS][BATCH_LONGEST];
	dl_net_limits limits;		/* exactly this batch */
} batch;

/* Uniform in [0, 1): a generator of the test's own. */
static inline double
batch_uniform(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (double) (*state >> 11) * 0x1p-53;
}

/*
 * Rows of 2, 5, 7 and 12 tokens; about half of the positions live and about half asked for, the first row's last
 * always. Two masks, so that replaced rows of the embedding are read where a model has them.
 */
static inline void
batch_make(const dl_config *c, uint64_t seed, batch *b)
{
	static const int lengths[BATCH_ROWS] = {2, 5, 7, BATCH_LONGEST};

	memset(b, 0, sizeof(*b));
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		dl_example *e = &b->rows[r];

		*e = (dl_example) {lengths[r], b->ids[r], b->live[r], 0, b->ask[r], b->target[r], b->weight[r]};
		for (int i = 0; i < e->n; i++)
		{
			b->ids[r][i] = (int32_t) (batch_uniform(&seed) * c->vocab);
			b->live[r][i] = batch_uniform(&seed) < 0.5;
			if (i < (int) c->logit_shift || (batch_uniform(&seed) < 0.5 && i + 1 < e->n))
				continue;
			b->ask[r][e->n_ask] = i;
			b->target[r][e->n_ask] = (int32_t) (batch_uniform(&seed) * c->vocab);
			b->weight[r][e->n_ask++] = (float) (0.25 + batch_uniform(&seed));
		}
		b->limits.tokens += e->n;
		b->limits.asks += e->n_ask;
	}
	b->limits.rows = BATCH_ROWS;
	b->ids[1][1] = b->ids[3][7] = (int32_t) c->mask_id;
	for (uint32_t i = 0; i < c->n_replaced && i < BATCH_LONGEST; i++)
		b->ids[3][i] = (int32_t) c->replaced[i];
}

#endif							/* BATCHES_H */
