/*
 * safetensors.c - read the header of a .safetensors file.
 *
 * Layout: 8 bytes little-endian header length, a JSON object
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": ...},
 * then the data. cJSON numbers are doubles, so integers are exact up to 2^53;
 * anything beyond is refused.
 */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "status.h"

typedef struct dl_dtype_name
{
	const char *name;
	dl_storage	storage;
	uint32_t	bytes;
} dl_dtype_name;

static const dl_dtype_name dtypes[] = {
	{"F32", DL_ST_F32, 4}, {"F16", DL_ST_F16, 2}, {"BF16", DL_ST_BF16, 2},
	{"F64", DL_ST_OTHER, 8}, {"I64", DL_ST_OTHER, 8}, {"U64", DL_ST_OTHER, 8}, {"I32", DL_ST_OTHER, 4},
	{"U32", DL_ST_OTHER, 4}, {"I16", DL_ST_OTHER, 2}, {"U16", DL_ST_OTHER, 2}, {"I8", DL_ST_OTHER, 1},
	{"U8", DL_ST_OTHER, 1}, {"BOOL", DL_ST_OTHER, 1}, {"F8_E4M3", DL_ST_OTHER, 1}, {"F8_E5M2", DL_ST_OTHER, 1},
};

/* A range of the data, to look for overlaps. */
typedef struct dl_range
{
	uint64_t	begin,
				end;
} dl_range;

static bool
get_size(const cJSON *value, uint64_t *out)
{
	if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= 0x1p53))
		return false;
	*out = (uint64_t) value->valuedouble;
	return (double) *out == value->valuedouble;
}

static const dl_dtype_name *
find_dtype(const cJSON *value)
{
	if (!cJSON_IsString(value))
		return NULL;
	for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
		if (strcmp(dtypes[i].name, value->valuestring) == 0)
			return &dtypes[i];
	return NULL;
}

/* Shape and element count; scalars become [1]. */
static bool
get_shape(const cJSON *value, dl_tensor *t, uint64_t *elements)
{
	const cJSON *dim;
	int			skipped = 0;

	if (!cJSON_IsArray(value))
		return false;
	*elements = 1;
	t->n_dims = 0;
	cJSON_ArrayForEach(dim, value)
	{
		uint64_t	n;

		if (!get_size(dim, &n) || __builtin_mul_overflow(*elements, n, elements) || ++skipped > 8)
			return false;
		if (t->n_dims < 4)
			t->dims[t->n_dims++] = n;
		else
			t->storage = DL_ST_OTHER;	/* no tensor of ours has more than two dimensions */
	}
	if (t->n_dims == 0)
		t->dims[t->n_dims++] = 1;
	return true;
}

static dlm_status
parse_entry(dl_source *s, const dl_file *file, const cJSON *item, uint64_t data_offset, uint64_t data_size,
			dl_range *range, dlm_error *err)
{
	const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
	const dl_dtype_name *dtype = find_dtype(cJSON_GetObjectItemCaseSensitive(item, "dtype"));
	dl_tensor	t = {.file = file};
	dlm_text	name = {item->string, strlen(item->string)};
	uint64_t	elements,
				bytes;
	char		clean[100];

	if (!cJSON_IsObject(item) || !cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
		!get_size(offsets->child, &range->begin) || !get_size(offsets->child->next, &range->end))
		return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" has no valid entry in the safetensors header",
					   dl_clean_name(item->string, clean));
	if (dtype == NULL)
		return dl_fail(err, DLM_EUNSUPPORTED, "Tensors may be F32, F16 or BF16.",
					   "tensor \"%s\" has an unknown type", dl_clean_name(item->string, clean));
	t.storage = dtype->storage;
	if (!get_shape(cJSON_GetObjectItemCaseSensitive(item, "shape"), &t, &elements))
		return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" has an invalid shape", dl_clean_name(item->string, clean));
	if (range->begin > range->end || range->end > data_size)
		return dl_fail(err, DLM_EDAMAGED, "", "tensor \"%s\" lies outside its file", dl_clean_name(item->string, clean));
	if (__builtin_mul_overflow(elements, (uint64_t) dtype->bytes, &bytes) || bytes != range->end - range->begin)
		return dl_fail(err, DLM_EDAMAGED, "", "shape and size of tensor \"%s\" disagree",
					   dl_clean_name(item->string, clean));
	t.offset = data_offset + range->begin;
	t.bytes = bytes;
	return dl_source_add_tensor(s, &t, name, err);
}

static int
compare_ranges(const void *a, const void *b)
{
	const dl_range *x = a,
			   *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

static dlm_status
parse_entries(dl_source *s, const dl_file *file, const cJSON *root, uint64_t data_offset, uint64_t data_size,
			  dlm_error *err)
{
	const cJSON *item;
	dl_range   *ranges;
	uint64_t	at = 0;
	int			n = 0,
				size = cJSON_IsObject(root) ? cJSON_GetArraySize(root) : -1;
	dlm_status	st = DLM_OK;

	if (size < 0 || size > DL_SOURCE_MAX_TENSORS)
		return dl_fail(err, DLM_EDAMAGED, "", "safetensors header is not an object of at most %d tensors",
					   DL_SOURCE_MAX_TENSORS);
	ranges = malloc(((size_t) size + 1) * sizeof(dl_range));
	if (ranges == NULL)
		return dl_fail_memory(err);
	cJSON_ArrayForEach(item, root)
	{
		if (strcmp(item->string, "__metadata__") == 0)
			continue;
		st = parse_entry(s, file, item, data_offset, data_size, &ranges[n], err);
		if (st != DLM_OK)
			break;
		n++;
	}
	if (st == DLM_OK)
	{
		qsort(ranges, (size_t) n, sizeof(dl_range), compare_ranges);
		for (int i = 0; i < n && st == DLM_OK; i++)
		{
			if (ranges[i].begin != at)
				st = dl_fail(err, DLM_EDAMAGED, "", "tensors of the safetensors file %s",
							 ranges[i].begin < at ? "overlap" : "leave a hole");
			at = ranges[i].end;
		}
		if (st == DLM_OK && at != data_size)
			st = dl_fail(err, DLM_EDAMAGED, "", "safetensors file goes on after its last tensor");
	}
	free(ranges);
	return st;
}

dlm_status
dl_safetensors_parse(dl_source *s, const dl_file *file, const char *header, size_t size,
					 uint64_t data_offset, uint64_t data_size, dlm_error *err)
{
	cJSON	   *root;
	dlm_status	st = dl_json_parse(header, size, "safetensors header", &root, err);

	if (st != DLM_OK)
		return st;
	st = parse_entries(s, file, root, data_offset, data_size, err);
	cJSON_Delete(root);
	return st;
}

dlm_status
dl_safetensors_read(dl_source *s, const char *path, dlm_error *err)
{
	dl_file    *file;
	uint8_t		length[8];
	uint64_t	n = 0;
	char	   *header;
	dlm_status	st = dl_source_add_file(s, path, &file, err);

	if (st != DLM_OK)
		return st;
	if (file->size < 8)
		return dl_fail(err, DLM_EDAMAGED, "", "safetensors file is shorter than its header");
	st = dl_file_read(file, 0, length, 8, err);
	if (st != DLM_OK)
		return st;
	for (int i = 0; i < 8; i++)
		n |= (uint64_t) length[i] << (8 * i);
	if (n > file->size - 8 || n > DL_SAFETENSORS_MAX_HEADER)
		return dl_fail(err, DLM_EDAMAGED, "", "safetensors header is longer than its file or than %d MB",
					   (int) (DL_SAFETENSORS_MAX_HEADER >> 20));
	header = malloc((size_t) n + 1);
	if (header == NULL)
		return dl_fail_memory(err);
	st = dl_file_read(file, 8, header, (size_t) n, err);
	if (st == DLM_OK)
		st = dl_safetensors_parse(s, file, header, (size_t) n, 8 + n, file->size - 8 - n, err);
	free(header);
	return st;
}
