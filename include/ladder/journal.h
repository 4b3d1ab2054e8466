/*
 * The journal: keys whose copy in Redis may be older than what was
 * acknowledged here, because Redis was down, too slow, or a fill was on its
 * way when the write came. Until such a key has been unlinked there, nobody
 * reads it from Redis.
 *
 * A hold says that something sent earlier may still land in Redis (a fill, a
 * write without an answer): the key is not unlinked before its last hold is
 * released, else the late one would land after.
 *
 * Shared by all threads: one lock; journal_is_empty() is one atomic load.
 */
#ifndef SIDECAR_LADDER_JOURNAL_H
#define SIDECAR_LADDER_JOURNAL_H

#include "base/buf.h"

struct journal;

struct journal *journal_new(size_t max_keys);
void journal_free(struct journal *journal);

/* The key's copy in Redis is not to be trusted. False: the journal is full,
 * nothing was noted, and the write must not be acknowledged. */
MUST_CHECK bool journal_add(struct journal *journal, struct slice key);
bool journal_has(struct journal *journal, struct slice key);

/* Something that may change the key in Redis is under way / has ended. */
void journal_hold(struct journal *journal, struct slice key);
void journal_release(struct journal *journal, struct slice key);
/* A write of this key was sent: if a fill of it is under way, the fill may
 * land after it, so the key goes into the journal. */
void journal_note_write(struct journal *journal, struct slice key);

/*
 * Takes up to `count` keys to be unlinked now: each is copied into `keys` as
 * a RESP bulk string. They stay in the journal until journal_settle().
 * Returns how many. One taker at a time (the keeper).
 */
size_t journal_take(struct journal *journal, size_t count, struct buf *keys);
/* What was taken has been unlinked (forget it, unless it was added again
 * meanwhile), or has not (to be taken again). */
void journal_settle(struct journal *journal, bool is_done);

size_t journal_pending(const struct journal *journal);

#endif
