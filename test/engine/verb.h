/*
 * verb.h - a verb of dlm-model as a function: its files, and what it says.
 */
#ifndef VERB_H
#define VERB_H

#include "files.h"
#include "harness.h"

/* folder/name; good for the next eight calls. */
static inline const char *
verb_path(const char *folder, const char *name)
{
	static char paths[8][400];
	static int	next;
	char	   *path = paths[next++ % 8];

	snprintf(path, 400, "%s/%s", folder, name);
	return path;
}

static inline const char *
verb_write(const char *folder, const char *name, const char *content)
{
	const char *path = verb_path(folder, name);
	FILE	   *f = fopen(path, "wb");

	CHECK(f != NULL && fwrite(content, 1, strlen(content), f) == strlen(content) && fclose(f) == 0, "%s", path);
	return path;
}

/* Run a verb with these arguments (words, no quotes); its exit status. What it prints goes through a file to `said`. */
static inline int
verb_run(int (*verb) (int argc, char **argv), const char *name, const char *folder, const char *words, char *said, size_t size)
{
	char		copy[2000];
	char	   *argv[64] = {(char *) name};
	int			argc = 1,
				code,
				out = dup(1),
				err = dup(2);
	char		log[400];
	FILE	   *f;
	size_t		n;

	snprintf(log, sizeof(log), "%s/said", folder);
	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok(copy, " "); word != NULL && argc < 64; word = strtok(NULL, " "))
		argv[argc++] = word;
	fflush(stdout);
	f = fopen(log, "wb");
	dup2(fileno(f), 1);
	dup2(fileno(f), 2);
	code = verb(argc, argv);
	fflush(stdout);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	fclose(f);
	f = fopen(log, "rb");
	n = fread(said, 1, size - 1, f);
	said[n] = '\0';
	fclose(f);
	return code;
}

#endif							/* VERB_H */
