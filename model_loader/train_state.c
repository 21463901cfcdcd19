/*
 * train_state.c - a run as a checkpoint, and what comes of it.
 *
 * A checkpoint says which base, rows and choices it belongs to; a run with
 * others does not go on from it. Time limits may differ.
 */
#include "train_impl.h"

#include <math.h>
#include <string.h>

#include "checkpoint.h"
#include "sha256.h"
#include "status.h"
#include "train_write.h"

#define FIXED_PIECES	9		/* state, batches, the optimiser's four, averaged and best weights, identity */

/* What a run must share with the one that goes on. */
typedef struct dl_train_identity
{
	uint8_t		base[32];
	uint8_t		rows[32];
	uint8_t		recipe[32];
	int64_t		steps;
} dl_train_identity;

static void
identify(const dlm_train *run, dl_train_identity *id)
{
	dl_recipe	r = run->recipe;
	dl_sha256	sha;

	memset(id, 0, sizeof(*id));
	memcpy(id->base, run->base->header->digest, sizeof(id->base));
	dl_dataset_digest(run->ds, id->rows);
	r.seconds = 0;
	r.validate_every = r.patience = r.part_tokens = r.recompute = 0;
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, &r, sizeof(r));	/* a copy of a static structure: padding is zero */
	for (int i = 0; i < run->ds->n_sources; i++)
		dl_sha256_update(&sha, &run->ds->source[i].weight, sizeof(double));
	dl_sha256_final(&sha, id->recipe);
	id->steps = run->steps;
}

dlm_status
dl_train_check_begun(const dlm_train *run, dlm_error *err)
{
	return dl_train_begun(run) ? DLM_OK : dl_fail(err, DLM_EINVAL, "", "the training has not begun");
}

/* Between start and the first step. */
static dlm_status
check_fresh(const dlm_train *run, dlm_error *err)
{
	dlm_status	st = dl_train_check_begun(run, err);

	if (st == DLM_OK && (run->state.step > 0 || run->state.validated >= 0 || run->in_step || run->validation.running))
		st = dl_fail(err, DLM_EINVAL, "", "the training has done steps already");
	return st;
}

/* ------------------------------------------------------------------ pieces */

typedef struct dl_pieces
{
	dl_piece   *list;			/* in the arena */
	int			n;
	dl_train_state state;
	dl_batches_state batches;
	dl_train_identity identity;
	int64_t		steps;			/* the optimiser's */
	double		power[2];
} dl_pieces;

static void
add_piece(dl_pieces *p, const char *section, void *data, size_t size)
{
	p->list[p->n++] = (dl_piece) {section, data, size};
}

/* A piece for each list of trained numbers: a tensor of the file, or one of the two factors beside it. */
size_t
dl_train_pieces(const dlm_train *run)
{
	return 3 * (size_t) (run->base->header->directory.size / sizeof(dl_entry)) + FIXED_PIECES;
}

/* Everything but the identity, in the order of a file; the same list is written and read. */
static void
list_pieces(dlm_train *run, dl_pieces *p)
{
	const char *section = "values";
	size_t		bytes = run->p->trained * sizeof(dl_real);

	p->n = 0;
	p->list = run->pieces;
	add_piece(p, "state", &p->state, sizeof(p->state));
	add_piece(p, "batches", &p->batches, sizeof(p->batches));
	add_piece(p, "optimiser", &p->steps, sizeof(p->steps));
	add_piece(p, NULL, p->power, sizeof(p->power));
	for (int i = 0; i < run->p->n; i++)
		if (run->p->list[i].grad != NULL)
		{
			add_piece(p, section, run->p->list[i].value, run->p->list[i].n * sizeof(dl_real));
			section = NULL;
		}
	add_piece(p, "moments", run->adamw->m, bytes);
	add_piece(p, NULL, run->adamw->v, bytes);
	if (run->average != NULL)
		add_piece(p, "average", run->average, bytes);
	if (run->best != NULL)
		add_piece(p, "best", run->best, bytes);
}

/* A checkpoint takes the place of the one before, so it is none that no run can go on from. */
static dlm_status
check_finite(const dlm_train *run, dlm_error *err)
{
	for (int i = 0; i < run->p->n; i++)
	{
		const dl_param *e = &run->p->list[i];

		for (size_t j = 0; e->grad != NULL && j < e->n; j++)
			if (!isfinite(e->value[j]))
				return dl_fail(err, DLM_EDAMAGED, DL_NOT_FINITE_HINT, "weights are not finite after step %lld",
							   (long long) run->state.step);
	}
	return DLM_OK;
}

dlm_status
dlm_train_save(dlm_train *run, const char *path, dlm_error *err)
{
	dl_pieces	p = {.state = run->state};
	bool		judged = run->stands_in;
	dlm_status	st = dl_train_check_begun(run, err);

	if (st != DLM_OK)
		return st;
	p.steps = run->adamw->steps;
	p.power[0] = run->adamw->power1;
	p.power[1] = run->adamw->power2;
	if (run->in_step)
		p.batches = run->before;
	else
		dl_batches_save(run->batches, &p.batches);
	identify(run, &p.identity);
	list_pieces(run, &p);
	add_piece(&p, "identity", &p.identity, sizeof(p.identity));
	dl_train_stand_in(run, false);
	st = check_finite(run, err);
	if (st == DLM_OK)
		st = dl_checkpoint_write(path, p.list, p.n, &run->env, err);
	dl_train_stand_in(run, judged);
	return st;
}

/* Is the checkpoint of such a run? */
static dlm_status
compare(const dlm_train *run, dl_checkpoint *c, dlm_error *err)
{
	dl_train_identity mine,
				its;
	dl_piece	piece = {"identity", &its, sizeof(its)};
	dlm_status	st = dl_checkpoint_read(c, &piece, 1, err);

	if (st != DLM_OK)
		return st;
	identify(run, &mine);
	if (memcmp(mine.base, its.base, sizeof(mine.base)) != 0)
		return dl_fail(err, DLM_EINVAL, "", "checkpoint is of a run on another base model");
	if (memcmp(mine.rows, its.rows, sizeof(mine.rows)) != 0)
		return dl_fail(err, DLM_EINVAL, "", "checkpoint is of a run on other rows");
	if (memcmp(mine.recipe, its.recipe, sizeof(mine.recipe)) != 0 || mine.steps != its.steps)
		return dl_fail(err, DLM_EINVAL, "Time limit, memory and validations may differ, nothing else.",
					   "checkpoint is of a run with other options");
	return DLM_OK;
}

/* A file is not believed: could a run have these figures? Weights and means may be any numbers; what is not finite is found when it is used. */
static bool
is_possible(const dlm_train *run, const dl_pieces *p)
{
	const dl_train_state *s = &p->state;

	return s->step >= 0 && s->step <= run->steps && s->averaged == (run->average != NULL ? s->step : 0) &&
		s->validated >= -1 && s->validated <= s->step && s->best_step >= -1 && s->best_step <= s->validated &&
		(s->best_step >= 0 || s->validated < 0) && (s->validated < 0 || run->best != NULL) && s->worse >= 0 &&
		s->worse <= s->step && s->seconds >= 0 && isfinite(s->seconds) && p->steps == s->step &&
		p->power[0] >= 0 && p->power[0] <= 1 && p->power[1] >= 0 && p->power[1] <= 1;
}

dlm_status
dlm_train_resume(dlm_train *run, const char *path, dlm_error *err)
{
	dl_pieces	p = {.n = 0};
	dl_checkpoint *c;
	dlm_status	st = check_fresh(run, err);

	if (st == DLM_OK)
		st = dl_checkpoint_open(path, &run->env, &c, err);
	if (st != DLM_OK)
		return st;
	st = compare(run, c, err);
	list_pieces(run, &p);
	if (st == DLM_OK)
		st = dl_checkpoint_read(c, p.list, p.n, err);
	if (st == DLM_OK && !is_possible(run, &p))
		st = dl_fail(err, DLM_EDAMAGED, "", "damaged checkpoint: its figures are not those of a training");
	if (st == DLM_OK)
		st = dl_batches_restore(run->batches, &p.batches, err);
	if (st == DLM_OK)
	{
		run->state = p.state;
		run->adamw->steps = p.steps;
		run->adamw->power1 = p.power[0];
		run->adamw->power2 = p.power[1];
	}
	dl_checkpoint_close(c);
	return st;
}

/* ----------------------------------------------------------------- results */

/* The weights that a run has come to stand in the parameters while `write` runs. */
static dlm_status
with_result(dlm_train *run, dlm_status (*write) (dlm_train *run, const char *folder, void *arg, dlm_error *err),
			const char *folder, void *arg, dlm_error *err)
{
	bool		judged = run->stands_in;
	dl_real    *result;
	dlm_status	st = dl_train_check_begun(run, err);

	if (st != DLM_OK)
		return st;
	dl_train_stand_in(run, false);
	result = run->best != NULL && run->state.best_step >= 0 ? run->best :
		run->average != NULL && run->state.averaged > 0 ? run->average : NULL;
	if (result != NULL)
		dl_train_exchange(run->p, result);
	st = write(run, folder, arg, err);
	if (result != NULL)
		dl_train_exchange(run->p, result);
	dl_train_stand_in(run, judged);
	return st;
}

/* Rows with labels teach what labels are worth in themselves: a content-free score has nothing left to correct, and would spoil it. */
static bool
taught_labels(const dlm_train *run)
{
	const dl_data_source *s = &run->ds->source[0];

	for (int i = 0; i < s->n && !dl_train_lengths(run); i++)
		if (run->ds->rows[s->row[i]].n_labels > 0)
			return true;
	return false;
}

static dlm_status
write_model(dlm_train *run, const char *folder, void *digest, dlm_error *err)
{
	dl_write_options options = {.env = &run->env, .calibrate = taught_labels(run) ? DLM_CALIBRATE_NONE : DLM_CALIBRATE_DEFAULT};

	return dl_write_model(run->p, folder, &options, digest, err);
}

static dlm_status
write_adapter(dlm_train *run, const char *folder, void *bf16, dlm_error *err)
{
	return dl_adapter_write(run->p, folder, *(bool *) bf16, err);
}

dlm_status
dlm_train_write(dlm_train *run, const char *folder, uint8_t digest[32], dlm_error *err)
{
	return with_result(run, write_model, folder, digest, err);
}

dlm_status
dlm_train_write_adapter(dlm_train *run, const char *folder, bool bf16, dlm_error *err)
{
	return with_result(run, write_adapter, folder, &bf16, err);
}

dlm_status
dlm_train_init(dlm_train *run, const char *folder, dlm_error *err)
{
	dlm_status	st = check_fresh(run, err);

	return st == DLM_OK ? dl_adapter_load(run->p, folder, err) : st;
}
