/*
 * row_constraints.c - what a CHECK says of one column.
 *
 * Only what can be read off the expression is taken: nothing of it is
 * evaluated but casts of constants by built-in functions, since the
 * expression belongs to the table's owner and this runs as the caller. What is
 * not understood is left to the check itself (row_check.c), so a wrong guess
 * here costs tries, never a wrong value.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "row_type.h"

#define MAX_FOLDED_ARGS	3

/* --------------------------------------------------------------- constants */

/* Does the expression change nothing but the type's name? Then what is below. */
static Node *
strip(Node *node)
{
	for (;;)
	{
		if (node && IsA(node, RelabelType))
			node = (Node *) ((RelabelType *) node)->arg;
		else if (node && IsA(node, CollateExpr))
			node = (Node *) ((CollateExpr *) node)->arg;
		else
			return node;
	}
}

static bool	constant(Node *node, Const *out);

/* A cast by a built-in function whose arguments are constants. */
static bool
fold_cast(const FuncExpr *call, Const *out)
{
	LOCAL_FCINFO(fcinfo, MAX_FOLDED_ARGS);
	FmgrInfo	function;
	int			n = list_length(call->args);

	if (call->funcid >= FirstNormalObjectId || n < 1 || n > MAX_FOLDED_ARGS ||
		(call->funcformat != COERCE_IMPLICIT_CAST && call->funcformat != COERCE_EXPLICIT_CAST))
		return false;
	fmgr_info(call->funcid, &function);
	InitFunctionCallInfoData(*fcinfo, &function, n, call->inputcollid, NULL, NULL);
	for (int i = 0; i < n; i++)
	{
		Const		arg;

		if (!constant(list_nth(call->args, i), &arg) || arg.constisnull)
			return false;
		fcinfo->args[i].value = arg.constvalue;
		fcinfo->args[i].isnull = false;
	}
	out->consttype = call->funcresulttype;
	out->constvalue = FunctionCallInvoke(fcinfo);
	out->constisnull = fcinfo->isnull;
	return true;
}

static bool
constant(Node *node, Const *out)
{
	node = strip(node);
	if (node && IsA(node, Const))
		*out = *(Const *) node;
	else if (node == NULL || !IsA(node, FuncExpr) || !fold_cast((FuncExpr *) node, out))
		return false;
	return true;
}

static char *
output_of(const Const *value)
{
	FmgrInfo	output;
	Oid			function;
	bool		varlena;

	getTypeOutputInfo(value->consttype, &function, &varlena);
	fmgr_info(function, &output);
	return dlm_value_output(&output, value->constvalue);
}

/* A constant as a number: itself, or the year of a date. */
static bool
number_of(const Const *value, double *out)
{
	int			year,
				month,
				day;

	switch (value->consttype)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			*out = strtod(output_of(value), NULL);
			return isfinite(*out);
		case DATEOID:
			if (DATE_NOT_FINITE(DatumGetDateADT(value->constvalue)))
				return false;
			j2date(DatumGetDateADT(value->constvalue) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
			*out = year;
			return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value->constvalue)))
				return false;
			j2date((int) (DatumGetTimestamp(value->constvalue) / USECS_PER_DAY) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
			*out = year;
			return true;
	}
	return false;
}

/* -------------------------------------------------------------- the column */

/* Is it the column itself, in a type that its value can be cast to by a built-in function? */
static bool
is_column(Node *node)
{
	node = strip(node);
	if (node && IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid < FirstNormalObjectId &&
		((FuncExpr *) node)->funcformat == COERCE_IMPLICIT_CAST)
		node = strip(linitial(((FuncExpr *) node)->args));
	return node && (IsA(node, CoerceToDomainValue) || (IsA(node, Var) && ((Var *) node)->varattno > 0));
}

/* length(column), char_length(column) */
static bool
is_length(Node *node)
{
	const char *name;

	if (node == NULL || !IsA(node, FuncExpr) || ((FuncExpr *) node)->funcid >= FirstNormalObjectId ||
		list_length(((FuncExpr *) node)->args) != 1 || !is_column(linitial(((FuncExpr *) node)->args)))
		return false;
	name = get_func_name(((FuncExpr *) node)->funcid);
	return name && (strcmp(name, "length") == 0 || strcmp(name, "char_length") == 0 || strcmp(name, "character_length") == 0);
}

/* -------------------------------------------------------------- closed sets */

/* Texts that a list of constants names. */
typedef struct Names
{
	char	  **name;
	int			n;
} Names;

static void
add_name(Names *names, char *name)
{
	names->name = names->name ? repalloc(names->name, (names->n + 1) * sizeof(char *)) : palloc(sizeof(char *));
	names->name[names->n++] = name;
}

static bool
in_names(const Names *names, const char *name)
{
	for (int i = 0; i < names->n; i++)
	{
		if (strcmp(names->name[i], name) == 0)
			return true;
	}
	return false;
}

/* The elements of a constant array, or of ARRAY[...] over constants. */
static bool
array_names(Node *node, Names *names)
{
	Const		value;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int16		length;
	bool		by_value;
	char		align;

	node = strip(node);
	if (node && IsA(node, ArrayCoerceExpr))
		node = strip((Node *) ((ArrayCoerceExpr *) node)->arg);
	if (node && IsA(node, ArrayExpr))
	{
		ListCell   *cell;

		foreach(cell, ((ArrayExpr *) node)->elements)
		{
			if (!constant(lfirst(cell), &value))
				return false;
			if (!value.constisnull)
				add_name(names, output_of(&value));
		}
		return true;
	}
	if (!constant(node, &value) || value.constisnull || !OidIsValid(get_element_type(value.consttype)))
		return false;
	value.consttype = get_element_type(value.consttype);
	get_typlenbyvalalign(value.consttype, &length, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(value.constvalue), value.consttype, length, by_value, align, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		value.constvalue = elements[i];
		if (!nulls[i])
			add_name(names, output_of(&value));
	}
	return true;
}

static bool
operator_is(Oid op, const char *name)
{
	char	   *found = op < FirstNormalObjectId ? get_opname(op) : NULL;

	return found && strcmp(found, name) == 0;
}

/* Does the expression say that the column is one of some constants? They are added to names. */
static bool
equals_one_of(Node *node, Names *names)
{
	Const		value;
	ListCell   *cell;

	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *in = (ScalarArrayOpExpr *) node;

		return in->useOr && operator_is(in->opno, "=") && is_column(linitial(in->args)) &&
			array_names(lsecond(in->args), names);
	}
	if (IsA(node, OpExpr) && operator_is(((OpExpr *) node)->opno, "="))
	{
		Node	   *left = linitial(((OpExpr *) node)->args),
				   *right = lsecond(((OpExpr *) node)->args);

		if (!is_column(left) ? !is_column(right) || !constant(left, &value) : !constant(right, &value))
			return false;
		if (!value.constisnull)
			add_name(names, output_of(&value));
		return true;
	}
	if (!IsA(node, BoolExpr) || ((BoolExpr *) node)->boolop != OR_EXPR)
		return false;
	foreach(cell, ((BoolExpr *) node)->args)
	{
		if (IsA(lfirst(cell), NullTest) && is_column((Node *) ((NullTest *) lfirst(cell))->arg))
			continue;
		if (!equals_one_of(lfirst(cell), names))
			return false;
	}
	return names->n > 0;
}

/* The column's values are these. */
static void
set_values(DlmColumn *c, const Names *names)
{
	c->values = palloc(Max(names->n, 1) * sizeof(DlmValue));
	for (int i = 0; i < names->n; i++)
	{
		bool		usable = names->name[i][0] != '\0';

		for (int k = 0; k < c->n_values; k++)
			usable = usable && strcmp(c->values[k].input, names->name[i]) != 0;
		if (!usable)
			continue;
		c->values[c->n_values].shown = dlm_text_from_server(names->name[i], strlen(names->name[i]));
		c->values[c->n_values++].input = names->name[i];
	}
}

/* Keep of the column's values those that are named, or with `but` those that are not. */
static void
filter_values(DlmColumn *c, const Names *names, bool but)
{
	int			kept = 0;

	for (int i = 0; i < c->n_values; i++)
	{
		if (in_names(names, c->values[i].input) != but)
			c->values[kept++] = c->values[i];
	}
	c->n_values = kept;
}

static void
restrict_values(DlmColumn *c, const Names *names)
{
	if (c->values)
		filter_values(c, names, false);
	else
		set_values(c, names);
	if (c->n_values == 0)
		c->unfillable = "its constraints leave no value";
}

/* A value that the column may not have. It may become a set later: a range of few numbers does. */
static void
exclude(DlmColumn *c, char *name)
{
	c->excluded = c->excluded ? repalloc(c->excluded, (c->n_excluded + 1) * sizeof(char *)) : palloc(sizeof(char *));
	c->excluded[c->n_excluded++] = name;
}

void
dlm_column_exclude(DlmColumn *c)
{
	Names		names = {c->excluded, c->n_excluded};

	if (c->values == NULL || c->n_excluded == 0)
		return;
	filter_values(c, &names, true);
	if (c->n_values == 0)
		c->unfillable = "its constraints leave no value";
}

/* ------------------------------------------------------------------ bounds */

static void
learn_bound(DlmColumn *c, const char *op, double value, bool length)
{
	bool		upper = op[0] == '<';
	bool		strict = op[1] == '\0';
	bool		whole = length || c->base == INT2OID || c->base == INT4OID || c->base == INT8OID;

	if (strict && whole)
		value = upper ? ceil(value) - 1 : floor(value) + 1;
	if (length && upper)
		c->bounds.most_chars = (int) Min(Max(value, 0), c->bounds.most_chars < 0 ? 1e9 : c->bounds.most_chars);
	else if (length)
		c->bounds.least_chars = (int) Min(Max(value, c->bounds.least_chars), 1e9);
	else if (upper)
		c->bounds.high = Min(value, c->bounds.high);
	else
		c->bounds.low = Max(value, c->bounds.low);
}

/* Can a POSIX expression be read as one of ours? It is anchored, has no bar outside groups, and none of what differs. */
static bool
is_plain_pattern(const char *s)
{
	size_t		n = strlen(s);
	int			depth = 0;
	dlm_error	err = {0};

	if (n < 3 || s[0] != '^' || s[n - 1] != '$' || strstr(s, "[:") || strstr(s, "[=") || strstr(s, "[.") || strstr(s, "(?"))
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (s[i] == '\\' && s[i + 1] != '\0')
		{
			i++;
			if (isalnum((unsigned char) s[i]) && strchr("dws", s[i]) == NULL)
				return false;
		}
		else
			depth += s[i] == '(' ? 1 : s[i] == ')' ? -1 : 0;
		if (s[i] == '|' && depth == 0)
			return false;
	}
	return dlm_pattern_check(dlm_text_from_server(s, n), &err) == DLM_OK;
}

/* column op constant, either way round */
static void
learn_operator(DlmColumn *c, const OpExpr *op)
{
	static const char *const comparisons[] = {"<", "<=", ">", ">="};
	static const char *const turned[] = {">", ">=", "<", "<="};
	Node	   *left,
			   *right;
	char	   *name = op->opno < FirstNormalObjectId ? get_opname(op->opno) : NULL;
	Const		value;
	double		number;
	bool		flip;

	if (name == NULL || list_length(op->args) != 2)
		return;
	left = linitial(op->args);
	right = lsecond(op->args);
	flip = !is_column(left) && !is_length(left);
	if (flip ? !is_column(right) && !is_length(right) : false)
		return;
	if (!constant(flip ? left : right, &value) || value.constisnull)
		return;
	for (int i = 0; i < lengthof(comparisons); i++)
	{
		if (strcmp(name, comparisons[i]) == 0 && number_of(&value, &number))
			learn_bound(c, flip ? turned[i] : comparisons[i], number, is_length(flip ? right : left));
	}
	if (strcmp(name, "<>") == 0 && is_column(flip ? right : left))
		exclude(c, output_of(&value));
	if ((strcmp(name, "~") == 0 || strcmp(name, "~*") == 0) && !flip && is_column(left) && c->pattern == NULL &&
		is_plain_pattern(output_of(&value)))
		c->pattern = output_of(&value);
}

void
dlm_column_learn(DlmColumn *c, Node *check, bool domain)
{
	Names		names = {0};
	ListCell   *cell;

	check = strip(check);
	if (check == NULL)
		return;
	if (IsA(check, BoolExpr) && ((BoolExpr *) check)->boolop == AND_EXPR)
	{
		foreach(cell, ((BoolExpr *) check)->args)
			dlm_column_learn(c, lfirst(cell), domain);
	}
	else if (equals_one_of(check, &names))
		restrict_values(c, &names);
	else if (IsA(check, OpExpr))
		learn_operator(c, (OpExpr *) check);
	else if (IsA(check, BoolExpr) && ((BoolExpr *) check)->boolop == OR_EXPR && list_length(((BoolExpr *) check)->args) == 2)
	{
		/* x IS NULL OR ... */
		Node	   *first = linitial(((BoolExpr *) check)->args),
				   *second = lsecond(((BoolExpr *) check)->args);

		if (IsA(first, NullTest) && ((NullTest *) first)->nulltesttype == IS_NULL && is_column((Node *) ((NullTest *) first)->arg))
			dlm_column_learn(c, second, domain);
		else if (IsA(second, NullTest) && ((NullTest *) second)->nulltesttype == IS_NULL && is_column((Node *) ((NullTest *) second)->arg))
			dlm_column_learn(c, first, domain);
	}
}
