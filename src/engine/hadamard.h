/*
 * hadamard.h - rotation of 64 numbers, for int8 products.
 *
 * A few channels of a transformer's activations are many times larger than
 * the others, and a scale made for them leaves the others few steps. The
 * Hadamard matrix spreads each element over its whole group; it is symmetric
 * and, divided by 8, orthogonal, so x W^T = (x H) (W H)^T, and rotating twice gives
 * back what there was. (QuaRot, Ashkboos et al. 2024, has rotations of the
 * whole width; blocks of a group need no matrix and stay apart.)
 */
#ifndef DL_HADAMARD_H
#define DL_HADAMARD_H

#include "kernels.h"

/*
 * x[64] = x H / 8, in place. Butterflies (a, b) -> (a + b, a - b) at distances
 * 32, 16, 8, 4, 2, 1, each rounded; then one exact division. This is the
 * definition of what the vector kernels compute.
 */
void		dl_rotate_group(float *x);

#endif							/* DL_HADAMARD_H */
