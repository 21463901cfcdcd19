/*
 * batches.c - see batches.h.
 */
#include "batches.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"
#include "stream.h"

typedef struct draw
{
	uint64_t	number;
	int			row;			/* of the dataset */
	int			tokens;			/* of a view */
} draw;

struct dl_batches
{
	dl_masker	masker;
	dl_batches_options options;
	dl_net_limits limits;
	int			views;
	int64_t		pool_tokens;

	dl_batches_state state;		/* of the pool's beginning; batch: handed out */
	uint64_t	epoch[DL_MAX_SOURCES];	/* of order; UINT64_MAX: none yet */
	int		   *order[DL_MAX_SOURCES];	/* [rows of the source] the permutation of that epoch */
	uint64_t	taken[DL_MAX_SOURCES];	/* behind the pool */

	int			capacity;
	int			n_draws;
	draw	   *draws;			/* [n_draws] of the pool, by length */
	int			n_batches;
	int		   *start;			/* [n_batches + 1] first draw of each */
	int		   *turn;			/* [n_batches] the order in which they come */

	int			first,			/* draws [first, last) are the batch */
				last;
	int			part;			/* examples of the batch before the current part, and up to its end */
	int			part_end;
	dl_example *examples;		/* [limits.rows] */
	dl_mask_space space;
};

/* ------------------------------------------------------------------- sizes */

/* Longest and shortest rows of training, and what is asked for at most of each token. */
typedef struct extent
{
	int			longest,		/* of all rows, validation included */
				shortest;
	double		ask_share;
} extent;

static void
extend(const dl_masker *m, const dl_data_source *s, extent *x)
{
	for (int i = 0; i < s->n; i++)
	{
		const dl_data_row *row = &m->ds->rows[s->row[i]];
		int			most = dl_mask_most_tokens(m, row);
		int			least = most < dl_row_tokens(row) ? most : dl_row_tokens(row);	/* of a length head's row the first part alone */
		double		share = (double) dl_mask_most_asks(m, row) / most;

		if (most > x->longest)
			x->longest = most;
		if (least < x->shortest)
			x->shortest = least;
		if (share > x->ask_share)
			x->ask_share = share;
	}
}

static extent
measure(const dl_masker *m)
{
	extent		x = {.shortest = INT_MAX};

	for (int s = 0; s < m->ds->n_sources; s++)
		extend(m, &m->ds->source[s], &x);
	extend(m, &m->ds->validation, &x);
	return x;
}

/* A pool is cut where its share of the tokens is reached: no batch is longer than its share, a draw, and rounding. */
static int64_t
longest_batch(const dl_masker *m, const dl_batches_options *o, const extent *x)
{
	int64_t		rounding = o->batch_tokens / DL_POOL_BATCHES + 1;

	return (int64_t) o->batch_tokens + rounding + 2 * (int64_t) x->longest * dl_mask_views(m);
}

dl_net_limits
dl_batches_limits(const dl_masker *m, const dl_batches_options *options)
{
	extent		x = measure(m);
	int64_t		tokens = longest_batch(m, options, &x);
	int64_t		part = options->part_tokens > x.longest ? options->part_tokens : x.longest;
	dl_net_limits limits;

	if (options->part_tokens > 0 && part < tokens)
		tokens = part;
	if (tokens > INT_MAX)
		tokens = INT_MAX;
	limits = (dl_net_limits) {.tokens = (int) tokens, .rows = (int) (tokens / x.shortest) + 1};
	limits.asks = (int) ((double) tokens * x.ask_share) + 1;
	if (limits.asks > limits.tokens)
		limits.asks = limits.tokens;
	return limits;
}

double
dl_batches_epoch_steps(const dl_masker *m, const dl_batches_options *options)
{
	const dl_dataset *ds = m->ds;
	double		weights = 0;
	double		tokens = 0;

	for (int s = 0; s < ds->n_sources; s++)
	{
		const dl_data_source *source = &ds->source[s];
		double		sum = 0;

		for (int i = 0; i < source->n; i++)
			sum += dl_mask_mean_tokens(m, &ds->rows[source->row[i]]);
		weights += source->weight;
		if (source->n > 0)
			tokens += source->weight * sum / source->n;
	}
	/* tokens / weights: of an average draw; n weights / weight: draws until source 0 is through */
	return tokens / ds->source[0].weight * ds->source[0].n * dl_mask_views(m) / options->batch_tokens;
}

/* ------------------------------------------------------------------ memory */

/* All of it, the structure first; base NULL only counts. */
static size_t
layout(dl_batches *b, void *base)
{
	const dl_dataset *ds = b->masker.ds;
	size_t		at = (sizeof(*b) + 63) & ~(size_t) 63;
	size_t		space = dl_mask_space_bytes(b->limits.tokens);
	void	   *block;

	for (int s = 0; s < ds->n_sources; s++)
		b->order[s] = dl_carve_bytes(base, &at, (size_t) ds->source[s].n * sizeof(int));
	b->draws = dl_carve_bytes(base, &at, (size_t) b->capacity * sizeof(draw));
	b->start = dl_carve_bytes(base, &at, ((size_t) b->capacity + 1) * sizeof(int));
	b->turn = dl_carve_bytes(base, &at, (size_t) b->capacity * sizeof(int));
	b->examples = dl_carve_bytes(base, &at, (size_t) b->limits.rows * sizeof(dl_example));
	block = dl_carve_bytes(base, &at, space);
	if (base != NULL)
		b->space = dl_mask_space_over(block, b->limits.tokens);
	return at;
}

static dl_batches
empty_batches(const dl_masker *m, const dl_batches_options *options)
{
	dl_batches	b = {.masker = *m, .options = *options, .views = dl_mask_views(m)};
	extent		x = measure(m);
	int64_t		draws;

	b.limits = dl_batches_limits(m, options);
	b.pool_tokens = (int64_t) options->batch_tokens * DL_POOL_BATCHES;
	draws = b.pool_tokens / ((int64_t) x.shortest * b.views) + 1;
	b.capacity = draws < INT_MAX ? (int) draws : INT_MAX;
	for (int s = 0; s < DL_MAX_SOURCES; s++)
		b.epoch[s] = UINT64_MAX;
	return b;
}

size_t
dl_batches_bytes(const dl_masker *m, const dl_batches_options *options)
{
	dl_batches	count = empty_batches(m, options);

	return dl_block_bytes(layout(&count, NULL));
}

dlm_status
dl_batches_create(const dl_masker *m, const dl_batches_options *options, dl_batches **out, dlm_error *err)
{
	dl_batches	count;
	dl_batches *b;
	dlm_status	st = dl_masking_check(m->masking, err);

	if (st != DLM_OK)
		return st;
	if (options->batch_tokens < 1 || options->part_tokens < 0)
		return dl_fail(err, DLM_EINVAL, "", "a batch needs at least one token");
	for (int s = 0; s < m->ds->n_sources; s++)
		if (m->ds->source[s].n == 0)
			return dl_fail(err, DLM_EINVAL, "", "source %d has no rows", s);
	count = empty_batches(m, options);
	b = dl_arena_block(m->ds->arena, layout(&count, NULL));
	if (b == NULL)
		return dl_fail_memory(err);
	*b = empty_batches(m, options);
	layout(b, b);
	*out = b;
	return DLM_OK;
}

void
dl_batches_free(dl_batches *b)
{
	if (b != NULL)
		dl_arena_block_free(b->masker.ds->arena, b);
}

/* ------------------------------------------------------------------- draws */

static void
shuffle(dl_stream s, int *list, int n)
{
	for (int i = 0; i < n; i++)
		list[i] = i;
	for (int i = n - 1; i > 0; i--)
	{
		int			j = dl_stream_below(&s, i + 1);
		int			swap = list[i];

		list[i] = list[j];
		list[j] = swap;
	}
}

static int
choose_source(const dl_batches *b, uint64_t number)
{
	const dl_dataset *ds = b->masker.ds;
	dl_stream	s = dl_stream_of(b->masker.seed, DL_USE_SOURCE, 0, number);
	double		weights = 0;
	double		place;
	int			source = 0;

	for (int i = 0; i < ds->n_sources; i++)
		weights += ds->source[i].weight;
	place = dl_stream_uniform(&s) * weights;
	while (source < ds->n_sources - 1 && place >= ds->source[source].weight)
		place -= ds->source[source++].weight;
	return source;
}

/* The next row of a source, an index of the dataset. */
static int
take_row(dl_batches *b, int source)
{
	const dl_data_source *s = &b->masker.ds->source[source];
	uint64_t	epoch = b->taken[source] / (uint64_t) s->n;

	if (b->epoch[source] != epoch)
	{
		shuffle(dl_stream_of(b->masker.seed, DL_USE_EPOCH, (uint32_t) source, epoch), b->order[source], s->n);
		b->epoch[source] = epoch;
	}
	return s->row[b->order[source][b->taken[source]++ % (uint64_t) s->n]];
}

static int
compare_draws(const void *a, const void *b)
{
	const draw *x = a;
	const draw *y = b;

	if (x->tokens != y->tokens)
		return x->tokens < y->tokens ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Cut the sorted pool where each batch' share of the tokens is reached. */
static void
cut_pool(dl_batches *b, int64_t tokens)
{
	int64_t		batches = (tokens + b->options.batch_tokens / 2) / b->options.batch_tokens;
	int64_t		sum = 0;

	if (batches < 1)
		batches = 1;
	b->n_batches = 0;
	b->start[0] = 0;
	for (int i = 0; i < b->n_draws; i++)
	{
		sum += (int64_t) b->draws[i].tokens * b->views;
		if (i == b->n_draws - 1 || sum * batches >= tokens * (b->n_batches + 1))
			b->start[++b->n_batches] = i + 1;
	}
}

/* Draw, sort and cut the pool that begins at the state. */
static void
fill_pool(dl_batches *b)
{
	int64_t		tokens = 0;

	memcpy(b->taken, b->state.taken, sizeof(b->taken));
	b->n_draws = 0;
	while (tokens < b->pool_tokens && b->n_draws < b->capacity)
	{
		draw	   *d = &b->draws[b->n_draws];

		d->number = b->state.draws + (uint64_t) b->n_draws++;
		d->row = take_row(b, choose_source(b, d->number));
		d->tokens = dl_mask_tokens(&b->masker, &b->masker.ds->rows[d->row], d->number);
		tokens += (int64_t) d->tokens * b->views;
	}
	qsort(b->draws, (size_t) b->n_draws, sizeof(draw), compare_draws);
	cut_pool(b, tokens);
	shuffle(dl_stream_of(b->masker.seed, DL_USE_POOL, 0, b->state.draws), b->turn, b->n_batches);
}

int
dl_batches_next(dl_batches *b, int *tokens)
{
	int			sum = 0;
	int			batch;

	if (b->n_batches > 0 && b->state.batch == (uint64_t) b->n_batches)
	{
		b->state.draws += (uint64_t) b->n_draws;
		b->state.batch = 0;
		memcpy(b->state.taken, b->taken, sizeof(b->taken));
		b->n_batches = 0;
	}
	if (b->n_batches == 0)
		fill_pool(b);
	batch = b->turn[b->state.batch++];
	b->first = b->start[batch];
	b->last = b->start[batch + 1];
	dl_batches_again(b);
	for (int i = b->first; i < b->last; i++)
		sum += b->draws[i].tokens * b->views;
	if (tokens != NULL)
		*tokens = sum;
	return (b->last - b->first) * b->views;
}

/* ------------------------------------------------------------------- parts */

void
dl_batches_again(dl_batches *b)
{
	b->part = b->part_end = 0;
}

static const draw *
draw_of(const dl_batches *b, int example)
{
	return &b->draws[b->first + example / b->views];
}

/* Has the part room for another example? The first always has. */
static bool
has_room(const dl_batches *b, int examples, int tokens)
{
	int			most = b->options.part_tokens > 0 ? b->options.part_tokens : b->limits.tokens;

	return examples == 0 || (examples < b->limits.rows && tokens <= most - b->space.used);
}

bool
dl_batches_part(dl_batches *b, const dl_example **examples, int *n)
{
	int			end = (b->last - b->first) * b->views;

	b->space.used = 0;
	b->part = b->part_end;
	*n = 0;
	*examples = b->examples;
	while (b->part_end < end && has_room(b, *n, draw_of(b, b->part_end)->tokens))
	{
		const draw *d = draw_of(b, b->part_end);

		b->examples[(*n)++] = dl_mask_view(&b->masker, &b->masker.ds->rows[d->row], d->number, b->part_end % b->views,
										   &b->space);
		b->part_end++;
	}
	return *n > 0;
}

const dl_data_row *
dl_batches_row(const dl_batches *b, int i)
{
	return &b->masker.ds->rows[draw_of(b, b->part + i)->row];
}

void
dl_batches_validation(dl_batches *b, int from, const dl_example **examples, int *n)
{
	const dl_dataset *ds = b->masker.ds;

	b->space.used = 0;
	*n = 0;
	*examples = b->examples;
	for (int i = from; i < ds->validation.n; i++)
	{
		const dl_data_row *row = &ds->rows[ds->validation.row[i]];

		if (!has_room(b, *n, dl_mask_most_tokens(&b->masker, row)))
			return;
		b->examples[(*n)++] = dl_mask_validation(&b->masker, row, &b->space);
	}
}

/* ------------------------------------------------------------------- state */

void
dl_batches_save(const dl_batches *b, dl_batches_state *out)
{
	*out = b->state;
}

dlm_status
dl_batches_restore(dl_batches *b, const dl_batches_state *state, dlm_error *err)
{
	uint64_t	taken = 0;

	for (int s = 0; s < DL_MAX_SOURCES; s++)
	{
		taken += state->taken[s];
		if (state->taken[s] > state->draws || (s >= b->masker.ds->n_sources && state->taken[s] > 0))
			return dl_fail(err, DLM_EDAMAGED, "", "damaged checkpoint: its order of rows is not one of this run's");
	}
	if (taken != state->draws)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged checkpoint: its order of rows is not one of this run's");
	b->state = *state;
	b->first = b->last = 0;
	dl_batches_again(b);
	fill_pool(b);
	if (state->batch > (uint64_t) b->n_batches)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged checkpoint: its order of rows is not one of this run's");
	return DLM_OK;
}
