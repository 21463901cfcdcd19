/*
 * gap_rules.c - from what a request says of its gaps to what their slots may hold.
 */
#include "fill.h"
#include "labels.h"
#include "status.h"

#include <math.h>
#include <string.h>

const dlm_gap_rule *
dl_gap_rule_of(const dl_fill *f, int gap)
{
	return f->rule ? f->rule[gap] : NULL;
}

/* The lengths of a gap in the order they are kept in that a match can have, in the given forms; n gets their number. */
static int *
fitting_lengths(const dl_fill *f, int g, bool first, bool second, int *n)
{
	dl_arena   *a = f->task->session->arena;
	const dl_lengths *l = &f->lengths[g];
	int			longest = dl_length_at(l, l->n - 1);
	int			context = (int) f->task->session->model->config.context;
	bool	   *fits[2] = {NULL, NULL};
	int		   *list = dl_arena_calloc(a, (size_t) l->n, sizeof(int));

	*n = 0;
	longest = longest < context ? longest : context;
	for (int form = 0; form < 2; form++)
	{
		fits[form] = dl_arena_calloc(a, (size_t) longest, sizeof(bool));
		if (fits[form] == NULL || list == NULL)
			return NULL;
		dl_constraint_lengths(f->frame.constraint[g], form == 1, longest, fits[form]);
	}
	for (int i = 0; i < l->n && dl_length_at(l, i) <= longest; i++)
	{
		int			length = dl_length_at(l, i);

		if ((!first || fits[0][length - 1]) && (!second || fits[1][length - 1]))
			list[(*n)++] = length;
	}
	return list;
}

static dlm_status
fail_lengths(const dl_fill *f, int g, dlm_error *err)
{
	const dl_lengths *l = &f->lengths[g];

	return dl_fail(err, DLM_EINVAL, "Give the gap other lengths, as in [MASK:1-12], or another pattern.",
				   "no text of %d to %d tokens matches the pattern of gap %d", dl_length_at(l, 0),
				   dl_length_at(l, l->n - 1), g + 1);
}

/*
 * Behind a typed space a gap may begin with a token that carries the space, or
 * with one behind a space token (heal.c). Where matches have lengths in common
 * the model decides; else the form that has any, the first before the second.
 */
static dlm_status
settle_gap(dl_fill *f, int g, bool lone_space_possible, dlm_error *err)
{
	bool		second = f->frame.constraint[g]->first[1] != NULL && lone_space_possible;
	int			n = 0,
				n_first = 0,
				n_second = 0;
	int		   *list = NULL,
			   *first = fitting_lengths(f, g, true, false, &n_first),
			   *behind = first;

	if (second && n_first > 0)
		list = fitting_lengths(f, g, true, true, &n);
	if (second)
		behind = fitting_lengths(f, g, false, true, &n_second);
	if (first == NULL || behind == NULL || (second && n_first > 0 && list == NULL))
		return dl_fail_memory(err);
	if (n == 0)
	{
		f->frame.settled[g] = true;
		f->frame.lone_space[g] = n_first == 0;
		list = n_first > 0 ? first : behind;
		n = n_first > 0 ? n_first : n_second;
	}
	if (n == 0)
		return fail_lengths(f, g, err);
	f->lengths[g] = (dl_lengths) {.n = n, .list = list};
	return DLM_OK;
}

static dlm_status
check_rule(const dlm_gap_rule *rule, int g, dlm_error *err)
{
	if (rule->n_choices < 0 || rule->n_choices > DLM_MAX_CHOICES)
		return dl_fail(err, DLM_ETOOLONG, "", "gap %d has %d choices, at most %d are allowed", g + 1, rule->n_choices,
					   DLM_MAX_CHOICES);
	for (int i = 0; rule->bias != NULL && i < rule->n_choices; i++)
		if (!isfinite(rule->bias[i]))
			return dl_fail(err, DLM_EINVAL, "", "a bias of gap %d is not finite", g + 1);
	if (!isfinite(rule->trust))
		return dl_fail(err, DLM_EINVAL, "", "the trust of gap %d is not finite", g + 1);
	if (rule->n_choices > 0 && (rule->pattern.len > 0 || rule->n_reject > 0))
		return dl_fail(err, DLM_EINVAL, "", "gap %d has both choices and a pattern", g + 1);
	return DLM_OK;
}

/* A decimal number without leading zeros; 0: none. */
static int
number_of(dlm_text text)
{
	int			n = 0;

	for (size_t i = 0; i < text.len && text.len <= 5; i++)
	{
		if (text.data[i] < '0' + (i == 0) || text.data[i] > '9')
			return 0;
		n = n * 10 + (text.data[i] - '0');
	}
	return n;
}

/* The gap that a rule is of; -1: none. */
static int
gap_of(const dl_fill *f, const dlm_gap_rule *rule)
{
	int			number = number_of(rule->gap);

	for (int g = 0; g < f->frame.n_gaps; g++)
	{
		dlm_text	name = f->name[g];

		if (name.len == 0 ? number == g + 1 :
			name.len == rule->gap.len && memcmp(name.data, rule->gap.data, name.len) == 0)
			return g;
	}
	return -1;
}

/* Give each gap its rule. */
static dlm_status
assign_rules(dl_fill *f, dlm_error *err)
{
	const dlm_request *r = f->task->request;

	for (int i = 0; i < r->n_rules; i++)
	{
		const dlm_gap_rule *rule = &r->rules[i];
		dlm_text	name = dl_clip(rule->gap);
		int			g = gap_of(f, rule);
		dlm_status	st;

		if (g < 0)
			return dl_fail(err, DLM_EINVAL, "A gap without a name goes by its number, from 1.",
						   "the template has no gap \"%.*s\"", (int) name.len, name.data);
		if (f->rule[g] != NULL)
			return dl_fail(err, DLM_EINVAL, "", "gap %d has two rules", g + 1);
		st = check_rule(rule, g, err);
		if (st != DLM_OK)
			return st;
		f->rule[g] = rule;
	}
	return DLM_OK;
}

static dlm_status
alloc_rules(dl_fill *f, dlm_error *err)
{
	dl_arena   *a = f->task->session->arena;
	size_t		n = (size_t) f->frame.n_gaps;

	f->rule = dl_arena_calloc(a, n, sizeof(*f->rule));
	f->frame.constraint = dl_arena_calloc(a, n, sizeof(*f->frame.constraint));
	f->frame.lone_space = dl_arena_calloc(a, n, sizeof(bool));
	f->frame.settled = dl_arena_calloc(a, n, sizeof(bool));
	if (f->rule == NULL || f->frame.constraint == NULL || f->frame.lone_space == NULL || f->frame.settled == NULL)
		return dl_fail_memory(err);
	return DLM_OK;
}

dlm_status
dl_gap_rules_apply(dl_fill *f, dlm_error *err)
{
	const dlm_request *r = f->task->request;
	int32_t		space[4];
	bool		lone = dl_tok_space_ids(f->task->session->model->tok, space) == 1 &&
		!dl_in_set(f->bans->never, space[0]);
	dlm_status	st = DLM_OK;

	if (r->n_rules == 0)
		return DLM_OK;
	st = alloc_rules(f, err);
	if (st == DLM_OK)
		st = assign_rules(f, err);
	for (int g = 0; g < f->frame.n_gaps && st == DLM_OK; g++)
	{
		const dlm_gap_rule *rule = f->rule[g];

		if (rule == NULL || rule->pattern.len == 0)
			continue;
		st = dl_constraint_get(f->task, f->bans, rule->pattern, f->frame.first_rule[g],
							   f->strip[g] || (f->frame.first_rule[g] & DL_RULE_SPACED), &f->frame.constraint[g], err);
		if (st == DLM_OK)
			st = settle_gap(f, g, lone, err);
	}
	return st;
}
