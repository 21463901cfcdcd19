/*
 * fuzz_pattern.c - any bytes as a pattern and a text: the first line is the
 * pattern, the rest the text. A walk byte by byte ends where the whole does,
 * and from every state that is left a match can be reached.
 */
#include <stdlib.h>
#include <string.h>

#include "pattern.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some way from a state to a match, by breadth; false: there is none. */
static bool
can_match(const dl_pattern *p, int from)
{
	bool		seen[DL_PATTERN_DEAD + 1] = {false};
	int			queue[DL_PATTERN_STATES],
				n = 0;

	queue[n++] = from;
	seen[from] = true;
	for (int i = 0; i < n; i++)
	{
		if (p->accept[queue[i]])
			return true;
		for (int b = 0; b < 256; b++)
		{
			int			to = p->next[queue[i]][b];

			if (to != DL_PATTERN_DEAD && !seen[to])
			{
				seen[to] = true;
				queue[n++] = to;
			}
		}
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *) data;
	const char *line = size > 0 ? memchr(s, '\n', size) : NULL;
	size_t		n = line ? (size_t) (line - s) : size;
	dlm_text	text = {line ? line + 1 : "", line ? size - n - 1 : 0};
	dl_arena   *a = dl_arena_create(64 << 20);
	dl_pattern *p = NULL;
	dlm_error	err = {0};
	int			state = 0;

	if ((dl_pattern_compile((dlm_text) {s, n}, a, &p, &err) == DLM_OK) != (p != NULL))
		abort();
	for (size_t i = 0; p != NULL && i < text.len && state != DL_PATTERN_DEAD; i++)
	{
		state = dl_pattern_run(p, state, text.data + i, 1);
		if (state != DL_PATTERN_DEAD && !can_match(p, state))
			abort();
	}
	if (p != NULL && dl_pattern_matches(p, text) != (state != DL_PATTERN_DEAD && p->accept[state]))
		abort();
	dl_arena_block_free(a, p);
	dl_arena_destroy(a);
	return 0;
}
