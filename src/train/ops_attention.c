/*
 * ops_attention.c - softmax attention of one row and key head; see ops.h.
 *
 * Queries are taken BLOCK at a time, so that scores are [BLOCK, n] however
 * long the row; the backward pass computes the probabilities again from
 * queries and keys. Chains over queries go on from block to block in order.
 */
#include "ops.h"

#include <string.h>

#define BLOCK	64

/* What a thread computes with. w: n rounded up to whole panels. */
typedef struct place
{
	const dl_exec *e;
	const dl_attention_row *r;
	int			n,
				w,
				dim;
	dl_real    *keys;			/* [w / 16][dim][16] K^T in panels */
	dl_real    *values;			/* the same of V */
	dl_real    *p;				/* [BLOCK, w] probabilities */
	dl_real    *dropped;		/* [BLOCK, w] the same after dropout */
	dl_real    *dp;				/* [BLOCK, w] their gradient, then that of the scores */
	dl_real    *turned;			/* [w, BLOCK] */
	dl_real    *hidden;			/* [w] */
} place;

size_t
dl_attention_scratch(int n, int dim)
{
	size_t		w = (size_t) dl_panels_width(n);

	return 2 * w * (size_t) dim + 4 * w * BLOCK + w;
}

/* What is added to scores of a fixed query: -inf for live positions. */
static void
hide_live(const place *a)
{
	for (int j = 0; j < a->n && a->r->live != NULL; j++)
		a->hidden[j] = a->r->live[j] ? -INFINITY : 0;
}

static place
place_of(const dl_exec *e, const dl_attention_row *r, dl_real *scratch)
{
	place		a = {.e = e, .r = r, .n = r->n, .w = dl_panels_width(r->n), .dim = r->dim};
	size_t		side = (size_t) a.w * BLOCK;

	a.keys = scratch;
	a.values = a.keys + (size_t) a.w * (size_t) a.dim;
	a.p = a.values + (size_t) a.w * (size_t) a.dim;
	a.dropped = a.p + side;
	a.dp = a.dropped + side;
	a.turned = a.dp + side;
	a.hidden = a.turned + side;
	hide_live(&a);
	return a;
}

/* x[n, dim] transposed, in panels of 16 rows */
static void
panels_of(const place *a, dl_rows x, dl_real *panels)
{
	for (int i = 0; i < a->n; i += DL_PANEL, panels += a->dim * DL_PANEL)
	{
		int			rows = a->n - i < DL_PANEL ? a->n - i : DL_PANEL;

		if (rows < DL_PANEL)
			memset(panels, 0, (size_t) a->dim * DL_PANEL * sizeof(dl_real));
		dl_turn(dl_row(x, i), x.ld, rows, a->dim, 1, panels, DL_PANEL);
	}
}

static int
position_of(const dl_attention_row *r, int query)
{
	return r->query != NULL ? r->query[query] : query;
}

/* How many positions, from the first on, a query may see. Every query sees itself. */
static int
seen_by(const place *a, int query)
{
	return a->r->causal || (a->r->live != NULL && !a->r->live[query]) ? query + 1 : a->n;
}

/* Scores of one query become its probabilities. */
static void
softmax(const place *a, int query, dl_real *scores)
{
	int			seen = seen_by(a, query);
	dl_real		inverse;

	if (a->r->live != NULL && !a->r->live[query])
		dl_add_row(a->e, scores, a->hidden, seen);
	inverse = 1 / dl_exp_row(a->e, scores, dl_most(a->e, scores, seen), seen, scores);
	for (int j = 0; j < seen; j++)
		scores[j] *= inverse;
	memset(scores + seen, 0, (size_t) (a->n - seen) * sizeof(dl_real));
}

static void
drop_line(const place *a, int query, int head, dl_real *p)
{
	const dl_attention_row *r = a->r;

	if (r->drop != NULL)
		dl_dropout(r->drop, r->drop->attention, r->site, (r->first + (uint32_t) query) * (uint32_t) r->heads +
				   (uint32_t) head, p, r->n);
}

/* p[m, n] of queries first .. first + m - 1, q being the first of them */
static void
probabilities(const place *a, int first, int m, dl_rows q)
{
	dl_gemm(a->e, q.at, q.ld, m, a->dim, a->keys, (size_t) a->dim * DL_PANEL, DL_PANEL, a->n, a->p, (size_t) a->w, false);
	for (int i = 0; i < m; i++)
	{
		dl_real    *p = a->p + (size_t) i * (size_t) a->w;

		softmax(a, position_of(a->r, first + i), p);
	}
}

/* dropped = p after dropout; without dropout, p itself */
static const dl_real *
after_dropout(const place *a, int first, int m, int head)
{
	if (a->r->drop == NULL)
		return a->p;
	memcpy(a->dropped, a->p, (size_t) m * (size_t) a->w * sizeof(dl_real));
	for (int i = 0; i < m; i++)
		drop_line(a, position_of(a->r, first + i), head, a->dropped + (size_t) i * (size_t) a->w);
	return a->dropped;
}

static dl_rows
column(dl_rows x, int head, int dim)
{
	return (dl_rows) {x.at + (size_t) head * (size_t) dim, x.ld};
}

void
dl_attend_head(const dl_exec *e, const dl_attention_row *r, int kv_head, dl_rows q, dl_rows k, dl_rows v, dl_real *scratch,
		  dl_rows out)
{
	place		a = place_of(e, r, scratch);
	int			group = r->heads / r->kv_heads;
	dl_rows		values = column(v, kv_head, r->dim);

	panels_of(&a, column(k, kv_head, r->dim), a.keys);
	for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
		for (int first = 0; first < r->n_queries; first += BLOCK)
		{
			int			m = r->n_queries - first < BLOCK ? r->n_queries - first : BLOCK;
			dl_rows		y = dl_rows_from(column(out, head, a.dim), first);
			const dl_real *p;

			probabilities(&a, first, m, dl_rows_from(column(q, head, a.dim), first));
			p = after_dropout(&a, first, m, head);
			dl_gemm(e, p, (size_t) a.w, m, a.n, values.at, DL_PANEL, values.ld, a.dim, y.at, y.ld, false);
		}
}

/* y[n, dim] += x[m, n]^T rows[m, dim] */
static void
add_turned(const place *a, const dl_real *x, int m, dl_rows rows, dl_rows y)
{
	dl_turn(x, (size_t) a->w, m, a->n, 1, a->turned, BLOCK);
	dl_gemm(a->e, a->turned, BLOCK, a->n, m, rows.at, DL_PANEL, rows.ld, a->dim, y.at, y.ld, true);
}

/* dp becomes the gradient of the scores. */
static void
softmax_back(const place *a, int first, int m, int head)
{
	for (int i = 0; i < m; i++)
	{
		const dl_real *p = a->p + (size_t) i * (size_t) a->w;
		dl_real    *dp = a->dp + (size_t) i * (size_t) a->w;
		dl_real		along;

		drop_line(a, position_of(a->r, first + i), head, dp);
		along = dl_dot(p, dp, a->n);
		for (int j = 0; j < a->n; j++)
			dp[j] = p[j] * (dp[j] - along);
	}
}

void
dl_attend_head_back(const dl_exec *e, const dl_attention_row *r, int kv_head, dl_rows q, dl_rows k, dl_rows v, dl_rows dy,
			   dl_real *scratch, dl_rows dq, dl_rows dk, dl_rows dv)
{
	place		a = place_of(e, r, scratch);
	int			group = r->heads / r->kv_heads;
	dl_rows		keys = column(k, kv_head, r->dim);

	panels_of(&a, keys, a.keys);
	panels_of(&a, column(v, kv_head, r->dim), a.values);
	for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
		for (int first = 0; first < r->n_queries; first += BLOCK)
		{
			int			m = r->n_queries - first < BLOCK ? r->n_queries - first : BLOCK;
			dl_rows		queries = dl_rows_from(column(q, head, a.dim), first);
			dl_rows		g = dl_rows_from(column(dy, head, a.dim), first);
			dl_rows		out = dl_rows_from(column(dq, head, a.dim), first);

			probabilities(&a, first, m, queries);
			add_turned(&a, after_dropout(&a, first, m, head), m, g, column(dv, kv_head, a.dim));
			dl_gemm(e, g.at, g.ld, m, a.dim, a.values, (size_t) a.dim * DL_PANEL, DL_PANEL, a.n, a.dp, (size_t) a.w, false);
			softmax_back(&a, first, m, head);
			dl_gemm(e, a.dp, (size_t) a.w, m, a.n, keys.at, DL_PANEL, keys.ld, a.dim, out.at, out.ld, false);
			add_turned(&a, a.dp, m, queries, column(dk, kv_head, a.dim));
		}
}
