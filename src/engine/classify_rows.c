/*
 * classify_rows.c - the rows that a question needs; see classify_rows.h.
 */
#include "classify_rows.h"
#include "logprob.h"
#include "status.h"

#include <string.h>

#define SHARED_TOKENS	16		/* longer answers are not compared with others to share rows */

int32_t
dl_question_stop(const dlm_model *model)
{
	const dl_settings *set = &model->settings;

	if (set->n_stop > 0)
		return set->stop[0];
	return set->n_end > 0 ? set->end[0] : -1;
}

int
dl_question_canvas(const dlm_model *model, dlm_scoring scoring, const dl_answers *answers)
{
	bool		with_stop = scoring == DLM_SCORING_ONE_PASS && dl_question_stop(model) >= 0;

	return answers->n_max + (with_stop ? 1 : 0);
}

/* Sort the answers' tokens by vocabulary block, so that a block finds its own. */
static dlm_status
index_tokens(dl_question *q, dlm_error *err)
{
	const dl_answers *all = &q->answers;
	int			tokens = all->start[all->n];
	int			blocks = dl_vocab_blocks((int) q->session->model->config.vocab);

	q->by_block = dl_arena_calloc(q->session->arena, (size_t) tokens, sizeof(int));
	q->answer_of = dl_arena_calloc(q->session->arena, (size_t) tokens, sizeof(int));
	q->block_start = dl_arena_calloc(q->session->arena, (size_t) blocks + 1, sizeof(int));
	if (q->by_block == NULL || q->answer_of == NULL || q->block_start == NULL)
		return dl_fail_memory(err);
	for (int k = 0; k < all->n; k++)
		for (int t = all->start[k]; t < all->start[k + 1]; t++)
			q->answer_of[t] = k;
	/* a counting sort: starts, then ends that are counted down to starts */
	for (int t = 0; t < tokens; t++)
		q->block_start[all->ids[t] / DL_VOCAB_BLOCK]++;
	for (int b = 1; b <= blocks; b++)
		q->block_start[b] += q->block_start[b - 1];
	for (int t = tokens - 1; t >= 0; t--)
		q->by_block[--q->block_start[all->ids[t] / DL_VOCAB_BLOCK]] = t;
	return DLM_OK;
}

dlm_status
dl_question_init(dl_question *q, dlm_session *s, dlm_scoring scoring, const dl_filled *row,
				 const dl_answers *answers, dlm_error *err)
{
	memset(q, 0, sizeof(*q));
	if ((uint32_t) row->head.n < s->model->config.logit_shift)
		return dl_fail(err, DLM_EINVAL, "Let some text stand before the label.",
					   "label stands at the start of the row, where this model predicts nothing");
	q->session = s;
	q->scoring = scoring;
	q->row = *row;
	q->answers = *answers;
	q->stop = scoring == DLM_SCORING_ONE_PASS ? dl_question_stop(s->model) : -1;
	q->logprob = dl_arena_calloc(s->arena, (size_t) answers->start[answers->n], sizeof(float));
	q->stop_logprob = dl_arena_calloc(s->arena, (size_t) answers->n, sizeof(float));
	if (q->logprob == NULL || q->stop_logprob == NULL)
		return dl_fail_memory(err);
	return index_tokens(q, err);
}

/* ---------------------------------------------------------------- units */

/* Would token `token` of answers a and b be predicted from the same row? */
static bool
same_unit(const dl_question *q, int a, int b, int token)
{
	const dl_answers *all = &q->answers;
	int			n = dl_answer_length(all, a);
	const int32_t *x = all->ids + all->start[a];
	const int32_t *y = all->ids + all->start[b];

	if (dl_answer_length(all, b) != n)
		return false;
	if (a == b || q->scoring == DLM_SCORING_GROUPED)
		return true;
	if (n > SHARED_TOKENS || memcmp(x, y, (size_t) token * sizeof(*x)) != 0)
		return false;
	return q->scoring == DLM_SCORING_CHAIN ||
		memcmp(x + token + 1, y + token + 1, (size_t) (n - token - 1) * sizeof(*x)) == 0;
}

bool
dl_question_next(const dl_question *q, dl_unit_cursor *at)
{
	if (q->scoring == DLM_SCORING_ONE_PASS)
		return at->answer == 0;
	for (; at->answer < q->answers.n; at->answer++, at->token = 0)
	{
		int			tokens = q->scoring == DLM_SCORING_GROUPED ? 1 : dl_answer_length(&q->answers, at->answer);

		for (; at->token < tokens; at->token++)
		{
			int			first = 0;

			while (!same_unit(q, first, at->answer, at->token))
				first++;
			if (first == at->answer)
				return true;
		}
	}
	return false;
}

/* The token of answer k that position `ask` of the unit's canvas predicts; -1: none, -2: the stop token. */
static int
token_at(const dl_unit *u, int ask, int k)
{
	const dl_question *q = u->question;
	int			n = dl_answer_length(&q->answers, k);
	int			token = ask;

	if (q->scoring == DLM_SCORING_ONE_PASS)
		return token < n ? token : token == n && q->stop >= 0 ? -2 : -1;
	if (q->scoring != DLM_SCORING_GROUPED)
		token = u->token;
	return k < u->answer || !same_unit(q, u->answer, k, token) ? -1 : token;
}

/* dl_reducer: the logits of all answers' tokens at one position, and the block's part of the normaliser. */
static void
reduce(void *ctx, int ask, int first, int n, float *logits, void *partial)
{
	const dl_unit *u = ctx;
	const dl_question *q = u->question;
	const dl_answers *all = &q->answers;
	const dlm_session *s = q->session;
	const dl_settings *set = &s->model->settings;
	int			block = first / DL_VOCAB_BLOCK;

	dl_logits_exclude(logits, first, n, set->never_score, set->n_never_score);
	for (int i = q->block_start[block]; i < q->block_start[block + 1]; i++)
	{
		int			t = q->by_block[i];
		int			k = q->answer_of[t];

		if (token_at(u, ask, k) == t - all->start[k])
			q->logprob[t] = logits[all->ids[t] - first];
	}
	if (q->stop >= first && q->stop - first < n)
		for (int k = 0; k < all->n; k++)
			if (token_at(u, ask, k) == -2)
				q->stop_logprob[k] = logits[q->stop - first];
	*(dl_block_sum *) partial = dl_block_sum_of(s->kernels, logits, n, logits);
}

static void
fold(void *ctx, int ask, void *partials, int n_blocks)
{
	const dl_unit *u = ctx;
	const dl_question *q = u->question;
	dl_normalizer norm = dl_blocks_normalizer(partials, n_blocks);

	for (int k = 0; k < q->answers.n; k++)
	{
		int			token = token_at(u, ask, k);
		float	   *slot;

		if (token == -1)
			continue;
		slot = token == -2 ? &q->stop_logprob[k] : &q->logprob[q->answers.start[k] + token];
		*slot = dl_logprob(*slot, norm);
	}
}

static const dl_reducer answers_tokens = {sizeof(dl_block_sum), reduce, fold};

/* ---------------------------------------------------------------- rows */

/* The canvas of a unit: masks, and what the rule reveals. */
static void
write_canvas(const dl_question *q, const dl_unit *u, int32_t *canvas)
{
	const int32_t *id = q->answers.ids + q->answers.start[u->answer];

	for (int j = 0; j < u->canvas; j++)
	{
		bool		shown = (q->scoring == DLM_SCORING_CHAIN && j < u->token) ||
			(q->scoring == DLM_SCORING_PLL && j != u->token);

		canvas[j] = shown ? id[j] : (int32_t) q->session->model->config.mask_id;
	}
}

/* A cache fits rows whose fixed tokens stand at the same positions: behind the canvas they move with its length. */
static dlm_status
choose_cache(dl_question *q, int canvas, dlm_error *err)
{
	int			fits = q->row.tail.n > 0 ? canvas : -1;

	if (q->scoring == DLM_SCORING_ONE_PASS || q->session->model->config.attention != DL_ATT_CONTEXT)
		return DLM_OK;
	if (q->kv != NULL && q->kv_canvas == fits)
		return DLM_OK;
	q->kv = dl_kv_create(q->session->model, q->session->arena);
	q->kv_canvas = fits;
	return q->kv != NULL ? DLM_OK : dl_fail_memory(err);
}

/* The unit's block: itself, then ids [n], asked positions, live [n]. */
static dl_unit *
allocate_unit(dl_arena *a, int n, int asks)
{
	size_t		ids_at = (sizeof(dl_unit) + 15) & ~(size_t) 15;
	size_t		ask_at = ids_at + (size_t) n * sizeof(int32_t);
	size_t		live_at = ask_at + (size_t) asks * sizeof(int32_t);
	char	   *block = dl_arena_block(a, live_at + (size_t) n);
	dl_unit    *u = (dl_unit *) block;

	if (block == NULL)
		return NULL;
	memset(u, 0, sizeof(*u));
	u->row.n = n;
	u->row.n_ask = asks;
	u->row.ids = (int32_t *) (block + ids_at);
	u->row.ask = (int32_t *) (block + ask_at);
	u->row.live = (uint8_t *) (block + live_at);
	return u;
}

dlm_status
dl_question_unit(dl_question *q, dl_unit_cursor *at, dl_unit **out, dlm_error *err)
{
	const dlm_model *model = q->session->model;
	bool		whole = q->scoring == DLM_SCORING_ONE_PASS || q->scoring == DLM_SCORING_GROUPED;
	int			head = q->row.head.n;
	int			tail = q->row.tail.n;
	int			canvas = q->scoring == DLM_SCORING_ONE_PASS ?
		dl_question_canvas(model, q->scoring, &q->answers) : dl_answer_length(&q->answers, at->answer);
	dl_kv	   *before = q->kv;
	dl_unit    *u = allocate_unit(q->session->arena, head + canvas + tail, whole ? canvas : 1);
	int32_t    *ids,
			   *ask;
	uint8_t    *live;

	if (u == NULL || choose_cache(q, canvas, err) != DLM_OK)
	{
		dl_arena_block_free(q->session->arena, u);
		q->kv = before;
		return dl_fail_memory(err);
	}
	ids = (int32_t *) u->row.ids;
	ask = (int32_t *) u->row.ask;
	live = (uint8_t *) u->row.live;
	u->question = q;
	u->answer = at->answer;
	u->token = at->token;
	u->canvas = canvas;
	u->superseded = q->kv != before ? before : NULL;
	if (head > 0)
		memcpy(ids, q->row.head.id, (size_t) head * sizeof(*ids));
	write_canvas(q, u, ids + head);
	if (tail > 0)
		memcpy(ids + head + canvas, q->row.tail.id, (size_t) tail * sizeof(*ids));
	memset(live, 0, (size_t) u->row.n);
	memset(live + head - model->config.logit_shift, 1, (size_t) canvas + model->config.logit_shift);
	for (int j = 0; j < u->row.n_ask; j++)
		ask[j] = head + (whole ? j : at->token);
	u->row.reducer = &answers_tokens;
	u->row.ctx = u;
	u->row.kv = q->kv;
	*out = u;
	/* step over the unit */
	if (whole)
		at->answer++;
	else
		at->token++;
	return DLM_OK;
}

void
dl_unit_free(dl_unit *u)
{
	if (u == NULL)
		return;
	if (u->superseded != NULL)
		dl_kv_free(u->superseded);
	dl_arena_block_free(u->question->session->arena, u);
}

void
dl_question_close(dl_question *q)
{
	if (q->kv != NULL)
		dl_kv_free(q->kv);
	q->kv = NULL;
}

double
dl_question_score(const dl_question *q, int i, dlm_normalize normalize)
{
	const dl_answers *all = &q->answers;
	double		sum = 0;

	for (int t = all->start[i]; t < all->start[i + 1]; t++)
		sum += (double) q->logprob[t];
	if (normalize == DLM_NORMALIZE_SUM)
		return q->stop >= 0 ? sum + (double) q->stop_logprob[i] : sum;
	return sum / dl_answer_length(all, i);
}
