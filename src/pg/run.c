/*
 * run.c - run requests: compute slots, threads, interrupts, errors, statistics.
 *
 * The engine works in slices of about 20 ms. Between two slices no engine frame
 * is on the stack, so CHECK_FOR_INTERRUPTS may longjmp. During a slice
 * PostgreSQL's handlers run on this thread as ever and only set flags; the
 * engine's helper threads block all signals. Long slices ask env.stop.
 *
 * Everything acquired (session, slots, activity) is given back by a callback
 * of the call's memory context, registered before it is acquired, so on
 * success, error and cancel alike; errors raised here give it back at once.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "activity.h"
#include "attach.h"
#include "budget.h"
#include "encoding.h"
#include "guc.h"
#include "interrupts.h"
#include "queue.h"
#include "run.h"
#include "sigbus.h"
#include "stats.h"

typedef struct DlmRun
{
	MemoryContextCallback callback;
	dlm_session *session;
	int			threads;		/* granted slots; 0 = none held */
	bool		active;			/* shown in dlm_activity */
	bool		entered;		/* counted among the sessions that compute */
	bool		may_stop;		/* interrupts are not held off: a stopped slice leads to an error */
	instr_time	start;			/* of the present session */
} DlmRun;

/* Who takes the answers; see dlm_run. */
typedef struct DlmConsumer
{
	DlmTake		take;
	DlmFail		fail;
	void	   *arg;
} DlmConsumer;

/* ------------------------------------------------------------------ guarding */

/* Around everything that reads the model's mapping. Nothing between the two may raise an error. */
static void
engine_enter(const DlmModelRef *model)
{
	dlm_sigbus_enter(model);
}

/* False: the model's file was cut short under us, and what was computed is worthless. */
static bool
engine_leave(const DlmModelRef *model)
{
	return !dlm_sigbus_leave(model);
}

/*
 * env.stop: will CHECK_FOR_INTERRUPTS end this statement? InterruptPending
 * alone is no reason to come back: it is set by many harmless things, and a
 * text whose tokenising stopped begins again.
 */
static bool
should_stop(void *arg)
{
	const bool *may_stop = arg;

	return *may_stop && (QueryCancelPending || ProcDiePending);
}

/* Would CHECK_FOR_INTERRUPTS act now? If not, stopping a slice would only repeat it for ever. */
static bool
interrupts_allowed(void)
{
	return InterruptHoldoffCount == 0 && QueryCancelHoldoffCount == 0 && CritSectionCount == 0;
}

/* A thread pool in the postmaster would not survive fork, and its children would hang. */
static void
check_process(void)
{
	if (IsPostmasterEnvironment && !IsUnderPostmaster)
		elog(ERROR, "dlm cannot compute in the postmaster");
}

/* ----------------------------------------------------------- the backend's memo */

static dlm_memo *memo = NULL;
static uint8 memo_digest[32];
static int	memo_kb;

static void
memo_drop(void)
{
	if (memo)
		dlm_memo_free(memo);
	memo = NULL;
}

/* The store of results that calls on one model share. A digest never changes its meaning, so none goes stale. */
static dlm_memo *
memo_for(const DlmModelRef *model)
{
	if (memo && (memo_kb != dlm_guc_memo_mem || memcmp(memo_digest, model->digest, sizeof(memo_digest)) != 0))
		memo_drop();
	if (!memo && dlm_guc_memo_mem > 0)
	{
		memo = dlm_memo_create((size_t) dlm_guc_memo_mem * 1024);
		memo_kb = dlm_guc_memo_mem;
		memcpy(memo_digest, model->digest, sizeof(memo_digest));
	}
	return memo;
}

/* ------------------------------------------------------- one batch, start to end */

/* Stop computing: what others wait for goes back at once, results stay. */
static void
run_release(DlmRun *run)
{
	if (run->threads > 0)
		dlm_budget_release(run->threads);
	run->threads = 0;
	if (run->active)
		dlm_activity_batch_end();
	run->active = false;
}

static void
run_close(DlmRun *run)
{
	run_release(run);
	if (run->session)
		dlm_session_close(run->session);
	run->session = NULL;
}

/* The run is over, one way or the other. */
static void
run_end(void *arg)
{
	DlmRun	   *run = arg;

	run_close(run);
	if (run->entered)
		dlm_budget_leave();
	run->entered = false;
}

static double
run_elapsed_ms(const DlmRun *run)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, run->start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* Time that the present statement has spent in models, in ms. Each process of a parallel plan counts its own. */
static double budget_spent_ms;
static TimestampTz budget_statement;

static void
budget_begin(void)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (statement != budget_statement)
		budget_spent_ms = 0;
	budget_statement = statement;
}

typedef enum Outcome
{
	OUTCOME_DONE,
	OUTCOME_ERROR,
	OUTCOME_CANCEL,
	OUTCOME_SPLIT				/* run again in parts */
} Outcome;

/* Add what the session did to the statistics. A call counts with the first that is counted of it. */
static void
run_count(DlmCall *call, const DlmRun *run, int rows, Outcome outcome)
{
	DlmStatsDelta delta = {0};
	dlm_progress progress = {0};

	if (run->session)
		dlm_session_progress(run->session, &progress);
	delta.calls = call->done.calls == 0 ? call->calls : 0;
	delta.batches = 1;
	delta.rows = outcome == OUTCOME_DONE ? rows : 0;
	delta.tokens = progress.tokens;
	delta.steps = progress.forwards;
	delta.cancelled = outcome == OUTCOME_CANCEL;
	delta.errors = outcome == OUTCOME_ERROR;
	delta.ms = run_elapsed_ms(run);
	budget_spent_ms += delta.ms;
	dlm_stats_count(call->model, call->task, &delta);
	dlm_stats_add(&call->done, &delta);
	call->memory = Max(call->memory, progress.memory_peak);
}

/* Add answers that the cache has given. */
static void
run_count_known(DlmCall *call, int rows)
{
	DlmStatsDelta delta = {0};

	if (rows == 0)
		return;
	delta.calls = call->done.calls == 0 ? call->calls : 0;
	delta.rows = delta.cache_hits = rows;
	dlm_stats_count(call->model, call->task, &delta);
	dlm_stats_add(&call->done, &delta);
}

/* The batch has failed as a whole: count it, give everything back, and let the caller raise. */
static void
run_fail(DlmCall *call, DlmRun *run, Outcome outcome)
{
	run_count(call, run, 0, outcome);
	run_close(run);
}

/* The model's file was changed under the batch. */
pg_noreturn static void
run_lost(DlmCall *call, DlmRun *run)
{
	run_fail(call, run, OUTCOME_ERROR);
	memo_drop();				/* it may hold results of zeros, or of other weights */
	dlm_sigbus_raise(call->model);
}

/* CHECK_FOR_INTERRUPTS that counts a cancel and gives slots back before the error travels. */
static void
run_check_interrupts(DlmCall *call, DlmRun *run)
{
	if (!InterruptPending)
		return;
	/* FATAL runs no PG_CATCH. */
	if ((ProcDiePending || ClientConnectionLost) && interrupts_allowed())
	{
		run_fail(call, run, OUTCOME_CANCEL);
		CHECK_FOR_INTERRUPTS();
	}
	PG_TRY();
	{
		CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		run_fail(call, run, OUTCOME_CANCEL);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
run_check_budget(DlmCall *call, DlmRun *run)
{
	int			budget = dlm_guc_statement_budget_ms;

	if (budget == 0 || budget_spent_ms + run_elapsed_ms(run) <= budget)
		return;
	run_fail(call, run, OUTCOME_CANCEL);
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("canceling statement because it has spent its time in models"),
			 errdetail("dlm.statement_budget_ms is %d.", budget),
			 errhint("Process fewer rows in one statement, or let a superuser raise dlm.statement_budget_ms.")));
}

/* Before a run's first session: this one is among those that compute. */
static void
run_enter(DlmCall *call, DlmRun *run)
{
	if (run->entered)
		return;
	dlm_budget_enter();
	run->entered = true;
	budget_begin();
	dlm_activity_scope_begin(call->context, dlm_activity_in_scope() ? -1 : call->n);
}

/* Open a session over the requests of the queue. False: *err says why. */
static bool
run_open(DlmCall *call, DlmRun *run, const DlmQueue *q, dlm_error *err)
{
	dlm_env		env = {0};
	dlm_status	status;

	run_enter(call, run);
	env.stop = should_stop;
	env.arg = &run->may_stop;
	env.memory_limit = (size_t) dlm_guc_max_session_memory * 1024;
	env.memo = memo_for(call->model);
	run->may_stop = interrupts_allowed();
	INSTR_TIME_SET_CURRENT(run->start);
	env.threads = run->threads = dlm_budget_acquire();
	call->threads = Max(call->threads, run->threads);
	run->active = true;
	dlm_activity_batch_begin(call->model, call->task, run->threads);
	engine_enter(call->model);
	status = dlm_session_open(call->model->model, q->requests, q->n, &env, &run->session, err);
	if (!engine_leave(call->model))
		run_lost(call, run);
	if (status != DLM_OK)
		run->session = NULL;
	return status == DLM_OK;
}

/* Step to the end; `before` requests of the call are done. False: *err says why. */
static bool
run_steps(DlmCall *call, DlmRun *run, int before, dlm_error *err)
{
	dlm_status	status;

	do
	{
		dlm_progress progress;

		engine_enter(call->model);
		status = dlm_session_step(run->session, err);
		if (!engine_leave(call->model))
			run_lost(call, run);
		dlm_check_client();
		run_check_interrupts(call, run);
		run_check_budget(call, run);
		dlm_session_progress(run->session, &progress);
		dlm_activity_batch_progress(&progress, before);
	} while (status == DLM_MORE || status == DLM_EINTR);
	return status == DLM_OK;
}

/* Does a row's own error become a NULL? Never memory, cancel, damage or rights. */
static bool
error_is_null(const DlmOptions *options, dlm_status status)
{
	if (status == DLM_ETOOLONG && options->on_overflow == DLM_ON_OVERFLOW_NULL)
		return true;
	return options->on_error == DLM_ON_ERROR_NULL &&
		(status == DLM_ETOOLONG || status == DLM_EINVAL || status == DLM_EENCODING);
}

/* Hand over the answer of a request; a row's error is raised, or told. */
static void
run_take(DlmCall *call, DlmRun *run, int i, const dlm_result *result, const DlmConsumer *to)
{
	const dlm_request *request = &call->requests[i];
	int			row = call->row_of[i];

	if (result->error.status == DLM_OK)
		to->take(call, row, request, result, to->arg);
	else if (error_is_null(DLM_REQUEST_OPTIONS(request), result->error.status))
	{
		dlm_result	empty = {0};

		if (request->tag)		/* a row stays as it is */
			to->take(call, row, request, &empty, to->arg);
	}
	else if (to->fail)
		to->fail(call, row, &result->error, to->arg);
	else
	{
		dlm_error	err = result->error;

		run_fail(call, run, OUTCOME_ERROR);
		dlm_raise_element(&err, call->array ? row + 1 : 0);
	}
}

/* Hand over the answers of a stretch of the queue, in order; with `failed` those that are not known have none. */
static void
run_hand_over(DlmCall *call, DlmRun *run, const DlmQueue *q, const dlm_error *failed, const DlmConsumer *to)
{
	int			k = 0;

	run_count_known(call, q->n_known);
	for (int i = q->first; i < q->last; i++)
	{
		dlm_result	known;
		const dlm_result *result = &known;
		bool		found = dlm_queue_known(q, i, &known);

		if (!found && failed)
		{
			to->fail(call, call->row_of[i], failed, to->arg);
			continue;
		}
		if (!found)
		{
			result = dlm_session_result(run->session, k);
			if (result->error.status == DLM_OK)
				dlm_queue_keep(q, k, result);
			k++;
		}
		run_take(call, run, i, result, to);
	}
}

/* Compute a stretch of the queue. False: *err says why it failed as a whole. */
static bool
run_compute(DlmCall *call, DlmRun *run, const DlmQueue *q, dlm_error *err)
{
	if (q->n == 0)
		return true;
	if (!run_open(call, run, q, err) || !run_steps(call, run, q->last - q->n, err))
		return false;
	/* Part of it may be computed with other weights: nobody may see it, and no cache may keep it. */
	if (dlm_mapping_rewritten(call->model->mapping))
		run_lost(call, run);
	run_release(run);
	dlm_activity_phase(DLM_PHASE_EMIT);
	return true;
}

void
dlm_run(DlmCall *call, DlmTake take, DlmFail fail, void *arg)
{
	const DlmConsumer to = {take, fail, arg};
	DlmRun	   *run;
	DlmQueue   *q;

	check_process();
	for (int i = 0; i < call->n_given; i++)
	{
		dlm_result	empty = {0};

		take(call, call->given_row[i], &call->given[i], &empty, arg);
	}
	if (call->n == 0)
		return;
	run = palloc0(sizeof(DlmRun));
	run->callback.func = run_end;
	run->callback.arg = run;
	MemoryContextRegisterResetCallback(call->context, &run->callback);
	q = dlm_queue_begin(call);
	while (dlm_queue_next(q))
	{
		dlm_error	err = {0};

		CHECK_FOR_INTERRUPTS();
		if (run_compute(call, run, q, &err))
		{
			run_hand_over(call, run, q, NULL, &to);
			if (q->n > 0)
				run_count(call, run, q->n, OUTCOME_DONE);
			run_close(run);
			continue;
		}
		if (err.status == DLM_ENOMEM && q->n > 1)
		{
			run_fail(call, run, OUTCOME_SPLIT);
			call->most = q->n / 2;	/* fewer rows at a time may find room */
			dlm_queue_again(q);
			continue;
		}
		run_fail(call, run, OUTCOME_ERROR);
		if (!fail)
			dlm_raise(&err);
		run_hand_over(call, run, q, &err, &to);
	}
	if (run->entered)
		dlm_activity_scope_end();
	run_end(run);
}

/* -------------------------------------------------------------------- tokens */

void *
dlm_adopt(void *from, Size size)
{
	void	   *copy = palloc_extended(size + 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);

	if (copy && size > 0)
		memcpy(copy, from, size);
	free(from);
	if (!copy)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return copy;
}

int32_t *
dlm_run_tokenize(const DlmModelRef *model, dlm_text text, size_t *n)
{
	bool		may_stop = interrupts_allowed();
	dlm_env		env = {0};
	dlm_error	err = {0};
	dlm_status	status;
	int32_t    *ids = NULL;

	check_process();
	env.stop = should_stop;
	env.arg = &may_stop;
	env.memory_limit = (size_t) dlm_guc_max_session_memory * 1024;
	do
	{

		CHECK_FOR_INTERRUPTS();
		engine_enter(model);
		status = dlm_tokenize(model->model, text, &env, &ids, n, &err);
		if (!engine_leave(model))
		{
			if (status == DLM_OK)
				free(ids);
			dlm_sigbus_raise(model);
		}
	} while (status == DLM_EINTR);
	if (status != DLM_OK)
		dlm_raise(&err);
	return dlm_adopt(ids, *n * sizeof(int32_t));
}

dlm_text
dlm_run_detokenize(const DlmModelRef *model, const int32_t *ids, size_t n)
{
	dlm_error	err = {0};
	char	   *data = NULL;
	dlm_text	result = {0};
	dlm_status	status;

	check_process();
	engine_enter(model);
	status = dlm_detokenize(model->model, ids, n, &data, &result.len, &err);
	if (!engine_leave(model))
	{
		if (status == DLM_OK)
			free(data);
		dlm_sigbus_raise(model);
	}
	if (status != DLM_OK)
		dlm_raise(&err);
	result.data = dlm_adopt(data, result.len);
	return result;
}

dlm_text
dlm_run_piece(const DlmModelRef *model, int32_t id)
{
	dlm_text	piece;
	char	   *copy;

	dlm_sigbus_enter(model);
	piece = dlm_token_piece(model->model, id);
	if (dlm_sigbus_leave(model))
		dlm_sigbus_raise(model);
	copy = palloc(piece.len + 1);
	dlm_sigbus_enter(model);
	if (piece.len > 0)
		memcpy(copy, piece.data, piece.len);
	if (dlm_sigbus_leave(model))
		dlm_sigbus_raise(model);
	piece.data = copy;
	return piece;
}

dlm_text
dlm_run_bytes(const DlmModelRef *model, int32_t id)
{
	char		first[64];
	dlm_text	bytes;

	dlm_sigbus_enter(model);
	bytes.len = dlm_token_bytes(model->model, id, first, sizeof(first));
	if (dlm_sigbus_leave(model))
		dlm_sigbus_raise(model);
	bytes.data = memcpy(palloc(bytes.len + 1), first, Min(bytes.len, sizeof(first)));
	dlm_sigbus_enter(model);
	if (bytes.len > sizeof(first))
		dlm_token_bytes(model->model, id, (char *) bytes.data, bytes.len);
	if (dlm_sigbus_leave(model))
		dlm_sigbus_raise(model);
	return bytes;
}
