/*
 * fmath.h - scalar elementary functions of our own.
 *
 * No libm call may decide a result (DESIGN 5): glibc's differ between
 * versions and CPUs. These use IEEE +, -, *, /, sqrt and fma only, so they
 * give the same bits everywhere. The float forms are the definition of what
 * the vector kernels compute. Error bounds are stated in fmath.c and tested.
 */
#ifndef DL_FMATH_H
#define DL_FMATH_H

float		dl_expf(float x);
float		dl_logf(float x);
float		dl_tanhf(float x);
float		dl_erff(float x);
double		dl_exp(double x);
double		dl_log(double x);
double		dl_sin(double x);
double		dl_cos(double x);
double		dl_pow(double x, double y);	/* x > 0 */

#endif							/* DL_FMATH_H */
