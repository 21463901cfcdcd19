/*
 * template.c - fill the holes of a row's template and tokenise it.
 *
 * One walk from left to right. Ordinary text, the template's own and that of
 * its holes, gathers in a buffer; a special token, the canvas hole or the end
 * of the template flushes it, so that everything between two of those is
 * tokenised as one text. The values of holes only ever reach that buffer,
 * which is encoded as ordinary text: no value can become a special token.
 *
 * A piece of text at the start of the row or behind a special token is a text
 * of its own (DL_TOK_START); one behind the canvas goes on after it.
 *
 * Braces: {name}, {?name} and {/name} with a name of letters or `_` are holes
 * and conditions, and an unknown name is an error; {{name}} stands for the
 * text "{name}"; any other brace, as in {"a": 1}, is text.
 */
#include "template.h"
#include "status.h"

#include <stddef.h>
#include <string.h>

#define MAX_NAME	24			/* letters of a hole's name; longer ones are text */
#define MAX_NESTED	8			/* conditions inside conditions */
#define N_HOLES		7

static const struct
{
	const char *name;
	size_t		offset;			/* in dl_holes */
	bool		required;		/* if a value is given, the template must have the hole */
} known_holes[N_HOLES] = {
	{"prompt", offsetof(dl_holes, prompt), true},
	{"instruction", offsetof(dl_holes, instruction), false},
	{"input", offsetof(dl_holes, input), true},
	{"labels", offsetof(dl_holes, labels), false},
	{"descriptions", offsetof(dl_holes, descriptions), false},
	{"examples", offsetof(dl_holes, examples), false},
	{"text", offsetof(dl_holes, text), true},
};

typedef struct filler
{
	const dlm_model *model;
	const dl_holes *holes;
	dl_arena   *arena;
	const dlm_env *env;
	dl_filled  *out;
	bool		own;
	dl_ids	   *ids;			/* out->head, then out->tail */
	bool		fresh;			/* the next piece of text begins a text of its own */
	char	   *text;			/* ordinary text not yet tokenised, an arena block */
	size_t		n,
				capacity;
	int			open[MAX_NESTED];	/* hole of each open condition */
	int			n_open;
	int			n_skipped;		/* open conditions whose hole is empty */
	bool		seen[N_HOLES];
} filler;

typedef enum brace_kind { BRACE_TEXT, BRACE_HOLE, BRACE_IF, BRACE_END, BRACE_ESCAPED } brace_kind;

typedef struct brace
{
	brace_kind	kind;
	dlm_text	name;
	size_t		len;			/* bytes of the whole construct */
} brace;

static dlm_text
hole_value(const filler *f, int hole)
{
	return *(const dlm_text *) ((const char *) f->holes + known_holes[hole].offset);
}

/* hint = "... {a}, {b}, ...": appends text; what does not fit is left out. */
static void
add_hint(char *hint, size_t cap, const char *text)
{
	size_t		at = strlen(hint);
	size_t		len = strlen(text);

	if (at + len < cap)
		memcpy(hint + at, text, len + 1);
}

/* A fault in the template: the user's, or damage of the model's file (whose content is not quoted). */
static dlm_status
fail_template(const filler *f, dlm_error *err, const char *what, dlm_text name)
{
	char		hint[sizeof(err->hint)] = "The holes of this template are ";

	if (f->own)
		return dl_fail(err, DLM_EDAMAGED, "", "damaged template in the model: %s", what);
	for (int i = 0; i < N_HOLES; i++)
		if (hole_value(f, i).data != NULL)
		{
			add_hint(hint, sizeof(hint), "{");
			add_hint(hint, sizeof(hint), known_holes[i].name);
			add_hint(hint, sizeof(hint), "}, ");
		}
	add_hint(hint, sizeof(hint), "{canvas} or {label}; write {{name}} for the text \"{name}\".");
	if (name.len == 0)
		return dl_fail(err, DLM_EINVAL, hint, "invalid template: %s", what);
	return dl_fail(err, DLM_EINVAL, hint, "invalid template: %s \"%.*s\"", what, (int) name.len, name.data);
}

static const dlm_text no_name = {NULL, 0};

static dlm_status
put_text(filler *f, dlm_text text, dlm_error *err)
{
	if (text.len == 0)
		return DLM_OK;
	if (text.len > SIZE_MAX / 4 - f->n)
		return dl_fail_memory(err);
	if (f->n + text.len > f->capacity)
	{
		size_t		capacity = f->capacity ? f->capacity : 256;
		char	   *grown;

		while (capacity < f->n + text.len)
			capacity *= 2;
		grown = dl_arena_block(f->arena, capacity);
		if (grown == NULL)
			return dl_fail_memory(err);
		if (f->n > 0)
			memcpy(grown, f->text, f->n);
		dl_arena_block_free(f->arena, f->text);
		f->text = grown;
		f->capacity = capacity;
	}
	memcpy(f->text + f->n, text.data, text.len);
	f->n += text.len;
	return DLM_OK;
}

/* Tokenise the gathered text. */
static dlm_status
flush_text(filler *f, dlm_error *err)
{
	dlm_text	text = {f->text, f->n};

	if (f->n == 0)
		return DLM_OK;
	f->n = 0;
	return dl_tok_encode(f->model->tok, text, f->fresh ? DL_TOK_START : DL_TOK_CONTINUE, f->arena, f->env, f->ids,
						 err);
}

static dlm_status
put_special(filler *f, const int32_t *id, int n, dlm_error *err)
{
	dlm_status	st = flush_text(f, err);

	if (st != DLM_OK)
		return st;
	f->fresh = true;
	return dl_ids_append(f->ids, f->arena, id, n, err);
}

/* The canvas starts here: one space just before it belongs to it. */
static dlm_status
split_row(filler *f, dlm_error *err)
{
	dlm_status	st;

	if (f->n > 0 && f->text[f->n - 1] == ' ')
	{
		f->n--;
		f->out->space = true;
	}
	st = flush_text(f, err);
	f->ids = &f->out->tail;
	f->fresh = false;
	return st;
}

static bool
name_is(dlm_text name, const char *known)
{
	return name.len == strlen(known) && memcmp(name.data, known, name.len) == 0;
}

static size_t
name_length(const char *s, size_t len)
{
	size_t		n = 0;

	while (n < len && ((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_'))
		n++;
	return n;
}

/* What the brace at s[0] begins. */
static brace
read_brace(const char *s, size_t len)
{
	brace		b = {BRACE_TEXT, {NULL, 0}, 1};
	bool		twice = len > 1 && s[1] == '{';
	char		mark = len > 1 && (s[1] == '?' || s[1] == '/') ? s[1] : 0;
	size_t		start = twice || mark ? 2 : 1;
	size_t		n = len > start ? name_length(s + start, len - start) : 0;

	if (n == 0 || n > MAX_NAME || start + n >= len || s[start + n] != '}')
		return b;
	if (twice)
	{
		if (start + n + 1 < len && s[start + n + 1] == '}')
		{
			b.kind = BRACE_ESCAPED;
			b.name = (dlm_text) {s + 1, n + 2};
			b.len = n + 4;
		}
		return b;
	}
	b.kind = mark == '?' ? BRACE_IF : mark == '/' ? BRACE_END : BRACE_HOLE;
	b.name = (dlm_text) {s + start, n};
	b.len = start + n + 1;
	return b;
}

/* Index of the hole of that name, -1 if there is none here. */
static int
find_hole(const filler *f, dlm_text name)
{
	for (int i = 0; i < N_HOLES; i++)
		if (name_is(name, known_holes[i].name) && hole_value(f, i).data != NULL)
			return i;
	return -1;
}

static dlm_status
open_condition(filler *f, int hole, dlm_error *err)
{
	if (f->n_open == MAX_NESTED)
		return fail_template(f, err, "conditions are nested too deep", no_name);
	f->open[f->n_open++] = hole;
	if (hole_value(f, hole).len == 0)
		f->n_skipped++;
	return DLM_OK;
}

static dlm_status
close_condition(filler *f, int hole, dlm_text name, dlm_error *err)
{
	if (f->n_open == 0 || f->open[f->n_open - 1] != hole)
		return fail_template(f, err, "end of a condition that is not open", name);
	f->n_open--;
	if (hole_value(f, hole).len == 0)
		f->n_skipped--;
	return DLM_OK;
}

static dlm_status
put_brace(filler *f, const brace *b, dlm_error *err)
{
	int			hole;

	if (b->kind == BRACE_HOLE && (name_is(b->name, "canvas") || name_is(b->name, "label")))
	{
		if (f->out->has_canvas)
			return fail_template(f, err, "more than one canvas", no_name);
		if (f->n_open > 0)
			return fail_template(f, err, "a canvas inside a condition", no_name);
		f->out->has_canvas = true;
		return split_row(f, err);
	}
	hole = find_hole(f, b->name);
	if (hole < 0)
		return fail_template(f, err, "unknown hole", b->name);
	if (b->kind == BRACE_IF)
		return open_condition(f, hole, err);
	if (b->kind == BRACE_END)
		return close_condition(f, hole, b->name, err);
	f->seen[hole] = true;
	return f->n_skipped > 0 ? DLM_OK : put_text(f, hole_value(f, hole), err);
}

/* Put what stands at the front of the rest of the template; *used gets its length. */
static dlm_status
put_next(filler *f, dlm_text rest, size_t *used, dlm_error *err)
{
	size_t		len = 0;
	int32_t		id = f->own ? dl_tok_special_at(f->model->tok, rest, &len) : -1;
	dlm_text	plain = {rest.data, 1};

	if (id >= 0 && len > 0)
	{
		*used = len;
		return f->n_skipped > 0 ? DLM_OK : put_special(f, &id, 1, err);
	}
	if (rest.data[0] == '{')
	{
		brace		b = read_brace(rest.data, rest.len);

		*used = b.len;
		if (b.kind == BRACE_ESCAPED)
			plain = b.name;
		else if (b.kind != BRACE_TEXT)
			return put_brace(f, &b, err);
		return f->n_skipped > 0 ? DLM_OK : put_text(f, plain, err);
	}
	if (!f->own)				/* no special tokens: take all up to the next brace at once */
	{
		const char *next = memchr(rest.data, '{', rest.len);

		plain.len = next != NULL ? (size_t) (next - rest.data) : rest.len;
	}
	*used = plain.len;
	return f->n_skipped > 0 ? DLM_OK : put_text(f, plain, err);
}

static dlm_status
fill_row(filler *f, dlm_text tmpl, dlm_error *err)
{
	const dl_settings *set = &f->model->settings;
	dlm_status	st = f->own ? DLM_OK : dl_ids_append(f->ids, f->arena, set->begin, set->n_begin, err);

	for (size_t at = 0, used = 0; st == DLM_OK && at < tmpl.len; at += used)
		st = put_next(f, (dlm_text) {tmpl.data + at, tmpl.len - at}, &used, err);
	if (st != DLM_OK)
		return st;
	if (f->n_open > 0)
		return fail_template(f, err, "a condition is not closed", no_name);
	for (int i = 0; i < N_HOLES; i++)
		if (known_holes[i].required && !f->seen[i] && hole_value(f, i).data != NULL)
			return fail_template(f, err, "missing hole", (dlm_text) {known_holes[i].name, strlen(known_holes[i].name)});
	st = f->out->has_canvas ? flush_text(f, err) : split_row(f, err);
	if (st != DLM_OK || f->own)
		return st;
	return dl_ids_append(f->ids, f->arena, set->end, set->n_end, err);
}

dlm_status
dl_template_fill(const dlm_model *model, dlm_text tmpl, bool own, const dl_holes *holes, dl_arena *a,
				 const dlm_env *env, dl_filled *out, dlm_error *err)
{
	filler		f = {.model = model, .holes = holes, .arena = a, .env = env, .out = out, .own = own, .fresh = true};
	dlm_status	st;

	memset(out, 0, sizeof(*out));
	f.ids = &out->head;
	st = fill_row(&f, tmpl, err);
	dl_arena_block_free(a, f.text);
	return st;
}

/* The first byte of the character that byte `at` lies in. */
static size_t
character_start(const char *s, size_t at)
{
	while (at > 0 && ((unsigned char) s[at] & 0xC0) == 0x80)
		at--;
	return at;
}

/* One row to be fitted: what dl_template_fill needs. */
typedef struct fitting
{
	const dlm_model *model;
	dlm_text	tmpl;
	bool		own;
	dl_holes   *holes;
	dlm_text   *shorten;
	dl_arena   *arena;
	dl_mark		mark;
	const dlm_env *env;
	dl_filled  *out;
} fitting;

/* Fill with the first `len` bytes of the text; *n gets the row's tokens. */
static dlm_status
fill_shortened(fitting *f, size_t len, int *n, dlm_error *err)
{
	dlm_status	st;

	dl_arena_rewind(f->arena, f->mark);
	f->shorten->len = len;
	st = dl_template_fill(f->model, f->tmpl, f->own, f->holes, f->arena, f->env, f->out, err);
	*n = f->out->head.n + f->out->tail.n;
	return st;
}

/* The longest prefix that bisection finds. Lengths halve, so all texts tokenised sum up to about twice the first. */
static dlm_status
shorten_row(fitting *f, int room, dlm_error *err)
{
	const char *s = f->shorten->data;
	size_t		fits = 0;
	size_t		over = f->shorten->len;
	int			n;
	dlm_status	st = fill_shortened(f, 0, &n, err);

	if (st == DLM_OK && n > room)
		return dl_fail(err, DLM_ETOOLONG, "",
					   "row has %d tokens even without its text, but the model's context leaves room for %d",
					   n, room > 0 ? room : 0);
	while (st == DLM_OK)
	{
		size_t		middle = character_start(s, fits + (over - fits) / 2);

		if (middle <= fits)		/* over is fits or the end of the character there */
			break;
		st = fill_shortened(f, middle, &n, err);
		if (n <= room)
			fits = middle;
		else
			over = middle;
	}
	return st == DLM_OK ? fill_shortened(f, fits, &n, err) : st;
}

static dlm_status
fail_too_long(long long tokens, int room, dlm_error *err)
{
	return dl_fail(err, DLM_ETOOLONG,
				   "Shorten the text, or set the option on_overflow to \"truncate\" or \"null\".",
				   "row has %lld tokens, but the model's context leaves room for %d", tokens, room > 0 ? room : 0);
}

dlm_status
dl_template_fit(const dlm_model *model, dlm_text tmpl, bool own, dl_holes *holes, dlm_text *shorten, int room,
				dlm_overflow overflow, dl_arena *a, const dlm_env *env, dl_filled *out, dlm_error *err)
{
	fitting		f = {model, tmpl, own, holes, shorten, a, dl_arena_mark(a), env, out};
	dlm_text	whole = *shorten;
	int			n;
	dlm_status	st = fill_shortened(&f, whole.len, &n, err);

	if (st != DLM_OK || n <= room)
		return st;
	if (overflow != DLM_OVERFLOW_TRUNCATE || whole.len == 0)
		return fail_too_long(n, room, err);
	st = shorten_row(&f, room, err);
	if (st != DLM_OK)
		*shorten = whole;
	return st;
}

dlm_status
dl_template_plain(const dlm_model *model, dlm_text text, dlm_overflow overflow, dl_arena *a, const dlm_env *env,
				  dl_ids *ids, int *first, int *last, dlm_error *err)
{
	const dl_settings *set = &model->settings;
	int			context = (int) model->config.context;
	int			room = context - set->n_begin - set->n_end;
	dlm_status	st;

	memset(ids, 0, sizeof(*ids));
	st = dl_ids_append(ids, a, set->begin, set->n_begin, err);
	if (st != DLM_OK)
		return st;
	*first = ids->n;
	if (text.len > 0)
		st = dl_tok_encode(model->tok, text, DL_TOK_START, a, env, ids, err);
	if (st != DLM_OK)
		return st;
	if (ids->n - *first > room)
	{
		if (overflow != DLM_OVERFLOW_TRUNCATE || room < 1)
			return fail_too_long((long long) ids->n + set->n_end, context, err);
		ids->n = *first + room;
	}
	*last = ids->n;
	return dl_ids_append(ids, a, set->end, set->n_end, err);
}
