/*
 * picture.c - the steps of a trace, replayed for a page or a drawing; and the
 * escaping of what they show.
 */
#include "dlm_pg.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "picture.h"

/* Log-probabilities of 0.1, 0.3, 0.6 and 0.9: where a shade begins. */
static const float level_from[DLM_PICTURE_LEVELS - 1] = {-2.3025851f, -1.2039728f, -0.5108256f, -0.1053605f};

const char *const dlm_level_names[DLM_PICTURE_LEVELS] = {"0", ".1", ".3", ".6", ".9"};

/* ------------------------------------------------------------------- frames */

/* The end of the character that a position's bytes end in: a token may hold a part of one. */
static size_t
character_end(dlm_text text, size_t at)
{
	while (at < text.len && ((unsigned char) text.data[at] & 0xC0) == 0x80)
		at++;
	return at;
}

/* The texts around the positions, from any of the canvases. */
static void
find_between(DlmFrames *frames, const dlm_trace_row *row)
{
	dlm_text	canvas = row->canvas;
	size_t		at = 0;

	for (int i = 0; i <= frames->n; i++)
	{
		size_t		end = i < frames->n ? character_end(canvas, row->spans[i].at) : canvas.len;

		frames->between[i] = (dlm_text) {canvas.data + at, end - at};
		at = i < frames->n ? character_end(canvas, row->spans[i].at + row->spans[i].len) : end;
	}
}

void
dlm_frames_first(DlmFrames *frames, const dlm_result *result)
{
	frames->result = result;
	frames->next = 0;
	frames->step = 0;
	frames->n = result->n_trace > 0 ? result->n_positions : 0;
	frames->cell = palloc0(frames->n * sizeof(DlmCell) + 1);
	frames->between = palloc0((frames->n + 1) * sizeof(dlm_text));
	for (int i = 0; i < frames->n; i++)
		frames->cell[i].masked = true;
	if (result->n_trace > 0)
		find_between(frames, &result->trace[0]);
}

static int
level_of(float logprob)
{
	int			level = 0;

	while (level < lengthof(level_from) && logprob >= level_from[level])
		level++;
	return level;
}

bool
dlm_frames_next(DlmFrames *frames)
{
	const dlm_trace_row *row = &frames->result->trace[frames->next];

	CHECK_FOR_INTERRUPTS();
	if (frames->next >= frames->result->n_trace)
		return false;
	frames->step = row->step;
	for (int i = 0; i < frames->n; i++)
	{
		size_t		at = character_end(row->canvas, row->spans[i].at);
		size_t		end = character_end(row->canvas, row->spans[i].at + row->spans[i].len);

		frames->cell[i].text = (dlm_text) {row->canvas.data + at, end - at};
		frames->cell[i].change = NULL;
	}
	for (; frames->next < frames->result->n_trace; frames->next++)
	{
		DlmCell    *cell;

		row = &frames->result->trace[frames->next];
		if (row->step != frames->step)
			break;
		cell = &frames->cell[row->position - 1];
		cell->change = row;
		cell->masked = row->event == DLM_EVENT_REMASK;
		cell->logprob = row->logprob;
		cell->level = level_of(row->logprob);
	}
	return true;
}

int
dlm_frames_count(const dlm_result *result, int *last_step)
{
	int			n = 1;

	*last_step = 0;
	for (int i = 0; i < result->n_trace; i++)
	{
		n += result->trace[i].step != *last_step;
		*last_step = result->trace[i].step;
	}
	return n;
}

const char *
dlm_event_name(const dlm_trace_row *change)
{
	static const char *const names[] = {"reveal", "remask", "revise"};

	return change ? names[change->event] : "";
}

/* ----------------------------------------------------------------- escaping */

int
dlm_character(const char *data, size_t len, bool *valid)
{
	int			n = pg_utf_mblen((const unsigned char *) data);

	*valid = n <= len && pg_verify_mbstr(PG_UTF8, data, n, true);
	return *valid ? n : 1;
}

static void
append_ascii(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '&':
			appendStringInfoString(out, "&amp;");
			break;
		case '<':
			appendStringInfoString(out, "&lt;");
			break;
		case '>':
			appendStringInfoString(out, "&gt;");
			break;
		case '"':
			appendStringInfoString(out, "&quot;");
			break;
		case '\'':
			appendStringInfoString(out, "&#39;");
			break;
		case 0x7F:
			appendStringInfoString(out, "&#x2421;");
			break;
		default:
			if (c < ' ' && c != '\n' && c != '\t')
				appendStringInfo(out, "&#x%x;", 0x2400 + c);
			else
				appendStringInfoChar(out, c);
	}
}

/* References to U+0080..U+009F mean something else in HTML, and XML has no U+FFFE and U+FFFF. */
static void
append_wide(StringInfo out, pg_wchar c)
{
	appendStringInfo(out, "&#x%x;", c < 0xA0 || (c & 0xFFFE) == 0xFFFE ? 0xFFFD : c);
}

void
dlm_append_escaped(StringInfo out, const char *data, size_t len)
{
	for (size_t i = 0; i < len;)
	{
		bool		valid;
		int			n = dlm_character(data + i, len - i, &valid);

		if (!valid)
			append_wide(out, 0xFFFD);
		else if (n == 1)
			append_ascii(out, data[i]);
		else
			append_wide(out, utf8_to_unicode((const unsigned char *) data + i));
		i += n;
	}
}
