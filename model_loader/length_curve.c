/*
 * length_curve.c - the fit of a model's length-bias curve; see length_curve.h.
 *
 * Given b and d the curve is linear in a, c and e, so the search is over two
 * rates (variable projection, Golub and Pereyra 1973): a grid over all of
 * them, then finer grids around the best. That needs no start and finds the
 * least squares of these few points whatever their shape.
 */
#include "length_curve.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "fmath.h"

#define RATES		40			/* intervals of the grid */
#define REFINEMENTS	6
#define TERMS		3			/* a, c, e */

static const double most[TERMS] = {1, 1, 0.5};

/* The normal equations of one pair of rates. */
typedef struct dl_squares
{
	double		product[TERMS][TERMS];
	double		right[TERMS];
	double		constant;
} dl_squares;

static void
add_up(const dl_length_point *points, int n, double b, double d, dl_squares *s)
{
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < n; i++)
	{
		const double term[TERMS] = {dl_exp(-b * points[i].tokens), dl_exp(-d * points[i].tokens), 1};
		double		weight = points[i].gaps;

		for (int j = 0; j < TERMS; j++)
		{
			for (int k = 0; k < TERMS; k++)
				s->product[j][k] += weight * term[j] * term[k];
			s->right[j] += weight * term[j] * points[i].confidence;
		}
		s->constant += weight * points[i].confidence * points[i].confidence;
	}
}

static double
squares_of(const dl_squares *s, const double x[TERMS])
{
	double		sum = s->constant;

	for (int j = 0; j < TERMS; j++)
	{
		sum -= 2 * x[j] * s->right[j];
		for (int k = 0; k < TERMS; k++)
			sum += x[j] * x[k] * s->product[j][k];
	}
	return sum;
}

/* Solve for the free terms, the others standing at a bound; false where they do not tell each other apart. */
static bool
solve_free(const dl_squares *s, const bool held[TERMS], double x[TERMS])
{
	double		m[TERMS][TERMS + 1];
	int			free_term[TERMS],
				n = 0;

	for (int j = 0; j < TERMS; j++)
		if (!held[j])
			free_term[n++] = j;
	for (int j = 0; j < n; j++)
	{
		m[j][n] = s->right[free_term[j]];
		for (int k = 0; k < n; k++)
			m[j][k] = s->product[free_term[j]][free_term[k]];
		for (int k = 0; k < TERMS; k++)
			if (held[k])
				m[j][n] -= s->product[free_term[j]][k] * x[k];
	}
	/* symmetric and not negative: no pivoting */
	for (int j = 0; j < n; j++)
	{
		if (m[j][j] <= 1e-9 * s->product[free_term[j]][free_term[j]])
			return false;
		for (int i = 0; i < n; i++)
			for (int k = n; i != j && k >= j; k--)
				m[i][k] -= m[i][j] / m[j][j] * m[j][k];
	}
	for (int j = 0; j < n; j++)
		x[free_term[j]] = m[j][n] / m[j][j];
	return true;
}

/* The best a, c, e for a pair of rates: of all choices of terms that stand at a bound, the best one within the bounds. */
static double
best_terms(const dl_squares *s, double x[TERMS])
{
	double		best = INFINITY;

	for (int choice = 0; choice < 27; choice++)
	{
		int			state[TERMS] = {choice % 3, choice / 3 % 3, choice / 9};
		bool		held[TERMS];
		double		y[TERMS] = {0},
					squares;
		bool		within;

		for (int j = 0; j < TERMS; j++)
		{
			held[j] = state[j] > 0;
			y[j] = state[j] == 2 ? most[j] : 0;
		}
		within = solve_free(s, held, y);
		for (int j = 0; j < TERMS && within; j++)
			within = y[j] >= 0 && y[j] <= most[j];
		squares = within ? squares_of(s, y) : INFINITY;
		if (squares < best)
		{
			best = squares;
			memcpy(x, y, sizeof(y));
		}
	}
	return best;
}

void
dl_length_curve_fit(const dl_length_point *points, int n, double curve[5])
{
	double		low[2] = {0, 0},
				high[2] = {2, 0.5},
				best = INFINITY;

	for (int round = 0; round <= REFINEMENTS; round++)
	{
		double		step[2] = {(high[0] - low[0]) / RATES, (high[1] - low[1]) / RATES};

		for (int i = 0; i <= RATES; i++)
			for (int j = 0; j <= RATES; j++)
			{
				double		b = low[0] + i * step[0],
							d = low[1] + j * step[1],
							x[TERMS] = {0},
							squares;
				dl_squares	s;

				add_up(points, n, b, d, &s);
				squares = best_terms(&s, x);
				if (squares >= best)
					continue;
				best = squares;
				memcpy(curve, (const double[5]) {x[0], b, x[1], d, x[2]}, 5 * sizeof(double));
			}
		low[0] = fmax(0, curve[1] - 2 * step[0]);
		high[0] = fmin(2, curve[1] + 2 * step[0]);
		low[1] = fmax(0, curve[3] - 2 * step[1]);
		high[1] = fmin(0.5, curve[3] + 2 * step[1]);
	}
	for (int i = 0; i < 5; i++)
		curve[i] = round(curve[i] * 1e4) / 1e4;
}
