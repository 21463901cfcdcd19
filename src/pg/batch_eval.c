/*
 * batch_eval.c - the calls of one batch: arguments, requests, answers.
 *
 * Level by level: calls of level 0 have plain expressions as arguments, those
 * above take answers of calls below. Of one call all rows go through the model
 * together, whatever their options; only calls that name different models
 * cannot share a session.
 *
 * Whatever fails for a row, an argument, a bad option, the row's text, makes
 * the row one to be evaluated alone, when it is emitted: then PostgreSQL
 * evaluates the call itself and the error is raised in its place.
 */
#include "dlm_pg.h"

#include <limits.h>

#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "batch_state.h"

#define SHORT_ANSWER	64		/* bytes of a label and what palloc adds */

/* ----------------------------------------------------------------- arguments */

typedef struct RowRange
{
	DlmBatchState *b;
	int			level;
	int			row;			/* the one being worked on */
	bool		full;			/* the batch ends before this row */
	bool		outside;		/* of any subtransaction */
} RowRange;

static NullableDatum *
row_values(const DlmBatchCall *call, int row)
{
	return call->values + (Size) row * call->n_args;
}

/* Evaluate a call's arguments into the per-tuple memory. */
static void
evaluate_args(DlmBatchState *b, DlmBatchCall *call, NullableDatum *out, Size *size)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;

	for (int i = 0; i < call->n_args; i++)
	{
		DlmBatchArg *arg = &call->args[i];

		out[i].value = ExecEvalExpr(arg->state, econtext, &out[i].isnull);
		arg->loose = !arg->fixed && !arg->typbyval && !arg->in_row;
		if (out[i].isnull || arg->typlen != -1)
			continue;
		/* values that an expanded object or a toast pointer stands for are wanted as they are read */
		if (VARATT_IS_EXTERNAL(DatumGetPointer(out[i].value)) || VARATT_IS_COMPRESSED(DatumGetPointer(out[i].value)))
		{
			out[i].value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(out[i].value));
			arg->loose = true;
		}
		if (arg->loose)
			*size += VARSIZE_ANY(DatumGetPointer(out[i].value));
	}
}

/* May these parameters be read? The scans of an init plan that starts in a subtransaction would outlive it. */
static bool
may_read(const RowRange *range, const Bitmapset *params)
{
	int			id = -1;

	while (!range->outside && (id = bms_next_member(params, id)) >= 0)
	{
		if (range->b->css.ss.ps.state->es_param_exec_vals[id].execPlan)
			return false;
	}
	return true;
}

/* Copy what lies in per-tuple memory into the batch's. */
static void
keep_args(DlmBatchState *b, DlmBatchCall *call, int row, const NullableDatum *from)
{
	NullableDatum *to = row_values(call, row);
	MemoryContext before = MemoryContextSwitchTo(b->batch);

	for (int i = 0; i < call->n_args; i++)
	{
		DlmBatchArg *arg = &call->args[i];

		to[i] = from[i];
		if (!from[i].isnull && arg->loose)
			to[i].value = datumCopy(from[i].value, arg->typbyval, arg->typlen);
	}
	MemoryContextSwitchTo(before);
}

/* An answer to come, so that the row is asked for; what the arguments say is looked up later. */
static DlmAnswer asked = {DLM_ANSWER_PENDING, {0, true}, NULL};

/* The calls of one level for one row; false: the batch ends before it, for want of memory or for an init plan. */
static bool
evaluate_row(RowRange *range)
{
	DlmBatchState *b = range->b;
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;
	MemoryContext before;
	bool		room = true;

	dlm_batch_load(b, range->row);
	before = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	for (int c = 0; c < b->n_calls && room; c++)
	{
		DlmBatchCall *call = &b->calls[c];
		NullableDatum *args;
		Size		size = 0;

		if (call->level != range->level)
			continue;
		call->answers[range->row] = NULL;
		if (!(room = may_read(range, call->guard_params)))
			break;
		if (call->guard && !ExecQual(call->guard, econtext))
			continue;
		if (!(room = may_read(range, call->arg_params)))
			break;
		args = palloc(call->n_args * sizeof(NullableDatum));
		evaluate_args(b, call, args, &size);
		if (dlm_required_missing(call->function, args))
			continue;
		room = range->level > 0 || range->row == 0 || size == 0 ||
			MemoryContextMemAllocated(b->batch, false) + size <= dlm_batch_room();
		if (room)
		{
			keep_args(b, call, range->row, args);
			call->answers[range->row] = &asked;
		}
	}
	MemoryContextSwitchTo(before);
	ResetExprContext(econtext);
	return room;
}

static void
evaluate_rows(void *arg)
{
	RowRange   *range = arg;

	for (; range->row < range->b->ready; range->row++)
	{
		CHECK_FOR_INTERRUPTS();
		if (range->b->alone[range->row])
			continue;
		if (!evaluate_row(range))
		{
			range->full = true;
			return;
		}
	}
}

/* Arguments of all calls of a level. Rows whose arguments fail are left alone. */
static void
evaluate_level(DlmBatchState *b, int level)
{
	RowRange	range = {b, level, 0, false, !b->guarded};

	while (range.row < b->ready && !range.full)
	{
		if (!b->guarded)
			evaluate_rows(&range);
		else if (!dlm_attempt(evaluate_rows, &range))
			b->alone[range.row++] = true;
		if (range.full && range.row == 0)
		{
			/* this row is wanted now: it may start init plans, and fail */
			range.outside = true;
			(void) evaluate_row(&range);
			range.outside = range.full = false;
			range.row = 1;
		}
	}
	if (range.full)
		b->ready = range.row;
}

/* ------------------------------------------------------------------ requests */

/* Rows of one call whose answer is wanted of the model, each key once. */
typedef struct Wanted
{
	DlmBatchState *b;
	DlmBatchCall *call;
	int		   *rows;			/* [n] */
	int			n;
	int			next;			/* the first that no session has taken */
	/* the session being made */
	DlmCall    *session;
	Datum	   *inputs;			/* [n] texts of the rows being added */
	int		   *members;		/* [session->rows] index into rows */
	int			at;				/* the one being added */
	int			failed;			/* added without success: [at, failed) */
} Wanted;

static void
append_value(StringInfo key, const DlmBatchArg *arg, NullableDatum value)
{
	appendStringInfoChar(key, value.isnull ? 0 : 1);
	if (value.isnull)
		return;
	if (arg->typlen == -1)
	{
		struct varlena *v = (struct varlena *) DatumGetPointer(value.value);
		uint32		length = VARSIZE_ANY_EXHDR(v);

		appendBinaryStringInfo(key, (const char *) &length, sizeof(length));
		appendBinaryStringInfo(key, VARDATA_ANY(v), (int) length);
	}
	else
		appendBinaryStringInfo(key, (const char *) &value.value, sizeof(Datum));
}

/* The number of what is fixed in a call: the function, and arguments that are the same in every row. */
static uint32
pattern_of(const DlmBatchState *b, const DlmBatchCall *call, const NullableDatum *args)
{
	StringInfoData bytes;
	uint32		pattern;

	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) &call->funcid, sizeof(Oid));
	for (int i = 0; i < call->n_args; i++)
	{
		appendStringInfoChar(&bytes, call->args[i].fixed ? 'f' : 'r');
		if (call->args[i].fixed)
			append_value(&bytes, &call->args[i], args[i]);
	}
	pattern = dlm_memo_pattern(b->memo, bytes.data, bytes.len);
	pfree(bytes.data);
	return pattern;
}

/* A key of the memo: how many bytes follow, the pattern, the arguments that may change. */
static void
make_key(StringInfo key, const DlmBatchCall *call, const NullableDatum *args)
{
	uint32		size = 0;

	resetStringInfo(key);
	appendBinaryStringInfo(key, (const char *) &size, sizeof(size));
	appendBinaryStringInfo(key, (const char *) &call->pattern, sizeof(call->pattern));
	for (int i = 0; i < call->n_args; i++)
	{
		if (!call->args[i].fixed)
			append_value(key, &call->args[i], args[i]);
	}
	size = (uint32) (key->len - sizeof(uint32));
	memcpy(key->data, &size, sizeof(size));
}

static Datum
input_of(const DlmBatchCall *call, int row)
{
	return row_values(call, row)[dlm_input_place(call->function)].value;
}

/* Texts too long for the memo need no key; the engine itself finds those that are equal in a batch. */
static bool
has_long_text(const DlmBatchCall *call, int row)
{
	return VARSIZE_ANY(DatumGetPointer(input_of(call, row))) > DLM_LONGEST_KEY;
}

/* Look every row's answer up, and list those that are not known. */
static void
look_up(Wanted *w)
{
	DlmBatchState *b = w->b;
	DlmBatchCall *call = w->call;
	StringInfoData key;

	initStringInfo(&key);
	w->rows = palloc(b->ready * sizeof(int));
	for (int row = 0; row < b->ready; row++)
	{
		NullableDatum *args = row_values(call, row);
		bool		fresh;

		if (b->alone[row] || call->answers[row] == NULL)
			continue;
		if (has_long_text(call, row))
			call->answers[row] = dlm_memo_get(b->answers, NULL, SIZE_MAX, b->batch, &fresh);
		else
		{
			if (call->pattern == 0)
				call->pattern = pattern_of(b, call, args);
			make_key(&key, call, args);
			call->answers[row] = dlm_memo_get(b->answers, key.data, key.len, b->batch, &fresh);
		}
		if (fresh)
			w->rows[w->n++] = row;
	}
	pfree(key.data);
}

static bool
same_value(const DlmBatchArg *arg, NullableDatum a, NullableDatum b)
{
	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	return a.value == b.value || datumIsEqual(a.value, b.value, arg->typbyval, arg->typlen);
}

/* Do two rows call with the same arguments but for the input? */
static bool
same_options(const DlmBatchCall *call, int row, int other)
{
	for (int i = 0; i < call->n_args && !call->fixed; i++)
	{
		if (i != dlm_input_place(call->function) &&
			!same_value(&call->args[i], row_values(call, row)[i], row_values(call, other)[i]))
			return false;
	}
	return true;
}

static void
unpack_row(const DlmBatchCall *call, int row, DlmArgs *args)
{
	call->function->unpack(row_values(call, row), args);
}

/* Do two rows name the same model? */
static bool
same_model(const DlmBatchCall *call, int row, int other)
{
	int			place = dlm_model_place(call->function, call->n_args);

	return call->args[place].fixed || same_value(&call->args[place], row_values(call, row)[place], row_values(call, other)[place]);
}

/* Add the rows from w->at on to the session, those with the same options together. */
static void
add_rows(void *arg)
{
	Wanted	   *w = arg;
	DlmBatchCall *call = w->call;

	while (w->at < w->n)
	{
		DlmArgs		args;
		int			first = w->rows[w->at];
		int			n = 0;

		unpack_row(call, first, &args);
		for (w->failed = w->at; w->failed < w->n && same_options(call, first, w->rows[w->failed]); w->failed++)
			w->inputs[n++] = input_of(call, w->rows[w->failed]);
		if (w->session == NULL)
			w->session = dlm_call_open(call->function->task, &args);
		else if (!same_model(call, first, w->rows[w->next]))
			return;
		MemoryContextSwitchTo(w->session->context);
		dlm_call_add(w->session, &args, w->inputs, NULL, n);
		for (int i = 0; i < n; i++)
			w->members[w->session->rows - n + i] = w->at + i;
		w->at = w->failed;
	}
}

static DlmAnswer *
answer_of(const Wanted *w, int session_row)
{
	return w->call->answers[w->rows[w->members[session_row]]];
}

static void
take_answer(DlmCall *session, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Wanted	   *w = arg;
	DlmAnswer  *answer = answer_of(w, row);
	MemoryContext before;

	dlm_memo_place(w->b->answers, answer, w->b->batch);
	before = MemoryContextSwitchTo(answer->context);
	answer->value.value = w->call->function->make(request, result, w->call->desc);
	answer->value.isnull = false;
	MemoryContextSwitchTo(before);
	if (request->tag && ((DlmRequestTag *) request->tag)->failed)
		answer->state = DLM_ANSWER_FAILED;
}

static void
fail_answer(DlmCall *session, int row, const dlm_error *error, void *arg)
{
	answer_of(arg, row)->state = DLM_ANSWER_FAILED;
}

static void
count_session(DlmBatchState *b, const DlmCall *session)
{
	DlmBatchCounters *c = &b->counters;
	Size		memory = session->memory + MemoryContextMemAllocated(b->batch, true) +
		MemoryContextMemAllocated(b->read, true) + dlm_memo_size(b->memo);

	c->requests += session->n - session->done.cache_hits;
	c->cache_hits += session->done.cache_hits;
	c->tokens += session->done.tokens;
	c->steps += session->done.steps;
	c->ms += session->done.ms;
	c->threads = Max(c->threads, session->threads);
	c->memory = Max(c->memory, (int64) memory);
}

/* Run the session that was made; what it did not fail is answered, with NULL where nothing was said. */
static void
run_session(Wanted *w)
{
	DlmCall    *session = w->session;

	if (session == NULL)
		return;
	MemoryContextSwitchTo(session->context);
	session->most = w->call->most;
	dlm_run(session, take_answer, fail_answer, w);
	w->call->most = session->most;
	for (int i = 0; i < session->rows; i++)
	{
		DlmAnswer  *answer = answer_of(w, i);

		if (answer->state == DLM_ANSWER_PENDING)
			answer->state = DLM_ANSWER_DONE;
	}
	count_session(w->b, session);
	dlm_call_end(session);
	w->session = NULL;
}

/* All rows of a call: sessions of as many rows as name one model. */
static void
answer_call(DlmBatchState *b, DlmBatchCall *call)
{
	Wanted		w = {b, call};
	MemoryContext before = MemoryContextSwitchTo(b->batch);

	look_up(&w);
	w.members = palloc(w.n * sizeof(int) + 1);
	w.inputs = palloc(w.n * sizeof(Datum) + 1);
	while (w.at < w.n)
	{
		w.next = w.at;
		while (w.at < w.n)
		{
			if (dlm_attempt(add_rows, &w))
				break;
			for (; w.at < w.failed; w.at++)
				call->answers[w.rows[w.at]]->state = DLM_ANSWER_FAILED;
			if (w.session == NULL)
				w.next = w.at;
		}
		run_session(&w);
		MemoryContextSwitchTo(b->batch);
	}
	for (int row = 0; row < b->ready; row++)
	{
		if (call->answers[row] && call->answers[row]->state != DLM_ANSWER_DONE)
			b->alone[row] = true;
	}
	MemoryContextSwitchTo(before);
}

/* As many rows as leave half of the room to the bytes of arguments and of long answers. */
static int
most_rows(const DlmBatchState *b)
{
	Size		row = sizeof(bool);

	for (int c = 0; c < b->n_calls; c++)
		row += b->calls[c].n_args * sizeof(NullableDatum) + sizeof(DlmAnswer *) + sizeof(DlmAnswer) + SHORT_ANSWER +
			2 * sizeof(int) + sizeof(Datum);
	return Max(1, (int) Min(dlm_batch_room() / 2 / row, INT_MAX));
}

void
dlm_batch_evaluate(DlmBatchState *b)
{
	MemoryContext before = MemoryContextSwitchTo(b->batch);

	b->answers = dlm_memo_pin(b->memo);
	b->ready = Min(b->n_rows, most_rows(b));
	b->alone = palloc0(b->ready * sizeof(bool));
	for (int c = 0; c < b->n_calls; c++)
	{
		DlmBatchCall *call = &b->calls[c];

		call->answers = palloc0(b->ready * sizeof(DlmAnswer *));
		call->values = MemoryContextAllocHuge(b->batch, (Size) b->ready * call->n_args * sizeof(NullableDatum));
	}
	MemoryContextSwitchTo(before);
	for (int c = 0; c < b->n_calls; c++)
	{
		if (c == 0 || b->calls[c].level != b->calls[c - 1].level)
			evaluate_level(b, b->calls[c].level);
		answer_call(b, &b->calls[c]);
	}
}

void
dlm_batch_evaluate_alone(DlmBatchState *b)
{
	ExprContext *econtext = b->css.ss.ps.ps_ExprContext;
	TupleTableSlot *slot = b->css.ss.ss_ScanTupleSlot;

	for (int c = 0; c < b->n_calls; c++)
	{
		DlmBatchCall *call = &b->calls[c];
		int			column = b->n_columns + c;

		slot->tts_isnull[column] = true;
		if (call->guard && !ExecQual(call->guard, econtext))
			continue;
		slot->tts_values[column] = ExecEvalExprSwitchContext(call->alone, econtext, &slot->tts_isnull[column]);
	}
	b->counters.alone++;
}
