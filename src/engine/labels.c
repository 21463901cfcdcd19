/*
 * labels.c - the labels of a classification: checks, texts, tokens.
 */
#include "labels.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

#define CLIP	60				/* bytes of a user's text in a message */
#define DEFAULT_INSTRUCTION "Which label fits the text best? Choose from: {labels}."

dlm_text
dl_text(const char *s)
{
	return (dlm_text) {s, strlen(s)};
}

dlm_text
dl_clip(dlm_text text)
{
	if (text.len > CLIP)
	{
		text.len = CLIP;
		while (text.len > 0 && ((unsigned char) text.data[text.len] & 0xC0) == 0x80)
			text.len--;
	}
	return text;
}

static bool
same_text(dlm_text a, dlm_text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* A text and its place in the list, to be sorted. */
typedef struct keyed
{
	dlm_text	text;
	int			index;
} keyed;

static int
compare_keyed(const void *a, const void *b)
{
	const keyed *x = a;
	const keyed *y = b;
	int			order = 0;

	if (x->text.len != y->text.len)
		return x->text.len < y->text.len ? -1 : 1;
	if (x->text.len > 0)
		order = memcmp(x->text.data, y->text.data, x->text.len);
	return order != 0 ? order : x->index - y->index;
}

/*
 * Two equal texts of a list: *second is the first text that repeats an
 * earlier one, *first that one; -1 if all differ. By sorting, since hostile
 * lists are long and alike. `list` [n] is sorted in place.
 */
static void
find_repeat(keyed *list, int n, int *first, int *second)
{
	*first = *second = -1;
	qsort(list, (size_t) n, sizeof(*list), compare_keyed);
	for (int i = 1; i < n; i++)
		if (same_text(list[i - 1].text, list[i].text) && (*second < 0 || list[i].index < *second))
		{
			*first = list[i - 1].index;
			*second = list[i].index;
		}
}

dlm_status
dl_text_join(dl_arena *a, const dlm_text *parts, int n, dlm_text *out, dlm_error *err)
{
	size_t		len = 0;
	char	   *s;

	for (int i = 0; i < n; i++)
	{
		if (parts[i].len > SIZE_MAX / 4 - len)
			return dl_fail_memory(err);
		len += parts[i].len;
	}
	s = dl_arena_alloc(a, len + 1);
	if (s == NULL)
		return dl_fail_memory(err);
	*out = (dlm_text) {s, len};
	for (int i = 0; i < n; i++)
	{
		if (parts[i].len > 0)
			memcpy(s, parts[i].data, parts[i].len);
		s += parts[i].len;
	}
	return DLM_OK;
}

dlm_status
dl_labels_check(const dlm_request *request, dl_arena *a, dlm_error *err)
{
	const dlm_text *label = request->labels;
	int			n = request->n_labels;
	int			first,
				second;
	keyed	   *list;

	if (n <= 0 || label == NULL)
		return dl_fail(err, DLM_EINVAL, "Give at least one label.", "list of labels is empty");
	if (n > DLM_MAX_LABELS)
		return dl_fail(err, DLM_ETOOLONG, "Classify in two steps: first the group, then the label.",
					   "%d labels are more than the limit of %d", n, DLM_MAX_LABELS);
	list = dl_arena_calloc(a, (size_t) n, sizeof(*list));
	if (list == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
		list[i] = (keyed) {label[i], i};
	find_repeat(list, n, &first, &second);
	if (second >= 0)
	{
		dlm_text	name = dl_clip(label[second]);

		return dl_fail(err, DLM_EINVAL, "", "label \"%.*s\" is listed twice", (int) name.len, name.data);
	}
	for (int e = 0; e < request->n_examples; e++)
	{
		dlm_text	name = dl_clip(request->examples[e].label);
		int			i = 0;

		while (i < n && !same_text(label[i], request->examples[e].label))
			i++;
		if (i == n)
			return dl_fail(err, DLM_EINVAL, "Every example needs one of the labels.",
						   "label \"%.*s\" of an example is not in the list of labels", (int) name.len, name.data);
	}
	return DLM_OK;
}

/* ---------------------------------------------------------------- tokens */

static dlm_status
fail_no_tokens(dlm_text text, dlm_error *err)
{
	dlm_text	name = dl_clip(text);

	return dl_fail(err, DLM_EINVAL, "A label needs at least one token.", "label \"%.*s\" has no tokens",
				   (int) name.len, name.data);
}

static dlm_status
fail_long_label(dlm_text text, int tokens, int context, dlm_error *err)
{
	dlm_text	name = dl_clip(text);

	return dl_fail(err, DLM_ETOOLONG, "", "label \"%.*s\" has %d tokens, the model's context has %d positions",
				   (int) name.len, name.data, tokens, context);
}

/* No two answers may have the same tokens: the model could not tell them apart. */
static dlm_status
check_distinct(const dlm_text *texts, const dl_answers *answers, dl_arena *a, dlm_error *err)
{
	keyed	   *list = dl_arena_calloc(a, (size_t) answers->n, sizeof(*list));
	int			first,
				second;
	dlm_text	one,
				two;

	if (list == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < answers->n; i++)
	{
		list[i].text.data = (const char *) (answers->ids + answers->start[i]);
		list[i].text.len = (size_t) dl_answer_length(answers, i) * sizeof(int32_t);
		list[i].index = i;
	}
	find_repeat(list, answers->n, &first, &second);
	if (second < 0)
		return DLM_OK;
	one = dl_clip(texts[first]);
	two = dl_clip(texts[second]);
	return dl_fail(err, DLM_EINVAL, "Rename one of them.",
				   "labels \"%.*s\" and \"%.*s\" have the same tokens in this model", (int) one.len, one.data,
				   (int) two.len, two.data);
}

dlm_status
dl_answers_encode(const dlm_model *model, const dlm_text *texts, int n, const dl_filled *row, dl_arena *a,
				  const dlm_env *env, dl_answers *out, dlm_error *err)
{
	const dl_ids *head = &row->head;
	bool		fresh = head->n == 0 || dl_tok_is_special(model->tok, head->id[head->n - 1]);
	dl_tok_mode mode = fresh && !row->space ? DL_TOK_START : DL_TOK_CONTINUE;
	dl_ids		ids = {0};
	int		   *start = dl_arena_calloc(a, (size_t) n + 1, sizeof(int));

	if (start == NULL)
		return dl_fail_memory(err);
	out->n = n;
	out->n_max = 0;
	for (int i = 0; i < n; i++)
	{
		dlm_text	parts[2] = {dl_text(" "), texts[i]};
		dlm_text	text = texts[i];
		dlm_status	st = DLM_OK;

		if (text.len == 0)
			return fail_no_tokens(text, err);
		if (row->space)
			st = dl_text_join(a, parts, 2, &text, err);
		if (st == DLM_OK)
			st = dl_tok_encode(model->tok, text, mode, a, env, &ids, err);
		if (st != DLM_OK)
			return st;
		start[i + 1] = ids.n;
		if (start[i + 1] == start[i])
			return fail_no_tokens(texts[i], err);
		if (start[i + 1] - start[i] >= (int) model->config.context)
			return fail_long_label(texts[i], start[i + 1] - start[i], (int) model->config.context, err);
		if (start[i + 1] - start[i] > out->n_max)
			out->n_max = start[i + 1] - start[i];
	}
	out->ids = ids.id;
	out->start = start;
	return check_distinct(texts, out, a, err);
}

/* ---------------------------------------------------------------- texts */

/* Does a template have this hole, or a condition on it? */
static bool
has_hole(dlm_text tmpl, const char *hole)
{
	return tmpl.len > 0 && memmem(tmpl.data, tmpl.len, hole, strlen(hole)) != NULL;
}

static dlm_status
join_labels(const dlm_request *request, dl_arena *a, dlm_text *out, dlm_error *err)
{
	int			n = request->n_labels;
	dlm_text   *parts = dl_arena_calloc(a, (size_t) n * 2, sizeof(dlm_text));

	if (parts == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
	{
		parts[2 * i] = dl_text(i > 0 ? ", " : "");
		parts[2 * i + 1] = request->labels[i];
	}
	return dl_text_join(a, parts, 2 * n, out, err);
}

static dlm_status
join_descriptions(const dlm_request *request, dl_arena *a, dlm_text *out, dlm_error *err)
{
	int			n = request->n_labels;
	int			used = 0;
	dlm_text   *parts = dl_arena_calloc(a, (size_t) n * 4, sizeof(dlm_text));

	if (parts == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n && request->descriptions != NULL; i++)
		if (request->descriptions[i].len > 0)
		{
			parts[used] = dl_text(used > 0 ? "\n" : "");
			parts[used + 1] = request->labels[i];
			parts[used + 2] = dl_text(": ");
			parts[used + 3] = request->descriptions[i];
			used += 4;
		}
	return dl_text_join(a, parts, used, out, err);
}

static dlm_status
join_examples(const dlm_request *request, dl_arena *a, dlm_text *out, dlm_error *err)
{
	int			n = request->n_examples;
	dlm_text   *parts = dl_arena_calloc(a, (size_t) n * 4 + 1, sizeof(dlm_text));

	if (parts == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < n; i++)
	{
		parts[4 * i] = dl_text(i > 0 ? "\n\nText: " : "Text: ");
		parts[4 * i + 1] = request->examples[i].input;
		parts[4 * i + 2] = dl_text("\nLabel: ");
		parts[4 * i + 3] = request->examples[i].label;
	}
	return dl_text_join(a, parts, 4 * n, out, err);
}

/* The model's instruction with every "{labels}" replaced. */
static dlm_status
default_instruction(const dlm_model *model, dlm_text labels, dl_arena *a, dlm_text *out, dlm_error *err)
{
	static const char hole[] = "{labels}";
	dlm_text	rest = model->settings.classify_instruction;
	dlm_status	st = DLM_OK;

	if (rest.len == 0)
		rest = dl_text(DEFAULT_INSTRUCTION);
	*out = dl_text("");
	while (st == DLM_OK && rest.len > 0)
	{
		const char *at = memmem(rest.data, rest.len, hole, sizeof(hole) - 1);
		dlm_text	parts[3] = {*out, rest, {labels.data, 0}};

		if (at != NULL)
		{
			parts[1].len = (size_t) (at - rest.data);
			parts[2] = labels;
		}
		st = dl_text_join(a, parts, 3, out, err);
		rest.data += parts[1].len + (at != NULL ? sizeof(hole) - 1 : 0);
		rest.len -= parts[1].len + (at != NULL ? sizeof(hole) - 1 : 0);
	}
	return st;
}

/* What the template has no hole of its own for stands in front of the instruction. */
static dlm_status
prepend(const char *hole, dlm_text value, dlm_text tmpl, dl_arena *a, dlm_text *instruction, dlm_error *err)
{
	dlm_text	parts[3] = {value, dl_text("\n\n"), *instruction};

	if (value.len == 0 || has_hole(tmpl, hole))
		return DLM_OK;
	if (!has_hole(tmpl, "{instruction}"))
		return dl_fail(err, DLM_EINVAL, "Add the hole, or {instruction}, to the template.",
					   "template has no hole %s", hole);
	return dl_text_join(a, parts, 3, instruction, err);
}

/* Fill *holes; `instruction` is what stands in {instruction}, but for what is prepended. */
static dlm_status
fill_holes(const dlm_request *request, dlm_text instruction, dlm_text tmpl, dl_arena *a, dl_holes *holes,
		   dlm_error *err)
{
	dlm_status	st;

	if (request->has_instruction && request->instruction.len > 0 && !has_hole(tmpl, "{instruction}"))
		return dl_fail(err, DLM_EINVAL, "Write the instruction into the template, or add the hole.",
					   "template has no hole {instruction}");
	holes->input = request->input.data != NULL ? request->input : dl_text("");
	holes->instruction = instruction;
	st = join_descriptions(request, a, &holes->descriptions, err);
	if (st == DLM_OK)
		st = join_examples(request, a, &holes->examples, err);
	if (st == DLM_OK)
		st = prepend("{examples}", holes->examples, tmpl, a, &holes->instruction, err);
	if (st == DLM_OK)
		st = prepend("{descriptions}", holes->descriptions, tmpl, a, &holes->instruction, err);
	return st;
}

dlm_status
dl_labels_holes(const dlm_model *model, const dlm_request *request, dlm_text tmpl, dl_arena *a, dl_holes *holes,
				dlm_error *err)
{
	dlm_text	instruction = request->instruction.data != NULL ? request->instruction : dl_text("");
	dlm_status	st;

	memset(holes, 0, sizeof(*holes));
	st = join_labels(request, a, &holes->labels, err);
	if (st == DLM_OK && !request->has_instruction)
		st = default_instruction(model, holes->labels, a, &instruction, err);
	return st == DLM_OK ? fill_holes(request, instruction, tmpl, a, holes, err) : st;
}

dlm_status
dl_labels_question(const dlm_model *model, const dlm_request *request, int label, dlm_text tmpl, dl_arena *a,
				   dl_holes *holes, dlm_error *err)
{
	dlm_request one = *request;
	dlm_text	instruction = dl_text("");
	dlm_status	st = DLM_OK;

	memset(holes, 0, sizeof(*holes));
	one.labels = &request->labels[label];
	one.n_labels = 1;
	one.descriptions = request->descriptions != NULL ? &request->descriptions[label] : NULL;
	holes->labels = one.labels[0].data != NULL ? one.labels[0] : dl_text("");
	if (request->has_instruction && request->instruction.data != NULL)
		instruction = request->instruction;
	if (!has_hole(tmpl, "{labels}"))
	{
		dlm_text	parts[5] = {instruction, dl_text(instruction.len > 0 ? "\n" : ""), dl_text("Does the label \""),
		holes->labels, dl_text("\" fit the text? Answer yes or no.")};

		if (!has_hole(tmpl, "{instruction}"))
			return dl_fail(err, DLM_EINVAL, "Add the hole, or {instruction}, to the template.",
						   "template has no hole {labels}");
		st = dl_text_join(a, parts, 5, &instruction, err);
	}
	return st == DLM_OK ? fill_holes(&one, instruction, tmpl, a, holes, err) : st;
}
