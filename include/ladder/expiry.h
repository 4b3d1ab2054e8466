/* When a write that passed through here lets its key expire. Pure. */
#ifndef SIDECAR_LADDER_EXPIRY_H
#define SIDECAR_LADDER_EXPIRY_H

#include "base/slice.h"

/*
 * True when the command, if Redis carries it out, gives argv[1] a time to
 * live: *at_ms is its end, monotonic.
 *
 * wall_ms  wall clock, for EXAT and the like
 */
MUST_CHECK bool expiry_of(const struct slice *argv, size_t argc, int64_t now_ms, int64_t wall_ms,
    int64_t *at_ms);

#endif
