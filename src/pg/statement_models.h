/*
 * statement_models.h - a model is the same one for the whole of a statement.
 */
#ifndef DLM_PG_STATEMENT_MODELS_H
#define DLM_PG_STATEMENT_MODELS_H

#include "storage/lock.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "registry.h"

#define DLM_STATEMENT_MODELS	8	/* of one statement; further ones are looked up each time */
#define DLM_STATEMENT_FILE		96	/* bytes of the option "file": a digest and some letters */

/* Which files the models of a statement are: in the slot of the process that leads it. */
typedef struct DlmStatementModels
{
	slock_t		mutex;			/* covers what follows */
	TimestampTz statement;		/* its start */
	LocalTransactionId transaction;
	int			n;
	struct
	{
		Oid			server;
		char		file[DLM_STATEMENT_FILE];
		char		digest[DLM_DIGEST_HEX + 1];
	}			model[DLM_STATEMENT_MODELS];
} DlmStatementModels;

/*
 * Replace file and digest of a server's options by those that the present
 * statement, in its leader or in any worker, has used first. What this
 * transaction itself has changed is taken as it is now.
 */
extern void dlm_statement_model(Oid server, DlmServerOptions *options);

/* Has the present statement used a model of this digest? */
extern bool dlm_statement_uses(const char *digest);

#endif							/* DLM_PG_STATEMENT_MODELS_H */
