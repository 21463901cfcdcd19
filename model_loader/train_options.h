/*
 * train_options.h - what a caller may choose of a training run (private to
 * model_loader): one table of keys, read from JSON and from command lines.
 *
 * Options remember which keys were given. What the others are depends on the
 * base, so a recipe is made of them once that is known.
 */
#ifndef DLM_TRAIN_OPTIONS_H
#define DLM_TRAIN_OPTIONS_H

#include "model.h"
#include "recipe.h"
#include "train.h"

typedef enum dl_recipe_name { DL_RECIPE_AUTO = 0, DL_RECIPE_PAPER, DL_RECIPE_ADAPT } dl_recipe_name;

struct dlm_train_options
{
	dl_recipe_name name;
	uint64_t	given;			/* bit i: row i of the table */
	dl_recipe	recipe;			/* fields of given keys, and the objective */
};

extern const dl_recipe dl_recipe_paper,
			dl_recipe_adapt;

/*
 * Set one option from text: key as in JSON, or as on a command line
 * ("--batch-tokens"); a list is separated by commas. DLM_EINVAL.
 */
dlm_status	dl_train_option_set(dlm_train_options *o, const char *key, const char *text, dlm_error *err);

/* Row i of the table for a command line: "--batch-tokens" and what it says; false beyond the last. */
bool		dl_train_option_flag(int i, char flag[32], const char **help);

/*
 * The recipe for a base: the one named, or that of the model's kind, with what
 * was given in place of its own. DLM_EINVAL: options that do not go together,
 * or not with this model.
 */
dlm_status	dl_train_recipe_resolve(const dlm_train_options *o, const dlm_model *model, dl_recipe *out, dlm_error *err);

#endif							/* DLM_TRAIN_OPTIONS_H */
