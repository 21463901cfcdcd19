/*
 * picture_svg.c - a trace as one drawing: below each other the canvas before
 * the first step and after each, a column for every position.
 *
 * Characters have one width, which textLength holds whatever the font, so all
 * is placed by counting columns. A canvas wider than the drawing goes on in
 * further lines, the same in every step.
 */
#include "dlm_pg.h"

#include "mb/pg_wchar.h"

#include "encoding.h"
#include "picture.h"

#define CHARACTER		8		/* px a column */
#define LINE			26		/* px from line to line */
#define BOX				20		/* px height of a token's box */
#define MARGIN			12
#define STEP_COLUMNS	10		/* for "step 1" and a space */
#define MAX_COLUMNS		100		/* of a line */
#define MAX_TOKEN		24		/* columns that a token may take */
#define MAX_BETWEEN		40		/* columns of the text around positions that are shown */
#define MASK_COLUMNS	3		/* a mask's box takes at least */
#define KEY_COLUMNS		66

/* Without variables of CSS, which not all that draws SVG knows. */
static const char style[] =
	"<style>\n"
	"text{fill:#1a1a1a}text.f{fill:#666}.page{fill:#fff}line{stroke:#ddd}path{stroke:#1a1a1a;stroke-width:2}.m{fill:#e4e4e4}\n"
	"rect.remask{stroke:#666;stroke-width:2;stroke-dasharray:4 3}rect.revise{stroke:#1a1a1a;stroke-width:2}\n"
	".p0{fill:#f9c6ae}.p1{fill:#fbe0ae}.p2{fill:#eaeeb2}.p3{fill:#c5e6c2}.p4{fill:#9bd8c8}\n"
	"@media (prefers-color-scheme:dark){\n"
	"text{fill:#eee}text.f{fill:#a0a0a0}.page{fill:#161616}line{stroke:#3a3a3a}path{stroke:#eee}.m{fill:#333}\n"
	"rect.remask{stroke:#a0a0a0}rect.revise{stroke:#eee}\n"
	".p0{fill:#7c3320}.p1{fill:#6c4c16}.p2{fill:#515a1d}.p3{fill:#285a39}.p4{fill:#10605c}}\n"
	"</style>\n";

/* Where the texts of a canvas stand, in columns and lines; the same in all steps. */
typedef struct Place
{
	int			line;
	int			column;
	int			columns;
} Place;

typedef struct Layout
{
	Place	   *cell;			/* [n] */
	Place	   *between;		/* [n + 1] */
	int			lines;			/* of a canvas */
	int			columns;		/* of the longest line */
} Layout;

/* --------------------------------------------------------------------- text */

/* The columns of a character as it is drawn: control characters have pictures. */
static int
columns_of(const char *data, bool valid)
{
	int			columns = valid ? pg_encoding_dsplen(PG_UTF8, data) : 1;

	return columns < 0 || *data == '\0' ? 1 : columns;
}

static int
text_columns(dlm_text text)
{
	int			columns = 0;
	bool		valid;

	for (size_t i = 0; i < text.len;)
	{
		int			n = dlm_character(text.data + i, text.len - i, &valid);

		columns += columns_of(text.data + i, valid);
		i += n;
	}
	return columns;
}

/* Columns of a text of which so many are shown at its head and its tail, with a mark for the rest. */
static int
shown_columns(dlm_text text, int head, int tail)
{
	int			columns = text_columns(text);

	return columns <= head + tail ? columns : head + tail + 1;
}

/* One character on one line. */
static void
append_character(StringInfo out, const char *data, int n)
{
	if (*data == '\n')
		appendStringInfoString(out, "&#x21b5;");
	else if (*data == '\t')
		appendStringInfoChar(out, ' ');
	else
		dlm_append_escaped(out, data, n);
}

static void
append_shown(StringInfo out, dlm_text text, int head, int tail)
{
	int			columns = text_columns(text);
	int			column = 0;
	bool		all = columns <= head + tail;
	bool		valid;
	bool		marked = false;

	for (size_t i = 0; i < text.len;)
	{
		int			n = dlm_character(text.data + i, text.len - i, &valid);
		int			width = columns_of(text.data + i, valid);

		if (all || column + width <= head || columns - column <= tail)
			append_character(out, text.data + i, n);
		else if (!marked)
		{
			appendStringInfoString(out, "&#x2026;");
			marked = true;
		}
		column += width;
		i += n;
	}
}

/* ------------------------------------------------------------------- layout */

static void
put_place(Layout *layout, Place *place, int columns, int *column)
{
	if (*column > 0 && *column + columns > MAX_COLUMNS)
	{
		layout->lines++;
		*column = 0;
	}
	*place = (Place) {layout->lines - 1, *column, columns};
	*column += columns;
	layout->columns = Max(layout->columns, *column);
}

/* How much of the text around positions is shown of its head and of its tail: what stands next to positions. */
static int
head_of(const DlmFrames *frames, int i)
{
	return i == 0 ? 0 : i == frames->n ? MAX_BETWEEN : MAX_BETWEEN / 2;
}

static int
tail_of(const DlmFrames *frames, int i)
{
	return MAX_BETWEEN - head_of(frames, i);
}

/* A position is as wide as the widest token that it ever holds. */
static void
lay_out(const dlm_result *result, Layout *layout)
{
	DlmFrames	frames;
	int			column = 0;

	dlm_frames_first(&frames, result);
	layout->cell = palloc0(frames.n * sizeof(Place) + 1);
	layout->between = palloc0((frames.n + 1) * sizeof(Place));
	layout->lines = 1;
	layout->columns = 0;
	for (int i = 0; i < frames.n; i++)
		layout->cell[i].columns = MASK_COLUMNS;
	while (dlm_frames_next(&frames))
	{
		for (int i = 0; i < frames.n; i++)
		{
			if (frames.cell[i].change && !frames.cell[i].masked)
				layout->cell[i].columns = Max(layout->cell[i].columns, shown_columns(frames.cell[i].text, MAX_TOKEN, 0));
		}
	}
	for (int i = 0; i <= frames.n; i++)
	{
		put_place(layout, &layout->between[i], shown_columns(frames.between[i], head_of(&frames, i), tail_of(&frames, i)), &column);
		if (i < frames.n)
			put_place(layout, &layout->cell[i], layout->cell[i].columns + 1, &column);	/* half a column on either side */
	}
}

/* ------------------------------------------------------------------ drawing */

static int
x_of(int column)
{
	return MARGIN + (STEP_COLUMNS + column) * CHARACTER;
}

/* The start tag of a text that takes so many columns. */
static void
append_text_tag(StringInfo out, const char *class, int x, int y, int columns)
{
	appendStringInfo(out, "<text%s x=\"%d\" y=\"%d\" textLength=\"%d\">", class, x, y + 14, columns * CHARACTER);
}

/* The box of a token or a mask, and a line under one that was just revealed. */
static void
append_box(StringInfo out, const char *shade, const char *event, int x, int y, int columns)
{
	int			width = columns * CHARACTER - 2;

	appendStringInfo(out, "<rect class=\"%s%s%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\"/>", shade, *event ? " " : "",
					 event, x + 1, y, width, BOX);
	if (strcmp(event, "reveal") == 0)
		appendStringInfo(out, "<path d=\"M%d %dh%d\"/>", x + 1, y + BOX + 1, width);
}

static void
append_cell(StringInfo out, const DlmCell *cell, const Place *place, int x, int y)
{
	int			columns = cell->masked ? 0 : shown_columns(cell->text, MAX_TOKEN, 0);
	char		shade[8] = "m";

	if (!cell->masked)
		snprintf(shade, sizeof(shade), "p%d", cell->level);
	append_box(out, shade, dlm_event_name(cell->change), x, y, place->columns);
	if (columns > 0)
	{
		append_text_tag(out, "", x + CHARACTER / 2, y, columns);
		append_shown(out, cell->text, MAX_TOKEN, 0);
		appendStringInfoString(out, "</text>");
	}
}

/* The canvas as it now stands, from y down. */
static void
append_frame(StringInfo out, const DlmFrames *frames, const Layout *layout, int y)
{
	appendStringInfo(out, "<text class=\"f\" x=\"%d\" y=\"%d\">step %d</text>", MARGIN, y + 14, frames->step);
	for (int i = 0; i <= frames->n; i++)
	{
		const Place *place = &layout->between[i];

		if (place->columns > 0)
		{
			append_text_tag(out, " class=\"f\"", x_of(place->column), y + place->line * LINE, place->columns);
			append_shown(out, frames->between[i], head_of(frames, i), tail_of(frames, i));
			appendStringInfoString(out, "</text>");
		}
		if (i == frames->n)
			break;
		place = &layout->cell[i];
		append_cell(out, &frames->cell[i], place, x_of(place->column), y + place->line * LINE);
	}
	appendStringInfoChar(out, '\n');
}

/* What shades and marks mean, in one line. */
static void
append_key(StringInfo out, int y)
{
	static const char *const events[] = {"reveal", "remask", "revise"};
	int			x = MARGIN;

	append_text_tag(out, " class=\"f\"", x, y, 16);
	appendStringInfoString(out, "probability from</text>");
	x += 17 * CHARACTER;
	for (int i = 0; i < DLM_PICTURE_LEVELS; i++)
	{
		char		shade[8];

		snprintf(shade, sizeof(shade), "p%d", i);
		append_box(out, shade, "", x, y, 4);
		append_text_tag(out, "", x + CHARACTER, y, strlen(dlm_level_names[i]));
		appendStringInfo(out, "%s</text>", dlm_level_names[i]);
		x += 5 * CHARACTER;
	}
	for (int i = 0; i < lengthof(events); i++)
	{
		x += CHARACTER;
		append_box(out, "m", events[i], x, y, 7);
		append_text_tag(out, "", x + CHARACTER / 2, y, 6);
		appendStringInfo(out, "%s</text>", events[i]);
		x += 7 * CHARACTER;
	}
	appendStringInfoChar(out, '\n');
}

void
dlm_draw_svg(StringInfo out, const DlmModelRef *model, const dlm_result *result)
{
	dlm_text	name = dlm_text_from_server(model->name, strlen(model->name));
	Layout		layout;
	DlmFrames	frames;
	int			last_step;
	int			n = dlm_frames_count(result, &last_step);
	int			width,
				height,
				y = MARGIN;

	lay_out(result, &layout);
	width = x_of(Max(layout.columns, KEY_COLUMNS - STEP_COLUMNS)) + MARGIN;
	height = 2 * MARGIN + n * (layout.lines * LINE + 6) + 10 + BOX;
	appendStringInfo(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" "
					 "font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"13.3\" xml:space=\"preserve\">\n<title>",
					 width, height, width, height);
	dlm_append_escaped(out, name.data, name.len);
	appendStringInfo(out, " denoises a canvas: positions %d, steps %d</title>\n", result->n_positions, last_step);
	appendStringInfoString(out, style);
	appendStringInfo(out, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", width, height);
	dlm_frames_first(&frames, result);
	do
	{
		append_frame(out, &frames, &layout, y);
		y += layout.lines * LINE + 6;
	} while (dlm_frames_next(&frames));
	appendStringInfo(out, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", MARGIN, y, width - MARGIN, y);
	append_key(out, y + 10);
	appendStringInfoString(out, "</svg>");
}
