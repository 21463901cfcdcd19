/*
 * tokenizer_trie.c - build the tries of a blob, and the byte-level alphabet.
 *
 * Nodes are numbered level by level, so the children of a node are contiguous
 * and one offset a node is enough. Entries are sorted, so a node is a range
 * of entries that share its path.
 */
#include <stdlib.h>
#include <string.h>

#include "../src/engine/token_unicode.h"
#include "tokenizer_build.h"

/* ---------------------------------------------------------------- tries */

typedef struct range
{
	uint32_t	lo,
				hi,
				depth;
} range;

static int
compare_entries(const void *a, const void *b)
{
	const dl_entry_text *x = a,
			   *y = b;
	size_t		n = x->n < y->n ? x->n : y->n;
	int			c = n > 0 ? memcmp(x->s, y->s, n) : 0;

	if (c != 0)
		return c;
	return x->n < y->n ? -1 : x->n > y->n;
}

static void
put_u32(dl_bytes *b, uint32_t x)
{
	dl_bytes_put(b, &x, sizeof(x));
}

/* Visit the nodes in level order; `queue` keeps their ranges. */
static void
put_nodes(const dl_entry_text *entry, dl_bytes *queue, dl_bytes *child, dl_bytes *label, dl_bytes *value)
{
	uint32_t	n_nodes = 1;

	for (uint32_t node = 0; node < n_nodes && !queue->failed; node++)
	{
		range		r = ((range *) queue->data)[node];
		int32_t		ends_here = -1;

		put_u32(child, n_nodes);
		if (r.lo < r.hi && entry[r.lo].n == r.depth)
			ends_here = entry[r.lo++].value;
		dl_bytes_put(value, &ends_here, sizeof(ends_here));
		while (r.lo < r.hi)
		{
			char		c = entry[r.lo].s[r.depth];
			range		below = {r.lo, r.lo, r.depth + 1};

			while (below.hi < r.hi && entry[below.hi].s[r.depth] == c)
				below.hi++;
			dl_bytes_put(queue, &below, sizeof(below));
			dl_bytes_put(label, &c, 1);
			n_nodes++;
			r.lo = below.hi;
		}
	}
	put_u32(child, n_nodes);
}

dlm_status
dl_build_trie(dl_entry_text *entry, size_t n, dl_bytes *child, dl_bytes *label, dl_bytes *value, dlm_error *err)
{
	dl_bytes	queue = {0};
	range		all = {0, (uint32_t) n, 0};

	if (n == 0)
		return DLM_OK;
	qsort(entry, n, sizeof(*entry), compare_entries);
	for (size_t i = 0; i < n; i++)
	{
		if (entry[i].n == 0 || entry[i].n > TB_MAX_DEPTH)
			return dl_fail(err, DLM_EUNSUPPORTED, "", "tokenizer has a token of %zu bytes, expected 1 to %d",
						   entry[i].n, TB_MAX_DEPTH);
		if (i > 0 && compare_entries(&entry[i - 1], &entry[i]) == 0)
			return dl_fail(err, DLM_EDAMAGED, "", "tokenizer is damaged: two tokens are the same text");
	}
	dl_bytes_put(label, "", 1);
	dl_bytes_put(&queue, &all, sizeof(all));
	put_nodes(entry, &queue, child, label, value);
	child->failed = child->failed || queue.failed;
	dl_bytes_free(&queue);
	if (child->failed || label->failed || value->failed)
		return dl_fail_memory(err);
	return DLM_OK;
}

/* ---------------------------------------------------------------- the byte-level alphabet */

/*
 * Printable Latin-1 stands for itself; the rest, in order, is U+0100 and
 * following: bytes 0 .. 0x20, 0x7f, 0x80 .. 0xa0 and 0xad.
 */
int
dl_byte_of_char(uint32_t c)
{
	if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
		return (int) c;
	if (c >= 0x100 && c <= 0x120)
		return (int) c - 0x100;
	if (c >= 0x121 && c <= 0x142)
		return (int) c - 0x121 + 0x7f;
	return c == 0x143 ? 0xad : -1;
}

uint32_t
dl_char_of_byte(int byte)
{
	if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
		return (uint32_t) byte;
	if (byte <= 0x20)
		return 0x100 + (uint32_t) byte;
	return byte == 0xad ? 0x143 : 0x121 + (uint32_t) (byte - 0x7f);
}

bool
dl_bytes_of_text(const char *s, size_t n, char *out, size_t *len)
{
	*len = 0;
	for (size_t i = 0; i < n;)
	{
		int			size;
		int			byte = dl_byte_of_char(dl_utf8_get(s + i, &size));

		if (byte < 0)
			return false;
		out[(*len)++] = (char) byte;
		i += (size_t) size;
	}
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
dl_byte_of_name(const char *s, size_t n)
{
	int			high,
				low;

	if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
		return -1;
	high = s[3] == '+' ? 0 : hex_digit(s[3]);
	low = hex_digit(s[4]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}
