/*
 * queue.c - what of a call is computed next, and which answers are known.
 *
 * With dlm.cache_mem every request is looked up before it is queued, under all
 * that its answer depends on: the model's digest and the request by value as
 * the engine gets it, with all defaults, options, fits and rules in it
 * (dlm_request_key). Database and role are part of the key too, so that
 * nobody's answers, nor the time they take, tell others what was asked.
 * Traces are not kept: they are looked at once, and large.
 *
 * Known answers and computed ones are handed over in the order of rows, so
 * known ones behind the first that is computed wait for it.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "cache.h"
#include "cache_value.h"
#include "guc.h"
#include "queue.h"

/* Whose answer it is. Compared byte by byte: no holes. */
typedef struct KeyScope
{
	uint8		digest[32];
	Oid			dbid;
	Oid			userid;
} KeyScope;

DlmQueue *
dlm_queue_begin(DlmCall *call)
{
	DlmQueue   *q = palloc0(sizeof(DlmQueue));

	q->call = call;
	q->most = Min(call->n, DLM_MOST_BATCH_SIZE);
	q->cache = dlm_cache_begin();
	q->requests = palloc(q->most * sizeof(dlm_request));
	if (q->cache)
	{
		q->keys = palloc(q->most * sizeof(*q->keys));
		q->known = palloc(q->most * sizeof(char *));
		q->memory = AllocSetContextCreate(call->context, "dlm known answers", ALLOCSET_DEFAULT_SIZES);
	}
	return q;
}

static void
make_key(const DlmCall *call, const dlm_request *request, uint8 key[32])
{
	KeyScope	scope;

	memcpy(scope.digest, call->model->digest, sizeof(scope.digest));
	scope.dbid = MyDatabaseId;
	scope.userid = GetUserId();
	dlm_request_key(call->model->model, request, &scope, sizeof(scope), key);
}

/* Is the answer of request i known? Its key is left for the request if it is queued. */
static bool
look_up(DlmQueue *q, int i, Size *bytes)
{
	const dlm_request *request = &q->call->requests[i];
	MemoryContext before;
	char	  **known = &q->known[i - q->first];
	Size		size = 0;

	*known = NULL;
	if (request->trace)
		return false;
	CHECK_FOR_INTERRUPTS();
	make_key(q->call, request, q->keys[q->n]);
	before = MemoryContextSwitchTo(q->memory);
	*known = dlm_cache_get(q->keys[q->n], &size);
	MemoryContextSwitchTo(before);
	*bytes += size;
	return *known != NULL;
}

/* May the next request be queued behind those that are? left: what batch_mem leaves for texts. */
static bool
has_room(const DlmQueue *q, Size left)
{
	int			most = q->call->most > 0 ? Min(dlm_guc_batch_size, q->call->most) : dlm_guc_batch_size;

	return q->n == 0 || (q->n < most && q->call->requests[q->last].input.len <= left);
}

bool
dlm_queue_next(DlmQueue *q)
{
	const DlmCall *call = q->call;
	Size		limit = (Size) dlm_guc_batch_mem * 1024;
	Size		left = limit;
	Size		known = 0;

	q->first = q->last;
	q->n = q->n_known = 0;
	if (q->memory)
		MemoryContextReset(q->memory);
	for (; q->last < call->n && q->last - q->first < q->most && known < limit && has_room(q, left); q->last++)
	{
		if (q->cache && look_up(q, q->last, &known))
		{
			q->n_known++;
			continue;
		}
		if (q->n > 0)			/* the first one's text may be of any length */
			left -= call->requests[q->last].input.len;
		q->requests[q->n++] = call->requests[q->last];
	}
	return q->last > q->first;
}

void
dlm_queue_again(DlmQueue *q)
{
	q->last = q->first;
}

bool
dlm_queue_known(const DlmQueue *q, int i, dlm_result *result)
{
	if (q->n_known == 0 || q->known[i - q->first] == NULL)
		return false;
	dlm_value_unpack(q->known[i - q->first], result);
	return true;
}

void
dlm_queue_keep(const DlmQueue *q, int k, const dlm_result *result)
{
	Size		size;
	char	   *bytes;

	if (!q->cache || q->requests[k].trace)
		return;
	bytes = dlm_value_pack(result, &size);
	dlm_cache_put(q->keys[k], bytes, size);
	pfree(bytes);
}
