/*
 * batch_memo.c - equal calls of a statement are computed once.
 *
 * Keys are all arguments, byte by byte, so nothing is ever taken for something
 * else; what is the same in every row of a call goes in as a number. A quarter
 * of dlm.batch_mem is its room; long keys are not kept, they would fill it with
 * texts that hardly come twice.
 *
 * A full memo is not emptied but left behind: it goes when the last node that
 * emits rows with its answers has read on.
 */
#include "dlm_pg.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "batch_state.h"
#include "guc.h"

#define MAX_PATTERNS		64
#define LONGEST_PATTERN		16384	/* bytes */
#define SHARE				4	/* of dlm.batch_mem: one part of so many */

typedef struct MemoEntry
{
	uint32		hash;
	char		status;			/* simplehash's own */
	const char *key;
	DlmAnswer  *answer;			/* entries move when the table grows, answers do not */
} MemoEntry;

#define SH_PREFIX		memo
#define SH_ELEMENT_TYPE	MemoEntry
#define SH_KEY_TYPE		const char *
#define SH_KEY			key
#define SH_SCOPE		static inline
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	((a)->hash)
#define SH_HASH_KEY(tb, key)	key_hash(key)
#define SH_EQUAL(tb, a, b)	keys_equal(a, b)
#define SH_DECLARE
#define SH_DEFINE

/* A key is its length in four bytes, then its bytes. */
static inline uint32
key_size(const char *key)
{
	uint32		size;

	memcpy(&size, key, sizeof(size));
	return size;
}

static inline uint32
key_hash(const char *key)
{
	return hash_bytes((const unsigned char *) key, (int) (key_size(key) + sizeof(uint32)));
}

static inline bool
keys_equal(const char *a, const char *b)
{
	return key_size(a) == key_size(b) && memcmp(a, b, key_size(a) + sizeof(uint32)) == 0;
}

#include "lib/simplehash.h"

struct DlmAnswers
{
	MemoryContext context;		/* of this, the table, keys and answers */
	memo_hash  *table;
	Size		limit;			/* bytes */
	int			pins;
	DlmAnswers *next;			/* older ones */
};

struct DlmMemo
{
	EState	   *estate;
	DlmAnswers *answers;		/* the present ones, and then those that are still pinned */
	int			n_patterns;		/* numbered from 1, kept for the whole statement */
	Size		pattern_size[MAX_PATTERNS];
	char	   *pattern[MAX_PATTERNS];
	uint32		last_number;
	DlmMemo    *next;
	MemoryContextCallback callback;
};

static DlmMemo *memos = NULL;	/* of the statements that run now */

static void
forget_memo(void *arg)
{
	for (DlmMemo **link = &memos; *link; link = &(*link)->next)
	{
		if (*link == arg)
		{
			*link = (*link)->next;
			return;
		}
	}
}

static void
begin_answers(DlmMemo *memo)
{
	Size		limit = (Size) dlm_guc_batch_mem * 1024 / SHARE;
	MemoryContext context = AllocSetContextCreate(memo->estate->es_query_cxt, "dlm answers", 0, 1024,
												  dlm_batch_block(limit));
	DlmAnswers *answers = MemoryContextAllocZero(context, sizeof(DlmAnswers));

	answers->context = context;
	answers->limit = limit;
	answers->table = memo_create(context, 64, NULL);
	answers->next = memo->answers;
	memo->answers = answers;
}

DlmMemo *
dlm_memo_of(EState *estate)
{
	DlmMemo    *memo;

	for (memo = memos; memo; memo = memo->next)
	{
		if (memo->estate == estate)
			return memo;
	}
	memo = MemoryContextAllocZero(estate->es_query_cxt, sizeof(DlmMemo));
	memo->estate = estate;
	begin_answers(memo);
	memo->next = memos;
	memos = memo;
	memo->callback.func = forget_memo;
	memo->callback.arg = memo;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &memo->callback);
	return memo;
}

uint32
dlm_memo_pattern(DlmMemo *memo, const char *bytes, Size size)
{
	for (int i = 0; i < memo->n_patterns; i++)
	{
		if (memo->pattern_size[i] == size && memcmp(memo->pattern[i], bytes, size) == 0)
			return i + 1;
	}
	if (memo->n_patterns == MAX_PATTERNS || size > LONGEST_PATTERN)
		return MAX_PATTERNS + ++memo->last_number;	/* a number that no other call has */
	memo->pattern[memo->n_patterns] = MemoryContextAlloc(memo->estate->es_query_cxt, size);
	memcpy(memo->pattern[memo->n_patterns], bytes, size);
	memo->pattern_size[memo->n_patterns] = size;
	return ++memo->n_patterns;
}

Size
dlm_memo_size(const DlmMemo *memo)
{
	Size		size = 0;

	for (const DlmAnswers *answers = memo->answers; answers; answers = answers->next)
		size += MemoryContextMemAllocated(answers->context, false);
	return size;
}

/* Is there no room for `more` bytes? */
static bool
is_full(const DlmAnswers *answers, Size more)
{
	return MemoryContextMemAllocated(answers->context, false) + more > answers->limit;
}

/* Bytes that the table takes, beside the old one, should the next entry make it grow. */
static Size
growth(const memo_hash *table)
{
	return table->members < table->grow_threshold ? 0 : 2 * table->size * sizeof(MemoEntry);
}

DlmAnswers *
dlm_memo_pin(DlmMemo *memo)
{
	DlmAnswers *full = memo->answers;

	if (is_full(full, growth(full->table)))
	{
		full->pins++;			/* as long as it takes to make the next */
		begin_answers(memo);
		dlm_memo_unpin(memo, full);
	}
	memo->answers->pins++;
	return memo->answers;
}

void
dlm_memo_unpin(DlmMemo *memo, DlmAnswers *answers)
{
	DlmAnswers **link = &memo->answers;

	if (answers == NULL || --answers->pins > 0 || answers == memo->answers)
		return;
	while (*link != answers)
		link = &(*link)->next;
	*link = answers->next;
	MemoryContextDelete(answers->context);
}

static DlmAnswer *
new_answer(MemoryContext context)
{
	DlmAnswer  *answer = MemoryContextAllocZero(context, sizeof(DlmAnswer));

	answer->value.isnull = true;
	answer->context = context;
	return answer;
}

DlmAnswer *
dlm_memo_get(DlmAnswers *answers, const char *key, Size size, MemoryContext otherwise, bool *fresh)
{
	MemoEntry  *entry;
	char	   *copy;
	bool		found;

	*fresh = true;
	if (size > DLM_LONGEST_KEY)
		return new_answer(otherwise);
	entry = memo_lookup(answers->table, key);
	if (entry && entry->answer->context == answers->context)
	{
		*fresh = false;
		return entry->answer;
	}
	if (entry || is_full(answers, growth(answers->table)))
		return new_answer(otherwise);
	copy = MemoryContextAlloc(answers->context, size);
	memcpy(copy, key, size);
	entry = memo_insert(answers->table, copy, &found);
	entry->answer = new_answer(answers->context);
	return entry->answer;
}

void
dlm_memo_place(const DlmAnswers *answers, DlmAnswer *answer, MemoryContext otherwise)
{
	if (answer->context == answers->context && is_full(answers, 0))
		answer->context = otherwise;
}
