/*
 * container.c - the sections of a .dlm in their order (model_file.h): where
 * each lies, and all that is written before and after the tensors.
 *
 * Shapes are known before the first byte is written, so a file is written
 * front to back and hashed on the way; only the header is filled in last.
 */
#include "convert.h"

#include <string.h>

#include "status.h"

static uint64_t
align(uint64_t at)
{
	return (at + DL_ALIGN - 1) / DL_ALIGN * DL_ALIGN;
}

static uint64_t
place(dl_section *s, uint64_t at, uint64_t size)
{
	s->offset = align(at);
	s->size = size;
	return s->offset + size;
}

dlm_status
dl_container_lay_out(dl_container *c, dlm_error *err)
{
	dl_header  *h = &c->header;
	uint64_t	at = place(&h->config, DL_HEADER_SIZE, sizeof(dl_config));

	at = place(&h->settings, at, h->settings.size);
	at = place(&h->tokenizer, at, h->tokenizer.size);
	at = place(&h->directory, at, (uint64_t) c->n_entries * sizeof(dl_entry));
	h->tensors.offset = at = align(at);
	for (int i = 0; i < c->n_entries; i++)
	{
		dl_entry   *e = &c->directory[i];

		e->offset = align(at);
		e->bytes = dl_entry_bytes(e->dtype, e->layout, e->rows, e->cols);
		if (e->bytes == 0 || __builtin_add_overflow(e->offset, e->bytes, &at) || at > (uint64_t) 1 << 62)
			return dl_fail(err, DLM_EDAMAGED, "", "a tensor of the model is too large");
	}
	h->tensors.size = align(at) - h->tensors.offset;
	h->file_size = place(&h->meta, at, h->meta.size);
	memcpy(h->magic, DL_MAGIC, sizeof(h->magic));
	h->version = DL_VERSION;
	h->endian = DL_ENDIAN_TAG;
	return DLM_OK;
}

static dlm_status
put_section(dl_writer *w, const dl_section *s, const void *data, dlm_error *err)
{
	dlm_status	st = dl_writer_pad(w, s->offset, err);

	return st == DLM_OK ? dl_writer_put(w, data, (size_t) s->size, err) : st;
}

dlm_status
dl_container_begin(const dl_container *c, dl_writer *w, dlm_error *err)
{
	const dl_header *h = &c->header;
	dlm_status	st;

	if ((st = dl_writer_pad(w, h->config.offset, err)) != DLM_OK)
		return st;
	dl_writer_hash(w, true);
	if ((st = put_section(w, &h->config, c->config, err)) != DLM_OK ||
		(st = put_section(w, &h->settings, c->settings, err)) != DLM_OK ||
		(st = put_section(w, &h->tokenizer, c->tokenizer, err)) != DLM_OK)
		return st;
	return put_section(w, &h->directory, c->directory, err);
}

/* Digest and checksum as model_file.h defines them. */
static dlm_status
finish_header(dl_container *c, dl_writer *w, dlm_error *err)
{
	dl_header  *h = &c->header;
	uint8_t		sum[32];
	dl_sha256	sha;

	dl_writer_digest(w, h->digest);
	h->checksum = 0;
	dl_sha256_init(&sha);
	dl_sha256_update(&sha, h, sizeof(*h));
	dl_sha256_update(&sha, c->config, sizeof(dl_config));
	dl_sha256_update(&sha, c->settings, (size_t) h->settings.size);
	dl_sha256_update(&sha, c->directory, (size_t) h->directory.size);
	dl_sha256_final(&sha, sum);
	memcpy(&h->checksum, sum, sizeof(h->checksum));
	return dl_writer_header(w, h, sizeof(*h), err);
}

dlm_status
dl_container_end(dl_container *c, dl_writer *w, dlm_error *err)
{
	dlm_status	st = dl_writer_pad(w, c->header.meta.offset, err);

	if (st != DLM_OK)
		return st;
	dl_writer_hash(w, false);
	st = put_section(w, &c->header.meta, c->meta, err);
	return st == DLM_OK ? finish_header(c, w, err) : st;
}
