/*
 * train_recipes.c - the two recipes; see recipe.h and train_options.h.
 */
#include "train_options.h"

const dl_recipe dl_recipe_paper = {
	.train = {.mode = DL_TRAIN_LORA, .rank = 16, .alpha = 16},
	.dropout = 0.1, .attention_dropout = 0.1,
	.epochs = 4, .recompute = -1,
	.adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .decay = 0.01},
	.schedule = DL_RATE_INVERSE_SQRT, .rate = 3e-4, .warmup = 0.01, .clip = 1,
	.held_out = 0.1, .patience = 3,
	.masking = {.timesteps = 50, .coupled = true, .weighting = DL_WEIGHT_LINEAR, .row_norm = 1, .end_tokens = 1,
		.row_share = 1, .spans = 4, .cover_least = 0.05, .cover_most = 0.35}
};

const dl_recipe dl_recipe_adapt = {
	.train = {.mode = DL_TRAIN_LORA, .rank = 16, .alpha = 32},
	.epochs = 4, .recompute = -1,
	.adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .decay = 0.01},
	.schedule = DL_RATE_COSINE, .rate = 5e-4, .last_rate = 0.1, .warmup = 0.05, .clip = 1,
	.held_out = 0.1, .patience = 3,
	.masking = {.timesteps = 50, .weighting = DL_WEIGHT_LINEAR, .whole = 0.5, .short_target = 4, .row_norm = 0.5,
		.end_tokens = 4, .text_share = 0.1, .spans = 4, .cover_least = 0.05, .cover_most = 0.35}
};
