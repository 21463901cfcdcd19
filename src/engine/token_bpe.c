/*
 * token_bpe.c - byte pair encoding of one pre-token.
 *
 * Symbols form a doubly linked list; adjacent pairs that can merge wait in a
 * heap of four children, ordered by (rank, position). A merge leaves stale entries
 * behind, which are recognised when popped: the pair there no longer merges
 * into the same token. O(n log n). The first symbols are bytes (byte-level)
 * or characters with the word's affixes, bytes for unknown ones where the
 * model says so.
 */
#include "token_impl.h"

typedef struct symbol
{
	int32_t		id;				/* -1: merged into another */
	int32_t		prev,			/* -1: none */
				next;
} symbol;

typedef struct candidate
{
	uint64_t	key;			/* rank << 32 | left symbol */
	int32_t		id;				/* what the pair becomes */
	int32_t		unused;			/* 16 bytes: the four children of an entry share a cache line */
} candidate;

/* Entry i lies in slot i + HEAP_SHIFT, so that children 4 i + 1 .. 4 i + 4 are aligned. */
#define HEAP_SHIFT	3

typedef struct bpe
{
	dl_work    *w;
	symbol	   *sym;
	int32_t		n;
	candidate  *heap;
	size_t		n_heap;
} bpe;

static const tb_merge *
find_merge(const dl_tok *tok, int32_t left, int32_t right)
{
	uint32_t	mask = tok->n_merges - 1,
				slot;

	if (tok->n_merges == 0)
		return NULL;
	slot = tb_pair_hash(left, right) & mask;
	for (uint32_t i = 0; i < TB_MAX_PROBES; i++)
	{
		const tb_merge *m = &tok->merges[(slot + i) & mask];

		if (m->left == left && m->right == right)
			return m;
		if (m->left < 0)
			return NULL;
	}
	return NULL;
}

static void
sift_down(candidate *heap, size_t n, candidate c)
{
	size_t		i = 0;

	for (;;)
	{
		size_t		child = 4 * i + 1,
					end = child + 4 < n ? child + 4 : n,
					least = child;

		if (child >= n)
			break;
		for (child++; child < end; child++)
			if (heap[child].key < heap[least].key)
				least = child;
		if (heap[least].key >= c.key)
			break;
		heap[i] = heap[least];
		i = least;
	}
	heap[i] = c;
}

static candidate
pop(bpe *b)
{
	candidate	top = b->heap[0];

	b->n_heap--;
	if (b->n_heap > 0)
		sift_down(b->heap, b->n_heap, b->heap[b->n_heap]);
	return top;
}

static dlm_status
push(bpe *b, candidate c)
{
	size_t		i = b->n_heap++,
				slots = b->n_heap + HEAP_SHIFT;

	TRY(dl_vec_reserve(b->w, &b->w->heap, slots * sizeof(c), i > 0 ? (slots - 1) * sizeof(c) : 0));
	b->heap = (candidate *) b->w->heap.data + HEAP_SHIFT;
	for (; i > 0 && c.key < b->heap[(i - 1) / 4].key; i = (i - 1) / 4)
		b->heap[i] = b->heap[(i - 1) / 4];
	b->heap[i] = c;
	return DLM_OK;
}

/* Offer the pair that starts at symbol `at`, if it merges. */
static dlm_status
offer(bpe *b, int32_t at)
{
	const symbol *s = &b->sym[at];
	const tb_merge *m;
	candidate	c;

	if (s->next < 0)
		return DLM_OK;
	m = find_merge(b->w->tok, s->id, b->sym[s->next].id);
	if (m == NULL)
		return DLM_OK;
	c.key = (uint64_t) m->rank << 32 | (uint32_t) at;
	c.id = m->id;
	c.unused = 0;
	return push(b, c);
}

static dlm_status
merge_all(bpe *b)
{
	TRY(dl_vec_reserve(b->w, &b->w->heap, ((size_t) b->n + HEAP_SHIFT) * sizeof(candidate), 0));
	for (int32_t i = 0; i + 1 < b->n; i++)
	{
		TRY(offer(b, i));
		TRY(dl_work_poll(b->w));
	}
	while (b->n_heap > 0)
	{
		candidate	c = pop(b);
		int32_t		at = (int32_t) (uint32_t) c.key;
		symbol	   *left = &b->sym[at],
				   *right;
		const tb_merge *m;

		TRY(dl_work_poll(b->w));
		if (left->id < 0 || left->next < 0)
			continue;
		right = &b->sym[left->next];
		m = find_merge(b->w->tok, left->id, right->id);
		if (m == NULL || m->id != c.id)
			continue;
		left->id = c.id;
		right->id = -1;
		left->next = right->next;
		if (left->next >= 0)
			b->sym[left->next].prev = at;
		if (left->prev >= 0)
			TRY(offer(b, left->prev));
		TRY(offer(b, at));
	}
	return DLM_OK;
}

static dlm_status
add_symbol(bpe *b, int32_t id)
{
	symbol	   *s;

	TRY(dl_vec_reserve(b->w, &b->w->symbols, ((size_t) b->n + 1) * sizeof(symbol), (size_t) b->n * sizeof(symbol)));
	b->sym = b->w->symbols.data;
	s = &b->sym[b->n];
	s->id = id;
	s->prev = b->n - 1;
	s->next = -1;
	if (b->n > 0)
		b->sym[b->n - 1].next = b->n;
	b->n++;
	return dl_work_poll(b->w);
}

/* The symbols of a text in byte-level BPE; a byte that the vocabulary lacks is left out, as `tokenizers` does. */
static dlm_status
byte_symbols(bpe *b, const char *s, size_t n)
{
	const dl_tok *tok = b->w->tok;
	int32_t		unk = tok->header->unk_id;
	bool		fuse = (tok->header->flags & TB_FUSE_UNK) != 0,
				last_unk = false;

	for (size_t i = 0; i < n; i++)
	{
		int32_t		id = tok->bytes[((i > 0) + 2 * (i + 1 == n)) * 256 + (unsigned char) s[i]];

		if (id < 0)
		{
			if (unk >= 0 && !(last_unk && fuse))
				TRY(add_symbol(b, unk));
			last_unk = true;
			continue;
		}
		last_unk = false;
		TRY(add_symbol(b, id));
	}
	return DLM_OK;
}

/* The token of a character with its affixes, -1 if none. */
static int32_t
char_token(const dl_tok *tok, const char *s, int len, bool first, bool last)
{
	const tb_header *h = tok->header;
	uint32_t	node = 0;

	if (tok->pieces.child == NULL)
		return -1;
	if (!first && h->prefix.size > 0)
	{
		if (tok->prefix_node == UINT32_MAX)
			return -1;
		node = tok->prefix_node;
	}
	node = dl_trie_walk(&tok->pieces, node, s, (size_t) len);
	if (node != 0 && last)
		node = dl_trie_walk(&tok->pieces, node, tok->pool + h->suffix.offset, h->suffix.size);
	return node != 0 ? tok->pieces.value[node] : -1;
}

/* The byte tokens of a character that the vocabulary lacks, affixes included; *done false if one of them is missing. */
static dlm_status
fallback_symbols(bpe *b, const char *s, int len, bool first, bool last, bool *done)
{
	const dl_tok *tok = b->w->tok;
	const tb_header *h = tok->header;
	const char *part[3] = {tok->pool + h->prefix.offset, s, tok->pool + h->suffix.offset};
	uint32_t	size[3] = {first ? 0 : h->prefix.size, (uint32_t) len, last ? h->suffix.size : 0};

	*done = false;
	if (!(h->flags & TB_BYTE_FALLBACK) || tok->fallback == NULL)
		return DLM_OK;
	for (int p = 0; p < 3; p++)
		for (uint32_t i = 0; i < size[p]; i++)
			if (tok->fallback[(unsigned char) part[p][i]] < 0)
				return DLM_OK;
	*done = true;
	for (int p = 0; p < 3; p++)
		for (uint32_t i = 0; i < size[p]; i++)
			TRY(add_symbol(b, tok->fallback[(unsigned char) part[p][i]]));
	return DLM_OK;
}

/*
 * The symbols of a text of characters. An unknown token waits until a known
 * character or the end comes, so that neighbours can be fused into it; byte
 * tokens overtake it, as they do in `tokenizers`.
 */
static dlm_status
char_symbols(bpe *b, const char *s, size_t n)
{
	const dl_tok *tok = b->w->tok;
	int32_t		unk = tok->header->unk_id;
	bool		waiting = false;

	for (size_t i = 0; i < n;)
	{
		int			len;
		bool		first = i == 0,
					last,
					done;
		int32_t		id;

		(void) dl_utf8_get(s + i, &len);
		last = i + (size_t) len == n;
		id = char_token(tok, s + i, len, first, last);
		if (id >= 0)
		{
			if (waiting)
				TRY(add_symbol(b, unk));
			waiting = false;
			TRY(add_symbol(b, id));
		}
		else
		{
			TRY(fallback_symbols(b, s + i, len, first, last, &done));
			if (!done && unk >= 0)
			{
				if (waiting && !(tok->header->flags & TB_FUSE_UNK))
					TRY(add_symbol(b, unk));
				waiting = true;
			}
		}
		i += (size_t) len;
	}
	return waiting ? add_symbol(b, unk) : DLM_OK;
}

dlm_status
dl_tok_bpe(dl_work *w, const char *s, size_t n)
{
	const dl_tok *tok = w->tok;
	bpe			b = {.w = w};

	if ((tok->header->flags & TB_IGNORE_MERGES) && tok->pieces.child != NULL)
	{
		int32_t		id = dl_trie_exact(&tok->pieces, s, n);

		if (id >= 0)
			return dl_work_id(w, id);
	}
	if (n > INT32_MAX / sizeof(symbol))
		return dl_fail_memory(w->err);
	TRY(dl_vec_reserve(w, &w->symbols, n * sizeof(symbol), 0));
	if (tok->header->flags & TB_BYTES)
		TRY(byte_symbols(&b, s, n));
	else
		TRY(char_symbols(&b, s, n));
	TRY(merge_all(&b));
	for (int32_t i = b.n > 0 ? 0 : -1; i >= 0; i = b.sym[i].next)
		TRY(dl_work_id(w, b.sym[i].id));
	return DLM_OK;
}
