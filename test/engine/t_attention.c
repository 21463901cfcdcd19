/*
 * t_attention.c - dl_attend against a double-precision softmax, and the walk
 * that never holds a row's scores against the one that does, bit for bit.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "attention.h"

static uint32_t state = 7;

static float
number(void)
{
	state = state * 1664525u + 1013904223u;
	return (float) (state >> 8) * 0x1p-23f - 1.0f;
}

typedef struct problem
{
	dl_heads	h;
	int			n_fixed,
				n_live,
				n_queries,
				m;
	float	   *fixed,
			   *live,
			   *q;
	int		   *limit;			/* NULL: every query sees all */
} problem;

static void *
must(void *p)
{
	if (p == NULL)
		exit(2);
	return p;
}

static int
capacity(int n)
{
	return (n + DL_PANEL - 1) / DL_PANEL * DL_PANEL;
}

static float *
random_space(const dl_heads *h, int n)
{
	float	   *space = must(calloc(dl_keys_floats(h, capacity(n)) + 1, sizeof(float)));
	float	   *kv = must(malloc((size_t) (n + 1) * (size_t) h->dim * 2 * sizeof(float)));
	float	   *v = kv + (size_t) n * (size_t) h->dim;

	for (int i = 0; i < 2 * n * h->dim; i++)
		kv[i] = 3.0f * number();
	/* in runs of all lengths */
	for (int slot = 0, run = 1; slot < n; slot += run, run = 1 + run * 7 % 40)
	{
		run = run < n - slot ? run : n - slot;
		dl_keys_store(h, space, capacity(n), slot, run, kv + slot * h->dim, v + slot * h->dim, (size_t) h->dim);
	}
	free(kv);
	return space;
}

static problem
make(int dim, int group, int n_fixed, int n_live, int n_queries, bool causal)
{
	problem		p = {dl_heads_of(group, 1, dim), n_fixed, n_live, n_queries, n_queries * group, NULL, NULL, NULL, NULL};

	p.fixed = random_space(&p.h, n_fixed);
	p.live = random_space(&p.h, n_live);
	p.q = must(malloc((size_t) p.m * (size_t) dim * sizeof(float)));
	for (int i = 0; i < p.m * dim; i++)
		p.q[i] = number();
	if (causal)
	{
		p.limit = must(malloc((size_t) n_queries * sizeof(int)));
		for (int i = 0; i < n_queries; i++)
			p.limit[i] = n_fixed - n_queries + i + 1;
	}
	return p;
}

static void
release(problem *p)
{
	free(p->fixed);
	free(p->live);
	free(p->q);
	free(p->limit);
}

typedef void (*attend) (const dl_kernels *, const dl_heads *, const dl_keys *, const dl_keys *, const float *, int,
						const int *, float *, size_t, float *);

/* [m, value_dim] */
static float *
run(const problem *p, attend fn, const dl_kernels *kernels)
{
	int			keys = p->n_fixed + p->n_live;
	size_t		ld = (size_t) (keys > DL_LONG_TILE ? keys : DL_LONG_TILE) + 4 * DL_PANEL;	/* fits both walks */
	float	   *scores = must(malloc((size_t) p->m * ld * sizeof(float)));
	float	   *out = must(calloc((size_t) p->m * (size_t) p->h.value_dim, sizeof(float)));
	dl_keys		fixed = dl_keys_at(&p->h, p->fixed, capacity(p->n_fixed), 0, p->n_fixed);
	dl_keys		live = dl_keys_at(&p->h, p->live, capacity(p->n_live), 0, p->n_live);

	memset(scores, 0x7f, (size_t) p->m * ld * sizeof(float));	/* NaN where nothing was written */
	fn(kernels, &p->h, &fixed, &live, p->q, p->n_queries, p->limit, scores, ld, out);
	free(scores);
	return out;
}

static float
key_element(const problem *p, int key, int d, bool value)
{
	bool		live = key >= p->n_fixed;
	int			slot = live ? key - p->n_fixed : key;
	dl_keys		k = dl_keys_at(&p->h, live ? p->live : p->fixed, capacity(live ? p->n_live : p->n_fixed), 0, 0);

	return value ? k.v[slot * p->h.value_dim + d] : k.k[slot / DL_PANEL * p->h.dim * DL_PANEL + d * DL_PANEL + slot % DL_PANEL];
}

static void
agrees_with_double(const problem *p, const float *out)
{
	double		worst = 0;

	for (int i = 0; i < p->m; i++)
	{
		int			n = p->limit ? p->limit[i / p->h.group] : p->n_fixed + p->n_live;
		double	   *weight = must(malloc((size_t) n * sizeof(double)));
		double		top = -INFINITY,
					z = 0;

		for (int j = 0; j < n; j++)
		{
			weight[j] = 0;
			for (int d = 0; d < p->h.dim; d++)
				weight[j] += (double) p->q[i * p->h.dim + d] * key_element(p, j, d, false);
			top = fmax(top, weight[j]);
		}
		for (int j = 0; j < n; j++)
			z += weight[j] = exp(weight[j] - top);
		for (int d = 0; d < p->h.dim; d++)
		{
			double		sum = 0;

			for (int j = 0; j < n; j++)
				sum += weight[j] * key_element(p, j, d, true);
			worst = fmax(worst, fabs(sum / z - out[i * p->h.value_dim + d]));
		}
		free(weight);
	}
	CHECK(worst < 2e-5, "dim %d group %d keys %d+%d: off by %g", p->h.dim, p->h.group, p->n_fixed, p->n_live, worst);
}

static void
check_case(int dim, int group, int n_fixed, int n_live, int n_queries, bool causal)
{
	static const uint32_t masks[] = {~0u, DLM_CPU_AVX512, DLM_CPU_VNNI, 0};
	problem		p = make(dim, group, n_fixed, n_live, n_queries, causal);
	float	   *whole = run(&p, dl_attend, dl_kernels_get(0));
	size_t		bytes = (size_t) p.m * (size_t) p.h.value_dim * sizeof(float);

	agrees_with_double(&p, whole);
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
	{
		float	   *tiled = run(&p, dl_attend_long, dl_kernels_get(masks[i]));

		CHECK(memcmp(whole, tiled, bytes) == 0, "%s, tile by tile: dim %d group %d keys %d+%d queries %d causal %d",
			  dl_kernels_get(masks[i])->name, dim, group, n_fixed, n_live, n_queries, causal);
		free(tiled);
	}
	free(whole);
	release(&p);
}

int
main(void)
{
	static const int edges[] = {1, 15, 16, 17, 1023, 1024, 1025, 2100};

	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
	{
		check_case(20, 1, edges[i], 0, 1, true);
		check_case(16, 2, 0, edges[i], 3, false);
		check_case(24, 3, edges[i], edges[(i + 3) % 8], 2, false);
		if (edges[i] > 5)
			check_case(8, 2, edges[i], 0, 5, true);
	}
	check_case(16, 1, 1100, 0, 96, true);	/* limits on both sides of a tile's end */
	check_case(16, 1, 3000, 30, 7, false);
	check_case(8, 1, DL_LONG_KEYS + 500, 40, 2, false);	/* dl_attend itself takes the long walk */
	return harness_end("t_attention");
}
