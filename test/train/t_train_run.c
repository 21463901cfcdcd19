/*
 * t_train_run.c - whole training runs: the same bits on any number of threads
 * and any CPU, however often a run is interrupted, saved and gone on with;
 * memory as predicted; what comes of a run; what is refused.
 */
#include <math.h>

#include "cpu_masks.h"
#include "runs.h"

/* ------------------------------------------------------------------- bits */

/* Modes, bases, recipes: what a run may consist of. */
static const setting settings[] = {
	{"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 3, true,
		"\"mode\": \"lora\", \"rank\": 2, \"average\": 0.5, \"dropout\": 0.1, \"attention_dropout\": 0.1"},
	{"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"mode\": \"full\", \"average\": 0.5, \"label_smoothing\": 0.1"},
	{"roberta", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 2, false, "\"mode\": \"bias\", \"coupled\": false"},
	{"bf16", DLM_WEIGHTS_BF16, DLM_OBJECTIVE_INSTRUCTION, 2, false, "\"mode\": \"lora\", \"rank\": 3, \"modules\": \"attention,output\""},
	{"llama", DLM_WEIGHTS_INT8, DLM_OBJECTIVE_INSTRUCTION, 2, true, "\"rank\": 2, \"average\": 0.9, \"text_share\": 0.5, \"dropout\": 0.2"},
	{"bert", DLM_WEIGHTS_INT8, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"mode\": \"bias\""},
	{"llama", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"mode\": \"full\", \"recompute\": true, \"schedule\": \"cosine\""},
	{"qwen3", DLM_WEIGHTS_F32, DLM_OBJECTIVE_TEXT, 2, false, "\"rank\": 2, \"validation_share\": 0, \"average\": 0.9"},
	{"context", DLM_WEIGHTS_BF16, DLM_OBJECTIVE_INSTRUCTION, 2, true,
		"\"rank\": 2, \"modules\": \"all,output\", \"distill\": 0.5, \"dropout\": 0.1, \"label_smoothing\": 0.1, \"text_share\": 0.3"},
	{"qwen2", DLM_WEIGHTS_INT8, DLM_OBJECTIVE_TEXT, 1, false, "\"rank\": 2, \"distill\": 1, \"row_share\": 0.6, \"lora_dropout\": 0.1"}
};

#define N_SETTINGS	((int) (sizeof(settings) / sizeof(settings[0])))

static void
bits_do_not_depend_on_threads_or_cpu(const bench *b, const outcome *want)
{
	outcome		got;

	for (int threads = 2; threads <= 3; threads++)
	{
		bench_run(b, &(dlm_env) {.threads = threads}, NULL, &got);
		CHECK(same_outcome(want, &got), "%s %s: %d threads", b->s->model, b->s->options, threads);
	}
	for (int i = 0; i < N_CPU_MASKS; i++)
	{
		bench_run(b, &(dlm_env) {.cpu_mask = cpu_masks[i]}, NULL, &got);
		CHECK(same_outcome(want, &got), "%s %s: cpu mask %u", b->s->model, b->s->options, cpu_masks[i]);
	}
}

static void
bits_do_not_depend_on_interruptions(const bench *b, const outcome *want, trouble *all)
{
	trouble		total = {0};

	for (int round = 0; round < 4; round++)
	{
		trouble		t = {.seed = 100 + (uint64_t) round, .stop_share = round == 1 ? 0 : 0.0015, .resume_share = round == 0 ? 0 : 0.1,
			.threads = round == 3};
		outcome		got;

		bench_run(b, &(dlm_env) {.threads = 3}, &t, &got);
		CHECK(same_outcome(want, &got), "%s %s: round %d, %d stops, %d resumed", b->s->model, b->s->options, round, t.stops,
			  t.resumes);
		total.stops += t.stops;
		total.resumes += t.resumes;
		total.in_steps += t.in_steps;
		total.in_validations += t.in_validations;
	}
	all->stops += total.stops;
	all->resumes += total.resumes;
	all->in_steps += total.in_steps;
	all->in_validations += total.in_validations;
	CHECK(total.stops > 4 && total.resumes > 4 && total.in_steps > 0, "%s %s: %d stops, %d resumed, %d of them in a step",
		  b->s->model, b->s->options, total.stops, total.resumes, total.in_steps);
}

static void
bits(void)
{
	trouble		all = {0};

	for (int i = 0; i < N_SETTINGS; i++)
	{
		bench		b;
		outcome		want,
					other;

		if (!bench_open(&settings[i], &b))
			continue;
		bench_run(&b, &(dlm_env) {0}, NULL, &want);
		bits_do_not_depend_on_threads_or_cpu(&b, &want);
		bits_do_not_depend_on_interruptions(&b, &want, &all);
		b.seed = 5;
		bench_run(&b, &(dlm_env) {0}, NULL, &other);
		CHECK(memcmp(want.values, other.values, 32) != 0, "%s: another seed, the same weights", b.s->model);
		if (strstr(settings[i].options, "distill") != NULL)
		{
			b.seed = 1;
			b.more = ", \"distill\": 0";
			bench_run(&b, &(dlm_env) {0}, NULL, &other);
			CHECK(memcmp(want.values, other.values, 32) != 0, "%s: no teacher, the same weights", b.s->model);
		}
		bench_close(&b);
	}
	printf("%d stops, %d runs resumed, %d of them in a step, %d in a validation\n", all.stops, all.resumes, all.in_steps, all.in_validations);
	CHECK(all.in_validations > 4, "%d resumed in a validation", all.in_validations);
}

/* ------------------------------------------------------------ accumulation */

/* The first step's gradients, in parts of so many tokens. */
static dlm_train *
first_step(bench *b, const char *parts)
{
	dlm_error	err = {0};
	dlm_train  *run;

	b->more = parts;
	run = bench_start(b, &(dlm_env) {0}, &err);
	while (run != NULL && run->state.step == 0 && dlm_train_step(run, &err) == DLM_MORE)
		;
	CHECK(run != NULL && run->state.step == 1, "%s", err.message);
	return run;
}

static void
parts_add_up(void)
{
	static const setting s = {"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 2, false,
		"\"mode\": \"full\", \"dropout\": 0.1, \"attention_dropout\": 0.1, \"clip\": 0"};
	bench		b;
	dlm_train  *whole,
			   *parts;
	double		most = 0,
				worst = 0;

	if (!bench_open(&s, &b))
		return;
	whole = first_step(&b, ", \"part_tokens\": 100000");
	parts = first_step(&b, ", \"part_tokens\": 1");
	for (int i = 0; whole != NULL && parts != NULL && i < whole->p->n; i++)
		for (size_t j = 0; whole->p->list[i].grad != NULL && j < whole->p->list[i].n; j++)
		{
			double		x = whole->p->list[i].grad[j];

			most = fabs(x) > most ? fabs(x) : most;
			worst = fmax(worst, fabs(x - parts->p->list[i].grad[j]));
		}
	CHECK(most > 0 && worst < 2e-6 * most, "largest %g, differs by %g", most, worst);
	CHECK(whole->limits.tokens > 3 * parts->limits.tokens, "%d and %d tokens", whole->limits.tokens, parts->limits.tokens);
	dlm_train_close(whole);
	dlm_train_close(parts);
	bench_close(&b);
}

/* ------------------------------------------------------------------ memory */

/* Start under a limit; the run's memory, 0: refused, with nothing taken but the list of held-out rows. */
static size_t
memory_under(const bench *b, size_t limit, bool *recompute)
{
	dlm_error	err = {0};
	dlm_train  *run = bench_rows(b, &(dlm_env) {.threads = 2, .memory_limit = limit}, &err);
	size_t		before = run != NULL ? dl_arena_used(run->arena) : 0;
	size_t		memory = 0;
	dlm_status	st = run != NULL ? dlm_train_start(run, &err) : err.status;

	if (st == DLM_OK)
	{
		memory = dlm_train_memory(run);
		if (recompute != NULL)
			*recompute = run->limits.recompute;
		CHECK(memory == dl_arena_used(run->arena), "predicted %zu, taken %zu", memory, dl_arena_used(run->arena));
		CHECK(limit == 0 || memory <= limit, "%zu of %zu", memory, limit);
	}
	else
		CHECK(st == DLM_ENOMEM && run != NULL && dl_arena_used(run->arena) <= before + 1024 && dlm_train_memory(run) > limit &&
			  strstr(err.message, "MB") != NULL, "%d %s", (int) st, err.message);
	dlm_train_close(run);
	return memory;
}

static void
memory_is_predicted(void)
{
	static const char *const more[] = {"", ", \"part_tokens\": 40, \"recompute\": false", ", \"part_tokens\": 40, \"recompute\": true"};

	for (int i = 0; i < N_SETTINGS; i++)
	{
		bench		b;
		bool		recompute = false;
		size_t		all,
					least;
		outcome		o;

		if (strstr(settings[i].options, "recompute") != NULL || !bench_open(&settings[i], &b))
			continue;
		for (int j = 1; j < 3; j++)
		{
			b.more = more[j];
			all = memory_under(&b, 0, NULL);
			CHECK(memory_under(&b, all, NULL) == all && memory_under(&b, all - 1, NULL) == 0, "%s%s", b.s->model, more[j]);
		}
		least = all;
		b.more = more[0];
		all = memory_under(&b, 0, &recompute);
		CHECK(!recompute && memory_under(&b, all, NULL) == all, "%s", b.s->model);
		for (size_t limit = all - 1; limit > all / 2; limit -= all / 50)
			if (memory_under(&b, limit, &recompute) == 0)
				break;
		CHECK(recompute, "%s: never computed again, all %zu, least %zu", b.s->model, all, least);

		/* a run under the tightest limit lives with it */
		b.more = more[2];
		bench_run(&b, &(dlm_env) {.threads = 2, .memory_limit = least},
				  &(trouble) {.seed = 3, .resume_share = 0.2}, &o);
		CHECK(o.progress.memory_peak == least, "%s: peak %zu of %zu", b.s->model, o.progress.memory_peak, least);
		bench_close(&b);
	}
}

/* ---------------------------------------------------------------- learning */

static const setting toy = {"llama", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true,
	"\"mode\": \"full\", \"learning_rate\": 0.003, \"schedule\": \"constant\", \"warmup\": 0, \"text_share\": 0, \"validation_share\": 0.3"};

/* The engine's answers to the held-out rows, with the model that was written. */
static double
accuracy_of(const bench *b, const dlm_model *m)
{
	int			right = 0,
				asked = 0;

	for (int i = 0; i < N_ROWS; i++)
	{
		toy_row		row;
		dlm_options options = {.calibrate = DLM_CALIBRATE_NONE};
		dlm_request request = {.task = DLM_CLASSIFY, .options = &options, .has_instruction = true};
		dlm_session *s = NULL;
		dlm_error	err = {0};
		dlm_status	st;

		make_row(b, 0, i, &row);
		if (!is_held_out(b, i))
			continue;
		request.input = row.row.input;
		request.instruction = row.row.instruction;
		request.labels = row.row.labels;
		request.n_labels = row.row.n_labels;
		st = dlm_session_open(m, &request, 1, NULL, &s, &err);
		while (st == DLM_OK && (st = dlm_session_step(s, &err)) == DLM_MORE)
			st = DLM_OK;
		CHECK(st == DLM_OK, "%s", err.message);
		asked++;
		if (st == DLM_OK)
		{
			int			best = dlm_session_result(s, 0)->best;

			right += row.row.labels[best].len == row.row.target.len &&
				memcmp(row.row.labels[best].data, row.row.target.data, row.row.target.len) == 0;
		}
		dlm_session_close(s);
	}
	return (double) right / asked;
}

/* Go on to the end; validations seen, and the best of them by the rule of the file's head. */
static int
run_on(dlm_train *run, dlm_train_progress *first, dlm_train_progress *best)
{
	dlm_train_progress p;
	dlm_error	err = {0};
	dlm_status	st;
	int64_t		seen = -1;
	int			n = 0;

	while ((st = dlm_train_step(run, &err)) == DLM_MORE)
	{
		dlm_train_progress_get(run, &p);
		if (p.validated == seen)
			continue;
		seen = p.validated;
		if (n == 0)
			*first = p;
		if (n++ == 0 || p.validation_accuracy > best->validation_accuracy ||
			(p.validation_accuracy == best->validation_accuracy && p.validation_loss < best->validation_loss))
			*best = p;
	}
	CHECK(st == DLM_OK && dlm_train_step(run, &err) == DLM_OK, "%s", err.message);
	return n;
}

static void
a_toy_is_learned(const setting *s)
{
	bench		b;
	dlm_error	err = {0};
	dlm_train  *run;
	dlm_train_progress first = {0},
				best = {0},
				p;
	fixture		made = {0};
	int			validations;
	double		accuracy;

	if (!bench_open(s, &b))
		return;
	b.learnable = true;
	b.more = ", \"steps\": 150, \"validate_every\": 10, \"batch_tokens\": 300, \"part_tokens\": 0";
	run = bench_start(&b, &(dlm_env) {.threads = 2}, &err);
	if (run == NULL)
		return;
	validations = run_on(run, &first, &best);
	dlm_train_progress_get(run, &p);
	printf("%s: validation loss %.3f to %.3f, labels %.3f to %.3f\n", s->model, first.validation_loss, p.best_loss,
		   first.validation_accuracy, p.best_accuracy);
	CHECK(validations == 16 && p.step == 150 && first.step == 0, "%d validations, %d steps", validations, (int) p.step);
	CHECK(p.best_loss < 0.5 * first.validation_loss && p.best_accuracy > 0.9, "loss %g, %g right", p.best_loss, p.best_accuracy);
	CHECK(p.best_step == best.step && p.best_loss == best.validation_loss && p.best_accuracy == best.validation_accuracy,
		  "best is that of step %d, not %d", (int) p.best_step, (int) best.step);
	CHECK(p.rows_held_out > 3 && p.rows + p.rows_held_out == N_ROWS, "%d held out", (int) p.rows_held_out);
	if (bench_write(run, b.folder, NULL, &made))
	{
		accuracy = accuracy_of(&b, made.model);
		CHECK(accuracy == p.best_accuracy, "the engine has %g right, the validation %g", accuracy, p.best_accuracy);
		fixture_close(&made);
	}
	dlm_train_close(run);
	bench_close(&b);
}

static void
patience_and_time_end_a_run(void)
{
	bench		b;
	dlm_error	err = {0};
	dlm_train  *run;
	dlm_train_progress first,
				best,
				p;

	if (!bench_open(&toy, &b))
		return;
	/* nothing gets better at such a rate */
	b.more = ", \"steps\": 1000, \"validate_every\": 2, \"patience\": 3, \"learning_rate\": 1e-30";
	run = bench_start(&b, &(dlm_env) {0}, &err);
	if (run != NULL)
	{
		CHECK(run_on(run, &first, &best) == 4, "validations");
		dlm_train_progress_get(run, &p);
		CHECK(p.step == 6 && p.best_step == 0, "%d steps, best %d", (int) p.step, (int) p.best_step);
	}
	dlm_train_close(run);

	b.more = ", \"steps\": 1000000, \"validate_every\": 1000000, \"time_limit\": 0.3";
	run = bench_start(&b, &(dlm_env) {0}, &err);
	if (run != NULL)
	{
		CHECK(run_on(run, &first, &best) == 2, "validations");
		dlm_train_progress_get(run, &p);
		CHECK(p.seconds >= 0.3 && p.step > 0 && p.step < 1000000 && p.validated == p.step, "%g s", p.seconds);
	}
	dlm_train_close(run);
	bench_close(&b);
}

/* --------------------------------------------------------- averaged weights */

static void
averaged_weights_are_the_result(void)
{
	static const setting s = {"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"mode\": \"full\", \"average\": 0.9"};
	static const char *const more[] = {", \"validation_share\": 0", ", \"steps\": 6, \"validate_every\": 6"};
	bench		b;
	fixture		f;

	if (!bench_open(&s, &b))
		return;
	for (int i = 0; i < 2; i++)
	{
		dlm_error	err = {0};
		dlm_train_progress first,
					best;
		uint8_t		digest[32],
					averaged[32];
		float	   *last;
		dlm_train  *run;

		b.more = more[i];
		run = bench_start(&b, &(dlm_env) {0}, &err);
		if (run == NULL)
			continue;
		run_on(run, &first, &best);
		if (i == 1)
			CHECK(run->state.best_step != 6 ||
				  memcmp(run->best, run->average, run->p->trained * sizeof(float)) == 0, "the best are not the averaged ones");
		last = malloc(run->p->trained * sizeof(float));
		dl_train_take(run->p, last);
		CHECK(bench_write(run, b.folder, digest, &f), "written");
		fixture_close(&f);
		dl_train_put(run->p, i == 1 ? run->best : run->average);
		/* its rows have labels */
		CHECK(dl_write_model(run->p, b.folder, &(dl_write_options) {.calibrate = DLM_CALIBRATE_NONE}, averaged, &err) == DLM_OK && memcmp(digest, averaged, 32) == 0, "%s", err.message);
		CHECK(memcmp(last, run->average, run->p->trained * sizeof(float)) != 0, "averaged");
		free(last);
		dlm_train_close(run);
	}
	bench_close(&b);
}

/* ------------------------------------------------------------------ not finite */

static void
what_is_not_finite_is_named(void)
{
	static const setting s = {"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"mode\": \"full\", \"validate_every\": 1000"};
	bench		b;
	dlm_error	err = {0};
	dlm_train  *run,
			   *again;
	char		path[300];

	if (!bench_open(&s, &b))
		return;
	run = bench_start(&b, &(dlm_env) {0}, &err);
	while (run != NULL && run->state.step < 3 && dlm_train_step(run, &err) == DLM_MORE)
		;
	if (run == NULL)
		return;
	snprintf(path, sizeof(path), "%s/run.ckpt", b.folder);
	CHECK(dlm_train_save(run, path, &err) == DLM_OK, "%s", err.message);
	run->p->layers[0].ffn_norm.w->value[0] = INFINITY;
	CHECK(dlm_train_step(run, &err) == DLM_EDAMAGED && strstr(err.message, "in step 4, row 1") != NULL, "%s", err.message);
	CHECK(dlm_train_step(run, &err) == DLM_EDAMAGED, "and again: %s", err.message);
	CHECK(dlm_train_write(run, b.folder, NULL, &err) == DLM_OK, "the best weights are those before: %s", err.message);
	CHECK(dlm_train_save(run, path, &err) == DLM_EDAMAGED && strstr(err.message, "after step 3") != NULL, "not saved: %s", err.message);
	again = bench_start(&b, &(dlm_env) {0}, &err);
	CHECK(again != NULL && dlm_train_resume(again, path, &err) == DLM_OK && again->state.step == 3, "%s", err.message);
	dlm_train_close(again);
	dlm_train_close(run);

	/* a held-out row */
	run = bench_start(&b, &(dlm_env) {0}, &err);
	if (run != NULL)
		run->p->layers[0].ffn_norm.w->value[0] = INFINITY;
	CHECK(run != NULL && dlm_train_step(run, &err) == DLM_EDAMAGED && strstr(err.message, "after step 0, held-out row ") != NULL,
		  "%s", err.message);
	dlm_train_close(run);

	/* by its rate alone; with no validation, no weights are left to write */
	b.more = ", \"learning_rate\": 1, \"warmup\": 0, \"clip\": 0, \"epsilon\": 1e-30, \"weight_decay\": 1, \"steps\": 100000, \"schedule\": \"constant\","
		" \"validation_share\": 0, \"beta1\": 0.99, \"beta2\": 0, \"mode\": \"lora\", \"rank\": 1, \"alpha\": 1e5";
	b.s = &(setting) {"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true, "\"dropout\": 0"};
	run = bench_start(&b, &(dlm_env) {0}, &err);
	for (int i = 0; run != NULL && i < 4000 && dlm_train_step(run, &err) == DLM_MORE; i++)
		;
	CHECK(err.status == DLM_EDAMAGED && strstr(err.message, "in step ") != NULL, "learning rate 1: %s", err.message);
	dlm_train_close(run);
	bench_close(&b);
}

/* ---------------------------------------------------------------- refusals */

static void
resume_refuses(const bench *b, const char *path, const char *words)
{
	dlm_error	err = {0};
	dlm_train  *run = bench_start(b, &(dlm_env) {0}, &err);
	dlm_status	st;

	CHECK(run != NULL, "%s", err.message);
	if (run == NULL)
		return;
	st = dlm_train_resume(run, path, &err);
	CHECK(st == (words == NULL ? DLM_OK : DLM_EINVAL) && (words == NULL || strstr(err.message, words) != NULL), "%s", err.message);
	dlm_train_close(run);
}

static void
another_run_is_refused(void)
{
	bench		b,
				other;
	setting		s = settings[0];
	dlm_error	err = {0};
	dlm_train  *run;
	char		path[300];

	if (!bench_open(&s, &b))
		return;
	snprintf(path, sizeof(path), "%s/run.ckpt", b.folder);
	run = bench_start(&b, &(dlm_env) {0}, &err);
	CHECK(run != NULL && dlm_train_save(run, path, &err) == DLM_OK, "%s", err.message);
	resume_refuses(&b, path, NULL);
	b.more = ", \"time_limit\": 100, \"patience\": 7, \"validate_every\": 5, \"part_tokens\": 70, \"recompute\": true";
	resume_refuses(&b, path, NULL);
	b.more = ", \"learning_rate\": 0.5";
	resume_refuses(&b, path, "other options");
	b.more = ", \"steps\": 10";
	resume_refuses(&b, path, "other options");
	b.more = ", \"rank\": 3";
	resume_refuses(&b, path, "other options");
	b.more = ", \"average\": 0.6";
	resume_refuses(&b, path, "other options");
	b.more = NULL;
	b.seed = 9;
	resume_refuses(&b, path, "other options");
	b.seed = 1;
	b.first_row = 1;
	resume_refuses(&b, path, "other rows");
	b.first_row = 0;
	s.sources = 2;
	resume_refuses(&b, path, "other rows");
	s.sources = 3;
	b.heavy = true;
	resume_refuses(&b, path, "other options");
	b.heavy = false;
	CHECK(dlm_train_resume(run, "/nonexistent", &err) == DLM_ENOENT, "%s", err.message);
	s.model = "roberta";
	if (bench_open(&s, &other))
	{
		resume_refuses(&other, path, "another base");
		bench_close(&other);
	}
	while (run->state.step == 0 && dlm_train_step(run, &err) == DLM_MORE)
		;
	CHECK(dlm_train_resume(run, path, &err) == DLM_EINVAL && dlm_train_init(run, b.folder, &err) == DLM_EINVAL, "%s", err.message);
	dlm_train_close(run);
	bench_close(&b);
}

static void
calls_out_of_order_are_refused(void)
{
	bench		b;
	dlm_error	err = {0};
	dlm_train  *run;
	toy_row		row;
	int			source;
	uint8_t		digest[32];

	if (!bench_open(&settings[0], &b))
		return;
	run = bench_rows(&b, &(dlm_env) {0}, &err);
	if (run == NULL)
		return;
	CHECK(dlm_train_step(run, &err) == DLM_EINVAL && dlm_train_save(run, "x", &err) == DLM_EINVAL &&
		  dlm_train_resume(run, "x", &err) == DLM_EINVAL && dlm_train_init(run, "x", &err) == DLM_EINVAL &&
		  dlm_train_write(run, b.folder, digest, &err) == DLM_EINVAL &&
		  dlm_train_write_adapter(run, b.folder, false, &err) == DLM_EINVAL, "before start: %s", err.message);
	CHECK(dlm_train_weigh(run, 7, 1, &err) == DLM_EINVAL && dlm_train_weigh(run, -1, 1, &err) == DLM_EINVAL, "%s", err.message);
	dlm_train_threads(run, 4);
	CHECK(dlm_train_source(run, "empty", 1, &source, &err) == DLM_OK && source == 3, "%s", err.message);
	CHECK(dlm_train_start(run, &err) == DLM_EINVAL && strstr(err.message, "empty") != NULL, "%s", err.message);
	dlm_train_source_drop(run);
	dlm_train_source_drop(run);
	CHECK(dlm_train_start(run, &err) == DLM_OK && run->ds->n_sources == 3, "%s", err.message);
	make_row(&b, 0, 0, &row);
	CHECK(dlm_train_start(run, &err) == DLM_EINVAL && dlm_train_add(run, 0, &row.row, &err) == DLM_EINVAL &&
		  dlm_train_source(run, "x", 1, &source, &err) == DLM_EINVAL && dlm_train_weigh(run, 0, 1, &err) == DLM_EINVAL, "after it");
	dlm_train_close(run);
	bench_close(&b);
}

/* ---------------------------------------------------------------- interrupted calls */

/* Stop at a call's poll number `at`, once. */
typedef struct once
{
	int			at;
	int			polls;
} once;

static bool
stop_once(void *arg)
{
	once	   *o = arg;

	return o->polls++ == o->at;
}

static void
interrupted_calls_can_be_made_again(void)
{
	bench		b;
	once		o = {.at = -1};
	dlm_env		env = {.stop = stop_once, .arg = &o};
	dlm_error	err = {0};
	dlm_train  *run = NULL,
			   *other = NULL;
	toy_row		row;
	uint8_t		want[32],
				digest[32];
	char		path[300];
	static char text[400000];
	int			stopped = 0;
	int			files;

	if (!bench_open(&settings[4], &b))
		return;
	b.more = ", \"on_overflow\": \"truncate\"";
	snprintf(path, sizeof(path), "%s/run.ckpt", b.folder);
	run = bench_rows(&b, &env, &err);
	if (run == NULL)
		return;
	make_row(&b, 0, N_ROWS, &row);
	memset(text, 'x', sizeof(text));
	row.row.input = (dlm_text) {text, sizeof(text)};
	for (int at = 0; at < 1000; at++)
	{
		dlm_status	st;

		o = (once) {.at = at};
		st = dlm_train_add(run, 0, &row.row, &err);
		CHECK(st == DLM_OK || st == DLM_EINTR, "%s", err.message);
		stopped += st == DLM_EINTR;
		if (st == DLM_OK)
			break;
	}
	CHECK(stopped > 0 && run->ds->source[0].items == N_ROWS + 1, "%d stopped, %d rows", stopped, run->ds->source[0].items);
	o = (once) {.at = -1};
	CHECK(dlm_train_start(run, &err) == DLM_OK, "%s", err.message);
	while (run->state.step < 2 && dlm_train_step(run, &err) == DLM_MORE)
		;
	CHECK(dlm_train_write(run, b.folder, want, &err) == DLM_OK && run->state.step == 2, "before the end: %s", err.message);
	files = files_count(b.folder);
	stopped = 0;
	for (int at = 0; at < 400; at++)
	{
		dlm_status	st;

		o = (once) {.at = at};
		st = dlm_train_write(run, b.folder, digest, &err);
		CHECK((st == DLM_EINTR || (st == DLM_OK && memcmp(want, digest, 32) == 0)) && files_count(b.folder) == files, "%s", err.message);
		if (st == DLM_OK)
			break;
		stopped++;
	}
	CHECK(stopped > 3 && stopped < 400, "%d of the writes stopped", stopped);
	o = (once) {.at = 1};
	CHECK(dlm_train_save(run, path, &err) == DLM_EINTR && files_count(b.folder) == files, "%s", err.message);
	CHECK(dlm_train_save(run, path, &err) == DLM_OK && files_count(b.folder) == files + 1, "%s", err.message);
	dlm_train_close(run);

	o = (once) {.at = -1};
	other = bench_rows(&b, &env, &err);
	CHECK(other != NULL && dlm_train_add(other, 0, &row.row, &err) == DLM_OK && dlm_train_start(other, &err) == DLM_OK, "%s", err.message);
	o = (once) {.at = 0};
	CHECK(other != NULL && dlm_train_resume(other, path, &err) == DLM_EINTR && other->state.step == 0, "%s", err.message);
	CHECK(other != NULL && dlm_train_resume(other, path, &err) == DLM_OK && other->state.step == 2, "%s", err.message);
	dlm_train_close(other);
	bench_close(&b);
}

int
main(void)
{
	bits();
	parts_add_up();
	memory_is_predicted();
	a_toy_is_learned(&toy);
	a_toy_is_learned(&(setting) {"paper", DLM_WEIGHTS_F32, DLM_OBJECTIVE_INSTRUCTION, 1, true,
		"\"mode\": \"full\", \"learning_rate\": 0.003, \"schedule\": \"constant\", \"dropout\": 0, \"attention_dropout\": 0, \"patience\": 0,"
		" \"validation_share\": 0.3"});
	patience_and_time_end_a_run();
	averaged_weights_are_the_result();
	what_is_not_finite_is_named();
	another_run_is_refused();
	calls_out_of_order_are_refused();
	interrupted_calls_can_be_made_again();
	return harness_end("t_train_run");
}
