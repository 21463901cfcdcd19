/*
 * immintrin.h - stands in for the compiler's in a build of the x86 kernels
 * that any x86-64 CPU can run (test/engine/check_model.sh).
 *
 * SIMDe gives the intrinsics portable bodies. What it lacks or defines less
 * strictly than Intel is here, one lane at a time after the operation sections
 * of the Intel Intrinsics Guide: above all a fused multiply-add that is fused
 * (SIMDe's rounds twice without the instruction) and masked moves that do not
 * touch masked memory. A kernel that needs another intrinsic and does not link
 * gets it here.
 */
#ifndef DLM_TEST_IMMINTRIN_H
#define DLM_TEST_IMMINTRIN_H

#if defined(__AVX__) || defined(__FMA__) || defined(__AVX512F__)
#error "meant to be compiled for the x86-64 baseline"
#endif

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/avx2.h>
#include <simde/x86/fma.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#define MODEL static inline __attribute__((unused))

typedef simde__mmask8 __mmask8;
typedef simde__mmask16 __mmask16;
typedef simde__mmask32 __mmask32;
typedef simde__mmask64 __mmask64;

/* ---------------------------------------------------------------- fused multiply-add */

#define MODEL_FMADD(type, name, lanes) \
	MODEL type \
	name(type a, type b, type c) \
	{ \
		float		x[lanes], \
					y[lanes], \
					z[lanes]; \
 \
		memcpy(x, &a, sizeof x); \
		memcpy(y, &b, sizeof y); \
		memcpy(z, &c, sizeof z); \
		for (int i = 0; i < (lanes); i++) \
			z[i] = fmaf(x[i], y[i], z[i]); \
		memcpy(&c, z, sizeof z); \
		return c; \
	}

MODEL_FMADD(simde__m128, model_mm_fmadd_ps, 4)
MODEL_FMADD(simde__m256, model_mm256_fmadd_ps, 8)
MODEL_FMADD(simde__m512, model_mm512_fmadd_ps, 16)

#undef _mm_fmadd_ps
#undef _mm256_fmadd_ps
#undef _mm512_fmadd_ps
#define _mm_fmadd_ps		model_mm_fmadd_ps
#define _mm256_fmadd_ps		model_mm256_fmadd_ps
#define _mm512_fmadd_ps		model_mm512_fmadd_ps

/* ---------------------------------------------------------------- masked moves */

MODEL simde__m512
model_mm512_maskz_loadu_ps(simde__mmask16 k, const void *from)
{
	float		lane[16] = {0};
	simde__m512 r;

	for (int i = 0; i < 16; i++)
		if (k >> i & 1)
			memcpy(&lane[i], (const char *) from + 4 * i, 4);
	memcpy(&r, lane, sizeof r);
	return r;
}

MODEL void
model_mm512_mask_storeu_ps(void *to, simde__mmask16 k, simde__m512 a)
{
	float		lane[16];

	memcpy(lane, &a, sizeof lane);
	for (int i = 0; i < 16; i++)
		if (k >> i & 1)
			memcpy((char *) to + 4 * i, &lane[i], 4);
}

MODEL simde__m256
model_mm256_maskload_ps(const float *from, simde__m256i mask)
{
	int32_t		take[8];
	float		lane[8] = {0};
	simde__m256 r;

	memcpy(take, &mask, sizeof take);
	for (int i = 0; i < 8; i++)
		if (take[i] < 0)
			memcpy(&lane[i], from + i, 4);
	memcpy(&r, lane, sizeof r);
	return r;
}

MODEL void
model_mm256_maskstore_ps(float *to, simde__m256i mask, simde__m256 a)
{
	int32_t		take[8];
	float		lane[8];

	memcpy(take, &mask, sizeof take);
	memcpy(lane, &a, sizeof lane);
	for (int i = 0; i < 8; i++)
		if (take[i] < 0)
			memcpy(to + i, &lane[i], 4);
}

#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm256_maskload_ps
#undef _mm256_maskstore_ps
#define _mm512_maskz_loadu_ps	model_mm512_maskz_loadu_ps
#define _mm512_mask_storeu_ps	model_mm512_mask_storeu_ps
#define _mm256_maskload_ps		model_mm256_maskload_ps
#define _mm256_maskstore_ps		model_mm256_maskstore_ps

/* ---------------------------------------------------------------- conversions */

/* To nearest even (MXCSR's default, which the engine sets); 0x80000000 for what does not fit */
MODEL int32_t
model_to_int(float x)
{
	return x >= -0x1p31f && x < 0x1p31f ? (int32_t) rintf(x) : INT32_MIN;
}

#define MODEL_CVTPS(to, from, name, lanes) \
	MODEL to \
	name(from a) \
	{ \
		float		x[lanes]; \
		int32_t		lane[lanes]; \
		to			r; \
 \
		memcpy(x, &a, sizeof x); \
		for (int i = 0; i < (lanes); i++) \
			lane[i] = model_to_int(x[i]); \
		memcpy(&r, lane, sizeof r); \
		return r; \
	}

MODEL_CVTPS(simde__m256i, simde__m256, model_mm256_cvtps_epi32, 8)
MODEL_CVTPS(simde__m512i, simde__m512, model_mm512_cvtps_epi32, 16)

MODEL simde__m512
model_mm512_cvtepi32_ps(simde__m512i a)
{
	int32_t		lane[16];
	float		x[16];
	simde__m512 r;

	memcpy(lane, &a, sizeof lane);
	for (int i = 0; i < 16; i++)
		x[i] = (float) lane[i];
	memcpy(&r, x, sizeof r);
	return r;
}

/* The low byte of each */
MODEL simde__m128i
model_mm512_cvtepi32_epi8(simde__m512i a)
{
	int32_t		lane[16];
	uint8_t		byte[16];
	simde__m128i r;

	memcpy(lane, &a, sizeof lane);
	for (int i = 0; i < 16; i++)
		byte[i] = (uint8_t) lane[i];
	memcpy(&r, byte, sizeof r);
	return r;
}

MODEL simde__m512i
model_mm512_cvtepu16_epi32(simde__m256i a)
{
	uint16_t	half[16];
	uint32_t	lane[16];
	simde__m512i r;

	memcpy(half, &a, sizeof half);
	for (int i = 0; i < 16; i++)
		lane[i] = half[i];
	memcpy(&r, lane, sizeof r);
	return r;
}

#undef _mm256_cvtps_epi32
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepu16_epi32
#define _mm256_cvtps_epi32		model_mm256_cvtps_epi32
#define _mm512_cvtps_epi32		model_mm512_cvtps_epi32
#define _mm512_cvtepi32_ps		model_mm512_cvtepi32_ps
#define _mm512_cvtepi32_epi8	model_mm512_cvtepi32_epi8
#define _mm512_cvtepu16_epi32	model_mm512_cvtepu16_epi32

/* ---------------------------------------------------------------- integers, parts */

MODEL simde__m512i
model_mm512_srai_epi32(simde__m512i a, unsigned int count)
{
	int32_t		lane[16];

	memcpy(lane, &a, sizeof lane);
	for (int i = 0; i < 16; i++)
		lane[i] >>= count > 31 ? 31 : count;
	memcpy(&a, lane, sizeof a);
	return a;
}

MODEL simde__m256
model_mm512_extractf32x8_ps(simde__m512 a, int half)
{
	simde__m256 r;

	memcpy(&r, (const char *) &a + 32 * (half & 1), sizeof r);
	return r;
}

/* Quarter i of the result: from a for i < 2, else from b; number by two bits of control */
MODEL simde__m512
model_mm512_shuffle_f32x4(simde__m512 a, simde__m512 b, int control)
{
	float		x[2][4][4],
				r[4][4];

	memcpy(x[0], &a, sizeof x[0]);
	memcpy(x[1], &b, sizeof x[1]);
	for (int i = 0; i < 4; i++)
		memcpy(r[i], x[i / 2][control >> 2 * i & 3], sizeof r[i]);
	memcpy(&a, r, sizeof r);
	return a;
}

/* Lane i of each quarter: of the same quarter, number by two bits of control */
MODEL simde__m512
model_mm512_permute_ps(simde__m512 a, int control)
{
	float		x[16],
				r[16];

	memcpy(x, &a, sizeof x);
	for (int i = 0; i < 16; i++)
		r[i] = x[i / 4 * 4 + (control >> 2 * (i % 4) & 3)];
	memcpy(&a, r, sizeof r);
	return a;
}

#undef _mm512_srai_epi32
#undef _mm512_extractf32x8_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_permute_ps
#define _mm512_shuffle_f32x4	model_mm512_shuffle_f32x4
#define _mm512_permute_ps		model_mm512_permute_ps
#define _mm512_srai_epi32		model_mm512_srai_epi32
#define _mm512_extractf32x8_ps	model_mm512_extractf32x8_ps

/*
 * Four products of an unsigned byte of a and a signed one of b, each exact in
 * 16 bits signed and extended to 32, added to a lane of sum; wraps, never saturates
 */
MODEL void
model_dpbusd(void *sum, const void *a, const void *b, int lanes)
{
	uint32_t	s[16];
	uint8_t		x[64];
	int8_t		y[64];

	memcpy(s, sum, 4 * (size_t) lanes);
	memcpy(x, a, 4 * (size_t) lanes);
	memcpy(y, b, 4 * (size_t) lanes);
	for (int i = 0; i < 4 * lanes; i++)
		s[i / 4] += (uint32_t) ((int32_t) x[i] * y[i]);
	memcpy(sum, s, 4 * (size_t) lanes);
}

MODEL simde__m256i
model_mm256_dpbusd_epi32(simde__m256i sum, simde__m256i a, simde__m256i b)
{
	model_dpbusd(&sum, &a, &b, 8);
	return sum;
}

MODEL simde__m512i
model_mm512_dpbusd_epi32(simde__m512i sum, simde__m512i a, simde__m512i b)
{
	model_dpbusd(&sum, &a, &b, 16);
	return sum;
}

#undef _mm256_dpbusd_epi32
#undef _mm256_dpbusd_avx_epi32
#undef _mm512_dpbusd_epi32
#define _mm256_dpbusd_epi32			model_mm256_dpbusd_epi32
#define _mm256_dpbusd_avx_epi32		model_mm256_dpbusd_epi32
#define _mm512_dpbusd_epi32			model_mm512_dpbusd_epi32

#endif							/* DLM_TEST_IMMINTRIN_H */
