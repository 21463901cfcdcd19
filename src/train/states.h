/*
 * states.h - last hidden states of a frozen model, computed by the engine and
 * kept where there is room, so that a run computes those of a row once.
 */
#ifndef DL_STATES_H
#define DL_STATES_H

#include "net.h"

typedef struct dl_states_limits
{
	int			tokens,			/* of a batch */
				rows;
	int			kept;			/* rows of the run, numbered from 0, whose states may be kept; 0: none */
	int64_t		kept_tokens;	/* of as many of them as there is room for */
} dl_states_limits;

typedef struct dl_states dl_states;

/* Bytes that dl_states_create takes from the arena, with the engine's for a batch. */
size_t		dl_states_bytes(const dlm_model *model, const dl_states_limits *limits);

/* model and arena are borrowed, env is copied (NULL: one thread). NULL: out of memory. */
dl_states  *dl_states_create(const dlm_model *model, const dl_states_limits *limits, const dlm_env *env, dl_arena *a);
void		dl_states_free(dl_states *s);

/* As many threads from now on. */
void		dl_states_threads(dl_states *s, int threads);

/*
 * out [n] gets the states [rows[i].n, hidden] of each row, after the final
 * norm, valid until the next call. number [n] of each row in the run; NULL:
 * nothing is kept or looked for. The caller has checked the rows. DLM_EINTR, DLM_ENOMEM.
 */
dlm_status	dl_states_find(dl_states *s, const dl_example *rows, const int *number, int n, const float **out, dlm_error *err);

#endif							/* DL_STATES_H */
