/*
 * scheduler.c - tasks in rounds: plan, run, absorb.
 *
 * A round asks every running task for rows, opens further tasks while the
 * round is small, packs the rows into forwards of bounded size, and lets the
 * tasks absorb. Which rows share a forward is a matter of speed only.
 *
 * Memory: where an allocation fails while several tasks run, the latest of
 * them are parked: closed, and begun again when the others are done. What a
 * task computes does not depend on that, so a limit can turn an answer into
 * an error but never into another answer. A task that lacks memory while it
 * runs alone ends the session.
 */
#include "scheduler.h"
#include "request.h"
#include "status.h"

#include <string.h>

/* ------------------------------------------------------- equal requests */

typedef struct digest
{
	uint8_t		byte[32];
} digest;

/* Open addressing over the digests: alias[i] = first request with i's digest. */
static dlm_status
find_equal(dlm_session *s, dl_scheduler *sch, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(s->arena);
	size_t		size = 1;
	digest	   *digests;
	int		   *table;

	while (size < (size_t) s->n * 2)
		size *= 2;
	digests = dl_arena_calloc(s->arena, (size_t) s->n, sizeof(digest));
	table = dl_arena_calloc(s->arena, size, sizeof(int));
	if (digests == NULL || table == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < s->n; i++)
	{
		uint64_t	at;

		dl_request_digest(s->model, s->tasks[i].request, digests[i].byte);
		memcpy(&at, digests[i].byte, sizeof(at));
		at &= size - 1;
		while (table[at] && memcmp(&digests[table[at] - 1], &digests[i], sizeof(digest)) != 0)
			at = (at + 1) & (size - 1);
		if (table[at] == 0)
			table[at] = i + 1;
		sch->alias[i] = table[at] - 1;
		sch->copies[sch->alias[i]]++;
		if (sch->alias[i] == i)
			sch->queue[sch->n_queue++] = i;
	}
	dl_arena_rewind(s->arena, mark);
	return DLM_OK;
}

dlm_status
dl_scheduler_init(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = dl_arena_calloc(s->arena, 1, sizeof(*sch));
	int		  **lists[] = {NULL, NULL, NULL, NULL};

	if (sch == NULL)
		return dl_fail_memory(err);
	lists[0] = &sch->alias;
	lists[1] = &sch->copies;
	lists[2] = &sch->queue;
	lists[3] = &sch->running;
	for (int i = 0; i < 4; i++)
	{
		*lists[i] = dl_arena_calloc(s->arena, (size_t) s->n, sizeof(int));
		if (*lists[i] == NULL)
			return dl_fail_memory(err);
	}
	sch->max_running = s->n;
	sch->batch_limit = INT32_MAX;
	sch->phase = DL_PHASE_PLAN;
	s->scheduler = sch;
	return find_equal(s, sch, err);
}

/* ------------------------------------------------- ends of a task's life */

static void
close_task(dl_task *task)
{
	if (task->state != NULL && task->ops->close)
		task->ops->close(task);
	task->state = NULL;
	task->opened = false;
}

/* Take running[at] out, keeping the others' order; the cursor stays on the same task. */
static int
remove_running(dl_scheduler *sch, int at)
{
	int			t = sch->running[at];

	memmove(&sch->running[at], &sch->running[at + 1], (size_t) (sch->n_running - at - 1) * sizeof(int));
	sch->n_running--;
	if (at < sch->cursor)
		sch->cursor--;
	return t;
}

static void
finish(dlm_session *s, int at)
{
	dl_scheduler *sch = s->scheduler;
	int			t = remove_running(sch, at);
	dl_task    *task = &s->tasks[t];

	close_task(task);
	task->done = true;
	s->progress.requests_done += sch->copies[t];
}

/* The row's own failure: its result holds the error and nothing else. */
static void
fail_task(dlm_session *s, int at, const dlm_error *error)
{
	dl_task    *task = &s->tasks[s->scheduler->running[at]];

	memset(task->result, 0, sizeof(*task->result));
	task->result->error = *error;
	finish(s, at);
}

/* Forget rows of a task from row `from` on. */
static void
drop_rows(dlm_session *s, int t, int from)
{
	dl_scheduler *sch = s->scheduler;
	int			kept = from;

	for (int i = from; i < s->n_rows; i++)
	{
		if (sch->owner[i] == t)
		{
			sch->load -= (size_t) s->rows[i].n;
			continue;
		}
		s->rows[kept] = s->rows[i];
		sch->owner[kept++] = sch->owner[i];
	}
	s->n_rows = kept;
}

/* Close a running task and put it back to the head of the queue. */
static void
park(dlm_session *s, int at)
{
	dl_scheduler *sch = s->scheduler;
	int			t = remove_running(sch, at);

	close_task(&s->tasks[t]);
	memset(s->tasks[t].result, 0, sizeof(dlm_result));
	s->tasks[t].step = s->tasks[t].steps = 0;
	drop_rows(s, t, sch->phase == DL_PHASE_PLAN ? 0 : sch->batch_first);
	sch->queue[--sch->head] = t;
	sch->max_running = sch->n_running > 1 ? sch->n_running : 1;
}

/* ----------------------------------------------------------------- plan */

static dlm_status
open_next(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;
	dl_task    *task = &s->tasks[sch->queue[sch->head]];
	dl_mark		mark = dl_arena_mark(s->arena);
	dlm_error	error = {0};
	dlm_status	st = task->ops->open(task, &error);

	if (st == DLM_OK)
	{
		task->opened = true;
		sch->running[sch->n_running++] = sch->queue[sch->head++];
		return DLM_MORE;
	}
	close_task(task);
	dl_arena_rewind(s->arena, mark);
	memset(task->result, 0, sizeof(*task->result));
	if (st == DLM_EINTR || (st == DLM_ENOMEM && sch->n_running == 0))
	{
		if (err)
			*err = error;
		return st;
	}
	if (st == DLM_ENOMEM)
	{
		sch->max_running = sch->n_running;
		return DLM_MORE;
	}
	task->result->error = error;
	task->done = true;
	s->progress.requests_done += sch->copies[sch->queue[sch->head]];
	sch->head++;
	return DLM_MORE;
}

/* What a task's plan or absorb failed with, at running[at]. */
static dlm_status
task_failed(dlm_session *s, int at, const dlm_error *error, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;

	if (error->status == DLM_ENOMEM && sch->n_running > 1)
	{
		park(s, at);
		return DLM_MORE;
	}
	if (error->status == DLM_ENOMEM)
	{
		if (err)
			*err = *error;
		return DLM_ENOMEM;
	}
	drop_rows(s, sch->running[at], sch->phase == DL_PHASE_PLAN ? 0 : sch->batch_first);
	fail_task(s, at, error);
	return DLM_MORE;
}

static dlm_status
plan_one(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;
	int			at = sch->cursor;
	dl_task    *task = &s->tasks[sch->running[at]];
	dlm_error	error = {0};
	dlm_status	st;

	sch->planning = sch->running[at];
	if (!sch->resumed)
		sch->plan_from = s->n_rows;
	st = task->ops->plan(task, &error);
	sch->resumed = st == DLM_EINTR;
	if (sch->resumed)
	{
		if (err)
			*err = error;
		return st;
	}
	if (st != DLM_OK)
	{
		error.status = st;
		return task_failed(s, at, &error, err);
	}
	if (s->n_rows == sch->plan_from)
		finish(s, at);			/* the next task slides to the cursor */
	else
		sch->cursor++;
	return DLM_MORE;
}

static dlm_status
plan_step(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;

	if (sch->cursor < sch->n_running)
		return plan_one(s, err);
	if (sch->n_running == 0)
		sch->max_running = s->n;
	if (sch->head < sch->n_queue && sch->n_running < sch->max_running && sch->load < DL_ROUND_TOKENS)
		return open_next(s, err);
	if (s->n_rows == 0)
		return sch->n_running > 0 || sch->head < sch->n_queue ? DLM_MORE : DLM_OK;
	sch->phase = DL_PHASE_RUN;
	sch->batch_first = 0;
	sch->in_forward = false;
	return DLM_MORE;
}

/* ------------------------------------------------------------------ run */

/* Rows [batch_first, batch_end): as many as stay under the budget of tokens and of workspace, at least one. */
static void
choose_batch(dlm_session *s)
{
	dl_scheduler *sch = s->scheduler;
	size_t		limit = dl_arena_limit(s->arena) / 2;
	size_t		partial = 0;
	int			tokens = 0,
				asks = 0,
				end = sch->batch_first;

	while (end < s->n_rows && end - sch->batch_first < sch->batch_limit)
	{
		tokens += s->rows[end].n;
		asks += s->rows[end].n_ask;
		if (s->rows[end].n_ask > 0 && s->rows[end].reducer->partial > partial)
			partial = s->rows[end].reducer->partial;
		if (end > sch->batch_first &&
			(tokens > DL_ROUND_TOKENS || dl_forward_workspace(s->model, tokens, asks, partial) > limit))
			break;
		end++;
	}
	sch->batch_end = end;
}

/*
 * The first row of a batch may begin like the last row of an earlier session,
 * and the others take from it what they begin with too.
 */
static void
borrow_cache(dlm_session *s, dl_row *first)
{
	int			fixed = 0;

	if (s->env.memo == NULL || first->kv != NULL || first->live == NULL ||
		s->model->config.attention != DL_ATT_CONTEXT)
		return;
	for (int i = 0; i < first->n; i++)
		fixed += !first->live[i];
	if (fixed > 0)
		first->kv = dl_memo_kv(s->env.memo, s->model, fixed);
}

/* The network lacks memory: smaller batches first, then fewer tasks. */
static dlm_status
forward_failed(dlm_session *s, dlm_status st, const dlm_error *error, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;
	int			rows = sch->batch_end - sch->batch_first;

	sch->in_forward = false;
	if (st == DLM_ENOMEM && rows > 1)
	{
		sch->batch_limit = rows / 2;
		return DLM_MORE;
	}
	if (st == DLM_ENOMEM && sch->n_running > 1)
	{
		int			owner = sch->owner[sch->batch_first];
		int			last = sch->n_running - 1;

		park(s, sch->running[last] == owner ? last - 1 : last);
		return DLM_MORE;
	}
	if (err)
		*err = *error;
	return st;
}

static dlm_status
run_step(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;
	dlm_error	error = {0};
	dlm_status	st;

	if (sch->batch_first == s->n_rows)
	{
		sch->phase = DL_PHASE_ABSORB;
		sch->cursor = 0;
		return DLM_MORE;
	}
	if (!sch->in_forward)
	{
		choose_batch(s);
		borrow_cache(s, &s->rows[sch->batch_first]);
		st = dl_forward_begin(s->forward, s->rows + sch->batch_first, sch->batch_end - sch->batch_first, &error);
		if (st != DLM_OK)
			return forward_failed(s, st, &error, err);
		sch->in_forward = true;
		return DLM_MORE;
	}
	st = dl_forward_step(s->forward, &error);
	if (st == DLM_MORE)
		return st;
	if (st != DLM_OK)
		return forward_failed(s, st, &error, err);
	sch->in_forward = false;
	s->progress.forwards++;
	for (int i = sch->batch_first; i < sch->batch_end; i++)
		s->progress.tokens += (uint64_t) s->rows[i].n;
	sch->batch_first = sch->batch_end;
	return DLM_MORE;
}

/* --------------------------------------------------------------- absorb */

static dlm_status
absorb_step(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;

	if (sch->cursor < sch->n_running)
	{
		dl_task    *task = &s->tasks[sch->running[sch->cursor]];
		dlm_error	error = {0};
		dlm_status	st = task->ops->absorb(task, &error);

		if (st != DLM_OK)
		{
			error.status = st;
			return task_failed(s, sch->cursor, &error, err);
		}
		sch->cursor++;
		return DLM_MORE;
	}
	sch->phase = DL_PHASE_PLAN;
	sch->cursor = 0;
	s->n_rows = 0;
	sch->load = 0;
	return DLM_MORE;
}

dlm_status
dl_scheduler_step(dlm_session *s, dlm_error *err)
{
	dl_scheduler *sch = s->scheduler;
	dlm_status	st = DLM_OK;

	if (sch->failed != DLM_OK)
	{
		if (err)
			*err = sch->error;
		return sch->failed;
	}
	switch (sch->phase)
	{
		case DL_PHASE_PLAN:
			st = plan_step(s, &sch->error);
			break;
		case DL_PHASE_RUN:
			st = run_step(s, &sch->error);
			break;
		case DL_PHASE_ABSORB:
			st = absorb_step(s, &sch->error);
			break;
	}
	if (st != DLM_OK && st != DLM_MORE)
	{
		if (err)
			*err = sch->error;
		if (st != DLM_EINTR)
			sch->failed = st;
	}
	return st;
}

void
dl_scheduler_close(dlm_session *s)
{
	dl_scheduler *sch = s->scheduler;

	while (sch->n_running > 0)
		close_task(&s->tasks[remove_running(sch, sch->n_running - 1)]);
}
