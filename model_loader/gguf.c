/*
 * gguf.c - parse the keys and the tensor table of a GGUF file.
 *
 * Layout (versions 2 and 3, little-endian): magic "GGUF", u32 version, u64
 * tensors, u64 keys; each key a string, a type and a value; each tensor a
 * string, u32 dimensions, u64 sizes (innermost first), u32 type, u64 offset
 * from the aligned start of the data. A string is u64 length and bytes.
 *
 * Nothing is copied: keys and values stay pointers into the data. A cursor
 * knows how long the file is and how much of it we have, so that "beyond the
 * file" (damage) and "not read yet" (DLM_MORE) are told apart.
 */
#include "gguf.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

#define MAX_KEYS		65536
#define MAX_TENSORS		65536
#define MAX_ALIGNMENT	(1u << 20)

typedef struct dl_gguf_value
{
	dlm_text	key;
	uint32_t	type;
	uint32_t	element;		/* of an array */
	uint64_t	n;				/* of an array; 1 otherwise */
	const uint8_t *data;		/* first element, checked to lie inside */
} dl_gguf_value;

struct dl_gguf
{
	dl_gguf_value *values;
	int			n_values;
	dl_gguf_tensor *tensors;
	int			n_tensors;
};

typedef struct dl_cursor
{
	const uint8_t *data;
	uint64_t	at,
				have,
				size;
	bool		more;			/* stopped at the end of what we have */
} dl_cursor;

/* n bytes, or NULL: beyond the file, or (more) beyond what was read of it. */
static const uint8_t *
take(dl_cursor *c, uint64_t n)
{
	const uint8_t *p = c->data + c->at;

	if (n > c->size - c->at)
		return NULL;
	if (n > c->have - c->at)
	{
		c->more = true;
		return NULL;
	}
	c->at += n;
	return p;
}

static uint64_t
little_endian(const uint8_t *p, int n)
{
	uint64_t	v = 0;

	for (int i = 0; i < n; i++)
		v |= (uint64_t) p[i] << (8 * i);
	return v;
}

static bool
take_int(dl_cursor *c, int n, uint64_t *out)
{
	const uint8_t *p = take(c, (uint64_t) n);

	if (p == NULL)
		return false;
	*out = little_endian(p, n);
	return true;
}

static bool
take_string(dl_cursor *c, dlm_text *out)
{
	uint64_t	n;
	const uint8_t *p;

	if (!take_int(c, 8, &n) || (p = take(c, n)) == NULL)
		return false;
	out->data = (const char *) p;
	out->len = (size_t) n;
	return true;
}

/* Bytes of a value of fixed size; 0 for strings, arrays and unknown types. */
static int
type_size(uint64_t type)
{
	switch (type)
	{
		case DL_GGUF_U8:
		case DL_GGUF_I8:
		case DL_GGUF_BOOL:
			return 1;
		case DL_GGUF_U16:
		case DL_GGUF_I16:
			return 2;
		case DL_GGUF_U32:
		case DL_GGUF_I32:
		case DL_GGUF_F32:
			return 4;
		case DL_GGUF_U64:
		case DL_GGUF_I64:
		case DL_GGUF_F64:
			return 8;
		default:
			return 0;
	}
}

static bool
take_elements(dl_cursor *c, uint64_t type, uint64_t n)
{
	uint64_t	bytes;
	dlm_text	ignored;

	if (type == DL_GGUF_STRING)
	{
		if (n > c->size / 8)
			return false;
		for (uint64_t i = 0; i < n; i++)
			if (!take_string(c, &ignored))
				return false;
		return true;
	}
	if (type_size(type) == 0 || __builtin_mul_overflow(n, (uint64_t) type_size(type), &bytes))
		return false;
	return take(c, bytes) != NULL;
}

static bool
take_value(dl_cursor *c, dl_gguf_value *v)
{
	uint64_t	type,
				element = 0,
				n = 1;

	if (!take_string(c, &v->key) || !take_int(c, 4, &type))
		return false;
	if (type == DL_GGUF_ARRAY && (!take_int(c, 4, &element) || !take_int(c, 8, &n)))
		return false;
	v->type = (uint32_t) type;
	v->element = (uint32_t) element;
	v->n = n;
	v->data = c->data + c->at;
	return take_elements(c, type == DL_GGUF_ARRAY ? element : type, n);
}

static bool
take_tensor(dl_cursor *c, dl_gguf_tensor *t)
{
	uint64_t	dims,
				type;

	if (!take_string(c, &t->name) || !take_int(c, 4, &dims) || dims < 1 || dims > 4)
		return false;
	t->n_dims = (int) dims;
	for (int i = t->n_dims - 1; i >= 0; i--)
		if (!take_int(c, 8, &t->dims[i]))
			return false;
	if (!take_int(c, 4, &type) || !take_int(c, 8, &t->offset))
		return false;
	t->type = (uint32_t) type;
	return true;
}

/* Make offsets count from the start of the file. */
static dlm_status
place_tensors(dl_gguf *g, uint64_t header_end, dlm_error *err)
{
	int64_t		alignment = 32;
	uint64_t	start;

	dl_gguf_get_int(g, "general.alignment", &alignment);
	if (alignment < 1 || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)
		return dl_fail(err, DLM_EDAMAGED, "", "GGUF file has an invalid alignment");
	start = (header_end + (uint64_t) alignment - 1) / (uint64_t) alignment * (uint64_t) alignment;
	for (int i = 0; i < g->n_tensors; i++)
		if (__builtin_add_overflow(start, g->tensors[i].offset, &g->tensors[i].offset))
			return dl_fail(err, DLM_EDAMAGED, "", "GGUF tensor lies outside its file");
	return DLM_OK;
}

static dlm_status
stopped(const dl_cursor *c, const char *what, dlm_error *err)
{
	if (c->more)
		return DLM_MORE;
	return dl_fail(err, DLM_EDAMAGED, "", "GGUF file is damaged: %s", what);
}

static dlm_status
parse(dl_gguf *g, dl_cursor *c, dlm_error *err)
{
	const uint8_t *magic = take(c, 4);
	uint64_t	version,
				n_tensors,
				n_values;

	if (magic == NULL || memcmp(magic, "GGUF", 4) != 0 || !take_int(c, 4, &version))
		return stopped(c, "no magic", err);
	if (version != 2 && version != 3)
		return dl_fail(err, DLM_EUNSUPPORTED, "Versions 2 and 3, little-endian, can be read.",
					   "GGUF file has unknown version %u", (unsigned) version);
	if (!take_int(c, 8, &n_tensors) || !take_int(c, 8, &n_values))
		return stopped(c, "no counts", err);
	if (n_tensors > MAX_TENSORS || n_values > MAX_KEYS)
		return dl_fail(err, DLM_EDAMAGED, "", "GGUF file has more than %d tensors or keys", MAX_KEYS);

	g->values = calloc((size_t) n_values + 1, sizeof(dl_gguf_value));
	g->tensors = calloc((size_t) n_tensors + 1, sizeof(dl_gguf_tensor));
	if (g->values == NULL || g->tensors == NULL)
		return dl_fail_memory(err);
	for (; (uint64_t) g->n_values < n_values; g->n_values++)
		if (!take_value(c, &g->values[g->n_values]))
			return stopped(c, "a key or its value", err);
	for (; (uint64_t) g->n_tensors < n_tensors; g->n_tensors++)
		if (!take_tensor(c, &g->tensors[g->n_tensors]))
			return stopped(c, "the table of tensors", err);
	return place_tensors(g, c->at, err);
}

dlm_status
dl_gguf_open_head(const void *data, size_t have, uint64_t file_size, dl_gguf **out, dlm_error *err)
{
	dl_cursor	c = {.data = data, .have = have, .size = file_size};
	dl_gguf    *g = calloc(1, sizeof(dl_gguf));
	dlm_status	st;

	*out = NULL;
	if (g == NULL)
		return dl_fail_memory(err);
	st = parse(g, &c, err);
	if (st != DLM_OK)
		dl_gguf_close(g);
	else
		*out = g;
	return st;
}

dlm_status
dl_gguf_open(const void *data, size_t size, dl_gguf **out, dlm_error *err)
{
	return dl_gguf_open_head(data, size, size, out, err);
}

void
dl_gguf_close(dl_gguf *g)
{
	if (g == NULL)
		return;
	free(g->values);
	free(g->tensors);
	free(g);
}

const dl_gguf_tensor *
dl_gguf_tensors(const dl_gguf *g, int *n)
{
	*n = g->n_tensors;
	return g->tensors;
}

/* ---------------------------------------------------------------- look up */

static const dl_gguf_value *
find(const dl_gguf *g, const char *key)
{
	size_t		len = strlen(key);

	for (int i = 0; i < g->n_values; i++)
		if (g->values[i].key.len == len && memcmp(g->values[i].key.data, key, len) == 0)
			return &g->values[i];
	return NULL;
}

/* An integer element of any width; false for other types and for what int64 cannot hold. */
static bool
read_int(uint32_t type, const uint8_t *p, int64_t *out)
{
	uint64_t	v;
	int			size = type_size(type);

	if (size == 0 || type == DL_GGUF_F32 || type == DL_GGUF_F64)
		return false;
	v = little_endian(p, size);
	if (type == DL_GGUF_U64 && v > INT64_MAX)
		return false;
	if (type == DL_GGUF_I8)
		*out = (int8_t) v;
	else if (type == DL_GGUF_I16)
		*out = (int16_t) v;
	else if (type == DL_GGUF_I32)
		*out = (int32_t) v;
	else
		*out = (int64_t) v;
	return true;
}

static bool
read_float(uint32_t type, const uint8_t *p, double *out)
{
	if (type == DL_GGUF_F32)
	{
		uint32_t	bits = (uint32_t) little_endian(p, 4);
		float		f;

		memcpy(&f, &bits, sizeof(f));
		*out = f;
		return true;
	}
	if (type == DL_GGUF_F64)
	{
		uint64_t	bits = little_endian(p, 8);

		memcpy(out, &bits, sizeof(*out));
		return true;
	}
	return false;
}

bool
dl_gguf_get_int(const dl_gguf *g, const char *key, int64_t *out)
{
	const dl_gguf_value *v = find(g, key);

	return v != NULL && read_int(v->type, v->data, out);
}

bool
dl_gguf_get_float(const dl_gguf *g, const char *key, double *out)
{
	const dl_gguf_value *v = find(g, key);

	return v != NULL && read_float(v->type, v->data, out);
}

bool
dl_gguf_get_string(const dl_gguf *g, const char *key, dlm_text *out)
{
	const dl_gguf_value *v = find(g, key);

	if (v == NULL || v->type != DL_GGUF_STRING)
		return false;
	out->len = (size_t) little_endian(v->data, 8);
	out->data = (const char *) v->data + 8;
	return true;
}

static const dl_gguf_value *
find_array(const dl_gguf *g, const char *key, uint64_t n)
{
	const dl_gguf_value *v = find(g, key);

	return v != NULL && v->type == DL_GGUF_ARRAY && v->n >= n ? v : NULL;
}

bool
dl_gguf_get_array(const dl_gguf *g, const char *key, dl_gguf_type *type, uint64_t *n)
{
	const dl_gguf_value *v = find_array(g, key, 0);

	if (v == NULL)
		return false;
	*type = (dl_gguf_type) v->element;
	*n = v->n;
	return true;
}

bool
dl_gguf_array_strings(const dl_gguf *g, const char *key, dlm_text *out, uint64_t n)
{
	const dl_gguf_value *v = find_array(g, key, n);
	const uint8_t *p;

	if (v == NULL || v->element != DL_GGUF_STRING)
		return false;
	p = v->data;
	for (uint64_t i = 0; i < n; i++)
	{
		out[i].len = (size_t) little_endian(p, 8);
		out[i].data = (const char *) p + 8;
		p += 8 + out[i].len;
	}
	return true;
}

bool
dl_gguf_array_floats(const dl_gguf *g, const char *key, float *out, uint64_t n)
{
	const dl_gguf_value *v = find_array(g, key, n);

	if (v == NULL)
		return false;
	for (uint64_t i = 0; i < n; i++)
	{
		double		d;

		if (!read_float(v->element, v->data + i * (uint64_t) type_size(v->element), &d))
			return false;
		out[i] = (float) d;
	}
	return true;
}

bool
dl_gguf_array_ints(const dl_gguf *g, const char *key, int32_t *out, uint64_t n)
{
	const dl_gguf_value *v = find_array(g, key, n);

	if (v == NULL)
		return false;
	for (uint64_t i = 0; i < n; i++)
	{
		int64_t		d;

		if (!read_int(v->element, v->data + i * (uint64_t) type_size(v->element), &d) ||
			d < INT32_MIN || d > INT32_MAX)
			return false;
		out[i] = (int32_t) d;
	}
	return true;
}
