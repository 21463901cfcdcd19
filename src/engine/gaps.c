/*
 * gaps.c - parse and quote infill templates.
 *
 * Quoting has to hold wherever a quoted text is put: between other quoted
 * texts and between parts that the author of the template wrote, brackets
 * included. Inside a text "[MASK]" becomes "[[MASK]]" and "[MASK:" is torn
 * apart by the empty escape "[[MASK:]]"; the same escape goes in front of a
 * text that could complete a gap begun on its left ("[" || quote("MASK]")),
 * and behind one that could begin a gap (quote("[") || "MASK]").
 */
#include "gaps.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

#define OPEN		"[MASK"
#define OPEN_LEN	5
#define LITERAL		"[[MASK]]"
#define EMPTY		"[[MASK:]]"
#define SYNTAX_HINT	"Write a gap as [MASK], [MASK:5], [MASK:1-8], [MASK:name] or [MASK:name:1-8]. " \
	"Put user data through dlm_quote, or write [[MASK]] for the text itself."

static bool
starts(const char *s, const char *end, const char *what)
{
	size_t		n = strlen(what);

	return (size_t) (end - s) >= n && memcmp(s, what, n) == 0;
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* How much of a gap an error message shows. */
static int
shown(const char *s, const char *end)
{
	ptrdiff_t	n = end - s;

	if (n <= 40)
		return (int) n;
	n = 40;
	while (n > 0 && ((unsigned char) s[n] & 0xC0) == 0x80)
		n--;					/* never half a character */
	return (int) n;
}

/* Digits at *p -> number, capped above the largest legal one; -1 if there are none. */
static int
read_number(const char **p, const char *end)
{
	int			value = 0;

	if (*p == end || !is_digit(**p))
		return -1;
	for (; *p < end && is_digit(**p); (*p)++)
		if (value <= DL_MAX_GAP_TOKENS)
			value = value * 10 + (**p - '0');
	return value;
}

/* The inside of "[MASK:...]": s .. end. */
static dlm_status
parse_spec(const char *s, const char *end, dl_gap_spec *gap, dlm_error *err)
{
	const char *p = s;

	gap->min = gap->max = 1;
	if (p < end && is_letter(*p))
	{
		while (p < end && (is_letter(*p) || is_digit(*p) || *p == '_'))
			p++;
		gap->name = (dlm_text) {s, (size_t) (p - s)};
		if (p == end)
			return DLM_OK;
		if (*p++ != ':')
			p = end;			/* falls through to the error below */
	}
	gap->min = gap->max = read_number(&p, end);
	if (gap->min >= 0 && p < end && *p == '-')
	{
		p++;
		gap->max = read_number(&p, end);
	}
	if (gap->min < 0 || gap->max < 0 || p != end)
		return dl_fail(err, DLM_EINVAL, SYNTAX_HINT, "invalid gap \"[MASK:%.*s]\" in the template", shown(s, end), s);
	if (gap->min == 0 || gap->max == 0)
		return dl_fail(err, DLM_EINVAL, SYNTAX_HINT, "gap \"[MASK:%.*s]\" has no tokens", shown(s, end), s);
	if (gap->min > gap->max)
		return dl_fail(err, DLM_EINVAL, "Write the smaller number first.",
					   "gap \"[MASK:%.*s]\" has its range reversed", shown(s, end), s);
	if (gap->max > DL_MAX_GAP_TOKENS)
		return dl_fail(err, DLM_ETOOLONG, "", "gap \"[MASK:%.*s]\" is longer than %d tokens", shown(s, end), s,
					   DL_MAX_GAP_TOKENS);
	return DLM_OK;
}

/* A gap that begins at s; *next is set behind it. */
static dlm_status
parse_gap(const char *s, const char *end, dl_gap_spec *gap, const char **next, dlm_error *err)
{
	const char *inside = s + OPEN_LEN + 1;
	const char *close;

	memset(gap, 0, sizeof(*gap));
	gap->min = gap->max = 1;
	if (s[OPEN_LEN] == ']')
	{
		*next = inside;
		return DLM_OK;
	}
	close = memchr(inside, ']', (size_t) (end - inside));
	if (close == NULL)
		return dl_fail(err, DLM_EINVAL, SYNTAX_HINT, "unclosed gap \"%.*s\" in the template", shown(s, end), s);
	*next = close + 1;
	return parse_spec(inside, close, gap, err);
}

static bool
opens_gap(const char *s, const char *end)
{
	return starts(s, end, OPEN) && end - s > OPEN_LEN && (s[OPEN_LEN] == ']' || s[OPEN_LEN] == ':');
}

/* Sorted by name, so that doubled ones are neighbours. */
static int
compare_names(const void *a, const void *b)
{
	const dlm_text *x = &((const dl_gap_spec *) a)->name;
	const dlm_text *y = &((const dl_gap_spec *) b)->name;
	size_t		n = x->len < y->len ? x->len : y->len;
	int			c = n ? memcmp(x->data, y->data, n) : 0;

	return c ? c : (x->len > y->len) - (x->len < y->len);
}

static dlm_status
check_names(const dl_gaps *g, dl_arena *a, dlm_error *err)
{
	dl_mark		mark = dl_arena_mark(a);
	dl_gap_spec *sorted = dl_arena_copy(a, g->gap, (size_t) g->n * sizeof(*sorted));
	dlm_status	st = DLM_OK;

	if (sorted == NULL)
		return dl_fail_memory(err);
	qsort(sorted, (size_t) g->n, sizeof(*sorted), compare_names);
	for (int i = 1; i < g->n && st == DLM_OK; i++)
		if (sorted[i].name.len > 0 && compare_names(&sorted[i - 1], &sorted[i]) == 0)
			st = dl_fail(err, DLM_EINVAL, "Give each gap a name of its own.",
						 "gap name \"%.*s\" is used more than once",
						 shown(sorted[i].name.data, sorted[i].name.data + sorted[i].name.len), sorted[i].name.data);
	dl_arena_rewind(a, mark);
	return st;
}

static int
count_gaps(const char *s, const char *end)
{
	int			n = 0;

	for (; (s = memchr(s, '[', (size_t) (end - s))) != NULL; s++)
	{
		if (starts(s, end, LITERAL) || starts(s, end, EMPTY))
			s += OPEN_LEN + 1;	/* at its closing brackets: neither opens anything */
		else if (opens_gap(s, end))
			n++;
		if (n > DLM_MAX_GAPS)
			break;
	}
	return n;
}

dlm_status
dl_gaps_parse(dlm_text tmpl, dl_arena *a, dl_gaps *out, dlm_error *err)
{
	const char *s = tmpl.data;
	const char *end = s + tmpl.len;
	int			n = tmpl.len ? count_gaps(s, end) : 0;
	char	   *text,
			   *start;

	if (n == 0)
		return dl_fail(err, DLM_EINVAL, SYNTAX_HINT, "the template has no gap");
	if (n > DLM_MAX_GAPS)
		return dl_fail(err, DLM_ETOOLONG, "Fill the template in several calls.", "the template has more than %d gaps", DLM_MAX_GAPS);
	out->n = 0;
	out->gap = dl_arena_calloc(a, (size_t) n, sizeof(dl_gap_spec));
	out->piece = dl_arena_calloc(a, (size_t) n + 1, sizeof(dlm_text));
	text = start = dl_arena_alloc(a, tmpl.len);
	if (out->gap == NULL || out->piece == NULL || text == NULL)
		return dl_fail_memory(err);
	while (s < end)
	{
		if (starts(s, end, LITERAL))
		{
			memcpy(text, "[MASK]", 6);
			text += 6;
			s += sizeof(LITERAL) - 1;
		}
		else if (starts(s, end, EMPTY))
			s += sizeof(EMPTY) - 1;
		else if (opens_gap(s, end))
		{
			dlm_status	st = parse_gap(s, end, &out->gap[out->n], &s, err);

			if (st != DLM_OK)
				return st;
			out->piece[out->n++] = (dlm_text) {start, (size_t) (text - start)};
			start = text;
		}
		else
			*text++ = *s++;
	}
	out->piece[out->n] = (dlm_text) {start, (size_t) (text - start)};
	return check_names(out, a, err);
}

/* ---------------------------------------------------------------- quote */

/* Could this text, put behind an unfinished "[", "[M", ... "[MASK" or "[[MASK]", complete it? */
static bool
completes_left(const char *s, size_t n)
{
	for (size_t k = 1; k <= OPEN_LEN; k++)
	{
		const char *rest = OPEN + k;
		size_t		need = OPEN_LEN - k;

		if (n <= need && memcmp(s, rest, n) == 0)
			return true;
		if (n > need && memcmp(s, rest, need) == 0 && (s[need] == ']' || s[need] == ':'))
			return true;
	}
	return false;
}

/* Could a text put behind this one complete a gap that begins in it? */
static bool
opens_right(const char *s, size_t n)
{
	for (size_t k = 1; k <= OPEN_LEN && k <= n; k++)
		if (memcmp(s + n - k, OPEN, k) == 0)
			return true;
	return false;
}

static char *
put(char *out, const char *what, size_t n)
{
	memcpy(out, what, n);
	return out + n;
}

dlm_status
dlm_quote_template(dlm_text text, char **out, size_t *len, dlm_error *err)
{
	const char *s = text.data;
	const char *end = s + text.len;
	size_t		n_gaps = 0;
	char	   *p;

	for (size_t i = 0; i < text.len; i++)
		n_gaps += text.data[i] == '[' && opens_gap(text.data + i, end);
	if (text.len > SIZE_MAX / 16)
		return dl_fail_memory(err);
	/* an escape adds at most the 9 bytes of EMPTY; two more may stand at the ends */
	p = *out = malloc(text.len + (n_gaps + 2) * (sizeof(EMPTY) - 1) + 1);
	if (p == NULL)
		return dl_fail_memory(err);
	if (text.len > 0 && completes_left(s, text.len))
		p = put(p, EMPTY, sizeof(EMPTY) - 1);
	while (s < end)
	{
		if (*s != '[' || !opens_gap(s, end))
			*p++ = *s++;
		else if (s[OPEN_LEN] == ']')
		{
			p = put(p, LITERAL, sizeof(LITERAL) - 1);
			s += OPEN_LEN + 1;
		}
		else
		{
			*p++ = *s++;
			p = put(p, EMPTY, sizeof(EMPTY) - 1);
		}
	}
	if (text.len > 0 && opens_right(text.data, text.len))
		p = put(p, EMPTY, sizeof(EMPTY) - 1);
	*p = '\0';
	*len = (size_t) (p - *out);
	return DLM_OK;
}
