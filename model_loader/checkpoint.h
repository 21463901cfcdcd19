/*
 * checkpoint.h - a training run's state as a file of named sections (private
 * to model_loader).
 *
 *		header (64 bytes), directory (a name, offset and size for each section),
 *		sections (each 64-byte aligned, gaps zero)
 *
 * The header's digest is the SHA-256 of the whole file with that field zero.
 * Numbers are in the machine's order, which must be little-endian. What the
 * sections hold is the run's business. A file that is read is untrusted.
 */
#ifndef DLM_CHECKPOINT_H
#define DLM_CHECKPOINT_H

#include "dlm.h"

#define DL_CHECKPOINT_NAME		32	/* bytes of a section's name, NUL included */
#define DL_CHECKPOINT_SECTIONS	64

/*
 * A piece of memory that goes into a section, or comes out of it: the same
 * list serves both. section NULL goes on with the section before.
 */
typedef struct dl_piece
{
	const char *section;
	void	   *data;
	size_t		size;
} dl_piece;

/*
 * Write all pieces as a temporary file beside path, sync it, rename it to path
 * and sync the folder: what was there stays whole until then. env may be NULL;
 * its stop is polled. DLM_EIO, DLM_ENOSPC, DLM_ENOENT, DLM_EEXIST (path is no
 * regular file), DLM_EINTR, DLM_ENOMEM.
 */
dlm_status	dl_checkpoint_write(const char *path, const dl_piece *pieces, int n, const dlm_env *env, dlm_error *err);

typedef struct dl_checkpoint dl_checkpoint;

/*
 * Open a file and read it once, comparing with its digest. DLM_ENOENT,
 * DLM_EIO, DLM_EDAMAGED, DLM_EUNSUPPORTED (a version from the future),
 * DLM_EINTR, DLM_ENOMEM.
 */
dlm_status	dl_checkpoint_open(const char *path, const dlm_env *env, dl_checkpoint **out, dlm_error *err);
void		dl_checkpoint_close(dl_checkpoint *c);	/* NULL is fine */

/* Bytes of a section; false: there is none. */
bool		dl_checkpoint_size(const dl_checkpoint *c, const char *section, uint64_t *size);

/*
 * Is a section these bytes? Else DLM_EINVAL: the checkpoint is "of another
 * <what>". For what a run must share with the one that is to go on.
 */
dlm_status	dl_checkpoint_compare(const dl_checkpoint *c, const char *section, const void *data, size_t size,
								  const char *what, dlm_error *err);

/* Fill the pieces. All sizes are compared before the first byte is read: DLM_EDAMAGED, nothing is changed then. */
dlm_status	dl_checkpoint_read(const dl_checkpoint *c, const dl_piece *pieces, int n, dlm_error *err);

#endif							/* DLM_CHECKPOINT_H */
