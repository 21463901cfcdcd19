/*
 * kernels.h - one table of function pointers; plain C is the definition.
 *
 * Weights lie in *panels* of 16 output columns, the same bytes for every ISA:
 *		f32, bf16:	panel[p][k][16]				(k = 0 .. K-1)
 *		int8:		panel[p][group], a group of 64 steps of k: [k/4][16][4] bytes in [-63, 63] (K padded with
 *					zeros to a multiple of 4, so the last group may be shorter), f32 scales [16], int32 sums
 *					of the bytes [16]; full groups are rotated (hadamard.h)
 * Output columns are padded with zeros to a multiple of 16.
 *
 * The contract of DESIGN 5, bit for bit in every implementation:
 *		float product	y[i][j] = one chain of fmaf over k ascending, starting at +0 (or at y, see `accumulate`)
 *		int8 product	a chain over groups ascending from bias[j] (or +0): fmaf((float) exact int32 sum of the group,
 *						sx[i][group] * sw[group][j], chain). Weights of 7 bits let unsigned times signed bytes be
 *						added in pairs of 16 bits without saturating (2 * 255 * 63), which is what AVX2 has.
 *		reduction		16 lanes (lane l takes l, l+16, ...; missing elements leave the lane alone),
 *						folded 8, 4, 2, 1
 *		functions		exp, tanh, erf, ...: our own polynomials, the same operations in every ISA
 */
#ifndef DL_KERNELS_H
#define DL_KERNELS_H

#include "dlm.h"

#define DL_PANEL	16
#define DL_GROUP	64			/* steps of k with a scale of their own in int8 products */
#define DL_GROUP4	(DL_GROUP / 4)
#define DL_MOST_S8	63			/* largest magnitude of an int8 weight */
#define DL_K_STRETCH	384		/* steps of k that float products of many rows take at a time: a panel's 24 kB of f32 */

typedef struct dl_kernels
{
	const char *name;

	/*
	 * Y[m, 16*panels] = X[m, K] * panels. x row stride ldx, y row stride ldy
	 * (floats). Panel p starts at w + p * panel_stride elements; inside it,
	 * step k starts at k * k_stride elements (16 for packed weights; larger
	 * strides serve attention's V). accumulate: the chain starts at y.
	 * `columns` is the number of output columns, 16 * (panels - 1) < columns
	 * <= 16 * panels: y is touched only in them, w is read 16 wide throughout.
	 */
	void		(*gemm_f32) (const float *x, size_t ldx, int m, int k, const float *w, size_t panel_stride,
							 size_t k_stride, int panels, int columns, float *y, size_t ldy, bool accumulate);
	/* bf16 weights, packed [p][k][16], widened exactly to f32. */
	void		(*gemm_bf16) (const float *x, size_t ldx, int m, int k, const uint16_t *w,
							  int panels, int columns, float *y, size_t ldy);
	/*
	 * int8: x [m, k4*4] bytes as quantize_s8 writes them, row stride ldx bytes,
	 * with scales sx [m, groups] (stride groups); w as above, panel after
	 * panel; bias [columns] or NULL. Row and column strides as in gemm_f32.
	 */
	void		(*gemm_s8) (const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w,
							const float *bias, int panels, int columns, float *y, size_t ldy);
	/*
	 * For each group of 64, rotated (hadamard.h) unless it is a shorter last
	 * one: q = round half even(x * (127 / max|x|)), its scale max|x| / 127; a zero group: q = 0, scale 0; one with inf or NaN: q = 0,
	 * scale NaN, so that its products are NaN. Pads q to k4*4 with 0. Stored is
	 * q ^ s8_flip: 0, or 0x80, which makes q + 128 of it, for gemm_s8 of the same table.
	 */
	void		(*quantize_s8) (const float *x, int k, int k4, int8_t *q, float *scales);
	uint8_t		s8_flip;

	float		(*sum) (const float *x, int n);		/* 16-lane reduction */
	float		(*sum_squares) (const float *x, int n);	/* lane: fmaf(x, x, lane) */
	float		(*max) (const float *x, int n);		/* exact; n >= 1; NaN passed over, +0 for zeros of either sign */

	void		(*add) (float *y, const float *x, int n);		/* y += x */
	void		(*add_bias) (float *y, const float *bias, int n);	/* y += bias (same as add) */
	void		(*mul) (float *y, const float *x, int n);		/* y *= x */
	/* y = (x - mean) / sqrt(var + eps) * w + b; b may be NULL; y may be x */
	void		(*layer_norm) (const float *x, const float *w, const float *b, float eps, int n, float *y);
	void		(*rms_norm) (const float *x, const float *w, float eps, int n, float *y);
	/* gelu_*: 2.5 ulp of the result for x >= 0, else 2 ulp of x; silu: 3 ulp from -88 on, else 2 ulp of x (fmath.c) */
	void		(*gelu_erf) (float *x, int n);
	void		(*gelu_tanh) (float *x, int n);
	void		(*silu) (float *x, int n);
	void		(*relu) (float *x, int n);
	void		(*tanh) (float *x, int n);
	/* y[i] = exp(x[i] - shift); returns the 16-lane sum of y. y may be x; exp(-inf) = +0 */
	float		(*exp_sum) (const float *x, float shift, int n, float *y);
	/* the same, added to the 16 lanes of a sum that goes on: lanes[i % 16] += y[i] */
	void		(*exp_lanes) (const float *x, float shift, int n, float *y, float *lanes);
	/* half-split rotary embedding of one head [2*half] in place: cos, sin [half] */
	void		(*rope) (float *x, const float *cos, const float *sin, int half);
} dl_kernels;

/* Groups of k4 steps of four; bytes of an int8 panel. */
static inline int
dl_groups(int k4)
{
	return (k4 + DL_GROUP4 - 1) / DL_GROUP4;
}

static inline size_t
dl_s8_panel_bytes(int k4)
{
	return (size_t) k4 * 4 * DL_PANEL + (size_t) dl_groups(k4) * DL_PANEL * (sizeof(float) + sizeof(int32_t));
}

/* A group of a panel: its bytes [steps][16][4], and behind them scales and sums. */
typedef struct dl_s8_group
{
	const int8_t *w;
	const float *scale;			/* [16] */
	const int32_t *sum;			/* [16] */
	int			steps;			/* of four k */
} dl_s8_group;

static inline dl_s8_group
dl_s8_group_at(const int8_t *panel, int k4, int group)
{
	const int8_t *w = panel + (size_t) group * (DL_GROUP4 * 4 * DL_PANEL + 2 * DL_PANEL * sizeof(float));
	int			steps = k4 - group * DL_GROUP4 < DL_GROUP4 ? k4 - group * DL_GROUP4 : DL_GROUP4;
	const float *scale = (const float *) (w + (size_t) steps * 4 * DL_PANEL);

	return (dl_s8_group) {w, scale, (const int32_t *) (scale + DL_PANEL), steps};
}

/* The table for this CPU, without what mask forbids. Static, immutable, never NULL. */
const dl_kernels *dl_kernels_get(uint32_t cpu_mask);
extern const dl_kernels dl_kernels_ref;

/* Usable DLM_CPU_* of this CPU and operating system (XGETBV checked), without those in mask. */
uint32_t	dl_cpu_flags(uint32_t cpu_mask);

#endif							/* DL_KERNELS_H */
