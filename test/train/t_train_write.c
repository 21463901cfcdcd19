/*
 * t_train_write.c - a trained model as a file: the engine computes from it
 * what the trainer computed, what was not trained stays byte for byte, and
 * nothing is left behind when it cannot be written.
 */
#include "convert.h"
#include "logits.h"
#include "trained.h"

#define TOLERANCE	1e-5

static char folder[256];

static bool
same_digest(const dlm_model *m, const uint8_t digest[32])
{
	return memcmp(m->header->digest, digest, 32) == 0;
}

/* Without a step of training the file is the base. */
static void
untrained_is_the_base(const char *name, dlm_weights weights, dl_train_mode mode)
{
	dl_train_options options = {.mode = mode};
	dl_arena   *a;
	fixture		base,
				f;
	dl_params  *p;
	uint8_t		digest[32];
	dlm_model_info info;

	if (!tiny_open(name, weights, &base))
		return;
	p = trained_create(base.model, &options, &a);
	if (trained_write(p, folder, 1, &f, digest))
	{
		CHECK(same_digest(base.model, digest), "%s, mode %d", name, (int) mode);
		dlm_model_describe(f.model, &info);
		CHECK(strncmp(info.source, "fine-tuned from ", 16) == 0 && strlen(info.source) == 16 + 64, "%s", info.source);
	}
	fixture_close(&f);
	dl_arena_destroy(a);
	fixture_close(&base);
}

/* Logits of the trainer and of the engine on the written file. */
static void
file_computes_the_same(const char *name, const dl_train_options *options)
{
	dl_arena   *a;
	fixture		base,
				f;
	dl_params  *p;
	dl_net	   *net = NULL;
	batch		b;
	outcome		o[BATCH_ROWS] = {0};
	uint8_t		digest[2][32];
	dlm_error	err = {0};
	double		d;

	if (!tiny_open(name, DLM_WEIGHTS_F32, &base))
		return;
	p = trained_create(base.model, options, &a);
	trained_move(p, 0.05);
	batch_make(&base.model->config, 7, &b);
	CHECK(dl_net_create(p, &b.limits, NULL, &net, &err) == DLM_OK, "%s: %s", name, err.message);
	CHECK(dl_net_forward(net, b.rows, BATCH_ROWS, NULL, &err) == DLM_OK, "%s: %s", name, err.message);
	if (trained_write(p, folder, 2, &f, digest[0]) && engine_logits(f.model, &b, o))
	{
		d = batch_distance(net, o, (int) base.model->config.vocab);
		CHECK(d <= TOLERANCE, "%s, mode %d: logits differ by %g", name, (int) options->mode, d);
		CHECK(!same_digest(base.model, digest[0]), "%s is the base", name);
		CHECK(f.model->config.tied == (base.model->config.tied && !(options->mode == DL_TRAIN_LORA &&
																   options->lora & DL_DENSE_OUTPUT)), "%s: tied", name);
	}
	CHECK(dl_write_model(p, folder, NULL, digest[1], &err) == DLM_OK && memcmp(digest[0], digest[1], 32) == 0,
		  "%s: threads change the digest", name);
	for (int r = 0; r < BATCH_ROWS; r++)
		outcome_free(&o[r]);
	fixture_close(&f);
	dl_arena_destroy(a);
	fixture_close(&base);
}

/* Biases of an int8 model are the trained ones, its matrices the base's bytes; factors change matrices by what they should. */
static void
int8_base(const char *name, const dl_train_options *options)
{
	dl_arena   *a;
	fixture		base,
				f;
	dl_params  *p;
	uint8_t		digest[32];
	int			n;

	if (!tiny_open(name, DLM_WEIGHTS_INT8, &base))
		return;
	p = trained_create(base.model, options, &a);
	trained_move(p, 0.05);
	if (trained_write(p, folder, 2, &f, digest))
	{
		const dl_entry *e = (const dl_entry *) (f.model->base + f.model->header->directory.offset);

		n = (int) (f.model->header->directory.size / sizeof(dl_entry));
		for (int i = 0; i < n; i++)
		{
			const dl_param *w = dl_params_find(p, e[i].role, (int) e[i].layer, DL_PART_TENSOR),
					   *fa = dl_params_find(p, e[i].role, (int) e[i].layer, DL_PART_LORA_A),
					   *fb = dl_params_find(p, e[i].role, (int) e[i].layer, DL_PART_LORA_B);
			size_t		count = (size_t) (e[i].rows * e[i].cols);
			dl_real    *was,
					   *is;
			double		error = 0,
						norm = 0;

			if (w == NULL)
				continue;
			was = malloc(count * sizeof(dl_real));
			is = malloc(count * sizeof(dl_real));
			dl_unpack(&e[i], f.model->base + e[i].offset, is);
			if (w->value != NULL && e[i].layout == DL_ROWS)
				memcpy(was, w->value, count * sizeof(dl_real));
			else
			{
				const dl_entry *old = (const dl_entry *) (base.model->base + base.model->header->directory.offset) + i;

				dl_unpack(old, base.model->base + old->offset, was);
			}
			for (size_t j = 0; j < count; j++)
			{
				double		want = was[j];

				for (int r = 0; fa != NULL && r < fa->rows; r++)
					want += (double) p->scale * fb->value[j / e[i].cols * (size_t) fa->rows + (size_t) r] *
						fa->value[(size_t) r * e[i].cols + j % e[i].cols];
				error += (want - is[j]) * (want - is[j]);
				norm += want * want;
			}
			CHECK(fa != NULL ? error > 0 && error <= 0.02 * 0.02 * norm : error == 0, "%s role %u: %g of %g", name,
				  e[i].role, error, norm);
			free(was);
			free(is);
		}
	}
	fixture_close(&f);
	dl_arena_destroy(a);
	fixture_close(&base);
}

/* All settings but one are the base's, its length-bias curve among them. */
static void
settings_are_the_bases(void)
{
	static const double curve[5] = {0.3, 1.5, 0.2, 0.05, 0.1};
	dl_train_options options = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 2, .alpha = 2};
	dl_write_options untuned = {.calibrate = DLM_CALIBRATE_NONE};
	char		path[300];
	fixture		plain,
				base = {0},
				f = {0};
	dl_arena   *a;
	dl_params  *p;
	uint8_t		digest[32];
	dlm_error	err = {0};

	if (!tiny_open("context", DLM_WEIGHTS_F32, &plain))
		return;
	snprintf(path, sizeof(path), "%s/curve.dlm", folder);
	CHECK(dl_restate(plain.model, DL_S_LENGTH_BIAS, curve, sizeof(curve), path, &err) == DLM_OK, "%s", err.message);
	CHECK(dlm_file_map(path, &base.map, &err) == DLM_OK && dlm_model_open(base.map.data, base.map.size, &base.model, &err) == DLM_OK, "%s",
		  err.message);
	p = trained_create(base.model, &options, &a);
	trained_move(p, 0.05);
	CHECK(dl_write_model(p, folder, &untuned, digest, &err) == DLM_OK && fixture_written(folder, digest, &f, &err) == DLM_OK, "%s", err.message);
	if (f.model != NULL)
	{
		CHECK(memcmp(f.model->settings.length_bias, curve, sizeof(curve)) == 0, "the curve is lost");
		CHECK(base.model->settings.calibrate == DLM_CALIBRATE_CONTENT_FREE && f.model->settings.calibrate == DLM_CALIBRATE_NONE, "calibrate");
		CHECK(f.model->settings.classify.len == base.model->settings.classify.len, "templates");
	}
	fixture_close(&f);
	dl_arena_destroy(a);
	fixture_close(&base);
	fixture_close(&plain);
}

static bool
stop(void *arg)
{
	return (*(int *) arg)-- <= 0;
}

static void
nothing_is_left_behind(void)
{
	dl_train_options options = {.mode = DL_TRAIN_LORA, .lora = EVERY_MODULE, .rank = 2, .alpha = 2};
	char		empty[256];
	dl_arena   *a;
	dl_params  *p;
	fixture		base;
	dlm_error	err = {0};
	int			left;
	dlm_env		env = {.stop = stop, .arg = &left},
				small = {.memory_limit = 100};

	if (!tiny_open("llama", DLM_WEIGHTS_F32, &base))
		return;
	p = trained_create(base.model, &options, &a);
	trained_move(p, 0.05);
	files_folder(empty);
	for (int polls = 0; polls < 20; polls++)
	{
		left = polls;
		CHECK(dl_write_model(p, empty, &(dl_write_options) {.env = &env}, NULL, &err) == DLM_EINTR, "%d polls", polls);
	}
	CHECK(dl_write_model(p, empty, &(dl_write_options) {.env = &small}, NULL, &err) == DLM_ENOMEM, "%s", err.message);
	CHECK(dl_write_model(p, "/nonexistent", NULL, NULL, &err) == DLM_ENOENT, "%s", err.message);
	p->layers[1].v.lora_b->value[3] = NAN;
	CHECK(dl_write_model(p, empty, NULL, NULL, &err) == DLM_EDAMAGED && strstr(err.message, "layers.1.self_attn.v_proj") != NULL,
		  "%s", err.message);
	CHECK(files_count(empty) == 0, "%d files are left", files_count(empty));
	p->layers[1].v.lora_b->value[3] = 0;
	CHECK(dl_write_model(p, empty, NULL, NULL, &err) == DLM_OK && files_count(empty) == 1, "%s", err.message);
	files_remove(empty);
	dl_arena_destroy(a);
	fixture_close(&base);
}

int
main(void)
{
	const dl_train_options all = {.mode = DL_TRAIN_ALL};
	const dl_train_options bias = {.mode = DL_TRAIN_BIAS};
	const dl_train_options lora = {.mode = DL_TRAIN_LORA, .lora = EVERY_MODULE & ~DL_DENSE_OUTPUT, .rank = 3, .alpha = 5};
	const dl_train_options every = {.mode = DL_TRAIN_LORA, .lora = EVERY_MODULE, .rank = 3, .alpha = 5};
	const dl_train_options query = {.mode = DL_TRAIN_LORA, .lora = DL_DENSE_Q, .rank = 3, .alpha = 5};

	files_folder(folder);
	for (int i = 0; i < N_TINY_MODELS; i++)
	{
		const char *name = tiny_models[i];
		bool		has_biases = strstr(name, "bert") != NULL || strcmp(name, "paper") == 0 || strcmp(name, "qwen2") == 0;

		untrained_is_the_base(name, DLM_WEIGHTS_F32, DL_TRAIN_ALL);
		untrained_is_the_base(name, DLM_WEIGHTS_BF16, DL_TRAIN_ALL);
		if (has_biases)
		{
			untrained_is_the_base(name, DLM_WEIGHTS_INT8, DL_TRAIN_BIAS);
			file_computes_the_same(name, &bias);
			int8_base(name, &bias);
		}
		file_computes_the_same(name, &all);
		file_computes_the_same(name, &lora);
		file_computes_the_same(name, &every);
		int8_base(name, &query);
		int8_base(name, &lora);
	}
	settings_are_the_bases();
	nothing_is_left_behind();
	files_remove(folder);
	return harness_end("t_train_write");
}
