/*
 * run.h - the only caller of the engine's sessions and tokenizers.
 */
#ifndef DLM_PG_RUN_H
#define DLM_PG_RUN_H

#include "errors.h"
#include "request.h"

/* Takes the answer of a row that has one. Called in the call's context; the result dies when it returns. */
typedef void (*DlmTake) (DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg);

/* Told of a row that has no answer, by its own fault or its batch's. Called in the call's context. */
typedef void (*DlmFail) (DlmCall *call, int row, const dlm_error *error, void *arg);

/*
 * Run all requests of a call, in batches of dlm.batch_size or as many as
 * dlm.max_session_memory has room for, and hand over the answers in the order
 * of rows. What the engine reports (dlm_raise), and the error of a row unless
 * its options turn it into NULL, is raised, or given to `fail` where there is
 * one. Raised in any case: 57014 for a spent
 * dlm.statement_budget_ms, 58030 for a file cut short, and interrupts.
 */
extern void dlm_run(DlmCall *call, DlmTake take, DlmFail fail, void *arg);

/* A copy of what the engine malloc'd, palloc'd; the original is freed in any case. */
extern void *dlm_adopt(void *from, Size size);

/* Ids [*n] of a text, palloc'd. */
extern int32_t *dlm_run_tokenize(const DlmModelRef *model, dlm_text text, size_t *n);

/* The text of ids, palloc'd. */
extern dlm_text dlm_run_detokenize(const DlmModelRef *model, const int32_t *ids, size_t n);

/* The bytes that a token adds to a text in the middle of a line, palloc'd. */
extern dlm_text dlm_run_bytes(const DlmModelRef *model, int32_t id);

/* The raw piece of a token, palloc'd. */
extern dlm_text dlm_run_piece(const DlmModelRef *model, int32_t id);

#endif							/* DLM_PG_RUN_H */
