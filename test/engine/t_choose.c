/*
 * t_choose.c - the normaliser agrees with doubles; what the blocks of a
 * vocabulary give is what a scan of the whole row gives, ties, rules, bans and
 * block edges included; a draw is the inverse of the cumulative distribution.
 */
#include "choose.h"
#include "wide_model.h"

static const int sizes[] = {1, 7, 15, 16, 17, 63, 424, 1023, 1024, 1025, 1040, 2047, 2048, 2049, 2085, 5000, 50257};

#define N_SIZES		((int) (sizeof(sizes) / sizeof(sizes[0])))
#define MOST		50257

static dl_normalizer
normalizer_of(const dl_kernels *k, const float *x, int n)
{
	dl_block_sum blocks[MOST / DL_VOCAB_BLOCK + 1];
	float		exps[DL_VOCAB_BLOCK];

	for (int b = dl_vocab_blocks(n) - 1; b >= 0; b--)	/* in whatever order */
	{
		int			first = b * DL_VOCAB_BLOCK;

		blocks[b] = dl_block_sum_of(k, x + first, n - first < DL_VOCAB_BLOCK ? n - first : DL_VOCAB_BLOCK, exps);
	}
	return dl_blocks_normalizer(blocks, dl_vocab_blocks(n));
}

static void
normalizer_agrees_with_doubles(void)
{
	static const float spreads[] = {0, 1, 12, 60, 2000, 1e30f};
	float	   *x = calloc(MOST, sizeof(*x));

	for (int s = 0; s < N_SIZES; s++)
		for (size_t k = 0; k < sizeof(spreads) / sizeof(spreads[0]); k++)
		{
			int			n = sizes[s];
			dl_normalizer a,
						b;
			double		want;

			for (int i = 0; i < n; i++)
				x[i] = wide_number() * spreads[k];
			if (k == 2)			/* some excluded, among them a whole block */
				for (int i = 0; i < n - 1; i++)
					if (i % 3 == 0 || i / DL_VOCAB_BLOCK == 1)
						x[i] = -INFINITY;
			want = wide_log_sum_exp(x, n);
			a = normalizer_of(dl_kernels_get(0), x, n);
			b = normalizer_of(&dl_kernels_ref, x, n);
			CHECK(memcmp(&a, &b, sizeof(a)) == 0, "%d logits, spread %g: bits", n, spreads[k]);
			CHECK(fabs((double) a.max + (double) a.log_sum - want) <= 1e-6 + 1e-6 * fabs((double) a.log_sum),
				  "%d logits, spread %g: %.9g, not %.9g", n, spreads[k], (double) a.max + (double) a.log_sum, want);
			for (int i = 0; i < n; i += n / 5 + 1)
				CHECK(x[i] == -INFINITY ? dl_logprob(x[i], a) == -INFINITY :
					  fabs((double) dl_logprob(x[i], a) - ((double) x[i] - want)) <= 1e-6 * (3 + fabs((double) x[i] - want)),
					  "%d logits, spread %g: log-probability of %d", n, spreads[k], i);
		}
	free(x);
}

/* ------------------------------------------------------- one made-up choice */

typedef struct problem
{
	dl_vocab	v;
	dl_bans		bans;
	dl_chooser	c;
	uint8_t    *sets[8];		/* 0 never, 1 stop, 2 spaced, 3 spaced_word, 4 never_spaced, 5 space_end, 6 whole, 7 heal's */
	float	   *logits;
	unsigned	rules;
} problem;

static uint8_t *
random_set(int n, uint32_t share)
{
	uint8_t    *set = calloc((size_t) (n + 7) / 8, 1);

	for (int i = 0; i < n; i++)
		if (wide_random() % 1000 < share)
			dl_put_in_set(set, i);
	return set;
}

/* values: how many different logits there are (0: as many as numbers); few give ties */
static void
make_problem(problem *p, int n, unsigned rules, uint32_t values)
{
	static const uint32_t shares[8] = {30, 5, 400, 350, 200, 20, 900, 100};
	static const uint8_t digest[32] = {1, 2, 3};

	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 8; i++)
		p->sets[i] = random_set(n, shares[i]);
	p->logits = calloc((size_t) n, sizeof(float));
	for (int i = 0; i < n; i++)
		p->logits[i] = values ? (float) (wide_random() % values) * 0.5f : wide_number() * 9;
	p->v = (dl_vocab) {.rows = n, .bytes = (size_t) (n + 7) / 8, .spaced = p->sets[2], .spaced_word = p->sets[3],
		.never_spaced = p->sets[4], .space_end = p->sets[5], .whole = p->sets[6]};
	p->bans = (dl_bans) {.vocab = &p->v, .never = p->sets[0], .stop = p->sets[1]};
	p->c = (dl_chooser) {.bans = &p->bans, .kernels = dl_kernels_get(0), .entropy = true};
	p->c.key = dl_rng_make_key(7, digest);
	p->rules = rules;
}

static void
free_problem(problem *p)
{
	for (int i = 0; i < 8; i++)
		free(p->sets[i]);
	free(p->logits);
}

static void
choose_by_blocks(const problem *p, bool backwards, const dl_draw *at, dl_choice *out, float *set_logprob)
{
	int			n = p->v.rows;
	int			blocks = dl_vocab_blocks(n);
	size_t		size = p->c.temperature > 0 ? DL_CHOICE_SAMPLED : DL_CHOICE_GREEDY;
	char	   *parts = malloc((size_t) blocks * size);

	memset(parts, 0xa5, (size_t) blocks * size);
	for (int k = 0; k < blocks; k++)
	{
		int			b = backwards ? blocks - 1 - k : k;
		int			first = b * DL_VOCAB_BLOCK;
		int			m = n - first < DL_VOCAB_BLOCK ? n - first : DL_VOCAB_BLOCK;
		float	   *x = malloc((size_t) m * sizeof(float));	/* of its own, so that a sanitizer sees its end */

		memcpy(x, p->logits + first, (size_t) m * sizeof(float));
		dl_choose_block(&p->c, first, m, x, p->rules, NULL, p->sets[7], (dl_choice_part *) (parts + (size_t) b * size));
		free(x);
	}
	*set_logprob = dl_set_logprob(&p->c, parts);
	memset(out, 0, sizeof(*out));
	dl_choose_fold(&p->c, parts, at, out);
	free(parts);
}

/* ------------------------------------------------- the plain scan of a row */

static bool
ruled_out(const problem *p, int id)
{
	const dl_vocab *v = &p->v;
	bool		spaced_word = dl_in_set(v->spaced_word, id);
	bool		never_spaced = dl_in_set(v->never_spaced, id);

	return dl_in_set(p->bans.never, id) || ((p->rules & DL_RULE_SPACED) && !spaced_word) ||
		((p->rules & DL_RULE_UNSPACED) && dl_in_set(v->spaced, id)) ||
		((p->rules & DL_RULE_NEVER_SPACED) && !never_spaced) ||
		((p->rules & DL_RULE_WORD_START) && !spaced_word && !never_spaced) ||
		((p->rules & DL_RULE_LAST) && dl_in_set(v->space_end, id)) ||
		((p->rules & DL_RULE_FIRST) && dl_in_set(p->bans.stop, id));
}

/* The row after the rules, and (stopless) after DL_RULE_NO_STOP too. */
static float *
allowed(const problem *p, bool stopless)
{
	float	   *x = malloc((size_t) p->v.rows * sizeof(float));

	for (int i = 0; i < p->v.rows; i++)
		x[i] = ruled_out(p, i) || (stopless && (p->rules & DL_RULE_NO_STOP) && dl_in_set(p->bans.stop, i)) ?
			-INFINITY : p->logits[i];
	return x;
}

static int
best_below(const float *x, int n, const uint8_t *in, const dl_pick *before)
{
	int			best = -1;

	for (int i = 0; i < n; i++)
		if (x[i] > -INFINITY && (in == NULL || dl_in_set(in, i)) && (best < 0 || x[i] > x[best]) &&
			(before == NULL || x[i] < x[before->id] || (x[i] == x[before->id] && i > before->id)))
			best = i;
	return best;
}

static void
check_picks(const problem *p, const dl_choice *got, const float *x, double z, const char *what)
{
	int			n = p->v.rows;
	int			whole = best_below(x, n, p->v.whole, NULL);

	for (int k = 0; k <= DL_PICKS; k++)
	{
		int			want = best_below(x, n, NULL, k > 0 ? &got->pick[k - 1] : NULL);

		if (k == got->n || want < 0)
		{
			CHECK(got->n == DL_PICKS || want < 0, "%s: %d picks", what, got->n);
			CHECK(want >= 0 || k == got->n, "%s: %d picks, not %d", what, got->n, k);
			break;
		}
		CHECK(got->pick[k].id == want && fabs((double) got->pick[k].logprob - ((double) x[want] - z)) < 1e-5,
			  "%s: pick %d is %d (%f), not %d (%f)", what, k, got->pick[k].id, got->pick[k].logprob, want,
			  (double) x[want] - z);
		if (got->pick[k].id != want)
			break;
	}
	if (got->n > 0)
		CHECK(got->whole.id == whole && (whole < 0 || fabs((double) got->whole.logprob - ((double) x[whole] - z)) < 1e-5),
			  "%s: whole is %d, not %d", what, got->whole.id, whole);
}

static void
check_numbers(const problem *p, const dl_choice *got, float set_logprob, const float *x, double z, const char *what)
{
	int			n = p->v.rows;
	double		entropy = 0,
				top[2] = {-INFINITY, -INFINITY},
				best = -INFINITY;
	float	   *free_row = malloc((size_t) n * sizeof(float));

	for (int i = 0; i < n; i++)
	{
		double		value = x[i];

		if (value > -INFINITY)
			entropy -= exp(value - z) * (value - z);
		top[1] = fmax(top[1], fmin(value, top[0]));
		top[0] = fmax(top[0], value);
		free_row[i] = dl_in_set(p->bans.never, i) ? -INFINITY : p->logits[i];
		if (dl_in_set(p->sets[7], i))
			best = fmax(best, free_row[i]);
	}
	if (got->n > 0)
	{
		CHECK(fabs((double) got->peak - (top[0] - z)) < 1e-5, "%s: peak %f, not %f", what, got->peak, top[0] - z);
		CHECK(fabs((double) got->margin - (exp(top[0] - z) - exp(top[1] - z))) < 1e-5, "%s: margin %f", what,
			  got->margin);
		CHECK(fabs((double) got->entropy - entropy) < 1e-4, "%s: entropy %f, not %f", what, got->entropy, entropy);
	}
	CHECK(best == -INFINITY ? set_logprob == -INFINITY :
		  fabs((double) set_logprob - (best - wide_log_sum_exp(free_row, n))) < 1e-5, "%s: set %f", what, set_logprob);
	free(free_row);
}

static void
blocks_equal_a_scan(void)
{
	static const unsigned rules[] = {0, DL_RULE_SPACED, DL_RULE_UNSPACED | DL_RULE_LAST, DL_RULE_NEVER_SPACED,
		DL_RULE_WORD_START, DL_RULE_FIRST, DL_RULE_NO_STOP, DL_RULE_NO_STOP | DL_RULE_SPACED | DL_RULE_LAST};
	static const uint32_t values[] = {0, 1, 2, 40};

	for (int s = 0; s < N_SIZES - 1; s++)
		for (int r = 0; r < 8; r++)
			for (int k = 0; k < 4; k++)
			{
				problem		p;
				dl_draw		at = {0, 1, 2};
				dl_choice	got,
							again;
				float		set[2];
				float	   *x,
						   *choosable;
				double		z;
				char		what[64];

				make_problem(&p, sizes[s], rules[r], values[k]);
				snprintf(what, sizeof(what), "%d ids, rules %u, %u values", sizes[s], rules[r], values[k]);
				choose_by_blocks(&p, false, &at, &got, &set[0]);
				p.c.kernels = &dl_kernels_ref;
				choose_by_blocks(&p, true, &at, &again, &set[1]);
				CHECK(memcmp(&got, &again, sizeof(got)) == 0 && set[0] == set[1], "%s: the order of blocks", what);
				x = allowed(&p, false);
				choosable = allowed(&p, true);
				z = wide_log_sum_exp(x, sizes[s]);
				check_picks(&p, &got, choosable, z, what);
				check_numbers(&p, &got, set[0], x, z, what);
				free(x);
				free(choosable);
				free_problem(&p);
			}
}

/* Nothing may be chosen: no candidate, and no number that is not one. */
static void
all_banned(void)
{
	problem		p;
	dl_draw		at = {0, 1, 2};
	dl_choice	got;
	float		set;

	for (int t = 0; t < 2; t++)
	{
		make_problem(&p, 2085, 0, 0);
		p.c.temperature = t;
		memset(p.sets[0], 0xff, p.v.bytes);
		choose_by_blocks(&p, false, &at, &got, &set);
		CHECK(got.n == 0 && got.peak == 0 && got.margin == 0 && got.entropy == 0 && set == -INFINITY, "%d", got.n);
		free_problem(&p);
	}
}

/* The k-th largest logit with ties to lower ids, by the mass kept: what top_k and top_p leave. */
static void
cut(float *x, int n, int top_k, double top_p)
{
	float	   *kept = malloc((size_t) n * sizeof(float));
	double		z = wide_log_sum_exp(x, n);
	double		mass = 0;
	dl_pick		last;

	for (int i = 0; i < n; i++)
		kept[i] = -INFINITY;
	for (int k = 0; (top_k == 0 || k < top_k) && (top_p == 0 || mass < top_p); k++)
	{
		int			id = best_below(x, n, NULL, k > 0 ? &last : NULL);

		if (id < 0)
			break;
		last = (dl_pick) {id, 0};
		kept[id] = x[id];
		mass += exp(x[id] - z);
	}
	memcpy(x, kept, (size_t) n * sizeof(float));
	free(kept);
}

static void
draws_invert_the_distribution(void)
{
	static const struct
	{
		int			top_k;
		double		top_p,
					temperature;
	}			ways[] = {{0, 0, 1}, {0, 0, 0.7}, {5, 0, 1}, {0, 0.6, 1.3}, {40, 0.9, 1}};
	static const int wide[] = {424, 1024, 2085, 5000};

	for (int trial = 0; trial < 200; trial++)
	{
		int			w = trial % 5;
		problem		p;
		dl_draw		at = {3, 1, (uint32_t) trial};
		dl_choice	got;
		float		set;
		float	   *x;
		double		u,
					z,
					below = 0;

		make_problem(&p, wide[trial % 4], trial % 3 ? DL_RULE_NO_STOP : 0, trial % 7 ? 0 : 3);
		p.c.temperature = ways[w].temperature;
		p.c.top_k = ways[w].top_k;
		p.c.top_p = ways[w].top_p;
		choose_by_blocks(&p, trial % 2, &at, &got, &set);
		u = dl_rng_uniform(&p.c.key, at.candidate, at.step, at.position, DL_DRAW_TOKEN);
		x = allowed(&p, true);
		cut(x, p.v.rows, p.c.top_k, 0);
		cut(x, p.v.rows, 0, p.c.top_p);
		for (int i = 0; i < p.v.rows; i++)
			x[i] = (float) ((double) x[i] / p.c.temperature);
		z = wide_log_sum_exp(x, p.v.rows);
		for (int i = 0; i < got.pick[0].id; i++)
			below += exp(x[i] - z);
		CHECK(got.n > 0 && x[got.pick[0].id] > -INFINITY && below <= u + 1e-5 &&
			  below + exp(x[got.pick[0].id] - z) >= u - 1e-5, "trial %d drew %d: %f is not in [%f, %f]", trial,
			  got.pick[0].id, u, below, below + exp(x[got.pick[0].id] - z));
		free(x);
		free_problem(&p);
	}
}

int
main(void)
{
	normalizer_agrees_with_doubles();
	blocks_equal_a_scan();
	all_banned();
	draws_invert_the_distribution();
	return harness_end("t_choose");
}
