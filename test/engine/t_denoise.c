/*
 * t_denoise.c - every sampler rule, step by step, and whole answers (lengths,
 * bans, stop tokens) against the PyTorch implementations of
 * test/vectors/make_denoise.py, make_heal.py and make_answers.py; bitwise
 * equality over batches and threads; names of samplers; schedules.
 */
#include "denoise.h"
#include "patched_model.h"

static double
number(const cJSON *options, const char *key)
{
	const cJSON *value = tiny_get(options, key);

	return value ? value->valuedouble : 0;
}

#define MAX_BANS	4

static uint8_t forbidden[4096];
static dlm_text ban[MAX_BANS];

/* The ids that the vectors forbid, as the bitmap of dlm_options. */
static void
read_forbidden(const cJSON *file)
{
	const cJSON *id;

	memset(forbidden, 0, sizeof(forbidden));
	cJSON_ArrayForEach(id, tiny_get(file, "forbidden"))
		forbidden[id->valueint / 8] |= (uint8_t) (1 << id->valueint % 8);
}

static void
read_options(const cJSON *json, dlm_options *o)
{
	dlm_error	err = {0};
	const cJSON *text;

	memset(o, 0, sizeof(*o));
	CHECK(dlm_sampler_parse(tiny_get(json, "sampler")->valuestring, &o->sampler, &err) == DLM_OK, "%s", err.message);
	o->boundary = tiny_get(json, "heal") ? DLM_BOUNDARY_HEAL : DLM_BOUNDARY_PLAIN;
	o->forbidden = forbidden;
	o->steps = (int) number(json, "steps");
	o->seed = (int64_t) number(json, "seed");
	o->temperature = number(json, "temperature");
	o->threshold = number(json, "threshold");
	o->block_length = (int) number(json, "block_length");
	o->cfg_scale = number(json, "cfg_scale");
	o->top_k = (int) number(json, "top_k");
	o->top_p = number(json, "top_p");
	o->length = tiny_get(json, "length") == NULL ? DLM_LENGTH_DEFAULT :
		strcmp(tiny_get(json, "length")->valuestring, "probed") == 0 ? DLM_LENGTH_PROBED : DLM_LENGTH_FIXED;
	o->has_template = tiny_get(json, "tmpl") != NULL;
	if (o->has_template)
		o->tmpl = tiny_text(tiny_get(json, "tmpl")->valuestring);
	o->ban = tiny_get(json, "ban") ? ban : NULL;
	cJSON_ArrayForEach(text, tiny_get(json, "ban"))
		if (o->n_ban < MAX_BANS)
			ban[o->n_ban++] = tiny_text(text->valuestring);
}

/* The canvases that the trace tells of, compared with the vector's, step by step. */
static void
compare_history(const cJSON *item, const dlm_result *r, const char *what)
{
	int			canvas[64];
	int			at = 0;
	const cJSON *state;

	for (int i = 0; i < 64; i++)
		canvas[i] = -1;
	cJSON_ArrayForEach(state, tiny_get(item, "history"))
	{
		int			step = tiny_get(state, "step")->valueint;
		const cJSON *want = tiny_get(state, "canvas");
		bool		equal = at < r->n_trace && r->trace[at].step == step;

		for (; at < r->n_trace && r->trace[at].step == step; at++)
			canvas[r->trace[at].position - 1] = r->trace[at].event == DLM_EVENT_REMASK ? -1 : r->trace[at].id;
		for (int i = 0; i < cJSON_GetArraySize(want); i++)
			equal = equal && cJSON_GetArrayItem(want, i)->valueint == canvas[i];
		CHECK(equal, "%s: the canvas after step %d", what, step);
		if (!equal)
			return;
	}
	CHECK(at == r->n_trace, "%s: %d further changes", what, r->n_trace - at);
}

/* The text of a canvas outside its positions; false if these overlap or stand outside it. */
static bool
text_between(const dlm_result *r, const dlm_trace_row *row, char *out, size_t cap)
{
	size_t		at = 0,
				n = 0;

	for (int i = 0; i <= r->n_positions; i++)
	{
		size_t		end = i < r->n_positions ? row->spans[i].at : row->canvas.len;

		if (end < at || end > row->canvas.len || n + (end - at) + 2 > cap)
			return false;
		memcpy(out + n, row->canvas.data + at, end - at);
		n += end - at;
		out[n++] = '\1';
		at = i < r->n_positions ? end + row->spans[i].len : end;
	}
	out[n] = '\0';
	return at == row->canvas.len;
}

/* Where the tokens of a trace's canvases stand: what lies between them never changes, and a mask is the mask token. */
static void
check_spans(const tiny_model *m, const dlm_result *r, const char *what)
{
	char		first[4096],
				now[4096];

	CHECK(r->n_trace == 0 || text_between(r, &r->trace[0], first, sizeof(first)), "%s: spans", what);
	for (int i = 0; i < r->n_trace; i++)
	{
		const dlm_trace_row *row = &r->trace[i];
		dlm_span	span = row->spans[row->position - 1];
		dlm_text	piece = dlm_token_piece(m->model, row->id);
		bool		last = true;

		CHECK(text_between(r, row, now, sizeof(now)) && strcmp(first, now) == 0, "%s: spans of change %d", what, i);
		for (int k = i + 1; k < r->n_trace && r->trace[k].step == row->step; k++)
			last &= r->trace[k].position != row->position;
		if (row->event == DLM_EVENT_REMASK && last)
			CHECK(span.len == piece.len && memcmp(row->canvas.data + span.at, piece.data, span.len) == 0,
				  "%s: the span of change %d is no mask", what, i);
	}
}

/* Mean of the final log-probabilities of the first `kept` positions, by the trace. */
static double
mean_of_trace(const dlm_result *r, int kept)
{
	double		last[64] = {0};
	double		sum = 0;

	for (int i = 0; i < r->n_trace; i++)
		last[r->trace[i].position - 1] = (double) r->trace[i].logprob;
	for (int i = 0; i < kept; i++)
		sum += last[i];
	return sum / kept;
}

/* What must hold of an answer besides its steps: lengths of the gaps, no banned text. */
static void
check_answer(const cJSON *item, const dlm_result *r, const dlm_options *o, const char *what)
{
	const cJSON *lengths = tiny_get(item, "lengths");
	int			kept = (int) number(item, "kept");

	for (int g = 0; g < r->n_gaps && lengths; g++)
		CHECK(r->gaps[g].tokens == cJSON_GetArrayItem(lengths, g)->valueint, "%s: gap %d has %d tokens", what, g,
			  r->gaps[g].tokens);
	if (kept > 0)
		CHECK(fabs(r->logprob - mean_of_trace(r, kept)) < 1e-6, "%s: %f, but the trace's first %d have %f", what, r->logprob,
			  kept, mean_of_trace(r, kept));
	for (int i = 0; i < o->n_ban; i++)
		CHECK(memmem(r->text.data, r->text.len, o->ban[i].data, o->ban[i].len) == NULL, "%s: \"%.*s\" holds a banned text",
			  what, (int) r->text.len, r->text.data);
}

static void
run_case(const tiny_model *m, const cJSON *item, const char *what)
{
	dlm_options options;
	dlm_request request = {.task = tiny_get(item, "task") ? DLM_GENERATE : DLM_INFILL, .trace = true, .options = &options};
	dlm_error	err = {0};
	dlm_session *s;
	const dlm_result *r;
	double		want = tiny_get(item, "logprob")->valuedouble;

	read_options(tiny_get(item, "options"), &options);
	request.input = tiny_text(tiny_get(item, "template")->valuestring);
	request.max_tokens = (int) number(item, "max_tokens");
	s = tiny_run(m, &request, 1, NULL, &err);
	CHECK(s != NULL, "%s: %s", what, err.message);
	if (s == NULL)
		return;
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == DLM_OK, "%s: %s", what, r->error.message);
	compare_history(item, r, what);
	check_spans(m, r, what);
	check_answer(item, r, &options, what);
	CHECK(fabs(r->logprob - want) < 3e-4, "%s: log-probability %f, not %f", what, r->logprob, want);
	dlm_session_close(s);
}

static void
run_cases(const tiny_model *m, const cJSON *group, const char *name)
{
	const cJSON *item;
	int			number_of = 0;

	cJSON_ArrayForEach(item, tiny_get(group, "cases"))
	{
		char		what[400];
		char	   *shown = cJSON_PrintUnformatted(tiny_get(item, "options"));

		snprintf(what, sizeof(what), "%s %d \"%s\" %s", name, number_of++, tiny_get(item, "template")->valuestring, shown);
		free(shown);
		read_forbidden(tiny_get(item, "forbidden") ? item : group);
		run_case(m, item, what);
	}
	CHECK(number_of > 0, "%s: no case", name);
}

static void
agrees_with_pytorch_step_by_step(const char *name)
{
	char		path[128];
	tiny_model	m;
	cJSON	   *file;

	snprintf(path, sizeof(path), "test/vectors/denoise/%s.json", name);
	file = tiny_json(path);
	CHECK(file != NULL, "%s", path);
	if (!tiny_open(name, &m))
		return;
	run_cases(&m, file, name);
	cJSON_Delete(file);
	tiny_close(&m);
}

/* A file of make_answers.py: groups, each with its model and perhaps its own dlm.json. */
static void
answers_agree_with_pytorch(const char *name)
{
	char		path[128];
	cJSON	   *file;
	const cJSON *group;

	snprintf(path, sizeof(path), "test/vectors/denoise/%s.json", name);
	file = tiny_json(path);
	CHECK(file != NULL, "%s", path);
	cJSON_ArrayForEach(group, file)
	{
		const char *model = tiny_get(group, "model")->valuestring;
		const cJSON *settings = tiny_get(group, "dlm");
		char		what[128];
		tiny_model	m;

		snprintf(what, sizeof(what), "%s, %s", name, model);
		if (!(cJSON_IsObject(settings) ? patched_open(model, settings, &m) : tiny_open(model, &m)))
			continue;
		run_cases(&m, group, what);
		tiny_close(&m);
	}
	cJSON_Delete(file);
}

static bool
same_result(const dlm_result *a, const dlm_result *b)
{
	if (a->error.status != b->error.status || a->text.len != b->text.len || a->n_trace != b->n_trace ||
		memcmp(a->text.data, b->text.data, a->text.len) != 0 ||
		memcmp(&a->logprob, &b->logprob, sizeof(a->logprob)) != 0)
		return false;
	for (int i = 0; i < a->n_trace; i++)
		if (a->trace[i].step != b->trace[i].step || a->trace[i].position != b->trace[i].position ||
			a->trace[i].id != b->trace[i].id || a->trace[i].event != b->trace[i].event ||
			memcmp(&a->trace[i].logprob, &b->trace[i].logprob, sizeof(float)) != 0)
			return false;
	return true;
}

#define BATCH	12

/* All cases of a vector file in one session, on one and on four threads, against each alone. */
static void
batch_equals_single_on_any_threads(const char *name)
{
	static dlm_options options[BATCH];
	static dlm_request request[BATCH];
	char		path[128];
	tiny_model	m;
	cJSON	   *file;
	dlm_env		one = {.threads = 1},
				four = {.threads = 4};
	dlm_error	err = {0};
	dlm_session *batch[2];

	snprintf(path, sizeof(path), "test/vectors/denoise/%s.json", name);
	file = tiny_json(path);
	if (!tiny_open(name, &m) || file == NULL)
		return;
	read_forbidden(file);
	for (int i = 0; i < BATCH; i++)
	{
		const cJSON *item = cJSON_GetArrayItem(tiny_get(file, "cases"), i * 3);

		read_options(tiny_get(item, "options"), &options[i]);
		request[i] = (dlm_request) {.task = DLM_INFILL, .trace = true, .options = &options[i],
			.input = tiny_text(tiny_get(item, "template")->valuestring)};
	}
	batch[0] = tiny_run(&m, request, BATCH, &one, &err);
	batch[1] = tiny_run(&m, request, BATCH, &four, &err);
	CHECK(batch[0] && batch[1], "%s", err.message);
	for (int i = 0; i < BATCH && batch[0] && batch[1]; i++)
	{
		dlm_session *single = tiny_run(&m, &request[i], 1, &one, &err);

		CHECK(single && same_result(dlm_session_result(single, 0), dlm_session_result(batch[0], i)), "%s, request %d: alone "
			  "and in a batch", name, i);
		CHECK(same_result(dlm_session_result(batch[0], i), dlm_session_result(batch[1], i)), "%s, request %d: one and four "
			  "threads", name, i);
		dlm_session_close(single);
	}
	dlm_session_close(batch[0]);
	dlm_session_close(batch[1]);
	cJSON_Delete(file);
	tiny_close(&m);
}

/* Equal seeds give equal samples, other seeds others. */
static void
samples_depend_on_the_seed_alone(void)
{
	tiny_model	m;
	dlm_options a = {.temperature = 1.5, .seed = 1},
				b = {.temperature = 1.5, .seed = 2};
	dlm_text	input = tiny_text("Berlin is [MASK:6] of Germany");
	dlm_request request[] = {{.task = DLM_INFILL, .input = input, .options = &a},
		{.task = DLM_INFILL, .input = input, .options = &b}, {.task = DLM_INFILL, .input = input, .options = &a, .trace = true}};
	dlm_error	err = {0};
	dlm_session *s;

	if (!tiny_open("context", &m))
		return;
	s = tiny_run(&m, request, 3, NULL, &err);
	CHECK(s != NULL, "%s", err.message);
	if (s != NULL)
	{
		dlm_text	x = dlm_session_result(s, 0)->text,
					y = dlm_session_result(s, 1)->text,
					z = dlm_session_result(s, 2)->text;

		CHECK(x.len == z.len && memcmp(x.data, z.data, x.len) == 0, "a trace changes the answer");
		CHECK(x.len != y.len || memcmp(x.data, y.data, x.len) != 0, "two seeds, one answer: %.*s", (int) x.len, x.data);
	}
	dlm_session_close(s);
	tiny_close(&m);
}

static void
sampler_names(void)
{
	static const char *const good[] = {"confidence", "margin", "entropy", "random", "left-to-right",
		"reparam-uncond-deterministic-cosine", "reparam-cond-deterministic-linear", "reparam-uncond-stochastic1.0-cosine",
		"reparam-cond-stochastic.25-linear"};
	static const char *const bad[] = {"", "Confidence", "reparam", "reparam-uncond", "reparam-uncond-deterministic-",
		"reparam-uncond-deterministic-cosines", "reparam-uncond-stochastic-cosine", "reparam-uncond-stochastic1.0.0-cosine",
		"reparam-uncond-stochastic-1-linear", "reparam-uncond-stochastic1e3-linear", "confidence ",
		"reparam-uncond-stochastic99999999999999999999-linear"};
	dlm_sampler s;
	dlm_error	err = {0};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(dlm_sampler_parse(good[i], &s, &err) == DLM_OK && s.kind != DLM_SAMPLER_DEFAULT, "%s", good[i]);
	CHECK(dlm_sampler_parse(good[8], &s, &err) == DLM_OK && s.cond && s.linear && s.noise == 0.25, "its parts");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(dlm_sampler_parse(bad[i], &s, &err) == DLM_EINVAL && strstr(err.hint, "reparam-"), "\"%s\" is taken", bad[i]);
}

/* Schedules fall, end at 0, and never mask more than there is. */
static void
schedules_fall_to_nothing(void)
{
	int			(*const schedule[]) (int, int, int) = {dl_schedule_cosine, dl_schedule_linear, dl_schedule_even};

	for (int k = 0; k < 3; k++)
		for (int n = 1; n < 70; n += 3)
			for (int steps = 1; steps < 90; steps += 4)
			{
				int			before = n;
				bool		falls = true;

				for (int step = 1; step <= steps; step++)
				{
					int			keep = schedule[k] (n, step, steps);

					falls = falls && keep >= 0 && keep <= before;
					before = keep;
				}
				CHECK(falls && before == 0, "schedule %d of %d in %d steps leaves %d", k, n, steps, before);
			}
	CHECK(dl_schedule_cosine(12, 4, 12) == 10, "floor(12 cos(pi / 6)) = floor(10.39), not %d", dl_schedule_cosine(12, 4, 12));
	CHECK(dl_schedule_steps(0, 0, 5) == 5 && dl_schedule_steps(0, 0, 40) == 16 && dl_schedule_steps(0, 0, 65) == 17 &&
		  dl_schedule_steps(3, 9, 65) == 3 && dl_schedule_steps(0, 9, 65) == 9, "default steps");
}

int
main(void)
{
	agrees_with_pytorch_step_by_step("context");
	agrees_with_pytorch_step_by_step("roberta");
	agrees_with_pytorch_step_by_step("qwen3");	/* a space typed before a gap */
	answers_agree_with_pytorch("heal");	/* the same, WordPiece and Metaspace */
	answers_agree_with_pytorch("ranges");
	answers_agree_with_pytorch("bans");
	answers_agree_with_pytorch("stops");
	batch_equals_single_on_any_threads("context");
	batch_equals_single_on_any_threads("roberta");
	samples_depend_on_the_seed_alone();
	sampler_names();
	schedules_fall_to_nothing();
	return harness_end("t_denoise");
}
