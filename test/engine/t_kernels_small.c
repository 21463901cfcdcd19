/*
 * t_kernels_small.c - products of depth 1, 2 and 4 in every table against
 * integers: int8 against 64-bit sums, float chains against a multiply-add
 * worked out exactly and rounded once. What x86 computes on the way (unsigned
 * bytes, an offset, pairs of 16 bits) is modelled in plain C and compared too.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "tables.h"

/* ---------------------------------------------------------------- exact multiply-add */

/*
 * A fixed-point number of 11 words, two's complement, in units of 2^-298 (the
 * last place of a product of two subnormals). Products reach 2^256: 555 bits.
 */
#define WORDS	11
#define UNIT	298

typedef struct wide
{
	uint64_t	word[WORDS];	/* least first */
} wide;

/* a += sign * m * 2^(e + UNIT), m < 2^48 */
static void
wide_add(wide *a, bool negative, uint64_t m, int e)
{
	int			at = (e + UNIT) / 64,
				shift = (e + UNIT) % 64;
	unsigned __int128 part = (unsigned __int128) m << shift;
	uint64_t	word[2] = {(uint64_t) part, (uint64_t) (part >> 64)};
	unsigned __int128 carry = negative;

	for (int i = 0; i < WORDS; i++)
	{
		uint64_t	w = i == at ? word[0] : i == at + 1 ? word[1] : 0;

		carry += (unsigned __int128) a->word[i] + (negative ? ~w : w);
		a->word[i] = (uint64_t) carry;
		carry >>= 64;
	}
}

static bool
wide_bit(const wide *a, int i)
{
	return i >= 0 && (a->word[i / 64] >> i % 64 & 1);
}

/* To nearest, ties to even, subnormals kept, infinity beyond the largest float; *zero if it is none */
static float
wide_round(wide a, bool *zero)
{
	bool		negative = wide_bit(&a, WORDS * 64 - 1),
				rest = false;
	int			top = WORDS * 64 - 1,
				last;
	uint32_t	m = 0;
	float		y;

	if (negative)
	{
		wide		b = {{0}};
		unsigned __int128 carry = 1;

		for (int i = 0; i < WORDS; i++, carry >>= 64)
			b.word[i] = (uint64_t) (carry += (uint64_t) ~a.word[i]);
		a = b;
	}
	while (top >= 0 && !wide_bit(&a, top))
		top--;
	*zero = top < 0;
	last = top - 23 < UNIT - 149 ? UNIT - 149 : top - 23;
	for (int i = top; i >= last; i--)
		m = 2 * m + wide_bit(&a, i);
	for (int i = 0; i < last - 1; i++)
		rest |= wide_bit(&a, i);
	if (wide_bit(&a, last - 1) && (rest || (m & 1)))
		m++;
	y = ldexpf((float) m, last - UNIT);	/* exact, or infinite */
	return negative ? -y : y;
}

/* x = (-1)^negative m 2^e */
static uint64_t
parts(float x, bool *negative, int *e)
{
	uint32_t	u;
	int			field;

	memcpy(&u, &x, sizeof u);
	*negative = u >> 31;
	field = (int) (u >> 23 & 0xff);
	*e = (field > 0 ? field : 1) - 150;
	return (u & 0x7fffffu) | (field > 0 ? 0x800000u : 0);
}

/* x w + c for finite numbers */
static float
exact_fma(float x, float w, float c)
{
	wide		sum = {{0}};
	bool		nx,
				nw,
				nc,
				zero;
	int			ex,
				ew,
				ec;
	uint64_t	mx = parts(x, &nx, &ex),
				mw = parts(w, &nw, &ew),
				mc = parts(c, &nc, &ec);
	float		y;

	wide_add(&sum, nx != nw, mx * mw, ex + ew);
	wide_add(&sum, nc, mc, ec);
	y = wide_round(sum, &zero);
	if (zero)					/* -0 only from -0 + -0 */
		return (nx != nw) && nc && mc == 0 && mx * mw == 0 ? -0.0f : 0.0f;
	return y;
}

/* ---------------------------------------------------------------- float chains */

/*
 * Ends of the range, subnormals, neighbours of powers of two; 2^-12 and its
 * neighbours make products at and beside half a last place of 1.
 */
static const float edge[] = {
	0.0f, 0x1p-149f, 0x1.8p-148f, 0x1p-140f, 0x1.fffffcp-127f, 0x1p-126f, 0x1.000002p-126f, 0x1p-100f, 0x1.fffffep-76f,
	0x1p-75f, 0x1.000002p-75f, 0x1p-63f, 0x1.000002p-49f, 0x1p-25f, 0x1.000002p-25f, 0x1p-24f, 0x1.8p-24f, 0x1p-23f,
	0x1.fffffep-13f, 0x1p-12f, 0x1.000002p-12f, 0x1.554aaap-2f, 0x1.fffffep-1f, 1.0f, 0x1.000002p+0f, 0x1.000004p+0f,
	0x1.8p+0f, 0x1.921fb6p+1f, 3.0f, 4095.0f, 4097.0f, 0x1.fffffep+23f, 0x1p+24f, 0x1p+63f, 0x1.fffffep+63f, 0x1p+64f,
	0x1.fffffep+100f, 0x1p+127f, 0x1.fffffcp+127f, 0x1.fffffep+127f
};

#define EDGES	((int) (sizeof edge / sizeof *edge))
#define RANDOM	24
#define VALUES	(2 * EDGES + RANDOM)	/* both signs */
#define PANELS	((VALUES + 15) / 16)

static uint32_t
next(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t) (state >> 32);
}

static void
make_values(float value[PANELS * 16])
{
	memset(value, 0, PANELS * 16 * sizeof(float));
	for (int i = 0; i < 2 * EDGES; i++)
		value[i] = i % 2 ? -edge[i / 2] : edge[i / 2];
	for (int i = 2 * EDGES; i < VALUES; i++)
		value[i] = ldexpf((float) (next() >> 8), (int) (next() % 40) - 44) * (next() & 1 ? 1.0f : -1.0f);
}

/* Same bits, or both NaN */
static bool
same_float(float a, float b)
{
	return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* y = c, then y + x w: all triples of values, one per element; `worked` are the answers */
static void
triples(const dl_kernels *k, const float *value, const float *worked)
{
	static float x[VALUES],
				y[VALUES * PANELS * 16];
	int			wrong = 0;

	memcpy(x, value, sizeof x);
	for (int c = 0; c < VALUES; c++)
	{
		for (int i = 0; i < VALUES * PANELS * 16; i++)
			y[i] = value[c];
		k->gemm_f32(x, 1, VALUES, 1, value, 16, 16, PANELS, VALUES, y, PANELS * 16, true);
		for (int i = 0; i < VALUES; i++)
			for (int j = 0; j < VALUES; j++)
				wrong += !same_float(y[i * PANELS * 16 + j], worked[((size_t) c * VALUES + (size_t) i) * VALUES + (size_t) j]);
	}
	CHECK(wrong == 0, "%s: %d of %d multiply-adds", k->name, wrong, VALUES * VALUES * VALUES);
}

/* The chain of two: 0 + x0 w0, then + x1 w1. Rows (x0, x1) hold all pairs of values, columns (w0, w1) those of `few`. */
static void
chains(const dl_kernels *k, const float *value)
{
	enum { FEW = 16 };
	static float x[VALUES * VALUES][2],
				w[2 * FEW],
				y[VALUES * VALUES][FEW];
	int			wrong = 0;

	for (int i = 0; i < VALUES * VALUES; i++)
	{
		x[i][0] = value[i / VALUES];
		x[i][1] = value[i % VALUES];
	}
	for (int round = 0; round < 4; round++)
	{
		for (int j = 0; j < FEW; j++)
		{
			w[j] = value[(j * 7 + round * 29) % VALUES];
			/* half of the second products cancel the first or nearly so */
			w[FEW + j] = j % 2 ? -w[j] : value[next() % VALUES];
		}
		k->gemm_f32(&x[0][0], 2, VALUES * VALUES, 2, w, 2 * FEW, FEW, 1, FEW, &y[0][0], FEW, false);
		for (int i = 0; i < VALUES * VALUES; i++)
			for (int j = 0; j < FEW; j++)
			{
				float		first = exact_fma(x[i][0], w[j], 0.0f);

				if (isfinite(first))
					wrong += !same_float(y[i][j], exact_fma(x[i][1], w[FEW + j], first));
			}
	}
	CHECK(wrong == 0, "%s: %d chains of two", k->name, wrong);
}

static void
float_products_are_fused(const test_tables *t)
{
	static float value[PANELS * 16];
	float	   *worked = malloc(sizeof(float) * VALUES * VALUES * VALUES);

	make_values(value);
	for (size_t n = 0; n < (size_t) VALUES * VALUES * VALUES; n++)
		worked[n] = exact_fma(value[n / VALUES % VALUES], value[n % VALUES], value[n / VALUES / VALUES]);
	for (int i = 0; i < t->n; i++)
	{
		triples(t->table[i], value, worked);
		chains(t->table[i], value);
	}
	free(worked);
}

/* ---------------------------------------------------------------- int8 */

/* Scales are 1, so that a result is the sum of the groups' sums, exact below 2^24. */
typedef struct int8_case
{
	int			m,
				k4,
				panels;
	int8_t	   *x,				/* [m, 4 * k4] */
			   *w;				/* panels */
	float	   *y,
			   *one;
} int8_case;

/* A group of a panel that may be written */
static dl_s8_group
group_of(const int8_case *c, int panel, int group)
{
	return dl_s8_group_at(c->w + (size_t) panel * dl_s8_panel_bytes(c->k4), c->k4, group);
}

static int8_t *
weight(const int8_case *c, int column, int k)
{
	dl_s8_group g = group_of(c, column / 16, k / DL_GROUP);

	return c->w + (g.w - c->w) + (k % DL_GROUP / 4 * 16 + column % 16) * 4 + k % 4;
}

static int8_case
int8_make(int m, int k4, int panels)
{
	int8_case	c = {.m = m, .k4 = k4, .panels = panels};
	size_t		groups = (size_t) dl_groups(k4);

	c.x = calloc((size_t) m * (size_t) k4, 4);
	c.w = calloc((size_t) panels, dl_s8_panel_bytes(k4));
	c.y = calloc((size_t) m * (size_t) panels * 16, sizeof(float));
	c.one = calloc((size_t) m * groups, sizeof(float));
	for (size_t i = 0; i < (size_t) m * groups; i++)
		c.one[i] = 1.0f;
	for (int p = 0; p < panels; p++)
		for (int g = 0; g < (int) groups; g++)
			for (int j = 0; j < 16; j++)
				((float *) (c.w + ((const int8_t *) group_of(&c, p, g).scale - c.w)))[j] = 1.0f;
	return c;
}

static void
int8_free(int8_case *c)
{
	free(c->x);
	free(c->w);
	free(c->y);
	free(c->one);
}

/* The sums of weights that lie in a panel */
static void
write_sums(int8_case *c)
{
	for (int j = 0; j < c->panels * 16; j++)
		for (int k = 0; k < 4 * c->k4; k++)
		{
			dl_s8_group g = group_of(c, j / 16, k / DL_GROUP);

			((int32_t *) (c->w + ((const int8_t *) g.sum - c->w)))[j % 16] += *weight(c, j, k);
		}
}

/* What x86 computes: unsigned q + 128 times w, from -128 times the weights' sum on; *pair: largest sum of two products */
static int64_t
offset_model(const int8_case *c, int row, int column, int *pair)
{
	int64_t		sum = 0;

	for (int k = 0; k < 4 * c->k4; k += 2)
	{
		int			two = 0;

		for (int i = 0; i < 2; i++)
		{
			uint8_t		u = (uint8_t) c->x[(size_t) row * 4 * (size_t) c->k4 + (size_t) (k + i)] ^ 0x80;
			int8_t		s = *weight(c, column, k + i);

			two += (int) u * s;
			sum -= 128 * s;
		}
		sum += two;
		*pair = abs(two) > *pair ? abs(two) : *pair;
	}
	return sum;
}

/* One table's products against the sums */
static void
int8_table(const dl_kernels *k, const int8_case *c, const float *want, const char *what)
{
	int			columns = c->panels * 16,
				wrong = 0;
	size_t		bytes = (size_t) c->m * 4 * (size_t) c->k4;
	int8_t	   *x = malloc(bytes);

	for (size_t i = 0; i < bytes; i++)
		x[i] = (int8_t) (c->x[i] ^ k->s8_flip);
	k->gemm_s8(x, 4 * (size_t) c->k4, c->one, c->m, c->k4, c->w, NULL, c->panels, columns, c->y, (size_t) columns);
	for (size_t p = 0; p < (size_t) c->m * (size_t) columns; p++)
		wrong += c->y[p] != want[p];
	CHECK(wrong == 0, "%s %s: %d products", k->name, what, wrong);
	free(x);
}

/* All products of all tables against 64-bit sums */
static void
int8_check(const test_tables *t, int8_case *c, const char *what)
{
	int			columns = c->panels * 16,
				wrong = 0,
				pair = 0;
	size_t		n = (size_t) c->m * (size_t) columns;
	float	   *want = malloc(n * sizeof(float));

	write_sums(c);
	for (size_t i = 0; i < n; i++)
	{
		const int8_t *x = c->x + i / (size_t) columns * 4 * (size_t) c->k4;
		int			j = (int) (i % (size_t) columns);
		int64_t		sum = 0;

		for (int k = 0; k < 4 * c->k4; k++)
			sum += (int64_t) x[k] * *weight(c, j, k);
		wrong += sum != offset_model(c, (int) (i / (size_t) columns), j, &pair);
		want[i] = (float) sum;
	}
	CHECK(wrong == 0, "%s: the offset, %d products", what, wrong);
	CHECK(pair <= INT16_MAX, "%s: a pair of %d does not fit into the 16 bits of maddubs", what, pair);
	for (int i = 0; i < t->n; i++)
		int8_table(t->table[i], c, want, what);
	free(want);
	int8_free(c);
}

/* Every x with every w, at each of four places */
static void
int8_pairs(const test_tables *t)
{
	for (int place = 0; place < 4; place++)
	{
		int8_case	c = int8_make(255, 1, 8);

		for (int i = 0; i < 255; i++)
			c.x[4 * i + place] = (int8_t) (i - 127);
		for (int i = 0; i < 2 * DL_MOST_S8 + 1; i++)
			*weight(&c, i, place) = (int8_t) (i - DL_MOST_S8);
		int8_check(t, &c, "one product");
	}
}

static int
tuples_of(int n, int depth)
{
	int			tuples = 1;

	for (int k = 0; k < depth; k++)
		tuples *= n;
	return tuples;
}

/* Sums of `depth` products: all tuples of x's values against all of w's */
static void
int8_tuples(const test_tables *t, const int8_t *x, int n, const int8_t *w, int n_w, int depth, const char *what)
{
	int			rows = tuples_of(n, depth),
				columns = tuples_of(n_w, depth);
	int8_case	c = int8_make(rows, 1, (columns + 15) / 16);

	for (int k = 0, x_step = 1, w_step = 1; k < depth; k++, x_step *= n, w_step *= n_w)
	{
		for (int i = 0; i < rows; i++)
			c.x[4 * i + k] = x[i / x_step % n];
		for (int j = 0; j < columns; j++)
			*weight(&c, j, k) = w[j / w_step % n_w];
	}
	int8_check(t, &c, what);
}

/* 32 groups of the largest products there are: the largest sums that a float still holds exactly */
static void
int8_deep(const test_tables *t)
{
	for (int sign = 0; sign < 4; sign++)
	{
		int8_case	c = int8_make(1, 32 * DL_GROUP4, 1);

		memset(c.x, sign & 1 ? -127 : 127, 4 * (size_t) c.k4);
		for (int j = 0; j < 16; j++)
			for (int k = 0; k < 4 * c.k4; k++)
				*weight(&c, j, k) = sign >> 1 ? -DL_MOST_S8 : DL_MOST_S8;
		int8_check(t, &c, "2048 products");
	}
}

static void
int8_products_are_exact(const test_tables *t)
{
	static const int8_t x[] = {-127, -126, -113, -100, -65, -64, -63, -31, -17, -8, -3, -2, -1, 0,
		1, 2, 3, 7, 16, 33, 63, 64, 65, 101, 126, 127};
	static const int8_t w[] = {-63, -62, -50, -32, -31, -17, -8, -3, -2, -1, 0, 1, 2, 3, 7, 16, 33, 48, 61, 62, 63};
	static const int8_t four[] = {-127, -1, 0, 126, 127};
	static const int8_t four_w[] = {-63, -1, 0, 62, 63};

	int8_pairs(t);
	int8_tuples(t, x, sizeof x, w, sizeof w, 2, "two products");
	int8_tuples(t, four, sizeof four, four_w, sizeof four_w, 4, "four products");
	int8_deep(t);
}

int
main(void)
{
	test_tables t = tables_of_machine();

	for (int i = 0; i < t.n; i++)
		printf("table %s\n", t.table[i]->name);
	float_products_are_fused(&t);
	int8_products_are_exact(&t);
	return harness_end("t_kernels_small");
}
