/*
 * funcs_repair.c - dlm_repair: mask what is improbable in a text, and write it again.
 *
 * The spans to be written again are given, or are runs of tokens whose
 * probability, each masked alone, is under a threshold. Each becomes a gap of
 * as many tokens as it has; all gaps are decoded together.
 */
#include "dlm_pg.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "encoding.h"
#include "funcs.h"
#include "row_job.h"

PG_FUNCTION_INFO_V1(dlm_sql_repair);

/* Bytes [from, to) of the text in UTF-8. */
typedef struct Span
{
	size_t		from,
				to;
} Span;

typedef struct Spans
{
	Span	   *span;			/* ascending, apart from each other */
	int			n;
} Spans;

static void
add_span(Spans *spans, size_t from, size_t to)
{
	if (spans->n > 0 && spans->span[spans->n - 1].to >= from)
	{
		spans->span[spans->n - 1].to = Max(to, spans->span[spans->n - 1].to);
		return;
	}
	spans->span[spans->n].from = from;
	spans->span[spans->n++].to = to;
}

/* ---------------------------------------------------------------- by ranges */

static int
by_start(const void *a, const void *b)
{
	const Span *x = a,
			   *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* Byte at which character `n` (from 0) of a UTF-8 text begins. */
static size_t
byte_of(dlm_text text, int64 n)
{
	size_t		at = 0;

	for (; n > 0 && at < text.len; n--)
		at += Min((size_t) pg_utf_mblen((const unsigned char *) text.data + at), text.len - at);
	return at;
}

pg_noreturn static void
bad_span(int n)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("span %d is none of the text", n),
			 errhint("Spans are ranges of characters, from 1, as in '{[5,9)}'.")));
}

static Spans
spans_of_ranges(dlm_text text, ArrayType *ranges)
{
	TypeCacheEntry *type = lookup_type_cache(ARR_ELEMTYPE(ranges), TYPECACHE_RANGE_INFO);
	Datum	   *values;
	bool	   *nulls;
	int			n;
	Span	   *all;
	Spans		spans = {0};

	deconstruct_array(ranges, ARR_ELEMTYPE(ranges), -1, false, TYPALIGN_INT, &values, &nulls, &n);
	all = palloc(n * sizeof(Span) + 1);
	spans.span = palloc(n * sizeof(Span) + 1);
	for (int i = 0; i < n; i++)
	{
		RangeBound	lower,
					upper;
		bool		empty = true;

		if (!nulls[i])
			range_deserialize(type, DatumGetRangeTypeP(values[i]), &lower, &upper, &empty);
		if (empty || lower.infinite || upper.infinite || DatumGetInt32(lower.val) < 1)
			bad_span(i + 1);
		all[i].from = byte_of(text, (int64) DatumGetInt32(lower.val) - 1);
		all[i].to = byte_of(text, (int64) DatumGetInt32(upper.val) - 1);
		if (all[i].from >= all[i].to)
			bad_span(i + 1);
	}
	qsort(all, n, sizeof(Span), by_start);
	for (int i = 0; i < n; i++)
		add_span(&spans, all[i].from, all[i].to);
	return spans;
}

/* ------------------------------------------------------------- by probability */

typedef struct Scores
{
	dlm_token_score *score;		/* [n] */
	int			n;
} Scores;

static void
take_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Scores	   *scores = arg;

	scores->n = result->n_tokens;
	scores->score = MemoryContextAlloc(call->caller, scores->n * sizeof(dlm_token_score) + 1);
	memcpy(scores->score, result->tokens, scores->n * sizeof(dlm_token_score));
}

/* Runs of tokens under the threshold. The tokens' bytes must be the text's own, or there is no saying where they stand. */
static Spans
spans_of_scores(dlm_text text, NullableDatum input, NullableDatum model, double threshold)
{
	DlmArgs		args;
	DlmCall    *call;
	Scores		scores = {0};
	Spans		spans = {0};
	DlmModelRef *ref = dlm_registry_resolve(dlm_model_argument(model));
	size_t		at = 0;
	float		least = threshold > 0 ? (float) log(threshold) : -INFINITY;

	dlm_args_init(&args);
	args.input = input;
	args.model = model;
	call = dlm_call_begin(DLM_TOKEN_SCORES, &args);
	dlm_run(call, take_scores, NULL, &scores);
	dlm_call_end(call);
	spans.span = palloc(scores.n * sizeof(Span) + 1);
	for (int i = 0; i < scores.n; i++)
	{
		dlm_text	piece = dlm_run_bytes(ref, scores.score[i].id);

		/* a text's first word may carry a space that nobody typed */
		if (i == 0 && piece.len > 0 && piece.data[0] == ' ' && (text.len == 0 || text.data[0] != ' '))
			piece = (dlm_text) {piece.data + 1, piece.len - 1};
		if (piece.len > text.len - at || memcmp(piece.data, text.data + at, piece.len) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the tokenizer of model \"%s\" changes this text, so its tokens have no place in it", ref->name),
					 errhint("Give the spans to be written again.")));
		if (scores.score[i].logprob < least)
			add_span(&spans, at, at + piece.len);
		at += piece.len;
	}
	return spans;
}

/* ------------------------------------------------------------------ template */

/* A gap of as many tokens as the span has; spaces at its front stay, and are the gap's first token's. */
static void
append_gap(StringInfo out, dlm_text text, Span span, const DlmModelRef *model)
{
	size_t		n;

	while (span.from < span.to && text.data[span.from] == ' ')
		appendStringInfoChar(out, text.data[span.from++]);
	(void) dlm_run_tokenize(model, (dlm_text) {text.data + span.from, span.to - span.from}, &n);
	if (n > 0)
		appendStringInfo(out, "[MASK:%zu]", n);
}

static text *
template_of(dlm_text text, const Spans *spans, NullableDatum model)
{
	DlmModelRef *ref = dlm_registry_resolve(dlm_model_argument(model));
	StringInfoData out;
	size_t		at = 0;

	initStringInfo(&out);
	for (int i = 0; i < spans->n; i++)
	{
		dlm_append_quoted(&out, (dlm_text) {text.data + at, spans->span[i].from - at});
		append_gap(&out, text, spans->span[i], ref);
		at = spans->span[i].to;
	}
	dlm_append_quoted(&out, (dlm_text) {text.data + at, text.len - at});
	return dlm_text_to_server((dlm_text) {out.data, out.len});
}

/* dlm_repair(input text, spans int4range[], threshold float8, options jsonb, model text) returns text */
Datum
dlm_sql_repair(PG_FUNCTION_ARGS)
{
	NullableDatum model = fcinfo->args[4];
	double		threshold = PG_ARGISNULL(2) ? 0.01 : PG_GETARG_FLOAT8(2);
	dlm_text	text;
	Spans		spans;
	DlmArgs		args;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!(threshold >= 0 && threshold <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("threshold must be between 0 and 1"),
				 errdetail("The value is %g.", threshold)));
	text = dlm_text_from_datum(PG_GETARG_DATUM(0));
	spans = PG_ARGISNULL(1) ? spans_of_scores(text, fcinfo->args[0], model, threshold) :
		spans_of_ranges(text, PG_GETARG_ARRAYTYPE_P(1));
	if (spans.n == 0)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	dlm_args_init(&args);
	args.input.value = PointerGetDatum(template_of(text, &spans, model));
	args.input.isnull = false;
	args.options = fcinfo->args[3];
	args.model = model;
	return dlm_answer(dlm_call_begin(DLM_INFILL, &args), dlm_make_text, InvalidOid, NULL, &fcinfo->isnull);
}
