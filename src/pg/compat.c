/*
 * compat.c - what older versions of PostgreSQL lack, under the names that
 * compat.h gives it.
 */
#include "dlm_pg.h"

#include <poll.h>

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#ifdef InitMaterializedSRF

void
dlm_init_materialized_srf(FunctionCallInfo fcinfo, int flags)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext before;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || !(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a set cannot be returned here")));
	before = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &rsinfo->setDesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function %u does not return a row type", fcinfo->flinfo->fn_oid);
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	rsinfo->returnMode = SFRM_Materialize;
	MemoryContextSwitchTo(before);
}

#endif

#ifdef pg_do_encoding_conversion_buf

/*
 * Bytes that were converted: all of them or, where the text has no place in
 * the other encoding, none. A conversion is a plain function that holds
 * nothing, so its errors need no subtransaction, which a parallel worker could
 * not start.
 */
int
dlm_encoding_conversion_buf(Oid proc, int from, int to, unsigned char *src, int len, unsigned char *out, int cap,
							bool no_error)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int result = len;

	PG_TRY();
	{
		OidFunctionCall5(proc, Int32GetDatum(from), Int32GetDatum(to), CStringGetDatum((char *) src),
						 CStringGetDatum((char *) out), Int32GetDatum(len));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!no_error || (error->sqlerrcode != ERRCODE_UNTRANSLATABLE_CHARACTER &&
						  error->sqlerrcode != ERRCODE_CHARACTER_NOT_IN_REPERTOIRE))
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		result = 0;
	}
	PG_END_TRY();
	return result;
}

#endif

#ifndef dlm_table_rows

double
dlm_table_rows(const struct FormData_pg_class *class)
{
	double		rows = 0;
	ListCell   *cell;

	if (class->relkind != RELKIND_PARTITIONED_TABLE)
		return class->reltuples;
	foreach(cell, find_all_inheritors(class->oid, AccessShareLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		rows += ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
		ReleaseSysCache(tuple);
	}
	return rows;
}

#endif

#ifndef dlm_max_backends

/* In _PG_init PostgreSQL has not added up yet who may connect. */
int
dlm_max_backends(void)
{
	if (MaxBackends > 0)
		return MaxBackends;
	return MaxConnections + autovacuum_max_workers + 1 + max_worker_processes + max_wal_senders;
}

#endif

#ifdef pq_check_connection

/* The socket is the first field of Port, whose own header needs Kerberos. Where poll cannot tell, the client is there. */
bool
dlm_poll_connection(void)
{
#ifdef POLLRDHUP
	struct pollfd client = {*(const pgsocket *) MyProcPort, POLLRDHUP, 0};

	return poll(&client, 1, 0) <= 0 || !(client.revents & (POLLHUP | POLLRDHUP));
#else
	return true;
#endif
}

#endif
