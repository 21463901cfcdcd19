/*
 * kernels_math.h - constants of the float functions, shared by their scalar
 * definition (fmath.c) and the vector kernels (kernels_body.h).
 *
 * Coefficients are minimax fits made for this project (Remez exchange in 50
 * digits, rounded to float one by one); the comment at each gives the largest
 * error of the exact polynomial.
 */
#ifndef DL_KERNELS_MATH_H
#define DL_KERNELS_MATH_H

/*
 * exp(x) = 2^n e^r, n = x / ln 2 to nearest, |r| <= ln 2 / 2.
 * e^r = 1 + (r + r^2 q(r)), relative error 3e-9. n is found by adding 1.5 * 2^23, whose
 * sum has n in its low bits. Outside [LOW, HIGH] the result is 0 or infinity.
 */
#define EXP_LOW			-104.0f
#define EXP_HIGH		89.0f
#define EXP_LOG2E		0x1.715476p+0f
#define EXP_LN2_HI		0x1.62e400p-1f	/* 15 bits: n * it is exact */
#define EXP_LN2_LO		0x1.7f7d1cp-20f
#define EXP_MAGIC		12582912.0f
#define EXP_MAGIC_BITS	0x4b400000u
#define EXP_Q0			0x1.fffffcp-2f
#define EXP_Q1			0x1.555492p-3f
#define EXP_Q2			0x1.5558f2p-5f
#define EXP_Q3			0x1.123a20p-7f
#define EXP_Q4			0x1.6a23ccp-10f

/* |x| < 0.625: tanh(x) = x + x z t(z), z = x^2, relative error 4e-9; else 1 - 2 / (exp(2 |x|) + 1) with x's sign. */
#define TANH_SMALL		0.625f
#define TANH_T0			-0x1.555534p-2f
#define TANH_T1			0x1.110768p-3f
#define TANH_T2			-0x1.b84448p-5f
#define TANH_T3			0x1.5256d6p-6f
#define TANH_T4			-0x1.76ac12p-8f

/* |x| < 1: erf(x) = x + x (2/sqrt(pi) - 1 + z e(z)), relative error 2e-9; else 1 - exp(c(min(|x|, 4))), error 2e-9. */
#define ERF_SMALL		1.0f
#define ERF_LARGE		4.0f
#define ERF_E			0x1.06eba8p-3f	/* 2 / sqrt(pi) - 1 */
#define ERF_E0			-0x1.812742p-2f
#define ERF_E1			0x1.ce2d70p-4f
#define ERF_E2			-0x1.b80010p-6f
#define ERF_E3			0x1.54376ep-8f
#define ERF_E4			-0x1.a54466p-11f
#define ERF_E5			0x1.4cbd2ep-14f
#define ERF_C0			-0x1.72e7fcp-12f
#define ERF_C1			-0x1.2085b2p+0f
#define ERF_C2			-0x1.46c586p-1f
#define ERF_C3			-0x1.a60a7cp-4f
#define ERF_C4			0x1.654214p-6f
#define ERF_C5			-0x1.814cbap-9f
#define ERF_C6			0x1.852d14p-13f

/* gelu_erf(x) = (x / 2) (1 + erf(x / sqrt 2)); gelu_tanh(x) = (x / 2) (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
#define GELU_SQRT_HALF	0x1.6a09e6p-1f
#define GELU_SCALE		0x1.988454p-1f	/* sqrt(2 / pi) */
#define GELU_CUBE		0x1.6e4e26p-5f	/* 0.044715 */

#endif							/* DL_KERNELS_MATH_H */
