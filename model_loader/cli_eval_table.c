/*
 * cli_eval_table.c - see cli_eval_table.h.
 */
#include "cli_eval_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void
dl_table_row(dl_table *t)
{
	t->column = 0;
	if (t->n == t->capacity)
	{
		int			capacity = t->capacity ? t->capacity * 2 : 16;
		void	   *grown = realloc(t->row, (size_t) capacity * sizeof(*t->row));

		t->failed |= grown == NULL;
		if (grown == NULL)
			return;
		t->row = grown;
		t->capacity = capacity;
	}
	memset(t->row[t->n++], 0, sizeof(*t->row));
}

void
dl_table_add(dl_table *t, const char *format, ...)
{
	va_list		args;
	char	   *cell;

	if (t->failed || t->column == DL_TABLE_COLUMNS)
		return;
	cell = t->row[t->n - 1][t->column++];
	va_start(args, format);
	/* a cut within a character is taken back to its start */
	if (vsnprintf(cell, DL_TABLE_CELL, format, args) >= DL_TABLE_CELL)
	{
		int			end = DL_TABLE_CELL - 1;

		while (end > 0 && ((unsigned char) cell[end - 1] & 0xC0) == 0x80)
			end--;
		if (end > 0 && (unsigned char) cell[end - 1] >= 0xC0)
			end--;
		cell[end] = '\0';
	}
	va_end(args);
	for (; *cell != '\0'; cell++)
		if ((unsigned char) *cell < ' ')
			*cell = ' ';
}

/* Characters of UTF-8. */
static int
width(const char *s)
{
	int			n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char) *s & 0xC0) != 0x80;
	return n;
}

static bool
is_number(const char *s)
{
	return (*s >= '0' && *s <= '9') || *s == '+' || *s == '-';
}

void
dl_table_print(const dl_table *t, FILE *to)
{
	int			widest[DL_TABLE_COLUMNS] = {0};
	bool		right[DL_TABLE_COLUMNS] = {0};

	for (int i = 0; i < t->n; i++)
		for (int k = 0; k < DL_TABLE_COLUMNS; k++)
		{
			int			w = width(t->row[i][k]);

			widest[k] = w > widest[k] ? w : widest[k];
			right[k] |= k > 0 && i > 0 && is_number(t->row[i][k]);
		}
	for (int i = 0; i < t->n; i++)
	{
		int			last = DL_TABLE_COLUMNS - 1;

		while (last > 0 && t->row[i][last][0] == '\0')
			last--;
		for (int k = 0; k <= last; k++)
		{
			int			gap = widest[k] - width(t->row[i][k]);

			fprintf(to, "%s%*s%s%*s", k > 0 ? "  " : "", right[k] ? gap : 0, "", t->row[i][k],
					right[k] || k == last ? 0 : gap, "");
		}
		fprintf(to, "\n");
	}
}

void
dl_table_free(dl_table *t)
{
	free(t->row);
	*t = (dl_table) {0};
}
