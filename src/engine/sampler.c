/*
 * sampler.c - names of samplers, and the plug-ins behind each.
 */
#include "denoise.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLER_HINT	"Known samplers: reparam-{cond|uncond}-{deterministic|stochastic<x>}-{linear|cosine}, " \
	"confidence, margin, entropy, random, left-to-right."

/* What a name has before its next part; *rest moves behind it. */
static bool
take(const char **rest, const char *word)
{
	size_t		n = strlen(word);

	if (strncmp(*rest, word, n) != 0)
		return false;
	*rest += n;
	return true;
}

/* A decimal number: digits, at most one point. Not strtod, which reads the locale. */
static bool
take_number(const char **rest, double *out)
{
	const char *s = *rest;
	double		value = 0,
				scale = 1;
	int			digits = 0;
	bool		point = false;

	for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point); s++)
	{
		if (*s == '.')
		{
			point = true;
			continue;
		}
		if (++digits > 15)
			return false;
		value = value * 10 + (*s - '0');
		scale *= point ? 10 : 1;
	}
	if (digits == 0)
		return false;
	*out = value / scale;
	*rest = s;
	return true;
}

static bool
parse_reparam(const char *rest, dlm_sampler *out)
{
	out->kind = DLM_SAMPLER_REPARAM;
	if (take(&rest, "uncond-"))
		out->cond = false;
	else if (take(&rest, "cond-"))
		out->cond = true;
	else
		return false;
	if (take(&rest, "deterministic-"))
		out->noise = 0;
	else if (!take(&rest, "stochastic") || !take_number(&rest, &out->noise) || !take(&rest, "-"))
		return false;
	out->linear = strcmp(rest, "linear") == 0;
	return out->linear || strcmp(rest, "cosine") == 0;
}

dlm_status
dlm_sampler_parse(const char *name, dlm_sampler *out, dlm_error *err)
{
	static const struct
	{
		const char *name;
		dlm_sampler_kind kind;
	} plain[] = {
		{"confidence", DLM_SAMPLER_CONFIDENCE},
		{"margin", DLM_SAMPLER_MARGIN},
		{"entropy", DLM_SAMPLER_ENTROPY},
		{"random", DLM_SAMPLER_RANDOM},
		{"left-to-right", DLM_SAMPLER_LEFT_TO_RIGHT},
	};
	const char *rest = name;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(name, plain[i].name) == 0)
		{
			out->kind = plain[i].kind;
			return DLM_OK;
		}
	if (take(&rest, "reparam-") && parse_reparam(rest, out))
		return DLM_OK;
	memset(out, 0, sizeof(*out));
	return dl_fail(err, DLM_EINVAL, SAMPLER_HINT, "unknown sampler \"%.60s\"", name);
}

const dl_rules *
dl_sampler_rules(const dlm_sampler *sampler, bool one_by_one)
{
#define REPARAM(schedule, confidence, revise)	{schedule, confidence, revise, true, false}
#define REVEAL(schedule, confidence, entropy)	{schedule, confidence, dl_revise_none, false, entropy}
	/* [cond][linear][noisy] */
	static const dl_rules reparam[2][2][2] = {
		{{REPARAM(dl_schedule_cosine, dl_confidence_token, dl_revise_uncond),
		REPARAM(dl_schedule_cosine, dl_confidence_noisy, dl_revise_uncond)},
		{REPARAM(dl_schedule_linear, dl_confidence_token, dl_revise_uncond),
		REPARAM(dl_schedule_linear, dl_confidence_noisy, dl_revise_uncond)}},
		{{REPARAM(dl_schedule_cosine, dl_confidence_token, dl_revise_cond),
		REPARAM(dl_schedule_cosine, dl_confidence_noisy, dl_revise_cond)},
		{REPARAM(dl_schedule_linear, dl_confidence_token, dl_revise_cond),
		REPARAM(dl_schedule_linear, dl_confidence_noisy, dl_revise_cond)}},
	};
	/* [one token a step][kind] */
	static const dl_rules reveal[2][5] = {
		{REVEAL(dl_schedule_even, dl_confidence_token, false), REVEAL(dl_schedule_even, dl_confidence_margin, false),
		REVEAL(dl_schedule_even, dl_confidence_entropy, true), REVEAL(dl_schedule_even, dl_confidence_random, false),
		REVEAL(dl_schedule_even, dl_confidence_left, false)},
		{REVEAL(dl_schedule_single, dl_confidence_token, false), REVEAL(dl_schedule_single, dl_confidence_margin, false),
		REVEAL(dl_schedule_single, dl_confidence_entropy, true),
		REVEAL(dl_schedule_single, dl_confidence_random, false), REVEAL(dl_schedule_single, dl_confidence_left, false)},
	};

	if (sampler->kind == DLM_SAMPLER_REPARAM)
		return &reparam[sampler->cond][sampler->linear][sampler->noise > 0];
	return &reveal[one_by_one][sampler->kind - DLM_SAMPLER_CONFIDENCE];
}
