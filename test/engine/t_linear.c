/*
 * t_linear.c - dl_linear: right within rounding, and the same bits whatever
 * the team, the table and the rows beside a row.
 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>

#include "linear.h"

static uint64_t state = 0x123456789abcdefu;

static float
number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (float) (state >> 40) * 0x1p-23f - 1.0f;
}

typedef struct problem
{
	dl_matrix	w;
	double	   *exact_w;		/* [n, k], what the weights stand for */
	float	   *x;				/* [rows, ldx] */
	size_t		ldx,
				ldy;
	int			rows;
	void	   *scratch;
} problem;

static void *
must(void *p)
{
	if (p == NULL)
		exit(2);
	return p;
}

/* Store weight (j, t) in its place in the panels and say what it stands for */
static double
place(dl_dtype dtype, void *data, int k, int j, int t)
{
	size_t		panel = (size_t) j / 16,
				lane = (size_t) j % 16;
	int			k4 = (k + 3) / 4;
	int8_t	   *at = (int8_t *) data + panel * dl_s8_panel_bytes(k4);
	dl_s8_group group = dl_s8_group_at(at, k4, t / DL_GROUP);
	float		v = number();
	uint16_t	half;
	int8_t		q;

	switch (dtype)
	{
		case DL_F32:
			((float *) data)[(panel * (size_t) k + (size_t) t) * 16 + lane] = v;
			return v;
		case DL_BF16:
			memcpy(&half, (char *) &v + 2, 2);
			((uint16_t *) data)[(panel * (size_t) k + (size_t) t) * 16 + lane] = half;
			v = 0;
			memcpy((char *) &v + 2, &half, 2);
			return v;
		default:
			at += group.w - at;
			q = (int8_t) lrintf(v * 63.0f);
			at[(t % DL_GROUP / 4 * 16 + (int) lane) * 4 + t % 4] = q;
			((float *) (at + group.steps * 64))[lane] = 0.01f + 0.001f * (float) (j % 7);
			((int32_t *) (at + group.steps * 64))[16 + lane] += q;
			return (double) q * (0.01f + 0.001f * (float) (j % 7));
	}
}

static problem
make(dl_dtype dtype, int n, int k, int rows, bool with_bias)
{
	size_t		panels = ((size_t) n + 15) / 16;
	problem		p = {.w = {.dtype = dtype, .n = n, .k = k}, .rows = rows, .ldx = (size_t) k + 5, .ldy = (size_t) n + 7};
	float	   *bias = must(malloc((size_t) n * sizeof(float)));	/* exactly n: over-reads show under a sanitizer */
	void	   *data = must(calloc(panels * 16 * ((size_t) k + 16), sizeof(float)));

	p.exact_w = must(malloc((size_t) n * (size_t) k * sizeof(double)));
	for (int j = 0; j < n; j++)
	{
		bias[j] = number();
		for (int t = 0; t < k; t++)
			p.exact_w[(size_t) j * (size_t) k + (size_t) t] = place(dtype, data, k, j, t);
	}
	p.w.data = data;
	p.w.bias = with_bias ? bias : (free(bias), NULL);
	p.x = must(malloc((size_t) rows * p.ldx * sizeof(float)));
	for (size_t i = 0; i < (size_t) rows * p.ldx; i++)
		p.x[i] = number();
	p.scratch = must(malloc(dl_linear_scratch(rows, k)));
	return p;
}

static void
release(problem *p)
{
	free((void *) p->w.data);
	free((void *) p->w.bias);
	free(p->exact_w);
	free(p->x);
	free(p->scratch);
}

/* Y with a value between the rows' ends that must survive */
static float *
run(const problem *p, const dl_kernels *kernels, dl_team *team, int first, int rows)
{
	float	   *y = must(malloc((size_t) rows * p->ldy * sizeof(float)));

	for (size_t i = 0; i < (size_t) rows * p->ldy; i++)
		y[i] = -77.5f;
	dl_linear(kernels, team, &p->w, p->x + (size_t) first * p->ldx, p->ldx, rows, y, p->ldy, p->scratch);
	return y;
}

/* A row as a product sees it: int8 ones rotate full groups */
static double *
seen_row(const problem *p, int row)
{
	double	   *x = must(malloc((size_t) p->w.k * sizeof(double)));

	for (int t = 0; t < p->w.k; t++)
		x[t] = p->x[(size_t) row * p->ldx + (size_t) t];
	for (int g = 0; p->w.dtype == DL_I8 && g + DL_GROUP <= p->w.k; g += DL_GROUP)
		for (int distance = DL_GROUP / 2; distance > 0; distance /= 2)
			for (int i = g; i < g + DL_GROUP; i++)
				if ((i & distance) == 0)
				{
					double		a = x[i] * M_SQRT1_2,
								b = x[i + distance] * M_SQRT1_2;

					x[i] = a + b;
					x[i + distance] = a - b;
				}
	return x;
}

static double
largest_input(const double *x, int k)
{
	double		largest = 0;

	for (int i = 0; i < k; i++)
		largest = fmax(largest, fabs(x[i]));
	return largest;
}

/* The largest error as a share of sum |x w|; for int8 of max|x| sum |w|: inputs are rounded to steps of max|x| */
static void
agrees_with_double(const problem *p, const float *y)
{
	double		worst = 0;
	int			touched = 0;

	for (int i = 0; i < p->rows; i++)
	{
		double	   *x = seen_row(p, i);
		double		least = p->w.dtype == DL_I8 ? largest_input(x, p->w.k) : 0;	/* of a factor in the bound */

		for (int j = 0; j < p->w.n; j++)
		{
			const double *w = p->exact_w + (size_t) j * (size_t) p->w.k;
			double		sum = p->w.bias ? p->w.bias[j] : 0,
						size = fabs(sum);

			for (int t = 0; t < p->w.k; t++)
				sum += x[t] * w[t];
			for (int t = 0; t < p->w.k; t++)
				size += fmax(fabs(x[t]), least) * fabs(w[t]);
			worst = fmax(worst, fabs(y[(size_t) i * p->ldy + (size_t) j] - sum) / size);
		}
		for (size_t j = (size_t) p->w.n; j < p->ldy; j++)
			touched += y[(size_t) i * p->ldy + j] != -77.5f;
		free(x);
	}

	/* float: k roundings of 2^-24 at most; int8: half a step of 1/127 of the largest input, and float rounding */
	CHECK(worst < (p->w.dtype == DL_I8 ? 1.0 / 254 + 1e-6 : 1e-6), "dtype %d n=%d k=%d rows=%d: %g", p->w.dtype, p->w.n,
		  p->w.k, p->rows, worst);
	CHECK(touched == 0, "columns beyond n are left alone, dtype %d n=%d", p->w.dtype, p->w.n);
}

static void
team_and_table_change_nothing(const problem *p, const float *y)
{
	static const uint32_t masks[] = {~0u, DLM_CPU_AVX512, DLM_CPU_VNNI, DLM_CPU_DOTPROD, 0};
	size_t		bytes = (size_t) p->rows * p->ldy * sizeof(float);

	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
		for (int threads = 1; threads <= 4; threads += 3)
		{
			dl_team    *team = dl_team_create(threads);
			float	   *other = run(p, dl_kernels_get(masks[i]), team, 0, p->rows);

			CHECK(memcmp(y, other, bytes) == 0, "%s, %d threads, dtype %d n=%d k=%d rows=%d",
				  dl_kernels_get(masks[i])->name, threads, p->w.dtype, p->w.n, p->w.k, p->rows);
			dl_team_free(team);
			free(other);
		}
}

static void
rows_alone_equal_rows_together(const problem *p, const float *y)
{
	for (int i = 0; i < p->rows; i += 1 + p->rows / 5)
	{
		float	   *alone = run(p, dl_kernels_get(0), NULL, i, 1);

		CHECK(memcmp(alone, y + (size_t) i * p->ldy, (size_t) p->w.n * sizeof(float)) == 0,
			  "row %d of %d, dtype %d n=%d k=%d", i, p->rows, p->w.dtype, p->w.n, p->w.k);
		free(alone);
	}
}

static void
check_shape(dl_dtype dtype, int n, int k, int rows, bool with_bias)
{
	problem		p = make(dtype, n, k, rows, with_bias);
	float	   *y = run(&p, dl_kernels_get(0), NULL, 0, rows);

	agrees_with_double(&p, y);
	team_and_table_change_nothing(&p, y);
	rows_alone_equal_rows_together(&p, y);
	free(y);
	release(&p);
}

/* ------------------------------------------------------ several matrices */

typedef struct finished
{
	const float *a;				/* outputs of a product abreast, and their sum */
	const float *b;
	float	   *sum;
	size_t		ld;
} finished;

static void
add_outputs(const void *ctx, int row, int rows, int column, int columns)
{
	const finished *f = ctx;

	for (int i = row; i < row + rows; i++)
		for (int j = column; j < column + columns; j++)
			f->sum[(size_t) i * f->ld + (size_t) j] += f->a[(size_t) i * f->ld + (size_t) j] +
				f->b[(size_t) i * f->ld + (size_t) j];
}

/* All panels of a product, `step` of them a call, as slices cut it */
static void
multiply_in_steps(const dl_product *p, dl_team *team, int step, void *scratch)
{
	int			panels = dl_product_panels(p);

	for (int at = 0; at < panels; at += step)
		dl_multiply(dl_kernels_get(0), team, p, at, panels - at < step ? panels - at : step, scratch);
}

/* q, k and v in turn: the same bits as one after the other */
static void
matrices_in_turn_equal_each_alone(dl_dtype dtype, int k, int rows, int threads, int step)
{
	const int	n[3] = {90, 17, 48};
	problem		p[3];
	dl_product	product = {.rows = rows, .n_outputs = 3};
	dl_team    *team = dl_team_create(threads);

	for (int i = 0; i < 3; i++)
	{
		p[i] = make(dtype, n[i], k, rows, i != 1);
		product.out[i] = (dl_output) {&p[i].w, must(calloc((size_t) rows * p[i].ldy, sizeof(float))), p[i].ldy};
		memcpy(p[i].x, p[0].x, (size_t) rows * p[0].ldx * sizeof(float));
	}
	product.x = p[0].x;
	product.ldx = p[0].ldx;
	multiply_in_steps(&product, team, step, p[0].scratch);
	for (int i = 0; i < 3; i++)
	{
		float	   *alone = run(&p[i], dl_kernels_get(0), NULL, 0, rows);
		bool		equal = true;

		for (int r = 0; r < rows; r++)
			equal = equal && memcmp(alone + (size_t) r * p[i].ldy, product.out[i].y + (size_t) r * p[i].ldy,
									(size_t) n[i] * sizeof(float)) == 0;
		CHECK(equal, "output %d in turn, dtype %d k=%d rows=%d threads=%d step=%d", i, dtype, k, rows, threads, step);
		free(alone);
		free(product.out[i].y);
		release(&p[i]);
	}
	dl_team_free(team);
}

/* gate and up abreast: each element is finished once, when both outputs are there */
static void
tiles_abreast_are_finished_once(dl_dtype dtype, int n, int k, int rows, int threads, int step)
{
	problem		a = make(dtype, n, k, rows, true),
				b = make(dtype, n, k, rows, false);
	size_t		size = (size_t) rows * a.ldy;
	float	   *y[3];
	float	   *alone[2] = {run(&a, dl_kernels_get(0), NULL, 0, rows), NULL};
	dl_team    *team = dl_team_create(threads);
	bool		equal = true;

	memcpy(b.x, a.x, (size_t) rows * a.ldx * sizeof(float));
	alone[1] = run(&b, dl_kernels_get(0), NULL, 0, rows);
	for (int i = 0; i < 3; i++)
		y[i] = must(calloc(size, sizeof(float)));
	{
		finished	f = {y[0], y[1], y[2], a.ldy};
		dl_product	product = {
			.x = a.x, .ldx = a.ldx, .rows = rows, .n_outputs = 2, .abreast = true,
			.out = {{&a.w, y[0], a.ldy}, {&b.w, y[1], a.ldy}}, .finish = add_outputs, .ctx = &f
		};

		multiply_in_steps(&product, team, step, a.scratch);
	}
	for (int r = 0; r < rows; r++)
		for (int j = 0; j < n; j++)
		{
			size_t		at = (size_t) r * a.ldy + (size_t) j;

			equal = equal && y[0][at] == alone[0][at] && y[1][at] == alone[1][at] && y[2][at] == y[0][at] + y[1][at];
		}
	CHECK(equal, "abreast, dtype %d n=%d k=%d rows=%d threads=%d step=%d", dtype, n, k, rows, threads, step);
	for (int i = 0; i < 3; i++)
		free(y[i]);
	free(alone[0]);
	free(alone[1]);
	dl_team_free(team);
	release(&a);
	release(&b);
}

int
main(void)
{
	for (int dtype = DL_F32; dtype <= DL_I8; dtype++)
		for (int i = 0; i < 12; i++)
		{
			int			rows = (int[]) {1, 7, 40}[i % 3],
						threads = 1 + i % 2 * 2,
						step = (int[]) {1, 2, 5, 100}[i % 4];

			matrices_in_turn_equal_each_alone((dl_dtype) dtype, 30 + i * 50, rows, threads, step);
			tiles_abreast_are_finished_once((dl_dtype) dtype, 100 + i, 30 + i * 50, rows, threads, step);
		}
	for (int k = 1; k <= 4096; k++)
	{
		size_t		ld = dl_row_stride(k);

		CHECK(ld >= (size_t) k && ld <= (size_t) k + 256 && (ld % 16 == 0 || ld == (size_t) k), "row stride of %d: %zu", k, ld);
	}

	for (int dtype = DL_F32; dtype <= DL_I8; dtype++)
	{
		for (int rows = 1; rows <= 80; rows++)
			check_shape((dl_dtype) dtype, 1 + rows * 5 % 150, 1 + rows * 13 % 97, rows, rows % 2 == 0);
		check_shape((dl_dtype) dtype, 600, 576, 37, true);	/* several tiles in both directions */
		check_shape((dl_dtype) dtype, 90, 1536, 130, false);
	}
	return harness_end("t_linear");
}
