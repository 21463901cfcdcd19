/*
 * publish.c - dlm_convert and dlm_convert_into: a checked file under its name.
 *
 * A .dlm source is copied first and verified as the copy, which nobody else
 * can change or cut short under the mapping.
 */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"

#define COPY_BYTES	((size_t) 1 << 20)

dlm_status
dlm_weights_parse(const char *name, dlm_weights *out, dlm_error *err)
{
	static const char *const names[] = {"auto", "f32", "bf16", "int8"};

	for (int i = 0; i < 4; i++)
		if (strcmp(names[i], name) == 0)
		{
			*out = (dlm_weights) i;
			return DLM_OK;
		}
	return dl_fail(err, DLM_EINVAL, "Types of weights are f32, bf16, int8 and auto.", "unknown type of weights");
}

/* ---------------------------------------------------------------- .dlm sources */

static dlm_status
copy_bytes(const dl_file *f, dl_writer *w, const dlm_convert_options *o, dlm_error *err)
{
	uint8_t    *buf = malloc(COPY_BYTES);
	dlm_status	st = buf != NULL ? DLM_OK : dl_fail_memory(err);

	for (uint64_t at = 0; at < f->size && st == DLM_OK;)
	{
		size_t		n = f->size - at < COPY_BYTES ? (size_t) (f->size - at) : COPY_BYTES;

		st = dl_file_read(f, at, buf, n, err);
		if (st == DLM_OK)
			st = dl_writer_put(w, buf, n, err);
		at += n;
		if (o->progress != NULL)
			o->progress(o->arg, (double) at / (double) f->size);
		if (st == DLM_OK && o->stop != NULL && o->stop(o->arg))
			st = dl_fail(err, DLM_EINTR, "", "copying was stopped");
	}
	free(buf);
	return st;
}

static dlm_status
verify_copy(const char *path, const dlm_convert_options *o, uint8_t digest[32], dlm_error *err)
{
	static const char *const names[] = {"", "f32", "bf16", "int8"};
	dlm_env		env = {.stop = o->stop, .arg = o->arg, .threads = o->threads, .memory_limit = o->memory_limit};
	dlm_model_info info;
	dlm_model  *model = NULL;
	dlm_map		map = {NULL, 0};
	dlm_status	st = dlm_file_map(path, &map, err);

	if (st == DLM_OK)
		st = dlm_model_open(map.data, map.size, &model, err);
	if (st == DLM_OK)
		st = dlm_model_verify(model, &env, err);
	if (st == DLM_OK)
	{
		dlm_model_describe(model, &info);
		memcpy(digest, info.digest, 32);
		if (o->weights != DLM_WEIGHTS_AUTO && strcmp(info.weights, names[o->weights]) != 0)
			st = dl_fail(err, DLM_EINVAL, "Convert the original checkpoint.",
						 "weights of a dlm file cannot be changed from %s to %s", info.weights, names[o->weights]);
	}
	dlm_model_close(model);
	dlm_file_unmap(&map);
	return st;
}

static dlm_status
copy_model(const dl_file *f, const char *folder, const dlm_convert_options *o, dl_writer **writer,
		   uint8_t digest[32], dlm_error *err)
{
	dlm_status	st;

	if (o->lora != NULL || o->settings != NULL || o->tokenizer != NULL || o->config != NULL || o->head != DLM_WEIGHTS_AUTO)
		return dl_fail(err, DLM_EINVAL, "Convert the original checkpoint.",
					   "a dlm file is complete: no head, adapter, settings, tokenizer or configuration can be given with it");
	st = dl_writer_open(folder, writer, err);
	if (st != DLM_OK)
		return st;
	st = copy_bytes(f, *writer, o, err);
	if (st == DLM_OK)
		st = verify_copy(dl_writer_path(*writer), o, digest, err);
	if (st != DLM_OK)
	{
		dl_writer_abandon(*writer);
		*writer = NULL;
	}
	return st;
}

/* Is it a .dlm by its first bytes? *f is then open. */
static bool
open_model_file(const char *path, dl_file *f)
{
	struct stat sb;
	char		magic[8];

	f->path = (char *) path;
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0)
		return false;
	if (fstat(f->fd, &sb) == 0 && S_ISREG(sb.st_mode) && pread(f->fd, magic, 8, 0) == 8 &&
		memcmp(magic, DL_MAGIC, 8) == 0)
	{
		f->size = (uint64_t) sb.st_size;
		return true;
	}
	close(f->fd);
	return false;
}

static dlm_status
produce(const char *source, const char *folder, const dlm_convert_options *o, dl_writer **writer,
		uint8_t digest[32], dlm_error *err)
{
	dl_file		f;
	dlm_status	st;

	*writer = NULL;
	if (!open_model_file(source, &f))
		return dl_convert_source(source, folder, o, writer, digest, err);
	st = copy_model(&f, folder, o, writer, digest, err);
	close(f.fd);
	return st;
}

/* ---------------------------------------------------------------- targets */

static const dlm_convert_options no_options;

dlm_status
dlm_convert(const char *source, const char *target, const dlm_convert_options *options,
			uint8_t digest[32], dlm_error *err)
{
	char	   *folder = dl_folder_of(target);
	uint8_t		own[32];
	dl_writer  *writer;
	struct stat sb;
	dlm_status	st;

	if (folder == NULL)
		return dl_fail_memory(err);
	if (stat(target, &sb) == 0 && !S_ISREG(sb.st_mode))
		st = dl_fail(err, DLM_EEXIST, "", "\"%.200s\" exists and is not a regular file", target);
	else
		st = produce(source, folder, options ? options : &no_options, &writer, own, err);
	free(folder);
	if (st != DLM_OK)
		return st;
	if (digest != NULL)
		memcpy(digest, own, 32);
	return dl_writer_commit(writer, target, err);
}

/* Is there already a file of this size whose header has this digest? */
static bool
equal_file_exists(const char *path, const dl_writer *w, const uint8_t digest[32])
{
	dl_header	h;
	dl_file		f;
	bool		equal;

	if (!open_model_file(path, &f))
		return false;
	equal = f.size == dl_writer_at(w) && pread(f.fd, &h, sizeof(h), 0) == (ssize_t) sizeof(h) &&
		h.file_size == f.size && memcmp(h.digest, digest, 32) == 0;
	close(f.fd);
	return equal;
}

dlm_status
dl_publish(dl_writer *w, const char *folder, const uint8_t digest[32], dlm_error *err)
{
	char		path[PATH_MAX];
	int			n = snprintf(path, sizeof(path), "%s/", folder);

	if (n < 0 || (size_t) n + 64 + sizeof(".dlm") > sizeof(path))
	{
		dl_writer_abandon(w);
		return dl_fail_errno(err, ENAMETOOLONG, "open", folder);
	}
	for (int i = 0; i < 32; i++)
		snprintf(path + n + 2 * i, 3, "%02x", digest[i]);
	memcpy(path + n + 64, ".dlm", sizeof(".dlm"));
	if (equal_file_exists(path, w, digest))
	{
		dl_writer_abandon(w);
		return DLM_OK;
	}
	return dl_writer_commit(w, path, err);
}

dlm_status
dlm_convert_into(const char *source, const char *folder, const dlm_convert_options *options,
				 uint8_t digest[32], dlm_error *err)
{
	uint8_t		own[32];
	dl_writer  *writer;
	dlm_status	st = produce(source, folder, options ? options : &no_options, &writer, own, err);

	if (st != DLM_OK)
		return st;
	if (digest != NULL)
		memcpy(digest, own, 32);
	return dl_publish(writer, folder, own, err);
}
