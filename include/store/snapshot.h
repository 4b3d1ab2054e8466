/*
 * The snapshot: memory on disk every so often and at the end, so that a
 * restart in the middle of an outage still has answers. What it brings back is
 * stale: it is served when nobody can be asked, and asked for when somebody
 * can.
 *
 * A thread of its own writes; nobody else ever waits for the disk, but for
 * the start, which reads, and the end, which waits for the last writing.
 */
#ifndef SIDECAR_STORE_SNAPSHOT_H
#define SIDECAR_STORE_SNAPSHOT_H

#include "base/settings.h"
#include "store/snapshot_file.h"

struct snapshot;

/* NULL where no [snapshot] file is set; every function takes that. */
struct snapshot *snapshot_new(const struct settings *settings, struct cache *cache);
/* After snapshot_stop(), or where it was never started. */
void snapshot_free(struct snapshot *snapshot);

/* Reads the file, if there is one; says in the log what came of it. Before
 * other threads use the cache. */
void snapshot_load(struct snapshot *snapshot, const struct snapshot_taker *taker);

/* Starts the thread; 0 or an errno. */
MUST_CHECK int snapshot_start(struct snapshot *snapshot);
/* After a reload; any thread. */
void snapshot_set_every(struct snapshot *snapshot, int64_t every_ms);
/* For the metrics; any thread. Waits for no disk. */
struct snapshot_facts {
	int64_t every_ms;
	int64_t age_ms; /* of the last good file; -1: there is none */
};
/* False: no [snapshot] file is set. */
MUST_CHECK bool snapshot_tell(struct snapshot *snapshot, int64_t now_ms,
    struct snapshot_facts *facts);
/* Writes for the last time, and ends the thread; nothing when it was never
 * started. Blocks. */
void snapshot_stop(struct snapshot *snapshot);

#endif
