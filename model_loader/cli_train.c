/*
 * cli_train.c - dlm-model train: files of rows in, a model out.
 *
 * A signal (interrupt, terminate) ends the run with a checkpoint; --resume
 * goes on from it to the bits of a run that was never stopped.
 */
#include "cli_train.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"
#include "train_options.h"

#define MAX_FILES		512
#define MAX_FLAGS		64
#define OWN_FLAGS		17
#define SAVE_SECONDS	300.0	/* between two checkpoints */
#define SHOW_SECONDS	30.0	/* between two lines where there is no terminal */

typedef struct dl_trainer
{
	const char *base;
	const char *files[MAX_FILES + 1];	/* base, then files */
	int			n_files;
	const char *objective,
			   *out,
			   *adapter,
			   *adapter_weights,
			   *init,
			   *checkpoint,
			   *examples,
			   *validation,
			   *log,
			   *split,
			   *part;
	int			most_rows,
				threads,
				memory;			/* MB */
	bool		resume,
				skip_long,
				quiet;
	int64_t		skipped;
	int			source;			/* of the file that is read */
	bool		empty;			/* the last one had no rows: the next file takes its place */
	char		flag_name[MAX_FLAGS][32];
	const char *flag_value[MAX_FLAGS];

	dl_cli_model model;
	dlm_train_options *options;
	dlm_train  *train;
	FILE	   *csv;
	double		first,			/* of --part */
				last;
	double		saved,			/* seconds: when */
				shown;
	int			log_failed;		/* errno */
	int64_t		logged,			/* step, and step of the validation */
				logged_validation;
} dl_trainer;

static volatile sig_atomic_t stopping;

static void
on_signal(int number)
{
	stopping = 1;
}

static bool
asked_to_stop(void *arg)
{
	return stopping != 0;
}

/* ------------------------------------------------------------------ command */

static int
parse(dl_trainer *r, int argc, char **argv, bool *help)
{
	dl_cli_option options[OWN_FLAGS + MAX_FLAGS + 1] = {
		{"--objective", DL_CLI_STRING, &r->objective, "instruction (default), text or length"},
		{"--out", DL_CLI_STRING, &r->out, "the model to write"},
		{"--adapter", DL_CLI_STRING, &r->adapter, "a folder for LoRA's factors"},
		{"--adapter-weights", DL_CLI_STRING, &r->adapter_weights, "f32 (default) or bf16, half the size"},
		{"--init", DL_CLI_STRING, &r->init, "begin from the LoRA adapter in this folder"},
		{"--checkpoint", DL_CLI_STRING, &r->checkpoint, "written every five minutes and at the end"},
		{"--resume", DL_CLI_FLAG, &r->resume, "go on from --checkpoint, if it is there"},
		{"--examples", DL_CLI_STRING, &r->examples, "write the steps' masked rows to this file and train nothing"},
		{"--validation", DL_CLI_STRING, &r->validation, "file of rows never trained on"},
		{"--log", DL_CLI_STRING, &r->log, "CSV, a line for each step and each validation"},
		{"--split", DL_CLI_STRING, &r->split, "rows whose \"split\" is another are passed over"},
		{"--part", DL_CLI_STRING, &r->part, "A:B, the part of each text file's lines to take, e.g. 0:0.95"},
		{"--rows", DL_CLI_INT, &r->most_rows, "most rows of a file, evenly spread"},
		{"--skip-long", DL_CLI_FLAG, &r->skip_long, "pass over rows that are too long"},
		{"--threads", DL_CLI_INT, &r->threads, "default: all CPUs of this process"},
		{"--memory", DL_CLI_INT, &r->memory, "MB, default: half of the machine's"},
		{"--quiet", DL_CLI_FLAG, &r->quiet, "no progress"}
	};
	int			at = 0;

	while (options[at].name != NULL)
		at++;
	for (int i = 0; i < MAX_FLAGS; i++, at++)
	{
		const char *text;

		if (!dl_train_option_flag(i, r->flag_name[i], &text))
			break;
		options[at] = (dl_cli_option) {r->flag_name[i], DL_CLI_STRING, &r->flag_value[i], text};
	}
	return dl_cli_parse(argc, argv, "train [options] BASE.dlm ROWS[:FACTOR] ...", options, r->files, MAX_FILES + 1, &r->n_files, help);
}

static dlm_status
make_options(dl_trainer *r, dlm_error *err)
{
	static const char *const names[] = {"instruction", "text", "length"};
	dlm_status	st;
	int			objective = 0;

	while (objective < 3 && r->objective != NULL && strcmp(names[objective], r->objective) != 0)
		objective++;
	if (objective == 3)
		return dl_fail(err, DLM_EINVAL, "Objectives are instruction, text and length.", "unknown objective \"%s\"", r->objective);
	st = dlm_train_options_parse("", 0, (dlm_objective) objective, &r->options, err);
	for (int i = 0; i < MAX_FLAGS && st == DLM_OK; i++)
		if (r->flag_value[i] != NULL)
			st = dl_train_option_set(r->options, r->flag_name[i], r->flag_value[i], err);
	return st;
}

/* --------------------------------------------------------------------- rows */

/* "FILE:2" is mixed twice as often as FILE, unless there is a file of that name. */
static double
take_factor(char *path)
{
	char	   *colon = strrchr(path, ':');
	char	   *end;
	double		factor;

	if (colon == NULL || colon[1] == '\0' || access(path, F_OK) == 0)
		return 1;
	factor = strtod(colon + 1, &end);
	if (*end != '\0' || !(factor > 0) || !isfinite(factor))
		return 1;
	*colon = '\0';
	return factor;
}

/* Sources are mixed by the square root of their rows, so that large tasks do not drown small ones. */
static dlm_status
read_source(dl_trainer *r, int i, char *path, dlm_error *err)
{
	double		factor = take_factor(path);
	bool		text = dl_train_is_text(path);
	int64_t		rows = 0,
				skipped = 0;
	dl_train_choice choice = {r->split, text ? r->first : 0, text ? r->last : 1, r->most_rows, r->skip_long};
	dlm_status	st = DLM_OK;

	if (i > 0 && !r->empty)
		st = dlm_train_source(r->train, path, 1, &r->source, err);
	if (st == DLM_OK)
		st = dl_train_read(r->train, path, &choice, r->source, &rows, &skipped, err);
	r->empty = rows == 0;
	r->skipped += skipped;
	if (st == DLM_OK && rows > 0)
		st = dlm_train_weigh(r->train, r->source, factor * sqrt((double) rows), err);
	return st;
}

static dlm_status
read_rows(dl_trainer *r, dlm_error *err)
{
	dlm_status	st = dl_cli_part(r->part, &r->first, &r->last, err);
	dl_train_choice all = {NULL, 0, 1, 0, r->skip_long};
	int64_t		rows,
				skipped = 0;

	for (int i = 1; i < r->n_files && st == DLM_OK; i++)
	{
		char	   *path = strdup(r->files[i]);

		st = path != NULL ? read_source(r, i - 1, path, err) : dl_fail_memory(err);
		free(path);
	}
	if (st == DLM_OK && r->validation != NULL)
		st = dl_train_read(r->train, r->validation, &all, DLM_TRAIN_VALIDATION, &rows, &skipped, err);
	r->skipped += skipped;
	if (r->empty)
		dlm_train_source_drop(r->train);
	return st;
}

/* ----------------------------------------------------------------- progress */

static void
show(dl_trainer *r, bool last)
{
	dlm_train_progress p;
	bool		terminal = isatty(STDERR_FILENO);
	double		now = dl_cli_seconds();
	double		left;

	if (r->quiet || (!last && now - r->shown < (terminal ? 0.2 : SHOW_SECONDS)))
		return;
	r->shown = now;
	dlm_train_progress_get(r->train, &p);
	left = p.step > 0 ? p.seconds / (double) p.step * (double) (p.steps - p.step) : 0;
	fprintf(stderr, "%sstep %lld of %lld", terminal ? "\r\033[K" : "", (long long) p.step, (long long) p.steps);
	if (!isnan(p.loss))
		fprintf(stderr, ", %.0f tokens/s, loss %.3f, right %.3f", p.tokens_per_second, p.loss, p.accuracy);
	if (!isnan(p.validation_loss))
		fprintf(stderr, "; held out %.3f", p.validation_loss);
	if (!isnan(p.validation_accuracy))
		fprintf(stderr, isnan(p.validation_near) ? ", labels %.3f (best %.3f)" : ", lengths exact %.3f, within 1 %.3f",
				p.validation_accuracy, isnan(p.validation_near) ? p.best_accuracy : p.validation_near);
	fprintf(stderr, "; %d:%02d:%02d left%s", (int) (left / 3600), (int) (left / 60) % 60, (int) left % 60, terminal && !last ? "" : "\n");
	fflush(stderr);
}

/* Take away what a run wrote after the checkpoint from which this one goes on, and a line that it did not end. */
static void
cut_log(const dl_trainer *r)
{
	dlm_train_progress p;
	FILE	   *f = fopen(r->log, "r+e");
	char	   *line = NULL;
	size_t		size = 0;
	off_t		keep = 0;
	ssize_t		len;

	if (f == NULL)
		return;					/* none yet, or opening it again says why not */
	dlm_train_progress_get(r->train, &p);
	while ((len = getline(&line, &size, f)) > 0 && line[len - 1] == '\n' && strtoll(line, NULL, 10) <= p.step)
		keep += len;
	free(line);
	if (ftruncate(fileno(f), keep) != 0)
		fprintf(stderr, "dlm-model: could not cut \"%s\": %s\n", r->log, strerror(errno));
	fclose(f);
}

static dlm_status
open_log(dl_trainer *r, dlm_error *err)
{
	dlm_train_progress p;

	if (r->log == NULL)
		return DLM_OK;
	if (r->resume)
		cut_log(r);
	r->csv = fopen(r->log, r->resume ? "ae" : "we");
	if (r->csv == NULL)
		return dl_fail(err, DLM_EIO, "", "could not open \"%s\": %s", r->log, strerror(errno));
	fseek(r->csv, 0, SEEK_END);
	if (ftell(r->csv) == 0)
		fprintf(r->csv, "step,tokens,seconds,loss,right,rate,gradient,validation_loss,validation_right\n");
	dlm_train_progress_get(r->train, &p);
	r->logged = p.step;
	r->logged_validation = p.validated;
	return DLM_OK;
}

/* An empty field where there is no number. */
static void
put_number(FILE *f, double x, const char *after)
{
	if (!isnan(x))
		fprintf(f, "%.6g", x);
	fputs(after, f);
}

/* A line after each step, and one after each validation: with its figures, of the step before. */
static void
write_log(dl_trainer *r)
{
	dlm_train_progress p;
	bool		validated;

	dlm_train_progress_get(r->train, &p);
	validated = p.validated != r->logged_validation;
	if (r->csv == NULL || r->log_failed != 0 || (p.step == r->logged && !validated))
		return;
	r->logged = p.step;
	r->logged_validation = p.validated;
	fprintf(r->csv, "%lld,%llu,%.1f,", (long long) p.step, (unsigned long long) p.tokens, p.seconds);
	put_number(r->csv, p.loss, ",");
	put_number(r->csv, p.accuracy, ",");
	put_number(r->csv, p.rate, ",");
	put_number(r->csv, p.gradient, ",");
	put_number(r->csv, validated ? p.validation_loss : NAN, ",");
	put_number(r->csv, validated ? p.validation_accuracy : NAN, "\n");
	if (fflush(r->csv) == 0)
		return;
	r->log_failed = errno;
	fprintf(stderr, "dlm-model: could not write \"%s\": %s; the training goes on\n", r->log, strerror(errno));
}

/* ---------------------------------------------------------------------- run */

static dlm_status
save(dl_trainer *r, bool now, dlm_error *err)
{
	if (r->checkpoint == NULL || (!now && dl_cli_seconds() - r->saved < SAVE_SECONDS))
		return DLM_OK;
	r->saved = dl_cli_seconds();
	return dlm_train_save(r->train, r->checkpoint, err);
}

static dlm_status
run_steps(dl_trainer *r, dlm_error *err)
{
	dlm_status	st = DLM_MORE;
	dlm_error	unsaved;
	bool		stopped;

	r->saved = dl_cli_seconds();
	while (st == DLM_MORE && !stopping)
	{
		st = dlm_train_step(r->train, err);
		show(r, false);
		write_log(r);
		if (st == DLM_MORE && save(r, false, err) != DLM_OK)
			return err->status;
	}
	show(r, true);
	/*
	 * What failed keeps the checkpoint of its last complete step. Not where numbers are no longer finite: that step's weights
	 * made them so, and the checkpoint before is the last good one. Saving looks at the flag too.
	 */
	stopped = stopping;
	stopping = 0;
	if (st != DLM_EDAMAGED && save(r, true, &unsaved) != DLM_OK && (st == DLM_OK || st == DLM_EINTR || st == DLM_MORE))
		*err = unsaved, st = unsaved.status;
	else if (stopped && (st == DLM_MORE || st == DLM_EINTR))
		st = dl_fail(err, DLM_EINTR, r->checkpoint != NULL ? "Go on with --resume." : "", "stopped");
	return st;
}

/* The folder of a path. false: too long. */
static bool
folder_of(const char *path, char folder[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t		len = slash == NULL ? 1 : slash == path ? 1 : (size_t) (slash - path);

	if (len + 100 >= PATH_MAX)
		return false;
	memcpy(folder, slash == NULL ? "." : path, len);
	folder[len] = '\0';
	return true;
}

/* Better now than after a night: can a file be written there? NULL: it need not be. */
static dlm_status
check_place(const char *path, bool is_file, dlm_error *err)
{
	char		folder[PATH_MAX];
	struct stat sb;

	if (path == NULL)
		return DLM_OK;
	if (!folder_of(path, folder))
		return dl_fail(err, DLM_EINVAL, "", "a path is too long");
	if (access(folder, W_OK | X_OK) != 0)
		return dl_fail(err, DLM_EIO, "", "cannot write \"%s\": %s", path, strerror(errno));
	if (is_file && stat(path, &sb) == 0 && !S_ISREG(sb.st_mode))
		return dl_fail(err, DLM_EEXIST, "", "\"%s\" exists and is not a regular file", path);
	return DLM_OK;
}

static dlm_status
check_places(const dl_trainer *r, dlm_error *err)
{
	dlm_status	st = check_place(r->out, true, err);
	dl_recipe	recipe;

	if (st == DLM_OK)
		st = check_place(r->checkpoint, true, err);
	if (st == DLM_OK)
		st = check_place(r->examples, true, err);
	if (st == DLM_OK)
		st = check_place(r->adapter, false, err);
	if (st == DLM_OK && r->adapter != NULL)
		st = dl_train_recipe_resolve(r->options, r->model.model, &recipe, err);
	if (st == DLM_OK && r->adapter != NULL && recipe.train.mode != DL_TRAIN_LORA)
		st = dl_fail(err, DLM_EINVAL, "", "only runs of mode \"lora\" have an adapter");
	return st;
}

static bool
adapter_bf16(const dl_trainer *r)
{
	return r->adapter_weights != NULL && strcmp(r->adapter_weights, "bf16") == 0;
}

/* dlm_train_write names files by digest; here the user does. In a folder of its own, so that no file of that name is touched. */
static dlm_status
write_out(dl_trainer *r, dlm_error *err)
{
	char		folder[PATH_MAX];
	char		path[PATH_MAX + 70];
	uint8_t		digest[32];
	int			at;
	dlm_status	st;

	(void) folder_of(r->out, folder);	/* check_places has */
	strcat(folder, "/.dlm-train-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return dl_fail(err, DLM_EIO, "", "could not create \"%s\": %s", folder, strerror(errno));
	st = dlm_train_write(r->train, folder, digest, err);
	at = snprintf(path, sizeof(path), "%s/", folder);
	for (int i = 0; i < 32 && st == DLM_OK; i++)
		at += snprintf(path + at, sizeof(path) - (size_t) at, "%02x", digest[i]);
	snprintf(path + at, sizeof(path) - (size_t) at, ".dlm");
	if (st == DLM_OK && rename(path, r->out) != 0)
	{
		st = dl_fail(err, DLM_EIO, "", "could not rename \"%s\" to \"%s\": %s", path, r->out, strerror(errno));
		unlink(path);
	}
	rmdir(folder);
	return st;
}

static dlm_status
begin(dl_trainer *r, dlm_error *err)
{
	dlm_env		env = {.stop = asked_to_stop, .threads = r->threads > 0 ? r->threads : dl_cli_threads()};
	size_t		half = (size_t) sysconf(_SC_PHYS_PAGES) * (size_t) sysconf(_SC_PAGESIZE) / 2;
	dlm_status	st = make_options(r, err);
	bool		resume;

	env.memory_limit = r->memory > 0 ? (size_t) r->memory << 20 : half;
	if (st == DLM_OK)
		st = dl_cli_open(r->files[0], &r->model, err);
	if (st == DLM_OK)
		st = check_places(r, err);
	if (st == DLM_OK)
		st = dlm_train_open(r->model.model, r->options, &env, &r->train, err);
	if (st == DLM_OK)
		st = read_rows(r, err);
	if (st == DLM_OK)
		st = dlm_train_start(r->train, err);
	resume = r->resume && access(r->checkpoint, F_OK) == 0;
	if (st == DLM_OK && r->init != NULL && !resume)
		st = dlm_train_init(r->train, r->init, err);
	if (st == DLM_OK && resume)
		st = dlm_train_resume(r->train, r->checkpoint, err);
	return st == DLM_OK ? open_log(r, err) : st;
}

static void
announce(const dl_trainer *r)
{
	dlm_train_progress p;

	dlm_train_progress_get(r->train, &p);
	if (!r->quiet)
		fprintf(stderr, "%lld rows, %lld held out, %lld too long; %lld steps; %zu MB\n", (long long) p.rows,
				(long long) p.rows_held_out, (long long) r->skipped, (long long) p.steps, dlm_train_memory(r->train) >> 20);
}

static dlm_status
train(dl_trainer *r, dlm_error *err)
{
	dlm_status	st = begin(r, err);

	if (st != DLM_OK)
		return st;
	announce(r);
	if (r->examples != NULL)
		return dlm_train_examples(r->train, r->examples, err);
	st = run_steps(r, err);
	if (st == DLM_OK && r->adapter != NULL)
		st = dlm_train_write_adapter(r->train, r->adapter, adapter_bf16(r), err);
	if (st == DLM_OK && r->out != NULL)
		st = write_out(r, err);
	if (st == DLM_OK && r->log_failed != 0)
		st = dl_fail(err, DLM_EIO, "All else was written.", "\"%s\" is not complete: %s", r->log, strerror(r->log_failed));
	return st;
}

/* What options there must be, and which go together. */
static int
check_command(const dl_trainer *r)
{
	const char *wrong = r->n_files < 2 ? "train needs a base model and at least one file of rows" :
		r->out == NULL && r->adapter == NULL && r->checkpoint == NULL && r->examples == NULL ?
		"train needs --out, --adapter, --checkpoint or --examples" :
		r->examples != NULL && (r->out != NULL || r->adapter != NULL || r->checkpoint != NULL || r->log != NULL) ?
		"--examples trains nothing: it goes without --out, --adapter, --checkpoint and --log" :
		r->adapter_weights != NULL && !adapter_bf16(r) && strcmp(r->adapter_weights, "f32") != 0 ? "--adapter-weights is f32 or bf16" :
		r->resume && r->checkpoint == NULL ? "--resume needs --checkpoint" : NULL;

	if (wrong != NULL)
		fprintf(stderr, "dlm-model: %s\n", wrong);
	return wrong != NULL ? DL_EXIT_USAGE : DL_EXIT_OK;
}

int
dl_cli_train(int argc, char **argv)
{
	dl_trainer *r = calloc(1, sizeof(*r));
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
	dlm_error	err = {0};
	bool		help;
	int			rc;

	if (r == NULL)
		return dl_cli_fail((dl_fail_memory(&err), &err));
	rc = parse(r, argc, argv, &help);
	if (rc == DL_EXIT_OK && !help)
		rc = check_command(r);
	if (rc == DL_EXIT_OK && !help)
	{
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		if (train(r, &err) != DLM_OK)
			rc = dl_cli_fail(&err);
	}
	if (r->csv != NULL)
		fclose(r->csv);
	dlm_train_close(r->train);
	dl_cli_close(&r->model);
	free(r->options);
	free(r);
	return rc;
}
