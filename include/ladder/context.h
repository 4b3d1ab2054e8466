/*
 * What one worker's part of the ladder works with. One thread; made and freed
 * by run/worker.
 */
#ifndef SIDECAR_LADDER_CONTEXT_H
#define SIDECAR_LADDER_CONTEXT_H

#include "base/deadlines.h"
#include "ladder/backends.h"
#include "ladder/links.h"
#include "ladder/metrics.h"

struct flights;

struct ladder_context {
	struct mailbox *mailbox; /* the worker's own */
	struct backends *backends;
	const struct rules *rules; /* replaced by a reload */
	struct links *links;
	struct deadlines *deadlines;
	struct flights *flights;
	struct ladder_metrics *metrics;
	uint64_t random; /* state of base/random.h, for jitter */
};

#endif
