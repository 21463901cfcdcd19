/*
 * data.h - datasets of tiny models, and the rows that the engine's own tasks
 * put through the network.
 */
#ifndef DATA_H
#define DATA_H

#include "tiny.h"
#include "mask.h"
#include "scheduler.h"

static inline dlm_text
data_text(const char *s)
{
	return (dlm_text) {s, s == NULL ? 0 : strlen(s)};
}

static inline dl_row_text
data_instruction(const char *instruction, const char *input, const char *target)
{
	return (dl_row_text) {.instruction = data_text(instruction), .input = data_text(input), .target = data_text(target),
		.key = 1};
}

static inline dl_row_text
data_plain(const char *text)
{
	return (dl_row_text) {.text = data_text(text), .key = 1};
}

/* NULL after a failed check. */
static inline dl_dataset *
data_create(const dlm_model *model, const dl_dataset_options *options, dl_arena *a)
{
	dlm_error	err = {0};
	dl_dataset *ds = NULL;

	CHECK(dl_dataset_create(model, options, NULL, a, &ds, &err) == DLM_OK, "%s", err.message);
	return ds;
}

/* Add a row that must be taken. */
static inline void
data_add(dl_dataset *ds, int source, const dl_row_text *row)
{
	dlm_error	err = {0};

	CHECK(dl_dataset_add(ds, source, row, &err) == DLM_OK, "%s", err.message);
}

static inline bool
data_same(const void *a, const void *b, size_t size)
{
	return size == 0 || memcmp(a, b, size) == 0;
}

/* n words of a word list, the same for the same seed; behind one another in buf. */
static inline const char *
data_words(int n, uint64_t seed, char *buf, size_t size)
{
	static const char *const words[] = {
		"the", "boat", "is", "red", "and", "sails", "over", "a", "cold", "sea", "today", "where", "no"
	};
	size_t		at = 0;

	buf[0] = 0;
	for (int i = 0; i < n && at + 8 < size; i++)
		at += (size_t) snprintf(buf + at, size - at, "%s%s", i > 0 ? " " : "",
								words[(int) (batch_uniform(&seed) * 13)]);
	return buf;
}

/* The rows of a request's first round; NULL after a failed check. Close with data_session_close. */
static inline dlm_session *
data_session(const dlm_model *model, const dlm_request *request, const char *what)
{
	dlm_session *s = NULL;
	dlm_error	err = {0};
	dlm_status	st = dlm_session_open(model, request, 1, NULL, &s, &err);
	dl_task    *task = s != NULL ? &s->tasks[0] : NULL;

	if (st == DLM_OK)
		st = task->ops->open(task, &err);
	if (st == DLM_OK)
		st = task->ops->plan(task, &err);
	CHECK(st == DLM_OK, "%s: %s", what, err.message);
	return s;
}

static inline void
data_session_close(dlm_session *s)
{
	if (s != NULL && s->tasks[0].state != NULL)
		s->tasks[0].ops->close(&s->tasks[0]);
	if (s != NULL)
		s->tasks[0].state = NULL;
	dlm_session_close(s);
}

/* Has the session a row of these tokens and live positions, asking for the same? */
static inline bool
data_session_has(const dlm_session *s, const dl_example *e, bool asks)
{
	for (int i = 0; s != NULL && i < s->n_rows; i++)
	{
		const dl_row *r = &s->rows[i];

		if (r->n == e->n && data_same(r->ids, e->ids, (size_t) e->n * sizeof(int32_t)) &&
			data_same(r->live, e->live, (size_t) e->n) &&
			(!asks || (r->n_ask == e->n_ask && data_same(r->ask, e->ask, (size_t) e->n_ask * sizeof(int32_t)))))
			return true;
	}
	return false;
}

#define BED_TOKENS	16384		/* of its space */

/* Masking without chance: the whole canvas, no stop tokens. */
#define DATA_WHOLE	((dl_masking) {.timesteps = 10, .whole = 1, .spans = 1})

/* A dataset of a tiny model, and what makes examples of it. */
typedef struct bed
{
	fixture		f;
	dl_arena   *a;
	dl_dataset *ds;
	dl_masking	masking;
	dl_masker	m;
	void	   *block;
	dl_mask_space space;
} bed;

static inline void
bed_dataset(bed *b, const dl_dataset_options *options)
{
	b->ds = data_create(b->f.model, options, b->a);
	b->masking = DATA_WHOLE;
	b->m = (dl_masker) {.ds = b->ds, .masking = &b->masking, .seed = 3};
	b->block = aligned_alloc(64, (dl_mask_space_bytes(BED_TOKENS) + 63) & ~(size_t) 63);
	b->space = dl_mask_space_over(b->block, BED_TOKENS);
}

static inline bool
bed_open(bed *b, const char *name, const dl_dataset_options *options)
{
	memset(b, 0, sizeof(*b));
	if (!tiny_open(name, DLM_WEIGHTS_F32, &b->f))
		return false;
	b->a = dl_arena_create(0);
	bed_dataset(b, options);
	return true;
}

static inline void
bed_close(bed *b)
{
	dl_dataset_free(b->ds);
	CHECK(dl_arena_used(b->a) == 0, "%zu bytes are left", dl_arena_used(b->a));
	free(b->block);
	dl_arena_destroy(b->a);
	fixture_close(&b->f);
}

/* A refusal in these words. */
#define REFUSED(call, wanted, words) \
	do { \
		dlm_error	why = {0}; \
		dlm_status	got = (call); \
		CHECK(got == (wanted) && strcmp(why.message, words) == 0, "%d \"%s\"", (int) got, why.message); \
	} while (0)

#endif							/* DATA_H */
