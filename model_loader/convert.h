/*
 * convert.h - what the stages of a conversion hand to one another (private to model_loader).
 *
 *		source.c	checkpoint -> named tensors
 *		config.c	config.json or GGUF keys -> dl_arch
 *		settings.c	dlm.json -> ids, templates, defaults
 *		lora.c		adapter -> pairs of matrices
 *		bind.c		names -> roles: the list of dl_bound in file order
 *		pack.c		one dl_bound -> bytes of the file
 *		panels.c	rows of a matrix -> panels, a few at a time
 *		container.c	sections, directory, digest, header
 *		restate.c	a model with another value of one setting
 *		writer.c	bytes -> temporary file -> rename
 *		convert.c	the order of it all
 *		publish.c	the public functions: where the file goes, and .dlm files as sources
 */
#ifndef DLM_CONVERT_H
#define DLM_CONVERT_H

#include "json.h"
#include "kernels.h"
#include "model_file.h"
#include "sha256.h"
#include "source.h"
#include "threads.h"
#include "token.h"
#include "tokenizer.h"

/* ---------------------------------------------------------------- config.c */

/* Which names the tensors have. */
typedef enum dl_names { DL_NAMES_BERT, DL_NAMES_ROBERTA, DL_NAMES_XL, DL_NAMES_LLAMA, DL_NAMES_LLADA } dl_names;

typedef enum dl_rope_kind { DL_ROPE_PLAIN, DL_ROPE_LINEAR, DL_ROPE_LLAMA3 } dl_rope_kind;

/* Rotary frequencies: theta^(-2i/d), then the scaling rule, then divided by `factors` (GGUF's rope_freqs) if any. */
typedef struct dl_rope
{
	double		theta;
	dl_rope_kind kind;
	double		factor,
				low_freq_factor,	/* llama3 */
				high_freq_factor,
				original_context;
	dl_tensor  *factors;		/* [head_dim / 2] or NULL */
} dl_rope;

#define DL_MAX_STOP_IDS	8

/* What a checkpoint says about itself. Ids are -1 where it says nothing. */
typedef struct dl_arch
{
	dl_config	config;			/* all but mask_id, tokens, n_replaced and the length head's sizes */
	dl_names	names;
	bool		permuted;		/* q and k rows in GGUF's order for interleaved RoPE */
	bool		encoder;		/* BERT's kin: full rows of begin, text, end */
	dl_rope		rope;
	int64_t		mask_id,
				begin_id;
	int64_t		stop_ids[DL_MAX_STOP_IDS];	/* eos_token_id */
	int			n_stop;
} dl_arch;

dlm_status	dl_arch_from_json(const cJSON *root, dl_arch *out, dlm_error *err);
dlm_status	dl_arch_from_gguf(const dl_source *s, dl_arch *out, dlm_error *err);

/* A row of the rope tables: cos and sin [head_dim / 2] at a position. freq [head_dim / 2] from dl_rope_frequencies. */
dlm_status	dl_rope_frequencies(const dl_arch *arch, double *freq, dlm_error *err);
void		dl_rope_row(const double *freq, int half, uint64_t position, float *cosines, float *sines);

/* ---------------------------------------------------------------- lora.c */

typedef struct dl_lora
{
	bool		present;
	dl_source	source;
	uint32_t	rank;
	float		scale;			/* alpha / r */
} dl_lora;

/* path: a folder or adapter_model.safetensors. */
dlm_status	dl_lora_open(const char *path, dl_arena *arena, dl_lora *out, dlm_error *err);
void		dl_lora_close(dl_lora *lora);

/* The pair for a weight by its Hugging Face key; both NULL if the adapter leaves it alone. Checks the shapes. */
dlm_status	dl_lora_find(const dl_lora *lora, const char *weight_key, uint64_t rows, uint64_t cols,
						 dl_tensor **a, dl_tensor **b, dlm_error *err);

/* ---------------------------------------------------------------- settings.c */

/* A growing run of dl_setting records. */
typedef struct dl_records
{
	uint8_t    *data;			/* malloc'd */
	size_t		size,
				capacity;
} dl_records;

typedef struct dl_settings_in
{
	const cJSON *settings;		/* dlm.json or NULL */
	const cJSON *post_processor;	/* of tokenizer.json, or NULL: it names begin and end */
	const cJSON *tokenizer_config;	/* tokenizer_config.json or NULL: mask_token */
	const dl_tok *tok;
	dl_arena   *arena;
	const dlm_env *env;
} dl_settings_in;

typedef struct dl_settings_out
{
	dl_records	settings,
				meta;
	const char *replaced_names[DL_MAX_REPLACED];	/* tensors of embedding_rows, parallel to config.replaced */
	int			length_head;	/* -1: as the tensors say, 0: none, 1: required */
} dl_settings_out;

/* Resolve ids and write the records; sets mask_id, logit_shift, attention, tokens, n_replaced and replaced of arch->config. */
dlm_status	dl_settings_resolve(const dl_settings_in *in, dl_arch *arch, dl_settings_out *out, dlm_error *err);
void		dl_settings_free(dl_settings_out *out);

/* Append a record. DLM_EINVAL: longer than 1 MB. */
dlm_status	dl_records_put(dl_records *r, uint32_t key, const void *data, size_t size, dlm_error *err);

/* restate.c: a model's settings in their order, but for one (0: all of them). */
dlm_status	dl_records_copy(const dlm_model *m, uint32_t but, dl_records *out, dlm_error *err);

/* ---------------------------------------------------------------- bind.c */

typedef struct dl_bound
{
	uint32_t	role,
				layer;
	bool		matrix;			/* DL_PANELS, else DL_ROWS of f32 */
	uint64_t	rows,
				cols;
	dl_tensor  *tensor;			/* NULL: computed */
	uint64_t	first;			/* first element taken of it */
	uint32_t	permuted_heads; /* undo the order for interleaved RoPE, 0 = none */
	dl_tensor  *lora_a,
			   *lora_b;
	dl_dtype	dtype;			/* these are set by the layout of the file */
	uint64_t	offset,
				bytes;
} dl_bound;

typedef struct dl_binding
{
	dl_bound   *bound;			/* in the arena */
	int			n,
				capacity;
	dl_tensor  *replaced[DL_MAX_REPLACED];	/* of the DL_T_REPLACED entry */
} dl_binding;

/* Sets tied and the length head's sizes of arch->config. Every tensor of source and adapter is bound, harmless, or an error. */
dlm_status	dl_bind(dl_source *s, dl_lora *lora, const dl_settings_out *settings, dl_arch *arch, dl_arena *arena,
					dl_binding *out, dlm_error *err);

/* ---------------------------------------------------------------- panels.c */

typedef struct dl_writer dl_writer;

/* Where a tensor's bytes go, and who computes them. */
typedef struct dl_sink
{
	dl_writer  *writer;
	dl_arena   *arena;
	struct dl_team *team;
	dlm_status	(*poll) (void *arg, uint64_t done, dlm_error *err);	/* stop and progress, bytes written */
	void	   *arg;
} dl_sink;

/* A matrix [rows, cols] and where its rows come from. */
typedef struct dl_panel_source
{
	uint64_t	rows,
				cols;
	dl_dtype	dtype;			/* to store */
	uint64_t	rank;			/* of a merge in `load`: what a row costs */
	const char *name;			/* in errors */
	/* rows [first, first + n), n <= 16, to f32 [n, cols]; called on any thread */
	dlm_status	(*load) (void *arg, int thread, uint64_t first, uint64_t n, float *rows, dlm_error *err);
	void	   *arg;
} dl_panel_source;

/* Write all panels. DLM_EDAMAGED for weights that are not finite, or not in the stored type; what load and poll give. */
dlm_status	dl_write_panels(const dl_sink *sink, const dl_panel_source *source, dlm_error *err);

/* W + scale B A, B A one ascending chain over the rank (DESIGN 4). The caller sets rank, cols, scale; after prepare, a. */
typedef struct dl_merge
{
	uint64_t	rank,
				cols;
	float		scale;			/* alpha / r */
	uint64_t	cols16;			/* row stride of a: cols rounded up to 16 */
	float	   *a;				/* [rank, cols16], zeroed by prepare */
	float	   *delta[DL_MAX_THREADS];	/* [16, cols] of each thread */
	const dl_kernels *kernels;
} dl_merge;

dlm_status	dl_merge_prepare(dl_merge *m, dl_arena *arena, int threads, dlm_error *err);
/* rows [n, cols] += scale b [n, rank] a, n <= 16 */
void		dl_merge_rows(const dl_merge *m, int thread, const float *b, uint64_t n, float *rows);

/* ---------------------------------------------------------------- pack.c, quantize.c */

typedef struct dl_packer
{
	const dl_arch *arch;
	const dl_lora *lora;
	const dl_binding *binding;
	dl_sink		sink;
} dl_packer;

/* Write one tensor's bytes (exactly bound->bytes). DLM_EDAMAGED for non-finite weights. */
dlm_status	dl_pack(const dl_packer *p, const dl_bound *b, dlm_error *err);

/* Parameters in f32 -> storage of a row. */
uint16_t	dl_round_bf16(float x);	/* nearest even; finite input that overflows gives infinity */

/*
 * n <= 64 weights of one output (kernels.h): scale = max|w| / 63, q = round half even(w / scale) in [-63, 63]; zeros
 * have scale 0. Returns the sum of q.
 */
int32_t		dl_quantize_group(const float *w, size_t n, int8_t *q, float *scale);
bool		dl_all_finite(const float *x, size_t n);

/* ---------------------------------------------------------------- container.c */

/* A .dlm by its sections. The arrays are borrowed. */
typedef struct dl_container
{
	dl_header	header;
	const dl_config *config;
	const void *settings,
			   *tokenizer,
			   *meta;
	dl_entry   *directory;
	int			n_entries;
} dl_container;

/*
 * Fill in the header and each entry's offset and bytes. Before: sizes of
 * settings, tokenizer and meta in the header; everything else of the entries.
 * DLM_EDAMAGED: a tensor is too large.
 */
dlm_status	dl_container_lay_out(dl_container *c, dlm_error *err);

/* What is before the tensors, up to the first; and what is after them: meta, digest, header. */
dlm_status	dl_container_begin(const dl_container *c, dl_writer *w, dlm_error *err);
dlm_status	dl_container_end(dl_container *c, dl_writer *w, dlm_error *err);

/* ---------------------------------------------------------------- convert.c */

/* Convert a checkpoint into a temporary file in `folder`; the caller commits or abandons *writer. */
dlm_status	dl_convert_source(const char *source, const char *folder, const dlm_convert_options *options,
							  dl_writer **writer, uint8_t digest[32], dlm_error *err);

/* ---------------------------------------------------------------- restate.c */

/*
 * Write the model to `target` with this value of a setting (model_file.h) in
 * the place of its own; all else is the same, byte for byte. Errors: as a conversion's.
 */
dlm_status	dl_restate(const dlm_model *m, uint32_t key, const void *data, size_t size, const char *target, dlm_error *err);

/* ---------------------------------------------------------------- writer.c */

/* The folder that a path lies in; malloc'd, NULL when out of memory. */
char	   *dl_folder_of(const char *path);

/* Opens a temporary file beside the target. Everything written counts towards the digest while `hash` is on. */
dlm_status	dl_writer_open(const char *folder, dl_writer **out, dlm_error *err);
void		dl_writer_hash(dl_writer *w, bool on);
dlm_status	dl_writer_put(dl_writer *w, const void *data, size_t n, dlm_error *err);
dlm_status	dl_writer_pad(dl_writer *w, uint64_t to, dlm_error *err);	/* zeros up to an offset */
uint64_t	dl_writer_at(const dl_writer *w);
const char *dl_writer_path(const dl_writer *w);	/* of the temporary file */
void		dl_writer_digest(const dl_writer *w, uint8_t digest[32]);
dlm_status	dl_writer_header(dl_writer *w, const void *header, size_t n, dlm_error *err);	/* at offset 0 */

dlm_status	dl_writer_sync(dl_writer *w, dlm_error *err);	/* commit does it too; several files are synced before the first rename */

/* Sync, rename to path (in the writer's folder), sync the folder. Frees the writer in any case. */
dlm_status	dl_writer_commit(dl_writer *w, const char *path, dlm_error *err);
void		dl_writer_abandon(dl_writer *w);	/* remove the temporary file and free; NULL is fine */

/* publish.c: commit as folder/<hex digest>.dlm; an equal file that is there already is kept. Frees the writer. */
dlm_status	dl_publish(dl_writer *w, const char *folder, const uint8_t digest[32], dlm_error *err);

#endif							/* DLM_CONVERT_H */
