/*
 * closed_rows.c - rows in which gaps with choices are canvases; see closed_rows.h.
 *
 * A row asks for every position of the canvases that it scores. Of each
 * position the logits of the tokens that some choice has there are kept, then
 * turned into log-probabilities over the whole vocabulary less never_score, as
 * those of labels are.
 */
#include "closed_rows.h"
#include "logprob.h"
#include "status.h"

#include <string.h>

/* A token that some choice has at an asked position. */
typedef struct wanted
{
	int32_t		id;
	float		logprob;
} wanted;

/* An asked canvas of a row. */
typedef struct scored
{
	dl_closed_gap *gap;
	int			length;
	int			first_ask;
} scored;

struct dl_closed_row
{
	dl_closed_row *next;
	dl_closed  *closed;
	dl_row		row;
	int			n_scored;
	scored	   *scored;			/* [n_scored] */
	int		   *want_start;		/* [asks + 1] into want */
	wanted	   *want;			/* of each ask: ascending, distinct ids */
};

/* What stands in a gap of a row. */
typedef struct content
{
	int			masks;			/* 0: these ids */
	bool		asked;
	const int32_t *id;
	int			n;
} content;

/* ----------------------------------------------------------------- reduce */

static void
reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	const dl_closed_row *r = ctx;
	const dlm_session *s = r->closed->all->task->session;
	const dl_settings *set = &s->model->settings;
	int			low = r->want_start[ask],
				high = r->want_start[ask + 1],
				end = high;

	dl_logits_exclude(logits, first, n, set->never_score, set->n_never_score);
	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (r->want[mid].id < first)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < end && r->want[low].id - first < n; low++)
		r->want[low].logprob = logits[r->want[low].id - first];
	*(dl_block_sum *) partial = dl_block_sum_of(s->kernels, logits, n, logits);
}

static void
fold(void *ctx, int ask, void *partials, int n_blocks)
{
	const dl_closed_row *r = ctx;
	dl_normalizer norm = dl_blocks_normalizer(partials, n_blocks);

	for (int i = r->want_start[ask]; i < r->want_start[ask + 1]; i++)
		r->want[i].logprob = dl_logprob(r->want[i].logprob, norm);
}

static const dl_reducer choices_tokens = {sizeof(dl_block_sum), reduce, fold};

/* ------------------------------------------------------------------- rows */

/* What a decided or decoded gap holds. */
static content
text_of(const dl_closed *c, int gap)
{
	const dl_closed_gap *g = c->of_gap[gap];
	const dl_canvas *canvas;
	int			open = 0;

	if (g != NULL)
		return (content) {.id = g->answers.ids + g->answers.start[g->choice], .n = dl_answer_length(&g->answers, g->choice)};
	for (int i = 0; i < gap; i++)
		open += c->of_gap[i] == NULL;
	canvas = &c->open.winner->row.canvas;
	return (content) {.id = canvas->ids + canvas->slot[canvas->gap_first[open]].position,
		.n = canvas->gap_first[open + 1] - canvas->gap_first[open]};
}

/* The open gap's space token, where one stands before it. */
static int
spaces_before(const dl_closed *c, int gap)
{
	int			open = 0;

	if (c->of_gap[gap] != NULL || c->phase != DL_CLOSED_REVISE)
		return 0;
	for (int i = 0; i < gap; i++)
		open += c->of_gap[i] == NULL;
	return c->open.frame.lone_space[open] ? c->open.frame.n_space : 0;
}

typedef struct sizes
{
	size_t		tokens,
				asks,
				wanted;
	int			scored;
} sizes;

static sizes
measure(const dl_closed *c, const content *in)
{
	const dl_frame *frame = &c->all->frame;
	sizes		z = {.tokens = (size_t) frame->piece[frame->n_gaps].n};

	for (int g = 0; g < frame->n_gaps; g++)
	{
		z.tokens += (size_t) (frame->piece[g].n + spaces_before(c, g) + (in[g].masks ? in[g].masks : in[g].n));
		if (!in[g].asked)
			continue;
		z.scored++;
		z.asks += (size_t) in[g].masks;
		for (int i = 0; i < c->of_gap[g]->answers.n; i++)
			if (dl_answer_length(&c->of_gap[g]->answers, i) == in[g].masks)
				z.wanted += (size_t) in[g].masks;
	}
	return z;
}

/* A block with everything in it; NULL: no memory. */
static dl_closed_row *
allocate(dl_arena *a, const sizes *z)
{
	size_t		scored_at = (sizeof(dl_closed_row) + 15) & ~(size_t) 15;
	size_t		start_at = scored_at + (size_t) z->scored * sizeof(scored);
	size_t		want_at = start_at + (z->asks + 1) * sizeof(int);
	size_t		ids_at = want_at + z->wanted * sizeof(wanted);
	size_t		ask_at = ids_at + z->tokens * sizeof(int32_t);
	size_t		live_at = ask_at + z->asks * sizeof(int32_t);
	char	   *p = dl_arena_block(a, live_at + z->tokens);
	dl_closed_row *r = (dl_closed_row *) p;

	if (p == NULL)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->scored = (scored *) (p + scored_at);
	r->want_start = (int *) (p + start_at);
	r->want_start[0] = 0;
	r->want = (wanted *) (p + want_at);
	r->row.ids = (int32_t *) (p + ids_at);
	r->row.ask = (int32_t *) (p + ask_at);
	r->row.live = (uint8_t *) (p + live_at);
	memset(p + live_at, 0, z->tokens);
	return r;
}

static void
put_ids(dl_closed_row *r, const int32_t *id, int n)
{
	if (n > 0)
		memcpy((int32_t *) r->row.ids + r->row.n, id, (size_t) n * sizeof(*id));
	r->row.n += n;
}

/* A run of masks, and what predicts its first one (DESIGN 4). */
static void
put_masks(dl_closed_row *r, const dlm_model *model, int n, bool asked)
{
	uint8_t    *live = (uint8_t *) r->row.live;

	if (model->config.logit_shift > 0)
		live[r->row.n - 1] = 1;
	for (int i = 0; i < n; i++)
	{
		if (asked)
			((int32_t *) r->row.ask)[r->row.n_ask++] = r->row.n;
		live[r->row.n] = 1;
		((int32_t *) r->row.ids)[r->row.n++] = (int32_t) model->config.mask_id;
	}
}

/* Heapsort by id: lists of choices may be long. */
static void
sort_wanted(wanted *w, int n)
{
	for (int end = n, from = n / 2; end > 1;)
	{
		int			at;

		if (from > 0)
			at = --from;
		else
		{
			wanted		t = w[--end];

			w[end] = w[0];
			w[0] = t;
			at = 0;
		}
		for (int child = 2 * at + 1; child < end; child = 2 * at + 1)
		{
			wanted		t = w[at];

			child += child + 1 < end && w[child + 1].id > w[child].id;
			if (w[child].id <= t.id)
				break;
			w[at] = w[child];
			w[child] = t;
			at = child;
		}
	}
}

/* The tokens that choices of this length have at each position of the canvas. */
static void
put_wanted(dl_closed_row *r, dl_closed_gap *g, int length)
{
	int			first = r->row.n_ask - length;

	r->scored[r->n_scored++] = (scored) {g, length, first};
	for (int j = 0; j < length; j++)
	{
		wanted	   *w = r->want + r->want_start[first + j];
		int			n = 0,
					distinct = 0;

		for (int i = 0; i < g->answers.n; i++)
			if (dl_answer_length(&g->answers, i) == length)
				w[n++] = (wanted) {g->answers.ids[g->answers.start[i] + j], 0};
		sort_wanted(w, n);
		for (int i = 0; i < n; i++)
			if (i == 0 || w[i].id != w[i - 1].id)
				w[distinct++] = w[i];
		r->want_start[first + j + 1] = r->want_start[first + j] + distinct;
	}
}

static dlm_status
add_row(dl_closed *c, const content *in, dl_kv *kv, dlm_error *err)
{
	dlm_session *s = c->all->task->session;
	const dl_frame *frame = &c->all->frame;
	sizes		z = measure(c, in);
	dl_closed_row *r = allocate(s->arena, &z);

	if (r == NULL)
		return dl_fail_memory(err);
	r->closed = c;
	for (int g = 0; g <= frame->n_gaps; g++)
	{
		put_ids(r, frame->piece[g].id, frame->piece[g].n);
		if (g == frame->n_gaps)
			break;
		if (in[g].masks > 0)
			put_masks(r, s->model, in[g].masks, in[g].asked);
		else
		{
			put_ids(r, c->open.frame.space, spaces_before(c, g));
			put_ids(r, in[g].id, in[g].n);
		}
		if (in[g].asked)
			put_wanted(r, c->of_gap[g], in[g].masks);
	}
	r->row.reducer = &choices_tokens;
	r->row.ctx = r;
	r->row.kv = kv;
	r->next = c->rows;
	c->rows = r;
	return dl_session_add_row(s, &r->row, err);
}

/* ------------------------------------------------------------------ rounds */

/* The cache of a round's k-th row, or NULL. */
static dlm_status
cache_of(dl_closed *c, int k, dl_kv **out, dlm_error *err)
{
	dlm_session *s = c->all->task->session;

	*out = NULL;
	if (k >= DL_CLOSED_CACHES || s->model->config.attention != DL_ATT_CONTEXT)
		return DLM_OK;
	if (c->kv[k] == NULL && (c->kv[k] = dl_kv_create(s->model, s->arena)) == NULL)
		return dl_fail_memory(err);
	*out = c->kv[k];
	return DLM_OK;
}

dlm_status
dl_closed_choose_rows(dl_closed *c, dlm_error *err)
{
	const dl_fill *all = c->all;
	dl_arena   *a = all->task->session->arena;
	dl_mark		mark = dl_arena_mark(a);
	content    *in = dl_arena_calloc(a, (size_t) all->frame.n_gaps, sizeof(*in));
	int			rows = 1;
	dlm_status	st = in ? DLM_OK : dl_fail_memory(err);

	for (int k = 0; k < rows && st == DLM_OK; k++)
	{
		dl_kv	   *kv;

		for (int g = 0; g < all->frame.n_gaps; g++)
		{
			const dl_closed_gap *closed = c->of_gap[g];

			if (closed == NULL)
				in[g] = (content) {.masks = all->current[g]};
			else if (closed->choice >= 0)
				in[g] = text_of(c, g);
			else
			{
				in[g] = (content) {.masks = closed->length[k % closed->n_lengths], .asked = k < closed->n_lengths};
				rows = rows > closed->n_lengths ? rows : closed->n_lengths;
			}
		}
		st = cache_of(c, k, &kv, err);
		if (st == DLM_OK)
			st = add_row(c, in, kv, err);
	}
	dl_arena_rewind(a, mark);
	return st;
}

dlm_status
dl_closed_revise_rows(dl_closed *c, dlm_error *err)
{
	const dl_fill *all = c->all;
	dl_arena   *a = all->task->session->arena;
	dl_mark		mark = dl_arena_mark(a);
	content    *in = dl_arena_calloc(a, (size_t) all->frame.n_gaps, sizeof(*in));
	dlm_status	st = in ? DLM_OK : dl_fail_memory(err);

	for (int g = 0; g < all->frame.n_gaps && st == DLM_OK; g++)
		in[g] = text_of(c, g);
	for (int i = 0; i < c->n && st == DLM_OK; i++)
	{
		int			g = c->gap[i].gap;
		content		text = in[g];

		for (int k = 0; c->gap[i].revised && k < c->gap[i].n_lengths && st == DLM_OK; k++)
		{
			in[g] = (content) {.masks = c->gap[i].length[k], .asked = true};
			st = add_row(c, in, NULL, err);
		}
		in[g] = text;
	}
	dl_arena_rewind(a, mark);
	return st;
}

/* ------------------------------------------------------------------ scores */

static float
logprob_of(const dl_closed_row *r, int ask, int32_t id)
{
	int			low = r->want_start[ask],
				high = r->want_start[ask + 1];

	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (r->want[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return r->want[low].logprob;
}

dlm_normalize
dl_closed_normalize(const dl_closed *c)
{
	const dl_task *task = c->all->task;
	dlm_normalize n = task->options->normalize;

	return n != DLM_NORMALIZE_DEFAULT ? n : task->session->model->settings.normalize;
}

static bool
takes_sum(const dl_closed *c)
{
	return dl_closed_normalize(c) == DLM_NORMALIZE_SUM;
}

void
dl_closed_rows_score(dl_closed *c)
{
	bool		sum = takes_sum(c);

	for (const dl_closed_row *r = c->rows; r; r = r->next)
		for (int k = 0; k < r->n_scored; k++)
		{
			const scored *x = &r->scored[k];
			const dl_answers *all = &x->gap->answers;

			for (int i = 0; i < all->n; i++)
			{
				double		total = 0;

				if (dl_answer_length(all, i) != x->length)
					continue;
				for (int j = 0; j < x->length; j++)
					total += (double) logprob_of(r, x->first_ask + j, all->ids[all->start[i] + j]);
				x->gap->logprob[i] = sum ? total : total / x->length;
			}
		}
}

void
dl_closed_rows_free(dl_closed *c)
{
	while (c->rows != NULL)
	{
		dl_closed_row *next = c->rows->next;

		dl_arena_block_free(c->all->task->session->arena, c->rows);
		c->rows = next;
	}
}

double
dl_closed_mean(const dl_closed *c, const dl_closed_gap *g, int choice)
{
	return takes_sum(c) ? g->logprob[choice] / dl_answer_length(&g->answers, choice) : g->logprob[choice];
}
