/*
 * revise.c - which slots are revealed and which are masked again.
 *
 * order holds the window's eligible slots, the surest first. The last `keep`
 * of them are *low*: they are to stay masked. A slot surer than the threshold
 * is never low.
 */
#include "denoise.h"

static bool
above_threshold(const dl_denoise *d, const dl_ranked *r)
{
	return d->canvas.slot[r->slot].choice.pick[r->pick].logprob > d->policy->log_threshold;
}

/*
 * No revision: order holds masked slots only. Reveal the surest n - keep, all
 * above the threshold, and at least one.
 */
void
dl_revise_none(dl_denoise *d, const dl_ranked *order, int n, int keep)
{
	int			quota = n - keep > 1 ? n - keep : 1;

	for (int i = 0; i < n; i++)
		if (i < quota || above_threshold(d, &order[i]))
			dl_denoise_reveal(d, &order[i]);
}

/*
 * The rules of reparameterised decoding (Ye et al. 2023). A masked slot that
 * is not low takes its candidate. A revealed slot that is not low keeps its
 * old token and score; a low one is masked again, under `cond` only if the
 * candidate is its own token once more, with a lower score than it holds.
 */
static void
revise_rank(dl_denoise *d, const dl_ranked *order, int n, int keep, bool cond)
{
	for (int i = n - keep; i < n; i++)
	{
		const dl_slot *s = &d->canvas.slot[order[i].slot];
		const dl_pick *pick = &s->choice.pick[order[i].pick];

		if (s->masked || above_threshold(d, &order[i]))
			continue;
		if (!cond || (pick->id == s->id && pick->logprob < s->score))
			dl_denoise_remask(d, order[i].slot);
	}
	for (int i = 0; i < n; i++)
		if (d->canvas.slot[order[i].slot].masked && (i < n - keep || above_threshold(d, &order[i])))
			dl_denoise_reveal(d, &order[i]);
}

void
dl_revise_uncond(dl_denoise *d, const dl_ranked *order, int n, int keep)
{
	revise_rank(d, order, n, keep, false);
}

void
dl_revise_cond(dl_denoise *d, const dl_ranked *order, int n, int keep)
{
	revise_rank(d, order, n, keep, true);
}
