/*
 * calibrate.c - content-free scores, computed once per distinct request; see calibrate.h.
 */
#include "calibrate.h"
#include "request.h"
#include "status.h"

#include <string.h>

#define BUCKETS	256
#define KEY_VERSION	"content-free 1"

struct dl_content_free_table
{
	dl_content_free *bucket[BUCKETS];
};

static void
hash_ids(dl_sha256 *sha, const int32_t *ids, int n)
{
	dl_hash_int(sha, n);
	for (int i = 0; i < n; i++)
		dl_hash_int(sha, ids[i]);
}

/* Everything that the scores depend on. */
static void
question_key(const dlm_session *s, const dl_question *q, dlm_normalize normalize, uint8_t key[32])
{
	dl_sha256	sha;

	dl_sha256_init(&sha);
	dl_sha256_update(&sha, KEY_VERSION, sizeof(KEY_VERSION));
	dl_sha256_update(&sha, s->model->header->digest, sizeof(s->model->header->digest));
	dl_hash_int(&sha, q->scoring);
	dl_hash_int(&sha, normalize);
	hash_ids(&sha, q->row.head.id, q->row.head.n);
	hash_ids(&sha, q->row.tail.id, q->row.tail.n);
	dl_hash_int(&sha, q->answers.n);
	for (int i = 0; i < q->answers.n; i++)
		hash_ids(&sha, q->answers.ids + q->answers.start[i], dl_answer_length(&q->answers, i));
	dl_sha256_final(&sha, key);
}

static dl_content_free **
bucket_of(dlm_session *s, const uint8_t key[32])
{
	if (s->content_free == NULL)
		s->content_free = dl_arena_calloc(s->arena, 1, sizeof(*s->content_free));
	return s->content_free == NULL ? NULL : &s->content_free->bucket[key[0] % BUCKETS];
}

dlm_status
dl_content_free_share(dlm_session *s, const dl_question *q, dlm_normalize normalize, dl_content_free **out,
					  bool *fresh, dlm_error *err)
{
	uint8_t		key[32];
	size_t		bytes = (size_t) q->answers.n * sizeof(double);
	size_t		known_bytes = 0;
	const void *known;
	dl_content_free **bucket;
	dl_content_free *entry;

	question_key(s, q, normalize, key);
	bucket = bucket_of(s, key);
	if (bucket == NULL)
		return dl_fail_memory(err);
	*fresh = false;
	for (entry = *bucket; entry != NULL; entry = entry->next)
		if (memcmp(entry->key, key, sizeof(key)) == 0)
		{
			*out = entry;
			return DLM_OK;
		}
	entry = dl_arena_calloc(s->arena, 1, sizeof(*entry) + bytes);
	if (entry == NULL)
		return dl_fail_memory(err);
	memcpy(entry->key, key, sizeof(key));
	entry->n = q->answers.n;
	known = s->env.memo != NULL ? dl_memo_get(s->env.memo, key, &known_bytes) : NULL;
	entry->done = known != NULL && known_bytes == bytes;
	if (entry->done)
		memcpy(entry->score, known, bytes);
	*fresh = !entry->done;
	entry->next = *bucket;
	*bucket = entry;
	*out = entry;
	return DLM_OK;
}

void
dl_content_free_publish(dlm_session *s, const dl_question *q, dlm_normalize normalize, dl_content_free *entry)
{
	for (int i = 0; i < entry->n; i++)
		entry->score[i] = dl_question_score(q, i, normalize);
	entry->done = true;
	if (s->env.memo != NULL)
		dl_memo_put(s->env.memo, entry->key, entry->score, (size_t) entry->n * sizeof(double));
}
