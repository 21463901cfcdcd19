/*
 * cli_convert.c - dlm-model convert.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Set by SIGINT and SIGTERM so that the temporary file is removed before we end. */
static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	interrupted = number;
}

typedef struct dl_progress_line
{
	bool		terminal;
	int			percent;
} dl_progress_line;

static bool
stop(void *arg)
{
	(void) arg;
	return interrupted != 0;
}

static void
show(void *arg, double share)
{
	dl_progress_line *line = arg;
	int			percent = (int) (share * 100);

	if (line->terminal && percent != line->percent)
	{
		line->percent = percent;
		fprintf(stderr, "\rconverting %3d %%", percent);
	}
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGXFSZ, &action, NULL);	/* a write beyond the limit shall fail, not kill */
}

int
dl_cli_convert(int argc, char **argv)
{
	dlm_convert_options o = {.stop = stop, .progress = show};
	dl_progress_line line = {.terminal = isatty(STDERR_FILENO), .percent = -1};
	const char *weights = "auto",
			   *head = "auto",
			   *args[2];
	dl_cli_option options[] = {
		{"--weights", DL_CLI_STRING, &weights, "f32 (default), bf16 or int8"},
		{"--head", DL_CLI_STRING, &head, "of the output projection, where it is to differ"},
		{"--lora", DL_CLI_STRING, &o.lora, "adapter to merge: folder or adapter_model.safetensors"},
		{"--settings", DL_CLI_STRING, &o.settings, "dlm.json (default: beside the adapter or the source)"},
		{"--tokenizer", DL_CLI_STRING, &o.tokenizer, "tokenizer.json (likewise)"},
		{"--config", DL_CLI_STRING, &o.config, "config.json (likewise)"},
		{"--threads", DL_CLI_INT, &o.threads, "threads (default: all)"},
		{0}
	};
	dlm_error	err;
	uint8_t		digest[32];
	double		start = dl_cli_seconds();
	int			n_args,
				code;
	bool		help;

	code = dl_cli_parse(argc, argv, "convert SOURCE TARGET.dlm [options]", options, args, 2, &n_args, &help);
	if (code != DL_EXIT_OK || help)
		return code;
	if (n_args != 2)
	{
		fprintf(stderr, "dlm-model: convert needs a source and a target\n");
		return DL_EXIT_USAGE;
	}
	if (dlm_weights_parse(weights, &o.weights, &err) != DLM_OK || dlm_weights_parse(head, &o.head, &err) != DLM_OK)
	{
		dl_cli_fail(&err);
		return DL_EXIT_USAGE;
	}
	if (o.threads == 0)
		o.threads = dl_cli_threads();
	o.arg = &line;
	catch_signals();
	if (dlm_convert(args[0], args[1], &o, digest, &err) != DLM_OK)
	{
		if (line.terminal)
			fprintf(stderr, "\r");
		return dl_cli_fail(&err);
	}
	if (line.terminal)
		fprintf(stderr, "\r%60s\r", "");
	for (int i = 0; i < 32; i++)
		printf("%02x", digest[i]);
	printf("  %s\n", args[1]);
	fprintf(stderr, "converted in %.1f s\n", dl_cli_seconds() - start);
	return DL_EXIT_OK;
}
