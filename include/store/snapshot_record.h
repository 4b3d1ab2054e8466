/*
 * An entry of the cache as bytes, in a snapshot. Pure.
 *
 *   lengths of key, variant and value (4 bytes each) | kind, source,
 *   is_validity_exact, 0 (a byte each) | filled, stale until, valid until
 *   (8 bytes each) | key | variant | value
 *
 * Numbers are little-endian, times milliseconds since 1970: the monotonic
 * clock does not outlive the machine's run.
 */
#ifndef SIDECAR_STORE_SNAPSHOT_RECORD_H
#define SIDECAR_STORE_SNAPSHOT_RECORD_H

#include "base/buf.h"
#include "store/cache.h"

/* The two clocks at one moment. */
struct snapshot_now {
	int64_t mono_ms, wall_ms;
};

/* Whether anybody may still want it after a restart: a value, of use as a
 * stale copy. "There is no such key" is none. */
bool snapshot_wants(const struct cache_entry *entry, int64_t mono_ms);

void snapshot_record_append(struct buf *out, const struct cache_entry *entry,
    const struct snapshot_now *now);

enum snapshot_read {
	SNAPSHOT_READ,
	SNAPSHOT_PARTIAL, /* more bytes are needed */
	SNAPSHOT_BROKEN,  /* no such record was ever written */
};

/*
 * Takes one record from the front of REST, which is moved on SNAPSHOT_READ
 * only. The entry is one that has been stale since `now`; it points into REST
 * but for `bytes`: the value, which the caller puts in a blob.
 * max_stale_ms: no entry is good for longer, whatever the clock once said.
 */
MUST_CHECK enum snapshot_read snapshot_record_read(struct slice *rest,
    const struct snapshot_now *now, int64_t max_stale_ms, struct cache_entry *entry,
    struct slice *bytes);

#endif
