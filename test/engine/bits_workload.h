/*
 * bits_workload.h - the requests of t_bits: every task and every option that
 * steers the arithmetic, small enough for an emulator. Changing them changes
 * test/vectors/bits.txt (see t_bits.c).
 */
#ifndef BITS_WORKLOAD_H
#define BITS_WORKLOAD_H

#include "dlm.h"

#define T(literal)	{literal, sizeof(literal) - 1}

static const dlm_text bits_labels[] = {T("good"), T("bad"), T("the sun")};
static const dlm_text bits_descriptions[] = {T("ok"), T("no"), T("hot")};
static const dlm_example bits_examples[] = {{T("July"), T("the sun")}};
static const dlm_text bits_ban[] = {T("e"), T("the")};
static const dlm_text bits_stop[] = {T("s")};

#define SAMPLER(which)	.sampler = {.kind = which}
#define SCORING(which)	.task = DLM_CLASSIFY, .input = T("All is good."), .labels = bits_labels, .n_labels = 2, \
	.options = &(const dlm_options) {.scoring = which}
#define LABELLED		.input = T("Hot \xe2\x80\x93 good."), .labels = bits_labels, .n_labels = 3, \
	.descriptions = bits_descriptions, .examples = bits_examples, .n_examples = 1, \
	.has_instruction = true, .instruction = T("Name it")
#define GENERATE(n)		.task = DLM_GENERATE, .max_tokens = n
#define WITH			.options = &(const dlm_options)

static const dlm_request bits_requests[] = {
	{GENERATE(9), .input = T("Where is Rome?"), .trace = true, WITH {.steps = 3}},
	{GENERATE(7), .input = T("How many?"), WITH {.steps = 3, .temperature = 1, .seed = 5, .top_k = 20, .top_p = 0.9}},
	{GENERATE(12), .input = T("Why?"), WITH {.steps = 3, .length = DLM_LENGTH_PROBED, .ban = bits_ban, .n_ban = 2}},
	{GENERATE(6), .input = T("A list:"), WITH {.steps = 3, .block_length = 3, .stop = bits_stop, .n_stop = 1}},
	{GENERATE(4), .input = T("Once"), WITH {.steps = 2, .cfg_scale = 1.5}},
	{GENERATE(5), .input = T("Go"), .trace = true, WITH {.steps = 3, SAMPLER(DLM_SAMPLER_CONFIDENCE), .threshold = 0.02}},
	{GENERATE(4), .input = T("Go"), WITH {.steps = 2, SAMPLER(DLM_SAMPLER_MARGIN)}},
	{GENERATE(4), .input = T("Go"), WITH {.steps = 2, SAMPLER(DLM_SAMPLER_ENTROPY), .temperature = 0.5}},
	{GENERATE(4), .input = T("Go"), WITH {.steps = 2, SAMPLER(DLM_SAMPLER_RANDOM), .seed = 9}},
	{GENERATE(4), .input = T("Go"), WITH {.steps = 2, SAMPLER(DLM_SAMPLER_LEFT_TO_RIGHT)}},
	{.task = DLM_INFILL, .input = T("A [MASK:1-2] of [MASK:2]."), WITH {.steps = 3}},
	{.task = DLM_INFILL, .input = T("[MASK:name:2] \xc3\xa9tait [MASK:what:1-2]\nin Rome."), .trace = true, WITH {.steps = 3}},
	{.task = DLM_INFILL, .input = T("Berlin is [MASK:4] of Germany."),
		WITH {.steps = 4, .temperature = 1, .seed = 3, .boundary = DLM_BOUNDARY_PLAIN,
			.sampler = {.kind = DLM_SAMPLER_REPARAM, .cond = true, .noise = 0.5, .linear = true}}},
	{.task = DLM_INFILL, .input = T("A [MASK:1-2] of [MASK:2]."), WITH {.steps = 3}},	/* computed once */
	{.task = DLM_INFILL, .input = T("no gap")},	/* fails by itself */
	{SCORING(DLM_SCORING_ONE_PASS)},
	{SCORING(DLM_SCORING_GROUPED)},
	{SCORING(DLM_SCORING_CHAIN)},
	{SCORING(DLM_SCORING_PLL)},
	{.task = DLM_CLASSIFY, LABELLED, WITH {.normalize = DLM_NORMALIZE_SUM, .calibrate = DLM_CALIBRATE_NONE}},
	{.task = DLM_CLASSIFY_MULTI, .input = T("Sun."), .labels = bits_labels, .n_labels = 2, WITH {.calibrate = DLM_CALIBRATE_CONTENT_FREE}},
	{.task = DLM_SCORE, .input = T("All was good.")},
	{.task = DLM_SCORE, .input = T("Three trains."), WITH {.passes = -1}},
	{.task = DLM_TOKEN_SCORES, .input = T("It was good.")},
	{.task = DLM_EMBED, .input = T("Tables, rows, columns")},
	/* long enough to be cut everywhere: products that two threads share */
	{.task = DLM_EMBED, WITH {.overflow = DLM_OVERFLOW_TRUNCATE},
		.input = T("0 12 345 6789 1 23 456 7890 2 34 567 8901 3 45 678 9012 4 56 789 0123 5 67 890 1234 "
				   "6 78 901 2345 7 89 012 3456 the end")},
	{.task = DLM_PREDICT_LENGTH, .input = T("How long is a train?"), WITH {.top_lengths = 7}}
};

#define N_REQUESTS	((int) (sizeof(bits_requests) / sizeof(*bits_requests)))

#endif							/* BITS_WORKLOAD_H */
