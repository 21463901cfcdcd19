/*
 * trained.h - parameters as a run might leave them, and files of a folder.
 */
#ifndef TRAINED_H
#define TRAINED_H

#include "tiny.h"
#include "train_write.h"

#define EVERY_MODULE	511		/* all bits of dl_dense_bit */

/* Add noise to all that has a gradient, and to the replaced rows. */
static inline void
trained_move(dl_params *p, double size)
{
	uint64_t	state = 11;

	for (int i = 0; i < p->n; i++)
	{
		dl_param   *e = &p->list[i];

		for (size_t j = 0; (e->grad != NULL || e == p->replaced) && j < e->n; j++)
			e->value[j] += (dl_real) (size * (2 * batch_uniform(&state) - 1));
	}
}

/* Fresh parameters in an arena of their own, which is the caller's. */
static inline dl_params *
trained_create(const dlm_model *m, const dl_train_options *o, dl_arena **a)
{
	dl_params  *p = NULL;
	dlm_error	err = {0};

	*a = dl_arena_create(0);
	CHECK(dl_params_create(m, o, *a, &p, &err) == DLM_OK, "%s", err.message);
	if (p == NULL)
		exit(1);
	return p;
}

/* Write a model into a folder and open it from there. */
static inline bool
trained_write(const dl_params *p, const char *folder, int threads, fixture *f, uint8_t digest[32])
{
	dlm_env		env = {.threads = threads};
	dlm_error	err = {0};
	dlm_status	st = dl_write_model(p, folder, &(dl_write_options) {.env = &env}, digest, &err);

	memset(f, 0, sizeof(*f));
	if (st == DLM_OK)
		st = fixture_written(folder, digest, f, &err);
	CHECK(st == DLM_OK, "%s", err.message);
	return st == DLM_OK;
}

#endif							/* TRAINED_H */
