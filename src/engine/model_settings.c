/*
 * model_settings.c - special ids, templates and defaults of a model.
 *
 * What the file does not say is filled in here, so that no later code asks
 * "does this model have one?".
 */
#include "model_check.h"
#include "status.h"
#include "token_unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_INSTRUCTION	"Which label fits the text best? Choose from: {labels}."
#define DEFAULT_CONTENT_FREE "N/A"
#define DEFAULT_SAMPLER		"reparam-uncond-deterministic-cosine"
#define CLASSIFY_HOLES		"{instruction}{?input}\n{input}{/input} {label}"
#define MAX_TEXT			((uint32_t) 1 << 20)
#define MAX_EDGE_IDS		64		/* of begin and of end: they stand in every row */

static const void *
find(const dlm_model *m, uint32_t key, uint32_t *size)
{
	return dl_setting_find(m->base + m->header->settings.offset, m->header->settings.size, key, size);
}

static dlm_status
read_ids(const dlm_model *m, uint32_t key, uint32_t most, const int32_t **ids, int *n, dlm_error *err)
{
	uint32_t	size;

	*ids = find(m, key, &size);
	*n = (int) (size / sizeof(int32_t));
	if (size % sizeof(int32_t) != 0 || size / sizeof(int32_t) > most)
		return dl_fail_damaged(err, "a list of special tokens");
	for (int i = 0; i < *n; i++)
		if ((*ids)[i] < 0 || (uint32_t) (*ids)[i] >= m->config.tokens)
			return dl_fail_damaged(err, "a special token is not in the vocabulary");
	return DLM_OK;
}

/* fallback is used when the file has no such text, or an empty one. */
static dlm_status
read_text(const dlm_model *m, uint32_t key, dlm_text fallback, dlm_text *out, dlm_error *err)
{
	uint32_t	size;
	const void *data = find(m, key, &size);

	if (size > MAX_TEXT || (size > 0 && (memchr(data, 0, size) != NULL || !dl_utf8_wellformed(data, size))))
		return dl_fail_damaged(err, "a text of its settings");
	*out = size > 0 ? (dlm_text) {data, size} : fallback;
	return DLM_OK;
}

/* *value keeps what it has when the setting is missing. */
static dlm_status
read_choice(const dlm_model *m, uint32_t key, uint32_t largest, uint32_t *value, dlm_error *err)
{
	uint32_t	size;
	const void *data = find(m, key, &size);

	if (data == NULL)
		return DLM_OK;
	if (size != sizeof(*value))
		return dl_fail_damaged(err, "a choice of its settings");
	memcpy(value, data, sizeof(*value));
	return *value <= largest ? DLM_OK : dl_fail_damaged(err, "a choice of its settings");
}

/* What a special token looks like in a template; of any other token the text it stands for. */
static size_t
token_text(const dl_tok *tok, int32_t id, char *buf, size_t cap)
{
	dlm_text	piece = dl_tok_piece(tok, id);

	if (!dl_tok_is_special(tok, id))
		return dl_tok_bytes(tok, id, -1, buf, cap);
	if (piece.len <= cap)
		memcpy(buf, piece.data, piece.len);
	return piece.len;
}

/* begin + holes + end into buf; the bytes needed. Called once to count, once to write. */
static size_t
write_row(const dlm_model *m, const char *holes, char *buf, size_t cap)
{
	const dl_settings *s = &m->settings;
	size_t		at = 0;
	size_t		len = strlen(holes);

	for (int i = 0; i < s->n_begin; i++)
		at += token_text(m->tok, s->begin[i], buf + (at < cap ? at : cap), at < cap ? cap - at : 0);
	if (at + len <= cap)
		memcpy(buf + at, holes, len);
	at += len;
	for (int i = 0; i < s->n_end; i++)
		at += token_text(m->tok, s->end[i], buf + (at < cap ? at : cap), at < cap ? cap - at : 0);
	return at;
}

/* The paper's rows, for the templates that the file does not have. */
static dlm_status
default_rows(dlm_model *m, dlm_text out[3], dlm_error *err)
{
	static const char *const holes[3] = {"{prompt}{canvas}", CLASSIFY_HOLES, "{text}"};
	char		none[1];
	size_t		size[3];
	size_t		total = 0;
	char	   *at;

	for (int i = 0; i < 3; i++)
	{
		size[i] = write_row(m, holes[i], none, 0);
		total += size[i];
	}
	at = m->texts = malloc(total);
	if (at == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < 3; i++)
	{
		write_row(m, holes[i], at, size[i]);
		out[i] = (dlm_text) {at, size[i]};
		at += size[i];
	}
	return DLM_OK;
}

static dlm_status
read_templates(dlm_model *m, dlm_error *err)
{
	dl_settings *s = &m->settings;
	dlm_text	instruction = {DEFAULT_INSTRUCTION, strlen(DEFAULT_INSTRUCTION)};
	dlm_text	content_free = {DEFAULT_CONTENT_FREE, strlen(DEFAULT_CONTENT_FREE)};
	dlm_text	rows[3];
	dlm_status	st = default_rows(m, rows, err);

	if (st == DLM_OK)
		st = read_text(m, DL_S_TEMPLATE_GENERATE, rows[0], &s->generate, err);
	if (st == DLM_OK)
		st = read_text(m, DL_S_TEMPLATE_CLASSIFY, rows[1], &s->classify, err);
	if (st == DLM_OK)
		st = read_text(m, DL_S_TEMPLATE_CLASSIFY_MULTI, s->classify, &s->classify_multi, err);
	if (st == DLM_OK)
		st = read_text(m, DL_S_TEMPLATE_INFILL, rows[2], &s->infill, err);
	if (st == DLM_OK)
		st = read_text(m, DL_S_CLASSIFY_INSTRUCTION, instruction, &s->classify_instruction, err);
	if (st == DLM_OK)
		st = read_text(m, DL_S_CONTENT_FREE, content_free, &s->content_free, err);
	return st;
}

static dlm_status
read_sampler(dlm_model *m, dlm_error *err)
{
	char		name[128] = DEFAULT_SAMPLER;
	uint32_t	size;
	const void *data = find(m, DL_S_SAMPLER, &size);

	if (size >= sizeof(name))
		return dl_fail_damaged(err, "the name of its sampler");
	if (data != NULL)
	{
		memcpy(name, data, size);
		name[size] = 0;
	}
	if (dlm_sampler_parse(name, &m->settings.sampler, NULL) != DLM_OK)
		return dl_fail_damaged(err, "the name of its sampler");
	return DLM_OK;
}

static dlm_status
read_choices(dlm_model *m, dlm_error *err)
{
	dl_settings *s = &m->settings;
	/* without a stop token one pass cannot tell a label from a longer one */
	uint32_t	scoring = s->n_stop > 0 ? DLM_SCORING_ONE_PASS : DLM_SCORING_GROUPED;
	uint32_t	normalize = DLM_NORMALIZE_MEAN;
	uint32_t	calibrate = DLM_CALIBRATE_NONE;
	uint32_t	steps = 0;
	dlm_status	st = read_choice(m, DL_S_SCORING, DLM_SCORING_PLL, &scoring, err);

	if (st == DLM_OK)
		st = read_choice(m, DL_S_NORMALIZE, DLM_NORMALIZE_SUM, &normalize, err);
	if (st == DLM_OK)
		st = read_choice(m, DL_S_CALIBRATE, DLM_CALIBRATE_CONTENT_FREE, &calibrate, err);
	if (st == DLM_OK)
		st = read_choice(m, DL_S_STEPS, DL_MAX_CONTEXT, &steps, err);
	if (st == DLM_OK && (scoring == 0 || normalize == 0 || calibrate == 0))
		st = dl_fail_damaged(err, "a choice of its settings");
	s->scoring = (dlm_scoring) scoring;
	s->normalize = (dlm_normalize) normalize;
	s->calibrate = (dlm_calibrate) calibrate;
	s->steps = (int) steps;
	return st;
}

static dlm_status
read_length_bias(dlm_model *m, dlm_error *err)
{
	double	   *bias = m->settings.length_bias;
	uint32_t	size;
	const void *data = find(m, DL_S_LENGTH_BIAS, &size);

	bias[4] = 1;
	if (data == NULL)
		return DLM_OK;
	if (size != 5 * sizeof(double))
		return dl_fail_damaged(err, "the curve of its length bias");
	memcpy(bias, data, size);
	for (int i = 0; i < 5; i++)
		if (!isfinite(bias[i]))
			return dl_fail_damaged(err, "the curve of its length bias");
	return DLM_OK;
}

dlm_status
dl_model_settings(dlm_model *m, dlm_error *err)
{
	const dl_header *h = m->header;
	dl_settings *s = &m->settings;
	uint32_t	many = m->config.tokens;
	dlm_status	st;

	if (!dl_settings_wellformed(m->base + h->settings.offset, h->settings.size, DL_S_BEGIN_IDS, DL_S_LENGTH_BIAS) ||
		!dl_settings_wellformed(m->base + h->meta.offset, h->meta.size, DL_S_LICENSE, DL_S_SOURCE))
		return dl_fail_damaged(err, "its settings");
	st = read_ids(m, DL_S_BEGIN_IDS, MAX_EDGE_IDS, &s->begin, &s->n_begin, err);
	if (st == DLM_OK)
		st = read_ids(m, DL_S_END_IDS, MAX_EDGE_IDS, &s->end, &s->n_end, err);
	if (st == DLM_OK)
		st = read_ids(m, DL_S_STOP_IDS, many, &s->stop, &s->n_stop, err);
	if (st == DLM_OK)
		st = read_ids(m, DL_S_NEVER_GENERATE, many, &s->never_generate, &s->n_never_generate, err);
	if (st == DLM_OK)
		st = read_ids(m, DL_S_NEVER_SCORE, many, &s->never_score, &s->n_never_score, err);
	if (st == DLM_OK)
		st = read_templates(m, err);
	if (st == DLM_OK)
		st = read_sampler(m, err);
	if (st == DLM_OK)
		st = read_choices(m, err);
	return st == DLM_OK ? read_length_bias(m, err) : st;
}
