/*
 * cli.h - what the verbs of dlm-model share.
 */
#ifndef DLM_CLI_H
#define DLM_CLI_H

#include <sys/types.h>

#include "loader.h"

#define DL_EXIT_OK		0
#define DL_EXIT_FAILED	1
#define DL_EXIT_USAGE	2

#define DL_CLI_MAX_LIST	16

/* Values of an option that may be given several times. */
typedef struct dl_cli_list
{
	const char *item[DL_CLI_MAX_LIST];
	int			n;
} dl_cli_list;

/* One option of a verb. */
typedef enum dl_cli_type { DL_CLI_STRING, DL_CLI_INT, DL_CLI_NUMBER, DL_CLI_FLAG, DL_CLI_LIST } dl_cli_type;

typedef struct dl_cli_option
{
	const char *name;			/* "--steps" */
	dl_cli_type type;
	void	   *value;			/* const char **, int *, double *, bool *, dl_cli_list * */
	const char *help;
} dl_cli_option;

/*
 * Take options out of argv wherever they stand; what is left are positional
 * arguments, moved to args [*n_args] (at most max_args). Returns DL_EXIT_OK,
 * or another status when the verb must end with it: usage was asked for (then
 * *help) or the line is wrong (already reported). `usage`: "convert SOURCE TARGET".
 */
int			dl_cli_parse(int argc, char **argv, const char *usage, const dl_cli_option *options,
						 const char **args, int max_args, int *n_args, bool *help);

/* Print "dlm-model: message" and the hint. Returns DL_EXIT_FAILED. */
int			dl_cli_fail(const dlm_error *err);

/* A model opened from a file. Close even after failure. */
typedef struct dl_cli_model
{
	dlm_map		map;
	dlm_model  *model;
} dl_cli_model;

dlm_status	dl_cli_open(const char *path, dl_cli_model *out, dlm_error *err);
void		dl_cli_close(dl_cli_model *m);

/* Start `gzip -dc` of a file: the end of its output to read, close and then wait for *child; -1 and errno if it did not start. */
int			dl_cli_gunzip(const char *path, pid_t *child);

/* "0:0.95": a part of a file's lines; NULL: all of them. DLM_EINVAL. */
dlm_status	dl_cli_part(const char *text, double *first, double *last, dlm_error *err);

/* Threads to use when the user does not say: the CPUs of this process, at most 64. */
int			dl_cli_threads(void);
double		dl_cli_seconds(void);	/* a monotonic clock */

int			dl_cli_convert(int argc, char **argv);
int			dl_cli_inspect(int argc, char **argv);
int			dl_cli_verify(int argc, char **argv);
int			dl_cli_run(int argc, char **argv);
int			dl_cli_tokenize(int argc, char **argv);
int			dl_cli_eval(int argc, char **argv);
int			dl_cli_train(int argc, char **argv);
int			dl_cli_lengths(int argc, char **argv);

/* `tokenize` under `run` too: position, id and piece of each token of the texts. */
int			dl_cli_tokenize_texts(const char *path, const char *const *texts, int n);

#endif							/* DLM_CLI_H */
