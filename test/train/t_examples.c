/*
 * t_examples.c - the file of a run's examples: every array of every step is
 * what a run of the same options computes with; an interrupted or refused call
 * leaves no file.
 */
#include "runs.h"

static const setting settings[] = {
	{"context", DLM_WEIGHTS_BF16, DLM_OBJECTIVE_INSTRUCTION, 2, true, "\"rank\": 2, \"text_share\": 0.3, \"validation_share\": 0"},
	{"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 3, true, "\"rank\": 2, \"dropout\": 0, \"attention_dropout\": 0"},	/* coupled views, linear weights, a part held out */
	{"qwen3", DLM_WEIGHTS_F32, DLM_OBJECTIVE_TEXT, 2, false, "\"rank\": 2, \"validation_share\": 0, \"dropout\": 0, \"attention_dropout\": 0"}
};

typedef struct cursor
{
	const uint8_t *at,
			   *end;
} cursor;

static bool
take(cursor *c, void *to, size_t size)
{
	bool		there = (size_t) (c->end - c->at) >= size;

	if (there)
		memcpy(to, c->at, size);
	c->at += there ? size : 0;
	return there;
}

/* The next numbers of two bytes equal these? */
static bool
same_numbers(cursor *c, const int32_t *want, int n)
{
	bool		same = true;

	for (int i = 0; i < n; i++)
	{
		uint16_t	got;

		same &= take(c, &got, sizeof(got)) && got == want[i];
	}
	return same;
}

static bool
same_bytes(cursor *c, const void *want, size_t size)
{
	bool		same = (size_t) (c->end - c->at) >= size && memcmp(c->at, want, size) == 0;

	c->at += same ? size : 0;
	return same;
}

/* All examples of the next batch; the arrays are the batches', so a batch must be one part. */
static const dl_example *
one_part(dl_batches *b, int *n)
{
	const dl_example *rows,
			   *none;
	int			more;

	dl_batches_next(b, NULL);
	CHECK(dl_batches_part(b, &rows, n) && !dl_batches_part(b, &none, &more), "one part");
	dl_batches_again(b);
	CHECK(dl_batches_part(b, &rows, n), "again");
	return rows;
}

static bool
step_is(cursor *c, const dl_example *rows, int n)
{
	uint32_t	counts[3];
	int			tokens = 0,
				asks = 0;
	bool		same;

	for (int i = 0; i < n; i++)
	{
		tokens += rows[i].n;
		asks += rows[i].n_ask;
	}
	same = take(c, counts, sizeof(counts)) && counts[0] == (uint32_t) n && counts[1] == (uint32_t) tokens && counts[2] == (uint32_t) asks;
	for (int i = 0; i < n; i++)
		same = same && same_numbers(c, &rows[i].n, 1);
	for (int i = 0; i < n; i++)
		same = same && same_numbers(c, &rows[i].n_ask, 1);
	for (int i = 0; i < n; i++)
		same = same && same_numbers(c, rows[i].ids, rows[i].n);
	for (int i = 0; i < n; i++)
		same = same && same_numbers(c, rows[i].ask, rows[i].n_ask);
	for (int i = 0; i < n; i++)
		same = same && same_numbers(c, rows[i].target, rows[i].n_ask);
	for (int i = 0; i < n; i++)
		same = same && same_bytes(c, rows[i].live, (size_t) rows[i].n);
	for (int i = 0; i < n; i++)
		same = same && same_bytes(c, rows[i].weight, (size_t) rows[i].n_ask * sizeof(float));
	return same;
}

static void
a_file_is_what_the_run_computes_with(const setting *s)
{
	bench		b;
	dlm_error	err = {0};
	dlm_train  *writer,
			   *twin;
	char		path[300];
	uint8_t    *data;
	size_t		size;
	cursor		c;
	uint32_t	header[6];

	if (!bench_open(s, &b))
		return;
	snprintf(path, sizeof(path), "%s/examples", b.folder);
	b.more = ", \"part_tokens\": 60";	/* parts do not show in the file */
	writer = bench_start(&b, &(dlm_env) {0}, &err);
	CHECK(writer != NULL && dlm_train_examples(writer, path, &err) == DLM_OK, "%s: %s", s->model, err.message);
	dlm_train_close(writer);
	b.more = ", \"part_tokens\": 100000";
	twin = bench_start(&b, &(dlm_env) {0}, &err);
	data = files_read(path, &size);
	CHECK(twin != NULL && data != NULL, "%s: twin and file", s->model);
	if (twin == NULL || data == NULL)
		return;
	c = (cursor) {data, data + size};
	CHECK(same_bytes(&c, "DLMEXAMP", 8) && take(&c, header, sizeof(header)) && header[0] == 1 && header[1] == 2 &&
		  header[2] == b.f.model->config.vocab && header[3] == b.f.model->config.mask_id && header[4] == 9 && header[5] == 0, "header");
	for (int i = 0; i < 9; i++)
	{
		int			n = 0;
		const dl_example *rows = one_part(twin->batches, &n);

		CHECK(n > 0 && step_is(&c, rows, n), "%s: step %d of %d rows", s->model, i + 1, n);
	}
	CHECK(c.at == c.end, "%zu bytes too many", (size_t) (c.end - c.at));
	free(data);
	dlm_train_close(twin);
	CHECK(files_count(b.folder) == 1, "only the file");
	bench_close(&b);
}

static bool
stop_always(void *arg)
{
	return *(bool *) arg;
}

static void
refused(const char *more, dlm_objective objective, const char *why)
{
	const setting s = {"context", DLM_WEIGHTS_BF16, objective, 1, true, objective == DLM_OBJECTIVE_LENGTH ? "\"warmup\": 0.1" : "\"rank\": 2"};
	bench		b;
	dlm_error	err = {0};
	dlm_train  *run;
	char		path[300];

	if (!bench_open(&s, &b))
		return;
	b.more = more;
	snprintf(path, sizeof(path), "%s/examples", b.folder);
	run = bench_start(&b, &(dlm_env) {0}, &err);
	CHECK(run != NULL && dlm_train_examples(run, path, &err) == DLM_EINVAL && strstr(err.message, why) != NULL, "%s", err.message);
	dlm_train_close(run);
	CHECK(files_count(b.folder) == 0, "no file");
	bench_close(&b);
}

static void
nothing_is_left_of_what_failed(void)
{
	bench		b;
	bool		stop = false;
	dlm_error	err = {0};
	dlm_train  *run;
	char		path[300];

	refused(", \"distill\": 0.5", DLM_OBJECTIVE_INSTRUCTION, "teacher");
	refused(", \"dropout\": 0.1", DLM_OBJECTIVE_INSTRUCTION, "dropout");
	refused(", \"label_smoothing\": 0.1", DLM_OBJECTIVE_INSTRUCTION, "smoothing");
	refused(NULL, DLM_OBJECTIVE_LENGTH, "length head");
	if (!bench_open(&settings[0], &b))
		return;
	snprintf(path, sizeof(path), "%s/examples", b.folder);
	run = bench_rows(&b, &(dlm_env) {.stop = stop_always, .arg = &stop}, &err);
	CHECK(run != NULL && dlm_train_examples(run, path, &err) == DLM_EINVAL, "before start: %s", err.message);
	CHECK(dlm_train_start(run, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_train_examples(run, "/nonexistent/x", &err) == DLM_ENOENT || err.status == DLM_EIO, "%s", err.message);
	dlm_train_close(run);
	run = bench_start(&b, &(dlm_env) {.stop = stop_always, .arg = &stop}, &err);
	stop = true;
	CHECK(run != NULL && dlm_train_examples(run, path, &err) == DLM_EINTR && files_count(b.folder) == 0, "interrupted: %s", err.message);
	stop = false;
	CHECK(dlm_train_examples(run, path, &err) == DLM_EINVAL && dlm_train_step(run, &err) == DLM_EINVAL, "only to be closed: %s", err.message);
	dlm_train_close(run);
	stop = false;
	run = bench_start(&b, &(dlm_env) {0}, &err);
	while (run != NULL && run->state.step == 0 && dlm_train_step(run, &err) == DLM_MORE)
		;
	CHECK(run != NULL && dlm_train_examples(run, path, &err) == DLM_EINVAL && strstr(err.message, "not begun") != NULL, "%s", err.message);
	dlm_train_close(run);
	CHECK(files_count(b.folder) == 0, "no file");
	bench_close(&b);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		a_file_is_what_the_run_computes_with(&settings[i]);
	nothing_is_left_of_what_failed();
	return harness_end("t_examples");
}
