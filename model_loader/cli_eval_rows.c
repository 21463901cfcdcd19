/*
 * cli_eval_rows.c - rows of dlm-model eval from JSON lines or plain text.
 *
 * A row is a JSON object a line; a file may be gzipped (read through the gzip
 * program, so that no library is needed for it). Its kind by its keys:
 *
 *		labels, target					classification, with instruction and input
 *		text or template, answer		infill; gaps are [MASK...]; answer is a text or one a gap
 *		text, gap [start, end)			infill; that part of the text, counted in characters, is asked for
 *		target							generation, with instruction and input
 *		text							text alone; so is each line of a file named .txt
 */
#include "cli_eval.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.h"

static dlm_text
text_of(const cJSON *v)
{
	return cJSON_IsString(v) ? (dlm_text) {v->valuestring, strlen(v->valuestring)} : (dlm_text) {"", 0};
}

static const cJSON *
member(const dl_eval_row *r, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(r->json, key);
}

/* The strings of an array, or one string, into r->texts; false if there are others or none. */
static bool
read_texts(dl_eval_row *r, const cJSON *list)
{
	int			n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : cJSON_IsString(list) ? 1 : 0;

	r->texts = n > 0 ? calloc((size_t) n, sizeof(dlm_text)) : NULL;
	if (r->texts == NULL)
		return false;
	for (const cJSON *item = cJSON_IsArray(list) ? list->child : list; r->n_texts < n; item = item->next)
	{
		if (!cJSON_IsString(item))
			return false;
		r->texts[r->n_texts++] = text_of(item);
	}
	return true;
}

static bool
read_labels(dl_eval_row *r)
{
	const cJSON *target = member(r, "target");

	r->kind = DL_EVAL_LABELS;
	r->target = -1;
	r->instruction = text_of(member(r, "instruction"));
	r->input = text_of(member(r, "input"));
	if (!cJSON_IsString(target) || !read_texts(r, member(r, "labels")))
		return false;
	for (int i = r->n_texts - 1; i >= 0; i--)
		if (strcmp(r->texts[i].data, target->valuestring) == 0)
			r->target = i;
	return r->target >= 0;
}

/* The byte at which character `place` of a text begins; beyond the text: its length + 1. */
static size_t
byte_of(dlm_text t, double place)
{
	double		character = 0;

	for (size_t at = 0; at < t.len; at++)
		if (((unsigned char) t.data[at] & 0xC0) != 0x80 && character++ == place)
			return at;
	return place == character ? t.len : t.len + 1;
}

static dlm_status
read_gap(dl_eval_row *r, const cJSON *gap, const char *what, dlm_error *err)
{
	const cJSON *start = cJSON_GetArrayItem(gap, 0),
			   *end = cJSON_GetArrayItem(gap, 1);

	r->has_gap = true;
	if (cJSON_IsNumber(start) && cJSON_IsNumber(end) && cJSON_GetArraySize(gap) == 2)
	{
		r->gap_start = byte_of(r->input, start->valuedouble);
		r->gap_end = byte_of(r->input, end->valuedouble);
		if (r->gap_start < r->gap_end && r->gap_end <= r->input.len)
			return DLM_OK;
	}
	return dl_fail(err, DLM_EDAMAGED, "A gap is [start, end), characters of the text counted from 0.",
				   "%s: gap is no part of the text", what);
}

/* Prompt of a row: instruction and input, a line each, as the classify template has them. */
static bool
read_prompt(dl_eval_row *r)
{
	dlm_text	instruction = text_of(member(r, "instruction")),
				input = text_of(member(r, "input"));
	bool		both = instruction.len > 0 && input.len > 0;

	r->kind = DL_EVAL_GENERATION;
	r->answer = text_of(member(r, "target"));
	r->input = instruction.len > 0 ? instruction : input;
	if (!both)
		return r->input.len > 0;
	r->owned = malloc(instruction.len + input.len + 2);
	if (r->owned == NULL)
		return false;
	memcpy(r->owned, instruction.data, instruction.len);
	r->owned[instruction.len] = '\n';
	memcpy(r->owned + instruction.len + 1, input.data, input.len + 1);
	r->input = (dlm_text) {r->owned, instruction.len + input.len + 1};
	return true;
}

/* What a row asks for; *usable: it asks for something. */
static dlm_status
read_row(dl_eval_row *r, const char *what, bool *usable, dlm_error *err)
{
	const cJSON *text = member(r, "text"),
			   *labels = member(r, "labels"),
			   *gap = member(r, "gap");

	if (!cJSON_IsString(text))
		text = member(r, "template");
	if (!cJSON_IsObject(r->json))
		return dl_fail(err, DLM_EDAMAGED, "", "%s is not a JSON object", what);
	if (cJSON_IsArray(labels) && labels->child != NULL)
		*usable = read_labels(r);
	else if (cJSON_IsString(text))
	{
		r->input = text_of(text);
		*usable = r->input.len > 0;
		r->kind = DL_EVAL_TEXT;
		if (member(r, "answer") == NULL && gap == NULL)
			return DLM_OK;
		r->kind = DL_EVAL_INFILL;
		if (gap != NULL)
			return read_gap(r, gap, what, err);
		*usable = read_texts(r, member(r, "answer"));
	}
	else
		*usable = cJSON_IsString(member(r, "target")) && read_prompt(r);
	return DLM_OK;
}

static void
free_row(dl_eval_row *r)
{
	cJSON_Delete(r->json);
	free(r->owned);
	free(r->texts);
}

static dlm_status
add_row(dl_eval_task *task, const dl_eval_row *r, dlm_error *err)
{
	if (task->n == task->capacity)
	{
		int			capacity = task->capacity ? task->capacity * 2 : 1024;
		dl_eval_row *grown = realloc(task->row, (size_t) capacity * sizeof(dl_eval_row));

		if (grown == NULL)
			return dl_fail_memory(err);
		task->row = grown;
		task->capacity = capacity;
	}
	task->row[task->n++] = *r;
	return DLM_OK;
}

static dlm_status
read_line(dl_eval_task *task, const char *line, size_t len, int number, bool plain, dlm_error *err)
{
	dl_eval_row r = {.line = number, .kind = DL_EVAL_TEXT};
	char		what[280];
	bool		usable = true;
	dlm_status	st = DLM_OK;

	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	if (len == 0)
		return DLM_OK;
	snprintf(what, sizeof(what), "line %d of \"%.200s\"", number + 1, task->path);
	if (plain)
	{
		r.owned = malloc(len);
		if (r.owned == NULL)
			return dl_fail_memory(err);
		r.input = (dlm_text) {memcpy(r.owned, line, len), len};
	}
	else
	{
		st = dl_json_parse(line, len, what, &r.json, err);
		if (st == DLM_OK)
			st = read_row(&r, what, &usable, err);
	}
	if (st == DLM_OK && usable && (task->n == 0 || r.kind == task->kind))
	{
		task->kind = r.kind;
		st = add_row(task, &r, err);
		if (st == DLM_OK)
			return st;
	}
	else if (st == DLM_OK)
		task->skipped++;
	free_row(&r);
	return st;
}

static dlm_status
read_lines(FILE *f, bool plain, int limit, dl_eval_task *task, dlm_error *err)
{
	char	   *line = NULL;
	size_t		capacity = 0;
	ssize_t		n;
	dlm_status	st = DLM_OK;

	for (int i = 0; st == DLM_OK && (limit == 0 || task->n < limit) && (n = getline(&line, &capacity, f)) > 0; i++)
		st = read_line(task, line, (size_t) n, i, plain, err);
	free(line);
	return st;
}

/* "folder/name.jsonl.gz" -> "name"; *ending without .gz. */
static void
name_task(dl_eval_task *task, bool *gzipped, bool *plain)
{
	const char *slash = strrchr(task->path, '/');
	char	   *dot;

	snprintf(task->name, sizeof(task->name), "%s", slash ? slash + 1 : task->path);
	dot = strrchr(task->name, '.');
	*gzipped = dot != NULL && strcmp(dot, ".gz") == 0;
	if (*gzipped)
		*dot = '\0';
	dot = strrchr(task->name, '.');
	*plain = dot != NULL && strcmp(dot, ".txt") == 0;
	if (dot != NULL && dot != task->name)
		*dot = '\0';
}

static int
compare_places(const void *a, const void *b)
{
	const dl_eval_place *x = a,
			   *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : x->row - y->row;
}

dlm_status
dl_eval_shuffle(const dl_eval_task *task, uint32_t seed, dl_eval_place **out, dlm_error *err)
{
	dl_eval_place *order = calloc((size_t) task->n, sizeof(*order));

	*out = order;
	if (order == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < task->n; i++)
		order[i] = (dl_eval_place) {dl_eval_order((uint32_t) task->row[i].line, seed), i};
	qsort(order, (size_t) task->n, sizeof(*order), compare_places);
	return DLM_OK;
}

/* Keep the first `rows` of the random order of a seed, in the file's order. */
static dlm_status
choose_rows(dl_eval_task *task, int rows, uint32_t seed, dlm_error *err)
{
	dl_eval_place *order;
	int			kept = 0;
	dlm_status	st;

	if (rows == 0 || rows >= task->n)
		return DLM_OK;
	st = dl_eval_shuffle(task, seed, &order, err);
	if (st != DLM_OK)
		return st;
	for (int i = 0; i < task->n; i++)
	{
		dl_eval_place here = {dl_eval_order((uint32_t) task->row[i].line, seed), i};

		if (compare_places(&here, &order[rows]) < 0)
			task->row[kept++] = task->row[i];
		else
			free_row(&task->row[i]);
	}
	free(order);
	task->n = kept;
	return DLM_OK;
}

dlm_status
dl_eval_read(const char *path, const dl_eval_choice *choice, dl_eval_task *task, dlm_error *err)
{
	pid_t		child = 0;
	int			status = 0;
	FILE	   *f;
	dlm_status	st;
	bool		gzipped,
				plain,
				whole;

	*task = (dl_eval_task) {.path = path};
	name_task(task, &gzipped, &plain);
	if (gzipped && access(path, R_OK) == 0)
	{
		int			fd = dl_cli_gunzip(path, &child);

		f = fd >= 0 ? fdopen(fd, "r") : NULL;
	}
	else
		f = fopen(path, "r");
	if (f == NULL)
		return dl_fail(err, DLM_ENOENT, "", "could not open \"%.200s\"", path);
	st = read_lines(f, plain, choice->limit, task, err);
	whole = feof(f) != 0;
	fclose(f);
	/* a limit closes the pipe early: gzip then ends by SIGPIPE, which is no fault of the file */
	if (child > 0 && waitpid(child, &status, 0) == child && whole && status != 0 && st == DLM_OK)
		st = dl_fail(err, DLM_EDAMAGED, "", "could not unpack \"%.200s\"", path);
	if (st == DLM_OK && task->n == 0)
		st = dl_fail(err, DLM_EINVAL, "A row is a JSON object with labels and target, target, text and answer, or text.",
					 "\"%.200s\" has no rows that can be evaluated", path);
	return st == DLM_OK ? choose_rows(task, choice->rows, choice->seed, err) : st;
}

void
dl_eval_free(dl_eval_task *task)
{
	for (int i = 0; i < task->n; i++)
		free_row(&task->row[i]);
	free(task->row);
	*task = (dl_eval_task) {0};
}
