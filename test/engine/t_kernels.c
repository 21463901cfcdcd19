/*
 * t_kernels.c - every entry of every table this CPU has, against the
 * reference table, bit for bit, with guard zones around what is written and
 * unreadable pages behind what is read.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tables.h"

#define GUARD		32			/* floats on both sides of an output */
#define GUARD_VALUE	-123.25f
#define SIZES		78			/* see size_at */

static const dl_kernels *ref = &dl_kernels_ref;

/* ---------------------------------------------------------------- data */

static uint64_t state = 88172645463325252u;

static uint32_t
next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t) (state >> 32);
}

typedef enum kind
{
	ORDINARY,					/* about -4 .. 4 */
	WIDE,						/* any exponent within 2^+-30, both signs, zeros of both signs */
	TINY,						/* denormals and what is near them */
	FUNCTION,					/* -110 .. 110: all of exp's cases */
	ZERO,						/* +0 and -0 */
	KINDS
} kind;

static float
number(kind what)
{
	float		u = (float) (next() >> 8) * 0x1p-23f - 1.0f;

	switch (what)
	{
		case ORDINARY:
			return 4.0f * u;
		case WIDE:
			return next() % 16 == 0 ? copysignf(0.0f, u) : ldexpf(u, (int) (next() % 61) - 30);
		case TINY:
			return next() % 8 == 0 ? copysignf(0x1p-149f, u) : ldexpf(u, -126 - (int) (next() % 23));
		case FUNCTION:
			return 110.0f * u;
		default:
			return copysignf(0.0f, u);
	}
}

/* n floats that end where an unreadable page begins: reading past them is a crash */
typedef struct fenced
{
	char	   *map;
	size_t		size;
	void	   *data;
} fenced;

static fenced
fence(size_t bytes)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);
	fenced		f;

	f.size = (bytes + page - 1) / page * page + page;
	f.map = mmap(NULL, f.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.map == MAP_FAILED || mprotect(f.map + f.size - page, page, PROT_NONE) != 0)
	{
		perror("mmap");
		exit(2);
	}
	f.data = f.map + f.size - page - bytes;
	return f;
}

static void
unfence(fenced *f)
{
	munmap(f->map, f->size);
}

static fenced
random_floats(size_t n, kind what)
{
	fenced		f = fence(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		((float *) f.data)[i] = number(what);
	return f;
}

/* An output with guards; contents are the guard value too unless filled. */
static float *
guarded(size_t n, const float *fill)
{
	float	   *p = n < (size_t) 1 << 24 ? malloc((n + 2 * GUARD) * sizeof(float)) : NULL;

	if (p == NULL)
		exit(2);
	for (size_t i = 0; i < n + 2 * GUARD; i++)
		p[i] = GUARD_VALUE;
	if (fill)
		memcpy(p + GUARD, fill, n * sizeof(float));
	return p + GUARD;
}

static void
release(float *p)
{
	free(p - GUARD);
}

/* Outputs of both tables and the guards around them */
static bool
same(const float *a, const float *b, size_t n)
{
	return memcmp(a - GUARD, b - GUARD, (n + 2 * GUARD) * sizeof(float)) == 0;
}

static int
size_at(int i)
{
	static const int large[] = {127, 128, 129, 255, 576, 577, 1000, 3071};

	return i < 70 ? i + 1 : large[i - 70];
}

/* ---------------------------------------------------------------- elements and reductions */

static void
reductions_equal(const dl_kernels *k, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	float		a,
				b;

	a = ref->sum(x.data, n);
	b = k->sum(x.data, n);
	CHECK(memcmp(&a, &b, 4) == 0, "%s sum n=%d kind=%d %a %a", k->name, n, what, a, b);
	a = ref->sum_squares(x.data, n);
	b = k->sum_squares(x.data, n);
	CHECK(memcmp(&a, &b, 4) == 0, "%s sum_squares n=%d kind=%d %a %a", k->name, n, what, a, b);
	a = ref->max(x.data, n);
	b = k->max(x.data, n);
	CHECK(memcmp(&a, &b, 4) == 0, "%s max n=%d kind=%d %a %a", k->name, n, what, a, b);
	unfence(&x);
}

typedef void (*in_place) (float *x, int n);

static void
in_place_equals(const char *name, in_place r, in_place f, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	fenced		own = fence((size_t) n * sizeof(float));
	float	   *a = guarded((size_t) n, x.data);
	float	   *b = guarded((size_t) n, x.data);

	r(a, n);
	f(b, n);
	CHECK(same(a, b, (size_t) n), "%s n=%d kind=%d", name, n, what);
	memcpy(own.data, x.data, (size_t) n * sizeof(float));
	f(own.data, n);				/* must not touch the page behind */
	CHECK(memcmp(own.data, a, (size_t) n * sizeof(float)) == 0, "%s n=%d kind=%d fenced", name, n, what);
	release(a);
	release(b);
	unfence(&x);
	unfence(&own);
}

typedef void (*two_operand) (float *y, const float *x, int n);

static void
two_operand_equals(const char *name, two_operand r, two_operand f, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	fenced		y = random_floats((size_t) n, what);
	float	   *a = guarded((size_t) n, y.data);
	float	   *b = guarded((size_t) n, y.data);

	r(a, x.data, n);
	f(b, x.data, n);
	CHECK(same(a, b, (size_t) n), "%s n=%d kind=%d", name, n, what);
	release(a);
	release(b);
	unfence(&x);
	unfence(&y);
}

/* A sum that goes on from lanes of an earlier part */
static void
lanes_go_on(const dl_kernels *k, const float *x, int n, kind what)
{
	float	   *a = guarded((size_t) n, x);
	float	   *b = guarded((size_t) n, x);
	float		lanes_a[DL_PANEL],
				lanes_b[DL_PANEL];

	for (int i = 0; i < DL_PANEL; i++)
		lanes_a[i] = lanes_b[i] = 0.5f * (float) i;
	ref->exp_lanes(a, 1.25f, n, a, lanes_a);
	k->exp_lanes(b, 1.25f, n, b, lanes_b);
	CHECK(memcmp(lanes_a, lanes_b, sizeof lanes_a) == 0 && same(a, b, (size_t) n), "%s exp_lanes n=%d kind=%d", k->name,
		  n, what);
	release(a);
	release(b);
}

static void
exp_sum_equals(const dl_kernels *k, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	float	   *a = guarded((size_t) n, NULL);
	float	   *b = guarded((size_t) n, x.data);
	float		sum_a,
				sum_b;

	if (what == FUNCTION)
		((float *) x.data)[n / 2] = -INFINITY;
	memcpy(b, x.data, (size_t) n * sizeof(float));
	sum_a = ref->exp_sum(x.data, 1.25f, n, a);
	sum_b = k->exp_sum(b, 1.25f, n, b);	/* in place */
	CHECK(memcmp(&sum_a, &sum_b, 4) == 0 && same(a, b, (size_t) n), "%s exp_sum n=%d kind=%d", k->name, n, what);
	if (what == FUNCTION)
		CHECK(a[n / 2] == 0.0f && b[n / 2] == 0.0f, "exp(-inf) is zero, n=%d", n);
	lanes_go_on(k, x.data, n, what);
	release(a);
	release(b);
	unfence(&x);
}

static void
norms_equal(const dl_kernels *k, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	fenced		w = random_floats((size_t) n, ORDINARY);
	fenced		bias = random_floats((size_t) n, ORDINARY);
	float	   *a = guarded((size_t) n, NULL);
	float	   *b = guarded((size_t) n, NULL);

	for (int with_bias = 0; with_bias < 2; with_bias++)
	{
		ref->layer_norm(x.data, w.data, with_bias ? bias.data : NULL, 1e-5f, n, a);
		k->layer_norm(x.data, w.data, with_bias ? bias.data : NULL, 1e-5f, n, b);
		CHECK(same(a, b, (size_t) n), "%s layer_norm n=%d kind=%d bias=%d", k->name, n, what, with_bias);
	}
	ref->rms_norm(x.data, w.data, 1e-5f, n, a);
	memcpy(b, x.data, (size_t) n * sizeof(float));
	k->rms_norm(b, w.data, 1e-5f, n, b);	/* in place */
	CHECK(same(a, b, (size_t) n), "%s rms_norm n=%d kind=%d", k->name, n, what);
	memcpy(b, x.data, (size_t) n * sizeof(float));
	ref->layer_norm(x.data, w.data, bias.data, 1e-5f, n, a);
	k->layer_norm(b, w.data, bias.data, 1e-5f, n, b);
	CHECK(same(a, b, (size_t) n), "%s layer_norm in place n=%d kind=%d", k->name, n, what);
	release(a);
	release(b);
	unfence(&x);
	unfence(&w);
	unfence(&bias);
}

static void
rope_equals(const dl_kernels *k, int half, kind what)
{
	fenced		x = random_floats(2 * (size_t) half, what);
	fenced		c = random_floats((size_t) half, ORDINARY);
	fenced		s = random_floats((size_t) half, ORDINARY);
	float	   *a = guarded(2 * (size_t) half, x.data);
	float	   *b = guarded(2 * (size_t) half, x.data);

	ref->rope(a, c.data, s.data, half);
	k->rope(b, c.data, s.data, half);
	CHECK(same(a, b, 2 * (size_t) half), "%s rope half=%d kind=%d", k->name, half, what);
	release(a);
	release(b);
	unfence(&x);
	unfence(&c);
	unfence(&s);
}

/* A table's quantised bytes, as q */
static void
unflip(const dl_kernels *k, int8_t *q, size_t n)
{
	for (size_t i = 0; i < n; i++)
		q[i] = (int8_t) (q[i] ^ k->s8_flip);
}

static void
quantize_equals(const dl_kernels *k, int n, kind what)
{
	fenced		x = random_floats((size_t) n, what);
	int			k4 = (n + 3) / 4,
				groups = dl_groups(k4);
	int8_t	   *a = malloc(4 * (size_t) k4 + 64);
	int8_t	   *b = malloc(4 * (size_t) k4 + 64);
	float	   *scale_a = guarded((size_t) groups, NULL);
	float	   *scale_b = guarded((size_t) groups, NULL);

	for (int damaged = 0; damaged < 2; damaged++)
	{
		if (damaged)
			((float *) x.data)[n / 2] = what == WIDE ? NAN : -INFINITY;
		memset(a, 77, 4 * (size_t) k4 + 64);
		memset(b, 77, 4 * (size_t) k4 + 64);
		ref->quantize_s8(x.data, n, k4, a + 32, scale_a);
		k->quantize_s8(x.data, n, k4, b + 32, scale_b);
		unflip(k, b + 32, 4 * (size_t) k4);
		CHECK(memcmp(a, b, 4 * (size_t) k4 + 64) == 0, "%s quantize_s8 n=%d kind=%d", k->name, n, what);
		if (damaged)
		{
			CHECK(isnan(scale_a[n / 2 / DL_GROUP]) && isnan(scale_b[n / 2 / DL_GROUP]),
				  "%s a damaged group has scale NaN, n=%d", k->name, n);
			scale_a[n / 2 / DL_GROUP] = scale_b[n / 2 / DL_GROUP] = 0;
		}
		CHECK(same(scale_a, scale_b, (size_t) groups), "%s quantize_s8 scales n=%d kind=%d", k->name, n, what);
	}
	free(a);
	free(b);
	release(scale_a);
	release(scale_b);
	unfence(&x);
}

/* ---------------------------------------------------------------- products */

typedef struct shape
{
	int			m,
				k,
				columns,
				k_pad;			/* k_stride = columns + k_pad, in the attention form */
	bool		accumulate;
} shape;

static void
gemm_f32_equals(const dl_kernels *k, shape s, kind what)
{
	int			panels = (s.columns + 15) / 16;
	size_t		ldx = (size_t) s.k + 3,
				ldy = (size_t) s.columns + 5;
	size_t		k_stride = s.k_pad < 0 ? 16 : (size_t) panels * 16 + (size_t) s.k_pad;
	size_t		panel_stride = s.k_pad < 0 ? (size_t) s.k * 16 : 16;
	size_t		w_size = (size_t) (panels - 1) * panel_stride + (size_t) (s.k - 1) * k_stride + 16;
	fenced		x = random_floats((size_t) (s.m - 1) * ldx + (size_t) s.k, what);
	fenced		w = random_floats(w_size, what);
	fenced		y = random_floats((size_t) s.m * ldy, what);
	float	   *a = guarded((size_t) s.m * ldy, y.data);
	float	   *b = guarded((size_t) s.m * ldy, y.data);

	ref->gemm_f32(x.data, ldx, s.m, s.k, w.data, panel_stride, k_stride, panels, s.columns, a, ldy, s.accumulate);
	k->gemm_f32(x.data, ldx, s.m, s.k, w.data, panel_stride, k_stride, panels, s.columns, b, ldy, s.accumulate);
	CHECK(same(a, b, (size_t) s.m * ldy), "%s gemm_f32 m=%d k=%d columns=%d k_stride=%zu accumulate=%d kind=%d",
		  k->name, s.m, s.k, s.columns, k_stride, s.accumulate, what);
	CHECK(a[s.columns] == ((float *) y.data)[s.columns], "columns beyond are not stored");
	release(a);
	release(b);
	unfence(&x);
	unfence(&w);
	unfence(&y);
}

static void
gemm_bf16_equals(const dl_kernels *k, shape s, kind what)
{
	int			panels = (s.columns + 15) / 16;
	size_t		ldx = (size_t) s.k + 1,
				ldy = (size_t) s.columns + 2,
				n = (size_t) panels * 16 * (size_t) s.k;
	fenced		x = random_floats((size_t) (s.m - 1) * ldx + (size_t) s.k, what);
	fenced		w = fence(n * 2);
	float	   *a = guarded((size_t) s.m * ldy, NULL);
	float	   *b = guarded((size_t) s.m * ldy, NULL);

	for (size_t i = 0; i < n; i++)
	{
		float		v = number(what);

		memcpy((uint16_t *) w.data + i, (char *) &v + 2, 2);
	}
	ref->gemm_bf16(x.data, ldx, s.m, s.k, w.data, panels, s.columns, a, ldy);
	k->gemm_bf16(x.data, ldx, s.m, s.k, w.data, panels, s.columns, b, ldy);
	CHECK(same(a, b, (size_t) s.m * ldy), "%s gemm_bf16 m=%d k=%d columns=%d kind=%d", k->name, s.m, s.k, s.columns,
		  what);
	release(a);
	release(b);
	unfence(&x);
	unfence(&w);
}

/* Random panels of an int8 matrix; extreme: all weights +-63, the largest sums there are */
static fenced
random_panels(int panels, int k4, bool extreme)
{
	fenced		f = fence((size_t) panels * dl_s8_panel_bytes(k4));

	for (int p = 0; p < panels; p++)
		for (int g = 0; g < dl_groups(k4); g++)
		{
			int8_t	   *panel = (int8_t *) f.data + (size_t) p * dl_s8_panel_bytes(k4);
			dl_s8_group group = dl_s8_group_at(panel, k4, g);
			int8_t	   *w = panel + (group.w - panel);
			float	   *scale = (float *) (w + (size_t) group.steps * 64);
			int32_t    *sum = (int32_t *) (scale + DL_PANEL);

			memset(sum, 0, DL_PANEL * sizeof(*sum));
			for (int i = 0; i < group.steps * 64; i++)
			{
				w[i] = (int8_t) (extreme ? (i % 4 < 2 ? 63 : -63) : (int) (next() % 127) - 63);
				sum[i / 4 % DL_PANEL] += w[i];
			}
			for (int i = 0; i < DL_PANEL; i++)
				scale[i] = number(ORDINARY);
		}
	return f;
}

/* extreme: all values +-127 */
static void
gemm_s8_equals(const dl_kernels *k, shape s, bool extreme, bool with_bias)
{
	int			panels = (s.columns + 15) / 16,
				k4 = (s.k + 3) / 4;
	size_t		ldx = 4 * (size_t) k4 + 8,
				ldy = (size_t) s.columns + 3,
				bytes = (size_t) (s.m - 1) * ldx + 4 * (size_t) k4;
	fenced		x = fence(bytes);
	fenced		flipped = fence(bytes);
	fenced		w = random_panels(panels, k4, extreme);
	fenced		sx = random_floats((size_t) (s.m * dl_groups(k4)), ORDINARY);
	fenced		bias = random_floats((size_t) s.columns, ORDINARY);
	float	   *a = guarded((size_t) s.m * ldy, NULL);
	float	   *b = guarded((size_t) s.m * ldy, NULL);

	for (size_t i = 0; i < bytes; i++)
		((int8_t *) x.data)[i] = (int8_t) (extreme ? (next() & 1 ? 127 : -127) : (int) (next() % 255) - 127);
	memcpy(flipped.data, x.data, bytes);
	unflip(k, flipped.data, bytes);
	ref->gemm_s8(x.data, ldx, sx.data, s.m, k4, w.data, with_bias ? bias.data : NULL, panels, s.columns, a, ldy);
	k->gemm_s8(flipped.data, ldx, sx.data, s.m, k4, w.data, with_bias ? bias.data : NULL, panels, s.columns, b, ldy);
	CHECK(same(a, b, (size_t) s.m * ldy), "%s gemm_s8 m=%d k=%d columns=%d extreme=%d bias=%d", k->name, s.m, s.k,
		  s.columns, extreme, with_bias);
	release(a);
	release(b);
	unfence(&x);
	unfence(&flipped);
	unfence(&w);
	unfence(&sx);
	unfence(&bias);
}

/* ---------------------------------------------------------------- all of it */

static void
elements_equal_reference(const dl_kernels *k)
{
	for (int i = 0; i < SIZES; i++)
		for (int kind_index = 0; kind_index < KINDS; kind_index++)
		{
			int			n = size_at(i);
			kind		what = (kind) kind_index;

			reductions_equal(k, n, what);
			in_place_equals("gelu_erf", ref->gelu_erf, k->gelu_erf, n, what);
			in_place_equals("gelu_tanh", ref->gelu_tanh, k->gelu_tanh, n, what);
			in_place_equals("silu", ref->silu, k->silu, n, what);
			in_place_equals("relu", ref->relu, k->relu, n, what);
			in_place_equals("tanh", ref->tanh, k->tanh, n, what);
			two_operand_equals("add", ref->add, k->add, n, what);
			two_operand_equals("add_bias", ref->add_bias, k->add_bias, n, what);
			two_operand_equals("mul", ref->mul, k->mul, n, what);
			exp_sum_equals(k, n, what);
			norms_equal(k, n, what);
			rope_equals(k, n, what);
			quantize_equals(k, n, what);
		}
}

static void
products_equal_reference(const dl_kernels *k)
{
	static const int depth[] = {1, 2, 3, 4, 5, 31, 64, 130, 385, 800, 1700};	/* the last ones take stretches of k */
	static const int columns[] = {1, 15, 16, 17, 33, 48, 64, 80, 112, 115, 149};

	for (int m = 1; m <= 27; m++)
		for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		{
			shape		s = {m, depth[(m + i) % (sizeof depth / sizeof *depth)], columns[i], -1, false};

			gemm_bf16_equals(k, s, (kind) (next() % KINDS));
			gemm_s8_equals(k, s, m % 2 == 0, i % 2 == 0);
			gemm_f32_equals(k, s, (kind) (next() % KINDS));
			s.accumulate = true;
			gemm_f32_equals(k, s, (kind) (next() % KINDS));
			s.k_pad = (int) (next() % 40);
			gemm_f32_equals(k, s, (kind) (next() % KINDS));
		}
	gemm_s8_equals(k, (shape) {5, 20000, 33, -1, false}, true, true);
	gemm_f32_equals(k, (shape) {7, 1536, 40, -1, false}, ORDINARY);
}

/* A table must be able to refuse: the mask decides, and nothing else */
static void
mask_chooses_the_table(void)
{
	CHECK(dl_kernels_get(~0u) == &dl_kernels_ref, "everything masked is the reference");
	CHECK(dl_cpu_flags(~0u) == 0, "no flags under a full mask");
	CHECK(dl_kernels_get(DLM_CPU_AVX2 | DLM_CPU_NEON) == &dl_kernels_ref, "wider sets need their base");
	CHECK(strcmp(dlm_cpu_name(0), dl_kernels_get(0)->name) == 0, "the name is the table's");
}

int
main(void)
{
	test_tables t = tables_of_machine();

	mask_chooses_the_table();
	for (int i = 1; i < t.n; i++)
	{
		printf("table %s\n", t.table[i]->name);
		elements_equal_reference(t.table[i]);
		products_equal_reference(t.table[i]);
	}
	return harness_end("t_kernels");
}
