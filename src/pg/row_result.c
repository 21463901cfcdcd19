/*
 * row_result.c - from gaps to a row: legal values, the next best where one is not.
 */
#include "dlm_pg.h"

#include <math.h>

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "encoding.h"
#include "result.h"
#include "row_job.h"

#define MOST_TRIES	200			/* of choices, without asking the model again */
#define MOST_COMBINATIONS	4096	/* of choices that are ranked */

static void
take_choice(DlmRowGap *gap, int choice)
{
	gap->choice = choice;
	gap->text = gap->column->values[choice].input;
	gap->confidence = gap->probability[choice];
}

void
dlm_row_take(DlmRowJob *job, const dlm_result *result)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);

	for (int g = 0; g < job->n_gaps; g++)
	{
		DlmRowGap  *gap = &job->gap[g];
		const dlm_gap *found;

		if (gap->held)
			continue;
		found = dlm_result_gap(result, 'c', gap->column->attnum);
		if (found == NULL)
			elog(ERROR, "the model's answer has no gap of column \"%s\"", gap->column->name);
		if (found->choice >= 0)
		{
			gap->probability = palloc(gap->column->n_values * sizeof(double));
			gap->first_probability = palloc(gap->column->n_values * sizeof(double));
			memcpy(gap->probability, found->choices, gap->column->n_values * sizeof(double));
			memcpy(gap->first_probability, found->choices, gap->column->n_values * sizeof(double));
			take_choice(gap, found->choice);
			continue;
		}
		gap->utf8.len = found->text.len;
		gap->utf8.data = memcpy(palloc(found->text.len + 1), found->text.data, found->text.len);
		gap->text = text_to_cstring(dlm_text_to_server(found->text));
		gap->confidence = found->probability;
	}
	MemoryContextSwitchTo(before);
}

/* Another value for a gap without asking the model; false: there is none. */
static bool
next_choice(DlmRowGap *gap)
{
	int			best = -1;

	if (gap->choice < 0)
		return false;
	gap->probability[gap->choice] = -1;
	for (int i = 0; i < gap->column->n_values; i++)
	{
		if (gap->probability[i] >= 0 && (best < 0 || gap->probability[i] > gap->probability[best]))
			best = i;
	}
	if (best < 0)
		return false;
	take_choice(gap, best);
	return true;
}

/* The gap is to be written anew beside all others as they are; one that was too long may be shorter. */
static void
reject(DlmRowJob *job)
{
	DlmRowGap  *gap = &job->gap[job->at];
	const ErrorData *why = job->why;
	dlm_text   *texts = palloc((gap->n_reject + 1) * sizeof(dlm_text));

	if (gap->n_reject > 0)
		memcpy(texts, gap->reject, gap->n_reject * sizeof(dlm_text));
	texts[gap->n_reject++] = gap->utf8;
	gap->reject = texts;
	if (why->sqlerrcode == ERRCODE_STRING_DATA_RIGHT_TRUNCATION && gap->column->pattern == NULL)
		gap->max_tokens = Max(gap->max_tokens / 2, 1);
	for (int g = 0; g < job->n_gaps; g++)
		job->gap[g].held = g != job->at;
}

/* ------------------------------------------------------------ combinations */

/* Choices of the gaps that a check reads together, most probable combinations first. */
typedef struct Combination
{
	double		probability;
	int			number;			/* mixed radix over the gaps' best choices */
} Combination;

typedef struct Search
{
	int		   *gap;			/* [n] gaps with choices among the blamed */
	int			n;
	int		  **best;			/* [n][most] their choices, the most probable first */
	int			most;			/* of each that are looked at; fewer where a gap has fewer */
} Search;

static int
choices_of(const Search *s, const DlmRowJob *job, int i)
{
	return Min(s->most, job->gap[s->gap[i]].column->n_values);
}

static int
by_probability(const void *a, const void *b)
{
	const Combination *x = a,
			   *y = b;

	if (x->probability != y->probability)
		return x->probability > y->probability ? -1 : 1;
	return x->number - y->number;
}

/* The choices of a gap, the most probable at first sight first, ties to the earlier. */
static int *
ranked_choices(const DlmRowGap *gap)
{
	Combination *list = palloc(gap->column->n_values * sizeof(Combination));
	int		   *ranked = palloc(gap->column->n_values * sizeof(int));

	for (int i = 0; i < gap->column->n_values; i++)
		list[i] = (Combination) {gap->first_probability[i], i};
	qsort(list, gap->column->n_values, sizeof(Combination), by_probability);
	for (int i = 0; i < gap->column->n_values; i++)
		ranked[i] = list[i].number;
	return ranked;
}

static void
set_combination(DlmRowJob *job, const Search *s, int number)
{
	for (int i = 0; i < s->n; i++)
	{
		int			radix = choices_of(s, job, i);

		take_choice(&job->gap[s->gap[i]], s->best[i][number % radix]);
		number /= radix;
	}
}

static double
joint_probability(const DlmRowJob *job, const Search *s, int number)
{
	double		p = 1;

	for (int i = 0; i < s->n; i++)
	{
		int			radix = choices_of(s, job, i);

		p *= job->gap[s->gap[i]].probability[s->best[i][number % radix]];
		number /= radix;
	}
	return p;
}

/* Try the combinations of all blamed gaps that have choices, the most probable ones first. */
static bool
search_combinations(DlmRowJob *job)
{
	Search		s = {palloc(job->n_blamed * sizeof(int)), 0};
	int			total = 1;
	Combination *list;
	bool		legal = false;

	for (int i = 0; i < job->n_blamed; i++)
	{
		if (job->gap[job->blamed[i]].choice >= 0)
			s.gap[s.n++] = job->blamed[i];
	}
	if (s.n < 2)
		return false;
	s.most = Max((int) pow(MOST_COMBINATIONS, 1.0 / s.n), 2);
	s.best = palloc(s.n * sizeof(int *));
	for (int i = 0; i < s.n && total <= MOST_COMBINATIONS; i++)
	{
		s.best[i] = ranked_choices(&job->gap[s.gap[i]]);
		memcpy(job->gap[s.gap[i]].probability, job->gap[s.gap[i]].first_probability,
			   job->gap[s.gap[i]].column->n_values * sizeof(double));
		total *= choices_of(&s, job, i);
	}
	if (total > MOST_COMBINATIONS)
		return false;			/* a check over a dozen gaps: one after the other is all that can be tried */
	list = palloc(total * sizeof(Combination));
	for (int i = 0; i < total; i++)
		list[i] = (Combination) {joint_probability(job, &s, i), i};
	qsort(list, total, sizeof(Combination), by_probability);
	for (int i = 0; i < Min(total, MOST_TRIES) && !legal; i++)
	{
		CHECK_FOR_INTERRUPTS();
		set_combination(job, &s, list[i].number);
		legal = dlm_row_try(job) == DLM_TRY_LEGAL;
	}
	return legal;
}

/* ------------------------------------------------------------------- settle */

bool
dlm_row_settle(DlmRowJob *job)
{
	MemoryContext before = MemoryContextSwitchTo(job->context);
	bool		legal = false;
	int			most = MOST_TRIES;

	/* one gap after the other, all its choices if need be: a unique column may leave the last one alone */
	for (int g = 0; g < job->n_gaps; g++)
		most += job->gap[g].choice >= 0 ? job->gap[g].column->n_values : 0;
	job->hopeless = true;
	for (int i = 0; i < most; i++)
	{
		DlmTry		outcome = dlm_row_try(job);
		DlmRowGap  *gap;

		legal = outcome == DLM_TRY_LEGAL;
		if (legal || (outcome == DLM_TRY_CHECK && job->n_blamed > 1 && (legal = search_combinations(job))))
			break;
		CHECK_FOR_INTERRUPTS();
		gap = &job->gap[job->at];
		if (outcome != DLM_TRY_CHECK || job->n_blamed == 1)
		{
			if (next_choice(gap))
				continue;
			job->hopeless = gap->choice >= 0;
			if (gap->choice < 0)
				reject(job);
			break;
		}
		/* several gaps, of which no combination of choices will do: an open one must be written anew */
		for (int k = 0; k < job->n_blamed && job->hopeless; k++)
		{
			if (job->gap[job->blamed[k]].choice >= 0)
				continue;
			job->at = job->blamed[k];
			reject(job);
			job->hopeless = false;
		}
		break;
	}
	MemoryContextSwitchTo(before);
	return legal;
}

Datum
dlm_row_datum(const DlmRowJob *job)
{
	int			n = job->type->desc->natts;
	Datum	   *values = palloc(Max(n, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(n, 1) * sizeof(bool));

	memcpy(values, job->values, n * sizeof(Datum));
	memcpy(nulls, job->nulls, n * sizeof(bool));
	for (int g = 0; g < job->n_gaps; g++)
	{
		values[job->gap[g].column->attnum - 1] = job->gap[g].value;
		nulls[job->gap[g].column->attnum - 1] = job->gap[g].text == NULL;
	}
	return heap_copy_tuple_as_datum(heap_form_tuple(job->type->desc, values, nulls), job->type->desc);
}
