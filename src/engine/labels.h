/*
 * labels.h - the labels of a classification: checks, texts, tokens.
 */
#ifndef DL_LABELS_H
#define DL_LABELS_H

#include "arena.h"
#include "model.h"
#include "template.h"

/* The tokens of n answers (labels, or yes and no) as they stand in the canvas of one row. */
typedef struct dl_answers
{
	int			n;
	int			n_max;			/* tokens of the longest */
	const int32_t *ids;			/* answer i: ids[start[i] .. start[i + 1] - 1] */
	const int  *start;			/* [n + 1] */
} dl_answers;

static inline int
dl_answer_length(const dl_answers *a, int i)
{
	return a->start[i + 1] - a->start[i];
}

/*
 * Are the request's labels usable? DLM_EINVAL for an empty list, equal labels,
 * examples whose label is none of them; DLM_ETOOLONG for more than
 * DLM_MAX_LABELS; DLM_ENOMEM.
 */
dlm_status	dl_labels_check(const dlm_request *request, dl_arena *a, dlm_error *err);

/*
 * Tokenise texts [n] as the canvas of `row`: with a space in front where the
 * row says so; as texts of their own at the row's start or behind a special
 * token, otherwise as going on after the row's head.
 * Errors: DLM_EINVAL for a text without tokens or two of equal tokens, naming
 * them; DLM_ETOOLONG for one longer than the context; those of dl_tok_encode.
 */
dlm_status	dl_answers_encode(const dlm_model *model, const dlm_text *texts, int n, const dl_filled *row, dl_arena *a,
							  const dlm_env *env, dl_answers *out, dlm_error *err);

/*
 * The values of the holes {instruction}, {labels}, {descriptions} and
 * {examples} of a request. Formats, which the documentation promises:
 *
 *		{labels}		labels joined by ", "
 *		{descriptions}	a line "label: description" for each label that has one
 *		{examples}		"Text: input\nLabel: label" for each, a blank line between them
 *
 * A template without {descriptions} or {examples} gets them in front of the
 * instruction, each followed by a blank line. The default instruction is the
 * model's classify_instruction with {labels} filled in. Errors: DLM_EINVAL
 * when the template has nowhere to put what the request gives, DLM_ENOMEM.
 */
dlm_status	dl_labels_holes(const dlm_model *model, const dlm_request *request, dlm_text tmpl, dl_arena *a,
							dl_holes *holes, dlm_error *err);

/*
 * The same for one label's question of classify_multi. {labels} is that label
 * and {descriptions} its line. A template with {labels} asks the question
 * itself; in any other it stands behind the user's instruction:
 *
 *		Does the label "sports" fit the text? Answer yes or no.
 */
dlm_status	dl_labels_question(const dlm_model *model, const dlm_request *request, int label, dlm_text tmpl,
							   dl_arena *a, dl_holes *holes, dlm_error *err);

/* The first characters of a user's text, to be quoted in a message. */
dlm_text	dl_clip(dlm_text text);

/* Texts [n] joined in the arena; DLM_ENOMEM. */
dlm_status	dl_text_join(dl_arena *a, const dlm_text *parts, int n, dlm_text *out, dlm_error *err);

/* A dlm_text of a string literal or any NUL-terminated string. */
dlm_text	dl_text(const char *s);

#endif							/* DL_LABELS_H */
