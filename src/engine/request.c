/*
 * request.c - checks of options, and digests of requests by value.
 *
 * Two requests whose digests are equal are computed once: SHA-256 has no
 * known collisions, so the digest stands for the comparison. Pointers never
 * enter a digest, only what they point to.
 */
#include "request.h"
#include "status.h"

#include <string.h>

const dlm_options dl_default_options = {0};

/* Bounds that keep one request's work finite whatever the caller asks. */
#define MAX_STEPS		100000
#define MAX_TEXTS		1000
#define MAX_BEAM		64
#define MAX_BUDGET		4096

/* Of keys under which answers are kept: to be raised with every change that is meant to change answers (t_bits.c). */
#define KEY_VERSION		"answers 1"

static bool
finite_between(double x, double low, double high)
{
	return x >= low && x <= high;		/* false for NaN */
}

static dlm_status
bad_range(dlm_error *err, const char *name, const char *range)
{
	return dl_fail(err, DLM_EINVAL, "", "option \"%s\" must be %s", name, range);
}

static dlm_status
check_numbers(const dlm_options *o, dlm_error *err)
{
	if (o->steps < 0 || o->steps > MAX_STEPS)
		return bad_range(err, "steps", "between 1 and 100000");
	if (!finite_between(o->temperature, 0, 1e6))
		return bad_range(err, "temperature", "between 0 and 1000000");
	if (!finite_between(o->threshold, 0, 1))
		return bad_range(err, "threshold", "between 0 and 1");
	if (o->block_length < 0)
		return bad_range(err, "block_length", "positive");
	if (!finite_between(o->cfg_scale, 0, 1000))
		return bad_range(err, "cfg_scale", "between 0 and 1000");
	if (o->top_k < 0)
		return bad_range(err, "top_k", "positive");
	if (!finite_between(o->top_p, 0, 1))
		return bad_range(err, "top_p", "between 0 and 1");
	if (o->length_beam < 0 || o->length_beam > MAX_BEAM)
		return bad_range(err, "length_beam", "between 1 and 64");
	if (o->length_budget < 0 || o->length_budget > MAX_BUDGET)
		return bad_range(err, "length_budget", "between 1 and 4096");
	if (o->passes < -1)
		return bad_range(err, "passes", "positive, or \"exact\"");
	if (!finite_between(o->multi_threshold, 0, 1))
		return bad_range(err, "threshold", "between 0 and 1");
	if (o->top_lengths < 0)
		return bad_range(err, "k", "positive");
	if (!finite_between(o->sampler.noise, 0, 1e6))
		return bad_range(err, "sampler", "a stochastic rule with noise between 0 and 1000000");
	return DLM_OK;
}

static dlm_status
check_texts(const dlm_text *texts, int n, const char *name, dlm_error *err)
{
	if (n < 0 || n > MAX_TEXTS)
		return dl_fail(err, DLM_EINVAL, "", "option \"%s\" has %d texts, at most %d are allowed", name, n, MAX_TEXTS);
	for (int i = 0; i < n; i++)
		if (texts[i].len == 0)
			return dl_fail(err, DLM_EINVAL, "", "option \"%s\" holds an empty text", name);
	return DLM_OK;
}

dlm_status
dl_options_check(const dlm_options *o, dlm_error *err)
{
	dlm_status	st = check_numbers(o, err);

	if (st == DLM_OK)
		st = check_texts(o->ban, o->n_ban, "ban", err);
	if (st == DLM_OK)
		st = check_texts(o->stop, o->n_stop, "stop", err);
	return st;
}

void
dl_hash_int(dl_sha256 *sha, int64_t value)
{
	uint8_t		bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t) ((uint64_t) value >> (8 * i));
	dl_sha256_update(sha, bytes, 8);
}

static void
hash_double(dl_sha256 *sha, double value)
{
	int64_t		bits;

	memcpy(&bits, &value, sizeof(bits));
	dl_hash_int(sha, bits);
}

void
dl_hash_text(dl_sha256 *sha, dlm_text text)
{
	dl_hash_int(sha, text.data ? (int64_t) text.len : -1);
	if (text.data && text.len > 0)
		dl_sha256_update(sha, text.data, text.len);
}

static void
hash_texts(dl_sha256 *sha, const dlm_text *texts, int n)
{
	dl_hash_int(sha, texts ? n : -1);
	for (int i = 0; texts && i < n; i++)
		dl_hash_text(sha, texts[i]);
}

void
dl_options_hash(dl_sha256 *sha, const dlm_model *model, const dlm_options *o, bool seed)
{
	const int64_t ints[] = {o->steps, o->sampler.kind, o->sampler.cond, o->sampler.linear, o->block_length, o->top_k,
		o->length, o->length_beam, o->length_budget, o->has_template, o->boundary, o->multiline, o->scoring,
		o->normalize, o->calibrate, o->passes, o->top_lengths, o->forbidden != NULL, seed ? o->seed : 0};
	const double doubles[] = {o->temperature, o->sampler.noise, o->threshold, o->cfg_scale, o->top_p,
		o->multi_threshold};

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
		dl_hash_int(sha, ints[i]);
	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++)
		hash_double(sha, doubles[i]);
	hash_texts(sha, o->ban, o->n_ban);
	hash_texts(sha, o->stop, o->n_stop);
	if (o->has_template)
		dl_hash_text(sha, o->tmpl);
	if (o->forbidden)
		dl_sha256_update(sha, o->forbidden, ((size_t) model->config.tokens + 7) / 8);
}

void
dl_gap_rule_hash(dl_sha256 *sha, const dlm_gap_rule *rule)
{
	dl_hash_text(sha, rule->gap);
	hash_texts(sha, rule->choices, rule->n_choices);
	dl_hash_int(sha, rule->bias != NULL);
	for (int i = 0; rule->bias != NULL && i < rule->n_choices; i++)
		hash_double(sha, rule->bias[i]);
	hash_double(sha, rule->trust);
	dl_hash_text(sha, rule->alone);
	dl_hash_text(sha, rule->pattern);
	hash_texts(sha, rule->reject, rule->n_reject);
}

static void
hash_request(dl_sha256 *sha, const dlm_model *model, const dlm_request *r)
{
	const dlm_options *o = r->options ? r->options : &dl_default_options;

	dl_hash_int(sha, r->task);
	dl_hash_text(sha, r->input);
	dl_hash_int(sha, r->max_tokens);
	dl_hash_int(sha, r->trace);
	dl_hash_int(sha, r->has_instruction);
	if (r->has_instruction)
		dl_hash_text(sha, r->instruction);
	hash_texts(sha, r->labels, r->n_labels);
	hash_texts(sha, r->descriptions, r->n_labels);
	dl_hash_int(sha, r->n_examples);
	for (int i = 0; i < r->n_examples; i++)
	{
		dl_hash_text(sha, r->examples[i].input);
		dl_hash_text(sha, r->examples[i].label);
	}
	dl_hash_int(sha, r->label_bias != NULL);
	for (int i = 0; r->label_bias != NULL && i < r->n_labels; i++)
		hash_double(sha, r->label_bias[i]);
	hash_double(sha, r->label_scale);
	dl_hash_int(sha, r->n_rules);
	for (int i = 0; i < r->n_rules; i++)
		dl_gap_rule_hash(sha, &r->rules[i]);
	dl_options_hash(sha, model, o, true);
	dl_hash_int(sha, o->overflow);
}

void
dl_request_digest(const dlm_model *model, const dlm_request *r, uint8_t digest[32])
{
	dl_sha256	sha;

	dl_sha256_init(&sha);
	hash_request(&sha, model, r);
	dl_sha256_final(&sha, digest);
}

void
dlm_request_key(const dlm_model *model, const dlm_request *r, const void *scope, size_t scope_len, uint8_t key[32])
{
	dl_sha256	sha;

	dl_sha256_init(&sha);
	dl_sha256_update(&sha, KEY_VERSION, sizeof(KEY_VERSION));
	dl_hash_text(&sha, (dlm_text) {scope, scope_len});
	hash_request(&sha, model, r);
	dl_sha256_final(&sha, key);
}
