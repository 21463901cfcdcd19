/*
 * ops_dense.c - products and linear layers; see ops.h.
 *
 * Plain loops that a compiler turns into vectors: a dot product in lanes, or
 * rows added.
 */
#include "ops.h"

#include <string.h>

void
dl_product_nt(const dl_real *x, const dl_real *w, int m, int n, int k, bool add, dl_real *y)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
		{
			dl_real		sum = dl_dot(x + (size_t) i * (size_t) k, w + (size_t) j * (size_t) k, k);
			dl_real    *at = y + (size_t) i * (size_t) n + j;

			*at = add ? *at + sum : sum;
		}
}

void
dl_product_nn(const dl_real *x, const dl_real *w, int m, int n, int k, dl_real scale, dl_real *y)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			dl_add_scaled(y + (size_t) i * (size_t) k, w + (size_t) j * (size_t) k,
					   scale * x[(size_t) i * (size_t) n + (size_t) j], (size_t) k);
}

void
dl_product_tn(const dl_real *a, const dl_real *x, int m, int n, int k, dl_real scale, dl_real *y)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
			dl_add_scaled(y + (size_t) j * (size_t) k, x + (size_t) i * (size_t) k,
					   scale * a[(size_t) i * (size_t) n + (size_t) j], (size_t) k);
}

void
dl_dense_forward(const dl_dense *d, dl_real s, const dl_real *x, int m, dl_real *u, dl_real *y)
{
	int			n = d->w->rows;
	int			k = d->w->cols;

	dl_product_nt(x, d->w->value, m, n, k, false, y);
	for (int i = 0; d->b != NULL && i < m; i++)
		dl_add_scaled(y + (size_t) i * (size_t) n, d->b->value, 1, (size_t) n);
	if (d->lora_a != NULL)
	{
		int			rank = d->lora_a->rows;
		size_t		size = (size_t) m * (size_t) rank;

		dl_product_nt(x, d->lora_a->value, m, rank, k, false, u);
		for (size_t i = 0; i < size; i++)
			u[i] *= s;
		dl_product_nt(u, d->lora_b->value, m, n, rank, true, y);
	}
}

/* Gradients of A and B, and A's share of dx. */
static void
factors_backward(const dl_dense *d, dl_real s, const dl_real *x, const dl_real *dy, int m, dl_real *u, dl_real *dx)
{
	int			n = d->w->rows;
	int			k = d->w->cols;
	int			rank = d->lora_a->rows;
	size_t		size = (size_t) m * (size_t) rank;
	dl_real    *du = u + size;

	dl_product_nt(x, d->lora_a->value, m, rank, k, false, u);
	dl_product_tn(dy, u, m, n, rank, s, d->lora_b->grad);
	memset(du, 0, size * sizeof(dl_real));
	dl_product_nn(dy, d->lora_b->value, m, n, rank, s, du);
	dl_product_tn(du, x, m, rank, k, 1, d->lora_a->grad);
	if (dx != NULL)
		dl_product_nn(du, d->lora_a->value, m, rank, k, 1, dx);
}

void
dl_dense_backward(const dl_dense *d, dl_real s, const dl_real *x, const dl_real *dy, int m, dl_real *u, dl_real *dx)
{
	int			n = d->w->rows;
	int			k = d->w->cols;

	if (d->w->grad != NULL)
		dl_product_tn(dy, x, m, n, k, 1, d->w->grad);
	for (int i = 0; d->b != NULL && d->b->grad != NULL && i < m; i++)
		dl_add_scaled(d->b->grad, dy + (size_t) i * (size_t) n, 1, (size_t) n);
	if (d->lora_a != NULL)
		factors_backward(d, s, x, dy, m, u, dx);
	if (dx != NULL)
		dl_product_nn(dy, d->w->value, m, n, k, 1, dx);
}
