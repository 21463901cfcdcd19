/*
 * queue.h - what of a call is computed next, and which answers are known.
 */
#ifndef DLM_PG_QUEUE_H
#define DLM_PG_QUEUE_H

#include "request.h"

/* A stretch of a call's requests: those that one session computes, and between them those whose answer the cache has. */
typedef struct DlmQueue
{
	DlmCall    *call;
	int			first,			/* [first, last) of the call's requests */
				last;
	int			most;			/* requests of a stretch */
	dlm_request *requests;		/* [n] to be computed, copies */
	int			n;
	int			n_known;
	/* with a cache */
	bool		cache;
	uint8		(*keys)[32];	/* [n] */
	char	  **known;			/* [last - first] bytes of the answer, NULL = to be computed */
	MemoryContext memory;		/* of these bytes */
} DlmQueue;

extern DlmQueue *dlm_queue_begin(DlmCall *call);

/*
 * Go on to the next stretch; false: there is none. It is computed by one
 * session: at most dlm.batch_size requests, with texts of at most
 * dlm.batch_mem, at most call->most, but always one unless all are known.
 */
extern bool dlm_queue_next(DlmQueue *q);

/* ... or begin with the present one again, which has taken more memory than there is. */
extern void dlm_queue_again(DlmQueue *q);

/* The answer of request i of the call, one of the stretch; false: it is not known. */
extern bool dlm_queue_known(const DlmQueue *q, int i, dlm_result *result);

/* Keep the answer that requests[k] has got. */
extern void dlm_queue_keep(const DlmQueue *q, int k, const dlm_result *result);

#endif							/* DLM_PG_QUEUE_H */
