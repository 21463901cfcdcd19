/*
 * fields.h - a text row that is a row of a table: lines "name: value".
 *
 * dlm_infill_row shows a row as such lines, what is known first and the gaps
 * behind it, and decodes all gaps together. So the canvas that teaches it is
 * the values of the last lines, their names and line ends left standing.
 */
#ifndef DL_FIELDS_H
#define DL_FIELDS_H

#include "real.h"
#include "stream.h"
#include "token.h"

/*
 * Thin the positions list [n] of ids, ascending, to those of the values of the
 * last 1 .. most lines, at least one line staying known. Returns how many; 0,
 * and the list as it was, unless the text has two lines or more and each is a
 * name, a colon and a value. Names and values end where a token does: a token
 * that holds a line end is no value's.
 */
int			dl_choose_fields(const dl_tok *tok, dl_stream *s, int most, const int32_t *ids, int32_t *list, int n);

#endif							/* DL_FIELDS_H */
