/*
 * kernels_avx512.c - AVX-512 (F, BW, DQ, VL): a vec is one zmm register.
 *
 * A float tile is 6 rows x 4 panels: 24 zmm of chains, 4 of weights, one
 * broadcast. int8 goes to VNNI where the CPU has it, else to AVX2.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>

#include "kernels_math.h"
#include "kernels_target.h"
TARGET_AVX512

typedef __m512 vec;

#define OP static inline __attribute__((always_inline))

OP vec
v_load(const float *x)
{
	return _mm512_loadu_ps(x);
}

OP void
v_store(float *y, vec v)
{
	_mm512_storeu_ps(y, v);
}

OP vec
v_set(float x)
{
	return _mm512_set1_ps(x);
}

OP vec
v_load_bf16(const uint16_t *w)
{
	__m512i		wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) w));

	return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* Mask of the first n <= 16 lanes */
OP __mmask16
first(int n)
{
	return (__mmask16) ((1u << n) - 1);
}

OP vec
v_load_part(const float *x, int n)
{
	return _mm512_maskz_loadu_ps(first(n), x);
}

OP void
v_store_part(float *y, vec v, int n)
{
	_mm512_mask_storeu_ps(y, first(n), v);
}

OP vec
v_add(vec x, vec y)
{
	return _mm512_add_ps(x, y);
}

OP vec
v_sub(vec x, vec y)
{
	return _mm512_sub_ps(x, y);
}

OP vec
v_mul(vec x, vec y)
{
	return _mm512_mul_ps(x, y);
}

OP vec
v_div(vec x, vec y)
{
	return _mm512_div_ps(x, y);
}

OP vec
v_fma(vec x, vec y, vec z)
{
	return _mm512_fmadd_ps(x, y, z);
}

OP vec
v_low(vec x, vec y)
{
	return _mm512_min_ps(x, y);
}

OP vec
v_high(vec x, vec y)
{
	return _mm512_max_ps(x, y);
}

OP vec
v_if_less(vec x, vec y, vec yes, vec no)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), no, yes);
}

OP vec
v_abs(vec x)
{
	return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}

OP vec
v_negate(vec x)
{
	return _mm512_xor_ps(_mm512_set1_ps(-0.0f), x);
}

OP vec
v_copysign(vec x, vec from)
{
	__m512		sign = _mm512_set1_ps(-0.0f);

	return _mm512_or_ps(_mm512_andnot_ps(sign, x), _mm512_and_ps(sign, from));
}

OP vec
v_exp2(vec p, vec t)
{
	__m512i		bias = _mm512_set1_epi32(127);
	__m512i		e = _mm512_sub_epi32(_mm512_castps_si512(t), _mm512_set1_epi32((int) EXP_MAGIC_BITS));
	__m512i		half = _mm512_srai_epi32(e, 1);
	__m512i		one = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
	__m512i		other = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(e, half), bias), 23);

	return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(one)), _mm512_castsi512_ps(other));
}

OP vec
v_exp2_near(vec p, vec t)
{
	__m512i		bias = _mm512_set1_epi32((int) EXP_MAGIC_BITS - 127);

	return _mm512_mul_ps(p, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_sub_epi32(_mm512_castps_si512(t), bias), 23)));
}

OP vec
v_top_bits(vec m, vec x)
{
	return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(m), _mm512_castps_si512(v_abs(x))));
}

OP void
v_store_s8(int8_t *q, vec x)
{
	_mm_storeu_si128((__m128i *) q, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}

OP float
v_fold(vec x)
{
	__m256		eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
	__m128		four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
	__m128		two = _mm_add_ps(four, _mm_movehl_ps(four, four));

	return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

OP vec
v_swap8(vec x)
{
	return _mm512_shuffle_f32x4(x, x, 0x4e);
}

OP vec
v_swap4(vec x)
{
	return _mm512_shuffle_f32x4(x, x, 0xb1);
}

OP vec
v_swap2(vec x)
{
	return _mm512_permute_ps(x, 0x4e);
}

OP vec
v_swap1(vec x)
{
	return _mm512_permute_ps(x, 0xb1);
}

OP vec
v_xor(vec x, vec y)
{
	return _mm512_xor_ps(x, y);
}

#define S8_FLIP		0x80u
#define TILE_PANELS(rows)			4
#define TILE_TWO(t, rows, bf16)		tile_rows(t, rows, 2, bf16)
#define TILE_FOUR(t, rows, bf16)	tile_rows(t, rows, 4, bf16)

#include "kernels_body.h"

TARGET_END

const dl_kernels dl_kernels_avx512 = {
	.name = "avx512",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_avx2
};

const dl_kernels dl_kernels_avx512_vnni = {
	.name = "avx512-vnni",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_vnni
};

#endif							/* __x86_64__ */
