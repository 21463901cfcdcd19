/*
 * linear.h - products of packed matrices of any weight type, y = x W^T + b.
 *
 * A dl_product is what one stretch of the network does with one input: a
 * single matrix; several *in turn* (q, k and v), whose panels are numbered one
 * matrix after the other; or several of the same shape *abreast* (gate and
 * up), where a tile takes the same columns of each. `finish` is called for
 * each tile whose outputs are complete, while they lie in the cache.
 */
#ifndef DL_LINEAR_H
#define DL_LINEAR_H

#include "model.h"
#include "threads.h"

#define DL_OUTPUTS	3

typedef struct dl_output
{
	const dl_matrix *w;			/* [n, k] */
	float	   *y;				/* [rows, n] */
	size_t		ldy;			/* floats */
} dl_output;

typedef struct dl_product
{
	const float *x;				/* [rows, k] */
	size_t		ldx;			/* floats */
	int			rows;
	int			n_outputs;
	bool		abreast;		/* outputs have the same n; else they follow one another */
	bool		add;			/* to what the outputs hold; f32 matrices without bias only */
	dl_output	out[DL_OUTPUTS];
	/* NULL, or the rest of the work on rows [row, row + rows), columns [column, column + columns) of the
	 * outputs: abreast or single only. Called on any thread; touches nothing outside that tile. */
	void		(*finish) (const void *ctx, int row, int rows, int column, int columns);
	const void *ctx;
} dl_product;

/* Panels of all the work: what `first` and `n` of dl_multiply count. */
int			dl_product_panels(const dl_product *p);
/* Multiply-adds of one panel, int8 ones counted as half. */
int64_t		dl_product_panel_cost(const dl_product *p);

/*
 * Bytes of scratch (16-byte aligned) that a product needs for `rows` rows of k inputs.
 * Only int8 matrices use it; for others scratch may be NULL.
 */
size_t		dl_linear_scratch(int rows, int k);

/* Rows as int8 products read them (dl_kernels.quantize_s8): what several products of one input share. */
typedef struct dl_s8_rows
{
	float	   *scale;			/* [rows, groups] */
	int8_t	   *byte;			/* [rows, 4 * ceil(k / 4)] */
} dl_s8_rows;

/* Where they lie in a scratch of dl_linear_scratch(rows, k); quantise x into it; rows from `row` on. */
dl_s8_rows	dl_s8_rows_in(void *scratch, int rows, int k);
dl_s8_rows	dl_quantize(const dl_kernels *kernels, dl_team *team, const float *x, size_t ldx, int rows, int k,
						void *scratch);
dl_s8_rows	dl_s8_rows_from(dl_s8_rows all, int k, int row);

/*
 * Panels first .. first + n - 1 of a product, split over the team. Every
 * output element is computed the same way whatever the split. int8: the rows are
 * quantised into scratch by the call with first = 0; later calls of the same
 * product find them there.
 */
void		dl_multiply(const dl_kernels *kernels, dl_team *team, const dl_product *p, int first, int n, void *scratch);

/*
 * A row stride for rows of k inputs, k or a little more, a multiple of 16. A
 * tile walks six rows at once: where the stride is near a multiple of 2 or 4 kB
 * they share the same few sets of the first level cache and push one another
 * out.
 */
size_t		dl_row_stride(int k);

/* Y[rows, n] = X[rows, k] W^T (+ bias): one matrix, all of it. */
void		dl_linear(const dl_kernels *kernels, dl_team *team, const dl_matrix *w, const float *x, size_t ldx,
					  int rows, float *y, size_t ldy, void *scratch);

/*
 * The same for output columns first .. first + columns - 1 only (first is a
 * multiple of DL_PANEL), on the calling thread; y[0] is column `first`. For an
 * int8 matrix `ready` holds the rows of x; else it is not looked at.
 */
void		dl_linear_columns(const dl_kernels *kernels, const dl_matrix *w, int first, int columns, const float *x,
							  size_t ldx, dl_s8_rows ready, int rows, float *y, size_t ldy);

#endif							/* DL_LINEAR_H */
