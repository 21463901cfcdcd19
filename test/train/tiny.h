/*
 * tiny.h - random rows for a tiny model, the same in every run.
 */
#ifndef TINY_H
#define TINY_H

#include "files.h"
#include "fixture.h"
#include "net.h"

/* The tiny families; REPLACED is llama with rows of its input embedding replaced. */
#define REPLACED	"replaced"

static const char *const tiny_models[] = {
	"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context", "untied", "bf16", "qwen2",
	"qwen3", "llada", REPLACED
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
	float		taught[BATCH_ROWS][BATCH_LONGEST];
	dl_net_limits limits;		/* exactly this batch */
} batch;

/* test/models/llama with other settings (the text of a dlm.json). */
static inline bool
llama_open(const char *settings, dlm_weights weights, fixture *f)
{
	dlm_convert_options options = {.weights = weights};
	char		folder[256];
	bool		ok;

	files_folder(folder);
	files_copy_folder("test/models/llama", folder);
	files_write(folder, "dlm.json", settings, strlen(settings));
	ok = fixture_convert(folder, &options, f);
	files_remove(folder);
	return ok;
}

/* llama whose input embedding reads a norm's weights at the mask and at another token; the output projection does not. */
static inline bool
replaced_open(dlm_weights weights, fixture *f)
{
	bool		ok = llama_open("{\"format\": 1, \"mask_token\": \"<|mask|>\", \"begin\": \"<|endoftext|>\", "
								"\"stop_tokens\": [\"<|im_end|>\"], \"embedding_rows\": {\"<|mask|>\": \"norm.weight\", "
								"\"<|im_end|>\": \"layers.0.input_layernorm.weight\"}}", weights, f);

	CHECK(!ok || f->model->config.n_replaced == 2, "%u rows are replaced", f->model->config.n_replaced);
	return ok;
}

static inline bool
tiny_open(const char *name, dlm_weights weights, fixture *f)
{
	return strcmp(name, REPLACED) == 0 ? replaced_open(weights, f) : fixture_open(name, weights, f);
}

/* Uniform in [0, 1): a generator of the test's own. */
static inline double
batch_uniform(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (double) (*state >> 11) * 0x1p-53;
}

/*
 * Rows of 2, 5, 7 and 12 tokens; about half of the positions live and about half asked for, the first row's last
 * always. Masks, and the replaced rows of the embedding where a model has them.
 */
static inline void
batch_make(const dl_config *c, uint64_t seed, batch *b)
{
	static const int lengths[BATCH_ROWS] = {2, 5, 7, BATCH_LONGEST};

	memset(b, 0, sizeof(*b));
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		dl_example *e = &b->rows[r];

		*e = (dl_example) {lengths[r], b->ids[r], b->live[r], 0, b->ask[r], b->target[r], b->weight[r], NULL};
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

/* A teacher for about half of the asks, some of them with all of the target; for none of row 2's. */
static inline void
batch_teach(uint64_t seed, batch *b)
{
	for (int r = 0; r < BATCH_ROWS; r++)
	{
		for (int i = 0; i < b->rows[r].n_ask; i++)
		{
			double		place = batch_uniform(&seed);

			b->taught[r][i] = place < 0.4 ? 0 : place > 0.8 ? 1 : (float) place;
		}
		b->rows[r].taught = r == 2 ? NULL : b->taught[r];
	}
	b->taught[0][0] = 0.5f;		/* its state is a row's first */
	b->limits.teacher = true;
}

#endif							/* TINY_H */
