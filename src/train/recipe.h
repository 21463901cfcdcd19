/*
 * recipe.h - every choice of a training run, in one structure.
 *
 * dl_recipe_paper is Ye et al. 2023 (reference values of their code), the
 * default of encoder families; dl_recipe_adapt is ours for models made from
 * left-to-right ones. docs/fine-tuning.md has a reason for each.
 */
#ifndef DL_RECIPE_H
#define DL_RECIPE_H

#include "optimizer.h"

typedef enum dl_objective { DL_INSTRUCTION_ROWS = 0, DL_TEXT_ROWS, DL_LENGTH_ROWS } dl_objective;
typedef enum dl_weighting { DL_WEIGHT_CONSTANT = 0, DL_WEIGHT_LINEAR } dl_weighting;

/* How a row's canvas is masked, and what its targets are. Shares and rates are in [0, 1]. */
typedef struct dl_masking
{
	int			timesteps;		/* T: rates are t / T, t uniform in 1 .. T */
	bool		coupled;		/* two views of each row, the second a subset of the first (1.1 of the reference) */
	dl_weighting weighting;		/* linear: 1 - (t - 1) / T, else 1 */
	double		whole;			/* share of views whose whole canvas is masked, at weight 1 */
	int			short_target;	/* targets of at most so many tokens always have weight 1 */
	double		row_norm;		/* a view's weights are divided by (tokens of its canvas) ^ row_norm; 1: the paper */
	int			end_tokens;		/* instruction rows: 1 .. so many stop tokens follow the target in the canvas; 0: none */
	double		text_share;		/* instruction rows trained as text rows instead, so that infilling survives */
	double		row_share;		/* text rows: share whose whole row is the canvas; the others have spans */
	int			spans;			/* 1 .. so many spans a row, or fields */
	double		fields;			/* of the others, share whose canvas is the values of their last lines, if all lines are "name: value" (fields.h) */
	double		cover_least,	/* share of the row that the spans cover, uniform between the two */
				cover_most;
	double		distill;		/* share of the target that is the base's own, where a left-to-right model knows as much (mask.h) */
} dl_masking;

typedef struct dl_recipe
{
	dl_objective objective;
	dl_train_options train;		/* what is trained; its seed is not looked at */
	int64_t		seed;
	double		lora_dropout;	/* before LoRA's A */
	double		dropout,		/* after embedding and blocks */
				attention_dropout;
	double		smoothing;

	double		epochs;			/* > 0: passes over source 0 unless steps are given */
	int64_t		steps;			/* 0: from epochs */
	int			batch_tokens;	/* tokens of an optimiser's step, about; 0: by the number of rows */
	int			part_tokens;	/* most tokens of one forward: more are accumulated; 0: as memory allows */
	int			row_tokens;		/* longer texts are cut into rows of so many; 0: the context */
	bool		cut_input;		/* a row too long loses input; else it is an error */
	int			recompute;		/* -1: if memory asks for it, 0: no, 1: yes */

	dl_adamw_options adamw;
	dl_rate_form schedule;
	double		rate,			/* peak */
				last_rate;		/* cosine: at the end, as a share of the peak */
	double		warmup;			/* share of the steps */
	double		clip;			/* norm of the gradient, 0: never */
	double		average;		/* EMA's decay, 0: none */

	double		held_out;		/* share of source 0's rows */
	int			validate_every;	/* steps; 0: ten times a run */
	int			patience;		/* validations without a better one before the run ends; 0: never */
	double		seconds;		/* most; 0: no limit */

	dl_masking	masking;
} dl_recipe;

#endif							/* DL_RECIPE_H */
