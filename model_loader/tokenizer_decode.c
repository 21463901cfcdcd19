/*
 * tokenizer_decode.c - work out what each token decodes to.
 *
 * Every decoder that tokenizers come with looks at one token and at most at
 * whether it is the first, so a token has two texts: behind another one, and
 * at the start. What looks at more (a Replace after Fuse, a regular
 * expression) is refused.
 */
#include <string.h>

#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

static void
set(dl_bytes *b, const dl_bytes *from)
{
	b->len = 0;
	dl_bytes_put(b, from->data, from->len);
	b->failed = b->failed || from->failed;
}

/* text with every `what` replaced; scratch is as large as it needs. */
static void
replace(dl_bytes *text, dl_bytes *scratch, const char *what, const char *by)
{
	size_t		n = strlen(what),
				at = 0;

	scratch->len = 0;
	while (n > 0 && at < text->len)
	{
		const char *hit = memmem(text->data + at, text->len - at, what, n);

		if (hit == NULL)
			break;
		dl_bytes_put(scratch, text->data + at, (size_t) (hit - text->data) - at);
		dl_bytes_put(scratch, by, strlen(by));
		at = (size_t) (hit - text->data) + n;
	}
	dl_bytes_put(scratch, text->data + at, text->len - at);
	set(text, scratch);
}

static void
byte_level(dl_bytes *text, dl_bytes *scratch)
{
	size_t		len;

	scratch->len = 0;
	dl_bytes_put(scratch, text->data, text->len);
	if (text->len == 0 || scratch->failed)
		return;
	if (dl_bytes_of_text(text->data, text->len, scratch->data, &len))
	{
		scratch->len = len;
		set(text, scratch);
	}
}

/* WordPiece's clean-up of a token: its own list of patterns, one after the other. */
static void
clean_up(dl_bytes *text, dl_bytes *scratch)
{
	static const char *const pattern[][2] = {
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}
	};

	for (size_t i = 0; i < sizeof(pattern) / sizeof(pattern[0]); i++)
		replace(text, scratch, pattern[i][0], pattern[i][1]);
}

static void
word_piece(const dl_decoder *d, bool first, dl_bytes *text, dl_bytes *scratch)
{
	size_t		n = strlen(d->s);

	if (!first)
	{
		scratch->len = 0;
		if (text->len >= n && memcmp(text->data, d->s, n) == 0)
			dl_bytes_put(scratch, text->data + n, text->len - n);
		else
		{
			dl_bytes_put(scratch, " ", 1);
			dl_bytes_put(scratch, text->data, text->len);
		}
		set(text, scratch);
	}
	if (d->flag)
		clean_up(text, scratch);
}

/* Cut at most `start` and `stop` of a character off the ends. */
static void
strip(dl_bytes *text, dl_bytes *scratch, const char *what, int start, int stop)
{
	size_t		n = strlen(what),
				from = 0,
				to = text->len;

	while (n > 0 && start-- > 0 && to - from >= n && memcmp(text->data + from, what, n) == 0)
		from += n;
	while (n > 0 && stop-- > 0 && to - from >= n && memcmp(text->data + to - n, what, n) == 0)
		to -= n;
	scratch->len = 0;
	dl_bytes_put(scratch, text->data + from, to - from);
	set(text, scratch);
}

/* A suffix at the end is a space before the next token; one inside is a space at once. */
static void
word_suffix(const dl_decoder *d, dl_bytes *text, dl_bytes *scratch, uint32_t *flags)
{
	size_t		n = strlen(d->s);

	if (n > 0 && text->len >= n && memcmp(text->data + text->len - n, d->s, n) == 0)
	{
		text->len -= n;
		*flags |= TB_T_SPACE_AFTER;
	}
	replace(text, scratch, d->s, " ");
}

static void
run_decoder(const dl_decoder *d, bool first, bool fused, dl_bytes *text, dl_bytes *scratch, uint32_t *flags)
{
	int			byte;

	switch (d->code)
	{
		case DL_DEC_BYTE_LEVEL:
			byte_level(text, scratch);
			break;
		case DL_DEC_WORDPIECE:
			word_piece(d, first, text, scratch);
			break;
		case DL_DEC_METASPACE:
			replace(text, scratch, d->s, first && d->flag ? "" : " ");
			break;
		case DL_DEC_BYTE_FALLBACK:
			byte = dl_byte_of_name(text->data, text->len);
			if (byte >= 0)
			{
				text->data[0] = (char) byte;
				text->len = 1;
				*flags |= TB_T_BYTE;
			}
			break;
		case DL_DEC_FUSE:
			break;
		case DL_DEC_STRIP:
			if (!fused || first)
				strip(text, scratch, d->s, d->start, d->stop);
			break;
		case DL_DEC_REPLACE:
			replace(text, scratch, d->s, d->t);
			break;
		case DL_DEC_BPE:
			word_suffix(d, text, scratch, flags);
			break;
	}
}

dlm_status
dl_decode_token(const dl_builder *b, dlm_text piece, bool first, dl_bytes *out, uint32_t *flags, dlm_error *err)
{
	dl_bytes	scratch = {0};
	bool		fused = false;

	out->len = 0;
	if (b->n_decoders == 0 && !first)
		dl_bytes_put(out, " ", 1);
	dl_bytes_put(out, piece.data, piece.len);
	for (int i = 0; i < b->n_decoders && !out->failed && out->len > 0; i++)
	{
		run_decoder(&b->decoder[i], first, fused, out, &scratch, flags);
		fused = fused || b->decoder[i].code == DL_DEC_FUSE || b->decoder[i].code == DL_DEC_BYTE_LEVEL;
	}
	dl_bytes_free(&scratch);
	return out->failed ? dl_fail_memory(err) : DLM_OK;
}

dlm_status
dl_check_decoders(dl_builder *b, dlm_error *err)
{
	bool		fused = false,
				bytes = false;

	for (int i = 0; i < b->n_decoders; i++)
	{
		const dl_decoder *d = &b->decoder[i];
		bool		strip_one = d->code == DL_DEC_STRIP && d->start <= 1 && d->stop == 0 && strcmp(d->s, " ") == 0;

		if (d->code == DL_DEC_FUSE)
			fused = true;
		else if (fused && strip_one)
			b->flags |= d->start > 0 ? TB_FIRST_STRIP : 0;
		else if (fused || bytes)
			return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer's decoders in this order are not supported");
		fused = fused || d->code == DL_DEC_BYTE_LEVEL;
		if (d->code == DL_DEC_BYTE_FALLBACK)
		{
			bytes = true;
			b->flags |= TB_REPAIR_RUNS;
		}
	}
	return DLM_OK;
}
