/*
 * restate.c - a model with another value of one setting: the same file but
 * for that record, and so another model with another digest.
 */
#include "convert.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "status.h"

#define PIECE_BYTES	((size_t) 1 << 20)

dlm_status
dl_records_copy(const dlm_model *m, uint32_t but, dl_records *out, dlm_error *err)
{
	const dl_section *s = &m->header->settings;
	const uint8_t *at = m->base + s->offset;
	const uint8_t *end = at + s->size;
	dlm_status	st = DLM_OK;

	while (at < end && st == DLM_OK)
	{
		dl_setting	head;

		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		if (head.key != but)
			st = dl_records_put(out, head.key, at, head.size, err);
		at += (head.size + 3) / 4 * 4;
	}
	return st;
}

static dlm_status
write_tensors(const dlm_model *m, const dl_container *c, dl_writer *w, dlm_error *err)
{
	const dl_entry *from = (const dl_entry *) (m->base + m->header->directory.offset);
	dlm_status	st = DLM_OK;

	for (int i = 0; i < c->n_entries && st == DLM_OK; i++)
	{
		st = dl_writer_pad(w, c->directory[i].offset, err);
		for (uint64_t at = 0; at < from[i].bytes && st == DLM_OK; at += PIECE_BYTES)
		{
			uint64_t	left = from[i].bytes - at;

			st = dl_writer_put(w, m->base + from[i].offset + at, left < PIECE_BYTES ? (size_t) left : PIECE_BYTES, err);
		}
	}
	return st;
}

/* Everything of the model but the record, which is already in `settings`. */
static void
describe(const dlm_model *m, const dl_records *settings, dl_config *config, dl_container *c)
{
	const dl_header *h = m->header;

	memcpy(config, m->base + h->config.offset, sizeof(*config));
	c->config = config;
	c->settings = settings->data;
	c->header.settings.size = settings->size;
	c->tokenizer = m->base + h->tokenizer.offset;
	c->header.tokenizer.size = h->tokenizer.size;
	c->meta = m->base + h->meta.offset;
	c->header.meta.size = h->meta.size;
	memcpy(c->directory, m->base + h->directory.offset, (size_t) h->directory.size);
}

dlm_status
dl_restate(const dlm_model *m, uint32_t key, const void *data, size_t size, const char *target, dlm_error *err)
{
	char	   *folder = dl_folder_of(target);
	dl_container c = {.n_entries = (int) (m->header->directory.size / sizeof(dl_entry)),
		.directory = malloc((size_t) m->header->directory.size)};
	dl_records	settings = {0};
	dl_config	config;
	dl_writer  *writer = NULL;
	dlm_status	st = folder != NULL && c.directory != NULL ? DLM_OK : dl_fail_memory(err);

	if (st == DLM_OK)
		st = dl_records_copy(m, key, &settings, err);
	if (st == DLM_OK)
		st = dl_records_put(&settings, key, data, size, err);
	if (st == DLM_OK)
	{
		describe(m, &settings, &config, &c);
		st = dl_container_lay_out(&c, err);
	}
	if (st == DLM_OK)
		st = dl_writer_open(folder, &writer, err);
	if (st == DLM_OK)
		st = dl_container_begin(&c, writer, err);
	if (st == DLM_OK)
		st = write_tensors(m, &c, writer, err);
	if (st == DLM_OK)
		st = dl_container_end(&c, writer, err);
	if (st == DLM_OK)
		st = dl_writer_commit(writer, target, err);
	else
		dl_writer_abandon(writer);
	free(settings.data);
	free(c.directory);
	free(folder);
	return st;
}
