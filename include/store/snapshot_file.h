/*
 * The snapshot on disk: all of memory that is worth it, sealed
 * (snapshot_seal.h), in one file that is there whole or not at all.
 *
 *   FILE.new  written, synced, renamed to FILE; one writer at a time (flock)
 *   FILE      mode 0600
 *   FILE.refused  the first FILE that was not to be trusted, out of the way of
 *                 the next good one: it may be somebody else's, or be wanted
 *                 once the right key is found
 *
 * One thread at a time. Every call blocks.
 */
#ifndef SIDECAR_STORE_SNAPSHOT_FILE_H
#define SIDECAR_STORE_SNAPSHOT_FILE_H

#include "store/snapshot_record.h"
#include "store/snapshot_seal.h"

struct snapshot_file;

struct snapshot_file *snapshot_file_new(const char *path, const unsigned char key[SEAL_KEY_BYTES]);
void snapshot_file_free(struct snapshot_file *file);

struct snapshot_tally {
	int64_t entries, bytes; /* bytes: of the file */
	int64_t age_ms;         /* of the file that was read */
};

/* 0, or an errno: then the last good one is still there. Holds a shard's lock
 * only for moments, and never while it touches the disk. */
MUST_CHECK int snapshot_file_write(struct snapshot_file *file, struct cache *cache,
    struct snapshot_tally *tally);

struct snapshot_taker {
	bool (*wants)(struct slice key, void *arg); /* NULL: all keys */
	void *arg;
	int64_t max_stale_ms;
};

enum snapshot_outcome {
	SNAPSHOT_LOADED,
	SNAPSHOT_NONE,    /* there is no file */
	SNAPSHOT_REFUSED, /* `why` says what is wrong with it; the cache is as it was */
};

/* Fills the cache with what is in the file: as stale copies. The file is read
 * twice: nothing is kept of one that is not good to its end. */
MUST_CHECK enum snapshot_outcome snapshot_file_load(struct snapshot_file *file, struct cache *cache,
    const struct snapshot_taker *taker, struct snapshot_tally *tally, char *why, size_t size);

#endif
