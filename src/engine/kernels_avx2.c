/*
 * kernels_avx2.c - AVX2 and FMA: a vec is two ymm registers.
 *
 * A float tile is 6 rows x 16 columns: 12 ymm of chains, 2 of weights, one
 * broadcast. Fewer rows take more panels, to have enough chains in flight for
 * the latency of the fused multiply-add.
 */
#if defined(__x86_64__)

#include "kernels_tables.h"

#include <immintrin.h>

#include "kernels_math.h"
#include "kernels_target.h"
TARGET_AVX2

typedef struct vec
{
	__m256		a,				/* lanes 0-7 */
				b;				/* lanes 8-15 */
} vec;

#define OP static inline __attribute__((always_inline))

OP vec
v_load(const float *x)
{
	return (vec) {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

OP void
v_store(float *y, vec v)
{
	_mm256_storeu_ps(y, v.a);
	_mm256_storeu_ps(y + 8, v.b);
}

OP vec
v_set(float x)
{
	__m256		v = _mm256_set1_ps(x);

	return (vec) {v, v};
}

OP __m256
widen_bf16(const uint16_t *w)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) w)), 16));
}

OP vec
v_load_bf16(const uint16_t *w)
{
	return (vec) {widen_bf16(w), widen_bf16(w + 8)};
}

/* Masks of the first n of 16 lanes */
OP void
part_masks(int n, __m256i *a, __m256i *b)
{
	__m256i		lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	__m256i		count = _mm256_set1_epi32(n);

	*a = _mm256_cmpgt_epi32(count, lane);
	*b = _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
}

OP vec
v_load_part(const float *x, int n)
{
	__m256i		a,
				b;

	part_masks(n, &a, &b);
	return (vec) {_mm256_maskload_ps(x, a), _mm256_maskload_ps(x + 8, b)};
}

OP void
v_store_part(float *y, vec v, int n)
{
	__m256i		a,
				b;

	part_masks(n, &a, &b);
	_mm256_maskstore_ps(y, a, v.a);
	_mm256_maskstore_ps(y + 8, b, v.b);
}

OP vec
v_add(vec x, vec y)
{
	return (vec) {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

OP vec
v_sub(vec x, vec y)
{
	return (vec) {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

OP vec
v_mul(vec x, vec y)
{
	return (vec) {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

OP vec
v_div(vec x, vec y)
{
	return (vec) {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

OP vec
v_fma(vec x, vec y, vec z)
{
	return (vec) {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

OP vec
v_low(vec x, vec y)
{
	return (vec) {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

OP vec
v_high(vec x, vec y)
{
	return (vec) {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

OP vec
v_if_less(vec x, vec y, vec yes, vec no)
{
	return (vec) {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
				  _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}

OP vec
v_abs(vec x)
{
	__m256		sign = _mm256_set1_ps(-0.0f);

	return (vec) {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

OP vec
v_negate(vec x)
{
	__m256		sign = _mm256_set1_ps(-0.0f);

	return (vec) {_mm256_xor_ps(sign, x.a), _mm256_xor_ps(sign, x.b)};
}

OP vec
v_copysign(vec x, vec from)
{
	__m256		sign = _mm256_set1_ps(-0.0f);

	return (vec) {_mm256_or_ps(_mm256_andnot_ps(sign, x.a), _mm256_and_ps(sign, from.a)),
				  _mm256_or_ps(_mm256_andnot_ps(sign, x.b), _mm256_and_ps(sign, from.b))};
}

OP __m256
exp2_half(__m256 p, __m256 t)
{
	__m256i		bias = _mm256_set1_epi32(127);
	__m256i		e = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32((int) EXP_MAGIC_BITS));
	__m256i		half = _mm256_srai_epi32(e, 1);
	__m256i		first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
	__m256i		second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(e, half), bias), 23);

	return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}

OP vec
v_exp2(vec p, vec t)
{
	return (vec) {exp2_half(p.a, t.a), exp2_half(p.b, t.b)};
}

OP __m256
top_bits_half(__m256 m, __m256 x)
{
	__m256i		bits = _mm256_castps_si256(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x));

	return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(m), bits));
}

OP vec
v_exp2_near(vec p, vec t)
{
	__m256i		bias = _mm256_set1_epi32((int) EXP_MAGIC_BITS - 127);
	__m256i		low = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_castps_si256(t.a), bias), 23);
	__m256i		high = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_castps_si256(t.b), bias), 23);

	return (vec) {_mm256_mul_ps(p.a, _mm256_castsi256_ps(low)), _mm256_mul_ps(p.b, _mm256_castsi256_ps(high))};
}

OP vec
v_top_bits(vec m, vec x)
{
	return (vec) {top_bits_half(m.a, x.a), top_bits_half(m.b, x.b)};
}

OP void
v_store_s8(int8_t *q, vec x)
{
	__m256i		words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));

	words = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
	_mm_storeu_si128((__m128i *) q,
					 _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

OP float
v_fold(vec x)
{
	__m256		eight = _mm256_add_ps(x.a, x.b);
	__m128		four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
	__m128		two = _mm_add_ps(four, _mm_movehl_ps(four, four));

	return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

OP vec
v_swap8(vec x)
{
	return (vec) {x.b, x.a};
}

OP vec
v_swap4(vec x)
{
	return (vec) {_mm256_permute2f128_ps(x.a, x.a, 1), _mm256_permute2f128_ps(x.b, x.b, 1)};
}

OP vec
v_swap2(vec x)
{
	return (vec) {_mm256_permute_ps(x.a, 0x4e), _mm256_permute_ps(x.b, 0x4e)};
}

OP vec
v_swap1(vec x)
{
	return (vec) {_mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1)};
}

OP vec
v_xor(vec x, vec y)
{
	return (vec) {_mm256_xor_ps(x.a, y.a), _mm256_xor_ps(x.b, y.b)};
}

#define S8_FLIP		0x80u
#define TILE_PANELS(rows)	((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#define TILE_TWO(t, rows, bf16) \
	((rows) == 1 ? tile(t, 1, 2, bf16) : (rows) == 2 ? tile(t, 2, 2, bf16) : tile(t, 3, 2, bf16))
#define TILE_FOUR(t, rows, bf16)	tile(t, 1, 4, bf16)

#include "kernels_body.h"

TARGET_END

const dl_kernels dl_kernels_avx2 = {
	.name = "avx2",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_avx2
};

const dl_kernels dl_kernels_avx_vnni = {
	.name = "avx-vnni",
	FLOAT_KERNELS,
	.gemm_s8 = dl_gemm_s8_avxvnni
};

#endif							/* __x86_64__ */
