/* omp.h - stands in for the OpenMP header that clang does not bring along (see omp_single.c). */
int			omp_get_thread_num(void);
