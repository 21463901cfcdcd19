/*
 * cli.c - command lines, errors and models, for the verbs of dlm-model.
 */
#include "cli.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "status.h"

int
dl_cli_fail(const dlm_error *err)
{
	fprintf(stderr, "dlm-model: %s\n", err->message);
	if (err->hint[0] != '\0')
		fprintf(stderr, "hint: %s\n", err->hint);
	return DL_EXIT_FAILED;
}

static void
print_usage(FILE *to, const char *usage, const dl_cli_option *options)
{
	fprintf(to, "Usage: dlm-model %s\n", usage);
	for (; options->name != NULL; options++)
		fprintf(to, "  %-16s %s\n", options->name, options->help);
}

static bool
set_value(const dl_cli_option *o, const char *text)
{
	char	   *end;

	switch (o->type)
	{
		case DL_CLI_STRING:
			*(const char **) o->value = text;
			return true;
		case DL_CLI_INT:
			{
				long		v = strtol(text, &end, 10);

				*(int *) o->value = (int) v;
				return *text != '\0' && *end == '\0' && v >= 0 && v <= 1 << 30;
			}
		case DL_CLI_NUMBER:
			*(double *) o->value = strtod(text, &end);
			return *text != '\0' && *end == '\0';
		case DL_CLI_LIST:
			{
				dl_cli_list *list = o->value;

				if (list->n == DL_CLI_MAX_LIST)
					return false;
				list->item[list->n++] = text;
				return true;
			}
		default:
			return false;
	}
}

int
dl_cli_parse(int argc, char **argv, const char *usage, const dl_cli_option *options,
			 const char **args, int max_args, int *n_args, bool *help)
{
	*n_args = 0;
	*help = false;
	for (int i = 1; i < argc; i++)
	{
		const dl_cli_option *o = options;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
		{
			*help = true;
			print_usage(stdout, usage, options);
			return DL_EXIT_OK;
		}
		if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0')
		{
			if (*n_args == max_args)
			{
				fprintf(stderr, "dlm-model: too many arguments\n");
				print_usage(stderr, usage, options);
				return DL_EXIT_USAGE;
			}
			args[(*n_args)++] = argv[i];
			continue;
		}
		while (o->name != NULL && strcmp(o->name, argv[i]) != 0)
			o++;
		if (o->name != NULL && o->type == DL_CLI_FLAG)
		{
			*(bool *) o->value = true;
			continue;
		}
		if (o->name == NULL || i + 1 == argc || !set_value(o, argv[i + 1]))
		{
			fprintf(stderr, "dlm-model: %s \"%s\"\n", o->name == NULL ? "unknown option" : "wrong value for", argv[i]);
			print_usage(stderr, usage, options);
			return DL_EXIT_USAGE;
		}
		i++;
	}
	return DL_EXIT_OK;
}

dlm_status
dl_cli_open(const char *path, dl_cli_model *out, dlm_error *err)
{
	dlm_status	st;

	memset(out, 0, sizeof(*out));
	st = dlm_file_map(path, &out->map, err);
	return st == DLM_OK ? dlm_model_open(out->map.data, out->map.size, &out->model, err) : st;
}

void
dl_cli_close(dl_cli_model *m)
{
	dlm_model_close(m->model);
	dlm_file_unmap(&m->map);
}

int
dl_cli_threads(void)
{
	cpu_set_t	set;
	int			n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < 1 ? 1 : n > 64 ? 64 : n;
}

double
dl_cli_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

dlm_status
dl_cli_part(const char *text, double *first, double *last, dlm_error *err)
{
	char		after;

	*first = 0;
	*last = 1;
	if (text != NULL && (sscanf(text, "%lf:%lf%c", first, last, &after) != 2 || !(*first >= 0 && *first < *last && *last <= 1)))
		return dl_fail(err, DLM_EINVAL, "", "--part must be two numbers from 0 to 1, like 0:0.95");
	return DLM_OK;
}
