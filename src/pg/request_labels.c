/*
 * request_labels.c - what classification takes beside its text: labels,
 * descriptions, examples, instruction.
 *
 * They may come from a row's own columns, so with on_error = null a bad list
 * gives NULL; otherwise it is an error.
 */
#include "dlm_pg.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "encoding.h"
#include "request.h"

/* What is wrong with the arguments: a primary message and perhaps a hint; sqlstate 0 = nothing. */
typedef struct Fault
{
	int			sqlstate;
	char	   *message;
	const char *hint;
} Fault;

static bool
fault(Fault *out, int sqlstate, const char *hint, char *message)
{
	out->sqlstate = sqlstate;
	out->hint = hint;
	out->message = message;
	return false;
}

static bool
bad_value(Fault *out, char *message)
{
	return fault(out, ERRCODE_INVALID_PARAMETER_VALUE, NULL, message);
}

/* Elements of a one-dimensional text[]; NULL elements as empty texts, *nulls says which. */
static bool
text_elements(Datum array, const char *name, Datum **values, bool **nulls, int *n, Fault *out)
{
	ArrayType  *a = DatumGetArrayTypeP(array);

	if (ARR_NDIM(a) > 1)
		return bad_value(out, psprintf("%s must be a one-dimensional array", name));
	deconstruct_array(a, TEXTOID, -1, false, TYPALIGN_INT, values, nulls, n);
	return true;
}

static int
compare_texts(const void *a, const void *b)
{
	const dlm_text *x = *(dlm_text *const *) a;
	const dlm_text *y = *(dlm_text *const *) b;
	int			order = memcmp(x->data, y->data, Min(x->len, y->len));

	if (order == 0)
		order = (x->len > y->len) - (x->len < y->len);
	return order;
}

static bool
check_duplicates(const dlm_text *labels, int n, Fault *out)
{
	const dlm_text **sorted = palloc(n * sizeof(dlm_text *));

	for (int i = 0; i < n; i++)
		sorted[i] = &labels[i];
	qsort(sorted, n, sizeof(dlm_text *), compare_texts);
	for (int i = 1; i < n; i++)
	{
		if (compare_texts(&sorted[i - 1], &sorted[i]) == 0)
			return bad_value(out, psprintf("labels must be distinct, but \"%s\" occurs more than once",
										   text_to_cstring(dlm_text_to_server(*sorted[i]))));
	}
	pfree(sorted);
	return true;
}

static bool
parse_labels(Datum array, dlm_request *request, Fault *out)
{
	Datum	   *values;
	bool	   *nulls;
	dlm_text   *labels;
	int			n;

	if (!text_elements(array, "labels", &values, &nulls, &n, out))
		return false;
	if (n == 0)
		return fault(out, ERRCODE_INVALID_PARAMETER_VALUE, "Give at least one label, as in ARRAY['yes', 'no'].",
					 pstrdup("labels must not be empty"));
	if (n > DLM_MAX_LABELS)
		return fault(out, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "Classify in two steps: groups of labels first.",
					 psprintf("%d labels are too many, the limit is %d", n, DLM_MAX_LABELS));
	labels = palloc(n * sizeof(dlm_text));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			return bad_value(out, pstrdup("labels must not hold NULL"));
		labels[i] = dlm_text_from_datum(values[i]);
		if (labels[i].len == 0)
			return bad_value(out, pstrdup("labels must not hold an empty text"));
	}
	request->labels = labels;
	request->n_labels = n;
	return check_duplicates(labels, n, out);
}

/* One for each label; a NULL element is a label without description. */
static bool
parse_descriptions(NullableDatum array, dlm_request *request, Fault *out)
{
	Datum	   *values;
	bool	   *nulls;
	dlm_text   *descriptions;
	int			n;

	if (array.isnull)
		return true;
	if (!text_elements(array.value, "descriptions", &values, &nulls, &n, out))
		return false;
	if (n != request->n_labels)
		return bad_value(out, psprintf("descriptions must be as many as labels (%d), but there are %d",
									   request->n_labels, n));
	descriptions = palloc0(n * sizeof(dlm_text));
	for (int i = 0; i < n; i++)
	{
		descriptions[i].data = "";
		if (!nulls[i])
			descriptions[i] = dlm_text_from_datum(values[i]);
	}
	request->descriptions = descriptions;
	return true;
}

/* The string at a key of an example; false if it is missing or no string. */
static bool
example_text(JsonbContainer *example, const char *key, dlm_text *out)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(example, key, strlen(key), &buffer);

	if (!value || value->type != jbvString)
		return false;
	*out = dlm_text_from_server(pnstrdup(value->val.string.val, value->val.string.len), value->val.string.len);
	return true;
}

static bool
parse_examples(Jsonb *jsonb, int most, dlm_example **out, int *n, Fault *problem)
{
	const char *hint = "Write them as [{\"input\": \"a text\", \"label\": \"its label\"}, ...].";
	JsonbContainer *root = &jsonb->root;
	dlm_example *examples;

	if (!JsonContainerIsArray(root) || JsonContainerIsScalar(root))
		return fault(problem, ERRCODE_INVALID_PARAMETER_VALUE, hint, pstrdup("examples must be a JSON array"));
	*n = JsonContainerSize(root);
	if (*n > most)
		return fault(problem, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL,
					 psprintf("%d examples are too many, the limit is %d", *n, most));
	*out = examples = palloc(*n * sizeof(dlm_example) + 1);
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(root, i);

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data) ||
			JsonContainerSize(element->val.binary.data) != 2 ||
			!example_text(element->val.binary.data, "input", &examples[i].input) ||
			!example_text(element->val.binary.data, "label", &examples[i].label))
			return fault(problem, ERRCODE_INVALID_PARAMETER_VALUE, hint,
						 psprintf("example %d must be an object of two strings, \"input\" and \"label\"", i + 1));
	}
	return true;
}

static bool
request_examples(NullableDatum jsonb, dlm_request *request, Fault *out)
{
	dlm_example *examples;

	if (jsonb.isnull)
		return true;
	if (!parse_examples(DatumGetJsonbP(jsonb.value), DLM_MAX_EXAMPLES, &examples, &request->n_examples, out))
		return false;
	request->examples = examples;
	return true;
}

pg_noreturn static void
raise_fault(const Fault *problem)
{
	ereport(ERROR,
			(errcode(problem->sqlstate),
			 errmsg_internal("%s", problem->message),
			 problem->hint ? errhint("%s", problem->hint) : 0));
}

int
dlm_examples_parse(Jsonb *jsonb, int most, dlm_example **out)
{
	Fault		problem = {0};
	int			n;

	if (!parse_examples(jsonb, most, out, &n, &problem))
		raise_fault(&problem);
	return n;
}

bool
dlm_labels_parse(const DlmArgs *args, DlmOnError on_error, dlm_request *request)
{
	Fault		problem = {0};

	if (!args->instruction.isnull)
	{
		request->has_instruction = true;
		request->instruction = dlm_text_from_datum(args->instruction.value);
	}
	if (parse_labels(args->labels.value, request, &problem) &&
		parse_descriptions(args->descriptions, request, &problem) &&
		request_examples(args->examples, request, &problem))
		return true;
	if (on_error == DLM_ON_ERROR_NULL)
		return false;
	raise_fault(&problem);
}
