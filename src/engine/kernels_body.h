/*
 * kernels_body.h - the float kernels of one instruction set.
 *
 * Included once by each kernels_ISA.c, after it has defined `vec`, a value of
 * 16 floats (two ymm, one zmm, four neon registers), and
 *
 *		v_load, v_store, v_set, v_load_bf16		move (unaligned)
 *		v_load_part, v_store_part				the first n < 16 floats; missing ones read as +0
 *		v_add, v_sub, v_mul, v_div				IEEE
 *		v_fma(a, b, c)							a b + c, rounded once
 *		v_low(a, b), v_high(a, b)				a < b ? a : b, a > b ? a : b (b if unordered)
 *		v_if_less(a, b, yes, no)				a < b ? yes : no
 *		v_abs, v_negate, v_copysign(a, sign)
 *		v_exp2(p, t)							p 2^half 2^(e - half), e = bits(t) - EXP_MAGIC_BITS
 *		v_exp2_near(p, t)						p 2^e, -126 <= e <= 127
 *		v_top_bits(m, x)						max(bits(m), bits(|x|)) as integers
 *		v_store_s8(q, x)						16 integers, half to even
 *		v_fold(a)								lanes folded 8, 4, 2, 1
 *		v_swap8, v_swap4, v_swap2, v_swap1		lane l becomes lane l ^ 8, ...
 *		v_xor									bits
 *		TILE_PANELS(rows)						panels that a tile of so many rows takes
 *		S8_FLIP									what quantised bytes are stored with, see dl_kernels
 *
 * Every function does the operations of kernels_ref.c and fmath.c in the same
 * order; a vec is the 16 lanes of a reduction.
 */
#include <math.h>
#include <string.h>

#include "kernels_math.h"

#define INLINE static inline __attribute__((always_inline))

/* The next 16 floats, or as many as are left */
INLINE vec
load_upto(const float *x, int left)
{
	return left >= DL_PANEL ? v_load(x) : v_load_part(x, left);
}

INLINE void
store_upto(float *y, vec v, int left)
{
	if (left >= DL_PANEL)
		v_store(y, v);
	else
		v_store_part(y, v, left);
}

/* v with lanes from n on set to +0, which leaves a reduction's lanes alone */
INLINE vec
first_lanes(vec v, int n)
{
	float		lane[DL_PANEL];

	if (n >= DL_PANEL)
		return v;
	v_store(lane, v);
	return v_load_part(lane, n);
}

/* ---------------------------------------------------------------- functions */

/* e^x = 2^n e^r: returns e^r; the low bits of *t hold n */
INLINE vec
exp_fraction(vec x, vec *t)
{
	vec			magic = v_set(EXP_MAGIC);
	vec			n,
				r,
				q;

	*t = v_fma(x, v_set(EXP_LOG2E), magic);
	n = v_sub(*t, magic);
	r = v_fma(n, v_set(-EXP_LN2_HI), x);
	r = v_fma(n, v_set(-EXP_LN2_LO), r);
	q = v_fma(v_set(EXP_Q4), r, v_set(EXP_Q3));
	q = v_fma(q, r, v_set(EXP_Q2));
	q = v_fma(q, r, v_set(EXP_Q1));
	q = v_fma(q, r, v_set(EXP_Q0));
	return v_add(v_fma(v_mul(r, r), q, r), v_set(1.0f));
}

INLINE vec
vec_exp(vec x)
{
	vec			t,
				p;

	p = exp_fraction(v_low(v_set(EXP_HIGH), v_high(v_set(EXP_LOW), x)), &t);
	return v_exp2(p, t);
}

/* The same bits for -80 < x < 80 (or NaN): 2^n is one normal factor */
INLINE vec
vec_exp_near(vec x)
{
	vec			t,
				p = exp_fraction(x, &t);

	return v_exp2_near(p, t);
}

INLINE vec
vec_tanh(vec x)
{
	vec			one = v_set(1.0f);
	vec			a = v_abs(x);
	vec			z = v_mul(x, x);
	vec			t,
				small,
				large;

	t = v_fma(v_set(TANH_T4), z, v_set(TANH_T3));
	t = v_fma(t, z, v_set(TANH_T2));
	t = v_fma(t, z, v_set(TANH_T1));
	t = v_fma(t, z, v_set(TANH_T0));
	small = v_fma(v_mul(x, z), t, x);
	large = v_sub(one, v_div(v_set(2.0f), v_add(vec_exp(v_add(a, a)), one)));
	return v_copysign(v_if_less(a, v_set(TANH_SMALL), small, large), x);
}

INLINE vec
vec_erf(vec x)
{
	vec			a = v_abs(x);
	vec			c = v_low(v_set(ERF_LARGE), a);
	vec			z = v_mul(x, x);
	vec			t,
				small,
				large;

	t = v_fma(v_set(ERF_E5), z, v_set(ERF_E4));
	t = v_fma(t, z, v_set(ERF_E3));
	t = v_fma(t, z, v_set(ERF_E2));
	t = v_fma(t, z, v_set(ERF_E1));
	t = v_fma(t, z, v_set(ERF_E0));
	t = v_fma(t, z, v_set(ERF_E));
	small = v_fma(x, t, x);
	t = v_fma(v_set(ERF_C6), c, v_set(ERF_C5));
	t = v_fma(t, c, v_set(ERF_C4));
	t = v_fma(t, c, v_set(ERF_C3));
	t = v_fma(t, c, v_set(ERF_C2));
	t = v_fma(t, c, v_set(ERF_C1));
	t = v_fma(t, c, v_set(ERF_C0));
	large = v_sub(v_set(1.0f), vec_exp_near(t));	/* c() of 1 .. 4 is within -17 .. 0 */
	return v_copysign(v_if_less(a, v_set(ERF_SMALL), small, large), x);
}

/* ---------------------------------------------------------------- reductions */

static float
sum(const float *x, int n)
{
	vec			lanes = v_set(0.0f);

	for (int i = 0; i < n; i += DL_PANEL)
		lanes = v_add(lanes, load_upto(x + i, n - i));
	return v_fold(lanes);
}

static float
sum_squares(const float *x, int n)
{
	vec			lanes = v_set(0.0f);

	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			v = load_upto(x + i, n - i);

		lanes = v_fma(v, v, lanes);
	}
	return v_fold(lanes);
}

static float
max(const float *x, int n)
{
	float		lane[DL_PANEL];
	vec			lanes = v_set(-INFINITY);
	float		m = -INFINITY;
	int			i = 0;

	for (; i + DL_PANEL <= n; i += DL_PANEL)
		lanes = v_high(v_load(x + i), lanes);
	v_store(lane, lanes);
	for (int l = 0; l < DL_PANEL; l++)
		m = lane[l] > m ? lane[l] : m;
	for (; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m + 0.0f;
}

/* ---------------------------------------------------------------- elements */

static void
add(float *y, const float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
		store_upto(y + i, v_add(load_upto(y + i, n - i), load_upto(x + i, n - i)), n - i);
}

static void
mul(float *y, const float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
		store_upto(y + i, v_mul(load_upto(y + i, n - i), load_upto(x + i, n - i)), n - i);
}

static void
layer_norm(const float *x, const float *w, const float *b, float eps, int n, float *y)
{
	float		mean_value = sum(x, n) / (float) n;
	vec			mean = v_set(mean_value);
	vec			lanes = v_set(0.0f);
	vec			inverse;

	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			d = first_lanes(v_sub(load_upto(x + i, n - i), mean), n - i);

		lanes = v_fma(d, d, lanes);
	}
	inverse = v_set(1.0f / sqrtf(v_fold(lanes) / (float) n + eps));
	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			d = v_mul(v_sub(load_upto(x + i, n - i), mean), inverse);
		vec			scale = load_upto(w + i, n - i);

		store_upto(y + i, b ? v_fma(d, scale, load_upto(b + i, n - i)) : v_mul(d, scale), n - i);
	}
}

static void
rms_norm(const float *x, const float *w, float eps, int n, float *y)
{
	vec			inverse = v_set(1.0f / sqrtf(sum_squares(x, n) / (float) n + eps));

	for (int i = 0; i < n; i += DL_PANEL)
		store_upto(y + i, v_mul(v_mul(load_upto(x + i, n - i), inverse), load_upto(w + i, n - i)), n - i);
}

static void
gelu_erf(float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			v = load_upto(x + i, n - i);
		vec			e = v_add(v_set(1.0f), vec_erf(v_mul(v, v_set(GELU_SQRT_HALF))));

		store_upto(x + i, v_mul(v_mul(v_set(0.5f), v), e), n - i);
	}
}

static void
gelu_tanh(float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			v = load_upto(x + i, n - i);
		vec			inner = v_mul(v_set(GELU_SCALE), v_fma(v_mul(v_set(GELU_CUBE), v_mul(v, v)), v, v));

		store_upto(x + i, v_mul(v_mul(v_set(0.5f), v), v_add(v_set(1.0f), vec_tanh(inner))), n - i);
	}
}

static void
silu(float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			v = load_upto(x + i, n - i);

		store_upto(x + i, v_div(v, v_add(v_set(1.0f), vec_exp(v_negate(v)))), n - i);
	}
}

static void
relu(float *x, int n)
{
	vec			zero = v_set(0.0f);

	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			v = load_upto(x + i, n - i);

		store_upto(x + i, v_if_less(v, zero, zero, v), n - i);
	}
}

static void
tanh_all(float *x, int n)
{
	for (int i = 0; i < n; i += DL_PANEL)
		store_upto(x + i, vec_tanh(load_upto(x + i, n - i)), n - i);
}

INLINE vec
exp_add(const float *x, float shift, int n, float *y, vec lanes)
{
	for (int i = 0; i < n; i += DL_PANEL)
	{
		vec			e = vec_exp(v_sub(load_upto(x + i, n - i), v_set(shift)));

		store_upto(y + i, e, n - i);
		lanes = v_add(lanes, first_lanes(e, n - i));
	}
	return lanes;
}

static float
exp_sum(const float *x, float shift, int n, float *y)
{
	return v_fold(exp_add(x, shift, n, y, v_set(0.0f)));
}

static void
exp_lanes(const float *x, float shift, int n, float *y, float *lanes)
{
	v_store(lanes, exp_add(x, shift, n, y, v_load(lanes)));
}

static void
rope(float *x, const float *cos, const float *sin, int half)
{
	for (int i = 0; i < half; i += DL_PANEL)
	{
		int			left = half - i;
		vec			a = load_upto(x + i, left);
		vec			b = load_upto(x + half + i, left);
		vec			c = load_upto(cos + i, left);
		vec			s = load_upto(sin + i, left);

		store_upto(x + i, v_fma(a, c, v_negate(v_mul(b, s))), left);
		store_upto(x + half + i, v_fma(b, c, v_mul(a, s)), left);
	}
}

/* 16 bytes as the table's product wants them */
INLINE void
flip_bytes(int8_t *q)
{
	uint64_t	half[2];

	memcpy(half, q, sizeof half);
	half[0] ^= 0x0101010101010101u * S8_FLIP;
	half[1] ^= 0x0101010101010101u * S8_FLIP;
	memcpy(q, half, sizeof half);
}

/* Lanes whose number has the bit of a distance: they get a - b, that is the other lane plus their own negated */
static const uint32_t upper_lanes[4][DL_PANEL] = {
#define UPPER(d)	{0 & (d) ? SIGN : 0, 1 & (d) ? SIGN : 0, 2 & (d) ? SIGN : 0, 3 & (d) ? SIGN : 0, \
	4 & (d) ? SIGN : 0, 5 & (d) ? SIGN : 0, 6 & (d) ? SIGN : 0, 7 & (d) ? SIGN : 0, \
	8 & (d) ? SIGN : 0, 9 & (d) ? SIGN : 0, 10 & (d) ? SIGN : 0, 11 & (d) ? SIGN : 0, \
	12 & (d) ? SIGN : 0, 13 & (d) ? SIGN : 0, 14 & (d) ? SIGN : 0, 15 & (d) ? SIGN : 0}
#define SIGN	0x80000000u
	UPPER(8), UPPER(4), UPPER(2), UPPER(1)
};

/* Butterflies at distances 8, 4, 2, 1 */
INLINE vec
rotate_lanes(vec x)
{
	x = v_add(v_swap8(x), v_xor(x, v_load((const float *) (const void *) upper_lanes[0])));
	x = v_add(v_swap4(x), v_xor(x, v_load((const float *) (const void *) upper_lanes[1])));
	x = v_add(v_swap2(x), v_xor(x, v_load((const float *) (const void *) upper_lanes[2])));
	return v_add(v_swap1(x), v_xor(x, v_load((const float *) (const void *) upper_lanes[3])));
}

/* dl_rotate_group: from x to `to` */
INLINE void
rotate_group(const float *x, float *to)
{
	vec			a = v_load(x),
				b = v_load(x + 16),
				c = v_load(x + 32),
				d = v_load(x + 48),
				ac = v_add(a, c),
				bd = v_add(b, d),
				eighth = v_set(0.125f);

	a = v_sub(a, c);
	b = v_sub(b, d);
	v_store(to, v_mul(rotate_lanes(v_add(ac, bd)), eighth));
	v_store(to + 16, v_mul(rotate_lanes(v_sub(ac, bd)), eighth));
	v_store(to + 32, v_mul(rotate_lanes(v_add(a, b)), eighth));
	v_store(to + 48, v_mul(rotate_lanes(v_sub(a, b)), eighth));
}

/* One group of k <= 64 elements, padded to `padded` bytes; returns its scale. */
INLINE float
quantize_group(const float *x, int k, int padded, int8_t *q)
{
	vec			top = v_set(0.0f);
	uint32_t	bits;
	float		lane[DL_PANEL],
				largest,
				inverse;
	int			i = 0;

	for (; i < k; i += DL_PANEL)
		top = v_top_bits(top, load_upto(x + i, k - i));
	top = v_top_bits(top, v_swap8(top));
	top = v_top_bits(top, v_swap4(top));
	top = v_top_bits(top, v_swap2(top));
	v_store(lane, v_top_bits(top, v_swap1(top)));
	largest = lane[0];
	memcpy(&bits, &largest, sizeof bits);
	inverse = 127.0f / largest;
	if (bits >= 0x7f800000u || inverse > 0x1.fffffep+127f)
	{
		memset(q, S8_FLIP, (size_t) padded);
		return bits >= 0x7f800000u ? NAN : 0.0f;
	}
	for (i = 0; i + DL_PANEL <= k; i += DL_PANEL)
	{
		v_store_s8(q + i, v_mul(v_load(x + i), v_set(inverse)));
		flip_bytes(q + i);
	}
	if (i < padded)
	{
		int8_t		rest[DL_PANEL];

		v_store_s8(rest, v_mul(v_load_part(x + i, k - i), v_set(inverse)));
		flip_bytes(rest);
		memcpy(q + i, rest, (size_t) (padded - i));
	}
	return largest / 127.0f;
}

static void
quantize_s8(const float *x, int k, int k4, int8_t *q, float *scales)
{
	for (int g = 0, at = 0; at < k; g++, at += DL_GROUP)
	{
		float		group[DL_GROUP];

		if (k - at >= DL_GROUP)
		{
			rotate_group(x + at, group);
			scales[g] = quantize_group(group, DL_GROUP, DL_GROUP, q + at);
		}
		else
			scales[g] = quantize_group(x + at, k - at, 4 * k4 - at, q + at);
	}
}

#include "kernels_products_body.h"

#define FLOAT_KERNELS \
	.gemm_f32 = gemm_f32, .gemm_bf16 = gemm_bf16, .quantize_s8 = quantize_s8, .s8_flip = S8_FLIP, \
	.sum = sum, .sum_squares = sum_squares, .max = max, .add = add, .add_bias = add, .mul = mul, \
	.layer_norm = layer_norm, .rms_norm = rms_norm, .gelu_erf = gelu_erf, .gelu_tanh = gelu_tanh, \
	.silu = silu, .relu = relu, .tanh = tanh_all, .exp_sum = exp_sum, .exp_lanes = exp_lanes, .rope = rope
