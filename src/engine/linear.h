/*
 * linear.h - y = x W^T + b for packed matrices of any weight type.
 */
#ifndef DL_LINEAR_H
#define DL_LINEAR_H

#include "model.h"
#include "threads.h"

/*
 * Bytes of scratch (16-byte aligned) that dl_linear needs for `rows` rows of k inputs.
 * Only int8 matrices use it; for others scratch may be NULL.
 */
size_t		dl_linear_scratch(int rows, int k);

/*
 * Y[rows, n] = X[rows, k] W^T (+ bias). Strides in floats. Splits columns and
 * rows over the team; every output element is computed the same way whatever
 * the split.
 */
void		dl_linear(const dl_kernels *kernels, dl_team *team, const dl_matrix *w, const float *x, size_t ldx,
					  int rows, float *y, size_t ldy, void *scratch);

#endif							/* DL_LINEAR_H */
