/*
 * checkpoint.c - see checkpoint.h.
 */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert.h"
#include "status.h"

#define MAGIC		"dlmtrain"
#define VERSION		1u
#define PIECE_BYTES	((size_t) 1 << 20)	/* written or hashed between two polls */

typedef struct dl_checkpoint_header
{
	char		magic[8];
	uint32_t	version;
	uint32_t	endian;
	uint64_t	file_size;
	uint32_t	n_sections;
	uint32_t	reserved;
	uint8_t		digest[32];
} dl_checkpoint_header;

typedef struct dl_checkpoint_entry
{
	char		name[DL_CHECKPOINT_NAME];
	uint64_t	offset;
	uint64_t	size;
} dl_checkpoint_entry;

struct dl_checkpoint
{
	dl_file		file;
	char	   *path;
	dl_checkpoint_header header;
	dl_checkpoint_entry entry[DL_CHECKPOINT_SECTIONS];
};

_Static_assert(sizeof(dl_checkpoint_header) == 64 && sizeof(dl_checkpoint_entry) == 48, "no padding in the file");

static uint64_t
align(uint64_t at)
{
	return (at + DL_ALIGN - 1) / DL_ALIGN * DL_ALIGN;
}

static dlm_status
check_stop(const dlm_env *env, dlm_error *err)
{
	if (env != NULL && env->stop != NULL && env->stop(env->arg))
		return dl_fail(err, DLM_EINTR, "", "interrupted");
	return DLM_OK;
}

/* ---------------------------------------------------------------- writing */

/* Sizes and places of the sections. */
static dlm_status
lay_out(dl_checkpoint_header *h, dl_checkpoint_entry *entry, const dl_piece *pieces, int n, dlm_error *err)
{
	uint64_t	at;

	*h = (dl_checkpoint_header) {.version = VERSION, .endian = DL_ENDIAN_TAG};
	memcpy(h->magic, MAGIC, sizeof(h->magic));
	for (int i = 0; i < n; i++)
	{
		if (pieces[i].section != NULL)
		{
			if (h->n_sections == DL_CHECKPOINT_SECTIONS || strlen(pieces[i].section) >= DL_CHECKPOINT_NAME)
				return dl_fail(err, DLM_EINVAL, "", "a checkpoint cannot hold section \"%.60s\"", pieces[i].section);
			strcpy(entry[h->n_sections++].name, pieces[i].section);
		}
		if (h->n_sections == 0)
			return dl_fail(err, DLM_EINVAL, "", "the first piece of a checkpoint has no section");
		entry[h->n_sections - 1].size += pieces[i].size;
	}
	at = sizeof(*h) + h->n_sections * sizeof(*entry);
	for (uint32_t i = 0; i < h->n_sections; i++)
	{
		entry[i].offset = align(at);
		at = entry[i].offset + entry[i].size;
	}
	h->file_size = at;
	return DLM_OK;
}

static dlm_status
put(dl_writer *w, const dl_piece *piece, const dlm_env *env, dlm_error *err)
{
	dlm_status	st = DLM_OK;

	for (size_t at = 0; at < piece->size && st == DLM_OK; at += PIECE_BYTES)
	{
		size_t		n = piece->size - at < PIECE_BYTES ? piece->size - at : PIECE_BYTES;

		st = check_stop(env, err);
		if (st == DLM_OK)
			st = dl_writer_put(w, (const char *) piece->data + at, n, err);
	}
	return st;
}

static dlm_status
put_all(dl_writer *w, dl_checkpoint_header *h, const dl_checkpoint_entry *entry, const dl_piece *pieces, int n,
		const dlm_env *env, dlm_error *err)
{
	uint32_t	section = 0;
	dlm_status	st;

	dl_writer_hash(w, true);
	st = dl_writer_put(w, h, sizeof(*h), err);
	if (st == DLM_OK)
		st = dl_writer_put(w, entry, h->n_sections * sizeof(*entry), err);
	for (int i = 0; i < n && st == DLM_OK; i++)
	{
		if (pieces[i].section != NULL)
			st = dl_writer_pad(w, entry[section++].offset, err);
		if (st == DLM_OK)
			st = put(w, &pieces[i], env, err);
	}
	if (st != DLM_OK)
		return st;
	dl_writer_digest(w, h->digest);
	return dl_writer_header(w, h, sizeof(*h), err);
}

dlm_status
dl_checkpoint_write(const char *path, const dl_piece *pieces, int n, const dlm_env *env, dlm_error *err)
{
	dl_checkpoint_header h;
	dl_checkpoint_entry entry[DL_CHECKPOINT_SECTIONS] = {0};
	char	   *folder = dl_folder_of(path);
	dl_writer  *w = NULL;
	struct stat sb;
	dlm_status	st = folder != NULL ? lay_out(&h, entry, pieces, n, err) : dl_fail_memory(err);

	if (st == DLM_OK && stat(path, &sb) == 0 && !S_ISREG(sb.st_mode))
		st = dl_fail(err, DLM_EEXIST, "", "\"%.200s\" exists and is not a regular file", path);
	if (st == DLM_OK)
		st = dl_writer_open(folder, &w, err);
	free(folder);
	if (st != DLM_OK)
		return st;
	st = put_all(w, &h, entry, pieces, n, env, err);
	if (st == DLM_OK)
		return dl_writer_commit(w, path, err);
	dl_writer_abandon(w);
	return st;
}

/* ---------------------------------------------------------------- reading */

static dlm_status
damaged(const dl_checkpoint *c, const char *why, dlm_error *err)
{
	return dl_fail(err, DLM_EDAMAGED, "", "checkpoint \"%.200s\" is damaged: %s", c->path, why);
}

static dlm_status
open_file(dl_checkpoint *c, dlm_error *err)
{
	struct stat sb;

	c->file.path = c->path;
	c->file.fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (c->file.fd < 0)
		return dl_fail_errno(err, errno, "open", c->path);
	if (fstat(c->file.fd, &sb) != 0 || !S_ISREG(sb.st_mode))
		return damaged(c, "it is not a regular file", err);
	c->file.size = (uint64_t) sb.st_size;
	return DLM_OK;
}

static dlm_status
read_header(dl_checkpoint *c, dlm_error *err)
{
	dl_checkpoint_header *h = &c->header;
	dlm_status	st;

	if (c->file.size < sizeof(*h))
		return damaged(c, "it is too short", err);
	st = dl_file_read(&c->file, 0, h, sizeof(*h), err);
	if (st != DLM_OK)
		return st;
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return dl_fail(err, DLM_EDAMAGED, "", "\"%.200s\" is not a checkpoint", c->path);
	if (h->endian != DL_ENDIAN_TAG)
		return damaged(c, "its byte order is another", err);
	if (h->version != VERSION)
		return dl_fail(err, DLM_EUNSUPPORTED, "", "checkpoint \"%.200s\" has version %u, but only %u is known", c->path,
					   h->version, VERSION);
	if (h->file_size != c->file.size || h->n_sections > DL_CHECKPOINT_SECTIONS || h->reserved != 0 ||
		c->file.size < sizeof(*h) + h->n_sections * sizeof(c->entry[0]))
		return damaged(c, "its size is wrong", err);
	return DLM_OK;
}

/* The directory: names of their own, sections where a writer puts them. */
static dlm_status
read_directory(dl_checkpoint *c, dlm_error *err)
{
	uint64_t	at = sizeof(c->header) + c->header.n_sections * sizeof(c->entry[0]);
	dlm_status	st = dl_file_read(&c->file, sizeof(c->header), c->entry, c->header.n_sections * sizeof(c->entry[0]), err);

	if (st != DLM_OK)
		return st;
	for (uint32_t i = 0; i < c->header.n_sections; i++)
	{
		const dl_checkpoint_entry *e = &c->entry[i];

		if (memchr(e->name, '\0', sizeof(e->name)) == NULL || e->offset != align(at) || e->offset > c->file.size ||
			e->size > c->file.size - e->offset)
			return damaged(c, "a section lies outside", err);
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(c->entry[j].name, e->name) == 0)
				return damaged(c, "a section is there twice", err);
		at = e->offset + e->size;
	}
	return at == c->file.size ? DLM_OK : damaged(c, "its size is wrong", err);
}

static dlm_status
verify(dl_checkpoint *c, const dlm_env *env, dlm_error *err)
{
	dl_checkpoint_header h = c->header;
	uint8_t		digest[32],
			   *buf = malloc(PIECE_BYTES);
	dl_sha256	sha;
	dlm_status	st = buf != NULL ? DLM_OK : dl_fail_memory(err);

	memset(h.digest, 0, sizeof(h.digest));
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, &h, sizeof(h));
	for (uint64_t at = sizeof(h); at < c->file.size && st == DLM_OK; at += PIECE_BYTES)
	{
		size_t		n = c->file.size - at < PIECE_BYTES ? (size_t) (c->file.size - at) : PIECE_BYTES;

		st = check_stop(env, err);
		if (st == DLM_OK)
			st = dl_file_read(&c->file, at, buf, n, err);
		if (st == DLM_OK)
			dl_sha256_update(&sha, buf, n);
	}
	free(buf);
	dl_sha256_final(&sha, digest);
	if (st == DLM_OK && memcmp(digest, c->header.digest, sizeof(digest)) != 0)
		st = damaged(c, "its content does not match its digest", err);
	return st;
}

dlm_status
dl_checkpoint_open(const char *path, const dlm_env *env, dl_checkpoint **out, dlm_error *err)
{
	dl_checkpoint *c = calloc(1, sizeof(*c));
	dlm_status	st;

	*out = NULL;
	if (c == NULL || (c->path = strdup(path)) == NULL)
	{
		free(c);
		return dl_fail_memory(err);
	}
	st = open_file(c, err);
	if (st == DLM_OK)
		st = read_header(c, err);
	if (st == DLM_OK)
		st = read_directory(c, err);
	if (st == DLM_OK)
		st = verify(c, env, err);
	if (st == DLM_OK)
		*out = c;
	else
		dl_checkpoint_close(c);
	return st;
}

void
dl_checkpoint_close(dl_checkpoint *c)
{
	if (c == NULL)
		return;
	if (c->file.fd >= 0)
		close(c->file.fd);
	free(c->path);
	free(c);
}

static const dl_checkpoint_entry *
find(const dl_checkpoint *c, const char *section)
{
	for (uint32_t i = 0; i < c->header.n_sections; i++)
		if (strcmp(c->entry[i].name, section) == 0)
			return &c->entry[i];
	return NULL;
}

bool
dl_checkpoint_size(const dl_checkpoint *c, const char *section, uint64_t *size)
{
	const dl_checkpoint_entry *e = find(c, section);

	if (e != NULL)
		*size = e->size;
	return e != NULL;
}

dlm_status
dl_checkpoint_compare(const dl_checkpoint *c, const char *section, const void *data, size_t size, const char *what,
					  dlm_error *err)
{
	const dl_checkpoint_entry *e = find(c, section);
	char	   *buf;
	bool		same;
	dlm_status	st;

	if (e == NULL)
		return damaged(c, "a section is missing", err);
	if (e->size != size)
		return dl_fail(err, DLM_EINVAL, "", "checkpoint \"%.200s\" is of another %s", c->path, what);
	buf = malloc(size > 0 ? size : 1);
	if (buf == NULL)
		return dl_fail_memory(err);
	st = dl_file_read(&c->file, e->offset, buf, size, err);
	same = st == DLM_OK && memcmp(buf, data, size) == 0;
	free(buf);
	if (st == DLM_OK && !same)
		st = dl_fail(err, DLM_EINVAL, "", "checkpoint \"%.200s\" is of another %s", c->path, what);
	return st;
}

/* Bytes of the pieces from i on that belong to one section; *next gets the first of the section after it. */
static size_t
bytes_of(const dl_piece *pieces, int n, int i, int *next)
{
	size_t		size = pieces[i].size;

	for (i++; i < n && pieces[i].section == NULL; i++)
		size += pieces[i].size;
	*next = i;
	return size;
}

dlm_status
dl_checkpoint_read(const dl_checkpoint *c, const dl_piece *pieces, int n, dlm_error *err)
{
	uint64_t	at = 0;
	dlm_status	st = DLM_OK;

	for (int i = 0; i < n;)
	{
		const dl_checkpoint_entry *e = pieces[i].section != NULL ? find(c, pieces[i].section) : NULL;

		if (e == NULL)
			return damaged(c, "a section is missing", err);
		if (bytes_of(pieces, n, i, &i) != e->size)
			return damaged(c, "a section has another size", err);
	}
	for (int i = 0; i < n && st == DLM_OK; i++)
	{
		if (pieces[i].section != NULL)
			at = find(c, pieces[i].section)->offset;
		st = dl_file_read(&c->file, at, pieces[i].data, pieces[i].size, err);
		at += pieces[i].size;
	}
	return st;
}
