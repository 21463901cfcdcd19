/*
 * dataset_rows.c - one row's texts to tokens, as the engine's tasks do it:
 * task_classify.c, task_generate.c and task_infill.c.
 */
#include "dataset.h"

#include <string.h>

#include "status.h"

static bool
is_given(dlm_text text)
{
	return text.data != NULL;
}

/* ------------------------------------------------------------- instructions */

/* The request whose answer the target is. */
typedef struct question
{
	dlm_text	tmpl;
	dl_holes	holes;
	dlm_text   *shorten;		/* the hole that gives way */
	bool		labelled;
	const dlm_text *answers;	/* [n_answers] labels, or the target alone */
	int			n_answers;
} question;

static dlm_status
find_answer(const dl_row_text *row, int *answer, dlm_error *err)
{
	dlm_text	clipped = dl_clip(row->target);

	for (*answer = 0; *answer < row->n_labels; ++*answer)
	{
		dlm_text	label = row->labels[*answer];

		if (label.len == row->target.len && memcmp(label.data, row->target.data, label.len) == 0)
			return DLM_OK;
	}
	return dl_fail(err, DLM_EINVAL, "The target must be one of the row's labels, letter for letter.",
				   "target \"%.*s\" is none of its labels", (int) clipped.len, clipped.data);
}

/* With labels, or an instruction beside an input (neither empty), it is a classification; else a prompt. */
static dlm_status
ask_question(dl_dataset *ds, const dl_row_text *row, question *q, dlm_error *err)
{
	const dl_settings *set = &ds->model->settings;
	dlm_request request = {.task = DLM_CLASSIFY, .input = row->input, .instruction = row->instruction,
		.has_instruction = is_given(row->instruction), .labels = row->labels, .n_labels = row->n_labels};
	dlm_status	st = DLM_OK;

	memset(q, 0, sizeof(*q));
	q->labelled = row->n_labels > 0;
	q->answers = row->n_labels > 0 ? row->labels : &row->target;
	q->n_answers = row->n_labels > 0 ? row->n_labels : 1;
	if (row->n_labels == 0 && (row->instruction.len == 0 || row->input.len == 0))
	{
		q->tmpl = set->generate;
		q->holes.prompt = row->instruction.len == 0 && is_given(row->input) ? row->input : row->instruction;
		q->shorten = &q->holes.prompt;
		return DLM_OK;
	}
	q->tmpl = set->classify;
	q->shorten = &q->holes.input;
	if (row->n_labels > 0)
		st = dl_labels_check(&request, ds->arena, err);
	return st == DLM_OK ? dl_labels_holes(ds->model, &request, q->tmpl, ds->arena, &q->holes, err) : st;
}

/* The canvas has to hold the longest answer, and a stop token behind it. */
static dlm_status
check_canvas(const dl_dataset *ds, const question *q, int needs, dlm_error *err)
{
	if (needs <= ds->row_tokens)
		return DLM_OK;
	return dl_fail(err, DLM_ETOOLONG, "", "%s needs %d tokens, but a row has at most %d",
				   q->labelled ? "its longest label" : "target", needs, ds->row_tokens);
}

/* Too long for the row, which dl_template_fit left as it was last filled; its words are those of inference. */
static dlm_status
fail_fit(const dl_dataset *ds, const dl_filled *row, dlm_status st, dlm_error *err)
{
	if (st != DLM_ETOOLONG)
		return st;
	if (ds->options.cut_input)
		return dl_fail(err, st, "",
					   "%d tokens stand around the target even without the input, but a row has at most %d in all",
					   row->head.n + row->tail.n, ds->row_tokens);
	return dl_fail(err, st, "Shorten the row, or let inputs be cut (\"cut_input\").",
				   "%d tokens stand around the target, but a row has at most %d in all", row->head.n + row->tail.n,
				   ds->row_tokens);
}

/* The engine speaks of labels; without any, it is the target. */
static dlm_status
fail_answers(const question *q, dlm_status st, dlm_error *err)
{
	if (q->labelled || (st != DLM_EINVAL && st != DLM_ETOOLONG))
		return st;
	if (st == DLM_EINVAL)
		return dl_fail(err, st, "A target needs at least one token.", "target has no tokens");
	return dl_fail(err, st, "", "target is longer than the model's context");
}

/*
 * As fill_question of task_classify.c: the room that answers leave is known
 * only when they are tokenised, which needs the row.
 */
static dlm_status
fill_row(dl_dataset *ds, question *q, dl_filled *row, dl_answers *answers, dlm_error *err)
{
	dlm_overflow overflow = ds->options.cut_input ? DLM_OVERFLOW_TRUNCATE : DLM_OVERFLOW_ERROR;
	int			canvas = 0;

	for (;;)
	{
		int			needs;
		dlm_status	st = dl_template_fit(ds->model, q->tmpl, true, &q->holes, q->shorten, ds->row_tokens - canvas,
										 overflow, ds->arena, &ds->env, row, err);

		if (st != DLM_OK)
			return fail_fit(ds, row, st, err);
		st = dl_answers_encode(ds->model, q->answers, q->n_answers, row, ds->arena, &ds->env, answers, err);
		if (st != DLM_OK)
			return fail_answers(q, st, err);
		needs = answers->n_max + (ds->stop >= 0);
		st = check_canvas(ds, q, needs, err);
		if (st != DLM_OK || row->head.n + row->tail.n + needs <= ds->row_tokens)
			return st;
		canvas = needs > canvas ? needs : canvas + 1;
	}
}

static dlm_status
check_instruction(const dl_row_text *row, dlm_error *err)
{
	if (!is_given(row->target))
	{
		if (is_given(row->instruction) || is_given(row->input) || row->n_labels > 0)
			return dl_fail(err, DLM_EINVAL, "", "target is missing");
		return dl_fail(err, DLM_EINVAL, "A row has a text, or an instruction or input and a target.",
					   "neither a text nor a target");
	}
	if (row->target.len == 0)
		return dl_fail(err, DLM_EINVAL, "", "target is empty");
	if (!is_given(row->instruction) && !is_given(row->input))
		return dl_fail(err, DLM_EINVAL, "", "neither an instruction nor an input");
	return DLM_OK;
}

dlm_status
dl_tokenise_instruction(dl_dataset *ds, const dl_row_text *row, dl_tokenised *out, dlm_error *err)
{
	question	q;
	dl_filled	filled;
	dl_answers	answers;
	int			answer = 0;
	dlm_status	st = check_instruction(row, err);

	if (st == DLM_OK && row->n_labels > 0)
		st = find_answer(row, &answer, err);
	if (st == DLM_OK)
		st = ask_question(ds, row, &q, err);
	if (st == DLM_OK)
		st = fill_row(ds, &q, &filled, &answers, err);
	if (st != DLM_OK)
		return st;
	if (filled.head.n < (int) ds->model->config.logit_shift)
		return dl_fail(err, DLM_EINVAL, "Let some text stand before the target.",
					   "target stands at the start of the row, where this model predicts nothing");
	*out = (dl_tokenised) {
		.front = filled.head.id, .n_front = filled.head.n, .back = filled.tail.id, .n_back = filled.tail.n,
		.body = answers.ids + answers.start[answer], .n_body = dl_answer_length(&answers, answer), .answer = -1
	};
	if (row->n_labels > 0)
	{
		out->answer = answer;
		out->labels = answers;
	}
	return DLM_OK;
}

/* -------------------------------------------------------------------- texts */

/* Special tokens of a piece of the model's own template are tokens, the rest is text; *ids gets all of it. */
static dlm_status
encode_own(dl_dataset *ds, dlm_text text, dl_ids *ids, dlm_error *err)
{
	dlm_status	st = DLM_OK;
	size_t		from = 0;

	for (size_t at = 0; st == DLM_OK && at <= text.len;)
	{
		dlm_text	rest = {text.data + at, text.len - at};
		dlm_text	plain = {text.data + from, at - from};
		size_t		len = 0;
		int32_t		id = rest.len > 0 ? dl_tok_special_at(ds->model->tok, rest, &len) : -1;

		if (rest.len > 0 && (id < 0 || len == 0))
		{
			at++;
			continue;
		}
		if (plain.len > 0)
			st = dl_tok_encode(ds->model->tok, plain, DL_TOK_START, ds->arena, &ds->env, ids, err);
		if (st == DLM_OK && id >= 0)
			st = dl_ids_append(ids, ds->arena, &id, 1, err);
		at = from = at + (rest.len > 0 ? len : 1);
	}
	return st;
}

/* Bytes of a template's piece before its first special token, and up to the end of its last one. */
static void
find_specials(const dl_dataset *ds, dlm_text text, size_t *first, size_t *last)
{
	*first = text.len;
	*last = 0;
	for (size_t at = 0; at < text.len;)
	{
		size_t		len = 0;
		int32_t		id = dl_tok_special_at(ds->model->tok, (dlm_text) {text.data + at, text.len - at}, &len);

		if (id < 0 || len == 0)
		{
			at++;
			continue;
		}
		if (*last == 0)
			*first = at;
		at += len;
		*last = at;
	}
}

static dlm_status
keep_ids(dl_dataset *ds, dlm_text text, int32_t **out, int *n, dlm_error *err)
{
	dl_ids		ids = {0};
	dlm_status	st = encode_own(ds, text, &ids, err);

	if (st != DLM_OK)
		return st;
	*out = dl_dataset_keep(ds, (size_t) ids.n * sizeof(int32_t));
	if (*out == NULL)
		return dl_fail_memory(err);
	if (ids.n > 0)
		memcpy(*out, ids.id, (size_t) ids.n * sizeof(int32_t));
	*n = ids.n;
	return DLM_OK;
}

/* The infill template: special tokens around the text, and what text of it touches the row's own. */
static dlm_status
find_frame(dl_dataset *ds, dlm_error *err)
{
	static const char hole[] = "{text}";
	dlm_text	tmpl = ds->model->settings.infill;
	const char *hit = tmpl.len > 0 ? memmem(tmpl.data, tmpl.len, hole, sizeof(hole) - 1) : NULL;
	dl_text_frame *f = &ds->frame;
	size_t		first,
				last;
	dlm_status	st;

	if (f->known)
		return DLM_OK;
	if (hit == NULL)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged template in the model: it needs {text} once");
	f->before = (dlm_text) {tmpl.data, (size_t) (hit - tmpl.data)};
	f->after = (dlm_text) {hit + sizeof(hole) - 1, tmpl.len - f->before.len - (sizeof(hole) - 1)};
	if (f->after.len > 0 && memmem(f->after.data, f->after.len, hole, sizeof(hole) - 1) != NULL)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged template in the model: it needs {text} once");
	find_specials(ds, f->before, &first, &last);
	st = keep_ids(ds, (dlm_text) {f->before.data, last}, &f->front, &f->n_front, err);
	f->before = (dlm_text) {f->before.data + last, f->before.len - last};
	find_specials(ds, f->after, &first, &last);
	if (st == DLM_OK)
		st = keep_ids(ds, (dlm_text) {f->after.data + first, f->after.len - first}, &f->back, &f->n_back, err);
	f->after.len = first;
	f->known = st == DLM_OK;
	return st;
}

dlm_status
dl_tokenise_text(dl_dataset *ds, const dl_row_text *row, dl_tokenised *out, dlm_error *err)
{
	dl_ids		ids = {0};
	dlm_text	whole;
	dlm_status	st;

	if (is_given(row->target) || is_given(row->instruction) || is_given(row->input) || row->n_labels > 0)
		return dl_fail(err, DLM_EINVAL, "A row has a text, or an instruction or input and a target.",
					   "a text and %s", is_given(row->target) ? "a target" : "other fields");
	if (row->text.len == 0)
		return dl_fail(err, DLM_EINVAL, "", "text is empty");
	st = find_frame(ds, err);
	if (st == DLM_OK)
		st = dl_text_join(ds->arena, (dlm_text[3]) {ds->frame.before, row->text, ds->frame.after}, 3, &whole, err);
	if (st == DLM_OK)
		st = dl_tok_encode(ds->model->tok, whole, DL_TOK_START, ds->arena, &ds->env, &ids, err);
	if (st != DLM_OK)
		return st;
	if (ds->frame.n_front + ds->frame.n_back >= ds->row_tokens)
		return dl_fail(err, DLM_ETOOLONG, "", "the model's template has %d tokens, but a row has at most %d",
					   ds->frame.n_front + ds->frame.n_back, ds->row_tokens);
	*out = (dl_tokenised) {
		.text = true, .front = ds->frame.front, .n_front = ds->frame.n_front, .back = ds->frame.back,
		.n_back = ds->frame.n_back, .body = ids.id, .n_body = ids.n, .answer = -1
	};
	return DLM_OK;
}
