/*
 * model_verify.c - the slow look at a whole file: its digest, and every
 * weight finite and in range. stop is polled between pieces of 1 MB.
 */
#include "model_check.h"
#include "sha256.h"
#include "status.h"

#include <string.h>

#define PIECE	((uint64_t) 1 << 20)

static bool
stopped(const dlm_env *env)
{
	return env != NULL && env->stop != NULL && env->stop(env->arg);
}

static dlm_status
fail_stopped(dlm_error *err)
{
	return dl_fail(err, DLM_EINTR, "", "interrupted");
}

static dlm_status
verify_digest(const dlm_model *m, const dlm_env *env, dlm_error *err)
{
	uint64_t	at = m->header->config.offset;
	uint64_t	end = m->header->meta.offset;
	dl_sha256	sha;
	uint8_t		digest[32];

	dl_sha256_init(&sha);
	while (at < end)
	{
		uint64_t	n = end - at < PIECE ? end - at : PIECE;

		if (stopped(env))
			return fail_stopped(err);
		dl_sha256_update(&sha, m->base + at, n);
		at += n;
	}
	dl_sha256_final(&sha, digest);
	if (memcmp(digest, m->header->digest, sizeof(digest)) != 0)
		return dl_fail_damaged(err, "its content does not match its digest");
	return DLM_OK;
}

static bool
floats_finite(const float *x, uint64_t n)
{
	uint32_t	bad = 0;

	for (uint64_t i = 0; i < n; i++)
	{
		uint32_t	bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bad |= (bits & 0x7f800000u) == 0x7f800000u;
	}
	return bad == 0;
}

static bool
halves_finite(const uint16_t *x, uint64_t n)
{
	uint32_t	bad = 0;

	for (uint64_t i = 0; i < n; i++)
		bad |= (x[i] & 0x7f80u) == 0x7f80u;
	return bad == 0;
}

/* One group of an int8 panel: bytes in range, scales finite and not negative, sums right. */
static bool
group_valid(const dl_s8_group *g)
{
	int32_t		sum[DL_PANEL] = {0};
	bool		beyond = false;

	for (int i = 0; i < g->steps * 4 * DL_PANEL; i++)
	{
		beyond |= g->w[i] > DL_MOST_S8 || g->w[i] < -DL_MOST_S8;
		sum[i / 4 % DL_PANEL] += g->w[i];
	}
	for (int i = 0; i < DL_PANEL; i++)
		if (sum[i] != g->sum[i] || !(g->scale[i] >= 0))
			return false;
	return !beyond && floats_finite(g->scale, DL_PANEL);
}

static dlm_status
verify_int8(const dlm_model *m, const dl_entry *e, const dlm_env *env, dlm_error *err)
{
	uint64_t	panels = (e->rows + DL_PANEL - 1) / DL_PANEL;
	int			k4 = (int) ((e->cols + 3) / 4);
	const int8_t *w = (const int8_t *) (m->base + e->offset);
	uint64_t	unpolled = 0;

	for (uint64_t p = 0; p < panels; p++, w += dl_s8_panel_bytes(k4))
	{
		for (int g = 0; g < dl_groups(k4); g++)
		{
			dl_s8_group group = dl_s8_group_at(w, k4, g);

			if (!group_valid(&group))
				return dl_fail_damaged(err, "int8 weights out of range");
		}
		unpolled += dl_s8_panel_bytes(k4);
		if (unpolled >= PIECE)
		{
			unpolled = 0;
			if (stopped(env))
				return fail_stopped(err);
		}
	}
	return DLM_OK;
}

static dlm_status
verify_tensor(const dlm_model *m, const dl_entry *e, const dlm_env *env, dlm_error *err)
{
	const uint8_t *at = m->base + e->offset;
	uint64_t	left = e->bytes;

	if (e->dtype == DL_I8)
		return verify_int8(m, e, env, err);
	while (left > 0)
	{
		uint64_t	n = left < PIECE ? left : PIECE;
		bool		finite = e->dtype == DL_F32 ? floats_finite((const float *) at, n / 4)
			: halves_finite((const uint16_t *) at, n / 2);

		if (!finite)
			return dl_fail_damaged(err, "weights that are not finite");
		if (stopped(env))
			return fail_stopped(err);
		at += n;
		left -= n;
	}
	return DLM_OK;
}

dlm_status
dlm_model_verify(const dlm_model *m, const dlm_env *env, dlm_error *err)
{
	const dl_entry *e = (const dl_entry *) (m->base + m->header->directory.offset);
	uint64_t	n = m->header->directory.size / sizeof(dl_entry);
	dlm_status	st = verify_digest(m, env, err);

	for (uint64_t i = 0; i < n && st == DLM_OK; i++)
		st = verify_tensor(m, &e[i], env, err);
	return st;
}
