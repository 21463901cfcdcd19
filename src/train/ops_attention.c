/*
 * ops_attention.c - softmax attention of one row, query by query; see ops.h.
 *
 * The probabilities of one query and head are all that is ever held; the
 * backward pass computes them again from queries and keys.
 */
#include "ops.h"

static bool
sees(const dl_attention_row *r, int query, int key)
{
	return r->live == NULL || r->live[query] || (!r->live[key] && key <= query);
}

/* p[n] = the probabilities of one query q [dim]; k is the head's column, stride ldk. Every query sees itself. */
static void
probabilities(const dl_attention_row *r, int query, const dl_real *q, const dl_real *k, size_t ldk, dl_real *p)
{
	dl_real		most = -INFINITY;
	dl_real		sum = 0;

	for (int j = 0; j < r->n; j++)
	{
		p[j] = sees(r, query, j) ? dl_dot(q, k + (size_t) j * ldk, r->dim) : -INFINITY;
		most = p[j] > most ? p[j] : most;
	}
	for (int j = 0; j < r->n; j++)
	{
		p[j] = dl_real_exp(p[j] - most);
		sum += p[j];
	}
	for (int j = 0; j < r->n; j++)
		p[j] /= sum;
}

static void
drop_line(const dl_attention_row *r, int query, int head, dl_real *p)
{
	if (r->drop != NULL)
		dl_dropout(r->drop, r->drop->attention, r->site, (r->first + (uint32_t) query) * (uint32_t) r->heads +
				   (uint32_t) head, p, r->n);
}

void
dl_attend_row(const dl_attention_row *r, const dl_real *q, const dl_real *k, const dl_real *v, dl_real *scores,
			  dl_real *out)
{
	size_t		ldq = (size_t) r->heads * (size_t) r->dim;
	size_t		ldk = (size_t) r->kv_heads * (size_t) r->dim;

	for (int i = 0; i < r->n; i++)
		for (int head = 0; head < r->heads; head++)
		{
			size_t		column = (size_t) (head / (r->heads / r->kv_heads) * r->dim);
			size_t		at = (size_t) i * ldq + (size_t) (head * r->dim);

			probabilities(r, i, q + at, k + column, ldk, scores);
			drop_line(r, i, head, scores);
			for (int d = 0; d < r->dim; d++)
				out[at + (size_t) d] = 0;
			for (int j = 0; j < r->n; j++)
				dl_add_scaled(out + at, v + (size_t) j * ldk + column, scores[j], (size_t) r->dim);
		}
}

/* One query and head: dy, q, dq [dim]; the others are the key head's columns. */
static void
query_back(const dl_attention_row *r, int query, int head, const dl_real *q, const dl_real *k, const dl_real *v,
		   const dl_real *dy, dl_real *scores, dl_real *dq, dl_real *dk, dl_real *dv)
{
	size_t		ldk = (size_t) r->kv_heads * (size_t) r->dim;
	dl_real    *p = scores;
	dl_real    *dropped = scores + r->n;
	dl_real    *dp = scores + 2 * r->n;
	dl_real		sum = 0;

	probabilities(r, query, q, k, ldk, p);
	for (int j = 0; j < r->n; j++)
	{
		dropped[j] = p[j];
		dp[j] = dl_dot(dy, v + (size_t) j * ldk, r->dim);
	}
	drop_line(r, query, head, dropped);
	drop_line(r, query, head, dp);
	for (int j = 0; j < r->n; j++)
	{
		dl_add_scaled(dv + (size_t) j * ldk, dy, dropped[j], (size_t) r->dim);
		sum += p[j] * dp[j];
	}
	for (int j = 0; j < r->n; j++)
	{
		dl_real		ds = p[j] * (dp[j] - sum);

		dl_add_scaled(dq, k + (size_t) j * ldk, ds, (size_t) r->dim);
		dl_add_scaled(dk + (size_t) j * ldk, q, ds, (size_t) r->dim);
	}
}

void
dl_attend_row_back(const dl_attention_row *r, const dl_real *q, const dl_real *k, const dl_real *v, const dl_real *dy,
				   dl_real *scores, dl_real *dq, dl_real *dk, dl_real *dv)
{
	size_t		ldq = (size_t) r->heads * (size_t) r->dim;

	for (int i = 0; i < r->n; i++)
		for (int head = 0; head < r->heads; head++)
		{
			size_t		column = (size_t) (head / (r->heads / r->kv_heads) * r->dim);
			size_t		at = (size_t) i * ldq + (size_t) (head * r->dim);

			query_back(r, i, head, q + at, k + column, v + column, dy + at, scores, dq + at, dk + column, dv + column);
		}
}
