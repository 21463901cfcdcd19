/*
 * train_write.c - the model that a training run made, as a .dlm: the base's
 * file with other bytes where something was trained.
 */
#include "train_write.h"

#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "status.h"

#define DEFAULT_MEMORY	((size_t) 1 << 30)
#define PIECE_BYTES		((size_t) 1 << 20)	/* copied between two polls */

_Static_assert(sizeof(dl_real) == sizeof(float), "values are written as they are");

typedef struct dl_outcome
{
	const dl_params *p;
	const dlm_env *env;
	dl_config	config;
	dl_container file;
	const dl_entry **from;		/* [file.n_entries] the base's entry of each; NULL: a new length head's */
	dl_records	settings,
				meta;
	dl_sink		sink;
} dl_outcome;

/* A matrix on its way through panels.c. */
typedef struct dl_trained
{
	const dl_entry *from;		/* its shape and type in the new file, which are the base's if it has it */
	const void *data;			/* of the base's tensor */
	const dl_param *w,			/* trained as a whole, or NULL */
			   *b;				/* factor, or NULL */
	dl_merge	merge;
} dl_trained;

static dlm_status
poll(void *arg, uint64_t done, dlm_error *err)
{
	const dlm_env *env = ((const dl_outcome *) arg)->env;

	if (env != NULL && env->stop != NULL && env->stop(env->arg))
		return dl_fail(err, DLM_EINTR, "", "interrupted");
	return DLM_OK;
}

static const dl_entry *
base_directory(const dlm_model *m, int *n)
{
	*n = (int) (m->header->directory.size / sizeof(dl_entry));
	return (const dl_entry *) (m->base + m->header->directory.offset);
}

/* ---------------------------------------------------------------- layout */

/* Does the output projection part from the embedding? */
static bool
is_parted(const dl_params *p)
{
	return p->model->config.tied && dl_params_find(p, DL_T_EMBED, 0, DL_PART_LORA_A) != NULL;
}

/* Where a conversion puts the output projection: after the last tensor outside the layers that is not its bias. */
static int
place_of_head(const dl_entry *e, int n)
{
	int			at = 0;

	for (int i = 0; i < n; i++)
		if (e[i].role <= DL_T_HEAD_NORM_B && e[i].role != DL_T_REPLACED)
			at = i + 1;
	return at;
}

/* Parameters that the base has no tensors for: a new length head's. */
static int
count_new(const dl_params *p)
{
	int			n = 0;

	for (int i = 0; i < p->n; i++)
		n += p->list[i].entry == NULL && p->list[i].part == DL_PART_TENSOR;
	return n;
}

/* They stand at the end, as in a conversion. */
static void
list_new(dl_outcome *o, int at)
{
	const dl_params *p = o->p;

	for (int i = 0; i < p->n; i++)
	{
		const dl_param *e = &p->list[i];

		if (e->entry != NULL || e->part != DL_PART_TENSOR)
			continue;
		o->file.directory[at++] = (dl_entry) {
			.role = e->role, .dtype = e->matrix ? p->config.weights : DL_F32, .layout = e->matrix ? DL_PANELS : DL_ROWS,
			.rows = (uint64_t) e->rows, .cols = (uint64_t) e->cols
		};
	}
	o->config.length_classes = p->config.length_classes;
	o->config.length_ffn = p->config.length_ffn;
	o->config.length_hidden = p->config.length_hidden;
}

/* The base's entries, the output projection's where it parts, a new length head's. */
static dlm_status
list_entries(dl_outcome *o, dlm_error *err)
{
	int			n;
	const dl_entry *base = base_directory(o->p->model, &n);
	int			parted = is_parted(o->p) ? place_of_head(base, n) : -1;
	int			old = n + (parted >= 0);
	dl_container *f = &o->file;

	f->n_entries = old + count_new(o->p);
	f->directory = dl_arena_calloc(o->sink.arena, (size_t) f->n_entries, sizeof(dl_entry));
	o->from = dl_arena_calloc(o->sink.arena, (size_t) f->n_entries, sizeof(dl_entry *));
	if (f->directory == NULL || o->from == NULL)
		return dl_fail_memory(err);
	list_new(o, old);
	for (int i = 0, at = 0; at < old; at++)
	{
		if (at != parted)
		{
			f->directory[at] = base[i];
			o->from[at] = &base[i++];
			continue;
		}
		for (int j = 0; j < n; j++)
			if (base[j].role == DL_T_EMBED)
				o->from[at] = &base[j];
		f->directory[at] = *o->from[at];
		f->directory[at].role = DL_T_HEAD_W;
		o->config.tied = 0;
	}
	return DLM_OK;
}

/* Meta records: the base's license, and where this model comes from. */
static dlm_status
describe(dl_outcome *o, dlm_error *err)
{
	static const char hex[] = "0123456789abcdef";
	char		source[] = "fine-tuned from ................................................................";
	dlm_model_info info;
	dlm_status	st = DLM_OK;

	dlm_model_describe(o->p->model, &info);
	for (int i = 0; i < 32; i++)
	{
		source[sizeof(source) - 65 + 2 * (size_t) i] = hex[info.digest[i] >> 4];
		source[sizeof(source) - 64 + 2 * (size_t) i] = hex[info.digest[i] & 15];
	}
	if (info.license[0] != '\0')
		st = dl_records_put(&o->meta, DL_S_LICENSE, info.license, strlen(info.license), err);
	return st == DLM_OK ? dl_records_put(&o->meta, DL_S_SOURCE, source, sizeof(source) - 1, err) : st;
}

/* The base's settings, in their order, but for how labels are calibrated. */
static dlm_status
settle(dl_outcome *o, dlm_calibrate calibrate, dlm_error *err)
{
	uint32_t	choice = calibrate;
	dlm_status	st = dl_records_copy(o->p->model, calibrate != DLM_CALIBRATE_DEFAULT ? DL_S_CALIBRATE : 0, &o->settings, err);

	if (st == DLM_OK && calibrate != DLM_CALIBRATE_DEFAULT)
		st = dl_records_put(&o->settings, DL_S_CALIBRATE, &choice, sizeof(choice), err);
	return st;
}

static dlm_status
lay_out(dl_outcome *o, dlm_calibrate calibrate, dlm_error *err)
{
	const dlm_model *m = o->p->model;
	const dl_header *h = m->header;
	dl_container *f = &o->file;
	dlm_status	st;

	memcpy(&o->config, m->base + h->config.offset, sizeof(o->config));
	st = list_entries(o, err);
	if (st == DLM_OK)
		st = settle(o, calibrate, err);
	if (st == DLM_OK)
		st = describe(o, err);
	if (st != DLM_OK)
		return st;
	f->config = &o->config;
	f->settings = o->settings.data;
	f->header.settings.size = o->settings.size;
	f->tokenizer = m->base + h->tokenizer.offset;
	f->header.tokenizer.size = h->tokenizer.size;
	f->meta = o->meta.data;
	f->header.meta.size = o->meta.size;
	return dl_container_lay_out(f, err);
}

/* ---------------------------------------------------------------- tensors */

static dlm_status
put_bytes(const dl_outcome *o, const void *data, uint64_t size, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (uint64_t at = 0; at < size && st == DLM_OK; at += PIECE_BYTES)
	{
		size_t		n = size - at < PIECE_BYTES ? (size_t) (size - at) : PIECE_BYTES;

		st = dl_writer_put(o->sink.writer, (const char *) data + at, n, err);
		if (st == DLM_OK)
			st = poll(o->sink.arg, 0, err);
	}
	return st;
}

/* rows [first, first + n) as they were trained: dl_panel_source.load */
static dlm_status
load_rows(void *arg, int thread, uint64_t first, uint64_t n, float *rows, dlm_error *err)
{
	const dl_trained *t = arg;

	if (t->w != NULL)
		memcpy(rows, t->w->value + first * t->from->cols, (size_t) (n * t->from->cols) * sizeof(float));
	else
		dl_unpack_rows(t->from, t->data, (size_t) first, (size_t) n, rows);
	if (t->b != NULL)
		dl_merge_rows(&t->merge, thread, t->b->value + first * t->merge.rank, n, rows);
	return DLM_OK;
}

static dlm_status
prepare_merge(dl_merge *m, const dl_outcome *o, const dl_param *a, dlm_error *err)
{
	dlm_status	st;

	m->rank = (uint64_t) a->rows;
	m->cols = (uint64_t) a->cols;
	m->scale = o->p->scale;
	st = dl_merge_prepare(m, o->sink.arena, dl_team_size(o->sink.team), err);
	for (uint64_t r = 0; r < m->rank && st == DLM_OK; r++)
		memcpy(m->a + r * m->cols16, a->value + r * m->cols, (size_t) m->cols * sizeof(float));
	return st;
}

static dlm_status
put_matrix(const dl_outcome *o, const dl_entry *to, const dl_entry *from, const dl_param *w, const dl_param *a,
		   const dl_param *b, dlm_error *err)
{
	char		key[DL_KEY_BYTES] = "matrix";
	dl_mark		mark = dl_arena_mark(o->sink.arena);
	dl_trained *t = dl_arena_calloc(o->sink.arena, 1, sizeof(*t));
	dl_panel_source source = {.rows = to->rows, .cols = to->cols, .dtype = (dl_dtype) to->dtype, .name = key,
		.load = load_rows, .arg = t};
	dlm_status	st = DLM_OK;

	if (t == NULL)
		return dl_fail_memory(err);
	(void) dl_tensor_key(o->config.family, to->role, to->layer, key);
	t->from = to;
	t->data = from != NULL ? o->p->model->base + from->offset : NULL;
	t->w = w;
	t->b = b;
	if (b != NULL)
		st = prepare_merge(&t->merge, o, a, err);
	source.rank = t->merge.rank;
	if (st == DLM_OK)
		st = dl_write_panels(&o->sink, &source, err);
	dl_arena_rewind(o->sink.arena, mark);
	return st;
}

/* Entry i of the new file. Matrices are packed anew only if they were trained: an int8 one would not stay the same. */
static dlm_status
put_tensor(const dl_outcome *o, int i, dlm_error *err)
{
	const dl_entry *to = &o->file.directory[i],
			   *from = o->from[i];
	bool		tied = o->p->model->config.tied && to->role == DL_T_EMBED;	/* its factors are the output projection's */
	dl_role		role = (dl_role) (from != NULL ? from->role : to->role);
	dl_param   *w = dl_params_find(o->p, role, (int) to->layer, DL_PART_TENSOR),
			   *a = tied ? NULL : dl_params_find(o->p, role, (int) to->layer, DL_PART_LORA_A),
			   *b = tied ? NULL : dl_params_find(o->p, role, (int) to->layer, DL_PART_LORA_B);
	char		key[DL_KEY_BYTES] = "embedding row";

	if (to->layout == DL_PANELS)
	{
		if (w != NULL && w->grad == NULL)
			w = NULL;
		if (w != NULL || b != NULL)
			return put_matrix(o, to, from, w, a, b, err);
	}
	else if (w != NULL && w->value != NULL)
	{
		(void) dl_tensor_key(o->config.family, to->role, to->layer, key);
		if (!dl_all_finite(w->value, w->n))
			return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" holds values that are not finite", key);
		return put_bytes(o, w->value, to->bytes, err);
	}
	return put_bytes(o, o->p->model->base + from->offset, from->bytes, err);
}

static dlm_status
write_file(dl_outcome *o, dlm_error *err)
{
	dlm_status	st = dl_container_begin(&o->file, o->sink.writer, err);

	for (int i = 0; i < o->file.n_entries && st == DLM_OK; i++)
	{
		st = dl_writer_pad(o->sink.writer, o->file.directory[i].offset, err);
		if (st == DLM_OK)
			st = put_tensor(o, i, err);
	}
	return st == DLM_OK ? dl_container_end(&o->file, o->sink.writer, err) : st;
}

dlm_status
dl_write_model(const dl_params *p, const char *folder, const dl_write_options *options, uint8_t digest[32], dlm_error *err)
{
	const dlm_env *env = options != NULL ? options->env : NULL;
	dl_outcome	o = {.p = p, .env = env, .sink = {.poll = poll, .arg = &o}};
	dlm_status	st;

	o.sink.arena = dl_arena_create(env != NULL && env->memory_limit > 0 ? env->memory_limit : DEFAULT_MEMORY);
	o.sink.team = dl_team_create(env != NULL ? env->threads : 1);
	st = o.sink.arena != NULL ? lay_out(&o, options != NULL ? options->calibrate : DLM_CALIBRATE_DEFAULT, err) :
		dl_fail_memory(err);
	if (st == DLM_OK)
		st = dl_writer_open(folder, &o.sink.writer, err);
	if (st == DLM_OK)
		st = write_file(&o, err);
	if (st == DLM_OK)
		st = dl_publish(o.sink.writer, folder, o.file.header.digest, err);
	else
		dl_writer_abandon(o.sink.writer);
	if (st == DLM_OK && digest != NULL)
		memcpy(digest, o.file.header.digest, 32);
	dl_team_free(o.sink.team);
	free(o.settings.data);
	free(o.meta.data);
	if (o.sink.arena != NULL)
		dl_arena_destroy(o.sink.arena);
	return st;
}
