/*
 * kernels_ref.c - the kernels in plain C: the definition of what every table
 * computes, bit for bit, and what runs where no vector table fits.
 *
 * Nothing here is tuned. fmaf is correctly rounded whether it is an
 * instruction or a library routine.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

#include "fmath.h"
#include "hadamard.h"
#include "kernels_math.h"

/* ---------------------------------------------------------------- products */

static inline float
bf16_float(uint16_t b)
{
	uint32_t	u = (uint32_t) b << 16;
	float		x;

	memcpy(&x, &u, sizeof x);
	return x;
}

/* Columns of panel p that exist */
static inline int
panel_columns(int columns, int p)
{
	return columns - p * DL_PANEL < DL_PANEL ? columns - p * DL_PANEL : DL_PANEL;
}

static void
gemm_f32(const float *x, size_t ldx, int m, int k, const float *w, size_t panel_stride, size_t k_stride,
		 int panels, int columns, float *y, size_t ldy, bool accumulate)
{
	for (int p = 0; p < panels; p++)
	{
		int			width = panel_columns(columns, p);
		const float *panel = w + (size_t) p * panel_stride;

		for (int i = 0; i < m; i++)
		{
			float	   *out = y + (size_t) i * ldy + p * DL_PANEL;

			for (int j = 0; j < width; j++)
			{
				float		chain = accumulate ? out[j] : 0.0f;

				for (int t = 0; t < k; t++)
					chain = fmaf(x[(size_t) i * ldx + t], panel[(size_t) t * k_stride + j], chain);
				out[j] = chain;
			}
		}
	}
}

static void
gemm_bf16(const float *x, size_t ldx, int m, int k, const uint16_t *w, int panels, int columns, float *y, size_t ldy)
{
	for (int p = 0; p < panels; p++)
	{
		int			width = panel_columns(columns, p);
		const uint16_t *panel = w + (size_t) p * k * DL_PANEL;

		for (int i = 0; i < m; i++)
			for (int j = 0; j < width; j++)
			{
				float		chain = 0.0f;

				for (int t = 0; t < k; t++)
					chain = fmaf(x[(size_t) i * ldx + t], bf16_float(panel[(size_t) t * DL_PANEL + j]), chain);
				y[(size_t) i * ldy + p * DL_PANEL + j] = chain;
			}
	}
}

/* The sum of a group's products in column j */
static int32_t
group_sum(const int8_t *x, const dl_s8_group *g, int j)
{
	int32_t		sum = 0;

	for (int t = 0; t < 4 * g->steps; t++)
		sum += (int32_t) x[t] * g->w[(t / 4 * DL_PANEL + j) * 4 + t % 4];
	return sum;
}

static void
gemm_s8(const int8_t *x, size_t ldx, const float *sx, int m, int k4, const int8_t *w, const float *bias,
		int panels, int columns, float *y, size_t ldy)
{
	int			groups = dl_groups(k4);

	for (int p = 0; p < panels; p++)
	{
		int			width = panel_columns(columns, p);
		const int8_t *panel = w + (size_t) p * dl_s8_panel_bytes(k4);

		for (int i = 0; i < m; i++)
			for (int j = 0; j < width; j++)
			{
				float		chain = bias ? bias[p * DL_PANEL + j] : 0.0f;

				for (int g = 0; g < groups; g++)
				{
					dl_s8_group group = dl_s8_group_at(panel, k4, g);

					chain = fmaf((float) group_sum(x + (size_t) i * ldx + g * DL_GROUP, &group, j),
								 sx[(size_t) i * (size_t) groups + (size_t) g] * group.scale[j], chain);
				}
				y[(size_t) i * ldy + p * DL_PANEL + j] = chain;
			}
	}
}

/*
 * The largest magnitude is taken over the bits without the sign, as integers:
 * exact, free of order, and an infinity or NaN comes out on top. Such a group
 * gets the scale NaN, so that its products are NaN and are noticed. A group whose
 * 127 / max|x| overflows counts as zero.
 */
static float
quantize_group(const float *x, int k, int8_t *q)
{
	uint32_t	top = 0;
	float		largest,
				inverse;

	for (int i = 0; i < k; i++)
	{
		uint32_t	u;

		memcpy(&u, &x[i], sizeof u);
		u &= 0x7fffffffu;
		top = u > top ? u : top;
	}
	memcpy(&largest, &top, sizeof largest);
	memset(q, 0, (size_t) k);
	inverse = 127.0f / largest;
	if (top >= 0x7f800000u)
		return NAN;
	if (inverse > 0x1.fffffep+127f)
		return 0.0f;
	for (int i = 0; i < k; i++)
		q[i] = (int8_t) rintf(x[i] * inverse);
	return largest / 127.0f;
}

static void
quantize_s8(const float *x, int k, int k4, int8_t *q, float *scales)
{
	memset(q, 0, (size_t) k4 * 4);
	for (int g = 0; g < dl_groups(k4); g++)
	{
		float		group[DL_GROUP];
		int			n = k - g * DL_GROUP < DL_GROUP ? k - g * DL_GROUP : DL_GROUP;

		memcpy(group, x + g * DL_GROUP, (size_t) n * sizeof(float));
		if (n == DL_GROUP)
			dl_rotate_group(group);
		scales[g] = quantize_group(group, n, q + g * DL_GROUP);
	}
}

/* ---------------------------------------------------------------- reductions */

/* Lane l of 16 takes elements l, l + 16, ...; then lane l adds lane l + 8, + 4, + 2, + 1. */
static float
fold(float lane[16])
{
	for (int step = 8; step > 0; step /= 2)
		for (int l = 0; l < step; l++)
			lane[l] += lane[l + step];
	return lane[0];
}

static float
sum(const float *x, int n)
{
	float		lane[16] = {0};

	for (int i = 0; i < n; i++)
		lane[i % 16] += x[i];
	return fold(lane);
}

static float
sum_squares(const float *x, int n)
{
	float		lane[16] = {0};

	for (int i = 0; i < n; i++)
		lane[i % 16] = fmaf(x[i], x[i], lane[i % 16]);
	return fold(lane);
}

/* NaN is passed over; adding +0 makes the maximum of zeros +0 whatever their order */
static float
max(const float *x, int n)
{
	float		m = -INFINITY;

	for (int i = 0; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m + 0.0f;
}

/* ---------------------------------------------------------------- elements */

static void
add(float *y, const float *x, int n)
{
	for (int i = 0; i < n; i++)
		y[i] += x[i];
}

static void
mul(float *y, const float *x, int n)
{
	for (int i = 0; i < n; i++)
		y[i] *= x[i];
}

/* mean = sum / n; var = sum of fmaf(d, d, lane) / n with d = x - mean; y = (d * (1 / sqrt(var + eps))) w + b, fused */
static void
layer_norm(const float *x, const float *w, const float *b, float eps, int n, float *y)
{
	float		lane[16] = {0};
	float		mean = sum(x, n) / (float) n;
	float		inverse;

	for (int i = 0; i < n; i++)
	{
		float		d = x[i] - mean;

		lane[i % 16] = fmaf(d, d, lane[i % 16]);
	}
	inverse = 1.0f / sqrtf(fold(lane) / (float) n + eps);
	for (int i = 0; i < n; i++)
	{
		float		d = (x[i] - mean) * inverse;

		y[i] = b ? fmaf(d, w[i], b[i]) : d * w[i];
	}
}

/* y = (x * (1 / sqrt(sum of squares / n + eps))) * w */
static void
rms_norm(const float *x, const float *w, float eps, int n, float *y)
{
	float		inverse = 1.0f / sqrtf(sum_squares(x, n) / (float) n + eps);

	for (int i = 0; i < n; i++)
		y[i] = x[i] * inverse * w[i];
}

static void
gelu_erf(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = (0.5f * x[i]) * (1.0f + dl_erff(x[i] * GELU_SQRT_HALF));
}

static void
gelu_tanh(float *x, int n)
{
	for (int i = 0; i < n; i++)
	{
		float		inner = GELU_SCALE * fmaf(GELU_CUBE * (x[i] * x[i]), x[i], x[i]);

		x[i] = (0.5f * x[i]) * (1.0f + dl_tanhf(inner));
	}
}

static void
silu(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = x[i] / (1.0f + dl_expf(-x[i]));
}

/* -0 and NaN stay as they are */
static void
relu(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void
tanh_all(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = dl_tanhf(x[i]);
}

static void
exp_lanes(const float *x, float shift, int n, float *y, float *lanes)
{
	for (int i = 0; i < n; i++)
	{
		y[i] = dl_expf(x[i] - shift);
		lanes[i % 16] += y[i];
	}
}

static float
exp_sum(const float *x, float shift, int n, float *y)
{
	float		lane[16] = {0};

	exp_lanes(x, shift, n, y, lane);
	return fold(lane);
}

/* (a, b) -> (a cos - b sin, b cos + a sin); the cosine's product is the fused one */
static void
rope(float *x, const float *cos, const float *sin, int half)
{
	for (int i = 0; i < half; i++)
	{
		float		a = x[i],
					b = x[half + i];

		x[i] = fmaf(a, cos[i], -(b * sin[i]));
		x[half + i] = fmaf(b, cos[i], a * sin[i]);
	}
}

const dl_kernels dl_kernels_ref = {
	.name = "ref",
	.gemm_f32 = gemm_f32,
	.gemm_bf16 = gemm_bf16,
	.gemm_s8 = gemm_s8,
	.quantize_s8 = quantize_s8,
	.sum = sum,
	.sum_squares = sum_squares,
	.max = max,
	.add = add,
	.add_bias = add,
	.mul = mul,
	.layer_norm = layer_norm,
	.rms_norm = rms_norm,
	.gelu_erf = gelu_erf,
	.gelu_tanh = gelu_tanh,
	.silu = silu,
	.relu = relu,
	.tanh = tanh_all,
	.exp_sum = exp_sum,
	.exp_lanes = exp_lanes,
	.rope = rope
};
