/*
 * weights.h - the weights of a linear layer as products read them.
 *
 * Forward, y = x W^T reads panels of W; back, dx = dy W reads panels of its
 * transpose. Both are written anew for each use, from what the file holds (any
 * type) or from trained values, with LoRA's s B A added: a few operations for
 * each weight, beside two for each weight and *token* in the product. So
 * LoRA's forward costs no product of its own, an int8 base takes no more
 * memory than its file, and nothing has to be kept in step when a weight changes.
 */
#ifndef DL_WEIGHTS_H
#define DL_WEIGHTS_H

#include "exec.h"
#include "params.h"

/* Numbers of scratch for the panels of W [n, k], either way. */
size_t		dl_panels_size(int n, int k);
/* Numbers of scratch beside them for layers of at most n outputs and k inputs. */
size_t		dl_panels_side(int threads, int n, int k, int rank);

/*
 * panels [ceil(n / 16)][k][16] of rows (outputs) first .. first + n - 1 of
 * W + s B A; first is a multiple of 16. side [dl_panels_side].
 */
void		dl_panels_forward(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels);

/* panels [ceil(k / 16)][n][16] of the same rows' transpose: step i of panel p holds columns 16 p .. of row first + i. */
void		dl_panels_back(dl_exec *e, const dl_dense *d, dl_real s, int first, int n, dl_real *side, dl_real *panels);

/*
 * For few rows (dl_can_fuse): y[m, n] = x[m, k] (W + s B A)^T, and dx[m, k] = dy[m, n] (W + s B A) or +=, by work items
 * that write some panels and multiply with them while they lie in the cache.
 */
bool		dl_can_fuse(const dl_dense *d, int m);
void		dl_fused_forward(dl_exec *e, const dl_dense *d, dl_real s, dl_rows x, int m, dl_real *side, dl_rows y);
void		dl_fused_back(dl_exec *e, const dl_dense *d, dl_real s, dl_rows dy, int m, dl_real *side, dl_rows dx, bool add);

/* x[k] = row `row` of a matrix of the file */
void		dl_weight_row(const dl_matrix *w, int row, dl_real *x);

/* Panels [ceil(n / 16)][k][16] of rows w[n, k]. */
void		dl_panels_of_rows(const dl_real *w, int n, int k, dl_real *panels);

/* out[cols, rows] = in[rows, cols]^T, scaled: a small block, on the calling thread */
void		dl_turn(const dl_real *in, size_t ld_in, int rows, int cols, dl_real scale, dl_real *out, size_t ld_out);
/* The same, all of it on the team. */
void		dl_transpose(dl_exec *e, const dl_real *in, size_t ld_in, int rows, int cols, dl_real scale, dl_real *out,
						 size_t ld_out);

#endif							/* DL_WEIGHTS_H */
