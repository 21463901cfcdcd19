/*
 * model_files.h - where model files lie.
 *
 * A model's `file` option is a name inside dlm.model_directory, without
 * slashes, or bundled:DIGEST for a file that a package installed under
 * SHAREDIR/dlm. So no catalog row holds an absolute path.
 */
#ifndef DLM_PG_MODEL_FILES_H
#define DLM_PG_MODEL_FILES_H

#include "dlm.h"

#define DLM_BUNDLED_PREFIX	"bundled:"

/* The digest of a `file` option that names a bundled file, else NULL. */
static inline const char *
dlm_bundled_digest(const char *file)
{
	Size		length = strlen(DLM_BUNDLED_PREFIX);

	return strncmp(file, DLM_BUNDLED_PREFIX, length) == 0 ? file + length : NULL;
}

/* Lower-case hex of a digest, palloc'd; and back: false unless it is exactly 64 hex digits. */
extern char *dlm_hex(const uint8 digest[32]);
extern bool dlm_parse_hex(const char *hex, uint8 digest[32]);

/* Absolute path of dlm.model_directory and of the bundled files' folder, palloc'd. */
extern char *dlm_model_directory_path(void);
extern char *dlm_bundled_directory_path(void);

/* Create dlm.model_directory if it is missing. ERROR otherwise. */
extern void dlm_model_directory_create(void);

/* NULL if the text can be a `file` option, else what is wrong with it. */
extern const char *dlm_file_option_problem(const char *file);

/* Absolute path of a `file` option; 22023 if it cannot be one. */
extern char *dlm_model_path(const char *file);

/*
 * A path given by a user for reading: absolute and without "..", relative ones
 * start in dlm.model_directory. What lies outside of it, links resolved, needs
 * pg_read_server_files (42501).
 */
extern char *dlm_source_path(const char *path, const char *what);

/*
 * dlm.model_directory is for superusers' eyes: may the current user see paths?
 * If not, hide takes the folders out of a message and leaves the names.
 */
extern bool dlm_may_see_paths(void);
extern void dlm_hide_directory(dlm_error *err);

#endif							/* DLM_PG_MODEL_FILES_H */
