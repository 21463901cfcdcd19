/*
 * forward_plan.c - turn rows into a packed batch: which tokens to compute,
 * where their keys go, which queries the last layer needs, and memory for it.
 */
#include "forward_impl.h"
#include "status.h"

#include <string.h>

#define MOST_SCORES		(96 * 1024)	/* floats of one attention item's scores: they stay in the second level cache */
#define MOST_SCRATCH	(128 * 1024)	/* floats of a thread's scratch, roughly: those and more, or a tile of logits */
#define MOST_BLOCK_ROWS	96		/* queries times group of one attention item */

/* ------------------------------------------------------------- validation */

static dlm_status
check_row(const dl_forward *f, const dl_row *r, dlm_error *err)
{
	const dl_config *c = &f->model->config;

	if (r->n < 1 || (uint32_t) r->n > c->context)
		return dl_fail(err, DLM_EINVAL, "", "row has %d tokens, but the model's context is %u", r->n, c->context);
	for (int i = 0; i < r->n; i++)
		if (r->ids[i] < 0 || (uint32_t) r->ids[i] >= c->vocab)
			return dl_fail(err, DLM_EINVAL, "", "token %d is not in the model's vocabulary", r->ids[i]);
	if (r->n_ask < 0 || (r->n_ask > 0 && r->reducer == NULL))
		return dl_fail(err, DLM_EINVAL, "", "row asks for logits but has no reducer");
	if (r->lengths != NULL && c->length_classes == 0)
		return dl_fail(err, DLM_EINVAL, "", "model has no length head");
	for (int i = 0; i < r->n_ask; i++)
		if (r->ask[i] < (int) c->logit_shift || r->ask[i] >= r->n || (i > 0 && r->ask[i] <= r->ask[i - 1]))
			return dl_fail(err, DLM_EINVAL, "", "asked position %d is not in the row or not in order", r->ask[i]);
	return DLM_OK;
}

static bool
is_live(const dl_forward *f, const dl_row *r, int position)
{
	return f->model->config.attention == DL_ATT_FULL || r->live == NULL || r->live[position] != 0;
}

/* ------------------------------------------------------------------ lists */

void *
dl_carve(void *base, size_t *at, size_t count, size_t size)
{
	void	   *p = base ? (char *) base + *at : NULL;

	*at += (count * size + 63) & ~(size_t) 63;
	return p;
}

/* Lists for at most `tokens` tokens and `asks` asks. Blocks: each query may stand in a block of its own. */
static size_t
carve_lists(dl_forward *f, void *base, size_t tokens, size_t asks)
{
	size_t		at = 0;

	f->plans = dl_carve(base, &at, (size_t) f->n_rows, sizeof(dl_row_plan));
	f->tokens = dl_carve(base, &at, tokens, sizeof(dl_token));
	f->needed = dl_carve(base, &at, tokens, sizeof(int));
	f->limits = dl_carve(base, &at, tokens, sizeof(int));
	f->blocks = dl_carve(base, &at, tokens, sizeof(dl_block));
	f->last_blocks = dl_carve(base, &at, tokens, sizeof(dl_block));
	f->asks = dl_carve(base, &at, asks, sizeof(dl_ask));
	return at;
}

static dlm_status
allocate_lists(dl_forward *f, dlm_error *err)
{
	size_t		tokens = 0;
	size_t		asks = 0;

	for (int i = 0; i < f->n_rows; i++)
	{
		tokens += (size_t) f->rows[i].n;
		asks += (size_t) f->rows[i].n_ask;
	}
	if (tokens > INT32_MAX / 2)
		return dl_fail_memory(err);
	dl_arena_block_free(f->arena, f->plan_block);
	f->plan_block = dl_arena_block(f->arena, carve_lists(f, NULL, tokens, asks));
	if (f->plan_block == NULL)
		return dl_fail_memory(err);
	carve_lists(f, f->plan_block, tokens, asks);
	return DLM_OK;
}

/* Are the last states of all its tokens needed? */
static bool
wants_states(const dl_row *r)
{
	return r->hidden != NULL || r->lengths != NULL;
}

static void
add_token(dl_forward *f, int row, int position, int slot, bool live, bool store)
{
	const dl_row *r = &f->rows[row];

	f->tokens[f->n_tokens++] = (dl_token) {
		.id = r->ids[position], .position = position, .row = row, .slot = slot,
		.live = live, .store = store, .needed = wants_states(r)
	};
}

/* Which ask the output at this position answers, -1 if none. */
static int
ask_of(const dl_forward *f, const dl_row *r, int position)
{
	int			wanted = position + (int) f->model->config.logit_shift;
	int			low = 0;
	int			high = r->n_ask;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (r->ask[middle] < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->n_ask && r->ask[low] == wanted ? low : -1;
}

/* How many leading fixed tokens two rows have in common: ids and positions. */
static int
common_fixed(const dl_forward *f, const dl_row *a, const dl_row *b)
{
	int			n = a->n < b->n ? a->n : b->n;
	int			common = 0;

	for (int i = 0; i < n; i++)
	{
		bool		live = is_live(f, a, i);

		if (live != is_live(f, b, i) || (!live && a->ids[i] != b->ids[i]))
			break;
		common += !live;
	}
	return common;
}

/*
 * Rows of one batch often begin alike: the same instruction before other
 * texts. What the previous row (or else the first) has in common with this
 * one beyond the `known` cached tokens is computed there and copied here.
 */
static int
share_prefix(dl_forward *f, int row, int known)
{
	dl_row_plan *p = &f->plans[row];
	const int	candidates[2] = {row - 1, 0};
	int			best = known;

	for (int i = 0; i < 2 && row > 0; i++)
	{
		int			common = common_fixed(f, &f->rows[candidates[i]], &f->rows[row]);

		if (common > best)
		{
			best = common;
			p->source = candidates[i];
		}
	}
	p->copy_from = known;
	p->copy_to = best;
	return best;
}

/*
 * Give a row's fixed tokens [n] (id, position) a place. Sets p->fixed_from:
 * tokens before it are in the cache, or another row's, and need not be computed. first_source:
 * the first fixed token whose output is asked for: it must be computed, and
 * so must all after it (they are queries in every layer; what they store is
 * what is there already).
 */
static dlm_status
place_fixed(dl_forward *f, int row, const int32_t *id, const int32_t *position, int first_source, bool *store,
			dlm_error *err)
{
	dl_row_plan *p = &f->plans[row];
	dl_kv	   *kv = f->rows[row].kv;
	int			known;

	*store = true;
	if (p->n_fixed == 0)
		return DLM_OK;
	if (kv == NULL)
	{
		known = share_prefix(f, row, 0);
		p->fixed_from = known < first_source ? known : first_source;
		return DLM_OK;
	}
	p->kv = kv;
	known = dl_kv_common(kv, id, position, p->n_fixed);
	if (kv->row >= 0 && kv->row < row && f->rows[kv->row].kv == kv && f->plans[kv->row].kv == kv)
	{
		/* an earlier row of this batch computes and stores the same list */
		if (f->plans[kv->row].n_fixed != p->n_fixed ||
			memcmp(kv->id, id, (size_t) p->n_fixed * sizeof(int32_t)) != 0 ||
			memcmp(kv->position, position, (size_t) p->n_fixed * sizeof(int32_t)) != 0)
			return dl_fail(err, DLM_EINVAL, "", "rows of different fixed tokens share a cache");
		known = p->n_fixed;
		*store = false;
	}
	else
	{
		dlm_status	st = dl_kv_prepare(kv, id, position, p->n_fixed, known, err);

		if (st != DLM_OK)
			return st;
		kv->row = row;
		known = share_prefix(f, row, known);
	}
	p->fixed_capacity = kv->capacity;
	p->fixed_from = known < first_source ? known : first_source;
	return DLM_OK;
}

/* Tokens of one row: live ones first, then the fixed ones that are not cached. */
static dlm_status
plan_row(dl_forward *f, int row, dlm_error *err)
{
	const dl_row *r = &f->rows[row];
	dl_row_plan *p = &f->plans[row];
	int32_t    *id = f->needed;		/* lists that are filled later serve as scratch */
	int32_t    *position = f->limits;
	int			first_source;
	bool		store;
	dlm_status	st;

	memset(p, 0, sizeof(*p));
	p->first_token = f->n_tokens;
	for (int i = 0; i < r->n; i++)
		if (is_live(f, r, i))
			add_token(f, row, i, p->n_live++, true, true);
	first_source = wants_states(r) ? 0 : r->n;
	for (int i = 0; i < r->n; i++)
	{
		if (is_live(f, r, i))
			continue;
		if (first_source > p->n_fixed && ask_of(f, r, i) >= 0)
			first_source = p->n_fixed;
		id[p->n_fixed] = r->ids[i];
		position[p->n_fixed++] = i;
	}
	st = place_fixed(f, row, id, position, first_source, &store, err);
	if (st != DLM_OK)
		return st;
	for (int i = p->fixed_from; i < p->n_fixed; i++)
		add_token(f, row, position[i], i, false, store);
	return DLM_OK;
}

static int
round_to_panel(int n)
{
	return (n + DL_PANEL - 1) / DL_PANEL * DL_PANEL;
}

static void
place_keys(dl_forward *f)
{
	f->n_keys = 0;
	for (int i = 0; i < f->n_rows; i++)
	{
		dl_row_plan *p = &f->plans[i];

		p->live_capacity = round_to_panel(p->n_live);
		p->live_at = f->n_keys;
		f->n_keys += dl_keys_floats(&f->heads, p->live_capacity);
		if (p->kv == NULL)
		{
			p->fixed_capacity = round_to_panel(p->n_fixed);
			p->fixed_at = f->n_keys;
			f->n_keys += dl_keys_floats(&f->heads, p->fixed_capacity);
		}
	}
}

/* Mark and list the needed tokens, and say which of them answers which ask. */
static void
plan_asks(dl_forward *f)
{
	f->n_asks = 0;
	f->n_needed = 0;
	for (int i = 0; i < f->n_tokens; i++)
	{
		dl_token   *t = &f->tokens[i];
		int			ask = ask_of(f, &f->rows[t->row], t->position);

		if (i == f->plans[t->row].first_token)
			f->plans[t->row].first_needed = f->n_needed;
		if (ask >= 0)
			f->asks[f->n_asks++] = (dl_ask) {.row = t->row, .index = ask, .needed = f->n_needed};
		if (ask >= 0 || t->needed)
			f->needed[f->n_needed++] = i;
	}
}

/* Queries of a block, so that its scores stay small. */
static int
block_size(const dl_forward *f, const dl_row_plan *p)
{
	int			keys = p->n_fixed + p->n_live;
	int			by_rows = MOST_BLOCK_ROWS / f->heads.group;
	int			by_scores = MOST_SCORES / (f->heads.group * (keys > DL_LONG_KEYS ? DL_LONG_TILE : keys));
	int			n = by_rows < by_scores ? by_rows : by_scores;

	return n < 1 ? 1 : n;
}

/* Cut queries (all tokens, or the needed ones) into blocks of one row and kind. */
static int
plan_blocks(dl_forward *f, bool last, dl_block *blocks)
{
	int			n = last ? f->n_needed : f->n_tokens;
	int			count = 0;

	for (int i = 0; i < n;)
	{
		const dl_token *first = &f->tokens[last ? f->needed[i] : i];
		const dl_row_plan *p = &f->plans[first->row];
		dl_block   *b = &blocks[count++];
		int			most = block_size(f, p);
		size_t		scratch;

		*b = (dl_block) {first->row, i, 0, first->live};
		while (i < n && b->n < most)
		{
			const dl_token *t = &f->tokens[last ? f->needed[i] : i];

			if (t->row != first->row || t->live != first->live)
				break;
			b->n++;
			i++;
		}
		scratch = (size_t) (b->n * f->heads.group) *
			(dl_scores_ld(p) + (size_t) (f->heads.dim + f->heads.value_dim));
		if (scratch > f->scratch_floats)
			f->scratch_floats = scratch;
	}
	return count;
}

/* -------------------------------------------------------------- workspace */

static size_t
quantized_bytes(const dl_config *c)
{
	size_t		widest = c->hidden;

	if ((size_t) c->heads * c->head_dim > widest)
		widest = (size_t) c->heads * c->head_dim;
	if (c->ffn > widest)
		widest = c->ffn;
	if (c->length_ffn > widest)
		widest = c->length_ffn;
	if (c->length_hidden > widest)
		widest = c->length_hidden;
	return dl_linear_scratch(DL_CHUNK, (int) widest);
}

static size_t
carve_work(dl_forward *f, void *base)
{
	const dl_config *c = &f->model->config;
	size_t		chunk = (size_t) (f->n_tokens < DL_CHUNK ? f->n_tokens : DL_CHUNK);
	size_t		at = 0;

	f->x = dl_carve(base, &at, (size_t) f->n_tokens * f->hidden_ld, sizeof(float));
	f->q = dl_carve(base, &at, (size_t) f->n_tokens * f->query_ld, sizeof(float));
	f->keys = dl_carve(base, &at, f->n_keys, sizeof(float));
	f->h = dl_carve(base, &at, chunk * f->hidden_ld, sizeof(float));
	f->t = dl_carve(base, &at, chunk * f->hidden_ld, sizeof(float));
	f->k = dl_carve(base, &at, chunk * (size_t) f->key_dim, sizeof(float));
	f->v = dl_carve(base, &at, chunk * (size_t) f->key_dim, sizeof(float));
	f->gate = dl_carve(base, &at, c->gated ? chunk * f->ffn_ld : 0, sizeof(float));
	f->up = dl_carve(base, &at, chunk * f->ffn_ld, sizeof(float));
	f->head_x = dl_carve(base, &at, (size_t) f->head_rows * f->hidden_ld, sizeof(float));
	f->head_scratch = dl_carve(base, &at, f->model->head.dtype == DL_I8 ?
							   dl_linear_scratch(f->head_rows, (int) c->hidden) : 0, 1);
	f->partials = dl_carve(base, &at, f->partials_size, 1);
	f->scratch = dl_carve(base, &at, (size_t) f->threads * f->scratch_floats, sizeof(float));
	f->quantized = dl_carve(base, &at, quantized_bytes(c), 1);
	return dl_length_carve(&f->length, f->model, f->longest_lengths, base, at);
}

static dlm_status
allocate_work(dl_forward *f, dlm_error *err)
{
	size_t		size = carve_work(f, NULL);

	if (size > f->work_size || f->work == NULL)
	{
		dl_arena_block_free(f->arena, f->work);
		f->work_size = 0;
		f->work = dl_arena_block(f->arena, size);
		if (f->work == NULL)
			return dl_fail_memory(err);
		f->work_size = size;
	}
	carve_work(f, f->work);
	/* unused lanes of a panel are read, though never used */
	memset(f->keys, 0, f->n_keys * sizeof(float));
	if (f->longest_lengths > 0)
		memset(f->length.keys, 0, dl_keys_floats(&f->length.heads, f->length.capacity) * sizeof(float));
	return DLM_OK;
}

size_t
dl_forward_workspace(const dlm_model *model, int tokens, int asks, size_t partial)
{
	const dl_config *c = &model->config;
	dl_heads	heads = dl_heads_of((int) c->heads, (int) c->kv_heads, (int) c->head_dim);
	/* key spaces are rounded up to 16 slots, twice a row: count each token twice */
	size_t		hidden = dl_row_stride((int) c->hidden);
	size_t		token = (hidden + dl_row_stride((int) (c->heads * c->head_dim))) * sizeof(float) +
		2 * dl_keys_floats(&heads, 1) * sizeof(float) + sizeof(dl_token) + 2 * sizeof(int) + 2 * sizeof(dl_block);
	size_t		chunk = (size_t) (tokens < DL_CHUNK ? tokens : DL_CHUNK);

	return (size_t) tokens * token + (size_t) asks * sizeof(dl_ask) +
		chunk * (2 * hidden + 2 * (size_t) c->kv_heads * c->head_dim + 2 * dl_row_stride((int) c->ffn)) * sizeof(float) +
		dl_head_bytes(c, asks, partial) +
		4 * MOST_SCRATCH * sizeof(float) + quantized_bytes(c) + 16384;
}

/* -------------------------------------------------------------------- all */

dlm_status
dl_forward_plan(dl_forward *f, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (int i = 0; i < f->n_rows && st == DLM_OK; i++)
		st = check_row(f, &f->rows[i], err);
	if (st == DLM_OK)
		st = allocate_lists(f, err);
	f->n_tokens = 0;
	for (int i = 0; i < f->n_rows && st == DLM_OK; i++)
		st = plan_row(f, i, err);
	if (st != DLM_OK)
		return st;
	place_keys(f);
	plan_asks(f);
	f->scratch_floats = 0;
	f->n_blocks = plan_blocks(f, false, f->blocks);
	f->n_last_blocks = plan_blocks(f, true, f->last_blocks);
	dl_head_plan(f);
	f->longest_lengths = 0;
	for (int i = 0; i < f->n_rows; i++)
		if (f->rows[i].lengths != NULL && f->rows[i].n > f->longest_lengths)
			f->longest_lengths = f->rows[i].n;
	if (f->longest_lengths > 0 && dl_length_scratch(f->model, f->longest_lengths) > f->scratch_floats)
		f->scratch_floats = dl_length_scratch(f->model, f->longest_lengths);
	f->scratch_floats = (f->scratch_floats + DL_PANEL - 1) & ~(size_t) (DL_PANEL - 1);
	return allocate_work(f, err);
}

void
dl_forward_commit(dl_forward *f)
{
	for (int i = 0; i < f->n_rows; i++)
		if (f->plans[i].kv != NULL)
			f->plans[i].kv->n = f->plans[i].n_fixed;
}
