/*
 * denoise.h - the denoising loop over one row.
 *
 * One loop, five plug-ins (DESIGN 5): how many positions stay masked after a
 * step (schedule.c), how sure a position is (confidence.c), which positions
 * are eligible (blocks), which revealed ones are masked again (revise.c), and
 * which token a position takes (choose.c). A step applies the choices of a
 * forward; where the canvas did not change and nothing is drawn, the next step
 * uses the same choices and no forward runs.
 */
#ifndef DL_DENOISE_H
#define DL_DENOISE_H

#include "constraint.h"

typedef struct dl_denoise dl_denoise;

/* A slot of the window with its confidence; sorted, the surest first, the lower slot first among equals. */
typedef struct dl_ranked
{
	double		confidence;
	int			slot;
	int			pick;			/* candidate that would be revealed */
} dl_ranked;

/* The plug-ins of a sampler. */
typedef struct dl_rules
{
	/* slots of the n in the window that stay masked after step (1 .. steps) */
	int			(*schedule) (int n, int step, int steps);
	/* larger = surer; rate is the schedule's share of masked positions */
	double		(*confidence) (const dl_denoise *d, const dl_ranked *r, double rate);
	/* apply a step: order [n] of the window's eligible slots, keep = how many stay masked */
	void		(*revise) (dl_denoise *d, const dl_ranked *order, int n, int keep);
	bool		revises;		/* revealed slots are asked for and may be masked again */
	bool		entropy;		/* dl_choice.entropy is needed */
} dl_rules;

/* How the rows of one request are denoised. */
typedef struct dl_policy
{
	const dl_rules *rules;
	dl_chooser	chooser;
	double		noise;			/* reparam-*-stochastic<x> */
	bool		linear;			/* its schedule, for rate */
	float		log_threshold;	/* reveal what is surer; +inf: off */
	int			block_length;	/* 0 = the whole canvas at once */
	int			steps;			/* 0 = by canvas */
	float		guidance;		/* cfg_scale, 0 = off */
	bool		fixed_text;		/* banned texts may not be completed with the fixed text either (infill) */
	bool		trace;
} dl_policy;

typedef struct dl_change
{
	int			step;			/* from 1 */
	int			slot;
	int32_t		id;
	float		logprob;
	dlm_event	event;
} dl_change;

struct dl_denoise
{
	dlm_session *session;
	const dl_policy *policy;
	dl_canvas	canvas;
	uint32_t	candidate;		/* keys the noise */
	int			step,			/* done, over all blocks */
				steps;
	int			block,
				n_blocks,
				block_step,		/* done in this block */
				block_steps;
	int			first,			/* window of eligible slots [first, end) */
				end;
	bool		fresh,			/* the slots' choices belong to the canvas as it is */
				guided,			/* the unconditional logits of this forward are there */
				done;
	bool		stopped;		/* a stop token was revealed */
	bool		ask_all;		/* ask for every slot (length search) */
	bool		failed;			/* a slot has no token that it may hold */
	int			failed_slot;
	int32_t    *ask;			/* [n_ask] positions of the forward, in a block */
	int		   *ask_slot;		/* [n_ask] */
	int			n_ask;
	dl_ranked  *ranked;			/* [n_slots], in the same block */
	int32_t    *blind;			/* guidance: the row without its fixed text [n], in its own block */
	float	   *unconditional;	/* guidance: logits [n_ask, vocab] */
	size_t		unconditional_size;
	dl_kv	   *kv,				/* borrowed, may be NULL */
			   *blind_kv;		/* own */
	uint8_t    *allowed;		/* [n_slots, bytes of a set] tokens that patterns leave, NULL: no gap has one */
	dl_states  *reach;			/* scratch [n_slots + 1], in the same block */
	const uint8_t *const *sets;	/* heal.c: [n_slots] a set per slot whose log-probability is wanted, NULL: none */
	dl_change  *change;			/* trace [n_changes] */
	int			n_changes,
				changes_capacity;
	dlm_error	error;			/* trace ran out of memory */
};

/* The plug-ins of a sampler; kind is not DLM_SAMPLER_DEFAULT. */
const dl_rules *dl_sampler_rules(const dlm_sampler *sampler, bool one_by_one);

/* steps asked for (0 = none) and the model's own (0 = none) -> steps for a canvas of n slots (DESIGN 3). */
int			dl_schedule_steps(int asked, int models, int n);
double		dl_schedule_rate(bool linear, int step, int steps);
int			dl_schedule_linear(int n, int step, int steps);
int			dl_schedule_cosine(int n, int step, int steps);
int			dl_schedule_even(int n, int step, int steps);
int			dl_schedule_single(int n, int step, int steps);

double		dl_confidence_token(const dl_denoise *d, const dl_ranked *r, double rate);
double		dl_confidence_noisy(const dl_denoise *d, const dl_ranked *r, double rate);
double		dl_confidence_margin(const dl_denoise *d, const dl_ranked *r, double rate);
double		dl_confidence_entropy(const dl_denoise *d, const dl_ranked *r, double rate);
double		dl_confidence_random(const dl_denoise *d, const dl_ranked *r, double rate);
double		dl_confidence_left(const dl_denoise *d, const dl_ranked *r, double rate);

void		dl_revise_none(dl_denoise *d, const dl_ranked *order, int n, int keep);
void		dl_revise_uncond(dl_denoise *d, const dl_ranked *order, int n, int keep);
void		dl_revise_cond(dl_denoise *d, const dl_ranked *order, int n, int keep);

/*
 * Reveal a slot: its candidate, or the next one that spells no banned text and that the gap's pattern leaves; it stays
 * masked where the pattern leaves none. Mask it again. Both are traced.
 */
void		dl_denoise_reveal(dl_denoise *d, const dl_ranked *r);
void		dl_denoise_remask(dl_denoise *d, int slot);
/* Replace a revealed slot's token (repairs of the final text). */
void		dl_denoise_replace(dl_denoise *d, int slot, dl_pick pick);

/* A fresh row: takes over the canvas. DLM_ENOMEM (the canvas is then freed). */
dlm_status	dl_denoise_open(dl_denoise *d, dlm_session *s, const dl_policy *policy, dl_canvas *canvas,
							uint32_t candidate, dl_kv *kv, dlm_error *err);
void		dl_denoise_close(dl_denoise *d);

/* Ask for the next forward without applying a step: afterwards all slots have a choice. */
dlm_status	dl_denoise_probe(dl_denoise *d, dlm_error *err);
/* Apply steps until a forward is needed, and ask for it; d->done: no row was added. */
dlm_status	dl_denoise_plan(dl_denoise *d, dlm_error *err);
/* The forward is done. */
void		dl_denoise_absorb(dl_denoise *d);

#endif							/* DL_DENOISE_H */
