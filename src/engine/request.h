/*
 * request.h - what makes two requests equal, and what makes options valid.
 */
#ifndef DL_REQUEST_H
#define DL_REQUEST_H

#include "model.h"
#include "sha256.h"

extern const dlm_options dl_default_options;	/* all zero */

/* DLM_EINVAL with the allowed values. */
dlm_status	dl_options_check(const dlm_options *options, dlm_error *err);

/* Feed every option that can change an answer; the seed only if asked for (the noise key holds it apart). */
void		dl_options_hash(dl_sha256 *sha, const dlm_model *model, const dlm_options *options, bool seed);

/* Feed length and bytes of a text, so that two lists of texts never run into one another. */
void		dl_hash_text(dl_sha256 *sha, dlm_text text);
void		dl_hash_int(dl_sha256 *sha, int64_t value);

void		dl_gap_rule_hash(dl_sha256 *sha, const dlm_gap_rule *rule);

/* SHA-256 over the whole request by value: equal digests are equal requests. */
void		dl_request_digest(const dlm_model *model, const dlm_request *request, uint8_t digest[32]);

#endif							/* DL_REQUEST_H */
