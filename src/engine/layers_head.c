/*
 * layers_head.c - after the last layer: final norm, hidden states, logits.
 *
 * A matrix [asks, vocab] never exists. The output projection is walked in
 * *tiles*: a block of DL_VOCAB_BLOCK columns times some asks. A tile's logits
 * lie in its thread's scratch, are checked and reduced to a partial result per
 * ask before the next tile is begun; when all blocks are through, each ask is
 * folded. Tiles of one block follow each other, so that the block's weights
 * are read from memory once a *pass*, whatever the number of its asks. A pass
 * ends where its partial results would grow beyond HEAD_BYTES.
 */
#include "forward_impl.h"

#include <string.h>

#define TOKENS_PER_ITEM	8
#define HEAD_BYTES		((size_t) 16 << 20)	/* partial results of a pass */
#define MOST_PASS_ASKS	256
#define MOST_TILE_ASKS	84		/* each tile reads its block's weights again, from some cache */
#define LEAST_TILE_ASKS	12
#define MOST_TILE_COST	((int64_t) 64 << 20)	/* multiply-adds: about 2 ms */
#define TILES_A_THREAD	4
#define SERIAL_COST		((int64_t) 1 << 19)	/* multiply-adds below which a team costs more than it saves */
#define COST_REDUCE		8		/* multiply-adds a logit, roughly */
#define COST_FOLD		128		/* a block */

static void
final_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dlm_model *m = f->model;
	size_t		n = m->config.hidden;
	int			first = f->at + item * TOKENS_PER_ITEM;
	int			end = f->at + dl_chunk_size(f->n_needed, f->at);

	for (int i = first; i < end && i < first + TOKENS_PER_ITEM; i++)
	{
		const dl_token *t = &f->tokens[f->needed[i]];
		float	   *hidden = f->rows[t->row].hidden;
		float	   *x = f->x + (size_t) i * f->hidden_ld;

		if (m->config.final_norm && m->config.norm == DL_NORM_RMS)
			f->kernels->rms_norm(x, m->final_norm.w, m->config.norm_eps, (int) n, x);
		else if (m->config.final_norm)
			f->kernels->layer_norm(x, m->final_norm.w, m->final_norm.b, m->config.norm_eps, (int) n, x);
		if (hidden != NULL)
			memcpy(hidden + (size_t) t->position * n, x, n * sizeof(float));
	}
}

bool
dl_final_chunk(dl_forward *f)
{
	int			n = dl_chunk_size(f->n_needed, f->at);

	dl_parallel(f->team, (n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, final_item, f);
	f->left -= (int64_t) n * f->model->config.hidden * 4;
	return true;
}

/* ---------------------------------------------------------------- passes */

static size_t
row_bytes(const dl_config *c)
{
	return dl_row_stride((int) c->hidden) * sizeof(float) + dl_linear_scratch(1, (int) c->hidden);
}

/* Bytes of one ask's partial results. */
static size_t
ask_partials(const dl_config *c, size_t partial)
{
	return ((size_t) dl_vocab_blocks((int) c->vocab) * partial + 63) & ~(size_t) 63;
}

size_t
dl_head_bytes(const dl_config *c, int asks, size_t partial)
{
	size_t		one = ask_partials(c, partial);
	size_t		rows = (size_t) (asks < MOST_PASS_ASKS ? asks : MOST_PASS_ASKS);

	if (one > 0 && rows > HEAD_BYTES / one)
		return rows == 0 ? 0 : rows * row_bytes(c) + (one > HEAD_BYTES ? one : HEAD_BYTES);
	return rows * (row_bytes(c) + one);
}

/* The end of the pass that begins with ask `at`; *bytes gets what its partial results take. */
static int
pass_end(dl_forward *f, int at, size_t *bytes)
{
	int			end = at;

	*bytes = 0;
	while (end < f->n_asks && end - at < MOST_PASS_ASKS)
	{
		dl_ask	   *a = &f->asks[end];
		size_t		one = ask_partials(&f->model->config, f->rows[a->row].reducer->partial);

		if (end > at && *bytes + one > HEAD_BYTES)
			break;
		a->partials = *bytes;
		*bytes += one;
		end++;
	}
	return end;
}

/* Row stride of a tile: not a multiple of a page, where all rows would meet in the same few lines of the cache. */
static int
tile_ld(const dl_forward *f)
{
	int			vocab = (int) f->model->config.vocab;

	return vocab < DL_VOCAB_BLOCK ? (vocab + DL_PANEL - 1) / DL_PANEL * DL_PANEL : DL_VOCAB_BLOCK + DL_PANEL;
}

/* Multiply-adds of a tile of so many asks. */
static int64_t
tile_cost(const dl_forward *f, int asks)
{
	int64_t		k = f->model->head.k / (f->model->head.dtype == DL_I8 ? 2 : 1);
	int			columns = (int) f->model->config.vocab < DL_VOCAB_BLOCK ? (int) f->model->config.vocab : DL_VOCAB_BLOCK;

	return asks * columns * (k + COST_REDUCE);
}

/* Asks of a tile of a pass of n: few enough for cache and slice, and for every thread to get several tiles. */
static int
tile_asks(const dl_forward *f, int n)
{
	int			blocks = dl_vocab_blocks((int) f->model->config.vocab);
	int			most = MOST_TILE_ASKS;
	int			tiles;

	while (most > LEAST_TILE_ASKS && tile_cost(f, most) > MOST_TILE_COST)
		most -= LEAST_TILE_ASKS;
	tiles = (n + most - 1) / most;
	while (f->threads > 1 && blocks * tiles < f->threads * TILES_A_THREAD && n / tiles > LEAST_TILE_ASKS)
		tiles++;
	return (n + tiles - 1) / tiles;
}

void
dl_head_plan(dl_forward *f)
{
	int			at = 0;

	f->head_rows = 0;
	f->partials_size = 0;
	while (at < f->n_asks)
	{
		size_t		bytes;
		int			end = pass_end(f, at, &bytes);
		int			asks = tile_asks(f, end - at);
		size_t		scratch = (size_t) asks * (size_t) tile_ld(f);

		if (end - at > f->head_rows)
			f->head_rows = end - at;
		if (bytes > f->partials_size)
			f->partials_size = bytes;
		if (scratch > f->scratch_floats)
			f->scratch_floats = scratch;
		at = end;
	}
}

/* ------------------------------------------------------- input of the head */

/* Dense, GELU and LayerNorm of n rows of f->t. */
static void
transform_rows(dl_forward *f, int n, float *out)
{
	const dlm_model *m = f->model;
	size_t		hidden = m->config.hidden;

	for (int i = 0; i < n; i++)
	{
		float	   *t = f->t + (size_t) i * f->hidden_ld;

		f->kernels->gelu_erf(t, (int) hidden);
		f->kernels->layer_norm(t, m->head_norm.w, m->head_norm.b, m->config.norm_eps, (int) hidden,
							   out + (size_t) i * f->hidden_ld);
	}
	f->left -= (int64_t) n * (int64_t) hidden * 16;
}

/* Bring the states of some of the pass' asks, transformed, into head_x; true when all are there. */
static bool
gather_some(dl_forward *f)
{
	const dlm_model *m = f->model;
	int			first = f->at + f->inner;
	int			n = dl_chunk_size(f->head_end, first);
	float	   *out = f->head_x + (size_t) f->inner * f->hidden_ld;
	float	   *in = m->config.head_transform ? f->h : out;

	if (f->panel == 0)
		for (int i = 0; i < n; i++)
			memcpy(in + (size_t) i * f->hidden_ld, f->x + (size_t) f->asks[first + i].needed * f->hidden_ld,
				   f->model->config.hidden * sizeof(float));
	if (m->config.head_transform)
	{
		if (!dl_product_unit(f, &m->head_dense, f->h, f->hidden_ld, n, f->t, f->hidden_ld))
			return false;
		transform_rows(f, n, out);
	}
	f->inner += n;
	return f->at + f->inner == f->head_end;
}

/* An int8 output projection reads the same quantised rows for every block. */
static void
quantize_pass(dl_forward *f)
{
	const dl_matrix *head = &f->model->head;
	int			n = f->head_end - f->at;

	f->head_ready = (dl_s8_rows) {NULL, NULL};
	if (head->dtype != DL_I8)
		return;
	f->head_ready = dl_quantize(f->kernels, f->team, f->head_x, f->hidden_ld, n, head->k, f->head_scratch);
	f->left -= (int64_t) n * head->k * COST_REDUCE;
}

/* ------------------------------------------------------------------- tiles */

static bool
all_finite(const float *x, int n)
{
	uint32_t	bad = 0;

	for (int i = 0; i < n; i++)
	{
		uint32_t	bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bad |= (bits & 0x7f800000u) == 0x7f800000u;
	}
	return bad == 0;
}

static char *
partials_of(const dl_forward *f, const dl_ask *a, size_t block)
{
	return f->partials + a->partials + block * f->rows[a->row].reducer->partial;
}

/* Tile f->panel + item of the pass: logits, and what each ask keeps of them. */
static void
tile_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dlm_model *m = f->model;
	int			most = tile_asks(f, f->head_end - f->at);
	int			tiles = (f->head_end - f->at + most - 1) / most;
	int			block = (f->panel + item) / tiles;
	int			row = (f->panel + item) % tiles * most;
	int			rows = f->head_end - f->at - row < most ? f->head_end - f->at - row : most;
	int			first = block * DL_VOCAB_BLOCK;
	int			n = (int) m->config.vocab - first < DL_VOCAB_BLOCK ? (int) m->config.vocab - first : DL_VOCAB_BLOCK;
	int			ld = tile_ld(f);
	float	   *logits = f->scratch + (size_t) thread * f->scratch_floats;

	dl_linear_columns(f->kernels, &m->head, first, n, f->head_x + (size_t) row * f->hidden_ld, f->hidden_ld,
					  dl_s8_rows_from(f->head_ready, m->head.k, row), rows, logits, (size_t) ld);
	for (int i = 0; i < rows; i++)
	{
		const dl_ask *a = &f->asks[f->at + row + i];
		const dl_row *r = &f->rows[a->row];
		float	   *x = logits + (size_t) i * (size_t) ld;

		if (all_finite(x, n))
			r->reducer->reduce(r->ctx, a->index, first, n, x, partials_of(f, a, (size_t) block));
		else
			f->bad[thread] = true;
	}
}

static bool
tiles_some(dl_forward *f)
{
	int			asks = f->head_end - f->at;
	int			most = tile_asks(f, asks);
	int			tiles = (asks + most - 1) / most * dl_vocab_blocks((int) f->model->config.vocab);
	int64_t		cost = tile_cost(f, most);
	int64_t		some = f->left / cost;

	if (some < f->threads)
		some = f->threads;
	if (some > tiles - f->panel)
		some = tiles - f->panel;
	dl_parallel(some * cost < SERIAL_COST ? NULL : f->team, (int) some, tile_item, f);
	f->left -= some * cost;
	f->panel += (int) some;
	return f->panel == tiles;
}

/* Ask f->panel + item of the pass. */
static void
fold_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dl_ask *a = &f->asks[f->at + f->panel + item];
	const dl_row *r = &f->rows[a->row];

	if (r->reducer->fold != NULL)
		r->reducer->fold(r->ctx, a->index, partials_of(f, a, 0), dl_vocab_blocks((int) f->model->config.vocab));
}

static bool
fold_some(dl_forward *f)
{
	int			n = f->head_end - f->at;
	const dl_ask *a = &f->asks[f->at + f->panel];
	/* a fold may walk all of its partial results several times */
	int64_t		cost = (int64_t) dl_vocab_blocks((int) f->model->config.vocab) *
		(COST_FOLD + (int64_t) f->rows[a->row].reducer->partial * 2);
	int64_t		some = f->left / cost;

	if (some < f->threads)
		some = f->threads;
	if (some > n - f->panel)
		some = n - f->panel;
	dl_parallel(some * cost < SERIAL_COST ? NULL : f->team, (int) some, fold_item, f);
	f->left -= some * cost;
	f->panel += (int) some;
	return f->panel == n;
}

bool
dl_head_chunk(dl_forward *f)
{
	size_t		bytes;
	bool		done = true;

	switch (f->op)
	{
		case 0:
			f->head_end = pass_end(f, f->at, &bytes);
			f->inner = 0;
			break;
		case 1:
			done = gather_some(f);
			if (done)
				quantize_pass(f);
			break;
		case 2:
			done = tiles_some(f);
			break;
		default:
			return fold_some(f);
	}
	if (done)
	{
		f->op++;
		f->panel = 0;
	}
	return false;
}
