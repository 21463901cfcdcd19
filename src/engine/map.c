/*
 * map.c - map a model file: read-only and shared, so that one copy of the
 * weights serves every process.
 */
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

dlm_status
dlm_file_map(const char *path, dlm_map *out, dlm_error *err)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void	   *data;
	dlm_status	status;

	out->data = NULL;
	out->size = 0;
	if (fd < 0)
		return dl_fail_errno(err, errno, "open", path);
	if (fstat(fd, &st) != 0)
		status = dl_fail_errno(err, errno, "stat", path);
	else if (!S_ISREG(st.st_mode))
		status = dl_fail(err, DLM_EDAMAGED, "", "\"%.200s\" is not a regular file", path);
	else if (st.st_size <= 0 || (uint64_t) st.st_size > SIZE_MAX)
		status = dl_fail(err, DLM_EDAMAGED, "", "model file \"%.200s\" is empty or too large", path);
	else if ((data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
		status = dl_fail_errno(err, errno, "map", path);
	else
	{
		out->data = data;
		out->size = (size_t) st.st_size;
		status = DLM_OK;
	}
	close(fd);
	return status;
}

void
dlm_file_unmap(dlm_map *map)
{
	if (map->data != NULL)
		munmap((void *) (uintptr_t) map->data, map->size);
	map->data = NULL;
	map->size = 0;
}
