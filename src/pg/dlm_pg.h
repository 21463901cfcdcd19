/*
 * dlm_pg.h - what every file of src/pg includes first.
 *
 * One SQL call takes one way: funcs_*.c (unpack) -> request.c (validate) ->
 * registry.c, attach.c (model) -> run.c (budget, steps, interrupts, errors) ->
 * result.c. Of the engine only its public header is visible here, and only
 * run.c calls dlm_session_*.
 */
#ifndef DLM_PG_H
#define DLM_PG_H

#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "dlm.h"

#endif							/* DLM_PG_H */
