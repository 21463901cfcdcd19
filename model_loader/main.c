/*
 * main.c - dlm-model: convert, inspect, verify, run, tokenize, eval, train and lengths.
 *
 * Exit status: 0 done, 1 failed, 2 wrong command line. Answers go to standard
 * output, errors and progress to standard error.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct dl_verb
{
	const char *name;
	int			(*run) (int argc, char **argv);
	const char *summary;
} dl_verb;

static const dl_verb verbs[] = {
	{"convert", dl_cli_convert, "checkpoint (folder or GGUF file) -> .dlm"},
	{"inspect", dl_cli_inspect, "what a .dlm holds"},
	{"verify", dl_cli_verify, "read all of a .dlm and compare with its digest"},
	{"run", dl_cli_run, "generate, infill, classify, score, embed: the engine without a server"},
	{"tokenize", dl_cli_tokenize, "tokens of a text"},
	{"eval", dl_cli_eval, "how good models are on files of rows: accuracy, chrF, perplexity, ..."},
	{"train", dl_cli_train, "teach a model from rows of text"},
	{"lengths", dl_cli_lengths, "fit how sure a model is of gaps by their length alone"},
};

static void
usage(FILE *to)
{
	fprintf(to, "dlm-model: convert and run diffusion language models\n\nUsage: dlm-model VERB ... (dlm-model VERB --help)\n\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
}

int
main(int argc, char **argv)
{
	if (argc < 2)
	{
		usage(stderr);
		return DL_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
	{
		usage(stdout);
		return DL_EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, argv[1]) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "dlm-model: unknown verb \"%s\"\n", argv[1]);
	usage(stderr);
	return DL_EXIT_USAGE;
}
