/*
 * cli_lengths.c - dlm-model lengths: fit a model's length-bias curve on texts.
 *
 * The recipe of arXiv 2602.00476. A run of words is cut out of each text and
 * the gap asked for with several numbers of tokens; a gap of n tokens is as
 * sure as the mean over its positions of the largest probability of the first
 * forward. Lengths near the right one are left out: there the words
 * themselves make the model sure. What is left depends on n alone, and its
 * mean over gaps, n by n, is what the curve is fitted to. What the curve is
 * worth shows at the right lengths: a model that is no surer there than the
 * curve says does not know how long gaps are, and no search can ask it.
 */
#include "cli_eval.h"

#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "fmath.h"
#include "length_curve.h"
#include "model.h"
#include "rng.h"
#include "status.h"

#define KEY_GAPS		0x67617073u
#define MAX_FILES		64
#define MOST_BEFORE		40		/* words of the text that stand around a gap */
#define MOST_BEHIND		24
#define LEAST_BEFORE	4
#define LEAST_BEHIND	2
#define NEAR			4		/* tokens from the right length that are too near */
#define LEAST_POINTS	5

static const int widths[] = {1, 2, 3, 4, 6, 8, 12, 16, 24};	/* words of a gap */
static const int trials[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};	/* tokens it is asked with */

#define N_WIDTHS		((int) (sizeof(widths) / sizeof(widths[0])))
#define N_TRIALS		((int) (sizeof(trials) / sizeof(trials[0])))

/* A gap asked for with so many tokens: one request. */
typedef struct dl_trial
{
	char	   *template;		/* malloc'd */
	int			tokens;
	bool		right;			/* the gap's own number */
	double		confidence;		/* negative: the row does not fit */
} dl_trial;

typedef struct dl_fit
{
	dl_eval_run run;
	const char *args[MAX_FILES + 1];	/* the model, then files */
	int			n_args;
	const char *part,
			   *out;
	int			rows,
				most;			/* tokens */
	double		first,			/* of --part */
				last;
	dl_trial   *trial;			/* [n] */
	int			n,
				capacity;
	int			gaps;
	dl_length_point point[N_TRIALS];
} dl_fit;

/* ---------------------------------------------------------------- gaps */

static bool
is_word(char c)
{
	return (unsigned char) c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Where the words of a text begin: runs without a space; the number of them, at most max. */
static int
find_words(dlm_text text, size_t *start, int max)
{
	int			n = 0;

	for (size_t i = 0; i < text.len && n < max; i++)
		if (text.data[i] != ' ' && (i == 0 || text.data[i - 1] == ' '))
			start[n++] = i;
	return n;
}

/* The end of the word that begins at `start`, without the punctuation behind it; start if nothing is left. */
static size_t
word_end(dlm_text text, size_t start)
{
	size_t		end = start;

	while (end < text.len && text.data[end] != ' ')
		end++;
	while (end > start && !is_word(text.data[end - 1]))
		end--;
	return end;
}

/* Choose a gap [*from, *to) and the text [*begin, *end) around it; false: the text is too short, or has none there. */
static bool
choose_gap(dlm_text text, int line, uint32_t seed, size_t *begin, size_t *from, size_t *to, size_t *end)
{
	uint32_t	draw[4] = {(uint32_t) line, 0, 0, 0};
	size_t	   *start = malloc((text.len / 2 + 2) * sizeof(size_t));
	int			words = start != NULL ? find_words(text, start, (int) (text.len / 2 + 1)) : 0;
	int			fitting = 0,
				width,
				at,
				behind;
	bool		found;

	while (fitting < N_WIDTHS && widths[fitting] <= words - LEAST_BEFORE - LEAST_BEHIND)
		fitting++;
	if (fitting == 0)
	{
		free(start);
		return false;
	}
	dl_philox(draw, KEY_GAPS, seed);
	width = widths[draw[0] % (uint32_t) fitting];
	at = LEAST_BEFORE + (int) (draw[1] % (uint32_t) (words - width - LEAST_BEFORE - LEAST_BEHIND + 1));
	behind = at + width + MOST_BEHIND < words ? at + width + MOST_BEHIND : words;
	*begin = start[at > MOST_BEFORE ? at - MOST_BEFORE : 0];
	*from = start[at];
	*to = word_end(text, start[at + width - 1]);
	*end = behind < words ? start[behind] - 1 : text.len;
	found = *to > start[at + width - 1] && is_word(text.data[*from]) && text.data[*from - 1] == ' ';
	free(start);
	return found;
}

static dlm_status
add_trial(dl_fit *f, dlm_text before, dlm_text behind, int tokens, bool right_length, dlm_error *err)
{
	char	   *left = NULL,
			   *right = NULL;
	size_t		n_left,
				n_right;
	dlm_status	st;

	if (f->n == f->capacity)
	{
		int			capacity = f->capacity ? f->capacity * 2 : 1024;
		dl_trial   *grown = realloc(f->trial, (size_t) capacity * sizeof(dl_trial));

		if (grown == NULL)
			return dl_fail_memory(err);
		f->trial = grown;
		f->capacity = capacity;
	}
	st = dlm_quote_template(before, &left, &n_left, err);
	if (st == DLM_OK)
		st = dlm_quote_template(behind, &right, &n_right, err);
	if (st == DLM_OK)
	{
		f->trial[f->n] = (dl_trial) {malloc(n_left + n_right + 40), tokens, right_length, -1};
		if (f->trial[f->n].template == NULL)
			st = dl_fail_memory(err);
		else
			sprintf(f->trial[f->n++].template, "%.*s[MASK:%d]%.*s", (int) n_left, left, tokens, (int) n_right, right);
	}
	free(left);
	free(right);
	return st;
}

/* The requests of a text's gap, if it has one. */
static dlm_status
add_gap(dl_fit *f, const dlm_model *model, const dl_eval_row *row, dlm_error *err)
{
	dlm_env		env = {0};
	dlm_text	text = row->input;
	int32_t    *ids;
	size_t		begin,
				from,
				to,
				end,
				tokens;
	dlm_status	st;

	if (!choose_gap(text, row->line, (uint32_t) f->run.engine.seed, &begin, &from, &to, &end))
		return DLM_OK;
	/* with the space before it, as a gap that begins a word has it */
	st = dlm_tokenize(model, (dlm_text) {text.data + from - 1, to - from + 1}, &env, &ids, &tokens, err);
	if (st != DLM_OK)
		return st;
	free(ids);
	for (int i = 0; i < N_TRIALS && st == DLM_OK; i++)
		if (trials[i] <= f->most && labs((long) tokens - trials[i]) >= NEAR)
			st = add_trial(f, (dlm_text) {text.data + begin, from - begin}, (dlm_text) {text.data + to, end - to}, trials[i], false, err);
	if (st == DLM_OK && tokens <= (size_t) f->most)
		st = add_trial(f, (dlm_text) {text.data + begin, from - begin}, (dlm_text) {text.data + to, end - to}, (int) tokens, true, err);
	f->gaps++;
	return st;
}

/* Gaps of a file's texts, in random order, until there are enough. */
static dlm_status
add_file(dl_fit *f, const dlm_model *model, const char *path, dlm_error *err)
{
	dl_eval_choice all = {0};
	dl_eval_task task;
	dl_eval_place *order = NULL;
	int			lines,
				gaps = f->gaps;
	dlm_status	st = dl_eval_read(path, &all, &task, err);

	if (st == DLM_OK && task.kind != DL_EVAL_TEXT)
		st = dl_fail(err, DLM_EINVAL, "Lines of a .txt file, or JSON objects with a \"text\" alone.", "\"%.200s\" has no plain texts", path);
	if (st == DLM_OK)
		st = dl_eval_shuffle(&task, (uint32_t) f->run.engine.seed, &order, err);
	lines = st == DLM_OK ? task.row[task.n - 1].line + 1 : 0;
	for (int i = 0; st == DLM_OK && i < task.n && f->gaps - gaps < f->rows; i++)
	{
		const dl_eval_row *row = &task.row[order[i].row];

		if (row->line >= (int) (f->first * lines) && row->line < (int) (f->last * lines))
			st = add_gap(f, model, row, err);
	}
	free(order);
	dl_eval_free(&task);
	return st;
}

/* ---------------------------------------------------------------- points */

/* The gap's confidence at the first step: it is all revealed at once. A row that does not fit is left out. */
static dlm_status
take_trial(void *ctx, int i, const dlm_result *result, dlm_error *err)
{
	dl_fit	   *f = ctx;
	double		sum = 0;
	int			n = 0;

	if (result->error.status != DLM_OK)
		return DLM_OK;
	for (int k = 0; k < result->n_trace; k++)
		if (result->trace[k].step == 1 && result->trace[k].event == DLM_EVENT_REVEAL)
		{
			sum += dl_exp((double) result->trace[k].logprob);
			n++;
		}
	if (n > 0)
		f->trial[i].confidence = sum / n;
	return DLM_OK;
}

/* The points of wrong lengths that have gaps; their number. */
static int
gather_points(dl_fit *f)
{
	int			n = 0;

	for (int k = 0; k < N_TRIALS; k++)
	{
		dl_length_point *p = &f->point[n];

		*p = (dl_length_point) {.tokens = trials[k]};
		for (int i = 0; i < f->n; i++)
			if (f->trial[i].tokens == p->tokens && !f->trial[i].right && f->trial[i].confidence >= 0)
			{
				p->confidence += f->trial[i].confidence;
				p->gaps++;
			}
		if (p->gaps > 0)
		{
			p->confidence /= p->gaps;
			n++;
		}
	}
	return n;
}

/* Mean of confidence over curve, at the gaps' own lengths or at the others; *n of them. */
static double
mean_ratio(const dl_fit *f, const double curve[5], bool right, int *n)
{
	double		sum = 0;

	*n = 0;
	for (int i = 0; i < f->n; i++)
		if (f->trial[i].right == right && f->trial[i].confidence >= 0)
		{
			sum += f->trial[i].confidence / dl_length_curve_at(curve, f->trial[i].tokens);
			(*n)++;
		}
	return *n > 0 ? sum / *n : 0;
}

/* Run all trials; *n points are found. */
static dlm_status
measure(dl_fit *f, const dlm_model *model, int *n, dlm_error *err)
{
	dlm_request *requests = calloc((size_t) f->n + 1, sizeof(dlm_request));
	dlm_options *o = &f->run.engine.options;
	dlm_status	st = requests != NULL ? DLM_OK : dl_fail_memory(err);

	o->steps = 1;
	o->sampler.kind = DLM_SAMPLER_CONFIDENCE;
	for (int i = 0; i < f->n && st == DLM_OK; i++)
		requests[i] = (dlm_request) {.task = DLM_INFILL, .trace = true, .options = o,
			.input = {f->trial[i].template, strlen(f->trial[i].template)}};
	if (st == DLM_OK)
		st = dl_eval_drive(model, &f->run, requests, f->n, take_trial, f, err);
	free(requests);
	*n = st == DLM_OK ? gather_points(f) : 0;
	if (st == DLM_OK && *n < LEAST_POINTS)
		st = dl_fail(err, DLM_EINVAL, "Give more texts, of a dozen words or more.", "only %d lengths of %d gaps can be fitted", *n, f->gaps);
	return st;
}

/* ---------------------------------------------------------------- verb */

static void
print_fit(const dl_fit *f, int n, const double curve[5])
{
	int			right,
				wrong;
	double		at_right = mean_ratio(f, curve, true, &right),
				at_wrong = mean_ratio(f, curve, false, &wrong);

	printf("%d gaps\n%8s %8s %12s %8s\n", f->gaps, "tokens", "gaps", "confidence", "curve");
	for (int i = 0; i < n; i++)
		printf("%8d %8d %12.4f %8.4f\n", f->point[i].tokens, f->point[i].gaps, f->point[i].confidence,
			   dl_length_curve_at(curve, f->point[i].tokens));
	printf("confidence over curve: %.3f at the right length (%d), %.3f at wrong ones (%d)\n", at_right, right, at_wrong, wrong);
	printf("\"length_bias\": [%g, %g, %g, %g, %g]\n", curve[0], curve[1], curve[2], curve[3], curve[4]);
}

static int
fit_all(dl_fit *f)
{
	dl_cli_model m;
	dlm_error	err = {0};
	double		curve[5];
	int			n;
	dlm_status	st = dl_cli_open(f->args[0], &m, &err);

	for (int i = 1; i < f->n_args && st == DLM_OK; i++)
		st = add_file(f, m.model, f->args[i], &err);
	if (st == DLM_OK)
		st = measure(f, m.model, &n, &err);
	if (st == DLM_OK)
	{
		dl_length_curve_fit(f->point, n, curve);
		print_fit(f, n, curve);
		if (f->out != NULL)
			st = dl_restate(m.model, DL_S_LENGTH_BIAS, curve, sizeof(curve), f->out, &err);
	}
	for (int i = 0; i < f->n; i++)
		free(f->trial[i].template);
	free(f->trial);
	dl_cli_close(&m);
	return st == DLM_OK ? DL_EXIT_OK : dl_cli_fail(&err);
}

static dlm_status
check_line(dl_fit *f, dlm_error *err)
{
	if (f->n_args < 2)
		return dl_fail(err, DLM_EINVAL, "", "lengths needs a model and a file of texts");
	if (f->rows == 0 || f->most == 0)
		return dl_fail(err, DLM_EINVAL, "", "--rows and --most must be at least 1");
	if (dl_cli_part(f->part, &f->first, &f->last, err) != DLM_OK)
		return err->status;
	return dl_cli_engine_finish(&f->run.engine, err);
}

static int
parse_and_fit(dl_fit *f, int argc, char **argv)
{
	dl_cli_option options[] = {
		{"--rows", DL_CLI_INT, &f->rows, "gaps of each file, from texts chosen at random (default 100)"},
		{"--part", DL_CLI_STRING, &f->part, "A:B, the part of each file's lines to take, e.g. 0:0.95"},
		{"--most", DL_CLI_INT, &f->most, "tokens of the longest gap that is asked for (default 64)"},
		{"--seed", DL_CLI_INT, &f->run.engine.seed, "which texts, and which words of them"},
		{"--threads", DL_CLI_INT, &f->run.engine.threads, "threads (default: all)"},
		{"--memory", DL_CLI_INT, &f->run.engine.memory, "limit of all buffers in MB (default 1024)"},
		{"--out", DL_CLI_STRING, &f->out, "write the model with this curve to a new .dlm"},
		{0}
	};
	dlm_error	err = {0};
	bool		help;
	int			code = dl_cli_parse(argc, argv, "lengths MODEL.dlm TEXT.txt[.gz]|ROWS.jsonl[.gz]... [options]", options, f->args, MAX_FILES + 1,
									&f->n_args, &help);

	if (code != DL_EXIT_OK || help)
		return code;
	if (check_line(f, &err) != DLM_OK)
	{
		dl_cli_fail(&err);
		return DL_EXIT_USAGE;
	}
	return fit_all(f);
}

int
dl_cli_lengths(int argc, char **argv)
{
	dl_fit	   *f = calloc(1, sizeof(dl_fit));
	int			code;

	if (f == NULL)
		return DL_EXIT_FAILED;
	f->rows = 100;
	f->most = 64;
	code = parse_and_fit(f, argc, argv);
	free(f);
	return code;
}
