/*
 * t_dataset_rows.c - a dataset's rows are the engine's, token for token, for
 * every tiny family and the default model.
 */
#include "data.h"

static dl_example
whole(bed *b, const dl_data_row *row, int ends)
{
	b->masking.end_tokens = ends;
	b->space.used = 0;
	return dl_mask_view(&b->m, row, 7, 0, &b->space);
}

static const dlm_text labels[] = {{"red", 3}, {"the boat is cold", 16}, {"no", 2}, {"S\303\274den <|im_end|></s>", 21}};

#define N_LABELS	4

/* PLL shows an answer's tokens but for one: the target's ids must be such rows. */
static void
target_is_the_engines(bed *b, const dl_data_row *row, const dlm_request *request, const char *name)
{
	dlm_options options = *request->options;
	dlm_request pll = *request;
	dlm_session *s;

	options.scoring = DLM_SCORING_PLL;
	pll.options = &options;
	s = data_session(b->f.model, &pll, name);
	for (int j = 0; j < row->target; j++)
	{
		dl_example	e = whole(b, row, 0);

		for (int i = 0; i < row->target; i++)
			if (i != j)
				((int32_t *) e.ids)[row->head + i] = row->ids[row->head + i];
		CHECK(data_session_has(s, &e, false), "%s: token %d of the target is another", name, j);
	}
	data_session_close(s);
}

static dlm_request
classify_request(const dl_row_text *text, const dlm_options *options)
{
	return (dlm_request) {
		.task = DLM_CLASSIFY, .input = text->input, .has_instruction = text->instruction.data != NULL,
		.instruction = text->instruction, .labels = text->n_labels > 0 ? text->labels : &text->target,
		.n_labels = text->n_labels > 0 ? text->n_labels : 1, .options = options
	};
}

/* The last row's labels, and the question that one pass asks about them. */
static void
compare_question(bed *b, const dl_row_text *text, const char *name)
{
	dlm_options options = {.scoring = DLM_SCORING_ONE_PASS, .calibrate = DLM_CALIBRATE_NONE,
		.overflow = DLM_OVERFLOW_TRUNCATE};
	dlm_request request = classify_request(text, &options);
	const dl_data_row *row = &b->ds->rows[b->ds->n - 1];
	dlm_session *s = data_session(b->f.model, &request, name);
	dl_example	e;

	b->space.used = 0;
	e = dl_mask_question(&b->m, row, row->labels->n_max + 1, &b->space);
	CHECK(data_session_has(s, &e, true), "%s: the question is not the engine's", name);
	data_session_close(s);
	CHECK(row->n_labels == text->n_labels && dl_answer_length(row->labels, row->answer) == row->target &&
		  data_same(row->labels->ids + row->labels->start[row->answer], row->ids + row->head,
					(size_t) row->target * sizeof(int32_t)), "%s: the target is another label", name);
}

/* A row against dlm_classify of its texts. */
static void
compare_classify(bed *b, const dl_row_text *text, const char *name)
{
	dlm_options options = {.scoring = DLM_SCORING_GROUPED, .calibrate = DLM_CALIBRATE_NONE};
	dlm_request request = classify_request(text, &options);
	const dl_data_row *row;
	dlm_session *s;
	dl_example	e;

	data_add(b->ds, DL_VALIDATION, text);
	row = &b->ds->rows[b->ds->n - 1];
	s = data_session(b->f.model, &request, name);
	e = whole(b, row, 0);
	CHECK(data_session_has(s, &e, true), "%s: the row is not the engine's", name);
	data_session_close(s);
	target_is_the_engines(b, row, &request, name);
	if (text->n_labels == 0)
		CHECK(row->labels == NULL && row->answer == -1, "%s: labels from nowhere", name);
	else
		compare_question(b, text, name);
}

static void
rows_of_classify(bed *b, const char *name)
{
	static const char *const instructions[] = {NULL, "Is it red or cold?\nSay it in \303\274 <|mask|>:", ""};
	static const char *const inputs[] = {"the boat sails over a cold sea", "", " <|im_start|> </s> today ", NULL};

	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 4; j++)
			for (int k = 0; k < N_LABELS; k++)
			{
				dl_row_text text = data_instruction(instructions[i], inputs[j], NULL);

				text.target = labels[k];
				text.labels = labels;
				text.n_labels = N_LABELS;
				if (text.instruction.data == NULL && text.input.data == NULL)
					continue;
				compare_classify(b, &text, name);
				text.labels = NULL;
				text.n_labels = 0;
				if (text.instruction.len > 0 && text.input.len > 0)
					compare_classify(b, &text, name);
			}
}

/* A row against dlm_generate of its one text, with a canvas of the target and some stop tokens. */
static void
compare_generate(bed *b, const dl_row_text *text, int ends, const char *name)
{
	dlm_options options = {.length = DLM_LENGTH_FIXED, .overflow = DLM_OVERFLOW_TRUNCATE};
	dlm_request request = {.task = DLM_GENERATE, .input = text->input.len > 0 ? text->input : text->instruction,
		.options = &options};
	const dl_data_row *row;
	dlm_session *s;
	dl_example	e;

	data_add(b->ds, 0, text);
	row = &b->ds->rows[b->ds->n - 1];
	e = whole(b, row, ends);
	request.max_tokens = e.n - row->head - row->tail;
	s = data_session(b->f.model, &request, name);
	CHECK(data_session_has(s, &e, true), "%s: the row is not the engine's", name);
	CHECK(e.n_ask == request.max_tokens && (b->ds->stop < 0 ? e.n_ask == row->target : e.n_ask > row->target ||
		  ends == 0),
		  "%s: %d asks, %d tokens of the target", name, e.n_ask, row->target);
	data_session_close(s);
}

static void
rows_of_generate(bed *b, const char *name)
{
	static const char *const prompts[] = {"Where is the boat today?", " \303\274 <|im_end|> ", "x"};

	for (int i = 0; i < 3; i++)
		for (int ends = 0; ends < 4; ends++)
		{
			dl_row_text text = data_instruction(prompts[i], NULL, "over a cold sea.\n");

			compare_generate(b, &text, ends, name);
			text.input = text.instruction;
			text.instruction = data_text(i == 0 ? "" : NULL);
			compare_generate(b, &text, ends, name);
		}
}

/* A text's tokens are those of an infill whose gap stands behind it. */
static void
compare_infill(bed *b, const char *text, const char *name)
{
	char		gapped[256];
	dlm_options options = {.boundary = DLM_BOUNDARY_PLAIN};
	dlm_request request = {.task = DLM_INFILL, .options = &options};
	dl_row_text plain = data_plain(text);
	const dl_data_row *row;
	dlm_session *s;

	snprintf(gapped, sizeof(gapped), "%s[MASK:1]", text);
	request.input = data_text(gapped);
	data_add(b->ds, 0, &plain);
	row = &b->ds->rows[b->ds->n - 1];
	s = data_session(b->f.model, &request, name);
	if (s != NULL && s->n_rows == 1)
	{
		const int32_t *ids = s->rows[0].ids;
		size_t		front = (size_t) (row->head + row->target);

		CHECK(s->rows[0].n == dl_row_tokens(row) + 1, "%s: %d tokens, the engine's row has %d", name,
			  dl_row_tokens(row), s->rows[0].n);
		CHECK(data_same(ids, row->ids, front * sizeof(int32_t)) && ids[front] == (int32_t) b->f.model->config.mask_id &&
			  data_same(ids + front + 1, row->ids + front, (size_t) row->tail * sizeof(int32_t)), "%s: other tokens",
				name);
	}
	data_session_close(s);
}

static void
rows_of_infill(bed *b, const char *name)
{
	compare_infill(b, "the boat is red", name);
	compare_infill(b, "  <|im_end|> </s> and \303\274ber 12 ", name);
	compare_infill(b, "A", name);
}

static void
rows_are_the_engines(const char *name)
{
	bed			b;

	if (!bed_open(&b, name, &(dl_dataset_options) {0}))
		return;
	rows_of_classify(&b, name);
	rows_of_generate(&b, name);
	rows_of_infill(&b, name);
	bed_close(&b);
}

/* What is too long loses the end of its input,
	as under on_overflow "truncate"; the question's canvas fits the context. */
static void
long_inputs_are_cut(const char *name)
{
	char		words[4000];
	bed			b;
	dl_row_text text;

	if (!bed_open(&b, name, &(dl_dataset_options) {.cut_input = true}))
		return;
	text = data_instruction("Is it?", data_words(600, 5, words, sizeof(words)), "the boat is cold");
	text.labels = labels;
	text.n_labels = N_LABELS;
	data_add(b.ds, DL_VALIDATION, &text);
	compare_question(&b, &text, name);
	CHECK(b.ds->rows[0].head + b.ds->rows[0].tail + b.ds->rows[0].labels->n_max + 1 <= (int) b.f.model->config.context,
		  "%s: no room for the longest label", name);
	text = data_instruction(data_words(600, 5, words, sizeof(words)), NULL, "the boat is cold");
	compare_generate(&b, &text, 1, name);
	bed_close(&b);
}

/* build/dlm-135m.dlm, where it was made. */
static void
default_model(void)
{
	bed			b = {0};
	dlm_error	err = {0};

	if (access("build/dlm-135m.dlm", R_OK) != 0)
	{
		printf("build/dlm-135m.dlm is not there\n");
		return;
	}
	if (dlm_file_map("build/dlm-135m.dlm", &b.f.map, &err) != DLM_OK ||
		dlm_model_open(b.f.map.data, b.f.map.size, &b.f.model, &err) != DLM_OK)
	{
		CHECK(false, "%s", err.message);
		return;
	}
	b.a = dl_arena_create(0);
	bed_dataset(&b, &(dl_dataset_options) {0});
	rows_of_classify(&b, "dlm-135m");
	rows_of_generate(&b, "dlm-135m");
	rows_of_infill(&b, "dlm-135m");
	bed_close(&b);
}

/* A long text is cut into rows of row_tokens, which together have all of its tokens. */
static void
texts_are_cut_into_rows(const char *name)
{
	char		words[4000];
	bed			b;
	dl_row_text text = data_plain(data_words(300, 9, words, sizeof(words)));
	dl_ids		ids = {0};
	dlm_error	err = {0};
	dl_mark		mark;
	int			at = 0;

	if (!bed_open(&b, name, &(dl_dataset_options) {.row_tokens = 24}))
		return;
	data_add(b.ds, 0, &text);
	mark = dl_arena_mark(b.a);
	dl_tok_encode(b.f.model->tok, text.text, DL_TOK_START, b.a, &(dlm_env) {0}, &ids, &err);
	for (int i = 0; i < b.ds->n; i++)
	{
		const dl_data_row *r = &b.ds->rows[i];

		CHECK(dl_row_tokens(r) == 24 || (i == b.ds->n - 1 && dl_row_tokens(r) < 24), "%s: row %d has %d tokens", name,
			  i,
			  dl_row_tokens(r));
		CHECK(r->item == 0 && r->key == 1 && r->text && b.ds->source[0].row[i] == i, "%s: row %d", name, i);
		CHECK(at + r->target <= ids.n && data_same(r->ids + r->head, ids.id + at, (size_t) r->target * sizeof(int32_t)),
			  "%s: row %d has other tokens", name, i);
		CHECK(data_same(r->ids, b.ds->rows[0].ids, (size_t) r->head * sizeof(int32_t)), "%s: row %d begins otherwise",
			  name, i);
		at += r->target;
	}
	CHECK(at == ids.n && b.ds->n > 5, "%s: %d of %d tokens", name, at, ids.n);
	dl_arena_rewind(b.a, mark);
	bed_close(&b);
}

int
main(void)
{
	for (int i = 0; i < N_TINY_MODELS; i++)
		rows_are_the_engines(tiny_models[i]);
	default_model();
	long_inputs_are_cut("context");
	long_inputs_are_cut("roberta");
	texts_are_cut_into_rows("llama");
	texts_are_cut_into_rows("bert");
	texts_are_cut_into_rows("xlm-roberta");
	return harness_end("t_dataset_rows");
}
