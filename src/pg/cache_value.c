/*
 * cache_value.c - a result of the engine as bytes that can be kept.
 *
 * A head with the counts, then arrays in the order of their alignment: what
 * holds doubles, what holds ints and floats, texts. Nothing is converted, so
 * what comes out is what went in.
 */
#include "dlm_pg.h"

#include "cache_value.h"

typedef struct Head
{
	double		logprob;
	uint32		text;			/* bytes */
	int32		best;
	int32		n_labels;
	int32		n_gaps;
	int32		n_tokens;
	int32		n_embedding;
	int32		n_lengths;
	int32		zero;
} Head;

/* A gap; its texts and probabilities stand behind those of the gap before. */
typedef struct PackedGap
{
	double		logprob;
	double		probability;
	uint32		name;			/* bytes */
	uint32		text;			/* bytes */
	int32		tokens;
	int32		choice;
	int32		n_choices;
	int32		zero;
} PackedGap;

/* Where the next bytes go, or come from. NULL: they are only counted. */
typedef struct Cursor
{
	char	   *at;
	Size		size;
} Cursor;

static void
put(Cursor *c, const void *bytes, Size n)
{
	if (c->at && n > 0)
		memcpy(c->at + c->size, bytes, n);
	c->size += n;
}

static const void *
take(Cursor *c, Size n)
{
	const void *bytes = c->at + c->size;

	c->size += n;
	return bytes;
}

static dlm_text
take_text(Cursor *c, Size n)
{
	return (dlm_text) {take(c, n), n};
}

static void
pack_gaps(Cursor *c, const dlm_result *r)
{
	for (int i = 0; i < r->n_gaps; i++)
	{
		const dlm_gap *gap = &r->gaps[i];
		PackedGap	packed = {gap->logprob, gap->probability, (uint32) gap->name.len, (uint32) gap->text.len,
		gap->tokens, gap->choice, gap->n_choices, 0};

		put(c, &packed, sizeof(packed));
	}
	for (int i = 0; i < r->n_gaps; i++)
		put(c, r->gaps[i].choices, r->gaps[i].n_choices * sizeof(double));
}

static void
pack(Cursor *c, const dlm_result *r)
{
	Head		head = {r->logprob, (uint32) r->text.len, r->best, r->n_labels, r->n_gaps, r->n_tokens, r->n_embedding,
	r->n_lengths, 0};

	put(c, &head, sizeof(head));
	put(c, r->labels, r->n_labels * sizeof(dlm_label_score));
	pack_gaps(c, r);
	put(c, r->tokens, r->n_tokens * sizeof(dlm_token_score));
	put(c, r->lengths, r->n_lengths * sizeof(dlm_length_score));
	put(c, r->embedding, r->n_embedding * sizeof(float));
	put(c, r->text.data, r->text.len);
	for (int i = 0; i < r->n_gaps; i++)
	{
		put(c, r->gaps[i].name.data, r->gaps[i].name.len);
		put(c, r->gaps[i].text.data, r->gaps[i].text.len);
	}
}

char *
dlm_value_pack(const dlm_result *result, Size *size)
{
	Cursor		c = {NULL, 0};

	pack(&c, result);
	c.at = palloc(c.size);
	c.size = 0;
	pack(&c, result);
	*size = c.size;
	return c.at;
}

static dlm_gap *
unpack_gaps(Cursor *c, int n)
{
	const PackedGap *packed = take(c, n * sizeof(PackedGap));
	dlm_gap    *gap = palloc0(n * sizeof(dlm_gap) + 1);

	for (int i = 0; i < n; i++)
	{
		gap[i].logprob = packed[i].logprob;
		gap[i].probability = packed[i].probability;
		gap[i].name.len = packed[i].name;
		gap[i].text.len = packed[i].text;
		gap[i].tokens = packed[i].tokens;
		gap[i].choice = packed[i].choice;
		gap[i].n_choices = packed[i].n_choices;
		if (gap[i].n_choices > 0)
			gap[i].choices = take(c, gap[i].n_choices * sizeof(double));
	}
	return gap;
}

void
dlm_value_unpack(const char *bytes, dlm_result *result)
{
	Cursor		c = {unconstify(char *, bytes), 0};
	const Head *head = take(&c, sizeof(Head));
	dlm_gap    *gap;

	memset(result, 0, sizeof(*result));
	result->logprob = head->logprob;
	result->best = head->best;
	result->n_labels = head->n_labels;
	result->labels = take(&c, head->n_labels * sizeof(dlm_label_score));
	result->n_gaps = head->n_gaps;
	result->gaps = gap = unpack_gaps(&c, head->n_gaps);
	result->n_tokens = head->n_tokens;
	result->tokens = take(&c, head->n_tokens * sizeof(dlm_token_score));
	result->n_lengths = head->n_lengths;
	result->lengths = take(&c, head->n_lengths * sizeof(dlm_length_score));
	result->n_embedding = head->n_embedding;
	result->embedding = take(&c, head->n_embedding * sizeof(float));
	result->text = take_text(&c, head->text);
	for (int i = 0; i < head->n_gaps; i++)
	{
		gap[i].name = take_text(&c, gap[i].name.len);
		gap[i].text = take_text(&c, gap[i].text.len);
	}
}
