/*
 * dataset.h - the rows of a run, as tokens in memory.
 *
 * An instruction row is tokenised as the engine tokenises the request that it
 * is an example of: dlm_classify where it has labels, or both an instruction
 * and an input; else dlm_generate of the one text it has. Its target stands in
 * the row's canvas as a label would. A text row is what dlm_infill makes of a
 * text; one that is too long becomes several rows.
 */
#ifndef DL_DATASET_H
#define DL_DATASET_H

#include "labels.h"
#include "real.h"
#include "sha256.h"

#define DL_MAX_SOURCES	512
#define DL_VALIDATION	(-1)	/* the source of rows that are never trained on */

/* One row as it comes. data NULL = the row has none. */
typedef struct dl_row_text
{
	dlm_text	instruction,	/* of instruction rows: instruction, input or both, and target */
				input,
				target,
				text;			/* of text rows: this alone */
	const dlm_text *labels;		/* [n_labels] or NULL */
	int			n_labels;
	int64_t		key;			/* what messages call the row */
} dl_row_text;

/* Tokens before the canvas, its own, and those after it; of a text row: the template's, the text's, the template's. */
typedef struct dl_data_row
{
	const int32_t *ids;			/* [head + target + tail] */
	int			head,
				target,			/* >= 1 */
				tail;
	bool		text;
	int			item;			/* number of the row in its source as it was added, from 0: pieces of a text share it */
	int			n_labels;		/* 0: it came without */
	int			answer;			/* the target's place among them, -1 without */
	const dl_answers *labels;	/* NULL unless kept */
	int64_t		key;
} dl_data_row;

typedef struct dl_data_source
{
	char		name[64];		/* cut to fit */
	double		weight;
	int			n,
				capacity;
	int			items;			/* rows added */
	int		   *row;			/* [n] indexes of dl_dataset.rows */
} dl_data_source;

typedef struct dl_dataset_options
{
	int			row_tokens;		/* most tokens of a row; 0, or more than the context: the context */
	bool		cut_input;		/* a row too long loses the end of its input (or only text); else it is an error */
	bool		keep_labels;	/* of source 0 too, because rows of it will be held out; else of validation rows only */
	bool		lengths;		/* for the length head: no text rows, something stands before each target, labels are not kept */
} dl_dataset_options;

/* How texts become rows: the infill template in parts. */
typedef struct dl_text_frame
{
	bool		known;
	dlm_text	before,			/* text of the template that is tokenised with the row's */
				after;
	int32_t    *front,			/* [n_front] ids before, up to and with the last special token */
			   *back;			/* [n_back] */
	int			n_front,
				n_back;
} dl_text_frame;

/* To be read by all, written by dataset.c. */
typedef struct dl_dataset
{
	const dlm_model *model;		/* borrowed */
	dl_arena   *arena;			/* borrowed */
	dlm_env		env;
	dl_dataset_options options;
	int			row_tokens;		/* of the options, resolved */
	int32_t		stop;			/* the token that ends an answer, -1: none */
	int			n,
				capacity;
	dl_data_row *rows;			/* [n] */
	int			n_sources;		/* source 0 is there from the start */
	dl_data_source source[DL_MAX_SOURCES];
	dl_data_source validation;
	dl_sha256	digest;
	dl_text_frame frame;
	struct dl_data_block *block;	/* where ids and labels lie */
	const dl_answers *last_labels;	/* to be shared by the next row that has the same */
} dl_dataset;

/*
 * Rows and lists are blocks of the arena, bump memory is used inside calls
 * only. model and arena are borrowed, env is copied (stop is polled).
 * DLM_ENOMEM; DLM_EINVAL: row_tokens leaves no room.
 */
dlm_status	dl_dataset_create(const dlm_model *model, const dl_dataset_options *options, const dlm_env *env,
							  dl_arena *a, dl_dataset **out, dlm_error *err);
void		dl_dataset_free(dl_dataset *ds);

/* Another source of rows for training. DLM_EINVAL: weight not a positive number, or more than DL_MAX_SOURCES. */
dlm_status	dl_dataset_source(dl_dataset *ds, const char *name, double weight, int *source, dlm_error *err);

/* Mix a source by another weight: before start. DLM_EINVAL: not a positive number. */
dlm_status	dl_dataset_weigh(dl_dataset *ds, int source, double weight, dlm_error *err);

/*
 * Tokenise and keep a row; texts are copied. DLM_EINVAL: neither text nor
 * target, both, an empty one, one without tokens, a target that is none of its
 * labels, labels that dlm_classify would not take; DLM_ETOOLONG; DLM_EENCODING;
 * DLM_ENOMEM; DLM_EINTR; DLM_EDAMAGED: the model's template. The row's key is
 * in the message, and nothing of the row is kept.
 */
dlm_status	dl_dataset_add(dl_dataset *ds, int source, const dl_row_text *row, dlm_error *err);

/*
 * Move a share, in [0, 1), of source 0 to the validation rows: those rows
 * whose number in a stream of the seed is below the share, whatever other rows
 * there are; but at least one row is moved if there are two, and one left.
 * DLM_ENOMEM, DLM_EINVAL.
 */
dlm_status	dl_dataset_hold_out(dl_dataset *ds, double share, int64_t seed, dlm_error *err);

/*
 * Can a run begin? DLM_EINVAL: a source without rows; instruction rows with
 * nothing to choose: all of them have one target, or one label each.
 */
dlm_status	dl_dataset_check(const dl_dataset *ds, dlm_error *err);

/* SHA-256 of all rows added, in order, with their sources and labels; holding out does not change it. */
void		dl_dataset_digest(const dl_dataset *ds, uint8_t digest[32]);

static inline int
dl_row_tokens(const dl_data_row *row)
{
	return row->head + row->target + row->tail;
}

/* dataset_rows.c: the row's tokens in bump memory, for dl_dataset_add. */
typedef struct dl_tokenised
{
	bool		text;
	const int32_t *front,		/* [n_front] */
			   *body,			/* [n_body] target, or the whole text */
			   *back;			/* [n_back] */
	int			n_front,
				n_body,
				n_back;
	int			answer;
	dl_answers	labels;			/* n = 0: none */
} dl_tokenised;

dlm_status	dl_tokenise_instruction(dl_dataset *ds, const dl_row_text *row, dl_tokenised *out, dlm_error *err);
dlm_status	dl_tokenise_text(dl_dataset *ds, const dl_row_text *row, dl_tokenised *out, dlm_error *err);

/* dataset.c: memory that lives as long as the dataset; NULL when there is none. */
void	   *dl_dataset_keep(dl_dataset *ds, size_t size);

#endif							/* DL_DATASET_H */
