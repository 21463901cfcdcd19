/*
 * t_batches.c - the order of rows: every row once an epoch, shares of sources,
 * sizes of batches and parts, limits, and going on from a saved state.
 */
#include "data.h"

#include "batches.h"

#define ROWS	211

/* Texts and instruction rows of many lengths; sources 0, "half" and "little"; a few rows for validation. */
static bool
mixed_open(bed *b)
{
	static const double weights[2] = {0.5, 0.02};
	char		words[400];
	dlm_error	err = {0};
	int			s;

	if (!bed_open(b, "context", &(dl_dataset_options) {.row_tokens = 60}))
		return false;
	CHECK(dl_dataset_source(b->ds, "half", weights[0], &s, &err) == DLM_OK && s == 1, "%s", err.message);
	CHECK(dl_dataset_source(b->ds, "little", weights[1], &s, &err) == DLM_OK && s == 2, "%s", err.message);
	for (int i = 0; i < ROWS + 40; i++)
	{
		const char *text = data_words(1 + i % 9, (uint64_t) i, words, sizeof(words));
		dl_row_text row = i % 4 == 0 ? data_plain(text) : data_instruction("Is it?", text,
			i % 8 == 1 ? "red" : "the boat is cold");

		row.key = i;
		data_add(b->ds, i < ROWS ? 0 : i < ROWS + 20 ? 1 : i < ROWS + 25 ? 2 : DL_VALIDATION, &row);
	}
	b->masking = (dl_masking) {.timesteps = 10, .coupled = true, .whole = 0.2, .end_tokens = 5, .spans = 3,
	.cover_least = 0.1,
		.cover_most = 0.5, .text_share = 0.1, .weighting = DL_WEIGHT_LINEAR};
	return true;
}

static dl_batches *
create(bed *b, const dl_batches_options *options)
{
	size_t		before = dl_arena_used(b->a);
	dl_batches *batches = NULL;
	dlm_error	err = {0};

	CHECK(dl_batches_create(&b->m, options, &batches, &err) == DLM_OK, "%s", err.message);
	CHECK(dl_arena_used(b->a) - before == dl_batches_bytes(&b->m, options), "%zu bytes", dl_arena_used(b->a) - before);
	return batches;
}

static void
hash_example(dl_sha256 *s, const dl_example *e)
{
	dl_sha256_update(s, &e->n, sizeof(e->n));
	dl_sha256_update(s, e->ids, (size_t) e->n * sizeof(int32_t));
	dl_sha256_update(s, e->live, (size_t) e->n);
	dl_sha256_update(s, e->ask, (size_t) e->n_ask * sizeof(int32_t));
	dl_sha256_update(s, e->target, (size_t) e->n_ask * sizeof(int32_t));
	dl_sha256_update(s, e->weight, (size_t) e->n_ask * sizeof(float));
}

/* All examples of the next batch, hashed. */
static void
hash_batch(dl_batches *b, uint8_t digest[32])
{
	const dl_example *e;
	dl_sha256	s;
	int			n;

	dl_sha256_init(&s);
	dl_batches_next(b, NULL);
	while (dl_batches_part(b, &e, &n))
		for (int i = 0; i < n; i++)
			hash_example(&s, &e[i]);
	dl_sha256_final(&s, digest);
}

/* --------------------------------------------------------- epochs, sources */

/*
 * Rows of a source come once an epoch. Batches of a pool are shuffled, so an
 * epoch's last rows and the next one's first may change places within a pool:
 * whole pools are counted, and every count is between the epochs begun and done.
 */
static void
every_row_once_an_epoch(void)
{
	const dl_batches_options options = {.batch_tokens = 200, .part_tokens = 100};
	bed			b;
	dl_batches *batches;
	dl_batches_state state = {0};
	int			seen[ROWS + 40] = {0};
	int			drawn[3] = {0};
	int			views = 0;

	if (!mixed_open(&b))
		return;
	batches = create(&b, &options);
	for (int i = 0; i < 3000; i++)
	{
		const dl_example *e;
		int			n;

		views += dl_batches_next(batches, NULL);
		while (dl_batches_part(batches, &e, &n))
			for (int j = 0; j < n; j++)
				seen[dl_batches_row(batches, j)->key]++;
		dl_batches_save(batches, &state);
		/* behind a pool's last batch the next one has not begun: counts of whole pools are known when it does */
		if (state.batch != 1 || state.draws == 0)
			continue;
		for (int s = 0; s < 3; s++)
			drawn[s] = (int) state.taken[s];
	}
	CHECK(drawn[0] + drawn[1] + drawn[2] == (int) state.draws && state.draws > 5 * ROWS, "%d draws", (int) state.draws);
	for (int s = 0; s < 3; s++)
		for (int i = 0; i < b.ds->source[s].n; i++)
		{
			int			count = seen[b.ds->rows[b.ds->source[s].row[i]].key] / 2;	/* two views */
			int			epochs = drawn[s] / b.ds->source[s].n;

			/* and those of the pool that is under way */
			CHECK(count >= epochs && count <= epochs + 2 + (s > 0 ? 60 / b.ds->source[s].n : 0),
				  "row %d of source %d: %d times in %d epochs", i,
				  s, count, epochs);
		}
	for (int i = ROWS + 25; i < ROWS + 40; i++)
		CHECK(seen[i] == 0, "a validation row is trained on");
	CHECK(drawn[0] > 0.96 * 1 / 1.52 * (double) state.draws && drawn[0] < 1.04 / 1.52 * (double) state.draws,
		  "%d of %d of source 0", drawn[0],
		  (int) state.draws);
	CHECK(drawn[1] > 0.9 * 0.5 / 1.52 * (double) state.draws && drawn[1] < 1.1 * 0.5 / 1.52 * (double) state.draws,
		  "%d of source 1", drawn[1]);
	CHECK(drawn[2] > 0.6 * 0.02 / 1.52 * (double) state.draws && drawn[2] < 1.4 * 0.02 / 1.52 * (double) state.draws,
		  "%d of source 2", drawn[2]);
	dl_batches_free(batches);
	bed_close(&b);
}

/* One pool's draws of one source are the permutation itself: an epoch of exactly so many draws has every row once. */
static void
epochs_are_permutations(void)
{
	bed			b;
	dl_batches *batches;
	dl_batches_state state = {0};
	int			order[2][64];
	int			differ = 0,
				common = 0;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	for (int i = 0; i < 64; i++)
	{
		dl_row_text row = data_plain("the boat");	/* rows of one length: a batch of one row each */

		row.key = i;
		data_add(b.ds, 0, &row);
	}
	b.masking.cover_most = 1;
	batches = create(&b, &(dl_batches_options) {.batch_tokens = dl_row_tokens(&b.ds->rows[0])});
	for (int epoch = 0; epoch < 2; epoch++)
	{
		uint64_t	seen = 0;

		for (int i = 0; i < 64; i++)
		{
			const dl_example *e;
			int			n;

			CHECK(dl_batches_next(batches, NULL) == 1 && dl_batches_part(batches, &e, &n) && n == 1, "one row a batch");
			order[epoch][i] = (int) dl_batches_row(batches, 0)->key;
			seen |= UINT64_C(1) << order[epoch][i];
			CHECK(!dl_batches_part(batches, &e, &n) && n == 0, "one part a batch");
		}
		CHECK(seen == UINT64_MAX, "an epoch has not all rows");	/* 64 rows are four pools of sixteen */
	}
	for (int i = 0; i < 64; i++)
		differ += order[0][i] != order[1][i];
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 16; j++)
			common += order[0][i] == order[1][j];
	CHECK(differ > 50 && common < 12, "epochs are alike: %d places differ, first pools share %d rows", differ, common);
	dl_batches_save(batches, &state);
	CHECK(state.draws + state.batch == 128, "%d draws", (int) (state.draws + state.batch));
	dl_batches_free(batches);
	bed_close(&b);
}

/* ------------------------------------------------------------------- sizes */

/* Do batches and parts keep to their sizes, and the parts to the limits? */
static void
sizes(int batch_tokens, int part_tokens)
{
	dl_batches_options options = {.batch_tokens = batch_tokens, .part_tokens = part_tokens};
	bed			b;
	dl_batches *batches;
	dl_net_limits limits;
	double		sum = 0,
				spread = 0;
	int			longest = 0;
	int			many = batch_tokens > 1000 ? 64 : 400;

	if (!mixed_open(&b))
		return;
	for (int i = 0; i < b.ds->n; i++)
		if (dl_mask_most_tokens(&b.m, &b.ds->rows[i]) > longest)
			longest = dl_mask_most_tokens(&b.m, &b.ds->rows[i]);
	limits = dl_batches_limits(&b.m, &options);
	batches = create(&b, &options);
	for (int i = 0; i < many; i++)
	{
		const dl_example *e;
		int			n,
					tokens,
					shortest = INT32_MAX,
					longest_here = 0,
					found = 0;
		int			examples = dl_batches_next(batches, &tokens);

		while (dl_batches_part(batches, &e, &n))
		{
			int			part = 0,
						asks = 0;

			for (int j = 0; j < n; j++)
			{
				part += e[j].n;
				asks += e[j].n_ask;
				shortest = e[j].n < shortest ? e[j].n : shortest;
				longest_here = e[j].n > longest_here ? e[j].n : longest_here;
			}
			CHECK(part <= limits.tokens && n <= limits.rows && asks <= limits.asks, "%d tokens, %d rows, %d asks",
				  part, n, asks);
			CHECK(part_tokens == 0 || n == 1 || part <= part_tokens, "a part of %d tokens", part);
			found += n;
			tokens -= part;
			sum += part;
		}
		CHECK(found == examples && tokens == 0, "%d of %d examples, %d tokens", found, examples, tokens);
		spread += (double) (longest_here - shortest) / many;
	}
	if (batch_tokens >= 2 * longest)
		CHECK(sum / many > 0.93 * batch_tokens && sum / many < 1.07 * batch_tokens, "batches of %g tokens, not %d",
			  sum / many, batch_tokens);
	CHECK(batch_tokens < 100 || spread < longest / 3.0, "lengths in a batch differ by %g of %d", spread, longest);
	CHECK(limits.tokens >= longest && limits.asks <= limits.tokens && !limits.recompute, "limits of %d tokens",
		  limits.tokens);
	CHECK(part_tokens == 0 || limits.tokens <= (part_tokens > longest ? part_tokens : longest), "limits of %d tokens",
		  limits.tokens);
	dl_batches_free(batches);
	bed_close(&b);
}

/* Steps in which source 0 is through, against the draws themselves. */
static void
epoch_steps(int batch_tokens)
{
	dl_batches_options options = {.batch_tokens = batch_tokens, .part_tokens = 0};
	bed			b;
	dl_batches *batches;
	dl_batches_state state = {0};
	double		steps;
	int			count = 0;

	if (!mixed_open(&b))
		return;
	steps = dl_batches_epoch_steps(&b.m, &options);
	batches = create(&b, &options);
	while (state.taken[0] < 40 * ROWS)
	{
		dl_batches_next(batches, NULL);
		dl_batches_save(batches, &state);
		count++;
	}
	CHECK((count - 1) / (double) state.taken[0] * ROWS / steps > 0.95 &&
		  (count - 1) / (double) state.taken[0] * ROWS / steps < 1.05,
		  "%d steps for %d rows, an epoch is said to be %g", count, (int) state.taken[0], steps);
	dl_batches_free(batches);
	bed_close(&b);
}

/* ------------------------------------------------------------------- state */

#define STEPS	90

static void
a_saved_state_goes_on(void)
{
	const dl_batches_options options = {.batch_tokens = 300, .part_tokens = 120};
	bed			b;
	dl_batches *first,
			   *second;
	dl_batches_state state[STEPS + 1];
	uint8_t		digest[STEPS][32],
				other[32];
	dlm_error	err = {0};
	int			n;

	if (!mixed_open(&b))
		return;
	first = create(&b, &options);
	for (int i = 0; i < STEPS; i++)
	{
		dl_batches_save(first, &state[i]);
		hash_batch(first, digest[i]);
		CHECK(i == 0 || memcmp(digest[i], digest[i - 1], 32) != 0, "batch %d is the one before", i);
	}
	for (int i = 0; i < STEPS; i += 7)
	{
		second = create(&b, &options);
		CHECK(dl_batches_restore(second, &state[i], &err) == DLM_OK, "%s", err.message);
		for (int j = i; j < STEPS; j++)
		{
			dl_batches_state now;

			dl_batches_save(second, &now);
			hash_batch(second, other);
			CHECK(memcmp(other, digest[j], 32) == 0, "batch %d after going on from %d", j, i);
			/* the last of a pool and the first of the next are one place */
			CHECK(j == i || memcmp(&now, &state[j], sizeof(now)) == 0, "state %d after going on from %d", j, i);
		}
		dl_batches_free(second);
	}
	b.m.seed++;
	second = create(&b, &options);
	hash_batch(second, other);
	CHECK(memcmp(other, digest[0], 32) != 0, "the seed changes nothing");
	dl_batches_free(second);
	/* in the middle of a run: back, and again from the batch's first part */
	CHECK(dl_batches_restore(first, &state[3], &err) == DLM_OK, "%s", err.message);
	dl_batches_next(first, NULL);
	{
		const dl_example *e;
		dl_sha256	s;

		dl_batches_part(first, &e, &n);
		dl_batches_validation(first, 0, &e, &n);	/* in between */
		dl_batches_again(first);
		dl_sha256_init(&s);
		while (dl_batches_part(first, &e, &n))
			for (int i = 0; i < n; i++)
				hash_example(&s, &e[i]);
		dl_sha256_final(&s, other);
	}
	CHECK(memcmp(other, digest[3], 32) == 0, "the batch again");
	dl_batches_free(first);
	bed_close(&b);
}

static void
damaged_states(void)
{
	static const char words[] = "damaged checkpoint: its order of rows is not one of this run's";
	const dl_batches_options options = {.batch_tokens = 300};
	bed			b;
	dl_batches *batches;
	dl_batches_state good,
				bad;

	if (!mixed_open(&b))
		return;
	batches = create(&b, &options);
	for (int i = 0; i < 40; i++)
		dl_batches_next(batches, NULL);
	dl_batches_save(batches, &good);
	bad = good;
	bad.draws++;
	REFUSED(dl_batches_restore(batches, &bad, &why), DLM_EDAMAGED, words);
	bad = good;
	bad.batch = 1000;
	REFUSED(dl_batches_restore(batches, &bad, &why), DLM_EDAMAGED, words);
	bad = good;
	bad.taken[0]--;
	bad.taken[7]++;
	REFUSED(dl_batches_restore(batches, &bad, &why), DLM_EDAMAGED, words);
	bad = good;
	bad.taken[0] = UINT64_MAX;	/* their sum wraps around */
	bad.taken[1] = bad.draws + 1 - bad.taken[2];
	REFUSED(dl_batches_restore(batches, &bad, &why), DLM_EDAMAGED, words);
	REFUSED(dl_batches_restore(batches, &good, &why), DLM_OK, "");
	dl_batches_free(batches);
	bed_close(&b);
}

/* -------------------------------------------------------------- validation */

static void
validation_in_parts(void)
{
	const dl_batches_options options = {.batch_tokens = 300, .part_tokens = 100};
	bed			b;
	dl_batches *batches;
	dl_net_limits limits;
	const dl_example *e;
	int			n;
	int			at = 0,
				parts = 0;

	if (!mixed_open(&b))
		return;
	limits = dl_batches_limits(&b.m, &options);
	batches = create(&b, &options);
	for (;; at += n)
	{
		int			tokens = 0,
					asks = 0;

		dl_batches_validation(batches, at, &e, &n);
		if (n == 0)
			break;
		for (int i = 0; i < n; i++)
		{
			dl_example	want;

			b.space.used = 0;
			want = dl_mask_validation(&b.m, &b.ds->rows[b.ds->validation.row[at + i]], &b.space);
			CHECK(want.n == e[i].n && data_same(want.ids, e[i].ids, (size_t) want.n * sizeof(int32_t)), "row %d",
				  at + i);
			tokens += e[i].n;
			asks += e[i].n_ask;
		}
		CHECK(tokens <= limits.tokens && n <= limits.rows && asks <= limits.asks, "%d tokens, %d rows, %d asks",
			  tokens, n, asks);
		parts++;
	}
	CHECK(at == b.ds->validation.n && at == 15 && parts > 1, "%d rows in %d parts", at, parts);
	dl_batches_free(batches);
	bed_close(&b);
}

/* The examples are what the trainer's net takes, within the limits that it is made for. */
static void
the_net_takes_them(void)
{
	const dl_batches_options options = {.batch_tokens = 300, .part_tokens = 100};
	bed			b;
	dl_batches *batches;
	dl_net_limits limits;
	dl_params  *p = NULL;
	dl_net	   *net = NULL;
	dlm_error	err = {0};

	if (!mixed_open(&b))
		return;
	limits = dl_batches_limits(&b.m, &options);
	batches = create(&b, &options);
	CHECK(dl_params_create(b.f.model, &(dl_train_options) {.mode = DL_TRAIN_ALL}, b.a, &p, &err) == DLM_OK, "%s",
		  err.message);
	CHECK(dl_net_create(p, &limits, NULL, &net, &err) == DLM_OK, "%s", err.message);
	for (int i = 0; i < 10; i++)
	{
		const dl_example *e;
		int			n;
		dl_loss		loss;

		dl_batches_next(batches, NULL);
		while (dl_batches_part(batches, &e, &n))
			CHECK(dl_net_forward(net, e, n, NULL, &err) == DLM_OK && dl_net_loss(net, 0, &loss, &err) == DLM_OK &&
				  loss.loss > 0 && loss.weight > 0, "%s", err.message);
	}
	dl_net_free(net);
	dl_params_free(p);
	dl_batches_free(batches);
	bed_close(&b);
}

static void
refusals(void)
{
	dl_row_text row = data_plain("the boat");
	dl_batches_options options = {.batch_tokens = 10};
	dl_batches *batches = NULL;
	dlm_error	err = {0};
	bed			b;
	int			s;

	if (!bed_open(&b, "llama", &(dl_dataset_options) {0}))
		return;
	REFUSED(dl_batches_create(&b.m, &options, &batches, &why), DLM_EINVAL, "source 0 has no rows");
	data_add(b.ds, 0, &row);
	CHECK(dl_dataset_source(b.ds, "x", 1, &s, &err) == DLM_OK, "%s", err.message);
	REFUSED(dl_batches_create(&b.m, &options, &batches, &why), DLM_EINVAL, "source 1 has no rows");
	data_add(b.ds, 1, &row);
	options.batch_tokens = 0;
	REFUSED(dl_batches_create(&b.m, &options, &batches, &why), DLM_EINVAL, "a batch needs at least one token");
	options = (dl_batches_options) {.batch_tokens = 10, .part_tokens = -1};
	REFUSED(dl_batches_create(&b.m, &options, &batches, &why), DLM_EINVAL, "a batch needs at least one token");
	options.part_tokens = 0;
	b.masking.spans = 0;
	REFUSED(dl_batches_create(&b.m, &options, &batches, &why), DLM_EINVAL,
			"masking needs at least one span, and no negative numbers of tokens");
	CHECK(batches == NULL, "something was made");
	bed_close(&b);
}

int
main(void)
{
	every_row_once_an_epoch();
	epochs_are_permutations();
	sizes(1, 0);
	sizes(1, 1);
	sizes(50, 20);
	sizes(200, 0);
	sizes(200, 64);
	sizes(1000, 300);
	sizes(5000, 0);
	sizes(5000, 100000);
	epoch_steps(100);
	epoch_steps(700);
	a_saved_state_goes_on();
	damaged_states();
	validation_in_parts();
	the_net_takes_them();
	refusals();
	return harness_end("t_batches");
}
