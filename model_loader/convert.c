/*
 * convert.c - a checkpoint to a .dlm, from opening the source to the rename.
 *
 * The order (DESIGN 4): configuration, tokenizer, settings, names to roles,
 * layout of the file (container.c), then tensor by tensor through pack.c into
 * the writer.
 */
#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"
#include "threads.h"

#define DEFAULT_MEMORY	((size_t) 4 << 30)
#define MAX_TOKENIZER	((size_t) 128 << 20)
#define MAX_SMALL_JSON	((size_t) 4 << 20)

typedef struct dl_conversion
{
	const dlm_convert_options *options;
	dl_arena   *arena;
	dl_source	source;
	dl_lora		lora;
	cJSON	   *config,
			   *settings,
			   *post_processor,
			   *tokenizer_config;
	dl_arch		arch;
	void	   *blob;			/* compiled tokenizer */
	size_t		blob_size;
	dl_tok	   *tok;
	dl_settings_out resolved;
	dl_binding	binding;
	dl_container file;
	dl_writer  *writer;
} dl_conversion;

static dlm_status
check_stop(const dlm_convert_options *o, dlm_error *err)
{
	if (o->stop != NULL && o->stop(o->arg))
		return dl_fail(err, DLM_EINTR, "", "conversion was stopped");
	return DLM_OK;
}

/* Called by the packer after every few milliseconds of work. */
static dlm_status
poll(void *arg, uint64_t done, dlm_error *err)
{
	dl_conversion *c = arg;

	if (c->options->progress != NULL)
		c->options->progress(c->options->arg, (double) done / (double) c->file.header.file_size);
	return check_stop(c->options, err);
}

/* ---------------------------------------------------------------- inputs */

/*
 * Where a small file comes from: the option, then the first folder that has
 * it. *path is NULL when none does.
 */
static dlm_status
choose(const dl_conversion *c, const char *option, const char *name, bool lora_first, const char **path, dlm_error *err)
{
	const char *folders[2] = {c->source.folder, NULL};

	*path = option;
	if (option != NULL)
		return DLM_OK;
	if (c->lora.present)
	{
		folders[lora_first ? 1 : 0] = c->source.folder;
		folders[lora_first ? 0 : 1] = c->lora.source.folder;
	}
	for (int i = 0; i < 2; i++)
	{
		char	   *candidate;

		if (folders[i] == NULL)
			continue;
		candidate = dl_path_join(c->arena, folders[i], name);
		if (candidate == NULL)
			return dl_fail_memory(err);
		if (access(candidate, F_OK) == 0)
		{
			*path = candidate;
			return DLM_OK;
		}
	}
	return DLM_OK;
}

static dlm_status
read_json(const dl_conversion *c, const char *path, size_t limit, const char *what, cJSON **out, dlm_error *err)
{
	dlm_text	text;
	dlm_status	st = dl_read_text(path, limit, c->arena, &text, err);

	return st == DLM_OK ? dl_json_parse(text.data, text.len, what, out, err) : st;
}

static dlm_status
read_config(dl_conversion *c, dlm_error *err)
{
	const char *path;
	dlm_status	st = choose(c, c->options->config, "config.json", false, &path, err);
	dl_arch		own;

	if (st != DLM_OK)
		return st;
	if (path == NULL && c->source.kind != DL_SOURCE_GGUF)
		return dl_fail(err, DLM_ENOENT, "", "folder \"%.200s\" has no file \"%s\"", c->source.folder, "config.json");
	if (path != NULL)
	{
		st = read_json(c, path, MAX_SMALL_JSON, "config.json", &c->config, err);
		if (st == DLM_OK)
			st = dl_arch_from_json(c->config, &c->arch, err);
		if (st != DLM_OK || c->source.kind != DL_SOURCE_GGUF)
			return st;
	}
	/* a GGUF file's own keys say how its rows are ordered, whatever lies beside it */
	st = dl_arch_from_gguf(&c->source, &own, err);
	if (st != DLM_OK)
		return st;
	if (path == NULL)
		c->arch = own;
	else if (c->arch.names != own.names)
		return dl_fail(err, DLM_EINVAL, "", "config.json and the GGUF file name different architectures");
	c->arch.permuted = strcmp(own.config.family, "llama") == 0 || strcmp(own.config.family, "llada") == 0;
	if (path != NULL)
		c->arch.rope.factors = own.rope.factors != NULL && c->arch.rope.kind == DL_ROPE_PLAIN ? own.rope.factors : NULL;
	if (c->arch.rope.factors == NULL && own.rope.factors != NULL)
		own.rope.factors->used = true;	/* config.json gives the same rule by formula */
	return DLM_OK;
}

static dlm_status
read_tokenizer(dl_conversion *c, dlm_error *err)
{
	const char *path,
			   *extra;
	dlm_text	text;
	dlm_status	st = choose(c, c->options->tokenizer, "tokenizer.json", true, &path, err);

	if (st != DLM_OK)
		return st;
	if (path == NULL)
	{
		if (c->source.gguf == NULL)
			return dl_fail(err, DLM_ENOENT, "", "folder \"%.200s\" has no file \"%s\"", c->source.folder, "tokenizer.json");
		st = dlm_tokenizer_from_gguf(c->source.gguf, c->options, &c->blob, &c->blob_size, err);
	}
	else
	{
		st = dl_read_text(path, MAX_TOKENIZER, c->arena, &text, err);
		if (st == DLM_OK)
			st = dl_json_parse_member(text.data, text.len, "post_processor", "tokenizer.json", &c->post_processor, err);
		if (st == DLM_OK)
			st = check_stop(c->options, err);
		if (st == DLM_OK)
			st = dlm_tokenizer_from_json(text.data, text.len, c->options, &c->blob, &c->blob_size, err);
	}
	if (st == DLM_OK)
		st = check_stop(c->options, err);
	if (st == DLM_OK)
		st = dl_tok_open(c->blob, c->blob_size, &c->tok, err);
	if (st == DLM_OK)
		st = choose(c, NULL, "tokenizer_config.json", true, &extra, err);
	if (st == DLM_OK && extra != NULL && path != NULL)
		st = read_json(c, extra, MAX_SMALL_JSON, "tokenizer_config.json", &c->tokenizer_config, err);
	return st;
}

static dlm_status
read_settings(dl_conversion *c, dlm_error *err)
{
	dlm_env		env = {.stop = c->options->stop, .arg = c->options->arg};
	dl_settings_in in = {.post_processor = c->post_processor, .tok = c->tok, .arena = c->arena, .env = &env};
	const char *path;
	dlm_status	st = choose(c, c->options->settings, "dlm.json", true, &path, err);

	if (st == DLM_OK && path != NULL)
		st = read_json(c, path, MAX_SMALL_JSON, "dlm.json", &c->settings, err);
	if (st != DLM_OK)
		return st;
	in.settings = c->settings;
	in.tokenizer_config = c->tokenizer_config;
	return dl_settings_resolve(&in, &c->arch, &c->resolved, err);
}

/* ---------------------------------------------------------------- layout */

static dl_dtype
dtype_of(dlm_weights weights)
{
	return weights == DLM_WEIGHTS_BF16 ? DL_BF16 : weights == DLM_WEIGHTS_INT8 ? DL_I8 : DL_F32;
}

/* How a tensor is stored. */
static dl_dtype
storage_of(const dl_conversion *c, const dl_bound *t)
{
	uint32_t	head = c->arch.config.tied ? DL_T_EMBED : DL_T_HEAD_W;

	if (!t->matrix)
		return DL_F32;
	if (t->role == head && c->options->head != DLM_WEIGHTS_AUTO)
		return dtype_of(c->options->head);
	return (dl_dtype) c->arch.config.weights;
}

/* Offsets of all sections and tensors. */
static dlm_status
lay_out(dl_conversion *c, dlm_error *err)
{
	dl_container *f = &c->file;
	dl_binding *b = &c->binding;
	dlm_status	st;

	f->config = &c->arch.config;
	f->settings = c->resolved.settings.data;
	f->header.settings.size = c->resolved.settings.size;
	f->tokenizer = c->blob;
	f->header.tokenizer.size = c->blob_size;
	f->meta = c->resolved.meta.data;
	f->header.meta.size = c->resolved.meta.size;
	f->n_entries = b->n;
	f->directory = dl_arena_calloc(c->arena, (size_t) b->n, sizeof(dl_entry));
	if (f->directory == NULL)
		return dl_fail_memory(err);
	for (int i = 0; i < b->n; i++)
	{
		dl_bound   *t = &b->bound[i];

		t->dtype = storage_of(c, t);
		f->directory[i] = (dl_entry) {.role = t->role, .layer = t->layer, .rows = t->rows, .cols = t->cols,
			.dtype = t->dtype, .layout = t->matrix ? DL_PANELS : DL_ROWS};
	}
	st = dl_container_lay_out(f, err);
	for (int i = 0; i < b->n && st == DLM_OK; i++)
	{
		b->bound[i].offset = f->directory[i].offset;
		b->bound[i].bytes = f->directory[i].bytes;
	}
	return st;
}

/* ---------------------------------------------------------------- writing */

static dlm_status
write_tensors(dl_conversion *c, dlm_error *err)
{
	dl_packer	packer = {.arch = &c->arch, .lora = &c->lora, .binding = &c->binding, .sink = {.writer = c->writer,
		.arena = c->arena, .team = dl_team_create(c->options->threads), .poll = poll, .arg = c}};
	dlm_status	st = DLM_OK;

	for (int i = 0; i < c->binding.n && st == DLM_OK; i++)
	{
		const dl_bound *b = &c->binding.bound[i];

		st = dl_writer_pad(c->writer, b->offset, err);
		if (st == DLM_OK)
			st = dl_pack(&packer, b, err);
		if (st == DLM_OK && dl_writer_at(c->writer) != b->offset + b->bytes)
			st = dl_fail(err, DLM_EIO, "", "tensor of role %u has %llu bytes instead of %llu", b->role,
						 (unsigned long long) (dl_writer_at(c->writer) - b->offset), (unsigned long long) b->bytes);
	}
	dl_team_free(packer.sink.team);
	return st;
}

static dlm_status
write_file(dl_conversion *c, dlm_error *err)
{
	dlm_status	st = dl_container_begin(&c->file, c->writer, err);

	if (st == DLM_OK)
		st = write_tensors(c, err);
	return st == DLM_OK ? dl_container_end(&c->file, c->writer, err) : st;
}

/* ---------------------------------------------------------------- the order of it all */

static dlm_status
prepare(dl_conversion *c, const char *path, dlm_error *err)
{
	dlm_status	st = dl_source_open(path, "model.safetensors", c->arena, &c->source, err);

	if (st == DLM_OK && c->options->lora != NULL)
		st = dl_lora_open(c->options->lora, c->arena, &c->lora, err);
	if (st != DLM_OK || (st = check_stop(c->options, err)) != DLM_OK || (st = read_config(c, err)) != DLM_OK)
		return st;
	c->arch.config.weights = dtype_of(c->options->weights);
	if ((st = read_tokenizer(c, err)) != DLM_OK || (st = check_stop(c->options, err)) != DLM_OK ||
		(st = read_settings(c, err)) != DLM_OK ||
		(st = dl_bind(&c->source, &c->lora, &c->resolved, &c->arch, c->arena, &c->binding, err)) != DLM_OK)
		return st;
	return lay_out(c, err);
}

static void
release(dl_conversion *c)
{
	dl_tok_close(c->tok);
	free(c->blob);
	dl_settings_free(&c->resolved);
	cJSON_Delete(c->config);
	cJSON_Delete(c->settings);
	cJSON_Delete(c->post_processor);
	cJSON_Delete(c->tokenizer_config);
	dl_lora_close(&c->lora);
	dl_source_close(&c->source);
	dl_arena_destroy(c->arena);
}

dlm_status
dl_convert_source(const char *source, const char *folder, const dlm_convert_options *options, dl_writer **writer,
		uint8_t digest[32], dlm_error *err)
{
	dl_conversion *c = calloc(1, sizeof(dl_conversion));
	dlm_status	st;

	*writer = NULL;
	if (c == NULL)
		return dl_fail_memory(err);
	c->options = options;
	c->arena = dl_arena_create(options->memory_limit ? options->memory_limit : DEFAULT_MEMORY);
	st = c->arena != NULL ? prepare(c, source, err) : dl_fail_memory(err);
	if (st == DLM_OK)
		st = dl_writer_open(folder, &c->writer, err);
	if (st == DLM_OK)
		st = write_file(c, err);
	if (st == DLM_OK)
	{
		memcpy(digest, c->file.header.digest, 32);
		*writer = c->writer;
	}
	else
		dl_writer_abandon(c->writer);
	release(c);
	free(c);
	return st;
}
