/*
 * schedule.c - how many positions of the canvas stay masked after each step.
 *
 * rate = 1 - s/S (linear) or cos(pi/2 s/S) (cosine), of our own cosine in
 * double, rounded to float; K = floor(N rate) with the product in float, as
 * the paper's code truncates it (Ye et al. 2023, appendix A; the paper's text
 * has the same expression count the tokens that are revealed, its code the
 * ones that stay masked, and the code is followed).
 */
#include "denoise.h"
#include "fmath.h"

#include <math.h>

#define HALF_PI	1.57079632679489661923

int
dl_schedule_steps(int asked, int models, int n)
{
	int			quarter = n / 4 + (n % 4 != 0);

	if (asked > 0)
		return asked;
	if (models > 0)
		return models;
	return n < 16 ? n : quarter > 16 ? quarter : 16;
}

double
dl_schedule_rate(bool linear, int step, int steps)
{
	if (linear)
		return 1.0 - (double) step / (double) steps;
	return dl_cos(HALF_PI * ((double) step / (double) steps));
}

static int
share(int n, double rate)
{
	int			k = (int) floorf((float) n * (float) rate);

	return k < 0 ? 0 : k > n ? n : k;
}

int
dl_schedule_linear(int n, int step, int steps)
{
	return share(n, dl_schedule_rate(true, step, steps));
}

int
dl_schedule_cosine(int n, int step, int steps)
{
	return share(n, dl_schedule_rate(false, step, steps));
}

/* The same number every step; the first (n mod steps) steps reveal one more. */
int
dl_schedule_even(int n, int step, int steps)
{
	int			more = n % steps;
	int64_t		revealed = (int64_t) (n / steps) * step + (step < more ? step : more);

	return revealed >= n ? 0 : n - (int) revealed;
}

/* One a step: what `threshold` asks for at least. */
int
dl_schedule_single(int n, int step, int steps)
{
	(void) steps;
	return step >= n ? 0 : n - step;
}
