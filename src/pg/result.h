/*
 * result.h - from the engine's results to SQL values.
 */
#ifndef DLM_PG_RESULT_H
#define DLM_PG_RESULT_H

#include "funcapi.h"

#include "run.h"

/* Makes the value of one row, in the caller's memory context. `arg` is what the function gave to dlm_answer. */
typedef Datum (*DlmMake) (const dlm_request *request, const dlm_result *result, void *arg);

/*
 * Run a call and give its answer: the value of its one row, or an array of
 * element type `type` in the shape of the input array. Ends the call.
 */
extern Datum dlm_answer(DlmCall *call, DlmMake make, Oid type, void *arg, bool *isnull);

extern Datum dlm_make_text(const dlm_request *request, const dlm_result *result, void *arg);
extern Datum dlm_make_gaps(const dlm_request *request, const dlm_result *result, void *arg);
extern Datum dlm_make_label(const dlm_request *request, const dlm_result *result, void *arg);
extern Datum dlm_make_label_record(const dlm_request *request, const dlm_result *result, void *tupdesc);
extern Datum dlm_make_labels(const dlm_request *request, const dlm_result *result, void *arg);
extern Datum dlm_make_score(const dlm_request *request, const dlm_result *result, void *arg);
extern Datum dlm_make_embedding(const dlm_request *request, const dlm_result *result, void *arg);

/* The gap of an answer that is named by a letter and a number, as requests made here name theirs; NULL: there is none. */
extern const dlm_gap *dlm_result_gap(const dlm_result *result, char letter, int number);

/* Where a set-returning function puts its rows: DlmTake with arg = the function's ReturnSetInfo. */
extern void dlm_put_label_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo);
extern void dlm_put_token_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo);
extern void dlm_put_trace(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo);
extern void dlm_put_lengths(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *rsinfo);
extern void dlm_put_tokens(const DlmModelRef *model, const int32_t *ids, size_t n, ReturnSetInfo *rsinfo);

#endif							/* DLM_PG_RESULT_H */
