/*
 * attention.c - see attention.h for the layout and the definition.
 *
 * Both products are the gemm of kernels.h. A block of causal queries shares
 * the scores up to the last query's limit; what lies beyond a query's own
 * limit is never read. Its P V is the common part for the whole block, then
 * each query's rest, which goes on with the same chain.
 */
#include "attention.h"

#include <string.h>

dl_heads
dl_heads_of(int heads, int kv_heads, int dim)
{
	return (dl_heads) {kv_heads, heads / kv_heads, dim, (dim + DL_PANEL - 1) / DL_PANEL * DL_PANEL};
}

size_t
dl_keys_floats(const dl_heads *h, int capacity)
{
	return dl_keys_head(h, capacity, h->kv_heads);
}

dl_keys
dl_keys_at(const dl_heads *h, const float *space, int capacity, int head, int n)
{
	const float *k = space + dl_keys_head(h, capacity, head);

	return (dl_keys) {k, k + (size_t) capacity * (size_t) h->dim, n};
}

/* Keys of n tokens of one panel: the panel's lines are written one after the other, each once. */
static void
store_in_panel(float *panel, int lane, int n, int dim, const float *k, size_t ld)
{
	for (int d = 0; d < dim; d++)
		for (int i = 0; i < n; i++)
			panel[d * DL_PANEL + lane + i] = k[(size_t) i * ld + (size_t) d];
}

void
dl_keys_store(const dl_heads *h, float *space, int capacity, int slot, int n, const float *k, const float *v, size_t ld)
{
	for (int head = 0; head < h->kv_heads; head++)
	{
		float	   *keys = space + dl_keys_head(h, capacity, head);
		float	   *values = keys + (size_t) capacity * (size_t) h->dim + (size_t) slot * (size_t) h->value_dim;
		size_t		column = (size_t) head * (size_t) h->dim;

		for (int i = 0, some; i < n; i += some)
		{
			int			lane = (slot + i) % DL_PANEL;

			some = n - i < DL_PANEL - lane ? n - i : DL_PANEL - lane;
			store_in_panel(keys + (size_t) ((slot + i) / DL_PANEL) * (size_t) h->dim * DL_PANEL, lane, some, h->dim,
						   k + (size_t) i * ld + column, ld);
		}
		for (int i = 0; i < n; i++, values += h->value_dim)
		{
			memcpy(values, v + (size_t) i * ld + column, (size_t) h->dim * sizeof(float));
			for (int d = h->dim; d < h->value_dim; d++)
				values[d] = 0;
		}
	}
}

void
dl_keys_copy(const dl_heads *h, const float *from, int from_capacity, float *to, int to_capacity, int first, int end)
{
	size_t		dim = (size_t) h->dim;
	size_t		width = (size_t) h->value_dim;

	for (int head = 0; head < h->kv_heads; head++)
	{
		const float *source = from + dl_keys_head(h, from_capacity, head);
		float	   *target = to + dl_keys_head(h, to_capacity, head);

		for (int slot = first, next; slot < end; slot = next)
		{
			size_t		panel = (size_t) (slot / DL_PANEL) * dim * DL_PANEL + (size_t) (slot % DL_PANEL);
			size_t		bytes;

			next = (slot / DL_PANEL + 1) * DL_PANEL;
			if (next > end)
				next = end;
			bytes = (size_t) (next - slot) * sizeof(float);
			for (size_t d = 0; d < dim; d++)
				memcpy(target + panel + d * DL_PANEL, source + panel + d * DL_PANEL, bytes);
		}
		memcpy(target + (size_t) to_capacity * dim + (size_t) first * width,
			   source + (size_t) from_capacity * dim + (size_t) first * width,
			   (size_t) (end - first) * width * sizeof(float));
	}
}

void
dl_score_keys(const dl_kernels *kernels, const dl_heads *h, const float *q, int m, const dl_keys *keys, int first, int n,
			  float *scores, size_t ld)
{
	if (n > 0)
		kernels->gemm_f32(q, (size_t) h->dim, m, h->dim, keys->k + (size_t) first * (size_t) h->dim,
						  (size_t) h->dim * DL_PANEL, DL_PANEL, (n + DL_PANEL - 1) / DL_PANEL, n, scores, ld, false);
}

void
dl_weigh_values(const dl_kernels *kernels, const dl_heads *h, const float *weights, size_t ld, int m,
				const dl_keys *keys, int first, int n, float *out, bool accumulate)
{
	if (n > 0)
		kernels->gemm_f32(weights, ld, m, n, keys->v + (size_t) first * (size_t) h->value_dim, DL_PANEL,
						  (size_t) h->value_dim, h->value_dim / DL_PANEL, h->dim, out, (size_t) h->value_dim,
						  accumulate);
}

void
dl_divide_row(float *x, float by, int n)
{
	for (int i = 0; i < n; i++)
		x[i] /= by;
}

void
dl_attend(const dl_kernels *kernels, const dl_heads *h, const dl_keys *fixed, const dl_keys *live,
		  const float *q, int n_queries, const int *limit, float *scores, size_t ld, float *out)
{
	int			m = n_queries * h->group;
	int			n_fixed = limit != NULL ? limit[n_queries - 1] : fixed->n;
	int			n_live = limit != NULL ? 0 : live->n;
	int			common = limit != NULL ? limit[0] : fixed->n;

	if (n_fixed + n_live > DL_LONG_KEYS)
	{
		dl_attend_long(kernels, h, fixed, live, q, n_queries, limit, scores, ld, out);
		return;
	}
	dl_score_keys(kernels, h, q, m, fixed, 0, n_fixed, scores, ld);
	dl_score_keys(kernels, h, q, m, live, 0, n_live, scores + n_fixed, ld);
	for (int i = 0; i < m; i++)
	{
		float	   *row = scores + (size_t) i * ld;
		int			seen = limit != NULL ? limit[i / h->group] : n_fixed + n_live;
		float		z = kernels->exp_sum(row, kernels->max(row, seen), seen, row);

		row[ld - 1] = z;		/* kept behind the scores until the division */
	}
	dl_weigh_values(kernels, h, scores, ld, m, fixed, 0, common, out, false);
	dl_weigh_values(kernels, h, scores + common, ld, m, live, 0, n_live, out, common > 0);
	for (int i = 0; limit != NULL && i < n_queries; i++)
	{
		size_t		at = (size_t) (i * h->group);

		dl_weigh_values(kernels, h, scores + at * ld + common, ld, h->group, fixed, common, limit[i] - common,
			  out + at * (size_t) h->value_dim, true);
	}
	for (int i = 0; i < m; i++)
		dl_divide_row(out + (size_t) i * (size_t) h->value_dim, scores[(size_t) i * ld + ld - 1], h->dim);
}
