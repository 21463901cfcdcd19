/*
 * t_mask.c - masks over many draws: rates, weights, coupled views, spans, live
 * positions, stop tokens; what is asked for and what the model then reads.
 */
#include "data.h"

#include "canvas.h"
#include "fmath.h"

#define DRAWS	20000

/* Rows 0: a long target; 1: a short one; 2: a text. */
static bool
rows_open(bed *b, const char *name)
{
	static dlm_text red = {"red", 3};
	dl_row_text rows[3] = {
		data_instruction("Is it?", "the boat", "the boat is red and sails over a cold sea"),
		data_instruction(NULL, "where is the boat today", "red"),
		data_plain("the boat is red and sails over a cold sea today where the boat is no boat"),
	};

	if (!bed_open(b, name, &(dl_dataset_options) {.row_tokens = 100}))
		return false;
	rows[1].labels = &red;
	rows[1].n_labels = 1;
	for (int i = 0; i < 3; i++)
		data_add(b->ds, 0, &rows[i]);
	b->masking = (dl_masking) {.timesteps = 10, .spans = 1};
	return true;
}

static dl_example
view(bed *b, int row, uint64_t draw, int which)
{
	if (which == 0)
		b->space.used = 0;
	return dl_mask_view(&b->m, &b->ds->rows[row], draw, which, &b->space);
}

static bool
near(double got, double want, double tolerance)
{
	return got >= want - tolerance && got <= want + tolerance;
}

/* ----------------------------------------------------------- every example */

/* The row before masking: ids with the targets put back; false where an ask is not masked. */
static bool
unmasked(const bed *b, const dl_example *e, int32_t *ids)
{
	int32_t		mask = (int32_t) b->f.model->config.mask_id;
	int			masks = 0;

	memcpy(ids, e->ids, (size_t) e->n * sizeof(int32_t));
	for (int i = 0; i < e->n; i++)
		masks += ids[i] == mask;
	for (int i = 0; i < e->n_ask; i++)
	{
		if (e->ask[i] < (int) b->f.model->config.logit_shift || (i > 0 && e->ask[i] <= e->ask[i - 1]) ||
			ids[e->ask[i]] != mask || !e->live[e->ask[i]])
			return false;
		ids[e->ask[i]] = e->target[i];
	}
	return masks == e->n_ask && masks > 0;
}

/*
 * Canvas [n] of an example: live positions but for those that only predict a
 * run's first token. A single fixed token between two runs counts as canvas.
 */
static int
canvas_of(const bed *b, const dl_example *e, uint8_t *canvas)
{
	int			n = 0;

	for (int i = 0; i < e->n; i++)
	{
		canvas[i] = e->live[i] && (b->f.model->config.logit_shift == 0 || (i > 0 && e->live[i - 1]));
		n += canvas[i];
	}
	return n;
}

/* dl_canvas_build lays out the same runs as gaps: its live positions, and its masks where all are masked. */
static void
live_is_the_engines(const bed *b, const dl_example *e, const int32_t *ids)
{
	uint8_t		canvas[200];
	dl_ids		piece[101] = {0};
	unsigned	rule[100] = {0};
	bool		lone[100] = {0};
	int			length[100] = {0};
	dl_frame	frame = {.piece = piece, .first_rule = rule, .lone_space = lone};
	dl_canvas	c;
	dlm_error	err = {0};
	int			masked = canvas_of(b, e, canvas);

	piece[0].id = (int32_t *) ids;
	for (int i = 0; i < e->n; i++)
		if (canvas[i])
		{
			frame.n_gaps += i == 0 || !canvas[i - 1];
			length[frame.n_gaps - 1]++;
		}
		else
		{
			if (piece[frame.n_gaps].n++ == 0)
				piece[frame.n_gaps].id = (int32_t *) ids + i;
		}
	CHECK(dl_canvas_build(b->f.model, &frame, length, b->a, &c, &err) == DLM_OK, "%s", err.message);
	CHECK(c.n == e->n && data_same(c.live, e->live, (size_t) e->n), "live positions are not the engine's");
	for (int i = 0; i < e->n; i++)
		if (masked == e->n_ask && c.ids[i] != e->ids[i])
			CHECK(false, "token %d is not the engine's", i);
	dl_canvas_free(&c, b->a);
}

/* The row's tokens stand around and in the canvas; ends stop tokens behind the target; nothing special of a text. */
static void
check_example(const bed *b, const dl_data_row *row, const dl_example *e, bool as_text)
{
	int32_t		ids[200];
	uint8_t		canvas[200];
	int			ends = e->n - dl_row_tokens(row);
	int			front = row->head + row->target;

	CHECK(unmasked(b, e, ids), "what is asked for is not what is masked");
	CHECK(data_same(ids, row->ids, (size_t) front * sizeof(int32_t)) &&
		  data_same(ids + front + ends, row->ids + front, (size_t) row->tail * sizeof(int32_t)), "other tokens");
	for (int i = front; i < front + ends; i++)
		CHECK(ids[i] == b->ds->stop, "token %d is not a stop token", i);
	canvas_of(b, e, canvas);
	for (int i = 0; i < e->n && !as_text; i++)
		CHECK(canvas[i] == (i >= row->head && i < front + ends), "position %d, canvas %d", i, canvas[i]);
	for (int i = 0; i < e->n_ask && as_text; i++)
		CHECK(!dl_tok_is_special(b->f.model->tok, e->target[i]) &&
			  (!row->text || (e->ask[i] >= row->head && e->ask[i] < front)), "position %d of a text is canvas",
			e->ask[i]);
	live_is_the_engines(b, e, ids);
}

static void
every_example_is_sound(const char *name)
{
	bed			b;

	if (!rows_open(&b, name))
		return;
	b.masking = (dl_masking) {.timesteps = 7, .coupled = true, .whole = 0.3, .end_tokens = 3, .row_share = 0.1,
		.spans = 4,
		.cover_least = 0.05, .cover_most = 0.6};
	for (int text = 0; text < 2; text++)
		for (uint64_t draw = 0; draw < 300; draw++)
			for (int r = 0; r < 3; r++)
			{
				dl_example	e;

				b.masking.text_share = text;
				for (int v = 0; v < 2; v++)
				{
					e = view(&b, r, draw, v);
					check_example(&b, &b.ds->rows[r], &e, text == 1 || r == 2);
					CHECK(e.n == dl_mask_tokens(&b.m, &b.ds->rows[r], draw) && e.n <= dl_mask_most_tokens(&b.m,
						  &b.ds->rows[r]) &&
						  e.n_ask <= dl_mask_most_asks(&b.m, &b.ds->rows[r]), "%d tokens, %d asks", e.n, e.n_ask);
				}
			}
	bed_close(&b);
}

/* ---------------------------------------------------------------- teachers */

/* Is nothing of the row's text shown behind a position? What stands behind the text is the template's. */
static bool
nothing_is_shown_behind(const bed *b, const dl_data_row *row, const dl_example *e, bool as_text, int position)
{
	int			canvas_end = e->n - row->tail;
	int			end = as_text ? 0 : canvas_end;

	for (int i = 0; i < e->n && as_text; i++)
	{
		bool		masked = e->ids[i] == (int32_t) b->f.model->config.mask_id;

		if ((!row->text || (i >= row->head && i < row->head + row->target)) &&
			(masked || !dl_tok_is_special(b->f.model->tok, e->ids[i])))
			end = i + 1;
	}
	for (int i = position; i < end; i++)
		if (e->ids[i] != (int32_t) b->f.model->config.mask_id)
			return false;
	return true;
}

typedef struct teaching
{
	int			views,
				none,			/* views without a teacher */
				all,			/* for every ask */
				ends;			/* asks for stop tokens behind the first */
} teaching;

static void
check_taught(const bed *b, const dl_data_row *row, const dl_example *e, bool as_text, teaching *t)
{
	int			taught = 0;

	for (int i = 0; i < e->n_ask; i++)
	{
		bool		end = !as_text && e->ask[i] > row->head + row->target;
		float		want = !end && nothing_is_shown_behind(b, row, e, as_text, e->ask[i]) ? 0.25f : 0;

		if (e->taught[i] != want)
			CHECK(false, "ask %d of %d: %g of its target is the teacher's, not %g", i, e->n_ask, (double) e->taught[i],
				  (double) want);
		taught += want > 0;
		t->ends += end;
	}
	t->views++;
	t->none += taught == 0;
	t->all += taught == e->n_ask;
}

static void
teachers_know_what_the_view_knows(const char *name)
{
	teaching	t[4] = {0};		/* the rows of rows_open; instruction rows as text */
	bed			b;

	if (!rows_open(&b, name))
		return;
	b.masking = (dl_masking) {.timesteps = 7, .coupled = true, .whole = 0.3, .end_tokens = 3, .row_share = 0.3, .spans = 4,
		.cover_least = 0.05, .cover_most = 0.6, .distill = 0.25};
	for (int text = 0; text < 2; text++)
		for (uint64_t draw = 0; draw < 1000; draw++)
			for (int r = 0; r < 3; r++)
				for (int v = 0; v < 2; v++)
				{
					dl_example	e;

					b.masking.text_share = text;
					e = view(&b, r, draw, v);
					check_taught(&b, &b.ds->rows[r], &e, text == 1 || r == 2, &t[text == 1 && r < 2 ? 3 : r]);
				}
	for (int i = 0; i < 4; i++)
		CHECK(t[i].none > t[i].views / 20 && t[i].all > 5 && t[i].none + t[i].all < t[i].views * 9 / 10 && (t[i].ends > 100) == (i < 2),
			  "%s %d: of %d views %d have no teacher, %d for all; %d stop tokens", name, i, t[i].views, t[i].none, t[i].all, t[i].ends);
	b.masking.distill = 0;
	CHECK(view(&b, 0, 1, 0).taught == NULL, "a teacher without a share");
	b.masking.distill = 0.25;
	b.space.used = 0;
	CHECK(dl_mask_validation(&b.m, &b.ds->rows[0], &b.space).taught == NULL, "a teacher of a validation");
	bed_close(&b);
}

/* ------------------------------------------------------------------ rates */

/* What a view is, over many draws of a row. */
typedef struct tally
{
	int			views,
				whole;
	double		masked,			/* share of the canvas, of those that are not whole */
				weight;
	int			masks_at[64];	/* views that mask this place of the canvas */
	int			tokens;
} tally;

static tally
tally_of(bed *b, int row, int which)
{
	tally		t = {0};
	const dl_data_row *r = &b->ds->rows[row];

	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	e;
		int			canvas = dl_mask_tokens(&b->m, r, draw) - r->head - r->tail;

		b->space.used = 0;
		e = dl_mask_view(&b->m, r, draw, which, &b->space);
		t.views++;
		t.tokens += e.n;
		t.whole += e.n_ask == canvas;
		t.masked += (double) e.n_ask / canvas / DRAWS;
		t.weight += (double) e.weight[0] / DRAWS;
		for (int i = 0; i < e.n_ask; i++)
		{
			t.masks_at[e.ask[i] - r->head]++;
			if (e.weight[i] != e.weight[0])
				CHECK(false, "weights of one view differ");
		}
	}
	return t;
}

/* P(nothing is masked, so that one is forced), and the mean share masked, at rate t / T of n tokens. */
static double
mean_masked(int t, int T, int n)
{
	double		none = 1;

	for (int i = 0; i < n; i++)
		none *= 1 - (double) t / T;
	return (double) t / T + none / n;
}

static void
rates_are_uniform(void)
{
	bed			b;
	tally		t;
	double		want = 0;
	int			n;

	if (!rows_open(&b, "llama"))
		return;
	n = b.ds->rows[0].target;
	for (int i = 1; i <= 10; i++)
		want += mean_masked(i, 10, n) / 10;
	t = tally_of(&b, 0, 0);
	CHECK(near(t.masked, want, 0.01), "%g of the canvas masked, not %g", t.masked, want);
	CHECK(near(t.weight, 1, 1e-9), "constant weight is %g", t.weight);
	for (int i = 0; i < n; i++)
		CHECK(near((double) t.masks_at[i] / DRAWS, want, 0.02), "place %d is masked in %d views", i, t.masks_at[i]);
	b.masking.weighting = DL_WEIGHT_LINEAR;
	t = tally_of(&b, 0, 0);
	CHECK(near(t.weight, 0.55, 0.01), "linear weight is %g", t.weight);
	b.masking.timesteps = 1;
	t = tally_of(&b, 0, 0);
	CHECK(t.whole == DRAWS && near(t.weight, 1, 1e-9), "one timestep masks everything");
	bed_close(&b);
}

static void
whole_canvases_are_a_share(void)
{
	static const double shares[] = {0, 0.2, 0.5, 0.7, 1};
	bed			b;

	if (!rows_open(&b, "llama"))
		return;
	b.masking.timesteps = 1000000;	/* the others are hardly ever whole by their rate */
	b.masking.weighting = DL_WEIGHT_LINEAR;
	for (int i = 0; i < 5; i++)
	{
		double		whole = shares[i];
		double		chance = 1.0 / (b.ds->rows[0].target + 1);	/* of all n masked, at a uniform rate */
		tally		one,
					two;

		b.masking.whole = whole;
		b.masking.coupled = false;
		one = tally_of(&b, 0, 0);
		CHECK(near((double) one.whole / DRAWS, whole + (1 - whole) * chance, 0.015), "%d of %d are whole", one.whole,
			  DRAWS);
		CHECK(near(one.weight, whole + (1 - whole) * 0.5, 0.01), "weight %g", one.weight);
		b.masking.coupled = true;
		one = tally_of(&b, 0, 0);
		two = tally_of(&b, 0, 1);
		/* at the larger of two rates n are masked with 2 / (n + 2); at the smaller with 2 / (n + 1) - 2 / (n + 2) */
		CHECK((one.whole + two.whole) / 2.0 / DRAWS >= whole - 0.01 && (one.whole + two.whole) / 2.0 / DRAWS <=
			  whole + (1 - whole) * 2 * chance, "%d and %d of coupled views are whole", one.whole, two.whole);
		CHECK(one.whole >= two.whole, "the second view is whole more often: %d, %d", two.whole, one.whole);
	}
	bed_close(&b);
}

/* ---------------------------------------------------------------- coupled */

static bool
is_subset(const dl_example *inner, const dl_example *outer)
{
	int			j = 0;

	for (int i = 0; i < inner->n_ask; i++)
	{
		while (j < outer->n_ask && outer->ask[j] < inner->ask[i])
			j++;
		if (j == outer->n_ask || outer->ask[j] != inner->ask[i])
			return false;
	}
	return true;
}

/* Linear weights tell the timestep. */
static int
step_of(double weight, int T)
{
	return (int) ((1 - weight) * T + 0.5) + 1;
}

static void
second_views_are_subsets(double whole)
{
	bed			b;
	int			equal = 0,
				outside = 0;
	double		masked[2] = {0},
				weight[2] = {0},
				larger = 0,
				smaller = 0;

	if (!rows_open(&b, "context"))
		return;
	b.masking.coupled = true;
	b.masking.whole = whole;
	b.masking.weighting = DL_WEIGHT_LINEAR;
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	one = view(&b, 0, draw, 0);
		dl_example	two = view(&b, 0, draw, 1);
		int			t[2] = {step_of((double) one.weight[0], 10), step_of((double) two.weight[0], 10)};

		CHECK(one.n == two.n && data_same(one.live, two.live, (size_t) one.n), "views of other canvases");
		masked[0] += (double) one.n_ask / b.ds->rows[0].target / DRAWS;
		masked[1] += (double) two.n_ask / b.ds->rows[0].target / DRAWS;
		weight[0] += (double) one.weight[0] / DRAWS;
		weight[1] += (double) two.weight[0] / DRAWS;
		equal += t[0] == t[1];
		if (is_subset(&two, &one))
			continue;
		outside++;
		CHECK(t[0] == t[1], "draw %d: not a subset, at %d and %d", (int) draw, t[0], t[1]);
	}
	if (whole > 0)
		return bed_close(&b);
	for (int i = 1; i <= 10; i++)	/* P(max = i) = (2 i - 1) / 100, P(min = i) = (21 - 2 i) / 100 */
	{
		larger += (2 * i - 1) / 100.0 * mean_masked(i, 10, b.ds->rows[0].target);
		smaller += (21 - 2 * i) / 100.0 * i / 10.0;
	}
	CHECK(near(equal, DRAWS / 10.0, DRAWS / 80.0) && outside > equal / 3, "%d at one rate, %d no subsets", equal,
		  outside);
	CHECK(near(masked[0], larger, 0.01), "first views mask %g, not %g", masked[0], larger);
	CHECK(masked[1] > smaller && masked[1] < smaller + 0.06, "second views mask %g, not %g and a little", masked[1],
		  smaller);
	CHECK(near(weight[0], 0.385, 0.01) && near(weight[1], 0.715, 0.01), "weights %g, %g", weight[0], weight[1]);
	bed_close(&b);
}

/* ---------------------------------------------------------------- weights */

static void
weights_are_divided_by_the_canvas(void)
{
	static const double norms[] = {0, 0.5, 1};
	bed			b;

	if (!rows_open(&b, "llama"))
		return;
	b.masking.whole = 1;
	for (int i = 0; i < 3; i++)
		for (int r = 0; r < 3; r++)
		{
			dl_example	e;
			double		want;

			b.masking.row_norm = norms[i];
			b.masking.row_share = 1;
			e = view(&b, r, 5, 0);
			want = 1 / dl_pow(b.ds->rows[r].target, norms[i]);
			CHECK(near((double) e.weight[0] / want, 1, 1e-6) && e.n_ask == b.ds->rows[r].target,
				  "row %d, norm %g: %g, not %g",
				  r, norms[i], (double) e.weight[0], want);
		}
	b.masking = (dl_masking) {.timesteps = 10, .spans = 1, .weighting = DL_WEIGHT_LINEAR,
		.short_target = b.ds->rows[1].target};
	CHECK(near(tally_of(&b, 1, 0).weight, 1, 1e-9) && tally_of(&b, 0, 0).weight < 0.6, "short targets weigh 1");
	b.masking.short_target--;
	CHECK(tally_of(&b, 1, 0).weight < 0.6, "longer ones do not");
	bed_close(&b);
}

static void
stop_tokens_follow_the_target(void)
{
	bed			b;
	dl_dataset *ds;
	int			count[6] = {0};
	double		mean = 0;

	if (!rows_open(&b, "context"))
		return;
	b.masking.end_tokens = 4;
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		int			ends = dl_mask_tokens(&b.m, &b.ds->rows[0], draw) - dl_row_tokens(&b.ds->rows[0]);

		CHECK(ends >= 1 && ends <= 4, "%d stop tokens", ends);
		count[ends < 0 || ends > 5 ? 5 : ends]++;
		mean += (double) (dl_row_tokens(&b.ds->rows[0]) + ends) / DRAWS;
	}
	for (int i = 1; i <= 4; i++)
		CHECK(near(count[i], DRAWS / 4.0, DRAWS / 60.0), "%d times %d stop tokens", count[i], i);
	CHECK(near(dl_mask_mean_tokens(&b.m, &b.ds->rows[0]), mean, 0.05), "%g tokens, the mean is %g",
		  dl_mask_mean_tokens(&b.m, &b.ds->rows[0]), mean);
	CHECK(dl_mask_tokens(&b.m, &b.ds->rows[2], 1) == dl_row_tokens(&b.ds->rows[2]), "a text ends as it is");
	ds = b.ds;
	ds->row_tokens = dl_row_tokens(&ds->rows[0]) + 2;
	for (uint64_t draw = 0; draw < 100; draw++)
		CHECK(dl_mask_tokens(&b.m, &ds->rows[0], draw) <= ds->row_tokens, "more stop tokens than there is room for");
	ds->stop = -1;
	CHECK(dl_mask_tokens(&b.m, &ds->rows[0], 1) == dl_row_tokens(&ds->rows[0]), "a model without stop tokens");
	bed_close(&b);
}

/* ------------------------------------------------------------------- texts */

static void
spans_cover_a_share(int row)
{
	bed			b;
	int			runs[8] = {0};
	int			places = 0;
	double		cover = 0;
	int			at[200] = {0};
	uint8_t		eligible[200] = {0};

	if (!rows_open(&b, "context"))
		return;
	b.masking = (dl_masking) {.timesteps = 1, .spans = 3, .cover_least = 0.25, .cover_most = 0.5, .text_share = 1};
	for (int i = 1; i < dl_row_tokens(&b.ds->rows[row]); i++)
	{
		const dl_data_row *r = &b.ds->rows[row];

		eligible[i] = !dl_tok_is_special(b.f.model->tok, r->ids[i]) && (!r->text || (i >= r->head &&
		i < r->head + r->target));
		places += eligible[i];
	}
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	e = view(&b, row, draw, 0);
		int			spans = 0;

		for (int i = 0; i < e.n_ask; i++)
		{
			int			before = e.ask[i] - 1;

			while (before > 0 && !eligible[before])
				before--;		/* a special token does not end a span */
			spans += i == 0 || e.ask[i - 1] != before;
			at[e.ask[i]]++;
			CHECK(eligible[e.ask[i]], "position %d is canvas", e.ask[i]);
		}
		CHECK(e.n_ask >= places / 4 && e.n_ask <= (places + 1) / 2 && spans >= 1 && spans <= 3, "%d of %d in %d spans",
			  e.n_ask,
			  places, spans);
		runs[spans & 7]++;
		cover += (double) e.n_ask / places / DRAWS;
	}
	CHECK(near(cover, 0.375, 0.01), "spans cover %g", cover);
	for (int i = 1; i <= 3; i++)
		CHECK(near(runs[i], DRAWS / 3.0, DRAWS / 50.0), "%d spans in %d draws", i, runs[i]);
	for (int i = 0; i < 200; i++)
		CHECK(!eligible[i] || at[i] > DRAWS / 20, "position %d is covered in %d draws", i, at[i]);
	bed_close(&b);
}

static void
shares_of_texts_and_rows(void)
{
	bed			b;
	int			texts = 0,
				rows = 0,
				longest = 0;

	if (!rows_open(&b, "context"))
		return;
	b.masking = (dl_masking) {.timesteps = 1, .spans = 1, .cover_least = 0.1, .cover_most = 0.2, .text_share = 0.3,
		.row_share = 0.4, .end_tokens = 1};
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	e = view(&b, 0, draw, 0);
		dl_example	t = view(&b, 2, draw, 1);

		texts += e.ask[0] != b.ds->rows[0].head;
		rows += t.n_ask == b.ds->rows[2].target;
		longest = e.n > longest ? e.n : longest;
	}
	/* a span of a text begins at the target now and then */
	CHECK(near(texts, 0.3 * DRAWS, 0.02 * DRAWS), "%d of %d are texts", texts, DRAWS);
	CHECK(near(rows, 0.4 * DRAWS, 0.02 * DRAWS), "%d of %d are whole rows", rows, DRAWS);
	CHECK(longest == dl_row_tokens(&b.ds->rows[0]) + 1, "%d tokens", longest);
	bed_close(&b);
}

/* Covers and numbers of spans at their ends, on rows of few tokens. */
static void
small_rows(const char *name)
{
	char		words[100];
	bed			b;

	if (!bed_open(&b, name, &(dl_dataset_options) {0}))
		return;
	for (int i = 1; i <= 6; i++)
	{
		dl_row_text text = data_plain(data_words(i, 3, words, sizeof(words)));

		data_add(b.ds, 0, &text);
	}
	for (int i = 0; i < 4; i++)
	{
		b.masking = (dl_masking) {.timesteps = 3, .spans = 50, .cover_least = i / 3.0,
			.cover_most = i < 2 ? i / 3.0 : 1};
		for (uint64_t draw = 0; draw < 200; draw++)
			for (int r = 0; r < b.ds->n; r++)
			{
				dl_example	e = view(&b, r, draw, 0);

				check_example(&b, &b.ds->rows[r], &e, true);
			}
	}
	bed_close(&b);
}

/* ------------------------------------------------------------------ fields */

/* The targets of an example, as text. */
static bool
asks_for(const bed *b, const dl_example *e, const char *text)
{
	char		got[200];
	size_t		n = 0;

	for (int i = 0; i < e->n_ask && n < sizeof(got); i++)
		n += dl_tok_bytes(b->f.model->tok, e->target[i], i > 0 ? e->target[i - 1] : e->ids[e->ask[0] - 1], got + n, sizeof(got) - n);
	return n == strlen(text) && memcmp(got, text, n) == 0;
}

/* Known lines in front, the values of the last ones as canvas; names and line ends are shown. */
static void
last_values_are_canvas(void)
{
	bed			b;
	int			one = 0;
	dl_row_text row = data_plain("the boat: red\nsea: cold: and red\ntoday: a boat");

	if (!bed_open(&b, "context", &(dl_dataset_options) {.row_tokens = 100}))
		return;
	data_add(b.ds, 0, &row);
	b.masking = (dl_masking) {.timesteps = 1, .spans = 4, .cover_least = 0.1, .cover_most = 0.2, .fields = 1};
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	e = view(&b, 0, draw, 0);
		bool		last = asks_for(&b, &e, " a boat");

		check_example(&b, &b.ds->rows[0], &e, true);
		one += last;
		CHECK(last || asks_for(&b, &e, " cold: and red a boat"), "draw %d: %d tokens", (int) draw, e.n_ask);
	}
	CHECK(near(one, DRAWS / 2.0, DRAWS / 50.0), "one value in %d draws", one);
	b.masking.spans = 1;
	for (uint64_t draw = 0; draw < 100; draw++)
	{
		dl_example	e = view(&b, 0, draw, 0);

		CHECK(asks_for(&b, &e, " a boat"), "no more than spans says");
	}
	b.masking.fields = 0.25;
	one = 0;
	for (uint64_t draw = 0; draw < DRAWS; draw++)
	{
		dl_example	e = view(&b, 0, draw, 0);

		/* a span of ten to twenty in a hundred is shorter than the last value, or stands elsewhere nearly always */
		one += asks_for(&b, &e, " a boat");
	}
	CHECK(near(one, DRAWS / 4.0, DRAWS / 25.0), "%d of %d are fields", one, DRAWS);
	bed_close(&b);
}

/* Texts that are no rows of a table have spans as ever: at least one token, and not more than they may cover. */
static void
other_texts_have_spans(void)
{
	static const char *const texts[] = {"the boat: red", "the boat is red\nsea: cold", "the boat: red\n\nsea: cold", "the boat:\nsea: cold",
		"\nthe boat: red\nsea: cold", "the boat: red\nsea", "the boat: red\nsea:"};
	bed			b;

	if (!bed_open(&b, "context", &(dl_dataset_options) {.row_tokens = 100}))
		return;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		dl_row_text row = data_plain(texts[i]);

		data_add(b.ds, 0, &row);
	}
	b.masking = (dl_masking) {.timesteps = 1, .spans = 1, .fields = 1};
	for (int r = 0; r < b.ds->n; r++)
		for (uint64_t draw = 0; draw < 100; draw++)
		{
			dl_example	e = view(&b, r, draw, 0);

			CHECK(e.n_ask == 1, "row %d: %d tokens", r, e.n_ask);
		}
	bed_close(&b);
}

/* --------------------------------------------------------------- functions */

static bool
same_example(const dl_example *a, const dl_example *b)
{
	size_t		n = (size_t) a->n_ask;

	return a->n == b->n && a->n_ask == b->n_ask && data_same(a->ids, b->ids, (size_t) a->n * sizeof(int32_t)) &&
		data_same(a->live, b->live, (size_t) a->n) && data_same(a->ask, b->ask, n * sizeof(int32_t)) &&
		data_same(a->target, b->target, n * sizeof(int32_t)) && data_same(a->weight, b->weight, n * sizeof(float));
}

static void
views_are_functions(void)
{
	bed			b;
	int			changed[3] = {0};

	if (!rows_open(&b, "context"))
		return;
	b.masking = (dl_masking) {.timesteps = 50, .coupled = true, .end_tokens = 9, .text_share = 0.5, .row_share = 0.1,
		.spans = 4,
		.cover_least = 0.1, .cover_most = 0.5};
	for (uint64_t draw = 0; draw < 200; draw++)
	{
		dl_example	first = view(&b, 0, draw << 33, 0);
		dl_example	again = dl_mask_view(&b.m, &b.ds->rows[0], draw << 33, 0, &b.space);
		dl_example	other[3];

		CHECK(same_example(&first, &again), "draw %d is another the second time", (int) draw);
		other[0] = dl_mask_view(&b.m, &b.ds->rows[0], draw << 33, 1, &b.space);
		other[1] = dl_mask_view(&b.m, &b.ds->rows[0], (draw + 1) << 33, 0, &b.space);
		b.m.seed += (int64_t) 1 << 40;
		other[2] = dl_mask_view(&b.m, &b.ds->rows[0], draw << 33, 0, &b.space);
		b.m.seed -= (int64_t) 1 << 40;
		for (int i = 0; i < 3; i++)
			changed[i] += !same_example(&first, &other[i]);
	}
	for (int i = 0; i < 3; i++)
		CHECK(changed[i] > 180, "%d of 200 differ in %s", changed[i], i == 0 ? "view" : i == 1 ? "draw" : "seed");
	bed_close(&b);
}

static void
validation_is_the_same_each_time(const char *name)
{
	bed			b;

	if (!rows_open(&b, name))
		return;
	b.masking = (dl_masking) {.timesteps = 50, .coupled = true, .end_tokens = 9, .text_share = 0.5, .row_share = 1,
		.spans = 4,
		.cover_least = 0.1, .cover_most = 0.5, .row_norm = 1};
	for (int r = 0; r < 3; r++)
	{
		const dl_data_row *row = &b.ds->rows[r];
		dl_example	e,
					again;

		b.space.used = 0;
		e = dl_mask_validation(&b.m, row, &b.space);
		again = dl_mask_validation(&b.m, row, &b.space);
		check_example(&b, row, &e, r == 2);
		CHECK(same_example(&e, &again), "row %d is another the second time", r);
		CHECK(e.n == dl_row_tokens(row) + (r < 2), "row %d has %d tokens", r, e.n);
		CHECK(r == 2 ? e.n_ask < row->target : e.n_ask == row->target + 1, "%d asks of row %d", e.n_ask, r);
		for (int i = 0; i < e.n_ask; i++)
			CHECK(e.weight[i] == 1, "weight %g", (double) e.weight[i]);
	}
	b.masking.end_tokens = 0;
	b.space.used = 0;
	CHECK(dl_mask_validation(&b.m, &b.ds->rows[0], &b.space).n_ask == b.ds->rows[0].target,
		  "stop tokens are not trained");
	bed_close(&b);
}

static void
refusals(void)
{
	const dl_masking good = {.timesteps = 1, .spans = 1};
	dl_masking	m[13];
	static const char *const words[13] = {
		NULL, "masking needs at least one timestep", "shares of masking must be in [0, 1]",
		"shares of masking must be in [0, 1]",
		"shares of masking must be in [0, 1]",
		"the share of a row that spans cover must be in [0, 1], least before most",
		"the share of a row that spans cover must be in [0, 1], least before most",
		"masking needs at least one span, and no negative numbers of tokens",
		"masking needs at least one span, and no negative numbers of tokens",
		"masking needs at least one span, and no negative numbers of tokens",
		"the power of a canvas' length must be at least 0", "the power of a canvas' length must be at least 0",
		"shares of masking must be in [0, 1]"
	};

	for (int i = 0; i < 13; i++)
		m[i] = good;
	m[1].timesteps = 0;
	m[2].whole = NAN;
	m[3].text_share = 1.1;
	m[4].row_share = -0.1;
	m[5].cover_least = 0.5;
	m[6].cover_most = 1.5;
	m[7].spans = 0;
	m[8].end_tokens = -1;
	m[9].short_target = -1;
	m[10].row_norm = -1;
	m[11].row_norm = INFINITY;
	m[12].fields = 2;
	CHECK(dl_masking_check(&m[0], NULL) == DLM_OK, "good choices");
	for (int i = 1; i < 13; i++)
		REFUSED(dl_masking_check(&m[i], &why), DLM_EINVAL, words[i]);
}

int
main(void)
{
	for (int i = 0; i < N_TINY_MODELS; i++)
	{
		every_example_is_sound(tiny_models[i]);
		teachers_know_what_the_view_knows(tiny_models[i]);
		validation_is_the_same_each_time(tiny_models[i]);
	}
	rates_are_uniform();
	whole_canvases_are_a_share();
	second_views_are_subsets(0);
	second_views_are_subsets(0.3);
	second_views_are_subsets(0.8);
	weights_are_divided_by_the_canvas();
	stop_tokens_follow_the_target();
	spans_cover_a_share(0);
	spans_cover_a_share(2);
	shares_of_texts_and_rows();
	small_rows("llama");
	small_rows("context");
	small_rows("llada");
	small_rows("bert");
	last_values_are_canvas();
	other_texts_have_spans();
	views_are_functions();
	refusals();
	return harness_end("t_mask");
}
