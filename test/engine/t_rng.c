/*
 * t_rng.c - Philox against the published known answers (Random123's
 * kat_vectors), and the properties that sampling relies on.
 */
#include "harness.h"

#include <math.h>

#include "fmath.h"
#include "rng.h"

static void
philox_known_answers(void)
{
	static const uint32_t cases[3][10] = {	/* counter, key, output */
		{0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
		{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
		 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
		 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}
	};

	for (int i = 0; i < 3; i++)
	{
		uint32_t	c[4];

		memcpy(c, cases[i], sizeof c);
		dl_philox(c, cases[i][4], cases[i][5]);
		CHECK(memcmp(c, cases[i] + 6, sizeof c) == 0, "case %d: %08x %08x %08x %08x", i, c[0], c[1], c[2], c[3]);
	}
}

static dl_rng_key
key_of(int64_t seed, uint8_t first)
{
	uint8_t		digest[32] = {first};

	return dl_rng_make_key(seed, digest);
}

static void
key_depends_on_seed_and_digest(void)
{
	dl_rng_key	a = key_of(1, 0),
				b = key_of(2, 0),
				c = key_of(1, 1),
				d = key_of(1, 0),
				e = key_of(1 + ((int64_t) 1 << 40), 0);

	CHECK(memcmp(&a, &d, sizeof a) == 0, "same inputs, same key");
	CHECK(memcmp(&a, &b, sizeof a) != 0, "seed");
	CHECK(memcmp(&a, &c, sizeof a) != 0, "digest");
	CHECK(memcmp(&a, &e, sizeof a) != 0, "high bits of the seed");
}

static void
coordinates_are_independent(void)
{
	dl_rng_key	key = key_of(7, 3);
	double		u = dl_rng_uniform(&key, 1, 2, 3, 4);

	CHECK(u == dl_rng_uniform(&key, 1, 2, 3, 4), "a pure function");
	CHECK(u != dl_rng_uniform(&key, 2, 2, 3, 4), "candidate");
	CHECK(u != dl_rng_uniform(&key, 1, 3, 3, 4), "step");
	CHECK(u != dl_rng_uniform(&key, 1, 2, 4, 4), "position");
	CHECK(u != dl_rng_uniform(&key, 1, 2, 3, 5), "index");
}

/* Mean 1/2, variance 1/12, 16 even cells (chi square below its 1e-6 quantile, 52.0 at 15 degrees) */
static void
uniform_is_uniform(void)
{
	dl_rng_key	key = key_of(42, 9);
	int			n = 200000,
				cell[16] = {0};
	double		sum = 0,
				squares = 0,
				chi = 0,
				least = 1,
				most = 0;

	for (int i = 0; i < n; i++)
	{
		double		u = dl_rng_uniform(&key, 0, 1, (uint32_t) i / 1000, (uint32_t) i % 1000);

		sum += u;
		squares += (u - 0.5) * (u - 0.5);
		cell[(int) (u * 16)]++;
		least = fmin(least, u);
		most = fmax(most, u);
	}
	for (int i = 0; i < 16; i++)
		chi += (cell[i] - n / 16.0) * (cell[i] - n / 16.0) / (n / 16.0);
	CHECK(least > 0 && most < 1, "open interval");
	CHECK(fabs(sum / n - 0.5) < 0.003, "mean %g", sum / n);
	CHECK(fabs(squares / n - 1.0 / 12) < 0.001, "variance %g", squares / n);
	CHECK(chi < 52.0, "chi square %g", chi);
}

/* arg max of logits + Gumbel noise has the softmax's probabilities */
static void
gumbel_samples_the_softmax(void)
{
	static const double p[4] = {0.1, 0.2, 0.3, 0.4};
	dl_rng_key	key = key_of(5, 5);
	int			n = 40000,
				count[4] = {0};

	for (int i = 0; i < n; i++)
	{
		int			best = 0;
		double		top = -1e300;

		for (int j = 0; j < 4; j++)
		{
			double		g = log(p[j]) + dl_rng_gumbel(&key, 0, 0, (uint32_t) i, (uint32_t) j);

			if (g > top)
			{
				top = g;
				best = j;
			}
		}
		count[best]++;
	}
	for (int j = 0; j < 4; j++)
		CHECK(fabs((double) count[j] / n - p[j]) < 0.012, "outcome %d: %g", j, (double) count[j] / n);
}

int
main(void)
{
	philox_known_answers();
	key_depends_on_seed_and_digest();
	coordinates_are_independent();
	uniform_is_uniform();
	gumbel_samples_the_softmax();
	return harness_end("t_rng");
}
