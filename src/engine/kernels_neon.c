/*
 * kernels_neon.c - AArch64: a vec is four 128-bit registers.
 *
 * A float tile is 6 rows x 16 columns: 24 registers of chains, 4 of weights.
 * AdvSIMD is part of the base architecture; only int8 has a second form, for
 * CPUs with the dot product (kernels_neon_int8.c).
 */
#if defined(__aarch64__)

#include "kernels_tables.h"

#include <arm_neon.h>
#include <string.h>

#include "kernels_math.h"

typedef struct vec
{
	float32x4_t v[4];			/* lanes 0-3, 4-7, 8-11, 12-15 */
} vec;

#define OP static inline __attribute__((always_inline))

/* f(i) for the four registers */
#define FOUR(f)	((vec) {{f(0), f(1), f(2), f(3)}})

OP vec
v_load(const float *x)
{
	return (vec) {{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

OP void
v_store(float *y, vec x)
{
	vst1q_f32(y, x.v[0]);
	vst1q_f32(y + 4, x.v[1]);
	vst1q_f32(y + 8, x.v[2]);
	vst1q_f32(y + 12, x.v[3]);
}

OP vec
v_set(float x)
{
	float32x4_t v = vdupq_n_f32(x);

	return (vec) {{v, v, v, v}};
}

OP vec
v_load_bf16(const uint16_t *w)
{
	uint16x8_t	low = vld1q_u16(w),
				high = vld1q_u16(w + 8);

	return (vec) {{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)),
				   vreinterpretq_f32_u32(vshll_high_n_u16(low, 16)),
				   vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
				   vreinterpretq_f32_u32(vshll_high_n_u16(high, 16))}};
}

OP vec
v_load_part(const float *x, int n)
{
	float		lane[DL_PANEL] = {0};

	for (int i = 0; i < DL_PANEL && i < n; i++)
		lane[i] = x[i];
	return v_load(lane);
}

OP void
v_store_part(float *y, vec x, int n)
{
	float		lane[DL_PANEL];

	v_store(lane, x);
	for (int i = 0; i < DL_PANEL && i < n; i++)
		y[i] = lane[i];
}

OP vec
v_add(vec x, vec y)
{
#define F(i) vaddq_f32(x.v[i], y.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_sub(vec x, vec y)
{
#define F(i) vsubq_f32(x.v[i], y.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_mul(vec x, vec y)
{
#define F(i) vmulq_f32(x.v[i], y.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_div(vec x, vec y)
{
#define F(i) vdivq_f32(x.v[i], y.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_fma(vec x, vec y, vec z)
{
#define F(i) vfmaq_f32(z.v[i], x.v[i], y.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_if_less(vec x, vec y, vec yes, vec no)
{
#define F(i) vbslq_f32(vcltq_f32(x.v[i], y.v[i]), yes.v[i], no.v[i])
	return FOUR(F);
#undef F
}

/* vminq and vmaxq treat NaN and zeros in their own way: compare and choose */
OP vec
v_low(vec x, vec y)
{
	return v_if_less(x, y, x, y);
}

OP vec
v_high(vec x, vec y)
{
	return v_if_less(y, x, x, y);
}

OP vec
v_abs(vec x)
{
#define F(i) vabsq_f32(x.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_negate(vec x)
{
#define F(i) vnegq_f32(x.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_copysign(vec x, vec from)
{
	uint32x4_t	sign = vdupq_n_u32(0x80000000u);

#define F(i) vbslq_f32(sign, from.v[i], x.v[i])
	return FOUR(F);
#undef F
}

OP float32x4_t
exp2_quarter(float32x4_t p, float32x4_t t)
{
	int32x4_t	bias = vdupq_n_s32(127);
	int32x4_t	e = vsubq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32((int32_t) EXP_MAGIC_BITS));
	int32x4_t	half = vshrq_n_s32(e, 1);
	int32x4_t	first = vshlq_n_s32(vaddq_s32(half, bias), 23);
	int32x4_t	second = vshlq_n_s32(vaddq_s32(vsubq_s32(e, half), bias), 23);

	return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second));
}

OP vec
v_exp2(vec p, vec t)
{
#define F(i) exp2_quarter(p.v[i], t.v[i])
	return FOUR(F);
#undef F
}

OP vec
v_exp2_near(vec p, vec t)
{
	int32x4_t	bias = vdupq_n_s32((int) EXP_MAGIC_BITS - 127);

	for (int i = 0; i < 4; i++)
	{
		int32x4_t	e = vsubq_s32(vreinterpretq_s32_f32(t.v[i]), bias);

		p.v[i] = vmulq_f32(p.v[i], vreinterpretq_f32_s32(vshlq_n_s32(e, 23)));
	}
	return p;
}

OP vec
v_top_bits(vec m, vec x)
{
#define F(i) vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(m.v[i]), vreinterpretq_s32_f32(vabsq_f32(x.v[i]))))
	return FOUR(F);
#undef F
}

OP void
v_store_s8(int8_t *q, vec x)
{
	int16x8_t	low = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.v[0])), vqmovn_s32(vcvtnq_s32_f32(x.v[1])));
	int16x8_t	high = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.v[2])), vqmovn_s32(vcvtnq_s32_f32(x.v[3])));

	vst1q_s8(q, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}

OP float
v_fold(vec x)
{
	float32x4_t four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
	float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));

	return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

OP vec
v_swap8(vec x)
{
	return (vec) {{x.v[2], x.v[3], x.v[0], x.v[1]}};
}

OP vec
v_swap4(vec x)
{
	return (vec) {{x.v[1], x.v[0], x.v[3], x.v[2]}};
}

OP vec
v_swap2(vec x)
{
	for (int i = 0; i < 4; i++)
		x.v[i] = vextq_f32(x.v[i], x.v[i], 2);
	return x;
}

OP vec
v_swap1(vec x)
{
	for (int i = 0; i < 4; i++)
		x.v[i] = vrev64q_f32(x.v[i]);
	return x;
}

OP vec
v_xor(vec x, vec y)
{
	for (int i = 0; i < 4; i++)
		x.v[i] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x.v[i]), vreinterpretq_u32_f32(y.v[i])));
	return x;
}

#define S8_FLIP		0u
#define TILE_PANELS(rows)	((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#define TILE_TWO(t, rows, bf16) \
	((rows) == 1 ? tile(t, 1, 2, bf16) : (rows) == 2 ? tile(t, 2, 2, bf16) : tile(t, 3, 2, bf16))
#define TILE_FOUR(t, rows, bf16)	tile(t, 1, 4, bf16)

#include "kernels_body.h"

const dl_kernels dl_kernels_neon = {
	.name = "neon",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_neon
};

const dl_kernels dl_kernels_neon_dotprod = {
	.name = "neon-dotprod",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_dotprod
};

#endif							/* __aarch64__ */
