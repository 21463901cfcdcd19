/*
 * sample.c - the draw of a token.
 *
 * top_k and top_p are cut by radix selection on the order of floats (three
 * passes over the vocabulary, whatever k). A draw is the inverse of the
 * cumulative distribution in the order of ids: one uniform number a token.
 * Sums of blocks are added up in double, ascending.
 */
#include "sample.h"
#include "fmath.h"

#include <math.h>
#include <string.h>

#define RADIX_BITS	11
#define RADIX_SIZE	(1 << RADIX_BITS)

/* Logits [*n] of block b. */
static float *
block_at(const dl_blocks *row, int b, int *n)
{
	int			left = row->n - b * DL_VOCAB_BLOCK;

	*n = left < DL_VOCAB_BLOCK ? left : DL_VOCAB_BLOCK;
	return (float *) (row->first + (size_t) b * row->stride);
}

/* buf = exp((x - shift) * scale) of a block; returns its sum. */
static float
exp_block(const dl_kernels *k, const float *x, int n, float shift, float scale, float *buf)
{
	for (int i = 0; i < n; i++)
		buf[i] = (x[i] - shift) * scale;
	return k->exp_sum(buf, 0.0f, n, buf);
}

static double
exp_total(const dl_kernels *k, const dl_blocks *row, float shift, float scale)
{
	float		buf[DL_VOCAB_BLOCK];
	double		total = 0;

	for (int b = 0; b < dl_vocab_blocks(row->n); b++)
	{
		int			n;
		const float *x = block_at(row, b, &n);

		total += exp_block(k, x, n, shift, scale, buf);
	}
	return total;
}

/* -------------------------------------------------------- top_k, top_p */

/* Order of floats as order of unsigned numbers; -0 and +0 are one. */
static uint32_t
order_key(float x)
{
	uint32_t	bits;

	x += 0.0f;
	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* Weights of the logits whose known digits are the prefix's, by their next digit. */
static void
fill_buckets(const dl_kernels *k, const dl_blocks *row, float max, bool mass, uint32_t prefix, uint32_t known,
			 int shift, uint32_t digits, double *bucket)
{
	float		buf[DL_VOCAB_BLOCK];

	memset(bucket, 0, RADIX_SIZE * sizeof(double));
	for (int b = 0; b < dl_vocab_blocks(row->n); b++)
	{
		int			n;
		const float *x = block_at(row, b, &n);

		if (mass)
			exp_block(k, x, n, max, 1.0f, buf);
		for (int i = 0; i < n; i++)
		{
			uint32_t	key = order_key(x[i]);

			if (x[i] > -INFINITY && (key & known) == prefix)
				bucket[(key >> shift) & digits] += mass ? (double) buf[i] : 1.0;
		}
	}
}

/*
 * Keep the largest logits until their weight reaches `target`; the rest
 * becomes -inf. Weight of a logit is 1 (top_k), or exp(x - max) (top_p). Among
 * equal logits the lower ids are kept.
 */
static void
keep_largest(const dl_kernels *k, const dl_blocks *row, float max, bool mass, double target)
{
	static const int shifts[] = {21, 10, 0};
	static const int widths[] = {11, 11, 10};
	double		bucket[RADIX_SIZE];
	uint32_t	prefix = 0;
	uint32_t	known = 0;		/* bits of prefix that are decided */
	double		above = 0;		/* weight of what is larger than the prefix */

	for (int pass = 0; pass < 3; pass++)
	{
		uint32_t	digits = (1u << widths[pass]) - 1;
		uint32_t	d = digits;

		fill_buckets(k, row, max, mass, prefix, known, shifts[pass], digits, bucket);
		while (d > 0 && above + bucket[d] < target)
			above += bucket[d--];
		prefix |= d << shifts[pass];
		known |= digits << shifts[pass];
	}
	for (int b = 0; b < dl_vocab_blocks(row->n); b++)
	{
		int			n;
		float	   *x = block_at(row, b, &n);

		for (int i = 0; i < n; i++)
		{
			uint32_t	key = order_key(x[i]);

			if (key > prefix)
				continue;
			if (key == prefix && above < target)
			{
				above += mass ? (double) dl_expf(x[i] - max) : 1.0;
				continue;
			}
			x[i] = -INFINITY;
		}
	}
}

/* ----------------------------------------------------------------- draw */

/* The id whose interval of the cumulative distribution holds u in (0, 1); -1 if no logit is finite. */
static dl_pick
draw(const dl_kernels *k, const dl_blocks *row, float max, float scale, double u)
{
	float		buf[DL_VOCAB_BLOCK];
	double		target = u * exp_total(k, row, max, scale);
	double		sum = 0;
	int			blocks = dl_vocab_blocks(row->n);
	dl_pick		last = {-1, -INFINITY};

	for (int b = 0; b < blocks; b++)
	{
		int			n;
		const float *x = block_at(row, b, &n);
		double		part = exp_block(k, x, n, max, scale, buf);

		if (sum + part <= target && b + 1 < blocks)
		{
			sum += part;
			continue;
		}
		for (int i = 0; i < n; i++)
		{
			if (buf[i] > 0)
				last = (dl_pick) {b * DL_VOCAB_BLOCK + i, x[i]};
			sum += (double) buf[i];
			if (buf[i] > 0 && sum > target)
				return last;
		}
	}
	return last;
}

dl_pick
dl_sample(const dl_chooser *c, const dl_blocks *row, const dl_draw *at)
{
	float		max = -INFINITY;

	for (int b = 0; b < dl_vocab_blocks(row->n); b++)
	{
		int			n;
		const float *x = block_at(row, b, &n);
		float		m = c->kernels->max(x, n);

		max = m > max ? m : max;
	}
	if (!(max > -INFINITY))
		return (dl_pick) {-1, -INFINITY};
	if (c->top_k > 0 && c->top_k < row->n)
		keep_largest(c->kernels, row, max, false, c->top_k);
	if (c->top_p > 0 && c->top_p < 1)
		keep_largest(c->kernels, row, max, true, c->top_p * exp_total(c->kernels, row, max, 1.0f));
	return draw(c->kernels, row, max, (float) (1.0 / c->temperature),
				dl_rng_uniform(&c->key, at->candidate, at->step, at->position, DL_DRAW_TOKEN));
}
