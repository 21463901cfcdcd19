/*
 * panels.c - rows of a matrix to the panels of a .dlm (kernels.h).
 *
 * Sixteen rows at a time: somebody gives them in f32, an adapter's product may
 * be added, they are rounded or quantised and laid out. So no more than a few
 * panels are ever held in f32, and panels are independent: the team size
 * changes no bit.
 */
#include "convert.h"

#include <string.h>

#include "hadamard.h"
#include "status.h"
#include "threads.h"

/* Elements of one batch and thread: a few milliseconds of work between two polls. */
#define BATCH_ELEMENTS	((uint64_t) 1 << 18)

typedef struct dl_job
{
	const dl_panel_source *source;
	uint64_t	first_panel;	/* of the batch */
	uint64_t	panel_bytes;
	uint8_t    *out;			/* the batch's panels */
	float	   *rows[DL_MAX_THREADS];	/* [16, cols] of each thread */
	dlm_error	err[DL_MAX_THREADS];
} dl_job;

static dlm_status
fail_not_finite(const dl_panel_source *s, dlm_error *err)
{
	char		clean[100];

	return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" holds values that are not finite", dl_clean_name(s->name, clean));
}

/* ---------------------------------------------------------------- adapters */

static uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

dlm_status
dl_merge_prepare(dl_merge *m, dl_arena *arena, int threads, dlm_error *err)
{
	m->kernels = dl_kernels_get(0);
	m->cols16 = round_up(m->cols, DL_PANEL);
	m->a = dl_arena_calloc(arena, (size_t) (m->rank * m->cols16), sizeof(float));
	if (m->a == NULL)
		return dl_fail_memory(err);
	for (int t = 0; t < threads; t++)
	{
		m->delta[t] = dl_arena_alloc(arena, (size_t) (m->cols * DL_PANEL * sizeof(float)));
		if (m->delta[t] == NULL)
			return dl_fail_memory(err);
	}
	return DLM_OK;
}

void
dl_merge_rows(const dl_merge *m, int thread, const float *b, uint64_t n, float *rows)
{
	float	   *delta = m->delta[thread];

	m->kernels->gemm_f32(b, m->rank, (int) n, (int) m->rank, m->a, DL_PANEL, m->cols16, (int) (m->cols16 / DL_PANEL),
						 (int) m->cols, delta, m->cols, false);
	for (uint64_t i = 0; i < n * m->cols; i++)
		rows[i] += m->scale * delta[i];
}

/* ---------------------------------------------------------------- one panel */

static void
lay_out_f32(const float *rows, uint64_t n, uint64_t cols, float *panel)
{
	for (uint64_t k = 0; k < cols; k++)
		for (uint64_t l = 0; l < DL_PANEL; l++)
			panel[k * DL_PANEL + l] = l < n ? rows[l * cols + k] : 0;
}

/* false: a weight is too large for the type. */
static bool
lay_out_bf16(const float *rows, uint64_t n, uint64_t cols, uint16_t *panel)
{
	bool		overflow = false;

	for (uint64_t k = 0; k < cols; k++)
		for (uint64_t l = 0; l < DL_PANEL; l++)
		{
			uint16_t	v = l < n ? dl_round_bf16(rows[l * cols + k]) : 0;

			overflow |= (v & 0x7f80) == 0x7f80;
			panel[k * DL_PANEL + l] = v;
		}
	return !overflow;
}

static void
lay_out_int8(float *rows, uint64_t n, uint64_t cols, int8_t *panel)
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
				dl_rotate_group(rows + l * cols + first);
			sum[l] = dl_quantize_group(rows + l * cols + first, width, q, &scale[l]);
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
	const dl_panel_source *s = job->source;
	float	   *rows = job->rows[thread];
	dlm_error  *err = &job->err[thread];
	uint64_t	first_row = (job->first_panel + (uint64_t) item) * DL_PANEL;
	uint64_t	left = s->rows - first_row,
				n = left < DL_PANEL ? left : DL_PANEL;
	uint8_t    *panel = job->out + (uint64_t) item * job->panel_bytes;

	if (err->status != DLM_OK || s->load(s->arg, thread, first_row, n, rows, err) != DLM_OK)
		return;
	memset(panel, 0, (size_t) job->panel_bytes);
	if (!dl_all_finite(rows, (size_t) (n * s->cols)))
		(void) fail_not_finite(s, err);
	else if (s->dtype == DL_F32)
		lay_out_f32(rows, n, s->cols, (float *) panel);
	else if (s->dtype == DL_I8)
		lay_out_int8(rows, n, s->cols, (int8_t *) panel);
	else if (!lay_out_bf16(rows, n, s->cols, (uint16_t *) panel))
		(void) fail_not_finite(s, err);
}

/* ---------------------------------------------------------------- all panels */

static dlm_status
write_batches(const dl_sink *sink, dl_job *job, uint64_t panels, uint64_t batch, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (uint64_t at = 0; at < panels && st == DLM_OK; at += batch)
	{
		uint64_t	n = panels - at < batch ? panels - at : batch;

		job->first_panel = at;
		dl_parallel(sink->team, (int) n, pack_panel, job);
		for (int t = 0; t < dl_team_size(sink->team); t++)
			if (job->err[t].status != DLM_OK)
			{
				if (err != NULL)
					*err = job->err[t];
				return job->err[t].status;
			}
		st = dl_writer_put(sink->writer, job->out, (size_t) (n * job->panel_bytes), err);
		if (st == DLM_OK)
			st = sink->poll(sink->arg, dl_writer_at(sink->writer), err);
	}
	return st;
}

static dlm_status
prepare_job(dl_job *job, dl_arena *arena, uint64_t batch, int threads, dlm_error *err)
{
	job->out = dl_arena_alloc(arena, (size_t) (batch * job->panel_bytes));
	if (job->out == NULL)
		return dl_fail_memory(err);
	for (int t = 0; t < threads; t++)
	{
		job->rows[t] = dl_arena_alloc(arena, (size_t) (job->source->cols * DL_PANEL * sizeof(float)));
		if (job->rows[t] == NULL)
			return dl_fail_memory(err);
	}
	return DLM_OK;
}

dlm_status
dl_write_panels(const dl_sink *sink, const dl_panel_source *source, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(sink->arena);
	dl_job	   *job = dl_arena_calloc(sink->arena, 1, sizeof(dl_job));
	uint64_t	panels = round_up(source->rows, DL_PANEL) / DL_PANEL,
				threads = (uint64_t) dl_team_size(sink->team),
				batch = BATCH_ELEMENTS * threads / (DL_PANEL * source->cols * (1 + source->rank / 8));
	dlm_status	st;

	if (job == NULL)
		return dl_fail_memory(err);
	job->source = source;
	job->panel_bytes = source->dtype == DL_I8 ? dl_s8_panel_bytes((int) ((source->cols + 3) / 4))
		: source->cols * DL_PANEL * (source->dtype == DL_F32 ? 4 : 2);
	batch = batch < threads ? threads : batch > panels ? panels : batch;
	st = prepare_job(job, sink->arena, batch, (int) threads, err);
	if (st == DLM_OK)
		st = write_batches(sink, job, panels, batch, err);
	dl_arena_rewind(sink->arena, mark);
	return st;
}
