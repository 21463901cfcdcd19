/*
 * choose.c - bans, softmax, candidates, nucleus, draw.
 *
 * The vocabulary is walked in chunks of the stack's size, so that nothing is
 * allocated and the logits survive the softmax; chunk sums are added up in
 * double, in order. top_k and top_p are cut by radix selection on the order of
 * floats (three passes over the vocabulary, whatever k). A draw is the
 * inverse of the cumulative distribution in the order of ids: one uniform
 * number a token.
 */
#include "choose.h"
#include "fmath.h"

#include <math.h>
#include <string.h>

#define CHUNK		1024
#define RADIX_BITS	11
#define RADIX_SIZE	(1 << RADIX_BITS)

/* ---------------------------------------------------------------- masks */

/* logits[id] = -inf for the ids in `set` (or, with keep, for those not in it). */
static void
exclude_set(float *logits, int n, const uint8_t *set, bool keep)
{
	for (int i = 0; i < n; i += 8)
	{
		unsigned	bits = keep ? (uint8_t) ~set[i >> 3] : set[i >> 3];

		for (int k = 0; bits != 0 && i + k < n; k++, bits >>= 1)
			if (bits & 1)
				logits[i + k] = -INFINITY;
	}
}

static void
apply_rules(const dl_chooser *c, float *logits, unsigned rules)
{
	const dl_vocab *v = c->bans->vocab;

	exclude_set(logits, v->rows, c->bans->never, false);
	if (rules & DL_RULE_SPACED)
		exclude_set(logits, v->rows, v->spaced_word, true);
	if (rules & DL_RULE_UNSPACED)
		exclude_set(logits, v->rows, v->spaced, false);
	if (rules & DL_RULE_NEVER_SPACED)
		exclude_set(logits, v->rows, v->never_spaced, true);
	if (rules & DL_RULE_WORD_START)
		for (int i = 0; i < v->rows; i++)
			if (!dl_in_set(v->spaced_word, i) && !dl_in_set(v->never_spaced, i))
				logits[i] = -INFINITY;
	if (rules & DL_RULE_LAST)
		exclude_set(logits, v->rows, v->space_end, false);
	if ((rules & DL_RULE_FIRST) && c->bans->stop)
		exclude_set(logits, v->rows, c->bans->stop, false);
}

/* -------------------------------------------------------------- softmax */

/* buf = exp((x - shift) * scale) of a chunk; returns its sum. */
static float
exp_chunk(const dl_kernels *k, const float *x, int n, float shift, float scale, float *buf)
{
	for (int i = 0; i < n; i++)
		buf[i] = (x[i] - shift) * scale;
	return k->exp_sum(buf, 0.0f, n, buf);
}

/* Sum of exp((x - shift) * scale) over n logits. */
static double
exp_total(const dl_kernels *k, const float *x, int n, float shift, float scale)
{
	float		buf[CHUNK];
	double		total = 0;

	for (int i = 0; i < n; i += CHUNK)
		total += exp_chunk(k, x + i, n - i < CHUNK ? n - i : CHUNK, shift, scale, buf);
	return total;
}

/* H = log Z - (sum of e^x x) / Z, with x = logit - max and Z = sum of e^x. */
static float
entropy_of(const dl_kernels *k, const float *x, int n, float max, double total)
{
	float		buf[CHUNK];
	double		weighted = 0;

	for (int i = 0; i < n; i += CHUNK)
	{
		int			m = n - i < CHUNK ? n - i : CHUNK;

		exp_chunk(k, x + i, m, max, 1.0f, buf);
		for (int j = 0; j < m; j++)
			if (buf[j] > 0)
				weighted += (double) buf[j] * (double) (x[i + j] - max);
	}
	return (float) (dl_log(total) - weighted / total);
}

/* ----------------------------------------------------------- candidates */

/* Insert into picks sorted by logit, the earlier id first among equals. logprob holds the logit for now. */
static void
insert_pick(dl_choice *out, int32_t id, float logit)
{
	int			at = out->n < DL_PICKS ? out->n++ : DL_PICKS - 1;

	for (; at > 0 && out->pick[at - 1].logprob < logit; at--)
		out->pick[at] = out->pick[at - 1];
	out->pick[at] = (dl_pick) {id, logit};
}

/* The best tokens that may be chosen, and the two largest logits of all (top[0] is the maximum). */
static void
find_picks(const dl_chooser *c, const float *x, unsigned rules, dl_choice *out, float top[2])
{
	const dl_vocab *v = c->bans->vocab;
	const uint8_t *stop = (rules & DL_RULE_NO_STOP) ? c->bans->stop : NULL;
	float		floor = -INFINITY;	/* what a logit must exceed to enter the picks */

	top[0] = top[1] = -INFINITY;
	out->n = 0;
	out->whole = (dl_pick) {-1, -INFINITY};
	for (int32_t id = 0; id < v->rows; id++)
	{
		if (x[id] <= floor && x[id] <= out->whole.logprob)
			continue;
		if (x[id] > top[0])
		{
			top[1] = top[0];
			top[0] = x[id];
		}
		else if (x[id] > top[1])
			top[1] = x[id];
		if (stop && dl_in_set(stop, id))
			continue;
		if (x[id] > floor)
			insert_pick(out, id, x[id]);
		if (x[id] > out->whole.logprob && dl_in_set(v->whole, id))
			out->whole = (dl_pick) {id, x[id]};
		if (out->n == DL_PICKS)
			floor = out->pick[DL_PICKS - 1].logprob;
	}
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

/*
 * Keep the largest logits until their weight reaches `target`; the rest
 * becomes -inf. Weight of a logit is 1 (top_k), or exp(x - max) (top_p). Among
 * equal logits the lower ids are kept.
 */
static void
keep_largest(const dl_kernels *k, float *x, int n, float max, bool mass, double target)
{
	static const int shifts[] = {21, 10, 0};
	static const int widths[] = {11, 11, 10};
	double		bucket[RADIX_SIZE];
	float		buf[CHUNK];
	uint32_t	prefix = 0;
	uint32_t	known = 0;		/* bits of prefix that are decided */
	double		above = 0;		/* weight of what is larger than the prefix */

	for (int pass = 0; pass < 3; pass++)
	{
		uint32_t	digits = (1u << widths[pass]) - 1;
		uint32_t	d = digits;

		memset(bucket, 0, sizeof(bucket));
		for (int i = 0; i < n; i += CHUNK)
		{
			int			m = n - i < CHUNK ? n - i : CHUNK;

			if (mass)
				exp_chunk(k, x + i, m, max, 1.0f, buf);
			for (int j = 0; j < m; j++)
			{
				uint32_t	key = order_key(x[i + j]);

				if (x[i + j] > -INFINITY && (key & known) == prefix)
					bucket[(key >> shifts[pass]) & digits] += mass ? (double) buf[j] : 1.0;
			}
		}
		while (d > 0 && above + bucket[d] < target)
			above += bucket[d--];
		prefix |= d << shifts[pass];
		known |= digits << shifts[pass];
	}
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

/* ----------------------------------------------------------------- draw */

/* The id whose interval of the cumulative distribution holds u in (0, 1); -1 if no logit is finite. */
static int32_t
draw(const dl_kernels *k, const float *x, int n, float max, float scale, double u)
{
	float		buf[CHUNK];
	double		target = u * exp_total(k, x, n, max, scale);
	double		sum = 0;
	int32_t		last = -1;

	for (int i = 0; i < n; i += CHUNK)
	{
		int			m = n - i < CHUNK ? n - i : CHUNK;
		double		part = exp_chunk(k, x + i, m, max, scale, buf);

		if (sum + part <= target && i + CHUNK < n)
		{
			sum += part;
			continue;
		}
		for (int j = 0; j < m; j++)
		{
			if (buf[j] > 0)
				last = i + j;
			sum += (double) buf[j];
			if (buf[j] > 0 && sum > target)
				return last;
		}
	}
	return last;
}

static int32_t
sample(const dl_chooser *c, float *x, unsigned rules, uint32_t candidate, uint32_t step, uint32_t position)
{
	int			n = c->bans->vocab->rows;
	float		max;

	if ((rules & DL_RULE_NO_STOP) && c->bans->stop)
		exclude_set(x, n, c->bans->stop, false);
	max = c->kernels->max(x, n);
	if (!(max > -INFINITY))
		return -1;
	if (c->top_k > 0 && c->top_k < n)
		keep_largest(c->kernels, x, n, max, false, c->top_k);
	if (c->top_p > 0 && c->top_p < 1)
		keep_largest(c->kernels, x, n, max, true, c->top_p * exp_total(c->kernels, x, n, max, 1.0f));
	return draw(c->kernels, x, n, max, (float) (1.0 / c->temperature),
				dl_rng_uniform(&c->key, candidate, step, position, DL_DRAW_TOKEN));
}

/* Put the drawn token in front of the others. */
static void
put_first(dl_choice *out, dl_pick pick)
{
	int			at = 0;

	while (at < out->n && out->pick[at].id != pick.id)
		at++;
	if (at == out->n)
		at = out->n < DL_PICKS ? out->n++ : DL_PICKS - 1;
	for (; at > 0; at--)
		out->pick[at] = out->pick[at - 1];
	out->pick[0] = pick;
}

void
dl_choose(const dl_chooser *c, float *logits, unsigned rules, uint32_t candidate, uint32_t step,
		  uint32_t position, dl_choice *out)
{
	int			n = c->bans->vocab->rows;
	float		top[2];
	double		total;
	float		log_total;

	apply_rules(c, logits, rules);
	find_picks(c, logits, rules, out, top);
	out->peak = out->margin = out->entropy = 0;
	if (out->n == 0)
		return;
	total = exp_total(c->kernels, logits, n, top[0], 1.0f);
	log_total = (float) dl_log(total);
	out->peak = -log_total;
	out->margin = (float) ((1.0 - (double) dl_expf(top[1] - top[0])) / total);
	if (c->entropy)
		out->entropy = entropy_of(c->kernels, logits, n, top[0], total);
	for (int i = 0; i < out->n; i++)
		out->pick[i].logprob = (out->pick[i].logprob - top[0]) - log_total;
	out->whole.logprob = (out->whole.logprob - top[0]) - log_total;
	if (c->temperature > 0)
	{
		float		chosen;
		int32_t		id;

		id = sample(c, logits, rules, candidate, step, position);
		if (id < 0)
			return;
		chosen = logits[id];	/* what was drawn was not excluded: its logit is whole */
		put_first(out, (dl_pick) {id, (chosen - top[0]) - log_total});
	}
}

float
dl_set_logprob(const dl_chooser *c, const float *logits, const uint8_t *set)
{
	const dl_vocab *v = c->bans->vocab;
	float		buf[CHUNK];
	float		max = -INFINITY,
				best = -INFINITY;
	double		total = 0;

	for (int32_t id = 0; id < v->rows; id++)
	{
		if (dl_in_set(c->bans->never, id))
			continue;
		if (logits[id] > max)
			max = logits[id];
		if (logits[id] > best && dl_in_set(set, id))
			best = logits[id];
	}
	if (!(max > -INFINITY))
		return -INFINITY;
	for (int i = 0; i < v->rows; i += CHUNK)
	{
		int			m = v->rows - i < CHUNK ? v->rows - i : CHUNK;

		for (int j = 0; j < m; j++)
			buf[j] = dl_in_set(c->bans->never, i + j) ? -INFINITY : logits[i + j] - max;
		total += c->kernels->exp_sum(buf, 0.0f, m, buf);
	}
	return (best - max) - (float) dl_log(total);
}
