/*
 * pack.c - one tensor of the source to the bytes of the .dlm.
 *
 * Matrices go through panels.c, 16 rows at a time, which are read, dequantised
 * and put in the model's order here.
 */
#include "convert.h"

#include <string.h>

#include "status.h"
#include "threads.h"

/* A matrix on its way through panels.c. */
typedef struct dl_matrix_job
{
	const dl_packer *p;
	const dl_bound *bound;
	dl_merge	merge;
	uint8_t    *raw[DL_MAX_THREADS];	/* 16 stored rows of each thread */
	float	   *b[DL_MAX_THREADS];	/* [16, rank] of the adapter */
} dl_matrix_job;

/*
 * Row of the file that holds row r of the model. GGUF stores q and k of
 * llama's kin for interleaved RoPE: per head of d rows, file row 2i + j is
 * model row j * d/2 + i.
 */
static uint64_t
source_row(const dl_bound *b, uint64_t n, uint64_t r)
{
	uint64_t	d,
				in_head;

	if (b->permuted_heads == 0)
		return r;
	d = n / b->permuted_heads;
	in_head = r % d;
	return r - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
}

/* n consecutive elements of a tensor as f32; first and n are multiples of its block. */
static dlm_status
read_elements(const dl_tensor *t, uint64_t first, uint64_t n, uint8_t *raw, float *out, dlm_error *err)
{
	uint64_t	bytes = dl_storage_bytes(t->storage, n);
	dlm_status	st = dl_file_read(t->file, t->offset + dl_storage_bytes(t->storage, first), raw, (size_t) bytes, err);

	if (st == DLM_OK)
		dl_dequantize(t->storage, raw, (size_t) n, out);
	return st;
}

static dlm_status
fail_not_finite(const dl_bound *b, dlm_error *err)
{
	char		clean[100];

	return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" holds values that are not finite",
				   b->tensor ? dl_clean_name(b->tensor->name, clean) : "embedding row");
}

/* ---------------------------------------------------------------- matrices */

/* rows [first, first + n) of the model's matrix, adapter merged: dl_panel_source.load */
static dlm_status
load_rows(void *arg, int thread, uint64_t first, uint64_t n, float *rows, dlm_error *err)
{
	dl_matrix_job *job = arg;
	const dl_bound *b = job->bound;
	uint64_t	rank = job->merge.rank;
	uint8_t    *raw = job->raw[thread];
	dlm_status	st = DLM_OK;

	if (b->permuted_heads == 0)
		st = read_elements(b->tensor, b->first + first * b->cols, n * b->cols, raw, rows, err);
	for (uint64_t i = 0; b->permuted_heads != 0 && i < n && st == DLM_OK; i++)
		st = read_elements(b->tensor, b->first + source_row(b, b->rows, first + i) * b->cols, b->cols, raw,
						   rows + i * b->cols, err);
	if (st != DLM_OK || b->lora_a == NULL)
		return st;
	st = read_elements(b->lora_b, first * rank, n * rank, raw, job->b[thread], err);
	if (st == DLM_OK)
		dl_merge_rows(&job->merge, thread, job->b[thread], n, rows);
	return st;
}

/* The adapter's A as the product wants it. */
static dlm_status
load_lora_a(dl_matrix_job *job, dlm_error *err)
{
	dl_merge   *m = &job->merge;
	dlm_status	st;

	m->rank = job->p->lora->rank;
	m->scale = job->p->lora->scale;
	m->cols = job->bound->cols;
	st = dl_merge_prepare(m, job->p->sink.arena, dl_team_size(job->p->sink.team), err);
	for (uint64_t r = 0; r < m->rank && st == DLM_OK; r++)
		st = read_elements(job->bound->lora_a, r * m->cols, m->cols, job->raw[0], m->a + r * m->cols16, err);
	return st;
}

static dlm_status
prepare_job(dl_matrix_job *job, dlm_error *err)
{
	dl_arena   *a = job->p->sink.arena;
	uint64_t	rank = job->bound->lora_a != NULL ? job->p->lora->rank : 0,
				wide = job->bound->cols > rank ? job->bound->cols : rank;

	for (int t = 0; t < dl_team_size(job->p->sink.team); t++)
	{
		job->raw[t] = dl_arena_alloc(a, (size_t) (wide * DL_PANEL * 4));
		job->b[t] = dl_arena_alloc(a, (size_t) (rank * DL_PANEL * 4));
		if (job->raw[t] == NULL || job->b[t] == NULL)
			return dl_fail_memory(err);
	}
	return rank > 0 ? load_lora_a(job, err) : DLM_OK;
}

static dlm_status
pack_matrix(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(p->sink.arena);
	dl_matrix_job *job = dl_arena_calloc(p->sink.arena, 1, sizeof(*job));
	dl_panel_source source = {.rows = b->rows, .cols = b->cols, .dtype = b->dtype, .name = b->tensor->name,
		.load = load_rows, .arg = job};
	dlm_status	st;

	if (job == NULL)
		return dl_fail_memory(err);
	job->p = p;
	job->bound = b;
	st = prepare_job(job, err);
	source.rank = job->merge.rank;
	if (st == DLM_OK)
		st = dl_write_panels(&p->sink, &source, err);
	dl_arena_rewind(p->sink.arena, mark);
	return st;
}

/* ---------------------------------------------------------------- vectors */

/* One row of a tensor kept in f32. */
static dlm_status
load_vector(const dl_packer *p, const dl_bound *b, uint64_t row, uint8_t *raw, float *tmp, float *out, dlm_error *err)
{
	const dl_tensor *t = b->role == DL_T_REPLACED ? p->binding->replaced[row] : b->tensor;
	uint64_t	first = b->role == DL_T_REPLACED ? 0 : b->first + row * b->cols;
	dlm_status	st = read_elements(t, first, b->cols, raw, tmp, err);

	if (st != DLM_OK)
		return st;
	for (uint64_t i = 0; i < b->cols; i++)
		out[i] = tmp[source_row(b, b->cols, i)];
	return dl_all_finite(out, (size_t) b->cols) ? DLM_OK : fail_not_finite(b, err);
}

static dlm_status
pack_rows(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(p->sink.arena);
	uint8_t    *raw = dl_arena_alloc(p->sink.arena, (size_t) b->cols * 4);
	float	   *tmp = dl_arena_alloc(p->sink.arena, (size_t) b->cols * 4),
			   *out = dl_arena_alloc(p->sink.arena, (size_t) b->cols * 4);
	dlm_status	st = DLM_OK;

	if (raw == NULL || tmp == NULL || out == NULL)
		return dl_fail_memory(err);
	for (uint64_t row = 0; row < b->rows && st == DLM_OK; row++)
	{
		st = load_vector(p, b, row, raw, tmp, out, err);
		if (st == DLM_OK)
			st = dl_writer_put(p->sink.writer, out, (size_t) b->cols * 4, err);
		if (st == DLM_OK)
			st = p->sink.poll(p->sink.arg, dl_writer_at(p->sink.writer), err);
	}
	dl_arena_rewind(p->sink.arena, mark);
	return st;
}

/* ---------------------------------------------------------------- rope */

#define ROPE_ROWS	64

typedef struct dl_rope_job
{
	const double *freq;
	int			half;
	uint64_t	first;
	float	   *cosines,		/* [ROPE_ROWS, half] */
			   *sines;
} dl_rope_job;

static void
rope_row(void *arg, int item, int thread)
{
	dl_rope_job *job = arg;
	size_t		at = (size_t) item * (size_t) job->half;

	(void) thread;
	dl_rope_row(job->freq, job->half, job->first + (uint64_t) item, job->cosines + at, job->sines + at);
}

static dlm_status
pack_rope(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(p->sink.arena);
	size_t		half = (size_t) b->cols;
	double	   *freq = dl_arena_alloc(p->sink.arena, half * sizeof(double));
	dl_rope_job job = {.freq = freq, .half = (int) half};
	dlm_status	st;

	job.cosines = dl_arena_alloc(p->sink.arena, half * ROPE_ROWS * sizeof(float));
	job.sines = dl_arena_alloc(p->sink.arena, half * ROPE_ROWS * sizeof(float));
	if (freq == NULL || job.cosines == NULL || job.sines == NULL)
		return dl_fail_memory(err);
	st = dl_rope_frequencies(p->arch, freq, err);
	for (; job.first < b->rows && st == DLM_OK; job.first += ROPE_ROWS)
	{
		uint64_t	n = b->rows - job.first < ROPE_ROWS ? b->rows - job.first : ROPE_ROWS;

		dl_parallel(p->sink.team, (int) n, rope_row, &job);
		st = dl_writer_put(p->sink.writer, b->role == DL_T_ROPE_COS ? job.cosines : job.sines, n * half * 4, err);
		if (st == DLM_OK)
			st = p->sink.poll(p->sink.arg, dl_writer_at(p->sink.writer), err);
	}
	dl_arena_rewind(p->sink.arena, mark);
	return st;
}

dlm_status
dl_pack(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	if (b->role == DL_T_ROPE_COS || b->role == DL_T_ROPE_SIN)
		return pack_rope(p, b, err);
	return b->matrix ? pack_matrix(p, b, err) : pack_rows(p, b, err);
}
