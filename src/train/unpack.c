/*
 * unpack.c - weights of a .dlm file, which lie in panels (kernels.h), as rows.
 *
 * A row of a matrix is one lane of its panel. bf16 is widened exactly; an int8
 * weight is its byte times the group's scale, rounded to float once, and full
 * groups are rotated back, as dl_model_embed does it.
 */
#include "params.h"

#include <string.h>

#include "hadamard.h"
#include "kernels.h"

static float
widen(uint16_t bf16)
{
	uint32_t	bits = (uint32_t) bf16 << 16;
	float		x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* Row `row` of an int8 matrix [*, k]. */
static void
unpack_s8_row(const int8_t *panels, int row, int k, dl_real *out)
{
	int			k4 = (k + 3) / 4;
	int			lane = row % DL_PANEL;
	const int8_t *panel = panels + (size_t) (row / DL_PANEL) * dl_s8_panel_bytes(k4);

	for (int first = 0; first < k; first += DL_GROUP)
	{
		dl_s8_group g = dl_s8_group_at(panel, k4, first / DL_GROUP);
		int			n = k - first < DL_GROUP ? k - first : DL_GROUP;
		float		x[DL_GROUP];

		for (int i = 0; i < n; i++)
			x[i] = (float) g.w[(i / 4 * DL_PANEL + lane) * 4 + i % 4] * g.scale[lane];
		if (n == DL_GROUP)
			dl_rotate_group(x);
		for (int i = 0; i < n; i++)
			out[first + i] = (dl_real) x[i];
	}
}

void
dl_unpack_rows(const dl_entry *e, const void *data, size_t first, size_t n, dl_real *out)
{
	size_t		cols = (size_t) e->cols;

	if (e->layout == DL_ROWS)
	{
		const float *from = (const float *) data + first * cols;

		for (size_t i = 0; i < n * cols; i++)
			out[i] = (dl_real) from[i];
		return;
	}
	for (size_t row = first; row < first + n; row++, out += cols)
	{
		size_t		at = row / DL_PANEL * cols * DL_PANEL + row % DL_PANEL;

		if (e->dtype == DL_F32)
			for (size_t i = 0; i < cols; i++)
				out[i] = (dl_real) ((const float *) data)[at + i * DL_PANEL];
		else if (e->dtype == DL_BF16)
			for (size_t i = 0; i < cols; i++)
				out[i] = (dl_real) widen(((const uint16_t *) data)[at + i * DL_PANEL]);
		else
			unpack_s8_row(data, (int) row, (int) cols, out);
	}
}

void
dl_unpack(const dl_entry *e, const void *data, dl_real *out)
{
	dl_unpack_rows(e, data, 0, (size_t) e->rows, out);
}
