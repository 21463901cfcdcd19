/*
 * calibrate.h - content-free scores, computed once per distinct request.
 *
 * Contextual calibration subtracts what the model says about the labels of
 * the same row with a text that says nothing (Zhao et al. 2021, in log
 * space). That row is the same for all rows of a query, so its scores are
 * kept: within a session in a table of *shared* entries, across sessions in
 * the caller's dlm_memo. A key is the SHA-256 of the model's digest, the
 * scoring rule and the very tokens of the row and its answers, so equal keys
 * mean equal scores, bit for bit.
 */
#ifndef DL_CALIBRATE_H
#define DL_CALIBRATE_H

#include "classify_rows.h"
#include "session.h"

/* Scores that some task of this session computes, or has computed. Lives as long as the session. */
typedef struct dl_content_free
{
	struct dl_content_free *next;	/* of the bucket */
	uint8_t		key[32];
	bool		done;
	int			n;
	double		score[];		/* [n], valid once done */
} dl_content_free;

/*
 * Find the entry of a content-free question, or add one. *fresh: it was added
 * just now and is not done, so the caller is to compute it. An entry that is
 * not done may be another task's work, which can fail: whoever needs it and
 * finds it undone when its own rows are computed computes it too.
 * Not for dl_task_ops.open: an entry must not be rewound. DLM_ENOMEM.
 */
dlm_status	dl_content_free_share(dlm_session *s, const dl_question *q, dlm_normalize normalize,
								  dl_content_free **out, bool *fresh, dlm_error *err);

/* The question's rows are computed: fill the entry, and remember it in the memo. */
void		dl_content_free_publish(dlm_session *s, const dl_question *q, dlm_normalize normalize,
									dl_content_free *entry);

#endif							/* DL_CALIBRATE_H */
