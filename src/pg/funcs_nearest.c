/*
 * funcs_nearest.c - dlm_nearest_examples: of many examples those whose inputs
 * are nearest to a text by dlm_embed.
 *
 * The examples' vectors are computed once, as one batch, and kept for the
 * next call with the same examples and the same model (by digest, so they
 * never go stale): in the session while they fit dlm.memo_mem, else to the end
 * of the transaction. They save time and change no answer. A vector is of
 * length 1, and the product of two floats is exact in double, so the
 * similarity is the same bits wherever it is computed.
 */
#include "dlm_pg.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "funcs.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(dlm_sql_nearest_examples);

#define DEFAULT_NEAREST	4
#define MAX_CANDIDATES	10000

/* Examples and their vectors, in a context of their own. */
typedef struct Candidates
{
	MemoryContext context;
	uint8		digest[32];		/* of the model */
	Jsonb	   *examples;
	int			n;
	int			size;			/* of a vector */
	float	   *vector;			/* [n, size] */
	int			pins;			/* calls that use them */
} Candidates;

/* What the requests of one group of rows point to. */
typedef struct Nearest
{
	DlmRequestTag tag;			/* first */
	Candidates *candidates;
	int			k;
} Nearest;

static Candidates *kept = NULL; /* those of the last call */

/* ------------------------------------------------------------------- keeping */

static void
drop_kept(void)
{
	Candidates *old = kept;

	kept = NULL;
	if (old && old->pins == 0)
		MemoryContextDelete(old->context);
}

static void
at_xact_end(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) && kept &&
		MemoryContextMemAllocated(kept->context, true) > (Size) dlm_guc_memo_mem * 1024)
		drop_kept();
}

static void
unpin(void *arg)
{
	Candidates *c = arg;

	if (--c->pins == 0 && c != kept)
		MemoryContextDelete(c->context);
}

/* They stay until the call's context is reset or deleted. */
static void
pin(DlmCall *call, Candidates *c)
{
	MemoryContextCallback *callback = MemoryContextAllocZero(call->context, sizeof(MemoryContextCallback));

	callback->func = unpin;
	callback->arg = c;
	MemoryContextRegisterResetCallback(call->context, callback);
	c->pins++;
}

static void
keep(Candidates *c)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		registered = true;
	}
	drop_kept();
	MemoryContextSetParent(c->context, TopMemoryContext);
	kept = c;
}

/* ------------------------------------------------------------------- vectors */

static void
take_vector(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Candidates *c = arg;

	memcpy(c->vector + (Size) row * c->size, result->embedding, c->size * sizeof(float));
}

/* Embed the examples, as one batch. */
static Candidates *
compute(const DlmCall *call, const DlmArgs *args, Jsonb *examples)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "dlm nearest examples", ALLOCSET_SMALL_SIZES);
	Candidates *c = MemoryContextAllocZero(context, sizeof(Candidates));
	dlm_example *example;
	DlmArgs		texts;
	DlmCall    *batch;
	Datum	   *inputs;

	c->context = context;
	memcpy(c->digest, call->model->digest, sizeof(c->digest));
	c->examples = MemoryContextAlloc(context, VARSIZE(examples));
	memcpy(c->examples, examples, VARSIZE(examples));
	c->n = dlm_examples_parse(examples, MAX_CANDIDATES, &example);
	c->size = call->model->info.hidden;
	c->vector = MemoryContextAllocHuge(context, (Size) c->n * c->size * sizeof(float) + 1);
	inputs = palloc(c->n * sizeof(Datum) + 1);
	for (int i = 0; i < c->n; i++)
		inputs[i] = PointerGetDatum(dlm_text_to_server(example[i].input));
	dlm_args_init(&texts);
	texts.array = true;			/* so that an error names the element */
	texts.input.value = PointerGetDatum(construct_array(inputs, c->n, TEXTOID, -1, false, TYPALIGN_INT));
	texts.input.isnull = false;
	texts.model = args->model;
	batch = dlm_call_begin(DLM_EMBED, &texts);
	dlm_run(batch, take_vector, NULL, c);
	dlm_call_end(batch);
	return c;
}

static Candidates *
candidates_of(DlmCall *call, const DlmArgs *args)
{
	Jsonb	   *examples = DatumGetJsonbP(args->examples.value);
	Candidates *c = kept;

	if (c == NULL || memcmp(c->digest, call->model->digest, sizeof(c->digest)) != 0 ||
		VARSIZE(c->examples) != VARSIZE(examples) || memcmp(c->examples, examples, VARSIZE(examples)) != 0)
	{
		c = compute(call, args, examples);
		keep(c);
	}
	pin(call, c);
	return c;
}

/* -------------------------------------------------------------------- choice */

typedef struct Ranked
{
	double		similarity;
	int			index;
} Ranked;

/* The nearest first, the earlier example among equals. */
static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->similarity != y->similarity)
		return x->similarity > y->similarity ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static double
product(const float *x, const float *y, int n)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) x[i] * y[i];
	return sum;
}

/* The k nearest examples as they are, the nearest last: next to the input where a model is shown them. */
static Datum
make_nearest(const dlm_request *request, const dlm_result *result, void *arg)
{
	const Nearest *nearest = request->tag;
	const Candidates *c = nearest->candidates;
	Ranked	   *ranked = palloc(c->n * sizeof(Ranked) + 1);
	JsonbParseState *state = NULL;

	for (int i = 0; i < c->n; i++)
	{
		ranked[i].similarity = product(result->embedding, c->vector + (Size) i * c->size, c->size);
		ranked[i].index = i;
	}
	qsort(ranked, c->n, sizeof(Ranked), compare_ranked);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = Min(nearest->k, c->n) - 1; i >= 0; i--)
		pushJsonbValue(&state, WJB_ELEM, getIthJsonbValueFromContainer(&c->examples->root, ranked[i].index));
	pfree(ranked);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* Requests for texts that choose among the same examples. */
static void
add_nearest(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n)
{
	DlmArgs		texts;
	Nearest    *nearest = palloc0(sizeof(Nearest));
	int			first = call->n;

	nearest->k = dlm_int_argument(args->k, "k", DEFAULT_NEAREST, 1, DLM_MAX_EXAMPLES);
	nearest->candidates = candidates_of(call, args);
	dlm_args_init(&texts);
	dlm_call_put_texts(call, &texts, inputs, nulls, n);
	for (int i = first; i < call->n; i++)
		call->requests[i].tag = nearest;
}

/* input, examples, k, model */
static void
unpack_nearest(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	args->examples = arguments[1];
	args->k = arguments[2];
	args->model = arguments[3];
	args->add = add_nearest;
}

const DlmFunction dlm_function_nearest_examples = {
	"dlm_sql_nearest_examples", DLM_EMBED, 2, unpack_nearest, make_nearest, InvalidOid, false
};

/* dlm_nearest_examples(input text, examples jsonb, k int, model text) returns jsonb */
Datum
dlm_sql_nearest_examples(PG_FUNCTION_ARGS)
{
	return dlm_scalar(fcinfo, &dlm_function_nearest_examples);
}
