/*
 * cli_train_rows.c - rows of `dlm-model train` from files.
 */
#include "cli_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "status.h"

#define MOST_COLUMNS	64
#define MOST_LABELS		DLM_MAX_LABELS

typedef enum dl_form { FORM_JSONL, FORM_TSV, FORM_TEXT } dl_form;

typedef struct dl_reader
{
	dlm_train  *run;
	const char *path;
	const dl_train_choice *choice;
	dl_form		form;
	dl_lines	lines;
	int			source;
	int64_t		rows,
				skipped;
	char	   *column[MOST_COLUMNS];	/* names of a .tsv's columns, in its first line */
	int			n_columns;
	dlm_text	label[MOST_LABELS];
} dl_reader;

static dlm_text
line_at(const dl_reader *r, int64_t i)
{
	size_t		at = r->lines.start[i];
	size_t		len = r->lines.start[i + 1] - at - 1;

	if (len > 0 && r->lines.text[at + len - 1] == '\r')
		len--;
	return (dlm_text) {r->lines.text + at, len};
}

/* ------------------------------------------------------------------- forms */

/* A member that is a text, or is missing, or null. */
static dlm_status
member(const dl_reader *r, int64_t line, const cJSON *object, const char *key, dlm_text *out, dlm_error *err)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

	*out = (dlm_text) {0};
	if (v == NULL || cJSON_IsNull(v))
		return DLM_OK;
	if (!cJSON_IsString(v))
		return dl_fail(err, DLM_EINVAL, "", "\"%s\" of line %lld of \"%s\" is not a text", key, (long long) line, r->path);
	*out = (dlm_text) {v->valuestring, strlen(v->valuestring)};
	return DLM_OK;
}

/* Does a line of JSON hold the character 0, as it is or escaped? cJSON would end the text there. */
static bool
holds_zero(dlm_text line)
{
	bool		escaped = false;

	for (size_t i = 0; i < line.len; i++)
	{
		if (line.data[i] == '\0' || (escaped && line.len - i >= 5 && memcmp(line.data + i, "u0000", 5) == 0))
			return true;
		escaped = line.data[i] == '\\' && !escaped;
	}
	return false;
}

static bool
is_blank(dlm_text line)
{
	size_t		i = 0;

	while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
		i++;
	return i == line.len;
}

static dlm_status
labels_of(dl_reader *r, const cJSON *object, dlm_train_row *row, dlm_error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "labels"),
			   *label;

	if (list != NULL && !cJSON_IsNull(list) && !cJSON_IsArray(list))
		return dl_fail(err, DLM_EINVAL, "", "\"labels\" of line %lld of \"%s\" are not a list", (long long) row->key, r->path);
	cJSON_ArrayForEach(label, list)
	{
		if (!cJSON_IsString(label) || row->n_labels == MOST_LABELS)
			return dl_fail(err, DLM_EINVAL, "", "\"labels\" of line %lld of \"%s\" are not up to %d texts",
						   (long long) row->key, r->path, MOST_LABELS);
		r->label[row->n_labels++] = (dlm_text) {label->valuestring, strlen(label->valuestring)};
	}
	row->labels = row->n_labels > 0 ? r->label : NULL;
	return DLM_OK;
}

static bool
of_split(const dl_reader *r, dlm_text split)
{
	const char *wanted = r->choice->split;

	return wanted == NULL || split.data == NULL || (split.len == strlen(wanted) && memcmp(split.data, wanted, split.len) == 0);
}

static dlm_status
add_row(dl_reader *r, const dlm_train_row *row, dlm_error *err)
{
	dlm_status	st = dlm_train_add(r->run, r->source, row, err);

	if (st == DLM_OK)
		r->rows++;
	else if (st == DLM_ETOOLONG && r->choice->skip_long)
	{
		r->skipped++;
		st = DLM_OK;
	}
	else
	{
		dlm_error	why = *err;

		dl_fail(err, st, why.hint, "\"%s\": %s", r->path, why.message);
	}
	return st;
}

static dlm_status
add_object(dl_reader *r, const cJSON *object, dlm_train_row *row, dlm_error *err)
{
	const struct
	{
		const char *key;
		dlm_text   *to;
	}			members[] = {
		{"instruction", &row->instruction}, {"input", &row->input}, {"target", &row->target}, {"text", &row->text}
	};
	dlm_text	split;
	dlm_status	st = member(r, row->key, object, "split", &split, err);

	if (st == DLM_OK && !of_split(r, split))
		return DLM_OK;
	for (int i = 0; i < 4 && st == DLM_OK; i++)
		st = member(r, row->key, object, members[i].key, members[i].to, err);
	if (st == DLM_OK)
		st = labels_of(r, object, row, err);
	return st == DLM_OK ? add_row(r, row, err) : st;
}

static dlm_status
add_json(dl_reader *r, int64_t i, dlm_error *err)
{
	dlm_text	line = line_at(r, i);
	dlm_train_row row = {.key = i + 1};
	cJSON	   *object;
	char		what[300];
	dlm_status	st;

	if (is_blank(line))
		return DLM_OK;
	snprintf(what, sizeof(what), "line %lld of \"%.240s\"", (long long) i + 1, r->path);
	st = dl_json_parse(line.data, line.len, what, &object, err);
	if (st != DLM_OK)
		return st;
	if (!cJSON_IsObject(object))
		st = dl_fail(err, DLM_EINVAL, "", "%s is not a JSON object", what);
	else if (holds_zero(line))
		st = dl_fail(err, DLM_EENCODING, "", "%s holds the character U+0000", what);
	else
		st = add_object(r, object, &row, err);
	cJSON_Delete(object);
	return st;
}

static void
set_column(dlm_train_row *row, dlm_text *split, const char *name, dlm_text value)
{
	if (value.len == 0)
		return;
	if (strcmp(name, "instruction") == 0)
		row->instruction = value;
	else if (strcmp(name, "input") == 0)
		row->input = value;
	else if (strcmp(name, "target") == 0)
		row->target = value;
	else if (strcmp(name, "text") == 0)
		row->text = value;
	else if (strcmp(name, "split") == 0)
		*split = value;
}

/* The columns of a line, one after the other; how many there are, of which the first are in column [MOST_COLUMNS]. */
static int
split_columns(dlm_text line, dlm_text *column)
{
	int			n = 0;
	const char *end = line.data + line.len;

	for (const char *at = line.data; at <= end; n++)
	{
		const char *tab = memchr(at, '\t', (size_t) (end - at));
		const char *stop = tab != NULL ? tab : end;

		if (n < MOST_COLUMNS)
			column[n] = (dlm_text) {at, (size_t) (stop - at)};
		at = stop + 1;
	}
	return n;
}

static dlm_status
read_columns(dl_reader *r, dlm_error *err)
{
	dlm_text	column[MOST_COLUMNS];
	dlm_train_row row = {0};
	dlm_text	split;
	int			n;

	if (r->lines.n == 0)
		return dl_fail(err, DLM_EINVAL, "", "\"%s\" is empty", r->path);
	n = split_columns(line_at(r, 0), column);
	if (n > MOST_COLUMNS)
		return dl_fail(err, DLM_EINVAL, "", "\"%s\" has more than %d columns", r->path, MOST_COLUMNS);
	for (int i = 0; i < n; i++)
	{
		r->n_columns = i + 1;
		r->column[i] = strndup(column[i].data, column[i].len);
		if (r->column[i] == NULL)
			return dl_fail_memory(err);
		set_column(&row, &split, r->column[i], (dlm_text) {"x", 1});
	}
	if (row.target.data == NULL && row.text.data == NULL)
		return dl_fail(err, DLM_EINVAL, "The first line names the columns: instruction, input, target; or text.",
					   "\"%s\" has neither a column \"target\" nor \"text\"", r->path);
	return DLM_OK;
}

static dlm_status
add_tsv(dl_reader *r, int64_t i, dlm_error *err)
{
	dlm_text	column[MOST_COLUMNS];
	dlm_text	split = {0};
	dlm_train_row row = {.key = i + 1};
	int			n = split_columns(line_at(r, i), column);

	if (n != r->n_columns)
		return dl_fail(err, DLM_EINVAL, "", "line %lld of \"%s\" has %d columns, the first has %d", (long long) i + 1, r->path,
					   n, r->n_columns);
	for (int c = 0; c < n; c++)
		set_column(&row, &split, r->column[c], column[c]);
	return of_split(r, split) ? add_row(r, &row, err) : DLM_OK;
}

static dlm_status
add_text(dl_reader *r, int64_t i, dlm_error *err)
{
	dlm_train_row row = {.text = line_at(r, i), .key = i + 1};

	return is_blank(row.text) ? DLM_OK : add_row(r, &row, err);
}

/* -------------------------------------------------------------------- files */

static bool
form_of(const char *path, dl_form *form)
{
	static const char *const endings[] = {".jsonl", ".tsv", ".txt"};
	size_t		len = strlen(path);

	if (len > 3 && strcmp(path + len - 3, ".gz") == 0)
		len -= 3;
	for (int i = 0; i < 3; i++)
	{
		size_t		n = strlen(endings[i]);

		if (len > n && strncmp(path + len - n, endings[i], n) == 0)
		{
			*form = (dl_form) i;
			return true;
		}
	}
	return false;
}

bool
dl_train_is_text(const char *path)
{
	dl_form		form;

	return form_of(path, &form) && form == FORM_TEXT;
}

static dlm_status
add_lines(dl_reader *r, dlm_error *err)
{
	static dlm_status (*const add[]) (dl_reader *, int64_t, dlm_error *) = {add_json, add_tsv, add_text};
	int64_t		begin = r->form == FORM_TSV;
	int64_t		n = r->lines.n > begin ? r->lines.n - begin : 0;
	int64_t		first = (int64_t) floor(r->choice->first * (double) n);
	int64_t		last = (int64_t) floor(r->choice->last * (double) n);
	int64_t		take = r->choice->most > 0 && r->choice->most < last - first ? r->choice->most : last - first;
	dlm_status	st = r->form == FORM_TSV ? read_columns(r, err) : DLM_OK;

	for (int64_t i = 0; i < take && st == DLM_OK; i++)
		st = add[r->form] (r, begin + first + (int64_t) ((double) i * (double) (last - first) / (double) take), err);
	return st;
}

dlm_status
dl_train_read(dlm_train *run, const char *path, const dl_train_choice *choice, int source, int64_t *rows, int64_t *skipped,
			  dlm_error *err)
{
	dl_reader  *r = calloc(1, sizeof(*r));
	dlm_status	st;

	if (r == NULL)
		return dl_fail_memory(err);
	r->run = run;
	r->path = path;
	r->choice = choice;
	r->source = source;
	if (!form_of(path, &r->form))
		st = dl_fail(err, DLM_EINVAL, "Rows are read from .jsonl, .tsv and .txt, each also with .gz.",
					 "cannot tell what kind of file \"%s\" is", path);
	else
		st = dl_lines_read(path, &r->lines, err);
	if (st == DLM_OK)
		st = add_lines(r, err);
	*rows = r->rows;
	*skipped = r->skipped;
	for (int i = 0; i < r->n_columns; i++)
		free(r->column[i]);
	dl_lines_free(&r->lines);
	free(r);
	return st;
}
