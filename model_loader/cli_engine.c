/*
 * cli_engine.c - options of the engine from the command line.
 */
#include "cli_run.h"

#include <string.h>

#include "status.h"

/* Number of a word in a list that begins with "the default"; -1 if it is none of them. */
static int
choice(const char *word, const char *const *names)
{
	if (word == NULL)
		return 0;
	for (int i = 1; names[i] != NULL; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	return -1;
}

static dlm_status
set_isa(dl_cli_engine *e, dlm_error *err)
{
	static const char *const names[] = {"", "ref", "avx2", "avx512", NULL};
	int			isa = choice(e->isa, names);

	if (isa < 0)
		return dl_fail(err, DLM_EINVAL, "Known are ref, avx2 and avx512.", "unknown instruction set");
	if (isa == 1)
		e->env.cpu_mask = ~0u;
	else if (isa == 2)
		e->env.cpu_mask = DLM_CPU_AVX512 | DLM_CPU_VNNI | DLM_CPU_AVXVNNI;
	else if (isa == 3)
		e->env.cpu_mask = DLM_CPU_VNNI;
	return DLM_OK;
}

dlm_status
dl_cli_engine_finish(dl_cli_engine *e, dlm_error *err)
{
	static const char *const scoring[] = {"", "one_pass", "grouped", "chain", "pll", NULL};
	static const char *const normalize[] = {"", "mean", "sum", NULL};
	static const char *const calibrate[] = {"", "none", "content_free", NULL};
	dlm_options *o = &e->options;
	int			s = choice(e->scoring, scoring),
				n = choice(e->normalize, normalize),
				c = choice(e->calibrate, calibrate);

	if (s < 0 || n < 0 || c < 0)
		return dl_fail(err, DLM_EINVAL, "Known are one_pass, grouped, chain, pll; mean, sum; none, content_free.",
					   "unknown value of scoring, normalize or calibrate");
	o->scoring = (dlm_scoring) s;
	o->normalize = (dlm_normalize) n;
	o->calibrate = (dlm_calibrate) c;
	o->steps = e->steps;
	o->seed = e->seed;
	o->passes = e->passes;
	o->length_beam = e->length_beam;
	o->length_budget = e->length_budget;
	o->temperature = e->temperature;
	o->threshold = e->threshold;
	e->env.threads = e->threads > 0 ? e->threads : dl_cli_threads();
	e->env.memory_limit = (size_t) e->memory << 20;
	if (e->sampler != NULL)
	{
		dlm_status	st = dlm_sampler_parse(e->sampler, &o->sampler, err);

		if (st != DLM_OK)
			return st;
	}
	return set_isa(e, err);
}

dlm_status
dl_cli_drive(dlm_session *session, dlm_error *err)
{
	dlm_status	st;

	while ((st = dlm_session_step(session, err)) == DLM_MORE || st == DLM_EINTR)
		;
	return st;
}
