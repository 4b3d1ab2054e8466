/*
 * What one worker's part of the ladder works with. One thread; made and freed
 * by run/worker.
 */
#ifndef SIDECAR_LADDER_CONTEXT_H
#define SIDECAR_LADDER_CONTEXT_H

#include "base/deadlines.h"
#include "base/pool.h"
#include "ladder/backends.h"
#include "ladder/links.h"
#include "ladder/metrics.h"

struct flights;

/* A block of the pool holds what one request needs but for long keys. */
#define POOL_BLOCK_BYTES 512
#define POOL_KEEPS 4096

struct ladder_context {
	struct mailbox *mailbox; /* the worker's own */
	struct backends *backends;
	const struct rules *rules; /* replaced by a reload */
	struct links *links;
	struct deadlines *deadlines;
	struct flights *flights;
	struct ladder_metrics *metrics;
	struct pool *pool; /* what a request needs until it is answered */
	uint64_t random;   /* state of base/random.h, for jitter */
};

#endif
