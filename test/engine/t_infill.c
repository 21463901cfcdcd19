/*
 * t_infill.c - what must hold of every infill answer, over all tokenizer families.
 *
 * The checkpoints have random weights, so their tokens are noise: just what
 * is needed to try masks, repairs and boundaries.
 */
#include "bans.h"
#include "tiny_model.h"

static const char *const families[] = {"context", "bert", "roberta", "xlm-roberta", "qwen3"};

#define N_FAMILIES	5

static dlm_session *
infill(const tiny_model *m, const char *tmpl, const dlm_options *o, bool trace)
{
	dlm_request r = {.task = DLM_INFILL, .input = tiny_text(tmpl), .options = o, .trace = trace};
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);

	CHECK(s != NULL, "%s: %s", tmpl, err.message);
	return s;
}

/* The answer is `pieces` with the gaps' texts between them. */
static void
check_answer(const dlm_result *r, const char *const *piece, const dlm_options *o, const char *what)
{
	char		want[4096];
	size_t		n = 0;

	CHECK(r->error.status == DLM_OK, "%s: %s", what, r->error.message);
	if (r->error.status != DLM_OK)
		return;
	for (int g = 0; g <= r->n_gaps; g++)
	{
		memcpy(want + n, piece[g], strlen(piece[g]));
		n += strlen(piece[g]);
		if (g == r->n_gaps)
			break;
		CHECK(!dl_ends_in_space(r->gaps[g].text.data, r->gaps[g].text.len), "%s: gap %d ends in white space", what, g);
		CHECK(o->multiline || dl_find_line_break(r->gaps[g].text.data, r->gaps[g].text.len) == SIZE_MAX,
			  "%s: gap %d holds a line break", what, g);
		CHECK(r->gaps[g].text.len > 0 && r->gaps[g].tokens > 0, "%s: gap %d is empty", what, g);
		memcpy(want + n, r->gaps[g].text.data, r->gaps[g].text.len);
		n += r->gaps[g].text.len;
	}
	CHECK(r->text.len == n && memcmp(r->text.data, want, n) == 0, "%s: the answer \"%.*s\"", what, (int) r->text.len,
		  r->text.data);
	CHECK(dl_utf8_valid(r->text.data, r->text.len) == r->text.len, "%s: not UTF-8", what);
	CHECK(isfinite(r->logprob) && r->logprob <= 0, "%s: log-probability %f", what, r->logprob);
}

/* Text around gaps is the user's own, byte for byte, whatever the tokenizer loses; gaps are valid text. */
static void
answers_are_the_users_text(const tiny_model *m, const char *family)
{
	static const char *const piece[] = {"  The  \xC3\x89T\xC3\x89,\t(", ") is\n", " <|im_end|> [MASK] \xF0\x9F\x98\x80", "[SEP]", "  "};
	const char *tmpl = "  The  \xC3\x89T\xC3\x89,\t([MASK:3]) is\n[MASK:2] <|im_end|> [[MASK]] \xF0\x9F\x98\x80[MASK:1-3][SEP][MASK:x:2]  ";

	for (int i = 0; i < 12; i++)
	{
		dlm_options o = {.temperature = i ? 0.7 * i : 0, .seed = i, .boundary = i % 3 == 2 ? DLM_BOUNDARY_PLAIN : DLM_BOUNDARY_HEAL,
			.multiline = i % 4 == 3};
		char		what[64];
		dlm_session *s = infill(m, tmpl, &o, false);

		snprintf(what, sizeof(what), "%s, seed %d", family, i);
		if (s != NULL)
		{
			const dlm_result *r = dlm_session_result(s, 0);

			CHECK(r->n_gaps == 4 && r->gaps[3].name.len == 1 && r->gaps[0].name.len == 0, "%s: gaps", what);
			check_answer(r, piece, &o, what);
		}
		dlm_session_close(s);
	}
}

/* A space typed before a gap is printed once and followed by none; where none was typed, the gap brings none. */
static void
typed_spaces_are_printed_once(const tiny_model *m, const char *family)
{
	static const char *const tmpls[] = {"Berlin is [MASK:2] of Germany", "a ([MASK:1]) b", "[MASK:2] is", "Price:[MASK:1-3]!",
		" [MASK:1]", "x [MASK:1] [MASK:1] [MASK:2]."};

	for (size_t i = 0; i < sizeof(tmpls) / sizeof(tmpls[0]); i++)
		for (int seed = 0; seed < 4; seed++)
		{
			dlm_options o = {.temperature = seed, .seed = seed};
			dlm_session *s = infill(m, tmpls[i], &o, false);
			const dlm_result *r = s ? dlm_session_result(s, 0) : NULL;

			CHECK(r && r->error.status == DLM_OK, "%s, %s: %s", family, tmpls[i], r ? r->error.message : "");
			for (int g = 0; r && g < r->n_gaps; g++)
				CHECK(r->gaps[g].text.len > 0 && r->gaps[g].text.data[0] != ' ', "%s, %s: gap %d = \"%.*s\"", family, tmpls[i],
					  g, (int) r->gaps[g].text.len, r->gaps[g].text.data);
			dlm_session_close(s);
		}
}

/* No banned text stands in an answer so that it overlaps a gap, also across its edges. */
static void
banned_texts_are_never_written(const tiny_model *m, const char *family)
{
	static const dlm_text ban[] = {{"e", 1}, {"an", 2}, {"s ", 2}, {" b", 2}, {"ti", 2}, {"7", 1}, {"isx", 3}};
	int			written = 0;

	for (int seed = 0; seed < 15; seed++)
	{
		dlm_options o = {.temperature = seed * 0.5, .seed = seed, .ban = ban, .n_ban = 7};
		dlm_session *s = infill(m, "The cat is[MASK:5]x and[MASK:6]", &o, false);
		const dlm_result *r = s ? dlm_session_result(s, 0) : NULL;
		size_t		at = 10;

		for (int g = 0; r && r->error.status == DLM_OK && g < 2; g++)
		{
			dl_bans		bans = {.text = ban, .n_text = 7, .longest = 3};
			size_t		len,
						to = at + r->gaps[g].text.len;

			CHECK(dl_bans_find(&bans, r->text.data, r->text.len, at, to, &len) == SIZE_MAX, "%s, seed %d: \"%.*s\"", family, seed,
				  (int) r->text.len, r->text.data);
			at = to + strlen("x and");
			written++;
		}
		dlm_session_close(s);
	}
	CHECK(written >= 20, "%s: only %d gaps of 30 written", family, written);
}

/* ---------------------------------------------------------------- ranges */

static void
ranges_are_kept(const tiny_model *m)
{
	dlm_options one_by_one = {.length_beam = 1},
				small = {.length_budget = 3},
				broad = {.length_beam = 8, .length_budget = 200};
	const dlm_options *set[] = {NULL, &one_by_one, &small, &broad};
	dlm_progress p[4];

	for (int i = 0; i < 4; i++)
	{
		dlm_session *s = infill(m, "Berlin [MASK:2-7] of Germany, [MASK:a:1-4] Italy [MASK:3].", set[i], false);
		const dlm_result *r = s ? dlm_session_result(s, 0) : NULL;

		CHECK(r && r->error.status == DLM_OK, "%s", r ? r->error.message : "no session");
		if (r == NULL || r->error.status != DLM_OK)
			continue;
		CHECK(r->gaps[0].tokens >= 2 && r->gaps[0].tokens <= 7 && r->gaps[1].tokens >= 1 && r->gaps[1].tokens <= 4 &&
			  r->gaps[2].tokens == 3, "tokens %d, %d, %d", r->gaps[0].tokens, r->gaps[1].tokens, r->gaps[2].tokens);
		dlm_session_progress(s, &p[i]);
		dlm_session_close(s);
	}
	CHECK(p[2].tokens < p[0].tokens && p[1].tokens < p[3].tokens, "budget and beam cost nothing: %d %d %d %d",
		  (int) p[0].tokens, (int) p[1].tokens, (int) p[2].tokens, (int) p[3].tokens);
}

/* The lengths that win are decoded to the very bits that the same lengths give when they are asked for. */
static void
search_equals_fixed_lengths(const tiny_model *m, const char *family)
{
	dlm_options greedy = {.steps = 3};
	dlm_session *a = infill(m, "Berlin[MASK:1-6] of Germany,[MASK:1-4]", &greedy, true);
	const dlm_result *x = a ? dlm_session_result(a, 0) : NULL;
	char		tmpl[128];
	dlm_session *b;

	if (x == NULL || x->error.status != DLM_OK)
		return;
	snprintf(tmpl, sizeof(tmpl), "Berlin[MASK:%d] of Germany,[MASK:%d]", x->gaps[0].tokens, x->gaps[1].tokens);
	b = infill(m, tmpl, &greedy, true);
	if (b != NULL)
	{
		const dlm_result *y = dlm_session_result(b, 0);

		CHECK(x->text.len == y->text.len && memcmp(x->text.data, y->text.data, x->text.len) == 0 &&
			  memcmp(&x->logprob, &y->logprob, sizeof(double)) == 0, "%s, %s: \"%.*s\" %.9f, \"%.*s\" %.9f", family, tmpl,
			  (int) x->text.len, x->text.data, x->logprob, (int) y->text.len, y->text.data, y->logprob);
	}
	dlm_session_close(a);
	dlm_session_close(b);
}

/* -------------------------------------------------------------- too long */

static void
too_long_is_an_error_or_cut(const tiny_model *m)
{
	static char	text[40000];
	dlm_options cut = {.overflow = DLM_OVERFLOW_TRUNCATE, .steps = 2};
	dlm_session *s;
	const dlm_result *r;

	for (int i = 0; i < 3000; i++)
		memcpy(text + 6 * i, "river ", 6);
	strcpy(text + 18000, "is [MASK:2] there");
	s = infill(m, text, NULL, false);
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == DLM_ETOOLONG && strstr(r->error.message, "tokens"), "%d: %s", r->error.status, r->error.message);
	dlm_session_close(s);
	s = infill(m, text, &cut, false);
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == DLM_OK && r->text.len > 18000 && memcmp(r->text.data, text, 18000) == 0,
		  "cut for the model, whole in the answer: %s", r->error.message);
	dlm_session_close(s);
	s = infill(m, "is [MASK:5000]", &cut, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_ETOOLONG, "a gap longer than the model's rows");
	dlm_session_close(s);
}

static void
templates_of_options(const tiny_model *m)
{
	dlm_options raw = {.has_template = true, .tmpl = {"{prompt}", 8}, .steps = 2};
	dlm_options around = {.has_template = true, .tmpl = {"Fill: {text} done <|im_end|>", 28}, .steps = 2};
	dlm_options bad = {.has_template = true, .tmpl = {"nothing", 7}};
	static const char *const piece[] = {"Berlin is ", " big"};
	dlm_session *s = infill(m, "Berlin is [MASK:2] big", &raw, false);

	check_answer(dlm_session_result(s, 0), piece, &raw, "raw");
	dlm_session_close(s);
	s = infill(m, "Berlin is [MASK:2] big", &around, false);
	check_answer(dlm_session_result(s, 0), piece, &around, "around");
	dlm_session_close(s);
	s = infill(m, "Berlin is [MASK:2] big", &bad, false);
	CHECK(dlm_session_result(s, 0)->error.status == DLM_EINVAL, "a template without a hole");
	dlm_session_close(s);
}

/* The trace's last text is the answer, and its texts are valid all along. */
static void
trace_ends_in_the_answer(const tiny_model *m, const char *family)
{
	for (int seed = 0; seed < 6; seed++)
	{
		dlm_options o = {.temperature = seed, .seed = seed};
		dlm_session *s = infill(m, "The [MASK:4] was [MASK:3] good", &o, true);
		const dlm_result *r = s ? dlm_session_result(s, 0) : NULL;

		if (r && r->error.status == DLM_OK)
		{
			dlm_text	last = r->trace[r->n_trace - 1].canvas;

			CHECK(last.len == r->text.len && memcmp(last.data, r->text.data, last.len) == 0, "%s: \"%.*s\" is not \"%.*s\"", family,
				  (int) last.len, last.data, (int) r->text.len, r->text.data);
			for (int i = 0; i < r->n_trace; i++)
				CHECK(dl_utf8_valid(r->trace[i].canvas.data, r->trace[i].canvas.len) == r->trace[i].canvas.len, "row %d", i);
		}
		dlm_session_close(s);
	}
}

int
main(void)
{
	for (int i = 0; i < N_FAMILIES; i++)
	{
		tiny_model	m;

		if (!tiny_open(families[i], &m))
			continue;
		answers_are_the_users_text(&m, families[i]);
		typed_spaces_are_printed_once(&m, families[i]);
		banned_texts_are_never_written(&m, families[i]);
		search_equals_fixed_lengths(&m, families[i]);
		trace_ends_in_the_answer(&m, families[i]);
		if (i == 0)
		{
			ranges_are_kept(&m);
			too_long_is_an_error_or_cut(&m);
			templates_of_options(&m);
		}
		tiny_close(&m);
	}
	return harness_end("t_infill");
}
