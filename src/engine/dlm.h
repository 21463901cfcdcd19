/*
 * dlm.h - run diffusion language models on the CPU: the public interface.
 *
 * The engine is a plain C11 library. It owns no process-wide state, never
 * exits, prints, longjmps or touches signals, and knows nothing of PostgreSQL
 * or JSON. A *model* is a validated view of a mapped .dlm file: read-only,
 * shared by any number of sessions and threads. A *session* works on a batch
 * of requests in bounded slices, so that the caller can look for interrupts
 * between two slices with no engine frame on the stack:
 *
 *		dlm_file_map(path, &map, &err);
 *		dlm_model_open(map.data, map.size, &model, &err);
 *		dlm_session_open(model, requests, n, &env, &session, &err);
 *		while ((st = dlm_session_step(session, &err)) == DLM_MORE || st == DLM_EINTR)
 *			check_for_interrupts();
 *		result = dlm_session_result(session, i);
 *		dlm_session_close(session);
 *
 * Reproducible by construction: for one model digest and one request the
 * result is the same bits whatever the batch, thread count or CPU.
 *
 * Texts are UTF-8, given by pointer and length, never NUL-terminated unless
 * said so. Strings in error messages never quote a file's content.
 */
#ifndef DLM_H
#define DLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---------------------------------------------------------------- status */

typedef enum dlm_status
{
	DLM_OK = 0,			/* done */
	DLM_MORE,			/* a slice is done, call again */
	DLM_EINVAL,			/* bad value of an argument or option (22023) */
	DLM_ETOOLONG,		/* text does not fit the model or a limit (54000) */
	DLM_ENOMEM,			/* memory limit reached or malloc failed (53200) */
	DLM_EDAMAGED,		/* model or source file damaged, non-finite logits (XX001) */
	DLM_ENOENT,			/* file missing (58P01) */
	DLM_EIO,			/* read or write failed (58030) */
	DLM_ENOSPC,			/* disk full (53100) */
	DLM_EINTR,			/* env.stop said so (57014); a session goes on at the next step */
	DLM_EUNSUPPORTED,	/* valid, but nothing we can run (0A000) */
	DLM_EENCODING,		/* text is not valid UTF-8 (22021) */
	DLM_EEXIST			/* would overwrite (58P02) */
} dlm_status;

/* Filled by whoever fails first; owned by the caller. Both texts end in NUL. */
typedef struct dlm_error
{
	dlm_status	status;
	char		message[400];	/* lower case, no full stop, PostgreSQL's style */
	char		hint[240];		/* full sentences or empty */
} dlm_error;

/* What a caller lends to a long-running call. All fields may be zero. */
typedef struct dlm_env
{
	bool		(*stop) (void *arg);	/* polled by the calling thread at least every 20 ms */
	void	   *arg;
	int			threads;		/* team size, 0 or 1 = the calling thread alone */
	size_t		memory_limit;	/* bytes for all buffers of the call, 0 = 1 GiB */
	uint32_t	cpu_mask;		/* DLM_CPU_* not to be used: tests run lower paths */
	struct dlm_memo *memo;		/* kept by the caller across sessions, or NULL */
} dlm_env;

#define DLM_CPU_AVX2		1u	/* AVX2 + FMA */
#define DLM_CPU_AVX512		2u
#define DLM_CPU_VNNI		4u
#define DLM_CPU_NEON		8u
#define DLM_CPU_DOTPROD		16u
#define DLM_CPU_AVXVNNI		32u	/* the 256-bit dot product */

/* Names of the instruction sets in use under a mask, e.g. "avx2". Static. */
const char *dlm_cpu_name(uint32_t cpu_mask);

/* ---------------------------------------------------------------- texts */

typedef struct dlm_text
{
	const char *data;
	size_t		len;
} dlm_text;

/* ---------------------------------------------------------------- models */

typedef struct dlm_model dlm_model;

/* A read-only MAP_SHARED mapping of a whole file. */
typedef struct dlm_map
{
	const void *data;
	size_t		size;
} dlm_map;

/* Errors: DLM_ENOENT, DLM_EIO, DLM_EDAMAGED (not a regular file, empty). */
dlm_status	dlm_file_map(const char *path, dlm_map *out, dlm_error *err);
void		dlm_file_unmap(dlm_map *map);

/*
 * Validate a mapped .dlm and bind its tensors. Reads header, directory,
 * configuration, tokenizer tables and settings, never the tensors' data.
 * The mapping must outlive the model. Errors: DLM_EDAMAGED,
 * DLM_EUNSUPPORTED (a version from the future), DLM_ENOMEM.
 */
dlm_status	dlm_model_open(const void *data, size_t size, dlm_model **out, dlm_error *err);
void		dlm_model_close(dlm_model *model);

/* Read all of the file and compare with its digest; also looks for non-finite weights. Slow; polls env->stop. */
dlm_status	dlm_model_verify(const dlm_model *model, const dlm_env *env, dlm_error *err);

typedef struct dlm_model_info
{
	uint8_t		digest[32];
	const char *architecture;	/* "llama", "roberta", ... */
	const char *weights;		/* "f32", "bf16", "int8" */
	const char *attention;		/* "full", "context" */
	const char *license;		/* free text, may be "" */
	const char *source;			/* free text, may be "" */
	uint64_t	parameters;
	uint64_t	bytes;			/* of the file */
	uint64_t	head_bytes;		/* of the file before the weights: tables that every call reads */
	int			context;		/* positions of a row */
	int			hidden;
	int			layers;
	int			vocab;			/* tokens of the tokenizer */
	int			mask_id;
	bool		length_head;
} dlm_model_info;

/* Strings live as long as the model. */
void		dlm_model_describe(const dlm_model *model, dlm_model_info *info);

/* ---------------------------------------------------------------- tokens */

/*
 * Tokenise a text as ordinary text: no begin or end token, no limit. On
 * success *ids is malloc'd [*n] (caller frees), NULL when *n is 0.
 * Errors: DLM_EENCODING, DLM_ENOMEM, DLM_EINTR.
 */
dlm_status	dlm_tokenize(const dlm_model *model, dlm_text text, const dlm_env *env,
						 int32_t **ids, size_t *n, dlm_error *err);

/* The text of ids; malloc'd, caller frees. Bytes that are not UTF-8 become U+FFFD. Unknown id: DLM_EINVAL. */
dlm_status	dlm_detokenize(const dlm_model *model, const int32_t *ids, size_t n,
						   char **text, size_t *len, dlm_error *err);

/* The raw piece of a token as the tokenizer file writes it; lives as long as the model; len 0 for an unknown id. */
dlm_text	dlm_token_piece(const dlm_model *model, int32_t id);

/*
 * The bytes that a token adds to a text in the middle of a line: at most cap
 * are written to buf, the full length is returned. Special tokens add none.
 */
size_t		dlm_token_bytes(const dlm_model *model, int32_t id, char *buf, size_t cap);

/* ---------------------------------------------------------------- options */

typedef enum dlm_sampler_kind
{
	DLM_SAMPLER_DEFAULT = 0,	/* the model's own */
	DLM_SAMPLER_REPARAM,		/* Ye et al. 2023, re-masks by rank */
	DLM_SAMPLER_CONFIDENCE,		/* reveal the highest probability first, never re-mask */
	DLM_SAMPLER_MARGIN,			/* ... the largest p1 - p2 */
	DLM_SAMPLER_ENTROPY,		/* ... the lowest entropy */
	DLM_SAMPLER_RANDOM,
	DLM_SAMPLER_LEFT_TO_RIGHT
} dlm_sampler_kind;

typedef struct dlm_sampler
{
	dlm_sampler_kind kind;
	bool		cond;			/* reparam-cond-*: a revealed token is re-masked only if predicted again */
	double		noise;			/* reparam-*-stochastic<x>: x, 0 = deterministic */
	bool		linear;			/* quota schedule: linear, else cosine */
} dlm_sampler;

/* Parse a sampler's name (NUL-terminated). DLM_EINVAL with the known names in the hint. */
dlm_status	dlm_sampler_parse(const char *name, dlm_sampler *out, dlm_error *err);

typedef enum dlm_length_mode { DLM_LENGTH_DEFAULT = 0, DLM_LENGTH_PREDICTED, DLM_LENGTH_PROBED, DLM_LENGTH_FIXED } dlm_length_mode;
typedef enum dlm_boundary { DLM_BOUNDARY_HEAL = 0, DLM_BOUNDARY_PLAIN } dlm_boundary;
typedef enum dlm_overflow { DLM_OVERFLOW_ERROR = 0, DLM_OVERFLOW_TRUNCATE } dlm_overflow;
typedef enum dlm_scoring { DLM_SCORING_DEFAULT = 0, DLM_SCORING_ONE_PASS, DLM_SCORING_GROUPED, DLM_SCORING_CHAIN, DLM_SCORING_PLL } dlm_scoring;
typedef enum dlm_normalize { DLM_NORMALIZE_DEFAULT = 0, DLM_NORMALIZE_MEAN, DLM_NORMALIZE_SUM } dlm_normalize;
typedef enum dlm_calibrate { DLM_CALIBRATE_DEFAULT = 0, DLM_CALIBRATE_NONE, DLM_CALIBRATE_CONTENT_FREE } dlm_calibrate;

/* Zero-initialise: every zero is the default. Shared by the requests of a batch. */
typedef struct dlm_options
{
	int			steps;			/* denoising steps, 0 = default */
	double		temperature;	/* 0 = greedy */
	int64_t		seed;
	dlm_sampler sampler;
	double		threshold;		/* reveal all positions with p above it; 0 = off */
	int			block_length;	/* decode in blocks of so many positions; 0 = off */
	double		cfg_scale;		/* classifier-free guidance; 0 = off */
	int			top_k;			/* 0 = off */
	double		top_p;			/* 0 = off */
	const dlm_text *ban;		/* texts never written [n_ban] */
	int			n_ban;
	const dlm_text *stop;		/* text is cut before the first of them [n_stop] */
	int			n_stop;
	dlm_length_mode length;
	int			length_beam;	/* candidates decoded; 0 = 3 */
	int			length_budget;	/* forwards spent on lengths; 0 = 64 */
	bool		has_template;	/* false = the model's own */
	dlm_text	tmpl;			/* "{prompt}" alone = raw */
	dlm_boundary boundary;
	bool		multiline;		/* gaps may hold line breaks */
	dlm_overflow overflow;
	dlm_scoring scoring;
	dlm_normalize normalize;
	dlm_calibrate calibrate;
	int			passes;			/* of score; 0 = 8, -1 = exact: one position at a time */
	double		multi_threshold;	/* of classify_multi */
	int			top_lengths;	/* k of predict_length; 0 = 5 */
	const uint8_t *forbidden;	/* bitmap over token ids [(vocab + 7) / 8] never written: what the
								 * caller's encoding cannot hold; NULL = none */
} dlm_options;

/* ---------------------------------------------------------------- requests */

typedef enum dlm_task
{
	DLM_GENERATE,
	DLM_INFILL,
	DLM_CLASSIFY,
	DLM_CLASSIFY_MULTI,
	DLM_SCORE,
	DLM_TOKEN_SCORES,
	DLM_EMBED,
	DLM_PREDICT_LENGTH
} dlm_task;

typedef struct dlm_example
{
	dlm_text	input;
	dlm_text	label;
} dlm_example;

/*
 * What a gap of an infill may hold. A gap with choices takes the one whose
 * tokens are the most probable in their place, whatever their number; its
 * length in the template does not count. Other gaps are decoded: their text
 * matches the whole pattern (pattern.h), and is none of the rejected ones.
 */
typedef struct dlm_gap_rule
{
	dlm_text	gap;			/* its name; of one without a name, its number among all gaps, from 1 */
	const dlm_text *choices;	/* [n_choices], distinct; n_choices 0 = any text */
	int			n_choices;
	double		trust;			/* of choices, finite: what the model says of a choice counts so much; 0 = 1 */
	const double *bias;			/* of choices [n_choices], finite: is added to a choice's score; NULL = 0 */
	dlm_text	alone;			/* of choices: text that stands before them in a row that says nothing; their scores there
								 * are subtracted. len 0 = none */
	dlm_text	pattern;		/* len 0 = any text */
	const dlm_text *reject;		/* [n_reject] */
	int			n_reject;
} dlm_gap_rule;

#define DLM_MAX_CHOICES	1000	/* of one gap */

/* All pointers are borrowed until dlm_session_close. */
typedef struct dlm_request
{
	dlm_task	task;
	dlm_text	input;			/* prompt, template or text */
	int			max_tokens;		/* of generate */
	bool		trace;			/* of generate and infill: record the denoising */
	bool		has_instruction;	/* of classify; false = the model's own */
	dlm_text	instruction;
	const dlm_text *labels;		/* [n_labels] */
	int			n_labels;
	const dlm_text *descriptions;	/* [n_labels] or NULL */
	const dlm_example *examples;	/* [n_examples] */
	int			n_examples;
	const double *label_bias;	/* of classify [n_labels], finite: a label's score is label_scale * (score - bias). NULL = 0 */
	double		label_scale;	/* finite, positive; 0 = 1 */
	const dlm_gap_rule *rules;	/* of infill [n_rules], of gaps of the template, at most one each */
	int			n_rules;
	void	   *tag;			/* the caller's own */
	const dlm_options *options;	/* NULL = all defaults */
} dlm_request;

/*
 * SHA-256 of everything that the request's answer depends on but the model's
 * weights, and of `scope` [scope_len], the caller's own bytes (a model's
 * digest, whose answer it is): for a caller that keeps answers. Pointers do
 * not enter it, only what they point to, nor does `tag`. Does not read the
 * model's file.
 */
void		dlm_request_key(const dlm_model *model, const dlm_request *request, const void *scope, size_t scope_len,
							uint8_t key[32]);

#define DLM_MAX_LABELS	1000	/* of one request */
#define DLM_MAX_GAPS	1000	/* of one template */

/* ---------------------------------------------------------------- results */

typedef struct dlm_gap
{
	dlm_text	name;			/* len 0 = unnamed */
	dlm_text	text;
	int			tokens;
	double		logprob;		/* mean of its tokens, as decoded or as scored */
	double		probability;	/* of the choice among the choices; e^logprob of any other text */
	int			choice;			/* index of the choice, -1 for a gap without choices */
	const double *choices;		/* [n_choices] probabilities when the gap was scored last; NULL without */
	int			n_choices;
} dlm_gap;

typedef struct dlm_label_score
{
	double		logprob;		/* mean or sum log-likelihood, calibrated if asked for */
	double		probability;	/* softmax over the labels (classify), yes against no (multi) */
	double		mean;			/* of the label's tokens (classify), not calibrated, whatever the options say */
	double		sum;			/* over its tokens and, under one_pass, the stop token; likewise */
} dlm_label_score;

typedef struct dlm_token_score
{
	int32_t		id;
	float		logprob;
} dlm_token_score;

typedef struct dlm_length_score
{
	int			length;
	float		logprob;
} dlm_length_score;

typedef enum dlm_event { DLM_EVENT_REVEAL, DLM_EVENT_REMASK, DLM_EVENT_REVISE } dlm_event;

/* A part of a text, in bytes. */
typedef struct dlm_span
{
	size_t		at;
	size_t		len;
} dlm_span;

typedef struct dlm_trace_row
{
	int			step;			/* from 1 */
	int			position;		/* of the canvas, from 1 */
	int32_t		id;				/* the token after the change (the mask for a re-mask) */
	float		logprob;
	dlm_event	event;
	dlm_text	canvas;			/* the text so far, masks written as the mask token */
	const dlm_span *spans;		/* [n_positions] where each position's token stands in canvas; may cut a character */
} dlm_trace_row;

/* Everything lives until dlm_session_close. Unused fields are zero. */
typedef struct dlm_result
{
	dlm_error	error;			/* status DLM_OK, or this row's own failure (others go on) */
	dlm_text	text;			/* generate, infill: the answer */
	double		logprob;		/* generate, infill: mean final log-probability; score: the score */
	const dlm_gap *gaps;		/* infill [n_gaps], in the template's order */
	int			n_gaps;
	const dlm_label_score *labels;	/* classify*: [n_labels], in the request's order */
	int			n_labels;
	int			best;			/* classify: index of the label, ties to the earlier */
	const dlm_token_score *tokens;	/* token_scores [n_tokens] */
	int			n_tokens;
	const float *embedding;		/* embed [hidden] */
	int			n_embedding;
	const dlm_length_score *lengths;	/* predict_length [n_lengths], best first */
	int			n_lengths;
	const dlm_trace_row *trace;	/* [n_trace] */
	int			n_trace;
	int			n_positions;	/* of the canvas that the trace shows */
} dlm_result;

/* ---------------------------------------------------------------- sessions */

typedef struct dlm_session dlm_session;

typedef struct dlm_progress
{
	int			requests;
	int			requests_done;
	int			step;			/* of the furthest unfinished request */
	int			steps;
	uint64_t	tokens;			/* rows' tokens put through the network */
	uint64_t	forwards;
	size_t		memory;			/* bytes in use */
	size_t		memory_peak;
} dlm_progress;

/*
 * A bounded store of pure results that several sessions can share: the
 * content-free scores of label sets (a quarter of the limit), and keys and
 * values of the text that the last row began with. It saves time and never
 * changes a bit. Not for use by two threads at once.
 */
typedef struct dlm_memo dlm_memo;
dlm_memo   *dlm_memo_create(size_t memory_limit);
void		dlm_memo_free(dlm_memo *memo);

/*
 * Open a session over n requests. Checks options (DLM_EINVAL), does no heavy
 * work. env is copied; model, requests and what they point to are borrowed.
 */
dlm_status	dlm_session_open(const dlm_model *model, const dlm_request *requests, int n,
							 const dlm_env *env, dlm_session **out, dlm_error *err);

/*
 * Work for at most about 20 ms. DLM_MORE: call again; DLM_EINTR: env.stop
 * said so, call again to go on; DLM_OK: all requests have a result; anything
 * else ends the session (only close it).
 */
dlm_status	dlm_session_step(dlm_session *session, dlm_error *err);
const dlm_result *dlm_session_result(const dlm_session *session, int i);
void		dlm_session_progress(const dlm_session *session, dlm_progress *out);
void		dlm_session_close(dlm_session *session);

/* Is this a pattern that a gap may have? DLM_EINVAL, DLM_ETOOLONG, DLM_ENOMEM. */
dlm_status	dlm_pattern_check(dlm_text pattern, dlm_error *err);

/* Escape a text so that no part of it can open a gap of an infill template. malloc'd, caller frees. */
dlm_status	dlm_quote_template(dlm_text text, char **out, size_t *len, dlm_error *err);

#endif							/* DLM_H */
