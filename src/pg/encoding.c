/*
 * encoding.c - texts between the server encoding and the engine's UTF-8.
 *
 * In a UTF-8 database nothing is copied. In any other encoding texts are
 * converted, and the engine gets a bitmap of tokens never to write: those
 * whose bytes have no place in the encoding. A token that is only a part of a
 * multi-byte character is among them, as nobody can say which character it
 * will become. SQL_ASCII says nothing about its bytes: they must be UTF-8.
 */
#include "dlm_pg.h"

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "encoding.h"
#include "sigbus.h"

#define MAX_TOKEN_BYTES		256
#define TOKENS_PER_BLOCK	256

dlm_text
dlm_text_from_server(const char *value, int len)
{
	dlm_text	result;

	result.data = pg_server_to_any(value, len, PG_UTF8);
	result.len = result.data == value ? (size_t) len : strlen(result.data);
	return result;
}

dlm_text
dlm_text_from_datum(Datum value)
{
	text	   *packed = DatumGetTextPP(value);

	return dlm_text_from_server(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

bool
dlm_text_is_valid(Datum value)
{
	text	   *packed;

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		return true;
	packed = DatumGetTextPP(value);
	return pg_verify_mbstr(PG_UTF8, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed), true);
}

text *
dlm_text_to_server(dlm_text value)
{
	char	   *converted;

	if (value.len == 0)
		return cstring_to_text_with_len("", 0);
	if (value.len > MaxAllocSize / 8)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text of %zu bytes is too long", value.len)));
	converted = pg_any_to_server(value.data, (int) value.len, PG_UTF8);
	if (converted == value.data)
		return cstring_to_text_with_len(converted, (int) value.len);
	return cstring_to_text(converted);
}

/* The conversion from UTF-8 to the server encoding; InvalidOid if there is none. */
static Oid
conversion_from_utf8(void)
{
	return FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
}

static bool
is_ascii(const char *data, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(data[i]))
			return false;
	}
	return true;
}

/* Can a UTF-8 string be written in the server encoding? cap must be at least len * MAX_CONVERSION_GROWTH + 1. */
static bool
convertible(Oid proc, const char *data, int len, char *out, int cap)
{
	if (!pg_verify_mbstr(PG_UTF8, data, len, true))
		return false;
	if (!OidIsValid(proc))		/* no conversion at all: ASCII is common to all server encodings */
		return is_ascii(data, len);
	return pg_do_encoding_conversion_buf(proc, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) unconstify(char *, data),
										 len, (unsigned char *) out, cap, true) == len;
}

text *
dlm_piece_to_server(dlm_text piece)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
	Oid			proc = utf8 ? InvalidOid : conversion_from_utf8();
	StringInfoData out;

	initStringInfo(&out);
	for (size_t i = 0; i < piece.len;)
	{
		int			len = pg_utf_mblen((const unsigned char *) piece.data + i);
		char		buffer[32];

		if (len > piece.len - i || !pg_verify_mbstr(PG_UTF8, piece.data + i, len, true))
		{
			appendStringInfo(&out, "\\x%02x", (unsigned char) piece.data[i]);
			i++;
			continue;
		}
		if (utf8)
			appendBinaryStringInfo(&out, piece.data + i, len);
		else if (convertible(proc, piece.data + i, len, buffer, sizeof(buffer)))
			appendStringInfoString(&out, buffer);
		else
			appendStringInfo(&out, "\\u%04x", utf8_to_unicode((const unsigned char *) piece.data + i));
		i += len;
	}
	return cstring_to_text_with_len(out.data, out.len);
}

/* The bytes of some tokens, read under the guard: converting them may raise errors, reading a mapping must not. */
typedef struct TokenBlock
{
	size_t		len[TOKENS_PER_BLOCK];
	char		bytes[TOKENS_PER_BLOCK][MAX_TOKEN_BYTES];
} TokenBlock;

static void
read_block(const DlmModelRef *model, int first, int n, TokenBlock *block)
{
	dlm_sigbus_enter(model);
	for (int i = 0; i < n; i++)
		block->len[i] = dlm_token_bytes(model->model, first + i, block->bytes[i], MAX_TOKEN_BYTES);
	if (dlm_sigbus_leave(model))
		dlm_sigbus_raise(model);
}

/* Fill the bitmap of one model. */
static void
mark_forbidden(const DlmModelRef *model, uint8_t *bitmap)
{
	Oid			proc = conversion_from_utf8();
	TokenBlock *block = palloc(sizeof(TokenBlock));

	for (int first = 0; first < model->info.vocab; first += TOKENS_PER_BLOCK)
	{
		int			n = Min(TOKENS_PER_BLOCK, model->info.vocab - first);

		CHECK_FOR_INTERRUPTS();
		read_block(model, first, n, block);
		for (int i = 0; i < n; i++)
		{
			char		buffer[MAX_TOKEN_BYTES * MAX_CONVERSION_GROWTH + 1];

			if (block->len[i] > MAX_TOKEN_BYTES ||
				!convertible(proc, block->bytes[i], (int) block->len[i], buffer, sizeof(buffer)))
				bitmap[(first + i) / 8] |= 1 << ((first + i) % 8);
		}
	}
	pfree(block);
}

/* The bitmaps of this backend, newest first; a digest never changes its meaning, so none goes stale. */
typedef struct Forbidden
{
	struct Forbidden *next;
	uint8		digest[32];
	uint8_t		bitmap[FLEXIBLE_ARRAY_MEMBER];
} Forbidden;

const uint8_t *
dlm_forbidden_tokens(const DlmModelRef *model)
{
	static Forbidden *first = NULL;
	Forbidden  *entry;
	uint8_t    *bitmap;
	Size		size;

	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return NULL;
	for (entry = first; entry != NULL; entry = entry->next)
	{
		if (memcmp(entry->digest, model->digest, sizeof(entry->digest)) == 0)
			return entry->bitmap;
	}
	size = (model->info.vocab + 7) / 8;
	bitmap = palloc0(size);
	mark_forbidden(model, bitmap);
	entry = MemoryContextAlloc(TopMemoryContext, offsetof(Forbidden, bitmap) + size);
	memcpy(entry->digest, model->digest, sizeof(entry->digest));
	memcpy(entry->bitmap, bitmap, size);
	entry->next = first;
	first = entry;
	return entry->bitmap;
}
