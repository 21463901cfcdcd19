/*
 * t_threads.c - the team does every item exactly once, restores the caller's
 * floating-point control word, and helpers block the signals they must block.
 */
#include "harness.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "threads.h"

#define ITEMS	1000

static _Atomic int done[ITEMS];
static _Atomic int open_signals;	/* helpers that could run a handler of the process */
static _Atomic int wrong_mode;
static _Atomic int threads_seen;

static void
count_item(void *arg, int item, int thread)
{
	sigset_t	mask;

	(void) arg;
	atomic_fetch_add(&done[item], 1);
	atomic_fetch_or(&threads_seen, 1 << thread);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (thread > 0 && (!sigismember(&mask, SIGINT) || !sigismember(&mask, SIGALRM) || !sigismember(&mask, SIGUSR1) ||
					   !sigismember(&mask, SIGURG) || sigismember(&mask, SIGBUS)))
		atomic_fetch_add(&open_signals, 1);
#if defined(__x86_64__)
	if ((_mm_getcsr() & 0xffc0) != 0x1f80)
		atomic_fetch_add(&wrong_mode, 1);
#endif
}

static void
every_item_once(int threads, int items, int rounds)
{
	dl_team    *team = dl_team_create(threads);
	int			wrong = 0;

	for (int round = 0; round < rounds; round++)
	{
		memset((void *) done, 0, sizeof(done));
		dl_parallel(team, items, count_item, NULL);
		for (int i = 0; i < ITEMS; i++)
			wrong += done[i] != (i < items);
	}
	CHECK(wrong == 0, "%d threads, %d items: %d items done twice or not at all", threads, items, wrong);
	CHECK(dl_team_size(team) == (threads > 1 ? threads : 1), "team of %d", dl_team_size(team));
	dl_team_free(team);
}

static void
slow_item(void *arg, int item, int thread)
{
	(void) arg;
	usleep(2000);
	atomic_fetch_or(&threads_seen, 1 << thread);
	atomic_fetch_add(&done[item], 1);
}

int
main(void)
{
#if defined(__x86_64__)
	unsigned int before = 0x1f80 | 0x8040;	/* flush to zero and denormals are zero, as a careless library leaves it */

	_mm_setcsr(before);
#endif
	for (int threads = 1; threads <= 8; threads++)
		for (int items = 0; items <= ITEMS; items = items * 3 + 1)
			every_item_once(threads, items, 200);
	CHECK(open_signals == 0, "%d helpers had signals open", open_signals);
	CHECK(wrong_mode == 0, "%d items ran in another floating-point mode", wrong_mode);
#if defined(__x86_64__)
	CHECK((_mm_getcsr() & 0xffc0) == (before & 0xffc0), "the caller's control word came back as %x", _mm_getcsr());
#endif

	/* helpers that went to sleep between two jobs take part again */
	{
		dl_team    *team = dl_team_create(3);

		for (int round = 0; round < 5; round++)
		{
			usleep(5000);
			threads_seen = 0;
			dl_parallel(team, 30, slow_item, NULL);
			CHECK(threads_seen == 7, "threads that took part: %x", threads_seen);
		}
		dl_team_free(team);
	}
	return harness_end("t_threads");
}
