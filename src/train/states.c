/*
 * states.c - see states.h.
 */
#include "states.h"

#include <string.h>

#include "forward.h"
#include "status.h"

/* What became of a row's states. */
enum { NONE, ASKED, KNOWN };

struct dl_states
{
	const dlm_model *model;
	dl_arena   *arena;
	dlm_env		env;
	dl_states_limits limits;
	size_t		hidden;
	dl_forward *forward;
	dl_row	   *asked;			/* [rows] of the engine */
	float	   *fresh;			/* [tokens, hidden] those that are not kept */
	float	   *store;			/* [kept_tokens, hidden] */
	int64_t	   *place;			/* [kept] first token in the store */
	uint8_t	   *known;			/* [kept] */
	int64_t		used;			/* tokens of the store */
};

/* The structure first; base NULL only counts. */
static size_t
layout(dl_states *s, void *base)
{
	size_t		at = (sizeof(*s) + 63) & ~(size_t) 63;

	s->asked = dl_carve_bytes(base, &at, (size_t) s->limits.rows * sizeof(dl_row));
	s->fresh = dl_carve_bytes(base, &at, (size_t) s->limits.tokens * s->hidden * sizeof(float));
	s->store = dl_carve_bytes(base, &at, (size_t) s->limits.kept_tokens * s->hidden * sizeof(float));
	s->place = dl_carve_bytes(base, &at, (size_t) s->limits.kept * sizeof(int64_t));
	s->known = dl_carve_bytes(base, &at, (size_t) s->limits.kept);
	return at;
}

size_t
dl_states_bytes(const dlm_model *model, const dl_states_limits *limits)
{
	dl_states	count = {.limits = *limits, .hidden = model->config.hidden};

	return dl_block_bytes(layout(&count, NULL)) + dl_forward_workspace(model, limits->tokens, 0, 0);
}

dl_states *
dl_states_create(const dlm_model *model, const dl_states_limits *limits, const dlm_env *env, dl_arena *a)
{
	dl_states	begin = {.model = model, .arena = a, .limits = *limits, .hidden = model->config.hidden};
	dl_states  *s = dl_arena_block(a, layout(&begin, NULL));

	if (s == NULL)
		return NULL;
	*s = begin;
	layout(s, s);
	memset(s->known, NONE, (size_t) limits->kept);
	if (env != NULL)
		s->env = *env;
	s->forward = dl_forward_create(model, a, s->env.threads, s->env.cpu_mask);
	if (s->forward == NULL)
	{
		dl_arena_block_free(a, s);
		return NULL;
	}
	return s;
}

void
dl_states_free(dl_states *s)
{
	if (s == NULL)
		return;
	dl_forward_free(s->forward);
	dl_arena_block_free(s->arena, s);
}

/* The engine keeps its old threads where there is no memory for new ones. */
void
dl_states_threads(dl_states *s, int threads)
{
	dl_forward *forward = dl_forward_create(s->model, s->arena, threads, s->env.cpu_mask);

	if (forward == NULL)
		return;
	dl_forward_free(s->forward);
	s->forward = forward;
}

/* Where in the store a row's states are or will be; NULL: there is no room. */
static float *
find_place(dl_states *s, int number, int n)
{
	if (s->known[number] == NONE)
	{
		if (s->limits.kept_tokens - s->used < n)
			return NULL;
		s->place[number] = s->used;
		s->used += n;
	}
	return s->store + (size_t) s->place[number] * s->hidden;
}

/* The rows that the engine must compute: those that are not known, a row that comes twice once. */
static int
list_asked(dl_states *s, const dl_example *rows, const int *number, int n, const float **out)
{
	float	   *fresh = s->fresh;
	int			asked = 0;

	for (int i = 0; i < n; i++)
	{
		float	   *at = number != NULL ? find_place(s, number[i], rows[i].n) : NULL;
		bool		wanted = at == NULL || s->known[number[i]] == NONE;

		if (at != NULL && wanted)
			s->known[number[i]] = ASKED;
		if (at == NULL)
		{
			at = fresh;
			fresh += (size_t) rows[i].n * s->hidden;
		}
		out[i] = at;
		if (wanted)
			s->asked[asked++] = (dl_row) {.n = rows[i].n, .ids = rows[i].ids, .live = rows[i].live, .hidden = at};
	}
	return asked;
}

static dlm_status
compute(dl_states *s, int asked, dlm_error *err)
{
	dlm_status	st = dl_forward_begin(s->forward, s->asked, asked, err);

	while (st == DLM_OK && (st = dl_forward_step(s->forward, err)) == DLM_MORE)
	{
		if (s->env.stop != NULL && s->env.stop(s->env.arg))
			return dl_fail(err, DLM_EINTR, "", "training was stopped");
		st = DLM_OK;
	}
	return st;
}

dlm_status
dl_states_find(dl_states *s, const dl_example *rows, const int *number, int n, const float **out, dlm_error *err)
{
	int64_t		used = s->used;
	int			asked = list_asked(s, rows, number, n, out);
	dlm_status	st = asked > 0 ? compute(s, asked, err) : DLM_OK;

	for (int i = 0; number != NULL && i < n; i++)
		if (s->known[number[i]] == ASKED)
			s->known[number[i]] = st == DLM_OK ? KNOWN : NONE;
	if (st != DLM_OK)
		s->used = used;
	return st;
}
