/*
 * choose.c - bans, softmax, candidates: what a block gives, and the fold.
 *
 * A block's logits are looked at while they lie in the cache. What must be
 * known of all of them (the maximum, Z, the best tokens) is kept per block and
 * put together in the order of ids; logprob.h defines the sums. The entropy
 * H = log Z - W / Z, W = sum of e^x x with x = logit - m, is put together the
 * same way: with d = m_b - m, W is the sum of e^d (W_b + d s_b). The draw lies
 * in sample.c.
 */
#include "choose.h"
#include "sample.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------- masks */

/* logits[i] = -inf for the ids first + i in `set` (or, with keep, for those not in it). first is a multiple of 64. */
static void
exclude_set(float *logits, int first, int n, const uint8_t *set, bool keep)
{
	int			bytes = (n + 7) / 8;

	set += first / 8;
	for (int at = 0; at < bytes; at++)
	{
		unsigned	bits;
		uint64_t	word;

		if (at % 8 == 0 && at + 8 <= bytes)
		{
			memcpy(&word, set + at, sizeof(word));
			if (word == (keep ? UINT64_MAX : 0))
			{
				at += 7;
				continue;
			}
		}
		bits = keep ? (uint8_t) ~set[at] : set[at];
		for (int i = at * 8; bits != 0 && i < n; i++, bits >>= 1)
			if (bits & 1)
				logits[i] = -INFINITY;
	}
}

static void
apply_rules(const dl_chooser *c, int first, int n, float *logits, unsigned rules)
{
	const dl_vocab *v = c->bans->vocab;

	if (rules & DL_RULE_SPACED)
		exclude_set(logits, first, n, v->spaced_word, true);
	if (rules & DL_RULE_UNSPACED)
		exclude_set(logits, first, n, v->spaced, false);
	if (rules & DL_RULE_NEVER_SPACED)
		exclude_set(logits, first, n, v->never_spaced, true);
	if (rules & DL_RULE_WORD_START)
		for (int i = 0; i < n; i++)
			if (!dl_in_set(v->spaced_word, first + i) && !dl_in_set(v->never_spaced, first + i))
				logits[i] = -INFINITY;
	if (rules & DL_RULE_LAST)
		exclude_set(logits, first, n, v->space_end, false);
	if ((rules & DL_RULE_FIRST) && c->bans->stop)
		exclude_set(logits, first, n, c->bans->stop, false);
}

static bool
any_in_set(const uint8_t *set, int first, int n)
{
	for (int i = 0; i < (n + 7) / 8; i++)
		if (set[first / 8 + i])
			return true;
	return false;
}

/* ----------------------------------------------------------- candidates */

/* Insert into picks sorted by logit, the earlier one first among equals. logprob holds the logit for now. */
static void
insert_pick(dl_pick *picks, int *n, dl_pick pick)
{
	int			at = *n < DL_PICKS ? (*n)++ : DL_PICKS - 1;

	for (; at > 0 && picks[at - 1].logprob < pick.logprob; at--)
		picks[at] = picks[at - 1];
	picks[at] = pick;
}

/*
 * A bound that DL_PICKS logits reach, so that no other one need be looked at:
 * each of 16 lanes holds at least one as large as the lane's maximum, so the
 * 8th of these maxima is reached 8 times. Never -inf. (64 lanes first: a loop
 * that compilers vectorise.)
 */
static float
pick_bound(const float *x, int n)
{
	float		lane[64];

	for (int l = 0; l < 64; l++)
		lane[l] = -FLT_MAX;
	for (int i = 0; i + 64 <= n; i += 64)
		for (int l = 0; l < 64; l++)
			lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
	for (int l = 16; l < 64; l++)
		lane[l % 16] = lane[l] > lane[l % 16] ? lane[l] : lane[l % 16];
	for (int l = 1; l < 16; l++)
	{
		float		value = lane[l];
		int			at = l;

		for (; at > 0 && lane[at - 1] < value; at--)
			lane[at] = lane[at - 1];
		lane[at] = value;
	}
	return lane[DL_PICKS - 1];
}

/* The largest logits that are not -inf: few reach the bound, and what finds them is a loop that compilers vectorise. */
static void
find_picks(const float *x, int first, int n, dl_choice_part *part)
{
	float		bound = pick_bound(x, n);
	uint8_t		reached[DL_VOCAB_BLOCK];

	for (int i = 0; i < n; i++)
		reached[i] = x[i] >= bound;
	memset(reached + n, 0, DL_VOCAB_BLOCK - (size_t) n);
	part->n = 0;
	for (int i = 0; i < n; i += 8)
	{
		uint64_t	any;

		memcpy(&any, reached + i, sizeof(any));
		for (int j = i; any != 0 && j < i + 8; j++)
			if (reached[j] && (part->n < DL_PICKS || x[j] > part->pick[DL_PICKS - 1].logprob))
				insert_pick(part->pick, &part->n, (dl_pick) {first + j, x[j]});
	}
}

/* The largest whole token: nearly always one of the picks. */
static void
find_whole(const dl_vocab *v, const float *x, int first, int n, dl_choice_part *part)
{
	part->whole = (dl_pick) {-1, -INFINITY};
	for (int i = 0; i < part->n; i++)
		if (dl_in_set(v->whole, part->pick[i].id))
		{
			part->whole = part->pick[i];
			return;
		}
	for (int i = 0; part->n == DL_PICKS && i < n; i++)
		if (x[i] > part->whole.logprob && dl_in_set(v->whole, first + i))
			part->whole = (dl_pick) {first + i, x[i]};
}

static float
second_largest(const float *x, int n)
{
	float		top[2] = {-INFINITY, -INFINITY};

	for (int i = 0; i < n; i++)
		if (x[i] > top[0])
		{
			top[1] = top[0];
			top[0] = x[i];
		}
		else if (x[i] > top[1])
			top[1] = x[i];
	return top[1];
}

/* ---------------------------------------------------------------- blocks */

static double
weighted_sum(const float *x, const float *exps, int n, float max)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		if (exps[i] > 0)
			sum += (double) exps[i] * (double) (x[i] - max);
	return sum;
}

static void
reduce_set(const dl_chooser *c, int first, int n, const float *logits, const uint8_t *set, dl_choice_part *part)
{
	float		exps[DL_VOCAB_BLOCK];

	part->set_sum = dl_block_sum_of(c->kernels, logits, n, exps);
	part->set_best = -INFINITY;
	for (int i = 0; i < n; i++)
		if (logits[i] > part->set_best && dl_in_set(set, first + i))
			part->set_best = logits[i];
}

void
dl_choose_block(const dl_chooser *c, int first, int n, float *logits, unsigned rules, const uint8_t *allowed,
				const uint8_t *set, dl_choice_part *part)
{
	const uint8_t *stop = rules & DL_RULE_NO_STOP ? c->bans->stop : NULL;
	float		exps[DL_VOCAB_BLOCK];
	bool		stops = stop != NULL && any_in_set(stop, first, n);

	exclude_set(logits, first, n, c->bans->never, false);
	if (set != NULL)
		reduce_set(c, first, n, logits, set, part);
	apply_rules(c, first, n, logits, rules);
	if (allowed != NULL)
		exclude_set(logits, first, n, allowed, true);
	part->sum = dl_block_sum_of(c->kernels, logits, n, exps);
	part->weighted = c->entropy && part->sum.max > -INFINITY ? weighted_sum(logits, exps, n, part->sum.max) : 0;
	if (stops)
	{
		part->second = second_largest(logits, n);
		exclude_set(logits, first, n, stop, false);
	}
	find_picks(logits, first, n, part);
	find_whole(c->bans->vocab, logits, first, n, part);
	if (!stops)
		part->second = part->n > 1 ? part->pick[1].logprob : -INFINITY;
	if (c->temperature > 0)
		memcpy(part + 1, logits, (size_t) n * sizeof(float));
}

/* ------------------------------------------------------------------ fold */

static const dl_choice_part *
part_at(const dl_chooser *c, const void *parts, int block)
{
	size_t		size = c->temperature > 0 ? DL_CHOICE_SAMPLED : DL_CHOICE_GREEDY;

	return (const dl_choice_part *) ((const char *) parts + (size_t) block * size);
}

/* The best of all blocks; top gets the two largest logits. */
static void
fold_picks(const dl_chooser *c, const void *parts, int blocks, dl_choice *out, float top[2])
{
	top[0] = top[1] = -INFINITY;
	out->n = 0;
	out->whole = (dl_pick) {-1, -INFINITY};
	for (int b = 0; b < blocks; b++)
	{
		const dl_choice_part *p = part_at(c, parts, b);
		bool		larger = p->sum.max > top[0];
		float		low = larger ? top[0] : p->sum.max;	/* of the two maxima */
		float		next = larger ? p->second : top[1];	/* behind the larger one */

		top[0] = larger ? p->sum.max : top[0];
		top[1] = low > next ? low : next;
		for (int i = 0; i < p->n; i++)
		{
			if (out->n == DL_PICKS && p->pick[i].logprob <= out->pick[DL_PICKS - 1].logprob)
				break;
			insert_pick(out->pick, &out->n, p->pick[i]);
		}
		if (p->whole.logprob > out->whole.logprob)
			out->whole = p->whole;
	}
}

/* Z and, if asked for, W. */
static double
fold_sums(const dl_chooser *c, const void *parts, int blocks, float max, double *weighted)
{
	double		total = 0;

	*weighted = 0;
	for (int b = 0; b < blocks; b++)
	{
		const dl_choice_part *p = part_at(c, parts, b);

		total += dl_block_weight(p->sum, max);
		if (c->entropy && p->sum.sum > 0)
		{
			double		d = (double) p->sum.max - (double) max;

			*weighted += dl_exp(d) * (p->weighted + d * (double) p->sum.sum);
		}
	}
	return total;
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
dl_choose_fold(const dl_chooser *c, void *parts, const dl_draw *at, dl_choice *out)
{
	int			n = c->bans->vocab->rows;
	int			blocks = dl_vocab_blocks(n);
	float		top[2];
	double		total,
				weighted;
	dl_normalizer norm;

	fold_picks(c, parts, blocks, out, top);
	out->peak = out->margin = out->entropy = 0;
	if (out->n == 0)
		return;
	total = fold_sums(c, parts, blocks, top[0], &weighted);
	norm = (dl_normalizer) {top[0], (float) dl_log(total)};
	out->peak = -norm.log_sum;
	out->margin = (float) ((1.0 - (double) dl_expf(top[1] - top[0])) / total);
	if (c->entropy)
		out->entropy = (float) (dl_log(total) - weighted / total);
	for (int i = 0; i < out->n; i++)
		out->pick[i].logprob = dl_logprob(out->pick[i].logprob, norm);
	out->whole.logprob = dl_logprob(out->whole.logprob, norm);
	if (c->temperature > 0)
	{
		dl_blocks	row = {(char *) parts + sizeof(dl_choice_part), DL_CHOICE_SAMPLED, n};
		dl_pick		drawn = dl_sample(c, &row, at);

		if (drawn.id >= 0)
			put_first(out, (dl_pick) {drawn.id, dl_logprob(drawn.logprob, norm)});
	}
}

float
dl_set_logprob(const dl_chooser *c, const void *parts)
{
	int			blocks = dl_vocab_blocks(c->bans->vocab->rows);
	float		max = -INFINITY,
				best = -INFINITY;
	double		total = 0;

	for (int b = 0; b < blocks; b++)
	{
		const dl_choice_part *p = part_at(c, parts, b);

		if (p->set_sum.max > max)
			max = p->set_sum.max;
		if (p->set_best > best)
			best = p->set_best;
	}
	if (!(max > -INFINITY))
		return -INFINITY;
	for (int b = 0; b < blocks; b++)
		total += dl_block_weight(part_at(c, parts, b)->set_sum, max);
	return dl_logprob(best, (dl_normalizer) {max, (float) dl_log(total)});
}
