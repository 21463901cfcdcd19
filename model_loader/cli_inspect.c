/*
 * cli_inspect.c - dlm-model inspect and verify.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "model.h"

static void
print_hex(const char *name, const uint8_t *bytes, int n)
{
	printf("%-20s ", name);
	for (int i = 0; i < n; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

/* Control characters of a text out of the file, so that it cannot drive the terminal. */
static void
print_text(const char *name, dlm_text text)
{
	if (text.len == 0)
		return;
	printf("%-20s ", name);
	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];

		if (c == '\n')
			printf("\\n");
		else if (c < 32 || c == 127)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	printf("\n");
}

static void
print_string(const char *name, const char *text)
{
	print_text(name, (dlm_text) {text, strlen(text)});
}

static void
print_ids(const dlm_model *model, const char *name, const int32_t *ids, int n)
{
	char		pieces[512] = "";
	size_t		at = 0;

	for (int i = 0; i < n; i++)
	{
		dlm_text	piece = dlm_token_piece(model, ids[i]);
		int			put = snprintf(pieces + at, sizeof(pieces) - at, "%s%d %.*s", i ? ", " : "", (int) ids[i],
								   (int) piece.len, piece.data);

		if (put < 0 || (size_t) put >= sizeof(pieces) - at)
			break;
		at += (size_t) put;
	}
	print_string(name, pieces);
}

static void
print_settings(const dlm_model *m)
{
	const dl_settings *s = &m->settings;
	int32_t		mask = (int32_t) m->config.mask_id;

	print_ids(m, "mask", &mask, 1);
	print_ids(m, "begin", s->begin, s->n_begin);
	print_ids(m, "end", s->end, s->n_end);
	print_ids(m, "stop", s->stop, s->n_stop);
	print_ids(m, "never generate", s->never_generate, s->n_never_generate);
	print_ids(m, "never score", s->never_score, s->n_never_score);
	print_text("generate", s->generate);
	print_text("classify", s->classify);
	print_text("classify_multi", s->classify_multi);
	print_text("infill", s->infill);
	print_text("instruction", s->classify_instruction);
	print_text("content free", s->content_free);
	printf("%-20s %g, %g, %g, %g, %g\n", "length bias", s->length_bias[0], s->length_bias[1], s->length_bias[2], s->length_bias[3],
		   s->length_bias[4]);
}

static void
print_tensors(const dlm_model *m)
{
	static const char *const dtypes[] = {"f32", "bf16", "int8"};
	const dl_entry *e = (const dl_entry *) (m->base + m->header->directory.offset);
	uint64_t	n = m->header->directory.size / sizeof(dl_entry);

	printf("\n%5s %5s %5s %10s %10s %14s %14s\n", "role", "layer", "type", "rows", "cols", "offset", "bytes");
	for (uint64_t i = 0; i < n; i++)
		printf("%5u %5u %5s %10llu %10llu %14llu %14llu\n", e[i].role, e[i].layer, dtypes[e[i].dtype],
			   (unsigned long long) e[i].rows, (unsigned long long) e[i].cols, (unsigned long long) e[i].offset,
			   (unsigned long long) e[i].bytes);
}

static void
print_model(const dlm_model *m)
{
	dlm_model_info info;

	dlm_model_describe(m, &info);
	print_hex("digest", info.digest, 32);
	print_string("architecture", info.architecture);
	print_string("weights", info.weights);
	print_string("attention", info.attention);
	printf("%-20s %llu\n", "parameters", (unsigned long long) info.parameters);
	printf("%-20s %llu\n", "bytes", (unsigned long long) info.bytes);
	printf("%-20s %d\n", "context", info.context);
	printf("%-20s %d\n", "hidden", info.hidden);
	printf("%-20s %d\n", "layers", info.layers);
	printf("%-20s %d\n", "vocabulary", info.vocab);
	printf("%-20s %u\n", "logit shift", m->config.logit_shift);
	printf("%-20s %s\n", "length head", info.length_head ? "yes" : "no");
	print_string("license", info.license);
	print_string("source", info.source);
	print_settings(m);
}

int
dl_cli_inspect(int argc, char **argv)
{
	bool		tensors = false,
				help;
	const char *path;
	dl_cli_option options[] = {
		{"--tensors", DL_CLI_FLAG, &tensors, "list the tensors too"},
		{0}
	};
	dl_cli_model m;
	dlm_error	err;
	int			n,
				code = dl_cli_parse(argc, argv, "inspect FILE.dlm [options]", options, &path, 1, &n, &help);

	if (code != DL_EXIT_OK || help)
		return code;
	if (n != 1)
	{
		fprintf(stderr, "dlm-model: inspect needs a file\n");
		return DL_EXIT_USAGE;
	}
	if (dl_cli_open(path, &m, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	else
	{
		print_model(m.model);
		if (tensors)
			print_tensors(m.model);
	}
	dl_cli_close(&m);
	return code;
}

int
dl_cli_verify(int argc, char **argv)
{
	dl_cli_option options[] = {{0}};
	dlm_env		env = {.threads = dl_cli_threads()};
	dlm_model_info info;
	const char *path;
	dl_cli_model m;
	dlm_error	err;
	bool		help;
	int			n,
				code = dl_cli_parse(argc, argv, "verify FILE.dlm", options, &path, 1, &n, &help);

	if (code != DL_EXIT_OK || help)
		return code;
	if (n != 1)
	{
		fprintf(stderr, "dlm-model: verify needs a file\n");
		return DL_EXIT_USAGE;
	}
	if (dl_cli_open(path, &m, &err) != DLM_OK || dlm_model_verify(m.model, &env, &err) != DLM_OK)
		code = dl_cli_fail(&err);
	else
	{
		dlm_model_describe(m.model, &info);
		print_hex("intact", info.digest, 32);
	}
	dl_cli_close(&m);
	return code;
}
