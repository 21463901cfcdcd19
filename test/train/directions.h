/*
 * directions.h - the slope of a loss along one direction of one tensor: what
 * the gradient says, and losses beside the point for finite differences.
 */
#ifndef DIRECTIONS_H
#define DIRECTIONS_H

#include <math.h>

#include "tiny.h"

typedef struct direction
{
	dl_param   *of;
	double	   *along;			/* [of->n], of unit length */
	double	   *kept;			/* the values while they are moved */
	double		slope;			/* along . gradient */
	double		(*loss) (void *arg);
	void	   *arg;
} direction;

/* Along one coordinate, or (coordinate < 0) at random. */
static inline direction
direction_make(dl_param *of, long coordinate, uint64_t *random, double (*loss) (void *arg), void *arg)
{
	direction	d = {.of = of, .loss = loss, .arg = arg};
	double		length = 0;

	d.along = calloc(of->n, sizeof(double));
	d.kept = malloc(of->n * sizeof(double));
	for (size_t i = 0; i < of->n; i++)
	{
		d.along[i] = coordinate < 0 ? batch_uniform(random) - 0.5 : (size_t) coordinate == i;
		length += d.along[i] * d.along[i];
	}
	for (size_t i = 0; i < of->n; i++)
	{
		d.along[i] /= sqrt(length);
		d.slope += d.along[i] * of->grad[i];
	}
	return d;
}

static inline void
direction_free(direction *d)
{
	free(d->along);
	free(d->kept);
}

/* f(h) - f(-h), f being the loss with the values moved along the direction. */
static inline double
direction_rise(const direction *d, double h)
{
	dl_param   *e = d->of;
	double		loss[2];

	memcpy(d->kept, e->value, e->n * sizeof(double));
	for (int side = 0; side < 2; side++)
	{
		for (size_t i = 0; i < e->n; i++)
			e->value[i] += (side == 0 ? h : -h) * d->along[i];
		loss[side] = d->loss(d->arg);
		memcpy(e->value, d->kept, e->n * sizeof(double));
	}
	return loss[0] - loss[1];
}

/* Root mean square of a tensor's gradient. */
static inline double
direction_rms(const dl_param *e)
{
	double		squares = 0;

	for (size_t i = 0; i < e->n; i++)
		squares += e->grad[i] * e->grad[i];
	return sqrt(squares / (double) e->n);
}

/* Of two slopes, for relative differences; rms keeps small elements from being held to more digits than there are. */
static inline double
direction_size(double found, double expected, double rms)
{
	return fmax(fmax(fabs(found), fabs(expected)), rms);
}

#endif							/* DIRECTIONS_H */
