/*
 * eval_text.c - how near a text is to a reference; see eval.h.
 */
#include "eval.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static dlm_text
trim(dlm_text t)
{
	while (t.len > 0 && is_blank(t.data[0]))
	{
		t.data++;
		t.len--;
	}
	while (t.len > 0 && is_blank(t.data[t.len - 1]))
		t.len--;
	return t;
}

bool
dl_eval_equal(dlm_text a, dlm_text b)
{
	a = trim(a);
	b = trim(b);
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ---------------------------------------------------------------- chrF */

/* Up to six code points of 21 bits: enough to compare and to sort by. */
typedef struct ngram
{
	uint64_t	first,
				last;
} ngram;

/* The code point at `at`, its bytes in *used; a byte that begins none is a code point of its own beyond Unicode. */
static uint32_t
decode(dlm_text t, size_t at, size_t *used)
{
	unsigned char c = (unsigned char) t.data[at];
	size_t		n = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
	uint32_t	code = n < 2 ? c : c & (0x7Fu >> n);

	*used = 1;
	for (size_t i = 1; i < n; i++)
	{
		if (at + i >= t.len || ((unsigned char) t.data[at + i] & 0xC0) != 0x80)
			return 0x110000u + c;
		code = code << 6 | ((unsigned char) t.data[at + i] & 0x3Fu);
	}
	*used = n > 0 ? n : 1;
	return n > 0 ? code : 0x110000u + c;
}

/* What Python's str.split() splits at, which sacrebleu strips by. */
static bool
is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* Code points of a text that are no white space, into out [t.len]. */
static int
characters(dlm_text t, uint32_t *out)
{
	size_t		used;
	int			n = 0;

	for (size_t at = 0; at < t.len; at += used)
	{
		uint32_t	c = decode(t, at, &used);

		if (!is_space(c))
			out[n++] = c;
	}
	return n;
}

static int
compare_ngrams(const void *a, const void *b)
{
	const ngram *x = a,
			   *y = b;

	return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (x->last > y->last) - (x->last < y->last);
}

/* The n-grams of order `order` of c [n], sorted; their number. */
static int
ngrams(const uint32_t *c, int n, int order, ngram *out)
{
	int			count = n >= order ? n - order + 1 : 0;

	for (int i = 0; i < count; i++)
	{
		out[i] = (ngram) {0, 0};
		for (int k = 0; k < order; k++)
		{
			uint64_t   *word = k < 3 ? &out[i].first : &out[i].last;

			*word = *word << 21 | c[i + k];
		}
	}
	qsort(out, (size_t) count, sizeof(ngram), compare_ngrams);
	return count;
}

/* How many n-grams two sorted lists share, each as often as it is in both. */
static int
shared(const ngram *a, int n_a, const ngram *b, int n_b)
{
	int			count = 0;

	for (int i = 0, k = 0; i < n_a && k < n_b;)
	{
		int			order = compare_ngrams(&a[i], &b[k]);

		count += order == 0;
		i += order <= 0;
		k += order >= 0;
	}
	return count;
}

dlm_status
dl_eval_chrf_count(dlm_text answer, dlm_text reference, double stats[DL_CHRF_STATS], dlm_error *err)
{
	size_t		n = answer.len + reference.len + 1;
	uint32_t   *code = malloc(n * sizeof(uint32_t));
	ngram	   *gram = malloc(n * sizeof(ngram));

	if (code == NULL || gram == NULL)
	{
		free(code);
		free(gram);
		return dl_fail_memory(err);
	}
	for (int order = 1, n_a = characters(answer, code), n_b = characters(reference, code + n_a); order <= DL_CHRF_ORDER; order++)
	{
		double	   *count = stats + 3 * (order - 1);
		int			a = ngrams(code, n_a, order, gram);
		int			b = ngrams(code + n_a, n_b, order, gram + a);

		/* n-grams of an order that the reference is too short for are not held against the answer */
		count[0] = b > 0 ? a : 0;
		count[1] = b;
		count[2] = shared(gram, a, gram + a, b);
	}
	free(code);
	free(gram);
	return DLM_OK;
}

/* ---------------------------------------------------------------- ROUGE-L */

typedef struct words
{
	char	   *text;			/* malloc'd, lower case */
	dlm_text   *word;			/* malloc'd [n] */
	int			n;
} words;

static void
free_words(words *w)
{
	free(w->text);
	free(w->word);
}

/* Lower case of ASCII, and of the two letters beyond it whose lower case Python writes in ASCII. */
static char
lower(dlm_text t, size_t at)
{
	char		c = t.data[at];

	if (t.len - at >= 3 && memcmp(t.data + at, "\xE2\x84\xAA", 3) == 0)
		return 'k';				/* the Kelvin sign */
	if (t.len - at >= 2 && memcmp(t.data + at, "\xC4\xB0", 2) == 0)
		return 'i';				/* a capital i with a dot */
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* The text in lower case, `k` of three bytes as one; then its runs of letters and digits. */
static bool
split_words(dlm_text t, words *w)
{
	size_t		n = 0;

	w->text = malloc(t.len + 1);
	w->word = calloc(t.len / 2 + 1, sizeof(dlm_text));
	if (w->text == NULL || w->word == NULL)
		return false;
	for (size_t at = 0; at < t.len; at++)
	{
		char		c = lower(t, at);

		w->text[n++] = c;
		if (c == 'k' && (unsigned char) t.data[at] == 0xE2)
			at += 2;
	}
	for (size_t at = 0; at < n;)
	{
		size_t		start = at;

		while (at < n && ((w->text[at] >= 'a' && w->text[at] <= 'z') || (w->text[at] >= '0' && w->text[at] <= '9')))
			at++;
		if (at > start)
			w->word[w->n++] = (dlm_text) {w->text + start, at - start};
		else
			at++;
	}
	return true;
}

/* Length of the longest common subsequence; row [b->n + 1] is scratch, all 0. */
static int
common(const words *a, const words *b, int *row)
{
	for (int i = 0; i < a->n; i++)
	{
		int			diagonal = 0;

		for (int k = 0; k < b->n; k++)
		{
			int			above = row[k + 1];
			bool		same = a->word[i].len == b->word[k].len &&
				memcmp(a->word[i].data, b->word[k].data, a->word[i].len) == 0;

			row[k + 1] = same ? diagonal + 1 : above > row[k] ? above : row[k];
			diagonal = above;
		}
	}
	return row[b->n];
}

dlm_status
dl_eval_rouge_l(dlm_text answer, dlm_text reference, double *f1, dlm_error *err)
{
	words		a = {0},
				b = {0};
	bool		ok = split_words(answer, &a) && split_words(reference, &b);
	int		   *row = ok ? calloc((size_t) b.n + 1, sizeof(int)) : NULL;

	*f1 = 0;
	if (row != NULL && a.n > 0 && b.n > 0)
		*f1 = 2.0 * common(&a, &b, row) / (a.n + b.n);
	ok = row != NULL;
	free(row);
	free_words(&a);
	free_words(&b);
	return ok ? DLM_OK : dl_fail_memory(err);
}
