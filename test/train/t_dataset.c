/*
 * t_dataset.c - a dataset's errors, sources, held-out rows, digests, memory.
 */
#include "data.h"

/* ------------------------------------------------------------------ errors */

typedef struct refusal
{
	dl_row_text row;
	int			source;
	dlm_status	status;
	const char *message;
} refusal;

static void
refused(dl_dataset *ds, const refusal *r)
{
	dlm_error	err = {0};
	uint8_t		before[32],
				after[32];
	int			n = ds->n;
	dlm_status	st;

	dl_dataset_digest(ds, before);
	st = dl_dataset_add(ds, r->source, &r->row, &err);
	dl_dataset_digest(ds, after);
	CHECK(st == r->status && err.status == r->status && strncmp(err.message, r->message, strlen(r->message)) == 0,
		  "%d \"%s\", not %d \"%s\"", st, err.message, r->status, r->message);
	CHECK(ds->n == n && ds->source[0].n == n && memcmp(before, after, 32) == 0, "something of a refused row is kept");
}

#define TEXT(s)	{s, sizeof(s) - 1}
#define LONG	"the boat is red and the boat is cold and "

static void
refusals(void)
{
	static const dlm_text twice[] = {TEXT("a"), TEXT("a")};
	static const dlm_text ab[] = {TEXT("a"), TEXT("b")};
	static const dlm_text empty[] = {TEXT("a"), TEXT("")};
	static const dlm_text one_long[] = {TEXT("a"), TEXT(LONG LONG LONG)};
	const refusal cases[] = {
		{{.key = 5}, 0, DLM_EINVAL, "row 5: neither a text nor a target"},
		{{.input = TEXT("x"), .key = 6}, 0, DLM_EINVAL, "row 6: target is missing"},
		{{.labels = ab, .n_labels = 2, .key = 6}, 0, DLM_EINVAL, "row 6: target is missing"},
		{{.input = TEXT("x"), .target = TEXT(""), .key = 7}, 0, DLM_EINVAL, "row 7: target is empty"},
		{{.target = TEXT("x"), .key = 8}, 0, DLM_EINVAL, "row 8: neither an instruction nor an input"},
		{{.text = TEXT("x"), .target = TEXT("y"), .key = 9}, 0, DLM_EINVAL, "row 9: a text and a target"},
		{{.text = TEXT("x"), .input = TEXT("y"), .key = 9}, 0, DLM_EINVAL, "row 9: a text and other fields"},
		{{.text = TEXT(""), .key = -10}, 0, DLM_EINVAL, "row -10: text is empty"},
		{{.input = TEXT("x"), .target = TEXT("c"), .labels = ab, .n_labels = 2, .key = 11}, 0, DLM_EINVAL,
		"row 11: target \"c\" is none of its labels"},
		{{.input = TEXT("x"), .target = TEXT("a"), .labels = twice, .n_labels = 2, .key = 12}, 0, DLM_EINVAL,
		"row 12: label \"a\" is listed twice"},
		{{.input = TEXT("x"), .instruction = TEXT("y"), .target = TEXT("a"), .labels = empty, .n_labels = 2,
			.key = 13}, 0, DLM_EINVAL,
		"row 13: label \"\" has no tokens"},
		{{.input = TEXT("x"), .instruction = TEXT("y"), .target = TEXT("a"), .labels = one_long, .n_labels = 2,
			.key = 14}, 0, DLM_ETOOLONG,
		"row 14: its longest label needs 50 tokens, but a row has at most 24"},
		{{.input = TEXT("x"), .target = one_long[1], .key = 15}, 0, DLM_ETOOLONG,
		"row 15: target needs 51 tokens, but a row has at most 24"},
		{{.input = TEXT("x"), .target = TEXT(LONG "the boat is a"), .key = 16}, 0, DLM_ETOOLONG,
		"row 16: 2 tokens stand around the target, but a row has at most 24 in all"},
		{{.input = TEXT(LONG LONG LONG), .target = TEXT("a"), .key = 17},
		0, DLM_ETOOLONG, "row 17: 50 tokens stand around the target, but a row has at most 24 in all"},
		{{.input = TEXT("\xff"), .target = TEXT("a"), .key = 18}, 0, DLM_EENCODING, "row 18: "},
		{{.input = TEXT("x"), .target = TEXT("\xc3"), .key = 19}, 0, DLM_EENCODING, "row 19: "},
		{{.text = TEXT("x\xc3\x28"), .key = 20}, 0, DLM_EENCODING, "row 20: "},
		{{.text = TEXT("x"), .key = 21}, 3, DLM_EINVAL, "row 21: there is no source 3"},
		{{.text = TEXT("x"), .key = 21}, -2, DLM_EINVAL, "row 21: there is no source -2"},
	};
	const refusal cut = {{.input = TEXT("x"), .instruction = TEXT(LONG LONG), .target = TEXT("a"), .key = 22}, 0,
		DLM_ETOOLONG,
	"row 22: 35 tokens stand around the target even without the input, but a row has at most 24 in all"};
	bed			b;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {.row_tokens = 24}))
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(b.ds, &cases[i]);
	b.ds->options.cut_input = true;
	refused(b.ds, &cut);
	bed_close(&b);
}

static void
refusals_of_other_models(void)
{
	const refusal no_tokens = {{.input = TEXT("x"), .target = TEXT(" \t"), .key = 3}, 0, DLM_EINVAL,
	"row 3: target has no tokens"};
	const refusal no_text = {{.text = TEXT(" \n"), .key = 4}, 0, DLM_EINVAL,
	"row 4: text has no tokens that could be predicted"};
	const dl_dataset_options bad[] = {{.row_tokens = 1}, {.row_tokens = -5}};
	bed			b;
	dl_dataset *ds;

	if (!bed_open(&b, "bert", &(dl_dataset_options) {0}))
		return;
	refused(b.ds, &no_tokens);
	refused(b.ds, &no_text);
	for (int i = 0; i < 2; i++)
		REFUSED(dl_dataset_create(b.f.model, &bad[i], NULL, b.a, &ds, &why), DLM_EINVAL,
				"rows must have at least 2 tokens");
	bed_close(&b);
}

static bool
stop_now(void *arg)
{
	return true;
}

static void
memory_and_interrupts(void)
{
	bed			b;
	dlm_error	err = {0};
	dl_row_text row = data_instruction("Is it?", "the boat", "red");
	char	   *text = malloc(2000001);
	dlm_status	st = DLM_OK;
	dl_arena   *small = dl_arena_create(400000);
	dl_dataset *ds = NULL;
	int			n = 0;

	memset(text, 'x', 2000000);
	for (int i = 0; i < 2000000; i += 5)
		text[i] = ' ';
	text[2000000] = 0;
	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	CHECK(dl_dataset_create(b.f.model, &(dl_dataset_options) {0}, NULL, small, &ds, &err) == DLM_OK, "%s", err.message);
	for (; st == DLM_OK && n < 100000; n++)
	{
		row.key = n + 1;
		st = dl_dataset_add(ds, 0, &row, &err);
	}
	CHECK(st == DLM_ENOMEM && n > 100 && ds->n == n - 1 && ds->source[0].n == n - 1, "%d rows, status %d", n, st);
	CHECK(strncmp(err.message, "row ", 4) == 0 && atoi(err.message + 4) == n, "\"%s\" for row %d", err.message, n);
	dl_dataset_free(ds);
	CHECK(dl_arena_used(small) == 0, "%zu bytes are left", dl_arena_used(small));
	b.ds->env.stop = stop_now;
	row = data_plain(text);
	CHECK(dl_dataset_add(b.ds, 0, &row, &err) == DLM_EINTR && strncmp(err.message, "row 1: ", 7) == 0 && b.ds->n == 0,
		  "%s", err.message);
	free(text);
	dl_arena_destroy(small);
	bed_close(&b);
}

/* -------------------------------------------------------- sources, held out */

static void
sources(void)
{
	char		name[200];
	bed			b;
	dlm_error	err = {0};
	int			s;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	REFUSED(dl_dataset_source(b.ds, "x", 0, &s, &why), DLM_EINVAL, "weight of source \"x\" must be a positive number");
	REFUSED(dl_dataset_source(b.ds, "", NAN, &s, &why), DLM_EINVAL, "weight of source \"\" must be a positive number");
	REFUSED(dl_dataset_source(b.ds, "y", INFINITY, &s, &why), DLM_EINVAL,
			"weight of source \"y\" must be a positive number");
	for (int i = 1; i < DL_MAX_SOURCES; i++)
		CHECK(dl_dataset_source(b.ds, name, i, &s, &err) == DLM_OK && s == i && strlen(b.ds->source[i].name) == 60,
			  "source %d", i);
	REFUSED(dl_dataset_source(b.ds, "x", 1, &s, &why), DLM_EINVAL, "more than 512 sources of rows");
	bed_close(&b);
}

/* n rows of texts; every third text is long enough for two or more. */
static void
many_texts(bed *b, int n)
{
	char		words[400];

	for (int i = 0; i < n; i++)
	{
		dl_row_text row = data_plain(data_words(i % 3 == 0 ? 40 : 3, (uint64_t) i, words, sizeof(words)));

		row.key = i;
		data_add(b->ds, 0, &row);
	}
}

/* held[key] = 1 where a row of it is held out; texts are never split between the two. */
static int
held_out(const bed *b, uint8_t *held, int n)
{
	int			count = 0;

	memset(held, 0, (size_t) n);
	for (int i = 0; i < b->ds->validation.n; i++)
		held[b->ds->rows[b->ds->validation.row[i]].key] = 1;
	for (int i = 0; i < b->ds->source[0].n; i++)
		CHECK(!held[b->ds->rows[b->ds->source[0].row[i]].key], "a text on both sides");
	CHECK(b->ds->validation.n + b->ds->source[0].n == b->ds->n, "rows are lost");
	for (int i = 0; i < n; i++)
		count += held[i];
	return count;
}

static int
hold_out(int texts, double share, int64_t seed, uint8_t *held)
{
	bed			b;
	dlm_error	err = {0};
	uint8_t		before[32],
				after[32];
	int			count = 0;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {.row_tokens = 16}))
		return -1;
	many_texts(&b, texts);
	dl_dataset_digest(b.ds, before);
	CHECK(dl_dataset_hold_out(b.ds, share, seed, &err) == DLM_OK, "%s", err.message);
	dl_dataset_digest(b.ds, after);
	CHECK(memcmp(before, after, 32) == 0, "holding out changes the digest");
	count = held_out(&b, held, texts);
	REFUSED(dl_dataset_hold_out(b.ds, 1, seed, &why), DLM_EINVAL,
			"share of rows held out must be at least 0 and less than 1");
	REFUSED(dl_dataset_hold_out(b.ds, NAN, seed, &why), DLM_EINVAL,
			"share of rows held out must be at least 0 and less than 1");
	bed_close(&b);
	return count;
}

static void
held_out_rows(void)
{
	uint8_t		a[600],
				b[600];
	int			n = hold_out(600, 0.2, 1, a);

	CHECK(n > 80 && n < 160, "%d of 600 at 20 %%", n);
	n = hold_out(300, 0.2, 1, b);
	CHECK(memcmp(a, b, 300) == 0, "later rows change what is held out");
	n = hold_out(300, 0.2, 2, b);
	CHECK(memcmp(a, b, 300) != 0, "the seed changes nothing");
	CHECK(hold_out(300, 0, 1, a) == 0, "share 0");
	CHECK(hold_out(1, 0.5, 1, a) == 0 && hold_out(1, 0.99, 1, a) == 0, "of one row none is held out");
	for (int seed = 0; seed < 20; seed++)
	{
		CHECK(hold_out(2, 0.001, seed, a) == 1 && hold_out(2, 0.999, seed, a) == 1, "of two rows one is held out");
		CHECK(hold_out(5, 0.9999, seed, a) == 4, "one row is left");
	}
}

/* ------------------------------------------------------------ check, digest */

static void
add_labelled(dl_dataset *ds, int source, const char *input, const char *target, const char *a, const char *b)
{
	dlm_text	list[2] = {data_text(a), data_text(b)};
	dl_row_text row = data_instruction(NULL, input, target);

	row.labels = list;
	row.n_labels = b != NULL ? 2 : a != NULL ? 1 : 0;
	data_add(ds, source, &row);
}

static void
one_label_only(void)
{
	dlm_error	err = {0};
	dl_row_text plain = data_plain("the boat");
	bed			b;
	int			s;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	REFUSED(dl_dataset_check(b.ds, &why), DLM_EINVAL, "there are no rows to train on");
	add_labelled(b.ds, 0, "x", "a", "a", "b");
	CHECK(dl_dataset_check(b.ds, &err) == DLM_OK, "one row: %s", err.message);
	add_labelled(b.ds, 0, "y", "a", "a", "b");
	REFUSED(dl_dataset_check(b.ds, &why), DLM_EINVAL, "rows have one label only");
	add_labelled(b.ds, 0, "z", "b", "a", "b");
	CHECK(dl_dataset_check(b.ds, &err) == DLM_OK, "two targets: %s", err.message);
	CHECK(dl_dataset_source(b.ds, "mine", 1, &s, &err) == DLM_OK, "%s", err.message);
	REFUSED(dl_dataset_check(b.ds, &why), DLM_EINVAL, "source \"mine\" has no rows");
	add_labelled(b.ds, s, "x", "a", "a", NULL);
	add_labelled(b.ds, s, "x", "b", "b", NULL);
	CHECK(dl_dataset_check(b.ds, &err) == DLM_OK, "another source has a choice: %s", err.message);
	bed_close(&b);
	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	add_labelled(b.ds, 0, "x", "a", "a", NULL);
	add_labelled(b.ds, 0, "x", "b", "b", NULL);
	REFUSED(dl_dataset_check(b.ds, &why), DLM_EINVAL, "rows have one label each");
	data_add(b.ds, 0, &plain);
	CHECK(dl_dataset_check(b.ds, &err) == DLM_OK, "with a text: %s", err.message);
	bed_close(&b);
}

static void
labels_are_kept_for_validation(void)
{
	dlm_error	err = {0};
	bed			b;
	int			s;

	for (int keep = 0; keep < 2; keep++)
	{
		if (!bed_open(&b, "llama", &(dl_dataset_options) {.keep_labels = keep}))
			return;
		CHECK(dl_dataset_source(b.ds, "s", 1, &s, &err) == DLM_OK, "%s", err.message);
		add_labelled(b.ds, 0, "x", "a", "a", "b");
		add_labelled(b.ds, s, "x", "a", "a", "b");
		add_labelled(b.ds, DL_VALIDATION, "x", "a", "a", "b");
		add_labelled(b.ds, DL_VALIDATION, "y", "b", "a", "b");
		add_labelled(b.ds, DL_VALIDATION, "y", "b", "b", "a");
		CHECK((b.ds->rows[0].labels != NULL) == keep && b.ds->rows[1].labels == NULL && b.ds->rows[2].labels != NULL,
			  "keep %d", keep);
		CHECK(b.ds->rows[2].labels == b.ds->rows[3].labels && b.ds->rows[3].labels != b.ds->rows[4].labels,
			  "equal labels are shared");
		CHECK(b.ds->rows[3].answer == 1 && b.ds->rows[4].answer == 0 && b.ds->rows[1].n_labels == 2, "answers");
		bed_close(&b);
	}
}

static void
digest_of(int variant, uint8_t digest[32])
{
	dlm_error	err = {0};
	bed			b;
	int			s;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	CHECK(dl_dataset_source(b.ds, "s", 1, &s, &err) == DLM_OK, "%s", err.message);
	add_labelled(b.ds, variant == 1 ? s : 0, variant == 2 ? "y" : "x", variant == 3 ? "b" : "a", "a",
		variant == 4 ? "c" : "b");
	if (variant == 5)
		add_labelled(b.ds, 0, "x", "a", NULL, NULL);
	dl_dataset_digest(b.ds, digest);
	bed_close(&b);
}

static void
digests_tell_rows_apart(void)
{
	uint8_t		all[7][32];

	for (int i = 0; i < 7; i++)
		digest_of(i, all[i]);
	CHECK(memcmp(all[0], all[6], 32) == 0, "the same rows");
	for (int i = 0; i < 6; i++)
		for (int j = 0; j < i; j++)
			CHECK(memcmp(all[i], all[j], 32) != 0, "variants %d and %d", i, j);
}

int
main(void)
{
	refusals();
	refusals_of_other_models();
	memory_and_interrupts();
	sources();
	held_out_rows();
	one_label_only();
	labels_are_kept_for_validation();
	digests_tell_rows_apart();
	return harness_end("t_dataset");
}
