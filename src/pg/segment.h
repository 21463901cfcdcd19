/*
 * segment.h - a shared segment that needs no preload.
 */
#ifndef DLM_PG_SEGMENT_H
#define DLM_PG_SEGMENT_H

/*
 * The cluster's segment of the extension, made by whoever comes first (init
 * is called on it then, under a lock) and mapped for the life of this
 * backend. Call it once a backend. ERROR when it cannot be had.
 */
extern void *dlm_named_segment(Size size, void (*init) (void *ptr));

#endif							/* DLM_PG_SEGMENT_H */
