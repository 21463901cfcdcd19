/*
 * picture_html.c - a trace as one page of HTML: a table with a row for each
 * step, and above it, where scripts may run, the canvas with a slider.
 *
 * The page asks for nothing but itself. The slider shows rows of the table, so
 * nothing stands in the page twice.
 */
#include "dlm_pg.h"

#include "encoding.h"
#include "picture.h"

#define BETWEEN		160			/* bytes of the text around positions that a row shows on either side of a position */

static const char head[] =
	"<!DOCTYPE html>\n"
	"<html lang=\"en\">\n"
	"<head>\n"
	"<meta charset=\"utf-8\"/>\n"
	"<meta name=\"viewport\" content=\"width=device-width\"/>\n"
	"<title>dlm: the denoising of a canvas</title>\n"
	"<style>\n"
	":root{color-scheme:light dark;--text:#1a1a1a;--pale:#666;--page:#fff;--line:#ddd;"
	"--p0:#f9c6ae;--p1:#fbe0ae;--p2:#eaeeb2;--p3:#c5e6c2;--p4:#9bd8c8}\n"
	"@media (prefers-color-scheme:dark){:root{--text:#eee;--pale:#a0a0a0;--page:#161616;--line:#3a3a3a;"
	"--p0:#7c3320;--p1:#6c4c16;--p2:#515a1d;--p3:#285a39;--p4:#10605c}}\n"
	"body{margin:2em auto;padding:0 1em;max-width:70em;font:16px/1.6 system-ui,sans-serif;color:var(--text);background:var(--page)}\n"
	"h1{font-size:1.3em}h2{font-size:1.1em}\n"
	"table{border-collapse:collapse;width:100%}\n"
	"th,td{padding:.3em .6em;border-top:1px solid var(--line);text-align:left;vertical-align:top}\n"
	"td,.text{white-space:pre-wrap;overflow-wrap:anywhere}\n"
	"thead th,.key,td+td{color:var(--pale);font-size:.85em}\n"
	"#canvas{font-size:1.3em;min-height:3em}#step{width:min(24em,60%);vertical-align:middle}\n"
	"b,i{font-weight:inherit;font-style:normal;border-radius:3px;margin:0 1px;padding:.05em 0}\n"
	"i{color:var(--pale);background:var(--line)}\n"
	".p0{background:var(--p0)}.p1{background:var(--p1)}.p2{background:var(--p2)}.p3{background:var(--p3)}.p4{background:var(--p4)}\n"
	".key b{color:var(--text)}\n"
	".reveal{box-shadow:0 2px var(--text)}.remask{outline:2px dashed var(--pale)}.revise{outline:2px solid var(--text)}\n"
	"</style>\n"
	"</head>\n"
	"<body>\n"
	"<h1>The denoising of a canvas</h1>\n";

/* Without a less-than sign or an ampersand, so that the page is XML. */
static const char script[] =
	"<script>\n"
	"(function () {\n"
	"	var get = function (id) { return document.getElementById(id); }, rows = get(\"steps\").tBodies[0].rows,\n"
	"		at = get(\"step\"), play = get(\"play\"), timer = 0;\n"
	"	function show() {\n"
	"		var row = rows[at.value].cells, canvas = get(\"canvas\");\n"
	"		canvas.replaceChildren.apply(canvas, Array.from(row[1].cloneNode(true).childNodes));\n"
	"		get(\"at\").textContent = \"step \" + row[0].textContent;\n"
	"	}\n"
	"	function stop() { clearInterval(timer); timer = 0; play.textContent = \"Play\"; }\n"
	"	function next() { if (at.value == at.max) { stop(); } else { at.value++; show(); } }\n"
	"	at.oninput = function () { stop(); show(); };\n"
	"	play.onclick = function () {\n"
	"		if (timer) { stop(); return; }\n"
	"		if (at.value == at.max) { at.value = 0; }\n"
	"		show();\n"
	"		play.textContent = \"Stop\";\n"
	"		timer = setInterval(next, 700);\n"
	"	};\n"
	"	show();\n"
	"	get(\"view\").hidden = false;\n"
	"})();\n"
	"</script>\n";

/* The first so many bytes, or the last, to whole characters. */
static size_t
whole_characters(dlm_text text, size_t at)
{
	while (at > 0 && at < text.len && ((unsigned char) text.data[at] & 0xC0) == 0x80)
		at--;
	return at;
}

/* The text between two positions; of a long one what stands next to them. */
static void
append_between(StringInfo out, dlm_text text, bool first, bool last)
{
	size_t		left = first ? 0 : BETWEEN;
	size_t		right = last ? 0 : BETWEEN;

	if (text.len <= 2 * BETWEEN)
	{
		dlm_append_escaped(out, text.data, text.len);
		return;
	}
	left = whole_characters(text, left);
	right = whole_characters(text, text.len - right);
	dlm_append_escaped(out, text.data, left);
	appendStringInfoString(out, "&#x2026;");
	dlm_append_escaped(out, text.data + right, text.len - right);
}

static void
append_cell(StringInfo out, const DlmCell *cell)
{
	if (cell->masked && cell->change)
		appendStringInfo(out, "<i class=\"%s\">" DLM_PICTURE_MASK "</i>", dlm_event_name(cell->change));
	else if (cell->masked)
		appendStringInfoString(out, "<i>" DLM_PICTURE_MASK "</i>");
	else
	{
		appendStringInfo(out, "<b class=\"p%d%s%s\">", cell->level, cell->change ? " " : "", dlm_event_name(cell->change));
		dlm_append_escaped(out, cell->text.data, cell->text.len);
		appendStringInfoString(out, "</b>");
	}
}

/* "reveal 3 Paris -0.461; ...": what a step changed, in the order of its rows */
static void
append_changes(StringInfo out, const DlmModelRef *model, const dlm_result *result, int row, int end)
{
	for (int i = row; i < end; i++)
	{
		const dlm_trace_row *change = &result->trace[i];
		dlm_text	piece;

		appendStringInfo(out, "%s%s %d", i > row ? "; " : "", dlm_event_name(change), change->position);
		if (change->event == DLM_EVENT_REMASK)
			continue;
		piece = dlm_run_piece(model, change->id);
		appendStringInfoChar(out, ' ');
		dlm_append_escaped(out, piece.data, piece.len);
		appendStringInfo(out, " %.3f", change->logprob);
		pfree(unconstify(char *, piece.data));
	}
}

static void
append_steps(StringInfo out, const DlmModelRef *model, const dlm_result *result)
{
	DlmFrames	frames;
	int			row = 0;

	appendStringInfoString(out, "<table id=\"steps\">\n<thead><tr><th>step</th><th>canvas</th><th>changes: position, token, "
						   "log-probability</th></tr></thead>\n<tbody>\n");
	dlm_frames_first(&frames, result);
	do
	{
		appendStringInfo(out, "<tr><th>%d</th><td dir=\"auto\">", frames.step);
		for (int i = 0; i <= frames.n; i++)
		{
			append_between(out, frames.between[i], i == 0, i == frames.n);
			if (i < frames.n)
				append_cell(out, &frames.cell[i]);
		}
		appendStringInfoString(out, "</td><td dir=\"auto\">");
		append_changes(out, model, result, row, frames.next);
		appendStringInfoString(out, "</td></tr>\n");
		row = frames.next;
	} while (dlm_frames_next(&frames));
	appendStringInfoString(out, "</tbody>\n</table>\n");
}

static void
append_key(StringInfo out)
{
	appendStringInfoString(out, "<p class=\"key\">probability from");
	for (int i = 0; i < DLM_PICTURE_LEVELS; i++)
		appendStringInfo(out, " <b class=\"p%d\">%s</b>", i, dlm_level_names[i]);
	appendStringInfoString(out, " &#xa0; this step: <b class=\"reveal\">reveal</b>, <i class=\"remask\">remask</i>, "
						   "<b class=\"revise\">revise</b></p>\n");
}

void
dlm_draw_html(StringInfo out, const DlmModelRef *model, const dlm_result *result)
{
	int			last_step;
	int			frames = dlm_frames_count(result, &last_step);
	dlm_text	name = dlm_text_from_server(model->name, strlen(model->name));

	appendStringInfoString(out, head);
	appendStringInfoString(out, "<p>model ");
	dlm_append_escaped(out, name.data, name.len);
	appendStringInfo(out, " &#xb7; positions %d &#xb7; steps %d &#xb7; mean log-probability %.3f</p>\n", result->n_positions,
					 last_step, result->logprob);
	appendStringInfo(out, "<div id=\"view\" hidden=\"hidden\">\n<p id=\"canvas\" class=\"text\" dir=\"auto\"></p>\n"
					 "<p><button id=\"play\" type=\"button\">Play</button> <input id=\"step\" type=\"range\" min=\"0\" max=\"%d\" "
					 "value=\"%d\" aria-label=\"step\"/> <output id=\"at\"></output></p>\n</div>\n", frames - 1, frames - 1);
	append_key(out);
	append_steps(out, model, result);
	appendStringInfoString(out, "<h2>The text</h2>\n<p id=\"text\" class=\"text\" dir=\"auto\">");
	dlm_append_escaped(out, result->text.data, result->text.len);
	appendStringInfoString(out, "</p>\n");
	appendStringInfoString(out, script);
	appendStringInfoString(out, "</body>\n</html>");
}
