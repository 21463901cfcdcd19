/*
 * kernels_neon_int8.h - what the two int8 products of AArch64 have in common.
 */

/* Four columns' sums of a row to its chains */
static inline __attribute__((always_inline)) void
add_sums(float *chain, int32x4_t sum, float sx, const float *scale)
{
	vst1q_f32(chain, vfmaq_f32(vld1q_f32(chain), vcvtq_f32_s32(sum), vmulq_f32(vdupq_n_f32(sx), vld1q_f32(scale))));
}

/* Four bytes of x, four times */
static inline __attribute__((always_inline)) int8x16_t
load_four(const int8_t *x)
{
	int32_t		four;

	memcpy(&four, x, sizeof four);
	return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
