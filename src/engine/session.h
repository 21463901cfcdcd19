/*
 * session.h - inside a session: tasks, rounds and the scheduler.
 *
 * A *task* is one request being worked on: a small state machine. In each
 * *round* the scheduler asks every running task for the rows it wants next,
 * runs all of them in one packed forward, and lets every task absorb what its
 * reducers collected. A task that wants no rows is done. So classification is
 * one or two rounds, a denoising a round per step, a length search a round
 * per sweep, and rows of different requests share every forward.
 *
 * session.c owns the scheduler; task_*.c implement one dl_task_ops each.
 */
#ifndef DL_SESSION_H
#define DL_SESSION_H

#include "forward.h"

typedef struct dl_task dl_task;

typedef struct dl_task_ops
{
	const char *name;

	/*
	 * Begin: parse, tokenise, check that it fits; set task->state. May return
	 * DLM_EINTR: it is then called again from scratch (what it allocated in
	 * the arena is rewound). Any other failure but DLM_ENOMEM becomes the
	 * row's own error and ends the task.
	 */
	dlm_status	(*open) (dl_task *task, dlm_error *err);
	/* Hand this round's rows to dl_session_add_row; none = the task is done and *task->result complete. After DLM_EINTR it
	 * is called again; the rows that it has added stay. */
	dlm_status	(*plan) (dl_task *task, dlm_error *err);
	/* The rows planned have been computed. (A row's reducer may have been called a second time, with the same logits,
	 * where memory was short and the batch was cut: reducers overwrite, they do not add up.) */
	dlm_status	(*absorb) (dl_task *task, dlm_error *err);
	/*
	 * Free blocks and caches (the arena's bump memory goes with the session).
	 * Called wherever task->state is not NULL, also after a failed open: set
	 * state before the first block. A task that was parked for want of memory
	 * is closed and later opened again; its result is cleared then.
	 */
	void		(*close) (dl_task *task);
} dl_task_ops;

struct dl_task
{
	const dl_task_ops *ops;
	dlm_session *session;
	const dlm_request *request;
	const dlm_options *options;	/* never NULL */
	dlm_result *result;
	void	   *state;			/* the task's own */
	int			step,
				steps;			/* for progress */
	bool		opened,
				done;
};

struct dlm_session
{
	const dlm_model *model;
	const dl_kernels *kernels;
	dlm_env		env;
	dl_arena   *arena;
	dl_forward *forward;
	int			n;
	dl_task    *tasks;			/* [n] */
	dlm_result *results;		/* [n] */
	dl_row	   *rows;			/* this round's [n_rows] */
	int			n_rows,
				rows_capacity;
	dlm_progress progress;
	struct dl_content_free_table *content_free;	/* calibrate.c's own, bump memory; NULL until used */
	/* the scheduler's own state follows; see session.c */
	struct dl_scheduler *scheduler;
	const struct dl_vocab *vocab;	/* bans.c: made when first asked for */
	struct kept_bans *bans;
	struct kept_pattern *patterns;	/* constraint.c */
	struct dl_reader *readers;
};

/* Add a row to the round. The row is copied; what it points to must live until absorb. */
dlm_status	dl_session_add_row(dlm_session *s, const dl_row *row, dlm_error *err);

extern const dl_task_ops dl_task_generate;	/* task_generate.c */
extern const dl_task_ops dl_task_infill;	/* task_infill.c */
extern const dl_task_ops dl_task_classify;	/* task_classify.c: classify and classify_multi */
extern const dl_task_ops dl_task_score;		/* task_score.c: score and token_scores */
extern const dl_task_ops dl_task_embed;		/* task_embed.c */
extern const dl_task_ops dl_task_length;	/* task_length.c: predict_length */

/* memo: a pure store, keyed by 32 bytes; get returns NULL when unknown. The value is copied in. */
const void *dl_memo_get(dlm_memo *memo, const uint8_t key[32], size_t *size);
void		dl_memo_put(dlm_memo *memo, const uint8_t key[32], const void *value, size_t size);

/*
 * The memo's cache of fixed text, for one row of a batch that begins as a row
 * of an earlier session did (the same instruction over a table, a call a row).
 * NULL when the memo has no room for n fixed tokens.
 */
dl_kv	   *dl_memo_kv(dlm_memo *memo, const dlm_model *model, int n);

#endif							/* DL_SESSION_H */
