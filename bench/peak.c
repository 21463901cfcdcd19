/*
 * peak.c - what this machine can do at most, for shares of it.
 *
 *		build/bench/peak [SECONDS_PER_MEASUREMENT [THREADS]]
 *
 * Prints lines of "name threads value":
 *		fma			GFLOP/s of independent fused multiply-adds on registers, the widest float vectors
 *		int8		Gop/s of s8 dot products the same way: VNNI or dotprod, else AVX2's maddubs + madd + add
 *		read		GB/s of reading a buffer far larger than the caches
 * with one thread and with several (second argument, default: all), and last "cpu 0 flags": the instruction sets used.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define MAX_THREADS		64
#define BUFFER			((size_t) 256 << 20)	/* of a thread */
#define PIECE			((size_t) 8 << 20)
#define CHAINS			12		/* enough to hide a latency of 4 at two a cycle, few enough for 16 registers */
#define TURNS			100000

typedef double (*burst_fn) (void *arg);	/* does some work, returns how many operations or bytes */

typedef struct job
{
	burst_fn	burst;
	void	   *arg;
	double		seconds,
				done,
				took,
				best;			/* burst's rate */
} job;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* ---------------------------------------------------------------- bursts */

static volatile float float_sink;
static volatile int32_t int_sink;

#if defined(__x86_64__)

#define FMA_BURST(NAME, TARGET, VEC, SET, FMA, ADD, FIRST, LANES) \
__attribute__((target(TARGET))) static double \
NAME(void *arg) \
{ \
	VEC			x[CHAINS], \
				a = SET(0.999f), \
				b = SET(0.001f); \
	for (int c = 0; c < CHAINS; c++) \
		x[c] = SET((float) c); \
	for (int i = 0; i < TURNS; i++) \
		_Pragma("GCC unroll 12") \
		for (int c = 0; c < CHAINS; c++) \
			x[c] = FMA(x[c], a, b); \
	for (int c = 1; c < CHAINS; c++) \
		x[0] = ADD(x[0], x[c]); \
	float_sink = FIRST(x[0]); \
	return 2.0 * LANES * CHAINS * TURNS; \
}

FMA_BURST(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_cvtss_f32, 8)
FMA_BURST(fma_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_cvtss_f32, 16)

/* Each chain stands for one accumulator of a product; operands come from registers. */
#define INT8_BURST(NAME, TARGET, VEC, SET8, DOT, ADD32, FIRST, LANES) \
__attribute__((target(TARGET))) static double \
NAME(void *arg) \
{ \
	VEC			x[CHAINS - 2], \
				a = SET8(3), \
				b = SET8(-5); \
	for (int c = 0; c < CHAINS - 2; c++) \
		x[c] = SET8((char) c); \
	for (int i = 0; i < TURNS; i++) \
	{ \
		__asm__ volatile ("" : "+v" (a), "+v" (b)); \
		_Pragma("GCC unroll 10") \
		for (int c = 0; c < CHAINS - 2; c++) \
			x[c] = DOT(x[c], a, b); \
	} \
	for (int c = 1; c < CHAINS - 2; c++) \
		x[0] = ADD32(x[0], x[c]); \
	int_sink = FIRST(x[0]); \
	return 2.0 * LANES * (CHAINS - 2) * TURNS; \
}

#define FIRST256(X)	_mm256_cvtsi256_si32(X)
#define FIRST512(X)	_mm512_cvtsi512_si32(X)

/* gcc would compute the product of constants once: an empty asm makes each one new */
__attribute__((target("avx2"))) static inline __m256i
dot_avx2(__m256i x, __m256i a, __m256i b)
{
	__m256i		pairs;

	__asm__ volatile ("vpmaddubsw %2, %1, %0" : "=x" (pairs) : "x" (a), "x" (b));
	return _mm256_add_epi32(x, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INT8_BURST(int8_avx2, "avx2", __m256i, _mm256_set1_epi8, dot_avx2, _mm256_add_epi32, FIRST256, 32)
INT8_BURST(int8_vnni, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_set1_epi8, _mm512_dpbusd_epi32, _mm512_add_epi32, FIRST512, 64)

static burst_fn
pick_fma(const char **name)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return *name = "avx512f", fma_avx512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return *name = "avx2", fma_avx2;
	return NULL;
}

static burst_fn
pick_int8(const char **name)
{
	if (__builtin_cpu_supports("avx512vnni"))
		return *name = "avx512vnni", int8_vnni;
	if (__builtin_cpu_supports("avx2"))
		return *name = "avx2", int8_avx2;
	return NULL;
}

#elif defined(__aarch64__)

static double
fma_neon(void *arg)
{
	float32x4_t x[CHAINS],
				a = vdupq_n_f32(0.999f),
				b = vdupq_n_f32(0.001f);

	for (int c = 0; c < CHAINS; c++)
		x[c] = vdupq_n_f32((float) c);
	for (int i = 0; i < TURNS; i++)
#pragma GCC unroll 12
		for (int c = 0; c < CHAINS; c++)
			x[c] = vfmaq_f32(b, x[c], a);
	for (int c = 1; c < CHAINS; c++)
		x[0] = vaddq_f32(x[0], x[c]);
	float_sink = vgetq_lane_f32(x[0], 0);
	return 2.0 * 4 * CHAINS * TURNS;
}

static burst_fn
pick_fma(const char **name)
{
	return *name = "neon", fma_neon;
}

static burst_fn
pick_int8(const char **name)
{
	return NULL;
}

#else

static burst_fn
pick_fma(const char **name)
{
	return NULL;
}

static burst_fn
pick_int8(const char **name)
{
	return NULL;
}

#endif

/* A thread's own buffer, read piece by piece, round and round. */
typedef struct reading
{
	const uint64_t *data;		/* [BUFFER / 8] */
	size_t		at;
} reading;

/* Plain C: the compiler's vectors are wide enough for memory. */
static double
read_piece(void *arg)
{
	reading    *r = arg;
	const uint64_t *p = r->data + r->at;
	size_t		n = PIECE / sizeof(uint64_t);
	uint64_t	sum[8] = {0};

	for (size_t i = 0; i < n; i += 8)
		for (int k = 0; k < 8; k++)
			sum[k] += p[i + (size_t) k];
	for (int k = 1; k < 8; k++)
		sum[0] ^= sum[k];
	int_sink = (int32_t) sum[0];
	r->at = (r->at + n) % (BUFFER / sizeof(uint64_t));
	return (double) PIECE;
}

/* ---------------------------------------------------------------- timing */

static void *
run_job(void *arg)
{
	job		   *j = arg;
	double		start = now();

	do
	{
		double		t0 = now(),
					done = j->burst(j->arg),
					rate = done / (now() - t0);

		j->done += done;
		j->best = rate > j->best ? rate : j->best;
	} while ((j->took = now() - start) < j->seconds);
	return NULL;
}

/*
 * Operations or bytes a second of all threads together. Other work on the
 * machine only slows a run, so arithmetic is the sum of each thread's best
 * burst (a fraction of a millisecond); threads share memory, so reading is the
 * best of many short windows in which all of them ran.
 */
static double
rate(burst_fn burst, int threads, double seconds, void **args)
{
	int			windows = args ? 20 : 1;
	double		best = 0;

	for (int turn = 0; turn < windows; turn++)
	{
		job			jobs[MAX_THREADS];
		pthread_t	ids[MAX_THREADS];
		double		sum = 0;

		for (int t = 0; t < threads; t++)
		{
			jobs[t] = (job) {.burst = burst, .arg = args ? args[t] : NULL, .seconds = seconds / windows};
			if (pthread_create(&ids[t], NULL, run_job, &jobs[t]) != 0)
				exit(1);
		}
		for (int t = 0; t < threads; t++)
		{
			pthread_join(ids[t], NULL);
			sum += args ? jobs[t].done / jobs[t].took : jobs[t].best;
		}
		best = sum > best ? sum : best;
	}
	return best;
}

static void
report(const char *name, burst_fn burst, int threads, double seconds, void **args)
{
	if (burst == NULL)
		return;
	printf("%s 1 %.1f\n", name, rate(burst, 1, seconds, args) * 1e-9);
	if (threads > 1)
		printf("%s %d %.1f\n", name, threads, rate(burst, threads, seconds, args) * 1e-9);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	double		seconds = argc > 1 ? atof(argv[1]) : 1.0;
	long		online = sysconf(_SC_NPROCESSORS_ONLN);
	int			threads = online > MAX_THREADS ? MAX_THREADS : online < 1 ? 1 : (int) online;
	const char *fma_name = "none",
			   *int8_name = "none";
	burst_fn	fma = pick_fma(&fma_name),
				int8 = pick_int8(&int8_name);
	reading		readings[MAX_THREADS];
	void	   *args[MAX_THREADS];

	if (argc > 2 && atoi(argv[2]) > 0 && atoi(argv[2]) <= MAX_THREADS)
		threads = atoi(argv[2]);
	report("fma", fma, threads, seconds, NULL);
	report("int8", int8, threads, seconds, NULL);
	for (int t = 0; t < threads; t++)
	{
		void	   *data = aligned_alloc(64, BUFFER);

		if (data == NULL)
			return 1;
		memset(data, t + 1, BUFFER);
		readings[t] = (reading) {.data = data};
		args[t] = &readings[t];
	}
	report("read", read_piece, threads, seconds, args);
	for (int t = 0; t < threads; t++)
		free((void *) readings[t].data);
	printf("cpu 0 fma:%s,int8:%s\n", fma_name, int8_name);
	return 0;
}
