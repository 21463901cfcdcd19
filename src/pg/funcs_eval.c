/*
 * funcs_eval.c - figures of answers in SQL: chrF, ROUGE-L, calibration error.
 * The arithmetic is that of `dlm-model eval`.
 */
#include "dlm_pg.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "encoding.h"
#include "errors.h"
#include "eval.h"

PG_FUNCTION_INFO_V1(dlm_sql_chrf);
PG_FUNCTION_INFO_V1(dlm_sql_rouge_l);
PG_FUNCTION_INFO_V1(dlm_sql_calibration_step);
PG_FUNCTION_INFO_V1(dlm_sql_calibration_final);

#define CALIBRATION_VALUES	(3 * DL_EVAL_BINS)	/* rows, probability and right answers of each bin */

/* dlm_chrf(answer text, reference text) returns float8 */
Datum
dlm_sql_chrf(PG_FUNCTION_ARGS)
{
	double		stats[DL_CHRF_STATS];
	dlm_error	err = {0};

	if (dl_eval_chrf_count(dlm_text_from_datum(PG_GETARG_DATUM(0)), dlm_text_from_datum(PG_GETARG_DATUM(1)), stats,
						   &err) != DLM_OK)
		dlm_raise(&err);
	PG_RETURN_FLOAT8(dl_eval_chrf(stats, 1));
}

/* dlm_rouge_l(answer text, reference text) returns float8 */
Datum
dlm_sql_rouge_l(PG_FUNCTION_ARGS)
{
	double		f1;
	dlm_error	err = {0};

	if (dl_eval_rouge_l(dlm_text_from_datum(PG_GETARG_DATUM(0)), dlm_text_from_datum(PG_GETARG_DATUM(1)), &f1,
						&err) != DLM_OK)
		dlm_raise(&err);
	PG_RETURN_FLOAT8(f1);
}

/* The state is an array of float8, so that it needs no functions of its own to be copied: made here, changed in place after. */
static double *
calibration_state(FunctionCallInfo fcinfo, ArrayType **array)
{
	MemoryContext context,
				old;
	Datum		zero[CALIBRATION_VALUES] = {0};

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "dlm_sql_calibration_step was called outside an aggregate");
	if (PG_ARGISNULL(0))
	{
		old = MemoryContextSwitchTo(context);
		for (int i = 0; i < CALIBRATION_VALUES; i++)
			zero[i] = Float8GetDatum(0);
		*array = construct_array(zero, CALIBRATION_VALUES, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
		MemoryContextSwitchTo(old);
	}
	else
		*array = PG_GETARG_ARRAYTYPE_P(0);
	return (double *) ARR_DATA_PTR(*array);
}

/* (state float8[], probability float8, correct boolean): the winner's probability, and was it right? NULLs are passed over. */
Datum
dlm_sql_calibration_step(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	double	   *state = calibration_state(fcinfo, &array);
	double		p;
	int			bin;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_ARRAYTYPE_P(array);
	p = PG_GETARG_FLOAT8(1);
	if (!(p >= 0 && p <= 1))
		ereport(ERROR, errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("probability must be between 0 and 1"));
	bin = (int) ceil(p * DL_EVAL_BINS) - 1;
	bin = bin < 0 ? 0 : bin;
	state[3 * bin] += 1;
	state[3 * bin + 1] += p;
	state[3 * bin + 2] += PG_GETARG_BOOL(2);
	PG_RETURN_ARRAYTYPE_P(array);
}

/* Expected calibration error (Guo et al. 2017); NULL without rows */
Datum
dlm_sql_calibration_final(PG_FUNCTION_ARGS)
{
	double	   *state;
	double		rows = 0,
				error = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (double *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(0));
	for (int bin = 0; bin < DL_EVAL_BINS; bin++)
	{
		rows += state[3 * bin];
		error += fabs(state[3 * bin + 2] - state[3 * bin + 1]);
	}
	if (rows == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(error / rows);
}
