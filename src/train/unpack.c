/*
 * unpack.c - weights of a .dlm file, which lie in panels (kernels.h), as rows.
 *
 * A row of a matrix is one lane of its panel; the engine widens and dequantises
 * it (dl_matrix_row).
 */
#include "weights.h"

void
dl_unpack_rows(const dl_entry *e, const void *data, size_t first, size_t n, dl_real *out)
{
	size_t		cols = (size_t) e->cols;
	const float *from = (const float *) data + first * cols;
	dl_matrix	w = {.dtype = (dl_dtype) e->dtype, .n = (int) e->rows, .k = (int) e->cols, .data = data};

	if (e->layout == DL_ROWS)
		for (size_t i = 0; i < n * cols; i++)
			out[i] = (dl_real) from[i];
	else
		for (size_t i = 0; i < n; i++)
			dl_weight_row(&w, (int) (first + i), out + i * cols);
}

void
dl_unpack(const dl_entry *e, const void *data, dl_real *out)
{
	dl_unpack_rows(e, data, 0, (size_t) e->rows, out);
}
