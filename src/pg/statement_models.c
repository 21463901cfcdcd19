/*
 * statement_models.c - a model is the same one for the whole of a statement.
 *
 * A model may be replaced while statements use it: ALTER SERVER names another
 * file under the same name. A statement looks the name up for each batch, and
 * each parallel worker does. So the file that was found first is kept for the
 * rest of the statement, where leader and workers see it: in shared memory, in
 * the slot of the leader. It is forgotten by being of another statement or
 * transaction, so neither errors nor the end of a process leave anything to
 * clean up. Without shared memory names are looked up each time.
 */
#include "dlm_pg.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "shmem.h"
#include "statement_models.h"

/* The list of the present statement, locked and emptied if it was another one's; NULL: there is no shared memory. */
static DlmStatementModels *
lock_models(void)
{
	DlmShared  *shared = dlm_shmem();
	PGPROC	   *leader = IsParallelWorker() && MyProc->lockGroupLeader ? MyProc->lockGroupLeader : MyProc;
	int			slot = shared ? dlm_backend_of(leader) : -1;
	DlmStatementModels *models;
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	LocalTransactionId transaction = dlm_local_transaction(leader);

	if (slot < 0 || slot >= shared->n_activity)
		return NULL;
	models = &shared->activity[slot].models;
	SpinLockAcquire(&models->mutex);
	if (models->statement != statement || models->transaction != transaction)
	{
		models->statement = statement;
		models->transaction = transaction;
		models->n = 0;
	}
	return models;
}

/* Did this transaction change the server? Its own changes count at once, and may be rolled back. */
static bool
is_changed_here(Oid server)
{
	HeapTuple	tuple = SearchSysCache1(FOREIGNSERVEROID, ObjectIdGetDatum(server));
	bool		changed;

	if (!HeapTupleIsValid(tuple))
		return false;
	changed = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	ReleaseSysCache(tuple);
	return changed;
}

void
dlm_statement_model(Oid server, DlmServerOptions *options)
{
	DlmStatementModels *models;
	char		file[DLM_STATEMENT_FILE];
	char		digest[DLM_DIGEST_HEX + 1];
	int			i = 0;

	if (strlen(options->file) >= sizeof(file) || strlen(options->digest) >= sizeof(digest) || is_changed_here(server))
		return;
	strlcpy(file, options->file, sizeof(file));
	strlcpy(digest, options->digest, sizeof(digest));
	models = lock_models();
	if (models == NULL)
		return;
	while (i < models->n && models->model[i].server != server)
		i++;
	if (i < models->n)
	{
		strlcpy(file, models->model[i].file, sizeof(file));
		strlcpy(digest, models->model[i].digest, sizeof(digest));
	}
	else if (i < DLM_STATEMENT_MODELS)
	{
		models->model[i].server = server;
		strlcpy(models->model[i].file, file, sizeof(file));
		strlcpy(models->model[i].digest, digest, sizeof(digest));
		models->n++;
	}
	SpinLockRelease(&models->mutex);
	options->file = pstrdup(file);
	options->digest = pstrdup(digest);
}

bool
dlm_statement_uses(const char *digest)
{
	DlmStatementModels *models = lock_models();
	bool		found = false;

	if (models == NULL)
		return false;
	for (int i = 0; i < models->n; i++)
		found |= strcmp(models->model[i].digest, digest) == 0;
	SpinLockRelease(&models->mutex);
	return found;
}
