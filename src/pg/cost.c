/*
 * cost.c - planner support: what a call costs and how many rows it returns.
 *
 * A call costs thousands of times what an operator does, and more for more
 * steps and longer canvases where these are constants in the query. The
 * factor is capped: beyond some cost every plan is decided, and JIT would be
 * switched on for nothing. The support function also has a second use: it
 * makes PostgreSQL load the library while it plans.
 *
 * Arguments are found by name in pg_proc, so one function serves all.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(dlm_sql_support);

#define USUAL_STEPS		16.0	/* what COST in the install script stands for */
#define USUAL_LENGTH	64.0
#define MIN_FACTOR		0.1
#define MAX_FACTOR		20.0
#define BYTES_PER_TOKEN	4
#define MAX_ROWS		10000.0

/* A constant, non-NULL argument of the call by its name; NULL if there is none. */
static Const *
constant_argument(Oid function, Node *node, const char *name)
{
	HeapTuple	tuple;
	Oid		   *types;
	char	  **names;
	char	   *modes;
	Const	   *result = NULL;
	int			n;

	if (!node || !IsA(node, FuncExpr))
		return NULL;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	n = get_func_arg_info(tuple, &types, &names, &modes);
	for (int i = 0; names && i < n && i < list_length(((FuncExpr *) node)->args); i++)
	{
		Node	   *argument = list_nth(((FuncExpr *) node)->args, i);

		if (strcmp(names[i], name) == 0 && IsA(argument, Const) && !((Const *) argument)->constisnull)
			result = (Const *) argument;
	}
	ReleaseSysCache(tuple);
	return result;
}

/* An integer argument relative to its usual value, 1 if it is not constant. */
static double
relative(Oid function, Node *node, const char *name, double usual)
{
	Const	   *value = constant_argument(function, node, name);

	if (!value || value->consttype != INT4OID)
		return 1.0;
	return Max(DatumGetInt32(value->constvalue), 1) / usual;
}

static double
element_count(Const *value, double otherwise)
{
	ArrayType  *array;

	if (!value || value->constlen != -1)
		return otherwise;
	array = DatumGetArrayTypeP(value->constvalue);
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* Tokens of a constant text, roughly. */
static double
text_length(Const *value, double otherwise)
{
	if (!value || value->consttype != TEXTOID)
		return otherwise;
	return toast_raw_datum_size(value->constvalue) / (double) BYTES_PER_TOKEN;
}

static bool
estimate_cost(SupportRequestCost *request)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(request->funcid));
	double		factor;
	double		rows;

	if (!HeapTupleIsValid(tuple))
		return false;
	factor = relative(request->funcid, request->node, "steps", USUAL_STEPS) *
		Max(relative(request->funcid, request->node, "max_tokens", USUAL_LENGTH), 0.25);
	factor = Min(Max(factor, MIN_FACTOR), MAX_FACTOR);
	rows = element_count(constant_argument(request->funcid, request->node, "prompts"), 1);
	rows *= element_count(constant_argument(request->funcid, request->node, "templates"), 1);
	rows *= element_count(constant_argument(request->funcid, request->node, "inputs"), 1);
	request->startup = 0;
	request->per_tuple = ((Form_pg_proc) GETSTRUCT(tuple))->procost * factor * Max(rows, 1) * cpu_operator_cost;
	ReleaseSysCache(tuple);
	return true;
}

static bool
estimate_rows(SupportRequestRows *request)
{
	Const	   *value;
	double		rows;

	if ((value = constant_argument(request->funcid, request->node, "labels")) != NULL ||
		(value = constant_argument(request->funcid, request->node, "inputs")) != NULL)
		rows = element_count(value, 1);
	else if ((value = constant_argument(request->funcid, request->node, "k")) != NULL)
		rows = DatumGetInt32(value->constvalue);
	else if ((value = constant_argument(request->funcid, request->node, "max_tokens")) != NULL)
		rows = DatumGetInt32(value->constvalue);
	else if ((value = constant_argument(request->funcid, request->node, "input")) != NULL)
		rows = text_length(value, 1);
	else
		return false;
	request->rows = Min(Max(rint(rows), 1), MAX_ROWS);
	return true;
}

Datum
dlm_sql_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *result = NULL;

	if (IsA(request, SupportRequestCost) && estimate_cost((SupportRequestCost *) request))
		result = request;
	else if (IsA(request, SupportRequestRows) && estimate_rows((SupportRequestRows *) request))
		result = request;
	PG_RETURN_POINTER(result);
}
