/*
 * model_file.c - sizes, settings and the header of a .dlm file.
 *
 * Everything here reads bytes that anybody may have written. A function
 * trusts what an earlier one has checked and says so.
 */
#include "model_check.h"
#include "sha256.h"
#include "status.h"

#include <string.h>

_Static_assert(sizeof(dl_header) == DL_HEADER_SIZE, "the header has a fixed size");

uint64_t
dl_entry_bytes(uint32_t dtype, uint32_t layout, uint64_t rows, uint64_t cols)
{
	/* with both below 2^31 no product of the largest form (rows x cols x 4) exceeds 64 bits */
	const uint64_t limit = (uint64_t) 1 << 30;
	uint64_t	panels,
				bytes;

	if (rows == 0 || cols == 0 || rows > limit || cols > limit)
		return 0;
	panels = (rows + DL_PANEL - 1) / DL_PANEL;
	if (layout == DL_ROWS && dtype == DL_F32)
		bytes = rows * cols * 4;
	else if (layout == DL_PANELS && dtype == DL_F32)
		bytes = panels * cols * DL_PANEL * 4;
	else if (layout == DL_PANELS && dtype == DL_BF16)
		bytes = panels * cols * DL_PANEL * 2;
	else if (layout == DL_PANELS && dtype == DL_I8)
		bytes = panels * dl_s8_panel_bytes((int) ((cols + 3) / 4));
	else
		return 0;
	return bytes <= (uint64_t) 1 << 48 ? bytes : 0;
}

/* Bytes that a record takes, 0 if it does not fit into `left`. */
static uint64_t
record_bytes(const uint8_t *at, uint64_t left, dl_setting *record)
{
	uint64_t	bytes;

	if (left < sizeof(*record))
		return 0;
	memcpy(record, at, sizeof(*record));
	bytes = sizeof(*record) + (((uint64_t) record->size + 3) & ~(uint64_t) 3);
	return bytes <= left ? bytes : 0;
}

const void *
dl_setting_find(const void *section, uint64_t section_size, uint32_t key, uint32_t *size)
{
	const uint8_t *at = section;
	uint64_t	left = section_size;
	uint64_t	bytes;
	dl_setting	record;

	while ((bytes = record_bytes(at, left, &record)) > 0)
	{
		if (record.key == key)
		{
			*size = record.size;
			return at + sizeof(record);
		}
		at += bytes;
		left -= bytes;
	}
	*size = 0;
	return NULL;
}

/* Records follow one another without rest, and no key stands twice or outside first .. last. */
bool
dl_settings_wellformed(const void *section, uint64_t section_size, uint32_t first, uint32_t last)
{
	const uint8_t *at = section;
	uint64_t	left = section_size;
	uint64_t	seen = 0;

	while (left > 0)
	{
		dl_setting	record;
		uint64_t	bytes = record_bytes(at, left, &record);

		if (bytes == 0 || record.key < first || record.key > last || record.key - first > 63)
			return false;
		if (seen & (uint64_t) 1 << (record.key - first))
			return false;
		seen |= (uint64_t) 1 << (record.key - first);
		at += bytes;
		left -= bytes;
	}
	return true;
}

dlm_status
dl_fail_damaged(dlm_error *err, const char *what)
{
	return dl_fail(err, DLM_EDAMAGED, "Convert the model again, or fetch an intact copy of the file.",
				   "model file is damaged: %s", what);
}

/* The six sections in order, aligned, apart, inside the file. */
static bool
sections_valid(const dl_header *h, uint64_t size)
{
	const dl_section *order[] = {&h->config, &h->settings, &h->tokenizer, &h->directory, &h->tensors, &h->meta};
	uint64_t	end = DL_HEADER_SIZE;

	for (int i = 0; i < 6; i++)
	{
		const dl_section *s = order[i];

		if (s->offset % DL_ALIGN != 0 || s->offset < end || s->offset > size || s->size > size - s->offset)
			return false;
		end = s->offset + s->size;
	}
	return true;
}

uint64_t
dl_header_checksum(const uint8_t *base, const dl_header *h)
{
	dl_header	copy = *h;
	dl_sha256	sha;
	uint8_t		digest[32];
	uint64_t	sum;

	copy.checksum = 0;
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, &copy, sizeof(copy));
	dl_sha256_update(&sha, base + h->config.offset, h->config.size);
	dl_sha256_update(&sha, base + h->settings.offset, h->settings.size);
	dl_sha256_update(&sha, base + h->directory.offset, h->directory.size);
	dl_sha256_final(&sha, digest);
	memcpy(&sum, digest, sizeof(sum));
	return sum;
}

dlm_status
dl_header_check(const uint8_t *base, size_t size, dlm_error *err)
{
	const dl_header *h = (const dl_header *) base;

	if ((uintptr_t) base % DL_ALIGN != 0)
		return dl_fail(err, DLM_EINVAL, "", "model data is not aligned to %u bytes", DL_ALIGN);
	if (size < 16 || memcmp(h->magic, DL_MAGIC, 8) != 0)
		return dl_fail(err, DLM_EDAMAGED, "Convert a checkpoint with dlm-model convert.", "file is not a dlm model");
	if (h->endian != DL_ENDIAN_TAG)
		return dl_fail_damaged(err, "byte order");
	if (h->version != DL_VERSION)
		return dl_fail(err, DLM_EUNSUPPORTED, "Update the extension, or convert the model with this version.",
					   "model file has format version %u, but this version reads %u", h->version, DL_VERSION);
	if (size < DL_HEADER_SIZE || h->file_size != size)
		return dl_fail_damaged(err, "its length is not what the header says");
	for (size_t i = 0; i < sizeof(h->reserved); i++)
		if (h->reserved[i] != 0)
			return dl_fail_damaged(err, "reserved bytes of the header are not zero");
	if (!sections_valid(h, size))
		return dl_fail_damaged(err, "sections lie outside the file or overlap");
	if (h->config.size != sizeof(dl_config) || h->directory.size % sizeof(dl_entry) != 0 ||
		h->directory.size / sizeof(dl_entry) > DL_MAX_ENTRIES || h->settings.size > DL_MAX_SETTINGS ||
		h->meta.size > DL_MAX_SETTINGS)
		return dl_fail_damaged(err, "a section has an impossible size");
	if (dl_header_checksum(base, h) != h->checksum)
		return dl_fail_damaged(err, "the checksum of its header does not match");
	return DLM_OK;
}
