/*
 * t_checkpoint.c - a checkpoint gives back what went in; one that is cut
 * short, changed, of another run, or that did not fit on the disk is refused,
 * and the old file stays.
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "checkpoint.h"
#include "files.h"
#include "harness.h"

#define N_VALUES	5000

static char folder[256];
static char path[300];

typedef struct state
{
	char		about[20];
	float		values[N_VALUES];
	double		counter;
} state;

/* The run's list; a section of two pieces, and an empty one. */
static int
pieces_of(state *s, dl_piece p[5])
{
	p[0] = (dl_piece) {"about", s->about, sizeof(s->about)};
	p[1] = (dl_piece) {"values", s->values, 1000 * sizeof(float)};
	p[2] = (dl_piece) {NULL, s->values + 1000, (N_VALUES - 1000) * sizeof(float)};
	p[3] = (dl_piece) {"nothing", NULL, 0};
	p[4] = (dl_piece) {"counter", &s->counter, sizeof(s->counter)};
	return 5;
}

static void
fill(state *s, float first)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->about, sizeof(s->about), "run %g", (double) first);
	for (int i = 0; i < N_VALUES; i++)
		s->values[i] = first + (float) i;
	s->counter = first / 3;
}

static dlm_status
save(float first, dlm_error *err)
{
	static state s;
	dl_piece	p[5];

	fill(&s, first);
	memset(err, 0, sizeof(*err));
	return dl_checkpoint_write(path, p, pieces_of(&s, p), NULL, err);
}

/* Status of opening and reading; the content must be that of `first` where it is DLM_OK. */
static dlm_status
load(float first, dlm_error *err)
{
	static state got,
				want;
	dl_checkpoint *c = NULL;
	dl_piece	p[5];
	int			n = pieces_of(&got, p);
	dlm_status	st;

	memset(&got, 0, sizeof(got));
	memset(err, 0, sizeof(*err));
	fill(&want, first);
	st = dl_checkpoint_open(path, NULL, &c, err);
	if (st == DLM_OK)
		st = dl_checkpoint_read(c, p, n, err);
	CHECK(st != DLM_OK || memcmp(&got, &want, sizeof(got)) == 0, "%g: other content", (double) first);
	dl_checkpoint_close(c);
	return st;
}

static void
gives_back_what_went_in(void)
{
	dlm_error	err;

	CHECK(load(1, &err) == DLM_ENOENT, "%s", err.message);
	CHECK(save(1, &err) == DLM_OK, "%s", err.message);
	CHECK(load(1, &err) == DLM_OK, "%s", err.message);
	CHECK(save(2, &err) == DLM_OK && load(2, &err) == DLM_OK && files_count(folder) == 1, "%s", err.message);
}

static void
another_run_is_refused(void)
{
	dl_checkpoint *c = NULL;
	dlm_error	err;
	char		about[20] = "run 2";
	float		values[10];
	uint64_t	size = 0;
	dl_piece	wrong[] = {{"about", about, sizeof(about)}, {"values", values, sizeof(values)}};
	dl_piece	missing[] = {{"other", about, sizeof(about)}};

	CHECK(dl_checkpoint_open(path, NULL, &c, &err) == DLM_OK, "%s", err.message);
	if (c == NULL)
		return;
	CHECK(dl_checkpoint_compare(c, "about", about, sizeof(about), "base", &err) == DLM_OK, "%s", err.message);
	CHECK(dl_checkpoint_compare(c, "about", about, 9, "base", &err) == DLM_EINVAL, "size");
	about[4] = '3';
	CHECK(dl_checkpoint_compare(c, "about", about, sizeof(about), "base model", &err) == DLM_EINVAL &&
		  strstr(err.message, "of another base model") != NULL, "%s", err.message);
	CHECK(dl_checkpoint_compare(c, "abaut", about, 10, "base", &err) == DLM_EDAMAGED, "%s", err.message);
	CHECK(dl_checkpoint_read(c, wrong, 2, &err) == DLM_EDAMAGED && about[4] == '3', "%s", err.message);
	CHECK(dl_checkpoint_read(c, missing, 1, &err) == DLM_EDAMAGED, "%s", err.message);
	CHECK(dl_checkpoint_size(c, "values", &size) && size == N_VALUES * sizeof(float), "%zu", (size_t) size);
	CHECK(!dl_checkpoint_size(c, "value", &size), "no such section");
	dl_checkpoint_close(c);
}

/* Cut at every length of header and directory and some beyond, and longer; a bit flipped in every byte of the head. */
static void
damage_is_noticed(void)
{
	size_t		size,
				head = 64 + 4 * 48;
	uint8_t    *data = files_read(path, &size);
	const char *name = strrchr(path, '/') + 1;
	dlm_error	err;

	for (size_t n = 0; n < size; n += n < 2 * head ? 1 : 517)
	{
		files_write(folder, name, data, n);
		CHECK(load(2, &err) == DLM_EDAMAGED, "%zu bytes: %d %s", n, err.status, err.message);
	}
	files_write(folder, name, data, size + 1);
	CHECK(load(2, &err) == DLM_EDAMAGED, "a byte more: %s", err.message);
	for (size_t at = 0; at < size; at += at < 2 * head ? 1 : 517)
	{
		dlm_status	st;

		data[at] ^= (uint8_t) (1 << at % 8);
		files_write(folder, name, data, size);
		st = load(2, &err);
		CHECK(st == DLM_EDAMAGED || (st == DLM_EUNSUPPORTED && at >= 8 && at < 12), "byte %zu: %d %s", at, st, err.message);
		data[at] ^= (uint8_t) (1 << at % 8);
	}
	files_write(folder, name, data, size);
	CHECK(load(2, &err) == DLM_OK, "%s", err.message);
	free(data);
}

static void
what_cannot_be_written_is_refused(void)
{
	dl_piece	p[DL_CHECKPOINT_SECTIONS + 1];
	char		names[DL_CHECKPOINT_SECTIONS + 1][16];
	char		byte = 1;
	dlm_error	err;

	for (int i = 0; i <= DL_CHECKPOINT_SECTIONS; i++)
	{
		snprintf(names[i], sizeof(names[i]), "s%d", i);
		p[i] = (dl_piece) {names[i], &byte, 1};
	}
	CHECK(dl_checkpoint_write(path, p, DL_CHECKPOINT_SECTIONS + 1, NULL, &err) == DLM_EINVAL, "too many");
	p[0].section = NULL;
	CHECK(dl_checkpoint_write(path, p, 1, NULL, &err) == DLM_EINVAL, "no name");
	p[0].section = "a name that is longer than it may be";
	CHECK(dl_checkpoint_write(path, p, 1, NULL, &err) == DLM_EINVAL, "long name");
	CHECK(dl_checkpoint_write(folder, p + 1, 1, NULL, &err) == DLM_EEXIST, "%s", err.message);
	CHECK(dl_checkpoint_write("/nonexistent/x.ckpt", p + 1, 1, NULL, &err) == DLM_ENOENT, "%s", err.message);
	CHECK(load(2, &err) == DLM_OK, "the old one stays: %s", err.message);
}

static bool
stop(void *arg)
{
	return (*(int *) arg)-- <= 0;
}

static void
stopping_leaves_the_old_one(void)
{
	int			left;
	dlm_env		env = {.stop = stop, .arg = &left};
	static state s;
	dl_piece	p[5];
	int			n = pieces_of(&s, p),
				stopped = 0;
	dl_checkpoint *c;
	dlm_error	err;

	fill(&s, 2);
	for (int i = 0; i < 4; i++)
	{
		left = i;
		stopped += dl_checkpoint_write(path, p, n, &env, &err) == DLM_EINTR;
		CHECK(load(2, &err) == DLM_OK && files_count(folder) == 1, "%s", err.message);
	}
	CHECK(stopped == 4, "stopped %d times", stopped);
	left = 0;
	CHECK(dl_checkpoint_open(path, &env, &c, &err) == DLM_EINTR && c == NULL, "reading");
}

static void
full_disk_leaves_the_old_one(void)
{
	struct rlimit old,
				limit;
	dlm_error	err;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	for (rlim_t size = 0; size < 20000; size += 3000)
	{
		dlm_status	st;

		limit = old;
		limit.rlim_cur = size;
		setrlimit(RLIMIT_FSIZE, &limit);
		st = save(3, &err);
		setrlimit(RLIMIT_FSIZE, &old);
		CHECK(st == DLM_ENOSPC, "limit %zu: %d %s", (size_t) size, st, err.message);
		CHECK(load(2, &err) == DLM_OK && files_count(folder) == 1, "limit %zu: %s", (size_t) size, err.message);
	}
	/* a file system of 32 kB, where one may be mounted */
	if (mount("tmpfs", folder, "tmpfs", 0, "size=32k") != 0)
		return;
	CHECK(save(1, &err) == DLM_OK && load(1, &err) == DLM_OK, "%s", err.message);
	CHECK(save(2, &err) == DLM_ENOSPC && files_count(folder) == 1 && load(1, &err) == DLM_OK, "%s", err.message);
	umount(folder);
}

int
main(void)
{
	files_folder(folder);
	snprintf(path, sizeof(path), "%s/run.ckpt", folder);
	gives_back_what_went_in();
	another_run_is_refused();
	damage_is_noticed();
	what_cannot_be_written_is_refused();
	stopping_leaves_the_old_one();
	full_disk_leaves_the_old_one();
	files_remove(folder);
	return harness_end("t_checkpoint");
}
