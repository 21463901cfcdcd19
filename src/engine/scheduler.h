/*
 * scheduler.h - rounds: which tasks run now, and their rows' way through the network.
 */
#ifndef DL_SCHEDULER_H
#define DL_SCHEDULER_H

#include "session.h"

typedef struct dl_scheduler
{
	int		   *alias;			/* [n] the first equal request, or the request itself */
	int		   *copies;			/* [n] how many requests this one answers, 0 for a duplicate */
	int		   *queue;			/* [n_queue] tasks in the order of their requests, duplicates left out */
	int			n_queue,
				head;			/* the next to be opened */
	int		   *running;		/* [n_running] opened tasks, in the order of their admission */
	int			n_running,
				max_running;	/* lowered when memory was short */
	int			cursor;			/* the running task to be planned or absorbed next */
	enum { DL_PHASE_PLAN, DL_PHASE_RUN, DL_PHASE_ABSORB } phase;
	int		   *owner;			/* [session->rows_capacity] task of each row of the round */
	int			planning;		/* task whose plan is running */
	int			plan_from;		/* the round's rows when it began */
	bool		resumed;		/* its plan was interrupted: call it again, the rows it has added stay */
	size_t		load;			/* tokens of this round's rows */
	int			batch_first,	/* rows [batch_first, batch_end) are in the network */
				batch_end,
				batch_limit;	/* rows of a batch, lowered when memory was short */
	bool		in_forward;
	dlm_status	failed;			/* the session's end; DLM_OK while it lives */
	dlm_error	error;
} dl_scheduler;

/* Tokens of a round above which no further task is admitted, and of one packed forward. */
#define DL_ROUND_TOKENS	4096

/* Set up s->scheduler: finds equal requests. DLM_ENOMEM. */
dlm_status	dl_scheduler_init(dlm_session *s, dlm_error *err);

/* One small piece of work. DLM_MORE: there is more; DLM_OK: all done; DLM_EINTR; else the session's failure. */
dlm_status	dl_scheduler_step(dlm_session *s, dlm_error *err);

/* Close what is still open. */
void		dl_scheduler_close(dlm_session *s);

#endif							/* DL_SCHEDULER_H */
