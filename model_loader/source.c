/*
 * source.c - open a checkpoint: a Hugging Face folder, one safetensors file, or a GGUF file.
 *
 * Wrappers add prefixes to names ("model.", "roberta.", PEFT's
 * "base_model.model."); they are stripped once, here, so that binders know
 * one name per tensor. Two tensors of one stripped name are an error.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "safetensors.h"
#include "status.h"

#define GGUF_FIRST_READ		((uint64_t) 8 << 20)
#define GGUF_MAX_HEAD		((uint64_t) 512 << 20)

/* ---------------------------------------------------------------- files */

static char *
copy_string(dl_arena *arena, const char *s, size_t len)
{
	char	   *copy = dl_arena_alloc(arena, len + 1);

	if (copy != NULL)
	{
		memcpy(copy, s, len);
		copy[len] = '\0';
	}
	return copy;
}

char *
dl_path_join(dl_arena *arena, const char *folder, const char *name)
{
	size_t		a = strlen(folder),
				b = strlen(name);
	char	   *path = dl_arena_alloc(arena, a + b + 2);

	if (path == NULL)
		return NULL;
	memcpy(path, folder, a);
	path[a] = '/';
	memcpy(path + a + 1, name, b + 1);
	return path;
}

const char *
dl_clean_name(const char *name, char buf[100])
{
	int			i;

	for (i = 0; i < 96 && name[i] != '\0'; i++)
		buf[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
	buf[i] = '\0';
	return buf;
}

/* Open a regular file for reading. O_NONBLOCK: a FIFO must not hang us. */
static dlm_status
open_regular(const char *path, int *fd, uint64_t *size, dlm_error *err)
{
	struct stat sb;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return dl_fail_errno(err, errno, "open", path);
	if (fstat(*fd, &sb) != 0 || !S_ISREG(sb.st_mode))
	{
		close(*fd);
		return dl_fail(err, DLM_EDAMAGED, "", "\"%.200s\" is not a regular file", path);
	}
	*size = (uint64_t) sb.st_size;
	return DLM_OK;
}

dlm_status
dl_file_read(const dl_file *f, uint64_t offset, void *buf, size_t n, dlm_error *err)
{
	size_t		done = 0;

	while (done < n)
	{
		ssize_t		got = pread(f->fd, (char *) buf + done, n - done, (off_t) (offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dl_fail_errno(err, errno, "read", f->path);
		if (got == 0)
			return dl_fail(err, DLM_EDAMAGED, "", "\"%.200s\" has become shorter while it was read", f->path);
		done += (size_t) got;
	}
	return DLM_OK;
}

dlm_status
dl_read_text(const char *path, size_t limit, dl_arena *arena, dlm_text *out, dlm_error *err)
{
	dl_file		f = {.path = (char *) path};
	char	   *text = NULL;
	dlm_status	st = open_regular(path, &f.fd, &f.size, err);

	if (st != DLM_OK)
		return st;
	if (f.size > limit)
		st = dl_fail(err, DLM_EDAMAGED, "", "\"%.200s\" is larger than %zu MB", path, limit >> 20);
	else if ((text = dl_arena_alloc(arena, (size_t) f.size + 1)) == NULL)
		st = dl_fail_memory(err);
	else
		st = dl_file_read(&f, 0, text, (size_t) f.size, err);
	close(f.fd);
	if (st != DLM_OK)
		return st;
	text[f.size] = '\0';
	out->data = text;
	out->len = (size_t) f.size;
	return DLM_OK;
}

dlm_status
dl_source_add_file(dl_source *s, const char *path, dl_file **out, dlm_error *err)
{
	dl_file    *f;
	dlm_status	st;

	if (s->n_files == DL_SOURCE_MAX_FILES)
		return dl_fail(err, DLM_EDAMAGED, "", "model consists of more than %d files", DL_SOURCE_MAX_FILES);
	f = &s->files[s->n_files];
	f->path = copy_string(s->arena, path, strlen(path));
	if (f->path == NULL)
		return dl_fail_memory(err);
	st = open_regular(path, &f->fd, &f->size, err);
	if (st != DLM_OK)
		return st;
	s->n_files++;
	*out = f;
	return DLM_OK;
}

/* ---------------------------------------------------------------- tensors */

static const char *
strip_prefixes(const char *name)
{
	static const char *const prefixes[] = {"base_model.", "model.", "module.", "roberta.", "bert.", "transformer."};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]);)
	{
		size_t		n = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], n) == 0)
		{
			name += n;
			i = 0;
		}
		else
			i++;
	}
	return name;
}

dlm_status
dl_source_add_tensor(dl_source *s, const dl_tensor *t, dlm_text name, dlm_error *err)
{
	dl_tensor  *copy;

	if (s->n_tensors == DL_SOURCE_MAX_TENSORS)
		return dl_fail(err, DLM_EDAMAGED, "", "model has more than %d tensors", DL_SOURCE_MAX_TENSORS);
	if (s->n_tensors == s->capacity)
	{
		int			capacity = s->capacity ? s->capacity * 2 : 256;
		dl_tensor  *grown = realloc(s->tensors, (size_t) capacity * sizeof(dl_tensor));

		if (grown == NULL)
			return dl_fail_memory(err);
		s->tensors = grown;
		s->capacity = capacity;
	}
	copy = &s->tensors[s->n_tensors];
	*copy = *t;
	copy->name = copy_string(s->arena, name.data, name.len);
	if (copy->name == NULL)
		return dl_fail_memory(err);
	copy->key = s->kind == DL_SOURCE_GGUF ? copy->name : strip_prefixes(copy->name);
	s->n_tensors++;
	return DLM_OK;
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(((const dl_tensor *) a)->key, ((const dl_tensor *) b)->key);
}

static dlm_status
sort_tensors(dl_source *s, dlm_error *err)
{
	char		clean[100];

	if (s->n_tensors == 0)
		return dl_fail(err, DLM_EDAMAGED, "", "model holds no tensors");
	qsort(s->tensors, (size_t) s->n_tensors, sizeof(dl_tensor), compare_keys);
	for (int i = 1; i < s->n_tensors; i++)
		if (strcmp(s->tensors[i - 1].key, s->tensors[i].key) == 0)
			return dl_fail(err, DLM_EDAMAGED, "", "two tensors are named \"%s\"",
						   dl_clean_name(s->tensors[i].key, clean));
	return DLM_OK;
}

dl_tensor *
dl_source_find(const dl_source *s, const char *key)
{
	dl_tensor	wanted = {.key = key};

	if (s->n_tensors == 0)
		return NULL;
	return bsearch(&wanted, s->tensors, (size_t) s->n_tensors, sizeof(dl_tensor), compare_keys);
}

/* ---------------------------------------------------------------- formats */

static dl_storage
storage_of_ggml(uint32_t type)
{
	static const struct
	{
		uint32_t	type;
		dl_storage	storage;
	}			known[] = {
		{0, DL_ST_F32}, {1, DL_ST_F16}, {2, DL_ST_Q4_0}, {3, DL_ST_Q4_1}, {6, DL_ST_Q5_0}, {7, DL_ST_Q5_1},
		{8, DL_ST_Q8_0}, {12, DL_ST_Q4_K}, {13, DL_ST_Q5_K}, {14, DL_ST_Q6_K}, {30, DL_ST_BF16},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].type == type)
			return known[i].storage;
	return DL_ST_OTHER;
}

static dlm_status
add_gguf_tensor(dl_source *s, const dl_file *file, const dl_gguf_tensor *g, dlm_error *err)
{
	dl_tensor	t = {.storage = storage_of_ggml(g->type), .n_dims = g->n_dims, .file = file, .offset = g->offset};
	uint64_t	elements = 1;
	bool		valid = g->offset <= file->size && memchr(g->name.data, 0, g->name.len) == NULL;

	for (int i = 0; i < g->n_dims; i++)
	{
		t.dims[i] = g->dims[i];
		valid = valid && !__builtin_mul_overflow(elements, g->dims[i], &elements);
	}
	valid = valid && elements > 0 && g->dims[g->n_dims - 1] % dl_storage_block(t.storage) == 0;
	if (valid && t.storage != DL_ST_OTHER)
	{
		t.bytes = dl_storage_bytes(t.storage, elements);
		valid = t.bytes > 0 && t.bytes <= file->size - g->offset;
	}
	if (!valid)
		return dl_fail(err, DLM_EDAMAGED, "", "tensor %d of the GGUF file lies outside it or has an invalid shape",
					   s->n_tensors);
	return dl_source_add_tensor(s, &t, g->name, err);
}

static int
compare_offsets(const void *a, const void *b)
{
	const dl_tensor *x = a,
			   *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static dlm_status
check_overlap(dl_source *s, dlm_error *err)
{
	if (s->n_tensors > 1)
		qsort(s->tensors, (size_t) s->n_tensors, sizeof(dl_tensor), compare_offsets);
	for (int i = 1; i < s->n_tensors; i++)
		if (s->tensors[i].offset - s->tensors[i - 1].offset < s->tensors[i - 1].bytes)
			return dl_fail(err, DLM_EDAMAGED, "", "tensors of the GGUF file overlap");
	return DLM_OK;
}

/* Read as much of the file's beginning as its keys and tensor table take. */
static dlm_status
read_gguf_head(dl_source *s, const dl_file *file, dlm_error *err)
{
	for (uint64_t want = GGUF_FIRST_READ;; want *= 4)
	{
		dl_mark		mark = dl_arena_mark(s->arena);
		uint64_t	have = want < file->size ? want : file->size;
		void	   *head;
		dlm_status	st;

		if (have > GGUF_MAX_HEAD)
			return dl_fail(err, DLM_EDAMAGED, "", "keys of the GGUF file take more than %d MB",
						   (int) (GGUF_MAX_HEAD >> 20));
		head = dl_arena_alloc(s->arena, (size_t) have + 1);
		if (head == NULL)
			return dl_fail_memory(err);
		st = dl_file_read(file, 0, head, (size_t) have, err);
		if (st == DLM_OK)
			st = dl_gguf_open_head(head, (size_t) have, file->size, &s->gguf, err);
		if (st != DLM_MORE)
			return st;
		dl_arena_rewind(s->arena, mark);
	}
}

static dlm_status
read_gguf(dl_source *s, const char *path, dlm_error *err)
{
	const dl_gguf_tensor *tensors;
	dl_file    *file;
	int			n;
	dlm_status	st = dl_source_add_file(s, path, &file, err);

	if (st == DLM_OK)
		st = read_gguf_head(s, file, err);
	if (st != DLM_OK)
		return st;
	tensors = dl_gguf_tensors(s->gguf, &n);
	for (int i = 0; i < n && st == DLM_OK; i++)
		st = add_gguf_tensor(s, file, &tensors[i], err);
	return st == DLM_OK ? check_overlap(s, err) : st;
}

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The files that an index names, each once; every tensor of the index must be in one of them. */
static dlm_status
read_indexed_files(dl_source *s, const cJSON *map, dlm_error *err)
{
	const cJSON *item;
	int			n = 0,
				size = cJSON_IsObject(map) ? cJSON_GetArraySize(map) : 0;
	const char **names;
	dlm_status	st = DLM_OK;

	if (size < 1 || size > DL_SOURCE_MAX_TENSORS)
		return dl_fail(err, DLM_EDAMAGED, "", "index of the model's files has no valid weight_map");
	names = malloc((size_t) size * sizeof(char *));
	if (names == NULL)
		return dl_fail_memory(err);
	cJSON_ArrayForEach(item, map)
	{
		if (!cJSON_IsString(item) || item->valuestring[0] == '\0' || strchr(item->valuestring, '/') != NULL)
		{
			st = dl_fail(err, DLM_EDAMAGED, "", "index of the model's files has an invalid file name");
			break;
		}
		names[n++] = item->valuestring;
	}
	if (st == DLM_OK)
		qsort(names, (size_t) n, sizeof(char *), compare_strings);
	for (int i = 0; i < n && st == DLM_OK; i++)
	{
		char	   *path;

		if (i > 0 && strcmp(names[i], names[i - 1]) == 0)
			continue;
		path = dl_path_join(s->arena, s->folder, names[i]);
		st = path != NULL ? dl_safetensors_read(s, path, err) : dl_fail_memory(err);
	}
	free(names);
	return st;
}

static dlm_status
read_index(dl_source *s, const char *path, dlm_error *err)
{
	dlm_text	text;
	cJSON	   *root;
	dlm_status	st = dl_read_text(path, (size_t) 64 << 20, s->arena, &text, err);

	if (st == DLM_OK)
		st = dl_json_parse(text.data, text.len, "index of the model's files", &root, err);
	if (st != DLM_OK)
		return st;
	st = read_indexed_files(s, cJSON_GetObjectItemCaseSensitive(root, "weight_map"), err);
	cJSON_Delete(root);
	return st;
}

static dlm_status
read_folder(dl_source *s, const char *weights_name, dlm_error *err)
{
	char		index[128];
	char	   *single = dl_path_join(s->arena, s->folder, weights_name);
	char	   *indexed;

	snprintf(index, sizeof(index), "%s.index.json", weights_name);
	indexed = dl_path_join(s->arena, s->folder, index);
	if (single == NULL || indexed == NULL)
		return dl_fail_memory(err);
	if (access(indexed, F_OK) == 0)
		return read_index(s, indexed, err);
	if (access(single, F_OK) == 0)
		return dl_safetensors_read(s, single, err);
	return dl_fail(err, DLM_ENOENT, "Weights are read from safetensors; pickled files (pytorch_model.bin) are not.",
				   "folder \"%.200s\" holds neither \"%s\" nor its index", s->folder, weights_name);
}

static dlm_status
folder_of(dl_source *s, const char *path, bool is_folder, dlm_error *err)
{
	const char *slash = strrchr(path, '/');

	if (is_folder)
		s->folder = copy_string(s->arena, path, strlen(path));
	else if (slash == NULL)
		s->folder = copy_string(s->arena, ".", 1);
	else
		s->folder = copy_string(s->arena, path, slash == path ? 1 : (size_t) (slash - path));
	return s->folder != NULL ? DLM_OK : dl_fail_memory(err);
}

static dlm_status
read_any(dl_source *s, const char *path, const char *weights_name, bool is_folder, dlm_error *err)
{
	dlm_status	st = folder_of(s, path, is_folder, err);
	dl_file		f = {.path = (char *) path};
	char		magic[4] = "";

	if (st != DLM_OK)
		return st;
	if (is_folder)
		return read_folder(s, weights_name, err);
	st = open_regular(path, &f.fd, &f.size, err);
	if (st != DLM_OK)
		return st;
	if (f.size >= 4)
		st = dl_file_read(&f, 0, magic, 4, err);
	close(f.fd);
	if (st != DLM_OK)
		return st;
	if (memcmp(magic, "GGUF", 4) == 0)
	{
		s->kind = DL_SOURCE_GGUF;
		return read_gguf(s, path, err);
	}
	return dl_safetensors_read(s, path, err);
}

dlm_status
dl_source_open(const char *path, const char *weights_name, dl_arena *arena, dl_source *out, dlm_error *err)
{
	struct stat sb;
	dlm_status	st;

	memset(out, 0, sizeof(*out));
	out->arena = arena;
	if (stat(path, &sb) != 0)
		return dl_fail_errno(err, errno, "open", path);
	out->files = dl_arena_calloc(arena, DL_SOURCE_MAX_FILES, sizeof(dl_file));
	if (out->files == NULL)
		return dl_fail_memory(err);
	st = read_any(out, path, weights_name, S_ISDIR(sb.st_mode), err);
	if (st == DLM_OK)
		st = sort_tensors(out, err);
	if (st != DLM_OK)
		dl_source_close(out);
	return st;
}

void
dl_source_close(dl_source *s)
{
	for (int i = 0; i < s->n_files; i++)
		close(s->files[i].fd);
	dl_gguf_close(s->gguf);
	free(s->tensors);
	s->n_files = 0;
	s->n_tensors = 0;
	s->tensors = NULL;
	s->gguf = NULL;
}
