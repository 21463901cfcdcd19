/*
 * threads.c - helpers that take items of one job at a time.
 *
 * A job is published through one 64-bit word, `ticket` = (generation, next
 * item). Whoever wants an item raises `next` by compare-and-swap, so an item
 * can be taken only of the job whose fields were read: when a job is over the
 * caller sets `next` to CLOSED before it touches the fields again, and a late
 * helper's swap fails. The caller returns when `unfinished` is zero; it never
 * waits for a helper that has not begun an item.
 *
 * Helpers spin briefly for the next job, then sleep on a condition variable.
 */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define CLOSED			0xffffffffu
#define SPINS			2000	/* about 20 us: the usual pause between two jobs of a forward */
#define HELPER_STACK	((size_t) 1024 * 1024)

typedef struct helper
{
	struct dl_team *team;
	pthread_t	thread;
	int			number;			/* 1 .. */
} helper;

struct dl_team
{
	int			size;			/* with the caller */
	_Atomic uint64_t ticket;
	_Atomic int unfinished;
	_Atomic int items;
	_Atomic(void (*) (void *, int, int)) fn;
	_Atomic(void *) arg;
	_Atomic int sleepers;
	_Atomic bool quit;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	helper		helpers[DL_MAX_THREADS];
};

uint64_t
dl_fp_enter(void)
{
#if defined(__x86_64__)
	unsigned int saved = _mm_getcsr();

	_mm_setcsr(0x1f80);			/* all exceptions masked, nearest, no FTZ, no DAZ */
	return saved;
#elif defined(__aarch64__)
	uint64_t	saved,
				ours = 0;

	__asm__ volatile ("mrs %0, fpcr" : "=r" (saved));
	__asm__ volatile ("msr fpcr, %0" : : "r" (ours));
	return saved;
#else
	return 0;
#endif
}

void
dl_fp_leave(uint64_t saved)
{
#if defined(__x86_64__)
	_mm_setcsr((unsigned int) saved);
#elif defined(__aarch64__)
	__asm__ volatile ("msr fpcr, %0" : : "r" (saved));
#else
	(void) saved;
#endif
}

static inline void
pause_cpu(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile ("yield");
#endif
}

static inline uint32_t
generation_of(uint64_t ticket)
{
	return (uint32_t) (ticket >> 32);
}

/* Take and do items of the job of `generation` until none is left. */
static void
work(dl_team *team, uint32_t generation, int thread)
{
	void		(*fn) (void *, int, int) = atomic_load(&team->fn);
	void	   *arg = atomic_load(&team->arg);
	uint32_t	items = (uint32_t) atomic_load(&team->items);
	uint64_t	ticket = atomic_load(&team->ticket);

	while (generation_of(ticket) == generation && (uint32_t) ticket < items)
	{
		if (!atomic_compare_exchange_weak(&team->ticket, &ticket, ticket + 1))
			continue;
		fn(arg, (int) (uint32_t) ticket, thread);
		atomic_fetch_sub(&team->unfinished, 1);
		ticket = atomic_load(&team->ticket);
	}
}

/* Wait for a job newer than `seen`; false when the team is to end. */
static bool
next_job(dl_team *team, uint32_t seen)
{
	for (int i = 0; i < SPINS; i++)
	{
		uint64_t	ticket = atomic_load(&team->ticket);

		if (generation_of(ticket) != seen && (uint32_t) ticket != CLOSED)
			return true;
		pause_cpu();
	}
	pthread_mutex_lock(&team->lock);
	atomic_fetch_add(&team->sleepers, 1);
	while (!atomic_load(&team->quit))
	{
		uint64_t	ticket = atomic_load(&team->ticket);

		if (generation_of(ticket) != seen && (uint32_t) ticket != CLOSED)
			break;
		pthread_cond_wait(&team->wake, &team->lock);
	}
	atomic_fetch_sub(&team->sleepers, 1);
	pthread_mutex_unlock(&team->lock);
	return !atomic_load(&team->quit);
}

static void *
helper_main(void *arg)
{
	helper	   *self = arg;
	uint32_t	seen = 0;

	(void) dl_fp_enter();
	while (next_job(self->team, seen))
	{
		seen = generation_of(atomic_load(&self->team->ticket));
		work(self->team, seen, self->number);
	}
	return NULL;
}

/* Everything blocked but what a faulting instruction raises: a blocked SIGBUS would end the process. */
static void
block_signals(sigset_t *saved)
{
	sigset_t	set;

	sigfillset(&set);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGTRAP);
	pthread_sigmask(SIG_BLOCK, &set, saved);
}

/* Start the helpers of a team; how many there are. */
static int
start_helpers(dl_team *team, int wanted)
{
	pthread_attr_t attr;
	sigset_t	saved;
	int			started = 0;

	if (pthread_attr_init(&attr) != 0)
		return 0;
	pthread_attr_setstacksize(&attr, HELPER_STACK);
	block_signals(&saved);
	while (started < wanted)
	{
		helper	   *h = &team->helpers[started];

		h->team = team;
		h->number = started + 1;
		if (pthread_create(&h->thread, &attr, helper_main, h) != 0)
			break;
		started++;
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	return started;
}

dl_team *
dl_team_create(int threads)
{
	dl_team    *team;

	if (threads > DL_MAX_THREADS)
		threads = DL_MAX_THREADS;
	if (threads <= 1)
		return NULL;
	team = calloc(1, sizeof(*team));
	if (team == NULL)
		return NULL;
	atomic_store(&team->ticket, CLOSED);
	pthread_mutex_init(&team->lock, NULL);
	pthread_cond_init(&team->wake, NULL);
	team->size = 1 + start_helpers(team, threads - 1);
	if (team->size == 1)
	{
		dl_team_free(team);
		return NULL;
	}
	return team;
}

void
dl_team_free(dl_team *team)
{
	if (team == NULL)
		return;
	pthread_mutex_lock(&team->lock);
	atomic_store(&team->quit, true);
	pthread_cond_broadcast(&team->wake);
	pthread_mutex_unlock(&team->lock);
	for (int i = 0; i < team->size - 1; i++)
		pthread_join(team->helpers[i].thread, NULL);
	pthread_cond_destroy(&team->wake);
	pthread_mutex_destroy(&team->lock);
	free(team);
}

int
dl_team_size(const dl_team *team)
{
	return team ? team->size : 1;
}

static void
wake_helpers(dl_team *team)
{
	if (atomic_load(&team->sleepers) == 0)
		return;
	pthread_mutex_lock(&team->lock);
	pthread_cond_broadcast(&team->wake);
	pthread_mutex_unlock(&team->lock);
}

void
dl_parallel(dl_team *team, int items, void (*fn) (void *arg, int item, int thread), void *arg)
{
	uint64_t	saved = dl_fp_enter();

	if (team == NULL || items <= 1)
	{
		for (int i = 0; i < items; i++)
			fn(arg, i, 0);
	}
	else
	{
		uint32_t	generation = generation_of(atomic_load(&team->ticket)) + 1;

		atomic_store(&team->fn, fn);
		atomic_store(&team->arg, arg);
		atomic_store(&team->items, items);
		atomic_store(&team->unfinished, items);
		atomic_store(&team->ticket, (uint64_t) generation << 32);
		wake_helpers(team);
		work(team, generation, 0);
		for (int spin = 0; atomic_load(&team->unfinished) > 0; spin++)
		{
			if (spin < SPINS)
				pause_cpu();
			else
				sched_yield();	/* the helper that holds the last item may want this CPU */
		}
		atomic_store(&team->ticket, ((uint64_t) generation << 32) | CLOSED);
	}
	dl_fp_leave(saved);
}
