/*
 * batch_memo.h - answers of a statement, by call.
 */
#ifndef DLM_PG_BATCH_MEMO_H
#define DLM_PG_BATCH_MEMO_H

#include "nodes/execnodes.h"

typedef struct DlmMemo DlmMemo;

/* The answers kept over a stretch of the statement, until they were too many. */
typedef struct DlmAnswers DlmAnswers;

typedef enum DlmAnswerState { DLM_ANSWER_PENDING, DLM_ANSWER_DONE, DLM_ANSWER_FAILED } DlmAnswerState;

typedef struct DlmAnswer
{
	DlmAnswerState state;
	NullableDatum value;
	MemoryContext context;		/* where the value is to be made */
} DlmAnswer;

/*
 * The memo of the statement that `estate` runs; all its batch nodes share one.
 * It lives as long as the statement.
 */
extern DlmMemo *dlm_memo_of(EState *estate);

/* A number for some bytes, never 0; equal bytes get the same one while there are few and short ones. */
extern uint32 dlm_memo_pattern(DlmMemo *memo, const char *bytes, Size size);

/*
 * The answers that a node's next batch shares with all others, new ones where
 * the memo is full. What a node was handed out of them stays until it unpins
 * them: nodes take turns, and one may fill the memo while another has rows to
 * emit.
 */
extern DlmAnswers *dlm_memo_pin(DlmMemo *memo);
extern void dlm_memo_unpin(DlmMemo *memo, DlmAnswers *answers);

#define DLM_LONGEST_KEY		2048	/* bytes; longer ones are not kept */

/*
 * The answer kept under a key, whose first four bytes say how many follow (a
 * uint32; size counts them all): a new pending one (*fresh) where there is
 * none. What has no room is made in `otherwise`, where nobody finds it again.
 */
extern DlmAnswer *dlm_memo_get(DlmAnswers *answers, const char *key, Size size, MemoryContext otherwise, bool *fresh);

/* An answer's value is about to be made: where there is no room left for it, it goes to `otherwise`. */
extern void dlm_memo_place(const DlmAnswers *answers, DlmAnswer *answer, MemoryContext otherwise);

/* Bytes of all answers. */
extern Size dlm_memo_size(const DlmMemo *memo);

#endif							/* DLM_PG_BATCH_MEMO_H */
