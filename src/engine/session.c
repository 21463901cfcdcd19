/*
 * session.c - a batch of requests worked on in slices.
 *
 * A slice repeats small pieces of work (scheduler.c) until a monotonic clock
 * says that its time is over. The clock decides only when to hand back
 * control, never what is computed: pieces come in an order that depends on
 * the requests alone, and every row's result on that row alone.
 */
#include "request.h"
#include "scheduler.h"
#include "status.h"
#include "threads.h"

#include <stdlib.h>
#include <time.h>

/* Stop a little before the promised 20 ms: a piece takes a few of them. */
#define SLICE_NS	INT64_C(14000000)

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static dlm_status
check_requests(const dlm_request *requests, int n, dlm_error *err)
{
	const dlm_options *checked = NULL;

	for (int i = 0; i < n; i++)
	{
		dlm_status	st;

		/* requests of a batch share their options: look once */
		if (requests[i].options == NULL || requests[i].options == checked)
			continue;
		st = dl_options_check(requests[i].options, err);
		if (st != DLM_OK)
			return st;
		checked = requests[i].options;
	}
	return DLM_OK;
}

static const dl_task_ops *
ops_of(dlm_task task)
{
	switch (task)
	{
		case DLM_GENERATE:
			return &dl_task_generate;
		case DLM_INFILL:
			return &dl_task_infill;
		case DLM_CLASSIFY:
		case DLM_CLASSIFY_MULTI:
			return &dl_task_classify;
		case DLM_SCORE:
		case DLM_TOKEN_SCORES:
			return &dl_task_score;
		case DLM_EMBED:
			return &dl_task_embed;
		case DLM_PREDICT_LENGTH:
			return &dl_task_length;
	}
	return NULL;
}

static dlm_status
create_tasks(dlm_session *s, const dlm_request *requests, int n, dlm_error *err)
{
	s->tasks = dl_arena_calloc(s->arena, (size_t) n, sizeof(dl_task));
	s->results = dl_arena_calloc(s->arena, (size_t) n, sizeof(dlm_result));
	if (s->tasks == NULL || s->results == NULL)
		return dl_fail_memory(err);
	s->n = n;
	for (int i = 0; i < n; i++)
	{
		dl_task    *task = &s->tasks[i];

		task->ops = ops_of(requests[i].task);
		if (task->ops == NULL)
			return dl_fail(err, DLM_EINVAL, "", "unknown task %d", (int) requests[i].task);
		task->session = s;
		task->request = &requests[i];
		task->options = requests[i].options ? requests[i].options : &dl_default_options;
		task->result = &s->results[i];
	}
	return DLM_OK;
}

static dlm_status
session_fill(dlm_session *s, const dlm_request *requests, int n, dlm_error *err)
{
	dlm_status	st;

	s->arena = dl_arena_create(s->env.memory_limit);
	if (s->arena == NULL)
		return dl_fail_memory(err);
	s->kernels = dl_kernels_get(s->env.cpu_mask);
	s->forward = dl_forward_create(s->model, s->arena, s->env.threads, s->env.cpu_mask);
	if (s->forward == NULL)
		return dl_fail_memory(err);
	st = create_tasks(s, requests, n, err);
	if (st == DLM_OK)
		st = dl_scheduler_init(s, err);
	return st;
}

dlm_status
dlm_session_open(const dlm_model *model, const dlm_request *requests, int n,
				 const dlm_env *env, dlm_session **out, dlm_error *err)
{
	dlm_session *s;
	dlm_status	st;

	*out = NULL;
	if (n < 0)
		return dl_fail(err, DLM_EINVAL, "", "a session needs at least 0 requests, not %d", n);
	st = check_requests(requests, n, err);
	if (st != DLM_OK)
		return st;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return dl_fail_memory(err);
	s->model = model;
	if (env)
		s->env = *env;
	if (s->env.threads < 1)
		s->env.threads = 1;
	if (s->env.threads > DL_MAX_THREADS)
		s->env.threads = DL_MAX_THREADS;
	st = session_fill(s, requests, n, err);
	if (st != DLM_OK)
	{
		dlm_session_close(s);
		return st;
	}
	s->progress.requests = n;
	*out = s;
	return DLM_OK;
}

dlm_status
dlm_session_step(dlm_session *s, dlm_error *err)
{
	int64_t		deadline = now_ns() + SLICE_NS;
	uint64_t	fp = dl_fp_enter();
	dlm_status	st;

	do
	{
		if (s->env.stop && s->env.stop(s->env.arg))
		{
			st = dl_fail(err, DLM_EINTR, "", "canceled by the caller");
			break;
		}
		st = dl_scheduler_step(s, err);
	} while (st == DLM_MORE && now_ns() < deadline);
	dl_fp_leave(fp);
	return st;
}

dlm_status
dl_session_add_row(dlm_session *s, const dl_row *row, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;

	if (s->n_rows == s->rows_capacity)
	{
		int			capacity = s->rows_capacity ? s->rows_capacity * 2 : 64;
		dl_row	   *rows;
		int		   *owner;

		if (s->rows_capacity > (1 << 24))
			return dl_fail_memory(err);
		rows = dl_arena_block(s->arena, (size_t) capacity * sizeof(dl_row));
		owner = dl_arena_block(s->arena, (size_t) capacity * sizeof(int));
		if (rows == NULL || owner == NULL)
		{
			dl_arena_block_free(s->arena, rows);
			dl_arena_block_free(s->arena, owner);
			return dl_fail_memory(err);
		}
		for (int i = 0; i < s->n_rows; i++)
		{
			rows[i] = s->rows[i];
			owner[i] = sch->owner[i];
		}
		dl_arena_block_free(s->arena, s->rows);
		dl_arena_block_free(s->arena, sch->owner);
		s->rows = rows;
		sch->owner = owner;
		s->rows_capacity = capacity;
	}
	s->rows[s->n_rows] = *row;
	sch->owner[s->n_rows++] = sch->planning;
	sch->load += (size_t) row->n;
	return DLM_OK;
}

const dlm_result *
dlm_session_result(const dlm_session *s, int i)
{
	if (i < 0 || i >= s->n)
		return NULL;
	return &s->results[s->scheduler->alias[i]];
}

void
dlm_session_progress(const dlm_session *s, dlm_progress *out)
{
	const dl_scheduler *sch = s->scheduler;

	*out = s->progress;
	out->step = out->steps = 0;
	for (int i = 0; i < sch->n_running; i++)
	{
		const dl_task *task = &s->tasks[sch->running[i]];

		if (task->step > out->step)
		{
			out->step = task->step;
			out->steps = task->steps;
		}
	}
	out->memory = dl_arena_used(s->arena);
	out->memory_peak = dl_arena_peak(s->arena);
}

void
dlm_session_close(dlm_session *s)
{
	if (s == NULL)
		return;
	if (s->scheduler)
		dl_scheduler_close(s);
	dl_forward_free(s->forward);
	dl_arena_destroy(s->arena);
	free(s);
}
