/*
 * calibration.c - dlm_calibrate: biases of labels and a temperature, fitted on
 * the rows of a query, and their use by classification.
 *
 * With s_l a label's score, probabilities are softmax(a (s_l - b_l)). On the
 * rows of a query a and c_l = -a b_l maximise the likelihood of the targets,
 * less (c_l^2 + (a - 1)^2) / 2, which keeps labels that have few rows near
 * where they were. It is concave, and gradient ascent with backtracking finds
 * it. (Platt scaling with one slope for all labels; Zhao et al. 2021 fit the
 * biases from a content-free text instead.)
 *
 * Without targets b_l is the logarithm of the probability that the label has
 * in the mean over the rows (batch calibration, Zhou et al. 2023): what the
 * model says of every row alike says nothing of one of them.
 */
#include "dlm_pg.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "json_object.h"
#include "run.h"

PG_FUNCTION_INFO_V1(dlm_sql_calibrate);
PG_FUNCTION_INFO_V1(dlm_sql_calibration_drop);

#define MOST_ROWS		20000
#define LEAST_ROWS		10			/* without targets: the mean over one row is that row */
#define ROUNDS			2000
#define LEAST_SCALE		1e-3

/* The scores of labelled rows, and what is fitted to them. */
typedef struct Fit
{
	int			n;				/* rows */
	int			labels;
	double	   *score;			/* [n, labels] */
	int		   *target;			/* [n], NULL: not known */
	double		scale;			/* a */
	double	   *shift;			/* c [labels] */
	dlm_text   *label;			/* [labels] */
	int			first;			/* row of the batch being run */
} Fit;

/* --------------------------------------------------------------------- rows */

typedef struct Rows
{
	Datum	   *input;			/* [n] text */
	char	  **target;			/* [n], NULL: the query has no such column */
	Datum		labels;			/* text[], the same in every row */
	int			n;
} Rows;

static int
column_of(TupleDesc desc, const char *name)
{
	int			column = SPI_fnumber(desc, name);

	if (column <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query has no column \"%s\"", name),
				 errhint("It has the columns input, labels (all labels, the same text[] in every row) and, where the right ones are known, target.")));
	return column;
}

static void
read_rows(const char *query, Rows *rows, MemoryContext context)
{
	TupleDesc	desc;
	int			input,
				target,
				labels;

	if (SPI_execute(query, true, MOST_ROWS + 1) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query of a calibration must be a SELECT")));
	if (SPI_processed == 0 || SPI_processed > MOST_ROWS)
		ereport(ERROR,
				(errcode(SPI_processed == 0 ? ERRCODE_NO_DATA_FOUND : ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg(SPI_processed == 0 ? "the query gives no rows" : "the query gives too many rows"),
				 SPI_processed == 0 ? 0 : errhint("A few hundred are enough; %d are the most.", MOST_ROWS)));
	desc = SPI_tuptable->tupdesc;
	input = column_of(desc, "input");
	target = SPI_fnumber(desc, "target");
	labels = column_of(desc, "labels");
	if (SPI_gettypeid(desc, input) != TEXTOID || SPI_gettypeid(desc, labels) != TEXTARRAYOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the column input must be text, and labels text[]")));
	MemoryContextSwitchTo(context);
	rows->input = palloc(SPI_processed * sizeof(Datum));
	rows->target = target > 0 ? palloc(SPI_processed * sizeof(char *)) : NULL;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		no_input,
					no_labels;
		Datum		text = SPI_getbinval(tuple, desc, input, &no_input);
		Datum		array = SPI_getbinval(tuple, desc, labels, &no_labels);
		char	   *value = target > 0 ? SPI_getvalue(tuple, desc, target) : NULL;

		if (no_input || (target > 0 && value == NULL))
			continue;
		if (no_labels || (rows->n > 0 && !datumIsEqual(PointerGetDatum(PG_DETOAST_DATUM(array)), rows->labels, false, -1)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("labels must be the same in every row")));
		if (rows->n == 0)
			rows->labels = PointerGetDatum(DatumGetArrayTypePCopy(array));
		rows->input[rows->n] = PointerGetDatum(PG_DETOAST_DATUM_COPY(text));
		if (rows->target)
			rows->target[rows->n] = value;
		rows->n++;
	}
}

/* -------------------------------------------------------------------- scores */

static void
take_scores(DlmCall *call, int row, const dlm_request *request, const dlm_result *result, void *arg)
{
	Fit		   *fit = arg;

	for (int l = 0; l < result->n_labels; l++)
		fit->score[(Size) row * fit->labels + l] = result->labels[l].logprob;
}

static int
index_of(const Fit *fit, const char *target)
{
	dlm_text	text = dlm_text_from_server(target, strlen(target));

	for (int l = 0; l < fit->labels; l++)
	{
		if (fit->label[l].len == text.len && memcmp(fit->label[l].data, text.data, text.len) == 0)
			return l;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("target \"%s\" is none of the labels", target)));
}

/* The scores as classification has them with these options and no fit. */
static void
score_rows(DlmCall *call, const DlmArgs *args, const Rows *rows, Fit *fit)
{
	const dlm_request *request;

	dlm_call_add(call, args, rows->input, NULL, rows->n);
	if (call->n != rows->n)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("a row of the query is not valid text")));
	request = &call->requests[0];
	fit->n = rows->n;
	fit->labels = request->n_labels;
	fit->label = palloc(fit->labels * sizeof(dlm_text));
	memcpy(fit->label, request->labels, fit->labels * sizeof(dlm_text));
	fit->score = MemoryContextAllocHuge(CurrentMemoryContext, (Size) fit->n * fit->labels * sizeof(double));
	fit->target = rows->target ? palloc(fit->n * sizeof(int)) : NULL;
	fit->shift = palloc0(fit->labels * sizeof(double));
	for (int i = 0; i < fit->n && fit->target; i++)
		fit->target[i] = index_of(fit, rows->target[i]);
	dlm_run(call, take_scores, NULL, fit);
}

/* ----------------------------------------------------------------------- fit */

/* p = softmax(scale * s + shift) [n] */
static void
soften(const double *s, int n, double scale, const double *shift, double *p)
{
	double		max = -INFINITY,
				sum = 0;

	for (int l = 0; l < n; l++)
		max = Max(max, p[l] = scale * s[l] + shift[l]);
	for (int l = 0; l < n; l++)
		sum += p[l] = exp(p[l] - max);
	for (int l = 0; l < n; l++)
		p[l] /= sum;
}

/* Take away what the labels have in the mean over the rows. */
static void
balance(Fit *fit)
{
	double	   *p = palloc(fit->labels * sizeof(double));
	double	   *mean = palloc0(fit->labels * sizeof(double));

	for (int i = 0; i < fit->n; i++)
	{
		soften(fit->score + (Size) i * fit->labels, fit->labels, 1, fit->shift, p);
		for (int l = 0; l < fit->labels; l++)
			mean[l] += p[l] / fit->n;
	}
	for (int l = 0; l < fit->labels; l++)
		fit->shift[l] = -log(Max(mean[l], DBL_MIN));
	fit->scale = 1;
}

/* The objective, and its gradient where that is asked for: [labels] of the shifts, then of the scale. */
static double
objective(const Fit *fit, double scale, const double *shift, double *gradient)
{
	int			n = fit->labels;
	double	   *p = palloc(n * sizeof(double));
	double		value = -(scale - 1) * (scale - 1) / 2;

	if (gradient)
		gradient[n] = 1 - scale;
	for (int l = 0; l < n; l++)
	{
		value -= shift[l] * shift[l] / 2;
		if (gradient)
			gradient[l] = -shift[l];
	}
	for (int i = 0; i < fit->n; i++)
	{
		const double *s = fit->score + (Size) i * n;

		soften(s, n, scale, shift, p);
		value += log(p[fit->target[i]]);
		for (int l = 0; gradient && l < n; l++)
		{
			double		d = (l == fit->target[i]) - p[l];

			gradient[l] += d;
			gradient[n] += d * s[l];
		}
	}
	pfree(p);
	return value;
}

static void
maximise(Fit *fit)
{
	int			n = fit->labels;
	double	   *gradient = palloc((n + 1) * sizeof(double));
	double	   *shift = palloc(n * sizeof(double));
	double		step = 1.0 / Max(fit->n, 1);
	double		value;

	fit->scale = 1;
	value = objective(fit, fit->scale, fit->shift, gradient);
	for (int round = 0; round < ROUNDS && step > 1e-12; round++)
	{
		double		scale = Max(fit->scale + step * gradient[n], LEAST_SCALE);
		double		next;

		CHECK_FOR_INTERRUPTS();
		for (int l = 0; l < n; l++)
			shift[l] = fit->shift[l] + step * gradient[l];
		next = objective(fit, scale, shift, NULL);
		if (!(next > value))
		{
			step /= 2;
			continue;
		}
		memcpy(fit->shift, shift, n * sizeof(double));
		fit->scale = scale;
		if (next - value < 1e-9 * fit->n)
			break;
		value = objective(fit, fit->scale, fit->shift, gradient);
		step *= 1.5;
	}
}

static double
accuracy(const Fit *fit, double scale, const double *shift)
{
	int			right = 0;

	for (int i = 0; i < fit->n; i++)
	{
		const double *s = fit->score + (Size) i * fit->labels;
		int			best = 0;

		for (int l = 1; l < fit->labels; l++)
		{
			if (scale * s[l] + (shift ? shift[l] : 0) > scale * s[best] + (shift ? shift[best] : 0))
				best = l;
		}
		right += best == fit->target[i];
	}
	return (double) right / fit->n;
}

/* --------------------------------------------------------------------- table */

/* Run a statement on the table as its owner; %s of the format is the table. */
static void
execute(const char *format, int nargs, Oid *types, Datum *values, int expected)
{
	Oid			owner,
				user;
	int			security;
	char	   *table = dlm_extension_table("dlm_calibration", &owner);

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args(psprintf(format, table), nargs, types, values, NULL, false, 0) != expected)
		elog(ERROR, "could not use the table of calibrations");
	SetUserIdAndSecContext(user, security);
}

/* Only its owner may replace or drop a fit; false: there is none of this name. */
static bool
check_owner(Datum name)
{
	Oid			type = TEXTOID;
	Oid			owner;

	execute("SELECT owner FROM %s WHERE name OPERATOR(pg_catalog.=) $1", 1, &type, &name, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return false;
	/* a name, which a dump can carry; a role that is gone leaves it to superusers */
	owner = get_role_oid(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), true);
	if (OidIsValid(owner) ? !has_privs_of_role(GetUserId(), owner) : !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of calibration \"%s\"", TextDatumGetCString(name))));
	return true;
}

static Datum
float_array(const double *values, int n)
{
	Datum	   *datums = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		datums[i] = Float8GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, n, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
store(Datum name, const DlmModelRef *model, const Rows *rows, const Fit *fit)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, FLOAT8ARRAYOID, FLOAT8OID, INT8OID, TIMESTAMPTZOID};
	double	   *bias = palloc(fit->labels * sizeof(double));
	Datum		values[8];

	for (int l = 0; l < fit->labels; l++)
		bias[l] = -fit->shift[l] / fit->scale;
	values[0] = name;
	values[1] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[2] = CStringGetTextDatum(model->digest_hex);
	values[3] = rows->labels;
	values[4] = float_array(bias, fit->labels);
	values[5] = Float8GetDatum(fit->scale);
	values[6] = Int64GetDatum(fit->n);
	values[7] = TimestampTzGetDatum(GetCurrentTimestamp());
	(void) check_owner(name);
	execute("INSERT INTO %s (name, owner, digest, labels, bias, scale, rows, fitted) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
			"ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, digest = EXCLUDED.digest, labels = EXCLUDED.labels, "
			"bias = EXCLUDED.bias, scale = EXCLUDED.scale, rows = EXCLUDED.rows, fitted = EXCLUDED.fitted", 8, types, values,
			SPI_OK_INSERT);
}

/* {"rows": n, "temperature": T, "accuracy_before": x, "accuracy_after": y}, the last two where targets are known */
static Jsonb *
summary(const Fit *fit)
{
	StringInfoData json;

	initStringInfo(&json);
	dlm_json_add_int(&json, "rows", fit->n);
	dlm_json_add_float(&json, "temperature", 1 / fit->scale);
	if (fit->target)
	{
		dlm_json_add_float(&json, "accuracy_before", accuracy(fit, 1, NULL));
		dlm_json_add_float(&json, "accuracy_after", accuracy(fit, fit->scale, fit->shift));
	}
	return dlm_json_end(&json);
}

/* dlm_calibrate(name text, query text, options jsonb, model text) returns jsonb */
Datum
dlm_sql_calibrate(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Rows		rows = {0};
	Fit			fit = {0};
	DlmArgs		args;
	DlmCall    *call;
	Jsonb	   *result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name and query of a calibration must not be null")));
	PreventCommandIfReadOnly("dlm_calibrate");
	SPI_connect();
	read_rows(text_to_cstring(PG_GETARG_TEXT_PP(1)), &rows, context);
	if (rows.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg(rows.target ? "no row of the query has both an input and a target" : "no row of the query has an input")));
	if (rows.target == NULL && rows.n < LEAST_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("without targets a calibration needs at least %d rows", LEAST_ROWS),
				 errdetail("The query gives %d.", rows.n)));
	MemoryContextSwitchTo(context);
	dlm_args_init(&args);
	args.labels.value = rows.labels;
	args.labels.isnull = false;
	args.options = fcinfo->args[2];
	args.model = fcinfo->args[3];
	call = dlm_call_open(DLM_CLASSIFY, &args);
	score_rows(call, &args, &rows, &fit);
	if (fit.target)
		maximise(&fit);
	else
		balance(&fit);
	MemoryContextSwitchTo(context);
	store(PG_GETARG_DATUM(0), call->model, &rows, &fit);
	MemoryContextSwitchTo(context);
	result = summary(&fit);
	dlm_call_end(call);
	SPI_finish();
	PG_RETURN_JSONB_P(result);
}

/* dlm_calibration_drop(name text) returns void */
Datum
dlm_sql_calibration_drop(PG_FUNCTION_ARGS)
{
	Datum		name = PG_GETARG_DATUM(0);
	Oid			type = TEXTOID;

	PreventCommandIfReadOnly("dlm_calibration_drop");
	SPI_connect();
	if (!check_owner(name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("calibration \"%s\" does not exist", TextDatumGetCString(name))));
	execute("DELETE FROM %s WHERE name OPERATOR(pg_catalog.=) $1", 1, &type, &name, SPI_OK_DELETE);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------------- use */

/* A fit as it is stored. */
typedef struct Stored
{
	char	   *digest;
	Datum	   *label;			/* [n] text */
	Datum	   *bias;			/* [n] */
	int			n;
	double		scale;
} Stored;

static void
look_up(const char *name, Stored *out)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			owner,
				type = TEXTOID;
	Datum		value = CStringGetTextDatum(name);
	HeapTuple	tuple;
	TupleDesc	desc;
	bool	   *nulls;
	bool		isnull;
	int			n;

	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT digest, labels, bias, scale FROM %s WHERE name OPERATOR(pg_catalog.=) $1",
									   dlm_extension_table("dlm_calibration", &owner)), 1, &type, &value, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not use the table of calibrations");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("calibration \"%s\" does not exist", name),
				 errhint("SELECT name FROM dlm_calibration lists them; dlm_calibrate(name, query) makes one.")));
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	MemoryContextSwitchTo(context);
	out->digest = SPI_getvalue(tuple, desc, 1);
	deconstruct_array(DatumGetArrayTypePCopy(SPI_getbinval(tuple, desc, 2, &isnull)), TEXTOID, -1, false, TYPALIGN_INT, &out->label,
					  &nulls, &out->n);
	deconstruct_array(DatumGetArrayTypePCopy(SPI_getbinval(tuple, desc, 3, &isnull)), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &out->bias, &nulls, &n);
	out->scale = DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &isnull));
	SPI_finish();
}

void
dlm_calibration_apply(const DlmModelRef *model, const DlmOptions *options, dlm_request *request)
{
	Stored		stored;
	double	   *bias = palloc(request->n_labels * sizeof(double));

	look_up(options->calibration, &stored);
	if (strcmp(stored.digest, model->digest_hex) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("calibration \"%s\" was fitted for another model than \"%s\"", options->calibration, model->name),
				 errhint("Fit it again: dlm_calibrate(name, query, model => ...).")));
	for (int l = 0; l < request->n_labels; l++)
	{
		int			found = -1;

		for (int i = 0; i < stored.n && found < 0; i++)
		{
			dlm_text	label = dlm_text_from_datum(stored.label[i]);

			if (label.len == request->labels[l].len && memcmp(label.data, request->labels[l].data, label.len) == 0)
				found = i;
		}
		if (found < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("calibration \"%s\" has no label \"%s\"", options->calibration,
							text_to_cstring(dlm_text_to_server(request->labels[l])))));
		bias[l] = DatumGetFloat8(stored.bias[found]);
	}
	request->label_bias = bias;
	request->label_scale = stored.scale;
}
