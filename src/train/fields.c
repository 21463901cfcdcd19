/*
 * fields.c - see fields.h.
 */
#include "fields.h"

#include <string.h>

#define MOST_BYTES	256			/* of a token that are looked at: longer ones are values */

typedef enum place { NAME, COLON, VALUE, LINE_END } place;

/* Where a token stands, after one that stood at `before`. */
static place
next_place(const dl_tok *tok, int32_t id, int32_t left, place before)
{
	char		bytes[MOST_BYTES];
	size_t		n = dl_tok_bytes(tok, id, left, bytes, sizeof(bytes));

	n = n > sizeof(bytes) ? sizeof(bytes) : n;
	if (memchr(bytes, '\n', n) != NULL)
		return LINE_END;
	if (before == COLON || before == VALUE)
		return VALUE;
	return n > 0 && bytes[n - 1] == ':' ? COLON : NAME;
}

/* Positions of values in lines from `first` on, written to out unless it is NULL; *lines: of the text, -1 unless each is a field. */
static int
values_from(const dl_tok *tok, const int32_t *ids, const int32_t *list, int n, int first, int32_t *out, int *lines)
{
	place		at = LINE_END;
	int			line = 0,
				count = 0;

	for (int i = 0; i < n; i++)
	{
		place		next = next_place(tok, ids[list[i]], i > 0 ? ids[list[i - 1]] : -1, at);

		if (next == LINE_END && at != VALUE)
		{
			*lines = -1;
			return 0;
		}
		line += next == LINE_END;
		if (next == VALUE && line >= first)
		{
			if (out != NULL)
				out[count] = list[i];
			count++;
		}
		at = next;
	}
	*lines = at == VALUE ? line + 1 : at == LINE_END && n > 0 ? line : -1;
	return count;
}

int
dl_choose_fields(const dl_tok *tok, dl_stream *s, int most, const int32_t *ids, int32_t *list, int n)
{
	int			lines;
	int			k;

	(void) values_from(tok, ids, list, n, 0, NULL, &lines);
	if (lines < 2)
		return 0;
	k = 1 + dl_stream_below(s, most < lines - 1 ? most : lines - 1);
	return values_from(tok, ids, list, n, lines - k, list, &lines);
}
