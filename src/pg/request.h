/*
 * request.h - from SQL arguments to requests of the engine.
 *
 * A *call* is one evaluation of one SQL function: its arguments, checked and
 * in UTF-8, the model, and one request for each row. A scalar call has one
 * row; a call with an array has one for each element; the batch node makes one
 * call of the calls of many rows, whose options may differ. All lives in the
 * call's own memory context, whose deletion (at the end, or by an error)
 * closes the session, gives back the compute slots and unpins the model.
 */
#ifndef DLM_PG_REQUEST_H
#define DLM_PG_REQUEST_H

#include "utils/array.h"
#include "utils/jsonb.h"

#include "registry.h"
#include "stats.h"

struct DlmCall;

/* What a request's tag points to, or begins with, where it has one. */
typedef struct DlmRequestTag
{
	bool		failed;			/* make found that the answer will not do: the row is to be evaluated alone */
} DlmRequestTag;

/* The arguments of a function, unpacked but not looked at. Initialise with dlm_args_init: all NULL. */
typedef struct DlmArgs
{
	bool		array;			/* input is text[] */
	bool		trace;
	NullableDatum input;		/* text or text[] */
	NullableDatum max_tokens;	/* int */
	NullableDatum steps;		/* int */
	NullableDatum temperature;	/* float8 */
	NullableDatum seed;			/* bigint */
	NullableDatum labels;		/* text[] */
	NullableDatum instruction;	/* text */
	NullableDatum descriptions; /* text[] */
	NullableDatum examples;		/* jsonb */
	NullableDatum threshold;	/* float8, of classify_multi */
	NullableDatum k;			/* int, of predict_length */
	NullableDatum options;		/* jsonb */
	NullableDatum model;		/* text */
	NullableDatum digest;		/* text, of the pinned functions: it names the model, and nothing else is looked up */
	/* adds requests for inputs that are no texts, or NULL; see dlm_call_add */
	void		(*add) (struct DlmCall *call, const struct DlmArgs *args, const Datum *inputs, const bool *nulls, int n);
} DlmArgs;

extern void dlm_args_init(DlmArgs *args);

typedef enum DlmOnError { DLM_ON_ERROR_RAISE = 0, DLM_ON_ERROR_NULL } DlmOnError;
typedef enum DlmOnOverflow { DLM_ON_OVERFLOW_RAISE = 0, DLM_ON_OVERFLOW_TRUNCATE, DLM_ON_OVERFLOW_NULL } DlmOnOverflow;

/* The engine's options, and what the SQL side itself does. */
typedef struct DlmOptions
{
	dlm_options engine;			/* first: offsets of the key table count from here */
	DlmOnError	on_error;
	DlmOnOverflow on_overflow;
	char	   *calibration;	/* of classify: the name of a fit (calibration.c), or NULL */
	const char *also_known;		/* keys that the caller has taken, for the hint on an unknown one; or NULL */
	dlm_gap_rule *rules;		/* of infill's gaps [n_rules] */
	int			n_rules;
} DlmOptions;

typedef struct DlmCall
{
	MemoryContext context;		/* of everything here, current while the call lasts */
	MemoryContext caller;		/* current before and after; results are built there */
	dlm_task	task;
	DlmModelRef *model;
	int			rows;			/* of all that was added */
	ArrayType  *array;			/* the array itself, for the shape of the result */
	dlm_request *requests;		/* [n] */
	int		   *row_of;			/* [n] the row of each request; a row without one is NULL */
	int			n;
	int			capacity;		/* of requests and row_of */
	dlm_request *given;			/* [n_given] requests that need no model: taken with an empty result */
	int		   *given_row;
	int			n_given;
	int			calls;			/* SQL calls that it stands for */
	int			most;			/* rows that are run together, as far as memory has taught; 0 = not yet */
	/* what running it took */
	DlmStatsDelta done;
	int			threads;		/* most at a time */
	Size		memory;			/* of the engine, at its peak */
} DlmCall;

/* The options of a request of a call. */
#define DLM_REQUEST_OPTIONS(request)	((const DlmOptions *) (request)->options)

/*
 * Resolve the model that the arguments name (only model and digest are looked
 * at) and make a call without requests. On return the current memory context
 * is the call's. ERRORs: those of dlm_registry_resolve.
 */
extern DlmCall *dlm_call_open(dlm_task task, const DlmArgs *args);

/*
 * Check the arguments and add a request for each input [n] that is not NULL;
 * args->input is not looked at. The rows count on from those added before. For
 * classification, args->labels must not be NULL.
 *
 * ERRORs: 22023 bad value, 54000 too many labels, 22021 text that is not
 * UTF-8; the call is then as before.
 */
extern void dlm_call_add(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n);

/*
 * What it does with texts: a request for each, for the rows behind those that
 * were added before. They are not counted: for `add` of the arguments.
 */
extern void dlm_call_put_texts(DlmCall *call, const DlmArgs *args, const Datum *inputs, const bool *nulls, int n);

/* Add one request for the row `row` of the call, ready made; `given`: it needs no model. */
extern void dlm_call_put(DlmCall *call, const dlm_request *request, int row, bool given);

/* Both, for the arguments of one SQL function, of which the input is not NULL. */
extern DlmCall *dlm_call_begin(dlm_task task, const DlmArgs *args);

/* Free everything, go back to the caller's context. */
extern void dlm_call_end(DlmCall *call);

/* An integer argument within bounds, 22023 outside; NULL gives its default. */
extern int	dlm_int_argument(NullableDatum arg, const char *name, int otherwise, int min, int max);

/* The name of a model as given, NULL for the default. */
extern char *dlm_model_argument(NullableDatum model);

/* -- request_options.c: the keys of options jsonb -- */

extern void dlm_options_parse(dlm_task task, NullableDatum options, DlmOptions *out);

/* -- request_gaps.c: what gaps may hold -- */

/* Values of the options "choices" and "patterns": rules of the gaps that they name. 22023 for a wrong form. */
extern void dlm_options_choices(const char *key, const JsonbValue *value, DlmOptions *out);
extern void dlm_options_patterns(const char *key, const JsonbValue *value, DlmOptions *out);

/* -- calibration.c: what dlm_calibrate fitted -- */

/* Give the request the bias and scale of a fit. 42704 for an unknown name, 22023 where it is of another model or labels. */
extern void dlm_calibration_apply(const DlmModelRef *model, const DlmOptions *options, dlm_request *request);

/* -- request_labels.c: what classification takes -- */

#define DLM_MAX_EXAMPLES	1000	/* that a model is shown */

/*
 * Labels, descriptions, examples and instruction into *request. False: a bad
 * value that options' on_error turns into NULL.
 */
extern bool dlm_labels_parse(const DlmArgs *args, DlmOnError on_error, dlm_request *request);

/* Examples of a jsonb array, palloc'd; their number. 22023 for another form, 54000 for more than `most`. */
extern int	dlm_examples_parse(Jsonb *jsonb, int most, dlm_example **out);

#endif							/* DLM_PG_REQUEST_H */
