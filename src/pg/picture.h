/*
 * picture.h - a trace as something to look at: a page (picture_html.c) or a
 * drawing (picture_svg.c) of the canvas at every step (picture.c).
 *
 * What is written is ASCII alone, all else as character references: it means
 * the same in any server or client encoding. It is well-formed XML too. Texts
 * and tokens are data: no byte of them ends up as markup.
 */
#ifndef DLM_PG_PICTURE_H
#define DLM_PG_PICTURE_H

#include "lib/stringinfo.h"

#include "run.h"

#define DLM_PICTURE_LEVELS	5	/* shades of log-probability */

/* A canvas position as it stands after a step. */
typedef struct DlmCell
{
	dlm_text	text;			/* of its token, whole characters; of a mask the mask token */
	bool		masked;
	float		logprob;		/* of its last change */
	int			level;			/* shade of logprob, 0 = least sure */
	const dlm_trace_row *change;	/* of this step, the last one; NULL for none */
} DlmCell;

/* The canvas, step by step: at first all masks, then after each step that changed something. */
typedef struct DlmFrames
{
	const dlm_result *result;
	int			next;			/* row of the trace: the first of the next frame */
	int			step;			/* 0: before the first step */
	int			n;				/* positions */
	DlmCell    *cell;			/* [n] */
	dlm_text   *between;		/* [n + 1] the text around the positions, the same in all frames */
} DlmFrames;

/* Stand before the first step. palloc'd; points into the result. */
extern void dlm_frames_first(DlmFrames *frames, const dlm_result *result);

/* Go to the next step; false, and nothing changes, after the last one. */
extern bool dlm_frames_next(DlmFrames *frames);

/* Frames that there will be, the first one included, and the step of the last one. */
extern int	dlm_frames_count(const dlm_result *result, int *last_step);

/* What a mask is shown as. */
#define DLM_PICTURE_MASK	"___"

/* "reveal", "remask", "revise", also as a class of CSS; "" for no change */
extern const char *dlm_event_name(const dlm_trace_row *change);

/* The probabilities that the shades begin at, for a legend. */
extern const char *const dlm_level_names[DLM_PICTURE_LEVELS];

/* The one character at `data`: its bytes; a byte that begins none is one by itself, *valid false. */
extern int	dlm_character(const char *data, size_t len, bool *valid);

/*
 * Append UTF-8 as text or as the value of a quoted attribute. Control
 * characters are written as their pictures, but for tabs and line breaks;
 * what cannot stand in XML as U+FFFD.
 */
extern void dlm_append_escaped(StringInfo out, const char *data, size_t len);

/* Draw a finished trace: the whole page, the whole picture. */
typedef void (*DlmDraw) (StringInfo out, const DlmModelRef *model, const dlm_result *result);

extern void dlm_draw_html(StringInfo out, const DlmModelRef *model, const dlm_result *result);
extern void dlm_draw_svg(StringInfo out, const DlmModelRef *model, const dlm_result *result);

#endif							/* DLM_PG_PICTURE_H */
