/*
 * funcs_examples.c - the aggregate dlm_examples: rows of a query as the
 * argument `examples` of the classify functions.
 *
 * The state keeps copies of the texts, twice as much room whenever it is
 * full, and jsonb is made of them once, at the end: the time is linear in the
 * rows. The final function changes nothing, so a window may ask for it again
 * and again. There is no combine function: rows of parallel workers would
 * come in another order each time.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(dlm_sql_examples_step);
PG_FUNCTION_INFO_V1(dlm_sql_examples_final);

#define FIRST_CAPACITY	16

typedef struct Example
{
	text	   *input;
	text	   *label;
} Example;

typedef struct Examples
{
	MemoryContext context;		/* of the aggregate; all lives in it */
	Example    *row;			/* [capacity] */
	int64		n;
	int64		capacity;
} Examples;

static Examples *
examples_new(MemoryContext context)
{
	Examples   *state = MemoryContextAlloc(context, sizeof(Examples));

	state->context = context;
	state->row = MemoryContextAlloc(context, FIRST_CAPACITY * sizeof(Example));
	state->n = 0;
	state->capacity = FIRST_CAPACITY;
	return state;
}

static void
examples_add(Examples *state, Datum input, Datum label)
{
	MemoryContext before = MemoryContextSwitchTo(state->context);

	if (state->n == state->capacity)
	{
		state->row = repalloc_huge(state->row, 2 * state->capacity * sizeof(Example));
		state->capacity *= 2;
	}
	state->row[state->n].input = DatumGetTextPCopy(input);
	state->row[state->n++].label = DatumGetTextPCopy(label);
	MemoryContextSwitchTo(before);
}

/* (state internal, input text, label text): rows with a NULL are passed over. */
Datum
dlm_sql_examples_step(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	Examples   *state = PG_ARGISNULL(0) ? NULL : (Examples *) PG_GETARG_POINTER(0);

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "dlm_sql_examples_step was called outside an aggregate");
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
	{
		if (!state)
			state = examples_new(context);
		examples_add(state, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));
	}
	if (!state)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

static void
push_member(JsonbParseState **json, const char *key, text *value)
{
	JsonbValue	item;

	item.type = jbvString;
	item.val.string.val = unconstify(char *, key);
	item.val.string.len = strlen(key);
	pushJsonbValue(json, WJB_KEY, &item);
	item.val.string.val = VARDATA_ANY(value);
	item.val.string.len = VARSIZE_ANY_EXHDR(value);
	pushJsonbValue(json, WJB_VALUE, &item);
}

/* [{"input": "a text", "label": "its label"}, ...] in the order of the rows; NULL without rows */
Datum
dlm_sql_examples_final(PG_FUNCTION_ARGS)
{
	Examples   *state = PG_ARGISNULL(0) ? NULL : (Examples *) PG_GETARG_POINTER(0);
	JsonbParseState *json = NULL;
	JsonbValue *array;

	if (!state)
		PG_RETURN_NULL();
	pushJsonbValue(&json, WJB_BEGIN_ARRAY, NULL);
	for (int64 i = 0; i < state->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		pushJsonbValue(&json, WJB_BEGIN_OBJECT, NULL);
		push_member(&json, "input", state->row[i].input);
		push_member(&json, "label", state->row[i].label);
		pushJsonbValue(&json, WJB_END_OBJECT, NULL);
	}
	array = pushJsonbValue(&json, WJB_END_ARRAY, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(array));
}
