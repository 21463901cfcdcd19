/*
 * fill.c - the phases of generate and infill.
 */
#include "fill.h"
#include "fmath.h"
#include "request.h"
#include "status.h"

#include <math.h>
#include <string.h>

#define DEFAULT_BUDGET	64

/* ----------------------------------------------------------------- start */

/* Noise: SHA-256 over what the rows are made of and every option that can change the answer. */
static dl_rng_key
noise_key(const dl_fill *f)
{
	const dl_frame *frame = &f->frame;
	const dlm_options *o = f->task->options;
	uint8_t		digest[32];
	dl_sha256	sha;

	dl_sha256_init(&sha);
	dl_hash_text(&sha, (dlm_text) {"denoise", 7});
	dl_hash_int(&sha, f->answer);
	dl_hash_int(&sha, frame->n_gaps);
	for (int g = 0; g <= frame->n_gaps; g++)
	{
		dl_hash_int(&sha, frame->piece[g].n);
		for (int i = 0; i < frame->piece[g].n; i++)
			dl_hash_int(&sha, frame->piece[g].id[i]);
		if (g == frame->n_gaps)
			break;
		dl_hash_int(&sha, frame->first_rule[g]);
		if (dl_gap_rule_of(f, g) != NULL)
			dl_gap_rule_hash(&sha, dl_gap_rule_of(f, g));
		dl_hash_int(&sha, f->lengths[g].n);
		for (int i = 0; i < f->lengths[g].n; i += f->lengths[g].n > 1 ? f->lengths[g].n - 1 : 1)
			dl_hash_int(&sha, dl_length_at(&f->lengths[g], i));
	}
	dl_options_hash(&sha, f->task->session->model, o, false);
	dl_sha256_final(&sha, digest);
	return dl_rng_make_key(o->seed, digest);
}

static void
set_policy(dl_fill *f)
{
	const dlm_options *o = f->task->options;
	dlm_session *s = f->task->session;
	dlm_sampler sampler = o->sampler.kind == DLM_SAMPLER_DEFAULT ? s->model->settings.sampler : o->sampler;
	dl_policy  *p = &f->policy;

	if (sampler.kind == DLM_SAMPLER_DEFAULT)
		sampler.kind = DLM_SAMPLER_REPARAM;	/* zero: uncond, deterministic, cosine */
	p->rules = dl_sampler_rules(&sampler, o->threshold > 0 && o->steps == 0);
	p->chooser.bans = f->bans;
	p->chooser.kernels = s->kernels;
	p->chooser.temperature = o->temperature;
	p->chooser.top_k = o->top_k;
	p->chooser.top_p = o->top_p;
	p->chooser.entropy = p->rules->entropy;
	p->chooser.key = noise_key(f);
	p->noise = sampler.noise;
	p->linear = sampler.linear;
	p->log_threshold = o->threshold > 0 ? (float) dl_log(o->threshold) : INFINITY;
	p->block_length = o->block_length;
	p->steps = o->steps;
	p->guidance = (float) o->cfg_scale;
	p->fixed_text = !f->answer;
	p->trace = f->task->request->trace;
}

/* Do all rows that are probed or decoded have the same fixed tokens at the same positions, so that they can share a cache? */
static bool
same_fixed_text(const dl_fill *f)
{
	bool		one = true;

	for (int g = 0; g < f->frame.n_gaps; g++)
		one = one && f->lengths[g].n == 1;
	return (one && f->phase != DL_FILL_PREDICT) || (f->frame.n_gaps == 1 && f->frame.piece[1].n == 0);
}

dlm_status
dl_fill_start(dl_fill *f, dlm_error *err)
{
	dlm_session *s = f->task->session;
	int			n = f->frame.n_gaps;
	dlm_status	st = dl_bans_get(f->task, f->answer, &f->bans, err);

	if (st != DLM_OK)
		return st;
	set_policy(f);
	f->budget = f->task->options->length_budget ? f->task->options->length_budget : DEFAULT_BUDGET;
	f->current = dl_arena_calloc(s->arena, (size_t) n, sizeof(int));
	if (f->frame.lone_space == NULL)
		f->frame.lone_space = dl_arena_calloc(s->arena, (size_t) n, sizeof(bool));
	if (f->current == NULL || f->frame.lone_space == NULL)
		return dl_fail_memory(err);
	f->frame.n_space = dl_tok_space_ids(s->model->tok, f->frame.space);
	if (s->model->config.attention == DL_ATT_CONTEXT && same_fixed_text(f))
	{
		f->kv = dl_kv_create(s->model, s->arena);
		if (f->kv == NULL)
			return dl_fail_memory(err);
	}
	dl_lengths_middle(f);
	return DLM_OK;
}

/* ---------------------------------------------------------------- combos */

dlm_status
dl_fill_combo(dl_fill *f, const int *length, dl_combo **out, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	size_t		n = (size_t) f->frame.n_gaps;
	dl_combo   *c;

	for (int i = 0; i < f->n_combos; i++)
		if (memcmp(f->combo[i]->length, length, n * sizeof(int)) == 0)
		{
			*out = f->combo[i];
			return DLM_OK;
		}
	if (f->n_combos == f->combos_capacity)
	{
		int			capacity = f->combos_capacity ? f->combos_capacity * 2 : 16;
		dl_combo  **grown = dl_arena_block(a, (size_t) capacity * sizeof(*grown));

		if (grown == NULL)
			return dl_fail_memory(err);
		if (f->n_combos > 0)
			memcpy(grown, f->combo, (size_t) f->n_combos * sizeof(*grown));
		dl_arena_block_free(a, f->combo);
		f->combo = grown;
		f->combos_capacity = capacity;
	}
	c = dl_arena_calloc(a, 1, sizeof(*c));
	if (c == NULL || (c->length = dl_arena_copy(a, length, n * sizeof(int))) == NULL)
		return dl_fail_memory(err);
	for (size_t g = 0; g < n; g++)
		c->tokens += length[g];
	c->score = -INFINITY;
	f->combo[f->n_combos++] = c;
	*out = c;
	return DLM_OK;
}

static uint32_t
index_of(const dl_fill *f, const dl_combo *c)
{
	uint32_t	i = 0;

	while (f->combo[i] != c)
		i++;
	return i;
}

dlm_status
dl_fill_open_row(dl_fill *f, dl_combo *c, dl_kv *kv, dlm_error *err)
{
	dlm_session *s = f->task->session;
	dl_canvas	canvas;
	dlm_status	st;

	if (c->row.session != NULL)
		return DLM_OK;
	st = dl_canvas_build(s->model, &f->frame, c->length, s->arena, &canvas, err);
	if (st == DLM_OK)
		st = dl_denoise_open(&c->row, s, &f->policy, &canvas, index_of(f, c), kv, err);
	return st;
}

/* ---------------------------------------------------------------- decode */

/* A cache for a decoded row whose fixed tokens are its own. */
static dlm_status
row_kv(dl_fill *f, dl_kv **out, dlm_error *err)
{
	dlm_session *s = f->task->session;

	*out = f->kv;
	if (f->kv != NULL || s->model->config.attention != DL_ATT_CONTEXT)
		return DLM_OK;
	*out = f->own_kv[f->n_own_kv] = dl_kv_create(s->model, s->arena);
	if (*out == NULL)
		return dl_fail_memory(err);
	f->n_own_kv++;
	return DLM_OK;
}

/* What is not decoded gives its memory back. */
static dlm_status
start_decode(dl_fill *f, dlm_error *err)
{
	for (int i = 0; i < f->n_beam; i++)
		f->beam[i]->kept = -1;	/* marks what stays */
	for (int i = 0; i < f->n_combos; i++)
		if (f->combo[i]->kept == 0)
			dl_denoise_close(&f->combo[i]->row);
	f->own_kv = dl_arena_calloc(f->task->session->arena, (size_t) f->n_beam, sizeof(*f->own_kv));
	if (f->own_kv == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < f->n_beam; i++)
	{
		dl_kv	   *kv;
		dlm_status	st = row_kv(f, &kv, err);

		if (st == DLM_OK)
			st = dl_fill_open_row(f, f->beam[i], kv, err);
		if (st != DLM_OK)
			return st;
		f->beam[i]->row.kv = kv;
	}
	f->phase = DL_FILL_DECODE;
	return DLM_OK;
}

/* Ties go to fewer tokens, then to the shorter left gap. */
static bool
better(const dl_fill *f, const dl_combo *a, const dl_combo *b)
{
	if (a->logprob != b->logprob)
		return a->logprob > b->logprob;
	if (a->tokens != b->tokens)
		return a->tokens < b->tokens;
	for (int g = 0; g < f->frame.n_gaps; g++)
		if (a->length[g] != b->length[g])
			return a->length[g] < b->length[g];
	return false;
}

static dlm_status
write_result(dl_fill *f, const dl_combo *c, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	dlm_result *result = f->task->result;
	int			n = f->frame.n_gaps;
	dlm_gap    *gap = dl_arena_calloc(a, (size_t) n, sizeof(*gap));
	size_t		size = f->printed[n].len;
	char	   *p;

	if (gap == NULL)
		return dl_fail_memory(err);
	for (int g = 0; g < n; g++)
	{
		dlm_status	st = dl_fill_gap_text(f, c, g, &gap[g].text, &gap[g].tokens, err);

		if (st != DLM_OK)
			return st;
		gap[g].name = f->name ? f->name[g] : (dlm_text) {NULL, 0};
		gap[g].logprob = dl_fill_gap_logprob(c, g, gap[g].tokens);
		gap[g].probability = dl_exp(gap[g].logprob);
		gap[g].choice = -1;
		size += f->printed[g].len + gap[g].text.len;
	}
	p = dl_arena_alloc(a, size + 1);
	if (p == NULL)
		return dl_fail_memory(err);
	result->text = (dlm_text) {p, size};
	for (int g = 0; g <= n; g++)
	{
		if (f->printed[g].len > 0)
			memcpy(p, f->printed[g].data, f->printed[g].len);
		p += f->printed[g].len;
		if (g == n)
			break;
		if (gap[g].text.len > 0)
			memcpy(p, gap[g].text.data, gap[g].text.len);
		p += gap[g].text.len;
	}
	*p = '\0';
	result->logprob = c->logprob;
	result->gaps = f->answer ? NULL : gap;
	result->n_gaps = f->answer ? 0 : n;
	return f->policy.trace ? dl_trace_build(f, c, err) : DLM_OK;
}

static dlm_status
finish(dl_fill *f, dlm_error *err)
{
	const dl_combo *best = NULL;
	dlm_error	error = {0};

	/* a candidate that cannot be made valid loses; the row fails if none can */
	for (int i = 0; i < f->n_beam; i++)
	{
		dlm_status	st = dl_fill_repair(f, f->beam[i], &error);

		if (st == DLM_ENOMEM)
			return dl_fail_memory(err);
		if (st == DLM_OK && (best == NULL || better(f, f->beam[i], best)))
			best = f->beam[i];
	}
	f->phase = DL_FILL_DONE;
	if (best == NULL)
	{
		if (err)
			*err = error;
		return error.status;
	}
	f->winner = best;
	return write_result(f, best, err);
}

static dlm_status
plan_decode(dl_fill *f, dlm_error *err)
{
	bool		any = false;

	f->task->step = INT32_MAX;
	for (int i = 0; i < f->n_beam; i++)
	{
		dl_denoise *d = &f->beam[i]->row;
		dlm_status	st = dl_denoise_plan(d, err);

		if (st != DLM_OK)
			return st;
		if (d->done)
			continue;
		any = true;
		if (d->step < f->task->step)
		{
			f->task->step = d->step;
			f->task->steps = d->steps;
		}
	}
	if (any)
		return DLM_OK;
	f->task->step = f->task->steps;
	return finish(f, err);
}

/* ---------------------------------------------------------------- rounds */

dlm_status
dl_fill_plan(dl_fill *f, dlm_error *err)
{
	bool		any = false;
	dlm_status	st = DLM_OK;

	if (f->phase == DL_FILL_PREDICT)
		return dl_lengths_predict_plan(f, err);
	if (f->phase == DL_FILL_FORMS)
	{
		st = dl_forms_plan(f, &any, err);
		if (st != DLM_OK || any)
			return st;
		f->phase = DL_FILL_SEARCH;
	}
	if (f->phase == DL_FILL_SEARCH)
	{
		st = dl_lengths_plan(f, &any, err);
		if (st != DLM_OK || any)
			return st;
		st = start_decode(f, err);
	}
	if (st == DLM_OK && f->phase == DL_FILL_DECODE)
		st = plan_decode(f, err);
	return st;
}

dlm_status
dl_fill_absorb(dl_fill *f, dlm_error *err)
{
	switch (f->phase)
	{
		case DL_FILL_PREDICT:
			return dl_lengths_predict_absorb(f, err);
		case DL_FILL_FORMS:
			dl_forms_absorb(f);
			break;
		case DL_FILL_SEARCH:
			dl_lengths_absorb(f);
			break;
		case DL_FILL_DECODE:
			for (int i = 0; i < f->n_beam; i++)
				if (!f->beam[i]->row.done)
					dl_denoise_absorb(&f->beam[i]->row);
			break;
		case DL_FILL_DONE:
			break;
	}
	return DLM_OK;
}

void
dl_fill_close(dl_fill *f)
{
	dl_arena   *a = f->task->session->arena;

	dl_forms_close(f);
	for (int i = 0; i < f->n_combos; i++)
		dl_denoise_close(&f->combo[i]->row);
	dl_arena_block_free(a, f->combo);
	f->combo = NULL;
	f->n_combos = 0;
	for (int i = 0; i < f->n_own_kv; i++)
		dl_kv_free(f->own_kv[i]);
	f->n_own_kv = 0;
	dl_kv_free(f->kv);
	f->kv = NULL;
}
