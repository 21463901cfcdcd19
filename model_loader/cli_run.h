/*
 * cli_run.h - a batch of requests through one session, for `run` and `eval`.
 */
#ifndef DLM_CLI_RUN_H
#define DLM_CLI_RUN_H

#include "cli.h"

/* Options of the engine that both verbs take from the command line. */
typedef struct dl_cli_engine
{
	int			threads;
	int			memory;			/* MB, 0 = the engine's default */
	int			steps;
	int			seed;
	int			passes;
	int			length_beam;
	int			length_budget;
	double		temperature;
	double		threshold;
	const char *sampler;
	const char *scoring;
	const char *normalize;
	const char *calibrate;
	const char *isa;			/* "ref", "avx2": forbid what is above */
	dlm_options options;		/* filled by dl_cli_engine_finish */
	dlm_env		env;
} dl_cli_engine;

#define DL_CLI_ENGINE_OPTIONS(e) \
	{"--threads", DL_CLI_INT, &(e)->threads, "threads (default: all)"}, \
	{"--memory", DL_CLI_INT, &(e)->memory, "limit of all buffers in MB (default 1024)"}, \
	{"--steps", DL_CLI_INT, &(e)->steps, "denoising steps"}, \
	{"--seed", DL_CLI_INT, &(e)->seed, "seed of all chance"}, \
	{"--temperature", DL_CLI_NUMBER, &(e)->temperature, "0 (default) is greedy"}, \
	{"--threshold", DL_CLI_NUMBER, &(e)->threshold, "reveal all positions surer than this"}, \
	{"--sampler", DL_CLI_STRING, &(e)->sampler, "reparam-uncond-deterministic-cosine, confidence, ..."}, \
	{"--scoring", DL_CLI_STRING, &(e)->scoring, "one_pass, grouped, chain or pll"}, \
	{"--normalize", DL_CLI_STRING, &(e)->normalize, "mean or sum"}, \
	{"--calibrate", DL_CLI_STRING, &(e)->calibrate, "none or content_free"}, \
	{"--passes", DL_CLI_INT, &(e)->passes, "passes of score"}, \
	{"--length-beam", DL_CLI_INT, &(e)->length_beam, "lengths of gaps that are decoded (default 3)"}, \
	{"--length-budget", DL_CLI_INT, &(e)->length_budget, "forwards spent on finding lengths (default 64)"}, \
	{"--isa", DL_CLI_STRING, &(e)->isa, "highest instruction set: ref, avx2, avx512"}

/* Turn the words into options and environment. DLM_EINVAL. */
dlm_status	dl_cli_engine_finish(dl_cli_engine *e, dlm_error *err);

/* Step a session to its end. */
dlm_status	dl_cli_drive(dlm_session *session, dlm_error *err);

#endif							/* DLM_CLI_RUN_H */
