/*
 * funcs.h - shared by the files of SQL-callable functions (funcs_*.c), which
 * unpack arguments by position and do nothing else.
 *
 * C names are dlm_sql_NAME: the plain names belong to the engine's functions.
 */
#ifndef DLM_PG_FUNCS_H
#define DLM_PG_FUNCS_H

#include "result.h"

/*
 * A function of one text (or of one text[], as its explicit batch) with one
 * value as its answer: what the SQL entry and the batch node know of it.
 */
typedef struct DlmFunction
{
	const char *symbol;			/* C name of the scalar form, as in pg_proc.prosrc */
	dlm_task	task;
	int			required;		/* of the first so many arguments one NULL gives NULL */
	void		(*unpack) (const NullableDatum *arguments, DlmArgs *args);
	DlmMake		make;
	Oid			array_element;	/* element type of the text[] form's answer */
	bool		composite;		/* make takes the TupleDesc of the result */
	bool		row;			/* the first argument is a row */
	bool		pinned;			/* a digest stands first, and no model last */
} DlmFunction;

/* funcs_text.c, funcs_classify.c, funcs_rows.c, funcs_pinned.c, funcs_nearest.c */
extern const DlmFunction dlm_function_generate;
extern const DlmFunction dlm_function_infill;
extern const DlmFunction dlm_function_infill_gaps;
extern const DlmFunction dlm_function_infill_row;
extern const DlmFunction dlm_function_infill_cells;
extern const DlmFunction dlm_function_infill_record;
extern const DlmFunction dlm_function_classify;
extern const DlmFunction dlm_function_classify_full;
extern const DlmFunction dlm_function_classify_multi;
extern const DlmFunction dlm_function_score;
extern const DlmFunction dlm_function_embed;
extern const DlmFunction dlm_function_generate_pinned;
extern const DlmFunction dlm_function_infill_pinned;
extern const DlmFunction dlm_function_classify_pinned;
extern const DlmFunction dlm_function_embed_pinned;
extern const DlmFunction dlm_function_nearest_examples;

/* Run the scalar form, or the text[] form, of a function. */
extern Datum dlm_scalar(FunctionCallInfo fcinfo, const DlmFunction *function);
extern Datum dlm_array(FunctionCallInfo fcinfo, const DlmFunction *function);

/* Where the input stands, and what names the model, among the arguments [n] of a function. */
static inline int
dlm_input_place(const DlmFunction *function)
{
	return function->pinned ? 1 : 0;
}

static inline int
dlm_model_place(const DlmFunction *function, int n)
{
	return function->pinned ? 0 : n - 1;
}

/* Is one of the required arguments NULL? */
static inline bool
dlm_required_missing(const DlmFunction *function, const NullableDatum *arguments)
{
	for (int i = 0; i < function->required; i++)
	{
		if (arguments[i].isnull)
			return true;
	}
	return false;
}

/* steps, temperature, seed, options: arguments that follow each other; returns what follows them. */
static inline const NullableDatum *
dlm_unpack_sampling(const NullableDatum *arguments, DlmArgs *args)
{
	args->steps = arguments[0];
	args->temperature = arguments[1];
	args->seed = arguments[2];
	args->options = arguments[3];
	return arguments + 4;
}

/* labels, instruction, descriptions, examples; returns what follows them */
static inline const NullableDatum *
dlm_unpack_labels(const NullableDatum *arguments, DlmArgs *args)
{
	args->labels = arguments[0];
	args->instruction = arguments[1];
	args->descriptions = arguments[2];
	args->examples = arguments[3];
	return arguments + 4;
}

/* input, options, model: all the arguments of a function. */
static inline void
dlm_unpack_plain(const NullableDatum *arguments, DlmArgs *args)
{
	dlm_args_init(args);
	args->input = arguments[0];
	args->options = arguments[1];
	args->model = arguments[2];
}

/* Run a call whose answer is rows. `usable` false: no rows (a NULL first argument). */
extern Datum dlm_return_rows(FunctionCallInfo fcinfo, bool usable, dlm_task task, const DlmArgs *args, DlmTake take);

#endif							/* DLM_PG_FUNCS_H */
