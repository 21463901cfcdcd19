/*
 * segment.c - a shared segment that needs no preload.
 *
 * From 17 on this is the registry of named DSM segments. Before, the handle of
 * a pinned DSM segment lies in a struct of a few bytes, which fits into the
 * slop that PostgreSQL leaves in its main segment for latecomers.
 */
#include "dlm_pg.h"

#include "storage/dsm.h"
#ifdef DLM_HAVE_DSM_REGISTRY
#include "storage/dsm_registry.h"
#endif
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "segment.h"

#ifdef DLM_HAVE_DSM_REGISTRY

void *
dlm_named_segment(Size size, void (*init) (void *ptr))
{
	bool		found;

	return GetNamedDSMSegment("dlm", size, init, &found);
}

#else

typedef struct SegmentAnchor
{
	dsm_handle	handle;
	bool		ready;
	Size		size;
} SegmentAnchor;

/* Make the segment and leave its handle in the anchor. The lock is held. */
static dsm_segment *
create_segment(SegmentAnchor *anchor, Size size, void (*init) (void *ptr))
{
	dsm_segment *segment = dsm_create(size, 0);

	init(dsm_segment_address(segment));
	dsm_pin_segment(segment);
	anchor->handle = dsm_segment_handle(segment);
	anchor->size = size;
	anchor->ready = true;
	return segment;
}

void *
dlm_named_segment(Size size, void (*init) (void *ptr))
{
	SegmentAnchor *anchor;
	dsm_segment *segment;
	MemoryContext old;
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	anchor = ShmemInitStruct("dlm segment", sizeof(SegmentAnchor), &found);
	if (!found)
		memset(anchor, 0, sizeof(SegmentAnchor));

	old = MemoryContextSwitchTo(TopMemoryContext);
	if (anchor->ready)
	{
		/* Another version of the library may have made it: then it is no use to us. */
		if (anchor->size != size)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("the shared segment of dlm belongs to another version of the library"),
					 errhint("Restart the server.")));
		segment = dsm_attach(anchor->handle);
		if (segment == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("could not attach to the shared segment of dlm")));
	}
	else
		segment = create_segment(anchor, size, init);
	dsm_pin_mapping(segment);
	MemoryContextSwitchTo(old);
	LWLockRelease(AddinShmemInitLock);
	return dsm_segment_address(segment);
}

#endif
