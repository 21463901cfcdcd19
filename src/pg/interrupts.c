/*
 * interrupts.c - what long work looks for between and within its slices.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/timestamp.h"

#include "interrupts.h"

bool
dlm_stop_wanted(void *arg)
{
	return QueryCancelPending || ProcDiePending;
}

/*
 * PostgreSQL's own client_connection_check_interval is off by default, and a
 * statement that sends nothing for hours would compute for nobody. Only a
 * backend that talks to a client has one (not a parallel worker); what follows
 * is the way of ProcessInterrupts.
 */
void
dlm_check_client(void)
{
	static TimestampTz last = 0;
	TimestampTz now;

	if (MyProcPort == NULL || whereToSendOutput != DestRemote || !WaitEventSetCanReportClosed())
		return;
	now = GetCurrentTimestamp();
	if (now - last < USECS_PER_SEC && now >= last)
		return;
	last = now;
	if (pq_check_connection())
		return;
	ClientConnectionLost = true;
	InterruptPending = true;
}
