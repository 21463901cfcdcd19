/*
 * dataset.c - see dataset.h: lists of rows, and what is asked of all of them.
 */
#include "dataset.h"

#include <limits.h>
#include <string.h>

#include "status.h"
#include "stream.h"

#define KEEP_BLOCK	((size_t) 256 * 1024)

/* Kept ids and labels lie behind this header. */
typedef struct dl_data_block
{
	struct dl_data_block *next;
	size_t		used,
				size;
} data_block;

/* ------------------------------------------------------------------- memory */

void *
dl_dataset_keep(dl_dataset *ds, size_t size)
{
	data_block *b = ds->block;
	size_t		head = (sizeof(*b) + 15) & ~(size_t) 15;
	void	   *p;

	size = (size + 15) & ~(size_t) 15;
	if (b == NULL || b->size - b->used < size)
	{
		size_t		payload = size > KEEP_BLOCK ? size : KEEP_BLOCK;

		b = dl_arena_block(ds->arena, head + payload);
		if (b == NULL && payload > size)
			b = dl_arena_block(ds->arena, head + (payload = size));	/* the last bytes under the limit */
		if (b == NULL)
			return NULL;
		*b = (data_block) {ds->block, 0, payload};
		ds->block = b;
	}
	p = (char *) b + head + b->used;
	b->used += size;
	return p;
}

/* Room for one more element in a list [n] of blocks; NULL when there is none. */
static void *
grow(dl_arena *a, void *list, int n, int *capacity, size_t size)
{
	int			wanted = *capacity > 0 ? *capacity * 2 : 64;
	void	   *grown;

	if (n < *capacity)
		return list;
	if (*capacity > INT_MAX / 2)
		return NULL;
	grown = dl_arena_block(a, (size_t) wanted * size);
	if (grown == NULL)
		return NULL;
	if (n > 0)
		memcpy(grown, list, (size_t) n * size);
	dl_arena_block_free(a, list);
	*capacity = wanted;
	return grown;
}

static dlm_status
append_index(dl_dataset *ds, dl_data_source *s, int index, dlm_error *err)
{
	int		   *list = grow(ds->arena, s->row, s->n, &s->capacity, sizeof(int));

	if (list == NULL)
		return dl_fail_memory(err);
	s->row = list;
	s->row[s->n++] = index;
	return DLM_OK;
}

dlm_status
dl_dataset_create(const dlm_model *model, const dl_dataset_options *options, const dlm_env *env, dl_arena *a,
				  dl_dataset **out, dlm_error *err)
{
	int			context = (int) model->config.context;
	dl_dataset *ds;

	if (options->row_tokens < 0 || options->row_tokens == 1)
		return dl_fail(err, DLM_EINVAL, "", "rows must have at least 2 tokens");
	ds = dl_arena_block(a, sizeof(*ds));
	if (ds == NULL)
		return dl_fail_memory(err);
	memset(ds, 0, sizeof(*ds));
	ds->model = model;
	ds->arena = a;
	if (env != NULL)
		ds->env = *env;
	ds->options = *options;
	ds->row_tokens = options->row_tokens == 0 || options->row_tokens > context ? context : options->row_tokens;
	ds->stop = model->settings.n_stop > 0 ? model->settings.stop[0] : -1;
	ds->n_sources = 1;
	ds->source[0].weight = 1;
	dl_sha256_init(&ds->digest);
	*out = ds;
	return DLM_OK;
}

void
dl_dataset_free(dl_dataset *ds)
{
	if (ds == NULL)
		return;
	for (data_block *b = ds->block, *next; b != NULL; b = next)
	{
		next = b->next;
		dl_arena_block_free(ds->arena, b);
	}
	for (int s = 0; s < ds->n_sources; s++)
		dl_arena_block_free(ds->arena, ds->source[s].row);
	dl_arena_block_free(ds->arena, ds->validation.row);
	dl_arena_block_free(ds->arena, ds->rows);
	dl_arena_block_free(ds->arena, ds);
}

dlm_status
dl_dataset_source(dl_dataset *ds, const char *name, double weight, int *source, dlm_error *err)
{
	dl_data_source *s = &ds->source[ds->n_sources];
	dlm_text	text = dl_clip(dl_text(name));

	if (!(weight > 0) || !isfinite(weight))
		return dl_fail(err, DLM_EINVAL, "", "weight of source \"%.*s\" must be a positive number", (int) text.len,
					   text.data);
	if (ds->n_sources == DL_MAX_SOURCES)
		return dl_fail(err, DLM_EINVAL, "", "more than %d sources of rows", DL_MAX_SOURCES);
	memset(s, 0, sizeof(*s));
	if (text.len > 0)
		memcpy(s->name, text.data, text.len);
	s->weight = weight;
	*source = ds->n_sources++;
	return DLM_OK;
}

dlm_status
dl_dataset_weigh(dl_dataset *ds, int source, double weight, dlm_error *err)
{
	if (!(weight > 0) || !isfinite(weight))
		return dl_fail(err, DLM_EINVAL, "", "weight of a source must be a positive number");
	ds->source[source].weight = weight;
	return DLM_OK;
}

/* --------------------------------------------------------------------- rows */

static void
hash_ids(dl_sha256 *digest, const int32_t *ids, int n)
{
	if (n > 0)
		dl_sha256_update(digest, ids, (size_t) n * sizeof(*ids));
}

static void
hash_row(dl_dataset *ds, int source, const dl_tokenised *t)
{
	int32_t		about[] = {source, t->text, t->n_front, t->n_body, t->n_back, t->answer, t->labels.n};

	hash_ids(&ds->digest, about, (int) (sizeof(about) / sizeof(about[0])));
	hash_ids(&ds->digest, t->front, t->n_front);
	hash_ids(&ds->digest, t->body, t->n_body);
	hash_ids(&ds->digest, t->back, t->n_back);
	if (t->labels.n == 0)
		return;
	dl_sha256_update(&ds->digest, t->labels.start, ((size_t) t->labels.n + 1) * sizeof(int));
	hash_ids(&ds->digest, t->labels.ids, t->labels.start[t->labels.n]);
}

static bool
same_answers(const dl_answers *a, const dl_answers *b)
{
	return a->n == b->n && memcmp(a->start, b->start, ((size_t) a->n + 1) * sizeof(int)) == 0 &&
		memcmp(a->ids, b->ids, (size_t) a->start[a->n] * sizeof(int32_t)) == 0;
}

/* A copy that stays. Rows of one task have the same labels: neighbours share them. */
static dlm_status
keep_labels(dl_dataset *ds, const dl_answers *labels, const dl_answers **out, dlm_error *err)
{
	size_t		starts = ((size_t) labels->n + 1) * sizeof(int);
	size_t		tokens = (size_t) labels->start[labels->n] * sizeof(int32_t);
	dl_answers *kept;

	if (ds->last_labels == NULL || !same_answers(ds->last_labels, labels))
	{
		kept = dl_dataset_keep(ds, sizeof(*kept) + starts + tokens);
		if (kept == NULL)
			return dl_fail_memory(err);
		*kept = (dl_answers) {.n = labels->n, .n_max = labels->n_max, .start = (int *) (kept + 1),
			.ids = (int32_t *) ((char *) (kept + 1) + starts)};
		memcpy(kept + 1, labels->start, starts);
		memcpy((char *) (kept + 1) + starts, labels->ids, tokens);
		ds->last_labels = kept;
	}
	*out = ds->last_labels;
	return DLM_OK;
}

/* Keep `n` tokens of the body from `from` on as a row. */
static dlm_status
keep_row(dl_dataset *ds, dl_data_source *s, const dl_tokenised *t, int from, int n, const dl_data_row *about,
		 dlm_error *err)
{
	dl_data_row *rows = grow(ds->arena, ds->rows, ds->n, &ds->capacity, sizeof(*rows));
	int32_t    *ids = dl_dataset_keep(ds, ((size_t) t->n_front + (size_t) n + (size_t) t->n_back) * sizeof(int32_t));

	if (rows != NULL)
		ds->rows = rows;
	if (rows == NULL || ids == NULL)
		return dl_fail_memory(err);
	rows[ds->n] = *about;
	rows[ds->n].ids = ids;
	rows[ds->n].target = n;
	if (t->n_front > 0)
		memcpy(ids, t->front, (size_t) t->n_front * sizeof(int32_t));
	memcpy(ids + t->n_front, t->body + from, (size_t) n * sizeof(int32_t));
	if (t->n_back > 0)
		memcpy(ids + t->n_front + n, t->back, (size_t) t->n_back * sizeof(int32_t));
	return append_index(ds, s, ds->n++, err);
}

/* Has a piece of text a token that can be canvas? Special tokens (of unknown characters) and the row's start cannot. */
static bool
can_learn(const dl_dataset *ds, const dl_tokenised *t, int from, int n)
{
	int			first = t->n_front > 0 ? 0 : (int) ds->model->config.logit_shift;

	for (int i = first; i < n; i++)
		if (!dl_tok_is_special(ds->model->tok, t->body[from + i]))
			return true;
	return false;
}

/* A text in pieces of the most tokens that fit. */
static dlm_status
keep_text(dl_dataset *ds, dl_data_source *s, const dl_tokenised *t, const dl_data_row *about, dlm_error *err)
{
	int			most = ds->row_tokens - t->n_front - t->n_back;
	int			rows = s->n;

	for (int from = 0; from < t->n_body; from += most)
	{
		int			n = t->n_body - from < most ? t->n_body - from : most;
		dlm_status	st = can_learn(ds, t, from, n) ? keep_row(ds, s, t, from, n, about, err) : DLM_OK;

		if (st != DLM_OK)
			return st;
	}
	if (s->n == rows)
		return dl_fail(err, DLM_EINVAL, "", "text has no tokens that could be predicted");
	return DLM_OK;
}

static dlm_status
tokenise_and_keep(dl_dataset *ds, int source, const dl_row_text *row, dlm_error *err)
{
	dl_data_source *s = source == DL_VALIDATION ? &ds->validation : &ds->source[source];
	bool		is_text = row->text.data != NULL;
	dl_tokenised t;
	dl_data_row about;
	dlm_status	st = is_text ? dl_tokenise_text(ds, row, &t, err) : dl_tokenise_instruction(ds, row, &t, err);

	if (st != DLM_OK)
		return st;
	about = (dl_data_row) {.head = t.n_front, .tail = t.n_back, .text = is_text, .item = s->items,
		.n_labels = t.labels.n, .answer = t.answer, .key = row->key};
	if (ds->options.lengths && (is_text || t.n_front == 0))
		return dl_fail(err, DLM_EINVAL, "A length head is trained on rows with a target and an instruction or input.",
					   is_text ? "a text has no answer whose length could be learnt" : "nothing stands before the target");
	if (t.labels.n > 0 && !ds->options.lengths && (source == DL_VALIDATION || (source == 0 && ds->options.keep_labels)))
		st = keep_labels(ds, &t.labels, &about.labels, err);
	if (st == DLM_OK)
		st = is_text ? keep_text(ds, s, &t, &about, err) : keep_row(ds, s, &t, 0, t.n_body, &about, err);
	if (st != DLM_OK)
		return st;
	hash_row(ds, source, &t);
	s->items++;
	return DLM_OK;
}

dlm_status
dl_dataset_add(dl_dataset *ds, int source, const dl_row_text *row, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(ds->arena);
	dl_data_source *s;
	int			rows = ds->n;
	int			listed;
	dlm_error	cause = {0};
	dlm_status	st;

	if (source < DL_VALIDATION || source >= ds->n_sources)
		return dl_fail(err, DLM_EINVAL, "", "row %lld: there is no source %d", (long long) row->key, source);
	s = source == DL_VALIDATION ? &ds->validation : &ds->source[source];
	listed = s->n;
	st = tokenise_and_keep(ds, source, row, &cause);
	dl_arena_rewind(ds->arena, mark);
	if (st == DLM_OK)
		return DLM_OK;
	ds->n = rows;
	s->n = listed;
	return dl_fail(err, st, cause.hint, "row %lld: %s", (long long) row->key, cause.message);
}

void
dl_dataset_digest(const dl_dataset *ds, uint8_t digest[32])
{
	dl_sha256	copy = ds->digest;

	dl_sha256_final(&copy, digest);
}

/* --------------------------------------------------------------- held out */

static double
place_of(int64_t seed, int item)
{
	dl_stream	s = dl_stream_of(seed, DL_USE_HOLD_OUT, 0, (uint64_t) item);

	return dl_stream_uniform(&s);
}

/* The place below which items are held out: the share, or what takes one item, or leaves one. */
static double
hold_out_below(int items, double share, int64_t seed)
{
	double		least = 2,
				second = 2,
				most = -1;

	for (int i = 0; i < items; i++)
	{
		double		place = place_of(seed, i);

		if (place < least)
		{
			second = least;
			least = place;
		}
		else if (place < second)
			second = place;
		if (place > most)
			most = place;
	}
	if (items < 2 || share == 0)
		return 0;
	return share > most ? most : share <= least ? second : share;
}

dlm_status
dl_dataset_hold_out(dl_dataset *ds, double share, int64_t seed, dlm_error *err)
{
	dl_data_source *s = &ds->source[0];
	double		below;
	int			before = ds->validation.n;
	int			kept = 0;

	if (!(share >= 0 && share < 1))
		return dl_fail(err, DLM_EINVAL, "", "share of rows held out must be at least 0 and less than 1");
	below = hold_out_below(s->items, share, seed);
	for (int i = 0; i < s->n; i++)
	{
		dlm_status	st = DLM_OK;

		if (place_of(seed, ds->rows[s->row[i]].item) < below)
			st = append_index(ds, &ds->validation, s->row[i], err);
		if (st != DLM_OK)
		{
			ds->validation.n = before;
			return st;
		}
	}
	for (int i = 0; i < s->n; i++)
		if (!(place_of(seed, ds->rows[s->row[i]].item) < below))
			s->row[kept++] = s->row[i];
	s->n = kept;
	return DLM_OK;
}

/* ------------------------------------------------------------------- check */

/* What rows have in common. */
typedef struct dl_sameness
{
	const dl_data_row *first;	/* instruction row, NULL: none yet */
	bool		one_target,
				one_label,
				any_text;
	int			rows;
} dl_sameness;

static void
compare_rows(const dl_dataset *ds, const dl_data_source *s, dl_sameness *same)
{
	for (int i = 0; i < s->n; i++)
	{
		const dl_data_row *r = &ds->rows[s->row[i]];

		if (same->first == NULL)
			same->first = r;
		same->any_text |= r->text;
		same->rows++;
		same->one_label &= r->n_labels == 1;
		same->one_target &= r->target == same->first->target &&
			memcmp(r->ids + r->head, same->first->ids + same->first->head, (size_t) r->target * sizeof(int32_t)) == 0;
	}
}

dlm_status
dl_dataset_check(const dl_dataset *ds, dlm_error *err)
{
	dl_sameness same = {.one_target = true, .one_label = true};

	for (int i = 0; i < ds->n_sources; i++)
	{
		const dl_data_source *s = &ds->source[i];

		if (s->n == 0)
			return dl_fail(err, DLM_EINVAL, "", i == 0 ? "there are no rows to train on%s" : "source \"%s\" has no rows",
						   i == 0 ? "" : s->name);
		compare_rows(ds, s, &same);
	}
	if (same.any_text || (!same.one_label && (!same.one_target || same.rows == 1)))
		return DLM_OK;
	return dl_fail(err, DLM_EINVAL, "A model that sees one answer only learns to give it always.",
				   same.one_label ? "rows have one label each" : "rows have one label only");
}
