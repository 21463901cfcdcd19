/*
 * forward.c - the walk over a batch in slices: embedding, then per layer
 * keys, attention and the rest, then the head. What is walked over lies in
 * forward_plan.c, the arithmetic in layers.c.
 */
#include "forward_impl.h"
#include "status.h"

#include <math.h>
#include <string.h>

/*
 * Multiply-adds of one slice and thread: about 1 ms with AVX2. The cost of
 * element-wise work is counted in the same unit.
 */
#define SLICE	((int64_t) 32 << 20)

dl_forward *
dl_forward_create(const dlm_model *model, dl_arena *a, int threads, uint32_t cpu_mask)
{
	const dl_config *c = &model->config;
	dl_forward *f = dl_arena_block(a, sizeof(*f));

	if (f == NULL)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->model = model;
	f->kernels = dl_kernels_get(cpu_mask);
	f->arena = a;
	f->team = dl_team_create(threads);
	f->threads = dl_team_size(f->team);
	f->heads = dl_heads_of((int) c->heads, (int) c->kv_heads, (int) c->head_dim);
	f->query_dim = (int) (c->heads * c->head_dim);
	f->key_dim = (int) (c->kv_heads * c->head_dim);
	f->hidden_ld = dl_row_stride((int) c->hidden);
	f->query_ld = dl_row_stride(f->query_dim);
	f->ffn_ld = dl_row_stride((int) c->ffn);
	f->scale = 1.0f / sqrtf((float) c->head_dim);
	f->phase = DL_PH_DONE;
	return f;
}

void
dl_forward_free(dl_forward *f)
{
	dl_arena   *a;

	if (f == NULL)
		return;
	a = f->arena;
	dl_team_free(f->team);
	dl_arena_block_free(a, f->plan_block);
	dl_arena_block_free(a, f->work);
	dl_arena_block_free(a, f);
}

static void
enter_phase(dl_forward *f, dl_phase phase)
{
	f->phase = phase;
	f->at = 0;
	f->op = 0;
	f->panel = 0;
	f->inner = 0;
}

dlm_status
dl_forward_begin(dl_forward *f, const dl_row *rows, int n_rows, dlm_error *err)
{
	dlm_status	st;

	f->rows = rows;
	f->n_rows = n_rows;
	f->layer = 0;
	memset(f->bad, 0, sizeof(f->bad));
	enter_phase(f, DL_PH_DONE);
	st = dl_forward_plan(f, err);
	if (st == DLM_OK)
		enter_phase(f, DL_PH_EMBED);
	return st;
}

/* Go on to the next chunk of n tokens in all; true when that was the last. */
static bool
next_chunk(dl_forward *f, int n, int chunk)
{
	f->op = 0;
	f->panel = 0;
	f->inner = 0;
	f->at += chunk;
	return f->at >= n;
}

static void
end_layer(dl_forward *f)
{
	if (++f->layer < (int) f->model->config.layers)
		enter_phase(f, DL_PH_KEYS);
	else
	{
		f->layer--;				/* queries keep meaning the needed tokens */
		enter_phase(f, f->n_needed > 0 ? DL_PH_FINAL : DL_PH_DONE);
	}
}

/* One unit of work, and on to the next phase when it was the last. */
static void
advance(dl_forward *f)
{
	bool		last_layer = f->layer + 1 == (int) f->model->config.layers;

	switch (f->phase)
	{
		case DL_PH_EMBED:
			if (dl_embed_chunk(f) && next_chunk(f, f->n_tokens, dl_chunk_step(f->n_tokens)))
				enter_phase(f, DL_PH_KEYS);
			break;
		case DL_PH_KEYS:
			if (dl_keys_chunk(f) && next_chunk(f, f->n_tokens, dl_chunk_step(f->n_tokens)))
				enter_phase(f, DL_PH_COPY);
			break;
		case DL_PH_COPY:
			if (dl_copy_row(f) && next_chunk(f, f->n_rows, 1))
			{
				if (last_layer && f->n_needed == 0)
					enter_phase(f, DL_PH_DONE);	/* only a cache was to be filled */
				else
					enter_phase(f, last_layer ? DL_PH_QUERIES : DL_PH_ATTEND);
			}
			break;
		case DL_PH_QUERIES:
			if (dl_queries_chunk(f) && next_chunk(f, f->n_needed, dl_chunk_step(f->n_needed)))
				enter_phase(f, DL_PH_ATTEND);
			break;
		case DL_PH_ATTEND:
			if (dl_attend_items(f))
				enter_phase(f, DL_PH_MIX);
			break;
		case DL_PH_MIX:
			if (dl_mix_chunk(f) && next_chunk(f, dl_queries(f), dl_chunk_step(dl_queries(f))))
				end_layer(f);
			break;
		case DL_PH_FINAL:
			if (dl_final_chunk(f) && next_chunk(f, f->n_needed, dl_chunk_step(f->n_needed)))
				enter_phase(f, f->n_asks > 0 ? DL_PH_HEAD : DL_PH_LENGTHS);
			break;
		case DL_PH_HEAD:
			if (dl_head_chunk(f) && next_chunk(f, f->n_asks, f->head_end - f->at))
				enter_phase(f, DL_PH_LENGTHS);
			break;
		case DL_PH_LENGTHS:
			if (dl_length_unit(f) && next_chunk(f, f->n_rows, 1))
				enter_phase(f, DL_PH_DONE);
			break;
		case DL_PH_DONE:
			break;
	}
}

static bool
any_bad(const dl_forward *f)
{
	for (int i = 0; i < f->threads; i++)
		if (f->bad[i])
			return true;
	return false;
}

dlm_status
dl_forward_step(dl_forward *f, dlm_error *err)
{
	uint64_t	saved;

	if (f->phase == DL_PH_DONE)
		return DLM_OK;
	saved = dl_fp_enter();
	f->left = SLICE * f->threads;
	while (f->left > 0 && f->phase != DL_PH_DONE && !any_bad(f))
		advance(f);
	dl_fp_leave(saved);
	if (any_bad(f))
	{
		f->phase = DL_PH_DONE;
		return dl_fail(err, DLM_EDAMAGED, "Run dlm-model verify on the model's file.",
					   "model gave logits that are not finite");
	}
	if (f->phase != DL_PH_DONE)
		return DLM_MORE;
	dl_forward_commit(f);
	return DLM_OK;
}
