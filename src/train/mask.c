/*
 * mask.c - see mask.h.
 *
 * A view is made in three steps: the row's tokens; the positions of its
 * canvas, listed in `ask`; that list thinned out to those that are masked.
 * Rates are t / T with whole t and T, so they are drawn without rounding.
 */
#include "mask.h"

#include <string.h>

#include "fields.h"
#include "fmath.h"
#include "status.h"
#include "stream.h"

/* What both views of a draw share. */
typedef struct shape
{
	bool		as_text;
	int			ends;			/* stop tokens after the target */
	int			n;				/* tokens of the row */
	dl_stream	stream;			/* goes on with the spans */
} shape;

/* ------------------------------------------------------------------ memory */

static size_t
layout(dl_mask_space *s, void *base)
{
	size_t		n = (size_t) s->capacity;
	size_t		at = 0;

	s->ids = dl_carve_bytes(base, &at, n * sizeof(int32_t));
	s->ask = dl_carve_bytes(base, &at, n * sizeof(int32_t));
	s->target = dl_carve_bytes(base, &at, n * sizeof(int32_t));
	s->weight = dl_carve_bytes(base, &at, n * sizeof(float));
	s->taught = dl_carve_bytes(base, &at, n * sizeof(float));
	s->live = dl_carve_bytes(base, &at, n);
	return at;
}

size_t
dl_mask_space_bytes(int tokens)
{
	dl_mask_space count = {.capacity = tokens};

	return layout(&count, NULL);
}

dl_mask_space
dl_mask_space_over(void *block, int tokens)
{
	dl_mask_space s = {.capacity = tokens};

	layout(&s, block);
	return s;
}

/* The next example of n tokens, none asked for. */
static dl_example
take_example(dl_mask_space *s, int n)
{
	dl_example	e = {
		.n = n, .ids = s->ids + s->used, .live = s->live + s->used, .ask = s->ask + s->used,
		.target = s->target + s->used, .weight = s->weight + s->used
	};

	memset(s->live + s->used, 0, (size_t) n);
	s->used += n;
	return e;
}

/* ------------------------------------------------------------------ choices */

static bool
is_share(double x)
{
	return x >= 0 && x <= 1;
}

dlm_status
dl_masking_check(const dl_masking *m, dlm_error *err)
{
	if (m->timesteps < 1)
		return dl_fail(err, DLM_EINVAL, "", "masking needs at least one timestep");
	if (!is_share(m->whole) || !is_share(m->text_share) || !is_share(m->row_share) || !is_share(m->fields) ||
		!is_share(m->distill))
		return dl_fail(err, DLM_EINVAL, "", "shares of masking must be in [0, 1]");
	if (!is_share(m->cover_least) || !is_share(m->cover_most) || m->cover_least > m->cover_most)
		return dl_fail(err, DLM_EINVAL, "", "the share of a row that spans cover must be in [0, 1], least before most");
	if (m->spans < 1 || m->end_tokens < 0 || m->short_target < 0)
		return dl_fail(err, DLM_EINVAL, "", "masking needs at least one span, and no negative numbers of tokens");
	if (!(m->row_norm >= 0) || !isfinite(m->row_norm))
		return dl_fail(err, DLM_EINVAL, "", "the power of a canvas' length must be at least 0");
	return DLM_OK;
}

/* Most stop tokens behind a target that the row has room for; instruction rows were fitted with one. */
static int
room_for_ends(const dl_masker *m, const dl_data_row *row, int wanted)
{
	int			room = m->ds->row_tokens - dl_row_tokens(row);

	if (m->ds->stop < 0 || m->masking->end_tokens == 0 || row->text)
		return 0;
	return wanted < room ? wanted : room;
}

/* May a position be canvas when the row is trained as text? */
static bool
is_text_position(const dl_masker *m, const dl_data_row *row, int i, int32_t id)
{
	if (i < (int) m->ds->model->config.logit_shift || dl_tok_is_special(m->ds->model->tok, id))
		return false;
	return !row->text || (i >= row->head && i < row->head + row->target);
}

static bool
has_text_position(const dl_masker *m, const dl_data_row *row)
{
	for (int i = 0; i < dl_row_tokens(row); i++)
		if (is_text_position(m, row, i, row->ids[i]))
			return true;
	return false;
}

static shape
draw_shape(const dl_masker *m, const dl_data_row *row, uint64_t draw)
{
	shape		s = {.as_text = row->text, .stream = dl_stream_of(m->seed, DL_USE_CANVAS, 0, draw)};
	bool		text = dl_stream_uniform(&s.stream) < m->masking->text_share;
	int			ends = dl_stream_below(&s.stream, m->masking->end_tokens > 0 ? m->masking->end_tokens : 1) + 1;

	if (!row->text && text && has_text_position(m, row))
		s.as_text = true;
	s.ends = room_for_ends(m, row, s.as_text ? 1 : ends);
	s.n = dl_row_tokens(row) + s.ends;
	return s;
}

int
dl_mask_tokens(const dl_masker *m, const dl_data_row *row, uint64_t draw)
{
	if (m->length_classes > 0)
		return row->head;
	return draw_shape(m, row, draw).n;
}

/* Masks of a question's canvas, 0 without labels. */
static int
question_canvas(const dl_masker *m, const dl_data_row *row)
{
	return row->labels != NULL ? row->labels->n_max + (m->ds->stop >= 0) : 0;
}

int
dl_mask_most_tokens(const dl_masker *m, const dl_data_row *row)
{
	int			canvas = row->target + room_for_ends(m, row, m->masking->end_tokens);
	int			question = question_canvas(m, row);

	if (m->length_classes > 0)
		return row->head;
	return row->head + row->tail + (question > canvas ? question : canvas);
}

int
dl_mask_most_asks(const dl_masker *m, const dl_data_row *row)
{
	int			most = dl_mask_most_tokens(m, row);

	if (m->length_classes > 0)
		return 1;
	if (row->text)
		return row->target;
	return m->masking->text_share > 0 ? most : most - row->head - row->tail;
}

double
dl_mask_mean_tokens(const dl_masker *m, const dl_data_row *row)
{
	int			most = m->masking->end_tokens;
	int			room = room_for_ends(m, row, most);
	double		ends = 0;

	if (m->length_classes > 0)
		return row->head;
	for (int e = 1; e <= most; e++)
		ends += (double) (e < room ? e : room) / most;
	if (!row->text)
		ends += m->masking->text_share * ((room < 1 ? room : 1) - ends);
	return dl_row_tokens(row) + ends;
}

/* -------------------------------------------------------------------- rows */

/* Tokens before the canvas, the row's canvas, so many stop tokens, tokens after it. */
static void
write_row(const dl_masker *m, const dl_data_row *row, int ends, int32_t *ids)
{
	int			front = row->head + row->target;

	memcpy(ids, row->ids, (size_t) front * sizeof(*ids));
	for (int i = 0; i < ends; i++)
		ids[front + i] = m->ds->stop;
	if (row->tail > 0)
		memcpy(ids + front + ends, row->ids + front, (size_t) row->tail * sizeof(*ids));
}

/* Positions that may be canvas, listed. */
static int
list_text_positions(const dl_masker *m, const dl_data_row *row, const int32_t *ids, int n, int32_t *list)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (is_text_position(m, row, i, ids[i]))
			list[count++] = i;
	return count;
}

/*
 * Thin a list out to spans: 1 .. most of them, at least one entry apart, that
 * cover a share of it. All lengths and places with that number and that cover
 * are equally likely: cuts between spans, and the order of spans and single
 * uncovered entries, are drawn by selection sampling.
 */
static int
choose_spans(const dl_masking *k, dl_stream *s, int32_t *list, int n)
{
	int			spans = 1 + dl_stream_below(s, k->spans);
	int			cover = (int) (n * (k->cover_least + (k->cover_most - k->cover_least) * dl_stream_uniform(s)) + 0.5);
	int			cuts,
				free;
	int			at = 0;
	int			out = 0;

	cover = cover < 1 ? 1 : cover > n ? n : cover;
	spans = spans > cover ? cover : spans;
	spans = spans > n - cover + 1 ? n - cover + 1 : spans;
	free = n - cover - (spans - 1);
	cuts = spans - 1;
	while (spans > 0)
	{
		if (dl_stream_below(s, free + spans) >= spans)
		{
			free--;
			at++;
			continue;
		}
		for (;;)
		{
			list[out++] = list[at++];
			cover--;
			if (cover == 0 || dl_stream_below(s, cover) < cuts)
				break;
		}
		cuts--;
		spans--;
		at++;					/* the entry that keeps two spans apart */
	}
	return out;
}

/* The canvas of a row, as a list of positions. */
static int
choose_canvas(const dl_masker *m, const dl_data_row *row, shape *s, const int32_t *ids, int32_t *list)
{
	const dl_masking *k = m->masking;
	int			n = 0;
	int			fields;

	if (!s->as_text)
	{
		for (int i = 0; i < row->target + s->ends; i++)
			list[n++] = row->head + i;
		return n;
	}
	n = list_text_positions(m, row, ids, s->n, list);
	if (dl_stream_uniform(&s->stream) < k->row_share)
		return n;
	if (k->fields > 0 && dl_stream_uniform(&s->stream) < k->fields &&
		(fields = dl_choose_fields(m->ds->model->tok, &s->stream, k->spans, ids, list, n)) > 0)
		return fields;
	return choose_spans(k, &s->stream, list, n);
}

/* The engine's rule (dl_canvas_build): canvas, masked or not, and what predicts each run's first token. */
static void
mark_live(const dl_masker *m, const int32_t *canvas, int n, uint8_t *live)
{
	int			shift = (int) m->ds->model->config.logit_shift;

	for (int i = 0; i < n; i++)
		live[canvas[i]] = live[canvas[i] - shift] = 1;
}

/* ------------------------------------------------------------------- masks */

typedef struct rates
{
	bool		whole;			/* everything masked */
	int			t[2];			/* of the first view and of this one */
	bool		subset;			/* of the first view's masks */
} rates;

/*
 * Whole canvases are a share of all views. Of a coupled pair the first is
 * whole twice as often, and the second only beside a whole first one, so that
 * it stays a subset.
 */
static rates
draw_rates(const dl_masker *m, uint64_t draw, int view)
{
	const dl_masking *k = m->masking;
	dl_stream	s = dl_stream_of(m->seed, DL_USE_RATE, 0, draw);
	double		place = dl_stream_uniform(&s);
	int			a = 1 + dl_stream_below(&s, k->timesteps);
	int			b = 1 + dl_stream_below(&s, k->timesteps);
	bool		first_whole = place < 2 * k->whole;
	rates		r = {.t = {a > b ? a : b, a > b ? b : a}};

	if (!k->coupled)
		return (rates) {.whole = place < k->whole, .t = {a, a}};
	if (view == 0)
	{
		r.whole = first_whole;
		r.t[1] = r.t[0];
		return r;
	}
	r.whole = place < 2 * k->whole - 1;
	if (first_whole)			/* any masks are a subset: the rate need not be the smaller of two */
		r.t[0] = r.t[1] = a;
	r.subset = !first_whole && r.t[0] != r.t[1];
	return r;
}

/* Keep each entry with probability t / of; but at least one. */
static int
thin(dl_stream s, int t, int of, int32_t *list, int n)
{
	int			out = 0;
	int32_t		one = list[dl_stream_below(&s, n)];

	for (int i = 0; i < n; i++)
		if (dl_stream_below(&s, of) < t)
			list[out++] = list[i];
	if (out == 0)
		list[out++] = one;
	return out;
}

/* Of the canvas [n] in the list, the positions that the view masks. */
static int
choose_masks(const dl_masker *m, const rates *r, uint64_t draw, int view, int32_t *list, int n)
{
	dl_stream	own = dl_stream_of(m->seed, DL_USE_MASK, (uint32_t) view, draw);

	if (r->whole)
		return n;
	if (!r->subset)
		return thin(own, r->t[1], m->masking->timesteps, list, n);
	n = thin(dl_stream_of(m->seed, DL_USE_MASK, 0, draw), r->t[0], m->masking->timesteps, list, n);
	return thin(own, r->t[1], r->t[0], list, n);
}

static double
weight_of(const dl_masking *k, const rates *r, bool short_target, int canvas)
{
	double		w = 1;

	if (!r->whole && !short_target && k->weighting == DL_WEIGHT_LINEAR)
		w = 1 - (double) (r->t[1] - 1) / k->timesteps;
	if (k->row_norm == 0 || canvas == 1)
		return w;
	return w / (k->row_norm == 1 ? canvas : dl_pow(canvas, k->row_norm));
}

/* Mask what is listed in `ask`, and ask for it. */
static void
ask_for(const dl_masker *m, dl_example *e, int n, double weight)
{
	int32_t    *ids = (int32_t *) e->ids;

	e->n_ask = n;
	for (int i = 0; i < n; i++)
	{
		((int32_t *) e->target)[i] = ids[e->ask[i]];
		((float *) e->weight)[i] = (float) weight;
		ids[e->ask[i]] = (int32_t) m->ds->model->config.mask_id;
	}
}

/* Where the text of a row ends, before it is masked: what stands behind is the template's. */
static int
text_end(const dl_masker *m, const dl_data_row *row, const shape *s, const int32_t *ids)
{
	int			end = s->n;

	if (!s->as_text)
		return row->head + row->target + s->ends;
	while (end > 0 && !is_text_position(m, row, end - 1, ids[end - 1]))
		end--;
	return end;
}

/* Masks that reach from the text's end to the front without a gap have a teacher, but for stop tokens behind the first. */
static void
choose_taught(const dl_masker *m, const dl_data_row *row, const shape *s, int end, dl_example *e, float *taught)
{
	int			known = s->as_text ? end : row->head + row->target + 1;

	for (int i = e->n_ask - 1; i >= 0; i--)
	{
		bool		reaches = e->ask[i] == end - 1;

		taught[i] = reaches && e->ask[i] < known ? (float) m->masking->distill : 0;
		end -= reaches;
	}
	e->taught = taught;
}

/* For the length head: what stands before the canvas, and the canvas' class. */
static dl_example
length_example(const dl_masker *m, const dl_data_row *row, dl_mask_space *space)
{
	dl_example	e = take_example(space, row->head);
	bool		behind = row->tail > 0 && row->ids[row->head + row->target] == m->ds->stop;
	int			tokens = row->target + (m->ds->stop >= 0 && !behind);

	memcpy((int32_t *) e.ids, row->ids, (size_t) row->head * sizeof(*row->ids));
	e.n_ask = 1;
	((int32_t *) e.ask)[0] = row->head - 1;
	((int32_t *) e.target)[0] = (tokens < m->length_classes ? tokens : m->length_classes) - 1;
	((float *) e.weight)[0] = 1;
	return e;
}

dl_example
dl_mask_view(const dl_masker *m, const dl_data_row *row, uint64_t draw, int view, dl_mask_space *space)
{
	shape		s = draw_shape(m, row, draw);
	rates		r = draw_rates(m, draw, view);
	dl_example	e;
	int32_t    *list;
	bool		is_short = !s.as_text && row->target <= m->masking->short_target;
	float	   *taught = space->taught + space->used;
	int			canvas,
				end;

	if (m->length_classes > 0)
		return length_example(m, row, space);
	e = take_example(space, s.n);
	list = (int32_t *) e.ask;
	write_row(m, row, s.ends, (int32_t *) e.ids);
	end = text_end(m, row, &s, e.ids);
	canvas = choose_canvas(m, row, &s, e.ids, list);
	mark_live(m, list, canvas, (uint8_t *) e.live);
	ask_for(m, &e, choose_masks(m, &r, draw, view, list, canvas), weight_of(m->masking, &r, is_short, canvas));
	if (m->masking->distill > 0)
		choose_taught(m, row, &s, end, &e, taught);
	return e;
}

/* -------------------------------------------------------------- validation */

dl_example
dl_mask_validation(const dl_masker *m, const dl_data_row *row, dl_mask_space *space)
{
	shape		s = {.as_text = row->text, .ends = room_for_ends(m, row, 1)};
	dl_example	e;
	int32_t    *list;
	int			canvas;

	if (m->length_classes > 0)
		return length_example(m, row, space);
	e = take_example(space, s.n = dl_row_tokens(row) + s.ends);
	list = (int32_t *) e.ask;
	write_row(m, row, s.ends, (int32_t *) e.ids);
	if (row->text)
	{
		s.stream = dl_stream_of(m->seed, DL_USE_VALIDATION, 0, (uint64_t) (row - m->ds->rows));
		canvas = choose_spans(m->masking, &s.stream, list, list_text_positions(m, row, e.ids, e.n, list));
	}
	else
		canvas = choose_canvas(m, row, &s, e.ids, list);
	mark_live(m, list, canvas, (uint8_t *) e.live);
	ask_for(m, &e, canvas, 1);
	return e;
}

dl_example
dl_mask_question(const dl_masker *m, const dl_data_row *row, int canvas, dl_mask_space *space)
{
	dl_example	e = take_example(space, row->head + canvas + row->tail);
	int32_t    *ids = (int32_t *) e.ids;
	int32_t    *list = (int32_t *) e.ask;
	int32_t		after = m->ds->stop >= 0 ? m->ds->stop : (int32_t) m->ds->model->config.mask_id;

	if (row->head > 0)
		memcpy(ids, row->ids, (size_t) row->head * sizeof(*ids));
	for (int i = 0; i < canvas; i++)
	{
		list[i] = row->head + i;
		ids[list[i]] = i < row->target ? row->ids[list[i]] : after;
	}
	if (row->tail > 0)
		memcpy(ids + row->head + canvas, row->ids + row->head + row->target, (size_t) row->tail * sizeof(*ids));
	mark_live(m, list, canvas, (uint8_t *) e.live);
	ask_for(m, &e, canvas, 1);
	return e;
}
