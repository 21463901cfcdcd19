/*
 * layers.c - the arithmetic of one layer over a chunk of tokens.
 *
 * A chunk function does one unit of its work (a norm over the chunk, some
 * panels of a matrix product, an activation), charges its cost to f->left and
 * returns true when the chunk is complete. f->op counts the units, f->panel
 * the panels of an unfinished product. How work is cut changes no bit: every
 * element is computed alone.
 */
#include "forward_impl.h"

#include <string.h>

/* Costs of element-wise work in multiply-adds, roughly. */
#define COST_NORM		4
#define COST_ACT		12
#define PARALLEL_FLOOR	(1 << 15)	/* elements below which a team costs more than it saves */
#define TOKENS_PER_ITEM	16		/* keys of 16 tokens share cache lines: one thread writes them */

/* Chunks of n tokens: as many as DL_CHUNK asks for, of equal size but for the last, so that none is short. */
int
dl_chunk_step(int n)
{
	int			chunks = (n + DL_CHUNK - 1) / DL_CHUNK;
	int			step = chunks > 1 ? (n + chunks - 1) / chunks : n;

	return chunks > 1 ? (step + DL_PANEL - 1) / DL_PANEL * DL_PANEL : n;
}

int
dl_chunk_size(int n, int at)
{
	int			step = dl_chunk_step(n);

	return n - at < step ? n - at : step;
}

/* ---------------------------------------------------- element-wise pieces */

/* fn over the tokens 0 .. n-1 of a chunk, each of `width` elements. */
typedef struct dl_each
{
	dl_forward *f;
	void		(*fn) (const struct dl_each *e, int i);
	int			n;
	int			first;			/* token or query that i = 0 is */
	float	   *x;				/* row stride ldx */
	float	   *out;
	const dl_vectors *norm;
} dl_each;

static void
each_item(void *arg, int item, int thread)
{
	const dl_each *e = arg;
	int			end = (item + 1) * TOKENS_PER_ITEM < e->n ? (item + 1) * TOKENS_PER_ITEM : e->n;

	for (int i = item * TOKENS_PER_ITEM; i < end; i++)
		e->fn(e, i);
}

static void
for_each(dl_each *e, size_t width, int cost)
{
	bool		small = (size_t) e->n * width < PARALLEL_FLOOR;

	dl_parallel(small ? NULL : e->f->team, (e->n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, each_item, e);
	e->f->left -= (int64_t) e->n * (int64_t) width * cost;
}

static void
norm_row(const dl_forward *f, const dl_vectors *w, const float *x, float *y)
{
	const dl_config *c = &f->model->config;

	if (c->norm == DL_NORM_RMS)
		f->kernels->rms_norm(x, w->w, c->norm_eps, (int) c->hidden, y);
	else
		f->kernels->layer_norm(x, w->w, w->b, c->norm_eps, (int) c->hidden, y);
}

/* out = norm(x) */
static void
each_norm(const dl_each *e, int i)
{
	size_t		at = (size_t) i * e->f->hidden_ld;

	norm_row(e->f, e->norm, e->x + at, e->out + at);
}

static void
activate(const dl_kernels *kernels, uint32_t act, float *x, int n)
{
	if (act == DL_ACT_GELU_ERF)
		kernels->gelu_erf(x, n);
	else if (act == DL_ACT_GELU_TANH)
		kernels->gelu_tanh(x, n);
	else if (act == DL_ACT_SILU)
		kernels->silu(x, n);
	else
		kernels->relu(x, n);
}

/* --------------------------------------------------------- matrix product */

/* As much of a product as is left of the slice, but at least one panel; true when all of it is done. */
bool
dl_multiply_unit(dl_forward *f, const dl_product *p)
{
	int64_t		panel_cost = dl_product_panel_cost(p);
	int			panels = dl_product_panels(p);
	int			n = panels - f->panel;

	if (n * panel_cost > f->left)
		n = f->left < panel_cost ? 1 : (int) (f->left / panel_cost);
	dl_multiply(f->kernels, f->team, p, f->panel, n, f->quantized);
	f->left -= n * panel_cost;
	f->panel += n;
	if (f->panel < panels)
		return false;
	f->panel = 0;
	return true;
}

bool
dl_product_unit(dl_forward *f, const dl_matrix *w, const float *x, size_t ldx, int rows, float *y, size_t ldy)
{
	dl_product	p = {.x = x, .ldx = ldx, .rows = rows, .n_outputs = 1, .out = {{w, y, ldy}}};

	return dl_multiply_unit(f, &p);
}

/* --------------------------------------------------------------- embedding */

static void
each_embed(const dl_each *e, int i)
{
	const dl_forward *f = e->f;
	const dlm_model *m = f->model;
	const dl_token *t = &f->tokens[e->first + i];
	int			n = (int) m->config.hidden;
	float	   *x = e->x + (size_t) i * f->hidden_ld;

	dl_model_embed(m, t->id, x);
	if (m->config.position == DL_POS_LEARNED)
		f->kernels->add(x, m->position + ((size_t) t->position + m->config.position_offset) * (size_t) n, n);
	if (m->type != NULL)
		f->kernels->add(x, m->type, n);
	if (m->config.embed_norm)
		norm_row(f, &m->embed_norm, x, x);
}

bool
dl_embed_chunk(dl_forward *f)
{
	size_t		n = f->model->config.hidden;
	dl_each		e = {.f = f, .fn = each_embed, .n = dl_chunk_size(f->n_tokens, f->at), .first = f->at,
		.x = f->x + (size_t) f->at * f->hidden_ld};

	for_each(&e, n, 64);		/* a column of panels: one cache line an element */
	return true;
}

/* ------------------------------------------------------------ keys, queries */

static void
rotate(const dl_forward *f, float *head, int position)
{
	const dlm_model *m = f->model;
	size_t		half = m->config.head_dim / 2;

	if (m->config.position == DL_POS_ROPE)
		f->kernels->rope(head, m->rope_cos + (size_t) position * half, m->rope_sin + (size_t) position * half,
						 (int) half);
}

float *
dl_fixed_space(const dl_forward *f, const dl_row_plan *p)
{
	return p->kv != NULL ? dl_kv_layer(p->kv, f->layer) : f->keys + p->fixed_at;
}

float *
dl_live_space(const dl_forward *f, const dl_row_plan *p)
{
	return f->keys + p->live_at;
}

/* Norm and rotate a token's keys. */
static void
turn_keys(const dl_forward *f, const dl_token *t, float *k)
{
	const float *norm = f->model->layers[f->layer].k_norm;
	int			dim = f->heads.dim;

	for (int h = 0; h < f->heads.kv_heads; h++)
	{
		if (norm != NULL)
			f->kernels->rms_norm(k + h * dim, norm, f->model->config.norm_eps, dim, k + h * dim);
		rotate(f, k + h * dim, t->position);
	}
}

/* How many tokens from t on, at most n, are stored side by side. */
static int
run_of(const dl_token *t, int n)
{
	int			run = 1;

	while (run < n && t[run].store && t[run].row == t->row && t[run].live == t->live && t[run].slot == t->slot + run)
		run++;
	return run;
}

/* Keys of some tokens of the chunk, turned, and stored with their values. */
static void
keys_item(void *arg, int item, int thread)
{
	const dl_forward *f = arg;
	size_t		ld = (size_t) f->key_dim;
	int			n = dl_chunk_size(f->n_tokens, f->at);
	int			end = (item + 1) * TOKENS_PER_ITEM < n ? (item + 1) * TOKENS_PER_ITEM : n;

	for (int i = item * TOKENS_PER_ITEM, run; i < end; i += run)
	{
		const dl_token *t = &f->tokens[f->at + i];
		const dl_row_plan *p = &f->plans[t->row];

		run = run_of(t, end - i);
		if (!t->store)
			continue;
		for (int j = 0; j < run; j++)
			turn_keys(f, &t[j], f->k + (size_t) (i + j) * ld);
		dl_keys_store(&f->heads, t->live ? dl_live_space(f, p) : dl_fixed_space(f, p),
					  t->live ? p->live_capacity : p->fixed_capacity, t->slot, run, f->k + (size_t) i * ld,
					  f->v + (size_t) i * ld, ld);
	}
}

/* Norm, rotate and scale a query. */
static void
each_query(const dl_each *e, int i)
{
	const dl_forward *f = e->f;
	const dl_token *t = dl_query(f, e->first + i);
	const float *norm = f->model->layers[f->layer].q_norm;
	float	   *q = f->q + (size_t) (e->first + i) * f->query_ld;
	int			dim = f->heads.dim;

	for (int h = 0; h < f->heads.kv_heads * f->heads.group; h++)
	{
		if (norm != NULL)
			f->kernels->rms_norm(q + h * dim, norm, f->model->config.norm_eps, dim, q + h * dim);
		rotate(f, q + h * dim, t->position);
	}
	for (int j = 0; j < f->query_dim; j++)
		q[j] *= f->scale;
}

static void
finish_keys(dl_forward *f, int n)
{
	bool		small = (size_t) (n * 2 * f->key_dim) < PARALLEL_FLOOR;

	dl_parallel(small ? NULL : f->team, (n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, keys_item, f);
	f->left -= (int64_t) n * 2 * f->key_dim * COST_NORM;
}

static void
finish_queries(dl_forward *f, int n)
{
	dl_each		e = {.f = f, .fn = each_query, .n = n, .first = f->at};

	for_each(&e, (size_t) f->query_dim, COST_NORM);
}

/* What q, k and v read: the normed input before (pre-norm), or the stream itself. */
static const float *
block_input(dl_forward *f, float *x)
{
	return f->model->config.pre_norm ? f->h : x;
}

static void
norm_chunk(dl_forward *f, const dl_vectors *norm, float *x, float *out, int n)
{
	dl_each		e = {.f = f, .fn = each_norm, .n = n, .x = x, .out = out, .norm = norm};

	for_each(&e, f->model->config.hidden, COST_NORM);
}

static void
norm_input(dl_forward *f, const dl_vectors *norm, float *x, int n)
{
	if (f->model->config.pre_norm)
		norm_chunk(f, norm, x, f->h, n);
}

bool
dl_keys_chunk(dl_forward *f)
{
	const dl_layer *l = &f->model->layers[f->layer];
	int			n = dl_chunk_size(f->n_tokens, f->at);
	float	   *x = f->x + (size_t) f->at * f->hidden_ld;
	bool		last = f->layer + 1 == (int) f->model->config.layers;

	if (f->op == 0)
	{
		norm_input(f, &l->attn_norm, x, n);
		f->op = 1;
	}
	if (f->op == 1)
	{
		dl_product	p = {
			.x = block_input(f, x), .ldx = f->hidden_ld, .rows = n, .n_outputs = last ? 2 : 3,
			.out = {{&l->k, f->k, (size_t) f->key_dim},
			{&l->v, f->v, (size_t) f->key_dim},
			{&l->q, f->q + (size_t) f->at * f->query_ld, f->query_ld}}
		};

		f->op += dl_multiply_unit(f, &p);
		return false;
	}
	finish_keys(f, n);
	if (!last)
		finish_queries(f, n);
	return true;
}

/* What row f->at has in common with an earlier one. Rows ascend, so the source is complete. */
bool
dl_copy_row(dl_forward *f)
{
	const dl_row_plan *p = &f->plans[f->at];
	const dl_row_plan *s = &f->plans[p->source];

	if (p->copy_to > p->copy_from)
	{
		dl_keys_copy(&f->heads, dl_fixed_space(f, s), s->fixed_capacity, dl_fixed_space(f, p), p->fixed_capacity,
					 p->copy_from, p->copy_to);
		f->left -= (int64_t) (p->copy_to - p->copy_from) * f->key_dim * 8;
	}
	return true;
}

bool
dl_queries_chunk(dl_forward *f)
{
	const dl_layer *l = &f->model->layers[f->layer];
	size_t		ld = f->hidden_ld;
	int			n = dl_chunk_size(f->n_needed, f->at);
	float	   *x = f->x + (size_t) f->at * ld;

	if (f->op == 0)
	{
		/* needed[] ascends and needed[i] >= i: what is overwritten has been moved or is not needed */
		for (int i = 0; i < n; i++)
			if (f->needed[f->at + i] != f->at + i)
				memcpy(x + (size_t) i * ld, f->x + (size_t) f->needed[f->at + i] * ld,
					   f->model->config.hidden * sizeof(float));
		norm_input(f, &l->attn_norm, x, n);
		f->op = 1;
	}
	if (f->op == 1)
	{
		f->op += dl_product_unit(f, &l->q, block_input(f, x), ld, n, f->q + (size_t) f->at * f->query_ld, f->query_ld);
		return false;
	}
	finish_queries(f, n);
	return true;
}

/* --------------------------------------------------------------- attention */

/* One block of queries, one key head. Its output takes the place of its queries, which nobody else reads. */
static void
attend_item(void *arg, int item, int thread)
{
	dl_forward *f = arg;
	const dl_heads *h = &f->heads;
	bool		last = f->layer + 1 == (int) f->model->config.layers;
	const dl_block *b = &(last ? f->last_blocks : f->blocks)[(f->at + item) / h->kv_heads];
	int			head = (f->at + item) % h->kv_heads;
	const dl_row_plan *p = &f->plans[b->row];
	dl_keys		fixed = dl_keys_at(h, dl_fixed_space(f, p), p->fixed_capacity, head, p->n_fixed);
	dl_keys		live = dl_keys_at(h, dl_live_space(f, p), p->live_capacity, head, p->n_live);
	size_t		dim = (size_t) h->dim;
	size_t		width = (size_t) h->group * dim;
	int			m = b->n * h->group;
	float	   *q = f->q + (size_t) b->first * f->query_ld + (size_t) head * width;
	float	   *gathered = f->scratch + (size_t) thread * f->scratch_floats;
	float	   *out = gathered + (size_t) m * dim;

	for (int i = 0; i < b->n; i++)
		memcpy(gathered + (size_t) i * width, q + (size_t) i * f->query_ld, width * sizeof(float));
	dl_attend(f->kernels, h, &fixed, &live, gathered, b->n, b->live ? NULL : f->limits + b->first,
			  out + (size_t) m * (size_t) h->value_dim, dl_scores_ld(p), out);
	for (int i = 0; i < m; i++)
		memcpy(q + (size_t) (i / h->group) * f->query_ld + (size_t) (i % h->group) * dim,
			   out + (size_t) i * (size_t) h->value_dim, dim * sizeof(float));
}

/* How many fixed keys each fixed query sees: itself and those before it. */
static void
set_limits(dl_forward *f)
{
	int			n = dl_queries(f);

	for (int i = 0; i < n; i++)
		f->limits[i] = dl_query(f, i)->slot + 1;
}

bool
dl_attend_items(dl_forward *f)
{
	const dl_heads *h = &f->heads;
	bool		last = f->layer + 1 == (int) f->model->config.layers;
	const dl_block *blocks = last ? f->last_blocks : f->blocks;
	int			items = (last ? f->n_last_blocks : f->n_blocks) * h->kv_heads;
	int			end = f->at;

	if (f->at == 0)
		set_limits(f);
	while (end < items && (end == f->at || f->left > 0))
	{
		const dl_block *b = &blocks[end / h->kv_heads];
		const dl_row_plan *p = &f->plans[b->row];

		/* two products, and the softmax */
		f->left -= (int64_t) b->n * h->group * (p->n_fixed + p->n_live) * (2 * h->dim + COST_ACT);
		end++;
	}
	dl_parallel(f->team, end - f->at, attend_item, f);
	f->at = end;
	return end == items;
}

/* ------------------------------------------------------------- the rest */

/* x += t in a tile of f->t; the stream's rows begin at `x` */
typedef struct dl_residual
{
	const dl_forward *f;
	float	   *x;
} dl_residual;

static void
add_tile(const void *ctx, int row, int rows, int column, int columns)
{
	const dl_residual *r = ctx;
	size_t		at = (size_t) row * r->f->hidden_ld + (size_t) column;

	for (int i = 0; i < rows; i++, at += r->f->hidden_ld)
		r->f->kernels->add(r->x + at, r->f->t + at, columns);
}

/* x += y W^T + b, through f->t */
static bool
residual_unit(dl_forward *f, const dl_matrix *w, const float *y, size_t ldy, int n, float *x)
{
	dl_residual r = {f, x};
	dl_product	p = {
		.x = y, .ldx = ldy, .rows = n, .n_outputs = 1, .out = {{w, f->t, f->hidden_ld}}, .finish = add_tile, .ctx = &r
	};

	return dl_multiply_unit(f, &p);
}

/* up = act(up), or act(gate) * up, in a tile */
static void
activate_tile(const void *ctx, int row, int rows, int column, int columns)
{
	const dl_forward *f = ctx;
	const dl_config *c = &f->model->config;

	for (int i = row; i < row + rows; i++)
	{
		size_t		at = (size_t) i * f->ffn_ld + (size_t) column;

		activate(f->kernels, c->act, (c->gated ? f->gate : f->up) + at, columns);
		if (c->gated)
			f->kernels->mul(f->up + at, f->gate + at, columns);
	}
}

static bool
up_unit(dl_forward *f, const dl_layer *l, const float *in, int n)
{
	const dl_config *c = &f->model->config;
	dl_product	p = {
		.x = in, .ldx = f->hidden_ld, .rows = n, .n_outputs = c->gated ? 2 : 1, .abreast = true,
		.out = {{&l->up, f->up, f->ffn_ld}, {&l->gate, f->gate, f->ffn_ld}}, .finish = activate_tile, .ctx = f
	};

	return dl_multiply_unit(f, &p);
}

bool
dl_mix_chunk(dl_forward *f)
{
	const dl_config *c = &f->model->config;
	const dl_layer *l = &f->model->layers[f->layer];
	int			n = dl_chunk_size(dl_queries(f), f->at);
	float	   *x = f->x + (size_t) f->at * f->hidden_ld;
	const float *in = c->pre_norm ? f->h : x;
	bool		done = true;

	switch (f->op)
	{
		case 0:
			done = residual_unit(f, &l->o, f->q + (size_t) f->at * f->query_ld, f->query_ld, n, x);
			break;
		case 1:
			if (c->pre_norm)
				norm_chunk(f, &l->ffn_norm, x, f->h, n);
			else
				norm_chunk(f, &l->attn_norm, x, x, n);
			break;
		case 2:
			done = up_unit(f, l, in, n);
			break;
		case 3:
			done = residual_unit(f, &l->down, f->up, f->ffn_ld, n, x);
			break;
		default:
			if (!c->pre_norm)
				norm_chunk(f, &l->ffn_norm, x, x, n);
			return true;
	}
	f->op += done;
	return false;
}
