/*
 * pack.c - one tensor of the source to the bytes of the .dlm.
 *
 * Matrices go through 16 rows at a time: read, dequantise, undo the row
 * order, add the adapter's product, round or quantise, lay out as a panel
 * (kernels.h). So no more than a few panels are ever held in f32, and panels
 * are independent: the team size changes no bit.
 */
#include "convert.h"

#include <string.h>

#include "hadamard.h"
#include "status.h"
#include "threads.h"

/* Elements of one batch and thread: a few milliseconds of work between two polls. */
#define BATCH_ELEMENTS	((uint64_t) 1 << 18)

/* Buffers of one thread. */
typedef struct dl_scratch
{
	uint8_t    *raw;			/* 16 stored rows */
	float	   *rows;			/* [16, cols] */
	float	   *delta;			/* [16, cols] of the adapter */
	float	   *b;				/* [16, rank] */
	dlm_error	err;
} dl_scratch;

typedef struct dl_job
{
	const dl_packer *p;
	const dl_bound *bound;
	const dl_kernels *kernels;
	dl_dtype	dtype;
	float	   *lora_a;			/* [rank, cols16], padded with zeros; NULL without adapter */
	uint64_t	cols16;
	uint64_t	first_panel;	/* of the batch */
	uint64_t	panel_bytes;
	uint8_t    *out;			/* the batch's panels */
	dl_scratch	scratch[DL_MAX_THREADS];
} dl_job;

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

/* rows [first_row, first_row + n) of the model's matrix, adapter merged. */
static dlm_status
load_rows(const dl_job *job, dl_scratch *s, uint64_t first_row, uint64_t n)
{
	const dl_bound *b = job->bound;
	uint64_t	rank = job->p->lora->rank;
	dlm_status	st = DLM_OK;

	if (b->permuted_heads == 0)
		st = read_elements(b->tensor, b->first + first_row * b->cols, n * b->cols, s->raw, s->rows, &s->err);
	for (uint64_t i = 0; b->permuted_heads != 0 && i < n && st == DLM_OK; i++)
		st = read_elements(b->tensor, b->first + source_row(b, b->rows, first_row + i) * b->cols, b->cols, s->raw,
						   s->rows + i * b->cols, &s->err);
	if (st != DLM_OK)
		return st;
	if (job->lora_a != NULL)
	{
		st = read_elements(b->lora_b, first_row * rank, n * rank, s->raw, s->b, &s->err);
		if (st != DLM_OK)
			return st;
		job->kernels->gemm_f32(s->b, rank, (int) n, (int) rank, job->lora_a, DL_PANEL, job->cols16,
							   (int) (job->cols16 / DL_PANEL), (int) b->cols, s->delta, b->cols, false);
		for (uint64_t i = 0; i < n * b->cols; i++)
			s->rows[i] += job->p->lora->scale * s->delta[i];
	}
	if (!dl_all_finite(s->rows, n * b->cols))
		return fail_not_finite(b, &s->err);
	return DLM_OK;
}

static void
lay_out_f32(const float *rows, uint64_t n, uint64_t cols, float *panel)
{
	for (uint64_t k = 0; k < cols; k++)
		for (uint64_t l = 0; l < DL_PANEL; l++)
			panel[k * DL_PANEL + l] = l < n ? rows[l * cols + k] : 0;
}

static dlm_status
lay_out_bf16(const dl_job *job, dl_scratch *s, uint64_t n, uint64_t cols, uint16_t *panel)
{
	bool		overflow = false;

	for (uint64_t k = 0; k < cols; k++)
		for (uint64_t l = 0; l < DL_PANEL; l++)
		{
			uint16_t	v = l < n ? dl_round_bf16(s->rows[l * cols + k]) : 0;

			overflow |= (v & 0x7f80) == 0x7f80;
			panel[k * DL_PANEL + l] = v;
		}
	return overflow ? fail_not_finite(job->bound, &s->err) : DLM_OK;
}

static void
lay_out_int8(dl_scratch *s, uint64_t n, uint64_t cols, int8_t *panel)
{
	int			k4 = (int) ((cols + 3) / 4);

	for (int g = 0; g < dl_groups(k4); g++)
	{
		dl_s8_group group = dl_s8_group_at(panel, k4, g);
		uint64_t	first = (uint64_t) g * DL_GROUP,
					width = cols - first < DL_GROUP ? cols - first : DL_GROUP;
		int8_t	   *w = panel + (group.w - panel);
		float	   *scale = (float *) (w + (size_t) group.steps * 4 * DL_PANEL);
		int32_t    *sum = (int32_t *) (scale + DL_PANEL);

		for (uint64_t l = 0; l < n; l++)
		{
			int8_t		q[DL_GROUP];

			if (width == DL_GROUP)
				dl_rotate_group(s->rows + l * cols + first);
			sum[l] = dl_quantize_group(s->rows + l * cols + first, width, q, &scale[l]);
			for (uint64_t k = 0; k < width; k++)
				w[(k / 4 * DL_PANEL + l) * 4 + k % 4] = q[k];
		}
	}
}

/* One panel, on any thread. */
static void
pack_panel(void *arg, int item, int thread)
{
	dl_job	   *job = arg;
	dl_scratch *s = &job->scratch[thread];
	uint64_t	first_row = (job->first_panel + (uint64_t) item) * DL_PANEL;
	uint64_t	left = job->bound->rows - first_row,
				n = left < DL_PANEL ? left : DL_PANEL;
	uint8_t    *panel = job->out + (uint64_t) item * job->panel_bytes;

	if (s->err.status != DLM_OK || load_rows(job, s, first_row, n) != DLM_OK)
		return;
	memset(panel, 0, (size_t) job->panel_bytes);
	if (job->dtype == DL_F32)
		lay_out_f32(s->rows, n, job->bound->cols, (float *) panel);
	else if (job->dtype == DL_BF16)
		(void) lay_out_bf16(job, s, n, job->bound->cols, (uint16_t *) panel);
	else
		lay_out_int8(s, n, job->bound->cols, (int8_t *) panel);
}

static uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The adapter's A as the product wants it: f32 rows of cols16. */
static dlm_status
load_lora_a(dl_job *job, dlm_error *err)
{
	const dl_packer *p = job->p;
	uint64_t	rank = p->lora->rank,
				cols = job->bound->cols;
	uint8_t    *raw = dl_arena_alloc(p->arena, (size_t) cols * 4);

	job->lora_a = dl_arena_calloc(p->arena, (size_t) (rank * job->cols16), sizeof(float));
	if (raw == NULL || job->lora_a == NULL)
		return dl_fail_memory(err);
	for (uint64_t r = 0; r < rank; r++)
	{
		dlm_status	st = read_elements(job->bound->lora_a, r * cols, cols, raw, job->lora_a + r * job->cols16, err);

		if (st != DLM_OK)
			return st;
	}
	return DLM_OK;
}

static dlm_status
prepare_job(dl_job *job, uint64_t batch, dlm_error *err)
{
	int			threads = dl_team_size(job->p->team);
	dl_arena   *a = job->p->arena;
	uint64_t	cols = job->bound->cols,
				rank = job->bound->lora_a != NULL ? job->p->lora->rank : 0,
				wide = cols > rank ? cols : rank;

	job->out = dl_arena_alloc(a, (size_t) (batch * job->panel_bytes));
	if (job->out == NULL)
		return dl_fail_memory(err);
	for (int t = 0; t < threads; t++)
	{
		dl_scratch *s = &job->scratch[t];

		s->raw = dl_arena_alloc(a, (size_t) (wide * DL_PANEL * 4));
		s->rows = dl_arena_alloc(a, (size_t) (cols * DL_PANEL * 4));
		s->delta = dl_arena_alloc(a, (size_t) (cols * DL_PANEL * 4));
		s->b = dl_arena_alloc(a, (size_t) (rank * DL_PANEL * 4));
		if (s->raw == NULL || s->rows == NULL || s->delta == NULL || s->b == NULL)
			return dl_fail_memory(err);
	}
	return rank > 0 ? load_lora_a(job, err) : DLM_OK;
}

static dlm_status
write_panels(dl_job *job, uint64_t panels, uint64_t batch, dlm_error *err)
{
	int			threads = dl_team_size(job->p->team);
	dl_writer  *w = job->p->writer;
	dlm_status	st = DLM_OK;

	for (uint64_t at = 0; at < panels && st == DLM_OK; at += batch)
	{
		uint64_t	n = panels - at < batch ? panels - at : batch;

		job->first_panel = at;
		dl_parallel(job->p->team, (int) n, pack_panel, job);
		for (int t = 0; t < threads; t++)
			if (job->scratch[t].err.status != DLM_OK)
			{
				if (err != NULL)
					*err = job->scratch[t].err;
				return job->scratch[t].err.status;
			}
		st = dl_writer_put(w, job->out, (size_t) (n * job->panel_bytes), err);
		if (st == DLM_OK)
			st = job->p->poll(job->p->arg, dl_writer_at(w), err);
	}
	return st;
}

static dlm_status
pack_matrix(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(p->arena);
	dl_job	   *job = dl_arena_calloc(p->arena, 1, sizeof(dl_job));
	uint64_t	panels = round_up(b->rows, DL_PANEL) / DL_PANEL,
				work = DL_PANEL * b->cols,
				batch;
	int			threads = dl_team_size(p->team);
	dlm_status	st;

	if (job == NULL)
		return dl_fail_memory(err);
	job->p = p;
	job->bound = b;
	job->kernels = dl_kernels_get(0);
	job->dtype = b->dtype;
	job->cols16 = round_up(b->cols, DL_PANEL);
	job->panel_bytes = job->dtype == DL_I8 ? dl_s8_panel_bytes((int) ((b->cols + 3) / 4))
		: b->cols * DL_PANEL * (job->dtype == DL_F32 ? 4 : 2);
	if (b->lora_a != NULL)
		work *= 1 + p->lora->rank / 8;
	batch = BATCH_ELEMENTS * (uint64_t) threads / work;
	batch = batch < (uint64_t) threads ? (uint64_t) threads : batch > panels ? panels : batch;
	st = prepare_job(job, batch, err);
	if (st == DLM_OK)
		st = write_panels(job, panels, batch, err);
	dl_arena_rewind(p->arena, mark);
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
	dl_mark		mark = dl_arena_mark(p->arena);
	uint8_t    *raw = dl_arena_alloc(p->arena, (size_t) b->cols * 4);
	float	   *tmp = dl_arena_alloc(p->arena, (size_t) b->cols * 4),
			   *out = dl_arena_alloc(p->arena, (size_t) b->cols * 4);
	dlm_status	st = DLM_OK;

	if (raw == NULL || tmp == NULL || out == NULL)
		return dl_fail_memory(err);
	for (uint64_t row = 0; row < b->rows && st == DLM_OK; row++)
	{
		st = load_vector(p, b, row, raw, tmp, out, err);
		if (st == DLM_OK)
			st = dl_writer_put(p->writer, out, (size_t) b->cols * 4, err);
		if (st == DLM_OK)
			st = p->poll(p->arg, dl_writer_at(p->writer), err);
	}
	dl_arena_rewind(p->arena, mark);
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
	dl_mark		mark = dl_arena_mark(p->arena);
	size_t		half = (size_t) b->cols;
	double	   *freq = dl_arena_alloc(p->arena, half * sizeof(double));
	dl_rope_job job = {.freq = freq, .half = (int) half};
	dlm_status	st;

	job.cosines = dl_arena_alloc(p->arena, half * ROPE_ROWS * sizeof(float));
	job.sines = dl_arena_alloc(p->arena, half * ROPE_ROWS * sizeof(float));
	if (freq == NULL || job.cosines == NULL || job.sines == NULL)
		return dl_fail_memory(err);
	st = dl_rope_frequencies(p->arch, freq, err);
	for (; job.first < b->rows && st == DLM_OK; job.first += ROPE_ROWS)
	{
		uint64_t	n = b->rows - job.first < ROPE_ROWS ? b->rows - job.first : ROPE_ROWS;

		dl_parallel(p->team, (int) n, rope_row, &job);
		st = dl_writer_put(p->writer, b->role == DL_T_ROPE_COS ? job.cosines : job.sines, n * half * 4, err);
		if (st == DLM_OK)
			st = p->poll(p->arg, dl_writer_at(p->writer), err);
	}
	dl_arena_rewind(p->arena, mark);
	return st;
}

dlm_status
dl_pack(const dl_packer *p, const dl_bound *b, dlm_error *err)
{
	if (b->role == DL_T_ROPE_COS || b->role == DL_T_ROPE_SIN)
		return pack_rope(p, b, err);
	return b->matrix ? pack_matrix(p, b, err) : pack_rows(p, b, err);
}
