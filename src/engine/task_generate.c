/*
 * task_generate.c - an answer to a prompt.
 *
 * The row is the template with the prompt in it and a canvas; the canvas is a
 * single gap of unknown length, cut at the first stop token. Lengths: what
 * the length head says, if the model has one; else 4, 8, 16, ... up to
 * max_tokens are probed (lengths.c); or max_tokens as it is.
 */
#include "fill.h"
#include "status.h"
#include "template.h"

#define FIRST_PROBE	4

static dlm_status
open_row(dl_fill *f, dlm_error *err)
{
	dl_task    *task = f->task;
	dlm_session *s = task->session;
	const dlm_options *o = task->options;
	int			context = (int) s->model->config.context;
	dl_holes	holes = {.prompt = task->request->input};
	dl_filled	row;
	dlm_text	tmpl = o->has_template ? o->tmpl : s->model->settings.generate;
	dlm_status	st;

	if (holes.prompt.data == NULL)
		holes.prompt.data = "";
	st = dl_template_fit(s->model, tmpl, !o->has_template, &holes, &holes.prompt, context - task->request->max_tokens, o->overflow,
						 s->arena, &s->env, &row, err);
	if (st != DLM_OK)
		return st;
	f->frame.piece[0] = row.head;
	f->frame.piece[1] = row.tail;
	f->strip[0] = row.space;
	return DLM_OK;
}

/* The lengths to choose from, by the mode. */
static dlm_status
set_lengths(dl_fill *f, dlm_error *err)
{
	const dlm_model *model = f->task->session->model;
	dlm_length_mode mode = f->task->options->length;
	int			most = f->task->request->max_tokens;
	int		   *list;
	int			n = 0;

	if (mode == DLM_LENGTH_DEFAULT)
		mode = model->config.length_classes > 0 ? DLM_LENGTH_PREDICTED : DLM_LENGTH_PROBED;
	f->lengths[0] = (dl_lengths) {.first = most, .n = 1};
	if (mode == DLM_LENGTH_FIXED)
		return DLM_OK;
	if (mode == DLM_LENGTH_PREDICTED)
	{
		if (model->config.length_classes == 0)
			return dl_fail(err, DLM_EINVAL, "Use \"probed\" or \"fixed\".", "the model has no length head");
		if (f->frame.piece[0].n == 0)
			return dl_fail(err, DLM_EINVAL, "", "the prompt is empty");
		f->phase = DL_FILL_PREDICT;
		return DLM_OK;
	}
	list = dl_arena_calloc(f->task->session->arena, 32, sizeof(int));
	if (list == NULL)
		return dl_fail_memory(err);
	for (int64_t length = FIRST_PROBE; length < most; length *= 2)
		list[n++] = (int) length;
	list[n++] = most;
	f->lengths[0] = (dl_lengths) {.n = n, .list = list};
	return DLM_OK;
}

static dlm_status
generate_open(dl_task *task, dlm_error *err)
{
	dl_arena   *a = task->session->arena;
	int			context = (int) task->session->model->config.context;
	dl_fill    *f;
	dlm_status	st;

	if (task->request->max_tokens < 1)
		return dl_fail(err, DLM_EINVAL, "", "max_tokens must be at least 1");
	if (task->request->max_tokens > context)
		return dl_fail(err, DLM_ETOOLONG, "", "max_tokens %d is more than the %d tokens that the model takes",
					   task->request->max_tokens, context);
	f = dl_arena_calloc(a, 1, sizeof(*f));
	if (f == NULL)
		return dl_fail_memory(err);
	f->task = task;
	f->answer = true;
	f->frame.answer = true;
	f->frame.n_gaps = 1;
	task->state = f;
	f->frame.piece = dl_arena_calloc(a, 2, sizeof(dl_ids));
	f->frame.first_rule = dl_arena_calloc(a, 1, sizeof(unsigned));
	f->printed = dl_arena_calloc(a, 2, sizeof(dlm_text));
	f->strip = dl_arena_calloc(a, 1, sizeof(bool));
	f->lengths = dl_arena_calloc(a, 1, sizeof(dl_lengths));
	if (!f->frame.piece || !f->frame.first_rule || !f->printed || !f->strip || !f->lengths)
		return dl_fail_memory(err);
	f->printed[0].data = f->printed[1].data = "";
	st = open_row(f, err);
	if (st == DLM_OK)
		st = set_lengths(f, err);
	return st == DLM_OK ? dl_fill_start(f, err) : st;
}

static dlm_status
generate_plan(dl_task *task, dlm_error *err)
{
	return dl_fill_plan(task->state, err);
}

static dlm_status
generate_absorb(dl_task *task, dlm_error *err)
{
	return dl_fill_absorb(task->state, err);
}

static void
generate_close(dl_task *task)
{
	dl_fill_close(task->state);
}

const dl_task_ops dl_task_generate = {
	.name = "generate",
	.open = generate_open,
	.plan = generate_plan,
	.absorb = generate_absorb,
	.close = generate_close,
};
