/*
 * trace.c - the rows of dlm_trace: a row's changes replayed, each step with the text as it then stood.
 */
#include "fill.h"
#include "status.h"

#include <string.h>

typedef struct replay
{
	const dl_fill *fill;
	const dl_canvas *canvas;
	int32_t    *ids;			/* [canvas->n] the row as it then was */
	bool	   *masked;			/* [canvas->n_slots] */
	dlm_span   *span;			/* [canvas->n_slots] where each slot's token was written */
	char	   *out;			/* where to write, or NULL to measure */
	size_t		n;
} replay;

static void
put(replay *r, const char *s, size_t n)
{
	if (r->out != NULL && n > 0)
		memcpy(r->out + r->n, s, n);
	r->n += n;
}

static void
put_slot(replay *r, int slot)
{
	const dl_tok *tok = r->fill->task->session->model->tok;
	int			at = r->canvas->slot[slot].position;
	int32_t		left = r->fill->answer && slot == 0 ? -1 : at > 0 ? r->ids[at - 1] : -1;
	size_t		n;

	if (r->masked[slot])
	{
		dlm_text	mask = dl_tok_piece(tok, r->ids[at]);

		put(r, mask.data, mask.len);
		return;
	}
	n = dl_tok_bytes(tok, r->ids[at], left, NULL, 0);
	if (r->out != NULL)
		dl_tok_bytes(tok, r->ids[at], left, r->out + r->n, n);
	r->n += n;
}

static void
put_gap(replay *r, int gap)
{
	const dl_tok *tok = r->fill->task->session->model->tok;
	int			first = r->canvas->gap_first[gap];
	char		byte[1];

	for (int i = first; i < r->canvas->gap_first[gap + 1]; i++)
	{
		size_t		before = r->n;

		put_slot(r, i);
		/* the typed space before the gap is the token's: print it once */
		if (i == first && r->fill->strip[gap] && !r->masked[i] &&
			dl_tok_bytes(tok, r->ids[r->canvas->slot[i].position],
						 r->canvas->slot[i].position > 0 ? r->ids[r->canvas->slot[i].position - 1] : -1, byte, 1) > 0 &&
			byte[0] == ' ')
		{
			if (r->out != NULL)
				memmove(r->out + before, r->out + before + 1, r->n - before - 1);
			r->n--;
		}
		r->span[i] = (dlm_span) {before, r->n - before};
	}
}

static void
put_all(replay *r)
{
	r->n = 0;
	for (int g = 0; g < r->canvas->n_gaps; g++)
	{
		put(r, r->fill->printed[g].data, r->fill->printed[g].len);
		put_gap(r, g);
	}
	put(r, r->fill->printed[r->canvas->n_gaps].data, r->fill->printed[r->canvas->n_gaps].len);
}

/* The text as it stands, valid UTF-8 (what is broken in between becomes '?'). */
static dlm_status
canvas_text(replay *r, dl_arena *a, dlm_text *text, dlm_error *err)
{
	char	   *s;
	size_t		at = 0;

	r->span = dl_arena_calloc(a, (size_t) r->canvas->n_slots, sizeof(dlm_span));
	if (r->span == NULL)
		return dl_fail_memory(err);
	r->out = NULL;
	put_all(r);
	s = r->out = dl_arena_alloc(a, r->n + 1);
	if (s == NULL)
		return dl_fail_memory(err);
	put_all(r);
	while ((at += dl_utf8_valid(s + at, r->n - at)) < r->n)
		s[at++] = '?';
	s[r->n] = '\0';
	*text = (dlm_text) {s, r->n};
	return DLM_OK;
}

static dlm_status
start(replay *r, dl_arena *a, dlm_error *err)
{
	const dlm_model *model = r->fill->task->session->model;

	r->ids = dl_arena_copy(a, r->canvas->ids, (size_t) r->canvas->n * sizeof(int32_t));
	r->masked = dl_arena_calloc(a, (size_t) r->canvas->n_slots, sizeof(bool));
	if (r->ids == NULL || r->masked == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < r->canvas->n_slots; i++)
	{
		r->masked[i] = true;
		r->ids[r->canvas->slot[i].position] = (int32_t) model->config.mask_id;
	}
	return DLM_OK;
}

dlm_status
dl_trace_build(dl_fill *f, const dl_combo *c, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	const dl_denoise *d = &c->row;
	replay		r = {.fill = f, .canvas = &d->canvas};
	dlm_trace_row *rows = dl_arena_calloc(a, (size_t) d->n_changes, sizeof(*rows));
	dlm_status	st = rows ? start(&r, a, err) : dl_fail_memory(err);

	if (st == DLM_OK && d->error.status != DLM_OK)
		st = dl_fail_memory(err);
	for (int i = 0, end; i < d->n_changes && st == DLM_OK; i = end)
	{
		dlm_text	text;

		for (end = i; end < d->n_changes && d->change[end].step == d->change[i].step; end++)
		{
			const dl_change *change = &d->change[end];

			r.masked[change->slot] = change->event == DLM_EVENT_REMASK;
			r.ids[d->canvas.slot[change->slot].position] = change->id;
			rows[end] = (dlm_trace_row) {change->step, change->slot + 1, change->id, change->logprob, change->event,
				{NULL, 0}, NULL};
		}
		st = canvas_text(&r, a, &text, err);
		for (int k = i; k < end && st == DLM_OK; k++)
		{
			rows[k].canvas = text;
			rows[k].spans = r.span;
		}
	}
	if (st != DLM_OK)
		return st;
	f->task->result->trace = rows;
	f->task->result->n_trace = d->n_changes;
	f->task->result->n_positions = d->canvas.n_slots;
	return DLM_OK;
}
