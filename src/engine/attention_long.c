/*
 * attention_long.c - attention over more keys than the scores of a block of
 * queries may take of the cache.
 *
 * The definition of attention.h has the exact maximum first, so the keys are
 * walked twice, a tile at a time, and the scores of a tile are computed twice:
 * half as much work again, but every step has as many queries as a short row.
 * Nothing is ever rescaled; the sum's 16 lanes and the chains over keys
 * go on from tile to tile. A tile of live keys stands at the offset that puts
 * its first key into the lane it has behind the fixed ones; what is before it
 * is -inf, whose exponential adds +0.
 */
#include "attention.h"

#include <math.h>
#include <string.h>

typedef struct walk
{
	const dl_kernels *kernels;
	const dl_heads *h;
	const float *q;
	int			n_queries,
				m;				/* n_queries * group */
	const int  *limit;
	float	   *scores;
	size_t		ld;
	float	   *out;
} walk;

/* Behind the scores of a row, which begin at `offset`: the lanes of its sum, then its maximum. */
#define LANES	(DL_LONG_TILE + DL_PANEL)
#define TOP		(LANES + DL_PANEL)

/* Keys [first, first + n) of one kind; query i sees the first seen(i) of them. */
typedef struct tile
{
	const dl_keys *keys;
	int			first,
				n,
				offset;			/* of its first key in a row of scores */
	bool		limited;
	bool		begins;			/* the first tile of all */
} tile;

static int
seen(const walk *w, const tile *t, int query)
{
	int			n = t->limited ? w->limit[query] - t->first : t->n;

	return n < 0 ? 0 : n < t->n ? n : t->n;
}

static void
raise_maxima(walk *w, const tile *t)
{
	for (int i = 0; i < w->m; i++)
	{
		float	   *row = w->scores + (size_t) i * w->ld;
		int			n = seen(w, t, i / w->h->group);
		float		top = n > 0 ? w->kernels->max(row + t->offset, n) : -INFINITY;

		row[TOP] = top > row[TOP] ? top : row[TOP];
	}
}

static void
add_values(walk *w, const tile *t)
{
	int			common = seen(w, t, 0);		/* limits ascend */

	for (int i = 0; i < w->m; i++)
	{
		float	   *row = w->scores + (size_t) i * w->ld;

		for (int j = 0; j < t->offset; j++)
			row[j] = -INFINITY;
		w->kernels->exp_lanes(row, row[TOP], t->offset + seen(w, t, i / w->h->group), row, row + LANES);
	}
	dl_weigh_values(w->kernels, w->h, w->scores + t->offset, w->ld, w->m, t->keys, t->first, common, w->out, !t->begins);
	for (int i = 0; t->limited && i < w->n_queries; i++)
	{
		size_t		at = (size_t) (i * w->h->group);

		dl_weigh_values(w->kernels, w->h, w->scores + at * w->ld + t->offset + common, w->ld, w->h->group, t->keys,
						t->first + common, seen(w, t, i) - common, w->out + at * (size_t) w->h->value_dim, true);
	}
}

/* All tiles of n keys of one kind. */
static void
walk_keys(walk *w, const dl_keys *keys, int n, int offset, bool begins, void (*visit) (walk *w, const tile *t))
{
	for (int at = 0; at < n; at += DL_LONG_TILE)
	{
		tile		t = {keys, at, n - at < DL_LONG_TILE ? n - at : DL_LONG_TILE, offset, w->limit != NULL, begins && at == 0};

		dl_score_keys(w->kernels, w->h, w->q, w->m, keys, at, t.n, w->scores + offset, w->ld);
		visit(w, &t);
	}
}

void
dl_attend_long(const dl_kernels *kernels, const dl_heads *h, const dl_keys *fixed, const dl_keys *live,
			   const float *q, int n_queries, const int *limit, float *scores, size_t ld, float *out)
{
	int			n_fixed = limit != NULL ? limit[n_queries - 1] : fixed->n;
	int			n_live = limit != NULL ? 0 : live->n;
	int			offset = n_fixed % DL_PANEL;
	walk		w = {
		.kernels = kernels, .h = h, .q = q, .n_queries = n_queries, .m = n_queries * h->group, .limit = limit,
		.scores = scores, .ld = ld, .out = out
	};

	for (int i = 0; i < w.m; i++)
	{
		memset(scores + (size_t) i * ld + LANES, 0, DL_PANEL * sizeof(float));
		scores[(size_t) i * ld + TOP] = -INFINITY;
	}
	walk_keys(&w, fixed, n_fixed, 0, true, raise_maxima);
	walk_keys(&w, live, n_live, offset, n_fixed == 0, raise_maxima);
	walk_keys(&w, fixed, n_fixed, 0, true, add_values);
	walk_keys(&w, live, n_live, offset, n_fixed == 0, add_values);
	for (int i = 0; i < w.m; i++)
		dl_divide_row(out + (size_t) i * (size_t) h->value_dim,
					  kernels->sum(scores + (size_t) i * ld + LANES, DL_PANEL), h->dim);
}
